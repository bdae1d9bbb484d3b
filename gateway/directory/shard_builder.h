// Makes one org's shard from its rows. For SnapshotBuilder. Pure but for the compiler that it may be given.
#pragma once

#include <array>
#include <map>
#include <memory>

#include "base/status.h"
#include "gateway/directory/policy_compiler.h"
#include "gateway/directory/shard.h"

namespace tollgate::directory {

// Everything of one org, by table and id.
using OrgRows = std::array<std::map<base::Uuid, std::shared_ptr<const Row>>, kTables>;

// The compiled policies of the shard before are taken over if their sources are the same. Others are asked of the compiler, and until they
// are there the shard is `compiling`: build it again then. Null: they are compiled here and now. DATA_LOSS names a row that makes no sense.
absl::StatusOr<std::shared_ptr<const Shard>> BuildShard(const OrgRows& rows, const Before& before, PolicyCompiler* compiler);

// The installation's own part from its stops, prices, models and aliases.
absl::StatusOr<std::shared_ptr<const Installation>> BuildInstallation(const OrgRows& rows);

}  // namespace tollgate::directory
