// A pattern with `count` characters of a kind in at most `width` bytes has a match only where that many stand within that length, however
// many the text has in all. Of the kinds that a pattern needs, a repeated mark says most: an address of dots, a number of hyphens. A long
// run says more than any: prose has none.
//
// In what is left few places look like the beginning of a match: where a word begins with a digit, say, which is asked of 64 bytes at once.
// RE2 is asked at each of them whether one begins there. A pattern whose matches may begin with anything has too many, and RE2 looks for
// them by itself: to ask at a place costs what it takes to search a number of bytes, and so many must have been left out before it.
//
// Tested by tests/policy/match_places_test.cpp.
#include "policy/match_places.h"

#include <bit>

namespace tollgate::policy {
namespace {
// Fewer than kTelling characters, of which the text has one in kOftenBytes, leave out too little to be worth looking for.
constexpr std::size_t kTelling = 4, kOftenBytes = 16;

// A run counts that is so long.
constexpr std::size_t kRunBytes = 15;

// What it costs to ask at a place in vain, in bytes of a search, and what is spent on it before anything was left out. Where a match may be
// long, to ask may take longer.
constexpr std::size_t kAskBytes = 64, kAskAtFirstBytes = 4 * kAskBytes, kAskShare = 8;

static_assert(TextBits::kDigit == static_cast<int>(Pattern::kDigit) && TextBits::kDot == static_cast<int>(Pattern::kDot) &&
              TextBits::kColon == static_cast<int>(Pattern::kColon) && TextBits::kHyphen == static_cast<int>(Pattern::kHyphen) &&
              TextBits::kCounted == static_cast<std::size_t>(Pattern::kCharKinds));

std::size_t WidthMax(const Pattern& pattern) { return static_cast<std::size_t>(pattern.width_max()); }
}  // namespace

CharPlaces::CharPlaces(std::string_view text) : text_(text), bits_(text) { AddRuns(); }

// A run is found by the first place in a word at which kRunBytes bytes of one begin.
void CharPlaces::AddRuns() {
  const auto after = [](std::uint64_t low, std::uint64_t high, unsigned by) { return low >> by | high << (64 - by); };
  for (std::size_t index = 0; index < bits_.words(); ++index) {
    std::uint64_t low = bits_.Word(TextBits::kRun, index), high = bits_.Word(TextBits::kRun, index + 1);
    for (const unsigned by : {1u, 2u, 4u, 7u}) {  // So many more than before: 2, 4, 8, 15.
      low &= after(low, high, by);
      high &= high >> by;
    }
    for (; low != 0; low &= low - 1) {
      const std::size_t at = index * TextBits::kWordBytes + static_cast<std::size_t>(std::countr_zero(low));
      if (!runs_.empty() && at < runs_.back().end) continue;
      std::size_t end = at + kRunBytes;
      while (end < text_.size() && Pattern::IsRunByte(text_[end])) ++end;
      runs_.push_back({at, end});
    }
  }
}

bool CharPlaces::Has(const Pattern& pattern, Stretch its) const {
  const bool all = its.begin == 0 && its.end >= text_.size();
  for (std::size_t kind = 0; kind < TextBits::kCounted; ++kind) {
    const auto count = static_cast<std::size_t>(pattern.needs()[kind]);
    if (count == 0) continue;
    const auto its_kind = static_cast<TextBits::Kind>(kind);
    if (bits_.Count(its_kind) < count) return false;
    if (!all && !bits_.HasSoMany(its_kind, count, its.begin, its.end + WidthMax(pattern))) return false;
  }
  return true;
}

// The run that a match holds lies in one of these, so far from the match's ends that the match is no longer than it can be.
void CharPlaces::AddAtRuns(const Pattern& pattern, Stretch within, std::vector<Stretch>& to) const {
  const std::size_t width = WidthMax(pattern), least = static_cast<std::size_t>(pattern.run_min());
  // Stretches are as many as triggers: each looks at the runs beside it alone.
  auto at = std::partition_point(runs_.begin(), runs_.end(), [&](const Stretch& run) { return run.end <= within.begin; });
  for (; at != runs_.end() && at->begin < within.end + width; ++at) {
    const Stretch& run = *at;
    if (run.end - run.begin < least) continue;
    const std::size_t first = run.begin + least > width ? run.begin + least - width : 0, last = run.end - least;
    const Stretch its{std::max(within.begin, first), std::min(within.end, last + 1)};
    if (its.begin < its.end && Has(pattern, its)) AddStretch(its, to);
  }
}

void CharPlaces::AddNear(const Pattern& pattern, Stretch within, std::vector<Stretch>& to) const {
  if (!Has(pattern, within)) return;
  if (pattern.run_min() >= static_cast<int>(kRunBytes)) return AddAtRuns(pattern, within, to);
  TextBits::Kind kind = TextBits::kDigit;
  for (const TextBits::Kind mark : {TextBits::kDot, TextBits::kColon, TextBits::kHyphen}) {
    if (pattern.needs()[mark] > 1) kind = mark;
  }
  const auto count = static_cast<std::size_t>(pattern.needs()[kind]);
  const bool starts_tell = kind == TextBits::kDigit && (pattern.start().digit_first() || !pattern.start().digits().empty());
  if (count == 0 || starts_tell || (count < kTelling && bits_.Count(kind) * kOftenBytes > within.end - within.begin)) {
    to.push_back(within);
    return;
  }
  const std::size_t width = WidthMax(pattern), before = to.size();
  std::size_t first = bits_.Next(kind, within.begin), last = first;
  for (std::size_t i = 1; i < count && last != SIZE_MAX; ++i) last = bits_.Next(kind, last + 1);
  for (; last != SIZE_MAX && first < within.end + width; first = bits_.Next(kind, first + 1), last = bits_.Next(kind, last + 1)) {
    if (last - first >= width) continue;
    const std::size_t begin = std::max(within.begin, last + 1 > width ? last + 1 - width : 0), end = std::min(within.end, first + 1);
    if (begin < end) AddStretch({begin, end}, to);
  }
  const auto added = to.begin() + static_cast<std::ptrdiff_t>(before);
  to.erase(std::remove_if(added, to.end(), [&](const Stretch& its) { return !Has(pattern, its); }), to.end());
}

// Of the word's 64 places, those at which it may be.
std::uint64_t CharPlaces::StartsIn(const MatchStart& start, std::size_t word) const {
  std::uint64_t out = ~std::uint64_t{0};
  const std::uint64_t underscores = bits_.Word(TextBits::kUnderscore, word);
  if (start.at_edge()) out = bits_.Word(TextBits::kEdge, word) | underscores;
  if (start.digit_first()) out &= bits_.Word(TextBits::kDigit, word) | underscores;
  for (const std::size_t behind : start.digits()) out &= bits_.From(TextBits::kDigit, word * TextBits::kWordBytes + behind);
  return out;
}

// its.end if there is none.
std::size_t CharPlaces::NextStart(const Pattern& pattern, Stretch its) const {
  std::size_t from = its.begin;
  for (std::size_t word = from / TextBits::kWordBytes; from < its.end; from = ++word * TextBits::kWordBytes) {
    std::uint64_t bits = StartsIn(pattern.start(), word) & ~std::uint64_t{0} << from % TextBits::kWordBytes;
    for (; bits != 0; bits &= bits - 1) {
      const std::size_t at = word * TextBits::kWordBytes + static_cast<std::size_t>(std::countr_zero(bits));
      if (at >= its.end) return its.end;
      if (pattern.start().Fits(text_, at) && Has(pattern, {at, at + 1})) return at;
    }
  }
  return its.end;
}

void CharPlaces::Find(const Pattern& pattern, Stretch its, Pattern::Scan& scan, std::vector<Hit>& out) const {
  const Pattern::Window window{text_, 0};
  const std::size_t in_vain = std::max(kAskBytes, WidthMax(pattern) / kAskShare);
  its.begin = std::max(its.begin, static_cast<std::size_t>(scan.next));
  std::size_t spent = 0, from = its.begin;
  while ((from = NextStart(pattern, {from, its.end})) < its.end) {
    if (spent > kAskAtFirstBytes + (from - its.begin)) return pattern.FindWithin(window, from, its.end, scan, out);
    const std::size_t hits = out.size();
    pattern.FindWithin(window, from, from + 1, scan, out);
    if (out.size() == hits) spent += in_vain;
    from = std::max(from + 1, static_cast<std::size_t>(scan.next));
  }
}

}  // namespace tollgate::policy
