// The bodies of successful answers, in OpenAI's form, to the byte. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "gateway/pipeline/call.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::http_front {

// What every completion object repeats.
struct CompletionHead {
  std::string id;  // "chatcmpl-<request id>".
  std::string model;
  std::int64_t created_s = 0;
  std::string system_fingerprint;
};

// The first of a reply's choices as a piece, and how each ended.
pipeline::OutputPiece FirstOf(const pipeline::Reply& reply);
tollgate::v1::FinishReason FinishOf(const pipeline::Reply& reply, int choice);

// {"id":…,"object":"chat.completion",…}. `logprobs`: they were asked for, so that they are an object, even an empty one, and not null.
std::string CompletionBody(const CompletionHead& head, const pipeline::Reply& reply, bool logprobs = false);

// The server-sent events of one stream, each "data: …\n\n". With `include_usage` every chunk has "usage":null and UsageEvent comes last.
class ChunkEvents {
 public:
  ChunkEvents(CompletionHead head, bool include_usage, bool logprobs = false);

  std::string Role(int choice = 0) const;  // The first: {"role":"assistant","content":""}.
  // Thought, text and calls, an event each; of a call its name comes first, then its arguments. "" for a piece of nothing.
  std::string Piece(const pipeline::OutputPiece& piece) const;
  std::string Text(std::string_view text, const pipeline::Logprobs& logprobs = {}, int choice = 0) const;
  std::string Finish(const pipeline::Reply& reply) const;           // Of each choice, an event: why it ended.
  std::string Usage(const tollgate::v1::TokenCounts& usage) const;  // choices: []; empty without include_usage.

 private:
  std::string Event(int choice, std::string_view delta, std::string_view logprobs, std::string_view end = "null",
                    std::string_view beside = "") const;

  std::string prefix_;  // Up to "choices":.
  std::string suffix_;  // After choices.
  bool logprobs_;
};

inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";
// One line between events. An empty line behind it would end an event without data, which ends the stream for OpenAI's SDK for Go before
// v3.43.
inline constexpr std::string_view kKeepAliveComment = ": keep-alive\n";

std::string ModelBody(const tollgate::v1::Model& model);
std::string ModelListBody(const tollgate::v1::ListModelsReply& models);

}  // namespace tollgate::http_front
