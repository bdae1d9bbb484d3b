#include "policy/match_places.h"

#include <algorithm>

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
  std::vector<Stretch> out;
  CharPlaces(text).AddNear(pattern, {0, text.size()}, out);
  return out;
}

std::string RandomBytes(std::mt19937_64& random, std::size_t bytes_max, std::string_view alphabet) {
  std::string out;
  for (std::size_t n = random() % (bytes_max + 1); n > 0; --n) out += alphabet[random() % alphabet.size()];
  return out;
}

bool IsWord(char c) { return Pattern::IsRunByte(c) && c != '-' && c != '<'; }

bool IsOf(TextBits::Kind kind, std::string_view text, std::size_t at) {
  switch (kind) {
    case TextBits::kDigit: return text[at] >= '0' && text[at] <= '9';
    case TextBits::kDot: return text[at] == '.';
    case TextBits::kColon: return text[at] == ':';
    case TextBits::kHyphen: return text[at] == '-';
    case TextBits::kUnderscore: return text[at] == '_';
    case TextBits::kEdge: return IsWord(text[at]) != (at > 0 && IsWord(text[at - 1]));
    default: return Pattern::IsRunByte(text[at]);
  }
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
      {R"(\d{4} \d{4})", "1" + gap + "2" + gap + "3", 0},     // Fewer digits than it needs.
      {R"([ab]{0,9}\d{4} \d{4})", "1234" + gap + "5678", 0},  // Enough in all, but not together.
      {R"([ab]{0,9}\d{4} \d{4})", gap + "1234 5678" + gap, 1},
      {R"([ab]{0,9}\d{4} \d{4})", "1234 5678" + gap + "1234 5678", 2},
      {R"(\d{4} \d{4})", "1234 5678" + gap + "1234 5678", 1},  // It begins with digits, which tells more.
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

TEST_CASE("Each bit says what its byte is, wherever it is asked for") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  std::string every;
  for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
  for (int round = 0; round < 100; ++round) {
    const std::string text = RandomBytes(random, 200, round % 2 == 0 ? std::string_view(every) : "019.:-_<aZ @[`{/;,");
    const TextBits bits(text);
    REQUIRE(bits.words() * TextBits::kWordBytes >= text.size());
    for (int k = 0; k < TextBits::kKinds; ++k) {
      const auto kind = static_cast<TextBits::Kind>(k);
      std::vector<std::size_t> places;
      for (std::size_t at = 0; at < text.size(); ++at) {
        if (IsOf(kind, text, at)) places.push_back(at);
      }
      const auto within = [&](std::size_t begin, std::size_t end) {
        const auto in = [&](std::size_t at) { return at >= begin && at < end; };
        return static_cast<std::size_t>(std::count_if(places.begin(), places.end(), in));
      };
      if (k < static_cast<int>(TextBits::kCounted)) CHECK(bits.Count(kind) == places.size());
      for (std::size_t at = 0; at < text.size(); ++at) {
        const bool is = IsOf(kind, text, at);
        CHECK((bits.Word(kind, at / 64) >> at % 64 & 1) == std::uint64_t{is});
        CHECK((bits.From(kind, at) & 1) == std::uint64_t{is});
        const auto next = std::lower_bound(places.begin(), places.end(), at);
        if (kind != TextBits::kEdge) CHECK(bits.Next(kind, at) == (next == places.end() ? SIZE_MAX : *next));
      }
      for (int question = 0; question < 8; ++question) {  // Behind the text's end a word may still end, which is an edge there.
        const std::size_t begin = random() % (text.size() + 1), end = begin + random() % 220, count = random() % 5;
        INFO("kind " << k << " from " << begin << " to " << end << " of " << text.size() << " bytes");
        if (kind != TextBits::kEdge) CHECK(bits.HasSoMany(kind, count, begin, end) == (within(begin, end) >= count));
      }
    }
  }
}

