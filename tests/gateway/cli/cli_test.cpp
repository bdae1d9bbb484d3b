// Parsing, help and the commands that need no server.
#include <cstdlib>
#include <filesystem>
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "tests/gateway/cli/harness.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("A command line that makes no sense is told why, and where help is") {
  struct Row {
    std::vector<std::string> args;
    const char* text;
  };
  const auto row = GENERATE(values<Row>({
      {{"frobnicate"}, "there is no command \"frobnicate\"; there are dev, demo, serve, migrate, config, "},
      {{"fly"}, "See: tollgate --help"},
      {{"chta", "hi"}, "there is no command \"chta\"; did you mean `tollgate chat`?"},
      {{"--json", "polcy"}, "did you mean `tollgate policy`?"},
      {{"key", "lst"}, "there is no command \"lst\"; did you mean `tollgate key list`?"},
      {{"key", "lst"}, "See: tollgate key --help"},
      {{"key"}, "which command of `tollgate key`? there are create, list, rotate, revoke\nSee: tollgate key --help"},
      {{"--json"}, "which command of `tollgate`? there are dev, "},
      {{"key", "create"}, "Example: tollgate key create search/web --name ci --expires 90d\nSee: tollgate key create --help"},
      {{"chat", "--modle", "x", "hi"}, "there is no option --modle; did you mean `--model`?"},
      {{"key", "list", "--jsn"}, "there is no option --jsn; did you mean `--json`?"},
      {{"key", "list", "--team", "x"}, "there is no option --team\n"},
      {{"team", "list", "--admin", "nonsense"}, "\"nonsense\" (from --admin) is no address; write HOST:PORT"},
      {{"prices", "set", "m", "--input", "1"}, "--output is required\nExample: tollgate prices set smollm2 --input 0.10 --output 0.40\n"},
      {{"key", "create", "search", "--name", "x"}, "write TEAM/PROJECT"},
      {{"key", "create", "a/b", "--name", "x", "--role", "king"}, "king"},
      {{"key", "create", "a/b", "--name", "x", "--expires", "soon"}, "is no duration"},
      {{"key", "revoke", "3kQ9xZ0b"}, "--reason is required"},
      {{"quota", "set", "tokens/year", "1"}, "is no limit"},
      {{"quota", "set", "tokens/month", "-1"}, "See: tollgate quota set --help"},
      {{"quota", "set", "tokens/month", "1", "--team", "a", "--project", "a/b"}, "See: tollgate quota set --help"},
      {{"audit", "list", "--since", "yesterday"}, "is no time"},
      {{"audit", "list", "--kind", "finale"}, "See: tollgate audit list --help"},
      {{"audit", "show", "1/x"}, "is no position"},
      {{"audit", "show", "1/2", "--content"}, "needs --reason"},
      {{"audit", "list", "--since", "1h", "--until", "2h"}, "--since 1h is not before --until 2h"},
      {{"usage", "report", "--by", "mood"}, "See: tollgate usage report --help"},
      {{"usage", "report", "--project", "web"}, "\"web\" is no project; write TEAM/PROJECT"},
      {{"usage", "report", "--from", "2999-01-01"}, "--from 2999-01-01 is not before now"},
      {{"usage", "reconcile", "--from", "2026-11-02", "--to", "2026-11-01"}, "--from 2026-11-02 is not before --to 2026-11-01"},
      {{"policy", "test", "--project", "web", "--input", "x"}, "\"web\" is no project; write TEAM/PROJECT"},
      {{"policy", "test"}, "nothing to try"},
      {{"policy", "check", "/nonexistent.yaml"}, "/nonexistent.yaml"},
      {{"stop", "everything"}, "--reason is required"},
      {{"config", "explain", "slots"}, "did you mean pool.models.slots?"},
      {{"migrate", "--database-url", "owner_url"}, "--keys-url"},
      {{"migrate", "--owner", "ann", "--new-owner", "eve"}, "excludes"},
      {{"dev", "--http-port", "70000"}, "See: tollgate dev --help"},
      {{"chat", "--temperature", "9", "x"}, "See: tollgate chat --help"},
      {{"chat", "--seed", "-1", "x"}, "See: tollgate chat --help"},
      {{"chat", "caf\xe9"}, "word 2 of the command line is not UTF-8 text"},
      {{"serve", "extra"}, "\"extra\" is one word too many"},
      {{"serve", "extra"}, "See: tollgate serve --help"},
  }));
  const Result result = RunLine(row.args);
  INFO(result.err);
  CHECK(result.code == kUsage);
  CHECK_THAT(result.err, ContainsSubstring(row.text));
  CHECK(result.out.empty());
}

TEST_CASE("Nothing listens: the remedy is named and the exit code says so") {
  const std::vector<std::string> address = {"--admin", "127.0.0.1:1", "--api", "127.0.0.1:1", "--key", "k"};
  for (std::vector<std::string> args : {std::vector<std::string>{"team", "list"}, {"models", "list"}, {"chat", "-m", "x", "hello"}}) {
    args.insert(args.end(), address.begin(), address.end());
    const Result result = RunLine(args);
    CHECK(result.code == kUnavailable);
    CHECK_THAT(result.err, ContainsSubstring("nothing answers at 127.0.0.1:1 (from --a") && ContainsSubstring("tollgate dev"));
  }
}

