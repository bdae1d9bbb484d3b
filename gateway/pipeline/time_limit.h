// How long a request may take, and what its caller can do about it. Pure; thread-safe.
#pragma once

#include <chrono>
#include <string>

#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"

namespace tollgate::pipeline {

struct TimeLimit {
  std::chrono::steady_clock::time_point at;
  bool asked = false;  // By the caller, or by how long its client waits.
  std::string remedy;  // For whoever met it: "allow more time, or ask for less".
};

// Of a request that begins `now`: what its caller asks for, else deadline_default, or a little less than its client waits where that is
// more; deadline_max at most.
TimeLimit TimeLimitOf(const Caller& caller, const PipelineOptions& options, std::chrono::steady_clock::time_point now);

}  // namespace tollgate::pipeline
