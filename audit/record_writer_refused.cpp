// What the database refuses, and why, decides what becomes of it.
//
// An error that may be one row's or the whole database's is tried a few times on fresh connections, whose Attach shows that the database
// takes writes; then the group is halved as if it were rejected. What stands alone at the end is refused, unless it ends a request: that
// is set aside, so that the others go on, and tried again at each heartbeat. Once another request has been settled meanwhile, the fault is
// its own. A terminal record at fault gives way to an ABORT that settles the same usage, and that, if it must be, to one without any.
// Tested by tests/audit/journal_refused_test.cpp.
#include "audit/open_requests.h"
#include "audit/record_writer.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr int kStubbornTimes = 3;

}  // namespace

bool RecordWriter::Stubborn(const absl::Status& why) {
  const std::string state = base::SqlStateOf(why);
  if (std::exchange(refused_state_, state) != state) refused_times_ = 0;
  return ++refused_times_ >= kStubbornTimes;
}

bool RecordWriter::Closes(const EncodedRow& row) const { return IsTerminal(row.kind) && open_.contains(row.request); }

RecordWriter::Next RecordWriter::Suspected(Group& group, const absl::Status& why) {
  const PendingPtr suspect = original_ != nullptr ? original_ : group[0];
  if (!Closes(suspect->row)) return Condemn(suspect, why);
  if (original_ == nullptr) {
    const auto [aside, first] = aside_.try_emplace(suspect->row.request, Aside{suspect, settled_before_});
    if (aside->second.pending != suspect) return Condemn(suspect, why);
    if (aside->second.settled_before == settled_) {
      if (first) {
        base::Error("audit", "the end of request {} is refused by the database, and set aside: {}", suspect->row.request.ToString(),
                    base::Message(why));
      }
      Well();
      return Next::kGone;
    }
  } else if (group[0]->row.companions.empty()) {  // Not even a bare record is taken now.
    aside_[suspect->row.request] = {std::exchange(original_, nullptr), settled_};
    return Next::kGone;
  }
  return StandIn(group, why);
}

RecordWriter::Next RecordWriter::Refused(Group& group, const absl::Status& why) {
  const bool left = original_ == nullptr ? Closes(group[0]->row) : !group[0]->row.companions.empty();
  if (left) return StandIn(group, why);
  return Condemn(original_ != nullptr ? std::exchange(original_, nullptr) : group[0], why);
}

// Puts an ABORT that settles the same usage into the place of a terminal record, or a bare one into the place of that.
RecordWriter::Next RecordWriter::StandIn(Group& group, const absl::Status& why) {
  if (!log_.attached()) {
    const Next next = AttachFor(group);
    if (next != Next::kAgain || !log_.attached()) return next;
  }
  if (original_ != nullptr) {
    group[0] = closings_.Plain(*original_, original_delivered_);
    return Next::kAgain;
  }
  const Position position{log_.head().log_id, open_.at(group[0]->row.request)};
  auto open = ReadOpenRequest(log_.session(), position, group[0]->row.request);
  original_delivered_ = open.ok() ? open->delivered_bytes : 0;
  auto settled = open.ok() ? closings_.Settled(*group[0], *std::move(open)) : open.status();
  if (absl::IsUnavailable(settled.status()) || absl::IsAborted(settled.status())) {
    Trouble(settled.status());
    return Next::kAgain;
  }
  if (!settled.ok()) {
    base::Error("audit", "request {} cannot be settled: {}", group[0]->row.request.ToString(), base::Message(settled.status()));
  }
  original_ = group[0];
  original_why_ = why;
  group[0] = settled.ok() ? *std::move(settled) : closings_.Plain(*original_, original_delivered_);
  return Next::kAgain;
}

RecordWriter::Next RecordWriter::Condemn(const PendingPtr& refused, const absl::Status& why) {
  const v1::RecordKind kind = refused->row.kind;
  ++counters_.quarantined;
  base::Error("audit", "a {} record was refused by the database: {}", v1::RecordKind_Name(kind), base::Message(why));
  // What the database said names its tables: that is for the operator's log, not for who called the API.
  queue_.Fail(refused, Refusal(kind, "the audit database refuses this record"));
  Well();
  return Next::kGone;
}

void RecordWriter::RetryAside() {
  if (aside_.empty() || lost_ || abandoned_) return;
  std::vector<PendingPtr> batch;
  for (const auto& [request, aside] : aside_) batch.push_back(aside.pending);
  WriteBatch(std::move(batch));
  std::erase_if(aside_, [this](const auto& aside) { return !open_.contains(aside.first); });
}

}  // namespace tollgate::audit
