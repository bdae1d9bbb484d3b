// There is one way from a request to a strict sequence, through the record: what is made again is then what was made. What decides an
// answer is compared part by part, the coarsest first, so that the obstacle that is told is the one to remove.
//
// Tested by tests/gateway/pipeline/strict_test.cpp.
#include "gateway/pipeline/strict.h"

#include <cmath>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/identity/permissions.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/records.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {

double Number(std::int64_t millionths) { return static_cast<double>(millionths) / 1e6; }

inference::SamplingParams ToSampling(const v1::SamplingInForce& s) {
  inference::SamplingParams params;
  params.temperature = Number(s.temperature_millionths());
  params.top_p = Number(s.top_p_millionths());
  params.top_k = s.top_k();
  params.min_p = Number(s.min_p_millionths());
  params.presence_penalty = Number(s.presence_penalty_millionths());
  params.frequency_penalty = Number(s.frequency_penalty_millionths());
  params.repeat_penalty = Number(s.repeat_penalty_millionths());
  params.seed = s.seed();
  return params;
}

std::string Short(std::string_view digest) { return base::HexEncode(digest).substr(0, 12); }

bool SameAdapters(const v1::RequestBody& recorded, const inference::ModelInfo& here) {
  v1::RequestBody now;
  FillAdapters(here, now.mutable_adapters());
  if (now.adapters_size() != recorded.adapters_size()) return false;
  for (int i = 0; i < now.adapters_size(); ++i) {
    const v1::AdapterInForce &a = now.adapters(i), &b = recorded.adapters(i);
    if (a.name() != b.name() || a.sha256() != b.sha256() || a.scale_millionths() != b.scale_millionths()) return false;
  }
  return true;
}

std::string Setup(const v1::StrictRun& run) {
  return fmt::format("{} threads, prompts in chunks of {} tokens, a context of {} in {}", run.threads(), run.chunk_tokens(),
                     run.context_tokens(), run.kv());
}

}  // namespace

absl::Status ValidateStrict(const v1::ChatRequest& request) {
  if (!v1::Replay_IsValid(request.replay())) return BadField("replay", "must be strict, or left out");
  if (!IsStrict(request)) return absl::OkStatus();
  if (request.choices() > 1) return BadField("n", "must be 1 where replay is strict: a strict answer is made alone");
  if (request.max_reasoning_tokens() > 0)
    return BadField("max_reasoning_tokens", "is not allowed where replay is strict: a thought that is closed is an answer in two parts");
  return absl::OkStatus();
}

absl::Status ValidateStrictFor(const v1::ChatRequest& request, const inference::ModelInfo& model) {
  if (!IsStrict(request) || model.strict) return absl::OkStatus();
  if (model.engine == "openai") {
    return BadField("replay",
                    fmt::format("cannot be strict: {} runs on other servers (engine openai), where nothing of that can be pinned; use "
                                "a model that runs here",
                                model.name),
                    "STRICT_UNAVAILABLE");
  }
  return BadField("replay",
                  fmt::format("cannot be strict: {} gives no strict answers; ask its operator to load it with strict, or use another model",
                              model.name),
                  "STRICT_UNAVAILABLE");
}

absl::Status MayUseStrict(const identity::Principal& principal, const v1::ChatRequest& request) {
  const bool may = identity::ReachOf(*principal.place.key, identity::Permission::kUseStrict) != identity::Reach::kNone;
  if (!IsStrict(request) || may) return absl::OkStatus();
  return base::WithDetail(
      base::PermissionDenied("replay: this key has no role that may ask for strict answers; ask for a key with the role "
                             "evidence, or leave replay out"),
      {.reason = "ROLE_NOT_GRANTED", .param = "replay", .may_retry = false});
}

v1::StrictRun RunOf(const inference::StrictSetup& setup, std::string_view build) {
  v1::StrictRun run;
  run.set_build(std::string(build));
  run.set_engine_build(setup.engine_build);
  run.set_processor(setup.processor);
  run.set_threads(setup.threads);
  run.set_chunk_tokens(setup.chunk_tokens);
  run.set_context_tokens(setup.context_tokens);
  run.set_kv(setup.kv);
  return run;
}

v1::StrictInput InputOf(const inference::SequenceRequest& sequence) {
  v1::StrictInput input;
  input.mutable_prompt_tokens()->Add(sequence.prompt_tokens.begin(), sequence.prompt_tokens.end());
  for (const std::string& stop : sequence.stop) input.add_stop(stop);
  input.set_max_tokens(sequence.max_tokens);
  input.set_json(sequence.json);
  input.set_grammar(sequence.grammar);
  input.set_grammar_is_ours(sequence.grammar_is_ours);
  return input;
}

inference::SequenceRequest SequenceOf(const v1::RequestBody& request, const v1::StrictInput& input) {
  inference::SequenceRequest sequence;
  sequence.model = request.model();
  sequence.prompt_tokens.assign(input.prompt_tokens().begin(), input.prompt_tokens().end());
  sequence.sampling = ToSampling(request.sampling());
  sequence.stop.assign(input.stop().begin(), input.stop().end());
  sequence.max_tokens = input.max_tokens();
  for (const v1::BiasInForce& bias : request.sampling().logit_bias())
    sequence.logit_bias.push_back({bias.token(), static_cast<float>(Number(bias.bias_millionths()))});
  sequence.json = input.json();
  sequence.grammar = input.grammar();
  sequence.grammar_is_ours = input.grammar_is_ours();
  sequence.want_tokens = true;
  sequence.strict = true;
  return sequence;
}

Obstacle ObstacleTo(const v1::RequestBody& recorded, const inference::ModelInfo& here, std::string_view build) {
  const std::string sha256(base::View(here.sha256));
  if (sha256 != recorded.model_sha256()) {
    return {"OTHER_WEIGHTS", fmt::format("model {} has other weights here: sha256 {}…, recorded {}…; load those that were recorded",
                                         here.name, Short(sha256), Short(recorded.model_sha256()))};
  }
  if (!SameAdapters(recorded, here)) {
    return {"OTHER_ADAPTERS",
            fmt::format("the adapters of {} are others here, act otherwise or were loaded in another order; load those that were "
                        "recorded, in their order",
                        here.name)};
  }
  if (!here.strict)
    return {"NOT_STRICT_HERE", fmt::format("model {} is loaded here without strict answers; load it with strict", here.name)};
  const v1::StrictRun &then = recorded.strict(), now = RunOf(*here.strict, build);
  if (now.build() != then.build() || now.engine_build() != then.engine_build()) {
    return {"OTHER_BUILD", fmt::format("it was made by tollgate {} with {}, and here runs {} with {}; run the build that was recorded",
                                       then.build(), then.engine_build(), now.build(), now.engine_build())};
  }
  if (now.processor() != then.processor()) {
    return {"OTHER_PROCESSOR", fmt::format("it was made on ({}), and this is ({}); replay it on a machine of the kind that was recorded",
                                           then.processor(), now.processor())};
  }
  if (Setup(now) != Setup(then))
    return {"OTHER_SETUP", fmt::format("it was made with {}, and here are {}; load the model as it was", Setup(then), Setup(now))};
  return {};
}

}  // namespace tollgate::pipeline
