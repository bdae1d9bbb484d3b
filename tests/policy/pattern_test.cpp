#include "policy/pattern.h"
#include "policy/budget.h"
#include "policy/live_search.h"
#include "policy/regex_syntax.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

absl::StatusOr<std::shared_ptr<const Pattern>> Make(const std::string& regex, std::int64_t cap = 0, Validator validator = nullptr) {
  auto tree = ParseRegex(regex, false);
  REQUIRE(tree.ok());
  PatternSpec spec;
  spec.regex = *std::move(tree);
  spec.cap = cap;
  spec.validator = validator;
  return Pattern::Compile(std::move(spec));
}

std::shared_ptr<const Pattern> Must(const std::string& regex, std::int64_t cap = 0, Validator validator = nullptr) {
  auto made = Make(regex, cap, validator);
  INFO(base::Message(made.status()));
  REQUIRE(made.ok());
  return *std::move(made);
}

std::int64_t Live(const std::string& regex, const std::string& text, std::int64_t cap = 0) {
  return Must(regex, cap)->LiveStart({text, 0}, 0);
}

}  // namespace

TEST_CASE("A pattern that could not be held is refused with the remedy") {
  const auto says = [](const absl::StatusOr<std::shared_ptr<const Pattern>>& made) { return base::Message(made.status()); };
  CHECK(says(Make("a*")).find("empty text") != std::string::npos);
  CHECK(says(Make("\\b")).find("empty text") != std::string::npos);
  CHECK(says(Make("a+")).find("cap") != std::string::npos);
  CHECK(says(Make("a{1,4}", 64)).find("remove it") != std::string::npos);
  CHECK(says(Make("(?:a{1,40}){1,40}")).find("too large") != std::string::npos);
  CHECK(says(Make(".{1000}.{1000}.{1000}.{1000}.{1000}")).find("smaller repeats") != std::string::npos);
}

TEST_CASE("The live suffix is the longest that some continuation makes a match") {
  CHECK(Live("abc", "xxab") == 2);
  CHECK(Live("abc", "xxabd") == 5);
  CHECK(Live("abc", "ababab") == 4);
  CHECK(Live("\\bkey=\\w{3,8}", "monkey=") == 7);
  CHECK(Live("\\bkey=\\w{3,8}", "my key=") == 3);
  CHECK(Live("\\bkey=\\w{3,8}", "my key=abcd") == 3);
  CHECK(Live("foo\\b", "a foo") == 2);
  CHECK(Live("foo\\b", "a foo.") == 6);
  CHECK(Live("[a-z]{1,10}@x", "0123456789 abcdefghijklmnop") == 27 - 12);
  CHECK(Live("a[^b]*b", "a......", 64) == 0);
}

TEST_CASE("An unbounded match counts as a hit at the checkpoint behind its cap, and swallows what goes on") {
  const auto pattern = Must("<[^>]*>", 16);
  std::string text = "0123456789<" + std::string(30, 'x') + ">tail <ok>";
  std::vector<Hit> hits;
  Pattern::Scan scan;
  const auto at = [&](std::size_t end) { return Pattern::Window{std::string_view(text).substr(0, end), 0}; };
  pattern->FindCapped(at(16), false, true, true, scan, hits);
  CHECK(hits.empty());
  pattern->FindCapped(at(32), false, true, true, scan, hits);
  REQUIRE(hits.size() == 1);
  CHECK(hits[0].begin == 10);
  CHECK(hits[0].end == 32);
  CHECK(scan.swallowing);
  pattern->FindCapped(at(48), false, true, true, scan, hits);
  REQUIRE(hits.size() == 2);
  CHECK(hits[1].continuation);
  CHECK(hits[1].end == 41);  // Up to, not with, what cannot belong to the repeat.
  pattern->FindCapped(at(text.size()), true, true, true, scan, hits);
  REQUIRE(hits.size() == 3);
  CHECK(text.substr(static_cast<std::size_t>(hits[2].begin)) == "<ok>");
}

TEST_CASE("A validator may shorten a match, and a narrow candidate that it rejects is searched again inside") {
  const Validator three = [](std::string_view text, std::size_t begin, std::size_t end) -> std::size_t {
    return text[begin] == 'b' && end - begin >= 3 ? begin + 3 : 0;
  };
  const auto pattern = Must("[abc]{2,8}", 0, three);
  std::vector<Hit> hits;
  Pattern::Scan scan;
  pattern->Find({"aabcabcc", 0}, INT64_MAX, scan, hits);
  REQUIRE(hits.size() == 2);
  CHECK(hits[0].begin == 2);
  CHECK(hits[0].end == 5);
  CHECK(hits[1].begin == 5);
}

TEST_CASE("Checkpoints are multiples of the cap, moved to the next code point") {
  const std::string text = std::string(15, 'a') + "\u20ac" + std::string(20, 'b');
  const Pattern::Window window{text, 0};
  CHECK(NextCheckpoint(window, 0, 16) == 18);
  CHECK(NextCheckpoint(window, 18, 16) == 32);
  CHECK(NextCheckpoint(window, 32, 16) == -1);
}

TEST_CASE("In a text that is searched in pieces no match is cut by one or lost between two") {
  // "ab…bc", as wide as it may be, around each place where a piece may end, and one that is a byte too wide.
  const auto pattern = Must("ab{1,30}c");
  for (const std::int64_t piece : {std::int64_t{4} << 10, std::int64_t{64} << 10}) {
    for (std::int64_t at = piece - 34; at <= piece + 2; ++at) {
      std::string text(static_cast<std::size_t>(at), 'b');
      text += "a" + std::string(30, 'b') + "c" + std::string(200, 'b') + "a" + std::string(31, 'b') + "c";
      std::vector<Hit> hits;
      Pattern::Scan scan, within;
      pattern->Find({text, 0}, INT64_MAX, scan, hits);
      pattern->FindWithin({text, 0}, 0, text.size(), within, hits);
      REQUIRE(hits.size() == 2);
      for (const Hit& hit : hits) CHECK((hit.begin == at && hit.end == at + 32));
    }
  }
  // The longest one, though the piece ends within it.
  const auto longest = Must("a(?:b{40}c)?");
  const std::string text = std::string((64 << 10) - 2, 'x') + "a" + std::string(40, 'b') + "c";
  std::vector<Hit> hits;
  Pattern::Scan scan;
  longest->Find({text, 0}, INT64_MAX, scan, hits);
  REQUIRE(hits.size() == 1);
  CHECK(hits[0].end - hits[0].begin == 42);
}

TEST_CASE("Many patterns are asked for their live start at once") {
  std::vector<std::string> prefixes;
  for (const char* regex : {"abc", "\\d{4,8}x", "foo bar"}) prefixes.push_back(Must(regex)->loosened_prefixes());
  Budget budget;
  const auto search = LiveSearch::Compile(prefixes, budget);
  REQUIRE(search.ok());
  const auto live = [&](std::string_view text) { return (*search)->LiveStart({text, 0}, 0); };
  CHECK(live("xx ab") == 3);
  CHECK(live("12 123") == 3);
  CHECK(live("foo ba") == 0);
  CHECK(live("foo bar") == 0);
  CHECK(live("foo baz") == 7);
}

}  // namespace tollgate::policy
