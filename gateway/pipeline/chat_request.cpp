// What is asked of the pool, and how its replies are judged; from there on the relay does the work, and what it knows goes into the end.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crypto.h"
#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/shadow.h"
#include "gateway/pipeline/strict.h"
#include "gateway/pipeline/tool_prompt.h"
#include "inference/fingerprint.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {

std::uint64_t RandomSeed() {
  std::uint64_t seed = 0;
  const std::string bytes = base::RandomBytes(sizeof seed);
  std::memcpy(&seed, bytes.data(), sizeof seed);
  return seed;
}

// JSON, a schema, a grammar or a forced call.
bool HasForm(const inference::SequenceRequest& sequence) { return sequence.json || !sequence.grammar.empty(); }

}  // namespace

absl::Status ChatRequest::CheckCall() {
  TG_RETURN_IF_ERROR(Validate(call_, with_.options.limits));
  TG_ASSIGN(defaults_, ApplyDefaults(principal_.snapshot->DefaultsOf(who_.place), call_));
  if (IsStrict(call_)) defaults_.standing.band = inference::kBands - 1;  // As the pool has it.
  sampling_ = ToSampling(call_.sampling(), call_.sampling().has_seed() ? call_.sampling().seed() : RandomSeed());
  return absl::OkStatus();
}

absl::Status ChatRequest::Fits(const inference::ModelInfo& model) const {
  TG_RETURN_IF_ERROR(MayUseForms(principal_, call_));
  TG_RETURN_IF_ERROR(MayUseStrict(principal_, call_));
  TG_RETURN_IF_ERROR(ValidateFor(call_, model));
  return CheckThoughtCap(principal_.snapshot->DefaultsOf(who_.place), call_, model);
}

// Behind the gate of quotas, for it is work; what is refused here counts as a request.
absl::Status ChatRequest::ReadInputs() {
  TG_ASSIGN(output_grammar_, GrammarAsked(call_, model_));
  return absl::OkStatus();
}

std::int64_t ChatRequest::Bytes() const { return BytesOf(call_) + static_cast<std::int64_t>(call_.output_form().grammar().size()); }

absl::StatusOr<std::vector<std::int32_t>> ChatRequest::TokensOf(const std::string& model, std::span<const policy::Message> prompt) const {
  return with_.pool->Render(model, TurnsOf(call_, prompt));
}

absl::Status ChatRequest::LayOut(std::span<const policy::Message> prompt) {
  TG_ASSIGN(form_, FormUsed(call_, inspection_.prompt));
  if (inspection_.changed || !routed_by_.empty()) {
    TG_ASSIGN(output_grammar_, OutputGrammar(call_, inspection_.prompt, form_, model_));
  }
  TG_ASSIGN(prompt_tokens_, TokensOf(model_.name, inspection_.prompt));
  // A system prompt that policy changed is no published one any more.
  if (inspection_.prompt.front().parts == prompt.front().parts)
    published_tokens_ = PublishedTokens(principal_.snapshot->DefaultsOf(who_.place), *with_.pool, model_.name, prompt_tokens_);
  return absl::OkStatus();
}

absl::Status ChatRequest::CheckRoom() {
  const auto input = static_cast<std::int64_t>(prompt_tokens_.size());
  const std::int64_t room = model_.context_tokens - input;
  if (room < 1) {
    return base::WithDetail(
        base::InvalidArgument(fmt::format("messages: the prompt is {} tokens long and {} takes {} in all, output included; shorten it",
                                          input, model_.name, model_.context_tokens)),
        {.reason = "CONTEXT_LENGTH_EXCEEDED", .param = "messages", .may_retry = false});
  }
  TG_RETURN_IF_ERROR(CheckInputTokens(principal_.snapshot->DefaultsOf(who_.place), input));
  TG_ASSIGN(max_tokens_, MaxOutputTokens(call_, defaults_.output_named, room, writer_ != nullptr, with_.options.limits));
  return absl::OkStatus();
}

