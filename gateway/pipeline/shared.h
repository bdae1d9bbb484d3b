// What the requests of one pipeline have in common. It is the pipeline's, and outlives them all.
#pragma once

#include <atomic>

#include "gateway/pipeline/answer_room.h"
#include "gateway/pipeline/breaker.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/patience.h"
#include "gateway/pipeline/refusals.h"
#include "gateway/pipeline/shadow.h"
#include "gateway/pipeline/topic_guard.h"
#include "inference/embed.h"

namespace tollgate::pipeline {

// Of the numbers of an embedding, as floats and as the digits that leave; of a job of the largest kind.
constexpr std::int64_t kNumberBytes = 16;
constexpr std::int64_t kAnswerBytesMax = kNumberBytes * inference::kEmbedJobNumbersMax;
// Of a token with its log-probability, or of an alternative, as it leaves.
constexpr std::int64_t kLogprobBytes = 100;

struct Shared {
  const Collaborators& with;
  Refusals& refusals;
  Breakers& breakers;  // Of guard models.
  ShadowCounts shadows{};
  TopicExamples topics{};
  SlowPolicies slow{};
  AnswerRoom answers{with.options.answer_bytes_max, kAnswerBytesMax};
  std::atomic<bool> shutting_down{false};  // Requests under way end.
};

}  // namespace tollgate::pipeline
