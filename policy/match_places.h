// Where in a complete text a pattern can match at all, from what one pass over the text saw: digits, marks, long runs, and the words that
// some patterns hold or are looked for beside. One text, one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "policy/pattern.h"

namespace tollgate::policy {

// Offsets at which a match may begin.
struct Stretch {
  std::size_t begin = 0, end = 0;
};

// What lies so near is searched at once: to search a little more costs less than to begin another search.
inline constexpr std::size_t kJoinedBytes = 128;

// Stretches that come by where they begin become few.
inline void AddStretch(Stretch its, std::vector<Stretch>& to) {
  if (!to.empty() && its.begin <= to.back().end + kJoinedBytes)
    to.back().end = std::max(to.back().end, its.end);
  else
    to.push_back(its);
}

class CharPlaces {
 public:
  // Every byte of the text in turn …
  void Add(char byte, std::size_t at) {
    const std::uint8_t kind = kKinds[static_cast<unsigned char>(byte)];
    if (kind < Pattern::kCharKinds) places_[kind].push_back(at);
  }
  // … and once all of it.
  void AddRuns(std::string_view text);

  // Where in `within` a match of a bounded pattern may begin: where as many characters of each kind as it needs stand within its length,
  // and a run as long as it needs.
  std::vector<Stretch> Near(const Pattern& pattern, Stretch within) const;
  // Whether there are as many, of a match that begins in `its`.
  bool Has(const Pattern& pattern, Stretch its) const;

 private:
  static constexpr std::array<std::uint8_t, 256> kKinds = [] {
    std::array<std::uint8_t, 256> out{};
    out.fill(Pattern::kCharKinds);
    for (std::size_t c = '0'; c <= '9'; ++c) out[c] = Pattern::kDigit;
    out['.'] = Pattern::kDot;
    out[':'] = Pattern::kColon;
    out['-'] = Pattern::kHyphen;
    return out;
  }();

  std::vector<Stretch> AtRuns(const Pattern& pattern, Stretch within) const;

  std::array<std::vector<std::size_t>, Pattern::kCharKinds> places_;  // Ascending.
  std::vector<Stretch> runs_;                                         // Long ones, whole.
};

}  // namespace tollgate::policy
