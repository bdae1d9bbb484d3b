// How an output follows a grammar, and what it costs at worst: in steps that are counted, not in time.
#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "inference/grammar.h"
#include "inference/grammar_follower.h"
#include "inference/json_schema.h"
#include "inference/tool_grammar.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

std::string Times(int count, const std::function<std::string(int)>& text, const std::string& between = "") {
  std::string all;
  for (int i = 0; i < count; ++i) all += (i == 0 ? "" : between) + text(i);
  return all;
}
std::string Times(int count, const std::string& text, const std::string& between = "") {
  return Times(
      count, [&](int) { return text; }, between);
}

GrammarRules Rules(std::string_view gbnf) {
  auto rules = ReadGrammar(gbnf);
  INFO(rules.status().ToString());
  REQUIRE(rules.ok());
  return *std::move(rules);
}

// The text's bytes one after the other; whether all came through.
bool Follow(GrammarFollower& follower, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto takes = follower.Takes(text.substr(i, 1));
    REQUIRE(takes.ok());
    if (!*takes) return false;
    REQUIRE(follower.Accept(text.substr(i, 1)).ok());
  }
  return true;
}

bool IsWhole(std::string_view gbnf, std::string_view text) {
  GrammarFollower follower(Rules(gbnf));
  return Follow(follower, text) && follower.MayEnd();
}

struct Vocabulary {
  std::vector<std::string> tokens;
  TokenOrder order;
  explicit Vocabulary(std::vector<std::string> all)
      : tokens(std::move(all)),
        order(static_cast<std::int32_t>(tokens.size()), [this](std::int32_t i) -> std::string_view { return tokens[i]; }) {}
  Vocabulary(const Vocabulary&) = delete;
};

// As large as Qwen's: every byte, and words, with what JSON puts around them.
const Vocabulary& Large() {
  static const Vocabulary large([] {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    const std::vector<std::string> around = {"", " ", "\"", "\":", "\",\"", "{\"", "[[", "],", "}", " \"", "1", "12", "é", "日本", "\n  "};
    std::mt19937_64 random(1);
    while (tokens.size() < 151'936) {
      std::string word = around[random() % around.size()];
      for (std::uint64_t n = random() % 10; n > 0; --n) word += static_cast<char>('a' + random() % 26);
      tokens.push_back(word + around[random() % around.size()]);
    }
    return tokens;
  }());
  return large;
}

