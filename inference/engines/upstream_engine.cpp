// How it works. Everything happens on the replica's thread, inside Step and Idle: transfers move on, answers that ended are judged, tokens
// that came are given out. A step that has nothing to give waits a moment for the network. A parked sequence is simply not asked for; what
// its answer brings meanwhile is bounded by the tokens it was allowed.
//
// An answer asks for as many tokens as may stand (the allowance, max_tokens, the context), so that an upstream never computes what nobody
// reserved. When more is allowed later, the next request continues from the prompt and what stands; the same after a rewind. The token that
// would end a sequence is held until its answer is over, a second at most: closing the slot then keeps the connection, and the upstream's
// own count has come to be compared.
//
// Tested by tests/inference/upstream_engine_test.cpp, tests/inference/upstream_faults_test.cpp.
#include "inference/engines/upstream_engine.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/engines/upstream_slot.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds kWait{2};     // A slice of waiting in a step: how late a new sequence or a clock that tests move may be seen.
constexpr milliseconds kTail{1000};  // For the end of an answer whose tokens have all come.
// Of followers' steps, in one turn beside which everybody's tokens wait: some three milliseconds.
constexpr std::int64_t kTurnSteps = GrammarFollower::kWorkEach;

using Slot = UpstreamSlot;

// Followers of so many slots remember all that they may; those of more share that out.
constexpr int kSlotsInFull = 32;

class UpstreamEngine final : public Engine {
 public:
  UpstreamEngine(const ModelOptions& model, std::unique_ptr<Tokenizer> tokenizer, std::unique_ptr<UpstreamFleet> fleet,
                 const base::Clock& clock)
      : options_(fleet->options()),
        clock_(clock),
        tokenizer_(std::move(tokenizer)),
        slots_(static_cast<std::size_t>(model.slots)),
        fleet_(std::move(fleet)) {
    while (end_token_ + 1 < tokenizer_->tokens() && !tokenizer_->EndsTurn(end_token_)) ++end_token_;
    Describe(model);
  }

