// Field by field. Tested by tests/gateway/admin/services_test.cpp.
#include "gateway/admin/describe.h"

#include <absl/strings/str_split.h>
#include <fmt/format.h>

#include "base/encoding.h"
#include "base/money.h"
#include "gateway/admin/text.h"
#include "gateway/directory/names.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

std::string RecordOf(const Row& row) { return fmt::format("{}/{}", row.admin_log_id, row.admin_index); }

v1::Org DescribeOrg(const Row& row) {
  v1::Org out;
  out.set_id(row.id.ToString());
  out.set_name(row.Text("name"));
  out.set_blocked(row.Bool("blocked"));
  out.set_record(RecordOf(row));
  return out;
}

v1::Team DescribeTeam(const Row& row, const std::string& org) {
  v1::Team out;
  out.set_id(row.id.ToString());
  out.set_org(org);
  out.set_name(row.Text("name"));
  out.set_blocked(row.Bool("blocked"));
  out.set_record(RecordOf(row));
  return out;
}

v1::Project DescribeProject(const Row& row, const std::string& org, const std::string& team) {
  v1::Project out;
  out.set_id(row.id.ToString());
  out.set_org(org);
  out.set_team(team);
  out.set_name(row.Text("name"));
  out.set_blocked(row.Bool("blocked"));
  out.set_record(RecordOf(row));
  return out;
}

v1::Key DescribeKey(const Row& row, const ScopeNames& project) {
  v1::Key out;
  out.set_id(row.id.ToString());
  out.set_public_id(row.Text("public_id"));
  out.set_org(project.org);
  out.set_team(project.team);
  out.set_project(project.project);
  out.set_name(row.Text("name"));
  out.set_owner(row.Text("owner"));
  const auto roles = directory::SplitRoles(row.Text("roles"));
  if (roles.ok()) {
    for (const directory::Role role : *roles) out.add_roles(std::string(directory::RoleName(role)));
  }
  out.set_created_us(row.Int("created_us"));
  if (!row.IsNull("expires_us")) out.set_expires_us(row.Int("expires_us"));
  if (!row.IsNull("revoked_us")) out.set_revoked_us(row.Int("revoked_us"));
  out.set_dev(row.Bool("dev"));
  out.set_record(RecordOf(row));
  const std::vector<std::string> made_by = absl::StrSplit(row.TextOr("made_by", ""), '\n', absl::SkipEmpty());
  out.mutable_made_by()->Assign(made_by.begin(), made_by.end());
  return out;
}

v1::ScopeRef DescribeScope(const ScopeNames& names) {
  v1::ScopeRef out;
  out.set_org(names.org);
  out.set_team(names.team);
  out.set_project(names.project);
  out.set_key(names.key);
  return out;
}

v1::Grant DescribeGrant(const Row& row, const ScopeNames& scope) {
  v1::Grant out;
  out.set_id(row.id.ToString());
  *out.mutable_scope() = DescribeScope(scope);
  out.set_model(row.Text("model"));
  out.set_granted(row.Text("state") == "granted");
  out.set_record(RecordOf(row));
  out.set_by_installation(row.Says("by_installation"));
  return out;
}

v1::Quota DescribeQuota(const Row& row, const ScopeNames& scope) {
  v1::Quota out;
  out.set_id(row.id.ToString());
  *out.mutable_scope() = DescribeScope(scope);
  for (const auto& [meter, word] : {std::pair(v1::QUOTA_METER_REQUESTS, "requests"), std::pair(v1::QUOTA_METER_TOKENS, "tokens"),
                                    std::pair(v1::QUOTA_METER_CONCURRENT, "concurrent")}) {
    if (row.Text("meter") == word) out.set_meter(meter);
  }
  for (const auto& [window, word] : {std::pair(v1::QUOTA_WINDOW_MINUTE, "minute"), std::pair(v1::QUOTA_WINDOW_HOUR, "hour"),
                                     std::pair(v1::QUOTA_WINDOW_DAY, "day"), std::pair(v1::QUOTA_WINDOW_MONTH, "month")}) {
    if (row.Text("period") == word) out.set_window(window);
  }
  out.set_amount(row.Int("amount"));
  out.set_record(RecordOf(row));
  out.set_by_installation(row.Says("by_installation"));
  return out;
}

v1::Price DescribePrice(const Row& row) {
  v1::Price out;
  out.set_version(row.Int("price_version"));
  out.set_model(row.Text("model"));
  out.set_effective_from_us(row.Int("effective_from_us"));
  out.set_input_per_1000(base::FormatMoney({row.Int("input_nanos")}));
  out.set_cached_input_per_1000(base::FormatMoney({row.Int("cached_input_nanos")}));
  out.set_output_per_1000(base::FormatMoney({row.Int("output_nanos")}));
  out.set_currency(row.Text("currency"));
  return out;
}

namespace {

std::int64_t IntOr(const Row* row, const char* column, std::int64_t otherwise) {
  return row == nullptr || row->IsNull(column) ? otherwise : row->Int(column);
}

// Where a version stands on its way.
std::string StateOf(const Row& row, const Row* binding) {
  const std::int64_t version = row.Int("policy_version"), in_force = IntOr(binding, "policy_version", 0);
  if (version == in_force) return "enforced";
  if (version == IntOr(binding, "candidate_version", 0)) return binding->Text("candidate_mode");
  if (version < in_force || version == IntOr(binding, "previous_version", 0)) return "retired";
  return !row.IsNull("draft") && row.Bool("draft") ? "draft" : "tested";
}

}  // namespace

