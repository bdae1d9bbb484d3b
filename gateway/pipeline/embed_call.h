// Calls for vectors and for relevance, and their answers, as they cross between front ends and the pipeline. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/pipeline/call.h"
#include "inference/embed.h"
#include "tollgate/v1/embeddings.pb.h"

namespace tollgate::pipeline {

// Texts of a call: 1 to this.
constexpr std::int64_t kEmbedTextsMax = inference::kEmbedJobInputsMax;

// The vectors are one after the other, each `dimensions` long, and on record by their digest.
struct EmbedAnswer {
  ReplyHead head;
  std::vector<float> numbers;
  std::int64_t dimensions = 0;
  tollgate::v1::EmbedEnd end;
  std::int64_t overhead_us = 0;  // Time in Tollgate without the engine.
  Room room{};
};

struct RerankAnswer {
  ReplyHead head;
  std::vector<tollgate::v1::RankedDocument> results;
  tollgate::v1::EmbedEnd end;
  std::int64_t overhead_us = 0;
  Room room{};
};

}  // namespace tollgate::pipeline
