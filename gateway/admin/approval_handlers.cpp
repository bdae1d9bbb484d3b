// Approvals of a second person: what waits for one, giving it, and taking it back. The ADMIN record is durable before the change is; a
// record whose change did not follow is an attempt that failed. Tested by tests/gateway/admin/approvals_test.cpp.
#include <fmt/format.h>

#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/people.h"
#include "gateway/admin/text.h"

namespace tollgate::admin {

using directory::Shard;

namespace {

constexpr std::chrono::seconds kPatience{10};

absl::StatusOr<gates::Gates*> GatesOf(const Caller& caller) {
  gates::Gates* gates = caller.context().with.gates;
  if (gates == nullptr) return base::FailedPrecondition("this instance keeps no approvals; ask one that serves requests");
  return gates;
}

v1::PolicyApproval Describe(const Caller& caller, const Shard& shard, const gates::Approval& approval) {
  v1::PolicyApproval out;
  out.set_id(approval.id.ToString());
  out.set_rule_id(approval.rule);
  out.set_state(approval.state);
  out.set_minutes(approval.minutes);
  out.set_asked_us(approval.asked_us);
  out.set_granted_by(approval.granted_by);
  out.set_granted_us(approval.granted_us);
  out.set_request_id(approval.request.ToString());
  out.set_team(NamesOf(shard, approval.team.value).team);
  if (const auto place = caller.snapshot().FindKey(approval.key)) out.set_key(place->key->public_id);
  return out;
}

// The approval that a call names, with the reason that goes on record.
template <typename Request>
absl::StatusOr<gates::Approval> Named(gates::Gates& gates, const Shard& shard, const Request& request, std::string_view what) {
  TG_RETURN_IF_ERROR(NeedReason(request.reason(), fmt::format("this is {}", what)));
  const auto id = base::Uuid::Parse(request.id());
  if (!id.ok()) return base::InvalidArgument("id: use the one that the refusal told, a UUID");
  return gates.Find(shard.org.id, *id);
}

absl::Status Record(const Caller& caller, const Shard& shard, const gates::Approval& approval, const char* action,
                    const std::string& summary) {
  audit::Entry entry = caller.NewEntry(v1::RECORD_KIND_ADMIN, shard.org.id, approval.team);
  v1::AdminBody& body = *entry.record.mutable_admin();
  body.set_actor(caller.actor().name);
  body.set_action(action);
  body.set_table("gate.approval");
  body.set_row_id(approval.id.Bytes());
  body.set_summary(summary);
  return audit::AppendAndWait(*caller.context().with.journal, std::move(entry), std::chrono::steady_clock::now() + kPatience).status();
}

// "rule dump for one request, the prompt of request 01937c2e-…"
std::string What(const gates::Approval& approval) {
  if (approval.minutes > 0) return fmt::format("rule {} for {} minutes", approval.rule, approval.minutes);
  return fmt::format("rule {} for one request, the prompt of request {}", approval.rule, approval.request.ToString());
}

absl::Status NotIn(const gates::Approval& approval, std::string_view wanted) {
  return base::NotFound(
      fmt::format("approval {} is {}, not {}; `tollgate policy approvals` lists them", approval.id.ToString(), approval.state, wanted));
}

}  // namespace

absl::Status ListApprovals(const Caller& caller, const v1::ListApprovalsRequest& request, v1::ListApprovalsReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(gates::Gates * gates, GatesOf(caller));
  TG_ASSIGN(const gates::Approvals approvals, gates->ListApprovals(shard->org.id));
  for (const gates::Approval& approval : approvals.all) *reply.add_approvals() = Describe(caller, *shard, approval);
  reply.set_more(approvals.more);
  return absl::OkStatus();
}

absl::Status Approve(const Caller& caller, const v1::ApproveRequest& request, v1::PolicyApproval& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(gates::Gates * gates, GatesOf(caller));
  TG_ASSIGN(gates::Approval approval, Named(*gates, *shard, request, "approved"));
  if (approval.state != "pending") return NotIn(approval, "pending");
  const auto asker = caller.snapshot().FindKey(approval.key);
  if (!asker) return base::FailedPrecondition("the key that asked for this is gone: nobody could use the approval");
  const directory::Key& approver = *caller.place().key;
  TG_RETURN_IF_ERROR(NeedTwoPeople({asker->key->owner, asker->key->made_by}, {approver.owner, approver.made_by},
                                   fmt::format("{} asked for this; it takes a second person", approver.owner)));
  TG_RETURN_IF_ERROR(Record(caller, *shard, approval, "policy.approve",
                            fmt::format("{}, asked by key {}: {}", What(approval), asker->key->public_id, request.reason())));
  TG_RETURN_IF_ERROR(gates->Grant(shard->org.id, approval.id, caller.actor().name));
  approval.state = "granted";
  approval.granted_by = caller.actor().name;
  approval.granted_us = base::ToMicros(caller.context().with.clock->Wall());
  reply = Describe(caller, *shard, approval);
  return absl::OkStatus();
}

absl::Status RevokeApproval(const Caller& caller, const v1::RevokeApprovalRequest& request, v1::PolicyApproval& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(gates::Gates * gates, GatesOf(caller));
  TG_ASSIGN(gates::Approval approval, Named(*gates, *shard, request, "taken back"));
  const bool waits = approval.state == "pending";
  if (!waits && approval.state != "granted") return NotIn(approval, "granted or pending");
  const std::string summary = waits ? fmt::format("turned down {}: {}", What(approval), request.reason())
                                    : fmt::format("rule {}, granted by {}: {}", approval.rule, approval.granted_by, request.reason());
  TG_RETURN_IF_ERROR(Record(caller, *shard, approval, "policy.revoke_approval", summary));
  TG_RETURN_IF_ERROR(gates->Revoke(shard->org.id, approval.id));
  approval.state = "revoked";
  reply = Describe(caller, *shard, approval);
  return absl::OkStatus();
}

}  // namespace tollgate::admin
