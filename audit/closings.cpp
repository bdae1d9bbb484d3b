// All are the ABORT that a recovery would write, with another reason: a request that ends without its own terminal record ends in one way,
// whoever writes it. Tested by tests/audit/journal_refused_test.cpp.
#include "audit/closings.h"

#include <algorithm>

#include <fmt/format.h>

#include "audit/open_requests.h"

namespace tollgate::audit {
namespace {

v1::Record RecordOf(const Pending& pending) {
  return RecordOrColumns(pending.row, pending.row.message, fmt::format("a record of request {}", pending.row.request.ToString()));
}

}  // namespace

absl::StatusOr<PendingPtr> Closings::Late(const Pending& request) const {
  OpenRequest open;
  open.position = request.position;
  open.request = RecordOf(request);
  Entry entry;
  entry.record = RecoveredAbort(open, base::ToMicros(clock_.Wall()));
  entry.record.mutable_end()->set_reason("JOURNAL_TIMEOUT");
  return Close(open, std::move(entry));
}

absl::StatusOr<PendingPtr> Closings::Settled(const Pending& refused, OpenRequest open) const {
  const v1::Record was = RecordOf(refused);
  const std::int64_t delivered = std::min(was.end().tokens().delivered(), open.output_tokens);
  open.attempt = was.attempt();
  open.output_tokens = was.end().tokens().output();
  Entry entry;
  entry.record = RecoveredAbort(open, was.wall_us());
  v1::EndBody& end = *entry.record.mutable_end();
  end.set_reason("JOURNAL_REFUSED");
  *end.mutable_tokens() = was.end().tokens();
  end.mutable_tokens()->set_delivered(delivered);
  *end.mutable_guard_usage() = was.end().guard_usage();
  return Close(open, std::move(entry));
}

absl::StatusOr<PendingPtr> Closings::Close(const OpenRequest& open, Entry entry) const {
  entry.record.mutable_end()->set_recovered(false);
  if (settle_ && open.readable()) {
    TG_ASSIGN(entry.companions, settle_(open, *entry.record.mutable_end()));
  }
  return Own(std::move(entry));
}

PendingPtr Closings::Plain(const Pending& refused, std::int64_t delivered_bytes) const {
  const v1::Record was = RecordOf(refused);
  Entry entry;
  v1::Record& record = entry.record;
  record.set_kind(v1::RECORD_KIND_ABORT);
  record.set_request_id(was.request_id());
  record.set_attempt(1);
  record.set_org_id(was.org_id());
  record.set_team_id(was.team_id());
  record.set_project_id(was.project_id());
  record.set_key_id(was.key_id());
  record.set_end_user_hmac(was.end_user_hmac());
  record.mutable_end()->set_reason("JOURNAL_REFUSED");
  record.mutable_end()->set_delivered_bytes(delivered_bytes);
  record.mutable_end()->mutable_tokens();
  return Own(std::move(entry));
}

PendingPtr Closings::Own(Entry entry) const {
  auto row = Encode(std::move(entry), clock_);
  TG_CHECK(row.ok(), "the journal's own record cannot be stored");
  auto pending = std::make_shared<Pending>();
  pending->row = *std::move(row);
  pending->bytes = pending->row.bytes();
  pending->enqueued = std::chrono::steady_clock::now();
  pending->deadline = Journal::kNoDeadline;
  return pending;
}

}  // namespace tollgate::audit
