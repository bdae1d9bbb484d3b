// Parameters and results between our types and Postgres's text forms. Internal to base/postgres*.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/companion.h"
#include "base/status.h"

namespace tollgate::base {

// The text form of each parameter; NULL is nothing. INVALID_ARGUMENT for a text that holds a zero byte, which Postgres cannot store.
absl::StatusOr<std::vector<std::optional<std::string>>> TextParams(std::span<const Value> params);

// Parameters as they are sent: the Blobs that end the list in binary form, all before them as text. Points into `params`.
struct WireParams {
  std::vector<std::optional<std::string>> texts;
  std::vector<const std::string*> binaries;
};
absl::StatusOr<WireParams> ToWire(const std::vector<Value>& params);

}  // namespace tollgate::base
