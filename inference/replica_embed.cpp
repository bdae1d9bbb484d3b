// How it works. A job is a sequence whose prompt is its inputs, one behind the other, and whose chunks are whole inputs. Queue, slots,
// cancel, deadlines and ends are those of any sequence; what differs is the step: the inputs of one tenant, in the order of its jobs, as
// many as fit into the time of a step, but one at least, for an input cannot be cut. Among the tenants that hold slots the one comes next
// that had the fewest tokens worked through, over its weight; one that comes back starts about where the least of the others is, or where
// the last step was, so that neither idling nor work of the past counts. Where the engine runs jobs in their slots, on servers that share
// their time out themselves, a step is as it is for chats, and gives vectors for tokens.
//
// Tested by tests/inference/embed_test.cpp.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/no_throw.h"
#include "inference/replica.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;

absl::Status Refuse(std::string_view message, std::string reason) {
  base::ErrorDetail detail;
  detail.reason = std::move(reason);
  detail.param = "input";
  detail.may_retry = false;
  return base::WithDetail(base::InvalidArgument(message), detail);
}

}  // namespace

absl::Status Replica::MustEmbed() const {
  if (embeds_) return absl::OkStatus();
  return base::FailedPrecondition(fmt::format("model {} chats: it makes no vectors", model_.name));
}

absl::StatusOr<std::vector<std::int32_t>> Replica::EmbedTokens(const EmbedText& text) const {
  TG_RETURN_IF_ERROR(MustEmbed());
  return engine_->EmbedTokens(text);
}

absl::StatusOr<std::string> Replica::TextOf(std::span<const std::int32_t> tokens) const {
  TG_RETURN_IF_ERROR(MustEmbed());
  return engine_->TextOf(tokens);
}

absl::StatusOr<std::shared_ptr<TokenStream>> Replica::Embed(EmbedJob job) {
  TG_RETURN_IF_ERROR(MustEmbed());
  TG_RETURN_IF_ERROR(engine_->Ready());
  TG_RETURN_IF_ERROR(CheckJob(job));
  std::vector<std::unique_ptr<Sequence>> sequences;
  sequences.push_back(MakeJob(std::move(job)));
  auto stream = std::make_shared<TokenStream>(sequences.back()->stream);
  TG_RETURN_IF_ERROR(Enter(std::move(sequences)));
  return stream;
}

absl::Status Replica::CheckJob(const EmbedJob& job) const {
  const ModelInfo& info = engine_->Info();
  const auto inputs = static_cast<std::int64_t>(job.inputs.size());
  const std::int64_t most = std::min(kEmbedJobInputsMax, kEmbedJobNumbersMax / std::max<std::int64_t>(info.dimensions, 1));
  if (inputs < 1 || inputs > most)
    return Refuse(
        fmt::format("there are {} inputs; {} takes 1 to {} at once, of {} numbers each", inputs, info.name, most, info.dimensions),
        "TOO_MANY_INPUTS");
  std::int64_t all = 0;
  for (std::size_t i = 0; i < job.inputs.size(); ++i) {
    const auto tokens = static_cast<std::int64_t>(job.inputs[i].size());
    if (tokens < 1 || tokens > info.context_tokens) {
      return Refuse(fmt::format("input {} has {} tokens; {} takes 1 to {} of one: shorten it, or cut it into several", i, tokens, info.name,
                                info.context_tokens),
                    "CONTEXT_LENGTH_EXCEEDED");
    }
    all += tokens;
    if (all > kEmbedJobTokensMax)
      return Refuse(fmt::format("the inputs have more than {} tokens: ask with fewer at a time", kEmbedJobTokensMax), "TOO_MANY_TOKENS");
    for (const std::int32_t token : job.inputs[i]) {
      if (token < 0 || token >= info.vocab_tokens)
        return base::InvalidArgument(fmt::format("input {}: {} is not one of the model's {} tokens", i, token, info.vocab_tokens));
    }
  }
  if (job.band < 0 || job.band >= kBands)
    return base::InvalidArgument(fmt::format("band is {}; it must be between 0 and {}", job.band, kBands - 1));
  if (!(job.weight >= 0.01 && job.weight <= 100))
    return base::InvalidArgument(fmt::format("weight is {}; it must be between 0.01 and 100", job.weight));
  return absl::OkStatus();
}

