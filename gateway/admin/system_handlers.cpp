// Status is filled by whoever composed the server; what the directory knows is added here. Tested by tests/gateway/admin/services_test.cpp.
#include <fmt/format.h>

#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/directory/aliases.h"
#include "gateway/directory/names.h"

namespace tollgate::admin {

using directory::Shard;
using directory::Table;
using identity::Permission;

namespace {

absl::StatusOr<StopTarget> TargetOf(const Caller& caller, const v1::StopTarget& target) {
  StopTarget out;
  switch (target.what_case()) {
    case v1::StopTarget::kEverything:
      if (!target.everything()) return base::InvalidArgument("target.everything: is false; name a model or a scope instead");
      TG_RETURN_IF_ERROR(caller.Need(Permission::kStopEverything, true));
      out.kind = StopTarget::Kind::kEverything;
      return out;
    case v1::StopTarget::kModel:
      TG_RETURN_IF_ERROR(caller.Need(Permission::kStopEverything, true));
      out.kind = StopTarget::Kind::kModel;
      out.model = target.model();
      out.configured = caller.context().with.models != nullptr && caller.context().with.models->IsConfigured(out.model);
      return out;
    case v1::StopTarget::kScope: {
      out.kind = StopTarget::Kind::kScope;
      TG_ASSIGN(out.scope, caller.Names(target.scope()));
      return out;
    }
    default: return base::InvalidArgument("target: name everything, a model or a scope");
  }
}

// The stops in force within the caller's reach; those of the whole installation are everyone's concern, but for models that are not.
template <typename Add>
void ForStops(const Caller& caller, const Add& add) {
  for (const auto& row : caller.snapshot().installation().stop_rows) {
    if (row->Bool("lifted") || (row->Text("scope_kind") == "model" && !caller.Knows(row->Text("model")))) continue;
    add(DescribeStop(*row, {}));
  }
  for (const auto& shard : caller.snapshot().shards()) {
    if (!caller.SeesAll() && shard.get() != caller.place().shard) continue;
    for (const auto& row : shard->rows[static_cast<std::size_t>(Table::kStop)]) {
      if (!row->Bool("lifted")) add(DescribeStop(*row, NamesOf(*shard, row->Id("scope_id"))));
    }
  }
}

// Whoever stops a model whose name an alias has may mean all that callers get under it.
void WarnOfAlias(const Caller& caller, const StopTarget& target, v1::EmergencyStop& reply) {
  const directory::Alias* alias = target.kind == StopTarget::Kind::kModel ? caller.snapshot().FindAlias(target.model) : nullptr;
  if (alias == nullptr) return;
  std::string others;
  for (const directory::AliasTarget& to : alias->targets) {
    if (to.model != target.model) others += " " + to.model;
  }
  for (const std::string& model : alias->fallbacks) {
    if (model != target.model) others += " " + model;
  }
  if (others.empty()) return;
  reply.add_warnings(
      fmt::format("the model {} is stopped; the alias of that name leads to others too, which go on:{}", target.model, others));
}

}  // namespace

absl::Status Status(const Caller& caller, const v1::StatusRequest&, v1::StatusReply& reply) {
  const AdminCollaborators& with = caller.context().with;
  if (with.fill_status) with.fill_status(reply);
  reply.set_directory_version(caller.snapshot().version());
  reply.set_directory_age_ms(with.directory->age().count());
  if (!caller.SeesAll()) reply.clear_running();  // Of the whole instance: tells of other orgs' load.
  if (!caller.SeesAll()) {
    auto& models = *reply.mutable_models();
    models.erase(std::remove_if(models.begin(), models.end(), [&](const v1::ModelStatus& m) { return caller.IsHidden(m.name()); }),
                 models.end());
    for (v1::ModelStatus& model : *reply.mutable_models()) {
      model.clear_running();
      model.clear_queued();
    }
  }
  ForStops(caller, [&reply](v1::EmergencyStop stop) { *reply.add_stops() = std::move(stop); });
  reply.set_key(caller.place().key->public_id);
  reply.set_org(caller.place().org->name);
  for (const directory::Role role : caller.place().key->roles) reply.add_roles(std::string(directory::RoleName(role)));
  return absl::OkStatus();
}

absl::Status StopNow(const Caller& caller, const v1::StopRequest& request, v1::EmergencyStop& reply) {
  TG_ASSIGN(const StopTarget target, TargetOf(caller, request.target()));
  TG_ASSIGN(const Changed made, caller.changes().Stop(caller.actor(), target, request.reason()));
  caller.Await(made.version);
  reply = DescribeStop(made.row, target.scope);
  WarnOfAlias(caller, target, reply);
  return absl::OkStatus();
}

absl::Status LiftStop(const Caller& caller, const v1::LiftStopRequest& request, v1::EmergencyStop& reply) {
  TG_ASSIGN(const StopTarget target, TargetOf(caller, request.target()));
  TG_ASSIGN(const Changed made, caller.changes().LiftStop(caller.actor(), target, request.reason()));
  caller.Await(made.version);
  reply = DescribeStop(made.row, target.scope);
  return absl::OkStatus();
}

absl::Status ListStops(const Caller& caller, const v1::ListStopsRequest&, v1::ListStopsReply& reply) {
  ForStops(caller, [&reply](v1::EmergencyStop stop) { *reply.add_stops() = std::move(stop); });
  return absl::OkStatus();
}

}  // namespace tollgate::admin
