// The window `text_` holds what is not decided yet, and some context to its left. With each piece:
//
//   1. gate words and keywords read the new bytes; capped patterns look at each checkpoint that the text has passed;
//   2. the live start L is found: no rule can still match anything that begins before it. One reverse search over the prefixes of all
//      rules gives it roughly; when that would hold much, each rule is asked exactly;
//   3. every pattern whose gate word or bytes are there looks for matches that begin before L: all of these are final;
//   4. the resolver judges them, and the text before L goes out, edited.
//
// Nothing at or after L has been seen by anyone; nothing before L can change. So the pieces do not matter, and the result is that of the
// complete text (FilterComplete, which shares the leaf detectors and the resolver, but none of this).
//
// Tested by tests/policy/stream_property_test.cpp and tests/policy/stream_filter_test.cpp.
#include "policy/output_filter.h"

#include <algorithm>

#include "base/encoding.h"
#include "policy/fold.h"

namespace tollgate::policy {
namespace {

constexpr std::int64_t kKeptLeftBytes = kLeftContextBytes + 64;
constexpr std::int64_t kTrimBytes = 512;
constexpr std::int64_t kAskExactlyAboveBytes = 48;

class OutputFilter final : public StreamFilter {
 public:
  OutputFilter(std::shared_ptr<const void> owner, const Program& program, const Subject& subject)
      : owner_(std::move(owner)),
        program_(program),
        selection_(program.Select(subject, Role::kAssistant)),
        tally_(program.rules()),
        resolver_(program, tally_, /*stop_at_block=*/true),
        scans_(program.sources().size()),
        gate_seen_(program.sources().size(), -1) {
    for (const Program::Group* group : selection_.groups) {
      if (!group->keywords.empty()) keywords_.push_back(std::make_unique<KeywordScan>(group->keywords, selection_.sources));
    }
    for (const std::uint32_t index : selection_.patterns) {
      if (PatternOf(index).cap() > 0) capped_.push_back(index);
    }
  }

  absl::StatusOr<std::string> Push(std::string_view raw) override {
    if (!failure_.ok()) return failure_;
    if (finished_) return failure_ = base::FailedPrecondition("the reply has ended; open a new filter for another one");
    if (!base::IsValidUtf8(raw)) {
      return failure_ = base::InvalidArgument("a piece of the reply is not whole, valid UTF-8; join pieces to whole code points first");
    }
    pushed_ += static_cast<std::int64_t>(raw.size());
    if (blocked_) {
      raw_.back().bytes += raw;
      return std::string();
    }
    if (selection_.empty()) {
      decided_ = pushed_;
      return std::string(raw);
    }
    if (raw.empty()) return std::string();
    text_ += raw;
    return Advance(pushed_ - static_cast<std::int64_t>(raw.size()), false);
  }

  absl::StatusOr<std::string> Finish() override {
    if (!failure_.ok()) return failure_;
    if (finished_) return failure_ = base::FailedPrecondition("the reply has ended already");
    finished_ = true;
    if (blocked_ || selection_.empty()) return std::string();
    return Advance(pushed_, true);
  }

  bool blocked() const override { return blocked_; }
  const Verdict& verdict() const override { return verdict_; }
  const std::vector<RawSpan>& raw() const override { return raw_; }
  std::size_t held_bytes() const override { return blocked_ ? 0 : static_cast<std::size_t>(pushed_ - decided_); }
  std::int64_t pushed_bytes() const override { return pushed_; }
  std::int64_t decided_bytes() const override { return decided_; }

 private:
  const Pattern& PatternOf(std::uint32_t source) const { return *program_.sources()[source].pattern; }
  Pattern::Window Window() const { return {text_, base_}; }
  std::string_view Bytes(std::int64_t from, std::int64_t to) const {
    return std::string_view(text_).substr(static_cast<std::size_t>(from - base_), static_cast<std::size_t>(to - from));
  }

  std::string Advance(std::int64_t fresh, bool at_end) {
    const Pattern::Window window = Window();
    ReadGates(fresh);
    for (auto& scan : keywords_) scan->Read(window, fresh);
    for (const std::uint32_t index : capped_) FindCapped(index, fresh, at_end);
    const std::int64_t live = at_end ? pushed_ : LiveStart(window);
    if (at_end || live > decided_) {
      const std::int64_t limit = at_end ? INT64_MAX : live;
      FindDecided(window, limit);
      for (auto& scan : keywords_) scan->Take(window, limit, at_end, found_);
      Judge(limit);
    }
    std::string out;
    const std::int64_t to = blocked_ ? resolver_.block_begin() : live;
    Emit(to, at_end || blocked_, out);
    if (blocked_) {
      raw_.push_back({program_.rules()[resolver_.block_rule()].id, to, std::string(Bytes(to, pushed_))});
    }
    decided_ = to;
    if (decided_ - kKeptLeftBytes - base_ > kTrimBytes) {
      text_.erase(0, static_cast<std::size_t>(decided_ - kKeptLeftBytes - base_));
      base_ = decided_ - kKeptLeftBytes;
    }
    return out;
  }

