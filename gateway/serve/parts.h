// The parts of a running server: each is destroyed before those above it.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "audit/journal_postgres.h"
#include "audit/keys.h"
#include "base/postgres.h"
#include "gateway/admin/admin_services.h"
#include "gateway/admin/changes.h"
#include "gateway/detectors/external_detectors.h"
#include "gateway/directory/directory_postgres.h"
#include "gateway/gates/gates.h"
#include "gateway/grpc/grpc_front.h"
#include "gateway/grpc/grpc_server.h"
#include "gateway/http/http_front.h"
#include "gateway/identity/identity.h"
#include "gateway/net/io_threads.h"
#include "gateway/pipeline/pipeline.h"
#include "gateway/serve/model_keeper.h"
#include "gateway/serve/secrets.h"
#include "inference/pool.h"
#include "metering/leases_postgres.h"
#include "metering/quotas.h"
#include "tollgate/v1/config.pb.h"

namespace tollgate::serve {

struct Parts {
  tollgate::v1::Config config;
  bool dev = false;
  std::string build;
  base::WallTime started;
  std::atomic<bool> draining = false;   // It is being stopped.
  std::atomic<bool> listening = false;  // All that listens is there: metrics may look at it, and /readyz at what it works with.
  std::atomic<int> models_loaded = 0;   // Of those in `config`, in its order.
  std::int64_t descriptors_max = 0;     // That this process may have.
  std::unique_ptr<InstallationSecrets> secrets;
  std::unique_ptr<audit::Keys> keys;
  std::unique_ptr<audit::PostgresJournal> journal;
  std::unique_ptr<metering::PostgresLeases> leases;
  std::unique_ptr<metering::Quotas> quotas;
  // After quotas, which its thread tells of changes. The journal asks it for names while it recovers, and is stopped by then
  // (Server::Drain).
  std::unique_ptr<directory::PostgresDirectory> directory;
  std::unique_ptr<gates::Gates> gates;
  std::unique_ptr<inference::Pool> pool;
  std::unique_ptr<ModelKeeper> models;
  std::unique_ptr<identity::Identity> identity;
  std::unique_ptr<boost::asio::thread_pool> cpu;  // For front ends and pipeline alike.
  std::unique_ptr<net::IoThreads> io;
  std::unique_ptr<detectors::ExternalDetectors> detectors;
  std::unique_ptr<pipeline::Pipeline> pipeline;
  std::unique_ptr<admin::Changes> changes;
  std::atomic<std::int64_t> changed_version{0};  // Of the directory, with the last of those changes in it.
  std::unique_ptr<admin::AdminServices> admin;
  std::unique_ptr<grpc_front::GrpcServer> admin_server;
  std::unique_ptr<grpc_front::GrpcFront> grpc;
  std::unique_ptr<http_front::HttpFront> http;
  std::unique_ptr<http_front::ProbesFront> probes;
};

// For reports and verification, which may read much.
inline constexpr std::chrono::milliseconds kReportTimeout{60'000};

// Why an instance ends whose quotas can spend nothing any more.
inline constexpr const char* kLeasesLost =
    "the database does not know this instance's leases any more, as after a failover that lost some: it ends, and takes new ones when it "
    "is "
    "started again";

// The database session settings for one role.
base::PostgresOptions PostgresFor(const tollgate::v1::Config& config, const std::string& role);

// CANCELLED when a stop signal waits to be taken: looked at between the steps of a start, which may take minutes.
absl::Status GoOn();

// Whether each listener's port is free, before what takes long.
absl::Status CheckPorts(const tollgate::v1::Config& config);

// Each builds its share of `parts`, in this order; an error names the remedy.
absl::Status BuildData(Parts& parts);    // Secrets, directory, keys, journal, quotas, gates.
absl::Status BuildProbes(Parts& parts);  // I/O threads, and the probes' listener: models may take long.
absl::Status BuildEngine(Parts& parts);  // Pool, identity, pipeline, changes, admin services.
absl::Status BuildFronts(Parts& parts);  // The other listeners.

// Why the instance is not ready, for people; empty: it is. This and Metrics from any thread, from BuildProbes on.
std::vector<std::string> NotReady(const Parts& parts);
std::string Metrics(const Parts& parts);
void FillStatus(const Parts& parts, tollgate::v1::StatusReply& status);

}  // namespace tollgate::serve
