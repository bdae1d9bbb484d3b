// How it works. All endpoints are asked at once, every interval; one that has not answered the last question is not asked again. A change
// is told to the operator once.
//
// Tested by tests/inference/upstream_engine_test.cpp.
#include "inference/engines/upstream_health.h"

#include <algorithm>
#include <utility>

#include "base/diagnostics.h"

namespace tollgate::inference {

using std::chrono::milliseconds;

void UpstreamHealth::Tend(base::HttpClient& http, const std::vector<std::string>& urls, const std::vector<std::string>& headers,
                          base::MonoTime now) {
  if (interval_.count() == 0 || (next_ && now < *next_)) return;
  next_ = now + interval_;
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    if (std::exchange(probes_[i].under_way, true)) continue;
    base::HttpRequest request;
    request.url = urls[i] + "/health";
    request.headers = headers;
    request.timeout = std::max(interval_, milliseconds(1000));
    http.Start(std::move(request), probes_[i]);
  }
}

void UpstreamHealth::Hear(const std::vector<std::string>& urls, UpstreamEndpoints& endpoints, std::string& problem) {
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    const auto answered = std::exchange(probes_[i].answered, std::nullopt);
    if (!answered) continue;
    endpoints.Probed(i, *answered);
    if (std::exchange(probes_[i].healthy, *answered) == *answered) continue;
    if (*answered) {
      base::Warn("inference", "model {}: {} is well again", model_, urls[i]);
      continue;
    }
    problem = probes_[i].why;
    base::Warn("inference", "model {}: {} is not well: it takes no requests until it answers /health ({})", model_, urls[i], problem);
  }
}

}  // namespace tollgate::inference
