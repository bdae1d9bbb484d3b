// Loaded, granted, not stopped: in this order, so that a stop tells nothing to those who could not use the model anyway. A registered model
// is loaded when pool and directory both say so: the directory takes it away at once, the pool when it is done.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/admission.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/adapter_names.h"
#include "base/clock.h"
#include "base/error_detail.h"
#include "gateway/directory/directory.h"
#include "gateway/directory/models.h"
#include "gateway/identity/permissions.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

Tenant TenantOf(const directory::Place& place) {
  return {std::string(place.org->id.value.Bytes()), std::string(place.team->id.value.Bytes())};
}

std::vector<metering::Scope> ScopesOf(const directory::Place& place) {
  using Kind = metering::Scope::Kind;
  return {{Kind::kKey, place.key->id.value, place.key->name},
          {Kind::kProject, place.project->id.value, place.project->name},
          {Kind::kTeam, place.team->id.value, place.team->name},
          {Kind::kOrg, place.org->id.value, place.org->name}};
}

RateLimits LimitsOf(metering::Quotas& quotas, std::span<const metering::Scope> scopes) {
  const metering::Remaining remaining = quotas.RemainingOf(scopes);
  auto one = [](const std::optional<metering::Remaining::Meter>& meter) -> std::optional<RateLimits::One> {
    if (!meter) return std::nullopt;
    return RateLimits::One{meter->limit, meter->remaining, meter->reset.count()};
  };
  return {one(remaining.requests), one(remaining.tokens)};
}

absl::StatusOr<identity::Principal> Authenticate(const Collaborators& with, const Caller& caller) {
  TG_ASSIGN(auto snapshot, with.directory->InForce());
  TG_ASSIGN(identity::Principal principal, with.identity->Authenticate(snapshot, caller.bearer, with.clock->Wall()));
  if (identity::ReachOf(*principal.place.key, identity::Permission::kUseModels) == identity::Reach::kNone) {
    return base::WithDetail(base::PermissionDenied("this key has no role that may use models; ask for a key with the role member"),
                            {.reason = "ROLE_NOT_GRANTED", .may_retry = false});
  }
  return principal;
}

absl::Status MayUseForms(const identity::Principal& principal, const tollgate::v1::ChatRequest& request) {
  const bool may = identity::ReachOf(*principal.place.key, identity::Permission::kUseGrammars) != identity::Reach::kNone;
  if (!request.output_form().has_grammar() || may) return absl::OkStatus();
  return base::WithDetail(
      base::PermissionDenied("grammar: this key has no role that may send grammars; ask for a key with the role grammar_author, or use "
                             "response_format with a JSON Schema"),
      {.reason = "ROLE_NOT_GRANTED", .param = "grammar", .may_retry = false});
}

bool Offers(const Collaborators& with, const directory::Snapshot& snapshot, std::string_view model) {
  const std::vector<std::string> parts = snapshot.PartsOf(model);
  const auto offers = [&](const std::string& part) { return part == model || Offers(with, snapshot, part); };
  if (!std::all_of(parts.begin(), parts.end(), offers)) return false;
  const directory::Model* registered = snapshot.FindModel(model);
  if (registered != nullptr) return registered->loaded;
  return !snapshot.IsRetired(model) || with.configured_models.contains(model);
}

bool IsOlder(const directory::Snapshot& snapshot, const inference::ModelInfo& loaded) {
  const auto older = [&](const std::string& name, const base::Digest& digest) {
    const directory::Model* registered = snapshot.FindModel(name);
    return registered != nullptr && registered->sha256 && digest != *registered->sha256;
  };
  const auto adapter_older = [&](const inference::AdapterInfo& adapter) { return older(adapter.name, adapter.sha256); };
  return older(loaded.base.empty() ? loaded.name : loaded.base, loaded.sha256) ||
         std::any_of(loaded.adapters.begin(), loaded.adapters.end(), adapter_older);
}

