// Lookups only: a key is found through its bucket's slot and then in its shard, so that a changed org replaces one pointer of the root.
// MayRun follows pointers and looks at two short lists, mostly empty: it is asked five times a second for every running request.
// Tested by tests/gateway/directory/snapshot_test.cpp.
#include "gateway/directory/snapshot.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/error_detail.h"
#include "gateway/directory/shard.h"

namespace tollgate::directory {
namespace {

absl::Status Refuse(absl::StatusCode code, std::string_view reason, const std::string& subject, std::string_view message) {
  base::ErrorDetail detail;
  detail.reason = std::string(reason);
  detail.may_retry = false;
  detail.subject = subject;
  return base::WithDetail(base::MakeStatus(code, message), detail);
}

absl::Status Blocked(std::string_view kind, std::string_view reason, const std::string& name) {
  return Refuse(absl::StatusCode::kPermissionDenied, reason, fmt::format("{} {}", kind, name),
                fmt::format("{} {} is blocked; ask an administrator of your organisation to lift the block", kind, name));
}

absl::Status Stopped(const std::string& subject, const std::string& why) {
  const std::string because = why.empty() ? std::string() : fmt::format(": {}", why);
  return Refuse(
      absl::StatusCode::kPermissionDenied, "EMERGENCY_STOP", subject,
      fmt::format("an emergency stop of {} is in force{}; it ends when an operator lifts it (tollgate stop … --lift --reason WHY)", subject,
                  because));
}

std::string WhyStopped(const Shard& shard, const base::Uuid& id) {
  const auto it = shard.stop_reasons.find(id);
  return it == shard.stop_reasons.end() ? std::string() : it->second;
}

// The scopes on a key's way.
std::array<base::Uuid, 4> ScopesOf(const Place& place) {
  return {place.org->id.value, place.team->id.value, place.project->id.value, place.key->id.value};
}

// What the allow-lists of some scopes say of a model.
struct Listing {
  bool named = false;     // One has it.
  bool left_out = false;  // One has not.
  bool opened = false;    // One opens it, should it be restricted.
};

Listing ListingOf(const Shard& shard, std::span<const base::Uuid> scopes, std::string_view model) {
  Listing out;
  for (const base::Uuid& scope : scopes) {
    const auto list = shard.allowed.find(scope);
    if (list == shard.allowed.end()) continue;
    const auto line = list->second.find(model);
    out.named = out.named || line != list->second.end();
    out.left_out = out.left_out || line == list->second.end();
    out.opened = out.opened || (line != list->second.end() && line->second);
  }
  return out;
}

bool IsRestricted(const Installation& installation, std::string_view model) {
  const auto registered = installation.models.find(model);
  return registered != installation.models.end() && registered->second.restricted;
}

// Whether these scopes' allow-lists let a model run. With adapters the adapters' lists say so.
bool Allows(const Installation& installation, const Shard& shard, std::span<const base::Uuid> scopes, std::string_view model) {
  if (model.find('+') != std::string_view::npos) {
    const base::AdapterNames parts = base::SplitAdapters(model);
    const auto allowed = [&](const std::string& adapter) { return Allows(installation, shard, scopes, adapter); };
    return !parts.adapters.empty() && std::all_of(parts.adapters.begin(), parts.adapters.end(), allowed);
  }
  const Listing listing = ListingOf(shard, scopes, model);
  return !listing.left_out && (listing.opened || !IsRestricted(installation, model));
}

}  // namespace

std::optional<Place> Snapshot::FindKey(std::string_view public_id) const {
  const auto& bucket = keys_->by_public_id[KeyIndex::BucketOf(public_id)];
  if (bucket == nullptr) return std::nullopt;
  const auto slot = bucket->find(std::string(public_id));
  if (slot == bucket->end()) return std::nullopt;
  const Shard& shard = *shards_[slot->second];
  const auto found = shard.by_public_id.find(slot->first);
  if (found == shard.by_public_id.end()) return std::nullopt;
  return shard.places[found->second];
}

std::optional<Place> Snapshot::FindKey(const base::KeyId& id) const {
  const auto& bucket = keys_->by_key_id[KeyIndex::BucketOf(id)];
  if (bucket == nullptr) return std::nullopt;
  const auto slot = bucket->find(id);
  if (slot == bucket->end()) return std::nullopt;
  const Shard& shard = *shards_[slot->second];
  const auto found = shard.by_key_id.find(id);
  if (found == shard.by_key_id.end()) return std::nullopt;
  return shard.places[found->second];
}

absl::Status Snapshot::MayRun(const Place& place, std::string_view model, base::WallTime now) const {
  const std::int64_t now_us = base::ToMicros(now);
  const Key& key = *place.key;
  if (key.revoked_us.has_value()) {  // Whatever this machine's clock says.
    return Refuse(absl::StatusCode::kUnauthenticated, "KEY_REVOKED", {},
                  "the API key has been revoked; ask whoever gave it to you for a new one");
  }
  if (key.expires_us.has_value() && *key.expires_us <= now_us) {
    return Refuse(absl::StatusCode::kUnauthenticated, "KEY_EXPIRED", {},
                  "the API key has expired; ask whoever gave it to you for a new one");
  }
  if (place.org->blocked) return Blocked("org", "ORG_BLOCKED", place.org->name);
  if (place.team->blocked) return Blocked("team", "TEAM_BLOCKED", place.team->name);
  if (place.project->blocked) return Blocked("project", "PROJECT_BLOCKED", place.project->name);
  if (installation_->everything_stopped) return Stopped("everything", installation_->everything_reason);
  if (place.org->stopped || place.team->stopped || place.project->stopped) {
    const Shard& shard = *place.shard;
    if (place.org->stopped) return Stopped("org " + place.org->name, WhyStopped(shard, place.org->id.value));
    if (place.team->stopped) return Stopped("team " + place.team->name, WhyStopped(shard, place.team->id.value));
    return Stopped("project " + place.project->name, WhyStopped(shard, place.project->id.value));
  }
  if (!place.shard->policy_problem.empty()) {
    return Refuse(absl::StatusCode::kUnavailable, "POLICY_UNUSABLE", "org " + place.org->name,
                  fmt::format("a policy of org {} cannot be used ({}); ask its policy author to put a corrected version in force",
                              place.org->name, place.shard->policy_problem));
  }
  if (model.empty()) return absl::OkStatus();
  if (installation_->stopped_models.empty()) return absl::OkStatus();
  const std::vector<std::string> parts = PartsOf(model);
  for (const auto& [name, why] : installation_->stopped_models) {
    if (name == model || std::find(parts.begin(), parts.end(), name) != parts.end()) return Stopped("model " + name, why);
  }
  return absl::OkStatus();
}

absl::Status Snapshot::MayBegin(const Place& place, base::WallTime now) const {
  TG_RETURN_IF_ERROR(MayRun(place, {}, now));
  if (!place.shard->policy_missing) return absl::OkStatus();
  base::ErrorDetail detail;
  detail.reason = "POLICY_UNUSABLE";
  detail.subject = "org " + place.org->name;
  detail.retry_after_ms = 1000;
  return base::WithDetail(
      base::Unavailable(fmt::format("a policy of org {} came into force and is being compiled; try again in a second", place.org->name)),
      detail);
}

bool Snapshot::Has(std::int64_t version) const {
  if (version_ < version) return false;
  return !compiling_ || std::none_of(shards_.begin(), shards_.end(), [version](const auto& shard) {
    const auto& bindings = shard->rows[static_cast<std::size_t>(Table::kPolicyBinding)];
    return shard->compiling &&
           std::any_of(bindings.begin(), bindings.end(), [version](const auto& row) { return row->version == version; });
  });
}

std::vector<std::string> Snapshot::PartsOf(std::string_view model) const {
  base::AdapterNames names = base::SplitAdapters(model);
  std::vector<std::string> parts{std::move(names.base)};
  for (std::string& adapter : names.adapters) {
    const auto row = installation_->model_rows.find(adapter);  // Of one that was retired too: it may run yet.
    if (row == installation_->model_rows.end() || row->second->Text("engine") != "lora") return {};
    parts.push_back(std::move(adapter));
  }
  return parts.size() > 1 ? parts : std::vector<std::string>();
}

bool Snapshot::MayUse(const Place& place, std::string_view model) const {
  return Allows(*installation_, *place.shard, ScopesOf(place), model);
}

bool Snapshot::OrgMayUse(const Place& place, std::string_view model) const {
  return Allows(*installation_, *place.shard, {&place.org->id.value, 1}, model);
}

std::vector<std::string> Snapshot::ClosedGrants() const {
  std::set<std::string> closed;
  for (const auto& shard : shards_) {
    if (shard->allowed.empty()) continue;
    for (const auto& [name, model] : installation_->models) {
      const bool is_closed =
          model.restricted && std::any_of(shard->places.begin(), shard->places.end(), [&, &name = name](const Place& place) {
            const Listing listing = ListingOf(*shard, ScopesOf(place), name);
            return listing.named && !listing.left_out && !listing.opened;
          });
      if (is_closed) closed.insert(fmt::format("{} (org {})", name, shard->org.name));
    }
  }
  return {closed.begin(), closed.end()};
}

const Model* Snapshot::FindModel(std::string_view name) const {
  const auto found = installation_->models.find(name);
  return found == installation_->models.end() ? nullptr : &found->second;
}

bool Snapshot::IsRetired(std::string_view name) const { return installation_->model_rows.contains(name) && FindModel(name) == nullptr; }

const Alias* Snapshot::FindAlias(std::string_view name) const {
  const auto found = installation_->aliases.find(name);
  return found == installation_->aliases.end() ? nullptr : &found->second;
}

const std::shared_ptr<const policy::PolicySet>& Snapshot::Policies(const Place& place) const { return place.shard->policies; }

Judges Snapshot::JudgesOf(const Place& place, const base::RequestId& request) const {
  const std::shared_ptr<const Trial>& trial = place.shard->trial;
  Judges out{place.shard->policies, nullptr, false};
  if (trial == nullptr) return out;
  if (!trial->canary) {
    out.shadow = trial->policies;
    return out;
  }
  const base::Digest draw = base::Sha256(trial->salt + (trial->by_tenant ? place.team->id.Bytes() : request.Bytes()));
  const std::int64_t number = (std::int64_t{draw[0]} << 24 | std::int64_t{draw[1]} << 16 | std::int64_t{draw[2]} << 8 | draw[3]) % 10000;
  if (number >= trial->share_per_10000) return out;
  return {trial->policies, nullptr, true};
}

std::vector<const ChatDefaults*> Snapshot::DefaultsOf(const Place& place) const {
  std::vector<const ChatDefaults*> out;
  const auto& all = place.shard->chat_defaults;
  if (all.empty()) return out;
  for (const base::Uuid& scope : ScopesOf(place)) {
    if (const auto found = all.find(scope); found != all.end()) out.push_back(&found->second);
  }
  return out;
}

absl::StatusOr<v1::PinnedPrice> Snapshot::PriceOf(std::string_view model, base::WallTime now) const {
  auto own = installation_->prices->PriceAt(model, now);
  if (own.ok()) return own;
  const std::vector<std::string> parts = PartsOf(model);
  return parts.empty() ? own : installation_->prices->PriceAt(parts.front(), now);
}

}  // namespace tollgate::directory