TEST_CASE("The programs get what the command line says") {
  Programs programs;
  DevCommand dev;
  programs.dev = [&](const DevCommand& command) { return dev = command, 0; };
  ServeCommand serve;
  programs.serve = [&](const ServeCommand& command) { return serve = command, 1; };
  CHECK(RunLine({"dev", "--scripted", "--grpc-port", "0", "--folder", "/tmp/x"}, "", programs).code == 0);
  CHECK(dev.scripted);
  CHECK(dev.grpc_port == 0);
  CHECK(dev.http_port == 8080);
  CHECK(dev.folder == "/tmp/x");
  CHECK(RunLine({"serve", "-c", "a.yaml"}, "", programs).code == 1);
  CHECK(serve.config_path == "a.yaml");
  MigrateCommand migrate;
  Programs migrating;
  migrating.migrate = [&](const MigrateCommand& command) { return migrate = command, 0; };
  CHECK(RunLine({"migrate", "--owner", "ann", "--owner-key-file", "/tmp/key"}, "", migrating).code == 0);
  CHECK(migrate.key_file == "/tmp/key");
  CHECK(RunLine({"migrate"}, "", programs).code == kUsage);
}

TEST_CASE("Version and help go to standard output and are no error") {
  const Result version = RunLine({"--version"});
  CHECK(version.code == kDone);
  CHECK(version.out == "tollgate test\n");
  const Result help = RunLine({"key", "create", "--help"});
  CHECK(help.code == kDone);
  CHECK_THAT(help.out, ContainsSubstring("tollgate key create search/web --name ci --expires 90d"));
  CHECK(RunLine({}).code == kUsage);
}

TEST_CASE("Config commands need no server") {
  const Result example = RunLine({"config", "example"});
  CHECK(example.code == kDone);
  CHECK_THAT(example.out, ContainsSubstring("root_key_file: /etc/tollgate/root_key"));
  const std::string file = (std::filesystem::temp_directory_path() / "tg-cli-config.yaml").string();
  REQUIRE(base::WriteFileAtomically(file, "segment_ms: soon\n", 0600).ok());
  const Result check = RunLine({"config", "check", file});
  CHECK(check.code == kRefused);
  CHECK_THAT(check.err, ContainsSubstring(file + ":1:1: segment_ms must be a whole number"));
  std::filesystem::remove(file);
  CHECK_THAT(RunLine({"config", "explain", "listeners.grpc.port"}).out, ContainsSubstring("default 8081"));
}

TEST_CASE("No form of a configuration that is printed holds a password") {
  std::string made = (std::filesystem::temp_directory_path() / "tg-cli-secrets-XXXXXX").string();
  REQUIRE(::mkdtemp(made.data()) != nullptr);
  const auto write = [&](const std::string& name, const std::string& text) {
    REQUIRE(base::WriteFileAtomically(made + "/" + name, text, 0600).ok());
  };
  write("url", "postgresql://u:geheim@db/x\n");
  write("key", std::string(64, 'a'));
  write("t.yaml", "postgres: {url: file:url, keys_url: file:url}\nsecrets: {root_key_file: key, pepper_file: key}\n");
  for (const char* command : {"show", "check"}) {
    for (const bool json : {false, true}) {
      INFO(command << (json ? " --json" : ""));
      std::vector<std::string> line = {"config", command, made + "/t.yaml"};
      if (json) line.emplace_back("--json");
      const Result result = RunLine(line);
      CHECK(result.code == kDone);
      CHECK_THAT(result.out + result.err, !ContainsSubstring("geheim"));
      if (json) CHECK_THAT(result.out, ContainsSubstring("\"keys_url\": \"(hidden)\""));
    }
  }
  std::filesystem::remove_all(made);
}

TEST_CASE("Every command teaches with an example, and docs/cli.md holds what they say") {
  const std::string manual = Manual();
  std::size_t commands = 0;
  for (std::size_t at = 0; (at = manual.find("\n## `", at)) != std::string::npos; ++commands) {
    const std::size_t end = manual.find("\n## `", at + 1);
    const std::string section = manual.substr(at, end == std::string::npos ? end : end - at);
    INFO(section);
    CHECK_THAT(section, ContainsSubstring("Example"));
    at += 5;
  }
  CHECK(commands > 50);
  const auto page = base::ReadFile(std::string(TOLLGATE_SOURCE_DIR) + "/docs/cli.md");
  const bool same = page.ok() && *page == manual;
  if (!same) {
    const std::string path = std::string(TOLLGATE_BINARY_DIR) + "/cli.md";
    REQUIRE(base::WriteFileAtomically(path, manual, 0644).ok());
    WARN("review " << path << " and copy it to docs/cli.md");
  }
  CHECK(same);
}
