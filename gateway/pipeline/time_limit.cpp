// A caller's own deadline holds as it is, a shorter one too. How long a client waits gives more time: SDKs say how long they wait for the
// next byte, and a stream may go on for much longer than that. Who gives up before the deadline's own answer is there asks again, and is
// billed again; behind the deadline come a step of the engine, the end's record and the way back, so that it lies ahead of that moment.
// Tested by tests/gateway/pipeline/time_limit_test.cpp.
#include "gateway/pipeline/time_limit.h"

#include <algorithm>

#include <fmt/format.h>

namespace tollgate::pipeline {
namespace {

using std::chrono::steady_clock;

constexpr steady_clock::duration kAheadLeast = std::chrono::seconds(2);
constexpr int kAheadPart = 20;  // Of what a client waits.

// When a client that waits until then is to have its answer. A default that ends earlier, or far behind that, stays.
steady_clock::time_point AheadOf(steady_clock::time_point waits_until, steady_clock::time_point by_default, steady_clock::time_point now) {
  const steady_clock::duration waits = waits_until - now, least = std::min(kAheadLeast, waits / 2);
  if (waits_until <= by_default - least) return by_default;
  return std::max(std::min(by_default, waits_until - least), waits_until - std::max(least, waits / kAheadPart));
}

std::string Seconds(std::chrono::milliseconds time) { return fmt::format("{} s", static_cast<double>(time.count()) / 1000); }

}  // namespace

TimeLimit TimeLimitOf(const Caller& caller, const PipelineOptions& options, std::chrono::steady_clock::time_point now) {
  TimeLimit limit{.at = now + options.deadline_default};
  if (caller.deadline) {
    limit.at = *caller.deadline;
    limit.asked = true;
  } else if (caller.waits_until) {
    limit.at = AheadOf(*caller.waits_until, now + options.deadline_default, now);
    limit.asked = limit.at != now + options.deadline_default;
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
