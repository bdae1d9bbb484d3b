// The registry is of the whole installation: who changes it reaches all of it, and who does not sees what its key may use. Loading is asked
// for in a row and done by each instance's keeper, so that no call holds a worker while gigabytes are read; only what can be told at once
// from the file's header is told at once. Tested by tests/gateway/admin/registry_test.cpp.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/page.h"

namespace tollgate::admin {

using directory::Model;
using directory::Row;
using identity::Permission;

namespace {

absl::StatusOr<Model> ModelFrom(const v1::ModelSpec& spec) {
  Model model;
  model.name = spec.name();
  if (!spec.base().empty()) model.engine = "lora";
  if (!spec.engine().empty()) model.engine = spec.engine();
  model.base = spec.base();
  if (spec.scale() != 0) {
    if (!(spec.scale() > 0 && spec.scale() <= 16)) return base::InvalidArgument("scale: use more than 0, and at most 16");
    model.scale_millionths = std::llround(spec.scale() * 1e6);
  }
  model.file = spec.file();
  if (!spec.sha256().empty()) {
    const auto bytes = base::HexDecode(spec.sha256());
    if (!bytes.ok() || bytes->size() != base::Digest().size()) return base::InvalidArgument("sha256: use 64 hexadecimal digits");
    model.sha256.emplace();
    std::copy(bytes->begin(), bytes->end(), model.sha256->begin());
  }
  model.licence = spec.licence();
  model.chat_template = spec.chat_template();
  if (spec.context_tokens() != 0) model.context_tokens = spec.context_tokens();
  if (spec.slots() != 0) model.slots = spec.slots();
  model.threads = spec.threads();
  if (!spec.kv().empty()) model.kv = spec.kv();
  if (spec.has_queue_max()) model.queue_max = spec.queue_max();
  if (spec.queue_timeout_ms() != 0) model.queue_timeout_ms = spec.queue_timeout_ms();
  if (spec.has_prefix_cache_bytes()) model.prefix_cache_bytes = spec.prefix_cache_bytes();
  if (spec.step_target_ms() != 0) model.step_target_ms = spec.step_target_ms();
  model.pooling = spec.pooling();
  model.strict = spec.strict();
  model.kv_tokens = spec.kv_tokens();
  return model;
}

v1::ModelSpec SpecOf(const Model& model) {
  v1::ModelSpec spec;
  spec.set_name(model.name);
  spec.set_engine(model.engine);
  spec.set_file(model.file);
  if (model.sha256.has_value()) spec.set_sha256(base::HexEncode(base::View(*model.sha256)));
  spec.set_licence(model.licence);
  if (!model.base.empty()) {
    spec.set_base(model.base);
    spec.set_scale(static_cast<double>(model.scale_millionths) / 1e6);
    return spec;
  }
  spec.set_chat_template(model.chat_template);
  spec.set_context_tokens(model.context_tokens);
  spec.set_slots(model.slots);
  spec.set_threads(model.threads);
  spec.set_kv(model.kv);
  spec.set_queue_max(model.queue_max);
  spec.set_queue_timeout_ms(model.queue_timeout_ms);
  spec.set_prefix_cache_bytes(model.prefix_cache_bytes);
  spec.set_step_target_ms(model.step_target_ms);
  spec.set_pooling(model.pooling);
  spec.set_strict(model.strict);
  spec.set_kv_tokens(model.kv_tokens);
  return spec;
}

v1::RegisteredModel DescribeModel(const Caller& caller, const Row& row) {
  const Model model = directory::ModelOf(row);
  v1::RegisteredModel out;
  out.set_id(row.id.ToString());
  *out.mutable_spec() = SpecOf(model);
  out.set_restricted(model.restricted);
  out.set_loaded(model.loaded);
  out.set_retired(model.retired);
  out.set_record(RecordOf(row));
  const ModelHost* host = caller.context().with.models;
  if (host == nullptr) return out;
  const ModelHost::Standing standing = host->StandingOf(model.name);
  out.set_state(standing.state);
  out.set_problem(standing.problem);
  // The keeper has not looked yet.
  if (model.loaded && standing.state == v1::MODEL_STATE_UNLOADED) out.set_state(v1::MODEL_STATE_LOADING);
  return out;
}

// A retired model's name is for who reaches the whole installation, like its row; unless tollgate.yaml names a model so.
bool MaySee(const Caller& caller, const std::string& model) {
  if (caller.SeesAll()) return true;
  const ModelHost* host = caller.context().with.models;
  if (caller.snapshot().IsRetired(model) && (host == nullptr || !host->IsConfigured(model))) return false;
  return caller.snapshot().MayUse(caller.place(), model);
}

bool MaySeeAll(const Caller& caller, const directory::Alias& alias) {
  return std::all_of(alias.targets.begin(), alias.targets.end(), [&](const auto& t) { return MaySee(caller, t.model); }) &&
         std::all_of(alias.fallbacks.begin(), alias.fallbacks.end(), [&](const auto& m) { return MaySee(caller, m); });
}

// The registry's row of a name, if the caller may know of it; retired ones for who reaches the whole installation.
absl::StatusOr<Row> RowOf(const Caller& caller, const std::string& name) {
  const auto& rows = caller.snapshot().installation().model_rows;
  const auto found = rows.find(name);
  const bool there = found != rows.end() && (caller.SeesAll() || !found->second->Bool("retired"));
  if (there && MaySee(caller, name)) return *found->second;
  return base::NotFound(fmt::format("no model {} is registered", base::IsValidUtf8(name) && name.size() <= 128 ? name : "of this name"));
}

// What it leads to, and led to before, as far as the caller may see every model of it.
v1::ModelAlias DescribeAlias(const Caller& caller, const Row& row) {
  v1::ModelAlias out;
  out.set_id(row.id.ToString());
  out.set_name(row.Text("name"));
  out.set_in_force(!row.Bool("removed"));
  out.set_record(RecordOf(row));
  const auto add = [&](const char* targets, const char* fallbacks, auto* to_targets, auto* to_fallbacks) {
    if (row.IsNull(targets)) return;
    const auto alias = directory::MakeAlias(row.Text("name"), row.Text(targets), row.Text(fallbacks));
    if (!alias.ok() || !MaySeeAll(caller, *alias)) return;
    for (const directory::AliasTarget& target : alias->targets) {
      v1::AliasTarget* one = to_targets->Add();
      one->set_model(target.model);
      one->set_weight(target.weight);
    }
    for (const std::string& model : alias->fallbacks) *to_fallbacks->Add() = model;
  };
  add("targets", "fallbacks", out.mutable_targets(), out.mutable_fallbacks());
  add("previous_targets", "previous_fallbacks", out.mutable_previous_targets(), out.mutable_previous_fallbacks());
  return out;
}

absl::Status Answer(const Caller& caller, const absl::StatusOr<Changed>& made, v1::ModelAlias& reply) {
  TG_RETURN_IF_ERROR(made.status());
  caller.Await(made->version);
  reply = DescribeAlias(caller, made->row);
  if (const auto alias = directory::AliasOf(made->row); reply.in_force() && alias.ok()) WarnOfScopes(caller, *alias, reply);
  return absl::OkStatus();
}

absl::Status Answer(const Caller& caller, const absl::StatusOr<Changed>& made, v1::RegisteredModel& reply) {
  TG_RETURN_IF_ERROR(made.status());
  caller.Await(made->version);
  reply = DescribeModel(caller, made->row);
  return absl::OkStatus();
}

// An adapter is of a model that there is, and that is none itself.
absl::Status CheckBase(const Caller& caller, const Model& model) {
  if (model.base.empty()) return absl::OkStatus();
  const Model* base_model = caller.snapshot().FindModel(model.base);
  if (base_model != nullptr && base_model->base.empty()) return absl::OkStatus();
  if (base_model != nullptr)
    return base::InvalidArgument(fmt::format("base: {} is an adapter; name the model that both change", model.base));
  if (const ModelHost* host = caller.context().with.models; host != nullptr && host->IsConfigured(model.base)) return absl::OkStatus();
  return base::NotFound(
      fmt::format("base: no model {0} is registered or in tollgate.yaml; register it first: tollgate models add {0} …", model.base));
}

}  // namespace

absl::Status AddModel(const Caller& caller, const v1::AddModelRequest& request, v1::RegisteredModel& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  TG_ASSIGN(Model model, ModelFrom(request.spec()));
  model.restricted = request.restricted() || !model.base.empty();  // An adapter is its team's until it is opened.
  TG_RETURN_IF_ERROR(CheckBase(caller, model));
  if (const ModelHost* host = caller.context().with.models; host != nullptr && host->IsConfigured(model.name)) {
    return base::AlreadyExists(fmt::format("tollgate.yaml names a model {}; take it out there first, or choose another name", model.name));
  }
  return Answer(caller, caller.changes().AddModel(caller.actor(), model), reply);
}

absl::Status ListRegisteredModels(const Caller& caller, const v1::ListRegisteredModelsRequest& request,
                                  v1::ListRegisteredModelsReply& reply) {
  std::vector<std::pair<std::string, const Row*>> models;
  for (const auto& [name, row] : caller.snapshot().installation().model_rows) {
    if (row->Bool("retired") && !(request.include_retired() && caller.SeesAll())) continue;
    if (MaySee(caller, name)) models.emplace_back(name, row.get());
  }
  const auto emit = [&](const Row* row) { *reply.add_models() = DescribeModel(caller, *row); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(models), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status ShowModel(const Caller& caller, const v1::ShowModelRequest& request, v1::RegisteredModel& reply) {
  TG_ASSIGN(const Row row, RowOf(caller, request.name()));
  reply = DescribeModel(caller, row);
  return absl::OkStatus();
}

absl::Status LoadModel(const Caller& caller, const v1::LoadModelRequest& request, v1::RegisteredModel& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  ModelHost* host = caller.context().with.models;
  const Model* model = caller.snapshot().FindModel(request.name());
  if (host != nullptr && model != nullptr && host->StandingOf(model->name).state != v1::MODEL_STATE_LOADED) {
    TG_RETURN_IF_ERROR(base::Annotate(host->Check(*model), "nothing was changed"));
  }
  const auto made = caller.changes().SetModelLoaded(caller.actor(), request.name(), true);
  if (made.ok() && host != nullptr) host->Retry(request.name());
  return Answer(caller, made, reply);
}

absl::Status UnloadModel(const Caller& caller, const v1::UnloadModelRequest& request, v1::RegisteredModel& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  return Answer(caller, caller.changes().SetModelLoaded(caller.actor(), request.name(), false), reply);
}

absl::Status RetireModel(const Caller& caller, const v1::RetireModelRequest& request, v1::RegisteredModel& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  return Answer(caller, caller.changes().RetireModel(caller.actor(), request.name(), request.reason()), reply);
}

absl::Status RestrictModel(const Caller& caller, const v1::RestrictModelRequest& request, v1::RegisteredModel& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  return Answer(caller, caller.changes().RestrictModel(caller.actor(), request.name(), request.restricted()), reply);
}

absl::Status SetAlias(const Caller& caller, const v1::SetAliasRequest& request, v1::ModelAlias& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  directory::Alias alias;
  alias.name = request.name();
  for (const v1::AliasTarget& target : request.targets()) alias.targets.push_back({target.model(), target.weight()});
  alias.fallbacks.assign(request.fallbacks().begin(), request.fallbacks().end());
  return Answer(caller, caller.changes().SetAlias(caller.actor(), alias), reply);
}

absl::Status RollbackAlias(const Caller& caller, const v1::RollbackAliasRequest& request, v1::ModelAlias& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  return Answer(caller, caller.changes().RollbackAlias(caller.actor(), request.name(), request.reason()), reply);
}

absl::Status RemoveAlias(const Caller& caller, const v1::RemoveAliasRequest& request, v1::ModelAlias& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageModels, true));
  return Answer(caller, caller.changes().RemoveAlias(caller.actor(), request.name(), request.reason()), reply);
}

// Who does not reach the whole installation sees an alias only if every model that it leads to is one that its key may use.
absl::Status ListAliases(const Caller& caller, const v1::ListAliasesRequest& request, v1::ListAliasesReply& reply) {
  std::vector<std::pair<std::string, const Row*>> aliases;
  const directory::Installation& installation = caller.snapshot().installation();
  for (const auto& [name, alias] : installation.aliases) {
    if (MaySeeAll(caller, alias)) aliases.emplace_back(name, installation.alias_rows.at(name).get());
  }
  const auto emit = [&](const Row* row) { *reply.add_aliases() = DescribeAlias(caller, *row); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(aliases), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

}  // namespace tollgate::admin
