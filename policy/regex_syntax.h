// The part of RE2's syntax that rules may use, as a tree. What the tree prints is what is compiled, so that the matcher and everything
// derived from the tree (prefixes, widths, literals) can never disagree about a pattern.
//
// Supported: literals, escapes, \Q…\E, classes (ranges, negation, \d \w \s, POSIX, \p), '.', groups, alternation, ? * + {n} {n,} {n,m},
// ^ $ \A \z \b \B, and the flags (?i) (?m) (?s). \d \w \s \b are ASCII, as in RE2. Matches are leftmost-longest: lazy quantifiers mean
// nothing and are refused, as are look-around, back-references and \C.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::policy {

struct CodeRange {
  char32_t lo, hi;
};

struct RegexNode {
  enum class Kind { kSet, kAssert, kConcat, kAlternate, kRepeat };
  static constexpr int kUnbounded = -1;

  Kind kind = Kind::kConcat;      // A concatenation of nothing is the empty pattern.
  std::vector<CodeRange> set;     // kSet: one code point of these; sorted, disjoint.
  std::string assertion;          // kAssert, as printed.
  std::vector<RegexNode> kids;    // The others; one for kRepeat.
  int min = 0, max = kUnbounded;  // kRepeat
};

// INVALID_ARGUMENT says what, at which character (from 1), and what to write instead.
absl::StatusOr<RegexNode> ParseRegex(std::string_view pattern, bool ignore_case);

// RE2 syntax for UTF-8 mode, without flags and captures.
std::string PrintRegex(const RegexNode& node);

// The same language or more: counted repeats become * or +. Much smaller to compile.
std::string PrintLoosened(const RegexNode& node);

}  // namespace tollgate::policy
