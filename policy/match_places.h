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
  // Every byte of the text in turn, then where it ends.
  void Add(char byte, std::size_t at) {
    const std::uint8_t kind = kKinds[static_cast<unsigned char>(byte)];
    if (kind == kInRun) return;
    if (kind < Pattern::kCharKinds) places_[kind].push_back(at);
    if (kind != Pattern::kDigit && kind != Pattern::kHyphen) End(at);
  }
  void End(std::size_t at) {
    if (at - run_begin_ >= kRunBytes) runs_.push_back({run_begin_, at});
    run_begin_ = at + 1;
  }

  // Where in `within` a match of a bounded pattern may begin: where as many characters of each kind as it needs stand within its length,
  // and a run as long as it needs.
  std::vector<Stretch> Near(const Pattern& pattern, Stretch within) const;
  // Whether there are as many, of a match that begins in `its`.
  bool Has(const Pattern& pattern, Stretch its) const;

 private:
  static constexpr std::size_t kRunBytes = 12;  // Shorter ones are on every page.
  static constexpr std::uint8_t kInRun = Pattern::kCharKinds, kOther = kInRun + 1;
  static constexpr std::array<std::uint8_t, 256> kKinds = [] {
    std::array<std::uint8_t, 256> out{};
    for (std::size_t c = 0; c < 256; ++c) out[c] = Pattern::IsRunByte(static_cast<char>(c)) ? kInRun : kOther;
    for (std::size_t c = '0'; c <= '9'; ++c) out[c] = Pattern::kDigit;
    out['.'] = Pattern::kDot;
    out[':'] = Pattern::kColon;
    out['-'] = Pattern::kHyphen;
    return out;
  }();

  std::vector<Stretch> AtRuns(const Pattern& pattern, Stretch within) const;

  std::array<std::vector<std::size_t>, Pattern::kCharKinds> places_;  // Ascending.
  std::vector<Stretch> runs_;                                         // Of kRunBytes and more; whole runs.
  std::size_t run_begin_ = 0;
};

}  // namespace tollgate::policy