  void ReadGates(std::int64_t fresh) {
    const AhoCorasick& gates = program_.gates();
    std::string folded;
    std::int64_t at = fresh - 1;
    for (const char c : FoldedView(Bytes(fresh, pushed_), folded)) {
      ++at;
      gate_state_ = gates.Next(gate_state_, c);
      if (!gates.EndsWord(gate_state_)) continue;
      gates.ForEachEnding(gate_state_, [&](std::uint32_t word) {
        const Program::Gate& gate = program_.gate(word);
        const std::int64_t before = at - static_cast<std::int64_t>(gate.bytes);
        if (!gate.Opens(before < base_ ? ' ' : text_[static_cast<std::size_t>(before - base_)])) return;
        for (const std::uint32_t source : gate.sources) gate_seen_[source] = at + 1;
      });
    }
  }

  // A gate word lies in what the pattern has still to search, or in the context before it.
  bool Open(std::uint32_t source) const {
    return !program_.sources()[source].gated || gate_seen_[source] > scans_[source].next - static_cast<std::int64_t>(kLeftContextBytes);
  }

  void FindCapped(std::uint32_t source, std::int64_t fresh, bool at_end) {
    const Pattern& pattern = PatternOf(source);
    Pattern::Scan& scan = scans_[source];
    scan.next = std::max(scan.next, decided_);
    const std::size_t first = found_.size();
    const bool swallow = program_.Swallows(program_.sources()[source]);
    for (std::int64_t at = fresh; (at = NextCheckpoint(Window(), at, pattern.cap())) >= 0;) {
      const Pattern::Window upto{Bytes(base_, at), base_};
      pattern.FindCapped(upto, false, Open(source), swallow, scan, found_);
    }
    if (scan.swallowing || Open(source)) pattern.FindCapped(Window(), at_end, true, swallow, scan, found_);
    for (std::size_t i = first; i < found_.size(); ++i) found_[i].source = source;
  }

  std::int64_t LiveStart(const Pattern::Window& window) {
    std::int64_t least = window.end();
    for (const Program::Group* group : selection_.groups) {
      if (group->live != nullptr) least = std::min(least, group->live->LiveStart(window, decided_));
    }
    if (window.end() - least > kAskExactlyAboveBytes) least = ExactLiveStart(window);
    for (const auto& scan : keywords_) least = std::min(least, scan->LiveStart(window));
    return std::max(least, decided_);
  }

  std::int64_t ExactLiveStart(const Pattern::Window& window) {
    const auto ask = [&](std::uint32_t source) {
      if (scans_[source].swallowing) return window.end();
      return PatternOf(source).LiveStart(window, std::max(decided_, scans_[source].next));
    };
    // What held the text last time probably still does, and nothing can hold more.
    if (holder_ < scans_.size() && ask(holder_) <= decided_) return decided_;
    std::int64_t least = window.end();
    for (const std::uint32_t source : selection_.patterns) {
      const std::int64_t its = ask(source);
      if (its >= least) continue;
      least = its;
      holder_ = source;
    }
    return least;
  }

  void FindDecided(const Pattern::Window& window, std::int64_t limit) {
    ByteSet present;
    std::int64_t digits = 0;
    for (const char c : Bytes(decided_, pushed_)) {
      present.set(static_cast<unsigned char>(c));
      digits += c >= '0' && c <= '9' ? 1 : 0;
    }
    for (const std::uint32_t source : selection_.patterns) {
      const Pattern& pattern = PatternOf(source);
      if (pattern.cap() > 0) continue;
      Pattern::Scan& scan = scans_[source];
      scan.next = std::max(scan.next, decided_);
      if (digits < pattern.digits_min() || !Open(source)) continue;
      const auto missing = [&](const ByteSet& required) { return (present & required).none(); };
      if (std::any_of(pattern.required_bytes().begin(), pattern.required_bytes().end(), missing)) continue;
      const std::size_t first = found_.size();
      pattern.Find(window, limit, scan, found_);
      for (std::size_t i = first; i < found_.size(); ++i) found_[i].source = source;
    }
  }

