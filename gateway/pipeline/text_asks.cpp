// A prompt is asked about at once, as Request::AskOthers does; a reply by a SemanticFilter over what rules have left of it, which cuts it
// into windows. Of several windows' answers the one that counts most is told.
//
// Tested by tests/gateway/pipeline/text_asks_test.cpp.
#include "gateway/pipeline/text_asks.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "gateway/pipeline/model_guards.h"
#include "gateway/pipeline/semantic_filter.h"
#include "gateway/pipeline/shared.h"
#include "gateway/pipeline/watch.h"

namespace tollgate::pipeline {

using std::chrono::steady_clock;

namespace {

// Each question is about a text that fits its model, and explanations come one at a time: no other bound is needed.
constexpr std::int64_t kTokensFree = std::int64_t{1} << 40;

class TextAsking {
 public:
  TextAsking(Shared& shared, const TextAsk& ask, const Cancellation& cancellation, async::Event& event)
      : shared_(shared),
        with_(shared.with),
        ask_(ask),
        cancellation_(cancellation),
        event_(event),
        deadline_(steady_clock::now() + with_.options.deadline_default),
        guards_(shared, ask.who, base::RequestId::New(), event, nobodys_, no_prompt_) {
    guards_.AllowUnbilled(kTokensFree);
    for (const policy::Question& question : ask.questions) {
      One& one = all_.emplace_back(One{question});
      one.heard.answer.id = question.id;
    }
  }

  async::Awaitable<absl::StatusOr<std::vector<policy::Heard>>> Run() {
    std::string broken_off;
    // As for any request; asked here because a stop must not keep people from having policies explained.
    const absl::Status may = ask_.who.snapshot->MayRun(ask_.who.place, "", with_.clock->Wall());
    if (may.ok()) {
      TG_CO_RETURN_IF_ERROR(Begin());
      absl::StatusOr<std::string> worked = co_await Work();
      co_await guards_.Stop();
      TG_CO_ASSIGN(broken_off, std::move(worked));
    } else {
      broken_off = base::Message(may);
    }
    std::vector<policy::Heard> out;
    for (One& one : all_) {
      const bool unsaid = one.answers == 0 || (one.out && WeightOf(one.question, one.heard.answer).first < kActs);
      if (unsaid) one.heard.answer.failure = broken_off;
      out.push_back(std::move(one.heard));
    }
    co_return out;
  }

 private:
  struct One {
    const policy::Question& question;
    policy::Heard heard = {};
    int answers = 0;
    bool out = false;  // It is being asked.
    steady_clock::time_point asked_at = {};
  };

  absl::Status Begin() {
    inbox_ = QuestionInbox::Make(guards_, with_.cpu, event_.Notifier());
    if (ask_.output) {
      static const auto all_pass = policy::PolicySet::Compile({});
      TG_RETURN_IF_ERROR(all_pass.status());
      reply_.emplace((*all_pass)->OpenOutput({}), ask_.policies, ask_.questions, /*streamed=*/false);
      TG_RETURN_IF_ERROR(reply_->Push(TextOf(ask_.text)).status());
      return reply_->Finish().status();
    }
    const auto messages = std::make_shared<const std::vector<policy::Message>>(1, ask_.text);
    for (const One& one : all_) {
      QuestionAsk ask;
      ask.question = one.question;
      ask.messages = messages;
      Send(std::move(ask));
    }
    return absl::OkStatus();
  }

  // Until all have answered. Why that was broken off, for those who have not.
  async::Awaitable<absl::StatusOr<std::string>> Work() {
    const std::string any_model;
    Watch watch(with_, ask_.who, any_model, cancellation_, shared_.shutting_down, deadline_);
    for (;;) {
      SendWindows();
      co_await guards_.Turn();
      TG_CO_ASSIGN(const bool more, TakeAnswers());
      if (more) continue;  // Another window may be due.
      if (std::none_of(all_.begin(), all_.end(), [](const One& one) { return one.out; })) co_return std::string();
      const auto stop = watch.MustStop("others were asked about the text");
      if (stop) co_return std::string(base::Message(stop->status));
      const auto wake = std::min(watch.NextLook(), guards_.NextWake());
      co_await event_.WaitUntil(wake);
    }
  }

  void SendWindows() {
    if (!reply_) return;
    for (QuestionAsk& ask : reply_->TakeAsks()) {
      std::vector<policy::Message> named = *ask.messages;
      named.front().name = ask_.text.name;
      ask.messages = std::make_shared<const std::vector<policy::Message>>(std::move(named));
      Send(std::move(ask));
    }
  }

  void Send(QuestionAsk ask) {
    ask.output = ask_.output;
    ask.model = ask_.model;
    ask.tenant = ask_.who.place.team->id.value.Bytes();
    ask.deadline = deadline_;
    One& one = Of(ask.question.id);
    one.asked_at = steady_clock::now();
    one.out = true;
    inbox_->Ask(std::move(ask));
  }

  absl::StatusOr<bool> TakeAnswers() {
    std::vector<QuestionAnswer> answers = inbox_->Take();
    for (QuestionAnswer& answer : answers) {
      One& one = Of(answer.answer.id);
      one.out = false;
      if (reply_) TG_RETURN_IF_ERROR(reply_->Answer(answer, 0));
      Keep(one, std::move(answer));
    }
    return !answers.empty();
  }

  // What acts counts most, then what could not be said, then what is nearest to acting.
  static constexpr int kActs = 2;
  static std::pair<int, std::int64_t> WeightOf(const policy::Question& question, const policy::Answer& answer) {
    if (!answer.failure.empty()) return {1, 0};
    return {answer.hit && answer.score_millionths >= question.least_score_millionths ? kActs : 0, answer.score_millionths};
  }

  static void Keep(One& one, QuestionAnswer answer) {
    policy::Heard& heard = one.heard;
    heard.millis += std::chrono::duration<double, std::milli>(steady_clock::now() - one.asked_at).count();
    heard.input_tokens += answer.input_tokens;
    heard.output_tokens += answer.output_tokens;
    const bool first = one.answers++ == 0;
    if (!first && WeightOf(one.question, answer.answer) <= WeightOf(one.question, heard.answer)) return;
    if (!first) answer.answer.spans.clear();  // They count from where a window begins.
    heard.answer = std::move(answer.answer);
    heard.category = std::move(answer.category);
  }

  One& Of(const std::string& id) {
    return *std::find_if(all_.begin(), all_.end(), [&](const One& one) { return one.question.id == id; });
  }

  Shared& shared_;
  const Collaborators& with_;
  const TextAsk& ask_;
  const Cancellation& cancellation_;
  async::Event& event_;
  const steady_clock::time_point deadline_;
  metering::Reservation nobodys_;
  const std::vector<policy::Message> no_prompt_;
  ModelGuards guards_;
  std::shared_ptr<QuestionInbox> inbox_;
  std::optional<SemanticFilter> reply_;  // Of a reply.
  std::vector<One> all_;
};

}  // namespace

async::Awaitable<absl::StatusOr<std::vector<policy::Heard>>> AskAboutText(Shared& shared, const TextAsk& ask,
                                                                          const Cancellation& cancellation, async::Event& event) {
  TextAsking asking(shared, ask, cancellation, event);
  co_return co_await asking.Run();
}

}  // namespace tollgate::pipeline
