// Which grammars are let through to the engine, and what followers of one share.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "inference/grammar.h"
#include "inference/grammar_follower.h"
#include "inference/grammar_rules.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// Rules of two alternatives, each leading to the next: 2^count readings. Begins behind "root ::= ".
std::string Doubling(int count, const std::string& behind) {
  std::string all = "r0\n";
  for (int i = 0; i < count; ++i) all += fmt::format("r{0} ::= r{1}{2} | r{1}\n", i, i + 1, behind);
  return all;
}

TEST_CASE("Sound grammars pass, whatever their literals, sets and comments hold") {
  for (const std::string& text : {
           std::string("root ::= \"yes\" | \"no\""),
           std::string("root ::= item (\", \" item)*\nitem ::= [a-z]+ # {1000000} ((((\n"),
           std::string("root ::= \"a\\\" root ((( {99999} <\" [^\\]{<(]{1,100}"),
           std::string("root ::= a b\n  a ::= \"x\"\nb ::= a"),
           "root ::= " + Times(32, "(") + "\"a\"" + Times(32, ")"),
           std::string("root ::= ([0-9]{1,100}){0,100}"),
       }) {
    INFO(text);
    CHECK(CheckGrammar(text).ok());
  }
}

TEST_CASE("What could hurt the engine is refused, and why is said") {
  struct Row {
    std::string text;
    const char* says;
  };
  const Row rows[] = {
      {"", "no rule \"root\""},
      {"rot ::= \"a\"", "no rule \"root\""},
      {"root ::= " + Times(33, "(") + "\"a\"" + Times(33, ")"), "deeper than 32"},
      {"root ::= " + Times(8000, "(") + Times(8000, ")"), "deeper than 32"},
      {"root ::= (\"a\"", "not closed"},
      {"root ::= \"a\")", "should end here"},
      {"root ::= (\"a\"\nb ::= \"c\")", "not closed"},
      {"root ::= \"a\"**", "should end here"},
      {"root ::= *", "should end here"},
      {"root ::= \"\"", "is empty"},
      {"root ::= []", "is empty"},
      {"root ::= \"\\q\"", "unknown escape"},
      {"root ::= \"\\x4\"", "hexadecimal"},
      {"root ::= foo", "a rule foo, which it does not have"},
      {"root ::= \"a\"\nroot ::= \"b\"", "stands twice"},
      {"under_score ::= \"a\"", "NAME"},
      {"root = \"a\"", "NAME"},
      {"root ::= \"a\"{5,4}", "{n,m}"},
      {"root ::= \"a\"{-5}", "{n,m}"},
      {"root ::= \"a", "not closed"},
      {"root ::= [a", "not closed"},
      {"root ::= \"a\"{5", "not closed"},
      {"root ::= \"a\"{20000}", "at most 10000"},
      {"root ::= \"a\"{99999999999999999999}", "at most 10000"},
      {"root ::= (\"a\"{1000}){1000}", "multiply to more than 10000"},
      {"root ::= x{200}\nx ::= \"a\"{200}", "multiply to more than 10000"},
      {"root ::= root \"a\" | \"b\"", "refers to itself"},
      {"root ::= a\na ::= b\nb ::= \"(\" a \")\" | \"x\"", "refers to itself"},
      {"root ::= e \"b\"\ne ::= \"a\" e \"a\"? | \"a\" e? e | \"a\"", "refers to itself"},
      {"root ::= <[5]>", "should end here"},
      {"root ::= \"" + Times(7000, "a") + "\"{2000}", "more than 65536 places"},
      {"root ::= " + Doubling(40, "") + "r40 ::= \"x\"\n", "more than 65536 places"},
      {"root ::= " + Doubling(40, " \"a\"") + "r40 ::= \"x\"\n", "more than 65536 places"},
      {std::string("root ::= \"a\0\"", 13), "not text"},
      {"root ::= \"\xFF\"", "not text"},
      {"root ::= " + Times(17000, "a"), "at most 16384"},
      {"root ::= \"a\"\n" +
           [] {
             std::string rules;
             for (int i = 0; i < 600; ++i) rules += "r" + std::to_string(i) + " ::= \"a\"\n";
             return rules;
           }(),
       "more than 512"},
  };
  for (const Row& row : rows) {
    const absl::Status status = CheckGrammar(row.text);
    INFO(row.says << " / " << status.ToString() << " / " << row.text.substr(0, 60));
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(status).find(row.says) != std::string::npos);
  }
}

TEST_CASE("Any bytes are judged, none hurts") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::string alphabet = "root::=ab \n\"[](){}0123456789,|*+?\\#<>-^";
  for (int round = 0; round < 5000; ++round) {
    std::string text = random() % 2 == 0 ? "root ::= " : "";
    for (std::uint64_t n = random() % 80; n > 0; --n) text += alphabet[random() % alphabet.size()];
    const absl::Status status = CheckGrammar(text);
    CHECK((status.ok() || status.code() == absl::StatusCode::kInvalidArgument));
  }
}

TEST_CASE("Followers of one grammar share its rules and nothing else, and each remembers its share behind a token") {
  auto read = ReadGrammar("root ::= ([0-9] | \"ab\" | \"ac\"){0,9000} \"!\"");
  REQUIRE(read.ok());
  const auto follow = [](GrammarFollower& follower, std::string_view token) {
    const auto takes = follower.Takes(token);
    return takes.ok() && *takes && follower.Accept(token).ok();
  };
  const auto rules = std::make_shared<const GrammarRules>(*std::move(read));
  GrammarFollower first(rules, 4);
  CHECK(rules.use_count() == 2);
  REQUIRE(follow(first, "7a"));
  const auto second = first.Again();
  CHECK(rules.use_count() == 3);
  std::size_t most = 0;
  for (int i = 0; i < 4000; ++i) {
    REQUIRE(follow(*second, i % 2 == 0 ? "7" : "ac"));
    most = std::max(most, second->states());
  }
  CHECK(most > 400);
  CHECK(most <= 512);
  CHECK(first.states() < 20);
  CHECK_FALSE(follow(first, "7"));
  REQUIRE(follow(first, "b!"));
  CHECK(first.MayEnd());
}

}  // namespace
}  // namespace tollgate::inference
