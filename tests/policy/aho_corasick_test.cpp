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

TEST_CASE("No words is an automaton that finds nothing") {
  const auto automaton = AhoCorasick::Build({});
  REQUIRE(automaton.ok());
  CHECK(automaton->empty());
  CHECK_FALSE(automaton->EndsWord(automaton->Next(AhoCorasick::kStart, 'a')));
}

}  // namespace tollgate::policy
