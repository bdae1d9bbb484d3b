// The text is read as it is written (text_scan.h) and, once a character is not its own plain form, in its plain form as well (disguise.h).
// Words wait for their end where a rule wants them decoded.
// What lies before the least of their live starts is final for both: the resolver judges the hits that begin there, and the text goes out,
// edited. FilterComplete, which the result is compared with, shares the leaf detectors and the resolver, but none of this.
//
// Tested by tests/policy/stream_property_test.cpp and tests/policy/stream_filter_test.cpp.
#include "policy/output_filter.h"

#include <algorithm>

#include "base/encoding.h"
#include "policy/disguise.h"
#include "policy/encoded_runs.h"
#include "policy/text_scan.h"

namespace tollgate::policy {
namespace {

class OutputFilter final : public StreamFilter {
 public:
  OutputFilter(std::shared_ptr<const void> owner, const Program& program, const Subject& subject)
      : owner_(std::move(owner)),
        program_(program),
        selection_(program.Select(subject, Role::kAssistant)),
        tally_(program.rules()),
        resolver_(program, tally_, /*stop_at_block=*/true),
        scan_(program, selection_) {}

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
      given_ += static_cast<std::int64_t>(raw.size());
      return std::string(raw);
    }
    if (raw.empty()) return std::string();
    return Advance(raw, false);
  }

  absl::StatusOr<std::string> Finish() override {
    if (!failure_.ok()) return failure_;
    if (finished_) return failure_ = base::FailedPrecondition("the reply has ended already");
    finished_ = true;
    if (blocked_ || selection_.empty()) return std::string();
    return Advance({}, true);
  }

  bool blocked() const override { return blocked_; }
  const Verdict& verdict() const override { return verdict_; }
  const std::vector<RawSpan>& raw() const override { return raw_; }
  const std::vector<std::pair<std::int64_t, std::int64_t>>& replaced() const override { return replaced_; }
  std::size_t held_bytes() const override { return blocked_ ? 0 : static_cast<std::size_t>(pushed_ - decided_); }
  std::int64_t pushed_bytes() const override { return pushed_; }
  std::int64_t decided_bytes() const override { return decided_; }
  bool swallowing() const override { return scan_.swallowing() || (plain_ != nullptr && plain_->swallowing()); }

 private:
  std::string_view Bytes(std::int64_t from, std::int64_t to) const {
    return std::string_view(text_).substr(static_cast<std::size_t>(from - decided_), static_cast<std::size_t>(to - from));
  }

  // Every reader reads; returns the least of their live starts.
  std::int64_t Read(std::string_view piece, bool at_end) {
    std::string_view fresh = piece;
    if (plain_ == nullptr && selection_.plain) {
      const std::size_t same = FirstDisguised(fresh, last_);
      if (same < fresh.size()) {
        if (same > 0) ReadWritten(fresh.substr(0, same), false);
        plain_ = std::make_unique<PlainScan>(scan_, same > 0 ? fresh[same - 1] : last_);
        fresh.remove_prefix(same);
      }
    }
    std::int64_t live = ReadWritten(fresh, at_end);
    if (plain_ != nullptr) live = std::min(live, plain_->Read(program_, fresh, at_end, found_));
    if (selection_.decoded) live = std::min(live, ReadWords(piece, at_end));
    return std::max(live, decided_);
  }

  std::int64_t ReadWords(std::string_view fresh, bool at_end) {
    std::vector<EncodedWord> ended;
    words_.Read(fresh, at_end, ended);
    for (const EncodedWord& word : ended) FindDecoded(program_, Bytes(word.begin, word.end), word.begin, selection_, kDecodeDepth, found_);
    return words_.LiveStart();
  }

  std::int64_t ReadWritten(std::string_view fresh, bool at_end) {
    const std::size_t first = found_.size();
    const std::int64_t live = scan_.Read(fresh, at_end, found_);
    for (std::size_t i = first; i < found_.size(); ++i) found_[i].views = plain_ == nullptr ? Hit::kBoth : Hit::kWritten;
    return live;
  }

  std::string Advance(std::string_view fresh, bool at_end) {
    text_ += fresh;
    const std::int64_t live = Read(fresh, at_end);
    if (!fresh.empty()) last_ = fresh.back();
    if (at_end || live > decided_) Judge(at_end ? INT64_MAX : live);
    std::string out;
    const std::int64_t to = blocked_ ? resolver_.block_begin() : live;
    Emit(to, at_end || blocked_, out);
    if (blocked_) {
      raw_.push_back({program_.rules()[resolver_.block_rule()].id, to, std::string(Bytes(to, pushed_))});
    }
    text_.erase(0, static_cast<std::size_t>(to - decided_));
    decided_ = to;
    given_ += static_cast<std::int64_t>(out.size());
    return out;
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
        if (replacement.form == Replacement::Form::kText) Replace(replacement.text, out);
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
    if (replacement.form != Replacement::Form::kText) Replace(replacement.For(raw_.back().bytes, edit.alone), out);
    ++edit_;
  }

  void Replace(std::string_view text, std::string& out) {
    const std::int64_t begin = given_ + static_cast<std::int64_t>(out.size());
    out += text;
    replaced_.emplace_back(begin, begin + static_cast<std::int64_t>(text.size()));
  }

  const std::shared_ptr<const void> owner_;
  const Program& program_;
  const Program::Selection selection_;
  Tally tally_;
  Resolver resolver_;
  TextScan scan_;
  std::unique_ptr<PlainScan> plain_;  // Once the two texts differ.
  WordCutter words_;                  // That may be encoded.
  char last_ = ' ';                   // The last byte that was read.

  std::string text_;  // Raw bytes from decided_ to pushed_.
  std::int64_t decided_ = 0, pushed_ = 0;
  std::vector<Hit> found_;  // Not judged yet.
  std::size_t edit_ = 0;    // The first edit not passed.
  std::vector<RawSpan> raw_;
  std::vector<std::pair<std::int64_t, std::int64_t>> replaced_;
  std::int64_t given_ = 0;  // Bytes that came out.
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
  const std::vector<Hit> hits = FindEverywhere(program, reply, program.Select(subject, Role::kAssistant));
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
