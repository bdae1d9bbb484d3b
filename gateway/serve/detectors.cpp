// Bounds and defaults are the schema's; what is read here is the file of the bearer token, as it is for upstreams.
//
// Tested by tests/gateway/serve/detectors_test.cpp.
#include "gateway/serve/detectors.h"

#include <algorithm>

#include "base/diagnostics.h"
#include "gateway/serve/upstream.h"

namespace tollgate::serve {

namespace v1 = tollgate::v1;
using std::chrono::milliseconds;

bool GoesInClear(std::string_view url) {
  for (const std::string_view scheme : {"http://", "grpc://"}) {
    if (!url.starts_with(scheme)) continue;
    const std::string_view host = url.substr(scheme.size(), url.find_first_of("/?#", scheme.size()) - scheme.size());
    const std::string_view loopback[] = {"localhost", "127.0.0.1", "[::1]"};
    return std::none_of(std::begin(loopback), std::end(loopback),
                        [&](std::string_view name) { return host == name || host.starts_with(std::string(name) + ":"); });
  }
  return false;
}

absl::StatusOr<std::vector<detectors::DetectorOptions>> DetectorsFrom(const v1::Config& config) {
  std::vector<detectors::DetectorOptions> out;
  for (const v1::Config::Detector& d : config.detectors()) {
    detectors::DetectorOptions options;
    options.name = d.name();
    options.url = d.url();
    TG_ASSIGN(options.bearer, ReadBearer("detectors.bearer_file", d.bearer_file()));
    options.ca_file = d.ca_file();
    options.certificate_file = d.certificate_file();
    options.key_file = d.key_file();
    options.deadline = milliseconds(d.deadline_ms());
    options.running_max = d.running_max();
    options.waiting_max = d.waiting_max();
    options.failures_max = d.failures_max();
    options.rest = milliseconds(d.rest_ms());
    if (GoesInClear(options.url)) {
      base::Warn("config",
                 "detectors: {} is asked in clear beyond this machine: prompts{} can be read on the way; use https:// or grpcs://",
                 options.name, options.bearer.empty() ? "" : " and its secret");
    }
    out.push_back(std::move(options));
  }
  return out;
}

}  // namespace tollgate::serve