namespace {

absl::StatusOr<inference::ModelInfo> ResolveOne(const Collaborators& with, const identity::Principal& principal, const std::string& model) {
  auto found = with.pool->Find(model);
  const bool offered = Offers(with, *principal.snapshot, model);
  const directory::Model* registered = principal.snapshot->FindModel(model);
  const bool older = found.ok() && IsOlder(*principal.snapshot, *found);
  if ((!found.ok() || older) && offered && registered != nullptr && principal.snapshot->MayUse(principal.place, model)) {
    return base::WithDetail(
        base::Unavailable(fmt::format("model {} is not loaded here yet; send the request again in a few seconds", model)),
        {.reason = "MODEL_NOT_LOADED", .param = "model", .retry_after_ms = 5000});
  }
  if (!found.ok() || !offered) {
    return base::WithDetail(
        base::NotFound(fmt::format("there is no model {}; GET /v1/models (or Models.List) names those you may use", model)),
        {.reason = "MODEL_NOT_FOUND", .param = "model", .may_retry = false});
  }
  if (!principal.snapshot->MayUse(principal.place, model)) {
    return base::WithDetail(base::PermissionDenied(fmt::format("this key may not use model {}; ask an administrator to grant it", model)),
                            {.reason = "MODEL_NOT_GRANTED", .param = "model", .may_retry = false});
  }
  TG_RETURN_IF_ERROR(principal.snapshot->MayRun(principal.place, model, with.clock->Wall()));
  return found;
}

}  // namespace

// Several adapters are asked for one by one, each as if it stood alone: the first that may not be used is refused as it would be there.
absl::StatusOr<inference::ModelInfo> Resolve(const Collaborators& with, const identity::Principal& principal, const std::string& model) {
  const base::AdapterNames parts = base::SplitAdapters(model);
  if (parts.adapters.size() < 2) return ResolveOne(with, principal, model);
  if (absl::Status status = parts.Check(); !status.ok())
    return base::WithDetail(status, {.reason = "INVALID_VALUE", .param = "model", .may_retry = false});
  for (const std::string& one : parts.adapters) TG_RETURN_IF_ERROR(ResolveOne(with, principal, one).status());
  return with.pool->Find(model);
}

async::Awaitable<absl::Status> CountRequest(const Collaborators& with, metering::Admission& admission) {
  auto reserve = [&](auto done) { with.quotas->Reserve(admission, 0, 0, std::move(done)); };
  absl::StatusOr<metering::Reservation> held = co_await async::Callback<absl::StatusOr<metering::Reservation>>(reserve);
  if (held.ok()) with.quotas->Settle(*held, tollgate::v1::TokenCounts());
  co_return held.status();
}

async::Awaitable<absl::StatusOr<metering::Extension>> ExtendBy(const Collaborators& with, metering::Reservation& reservation,
                                                               std::int64_t tokens) {
  auto ask = [&](auto done) { with.quotas->Extend(reservation, tokens, std::move(done)); };
  co_return co_await async::Callback<absl::StatusOr<metering::Extension>>(ask);
}

async::Awaitable<absl::StatusOr<std::shared_ptr<const audit::RequestKey>>> MakeRequestKey(const Collaborators& with, base::TeamId team,
                                                                                          base::RequestId request,
                                                                                          std::chrono::steady_clock::time_point until) {
  const auto patience = std::min(std::chrono::steady_clock::now() + with.options.append_timeout, until);
  auto make = [&](auto done) { with.keys->NewRequestKey(team, request, patience, std::move(done)); };
  co_return co_await async::Callback<absl::StatusOr<std::shared_ptr<const audit::RequestKey>>>(make);
}

absl::Status ShuttingDown() {
  return base::WithDetail(base::Unavailable("this instance is shutting down; send the request again"),
                          {.reason = "SHUTTING_DOWN", .retry_after_ms = 1000});
}

}  // namespace tollgate::pipeline
