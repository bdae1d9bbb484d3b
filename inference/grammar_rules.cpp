// How it works. Both stretches of code points that are characters are cut at each range.
//
// Tested by tests/inference/grammar_follower_test.cpp.
#include "inference/grammar_rules.h"

#include <algorithm>

namespace tollgate::inference {

GrammarRules::Ranges OtherCharacters(GrammarRules::Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  GrammarRules::Ranges others;
  for (auto [from, to] : {std::pair(0x1U, 0xD7FFU), std::pair(0xE000U, 0x10FFFFU)}) {
    for (const auto& [first, last] : ranges) {
      if (last < from || last < first) continue;
      if (first > to) break;
      if (first > from) others.emplace_back(from, first - 1);
      from = std::min(last, to) + 1;
    }
    if (from <= to) others.emplace_back(from, to);
  }
  return others;
}

}  // namespace tollgate::inference
