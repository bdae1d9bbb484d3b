// ExternalDetectors: asks the detectors that tollgate.yaml lists, over HTTP (a POST of JSON, an answer in JSON) or gRPC
// (tollgate.v1.Detector); docs/policy.md has both. No policy
// can name a server, only a detector of the list.
//
// Each detector has its deadline, its most questions at once, and breakers that spare one which keeps failing: for all while it cannot be
// reached, else for the tenant alone whose questions fail. Whatever goes wrong is an
// answer with a failure, so that the rule decides. One thread for each of HTTP; Ask is thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/pipeline/questions.h"

namespace tollgate::detectors {

struct DetectorOptions {
  std::string name;
  std::string url;
  std::string bearer;   // Goes as `Authorization: Bearer`; empty: none.
  std::string ca_file;  // As of base::HttpClientOptions.
  std::string certificate_file;
  std::string key_file;
  std::chrono::milliseconds deadline{2000};  // For a question, its wait for a turn included.
  int running_max = 64;                      // Questions at once; more wait for their turn. Of these and of those that wait a tenant
                                             // that has half leaves the last quarter to others.
  int waiting_max = 1024;
  int failures_max = 5;                  // In a row, of its own doing, a tenant's or in reaching it, at which it is left alone …
  std::chrono::milliseconds rest{5000};  // … for so long.
};

struct DetectorStats {
  std::string name;
  std::int64_t asked = 0, hits = 0, failures = 0, micros = 0;  // Since the start; micros from question to answer.
  std::int64_t running = 0;
  bool resting = false;  // It is being left alone now, by one tenant's questions or by all.
};

class ExternalDetectors final : public pipeline::Answerers {
 public:
  // FAILED_PRECONDITION: a certificate or key cannot be read. INVALID_ARGUMENT: two of one name.
  static absl::StatusOr<std::unique_ptr<ExternalDetectors>> Create(std::vector<DetectorOptions> detectors);
  ~ExternalDetectors() override;  // Answers all that is out with a failure.

  void Ask(pipeline::QuestionAsk ask, std::function<void(pipeline::QuestionAnswer)> done) override;

  std::vector<DetectorStats> stats() const;

 private:
  struct Impl;
  explicit ExternalDetectors(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::detectors
