// The upstream engine: sequences that a fleet of servers computes, over HTTP (upstream.h). A slot is a request that may be under way.
#pragma once

#include <memory>

#include "base/clock.h"
#include "inference/engine.h"
#include "inference/pool.h"
#include "inference/tokenizer.h"

namespace tollgate::inference {

// INVALID_ARGUMENT or FAILED_PRECONDITION: what is wrong with model.upstream. That an endpoint answers is not asked for: a fleet may come
// up later than we do.
absl::StatusOr<std::unique_ptr<Engine>> MakeUpstreamEngine(const ModelOptions& model, std::unique_ptr<Tokenizer> tokenizer,
                                                           const base::Clock& clock);

}  // namespace tollgate::inference
