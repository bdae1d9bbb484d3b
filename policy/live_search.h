// LiveSearch: the earliest live start of many patterns at once (see Pattern::LiveStart). Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "policy/pattern.h"

namespace tollgate::policy {

class Budget;
class Effort;
class Matcher;

class LiveSearch {
 public:
  // `prefixes`: what Pattern::loosened_prefixes gave. INVALID_ARGUMENT if they are too large together.
  static absl::StatusOr<std::unique_ptr<const LiveSearch>> Compile(const std::vector<std::string>& prefixes, Budget& budget);
  // window.end() if nothing is live, or where `effort` is over.
  std::int64_t LiveStart(const Pattern::Window& window, std::int64_t from, Effort* effort = nullptr) const;

 private:
  LiveSearch() = default;
  std::vector<std::shared_ptr<const Matcher>> parts_;
};

}  // namespace tollgate::policy
