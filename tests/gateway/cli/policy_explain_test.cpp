// Explaining and linting on the command line: a file needs no server, no file asks one.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/cli/fake_services.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: acme
rules:
  - id: card
    detect: {personal_data: card}
    do: redact
  - id: falcon
    where: {team: search}
    detect: {keywords: project falcon}
    do: block
    because: It is not announced.
)";

}  // namespace

TEST_CASE("A text is explained with no server, from a policy on standard input") {
  const Result hit = RunLine({"policy", "explain", "-", "--input", "pay 4111 1111 1111 1111"}, kPolicy);
  CHECK(hit.code == kDone);
  CHECK_THAT(hit.out, ContainsSubstring("input: redact by card\n  becomes: pay [CARD]\n"));
  CHECK_THAT(hit.out, ContainsSubstring("1:5") && ContainsSubstring("4111 1111 1111 1111") && ContainsSubstring("becomes [CARD]"));
  CHECK_THAT(hit.out, ContainsSubstring("1 more act elsewhere: --all tells why"));
  const Result scored = RunLine({"policy", "explain", "-", "--input", "a long story"},
                                "version: 1\nname: a\nrules:\n  - {id: long, detect: {length: {characters: 9}}, do: flag}\n");
  CHECK_THAT(scored.out, ContainsSubstring("12 characters (10 count)"));
  const Result miss = RunLine({"policy", "explain", "-", "--input", "pay 4111 1111 1111 1112", "--all"}, kPolicy);
  CHECK_THAT(miss.out, ContainsSubstring("no rule found anything") && ContainsSubstring("its structure or check digits are wrong"));
  CHECK_THAT(miss.out, ContainsSubstring("it acts on team search"));
  const Result block = RunLine({"policy", "explain", "-", "--output", "About Project Falcon", "--team", "search"}, kPolicy);
  CHECK(block.code == kRefused);
  CHECK_THAT(block.out, ContainsSubstring("output: block by falcon\n  becomes: About \n"));
  const Result json = RunLine({"policy", "explain", "-", "--input", "x", "--json"}, kPolicy);
  CHECK_THAT(json.out, ContainsSubstring("\"policy_digest\""));
}

TEST_CASE("A text from outside moves no cursor, and none of its lines passes for the program's own") {
  const std::string hostile = "a\x1b]0;x\a\n\nno rule found anything\n";
  const Result explained = RunLine({"policy", "explain", "-", "--input", hostile}, kPolicy);
  CHECK_THAT(explained.out, ContainsSubstring("  becomes: a?]0;x?\n  becomes: \n  becomes: no rule found anything\n  becomes: \n"));
  Server server;
  server.policy.used = hostile;
  const Result tried = server.Run({"policy", "test", "--input", "a"});
  CHECK_THAT(tried.out, ContainsSubstring("  becomes: a?]0;x?\n  becomes: \n  becomes: no rule found anything\n"));
  for (const std::string& out : {explained.out, tried.out}) CHECK(out.find_first_of("\x1b\a") == std::string::npos);
}

TEST_CASE("What cannot be explained or linted is a usage error with its place") {
  CHECK_THAT(RunLine({"policy", "explain", "-"}, kPolicy).err, ContainsSubstring("which text? give --input TEXT"));
  CHECK_THAT(RunLine({"policy", "explain", "-", "--input", "@/nowhere/at/all"}, kPolicy).err, ContainsSubstring("/nowhere/at/all"));
  const Result broken = RunLine({"policy", "lint", "-"}, "version: 1\nname: a\nrulez: []\n");
  CHECK(broken.code == kUsage);
  CHECK_THAT(broken.err, ContainsSubstring("standard input:3:1: unknown field 'rulez'; did you mean 'rules'?"));
}

TEST_CASE("Lint prints costs and remarks; an error is exit code 1, a warning only when strict") {
  const Result notes = RunLine({"policy", "lint", "-"}, kPolicy);
  CHECK(notes.code == kDone);
  CHECK_THAT(notes.out,
             ContainsSubstring("COULD HOLD") && ContainsSubstring("standard input:4:5: note: untested: rule card: it has no tests"));
  CHECK_THAT(notes.out, ContainsSubstring("0 errors, 0 warnings, 2 notes"));
  const std::string leaky = "version: 1\nname: a\nrules:\n  - {id: a, detect: {secrets: github_token}, do: flag}\n";
  CHECK(RunLine({"policy", "lint", "-", "--no-costs"}, leaky).code == kDone);
  const Result strict = RunLine({"policy", "lint", "-", "--no-costs", "--strict"}, leaky);
  CHECK(strict.code == kRefused);
  CHECK_THAT(strict.out, ContainsSubstring("warning: leak: rule a: it notes secrets") && !ContainsSubstring("COULD HOLD"));
  CHECK(RunLine({"policy", "lint", "-"}, "version: 1\nname: a\nrules:\n  - {id: a, detect: {regex: 'x\\b[a-z]'}, do: flag}\n").code ==
        kRefused);
}

TEST_CASE("Without a file the server explains and lints what is in force") {
  Server server;
  const Result explained = server.Run({"policy", "explain", "--input", "a", "--project", "search/web", "--role", "tool", "--model", "m"});
  CHECK(explained.code == kDone);
  CHECK_THAT(explained.out, ContainsSubstring("served") && ContainsSubstring("it says so; it took 12 ms, read 40 and wrote 3 tokens"));
  CHECK(server.policy.explain.text() == "a");
  CHECK(server.policy.explain.role() == v1::ROLE_TOOL);
  CHECK(server.policy.explain.team() == "search");
  CHECK(server.policy.explain.project() == "web");
  CHECK(server.policy.explain.model() == "m");
  CHECK(server.Run({"policy", "lint", "--org", "acme"}).code == kRefused);
  CHECK(server.policy.lint.org() == "acme");
}
