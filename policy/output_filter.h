// The stream filter behind PolicySet::OpenOutput, and its like for complete text. See stream_filter.h for what it promises.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/policy_set.h"
#include "policy/program.h"
#include "policy/resolver.h"
#include "policy/stream_filter.h"

namespace tollgate::policy {

// `owner` keeps `program` alive. `keep_going` and errors as PolicySet::OpenOutput and FilterWhole.
std::unique_ptr<StreamFilter> MakeOutputFilter(std::shared_ptr<const void> owner, const Program& program, const Subject& subject,
                                               const Channel& channel, KeepGoing keep_going = nullptr);

absl::StatusOr<Filtered> FilterComplete(const Program& program, const Subject& subject, const Channel& channel, std::string_view reply,
                                        const KeepGoing& keep_going = nullptr);

}  // namespace tollgate::policy