TEST_CASE("A text follows a grammar or does not, and may end where the grammar may") {
  struct Row {
    const char* gbnf;
    std::vector<const char*> whole;
    std::vector<const char*> begun;  // More has to come.
    std::vector<const char*> not_it;
  };
  const Row rows[] = {
      {R"(root ::= "yes" | "no")", {"yes", "no"}, {"", "y", "n"}, {"x", "yesno", "nn"}},
      {R"(root ::= "a"{2,3} "b"? [c-e]* "f"+)", {"aaf", "aaabcdeff"}, {"a", "aa", "aab"}, {"ab", "aaaa", "aag", "aafb"}},
      {R"(root ::= "a"{2,})", {"aa", "aaaaaa"}, {"a"}, {"b"}},
      {R"(root ::= "a"{2} "b"{0} "c")", {"aac"}, {"aa"}, {"aab", "ac"}},
      {R"(root ::= ("ab")* "c")", {"c", "ababc"}, {"a", "ab"}, {"aa", "abb"}},
      {R"(root ::= [^a-c\]] [-x] [\x41\u0042-])", {"d-A", "zxB", "x--"}, {"d"}, {"a", "]", "dyA", "dxC"}},
      {"root ::= x # a comment\nx ::= (\"a\" |\n \"b\") y\ny ::= \"\\\"\\\\\\n\"", {"a\"\\\n"}, {"b"}, {"ab"}},
      {R"(root ::= . "é" [à-ü])", {"日éü", "aéà"}, {"", "\xE6", "\xE6\x97", "日\xC3"}, {"\xFF", "日\xC4", "aéz", "aé\xC4"}},
      {R"(root ::= .)",
       {"\x7F", "\xC2\x80", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"},
       {"\xF0"},
       {"\x80", "\xC0", "\xC1", "\xE0\x9F", "\xED\xA0", "\xF0\x8F", "\xF4\x90", "\xF5"}},
      {R"(root ::= [\U0001F600-\U0001F64F])", {"😀"}, {"\xF0\x9F"}, {"a", "\xF0\x90", "\xF0\x9F\x99\x90"}},
  };
  for (const Row& row : rows) {
    for (const char* text : row.whole) {
      INFO(row.gbnf << " / " << text);
      CHECK(IsWhole(row.gbnf, text));
    }
    for (const char* text : row.begun) {
      INFO(row.gbnf << " / " << text);
      GrammarFollower follower(Rules(row.gbnf));
      CHECK(Follow(follower, text));
      CHECK_FALSE(follower.MayEnd());
    }
    for (const char* text : row.not_it) {
      INFO(row.gbnf << " / " << text);
      GrammarFollower follower(Rules(row.gbnf));
      CHECK_FALSE(Follow(follower, text));
    }
  }
  // What no text has stands for nothing, in literals too.
  CHECK(IsWhole(R"(root ::= "a\uD800" | "\x00" | "\U00110000" | "ab")", "ab"));
  CHECK_FALSE(IsWhole(R"(root ::= "a\uD800" | "ab")", "a\xED\xA0\x80"));
  GrammarFollower nul(Rules("root ::= .*"));
  CHECK_FALSE(*nul.Takes(std::string_view("\0", 1)));
  CHECK_FALSE(*nul.Takes(""));
}

TEST_CASE("What a grammar takes is what the regular expression of the same words matches, token by token or all at once") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::pair<std::string, std::string>> items = {
      {"\"a\"", "a"}, {"\"ab\"", "(?:ab)"}, {"[a-b]", "[a-b]"}, {"[^a]", "[^a]"}, {".", "."}};
  const std::vector<std::string> counts = {"", "?", "{2}", "{0,2}", "*", "+", "{1,}", ""};  // The first four: of what is in parentheses.
  std::vector<std::string> words = {"a", "b", "c", "ab", "ba", "aab", "abc", "cc", "bbab"};
  const Vocabulary vocabulary(words);
  int whole = 0;
  for (int round = 0; round < 400; ++round) {
    std::string gbnf;
    std::string regex;
    const std::function<void(int)> write = [&](int depth) {
      for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
        if (depth < 2 && random() % 3 == 0) {
          gbnf += "(", regex += "(?:";
          write(depth + 1);
          const std::string& count = counts[random() % 4];
          gbnf += ")" + count + " ", regex += ")" + count;
        } else {
          const auto& [ours, theirs] = items[random() % items.size()];
          const std::string& count = counts[random() % counts.size()];
          gbnf += ours + count + " ", regex += theirs + count;
        }
      }
      if (random() % 4 == 0) {
        gbnf += "| ", regex += "|";
        write(depth + 1);
      }
    };
    write(0);
    const std::regex expected(regex);
    GrammarFollower follower(Rules("root ::= " + gbnf));
    for (int text = 0; text < 10; ++text) {
      follower.Restart();
      std::string all;
      bool takes = true;
      while (takes && all.size() < 8) {
        INFO(gbnf << " / " << all);
        CHECK(follower.MayEnd() == std::regex_match(all, expected));
        whole += follower.MayEnd() ? 1 : 0;
        std::vector<std::uint8_t> may(words.size(), 0);
        REQUIRE(follower.Mark(vocabulary.order, may).ok());
        for (std::size_t i = 0; i < words.size(); ++i) CHECK((may[i] != 0) == *follower.Takes(words[i]));
        const std::string& word = words[random() % words.size()];
        takes = *follower.Takes(word);
        if (takes) REQUIRE(follower.Accept(word).ok());
        all += word;
      }
      if (!takes) CHECK_FALSE(std::regex_match(all, expected));
    }
  }
  CHECK(whole > 100);
}

