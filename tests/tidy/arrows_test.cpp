// Who may include whom (the arrows of docs/architecture.md), and which room may see which library (its fences).
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "tests/tidy/source_tree.h"

using namespace tollgate::tidy;

namespace {

// Each room and those it may include beside itself: what it needs and no more (a case below). `proto` is what protoc makes:
// "tollgate/v1/….pb.h".
const std::map<std::string, std::set<std::string>> kArrows = [] {
  const std::set<std::string> low = {"proto", "base"};
  std::map<std::string, std::set<std::string>> arrows = {
      {"base", {"proto"}}, {"policy", {"base"}}, {"audit", low}, {"metering", low}, {"inference", low}};
  const std::set<std::string> four = {"policy", "audit", "metering", "inference"};
  // Inside the gateway: each room, then which of the four and which of its own it may include. "four" is all four.
  const std::vector<std::pair<std::string, std::vector<std::string>>> inner = {
      {"async", {}},
      {"net", {}},
      {"config", {}},
      {"directory", {"metering", "policy"}},
      {"identity", {"directory"}},
      {"gates", {}},
      {"explain", {"policy"}},
      {"pipeline", {"four", "async", "directory", "identity", "gates", "explain"}},
      {"detectors", {"pipeline"}},
      {"grpc", {"async", "net", "pipeline"}},
      {"http", {"async", "net", "pipeline"}},
      {"admin", {"audit", "metering", "policy", "directory", "identity", "gates", "pipeline", "grpc", "net", "explain"}},
      {"migrate", {"audit", "admin", "directory"}},
      {"fetch", {"inference"}},
      {"cli", {"policy", "config", "explain"}},
      {"serve",
       {"audit", "metering", "inference", "net", "directory", "identity", "gates", "pipeline", "detectors", "grpc", "http", "admin",
        "migrate"}},
      {"dev", {"audit", "config", "admin", "migrate", "cli", "serve"}}};
  std::set<std::string> all = low;
  all.insert(four.begin(), four.end());
  for (const auto& [room, below] : inner) {
    std::set<std::string>& allowed = arrows["gateway/" + room] = low;
    for (const std::string& name : below) {
      if (name == "four") {
        allowed.insert(four.begin(), four.end());
      } else {
        allowed.insert(four.contains(name) ? name : "gateway/" + name);
      }
    }
    all.insert("gateway/" + room);
  }
  arrows["gateway"] = all;  // main.cpp
  return arrows;
}();

// Which paths may include a library's headers: files that start with, or hold, one of these.
struct Fence {
  std::string library;
  std::vector<std::string> headers;  // Prefixes of the included path.
  std::vector<std::string> starts;
  std::vector<std::string> holds;
};
const std::vector<Fence> kFences = {
    {"grpc++", {"grpcpp/", "grpc/", "grpc++/"}, {"gateway/"}, {}},
    {"Boost.Beast", {"boost/beast"}, {"gateway/"}, {}},
    {"Boost.Asio", {"boost/asio"}, {"gateway/"}, {}},
    {"ICU", {"unicode/"}, {"policy/"}, {}},
    {"RE2", {"re2/"}, {"policy/"}, {}},
    {"libpqxx", {"pqxx"}, {"base/postgres"}, {"_postgres.cpp"}},
    {"libpq", {"libpq-fe.h", "postgresql/"}, {"base/postgres_address.cpp"}, {}},
    {"libllama", {"llama.h", "ggml", "llama-", "common.h", "chat.h"}, {"inference/engines/llama"}, {}},
    {"CUDA", {"cuda", "nvml"}, {"inference/cuda"}, {}},
    {"libcurl", {"curl/"}, {"base/http_client", "gateway/fetch/"}, {}},
    {"OpenSSL", {"openssl/"}, {"base/", "audit/", "gateway/"}, {}},
    {"yaml-cpp", {"yaml-cpp/"}, {"base/yaml_documents", "policy/", "gateway/config/", "gateway/dev/", "gateway/cli/"}, {}},
    {"CLI11", {"CLI/"}, {"gateway/cli/"}, {}},
    {"spdlog", {"spdlog/"}, {"base/diagnostics"}, {}},
    {"prometheus-cpp", {"prometheus/"}, {"gateway/"}, {}},
};

// Generated headers come from proto/; other quoted paths that are no room of ours are a library's.
std::string RoomOfInclude(const std::string& path) {
  if (path.starts_with("tollgate/v1/") || path.starts_with("google/rpc/") || path.starts_with("grpc/health/")) return "proto";
  const std::string room = RoomOf(path);
  return kArrows.contains(room) || room == "tests" ? room : "";
}

// Found from where its file stands and not from the root: "../audit/journal.h", "journal.h". No arrow would see it.
bool IsRelative(const SourceFile& file, const Include& include) {
  const bool climbs = ("/" + include.path).find("/./") != std::string::npos || ("/" + include.path).find("/../") != std::string::npos;
  return climbs || (include.quoted && RoomOfInclude(include.path).empty() && Exists(file.Folder() + "/" + include.path));
}

bool OutOf(const Fence& fence, const SourceFile& file) {
  if (file.path.starts_with("tests/")) return false;
  return std::none_of(fence.starts.begin(), fence.starts.end(), [&](const auto& s) { return file.path.starts_with(s); }) &&
         std::none_of(fence.holds.begin(), fence.holds.end(), [&](const auto& s) { return file.path.find(s) != std::string::npos; });
}

}  // namespace