  void Judge(std::int64_t limit) {
    if (found_.empty()) return;
    program_.Finish(found_);
    const auto later = std::find_if(found_.begin(), found_.end(), [&](const Hit& hit) { return hit.begin >= limit; });
    if (later == found_.begin()) return;
    resolver_.Judge({found_.data(), static_cast<std::size_t>(later - found_.begin())}, std::min(limit, pushed_));
    found_.erase(found_.begin(), later);
    verdict_ = tally_.ToVerdict();
    blocked_ = resolver_.blocked();
  }

  // Releases what lies between decided_ and `to`, with the edits made. `complete`: nothing follows. A replacement that depends on its whole
  // span is written when the span can grow no more.
  void Emit(std::int64_t to, bool complete, std::string& out) {
    const std::vector<Resolver::Edit>& edits = resolver_.edits();
    std::int64_t at = decided_;
    while (at < to) {
      if (edit_ == edits.size()) {
        out += Bytes(at, to);
        return;
      }
      const Resolver::Edit& edit = edits[edit_];
      if (at < edit.begin) {
        const std::int64_t stop = std::min(edit.begin, to);
        out += Bytes(at, stop);
        at = stop;
        continue;
      }
      if (at == edit.begin) {
        const Replacement& replacement = program_.sources()[edit.source].replacement;
        if (replacement.form == Replacement::Form::kText) out += replacement.text;
        raw_.push_back({program_.rules()[program_.sources()[edit.source].rule].id, at, ""});
      }
      const std::int64_t stop = std::min(edit.end, to);
      if (stop > at) {
        raw_.back().bytes += Bytes(at, stop);
        at = stop;
      }
      if (at == to) break;  // It goes on in what is not decided, or may still grow.
      Pass(edit, out);
    }
    if (complete && edit_ < edits.size() && edits[edit_].begin < to) Pass(edits[edit_], out);
  }

  // The edit is whole.
  void Pass(const Resolver::Edit& edit, std::string& out) {
    const Replacement& replacement = program_.sources()[edit.source].replacement;
    if (replacement.form != Replacement::Form::kText) out += replacement.For(raw_.back().bytes, edit.alone);
    ++edit_;
  }

  const std::shared_ptr<const void> owner_;
  const Program& program_;
  const Program::Selection selection_;
  Tally tally_;
  Resolver resolver_;
  std::vector<Pattern::Scan> scans_;     // By source.
  std::vector<std::int64_t> gate_seen_;  // By source: where its last gate word ended.
  AhoCorasick::State gate_state_ = AhoCorasick::kStart;
  std::vector<std::unique_ptr<KeywordScan>> keywords_;
  std::vector<std::uint32_t> capped_;
  std::uint32_t holder_ = UINT32_MAX;

  std::string text_;  // Raw bytes from base_ to pushed_.
  std::int64_t base_ = 0, decided_ = 0, pushed_ = 0;
  std::vector<Hit> found_;  // Not judged yet.
  std::size_t edit_ = 0;    // The first edit not passed.
  std::vector<RawSpan> raw_;
  Verdict verdict_;
  bool blocked_ = false, finished_ = false;
  absl::Status failure_;
};

}  // namespace

std::unique_ptr<StreamFilter> MakeOutputFilter(std::shared_ptr<const void> owner, const Program& program, const Subject& subject) {
  return std::make_unique<OutputFilter>(std::move(owner), program, subject);
}

absl::StatusOr<Filtered> FilterComplete(const Program& program, const Subject& subject, std::string_view reply) {
  if (!base::IsValidUtf8(reply)) return base::InvalidArgument("the reply is not valid UTF-8");
  Tally tally(program.rules());
  Resolver resolver(program, tally, /*stop_at_block=*/true);
  const std::vector<Hit> hits = program.FindAll(reply, program.Select(subject, Role::kAssistant));
  resolver.Judge(hits, static_cast<std::int64_t>(reply.size()));
  Filtered out;
  out.blocked = resolver.blocked();
  const std::string_view kept = out.blocked ? reply.substr(0, static_cast<std::size_t>(resolver.block_begin())) : reply;
  out.text = ApplyEdits(program, kept, resolver.edits());
  for (const Resolver::Edit& edit : resolver.edits()) {
    const std::string_view bytes = reply.substr(static_cast<std::size_t>(edit.begin), static_cast<std::size_t>(edit.end - edit.begin));
    out.raw.push_back({program.rules()[program.sources()[edit.source].rule].id, edit.begin, std::string(bytes)});
  }
  if (out.blocked)
    out.raw.push_back({program.rules()[resolver.block_rule()].id, resolver.block_begin(), std::string(reply.substr(kept.size()))});
  out.verdict = tally.ToVerdict();
  return out;
}

}  // namespace tollgate::policy
