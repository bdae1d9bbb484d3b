// The text is read as it is written (text_scan.h) and, once a character is not its own plain form, in its plain form as well (disguise.h).
// Words wait for their end where a rule wants them decoded, and what may become a pseudonym of the prompt for its own.
// What lies before the least of their live starts is final for both: the resolver judges the hits that begin there, and the text goes out,
// edited. FilterComplete, which the result is compared with, shares the leaf detectors and the resolver, but none of this. What would come
// of a text that is not pushed is asked of copies of all that reads and decides, without what is behind them.
//
// Tested by tests/policy/stream_property_test.cpp and tests/policy/stream_filter_test.cpp.
#include "policy/output_filter.h"

#include <algorithm>
#include <optional>

#include "base/encoding.h"
#include "policy/disguise.h"
#include "policy/encoded_runs.h"
#include "policy/pseudonyms.h"
#include "policy/text_scan.h"

namespace tollgate::policy {
namespace {

// Pseudonyms of the call's own prompt get their values back, in text that no rule changes.
class Restorer {
 public:
  Restorer(const Subject& subject, const Channel& channel)
      : pseudonyms_(subject.pseudonyms), json_(subject.json_reply && channel.part == Part::kText) {}
  bool restores() const { return pseudonyms_ != nullptr; }

  std::int64_t WholeUpTo(std::string_view text, std::int64_t bytes, bool at_end) const {
    if (pseudonyms_ == nullptr) return bytes;
    return static_cast<std::int64_t>(pseudonyms_->WholeUpTo(text, static_cast<std::size_t>(bytes), at_end));
  }

  // Whether in `text` some pseudonym that goes on behind `from` would get its value back.
  bool RestoresBehind(std::string_view text, std::int64_t from) const {
    bool found = false;
    std::int64_t room = room_;
    if (pseudonyms_ == nullptr) return false;
    pseudonyms_->Restore(text, json_, room, [&](const Pseudonyms::Restored& its) {
      found = found || static_cast<std::int64_t>(its.at + its.pseudonym.text.size()) > from;
    });
    return found;
  }

  // `text`, which lies at `begin` in the raw reply, goes out. `given`: bytes that went out before `out`.
  void Pass(std::string_view text, std::int64_t begin, std::int64_t given, std::string& out, std::vector<RawSpan>& raw,
            std::vector<std::pair<std::int64_t, std::int64_t>>& replaced) {
    if (pseudonyms_ == nullptr) {
      out += text;
      return;
    }
    const std::int64_t base = given + static_cast<std::int64_t>(out.size());
    out += pseudonyms_->Restore(text, json_, room_, [&](const Pseudonyms::Restored& its) {
      raw.push_back({its.pseudonym.rule_id, begin + static_cast<std::int64_t>(its.at), its.pseudonym.text, /*restored=*/true});
      replaced.emplace_back(base + static_cast<std::int64_t>(its.begin), base + static_cast<std::int64_t>(its.end));
    });
  }

 private:
  const std::shared_ptr<const Pseudonyms> pseudonyms_;
  const bool json_;
  std::int64_t room_ = Pseudonyms::kRestoredBytesMax;
};

// All that reads a reply. A copy reads on by itself.
class Readers {
 public:
  Readers(const Program& program, const Program::Selection& selection, Effort& effort)
      : program_(program), selection_(selection), effort_(effort), scan_(program, selection, &effort) {}

  // `text` begins at the raw offset `base` and ends with `piece`, which is new. Returns the least of the live starts.
  std::int64_t Read(std::string_view piece, bool at_end, std::string_view text, std::int64_t base, std::vector<Hit>& found) {
    std::string_view fresh = piece;
    if (!plain_ && selection_.plain) {
      const std::size_t same = FirstDisguised(fresh, behind_, !at_end);
      if (same < fresh.size()) {
        if (same > 0) ReadWritten(fresh.substr(0, same), false, found);
        plain_.emplace(scan_, behind_);
        fresh.remove_prefix(same);
      }
    }
    const std::size_t first = found.size();
    std::int64_t live = ReadWritten(fresh, at_end, found);
    if (plain_) live = plain_->Read(program_, fresh, at_end, live, first, found);
    if (!selection_.decoded) return live;
    std::vector<EncodedWord> ended;
    words_.Read(piece, at_end, ended);
    for (const EncodedWord& word : ended) {
      const auto begin = static_cast<std::size_t>(word.begin - base), length = static_cast<std::size_t>(word.end - word.begin);
      FindDecoded(program_, text.substr(begin, length), word.begin, selection_, kDecodeDepth, found, &effort_);
    }
    return std::min(live, words_.LiveStart());
  }

 private:
  std::int64_t ReadWritten(std::string_view fresh, bool at_end, std::vector<Hit>& found) {
    const std::size_t first = found.size();
    const std::int64_t live = scan_.Read(fresh, at_end, found);
    for (std::size_t i = first; i < found.size(); ++i) found[i].views = plain_ ? Hit::kWritten : Hit::kBoth;
    return live;
  }

  const Program& program_;
  const Program::Selection& selection_;
  Effort& effort_;
  TextScan scan_;
  std::optional<PlainScan> plain_;  // Once the two texts differ.
  WordCutter words_;                // That may be encoded.
  Behind behind_;                   // What was read, until then.
};

class OutputFilter final : public StreamFilter {
 public:
  OutputFilter(std::shared_ptr<const void> owner, const Program& program, const Subject& subject, const Channel& channel,
               KeepGoing keep_going)
      : owner_(std::move(owner)),
        program_(program),
        selection_(program.Select(subject, Role::kAssistant, channel)),
        tally_(program.rules()),
        resolver_(program, tally_, /*stop_at_block=*/true, {TextPlace{}}, /*remembers=*/true),
        effort_(std::move(keep_going)),
        readers_(program, selection_, effort_),
        restorer_(subject, channel) {}

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
    if (Idle()) {
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
    if (blocked_ || Idle()) return std::string();
    return Advance({}, true);
  }

