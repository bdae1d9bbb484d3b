// The inside of a snapshot: what SnapshotBuilder makes and Snapshot looks up. For the directory and the admin API's lists.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/crypto.h"
#include "gateway/directory/aliases.h"
#include "gateway/directory/chat_defaults.h"
#include "gateway/directory/models.h"
#include "gateway/directory/rows.h"
#include "gateway/directory/snapshot.h"

namespace tollgate::directory {

using PolicyVersions = std::map<std::string, std::int64_t>;  // By name.

// Policies that are tried beside those in force: these, with one version taken in or in another's place.
struct Trial {
  bool canary = false;  // They act, on a share; else they only judge.
  std::int64_t share_per_10000 = 0;
  bool by_tenant = false;                             // The share is one of teams; else of requests.
  std::string policy;                                 // Of which a version is tried.
  std::string salt;                                   // Policy and version: each canary draws its share anew.
  std::shared_ptr<const policy::PolicySet> policies;  // Never null. While newer ones are compiled, older ones.
  PolicyVersions versions;                            // Those that `policies` is made of.
};

// The models on it -> whether it opens them if they are restricted.
using AllowList = std::map<std::string, bool, std::less<>>;

// One org with everything under it. Immutable once built; the vectors never move, so pointers into them stay good.
struct Shard {
  Org org;
  std::vector<Team> teams;
  std::vector<Project> projects;
  std::vector<Key> keys;
  std::vector<Place> places;  // By index in `keys`.
  std::unordered_map<std::string, std::size_t> by_public_id;
  std::unordered_map<base::KeyId, std::size_t, base::UuidHash> by_key_id;
  std::unordered_map<base::Uuid, AllowList, base::UuidHash> allowed;           // By scope, of those that have one.
  std::unordered_map<base::Uuid, ChatDefaults, base::UuidHash> chat_defaults;  // By scope.
  std::vector<metering::QuotaRule> quotas;
  std::shared_ptr<const policy::PolicySet> policies;  // Never null.
  PolicyVersions policy_versions;                     // Those that `policies` is made of …
  base::Digest policies_key{};                        // … and the digest of their names and texts' digests.
  std::shared_ptr<const Trial> trial;                 // Null: nothing is on trial, or it does not compile, or not yet.
  base::Digest trial_key{};                           // The same of what is on trial, once it is known whether it compiles.
  std::string canary_awaited;                         // The policy of one that may have acted before this instance was started.
  std::string policy_problem;                         // Not empty: a policy in force no longer compiles; nothing may run.
  bool compiling = false;                             // `policies` or `trial` is older than what the rows say, which is being compiled.
  bool policy_missing = false;                        // One that acts is not there in any version: no request may begin.
  std::unordered_map<base::Uuid, std::string, base::UuidHash> stop_reasons;  // Org, team or project that is stopped -> why.
  std::array<std::vector<std::shared_ptr<const Row>>, kTables> rows;         // Everything of the org, by table; ordered by id.
};

// What a shard is built after.
struct Before {
  const Shard* shard = nullptr;  // The org's until now; null: it had none.
  bool skipped = false;          // A row that binds a policy may have had states since then that nobody here saw.
};

// Public ids and row ids of keys -> slot of the shard. In buckets, so that a new key copies one bucket and not all of them.
struct KeyIndex {
  static constexpr std::size_t kBuckets = 256;
  using ByPublicId = std::unordered_map<std::string, std::size_t>;
  using ById = std::unordered_map<base::KeyId, std::size_t, base::UuidHash>;
  std::array<std::shared_ptr<const ByPublicId>, kBuckets> by_public_id;
  std::array<std::shared_ptr<const ById>, kBuckets> by_key_id;

  static std::size_t BucketOf(std::string_view public_id) { return std::hash<std::string_view>()(public_id) % kBuckets; }
  static std::size_t BucketOf(const base::KeyId& id) { return base::UuidHash()(id) % kBuckets; }
};

// What belongs to no org.
struct Installation {
  bool everything_stopped = false;
  std::string everything_reason;
  std::vector<std::pair<std::string, std::string>> stopped_models;  // Name, reason.
  std::shared_ptr<const metering::PriceBook> prices;
  std::vector<std::shared_ptr<const Row>> stop_rows;
  std::vector<std::shared_ptr<const Row>> price_rows;                         // By version.
  std::map<std::string, Model, std::less<>> models;                           // Those that are registered and not retired, by name.
  std::map<std::string, std::shared_ptr<const Row>, std::less<>> model_rows;  // All, by name.
  std::map<std::string, Alias, std::less<>> aliases;                          // Those that are not removed, by name.
  std::map<std::string, std::shared_ptr<const Row>, std::less<>> alias_rows;  // All, by name.
};

}  // namespace tollgate::directory
