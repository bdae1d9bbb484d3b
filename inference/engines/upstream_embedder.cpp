// How it works. As in the engine that chats, everything happens on the replica's thread, inside Step and Idle, and a step that has nothing
// to give waits a moment for the network. A job goes to the servers in parts, one after the other, so that an answer is of bounded size and
// what breaks off costs what was not done. An answer counts when it is whole and sound, and never before: until then another server may be
// asked the same. One that is not whole in time is given up, however often a byte of it comes.
//
// A server that reranks takes text: the query and the documents go as Sent gives them, and what it counts is compared with the tokens by
// which they were let in.
//
// Tested by tests/inference/upstream_embed_test.cpp, tests/inference/upstream_embed_faults_test.cpp.
#include "inference/engines/upstream_embedder.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "inference/engines/upstream_answer.h"
#include "inference/engines/upstream_embed_wire.h"
#include "inference/engines/upstream_fleet.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWait{2};  // As the engine that chats.
// What one request asks for, but one input at least.
constexpr std::int64_t kPartTokensMax = 1 << 16;
constexpr std::int64_t kPartNumbersMax = 1 << 19;
constexpr std::size_t kPartBytesMax = 1 << 20;  // Of documents.

struct Slot {
  std::vector<std::int32_t> tokens;    // Of all inputs, one after the other,
  std::vector<std::int64_t> ends;      // and where each ends.
  std::string query;                   // Where it reranks,
  std::vector<std::string> documents;  // as they are sent.
  std::string salt;
  int band = 0;
  std::size_t done = 0;  // Inputs that were answered.
  std::size_t part = 0;  // Inputs behind them that the request is for.
  ReportedUsage reported;
  std::unique_ptr<UpstreamAnswer> answer;  // Under way, or over and not used up.
  UpstreamCall call;
  base::MonoTime began_at;

  std::int64_t Begin(std::size_t input) const { return input == 0 ? 0 : ends[input - 1]; }
  std::int64_t PartTokens() const { return Begin(done + part) - Begin(done); }
  std::span<const std::int32_t> Input(std::size_t input) const {
    return std::span(tokens).subspan(static_cast<std::size_t>(Begin(input)), static_cast<std::size_t>(ends[input] - Begin(input)));
  }
};

class UpstreamEmbedder final : public Engine {
 public:
  UpstreamEmbedder(const ModelOptions& model, std::unique_ptr<UpstreamTexts> texts, std::unique_ptr<UpstreamFleet> fleet,
                   const base::Clock& clock)
      : options_(fleet->options()),
        clock_(clock),
        info_(texts->Facts()),
        texts_(std::move(texts)),
        slots_(static_cast<std::size_t>(model.slots)),
        fleet_(std::move(fleet)) {
    info_.name = model.name;
    info_.engine = "openai";
    info_.licence = model.licence;
    info_.context_tokens = model.context_tokens;
    info_.slots = model.slots;
    info_.engine_build = fleet_->Build();
    // libllama's own classifiers of this family end in a softmax; llama-server gives others' number as it is.
    logits_ = options_.kind == UpstreamKind::kLlamaServer && !info_.architecture.starts_with("qwen3");
  }

  ~UpstreamEmbedder() override {
    for (std::size_t i = 0; i < slots_.size(); ++i) Close(static_cast<int>(i));
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return 1 << 20; }
  bool EmbedsInSlots() const override { return true; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return texts_->Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return texts_->Tokenize(text); }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override { return texts_->EmbedTokens(text); }
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const override { return texts_->TextOf(tokens); }

