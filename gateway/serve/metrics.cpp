// Families are put together anew for each scrape from counters that the rooms keep: nothing is registered, nothing is global.
// Tested by tests/gateway/serve/metrics_test.cpp.
#include "gateway/serve/metrics.h"

#include <algorithm>
#include <limits>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace tollgate::serve {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Families {
 public:
  void Counter(const char* name, const char* help, double value, std::vector<ClientMetric::Label> labels = {}) {
    ClientMetric metric;
    metric.counter.value = value;
    Add(name, help, MetricType::Counter, std::move(metric), std::move(labels));
  }
  void Gauge(const char* name, const char* help, double value, std::vector<ClientMetric::Label> labels = {}) {
    ClientMetric metric;
    metric.gauge.value = value;
    Add(name, help, MetricType::Gauge, std::move(metric), std::move(labels));
  }
  void Times(const char* name, const char* help, const inference::TimeHistogram& times, std::vector<ClientMetric::Label> labels) {
    ClientMetric metric;
    metric.histogram.sample_count = static_cast<std::uint64_t>(times.count());
    metric.histogram.sample_sum = static_cast<double>(times.sum_micros()) / 1e6;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < times.kBoundsMicros.size(); ++i) {
      below += static_cast<std::uint64_t>(times.counts()[i]);
      metric.histogram.bucket.push_back({below, static_cast<double>(times.kBoundsMicros[i]) / 1e6});
    }
    metric.histogram.bucket.push_back({metric.histogram.sample_count, std::numeric_limits<double>::infinity()});
    Add(name, help, MetricType::Histogram, std::move(metric), std::move(labels));
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  void Add(const char* name, const char* help, MetricType type, ClientMetric metric, std::vector<ClientMetric::Label> labels) {
    metric.label = std::move(labels);
    for (MetricFamily& family : families_) {
      if (family.name == name) {
        family.metric.push_back(std::move(metric));
        return;
      }
    }
    families_.push_back({name, help, type, {std::move(metric)}});
  }
  std::vector<MetricFamily> families_;
};

void AddJournal(Families& out, const audit::JournalStats& j) {
  out.Counter("tollgate_journal_records_total", "Audit records that are durable.", static_cast<double>(j.rows));
  out.Counter("tollgate_journal_batches_total", "Commits of the journal.", static_cast<double>(j.batches));
  out.Counter("tollgate_journal_commit_seconds_total", "Time in commits of the journal.", static_cast<double>(j.commit_us) / 1e6);
  out.Counter("tollgate_journal_refused_total", "Records refused because Postgres was away, slow or full.", static_cast<double>(j.refused));
  out.Counter("tollgate_journal_quarantined_total", "Records that could not be written for a fault of their own.",
              static_cast<double>(j.quarantined));
  out.Counter("tollgate_journal_reconnects_total", "Connections to Postgres that were made anew.", static_cast<double>(j.reconnects));
  out.Counter("tollgate_journal_in_doubt_total", "Commits whose fate had to be asked of the log's head.", static_cast<double>(j.in_doubt));
  out.Counter("tollgate_journal_adopted_logs_total", "Logs of dead instances that this one closed.", static_cast<double>(j.adopted_logs));
  out.Counter("tollgate_journal_recovered_requests_total", "Requests that a dead owner left open and that were closed.",
              static_cast<double>(j.recovered_requests));
  out.Gauge("tollgate_journal_queue_records", "Records that wait to be written.", static_cast<double>(j.queue_rows));
  out.Gauge("tollgate_journal_queue_bytes", "Bytes of records that wait to be written.", static_cast<double>(j.queue_bytes));
  out.Gauge("tollgate_journal_open_requests", "Requests on record without a terminal record.", static_cast<double>(j.open_requests));
}