TEST_CASE("Tokens are looked at in the order of their bytes, those without any never come, and those alike come together") {
  const Vocabulary vocabulary({"b", "", "abc", "a", "abd", "abc", "ab"});
  std::vector<std::int32_t> order;
  std::string_view rest = vocabulary.order.rest();
  std::string before;
  for (const TokenOrder::Item& item : vocabulary.order.items()) {
    order.push_back(item.token);
    before = before.substr(0, item.shared) + std::string(rest.substr(item.from, item.to - item.from));
    CHECK(before == vocabulary.tokens[static_cast<std::size_t>(item.token)]);
  }
  CHECK(order == std::vector<std::int32_t>{3, 6, 2, 5, 4, 0});
  GrammarFollower follower(Rules("root ::= \"abc\""));
  std::vector<std::uint8_t> may(vocabulary.tokens.size(), 0);
  REQUIRE(follower.Mark(vocabulary.order, may).ok());
  CHECK(may == std::vector<std::uint8_t>{0, 0, 1, 1, 0, 1, 1});
}

TEST_CASE("What is remembered is dropped once it is much, and a long output goes on all the same, and can start again") {
  GrammarFollower follower(Rules("root ::= ([0-9] | \"ab\" | \"ac\"){0,9000} \"é\""));
  const Vocabulary vocabulary({"1", "a", "b", "c", "\xC3", "\xA9", "ab1", "é"});
  for (int again = 0; again < 2; ++again) {
    for (int i = 0; i < 9000; ++i) REQUIRE(Follow(follower, i % 2 == 0 ? "7" : "ab"));
    std::vector<std::uint8_t> may(vocabulary.tokens.size(), 0);
    REQUIRE(follower.Mark(vocabulary.order, may).ok());
    CHECK(may == std::vector<std::uint8_t>{0, 0, 0, 0, 1, 0, 0, 1});
    REQUIRE(Follow(follower, "é"));
    CHECK(follower.MayEnd());
    follower.Restart();
    CHECK_FALSE(follower.MayEnd());
  }
}

