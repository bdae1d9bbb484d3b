// Detector: one of those that tollgate.yaml lists, whatever it speaks. Room-internal.
#pragma once

#include <functional>
#include <memory>

#include "gateway/guards/external_detectors.h"

namespace tollgate::guards {

// Thread-safe. Its end answers all that is out with a failure.
class Detector {
 public:
  using Done = std::function<void(pipeline::GuardAnswer)>;
  virtual ~Detector() = default;
  virtual void Ask(pipeline::GuardAsk ask, Done done) = 0;  // As Guards::Ask.
  virtual DetectorStats stats() const = 0;
};

pipeline::GuardAnswer Failed(const pipeline::GuardAsk& ask, std::string why);

// One at grpc:// or grpcs:// HOST:PORT, asked as tollgate.v1.Detector. Errors as ExternalDetectors::Create.
bool IsGrpcUrl(const std::string& url);
absl::StatusOr<std::unique_ptr<Detector>> MakeGrpcDetector(DetectorOptions options);

}  // namespace tollgate::guards