  absl::StatusOr<EngineOpened> Open(int index, const EngineSequence& sequence) override {
    Slot& slot = slots_[static_cast<std::size_t>(index)].emplace();
    slot.tokens.assign(sequence.prompt_tokens.begin(), sequence.prompt_tokens.end());
    slot.ends.assign(sequence.input_ends.begin(), sequence.input_ends.end());
    slot.salt = fleet_->SaltOf(sequence.tenant);
    slot.band = sequence.band;
    slot.reported.worked = false;
    if (!info_.reranks()) return EngineOpened{};
    if (sequence.texts.size() != slot.ends.size() + 1) return base::Internal("a job that reranks came without its texts");
    slot.query = texts_->Sent(sequence.texts[0]);
    for (const std::string& document : sequence.texts.subspan(1)) slot.documents.push_back(texts_->Sent(document));
    return EngineOpened{};
  }

  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    given_.clear();
    Turn(work, outputs, milliseconds(0));
    if (outputs.empty()) Turn(work, outputs, kWait);
    return interrupted_.load(std::memory_order_acquire) ? base::Unavailable("the engine is shutting down") : absl::OkStatus();
  }

  absl::Status Rewind(int /*slot*/, std::int64_t /*tokens*/, std::span<const std::int32_t> /*banned*/) override {
    return base::FailedPrecondition(fmt::format("model {} does not chat", info_.name));
  }

  void Close(int index) override {
    auto& slot = slots_[static_cast<std::size_t>(index)];
    if (slot && slot->answer != nullptr) fleet_->Drop(slot->call);
    slot.reset();
  }

  std::chrono::microseconds Idle() override {
    fleet_->Move(milliseconds(0));
    if (fleet_->transfers() > 0) return milliseconds(10);
    return std::chrono::seconds(1);
  }

  UpstreamStats upstream_stats() const override { return fleet_->stats(); }
  ReportedUsage Reported(int index) const override {
    const auto& slot = slots_[static_cast<std::size_t>(index)];
    return slot ? slot->reported : ReportedUsage();
  }

  void Interrupt() override {
    interrupted_.store(true, std::memory_order_release);
    fleet_->Wake();
  }

 private:
  void Turn(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs, milliseconds wait) {
    for (const EngineWork& item : work) {
      Slot& slot = *slots_[static_cast<std::size_t>(item.slot)];
      if (slot.answer != nullptr) continue;
      if (const absl::Status sent = Send(slot); !sent.ok()) Fail(item.slot, outputs, sent);
    }
    fleet_->Move(outputs.empty() ? wait : milliseconds(0));
    for (const EngineWork& item : work) {
      Slot& slot = *slots_[static_cast<std::size_t>(item.slot)];
      if (slot.answer == nullptr) continue;
      if (!slot.answer->over() && clock_.Mono() - slot.began_at >= options_.first_token_timeout) {
        fleet_->Cancel(slot.call);
        slot.answer->GiveUp(base::Unavailable("the upstream's answer was not whole in time"),
                            fleet_->OthersGotOn(slot.call, slot.began_at));
      }
      if (slot.answer->over()) Conclude(item.slot, slot, outputs);
    }
  }

  // How many of the inputs that are left go with one request.
  std::size_t PartOf(const Slot& slot) const {
    const auto most = static_cast<std::size_t>(std::clamp<std::int64_t>(kPartNumbersMax / info_.dimensions, 1, kEmbedInputsMax));
    std::size_t part = 1;
    std::size_t bytes = info_.reranks() ? slot.documents[slot.done].size() : 0;
    for (; part < most && slot.done + part < slot.ends.size(); ++part) {
      const std::size_t next = slot.done + part;
      if (slot.ends[next] - slot.Begin(slot.done) > kPartTokensMax) break;
      if (info_.reranks()) bytes += slot.documents[next].size();
      if (bytes > kPartBytesMax) break;
    }
    return part;
  }

  absl::Status Send(Slot& slot) {
    slot.part = PartOf(slot);
    UpstreamEmbedAsk ask;
    std::vector<std::span<const std::int32_t>> inputs;
    for (std::size_t i = 0; i < slot.part; ++i) inputs.push_back(slot.Input(slot.done + i));
    ask.inputs = inputs;
    ask.cache_salt = slot.salt;
    ask.priority = slot.band;
    std::size_t bytes_max = UpstreamVectorsBytesMax(slot.part, info_.dimensions);
    if (info_.reranks()) {
      ask.query = slot.query;
      ask.documents = std::span(slot.documents).subspan(slot.done, slot.part);
      bytes_max = UpstreamRanksBytesMax(ask);
    }
    auto answer = std::make_unique<UpstreamAnswer>(bytes_max);
    TG_RETURN_IF_ERROR(fleet_->Send(slot.call, UpstreamFleet::Affinity(slot.salt, inputs.front()),
                                    info_.reranks() ? "/v1/rerank" : "/v1/embeddings",
                                    info_.reranks() ? UpstreamRerankBody(options_, ask) : UpstreamEmbedBody(options_, ask), *answer));
    slot.answer = std::move(answer);
    slot.began_at = clock_.Mono();
    return absl::OkStatus();
  }

  absl::StatusOr<UpstreamNumbers> Read(const Slot& slot) const {
    TG_RETURN_IF_ERROR(slot.answer->status());
    return info_.reranks() ? ReadUpstreamRanks(slot.answer->body(), slot.part, logits_)
                           : ReadUpstreamVectors(slot.answer->body(), slot.part, info_.dimensions);
  }

  // The answer is over: give its numbers out, try again, or fail.
  void Conclude(int index, Slot& slot, std::vector<EngineOutput>& outputs) {
    auto numbers = Read(slot);
    const std::unique_ptr<UpstreamAnswer> answer = std::move(slot.answer);
    const bool lies = answer->status().ok() && !numbers.ok();
    const bool failed = answer->endpoint_failed() || lies;
    const auto failure = !failed            ? UpstreamFleet::Failure::kNone
                         : answer->silent() ? UpstreamFleet::Failure::kSilence
                                            : UpstreamFleet::Failure::kEndpoints;
    const std::size_t endpoint = fleet_->Ended(slot.call, numbers.status(), failure, answer->wait());
    if (!numbers.ok()) {
      // Tried again: the next step begins anew, elsewhere.
      const bool may_retry = answer->may_retry() || lies;
      if (may_retry && fleet_->TryAgain(slot.call, UpstreamFleet::Affinity(slot.salt, slot.Input(slot.done)))) return;
      return Fail(index, outputs, numbers.status());
    }
    slot.call.tried.clear();
    slot.reported.worked = true;
    fleet_->Compare(endpoint, {.reported_input = numbers->input_tokens, .sent = slot.PartTokens()}, slot.reported);
    slot.done += std::exchange(slot.part, 0);
    EngineOutput& output = outputs.emplace_back();
    output.slot = index;
    output.vectors = given_.emplace_back(std::move(numbers->numbers));
  }

  void Fail(int slot, std::vector<EngineOutput>& outputs, const absl::Status& status) {
    EngineOutput& output = outputs.emplace_back();
    output.slot = slot;
    output.status = status;
  }

  const UpstreamOptions& options_;  // The fleet's.
  const base::Clock& clock_;
  ModelInfo info_;
  std::unique_ptr<UpstreamTexts> texts_;
  bool logits_ = false;  // What ranks come as.
  std::atomic<bool> interrupted_{false};

  // Replica's thread only.
  std::vector<std::optional<Slot>> slots_;
  std::deque<std::vector<float>> given_;  // Of this step's outputs.
  std::unique_ptr<UpstreamFleet> fleet_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeUpstreamEmbedder(const ModelOptions& model, std::unique_ptr<UpstreamTexts> texts,
                                                             const base::Clock& clock) {
  const UpstreamKind kind = model.upstream.kind;
  if (kind == UpstreamKind::kTensorRtLlm)
    return base::Unimplemented("trtllm-serve makes no vectors: set upstream.kind to vllm, sglang or llama_server, or leave pooling out");
  if (kind == UpstreamKind::kSglang && texts->Facts().reranks())
    return base::Unimplemented("sglang does not say what a rerank cost: set upstream.kind to vllm or llama_server");
  if (!model.chat_template.empty()) return base::FailedPrecondition("a model that embeds has no chat template: leave it out");
  TG_ASSIGN(auto fleet, UpstreamFleet::Create(model, clock));
  return std::make_unique<UpstreamEmbedder>(model, std::move(texts), std::move(fleet), clock);
}

}  // namespace tollgate::inference
