// What listens, and what it tells of the rest. Tested by tests/e2e, which start the program.
#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/diagnostics.h"
#include "gateway/net/descriptors.h"
#include "gateway/serve/metrics.h"
#include "gateway/serve/parts.h"
#include "tollgate/v1/system.pb.h"

namespace tollgate::serve {

namespace v1 = tollgate::v1;

namespace {

net::ListenerOptions ListenerFrom(const char* name, const v1::Config& config, const v1::Config::Listener& l, int reserved) {
  net::ListenerOptions options;
  options.name = name;
  options.descriptors_reserved = reserved;
  options.address = l.address();
  options.port = static_cast<std::uint16_t>(l.port());
  options.connections_max = l.connections_max();
  options.connections_per_source_max = l.connections_per_source_max();
  const std::vector<std::string> proxies(config.trusted_proxies().begin(), config.trusted_proxies().end());
  auto networks = base::Networks::Parse(proxies);
  TG_CHECK(networks.ok(), "trusted_proxies were checked with the configuration");
  options.proxies = *std::move(networks);
  return options;
}

grpc_front::GrpcServerOptions GrpcFrom(const char* name, const v1::Config& config, const v1::Config::Listener& l, int reserved) {
  grpc_front::GrpcServerOptions options;
  options.listener = ListenerFrom(name, config, l, reserved);
  options.reflection = config.grpc().reflection();
  options.message_bytes_max = static_cast<int>(config.requests().body_bytes_max());
  options.concurrent_streams_max = config.grpc().streams_per_connection_max();
  options.memory_bytes_max = config.grpc().memory_bytes_max();
  options.write_timeout_ms = static_cast<int>(config.grpc().write_timeout_ms());
  return options;
}

http_front::HttpOptions HttpFrom(const char* name, const v1::Config& config, const v1::Config::Listener& l, int reserved) {
  const auto& h = config.http();
  http_front::HttpOptions options;
  options.listener = ListenerFrom(name, config, l, reserved);
  options.body_bytes_max = config.requests().body_bytes_max();
  options.memory_bytes_max = h.memory_bytes_max();
  options.header_timeout_ms = static_cast<int>(h.header_timeout_ms());
  options.body_timeout_ms = static_cast<int>(h.body_timeout_ms());
  options.idle_timeout_ms = static_cast<int>(h.idle_timeout_ms());
  options.write_timeout_ms = static_cast<int>(h.write_timeout_ms());
  options.comment_ms = static_cast<int>(h.keep_alive_comment_ms());
  return options;
}

std::string WhyNoneReady(const std::vector<inference::ReplicaStats>& replicas) {
  const auto on_servers = [](const auto& replica) { return replica.upstream.endpoints > 0; };
  if (std::all_of(replicas.begin(), replicas.end(), on_servers)) return "pool: no server of any model can be reached";
  if (std::none_of(replicas.begin(), replicas.end(), on_servers)) return "pool: the process of every model is being started again";
  return "pool: no model can answer: their processes are being started again, or their servers cannot be reached";
}

// Without enough of them newcomers are closed long before connections_max is reached.
void CheckDescriptors(const v1::Config& config, std::int64_t limit) {
  const auto& l = config.listeners();
  std::int64_t wanted = net::kReservedByApi + 2 * config.postgres().sessions();
  for (const v1::Config::Listener* listener : {&l.grpc(), &l.http(), &l.admin_grpc(), &l.probes()}) {
    if (listener->enabled()) wanted += listener->connections_max();
  }
  for (const v1::Config::Model& model : config.pool().models()) wanted += model.engine() == "openai" ? model.slots() : 0;
  for (const v1::Config::Detector& detector : config.detectors()) wanted += detector.running_max();
  if (wanted <= limit) return;
  base::Warn(
      "serve",
      "this process may have {} descriptors, but connections_max and what it opens itself can come to {}: newcomers are closed before "
      "that; raise its limit (LimitNOFILE, ulimit -Hn), or lower connections_max",
      limit, wanted);
}

http_front::Probes ProbesOf(const Parts& parts) {
  return {[&parts] { return NotReady(parts); }, [&parts] { return Metrics(parts); }};
}

// What is not there yet is not looked at.
void AddStarting(const Parts& parts, std::vector<std::string>& reasons) {
  reasons.push_back("instance: it is being started");
  const auto& models = parts.config.pool().models();
  for (int i = parts.models_loaded; i < models.size(); ++i)
    reasons.push_back(fmt::format("pool: model {} is being loaded", models[i].name()));
}

}  // namespace

absl::Status CheckPorts(const v1::Config& config) {
  const auto& l = config.listeners();
  for (const auto& [name, listener] :
       {std::pair("grpc", &l.grpc()), {"http", &l.http()}, {"admin", &l.admin_grpc()}, {"probes", &l.probes()}}) {
    if (listener->enabled()) TG_RETURN_IF_ERROR(net::Listener::CheckFree(ListenerFrom(name, config, *listener, 0)));
  }
  return absl::OkStatus();
}

absl::Status BuildProbes(Parts& parts) {
  const v1::Config& config = parts.config;
  const int half = static_cast<int>(std::thread::hardware_concurrency() / 2);
  parts.io = std::make_unique<net::IoThreads>(config.io_threads() > 0 ? config.io_threads() : std::max(2, half));
  const v1::Config::Listener& listener = config.listeners().probes();
  if (!listener.enabled()) return absl::OkStatus();
  TG_ASSIGN(parts.probes,
            http_front::ProbesFront::Start(HttpFrom("probes", config, listener, net::kReservedByProbes), *parts.io, ProbesOf(parts)));
  base::Info("serve", "probes are answered on port {}; models to be loaded before anything else is: {}", parts.probes->port(),
             config.pool().models_size());
  return absl::OkStatus();
}

absl::Status BuildFronts(Parts& parts) {
  const v1::Config& config = parts.config;
  const auto& l = config.listeners();
  CheckDescriptors(config, parts.descriptors_max);
  if (l.admin_grpc().enabled()) {
    parts.admin_server =
        std::make_unique<grpc_front::GrpcServer>(GrpcFrom("admin", config, l.admin_grpc(), net::kReservedByAdmin), *parts.io);
    for (const auto& [name, service] : parts.admin->services()) parts.admin_server->AddService(name, service);
    TG_RETURN_IF_ERROR(parts.admin_server->Start());
  }
  if (l.grpc().enabled()) {
    TG_ASSIGN(parts.grpc, grpc_front::GrpcFront::Start(GrpcFrom("grpc", config, l.grpc(), net::kReservedByApi), *parts.io,
                                                       parts.cpu->get_executor(), *parts.pipeline));
  }
  if (l.http().enabled()) {
    TG_ASSIGN(parts.http, http_front::HttpFront::Start(HttpFrom("http", config, l.http(), net::kReservedByApi), *parts.io,
                                                       parts.cpu->get_executor(), *parts.pipeline, ProbesOf(parts)));
  }
  parts.listening = true;
  return absl::OkStatus();
}

std::vector<std::string> NotReady(const Parts& parts) {
  std::vector<std::string> reasons;
  if (parts.draining) reasons.push_back("instance: it is being stopped");
  const audit::Health journal = parts.journal->health();
  if (journal.state != audit::Health::State::kGood) reasons.push_back("journal: " + journal.reason);
  if (auto snapshot = parts.directory->InForce(); !snapshot.ok()) reasons.push_back("directory: " + base::Message(snapshot.status()));
  if (const std::size_t orgs = parts.directory->AwaitedFirst(); orgs > 0)
    reasons.push_back(fmt::format("directory: policies of {} orgs are being compiled for the first time", orgs));
  if (parts.quotas->Fenced()) {
    reasons.push_back(fmt::format("quotas: {}", kLeasesLost));
  } else if (!parts.quotas->Ready()) {
    reasons.push_back("quotas: leases cannot be had from Postgres");
  }
  if (!parts.listening) {
    AddStarting(parts, reasons);
    return reasons;
  }
  const std::vector<std::string> loading = parts.models->Loading();
  for (const std::string& model : loading) reasons.push_back(fmt::format("pool: model {} is being loaded", model));
  const std::vector<inference::ReplicaStats> replicas = parts.pool->stats();
  if (loading.empty() && replicas.empty()) reasons.push_back("pool: no model is loaded");
  if (!replicas.empty() && std::none_of(replicas.begin(), replicas.end(), [](const auto& replica) { return replica.ready; }))
    reasons.push_back(WhyNoneReady(replicas));
  return reasons;
}

std::string Metrics(const Parts& parts) {
  Measurements now;
  now.build = parts.build;
  now.ready = NotReady(parts).empty();
  now.journal = parts.journal->stats();
  now.directory_age_ms = parts.directory->age().count();
  if (auto snapshot = parts.directory->InForce(); snapshot.ok()) now.directory_version = (*snapshot)->version();
  if (!parts.listening) return MetricsText(now);
  now.detectors = parts.detectors->stats();
  now.running = parts.pipeline->running();
  now.answer_bytes = parts.pipeline->answer_bytes();
  now.requests = parts.pipeline->counts();
  now.replicas = parts.pool->stats();
  const auto add = [&now](const char* surface, const net::Listener& listener) {
    now.connections.push_back({surface, listener.open(), listener.refused()});
  };
  if (parts.grpc) add("grpc", parts.grpc->listener());
  if (parts.http) add("http", parts.http->listener());
  if (parts.admin_server) add("admin", parts.admin_server->listener());
  if (parts.probes) add("probes", parts.probes->listener());
  if (parts.http) now.http_body_bytes = parts.http->body_bytes();
  return MetricsText(now);
}

void FillStatus(const Parts& parts, v1::StatusReply& status) {
  status.set_build(parts.build);
  status.set_instance_id(parts.journal->instance().ToString());
  status.set_started_us(base::ToMicros(parts.started));
  status.set_log_id(parts.journal->log_id());
  const audit::Health journal = parts.journal->health();
  status.set_journal(journal.state == audit::Health::State::kGood ? "good" : journal.reason);
  status.set_running(parts.pipeline->running());
  for (const inference::ReplicaStats& replica : parts.pool->stats()) {
    v1::ModelStatus* model = status.add_models();
    model->set_name(replica.model);
    model->set_running(replica.running);
    model->set_queued(replica.waiting);
    model->set_slots(replica.slots);
    model->set_ready(replica.ready);
    model->set_restarts(replica.engine_restarts);
  }
  for (const std::string& reason : NotReady(parts)) status.add_not_ready(reason);
}

}  // namespace tollgate::serve