void AddShadow(Families& out, const char* direction, const pipeline::ShadowCounts::Counts& counts) {
  for (const auto& [verdict, count] : {std::pair("same", counts.same), {"stricter", counts.stricter}, {"milder", counts.milder}}) {
    out.Counter("tollgate_policy_shadow_total", "Judgements of policies on trial as a shadow, beside what acted.",
                static_cast<double>(count), {{"direction", direction}, {"verdict", verdict}});
  }
}

void AddDetector(Families& out, const detectors::DetectorStats& d) {
  const std::vector<ClientMetric::Label> detector{{"detector", d.name}};
  out.Counter("tollgate_detector_asked_total", "Questions to an external detector.", static_cast<double>(d.asked), detector);
  out.Counter("tollgate_detector_hits_total", "Of those, answered with a hit.", static_cast<double>(d.hits), detector);
  out.Counter("tollgate_detector_failures_total", "Of those, not answered, not in time or not readably.", static_cast<double>(d.failures),
              detector);
  out.Counter("tollgate_detector_seconds_total", "Time from questions to their answers.", static_cast<double>(d.micros) / 1e6, detector);
  out.Gauge("tollgate_detector_running", "Questions under way.", static_cast<double>(d.running), detector);
  out.Gauge("tollgate_detector_resting",
            "1 while it is left alone, by all tenants' questions or by one's, because it failed again and again.", d.resting ? 1 : 0,
            detector);
}

void AddReplica(Families& out, const inference::ReplicaStats& r) {
  const std::vector<ClientMetric::Label> model{{"model", r.model}};
  out.Gauge("tollgate_pool_slots", "Sequences that can run at once.", r.slots, model);
  out.Gauge("tollgate_pool_running", "Sequences that hold a slot.", r.running, model);
  out.Gauge("tollgate_pool_parked", "Sequences that wait for quota or for their reader.", r.parked, model);
  out.Gauge("tollgate_pool_waiting", "Sequences that wait for a slot.", r.waiting, model);
  out.Gauge("tollgate_pool_kv_tokens", "Tokens in context.", static_cast<double>(r.kv_tokens_used), model);
  out.Gauge("tollgate_pool_kv_tokens_max", "Tokens that fit in context.", static_cast<double>(r.kv_tokens_total), model);
  out.Gauge("tollgate_pool_suspended", "Sequences that hold a slot, suspended since tokens in context ran short.", r.suspended, model);
  out.Gauge("tollgate_pool_suspended_bytes", "Memory that their states take.", static_cast<double>(r.suspended_bytes), model);
  out.Counter("tollgate_pool_preemptions_total", "Times that a sequence was suspended.", static_cast<double>(r.preemptions), model);
  out.Counter("tollgate_pool_recomputed_tokens_total", "Tokens worked through again, since there was no memory for a state.",
              static_cast<double>(r.recomputed_tokens), model);
  out.Gauge("tollgate_pool_fairness_gap_tokens", "Most and least served of the tenants that wait, apart by.",
            static_cast<double>(r.fairness_gap_tokens), model);
  out.Gauge("tollgate_pool_fairness_bound_tokens", "What that cannot exceed while all ask in one band.",
            static_cast<double>(r.fairness_bound_tokens), model);
  out.Gauge("tollgate_pool_prefix_cache_bytes", "Memory that kept prefixes take.", static_cast<double>(r.prefix_cache_bytes), model);
  out.Counter("tollgate_pool_steps_total", "Decode steps.", static_cast<double>(r.steps), model);
  out.Counter("tollgate_pool_adapter_changes_total", "Of those, with other LoRA adapters than the step before.",
              static_cast<double>(r.adapter_changes), model);
  out.Counter("tollgate_pool_step_seconds_total", "Time in decode steps.", static_cast<double>(r.step_micros) / 1e6, model);
  out.Counter("tollgate_pool_prompt_tokens_total", "Prompt tokens worked through.", static_cast<double>(r.prompt_tokens), model);
  out.Counter("tollgate_pool_cached_tokens_total", "Prompt tokens that a team's own earlier work saved.",
              static_cast<double>(r.cached_tokens), model);
  out.Counter("tollgate_pool_output_tokens_total", "Tokens decoded.", static_cast<double>(r.output_tokens), model);
  out.Counter("tollgate_pool_device_sampled_tokens_total", "Of those, chosen from the few logits that the device had found.",
              static_cast<double>(r.device_sampled), model);
  out.Counter("tollgate_pool_sequences_total", "Sequences that ended.", static_cast<double>(r.sequences), model);
  out.Counter("tollgate_pool_refused_total", "Sequences refused by a queue that was full, or full for their team.",
              static_cast<double>(r.refused), model);
  out.Counter("tollgate_pool_failed_total", "Sequences that the engine failed on.", static_cast<double>(r.failed), model);
  out.Gauge("tollgate_pool_ready", "1 but while the model's process is started again, or none of its servers can be reached.",
            r.ready ? 1 : 0, model);
  out.Counter("tollgate_pool_engine_restarts_total", "How often the model's process was started again.",
              static_cast<double>(r.engine_restarts), model);
}

