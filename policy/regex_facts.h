// What can be derived from a pattern without running it: its prefixes, widths, required literals and bytes.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/regex_syntax.h"

namespace tollgate::policy {

using ByteSet = std::bitset<256>;

// The prefix closure: RE2 syntax for the non-empty prefixes of the pattern's words, in whole code points. Empty if there are none.
// `loosened`: of a larger language with small repeats (see PrintLoosened); still closed under taking prefixes.
std::string PrintPrefixes(const RegexNode& node, bool loosened);

// Bytes of the shortest and the longest word; max is RegexNode::kUnbounded where there is none.
struct Width {
  std::int64_t min = 0, max = 0;
};
Width WidthOf(const RegexNode& node);

// Literals of which every word contains at least one, folded (compare with folded text); empty: none known.
std::vector<std::string> RequiredLiterals(const RegexNode& node);

// A beginning of the pattern in which the same literals are required: no word goes on behind it without one. All of it if that is as short.
RegexNode UpToLiteral(const RegexNode& node);

// Byte sets of each of which every word has at least one byte; the most telling few.
std::vector<ByteSet> RequiredBytes(const RegexNode& node);

// The fewest characters from `lo` to `hi` that a word has.
int CountMin(const RegexNode& node, char32_t lo, char32_t hi);

// The fewest bytes of the longest run of these bytes (ASCII) that a word has: of [a-z]{3}-[a-z]{5} five, if the hyphen is none of them.
int RunMin(const RegexNode& node, const ByteSet& bytes);

// All bytes that a word may have.
ByteSet AllBytes(const RegexNode& node);

// All bytes that the unbounded repeats of the pattern can consume.
ByteSet UnboundedBytes(const RegexNode& node);

}  // namespace tollgate::policy
