// One check an option.
//
// Tested by tests/inference/pool_limits_test.cpp.
#include "inference/model_checks.h"

#include <fmt/format.h>

namespace tollgate::inference {
namespace {

absl::Status CheckRange(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{} is {}; it must be between {} and {}", field, value, least, most));
}

absl::Status CheckCells(const ModelOptions& model) {
  if (model.kv_tokens == 0) return absl::OkStatus();
  if (model.engine == EngineKind::kOpenAi || model.pooling != Pooling::kNone)
    return base::Unimplemented(
        "cells are shared by sequences that chat in this process: leave kv_tokens out with engine openai and pooling");
  const std::int64_t all = model.slots * model.context_tokens;
  if (model.kv_tokens >= model.context_tokens && model.kv_tokens < all) return absl::OkStatus();
  return base::InvalidArgument(
      fmt::format("kv_tokens is {}; it must be at least context_tokens, {}, so that one request can use all of its own, "
                  "and less than slots x context_tokens, {}: from there on leave it out, and each slot has its own",
                  model.kv_tokens, model.context_tokens, all));
}

}  // namespace

absl::Status CheckModel(const ModelOptions& model) {
  if (model.name.empty()) return base::InvalidArgument("it has no name");
  if (model.engine != EngineKind::kScripted && model.file.empty()) return base::InvalidArgument("it names no file");
  if (model.strict && (model.engine == EngineKind::kOpenAi || model.pooling != Pooling::kNone))
    return base::Unimplemented(
        "strict answers are of models that chat in this process: leave strict out with engine openai and with pooling");
  TG_RETURN_IF_ERROR(CheckRange("slots", model.slots, 1, 256));
  TG_RETURN_IF_ERROR(CheckRange("context_tokens", model.context_tokens, 16, 1 << 24));
  TG_RETURN_IF_ERROR(CheckRange("slots x context_tokens", model.slots * model.context_tokens, 16, 1 << 30));
  TG_RETURN_IF_ERROR(CheckCells(model));
  TG_RETURN_IF_ERROR(CheckRange("threads", model.threads, 0, 512));
  TG_RETURN_IF_ERROR(CheckRange("step_tokens_max", model.step_tokens_max, 16, 4096));
  TG_RETURN_IF_ERROR(CheckRange("step_target, in ms,", model.step_target.count(), 1, 10'000));
  TG_RETURN_IF_ERROR(CheckRange("queue_sequences_max", model.queue_sequences_max, 0, 100'000));
  TG_RETURN_IF_ERROR(CheckRange("queue_timeout, in ms,", model.queue_timeout.count(), 1, 3'600'000));
  TG_RETURN_IF_ERROR(CheckRange("prefix_cache_bytes", model.prefix_cache_bytes, 0, 1LL << 40));
  if (!(model.cached_token_share >= 0 && model.cached_token_share <= 1))
    return base::InvalidArgument(fmt::format("cached_token_share is {}; it must be between 0 and 1", model.cached_token_share));
  return CheckRange("stream_buffer_bytes", model.stream_buffer_bytes, 1, 1 << 24);
}

}  // namespace tollgate::inference