std::unique_ptr<Sequence> Replica::MakeJob(EmbedJob job) const {
  SequenceRequest request;
  std::vector<std::int64_t> ends;
  for (const std::vector<std::int32_t>& input : job.inputs) {
    request.prompt_tokens.insert(request.prompt_tokens.end(), input.begin(), input.end());
    ends.push_back(static_cast<std::int64_t>(request.prompt_tokens.size()));
  }
  request.model = std::move(job.model);
  request.tenant = job.tenant;
  request.key = job.key;
  request.deadline = job.deadline;
  request.band = job.band;
  request.weight = job.weight;
  auto sequence = std::make_unique<Sequence>(std::move(request));
  sequence->input_ends = std::move(ends);
  sequence->input_texts = std::move(job.texts);
  sequence->end.input_tokens = sequence->input_ends.back();
  sequence->end.submitted_at = clock_.Mono();
  sequence->queue_deadline = sequence->end.submitted_at + model_.queue_timeout;
  sequence->stream = std::make_shared<StreamState>(waker_, model_.stream_buffer_bytes, 1, false);
  return sequence;
}

void Replica::TakeVectors(Sequence& job, std::span<const float> vectors) {
  const auto each = static_cast<std::size_t>(engine_->Info().dimensions);
  const std::size_t inputs = vectors.size() / each;
  TG_CHECK(vectors.size() % each == 0 && inputs > 0 && inputs <= job.input_ends.size() - job.inputs_done,
           "an engine gave other vectors than it was asked for");
  job.end.vectors.insert(job.end.vectors.end(), vectors.begin(), vectors.end());
  job.inputs_done += inputs;
  const std::int64_t done = job.input_ends[job.inputs_done - 1];
  stats_.prompt_tokens += done - std::exchange(job.end.input_tokens_evaluated, done);
  job.prompt_left = job.end.input_tokens - done;
  if (job.prompt_left == 0) End(job, EndReason::kStop, absl::OkStatus());
}

void Replica::PlanInputs() {
  inputs_.clear();
  prompts_.clear();
  if (!engine_->Ready().ok()) return;  // A job keeps nothing in the engine: it goes on when that is back.
  for (const auto& job : slots_) {
    if (job != nullptr && !job->closing) prompts_.push_back(job.get());
  }
  if (prompts_.empty()) return;
  queue_.OrderPrompts(prompts_);
  std::erase_if(prompts_, [next = prompts_.front()->account](const Sequence* job) { return job->account != next; });
  // Nothing is decoded here, and a step that is alone may take several targets: a quarter of it is one.
  std::int64_t left = budget_.PromptTokens(0) / 4;
  for (const Sequence* job : prompts_) {
    const auto& tokens = job->request.prompt_tokens;
    std::int64_t from = job->end.input_tokens_evaluated;
    const std::int64_t begun = from;
    for (std::size_t i = job->inputs_done; i < job->input_ends.size(); ++i) {
      const std::int64_t size = job->input_ends[i] - from;
      if (!inputs_.empty() && (size > left || inputs_.size() == Engine::kEmbedInputsMax)) break;
      inputs_.push_back(std::span(tokens).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(size)));
      from += size;
      left -= size;
    }
    if (from == begun) return;
    work_.push_back({job->slot, from - begun, 0});
  }
}

void Replica::StepInputs() {
  numbers_.clear();
  for (const EngineWork& work : work_) {
    const Sequence& job = *slots_[work.slot];
    job.stream->BeginInputs(job.end.input_tokens_evaluated + work.prompt_tokens);
  }
  const base::MonoTime before = clock_.Mono();
  absl::Status status = NoThrow([this] { return engine_->Embed(inputs_, numbers_); });
  const base::MonoTime after = clock_.Mono();
  const auto each = static_cast<std::size_t>(engine_->Info().dimensions);
  if (status.ok() && numbers_.size() != inputs_.size() * each) status = base::Internal("the engine gave fewer numbers than it should");
  if (!status.ok()) {
    if (stopping_.load(std::memory_order_acquire)) return;
    for (const EngineWork& work : work_) Fail(work, status);
    return;
  }
  std::int64_t tokens = 0;
  auto numbers = numbers_.begin();
  now_ = after;
  for (const EngineWork& work : work_) {
    Sequence& job = *slots_[work.slot];
    tokens += work.prompt_tokens;
    job.prompt_left -= work.prompt_tokens;
    job.end.input_tokens_evaluated += work.prompt_tokens;
    FairQueue::WorkedPrompt(job, work.prompt_tokens);
    for (; job.inputs_done < job.input_ends.size() && job.input_ends[job.inputs_done] <= job.end.input_tokens_evaluated;
         ++job.inputs_done) {
      job.end.vectors.insert(job.end.vectors.end(), numbers, numbers + static_cast<std::ptrdiff_t>(each));
      numbers += static_cast<std::ptrdiff_t>(each);
    }
    if (job.prompt_left == 0) End(job, EndReason::kStop, absl::OkStatus());
  }
  budget_.Ran(tokens, 0, std::chrono::duration_cast<microseconds>(after - before));
  ++stats_.steps;
  stats_.step_micros += std::chrono::duration_cast<microseconds>(after - before).count();
  stats_.step.Add(after - before);
  stats_.prompt_tokens += tokens;
}

}  // namespace tollgate::inference
