// What is asked and what is given: a job for the pool, its end, and of a rerank the documents, where they are to come back. Inputs that
// policy changed are embedded as it left them. What is done with the inputs before that stands in embed_inputs.cpp.
//
// Tested by tests/gateway/pipeline/embed_test.cpp.
#include "gateway/pipeline/embed_request.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/tool_prompt.h"
#include "gateway/pipeline/watch.h"
#include "inference/fingerprint.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

template <typename Wire>
void TakeCommon(const Wire& request, v1::ChatRequest& call) {
  call.set_model(request.model());
  call.set_end_user(request.end_user());
  call.set_client_request_id(request.client_request_id());
  call.set_justification(request.justification());
  call.set_accept_terms(request.accept_terms());
}

void AppendLittleEndian(std::uint32_t value, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift & 0xFF));
}

// A call that has the texts for messages.
v1::ChatRequest CallOf(const EmbedAsk& ask) {
  v1::ChatRequest call = ask.call;
  for (const std::string& text : ask.texts) {
    v1::ChatMessage* message = call.add_messages();
    message->set_role(v1::ROLE_USER);
    message->add_parts(text);
  }
  return call;
}

}  // namespace

EmbedAsk AskOf(const v1::EmbedRequest& request) {
  EmbedAsk ask;
  TakeCommon(request, ask.call);
  ask.dimensions = request.dimensions();
  ask.inputs = request.inputs_size();
  for (int i = 0; i < ask.inputs && i <= kEmbedTextsMax; ++i) {
    const v1::EmbedInput& input = request.inputs(i);
    ask.texts.push_back(input.text());
    auto& tokens = ask.tokens.emplace_back();
    if (input.has_tokens()) tokens.emplace(input.tokens().ids().begin(), input.tokens().ids().end());
  }
  return ask;
}

EmbedAsk AskOf(const v1::RerankRequest& request) {
  EmbedAsk ask;
  ask.rerank = true;
  TakeCommon(request, ask.call);
  ask.top_n = request.top_n();
  ask.return_documents = request.return_documents();
  ask.inputs = request.documents_size();
  ask.texts.push_back(request.query());
  for (int i = 0; i < ask.inputs && i <= kEmbedTextsMax; ++i) ask.texts.push_back(request.documents(i));
  ask.tokens.resize(ask.texts.size());
  return ask;
}

std::vector<float> FirstDimensions(std::span<const float> vectors, std::int64_t each, std::int64_t dimensions) {
  std::vector<float> out;
  const auto length = static_cast<std::size_t>(each), wanted = static_cast<std::size_t>(dimensions);
  out.reserve(vectors.size() / length * wanted);
  for (std::size_t at = 0; at + length <= vectors.size(); at += length) {
    const auto first = vectors.subspan(at, wanted);
    double square = 0;
    for (const float x : first) square += static_cast<double>(x) * x;
    const double scale = square > 0 ? 1 / std::sqrt(square) : 1;
    for (const float x : first) out.push_back(wanted == length ? x : static_cast<float>(x * scale));
  }
  return out;
}

std::vector<v1::RankedDocument> Ranked(std::span<const float> relevance, std::int64_t top_n) {
  std::vector<v1::RankedDocument> out(relevance.size());
  for (std::size_t i = 0; i < relevance.size(); ++i) {
    out[i].set_index(static_cast<int>(i));
    out[i].set_relevance_score(relevance[i]);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.relevance_score() > b.relevance_score(); });
  if (top_n > 0 && top_n < static_cast<std::int64_t>(out.size())) out.resize(static_cast<std::size_t>(top_n));
  return out;
}

base::Digest DigestOf(std::span<const float> vectors) {
  std::string bytes;
  bytes.reserve(vectors.size() * 4);
  for (const float x : vectors) AppendLittleEndian(std::bit_cast<std::uint32_t>(x), bytes);
  return base::Sha256(bytes);
}

base::Digest DigestOf(std::span<const v1::RankedDocument> results) {
  std::string bytes;
  for (const v1::RankedDocument& result : results) {
    AppendLittleEndian(static_cast<std::uint32_t>(result.index()), bytes);
    AppendLittleEndian(std::bit_cast<std::uint32_t>(static_cast<float>(result.relevance_score())), bytes);
  }
  return base::Sha256(bytes);
}

EmbedRequest::EmbedRequest(Shared& shared, const Caller& caller, identity::Principal principal, const EmbedAsk& ask,
                           Cancellation& cancellation, async::Event& event)
    : Request(shared, caller, std::move(principal), CallOf(ask), nullptr, cancellation, event), ask_(ask) {}

std::string EmbedRequest::NameOf(std::size_t text) const {
  if (!ask_.rerank) return fmt::format("input[{}]", text);
  return text == 0 ? "query" : fmt::format("documents[{}]", text - 1);
}

