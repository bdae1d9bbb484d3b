// Bounds and defaults are the schema's; what is read here is the file of the bearer token, as it is for upstreams.
//
// Tested by tests/gateway/serve/detectors_test.cpp.
#include "gateway/serve/detectors.h"

#include "gateway/serve/upstream.h"

namespace tollgate::serve {

namespace v1 = tollgate::v1;
using std::chrono::milliseconds;

absl::StatusOr<std::vector<guards::DetectorOptions>> DetectorsFrom(const v1::Config& config) {
  std::vector<guards::DetectorOptions> out;
  for (const v1::Config::Detector& d : config.detectors()) {
    guards::DetectorOptions options;
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
    out.push_back(std::move(options));
  }
  return out;
}

}  // namespace tollgate::serve