  ~UpstreamEngine() override {
    for (std::size_t i = 0; i < slots_.size(); ++i) Close(static_cast<int>(i));
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return 1 << 20; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return tokenizer_->Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return tokenizer_->Tokenize(text); }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return tokenizer_->RenderParts(parts);
  }

  absl::StatusOr<std::shared_ptr<CheckedGrammar>> CheckGrammar(std::string_view gbnf) const override {
    if (!info_.grammars) return Engine::CheckGrammar(gbnf);
    TG_ASSIGN(GrammarRules rules, ReadGrammar(gbnf));
    auto shared = std::make_shared<const GrammarRules>(std::move(rules));
    const int share = (info_.slots + kSlotsInFull - 1) / kSlotsInFull;
    return std::make_shared<ReadForm>(std::make_unique<GrammarFollower>(std::move(shared), share));
  }

  absl::StatusOr<EngineOpened> Open(int index, const EngineSequence& sequence) override {
    const auto prompt = sequence.prompt_tokens;
    Slot& slot = slots_[index].emplace();
    slot.prompt.assign(prompt.begin(), prompt.end());
    slot.sampling = sequence.sampling;
    slot.logit_bias.assign(sequence.logit_bias.begin(), sequence.logit_bias.end());
    slot.grammar = sequence.grammar;
    slot.call.form = !slot.grammar.empty();
    if (!slot.grammar.empty()) {
      std::shared_ptr<CheckedGrammar> read = sequence.read;
      if (read == nullptr) {
        TG_ASSIGN(read, CheckGrammar(slot.grammar));
      }
      slot.follower = std::move(static_cast<ReadForm&>(*read).follower);
    }
    slot.salt = fleet_->SaltOf(sequence.tenant);
    slot.affinity = UpstreamFleet::Affinity(slot.salt, prompt);
    slot.band = sequence.band;
    slot.reported.worked = false;
    slot.prompt_left = static_cast<std::int64_t>(prompt.size());
    return EngineOpened{};
  }

  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    given_.clear();
    bool progress = false;
    for (const EngineWork& item : work) {
      slots_[item.slot]->prompt_left -= item.prompt_tokens;
      progress = progress || item.prompt_tokens > 0;
    }
    Turn(work, outputs, milliseconds(0));
    if (outputs.empty() && !progress) Turn(work, outputs, kWait);
    return interrupted_.load(std::memory_order_acquire) ? base::Unavailable("the engine is shutting down") : absl::OkStatus();
  }

  absl::Status Rewind(int index, std::int64_t output_tokens, std::span<const std::int32_t> banned) override {
    Slot& slot = *slots_[index];
    Drop(slot);
    slot.output.resize(static_cast<std::size_t>(output_tokens));
    slot.banned.assign(banned.begin(), banned.end());
    return absl::OkStatus();
  }

  void Close(int index) override {
    if (slots_[index]) Drop(*slots_[index]);
    slots_[index].reset();
  }

  microseconds Idle() override {
    fleet_->Move(milliseconds(0));
    if (fleet_->transfers() > 0) return milliseconds(10);
    return std::chrono::seconds(1);
  }

  UpstreamStats upstream_stats() const override { return fleet_->stats(); }

  ReportedUsage Reported(int index) const override { return slots_[index] ? slots_[index]->reported : ReportedUsage(); }

  void Interrupt() override {
    interrupted_.store(true, std::memory_order_release);
    fleet_->Wake();
  }

 private:
  void Describe(const ModelOptions& model) {
    info_.name = model.name;
    info_.engine = "openai";
    info_.resumes = false;
    info_.licence = model.licence;
    info_.context_tokens = model.context_tokens;
    info_.slots = model.slots;
    info_.sha256 = tokenizer_->digest();
    info_.architecture = tokenizer_->architecture();
    info_.chat_template = tokenizer_->format();
    tokenizer_->Describe(info_);
    shown_ = tokenizer_->Shown();
    // Those of DeepSeek's are text to the servers' own tokenizers.
    info_.hides_calls = info_.tools == ToolStyle::kMistral && !ShowsControls(options_.kind);
    info_.grammars = TakesGrammars(options_.kind);
    info_.vocab_tokens = tokenizer_->tokens();
    info_.engine_build = fleet_->Build();
  }

  void Turn(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs, milliseconds wait) {
    for (const EngineWork& item : work) {
      Slot& slot = *slots_[item.slot];
      if (slot.prompt_left == 0 && slot.request == nullptr) Begin(item, slot, outputs);
    }
    fleet_->Move(outputs.empty() ? wait : milliseconds(0));
    for (auto& slot : slots_) {
      if (slot) Watch(*slot);
    }
    GiveAll(work, outputs);
  }

  // What is held to a form costs its follower's steps, and everybody waits for those: so there are only so many in a turn, for those first
  // that have used least of them. Something is given in each turn that has anything to give.
  void GiveAll(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) {
    held_.clear();
    for (const EngineWork& item : work) {
      Slot& slot = *slots_[item.slot];
      if (slot.follower != nullptr && slot.request != nullptr && !slot.request->tokens().empty()) {
        held_.push_back(item);
      } else {
        Give(item, slot, outputs);
      }
    }
    const auto credit = [this](const EngineWork& item) -> std::int64_t& { return slots_[item.slot]->credit; };
    for (const EngineWork& item : held_)
      credit(item) = std::min(credit(item) + kTurnSteps / static_cast<std::int64_t>(held_.size()), kTurnSteps);
    std::stable_sort(held_.begin(), held_.end(), [&](const auto& a, const auto& b) { return credit(a) > credit(b); });
    turn_left_ = kTurnSteps;
    const std::size_t before = outputs.size();
    for (const EngineWork& item : held_) {
      if (outputs.size() > before && (turn_left_ <= 0 || credit(item) <= 0)) return;
      Give(item, *slots_[item.slot], outputs);
    }
  }

  // Sends the slot's request to an endpoint that was not tried for it; where there is none, the slot fails.
  void Begin(const EngineWork& item, Slot& slot, std::vector<EngineOutput>& outputs) {
    const auto standing = static_cast<std::int64_t>(slot.output.size());
    if (standing >= item.output_max) return;
    if (standing > 0 && !slot.grammar.empty())
      return Fail(item.slot, outputs, base::Unimplemented("a server cannot go on within an answer that is held to a grammar"));
    const std::int64_t wanted = slot.banned.empty() ? item.output_max - standing : 1;
    if (const absl::Status sent = Send(slot, wanted); !sent.ok()) Fail(item.slot, outputs, sent);
  }

  absl::Status Send(Slot& slot, std::int64_t max_tokens) {
    std::vector<std::int32_t> prompt = slot.prompt;
    std::copy_if(slot.output.begin(), slot.output.end(), std::back_inserter(prompt), [](std::int32_t id) { return id != kUnknownToken; });
    const UpstreamAsk ask{.prompt = prompt,
                          .max_tokens = max_tokens,
                          .sampling = slot.sampling,
                          .logit_bias = slot.logit_bias,
                          .banned = slot.banned,
                          .grammar = slot.grammar,
                          .shown = shown_,
                          .cache_salt = slot.salt,
                          .priority = slot.band};
    if (slot.follower != nullptr) slot.follower->Restart();
    auto request = std::make_unique<UpstreamRequest>(*tokenizer_, static_cast<std::int64_t>(prompt.size()), max_tokens, end_token_,
                                                     UpstreamEventBytesMax(options_.kind, prompt.size()));
    TG_RETURN_IF_ERROR(fleet_->Send(slot.call, slot.affinity, "/v1/completions", UpstreamBody(options_, ask), *request));
    slot.request = std::move(request);
    slot.progress_at = clock_.Mono();
    slot.seen = 0;
    return absl::OkStatus();
  }

  // Notes progress, gives up what stalls, and tells the endpoints how a request ended.
  void Watch(Slot& slot) {
    if (slot.request == nullptr || !slot.call.under_way()) return;
    const base::MonoTime now = clock_.Mono();
    const bool told = slot.request->told_end();
    const std::int64_t come = slot.request->given() + (told ? 1 : 0);
    if (come > std::exchange(slot.seen, come)) {
      slot.progress_at = now;
      slot.reported.worked = true;
      fleet_->GotOn(slot.call);
    }
    if (slot.request->given() > 0) fleet_->Answers(slot.call);
    if (!slot.request->over()) {
      const bool begun = slot.request->given() > 0;
      const milliseconds patience = begun ? options_.stall_timeout : options_.first_token_timeout;
      if (now - slot.progress_at < (told ? std::min(kTail, patience) : patience)) return;
      GiveUp(slot, begun, told);
    }
    Judge(slot);
  }

  // A server that got on with others meanwhile is not what is broken. What it could not begin is then the form, where there is one, and
  // other servers would be held up by it as well.
  void GiveUp(Slot& slot, bool begun, bool told) {
    const bool others_got_on = !told && fleet_->OthersGotOn(slot.call, slot.progress_at);
    const bool the_form = !begun && slot.call.form && others_got_on;
    fleet_->Cancel(slot.call);
    slot.request->GiveUp(
        the_form ? SlowForm()
                 : base::Unavailable(begun ? "the upstream stopped in the middle of its answer" : "the upstream did not begin its answer"),
        others_got_on, !the_form);
  }

  static absl::Status SlowForm() {
    return base::WithDetail(
        base::Unavailable("the upstream did not begin an answer in this form, and went on with others meanwhile: ask for a simpler "
                          "schema or grammar, or for text; or try again when it has less to do"),
        {.may_retry = false});
  }

  void Judge(Slot& slot) {
    const UpstreamRequest& request = *slot.request;
    const auto failure = !request.endpoint_failed() ? UpstreamFleet::Failure::kNone
                         : request.silent()         ? UpstreamFleet::Failure::kSilence
                                                    : UpstreamFleet::Failure::kEndpoints;
    const std::size_t endpoint = fleet_->Ended(slot.call, request.status(), failure, request.wait());
    fleet_->Compare(endpoint,
                    {.reported_input = request.reported_input(),
                     .reported_output = request.reported_output(),
                     .sent = request.prompt_tokens(),
                     .given = request.seen(),
                     .whole = request.whole(),
                     .differs = request.usage_absurd()},
                    slot.reported);
  }

  void Give(const EngineWork& item, Slot& slot, std::vector<EngineOutput>& outputs) {
    if (slot.request == nullptr) return;
    UpstreamRequest& request = *slot.request;
    auto& tokens = request.tokens();
    while (!tokens.empty() && static_cast<std::int64_t>(slot.output.size()) < item.output_max) {
      const bool last = tokens.front().ends || (tokens.size() == 1 && request.all_given());
      if (last && !request.over() && clock_.Mono() - slot.progress_at < kTail) return;
      const std::int64_t spent = slot.follower == nullptr ? 0 : slot.follower->spent();
      if (const absl::Status read = Read(slot, tokens.front()); !read.ok()) return Fail(item.slot, outputs, read);
      UpstreamToken token = std::move(tokens.front());
      tokens.pop_front();
      slot.output.push_back(token.id);
      slot.banned.clear();
      EngineOutput& output = outputs.emplace_back();
      output.slot = item.slot;
      output.token = token.id;
      output.bytes = given_.emplace_back(std::move(token.bytes));
      output.ends = token.ends;
      if (slot.follower == nullptr) continue;
      const std::int64_t cost = slot.follower->spent() - spent;
      turn_left_ -= cost;
      slot.credit = std::max(slot.credit - cost, -GrammarFollower::kWorkMax);
      if (turn_left_ <= 0 || slot.credit <= 0) break;
    }
    if (request.over() && tokens.empty()) Conclude(item, slot, outputs);
  }

  // What a server says is held against the grammar: it may not know what it was asked for, and say nothing of that. Held is the text, which
  // is what leaves, and not the ids beside it, which may say something else.
  static absl::Status Read(const Slot& slot, const UpstreamToken& token) {
    if (slot.follower == nullptr) return absl::OkStatus();
    bool follows = true;
    if (!token.bytes.empty()) {
      TG_ASSIGN(follows, slot.follower->Takes(token.bytes));
      if (follows) TG_RETURN_IF_ERROR(slot.follower->Accept(token.bytes));
    }
    if (follows && (!token.ends || slot.follower->MayEnd())) return absl::OkStatus();
    return base::Unavailable("the upstream's answer does not follow the grammar that was sent; docs/upstream.md says which do");
  }

  // The answer is over and its tokens are given out: go on, try again, or fail.
  void Conclude(const EngineWork& item, Slot& slot, std::vector<EngineOutput>& outputs) {
    const std::unique_ptr<UpstreamRequest> request = std::move(slot.request);
    if (request->status().ok()) {
      slot.call.tried.clear();
      if (request->stopped()) {
        if (const absl::Status read = Read(slot, {end_token_, "", true}); !read.ok()) return Fail(item.slot, outputs, read);
        outputs.emplace_back().slot = item.slot;
        outputs.back().ends = true;
      } else if (request->given() == 0) {
        Fail(item.slot, outputs, base::Unavailable("the upstream ended its answer without a token"));
      }
      return;  // Otherwise the next step goes on, if more is allowed.
    }
    // Tried again: the next step begins anew, elsewhere.
    if (request->given() == 0 && request->may_retry() && fleet_->TryAgain(slot.call, slot.affinity)) return;
    Fail(item.slot, outputs, request->disliked() && !slot.grammar.empty() ? NoForm(request->status()) : request->status());
  }

  // A server that is started otherwise than it should be dislikes plain requests too.
  static absl::Status NoForm(const absl::Status& status) {
    return base::InvalidArgument(fmt::format(
        "the upstream takes no answer in this form: ask for a simpler schema or grammar, or for text (if plain requests fail too: {})",
        base::Message(status)));
  }

  void Fail(int slot, std::vector<EngineOutput>& outputs, const absl::Status& status) {
    EngineOutput& output = outputs.emplace_back();
    output.slot = slot;
    output.status = status;
  }

  void Drop(Slot& slot) {
    if (slot.request != nullptr) fleet_->Drop(slot.call);
    slot.call.tried.clear();
    slot.request.reset();
  }

  const UpstreamOptions& options_;  // The fleet's.
  const base::Clock& clock_;
  ModelInfo info_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::int32_t end_token_ = 0;
  std::vector<std::string> shown_;
  std::atomic<bool> interrupted_{false};

  // Replica's thread only.
  std::vector<std::optional<Slot>> slots_;
  std::deque<std::string> given_;  // Of this step's outputs.
  std::vector<EngineWork> held_;   // Scratch: what is held to a form and has something to give.
  std::int64_t turn_left_ = 0;     // Steps of followers.
  std::unique_ptr<UpstreamFleet> fleet_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeUpstreamEngine(const ModelOptions& model, std::unique_ptr<Tokenizer> tokenizer,
                                                           const base::Clock& clock) {
  TG_ASSIGN(auto fleet, UpstreamFleet::Create(model, clock));
  return std::make_unique<UpstreamEngine>(model, std::move(tokenizer), std::move(fleet), clock);
}

}  // namespace tollgate::inference
