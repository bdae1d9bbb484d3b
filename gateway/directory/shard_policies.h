// The part of a shard that judges requests: the org's policies in force, and what it has on trial. For shard_builder.cpp only.
#pragma once

#include <map>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "gateway/directory/policy_compiler.h"
#include "gateway/directory/shard.h"

namespace tollgate::directory {

using RowsById = std::map<base::Uuid, std::shared_ptr<const Row>>;

// `before` and `compiler` as for BuildShard. `shard` has its org. DATA_LOSS names a row that makes no sense. Cost: reads no policy's text,
// unless it compiles.
absl::Status AddPolicies(const RowsById& versions, const RowsById& bindings, const Before& before, PolicyCompiler* compiler, Shard& shard);

// What AddPolicies and its caller say of a row.
absl::Status MakesNoSense(const Row& row, std::string_view why);

}  // namespace tollgate::directory
