// Where in a complete text a pattern can match at all, from what one pass over the text saw: digits, marks, and the words beside which some
// patterns are looked for. One text, one thread.
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

// Stretches that come by where they begin become few: to search a little more costs less than to begin another search.
inline void AddStretch(Stretch its, std::vector<Stretch>& to) {
  constexpr std::size_t kJoinedBytes = 128;
  if (!to.empty() && its.begin <= to.back().end + kJoinedBytes)
    to.back().end = std::max(to.back().end, its.end);
  else
    to.push_back(its);
}

class CharPlaces {
 public:
  void Add(char byte, std::size_t at) {
    const std::uint8_t kind = kKinds[static_cast<unsigned char>(byte)];
    if (kind < Pattern::kCharKinds) places_[kind].push_back(at);
  }

  // Where in `within` a match of a bounded pattern may begin: where as many characters of each kind as it needs stand within its length.
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

  std::array<std::vector<std::size_t>, Pattern::kCharKinds> places_;  // Ascending.
};

}  // namespace tollgate::policy
