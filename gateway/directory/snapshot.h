// Snapshot: everything that decides about a request, as of one moment: tenants, keys, policies, prices, quotas, model grants, stops.
// Immutable; shared by requests for as long as they run. A root of per-org shards behind one pointer: a change rebuilds one shard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/uuid.h"
#include "metering/books.h"
#include "metering/quotas.h"
#include "policy/policy_set.h"

namespace tollgate::directory {

enum class Role { kOwner, kAdmin, kPolicyAuthor, kApprover, kAuditor, kFinance, kOperator, kMember };

struct Org {
  base::OrgId id;
  std::string name;
  bool blocked = false;
};
struct Team {  // The tenant.
  base::TeamId id;
  base::OrgId org;
  std::string name;
  bool blocked = false;
};
struct Project {
  base::ProjectId id;
  base::TeamId team;
  std::string name;
  bool blocked = false;
};
struct Key {
  base::KeyId id;
  base::ProjectId project;
  std::string public_id;                     // The 8 characters in the key's text.
  std::string name;
  std::string owner;                         // The person it belongs to.
  base::Digest secret_hmac{};                // HMAC-SHA-256(pepper, secret).
  std::vector<Role> roles;
  std::int64_t created_us = 0;
  std::optional<std::int64_t> expires_us;
  std::optional<std::int64_t> revoked_us;
  bool dev = false;                          // Made by `tollgate dev`; `serve` refuses it.
};

// Where a key stands. Pointers live as long as the snapshot.
struct Place {
  const Org* org = nullptr;
  const Team* team = nullptr;
  const Project* project = nullptr;
  const Key* key = nullptr;
};

// One org with everything under it.
struct Shard;

class Snapshot {
 public:
  // The key with this public id; nullopt if there is none (revoked and expired keys are found: the caller decides).
  std::optional<Place> FindKey(std::string_view public_id) const;
  // The same by row id: for running requests that check whether their authority still stands.
  std::optional<Place> FindKey(const base::KeyId& id) const;

  // OK if requests of this place may run now: nothing on the way is revoked, expired or blocked, and no emergency stop covers it or `model`
  // (empty = any). The message names what stopped it, the detail's reason is KEY_REVOKED, TEAM_BLOCKED, EMERGENCY_STOP …
  absl::Status MayRun(const Place& place, std::string_view model, base::WallTime now) const;

  // True if every scope of the place that has an allow-list has `model` on it.
  bool MayUse(const Place& place, std::string_view model) const;

  // The policies in force for the org. Never null.
  const std::shared_ptr<const policy::PolicySet>& Policies(const Place& place) const;

  // The price of a model at `now`; NOT_FOUND (with the remedy) if it has none: an unpriced model is refused, never free.
  absl::StatusOr<metering::PinnedPrice> PriceOf(std::string_view model, base::WallTime now) const;

  // The quota rules in force.
  const std::shared_ptr<const metering::QuotaRules>& Quotas() const { return quotas_; }

  std::int64_t version() const { return version_; }              // Rises with each change.
  base::MonoTime loaded_at() const { return loaded_at_; }        // When it was last confirmed against the database.

  const std::vector<std::shared_ptr<const Shard>>& shards() const { return shards_; }

 private:
  friend class SnapshotBuilder;
  std::vector<std::shared_ptr<const Shard>> shards_;
  std::unordered_map<std::string, std::pair<const Shard*, std::size_t>> by_public_id_;
  std::unordered_map<base::KeyId, std::pair<const Shard*, std::size_t>, base::UuidHash> by_key_id_;
  std::shared_ptr<const metering::QuotaRules> quotas_;
  std::shared_ptr<const metering::PriceBook> prices_;
  std::vector<std::string> stopped_models_;
  bool everything_stopped_ = false;
  std::int64_t version_ = 0;
  base::MonoTime loaded_at_{};
};

}  // namespace tollgate::directory
