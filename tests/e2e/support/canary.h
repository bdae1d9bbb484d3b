// The canaries: two secrets that are planted in prompts and replies, every way to cut them into tokens, and the search for them in every
// byte that left the program.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/wire_tap.h"

namespace tollgate::e2e {

inline constexpr const char* kBecause = "Not for everybody.";

// Letters that no id, header or JSON of ours can hold: on HTTP already one of their bytes gives a leak away.
inline const std::vector<std::string> kGreek = {"Ϟ", "Ϡ", "Ϣ", "Ϥ", "Ϧ", "Ϩ", "Ϫ"};
// Found by a regex, which must wait for its end.
inline const std::vector<std::string> kCode = {"Z", "Q", "~", "J", "X", "V", "K", "~", "7", "3"};

inline std::string Join(const std::vector<std::string>& parts, const std::string& between = "", std::size_t from = 0,
                        std::size_t to = SIZE_MAX) {
  std::string out;
  for (std::size_t i = from; i < std::min(to, parts.size()); ++i) out += (i > from ? between : "") + parts[i];
  return out;
}

// What a team's rules do with each of them: "block", or "mask, keep_last: 2".
inline std::string RulesFor(const std::string& team, const std::string& greek, const std::string& code) {
  return fmt::format(
      "  - {{id: {0}.greek, where: {{team: {0}}}, detect: {{keywords: [{3}]}}, do: {1}, because: {4}}}\n"
      "  - {{id: {0}.code, where: {{team: {0}}}, detect: {{regex: 'ZQ~[A-Z]{{4,8}}~[0-9]{{2}}'}}, do: {2}, because: {4}}}\n",
      team, greek, code, Join(kGreek), kBecause);
}
inline const std::string kGone = "redact, replacement: \"[GONE]\"";
inline const std::string kRedAndBlue = RulesFor("red", kGone, kGone) + RulesFor("blue", "block", "block");

// How a canary is cut into tokens: "\|" stands between two. At least one cut, so that the prompt itself does not hold it.
inline std::vector<std::string> Chunkings(const std::vector<std::string>& canary) {
  std::vector<std::string> out = {Join(canary, "\\|")};
  for (std::size_t cut = 1; cut < canary.size(); cut += 2) out.push_back(Join(canary, "", 0, cut) + "\\|" + Join(canary, "", cut));
  return out;
}

// What must not be found: the canary in every form that a program might write it in, and each part of it that could not be chance.
inline std::vector<std::string> Forms(const std::vector<std::string>& canary) {
  const std::string whole = Join(canary);
  std::string percent, escaped, numbers;
  for (const unsigned char c : whole) percent += fmt::format("%{:02X}", c);
  for (const unsigned char c : whole.substr(0, 6)) numbers += fmt::format("{}{}", numbers.empty() ? "" : ",", c);  // As "bytes" has them.
  for (const std::string& letter : canary) {
    const bool greek = letter.size() == 2;
    escaped += greek ? fmt::format("\\u{:04x}", (letter[0] & 0x1F) << 6 | (letter[1] & 0x3F)) : letter;
  }
  std::vector<std::string> forms = {whole, percent, escaped, base::HexEncode(whole), numbers};
  for (std::size_t shift = 0; shift < 3; ++shift) forms.push_back(base::Base64Encode(whole.substr(shift)).substr(0, whole.size()));
  for (std::size_t i = 0; i + 4 <= canary.size(); ++i) forms.push_back(Join(canary, "", i, i + 4));
  return forms;
}

inline std::string Leak(const std::string& bytes, const std::vector<std::string>& canary) {
  for (const std::string& form : Forms(canary)) {
    if (const auto at = bytes.find(form); at != std::string::npos) return fmt::format("found {} at byte {}", base::HexEncode(form), at);
  }
  return "";
}

// An installation whose team red has the canaries redacted and whose team blue has them blocked, in prompts and replies.
struct CanaryWorld {
  CanaryWorld() : admin(gateway, installation.owner_key()) {
    keys["red"] = MakeCompany(admin).key;
    admin.MakeProject("blue", "app");
    keys["blue"] = admin.MakeKey("blue", "app", "blue").secret();
    admin.PutPolicy("version: 1\nname: test\nrules:\n" + kRedAndBlue);
    REQUIRE(
        Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = keys["blue"], .prompt = Join(kGreek)}).code == 403; }));
  }
  Installation installation;
  Gateway gateway{installation, {.extra = {{"diagnostics.level", "debug"}}}};  // However much it says.
  Admin admin;
  WireTap grpc{gateway.grpc_port()};
  WireTap http{gateway.http_port()};
  Ports ports{grpc.port(), http.port()};
  std::map<std::string, std::string> keys;

  void CheckAll() {
    const std::string stored = installation.Sql()
                                   ->Run("search",
                                         "SELECT count(*) FROM audit.record WHERE position('\\xcf9ecfa0cfa2cfa4'::bytea IN message) > 0 "
                                         "OR position('\\xcf9ecfa0cfa2cfa4'::bytea IN content) > 0")
                                   ->Text(0, 0);
    CHECK(stored == "0");
    const std::string metrics = gateway.Metrics();
    CHECK(gateway.Stop() == 0);
    const std::pair<const char*, std::string> places[] = {{"gRPC wire", grpc.bytes()},
                                                          {"HTTP wire", http.bytes()},
                                                          {"diagnostics", gateway.process().Err() + gateway.process().Out()},
                                                          {"metrics", metrics}};
    for (const auto& [place, bytes] : places) {
      INFO(place);
      REQUIRE_FALSE(bytes.empty());
      CHECK(Leak(bytes, kGreek).empty());
      CHECK(Leak(bytes, kCode).empty());
    }
    CHECK(http.bytes().find('\xCF') == std::string::npos);
  }
};

}  // namespace tollgate::e2e