// Of a reply that is kept whole its log-probabilities, which are many times its text and cost no tokens.
std::int64_t ChatRequest::AnswerBytes() const {
  if (writer_ != nullptr || !call_.logprobs()) return 0;
  const std::int64_t asked = call_.max_tokens() > 0 ? call_.max_tokens() : model_.context_tokens;
  const std::int64_t each = (1 + call_.top_logprobs()) * static_cast<std::int64_t>(Choices());
  return std::min(std::min(asked, model_.context_tokens) * each, with_.options.limits.logprobs_max) * kLogprobBytes;
}

void ChatRequest::FillRequest(v1::RequestBody& body, v1::SealedContent& content) const {
  *body.mutable_sampling() = ToProto(sampling_);
  FillOutput(call_, &body);
  body.set_schema_in_part(!output_grammar_.whole);
  body.set_max_reasoning_tokens(static_cast<std::int32_t>(ThoughtTokensMax()));
  body.set_published_tokens(published_tokens_);
  if (IsStrict(call_)) {
    *body.mutable_strict() = RunOf(*model_.strict, with_.options.build);
    *content.mutable_strict_input() = InputOf(Sequence());
  }
  if (form_.json_schema() != call_.output_form().json_schema()) content.set_output_schema_used(form_.json_schema());
}

async::Awaitable<Outcome<Reply>> ChatRequest::Generate() {
  MakePlan();
  if (absl::Status held = co_await HoldMore(); !held.ok()) {
    co_await GiveGrantsBack();
    Ending ending = Broken("QUOTA_UNAVAILABLE", std::move(held));
    co_return co_await End(std::move(ending));
  }
  if (auto stop = MustStop()) {  // It may have waited for these tokens.
    co_await GiveGrantsBack();
    co_return co_await End(std::move(*stop));
  }
  Sequences sequences = MakeSequences();
  auto submit = [this, &sequences] { return Submit(sequences); };
  absl::Status submitted = co_await async::RunOnIf(IsLongForm(sequences.request, with_.options), with_.cpu, submit);
  if (!submitted.ok()) {
    co_await GiveGrantsBack();
    Ending ending = Broken("POOL_REFUSED", std::move(submitted));
    co_return co_await End(std::move(ending));
  }
  const auto input_tokens = static_cast<std::int64_t>(prompt_tokens_.size());
  context_.emplace(RelayContext{with_,        caller_,       principal_,
                                who_,         model_.name,   input_tokens,
                                *key_,        cancellation_, shared_.shutting_down,
                                event_,       deadline_,     limit_.remedy,
                                head_,        writer_,       *guards_,
                                output_held_, limited_by_,   Step(),
                                patience_,    shared_.slow,  policies_.acting->digest()});
  relay_ = std::make_unique<Relay>(*context_, std::move(sequences), plan_, reservation_);
  Ending ending = co_await relay_->Run();
  co_return co_await End(std::move(ending));
}

// A server that is asked to go on begins anew, penalties and seed with it, and within a form it cannot: so what was asked for is held at
// once, and of what nobody asked for not a whole budget. What guards need for the prompt they have by now; for the reply as much is kept
// for them as it gets, until it needs that too. Where no more can be had now it begins with what it holds, and asks again on its way,
// unless it cannot go on.
async::Awaitable<absl::Status> ChatRequest::HoldMore() {
  if (model_.resumes) co_return absl::OkStatus();
  const bool form = HasForm(Sequence()), whole = defaults_.output_named || form;
  const auto choices = static_cast<std::int64_t>(Choices());
  const std::int64_t reply = choices * (whole ? max_tokens_ : std::min(max_tokens_, Step()));
  const bool guarded = GuardsAsked();
  const std::int64_t want = (guarded ? 2 * reply : reply) - output_held_;
  if (want > 0) {
    const std::int64_t spare = guards_->TakeSpare(want);
    output_held_ += spare;
    if (spare < want) {
      const absl::StatusOr<metering::Extension> more = co_await ExtendBy(with_, reservation_, want - spare);
      if (!more.ok() && form) co_return more.status();
      if (more.ok()) output_held_ += more->granted;
      if (more.ok()) limited_by_ = more->limited_by;
    }
  }
  if (!guarded) co_return absl::OkStatus();
  const std::int64_t kept = std::min(output_held_ / 2, output_held_ - choices);
  output_held_ -= kept;
  guards_->GiveSpare(kept);
  co_return absl::OkStatus();
}

