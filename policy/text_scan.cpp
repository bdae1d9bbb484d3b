// The window `text_` holds what is not decided yet, and some context to its left. With each piece:
//
//   1. trigger words and keywords read the new bytes; capped patterns look at each checkpoint that the text has passed;
//   2. the live start L is found: no rule can still match anything that begins before it. One reverse search over the prefixes of all
//      patterns gives it roughly. Of a pattern that holds a trigger word it has only what comes up to that word, of one with such a word
//      beside it nothing: once the word was read, the pattern is asked by itself. When that would hold much, each is asked exactly;
//   3. every pattern whose trigger word or bytes are there looks for matches that begin before L: all of these are final.
//
// Nothing at or after L has been decided; nothing before L can change. So the pieces do not matter, and the hits are those of the complete
// text (Program::FindAll, which shares the leaf detectors, but none of this).
//
// Tested by tests/policy/stream_property_test.cpp and tests/policy/stream_filter_test.cpp.
#include "policy/text_scan.h"

#include <algorithm>

#include "policy/fold.h"

namespace tollgate::policy {
namespace {

constexpr std::int64_t kKeptLeftBytes = kRowBytes + 64;
constexpr std::int64_t kTrimBytes = 512;
constexpr std::int64_t kAskExactlyAboveBytes = 48;
constexpr std::size_t kSourcesOfUnit = 64;  // That a trigger word opens, for a unit of effort.

}  // namespace

TextScan::TextScan(const Program& program, const Program::Selection& selection, Effort* effort)
    : program_(program),
      selection_(selection),
      effort_(effort),
      scans_(program.sources().size()),
      trigger_seen_(program.sources().size(), -static_cast<std::int64_t>(kLeftContextBytes)) {
  for (const Program::Group* group : selection_.groups) {
    if (!group->keywords->empty()) keywords_.emplace_back(*group->keywords, selection_.sources, group->keyword_sources, effort);
  }
  for (Pattern::Scan& scan : scans_) scan.effort = effort;
  for (const std::uint32_t index : selection_.patterns) {
    if (PatternOf(index).cap() > 0) capped_.push_back(index);
    if (program_.sources()[index].by_trigger) by_trigger_.push_back(index);
  }
}

std::int64_t TextScan::Read(std::string_view piece, bool at_end, std::vector<Hit>& found) {
  const std::int64_t fresh = end_;
  text_ += piece;
  end_ += static_cast<std::int64_t>(piece.size());
  ReadTriggers(fresh);
  for (KeywordScan& scan : keywords_) scan.Read(Window(), fresh);
  for (const std::uint32_t index : capped_) FindCapped(index, fresh, at_end, found);
  const std::int64_t live = at_end ? end_ : LiveStart();
  if (at_end || live > decided_) {
    const std::int64_t limit = at_end ? INT64_MAX : live;
    FindDecided(limit, found);
    for (KeywordScan& scan : keywords_) scan.Take(Window(), limit, at_end, found);
  }
  decided_ = live;
  if (decided_ - kKeptLeftBytes - base_ > kTrimBytes) {
    text_.erase(0, static_cast<std::size_t>(decided_ - kKeptLeftBytes - base_));
    base_ = decided_ - kKeptLeftBytes;
  }
  return live;
}

bool TextScan::swallowing() const {
  return std::any_of(capped_.begin(), capped_.end(), [&](std::uint32_t source) { return scans_[source].swallowing; });
}

void TextScan::ReadTriggers(std::int64_t fresh) {
  const AhoCorasick& triggers = program_.triggers();
  std::string folded;
  std::int64_t at = fresh - 1;
  for (const char c : FoldedView(Bytes(fresh, end_), folded)) {
    ++at;
    trigger_state_ = triggers.Next(trigger_state_, c);
    if (!triggers.EndsWord(trigger_state_)) continue;
    triggers.ForEachEnding(trigger_state_, [&](std::uint32_t word) {
      const Program::Trigger& trigger = program_.trigger(word);
      if (!Spend(effort_, 1 + static_cast<std::int64_t>(trigger.sources.size() / kSourcesOfUnit)) ||
          !trigger.Opens(text_, static_cast<std::size_t>(at + 1 - base_)))
        return;
      for (const std::uint32_t source : trigger.sources) trigger_seen_[source] = at + 1;
    });
  }
}

// A trigger word lies in what the pattern has still to search, or in the context before it; or a value that one names does.
bool TextScan::Open(std::uint32_t source) const {
  const Pattern::Scan& scan = scans_[source];
  return !program_.sources()[source].needs_trigger || trigger_seen_[source] > scan.next - static_cast<std::int64_t>(kLeftContextBytes) ||
         scan.named.reach() > scan.next;
}

void TextScan::FindCapped(std::uint32_t source, std::int64_t fresh, bool at_end, std::vector<Hit>& found) {
  const Pattern& pattern = PatternOf(source);
  Pattern::Scan& scan = scans_[source];
  scan.next = std::max(scan.next, decided_);
  const std::size_t first = found.size();
  const bool swallow = program_.Swallows(program_.sources()[source]);
  for (std::int64_t at = fresh; !IsOver(effort_) && (at = NextCheckpoint(Window(), at, pattern.cap())) >= 0;) {
    pattern.FindCapped({Bytes(base_, at), base_}, false, Open(source), swallow, scan, found);
  }
  if (scan.swallowing || Open(source)) pattern.FindCapped(Window(), at_end, true, swallow, scan, found);
  for (std::size_t i = first; i < found.size(); ++i) found[i].source = source;
}

std::int64_t TextScan::LiveStart() {
  const Pattern::Window window = Window();
  std::int64_t least = window.end();
  for (const Program::Group* group : selection_.groups) {
    if (group->live != nullptr) least = std::min(least, group->live->LiveStart(window, decided_, effort_));
  }
  for (const std::uint32_t index : by_trigger_) {
    if (Open(index)) least = std::min(least, LiveStartOf(index));
  }
  if (window.end() - least > kAskExactlyAboveBytes) least = ExactLiveStart();
  for (const KeywordScan& scan : keywords_) least = std::min(least, scan.LiveStart(window));
  return std::max(least, decided_);
}

// Where no word stands beside it, nothing is live of what needs one there.
std::int64_t TextScan::LiveStartOf(std::uint32_t source) const {
  const bool unnamed = program_.sources()[source].by_trigger && !PatternOf(source).spec().context.empty() && !Open(source);
  if (scans_[source].swallowing || unnamed) return end_;
  return PatternOf(source).LiveStart(Window(), std::max(decided_, scans_[source].next), effort_);
}

std::int64_t TextScan::ExactLiveStart() {
  // What held the text last time probably still does, and nothing can hold more.
  if (holder_ < scans_.size() && LiveStartOf(holder_) <= decided_) return decided_;
  std::int64_t least = end_;
  for (const std::uint32_t source : selection_.patterns) {
    const std::int64_t its = LiveStartOf(source);
    if (its >= least) continue;
    least = its;
    holder_ = source;
  }
  return least;
}

void TextScan::FindDecided(std::int64_t limit, std::vector<Hit>& found) {
  ByteSet present;
  std::int64_t digits = 0;
  for (const char c : Bytes(decided_, end_)) {
    present.set(static_cast<unsigned char>(c));
    digits += c >= '0' && c <= '9' ? 1 : 0;
  }
  for (const std::uint32_t source : selection_.patterns) {
    const Pattern& pattern = PatternOf(source);
    if (pattern.cap() > 0) continue;
    Pattern::Scan& scan = scans_[source];
    scan.next = std::max(scan.next, decided_);
    if (digits < pattern.needs()[Pattern::kDigit] || !Open(source)) continue;
    const auto missing = [&](const ByteSet& required) { return (present & required).none(); };
    if (std::any_of(pattern.required_bytes().begin(), pattern.required_bytes().end(), missing)) continue;
    const std::size_t first = found.size();
    pattern.Find(Window(), limit, scan, found);
    for (std::size_t i = first; i < found.size(); ++i) found[i].source = source;
  }
}

}  // namespace tollgate::policy
