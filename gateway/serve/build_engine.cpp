// What computes and decides. Tested by tests/e2e, which start the program.
#include <fmt/format.h>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <functional>

#include "base/encoding.h"
#include "gateway/serve/detectors.h"
#include "gateway/serve/parts.h"
#include "gateway/serve/stop_signals.h"
#include "gateway/serve/upstream.h"
#include "tollgate/v1/system.pb.h"

namespace tollgate::serve {

namespace v1 = tollgate::v1;
using std::chrono::milliseconds;

namespace {

absl::StatusOr<inference::ModelOptions> ModelFrom(const v1::Config::Model& m, const std::string& salt_key,
                                                  const std::function<bool()>& go_on) {
  inference::ModelOptions model;
  model.name = m.name();
  if (m.engine() == "scripted") model.engine = inference::EngineKind::kScripted;
  if (m.engine() == "openai") {
    model.engine = inference::EngineKind::kOpenAi;
    TG_ASSIGN(model.upstream, UpstreamFrom(m, salt_key));
  }
  model.file = m.file();
  model.licence = m.licence();
  model.chat_template = m.chat_template();
  model.slots = m.slots();
  model.context_tokens = m.context_tokens();
  model.threads = m.threads();
  model.queue_sequences_max = m.queue_max();
  model.queue_timeout = milliseconds(m.queue_timeout_ms());
  model.kv = KvOf(m.kv());
  model.prefix_cache_bytes = m.prefix_cache_bytes();
  model.step_target = milliseconds(m.step_target_ms());
  model.pooling = inference::PoolingOf(m.pooling()).value_or(inference::Pooling::kNone);
  model.strict = m.strict();
  model.kv_tokens = m.kv_tokens();
  if (!m.sha256().empty()) {
    TG_ASSIGN(const std::string bytes, base::HexDecode(m.sha256()));
    base::Digest digest{};
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    model.sha256 = digest;
  } else if (!m.file().empty()) {
    TG_ASSIGN(model.sha256, inference::DigestOfFile(m.file(), go_on));
  }
  return model;
}

absl::Status LoadConfigured(Parts& parts, const v1::Config::Model& m, const std::function<bool()>& go_on) {
  TG_ASSIGN(inference::ModelOptions model, ModelFrom(m, parts.secrets->upstream_salt_key, go_on));
  model.device_sampling = DeviceSamplingOf(parts.config.pool().device_sampling());
  return parts.pool->Load(std::move(model));
}

pipeline::PipelineOptions PipelineFrom(const v1::Config& config, const std::string& build) {
  const auto& r = config.requests();
  pipeline::PipelineOptions options;
  options.build = build;
  options.append_timeout = milliseconds(config.journal().append_timeout_ms());
  options.deadline_default = milliseconds(r.deadline_default_ms());
  options.deadline_max = milliseconds(r.deadline_max_ms());
  options.segment = milliseconds(config.segment_ms());
  options.running_max = r.running_max();
  options.answer_bytes_max = r.answer_bytes_max();
  options.limits = {r.messages_max(), r.body_bytes_max()};
  options.limits.choices_max = r.choices_max();
  return options;
}

void BuildAdmin(Parts& parts) {
  const v1::Config& config = parts.config;
  admin::ChangesOptions changes{.postgres = PostgresFor(config, "tollgate_directory"),
                                .mac_key = parts.secrets->directory_mac_key,
                                .pepper = parts.secrets->pepper,
                                .on_change = [&parts](std::int64_t version) {
                                  parts.changed_version = version;
                                  parts.directory->Poke();
                                }};
  parts.changes = std::make_unique<admin::Changes>(std::move(changes), *parts.journal, base::SystemClock());
  admin::AdminOptions options{.threads = config.postgres().sessions(),
                              .audit_postgres = PostgresFor(config, "tollgate_reader"),
                              .verify_postgres = PostgresFor(config, "tollgate_verifier"),
                              .usage_postgres = PostgresFor(config, "tollgate_reader")};
  options.verify_postgres.statement_timeout = kReportTimeout;
  options.usage_postgres.statement_timeout = kReportTimeout;
  admin::AdminCollaborators with{.identity = parts.identity.get(),
                                 .directory = parts.directory.get(),
                                 .changes = parts.changes.get(),
                                 .journal = parts.journal.get(),
                                 .keys = parts.keys.get(),
                                 .clock = &base::SystemClock(),
                                 .io = parts.io.get(),
                                 .write_timeout = milliseconds(config.grpc().write_timeout_ms()),
                                 .models = parts.models.get(),
                                 .fill_status = [&parts](v1::StatusReply& status) { FillStatus(parts, status); },
                                 .gates = parts.gates.get(),
                                 .pool = parts.pool.get(),
                                 .build = parts.build,
                                 .pipeline = parts.pipeline.get()};
  for (const v1::Config::Detector& detector : parts.config.detectors()) with.detectors.push_back(detector.name());
  parts.admin = std::make_unique<admin::AdminServices>(std::move(options), std::move(with));
}

}  // namespace

absl::Status BuildEngine(Parts& parts) {
  const v1::Config& config = parts.config;
  inference::PoolOptions pool;
  pool.backends_dir = config.pool().backends_dir();
  pool.memory_bytes = config.pool().memory_bytes();
  if (config.pool().isolation() == "process") pool.isolation = inference::Isolation::kProcess;
  pool.worker.hung_after = milliseconds(config.pool().hung_after_ms());
  pool.worker.log_json = config.diagnostics().json();
  pool.go_on = [&parts] { return !parts.draining && !StopSignalPending(); };
  const std::function<bool()> go_on = pool.go_on;
  TG_ASSIGN(parts.pool, inference::Pool::Create(std::move(pool)));
  for (const v1::Config::Model& m : config.pool().models()) {
    TG_RETURN_IF_ERROR(GoOn());
    const absl::Status loaded = LoadConfigured(parts, m, go_on);
    if (absl::IsCancelled(loaded)) TG_RETURN_IF_ERROR(GoOn());
    TG_RETURN_IF_ERROR(loaded);
    ++parts.models_loaded;
  }
  ModelKeeperOptions keeper{.models_dir = config.pool().models_dir(),
                            .device_sampling = DeviceSamplingOf(config.pool().device_sampling()),
                            .drain = milliseconds(config.drain_ms())};
  parts.models = std::make_unique<ModelKeeper>(*parts.directory, *parts.pool, base::SystemClock(), std::move(keeper));
  parts.identity = std::make_unique<identity::Identity>(parts.secrets->pepper, parts.dev);
  parts.cpu = std::make_unique<boost::asio::thread_pool>(config.cpu_threads());
  TG_ASSIGN(std::vector<detectors::DetectorOptions> detectors, DetectorsFrom(config));
  TG_ASSIGN(parts.detectors, detectors::ExternalDetectors::Create(std::move(detectors)));
  pipeline::Collaborators with{.clock = &base::SystemClock(),
                               .directory = parts.directory.get(),
                               .identity = parts.identity.get(),
                               .quotas = parts.quotas.get(),
                               .journal = parts.journal.get(),
                               .keys = parts.keys.get(),
                               .pool = parts.pool.get(),
                               .answerers = parts.detectors.get(),
                               .io = parts.io->context().get_executor(),
                               .cpu = parts.cpu->get_executor(),
                               .options = PipelineFrom(config, parts.build),
                               .gates = parts.gates.get(),
                               .configured_models = {}};
  for (const v1::Config::Model& m : config.pool().models()) with.configured_models.insert(m.name());
  parts.pipeline = std::make_unique<pipeline::Pipeline>(std::move(with));
  BuildAdmin(parts);
  return absl::OkStatus();
}

}  // namespace tollgate::serve