TEST_CASE("An output may be nested thousands of levels deep, and ends beyond: each level is carried along for as long as it is open") {
  GrammarFollower follower(Rules(JsonGrammar()));
  for (int again = 0; again < 2; ++again) {
    REQUIRE(Follow(follower, "{\"a\":" + std::string(4500, '[')));
    REQUIRE(Follow(follower, Times(20'000, "1", ",") + std::string(4500, ']') + "}"));
    CHECK(follower.MayEnd());
    follower.Restart();
  }
  REQUIRE(Follow(follower, "{\"a\":"));
  int levels = 0;
  absl::Status status;
  while (status.ok() && levels < 100'000) {
    status = follower.Takes("[").status();
    if (status.ok()) status = follower.Accept("[");
    ++levels;
  }
  CHECK(absl::IsResourceExhausted(status));
  CHECK(base::Message(status).find("nested too deep") != std::string::npos);
  CHECK(levels > 4500);
  CHECK(levels < 6000);
  CHECK(absl::IsResourceExhausted(follower.Takes("1").status()));  // For good.
}

// Walks a document with a pass over the whole vocabulary at each byte, as if each winner were refused.
absl::Status MarkThrough(std::string_view gbnf, std::string_view document) {
  GrammarFollower follower(Rules(gbnf));
  std::vector<std::uint8_t> may(Large().tokens.size());
  for (std::size_t i = 0; i < document.size(); ++i) {
    TG_ASSIGN(const bool takes, follower.Takes(document.substr(i, 1)));
    INFO(document.substr(0, i + 1));
    REQUIRE(takes);
    std::fill(may.begin(), may.end(), 0);
    TG_RETURN_IF_ERROR(follower.Mark(Large().order, may));
    CHECK(may[static_cast<std::uint8_t>(document[i])] != 0);
    TG_RETURN_IF_ERROR(follower.Accept(document.substr(i, 1)));
  }
  CHECK(follower.MayEnd());
  return absl::OkStatus();
}

std::string OfSchema(const std::string& schema) {
  auto grammar = JsonSchemaGrammar(schema);
  INFO(grammar.status().ToString());
  REQUIRE(grammar.ok());
  return *grammar;
}

TEST_CASE("Schemas of every day cost little, with every token of a large vocabulary looked at for each byte") {
  std::mt19937_64 random(2);
  const auto word = [&](int i) {
    std::string letters;
    for (int n = 0; n < 6; ++n) letters += static_cast<char>('a' + random() % 26);
    return fmt::format(R"("{}{}")", letters, i);
  };
  std::vector<ForcedTool> tools;
  for (int i = 0; i < 128; ++i)
    tools.push_back({.name = fmt::format("tool_{}", i),
                     .parameters = R"({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}})"});
  const auto forced = ToolGrammar(ToolStyle::kHermes, tools, true, false);
  REQUIRE(forced.ok());
  struct Row {
    const char* what;
    std::string grammar;
    std::string document;
  };
  const Row rows[] = {
      {"JSON", std::string(JsonGrammar()), R"({"a": [1, -2.5e3, "b\n\u001f", {"c": null}], "d": [[], {}]})"},
      {"500 values", OfSchema(R"({"properties":{"country":{"enum":[)" + Times(499, word, ",") + R"(,"zz"]}}})"), R"({"country":"zz"})"},
      {"20 objects",
       OfSchema(R"({"anyOf":[)" + Times(20, R"({"properties":{"type":{"type":"string"},"n":{"type":"number"},"x":{}}})", ",") + "]}"),
       R"({"type":"ab","n":12,"x":[{"y":[1]}]})"},
      {"50 kinds",
       OfSchema(
           R"({"type":"array","items":{"anyOf":[)" +
           Times(
               50,
               [](int i) { return fmt::format(R"({{"properties":{{"kind":{{"const":"kind{}"}},"v":{{"type":["string","null"]}}}}}})", i); },
               ",") +
           "]}}"),
       R"([{"kind":"kind7","v":null},{"kind":"kind49","v":"x"}])"},
      {"nested arrays", OfSchema(Times(20, R"({"type":"array","items":)") + R"({"type":"integer"})" + Times(20, "}")),
       Times(20, "[") + "1,2" + Times(20, "]")},
      {"100 optional fields",
       OfSchema(R"({"properties":{)" +
                Times(
                    100, [](int i) { return fmt::format(R"("field{}":{{"type":"string"}})", i); }, ",") +
                "}}"),
       R"({"field3":"a","field50":"b","field99":"c"})"},
      {"100 bounded numbers",
       OfSchema(R"({"properties":{)" +
                Times(
                    100,
                    [](int i) {
                      return fmt::format(R"("n{0}":{{"type":"{1}","minimum":-7{0},"maximum":90071992547409{0}}})", i,
                                         i % 2 == 0 ? "integer" : "number");
                    },
                    ",") +
                "}}"),
       R"({"n3":-36.5,"n50":9007199254740949,"n99":1.5})"},
      {"lengths and formats",
       OfSchema(
           R"({"properties":{"t":{"type":"string","minLength":2,"maxLength":900},"d":{"type":"string","format":"date-time"},"l":{"type":"array","items":{"type":"number"},"minItems":2,"maxItems":90}},"required":["t","d","l"]})"),
       R"({"t":"two words","d":"2026-11-27T10:11:12Z","l":[1,2.5,3]})"},
      {"128 tools", forced->gbnf, "<tool_call>\n{\"name\":\"tool_77\",\"arguments\":{\"city\":\"Rome\",\"days\":3}}\n</tool_call>"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    CHECK(MarkThrough(row.grammar, row.document) == absl::OkStatus());
  }
}

TEST_CASE("Readings cost their number, not their product: what once took days is followed within one call's bound") {
  const std::string chain = "root ::= " + Times(4000, "\"a\"?");
  const std::string through = "root ::= " + Times(200, "y ") + "\ny ::= " + Times(50, "x ") + "\nx ::= \"a\"?";
  const std::string repeated = "root ::= ([a-z]{1,50} \"x\"?){0,100}";
  const std::string stars = "root ::= " + Times(500, "[a-z]* ");
  const std::string alike = "root ::= " + Times(1400, "\"aaaaaaaa\"", "|");
  for (const std::string& gbnf : {chain, through, repeated, stars, alike}) {
    INFO(gbnf.substr(0, 40));
    REQUIRE(CheckGrammar(gbnf).ok());
    GrammarFollower follower(Rules(gbnf));
    for (const char* token : {"a", "aaaa", "aaa"}) {
      const auto takes = follower.Takes(token);
      REQUIRE(takes.ok());
      CHECK(*takes);
      REQUIRE(follower.Accept(token).ok());
    }
  }
}

TEST_CASE("A grammar that costs more than an output may ends it, and nothing earns that again") {
  SECTION("at its beginning") {
    GrammarFollower follower(Rules("root ::= root \"a\" | \"b\""));
    for (int again = 0; again < 20; ++again) {
      const auto takes = follower.Takes("b");
      CHECK(takes.status().code() == absl::StatusCode::kResourceExhausted);
      CHECK(base::Message(takes.status()).find("make it less ambiguous") != std::string::npos);
      follower.Restart();
    }
  }
  SECTION("in one pass over the vocabulary") {
    const auto grammar = JsonSchemaGrammar(R"({"anyOf":[)" + Times(499, R"({"properties":{"a":{}}})", ",") + "]}");
    REQUIRE(grammar.ok());
    GrammarFollower follower(Rules(*grammar));
    REQUIRE(Follow(follower, R"({"a":[)"));
    std::vector<std::uint8_t> may(Large().tokens.size(), 0);
    CHECK(follower.Mark(Large().order, may).code() == absl::StatusCode::kResourceExhausted);
    CHECK(follower.Takes("1").status().code() == absl::StatusCode::kResourceExhausted);
  }
  SECTION("by a little more than it earns with each of many tokens") {
    GrammarFollower follower(Rules("root ::= " + Times(4000, "\"a\"?")));
    const Vocabulary vocabulary({"a", "aa", "aaa", "aaaa", "aaaaaaaa", "aaaaaaaaaaaaaaaa"});
    int tokens = 0;
    absl::Status status;
    while (status.ok() && tokens < 200) {
      const auto takes = follower.Takes("aaaaaaaaaaaaaaaa");
      status = takes.status();
      std::vector<std::uint8_t> may(vocabulary.tokens.size(), 0);
      if (status.ok()) status = follower.Mark(vocabulary.order, may);
      if (status.ok()) status = follower.Accept("aaaaaaaaaaaaaaaa");
      ++tokens;
    }
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
    CHECK(tokens > 1);
  }
}

TEST_CASE("Grammars that cannot be followed are refused where they are read") {
  for (const auto& [gbnf, says] : {std::pair<std::string, const char*>{"root ::= foo", "a rule foo"},
                                   {"x ::= \"a\"", "no rule \"root\""},
                                   {"root ::= \"\xFF\"", "not text"},
                                   {"root ::= [a", "not closed"},
                                   {"root ::= " + Times(30, "\"a\"{10000} "), "too large"}}) {
    const absl::Status status = ReadGrammar(gbnf).status();
    INFO(says << " / " << status.ToString());
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(status).find(says) != std::string::npos);
  }
  CHECK(ReadGrammar("root ::= \"(\" root \")\" | \"a\"").ok());
}

}  // namespace
}  // namespace tollgate::inference
