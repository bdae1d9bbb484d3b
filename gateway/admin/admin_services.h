// AdminServices: the gRPC services Directory, Defaults, Registry, Audit, Usage, Policy and System of tollgate.v1, to be mounted on the
// admin listener's server.
//
// Each call is authenticated by its `authorization` metadata and checked against identity/permissions.h before it takes a place, and runs
// on one of a few threads: emergency stops, revocations and blocks on threads of their own, and no org takes all of either (workers.h). A
// call whose client has gone before its turn is not executed. Two orgs never see each other: what is outside the caller's reach does not
// exist for it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/journal.h"
#include "audit/keys.h"
#include "base/clock.h"
#include "base/postgres.h"
#include "gateway/admin/changes.h"
#include "gateway/admin/model_host.h"
#include "gateway/directory/directory_postgres.h"
#include "gateway/gates/gates.h"
#include "gateway/identity/identity.h"

namespace grpc {
class Service;
}
namespace tollgate::inference {
class Pool;
}
namespace tollgate::net {
class IoThreads;
}
namespace tollgate::pipeline {
class Pipeline;
}
namespace tollgate::v1 {
class StatusReply;
}

namespace tollgate::admin {

struct AdminOptions {
  // Calls that run at once, four at least, but for the urgent ones; as many connections for the audit log, and for reports.
  int threads = 2;
  int queue_max = 200;                    // Calls that wait, and as many urgent ones; RESOURCE_EXHAUSTED beyond.
  base::PostgresOptions audit_postgres;   // Reads the audit log; `role` "tollgate_reader".
  base::PostgresOptions verify_postgres;  // Verifies it; `role` "tollgate_verifier". A long statement_timeout.
  base::PostgresOptions usage_postgres;   // Reports, and what is taken of limits; `role` "tollgate_reader".
};

// Must outlive the services.
struct AdminCollaborators {
  const identity::Identity* identity = nullptr;
  directory::PostgresDirectory* directory = nullptr;
  Changes* changes = nullptr;
  audit::Journal* journal = nullptr;  // For VIEW records, and for texts that others are asked about.
  audit::Keys* keys = nullptr;        // To open content, and to seal those texts.
  const base::Clock* clock = nullptr;
  net::IoThreads* io = nullptr;                       // Timers of answers.
  std::chrono::milliseconds write_timeout{0};         // For a client to take its answer; then the call is cancelled.
  ModelHost* models = nullptr;                        // Null: no pool here; registered models have no state.
  std::function<void(v1::StatusReply&)> fill_status;  // Everything but directory, stops and caller. Any thread; quick.
  gates::Gates* gates = nullptr;                      // Approvals; null: none can be listed or given.
  std::vector<std::string> detectors = {};            // Those that tollgate.yaml lists: whom policies can name.
  inference::Pool* pool = nullptr;                    // Makes strict answers again; null: none can be.
  std::string build;                                  // Of this program, which they are compared by.
  pipeline::Pipeline* pipeline = nullptr;             // Asks whom rules ask, of a text that is explained; null: nobody is asked.
};

class AdminServices {
 public:
  AdminServices(AdminOptions options, AdminCollaborators collaborators);
  ~AdminServices();  // After the server that they were mounted on.

  // Ends long work (verifying, reconciling, reporting) with UNAVAILABLE, interrupting the statement under way, and keeps more from
  // starting. Returns at once. Before the server's Shutdown, which waits for running calls. Any thread, once.
  void Stop();

  // Full name and service, for GrpcServer::AddService before it starts. Owned here.
  std::vector<std::pair<std::string_view, grpc::Service*>> services();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::admin
