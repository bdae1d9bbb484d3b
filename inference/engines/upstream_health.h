// UpstreamHealth: asks each endpoint of a fleet for /health, again and again, and tells UpstreamEndpoints. One thread, never waits.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/http_client.h"
#include "inference/engines/upstream_endpoints.h"

namespace tollgate::inference {

class UpstreamHealth {
 public:
  // `interval` 0: never. `model`: for diagnostics.
  UpstreamHealth(std::string model, std::size_t endpoints, std::chrono::milliseconds interval)
      : model_(std::move(model)), interval_(interval), probes_(endpoints) {}

  // Begins what is due. `headers` go with each probe. The client must be gone before this.
  void Tend(base::HttpClient& http, const std::vector<std::string>& urls, const std::vector<std::string>& headers, base::MonoTime now);
  // Tells what was answered since the last call; why an endpoint is not well, also in `problem`.
  void Hear(const std::vector<std::string>& urls, UpstreamEndpoints& endpoints, std::string& problem);

 private:
  struct Probe final : base::HttpSink {
    bool OnBody(int, std::string_view) override { return true; }
    void OnEnd(int http_status, const absl::Status& status) override {
      under_way = false;
      answered = status.ok() && http_status >= 200 && http_status < 300;
      why = status.ok() ? "/health answers with HTTP " + std::to_string(http_status) : "/health: " + base::Message(status);
    }
    bool under_way = false;
    std::string why;               // If not well.
    std::optional<bool> answered;  // Well or not; not told yet.
    bool healthy = true;           // As last told.
  };

  const std::string model_;
  const std::chrono::milliseconds interval_;
  std::vector<Probe> probes_;
  std::optional<base::MonoTime> next_;
};

}  // namespace tollgate::inference
