// A pattern with `count` characters of a kind in at most `width` bytes has a match only where that many stand within that length, however
// many the text has in all. Of the kinds that a pattern needs, a repeated mark says most: an address of dots, a number of hyphens. A long
// run says more than any: prose has none.
//
// Tested by tests/policy/match_places_test.cpp.
#include "policy/match_places.h"

#include <algorithm>
#include <cstring>

namespace tollgate::policy {
namespace {
// Fewer than kTelling characters, of which the text has one in kOftenBytes, leave out too little to be worth looking for.
constexpr std::size_t kTelling = 4, kOftenBytes = 16;

// A run so long has all of some block of eight bytes that begins at a multiple of eight.
constexpr std::size_t kBlockBytes = 8, kRunBytes = 2 * kBlockBytes - 1;

// Whether a block can be all of a run: it has no byte below '-', where blanks and most marks are, and none beyond ASCII.
bool MayBeOfRun(const char* block) {
  constexpr std::uint64_t kEach = 0x0101010101010101, kHigh = 0x80 * kEach;
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, block, sizeof bytes);
  return (((bytes - kEach * '-') | bytes) & kHigh) == 0;
}
}  // namespace

void CharPlaces::AddRuns(std::string_view text) {
  for (std::size_t at = 0; at + kBlockBytes <= text.size(); at += kBlockBytes) {
    if (!MayBeOfRun(text.data() + at) || (!runs_.empty() && at < runs_.back().end)) continue;
    std::size_t begin = at, end = at;
    while (end < text.size() && Pattern::IsRunByte(text[end])) ++end;
    if (end < at + kBlockBytes) continue;
    while (begin > 0 && Pattern::IsRunByte(text[begin - 1])) --begin;
    if (end - begin >= kRunBytes) runs_.push_back({begin, end});
  }
}

bool CharPlaces::Has(const Pattern& pattern, Stretch its) const {
  const std::size_t to = its.end + static_cast<std::size_t>(pattern.width_max());
  for (std::size_t kind = 0; kind < places_.size(); ++kind) {
    const auto count = static_cast<std::size_t>(pattern.needs()[kind]);
    const std::vector<std::size_t>& places = places_[kind];
    if (count == 0) continue;
    if (places.size() < count) return false;
    const auto first = std::lower_bound(places.begin(), places.end(), its.begin);
    if (static_cast<std::size_t>(std::lower_bound(first, places.end(), to) - first) < count) return false;
  }
  return true;
}

// The run that a match holds lies in one of these, so far from the match's ends that the match is no longer than it can be.
std::vector<Stretch> CharPlaces::AtRuns(const Pattern& pattern, Stretch within) const {
  const auto width = static_cast<std::size_t>(pattern.width_max()), least = static_cast<std::size_t>(pattern.run_min());
  std::vector<Stretch> out;
  // Stretches are as many as triggers: each looks at the runs beside it alone.
  auto at = std::partition_point(runs_.begin(), runs_.end(), [&](const Stretch& run) { return run.end <= within.begin; });
  for (; at != runs_.end() && at->begin < within.end + width; ++at) {
    const Stretch& run = *at;
    if (run.end - run.begin < least) continue;
    const std::size_t first = run.begin + least > width ? run.begin + least - width : 0, last = run.end - least;
    const Stretch its{std::max(within.begin, first), std::min(within.end, last + 1)};
    if (its.begin < its.end && Has(pattern, its)) AddStretch(its, out);
  }
  return out;
}

std::vector<Stretch> CharPlaces::Near(const Pattern& pattern, Stretch within) const {
  if (!Has(pattern, within)) return {};
  if (pattern.run_min() >= static_cast<int>(kRunBytes)) return AtRuns(pattern, within);
  std::size_t kind = 0;
  for (std::size_t mark = 1; mark < places_.size(); ++mark) {
    if (pattern.needs()[mark] > 1) kind = mark;
  }
  const auto count = static_cast<std::size_t>(pattern.needs()[kind]), width = static_cast<std::size_t>(pattern.width_max());
  const std::vector<std::size_t>& places = places_[kind];
  if (count == 0 || (count < kTelling && places.size() * kOftenBytes > within.end - within.begin)) return {within};
  std::vector<Stretch> out;
  const auto first = std::lower_bound(places.begin(), places.end(), within.begin);
  for (auto i = static_cast<std::size_t>(first - places.begin()); i + count <= places.size() && places[i] < within.end + width; ++i) {
    const std::size_t last = places[i + count - 1];
    if (last - places[i] >= width) continue;
    const std::size_t begin = std::max(within.begin, last + 1 > width ? last + 1 - width : 0), end = std::min(within.end, places[i] + 1);
    if (begin < end) AddStretch({begin, end}, out);
  }
  std::erase_if(out, [&](const Stretch& its) { return !Has(pattern, its); });
  return out;
}

}  // namespace tollgate::policy
