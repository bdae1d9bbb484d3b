// What is wrong with a policy is told of its file.
#include "gateway/cli/policy_text.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "tests/gateway/cli/fake_services.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Where a policy is wrong is told by its file, and by the files that it includes") {
  const std::string told =
      "acme:3:7: a rule is wrong\nacme/lists/rivals.txt:2:1: a word is\nthe org's policies in force together: acme:9:1: twice\n"
      "other:1:1: not acme:1 nor acme/x\n... and 2 more\n  reason: X";
  CHECK(ToldOfFile(told, "acme", "policies/acme.yaml") ==
        "policies/acme.yaml is refused:\npolicies/acme.yaml:3:7: a rule is wrong\npolicies/lists/rivals.txt:2:1: a word is\n"
        "the org's policies in force together: policies/acme.yaml:9:1: twice\nother:1:1: not acme:1 nor acme/x\n... and 2 more\n"
        "  reason: X");
  CHECK(ToldOfFile("acme:1:1: x", "acme", "-") == "standard input is refused:\nstandard input:1:1: x");
  CHECK(ToldOfFile("acme/l.txt:1:1: x", "acme", "acme.yaml") == "acme.yaml is refused:\nl.txt:1:1: x");
  for (const char* other : {"permission write_policy is missing", "acme: no number", "acme2:1:1: x", "macme:1:1: x"})
    CHECK(ToldOfFile(other, "acme", "acme.yaml") == other);
}

TEST_CASE("Commands about a file tell all that is wrong with it, each with file, line and column") {
  const test::TempDir folder;
  const std::string file = folder.path() + "/acme.strict.yaml";
  REQUIRE(base::WriteFileAtomically(file,
                                    "version: 1\nname: acme\nrules:\n  - {id: a, detect: {keywords: x}, do: blok}\n"
                                    "  - {id: b, detect: {}, do: flag}\n",
                                    0644)
              .ok());
  const std::string lines[] = {file + " is refused:\n", "\n" + file + ":4:40: 'do' is one of",
                               "\n" + file + ":5:22: 'detect' has exactly one"};
  for (const std::vector<std::string>& line : {std::vector<std::string>{"policy", "lint", file},
                                               {"policy", "explain", file, "--input", "x"},
                                               {"policy", "bundle", file, "--bundle-version", "1"}}) {
    const Result result = RunLine(line);
    CHECK(result.code == kUsage);
    for (const std::string& part : lines) CHECK_THAT(result.err, ContainsSubstring(part));
  }
  Server server;
  server.policy.refusal = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "acme:4:40: a\nacme:5:22: b");
  for (const char* command : {"check", "put"}) {
    const Result result = server.Run({"policy", command, file});
    CHECK(result.code == kRefused);
    CHECK(result.err == "tollgate: " + file + " is refused:\n" + file + ":4:40: a\n" + file + ":5:22: b\n");
  }
  server.policy.refusal = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "policy:4:40: a");
  CHECK_THAT(server.Run({"policy", "test", file, "--input", "x"}).err, ContainsSubstring("\n" + file + ":4:40: a\n"));
  CHECK_THAT(server.Run({"policy", "replay", file, "--alone", "--reason", "try"}).err, ContainsSubstring("\n" + file + ":4:40: a\n"));
}
