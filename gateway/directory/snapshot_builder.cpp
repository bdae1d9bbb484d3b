// Rows are kept by table and id, grouped by org. Apply verifies everything before it takes anything: each row's MAC, then the set (the MACs
// of the rows that change are toggled out and in, and the result must be what the head says: a row that was removed or put back to an older
// state shows here), then the head's own MAC. Build rebuilds the shards of the orgs that were touched and copies the root: a vector of
// pointers. Most policies compile within kPatience, and come with the snapshot that has their rows; of the others the org is touched once
// more when they are compiled. Tested by tests/gateway/directory/snapshot_test.cpp, tests/gateway/directory/policy_compiler_test.cpp.
#include "gateway/directory/snapshot_builder.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "gateway/directory/policy_compiler.h"
#include "gateway/directory/shard.h"
#include "gateway/directory/shard_builder.h"

namespace tollgate::directory {
namespace {

constexpr std::string_view kRemedy =
    "it was changed outside Tollgate, or the root key is another one; restore the directory schema from a backup, or put the right root "
    "key in place";

constexpr std::chrono::milliseconds kPatience{100};

std::size_t Slot(Table table) { return static_cast<std::size_t>(table); }

base::Uuid OrgOf(const Row& row) {
  if (row.table == Table::kOrg) return row.id;
  if (row.table == Table::kPrice || row.table == Table::kModel || row.table == Table::kAlias) return base::Uuid();
  return row.Id("org");
}

// The bucket to write to: a copy of the one in force, made on first use.
template <typename Bucket>
Bucket& CopyOnce(std::shared_ptr<Bucket>& copy, const std::shared_ptr<const Bucket>& in_force) {
  if (copy == nullptr) copy = in_force == nullptr ? std::make_shared<Bucket>() : std::make_shared<Bucket>(*in_force);
  return *copy;
}

}  // namespace

struct SnapshotBuilder::State {
  struct Org {
    OrgRows rows;
    std::size_t slot = 0;
    std::shared_ptr<const Shard> shard;
    bool skipped = false;  // Before::skipped.
  };
  struct NewKey {
    std::string public_id;
    base::KeyId id;
    std::size_t slot;
  };

  std::string mac_key;
  PolicyCompiler* compiler = nullptr;
  Head head;
  std::array<std::unordered_map<base::Uuid, std::shared_ptr<const Row>, base::UuidHash>, kTables> all;
  std::map<base::Uuid, Org> orgs;
  OrgRows global;
  // What the next Build has to do.
  std::set<base::Uuid> touched;
  std::vector<NewKey> new_keys;
  bool installation_touched = true;
  bool quotas_touched = true;
  // What the last Build made.
  std::vector<std::shared_ptr<const Shard>> shards;
  std::shared_ptr<const KeyIndex> keys = std::make_shared<KeyIndex>();
  std::shared_ptr<const Installation> installation;
  std::shared_ptr<const metering::QuotaRules> quotas;

