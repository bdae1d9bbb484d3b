// GrammarRules: a grammar as it is followed, its repetitions written out.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tollgate::inference {

struct GrammarRules {
  using Ranges = std::vector<std::pair<std::uint32_t, std::uint32_t>>;  // Of code points, both ends in; in order, apart.
  struct Element {
    enum Kind : std::uint32_t { kEnd, kSet, kRule } kind = kEnd;
    std::uint32_t index = 0;  // In `sets` or `rules`.
    bool operator==(const Element&) const = default;
  };
  std::vector<Element> elements;                  // All alternatives, each with kEnd behind it.
  std::vector<std::vector<std::uint32_t>> rules;  // Where the alternatives of each begin.
  std::vector<Ranges> sets;                       // Without surrogates and NUL, which no text has.
  std::uint32_t root = 0;                         // A rule.
};

// Whether a rule's name may hold it.
inline bool IsNamePart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'; }

// All characters that are in none of the ranges, which may stand in any order; but for surrogates and NUL.
GrammarRules::Ranges OtherCharacters(GrammarRules::Ranges ranges);

// Of GBNF that is ours, or passed CheckGrammar. INVALID_ARGUMENT, naming the place, for what is none. Linear in what it is written out.
absl::StatusOr<GrammarRules> ReadGrammar(std::string_view gbnf);

}  // namespace tollgate::inference
