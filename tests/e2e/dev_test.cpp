// `tollgate dev` without a model: what it starts, what it prints, and that it is all there again after a restart.
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <filesystem>
#include <regex>

#include <fmt/format.h>

#include "gateway/cli/dev_files.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/process.h"

namespace {

using namespace tollgate::e2e;
namespace cli = tollgate::cli;
namespace test = tollgate::test;

// A folder that the server's user may enter, so that the cluster lies in it and goes with it.
struct DevDir : test::TempDir {
  DevDir() { std::filesystem::permissions(path(), std::filesystem::perms::others_exec, std::filesystem::perm_options::add); }
};

std::vector<std::string> DevLine(const std::string& folder) {
  return {TollgateBinary(), "dev", "--scripted",    "--folder", folder, "--http-port", "0", "--grpc-port", "0",
          "--admin-port",   "0",   "--probes-port", "0"};
}

struct Dev {
  explicit Dev(const std::string& folder) : folder(folder), process(DevLine(folder)) {
    const bool ready = process.WaitForOut("Tollgate is ready", milliseconds(90'000));
    INFO(process.Out() << process.Err());
    REQUIRE(ready);
    REQUIRE(Eventually([&] { return cli::ReadDevEndpoints(folder).ok(); }));
    endpoints = *cli::ReadDevEndpoints(folder);
    keys = *cli::ReadDevKeys(folder);
  }
  std::string Key(const std::string& name) const { return cli::SecretOf(keys, name); }
  Ports ports() const { return {endpoints.grpc_port, endpoints.http_port}; }
  Finished Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--folder", folder});
    return RunTollgate(std::move(arguments));
  }

  std::string folder;
  Process process;
  cli::DevEndpoints endpoints;
  std::vector<cli::DevKey> keys;
};

}  // namespace

TEST_CASE("tollgate dev starts a whole company, prints what to paste, and keeps its state over a restart") {
  DevDir dir;
  const std::string folder = dir.File("dev");
  std::string web, request_id;
  {
    Dev dev(folder);
    web = dev.Key("web");
    const std::string banner = dev.process.Out();
    for (const char* line : {"curl -N http://", "grpcurl -plaintext", "from openai import OpenAI", "demo", "usage report", "audit list"})
      CHECK(banner.find(line) != std::string::npos);
    for (const cli::DevKey& key : dev.keys) CHECK(banner.find(key.secret) != std::string::npos);
    for (const Surface surface : kSurfaces) {
      const Answer answer =
          Ask(dev.ports(), surface, {.key = web, .prompt = "My card is 4111 1111 1111 1111, write to jane@acme-corp.example"});
      INFO(Name(surface) << ": " << answer.code << " " << answer.message);
      CHECK(answer.done);
      CHECK(answer.text == "My card is [CARD], write to [EMAIL]");
      request_id = answer.request_id;
    }
    CHECK(Ask(dev.ports(), Surface::kHttpPlain, {.key = web, .prompt = "When does Project Falcon launch?"}).reason == "content_filter");
    CHECK(dev.Run({"chat", "hello"}).out.find("hello") != std::string::npos);
    const Finished records = dev.Run({"audit", "list"});
    CHECK(records.code == 0);
    CHECK(records.out.find("POLICY_BLOCKED") != std::string::npos);
    CHECK(dev.Run({"usage", "report", "--by", "team"}).out.find("search") != std::string::npos);
    CHECK(dev.Run({"usage", "reconcile"}).code == 0);
    CHECK(dev.Run({"audit", "verify"}).code == 0);
    // A second one in the same folder is told why not.
    const Finished second = RunTollgate({"dev", "--scripted", "--folder", folder});
    CHECK(second.code == 1);
    CHECK(second.err.find("another `tollgate dev`") != std::string::npos);
    dev.process.Signal(SIGTERM);
    CHECK(dev.process.Wait(milliseconds(30'000)) == 0);
    CHECK_FALSE(cli::ReadDevEndpoints(folder).ok());
  }
  {
    Dev dev(folder);
    std::smatch match;
    const std::string banner = dev.process.Out();
    REQUIRE(std::regex_search(banner, match, std::regex(R"(ready after ([0-9.]+) s)")));
    CHECK(std::stod(match[1]) < 10);
    CHECK(dev.Key("web") == web);
    const Answer first = Ask(dev.ports(), Surface::kGrpcStream, {.key = web, .prompt = "still here"});  // What is said to be ready is.
    INFO(first.code << " " << first.message);
    CHECK(first.text == "still here");
    CHECK(dev.Run({"audit", "show", request_id}).code == 0);
    // Killed: the cluster outlives it and is taken over.
    dev.process.Kill9();
  }
  {
    Dev dev(folder);
    const Answer first = Ask(dev.ports(), Surface::kHttpStream, {.key = web, .prompt = "still here"});
    INFO(first.code << " " << first.message);
    CHECK(first.text == "still here");
    CHECK(dev.Run({"usage", "reconcile"}).code == 0);
    dev.process.Signal(SIGINT);
    CHECK(dev.process.Wait(milliseconds(30'000)) == 0);
  }
}

TEST_CASE("tollgate demo walks through the whole story without a model, too") {
  DevDir dir;
  const Finished run = RunTollgate({"demo", "--scripted", "--folder", dir.File("dev")}, milliseconds(180'000));
  INFO(run.out << run.err);
  CHECK(run.code == 0);
}

TEST_CASE("A demo that is begun while tollgate dev starts waits for it") {
  DevDir dir;
  const std::string folder = dir.File("dev");
  Process dev(DevLine(folder));
  REQUIRE(Eventually([&] { return std::filesystem::exists(folder + "/lock"); }));
  const Finished run = RunTollgate({"demo", "--scripted", "--folder", folder}, milliseconds(180'000));
  INFO(run.out << run.err);
  CHECK(run.code == 0);
  CHECK(run.out.find("starting one") == std::string::npos);
  dev.Signal(SIGINT);
  CHECK(dev.Wait(milliseconds(30'000)) == 0);
}