  absl::Status Verify(std::span<const Row> changed, const Head& next) const;
  bool Skips(std::span<const Row> changed, const Row& row) const;
  void Take(const Row& row);
  absl::StatusOr<bool> BuildTouched();  // Whether policies of one of them are still being compiled.
  absl::Status BuildShards();
  void IndexNewKeys();
};

absl::Status SnapshotBuilder::State::Verify(std::span<const Row> changed, const Head& next) const {
  if (next.version < head.version) {
    return base::DataLoss(
        fmt::format("directory: version {} was in force and the database is at {}: it was rolled back; restore the newest state, "
                    "or restart every instance if going back is meant",
                    head.version, next.version));
  }
  if (next.version == head.version && next.set != head.set) {
    return base::DataLoss(fmt::format(
        "directory: the database holds another version {} than the one that was in force: a failover lost the last changes, or it "
        "was rolled back, and changed since; restore the newest state, or restart this instance if going back is meant",
        next.version));
  }
  base::Digest set = head.set;
  for (const Row& row : changed) {
    if (!base::ConstantTimeEqual(base::View(RowMac(mac_key, row)), base::View(row.mac))) {
      return base::DataLoss(fmt::format("directory: row {} of {} does not verify: {}", row.id.ToString(), SpecOf(row.table).name, kRemedy));
    }
    const auto& known = all[Slot(row.table)];
    if (const auto old = known.find(row.id); old != known.end()) Toggle(set, old->second->mac);
    Toggle(set, row.mac);
  }
  if (set != next.set) {
    return base::DataLoss(
        fmt::format("directory: the rows of version {} are not the ones that were written: a row is missing or an older one was put "
                    "back (if a failover lost the last changes, restart this instance to take what is left); {}",
                    next.version, kRemedy));
  }
  if (!CheckHead(mac_key, next).ok()) return base::DataLoss(fmt::format("directory: directory.head does not verify: {}", kRemedy));
  return absl::OkStatus();
}

// Of a row only its newest state is read. Versions since the last read that no row has were earlier states of those that changed; perhaps
// of this one.
bool SnapshotBuilder::State::Skips(std::span<const Row> changed, const Row& row) const {
  if (!all[Slot(row.table)].contains(row.id)) return false;
  std::set<std::int64_t> seen;
  for (const Row& its : changed) {
    if (its.version > head.version && its.version < row.version) seen.insert(its.version);
  }
  return std::ssize(seen) < row.version - head.version - 1;
}

void SnapshotBuilder::State::Take(const Row& row) {
  auto shared = std::make_shared<const Row>(row);
  auto& known = all[Slot(row.table)][row.id];
  const bool is_new = known == nullptr;
  known = shared;
  const base::Uuid org_id = OrgOf(row);
  if (org_id.IsNone()) {
    global[Slot(row.table)][row.id] = std::move(shared);
    installation_touched = true;
    return;
  }
  auto [org, first] = orgs.try_emplace(org_id);
  if (first) {
    org->second.slot = shards.size();
    shards.push_back(nullptr);
  }
  if (row.table == Table::kKey && is_new) new_keys.push_back({row.Text("public_id"), base::KeyId(row.id), org->second.slot});
  if (row.table == Table::kQuota) quotas_touched = true;
  org->second.rows[Slot(row.table)][row.id] = std::move(shared);
  touched.insert(org_id);
}

void SnapshotBuilder::State::IndexNewKeys() {
  if (new_keys.empty()) return;
  auto next = std::make_shared<KeyIndex>(*keys);
  std::map<std::size_t, std::shared_ptr<KeyIndex::ByPublicId>> by_public_id;  // Buckets copied so far.
  std::map<std::size_t, std::shared_ptr<KeyIndex::ById>> by_id;
  for (const NewKey& key : new_keys) {
    const std::size_t p = KeyIndex::BucketOf(key.public_id);
    const std::size_t i = KeyIndex::BucketOf(key.id);
    CopyOnce(by_public_id[p], next->by_public_id[p])[key.public_id] = key.slot;
    CopyOnce(by_id[i], next->by_key_id[i])[key.id] = key.slot;
  }
  for (auto& [bucket, names] : by_public_id) next->by_public_id[bucket] = std::move(names);
  for (auto& [bucket, ids] : by_id) next->by_key_id[bucket] = std::move(ids);
  keys = std::move(next);
  new_keys.clear();
}

absl::StatusOr<bool> SnapshotBuilder::State::BuildTouched() {
  if (compiler != nullptr) {
    for (const base::Uuid& org : compiler->TakeDone()) touched.insert(org);
  }
  bool compiling = false;
  while (!touched.empty()) {
    Org& org = orgs.at(*touched.begin());
    TG_ASSIGN(org.shard, BuildShard(org.rows, {org.shard.get(), org.skipped}, compiler));
    org.skipped = false;
    shards[org.slot] = org.shard;
    compiling = compiling || org.shard->compiling;
    touched.erase(touched.begin());
  }
  return compiling;
}

absl::Status SnapshotBuilder::State::BuildShards() {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    TG_ASSIGN(const bool compiling, BuildTouched());
    if (!compiling || !compiler->WaitForDone(until)) return absl::OkStatus();
  }
}

SnapshotBuilder::SnapshotBuilder(std::string mac_key, PolicyCompiler* compiler) : state_(std::make_unique<State>()) {
  state_->mac_key = std::move(mac_key);
  state_->compiler = compiler;
}
SnapshotBuilder::~SnapshotBuilder() { base::Wipe(state_->mac_key); }

const Head& SnapshotBuilder::head() const { return state_->head; }

absl::Status SnapshotBuilder::Apply(std::span<const Row> changed, const Head& head) {
  TG_RETURN_IF_ERROR(state_->Verify(changed, head));
  for (const Row& row : changed) {
    const bool skips = row.table == Table::kPolicyBinding && state_->Skips(changed, row);
    state_->Take(row);
    if (skips) state_->orgs.at(OrgOf(row)).skipped = true;
  }
  state_->head = head;
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Snapshot>> SnapshotBuilder::Build(base::MonoTime loaded_at) {
  State& s = *state_;
  TG_RETURN_IF_ERROR(s.BuildShards());
  if (s.installation_touched) {
    TG_ASSIGN(s.installation, BuildInstallation(s.global));
    s.installation_touched = false;
  }
  if (s.quotas_touched) {
    std::vector<metering::QuotaRule> rules;
    for (const auto& shard : s.shards) rules.insert(rules.end(), shard->quotas.begin(), shard->quotas.end());
    auto made = metering::QuotaRules::Make(std::move(rules));
    if (!made.ok())
      return base::DataLoss(
          fmt::format("directory: the quotas make no sense: {}; restore directory.quota from a backup", base::Message(made.status())));
    s.quotas = *std::move(made);
    s.quotas_touched = false;
  }
  s.IndexNewKeys();
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->shards_ = s.shards;
  snapshot->keys_ = s.keys;
  snapshot->installation_ = s.installation;
  snapshot->quotas_ = s.quotas;
  snapshot->version_ = s.head.version;
  snapshot->compiling_ = std::any_of(s.shards.begin(), s.shards.end(), [](const auto& shard) { return shard->compiling; });
  snapshot->loaded_at_ = loaded_at;
  return std::shared_ptr<const Snapshot>(std::move(snapshot));
}

}  // namespace tollgate::directory