void AddSpeed(Families& out, const inference::ReplicaStats& r) {
  const std::vector<ClientMetric::Label> model{{"model", r.model}};
  out.Times("tollgate_pool_queue_wait_seconds", "From a sequence's submission to its slot.", r.queue_wait, model);
  out.Times("tollgate_pool_first_token_seconds", "From a sequence's submission to its first output token.", r.first_token, model);
  out.Times("tollgate_pool_inter_token_seconds", "From one output token of a sequence to its next, but while it was parked.", r.inter_token,
            model);
  out.Times("tollgate_pool_step_duration_seconds", "Each decode step.", r.step, model);
  out.Gauge("tollgate_pool_prompt_tokens_per_second", "Prompt tokens worked through a second, over the last ten seconds.",
            r.prompt_tokens_per_second, model);
  out.Gauge("tollgate_pool_output_tokens_per_second", "Tokens decoded a second, over the last ten seconds.", r.output_tokens_per_second,
            model);
  out.Gauge("tollgate_pool_engine_efficiency", "The engine's share of the replica's working time, over the last ten seconds with work.",
            r.efficiency, model);
  out.Counter("tollgate_pool_busy_seconds_total", "Working time of the replica: the steps, and all that is done about them.",
              static_cast<double>(r.busy_micros) / 1e6, model);
  out.Counter("tollgate_pool_opened_total", "Sequences that got a slot.", static_cast<double>(r.opened), model);
  out.Counter("tollgate_pool_prefix_hits_total", "Of those, whose prompt began with what their team had kept.",
              static_cast<double>(r.prefix_hits), model);
}

void AddUpstream(Families& out, const inference::ReplicaStats& r) {
  const std::vector<ClientMetric::Label> model{{"model", r.model}};
  if (r.upstream.endpoints == 0) return;
  out.Gauge("tollgate_upstream_endpoints", "Servers of the model.", r.upstream.endpoints, model);
  out.Gauge("tollgate_upstream_usable", "Of those, healthy and with a closed circuit.", r.upstream.usable, model);
  out.Counter("tollgate_upstream_retries_total", "Requests tried again on another server, before the first token.",
              static_cast<double>(r.upstream.retries), model);
  out.Counter("tollgate_upstream_failures_total", "Requests that a server failed on.", static_cast<double>(r.upstream.failures), model);
  out.Counter("tollgate_upstream_input_tokens_differing_total", "Prompt tokens by which servers' counts and ours were apart, in sum.",
              static_cast<double>(r.upstream.input_tokens_differing), model);
  out.Counter("tollgate_upstream_output_tokens_differing_total", "Output tokens by which the servers' counts and ours were apart, in sum.",
              static_cast<double>(r.upstream.output_tokens_differing), model);
  out.Counter("tollgate_upstream_usage_differences_total", "Sequences whose tokens a server counted otherwise than we did; ours is billed.",
              static_cast<double>(r.upstream.usage_differences), model);
  out.Counter("tollgate_upstream_usage_missing_total", "Servers' answers that came whole without a count of their tokens.",
              static_cast<double>(r.upstream.usage_missing), model);
}

