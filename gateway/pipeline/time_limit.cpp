// A caller's own deadline holds as it is, a shorter one too. How long a client waits can only give more time: SDKs say how long they wait
// for the next byte, and a stream may go on for much longer than that.
// Tested by tests/gateway/pipeline/time_limit_test.cpp.
#include "gateway/pipeline/time_limit.h"

#include <fmt/format.h>

namespace tollgate::pipeline {
namespace {

std::string Seconds(std::chrono::milliseconds time) { return fmt::format("{} s", static_cast<double>(time.count()) / 1000); }

}  // namespace

TimeLimit TimeLimitOf(const Caller& caller, const PipelineOptions& options, std::chrono::steady_clock::time_point now) {
  TimeLimit limit{.at = now + options.deadline_default};
  if (caller.deadline) {
    limit.at = *caller.deadline;
    limit.asked = true;
  } else if (caller.waits_until && *caller.waits_until > limit.at) {
    limit.at = *caller.waits_until;
    limit.asked = true;
  }
  if (limit.at >= now + options.deadline_max) {
    limit.at = now + options.deadline_max;
    limit.remedy = fmt::format("it had {}, the most that a request may have here; ask for less", Seconds(options.deadline_max));
  } else if (limit.asked) {
    limit.remedy = "allow more time, or ask for less";
  } else {
    limit.remedy = fmt::format("it had {}, for no time was asked for; ask for more with {}, or for less", Seconds(options.deadline_default),
                               caller.surface == Surface::kHttp ? "the header x-tollgate-timeout-ms" : "the call's deadline");
  }
  return limit;
}

}  // namespace tollgate::pipeline
