// The automaton reads text folded to lower case, which keeps offsets; what an ending needs beyond that (its exact case, a word's edge on
// the left) is checked when it is found, the edge on the right when the byte after it is known. An occurrence that ends with the text read
// so far is a suffix that begins a keyword, so it lies at or after the live start and is never taken too early.
//
// Tested by tests/policy/keyword_scan_test.cpp.
#include "policy/keyword_scan.h"

#include <algorithm>

#include "policy/fold.h"

namespace tollgate::policy {

absl::StatusOr<KeywordIndex> KeywordIndex::Build(std::vector<Keyword> keywords) {
  KeywordIndex out;
  std::vector<std::string> words;
  words.reserve(keywords.size());
  for (const Keyword& keyword : keywords) {
    words.push_back(FoldCase(keyword.text));
    out.longest_ = std::max(out.longest_, keyword.text.size());
  }
  TG_ASSIGN(out.automaton_, AhoCorasick::Build(words));
  out.keywords_ = std::move(keywords);
  return out;
}

void KeywordScan::Read(const Pattern::Window& window, std::int64_t from) {
  std::string folded;
  const std::string_view fresh = FoldedView(window.text.substr(static_cast<std::size_t>(from - window.base)), folded);
  const AhoCorasick& automaton = index_.automaton_;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    state_ = automaton.Next(state_, fresh[i]);
    if (!automaton.EndsWord(state_)) continue;
    const std::int64_t end = from + static_cast<std::int64_t>(i) + 1;
    automaton.ForEachEnding(state_, [&](std::uint32_t index) {
      const Keyword& keyword = index_.keywords_[index];
      if (!active_[keyword.source]) return;
      const auto length = static_cast<std::int64_t>(keyword.text.size());
      const auto begin = static_cast<std::size_t>(end - length - window.base);
      if (!keyword.ignore_case && window.text.substr(begin, keyword.text.size()) != keyword.text) return;
      if (keyword.whole_word && begin > 0 && IsWordCodePoint(DecodeBefore(window.text, begin))) return;
      found_.push_back({end - length, end, index});
    });
  }
}

void KeywordScan::Take(const Pattern::Window& window, std::int64_t decided, bool at_end, std::vector<Hit>& out) {
  if (found_.empty()) return;
  const auto later = std::stable_partition(found_.begin(), found_.end(), [&](const Found& f) { return f.begin < decided; });
  std::sort(found_.begin(), later, [](const Found& a, const Found& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  for (auto found = found_.begin(); found != later; ++found) {
    const Keyword& keyword = index_.keywords_[found->keyword];
    if (keyword.whole_word && !(at_end && found->end == window.end())) {
      std::size_t length = 0;
      if (IsWordCodePoint(DecodeAt(window.text, static_cast<std::size_t>(found->end - window.base), length))) continue;
    }
    if (covered_.size() <= keyword.source) covered_.resize(keyword.source + 1, 0);
    if (found->end <= covered_[keyword.source]) continue;
    covered_[keyword.source] = found->end;
    out.push_back({found->begin, found->end, 0, keyword.source});
  }
  found_.erase(found_.begin(), later);
}

}  // namespace tollgate::policy
