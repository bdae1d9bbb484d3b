// The automaton reads text folded to lower case, which keeps offsets; what an ending needs beyond that (its exact case, a word's edge on
// the left) is checked when it is found, the edge on the right when the byte after it is known. An occurrence that ends with the text read
// so far is a suffix that begins a keyword, so it lies at or after the live start and is never taken too early.
//
// Many keywords may end at each byte, and most of them lie inside a longer one: a complete text is taken in pieces as a stream is, so that
// they are not all kept.
//
// To the automaton a run of blanks is one. How long they are is looked at backwards from where something ends, an occurrence or the text.
//
// Tested by tests/policy/keyword_scan_test.cpp.
#include "policy/keyword_scan.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include <fmt/format.h>

#include "policy/fold.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr std::size_t kLookBytes = 32;  // Of a keyword that is compared with the text, for a unit of effort.

// Where the run of blanks before `end` begins, or all that may be of one keyword; nothing if it is longer.
std::optional<std::size_t> BlanksBegin(std::string_view text, std::size_t end) {
  std::size_t at = end;
  while (at > 0 && IsBlank(text[at - 1])) {
    if (end - at == KeywordIndex::kBlanksMax) return std::nullopt;
    --at;
  }
  return at;
}

// Where the keyword begins that the automaton found to end at `end`. A blank at its own edge is one.
std::optional<std::size_t> BeginOf(const Keyword& keyword, std::string_view text, std::size_t end) {
  const std::string_view word = keyword.text;
  if (IsBlank(word.back()) && end > 1 && IsBlank(text[end - 2])) return std::nullopt;  // It ended with the blank before.
  std::size_t at = end;
  for (std::size_t i = word.size(); i > 0; --i) {
    const bool inner_blank = word[i - 1] == ' ' && i > 1 && i < word.size();
    const auto begin = inner_blank ? BlanksBegin(text, at) : at - 1;
    if (!begin || (!keyword.ignore_case && word[i - 1] != ' ' && text[*begin] != word[i - 1])) return std::nullopt;
    at = *begin;
  }
  return at;
}

// The first of equal ones stays.
void DropEqual(std::vector<Keyword>& keywords) {
  const auto hash = [&](std::size_t i) { return std::hash<std::string>()(keywords[i].text) + keywords[i].source; };
  const auto equal = [&](std::size_t a, std::size_t b) { return keywords[a] == keywords[b]; };
  std::unordered_set<std::size_t, decltype(hash), decltype(equal)> known(keywords.size(), hash, equal);
  std::size_t kept = 0;  // Those of `known` stand before it, and stay where they are.
  for (std::size_t i = 0; i < keywords.size(); ++i) {
    if (i != kept) std::swap(keywords[kept], keywords[i]);
    if (known.insert(kept).second) ++kept;
  }
  keywords.resize(kept);
}

}  // namespace

std::string WithSingleBlanks(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (!IsBlank(c))
      out += c;
    else if (out.empty() || out.back() != ' ')
      out += ' ';
  }
  return out;
}

absl::StatusOr<KeywordIndex> KeywordIndex::Build(std::vector<Keyword> keywords, std::size_t bytes_max) {
  KeywordIndex out;
  std::vector<std::string> words;
  words.reserve(keywords.size());
  for (Keyword& keyword : keywords) keyword.text = WithSingleBlanks(keyword.text);
  DropEqual(keywords);
  for (const Keyword& keyword : keywords) words.push_back(FoldCase(keyword.text));
  TG_ASSIGN(out.automaton_, AhoCorasick::Build(words, /*blanks_run=*/true, bytes_max));
  out.keywords_ = std::move(keywords);
  return out;
}

std::size_t KeywordIndex::bytes() const {
  std::size_t out = automaton_.bytes();
  for (const Keyword& keyword : keywords_) out += sizeof(Keyword) + keyword.text.size();
  return out;
}

absl::StatusOr<std::shared_ptr<const KeywordIndex>> KeywordIndexes::Of(std::vector<Keyword> keywords, Budget& budget) {
  TG_RETURN_IF_ERROR(budget.KeepGoing());
  std::string all;
  for (const Keyword& keyword : keywords)
    all += fmt::format("{} {} {} {} {}", keyword.source, keyword.whole_word, keyword.ignore_case, keyword.text.size(), keyword.text);
  std::shared_ptr<const KeywordIndex>& its = made_[base::Sha256(all)];
  if (its != nullptr) return its;
  auto made = KeywordIndex::Build(std::move(keywords), budget.table_left());
  TG_RETURN_IF_ERROR(budget.TakeTable(made.ok() ? made->bytes() : SIZE_MAX));
  its = std::make_shared<const KeywordIndex>(*std::move(made));
  return its;
}

std::int64_t KeywordIndex::HoldMax(std::string_view keyword) {
  const auto blanks = std::count_if(keyword.begin(), keyword.end(), IsBlank);
  return static_cast<std::int64_t>(keyword.size()) + blanks * static_cast<std::int64_t>(kBlanksMax - 1);
}

void KeywordScan::Read(const Pattern::Window& window, std::int64_t from) {
  std::string folded;
  const std::string_view fresh = FoldedView(window.text.substr(static_cast<std::size_t>(from - window.base)), folded);
  const AhoCorasick& automaton = index_.automaton_;
  automaton.ForEachEnd(fresh, state_, [&](std::size_t offset, AhoCorasick::State state) {
    if (IsOver(effort_)) return;
    const std::int64_t end = from + static_cast<std::int64_t>(offset);
    automaton.ForEachEnding(state, [&](std::uint32_t index) {
      const Keyword& keyword = index_.keywords_[index];
      if (!Spend(effort_, 1 + static_cast<std::int64_t>(keyword.text.size() / kLookBytes)) || !active_[SourceOf(keyword)]) return;
      const auto begin = BeginOf(keyword, window.text, static_cast<std::size_t>(end - window.base));
      if (!begin || (keyword.whole_word && *begin > 0 && IsWordCodePoint(DecodeBefore(window.text, *begin)))) return;
      found_.push_back({window.base + static_cast<std::int64_t>(*begin), end, index});
      Hold(effort_, found_.size());
    });
  });
}

void KeywordScan::FindAll(std::string_view text, std::vector<Hit>& out) {
  for (std::size_t at = 0; at < text.size() && !IsOver(effort_);) {
    std::size_t end = std::min(at + kPieceBytes, text.size());
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    const Pattern::Window so_far{text.substr(0, end), 0};
    Read(so_far, static_cast<std::int64_t>(at));
    const bool last = end == text.size();
    Take({text, 0}, last ? INT64_MAX : LiveStart(so_far), last, out);
    at = end;
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
    out.push_back({found->begin, found->end, 0, SourceOf(keyword)});
    if (!Hold(effort_, out.size())) break;
  }
  found_.erase(found_.begin(), later);
}

std::int64_t KeywordScan::LiveStart(const Pattern::Window& window) const {
  std::size_t at = window.text.size();
  for (std::uint32_t left = index_.automaton_.Depth(state_); left > 0; --left) {
    const auto begin = left > 1 && IsBlank(window.text[at - 1]) ? BlanksBegin(window.text, at) : at - 1;
    // No keyword goes on behind so many, but one may begin with the last of them.
    if (!begin) return window.base + static_cast<std::int64_t>(at - 1);
    at = *begin;
  }
  return window.base + static_cast<std::int64_t>(at);
}

}  // namespace tollgate::policy