absl::Status EmbedRequest::CheckCall() {
  const char* name = ask_.rerank ? "documents" : "input";
  if (ask_.inputs < 1 || ask_.inputs > kEmbedTextsMax)
    return BadField(name, fmt::format("holds {} texts; 1 to {} are allowed", ask_.inputs, kEmbedTextsMax));
  for (std::size_t i = 0; i < ask_.texts.size(); ++i) {
    if (ask_.tokens[i] ? ask_.tokens[i]->empty() : ask_.texts[i].empty()) return BadField(NameOf(i), "must not be empty");
  }
  TG_RETURN_IF_ERROR(CheckBytes());
  if (ask_.dimensions < 0) return BadField("dimensions", "must be at least 1");
  if (ask_.top_n < 0) return BadField("top_n", "must be at least 1");
  PromptLimits limits = with_.options.limits;
  limits.messages_max = kEmbedTextsMax + 1;
  TG_RETURN_IF_ERROR(Validate(call_, limits));
  v1::ChatRequest none;  // What is in force goes on record; the cap on input tokens, band and weight alone concern this call.
  TG_ASSIGN(defaults_, ApplyDefaults(principal_.snapshot->DefaultsOf(who_.place), none));
  defaults_.clamped.clear();
  return absl::OkStatus();
}

absl::Status EmbedRequest::Fits(const inference::ModelInfo& model) const {
  if (ask_.rerank && !model.reranks()) {
    return BadField("model",
                    fmt::format("{} {}: it has no classifier for documents, and nothing is put in its place; use a model that reranks",
                                model.name, model.embeds() ? "makes vectors" : "chats"),
                    "MODEL_DOES_NOT_RERANK");
  }
  if (!ask_.rerank && !model.embeds()) {
    return BadField("model", fmt::format("{} {}: use a model that embeds", model.name, model.reranks() ? "reranks" : "chats"),
                    "MODEL_DOES_NOT_EMBED");
  }
  if (ask_.dimensions > model.dimensions)
    return BadField("dimensions", fmt::format("is {}; a vector of {} has {} numbers", ask_.dimensions, model.name, model.dimensions));
  const std::int64_t most = inference::kEmbedJobNumbersMax / model.dimensions;
  if (const auto inputs = static_cast<std::int64_t>(ask_.texts.size()); !ask_.rerank && inputs > most)
    return BadField(
        "input", fmt::format("holds {} texts; with {} numbers for each, {} takes {} at once", inputs, model.dimensions, model.name, most));
  return absl::OkStatus();
}

void EmbedRequest::FillRequest(v1::RequestBody& body, v1::SealedContent& /*content*/) const {
  body.set_operation(ask_.rerank ? "rerank" : "embeddings");
  body.set_inputs(static_cast<std::int32_t>(inputs_.size()));
  body.set_dimensions(ask_.dimensions);
  body.set_top_n(ask_.top_n);
  const auto came = [](const auto& tokens) { return tokens.has_value(); };
  body.set_token_inputs(static_cast<std::int32_t>(std::count_if(ask_.tokens.begin(), ask_.tokens.end(), came)));
}

async::Awaitable<Outcome<Reply>> EmbedRequest::Generate() {
  inference::EmbedJob job{
      .model = model_.name, .fingerprint = inference::FingerprintOf(model_), .inputs = std::move(inputs_), .deadline = deadline_};
  SetOwner(who_.place, defaults_.standing, job);
  if (ask_.rerank && model_.engine == "openai") {
    for (const policy::Message& message : inspection_.prompt) job.texts.push_back(TextOf(message));
  }
  auto stream = with_.pool->Embed(std::move(job));
  if (!stream.ok()) {
    co_await GiveGrantsBack();
    Ending refused = Broken("POOL_REFUSED", stream.status());
    co_return co_await End(std::move(refused));
  }
  Ending ending = co_await Await(**stream);
  if (ending.status.ok() && ask_.rerank) ending = co_await GiveRanks(std::move(ending));
  if (ending.status.ok() && !ask_.rerank) {
    dimensions_ = ask_.dimensions > 0 ? ask_.dimensions : model_.dimensions;
    numbers_ = FirstDimensions(job_end_->vectors, model_.dimensions, dimensions_);
    digest_ = DigestOf(numbers_);
    ending.reason = "EMBEDDED";
  }
  co_return co_await End(std::move(ending));
}

async::Awaitable<Ending> EmbedRequest::GiveRanks(Ending ending) {
  results_ = Ranked(job_end_->vectors, ask_.top_n);
  if (ask_.return_documents) {
    auto give = [this] { return GiveDocuments(); };
    absl::Status given = co_await async::RunOnIf(IsLarge(), with_.cpu, give);
    if (absl::IsPermissionDenied(given)) {
      co_return Ending{.finish = v1::FINISH_REASON_CONTENT_FILTER, .reason = "POLICY_BLOCKED", .status = std::move(given)};
    }
    if (!given.ok()) co_return Unjudged(std::move(given));
  }
  dimensions_ = model_.dimensions;
  digest_ = DigestOf(results_);
  ending.reason = "RERANKED";
  co_return ending;
}

