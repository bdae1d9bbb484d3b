// What a refusal's caller switches on.
#pragma once

#include <string>

#include "base/error_detail.h"

namespace tollgate::test {

// "POLICY_BLOCKED"; the code's name where no reason came along, as front ends say it. "" of what was not refused.
inline std::string ReasonOf(const absl::Status& status) {
  if (status.ok()) return "";
  const auto detail = base::DetailOf(status);
  return detail && !detail->reason.empty() ? detail->reason : absl::StatusCodeToString(status.code());
}

}  // namespace tollgate::test