// What an endpoint picker of Kubernetes' Gateway API reads of each server that it may choose, under the names that its own settings have. A
// model that cannot answer now counts as full: it refuses at once, and would look like the one that has nothing to do.
void AddPickerGauges(Families& out, const std::vector<inference::ReplicaStats>& replicas) {
  double waiting = 0;
  double running = 0;
  double used = 0;
  double total = 0;
  for (const inference::ReplicaStats& r : replicas) {
    waiting += r.ready ? r.waiting : std::max(r.waiting, r.slots + r.queue_max);
    running += r.running;
    used += static_cast<double>(r.ready ? r.kv_tokens_used : r.kv_tokens_total);
    total += static_cast<double>(r.kv_tokens_total);
  }
  out.Gauge("vllm:num_requests_waiting", "Sequences of all models that wait for a slot; for endpoint pickers.", waiting);
  out.Gauge("vllm:num_requests_running", "Sequences of all models that hold a slot; for endpoint pickers.", running);
  out.Gauge("vllm:kv_cache_usage_perc", "Part of the context of all models that chat here that is in use, 0 to 1; for endpoint pickers.",
            total > 0 ? used / total : 0);
}

}  // namespace

std::string MetricsText(const Measurements& now) {
  Families out;
  out.Gauge("tollgate_build_info", "1; the label has the build.", 1, {{"build", now.build}});
  out.Gauge("tollgate_ready", "1 when /readyz says so.", now.ready ? 1 : 0);
  out.Gauge("tollgate_requests_running", "Requests under way.", static_cast<double>(now.running));
  out.Counter("tollgate_requests_total", "Requests for chats, vectors and relevance, refused callers included.",
              static_cast<double>(now.requests.requests));
  out.Counter("tollgate_requests_answered_total", "Those that ended with a reply.", static_cast<double>(now.requests.answered));
  out.Counter("tollgate_requests_failed_total", "Those that ended with an error, refusals included.",
              static_cast<double>(now.requests.failed));
  out.Counter("tollgate_requests_continued_total", "How often a fallback went on for a request that was on record.",
              static_cast<double>(now.requests.continued));
  out.Counter("tollgate_overhead_seconds_total", "Time of answered requests outside of the engine.",
              static_cast<double>(now.requests.overhead_us) / 1e6);
  out.Gauge("tollgate_directory_age_seconds", "Since the directory was last confirmed.", static_cast<double>(now.directory_age_ms) / 1e3);
  out.Gauge("tollgate_directory_version", "Version of the directory in force.", static_cast<double>(now.directory_version));
  for (const Connections& its : now.connections) {
    out.Gauge("tollgate_connections", "Open connections.", static_cast<double>(its.open), {{"surface", its.surface}});
    out.Counter("tollgate_connections_refused_total", "Connections closed at once for a limit, or for want of descriptors.",
                static_cast<double>(its.refused), {{"surface", its.surface}});
  }
  out.Gauge("tollgate_http_body_bytes", "Bodies that are being read, of http.memory_bytes_max.", static_cast<double>(now.http_body_bytes));
  out.Gauge("tollgate_answer_bytes", "Large answers to come, and that clients have not read yet, of requests.answer_bytes_max.",
            static_cast<double>(now.answer_bytes));
  AddShadow(out, "input", now.requests.shadow_input);
  AddShadow(out, "output", now.requests.shadow_output);
  for (const detectors::DetectorStats& detector : now.detectors) AddDetector(out, detector);
  AddJournal(out, now.journal);
  for (const inference::ReplicaStats& replica : now.replicas) {
    AddReplica(out, replica);
    AddSpeed(out, replica);
    AddUpstream(out, replica);
  }
  AddPickerGauges(out, now.replicas);
  return out.Text();
}

}  // namespace tollgate::serve