// What leaves is output, whoever wrote it.
absl::Status EmbedRequest::GiveDocuments() {
  policy::Subject subject = SubjectOf();
  subject.pseudonyms = nullptr;  // As the model read them.
  patience_.Begin(with_.options.judge_max);
  for (v1::RankedDocument& result : results_) {
    const auto text = static_cast<std::size_t>(result.index()) + 1;
    TG_ASSIGN(policy::Filtered filtered, policies_.acting->FilterWhole(subject, TextOf(inspection_.prompt[text]), {}, KeepGoing()));
    MergeVerdict(ToProto(filtered.verdict), result.index(), "", given_);
    if (filtered.blocked) {
      base::ErrorDetail detail{.reason = "POLICY_BLOCKED", .param = "return_documents", .may_retry = false};
      for (const policy::RuleOutcome& rule : filtered.verdict.rules) {
        if (rule.action == policy::Action::kBlock) detail.rule_ids.push_back(rule.rule_id);
      }
      return base::WithDetail(base::PermissionDenied(fmt::format("{} may not be given out, by policy rule {}: leave return_documents out",
                                                                 NameOf(text), fmt::join(detail.rule_ids, ", "))),
                              detail);
    }
    result.set_document(std::move(filtered.text));
  }
  return absl::OkStatus();
}

// Within one step of the pool; its end says how many tokens were worked through. Of a step that outlasts all patience
// it is not known, and is what was begun at most.
async::Awaitable<Ending> EmbedRequest::Await(inference::TokenStream& stream) {
  Watch watch = NewWatch();
  const auto notify = event_.Notifier();
  std::optional<Ending> stopped;
  steady_clock::time_point patience;
  for (;;) {
    inference::Piece piece;
    if (stream.Take(piece) == inference::Taken::kEnd) {
      job_end_ = stream.end();
      if (stopped) co_return *std::move(stopped);
      Ending ending = EndingOf(*job_end_);
      co_return ending.reason == "DEADLINE" ? watch.Late("its inputs were worked through") : std::move(ending);
    }
    if (stopped && steady_clock::now() >= patience) {
      begun_ = stream.input_tokens_begun();
      co_return *std::move(stopped);
    }
    if (!stopped) {
      stopped = watch.MustStop();
      if (stopped) {
        stream.Cancel();
        patience = steady_clock::now() + kStopPatience;
      }
    }
    stream.NotifyOnce(notify);
    const auto wake = stopped ? patience : watch.NextLook();
    co_await event_.WaitUntil(wake);
  }
}

void EmbedRequest::FillEnd(const Ending& /*ending*/, v1::EndBody& end) const {
  if (job_end_) end.mutable_tokens()->set_input(job_end_->input_tokens_evaluated);
  if (begun_ > 0) end.mutable_tokens()->set_input(begun_);
  if (job_end_ && model_.engine == "openai") AddServerUsage(job_end_->reported, *end.mutable_server_usage());
  if (ask_.return_documents) *end.mutable_output_verdict() = given_;
  for (const v1::RankedDocument& result : results_) {
    if (dimensions_ > 0) end.set_delivered_bytes(end.delivered_bytes() + static_cast<std::int64_t>(result.document().size()));
  }
  if (dimensions_ == 0) return;
  v1::VectorOutput* out = end.mutable_vectors();
  out->set_count(static_cast<std::int32_t>(ask_.rerank ? results_.size() : numbers_.size() / static_cast<std::size_t>(dimensions_)));
  out->set_dimensions(static_cast<std::int32_t>(dimensions_));
  out->set_sha256(std::string(base::View(digest_)));
}

steady_clock::duration EmbedRequest::EngineTime() const {
  return job_end_ ? job_end_->ended_at - job_end_->submitted_at : steady_clock::duration::zero();
}

namespace {

v1::EmbedEnd EndOf(const Reply& reply) {
  v1::EmbedEnd end;
  *end.mutable_usage() = reply.end.usage();
  *end.mutable_input_policy() = reply.end.input_policy();
  *end.mutable_output_policy() = reply.end.output_policy();
  *end.mutable_record() = reply.end.record();
  return end;
}

}  // namespace

EmbedAnswer EmbedRequest::TakeVectors(const Reply& reply) {
  return {reply.head, std::move(numbers_), dimensions_, EndOf(reply), reply.overhead_us, room()};
}

RerankAnswer EmbedRequest::TakeResults(const Reply& reply) {
  return {reply.head, std::move(results_), EndOf(reply), reply.overhead_us, room()};
}

}  // namespace tollgate::pipeline