const Row* BindingOf(const directory::Shard& shard, const std::string& policy) {
  for (const auto& row : RowsOf(shard, directory::Table::kPolicyBinding)) {
    if (row->Text("name") == policy) return row.get();
  }
  return nullptr;
}

v1::StoredPolicy DescribePolicy(const Row& row, const std::string& org, const Row* binding, bool with_text) {
  v1::StoredPolicy out;
  out.set_org(org);
  out.set_name(row.Text("name"));
  out.set_version(row.Int("policy_version"));
  out.set_sha256(base::HexEncode(row.Bytes("sha256")));
  if (with_text) out.set_yaml(row.Text("yaml"));
  out.set_created_us(row.Int("created_us"));
  out.set_version_in_force(IntOr(binding, "policy_version", 0));
  out.set_record(RecordOf(row));
  out.set_state(StateOf(row, binding));
  if (!row.IsNull("author")) out.set_author(row.Text("author"));
  out.set_previous_version(IntOr(binding, "previous_version", 0));
  out.set_version_on_trial(IntOr(binding, "candidate_version", 0));
  out.set_can_roll_back(out.version_on_trial() > 0 || IntOr(binding, "previous_version", -1) >= 0);
  if (out.version_on_trial() == 0) return out;
  out.set_trial(binding->Text("candidate_mode"));
  if (out.trial() == "canary") {
    out.set_trial(
        fmt::format("canary {:.2f} % by {}", static_cast<double>(binding->Int("canary_share")) / 100, binding->Text("canary_by")));
  }
  return out;
}

v1::EmergencyStop DescribeStop(const Row& row, const ScopeNames& scope) {
  v1::EmergencyStop out;
  out.set_id(row.id.ToString());
  const std::string& kind = row.Text("scope_kind");
  if (kind == "everything") {
    out.mutable_target()->set_everything(true);
  } else if (kind == "model") {
    out.mutable_target()->set_model(row.Text("model"));
  } else {
    *out.mutable_target()->mutable_scope() = DescribeScope(scope);
  }
  out.set_reason(row.Text("reason"));
  out.set_since_us(row.Int("since_us"));
  out.set_in_force(!row.Bool("lifted"));
  out.set_record(RecordOf(row));
  out.set_by_installation(row.Says("by_installation"));
  return out;
}

absl::StatusOr<const directory::Team*> TeamOf(const directory::Shard& shard, const std::string& name) {
  for (const directory::Team& team : shard.teams) {
    if (team.name == name) return &team;
  }
  return NoSuch("team", shard.org.name, name);
}

const directory::Row* VersionOf(const directory::Shard& shard, const std::string& policy, std::int64_t version) {
  const directory::Row* found = nullptr;
  for (const auto& row : RowsOf(shard, directory::Table::kPolicy)) {
    if (row->Text("name") != policy) continue;
    if (version != 0 && row->Int("policy_version") != version) continue;
    if (found == nullptr || found->Int("policy_version") < row->Int("policy_version")) found = row.get();
  }
  return found;
}

std::map<std::string, std::string> TextsInForce(const directory::Shard& shard) {
  std::map<std::string, std::string> texts;
  for (const auto& row : RowsOf(shard, directory::Table::kPolicy)) {
    const directory::Row* binding = BindingOf(shard, row->Text("name"));
    if (binding != nullptr && binding->Int("policy_version") == row->Int("policy_version")) texts[row->Text("name")] = row->Text("yaml");
  }
  return texts;
}

absl::Status NeedPolicies(const directory::Shard& shard) {
  if (!shard.policy_problem.empty()) return base::FailedPrecondition(shard.policy_problem);
  if (shard.compiling) return base::Unavailable("the org's policies changed and are being compiled; try again in a moment");
  return absl::OkStatus();
}

ScopeNames NamesOf(const directory::Shard& shard, const base::Uuid& scope) {
  ScopeNames names;
  names.org = shard.org.name;
  base::Uuid team_id = scope;
  for (const directory::Project& project : shard.projects) {
    if (project.id.value != scope) continue;
    names.project = project.name;
    team_id = project.team.value;
  }
  for (const directory::Team& team : shard.teams) {
    if (team.id.value == team_id) names.team = team.name;
  }
  if (const auto key = shard.by_key_id.find(base::KeyId(scope)); key != shard.by_key_id.end())
    names.key = shard.keys[key->second].public_id;
  return names;
}

absl::StatusOr<MeterWords> WordsOf(v1::QuotaMeter meter, v1::QuotaWindow window) {
  MeterWords words;
  switch (meter) {
    case v1::QUOTA_METER_REQUESTS: words.meter = "requests"; break;
    case v1::QUOTA_METER_TOKENS: words.meter = "tokens"; break;
    case v1::QUOTA_METER_CONCURRENT: words.meter = "concurrent"; break;
    default: return base::InvalidArgument("meter: use REQUESTS, TOKENS or CONCURRENT");
  }
  switch (window) {
    case v1::QUOTA_WINDOW_UNSPECIFIED: words.window = "none"; break;
    case v1::QUOTA_WINDOW_MINUTE: words.window = "minute"; break;
    case v1::QUOTA_WINDOW_HOUR: words.window = "hour"; break;
    case v1::QUOTA_WINDOW_DAY: words.window = "day"; break;
    case v1::QUOTA_WINDOW_MONTH: words.window = "month"; break;
    default: return base::InvalidArgument("window: use MINUTE, HOUR, DAY or MONTH");
  }
  if ((words.window == "none") != (words.meter == "concurrent")) {
    return base::InvalidArgument("window: requests and tokens need one (MINUTE, HOUR, DAY, MONTH); CONCURRENT has none");
  }
  return words;
}

}  // namespace tollgate::admin
