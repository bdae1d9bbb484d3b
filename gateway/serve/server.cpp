// Start builds the parts in order of need, Drain takes the traffic away in reverse: ports, then requests, then what they work with.
// Tested by tests/e2e, which start the program.
#include "gateway/serve/server.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <future>
#include <thread>

#include "base/diagnostics.h"
#include "gateway/net/descriptors.h"
#include "gateway/serve/parts.h"
#include "gateway/serve/stop_signals.h"

namespace tollgate::serve {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLookInterval{500};       // How often RunUntilSignal looks at the journal, and whether all is ready.
constexpr milliseconds kEndPatience{5000};       // For requests that were told to end.
constexpr milliseconds kSignalInterval{100};     // How often a stop looks for a second signal.
constexpr milliseconds kQuotasPatience{5000};    // For the database's clock, which names the windows of quotas.
constexpr milliseconds kChangesPatience{10000};  // For the directory to take up what this process changed.

void SetDiagnostics(const tollgate::v1::Config::Diagnostics& config) {
  const std::string& level = config.level();
  base::SetDiagnosticsLevel(level == "debug"   ? base::Level::kDebug
                            : level == "warn"  ? base::Level::kWarn
                            : level == "error" ? base::Level::kError
                                               : base::Level::kInfo);
  base::SetDiagnosticsJson(config.json());
}

// Before the first exchange of leases nothing can be admitted; who connects as soon as a port is open should not meet that. Without an
// answer the server starts all the same, and /readyz says why it is not ready.
void AwaitQuotas(metering::Quotas& quotas) {
  const auto give_up = steady_clock::now() + kQuotasPatience;
  while (!quotas.Ready() && steady_clock::now() < give_up) std::this_thread::sleep_for(milliseconds(5));
}

bool IsLost(const Parts& parts) { return parts.journal && parts.journal->health().state == audit::Health::State::kLost; }

// How long a stop waits for others: until a deadline, but no longer than nobody has sent another signal, nor when nothing can be recorded
// any more.
class Patience {
 public:
  explicit Patience(const Parts& parts) : parts_(parts) {}

  // Whether `done`, which is given some time to find out, came true.
  template <typename Done>
  bool Await(steady_clock::time_point deadline, Done done) {
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
      if (left <= milliseconds(0) || Over()) return done(milliseconds(0));
      if (done(std::min(left, kSignalInterval))) return true;
    }
  }

 private:
  bool Over() { return over_ = over_ || TakeFurtherSignal() || IsLost(parts_); }

  const Parts& parts_;
  bool over_ = false;
};

// Those who send requests here, going by /readyz and by gRPC's health, may learn that they shall not, before a port closes.
void AwaitBalancers(const Parts& parts, Patience& patience) {
  const milliseconds wait(parts.config.drain_wait_ms());
  if (wait == milliseconds(0) || !parts.listening || IsLost(parts)) return;
  base::Info("serve", "stopping: /readyz says so; requests are taken for another {} ms; a second signal ends this, and what is under way",
             wait.count());
  patience.Await(steady_clock::now() + wait, [](milliseconds within) {
    std::this_thread::sleep_for(within);
    return false;
  });
}

void EndRequests(pipeline::Pipeline& pipeline, Patience& patience, steady_clock::time_point deadline, std::int64_t drain_ms) {
  auto empty = std::make_shared<std::promise<void>>();
  auto emptied = empty->get_future();
  pipeline.StopAdmission([empty] { empty->set_value(); });
  base::Info("serve", "draining: requests under way: {}; they may go on for {} ms; a second signal ends them at once", pipeline.running(),
             drain_ms);
  const auto ended = [&emptied](milliseconds within) { return emptied.wait_for(within) == std::future_status::ready; };
  if (patience.Await(deadline, ended)) return;
  base::Info("serve", "ending requests before they were done: {}", pipeline.running());
  pipeline.EndAll();
  emptied.wait_for(kEndPatience);
}

