// Where in a complete text a pattern can match at all, from what one pass over the text saw: digits, marks, edges of words, long runs, and
// the words that some patterns hold or are looked for beside. One text, which must live as long; any thread.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "policy/pattern.h"
#include "policy/text_bits.h"

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
  explicit CharPlaces(std::string_view text);

  // Adds where in `within` a match of a bounded pattern may begin: where as many characters of each kind as it needs stand within its
  // length, and a run as long as it needs. All of `within` where Find knows better: of what begins with digits.
  void AddNear(const Pattern& pattern, Stretch within, std::vector<Stretch>& to) const;
  // Whether there are as many, of a match that begins in `its`.
  bool Has(const Pattern& pattern, Stretch its) const;

  // As Pattern::FindWithin, and sooner: of the places in `its` only those are tried that look like a match's beginning.
  void Find(const Pattern& pattern, Stretch its, Pattern::Scan& scan, std::vector<Hit>& out) const;

 private:
  void AddRuns();
  void AddAtRuns(const Pattern& pattern, Stretch within, std::vector<Stretch>& to) const;
  std::uint64_t StartsIn(const MatchStart& start, std::size_t word) const;
  std::size_t NextStart(const Pattern& pattern, Stretch its) const;

  std::string_view text_;
  TextBits bits_;
  std::vector<Stretch> runs_;  // Long ones, whole.
};

}  // namespace tollgate::policy
