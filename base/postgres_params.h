// Parameters and results between our types and Postgres's text forms. Internal to base/postgres*.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/companion.h"
#include "base/status.h"

namespace tollgate::base {

// The text form of each parameter; NULL is nothing. INVALID_ARGUMENT for a text that holds a zero byte, which Postgres cannot store.
absl::StatusOr<std::vector<std::optional<std::string>>> TextParams(const std::vector<Value>& params);

}  // namespace tollgate::base
