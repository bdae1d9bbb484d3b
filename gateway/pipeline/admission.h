// Who calls and what they may use: what every kind of call asks first. Pure reads of the snapshot, of quotas and of the pool.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "audit/keys.h"
#include "base/status.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/service.h"
#include "inference/types.h"
#include "metering/quotas.h"

namespace tollgate::pipeline {

// Who calls, if the directory can say and the key may use models.
absl::StatusOr<identity::Principal> Authenticate(const Collaborators& with, const Caller& caller);

// Whether the directory lets the model answer: it says that it shall be loaded, or nothing of it. Of a retired one nothing is left but what
// tollgate.yaml names.
bool Offers(const Collaborators& with, const directory::Snapshot& snapshot, std::string_view model);

// The model of this name, if it is loaded and the principal may use it now. NOT_FOUND (MODEL_NOT_FOUND), UNAVAILABLE (MODEL_NOT_LOADED: it
// shall be, and is not yet), PERMISSION_DENIED (MODEL_NOT_GRANTED, EMERGENCY_STOP). Also a model with adapters, "BASE:ADAPTER+ADAPTER".
absl::StatusOr<inference::ModelInfo> Resolve(const Collaborators& with, const identity::Principal& principal, const std::string& model);

// What is loaded under a name may still be the weights, or an adapter, that the name stood for before.
bool IsOlder(const directory::Snapshot& snapshot, const inference::ModelInfo& loaded);

// Whose it is, for what tenants share.
Tenant TenantOf(const directory::Place& place);

// The four scopes that limit a place: key, project, team, org.
std::vector<metering::Scope> ScopesOf(const directory::Place& place);

// Makes the admitted call one of its windows' requests although it uses no tokens: work was done for it. Errors as Quotas::Reserve.
async::Awaitable<absl::Status> CountRequest(const Collaborators& with, metering::Admission& admission);

// More tokens for a reservation, as many as the windows have; and how many, maybe none. Errors as Quotas::Extend.
async::Awaitable<absl::StatusOr<metering::Extension>> ExtendBy(const Collaborators& with, metering::Reservation& reservation,
                                                               std::int64_t tokens);

// The key of a request's record and of its pseudonyms, within options.append_timeout, and no later than `until`. Errors as NewRequestKey.
async::Awaitable<absl::StatusOr<std::shared_ptr<const audit::RequestKey>>> MakeRequestKey(
    const Collaborators& with, base::TeamId team, base::RequestId request,
    std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max());

// What callers get while this instance drains.
absl::Status ShuttingDown();

// Limits in force, as headers want them.
RateLimits LimitsOf(metering::Quotas& quotas, std::span<const metering::Scope> scopes);

// PERMISSION_DENIED for a grammar, unless one of the key's roles has the permission.
absl::Status MayUseForms(const identity::Principal& principal, const tollgate::v1::ChatRequest& request);

}  // namespace tollgate::pipeline
