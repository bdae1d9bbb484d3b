// Gateway: a running `tollgate serve`, and what a test does to it.
#pragma once

#include <memory>
#include <string>

#include "tests/e2e/support/installation.h"
#include "tests/e2e/support/process.h"

namespace tollgate::e2e {

// One thread; the ports may be read by all.
class Gateway {
 public:
  // Returns when it serves. Throws std::runtime_error with its diagnostics if it does not come up.
  explicit Gateway(const Installation& installation, const InstanceOptions& options = {}, const Spawning& how = {});

  // Starts without waiting.
  static std::unique_ptr<Process> Launch(const Installation& installation, const InstanceOptions& options, const Spawning& how = {});

  int grpc_port() const { return grpc_; }
  int http_port() const { return http_; }
  int admin_port() const { return admin_; }
  int probes_port() const { return probes_; }
  Process& process() { return *process_; }

  void Kill9() { process_->Kill9(); }
  // SIGTERM, and the exit code; -1 if it does not end.
  int Stop(milliseconds patience = milliseconds(20'000));
  bool Ready() const { return Readiness() == 200; }
  int Readiness() const;  // The status of /readyz; 0: nobody answers.
  bool Serving() const;   // What gRPC's health says on the API's port.
  std::string Metrics() const;
  int ModelProcess(const std::string& model) const;  // In which the model computes (pool.isolation: process); 0: there is none.

 private:
  std::unique_ptr<Process> process_;
  int grpc_ = 0, http_ = 0, admin_ = 0, probes_ = 0;
};

}  // namespace tollgate::e2e
