// The sequence goes to the pool as it went there the first time, but for its allowance: as many tokens as were decoded then, so that an
// answer that was cut off is made as far. What comes is compared token by token; an answer that had come to its own end must do so again.
//
// Tested by tests/gateway/admin/answer_replay_test.cpp.
#include "gateway/pipeline/answer_again.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

constexpr std::chrono::minutes kTime{10};
constexpr std::chrono::minutes kEndTime{1};      // For the engine to end it after that.
constexpr std::chrono::milliseconds kLook{100};  // How late a call that was given up is seen.

// What came of a run in the pool.
struct Made {
  std::vector<std::int32_t> tokens;
  inference::StreamEnd end;
};

struct Signal {
  std::mutex mu;
  std::condition_variable cv;
  bool set = false;
};

// False: it hangs.
bool WaitFor(inference::TokenStream& stream, const std::function<absl::Status()>& keep_going, steady_clock::time_point patience) {
  const auto signal = std::make_shared<Signal>();
  stream.NotifyOnce([signal] {
    std::lock_guard lock(signal->mu);
    signal->set = true;
    signal->cv.notify_one();
  });
  while (steady_clock::now() < patience) {
    if (!keep_going().ok()) stream.Cancel();
    std::unique_lock lock(signal->mu);
    if (signal->cv.wait_for(lock, kLook, [&] { return signal->set; })) return true;
  }
  return false;
}

Made TakeAll(inference::TokenStream& stream, const std::function<absl::Status()>& keep_going) {
  const auto patience = steady_clock::now() + kTime + kEndTime;
  Made made;
  for (;;) {
    inference::Piece piece;
    const inference::Taken taken = stream.Take(piece);
    for (const inference::OutputToken& token : piece.tokens) made.tokens.push_back(token.id);
    if (taken == inference::Taken::kEnd) break;
    if (taken != inference::Taken::kEmpty || WaitFor(stream, keep_going, patience)) continue;
    made.end.reason = inference::EndReason::kEngineFailed;
    made.end.status = base::Unavailable("the engine hangs: restart this instance, or unload the model and load it again");
    made.end.tokens_decoded = stream.tokens_decoded();
    return made;
  }
  made.end = stream.end();
  return made;
}

bool EndedByItself(const inference::StreamEnd& end) {
  return end.reason == inference::EndReason::kStop || end.reason == inference::EndReason::kLength;
}

std::string Upper(std::string_view name) {
  std::string text(name);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

void Compare(const v1::StrictOutput& recorded, const Made& made, v1::ReplayReply& reply) {
  v1::ReplayOutcome& outcome = *reply.mutable_outcome();
  const bool whole = EndedByItself(made.end) || made.end.reason == inference::EndReason::kAllowance;
  const auto& then = recorded.tokens();
  const auto equal = std::mismatch(then.begin(), then.end(), made.tokens.begin(), made.tokens.end()).first - then.begin();
  const bool all_there = equal == then.size();
  const bool all_made = equal == static_cast<std::ptrdiff_t>(made.tokens.size());
  const bool same = all_there && (!recorded.complete() || (all_made && EndedByItself(made.end)));
  outcome.set_equal_tokens(equal);
  if (same) {
    outcome.set_verdict("same");
    reply.set_message(fmt::format("same: all {} tokens{}", equal, recorded.complete() ? "" : " that were recorded before it was cut off"));
  } else if (!whole && all_made) {
    outcome.set_verdict("impossible");
    outcome.set_reason(Upper(inference::Name(made.end.reason)));
    reply.set_message(fmt::format("it could not be made again to its end: {}", base::Message(made.end.status)));
  } else {
    outcome.set_verdict("differs");
    reply.set_message(fmt::format("differs at token {}{}", equal + 1,
                                  all_there ? ", behind the last one that is on record" : fmt::format(" of {}", then.size())));
  }
}

}  // namespace

Obstacle ObstacleIn(const inference::Pool& pool, const v1::RequestBody& recorded, std::string_view build, v1::ReplayReply& reply) {
  const auto model = pool.Find(recorded.model());
  if (!model.ok()) return {"MODEL_NOT_LOADED", fmt::format("model {} is not loaded here; load it, with strict", recorded.model())};
  if (model->strict) *reply.mutable_here() = RunOf(*model->strict, build);
  return ObstacleTo(recorded, *model, build);
}

absl::Status MakeAgain(inference::Pool& pool, const Recorded& recorded, const std::function<absl::Status()>& keep_going,
                       v1::ReplayReply& reply) {
  inference::SequenceRequest sequence = SequenceOf(recorded.request, recorded.input);
  sequence.tenant = recorded.tenant;
  sequence.key = recorded.key;
  sequence.allowance = recorded.end.tokens().output();
  sequence.allowance_final = true;
  sequence.deadline = steady_clock::now() + kTime;
  TG_ASSIGN(const auto stream, pool.Submit(std::move(sequence)));
  const Made made = TakeAll(*stream, keep_going);
  Compare(recorded.output, made, reply);
  v1::TokenCounts& tokens = *reply.mutable_outcome()->mutable_tokens();
  tokens.set_input(made.end.input_tokens_evaluated);
  tokens.set_output(made.end.tokens_decoded);
  return absl::OkStatus();
}

}  // namespace tollgate::pipeline
