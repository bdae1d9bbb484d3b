// SequenceRequest: what a sequence runs on, and its bounds. A plain value; Pool::Submit checks it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/uuid.h"
#include "inference/types.h"

namespace tollgate::inference {

struct SequenceRequest {
  std::string model;        // A model's name, or with adapters of its: "BASE:ADAPTER", "BASE:ADAPTER+ADAPTER".
  std::string fingerprint;  // FingerprintOf what the caller knows under this name, and put on record; empty: whatever it is.
  std::vector<std::int32_t> prompt_tokens;  // From Render of the same model; each is checked again. Not empty.
  SamplingParams sampling;
  std::vector<std::string> stop;      // At most 16, each 1 to 256 bytes of UTF-8.
  std::int64_t max_tokens = 0;        // The most output tokens, within the context; 0 = as many as it leaves.
  std::int64_t allowance = 0;         // Output tokens, 1 or more, that may be decoded before the next Allow; there it parks.
  bool allowance_final = false;       // There it ends instead.
  base::TeamId tenant;                // The unit of fairness.
  std::int64_t published_tokens = 0;  // The first so many of the prompt were published by …
  base::OrgId published_by;           // … for all its tenants: what is computed of them is kept for each of them.
  base::KeyId key;
  std::optional<base::MonoTime> deadline;  // Of the pool's clock.
  bool want_tokens = false;                // Pieces list their tokens.
  int logprobs = -1;                       // 0 to 20: pieces list their tokens with log-probabilities and so many alternatives.
  std::vector<LogitBias> logit_bias;       // At most 1024.
  bool json = false;                       // The output is one JSON object (cut off if a limit is met).
  std::string grammar;                     // The output follows this GBNF; grammar.h says what is allowed. Not with `json`.
  bool grammar_is_ours = false;            // JsonSchemaGrammar made it: grammar.h's bounds are for those that callers write.
  int band = kBandDefault;                 // 0 to 3: urgent ones get slots first; a tenant that gets none for 10 s moves up one.
  std::vector<std::int32_t> banned_first;  // The first output token will be none of these; where the model can rewind.
  double weight = 1;                       // With 2, tenant and key get twice the tokens of one with 1. 0.01 to 100.
  bool strict = false;                     // A strict answer: alone, in the lowest band. Its stream is not rewound.
  // It goes on for one of its tenant's that has ended: it takes the place that is kept for it, also on a model or with an adapter that is
  // being unloaded, or needs one in the queue, not its tenant's part; and waits there as long as its deadline allows (where it has one),
  // before its key's others.
  bool goes_on = false;
};

}  // namespace tollgate::inference