TEST_CASE("Rooms include only the rooms below them") {
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCode() || file.path.starts_with("tests/") || file.path.starts_with("clients/")) continue;
    const std::string room = RoomOf(file.path);
    const auto allowed = kArrows.find(room);
    if (allowed == kArrows.end()) {
      broken.push_back(fmt::format("{}:1: the room {} has no line in this test's table of arrows", file.path, room));
      continue;
    }
    for (const Include& include : IncludesOf(file)) {
      const std::string target = RoomOfInclude(include.path);
      if (target.empty() || target == room || allowed->second.contains(target)) continue;
      broken.push_back(fmt::format("{}:{}: {} may not include {} ({})", file.path, include.line, room, target, include.path));
    }
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Every arrow between rooms is used") {
  std::set<std::pair<std::string, std::string>> used;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCode() || file.path.starts_with("tests/")) continue;
    for (const Include& include : IncludesOf(file)) used.emplace(RoomOf(file.path), RoomOfInclude(include.path));
  }
  std::vector<std::string> broken;
  for (const auto& [room, allowed] : kArrows) {
    if (room == "gateway") continue;  // main.cpp and programs.cpp may take from all.
    for (const std::string& target : allowed) {
      const bool at_bottom = target == "base" || target == "proto";  // Any room may come to need them.
      if (at_bottom || used.contains({room, target})) continue;
      broken.push_back(fmt::format("tests/tidy/arrows_test.cpp:1: {} includes nothing of {}: take it off the table", room, target));
    }
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Libraries stay behind their fences") {
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCode()) continue;
    for (const Include& include : IncludesOf(file)) {
      for (const Fence& fence : kFences) {
        const bool hit =
            std::any_of(fence.headers.begin(), fence.headers.end(), [&](const auto& h) { return include.path.starts_with(h); });
        if (hit && RoomOfInclude(include.path).empty() && OutOf(fence, file)) {
          broken.push_back(fmt::format("{}:{}: {} is not for this file ({})", file.path, include.line, fence.library, include.path));
        }
      }
    }
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Our own headers are included in quotes, by their path from the root, and exist") {
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCode()) continue;
    for (const Include& include : IncludesOf(file)) {
      if (IsRelative(file, include)) {
        broken.push_back(fmt::format("{}:{}: write the path of {} from the root", file.path, include.line, include.path));
        continue;
      }
      const std::string target = RoomOfInclude(include.path);
      if (target.empty() || target == "proto") continue;
      if (!include.quoted) broken.push_back(fmt::format("{}:{}: write \"{}\" in quotes", file.path, include.line, include.path));
      if (!Exists(include.path)) broken.push_back(fmt::format("{}:{}: there is no {}", file.path, include.line, include.path));
    }
  }
  CHECK(Report(broken) == 0);
}
