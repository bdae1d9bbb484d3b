// Makes one org's shard from its rows. For SnapshotBuilder. Pure.
#pragma once

#include <array>
#include <map>
#include <memory>

#include "base/status.h"
#include "gateway/directory/shard.h"

namespace tollgate::directory {

// Everything of one org, by table and id.
using OrgRows = std::array<std::map<base::Uuid, std::shared_ptr<const Row>>, kTables>;

// `before`: the org's shard until now, or null; its compiled policies are taken over if their sources are the same.
// DATA_LOSS names a row that makes no sense.
absl::StatusOr<std::shared_ptr<const Shard>> BuildShard(const OrgRows& rows, const Shard* before);

// The installation's own part from its stops, prices, models and aliases.
absl::StatusOr<std::shared_ptr<const Installation>> BuildInstallation(const OrgRows& rows);

}  // namespace tollgate::directory