// Ports, requests, and their last bytes.
void StopTraffic(Parts& parts) {
  Patience patience(parts);
  parts.draining = true;
  if (parts.grpc) parts.grpc->SetServing(false);
  AwaitBalancers(parts, patience);
  const std::int64_t drain_ms = parts.config.drain_ms();
  const auto deadline = steady_clock::now() + milliseconds(drain_ms);
  if (parts.admin) parts.admin->Stop();
  if (parts.models) parts.models->Stop();
  if (parts.grpc) parts.grpc->StopAccepting();
  if (parts.http) parts.http->StopAccepting();
  if (parts.pipeline) EndRequests(*parts.pipeline, patience, deadline, drain_ms);
  if (parts.http) patience.Await(deadline, [&](milliseconds within) { return parts.http->AwaitIdle(within); });
  if (parts.grpc) patience.Await(deadline, [&](milliseconds within) { return parts.grpc->AwaitIdle(within); });
  if (parts.grpc) parts.grpc->Shutdown(kLookInterval);
  if (parts.http) parts.http->Shutdown(kLookInterval);
  if (parts.pipeline) parts.pipeline->FlushRefusals();  // Those of the last callers too.
  if (parts.admin_server) parts.admin_server->Shutdown(kLookInterval);
  if (parts.probes) parts.probes->Shutdown(kLookInterval);
}

}  // namespace

struct Server::Impl {
  Parts parts;
  bool drained = false;
};

absl::Status GoOn() { return StopSignalPending() ? base::Cancelled("told to stop before it served") : absl::OkStatus(); }

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const tollgate::v1::Config& config, const ServerOptions& options) {
  BlockStopSignals();  // For every thread that starts here; RunUntilSignal takes them.
  signal(SIGPIPE, SIG_IGN);
  SetDiagnostics(config.diagnostics());
  std::unique_ptr<Server> server(new Server(std::make_unique<Impl>()));
  Parts& parts = server->impl_->parts;
  parts.config = config;
  parts.dev = options.dev;
  parts.build = options.build;
  parts.started = base::SystemClock().Wall();
  parts.descriptors_max = net::RaiseDescriptorLimit();
  TG_RETURN_IF_ERROR(BuildData(parts));
  TG_RETURN_IF_ERROR(BuildProbes(parts));
  TG_RETURN_IF_ERROR(BuildEngine(parts));
  TG_RETURN_IF_ERROR(GoOn());
  AwaitQuotas(*parts.quotas);
  TG_RETURN_IF_ERROR(BuildFronts(parts));
  const Ports ports = server->ports();
  base::Info("serve", "ready: grpc {}, http {}, admin {}, probes {}; log {}, epoch {}", ports.grpc, ports.http, ports.admin_grpc,
             ports.probes, parts.journal->log_id(), parts.journal->epoch());
  return server;
}

Server::~Server() { Drain(); }

Ports Server::ports() const {
  const Parts& parts = impl_->parts;
  return {parts.grpc ? parts.grpc->port() : 0, parts.http ? parts.http->port() : 0, parts.admin_server ? parts.admin_server->port() : 0,
          parts.probes ? parts.probes->port() : 0};
}

admin::Changes& Server::changes() { return *impl_->parts.changes; }

absl::Status Server::AwaitChanges() { return impl_->parts.directory->WaitFor(impl_->parts.changed_version, kChangesPatience); }

void Server::Drain() {
  if (std::exchange(impl_->drained, true)) return;
  Parts& parts = impl_->parts;
  StopTraffic(parts);
  if (parts.io) parts.io->Stop();
  if (parts.cpu) parts.cpu->join();
  if (parts.pool) parts.pool->Drain(steady_clock::now());
  const bool home = !parts.quotas || parts.quotas->Close(milliseconds(1000));
  if (!home) base::Warn("serve", "what this instance's quotas hold could not be given back; whoever adopts its log brings it home");
  if (parts.journal) parts.journal->Stop(home);
  if (parts.pipeline) base::Info("serve", "drained: every request has ended");  // What could not be written, the journal has told.
}

absl::Status Server::RunUntilSignal() {
  const Parts& parts = impl_->parts;
  bool serving = true;  // What gRPC's health says. It is told of changes alone: each time it is told, all who watch it are.
  for (;;) {
    if (parts.grpc && NotReady(parts).empty() != serving) parts.grpc->SetServing(serving = !serving);
    if (TakeStopSignal(kLookInterval)) return absl::OkStatus();
    if (IsLost(parts)) {
      return base::Aborted(fmt::format("this instance can record nothing any more, and ends: {}", parts.journal->health().reason));
    }
    if (parts.quotas->Fenced()) return base::Aborted(std::string(kLeasesLost));
  }
}

}  // namespace tollgate::serve