std::int64_t ChatRequest::Step() const {
  const std::int64_t least = with_.options.extension_tokens;
  return model_.resumes ? least : std::max(least, with_.options.unasked_tokens / static_cast<std::int64_t>(Choices()));
}

// Whether models may be asked about the reply.
bool ChatRequest::GuardsAsked() const {
  const auto asked = [this](const policy::Channel& channel) {
    const std::vector<policy::Question> questions = plan_.asks.about(channel);
    return std::any_of(questions.begin(), questions.end(), [](const auto& its) { return its.guard != nullptr || its.topic != nullptr; });
  };
  const std::vector<std::string>& tools = plan_.syntax.names;
  return asked({}) || (plan_.syntax.thinks && asked({policy::Part::kReasoning})) ||
         std::any_of(tools.begin(), tools.end(), [&](const std::string& tool) {
           return asked({policy::Part::kToolCall, tool});
         });
}

std::size_t ChatRequest::Choices() const { return static_cast<std::size_t>(std::max(1, call_.choices())); }

void ChatRequest::MakePlan() {
  const auto subject = std::make_shared<const policy::Subject>(SubjectOf());
  plan_.syntax = SyntaxOf(call_, model_);
  plan_.one_call = OneCall(call_);
  plan_.open = [this, subject](const policy::Channel& its) {
    return OpenOutput(policies_, *subject, its, KeepGoing(), [this] { return patience_.AskOfShadow(); });
  };
  plan_.shadow = policies_.shadow;
  plan_.logprobs = call_.logprobs();
  AskAbout(subject);
  // A strict answer is what came first, and its key may see it.
  if (!call_.stop().empty() && !IsStrict(call_) && RulesAct()) plan_.stops.assign(call_.stop().begin(), call_.stop().end());
  if (MayRetry()) plan_.retries = policies_.acting->retries();
}

// On any channel: an engine that ended a thought, or a call, at a stop string would tell what rules hide there.
bool ChatRequest::RulesAct() const {
  const auto act = [this](const policy::Channel& channel) { return plan_.open(channel)->acts(); };
  if (act({}) || (plan_.syntax.thinks && act({policy::Part::kReasoning}))) return true;
  const std::vector<std::string>& tools = plan_.syntax.names;
  return std::any_of(tools.begin(), tools.end(), [&](const std::string& tool) { return act({policy::Part::kToolCall, tool}); });
}

void ChatRequest::AskAbout(const std::shared_ptr<const policy::Subject>& subject) {
  OutputPlan::Asks& asks = plan_.asks;
  asks.about = [this, subject](const policy::Channel& channel) { return policies_.acting->QuestionsOfOutput(*subject, channel); };
  asks.policies = policies_.acting;
  asks.inbox = [this] { return QuestionInbox::Make(*guards_, with_.cpu, event_.Notifier()); };
  asks.streamed = writer_ != nullptr;
  asks.tenant = who_.place.team->id.value.Bytes();
  asks.open = [this, subject](const policy::Channel& its) {
    policy::Subject unrestored = *subject;
    unrestored.pseudonyms = nullptr;
    return policies_.acting->OpenOutput(unrestored, its, KeepGoing());
  };
}

// Whether a reply may be taken back and can be: a rule wants it, its engine can, nobody else's answers are about what would be taken back,
// and neither a stop string nor the bound of a thought stands between the tokens that are kept and those that follow. A strict answer is
// what came first.
bool ChatRequest::MayRetry() const {
  return !policies_.acting->retries().empty() && model_.rewinds && !IsStrict(call_) && call_.stop().empty() && ThoughtTokensMax() == 0 &&
         plan_.asks.about({}).empty() && plan_.asks.about({policy::Part::kReasoning}).empty();
}

// A forced call begins with no thought but where the prompt ends within one.
std::int64_t ChatRequest::ThoughtTokensMax() const {
  const bool held = !output_grammar_.gbnf.empty() && !model_.opens_thinking;
  if (held || !SyntaxOf(call_, model_).thinks) return 0;
  return call_.max_reasoning_tokens() > 0 ? call_.max_reasoning_tokens() : defaults_.thought_tokens_max;
}

