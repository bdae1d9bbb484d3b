// Rows and places of the directory as messages of the API. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/admin/changes.h"
#include "gateway/directory/shard.h"
#include "tollgate/v1/directory.pb.h"
#include "tollgate/v1/policy.pb.h"
#include "tollgate/v1/system.pb.h"

namespace tollgate::admin {

std::string RecordOf(const directory::Row& row);  // "LOG/INDEX"

v1::Org DescribeOrg(const directory::Row& row);
v1::Team DescribeTeam(const directory::Row& row, const std::string& org);
v1::Project DescribeProject(const directory::Row& row, const std::string& org, const std::string& team);
v1::Key DescribeKey(const directory::Row& row, const ScopeNames& project);
v1::ScopeRef DescribeScope(const ScopeNames& names);
v1::Grant DescribeGrant(const directory::Row& row, const ScopeNames& scope);
v1::Quota DescribeQuota(const directory::Row& row, const ScopeNames& scope);
v1::Price DescribePrice(const directory::Row& row);
// `binding` null: no version was ever in force.
v1::StoredPolicy DescribePolicy(const directory::Row& row, const std::string& org, const directory::Row* binding, bool with_text);
v1::EmergencyStop DescribeStop(const directory::Row& row, const ScopeNames& scope);

// The shard's rows of one table.
inline const std::vector<std::shared_ptr<const directory::Row>>& RowsOf(const directory::Shard& shard, directory::Table table) {
  return shard.rows[static_cast<std::size_t>(table)];
}

// The team of that name. NOT_FOUND.
absl::StatusOr<const directory::Team*> TeamOf(const directory::Shard& shard, const std::string& name);

// The stored version of a policy, 0 = the newest; null if there is none.
const directory::Row* VersionOf(const directory::Shard& shard, const std::string& policy, std::int64_t version);

// The binding of a policy; null if no version was ever in force or on trial.
const directory::Row* BindingOf(const directory::Shard& shard, const std::string& policy);

// The texts of the policies in force, by name.
std::map<std::string, std::string> TextsInForce(const directory::Shard& shard);

// OK if what is in force is what the shard's policies were compiled from; else why not.
absl::Status NeedPolicies(const directory::Shard& shard);

// The names of a scope of the shard by its row id; only the org's if there is no such scope.
ScopeNames NamesOf(const directory::Shard& shard, const base::Uuid& scope);

// What a quota counts, as the directory stores it: "requests", "minute". INVALID_ARGUMENT for unspecified or unfitting ones.
struct MeterWords {
  std::string meter, window;
};
absl::StatusOr<MeterWords> WordsOf(v1::QuotaMeter meter, v1::QuotaWindow window);

}  // namespace tollgate::admin
