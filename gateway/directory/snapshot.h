// Snapshot: everything that decides about a request, as of one moment: tenants, keys, policies, prices, quotas, models and who may use
// them, stops.
// Immutable; shared by requests for as long as they run. A root of per-org shards behind one pointer: a change rebuilds one shard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/uuid.h"
#include "gateway/directory/tenants.h"
#include "metering/books.h"
#include "metering/quotas.h"
#include "policy/policy_set.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::directory {

// Which shard a key is in; and what belongs to no org: prices, the models' registry, stops of models and of everything.
struct Model;
struct Alias;
struct ChatDefaults;
struct KeyIndex;
struct Installation;

// The policies that judge one request.
struct Judges {
  std::shared_ptr<const policy::PolicySet> acting;  // Never null.
  std::shared_ptr<const policy::PolicySet> shadow;  // Judges the same and is only recorded; null if none is tried.
  bool canary = false;                              // `acting` is on trial.
};

class Snapshot {
 public:
  // The key with this public id; nullopt if there is none. Revoked and expired keys are found too: the caller decides.
  std::optional<Place> FindKey(std::string_view public_id) const;
  // The same by row id: for running requests that check whether their authority still stands.
  std::optional<Place> FindKey(const base::KeyId& id) const;

  // OK if requests of this place may run now: nothing on the way is revoked, expired or blocked, and no emergency stop covers it or `model`
  // (empty = any), its base or one of its adapters. The message names what stopped it, the detail's reason is KEY_REVOKED, TEAM_BLOCKED,
  // EMERGENCY_STOP …
  absl::Status MayRun(const Place& place, std::string_view model, base::WallTime now) const;

  // The same for a request that is about to begin: there must be policies to judge it. Those of an org that has just been loaded, or a
  // policy that has just come into force, may still be being compiled: UNAVAILABLE (POLICY_UNUSABLE). A running request keeps those it
  // began with.
  absl::Status MayBegin(const Place& place, base::WallTime now) const;

  // True if every scope of the place that has an allow-list has `model` on it. On one of them a restricted model must have been put by
  // somebody whose permission reaches over the installation. Of several adapters, each.
  bool MayUse(const Place& place, std::string_view model) const;

  // The same of the org's allow-list alone: for models that act for the org and not for its caller, as guard models do.
  bool OrgMayUse(const Place& place, std::string_view model) const;

  // "qwen3:contracts (org acme)": restricted models that all lists on some key's way name and none opens (see MayUse). Sorted.
  std::vector<std::string> ClosedGrants() const;

  // The policies in force for the org. Never null.
  const std::shared_ptr<const policy::PolicySet>& Policies(const Place& place) const;

  // The same, with what is on trial for the org: the request's id, or its team's, decides whether a canary acts.
  Judges JudgesOf(const Place& place, const base::RequestId& request) const;

  // The chat defaults on the way to a place: its org's, team's, project's, key's, those that there are. They live as long as the snapshot.
  std::vector<const ChatDefaults*> DefaultsOf(const Place& place) const;

  // The price of a model at `now`, of one with adapters its own or else its base's; FAILED_PRECONDITION (MODEL_UNPRICED, with the remedy)
  // if it has none: an unpriced model is never free.
  absl::StatusOr<v1::PinnedPrice> PriceOf(std::string_view model, base::WallTime now) const;

  // Of a name that calls a model with registered adapters: the model's and each adapter's, "qwen3", "qwen3:legal". Else nothing.
  std::vector<std::string> PartsOf(std::string_view model) const;

  // The registered model of this name; null for one that is not, or no longer, in the registry.
  const Model* FindModel(std::string_view name) const;
  // Whether the name is in the registry as that of a retired model. Its replicas may take a while to go.
  bool IsRetired(std::string_view name) const;
  // The alias of this name; null if there is none. It comes before a model of the same name.
  const Alias* FindAlias(std::string_view name) const;

  // The quota rules in force.
  const std::shared_ptr<const metering::QuotaRules>& Quotas() const { return quotas_; }

  std::int64_t version() const { return version_; }        // Rises with each change.
  bool compiling() const { return compiling_; }            // Policies of some orgs are older than the rest of it.
  bool Has(std::int64_t version) const;                    // The change that made this version acts, policies too.
  base::MonoTime loaded_at() const { return loaded_at_; }  // When it was read.

  const std::vector<std::shared_ptr<const Shard>>& shards() const { return shards_; }
  const Installation& installation() const { return *installation_; }

 private:
  friend class SnapshotBuilder;
  std::vector<std::shared_ptr<const Shard>> shards_;
  std::shared_ptr<const KeyIndex> keys_;
  std::shared_ptr<const Installation> installation_;
  std::shared_ptr<const metering::QuotaRules> quotas_;
  std::int64_t version_ = 0;
  bool compiling_ = false;
  base::MonoTime loaded_at_{};
};

}  // namespace tollgate::directory
