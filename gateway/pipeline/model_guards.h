// ModelGuards: one request's questions to models (guards, and those that embed for a topic), run in the pool on the caller's behalf.
// Questions to detectors outside go on to those who answer them.
//
// A guard's call goes to the pool and to nothing else: no policy judges it, so no guard is guarded. Its tokens are held in the request's
// own reservation before it runs, in the windows that the request stands in, and are metered apart: a line a model, at that model's price.
// What a quota does not leave room for is no verdict. Whose tokens they are, the org's allow-list decides, not the caller's: a guard acts
// for the org. All runs on the request's coroutine; what the pool gives wakes it.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/async/event.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/questions.h"
#include "gateway/pipeline/topic_guard.h"
#include "inference/token_stream.h"
#include "inference/types.h"
#include "metering/quotas.h"
#include "policy/guard_model.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

struct Shared;

class ModelGuards final : public Answerers {
 public:
  static constexpr std::size_t kContextBytesMax = 4 << 10;  // Of the prompt beside a reply that is judged: its end.
  static constexpr std::size_t kSaidBytesMax = 2 << 10;     // Of an answer, for the record.

  // Everything outlives it. `prompt`: as the request uses it; a guard that judges the reply is shown its last message.
  ModelGuards(Shared& shared, const identity::Principal& principal, const base::RequestId& request, async::Event& event,
              metering::Reservation& reservation, const std::vector<policy::Message>& prompt);

  // Tokens that it may use beside the reservation: of work that nobody is billed for.
  void AllowUnbilled(std::int64_t tokens) { spare_ += tokens; }

  // Tokens of the reservation that nobody needs at the moment. Guards and the replies they judge have them in common, so that none is
  // left unused while another lacks it.
  void GiveSpare(std::int64_t tokens) { spare_ += tokens; }
  std::int64_t spare() const { return spare_; }
  // As many as there are, at most.
  std::int64_t TakeSpare(std::int64_t most) {
    const std::int64_t taken = std::min(spare_, most);
    spare_ -= taken;
    return taken;
  }

  // As Answerers. Of a guard model nothing happens before the next Turn.
  void Ask(QuestionAsk ask, std::function<void(QuestionAnswer)> done) override;

  // Starts what was asked and takes what has come. Call it whenever the event was notified, and before each wait.
  async::Awaitable<void> Turn();
  bool idle() const { return waiting_.empty() && running_.empty(); }  // Turn would do nothing.
  // When the next answer is late.
  std::chrono::steady_clock::time_point NextWake() const;
  // Ends what runs, and waits for its exact tokens. The last call.
  async::Awaitable<void> Stop();

  // What was used so far by calls that have ended, with amounts.
  std::vector<tollgate::v1::GuardUsage> usage() const;

 private:
  struct Line {
    inference::ModelInfo model;
    tollgate::v1::GuardUsage usage;
  };
  struct Call {
    QuestionAsk ask;
    std::function<void(QuestionAnswer)> done;  // Empty once answered.
    std::chrono::steady_clock::time_point deadline;
    bool own_deadline = false;  // It is the guard's, not the caller's.
    bool owes_end = false;      // The breaker let it go and does not know its end yet.
    std::size_t line = 0;
    std::shared_ptr<inference::TokenStream> stream{};
    std::int64_t prompt_tokens = 0, held = 0;
    policy::GuardReply reply{};
    TopicJob topic{};  // Of a question about a topic; its inputs are gone once the job is submitted.
    bool ended = false;

    const policy::Question& question() const { return ask.question; }
    std::int64_t answer_tokens() const { return question().guard != nullptr ? question().guard->answer_tokens : 0; }
    const char* kind() const { return question().guard != nullptr ? "guard model" : "embedding model"; }
  };

  absl::StatusOr<inference::ModelInfo> Find(const std::string& name) const;
  absl::StatusOr<std::size_t> LineOf(const std::string& name);
  std::vector<policy::Message> MessagesOf(const QuestionAsk& ask) const;
  bool Large(const std::vector<policy::Message>& messages) const;
  async::Awaitable<absl::Status> Begin(Call& call);
  async::Awaitable<absl::Status> Render(Call& call, std::vector<std::int32_t>& prompt);
  async::Awaitable<absl::Status> CutForTopic(Call& call);
  async::Awaitable<absl::Status> Hold(Call& call);
  absl::StatusOr<std::shared_ptr<inference::TokenStream>> Submit(Call& call, std::vector<std::int32_t> prompt);
  absl::StatusOr<std::shared_ptr<inference::TokenStream>> SubmitTopic(Call& call);
  void Take(Call& call);
  void Count(Call& call, bool hung);
  static void CountServer(Line& line, const inference::StreamEnd& end);
  void Tell(Call& call, std::optional<bool> answered);
  std::string BreakerOf(const Call& call) const;
  QuestionAnswer AnswerOf(const Call& call) const;
  QuestionAnswer TopicAnswerOf(const Call& call) const;
  void Answer(Call& call, QuestionAnswer answer);
  void Fail(Call& call, std::string why);

  Shared& shared_;
  const Collaborators& with_;
  const identity::Principal& principal_;
  const base::RequestId request_;
  async::Event& event_;
  metering::Reservation& reservation_;
  const std::vector<policy::Message>& prompt_;
  std::deque<std::unique_ptr<Call>> waiting_;
  std::vector<std::unique_ptr<Call>> running_;
  std::deque<Line> lines_;
  std::int64_t spare_ = 0;  // Held or unbilled, and not needed by what runs.
};

}  // namespace tollgate::pipeline
