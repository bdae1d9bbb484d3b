// A policy's way from draft to retired, called for: each call is one change, and what stands after it.
// Tested by tests/gateway/admin/lifecycle_test.cpp and tests/gateway/admin/services_test.cpp.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "gateway/admin/bundles.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/page.h"

namespace tollgate::admin {

using directory::Row;
using directory::Shard;
using directory::Table;
using identity::Permission;

namespace {

// What stands after a change of the binding; `version` is the one that the call was about, 0 = none.
void Describe(const Caller& caller, const Shard& shard, const Changed& bound, std::int64_t version, v1::StoredPolicy& reply) {
  caller.Await(bound.version);
  const std::string& name = bound.row.Text("name");
  if (const Row* row = version == 0 ? nullptr : VersionOf(shard, name, version)) {
    reply = DescribePolicy(*row, shard.org.name, &bound.row, false);
    return;
  }
  reply.set_org(shard.org.name);
  reply.set_name(name);
  reply.set_version_in_force(bound.row.Int("policy_version"));
  reply.set_record(RecordOf(bound.row));
}

}  // namespace

absl::Status PutPolicy(const Caller& caller, const v1::PutPolicyRequest& request, v1::StoredPolicy& reply) {
  const bool store_only = request.store_only() || request.draft();
  if (!store_only) TG_RETURN_IF_ERROR(caller.Need(Permission::kActivatePolicy));
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  Changes& changes = caller.changes();
  TG_ASSIGN(const Changed stored, changes.PutPolicy(caller.actor(), shard->org.name, request.name(), request.yaml(), request.draft()));
  const std::int64_t version = stored.row.Int("policy_version");
  if (store_only) {
    caller.Await(stored.version);
    reply = DescribePolicy(stored.row, shard->org.name, BindingOf(*shard, request.name()), false);
    WarnOfAsked(caller, request.name(), request.yaml(), reply);
    return absl::OkStatus();
  }
  const auto bound = changes.ActivatePolicy(caller.actor(), shard->org.name, request.name(), version);
  if (!bound.ok()) return base::Annotate(bound.status(), fmt::format("version {} is stored and not put in force", version));
  caller.Await(std::max(stored.version, bound->version));
  reply = DescribePolicy(stored.row, shard->org.name, &bound->row, false);
  WarnOfAsked(caller, request.name(), request.yaml(), reply);
  return absl::OkStatus();
}

absl::Status ActivatePolicy(const Caller& caller, const v1::ActivatePolicyRequest& request, v1::StoredPolicy& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const Changed bound, caller.changes().ActivatePolicy(caller.actor(), shard->org.name, request.name(), request.version()));
  Describe(caller, *shard, bound, request.version(), reply);
  return absl::OkStatus();
}

absl::Status TryPolicy(const Caller& caller, const v1::TryPolicyRequest& request, v1::StoredPolicy& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  const Trial trial{request.version(), request.canary_per_10000() != 0, request.canary_per_10000(), request.by_tenant()};
  TG_ASSIGN(const Changed bound, caller.changes().TryPolicy(caller.actor(), shard->org.name, request.name(), trial));
  Describe(caller, *shard, bound, request.version(), reply);
  return absl::OkStatus();
}

absl::Status RollbackPolicy(const Caller& caller, const v1::RollbackPolicyRequest& request, v1::StoredPolicy& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const Changed bound, caller.changes().RollbackPolicy(caller.actor(), shard->org.name, request.name()));
  Describe(caller, *shard, bound, bound.row.Int("policy_version"), reply);
  return absl::OkStatus();
}

absl::Status SetSecondPerson(const Caller& caller, const v1::SetSecondPersonRequest& request, v1::SetSecondPersonReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const Changed changed, caller.changes().SetSecondPerson(caller.actor(), shard->org.name, request.wanted()));
  caller.Await(changed.version);
  reply.set_org(shard->org.name);
  reply.set_wanted(request.wanted());
  return absl::OkStatus();
}

absl::Status SetPolicySigners(const Caller& caller, const v1::SetPolicySignersRequest& request, v1::PolicySigners& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  SignersChange change;
  for (const v1::PolicySigner& signer : request.add()) change.add[signer.name()] = signer.public_key();
  change.remove.assign(request.remove().begin(), request.remove().end());
  if (request.has_required()) change.required = request.required();
  TG_ASSIGN(const Changed changed, caller.changes().SetPolicySigners(caller.actor(), shard->org.name, change));
  caller.Await(changed.version);
  TG_ASSIGN(const policy::Signers signers, ReadSigners(changed.row.IsNull("policy_signers") ? "" : changed.row.Text("policy_signers")));
  reply.set_org(shard->org.name);
  for (const auto& [name, key] : signers) reply.add_names(name);
  reply.set_required(WantsSigned(changed.row));
  return absl::OkStatus();
}

absl::Status ListPolicies(const Caller& caller, const v1::ListPoliciesRequest& request, v1::ListPoliciesReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  // By what a page's token holds: the policy's name, or of one policy its versions, newest first.
  std::map<std::string, const Row*> found;
  for (const auto& row : RowsOf(*shard, Table::kPolicy)) {
    if (!request.name().empty()) {
      if (row->Text("name") == request.name()) found[fmt::format("{:020}", INT64_MAX - row->Int("policy_version"))] = row.get();
      continue;
    }
    const Row*& best = found[row->Text("name")];
    if (best == nullptr || best->Int("policy_version") < row->Int("policy_version")) best = row.get();
  }
  std::vector<std::pair<std::string, const Row*>> policies(found.begin(), found.end());
  const auto emit = [&](const Row* row) {
    *reply.add_policies() = DescribePolicy(*row, shard->org.name, BindingOf(*shard, row->Text("name")), false);
  };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(policies), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status ShowPolicy(const Caller& caller, const v1::ShowPolicyRequest& request, v1::StoredPolicy& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  const Row* binding = BindingOf(*shard, request.name());
  const std::int64_t in_force = binding == nullptr ? 0 : binding->Int("policy_version");
  const std::int64_t wanted = request.version() != 0 ? request.version() : in_force;
  const Row* found = VersionOf(*shard, request.name(), wanted);
  if (found == nullptr) return base::NotFound("there is no such policy or version; see what there is: tollgate policy list");
  reply = DescribePolicy(*found, shard->org.name, binding, true);
  return absl::OkStatus();
}

}  // namespace tollgate::admin
