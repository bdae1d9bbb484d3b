// What the requests of one pipeline have in common. It is the pipeline's, and outlives them all.
#pragma once

#include <atomic>

#include "gateway/pipeline/breaker.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/refusals.h"
#include "gateway/pipeline/shadow.h"
#include "gateway/pipeline/topic_guard.h"

namespace tollgate::pipeline {

struct Shared {
  const Collaborators& with;
  Refusals& refusals;
  Breakers& breakers;  // Of guard models.
  ShadowCounts shadows{};
  TopicExamples topics{};
  std::atomic<bool> shutting_down{false};  // Requests under way end.
};

}  // namespace tollgate::pipeline
