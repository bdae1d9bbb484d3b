// An ending's reason says where it failed, its status how: both must be the model's. A journal that is away is UNAVAILABLE too.
// Tested by tests/gateway/pipeline/fallback_test.cpp.
#include "gateway/pipeline/fallback.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::pipeline {

bool IsOfTheModel(const Ending& ending) {
  // SHUTDOWN: a model that is unloaded; of an instance that stops nothing goes on.
  constexpr std::array<std::string_view, 4> kOfThePool = {"POOL_REFUSED", "ENGINE_FAILED", "QUEUE_TIMEOUT", "SHUTDOWN"};
  if (std::find(kOfThePool.begin(), kOfThePool.end(), ending.reason) == kOfThePool.end()) return false;
  const auto detail = base::DetailOf(ending.status);
  if (detail && detail->reason == "MODEL_CHANGED") return false;  // It is there, and another than was judged.
  // Its process ended while it ran there: it may be why, and would end the next model's as well.
  if (detail && detail->reason == "ENGINE_LOST") return false;
  return absl::IsUnavailable(ending.status) || (detail && (detail->reason == "QUEUE_FULL" || detail->reason == "MODEL_NOT_FOUND"));
}

bool IsOfTheModel(const absl::Status& refusal) {
  if (absl::IsInvalidArgument(refusal) || absl::IsNotFound(refusal) || absl::IsUnimplemented(refusal)) return true;
  const auto detail = base::DetailOf(refusal);
  const bool stopped = detail && detail->reason == "EMERGENCY_STOP" && detail->subject.starts_with("model ");
  return stopped || (detail && detail->reason.starts_with("MODEL_"));
}

absl::Status WithWhy(const absl::Status& status, std::string_view why) {
  absl::Status out = base::MakeStatus(status.code(), fmt::format("{}; {}", base::Message(status), why));
  const auto detail = base::DetailOf(status);
  return detail ? base::WithDetail(std::move(out), *detail) : out;
}

}  // namespace tollgate::pipeline
