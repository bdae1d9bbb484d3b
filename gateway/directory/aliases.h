// An alias: a name that leads callers to models, some to each by weight, and to others in order when those cannot take them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "gateway/directory/rows.h"

namespace tollgate::directory {

struct AliasTarget {
  std::string model;
  std::int64_t weight = 1;  // Its share is this over the sum.
  bool operator==(const AliasTarget&) const = default;
};

struct Alias {
  std::string name;
  std::vector<AliasTarget> targets;    // At least one.
  std::vector<std::string> fallbacks;  // Models, in the order in which they are tried.
};

// INVALID_ARGUMENT names the field and its bounds.
absl::Status Validate(const Alias& alias);

// "qwen3=90 qwen4=10" and "smollm2 tiny", as rows hold them and people read them.
std::string TargetsText(const Alias& alias);
std::string FallbacksText(const Alias& alias);

// From a row's columns. INVALID_ARGUMENT as Validate, and for text that is none of theirs.
absl::StatusOr<Alias> MakeAlias(const std::string& name, std::string_view targets, std::string_view fallbacks);
absl::StatusOr<Alias> AliasOf(const Row& row);  // REQUIRES: of Table::kAlias.

// The target that a request is led to: the same for the same request and targets, and over many requests in proportion to the weights.
// REQUIRES: a target.
const AliasTarget& Choose(const std::vector<AliasTarget>& targets, const base::RequestId& request);

}  // namespace tollgate::directory