inference::SequenceRequest ChatRequest::Sequence() const {
  inference::SequenceRequest sequence{.model = model_.name,
                                      .prompt_tokens = prompt_tokens_,
                                      .sampling = sampling_,
                                      .stop = {call_.stop().begin(), call_.stop().end()},
                                      .max_tokens = max_tokens_};
  FillOutput(call_, output_grammar_, sequence);
  return sequence;
}

Sequences ChatRequest::MakeSequences() const {
  Sequences sequences{.request = IsStrict(call_) ? SequenceOf(request_record_.request(), InputOf(Sequence())) : Sequence(),
                      .thought_tokens_max = ThoughtTokensMax(),
                      .context_tokens = model_.context_tokens};
  inference::SequenceRequest& sequence = sequences.request;
  if (!plan_.stops.empty()) sequence.stop.clear();
  sequence.fingerprint = inference::FingerprintOf(model_);
  sequence.allowance = output_held_ / static_cast<std::int64_t>(Choices());
  sequence.allowance_final = !model_.resumes && HasForm(sequence) && sequences.thought_tokens_max == 0;
  SetOwner(who_.place, defaults_.standing, sequence);
  sequence.published_tokens = published_tokens_;
  sequence.published_by = who_.place.org->id;
  sequence.deadline = deadline_;
  sequence.want_tokens = sequence.want_tokens || plan_.syntax.thinks || !plan_.retries.empty();
  sequence.logprobs = call_.logprobs() ? call_.top_logprobs() : -1;
  return sequences;
}

// Several replies draw by the seed and those after it.
absl::Status ChatRequest::Submit(Sequences& sequences) {
  if (sequences.thought_tokens_max > 0) {
    sequences.request.allowance = std::min(sequences.request.allowance, sequences.thought_tokens_max);
    TG_ASSIGN(sequences.thought_end, with_.pool->Tokenize(model_.name, kThoughtEnd));
  }
  if (Choices() == 1) {
    TG_ASSIGN(auto stream, with_.pool->Submit(sequences.request));
    sequences.streams.push_back(std::move(stream));
    return absl::OkStatus();
  }
  std::vector<std::uint64_t> seeds;
  for (std::size_t i = 0; i < Choices(); ++i) seeds.push_back(sampling_.seed + i);
  TG_ASSIGN(sequences.streams, with_.pool->SubmitGroup(sequences.request, seeds));
  return absl::OkStatus();
}

std::vector<OutputPiece> ChatRequest::TakeRest() { return relay_ == nullptr ? std::vector<OutputPiece>() : relay_->TakeRest(); }

void ChatRequest::FillEnd(const Ending& ending, v1::EndBody& end) const {
  if (relay_ == nullptr) return;
  *end.mutable_tokens() = relay_->Tokens();
  *end.mutable_output_verdict() = relay_->Verdict();
  end.set_delivered_bytes(relay_->released_bytes() + relay_->rest_bytes());
  relay_->FillChoices(ending, end);
  relay_->FillGuards(end);
  relay_->FillRetries(end);
  if (model_.engine == "openai") relay_->FillServerUsage(*end.mutable_server_usage());
  if (policies_.shadow != nullptr) {
    end.mutable_shadow_output()->set_policy_digest(std::string(base::View(policies_.shadow->digest())));
    *end.mutable_shadow_output()->mutable_verdict() = relay_->ShadowVerdict();
    shared_.shadows.Add(true, WithoutAsked(end.output_verdict(), end.guards()), end.shadow_output());
  }
  end.set_first_token_us(relay_->first_token_us());
  end.set_pseudonyms_restored(relay_->pseudonyms_restored());
  end.set_delivered_bytes_at_block(relay_->released_at_block());
}

bool ChatRequest::FillRaw(v1::SealedContent& content) const {
  if (relay_ == nullptr) return false;
  relay_->FillRaw(content);
  return true;
}

void ChatRequest::FillReply(const Ending& ending, v1::ChatEnd& end) const {
  if (relay_ != nullptr) relay_->FillChoices(ending, end);
}

std::chrono::steady_clock::duration ChatRequest::EngineTime() const {
  return relay_ == nullptr ? std::chrono::steady_clock::duration::zero() : relay_->engine_time();
}

}  // namespace tollgate::pipeline
