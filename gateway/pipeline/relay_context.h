// What a relay works on. Plain values.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "audit/seal.h"
#include "gateway/async/event.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/model_guards.h"
#include "gateway/pipeline/patience.h"
#include "gateway/pipeline/records.h"
#include "inference/pool.h"
#include "inference/token_stream.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

// What a relay works on. Everything outlives it.
struct RelayContext {
  const Collaborators& with;
  const Caller& caller;
  const identity::Principal& principal;
  const RecordIdentity& who;
  const std::string& model;
  std::int64_t input_tokens;
  const audit::RequestKey& key;
  Cancellation& cancellation;
  const std::atomic<bool>& shutting_down;
  async::Event& event;  // Notified on cancellation and shutdown; also used for the token stream.
  std::chrono::steady_clock::time_point deadline;
  const std::string& more_time;  // TimeLimit::remedy.
  const ReplyHead& head;
  StreamWriter* writer;      // Null: unary.
  ModelGuards& guards;       // Whom the plan's inboxes ask.
  std::int64_t output_held;  // Of the reservation: tokens for the output.
  std::string limited_by;    // Whose limit keeps that from being all of it, if one does.
  std::int64_t step;         // As many more are taken at once.
  Patience& patience;        // That policy asks: begun for each judgement.
  SlowPolicies& slow;
  const base::Digest& policies;  // Those that judge.
};

// How a thought is closed that has used up its tokens.
inline constexpr std::string_view kThoughtEnd = "\n</think>\n\n";

// Whether its grammar, which the pool reads on the thread that submits it, would hold up an I/O thread.
inline bool IsLongForm(const inference::SequenceRequest& sequence, const PipelineOptions& options) {
  return static_cast<std::int64_t>(sequence.grammar.size()) >= options.inspect_here_bytes;
}

// What every reply's sequence was submitted as, and where its thoughts end: for going on with a thought closed.
struct Sequences {
  inference::SequenceRequest request;
  std::vector<std::shared_ptr<inference::TokenStream>> streams;  // One a reply.
  std::int64_t thought_tokens_max = 0;                           // 0: no bound.
  std::int64_t context_tokens = 0;                               // Of the model.
  std::vector<std::int32_t> thought_end{};                       // The tokens that close one.
};

}  // namespace tollgate::pipeline
