// RecordedReply: what a model wrote, as far as its request's records hold it: what left, with what stands there for something undone, and
// what did not leave. Pure; any thread.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/verdict.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

struct RecordedText {
  policy::Channel channel;
  std::string_view field;  // As in Span: "text", "reasoning" or "tool_calls".
  std::string text;        // Never empty. Of a call: its arguments …
  bool decoded = false;    // … with their escapes decoded; as they were written is not known.
};

struct RecordedChoice {
  enum class End { kWhole, kBlocked, kBrokenOff };
  int index = 0;
  End end = End::kWhole;
  std::vector<RecordedText> texts;  // In the order in which they are judged: thought, text, calls.
};

struct RecordedReply {
  std::vector<RecordedChoice> choices;
  std::set<std::string> gaps;  // What is not known of it, by the names of ReplyGap.why.
};

// `end`: of its FINAL or ABORT. `contents`: of each SEGMENT in their order, then that record's own.
RecordedReply RecordedReplyOf(const tollgate::v1::EndBody& end, std::span<const tollgate::v1::SealedContent* const> contents);

}  // namespace tollgate::pipeline
