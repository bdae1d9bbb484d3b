#include <random>

#include "policy/aho_corasick.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {

TEST_CASE("Every word is found at every place, longest first, and the depth is the longest suffix that begins a word") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto make = [&](std::size_t longest, const char* letters) {
    std::string out;
    for (std::size_t n = 1 + random() % longest; n > 0; --n) out += letters[random() % 3];
    return out;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> words;
    for (std::size_t n = 1 + random() % 8; n > 0; --n) words.push_back(make(5, "abc"));
    const std::string text = make(30, "aBc");
    std::string lower = text;
    for (char& c : lower) c = c == 'B' ? 'b' : c;
    const auto automaton = AhoCorasick::Build(words);
    REQUIRE(automaton.ok());
    AhoCorasick::State state = AhoCorasick::kStart;
    for (std::size_t i = 0; i < text.size(); ++i) {
      state = automaton->Next(state, text[i]);
      const std::string read = lower.substr(0, i + 1);
      std::vector<std::uint32_t> found, expected;
      std::size_t last = SIZE_MAX;
      automaton->ForEachEnding(state, [&](std::uint32_t word) {
        CHECK(words[word].size() <= last);
        last = words[word].size();
        found.push_back(word);
      });
      std::size_t depth = 0;
      for (std::uint32_t w = 0; w < words.size(); ++w) {
        if (read.ends_with(words[w])) expected.push_back(w);
        for (std::size_t n = 1; n <= words[w].size(); ++n) {
          if (read.ends_with(words[w].substr(0, n))) depth = std::max(depth, n);
        }
      }
      std::sort(found.begin(), found.end());
      CHECK(found == expected);
      CHECK(automaton->EndsWord(state) == !expected.empty());
      CHECK(automaton->Depth(state) == depth);
    }
  }
}

TEST_CASE("A text that is read at four places at once has the same endings as one that is read byte by byte") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto make = [&](std::size_t bytes, std::string_view letters, std::size_t many) {
    std::string out;
    while (out.size() < bytes) out.append(1 + random() % many, letters[random() % letters.size()]);
    return out;
  };
  for (int round = 0; round < 400; ++round) {
    const bool blanks_run = round % 2 == 0;
    std::vector<std::string> words;
    for (std::size_t n = random() % 6; n > 0; --n) {
      std::string word = make(1 + random() % (round % 3 == 0 ? 40 : 6), blanks_run ? "ab " : "ab", 1);
      if (!blanks_run || word.find("  ") == std::string::npos) words.push_back(std::move(word));
    }
    const std::size_t bytes = random() % (round % 4 < 2 ? 5000 : 300), many = 1 + random() % (round % 5 == 0 ? 90 : 3);
    const std::string text = make(bytes, blanks_run ? "ab b a\n" : "abcd", many);
    const auto automaton = AhoCorasick::Build(words, blanks_run);
    REQUIRE(automaton.ok());
    std::vector<std::pair<std::size_t, AhoCorasick::State>> expected, found;
    AhoCorasick::State state = AhoCorasick::kStart, read = AhoCorasick::kStart;
    for (std::size_t i = 0; i < text.size(); ++i) {
      state = automaton->Next(state, text[i]);
      if (automaton->EndsWord(state)) expected.emplace_back(i + 1, state);
    }
    const std::size_t cut = random() % (text.size() + 1);
    const auto read_on = [&](std::size_t from, std::size_t to) {
      automaton->ForEachEnd(std::string_view(text).substr(from, to - from), read,
                            [&](std::size_t end, AhoCorasick::State its) { found.emplace_back(from + end, its); });
    };
    read_on(0, cut);
    read_on(cut, text.size());
    CHECK(found == expected);
    CHECK(read == state);
  }
}

TEST_CASE("Where blanks run, a text is read as if each run of them were one") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto make = [&](std::size_t longest, std::string_view letters) {
    std::string out;
    for (std::size_t n = 1 + random() % longest; n > 0; --n) out += letters[random() % letters.size()];
    return out;
  };
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> words;
    while (words.size() < 5) {
      std::string word = make(6, "ab ");
      if (word.find("  ") == std::string::npos) words.push_back(std::move(word));
    }
    const auto running = AhoCorasick::Build(words, true), exact = AhoCorasick::Build(words);
    REQUIRE(running.ok());
    REQUIRE(exact.ok());
    AhoCorasick::State runs = AhoCorasick::kStart, single = AhoCorasick::kStart;
    char before = 0;
    for (const char c : make(40, "aab \t\r\n")) {
      runs = running->Next(runs, c);
      if (!is_blank(c) || !is_blank(before)) single = exact->Next(single, is_blank(c) ? ' ' : c);
      before = c;
      std::vector<std::uint32_t> found, expected;
      running->ForEachEnding(runs, [&](std::uint32_t word) { found.push_back(word); });
      exact->ForEachEnding(single, [&](std::uint32_t word) { expected.push_back(word); });
      CHECK(found == expected);
      CHECK(running->Depth(runs) == exact->Depth(single));
    }
  }
}

TEST_CASE("No words is an automaton that finds nothing") {
  const auto automaton = AhoCorasick::Build({});
  REQUIRE(automaton.ok());
  CHECK(automaton->empty());
  CHECK_FALSE(automaton->EndsWord(automaton->Next(AhoCorasick::kStart, 'a')));
}

}  // namespace tollgate::policy