  bool acts() const override { return !Idle(); }
  bool blocked() const override { return blocked_; }
  const Verdict& verdict() const override { return verdict_; }
  Verdict VerdictBefore(std::int64_t before) const override { return resolver_.VerdictBefore(before); }
  const std::vector<RawSpan>& raw() const override { return raw_; }
  const std::vector<std::pair<std::int64_t, std::int64_t>>& replaced() const override { return replaced_; }
  std::size_t held_bytes() const override { return blocked_ ? 0 : static_cast<std::size_t>(pushed_ - decided_); }
  std::int64_t pushed_bytes() const override { return pushed_; }
  std::int64_t decided_bytes() const override { return decided_; }

  bool LetsOut(std::string_view next) const override {
    if (!failure_.ok() || finished_ || blocked_ || !base::IsValidUtf8(next)) return false;
    if (Idle() || next.empty()) return held_bytes() == 0;
    const std::string text = text_ + std::string(next);
    Readers readers = readers_;
    std::vector<Hit> found = found_;
    const std::int64_t live = std::max(readers.Read(next, false, text, decided_, found), decided_);
    if (effort_.over()) return false;
    if (restorer_.WholeUpTo(text, live - decided_, false) < static_cast<std::int64_t>(text.size())) return false;
    program_.Finish(found);
    Resolver resolver = resolver_.Fork();
    resolver.Judge(found);
    if (resolver.blocked()) return false;
    const std::int64_t edited = resolver.edits().empty() ? decided_ : std::max(decided_, resolver.edits().back().end);
    if (edited > pushed_) return false;
    return !restorer_.RestoresBehind(std::string_view(text).substr(static_cast<std::size_t>(edited - decided_)), pushed_ - edited);
  }

 private:
  bool Idle() const { return selection_.empty() && !restorer_.restores(); }

  std::string_view Bytes(std::int64_t from, std::int64_t to) const {
    return std::string_view(text_).substr(static_cast<std::size_t>(from - decided_), static_cast<std::size_t>(to - from));
  }

  absl::StatusOr<std::string> Advance(std::string_view fresh, bool at_end) {
    text_ += fresh;
    const std::int64_t free = std::max(readers_.Read(fresh, at_end, text_, decided_, found_), decided_);
    if (!effort_.Hold(found_.size() + resolver_.counted())) return failure_ = effort_.status();  // It was not judged, and stays here.
    const std::int64_t live = decided_ + restorer_.WholeUpTo(text_, free - decided_, at_end);
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
    resolver_.Judge({found_.data(), static_cast<std::size_t>(later - found_.begin())});
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
        restorer_.Pass(Bytes(at, to), at, given_, out, raw_, replaced_);
        return;
      }
      const Resolver::Edit& edit = edits[edit_];
      if (at < edit.begin) {
        const std::int64_t stop = std::min(edit.begin, to);
        restorer_.Pass(Bytes(at, stop), at, given_, out, raw_, replaced_);
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
  mutable Effort effort_;
  Readers readers_;
  Restorer restorer_;

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

std::unique_ptr<StreamFilter> MakeOutputFilter(std::shared_ptr<const void> owner, const Program& program, const Subject& subject,
                                               const Channel& channel, KeepGoing keep_going) {
  return std::make_unique<OutputFilter>(std::move(owner), program, subject, channel, std::move(keep_going));
}

absl::StatusOr<Filtered> FilterComplete(const Program& program, const Subject& subject, const Channel& channel, std::string_view reply,
                                        const KeepGoing& keep_going) {
  if (!base::IsValidUtf8(reply)) return base::InvalidArgument("the reply is not valid UTF-8");
  Tally tally(program.rules());
  Resolver resolver(program, tally, /*stop_at_block=*/true);
  Effort effort(keep_going);
  const std::vector<Hit> hits = FindEverywhere(program, reply, program.Select(subject, Role::kAssistant, channel), &effort);
  if (!effort.Hold(hits.size())) return effort.status();
  resolver.Judge(hits);
  Filtered out;
  out.blocked = resolver.blocked();
  const std::string_view kept = out.blocked ? reply.substr(0, static_cast<std::size_t>(resolver.block_begin())) : reply;
  Restorer restorer(subject, channel);
  std::vector<std::pair<std::int64_t, std::int64_t>> replaced;  // Nobody asks where.
  std::int64_t at = 0;
  const auto pass_to = [&](std::int64_t end) {
    restorer.Pass(kept.substr(static_cast<std::size_t>(at), static_cast<std::size_t>(end - at)), at, 0, out.text, out.raw, replaced);
  };
  for (const Resolver::Edit& edit : resolver.edits()) {
    pass_to(edit.begin);
    at = edit.end;
    const std::string_view bytes = reply.substr(static_cast<std::size_t>(edit.begin), static_cast<std::size_t>(edit.end - edit.begin));
    const Program::Source& source = program.sources()[edit.source];
    out.text += source.replacement.For(bytes, edit.alone);
    out.raw.push_back({program.rules()[source.rule].id, edit.begin, std::string(bytes)});
  }
  pass_to(static_cast<std::int64_t>(kept.size()));
  if (out.blocked)
    out.raw.push_back({program.rules()[resolver.block_rule()].id, resolver.block_begin(), std::string(reply.substr(kept.size()))});
  out.verdict = tally.ToVerdict();
  return out;
}

}  // namespace tollgate::policy
