// Server: Tollgate's parts put together, in order of need, and taken down in reverse. What `tollgate serve` and `tollgate dev` run.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "tollgate/v1/config.pb.h"

namespace tollgate::admin {
class Changes;
}

namespace tollgate::serve {

struct ServerOptions {
  bool dev = false;   // Allows keys and secrets made by `tollgate dev`; `serve` refuses them.
  std::string build;  // Version of this program, for records.
};

// The ports in use (they differ from the configuration where that says 0). 0 = that listener is off.
struct Ports {
  int grpc = 0;
  int http = 0;
  int admin_grpc = 0;
  int probes = 0;
};

class Server {
 public:
  // Starts everything, or says what is wrong and how to mend it: database, migrations, secrets, model files, ports. Returns when ready to
  // serve, or soon after a stop signal, with CANCELLED. While models load the probes' port answers.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const tollgate::v1::Config& config, const ServerOptions& options);
  ~Server();  // Drains with the configured deadline if that was not done.

  Ports ports() const;

  // Changes to the directory, made by this process itself (`tollgate dev` sets up its sample company with it).
  admin::Changes& changes();

  // Waits until what was changed so is in force here. DEADLINE_EXCEEDED after ten seconds.
  absl::Status AwaitChanges();

  // Not ready, and requests are taken for drain_wait_ms → no new requests → running streams finish, or end with a record at the deadline →
  // what is left of the time for replies on their way → journal empty → everything joined. A further stop signal ends every wait, and so
  // does a log that was lost. Says when it begins and when it is done.
  void Drain();

  // Meanwhile gRPC's health on the API's port says what /readyz does, at most half a second later.
  // Returns when Drain was asked for by a stop signal (stop_signals.h) or the server cannot go on (its log was taken by another owner, a
  // failover lost its leases): then the status says so, and another start may do.
  absl::Status RunUntilSignal();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::serve
