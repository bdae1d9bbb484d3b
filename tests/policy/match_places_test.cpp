#include "policy/match_places.h"

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::shared_ptr<const Pattern> MustMake(const std::string& regex) {
  auto tree = ParseRegex(regex, false);
  REQUIRE(tree.ok());
  PatternSpec spec;
  spec.regex = *std::move(tree);
  auto pattern = Pattern::Compile(std::move(spec));
  REQUIRE(pattern.ok());
  return *std::move(pattern);
}

std::vector<Stretch> Near(const Pattern& pattern, std::string_view text) {
  CharPlaces places;
  for (std::size_t i = 0; i < text.size(); ++i) places.Add(text[i], i);
  places.AddRuns(text);
  return places.Near(pattern, {0, text.size()});
}

}  // namespace

TEST_CASE("A pattern is looked for only where the characters that it needs stand within its length") {
  const std::string gap(400, 'x');
  struct Row {
    const char* regex;
    std::string text;
    std::size_t stretches;
  };
  const Row rows[] = {
      {R"(\d{4} \d{4})", "1" + gap + "2" + gap + "3", 0},  // Fewer digits than it needs.
      {R"(\d{4} \d{4})", "1234" + gap + "5678", 0},        // Enough in all, but not together.
      {R"(\d{4} \d{4})", gap + "1234 5678" + gap, 1},
      {R"(\d{4} \d{4})", "1234 5678" + gap + "1234 5678", 2},
      {R"(\d{4} \d{4})", "1234 5678 and 1234 5678", 1},
      {R"(\d{1,3}(?:\.\d{1,3}){3})", "10.0.0.1" + gap + "12345", 1},
      {R"(\d{1,3}(?:\.\d{1,3}){3})", "a.b.c.d" + gap + "12345", 0},  // Dots here, digits there.
      {R"([a-f]{2}(?:-[a-f]{2}){5})", "aa-bb-cc" + gap + "dd-ee-ff", 0},
      {R"([a-z]{3})", "nothing that could be counted", 1},
      {R"([a-z0-9]{20})", "words of every length, but none of twenty", 0},
      {R"([a-z0-9]{20})", "nineteen: " + gap.substr(0, 19) + "!", 0},
      {R"([a-z0-9]{20})", gap.substr(0, 20), 1},
      {R"([a-z0-9]{20}!)", gap.substr(0, 300) + "! and so on " + gap.substr(0, 40), 1},  // So near that they are one.
      {R"(key [a-z0-9]{20})", "key " + gap.substr(0, 20) + std::string(400, ' ') + gap.substr(0, 20), 2},
      {R"([A-Z0-9]{16}\d{4})", gap, 0},  // A run, and not the digits.
      {R"(\d{3})", "", 0},
  };
  for (const Row& row : rows) {
    INFO(row.regex << " in " << row.text);
    CHECK(Near(*MustMake(row.regex), row.text).size() == row.stretches);
  }
}

TEST_CASE("No match begins outside the places at which it may begin") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view kAlphabet = "0123456789.:- ab";
  for (const char* regex :
       {R"(\b\d{3}-\d{2}-\d{4}\b)", R"(\d{1,3}(?:\.\d{1,3}){3,7})", R"([0-9a-f]{2}(?::[0-9a-f]{2}){2})", R"(\d(?:[ .-]{0,3}\d){6,14})",
        R"(\b[0-9xyz]{15,20}\b)", R"(\bx[0-9x-z-]{15,40}[ .:])", R"([q-z]{16}(?:[0-9.:-]{2,9}|q{3}))"}) {
    const auto pattern = MustMake(regex);
    for (int round = 0; round < 200; ++round) {
      std::string text;
      while (text.size() < 600) {  // Digits come in flocks.
        const std::size_t many = 1 + random() % 12;
        const bool flock = random() % 4 == 0;
        for (std::size_t i = 0; i < many; ++i) text += flock ? kAlphabet[random() % 14] : "xyz"[random() % 3];
        if (random() % 6 == 0) text += std::string(random() % 300, 'q');
      }
      Pattern::Scan all, some;
      std::vector<Hit> expected, found;
      pattern->Find({text, 0}, INT64_MAX, all, expected);
      for (const Stretch& its : Near(*pattern, text)) pattern->FindWithin({text, 0}, its.begin, its.end, some, found);
      INFO(regex << " in " << text);
      REQUIRE(found.size() == expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) CHECK((found[i].begin == expected[i].begin && found[i].end == expected[i].end));
    }
  }
}

}  // namespace tollgate::policy