TEST_CASE("Of a match's beginning it is known what it may have, and no more") {
  struct Row {
    const char* regex;
    bool at_edge, digit_first;
    std::vector<std::uint8_t> digits;
    std::vector<const char*> fits, not_fits;
  };
  const Row rows[] = {
      {R"((?:\b|_)\d{3}-\d{2})", true, true, {1, 2, 5}, {"123-45", "_123-4", "1234-5"}, {"a23-45", "123-4", "12--45", ""}},
      {R"(\b[A-Z]{2}\d{2}[A-Z0-9 ]{3,9})", true, false, {2, 3}, {"GB12 34", "GB12ABC and so on"}, {"gb12 34", "GB1234", "GBA2 34"}},
      {R"((?:\(|\b)\d{3})", false, false, {1, 2}, {"123", "(12"}, {"((1", "12", "1("}},
      {R"(\B\d\d)", false, true, {0, 1}, {"12"}, {"1", "a1"}},
      {R"((?:a|\b)\d)", false, false, {}, {"1", "a1"}, {"b1", ""}},
      {R"((?:\b)?\d)", false, true, {0}, {"1"}, {"a"}},
      {R"(_?\bx\d?)", false, false, {}, {"x", "_x"}, {"1", "y"}},
      {R"(^\bx)", true, false, {}, {"x"}, {"_"}},
      {"(?:ab?){2,}c", false, false, {}, {"aac", "abac", "abbc"}, {"aa", "bac", "caa"}},
      {"[\xC3\xA9x]y", false, false, {}, {"xy", "\xC3\xA9y", "\xC3\xA9\xC3\xA9"}, {"y\xC3", "x", "xx"}},
      {"[0-9]{1,40}z{1,40}.{20}", false, true, {0}, {"1zzzzzzzzzzzzzzzzzzzzzz", "11111111111111111111111111"}, {"zzzzzzzzzzzzzzzzzzzzzz"}},
  };
  for (const Row& row : rows) {
    INFO(row.regex);
    auto tree = ParseRegex(row.regex, false);
    REQUIRE(tree.ok());
    const MatchStart start(*tree);
    CHECK(start.at_edge() == row.at_edge);
    CHECK(start.digit_first() == row.digit_first);
    CHECK(std::vector<std::uint8_t>(start.digits().begin(), start.digits().end()) == row.digits);
    for (const char* text : row.fits) {
      INFO(text);
      CHECK(start.Fits(text, 0));
    }
    for (const char* text : row.not_fits) {
      INFO(text);
      CHECK_FALSE(start.Fits(text, 0));
    }
  }
  CHECK(MatchStart().Fits("", 0));
}

TEST_CASE("No match begins outside the places at which it may begin") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view kAlphabet = "0123456789.:- ab";
  for (const char* regex :
       {R"(\b\d{3}-\d{2}-\d{4}\b)", R"(\d{1,3}(?:\.\d{1,3}){3,7})", R"([0-9a-f]{2}(?::[0-9a-f]{2}){2})", R"(\d(?:[ .-]{0,3}\d){6,14})",
        R"(\b[0-9xyz]{15,20}\b)", R"(\bx[0-9x-z-]{15,40}[ .:])", R"([q-z]{16}(?:[0-9.:-]{2,9}|q{3}))",
        R"((?:\b|_)\d(?:[ .-]{0,2}\d){11,18}\b)", R"(x?\d\d|[a-z]{2}\d)", R"([^x]{3,9}\B)", R"((?:\B|^)[yz]{2,5}q?)"}) {
    const auto pattern = MustMake(regex);
    for (int round = 0; round < 200; ++round) {
      std::string text;
      while (text.size() < 600) {  // Digits come in flocks.
        const std::size_t many = 1 + random() % 12;
        const bool flock = random() % 4 == 0;
        for (std::size_t i = 0; i < many; ++i) text += flock ? kAlphabet[random() % 14] : "xyz"[random() % 3];
        if (random() % 6 == 0) text += std::string(random() % 300, 'q');
      }
      Pattern::Scan all, some, few;
      std::vector<Hit> expected, found, tried;
      pattern->Find({text, 0}, INT64_MAX, all, expected);
      for (const Stretch& its : Near(*pattern, text)) pattern->FindWithin({text, 0}, its.begin, its.end, some, found);
      CharPlaces(text).Find(*pattern, {0, text.size()}, few, tried);
      INFO(regex << " in " << text);
      REQUIRE(found.size() == expected.size());
      REQUIRE(tried.size() == expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK((found[i].begin == expected[i].begin && found[i].end == expected[i].end));
        CHECK((tried[i].begin == expected[i].begin && tried[i].end == expected[i].end));
      }
    }
  }
}

}  // namespace tollgate::policy
