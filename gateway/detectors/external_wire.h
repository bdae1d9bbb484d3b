// The bytes of a question to an external detector, and of its answer (docs/policy.md has both). Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "gateway/pipeline/questions.h"

namespace tollgate::detectors {

inline constexpr std::size_t kAnswerBytesMax = 64 << 10;

std::string QuestionText(const pipeline::QuestionAsk& ask);

// INVALID_ARGUMENT, without content, for anything but what the format says: an answer that cannot be read is none.
absl::StatusOr<pipeline::QuestionAnswer> ReadAnswer(const pipeline::QuestionAsk& ask, std::string_view body);

}  // namespace tollgate::detectors
