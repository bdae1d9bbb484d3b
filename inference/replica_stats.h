// ReplicaStats: one moment of a loaded model, for metrics, routing and people. A plain value; the pool gives copies.
#pragma once

#include <cstdint>
#include <string>

#include "inference/time_histogram.h"
#include "inference/upstream.h"

namespace tollgate::inference {

struct ReplicaStats {
  std::string model;
  int slots = 0;
  int queue_max = 0;                 // Sequences that the queue may hold.
  int running = 0;                   // Sequences that hold a slot.
  int parked = 0;                    // Of those, waiting for Allow or for their reader.
  int suspended = 0;                 // Of those that hold a slot, without cells for now (ModelOptions::kv_tokens).
  int waiting = 0;                   // Sequences in the queue.
  bool full = false;                 // The queue would refuse the next sequence, whosever it is.
  std::int64_t kv_tokens_used = 0;   // Of slots x context_tokens, or of the cells that are shared.
  std::int64_t kv_tokens_total = 0;  // Both 0 of models that embed, which keep no context, and of models on servers, which keep it there.
  std::int64_t prefix_cache_bytes = 0;
  std::int64_t suspended_bytes = 0;  // Of states that suspended sequences come back from.
  std::int64_t steps = 0;            // Since the start, as all below.
  std::int64_t step_micros = 0;      // Time in steps.
  std::int64_t busy_micros = 0;      // Time of turns that had work: the steps, and all that the pool does about them.
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;      // Prompt tokens that a tenant's own earlier work saved, beside prompt_tokens.
  std::int64_t preemptions = 0;        // Times that a sequence was suspended.
  std::int64_t recomputed_tokens = 0;  // Worked through again since no state was kept; counted in nothing else.
  std::int64_t output_tokens = 0;
  std::int64_t device_sampled = 0;         // Of those, chosen from what the device had found (ModelOptions::device_sampling).
  std::int64_t opened = 0;                 // Sequences that got a slot,
  std::int64_t prefix_hits = 0;            // and of those, whose prompt began with what their tenant had kept.
  std::int64_t adapter_changes = 0;        // Steps with other adapters than the step before.
  std::int64_t sequences = 0;              // Ended, however.
  std::int64_t refused = 0;                // By a full queue, or one that is full for their tenant.
  std::int64_t failed = 0;                 // Ended with kEngineFailed.
  bool ready = true;                       // False while none of its servers can be reached, or its process is started again,
  std::int64_t engine_restarts = 0;        // which it was so often.
  std::int64_t fairness_gap_tokens = 0;    // Most and least served of the tenants that wait now, apart by.
  std::int64_t fairness_bound_tokens = 0;  // What that cannot exceed while all ask in one band.
  TimeHistogram queue_wait;                // From Submit to the slot.
  TimeHistogram first_token;               // From Submit to the first output token.
  TimeHistogram inter_token;               // From one output token to the next, but across a park.
  TimeHistogram step;                      // Each step.
  double prompt_tokens_per_second = 0;     // Over the last ten seconds or so,
  double output_tokens_per_second = 0;     // as this.
  double efficiency = 1;                   // The engine's share of the working time, when it last worked.
  UpstreamStats upstream;                  // Of an upstream engine.
};

}  // namespace tollgate::inference
