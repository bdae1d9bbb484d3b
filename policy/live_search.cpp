// One program of all prefixes together, or of as many as fit one: a search of two costs twice as much as one of both.
//
// Tested by tests/policy/pattern_test.cpp.
#include "policy/live_search.h"

#include <algorithm>
#include <utility>

#include "policy/budget.h"
#include "policy/effort.h"
#include "policy/matcher.h"

namespace tollgate::policy {

absl::StatusOr<std::unique_ptr<const LiveSearch>> LiveSearch::Compile(const std::vector<std::string>& prefixes, Budget& budget) {
  std::unique_ptr<LiveSearch> out(new LiveSearch);
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  if (!prefixes.empty()) ranges.emplace_back(0, prefixes.size());
  while (!ranges.empty()) {
    const auto [first, last] = ranges.back();
    ranges.pop_back();
    std::string joined;
    for (std::size_t i = first; i < last; ++i) joined += (joined.empty() ? "(?:" : "|") + prefixes[i];
    auto compiled = Matcher::Compile(joined + ")\\z", Matcher::Use::kSuffixOfAll, &budget);
    if (compiled.ok()) {
      out->parts_.push_back(*std::move(compiled));
    } else if (last - first == 1 || budget.over()) {
      return compiled.status();
    } else {  // Too large together: halve.
      ranges.emplace_back(first, (first + last) / 2);
      ranges.emplace_back((first + last) / 2, last);
    }
  }
  return std::unique_ptr<const LiveSearch>(std::move(out));
}

std::int64_t LiveSearch::LiveStart(const Pattern::Window& window, std::int64_t from, Effort* effort) const {
  std::int64_t least = window.end();
  const auto at = static_cast<std::size_t>(from - window.base);
  for (const auto& part : parts_) {
    std::size_t begin = 0, end = 0;
    if (!Spend(effort, Effort::UnitsOf(window.text.size() - at, part->instructions()))) break;
    if (part->Match(window.text, at, window.text.size(), begin, end))
      least = std::min(least, window.base + static_cast<std::int64_t>(begin));
  }
  return least;
}

}  // namespace tollgate::policy
