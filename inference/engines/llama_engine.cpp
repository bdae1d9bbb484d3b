// How it works. A context with split KV: slot i is libllama's sequence i and owns its part of the cache, so a sequence that was let in
// never runs out; or one cache for all (llama_cells.cpp). A step is one batch in the order of slots, which libllama computes in the fewest
// passes; only the last token of a finished prompt and each decoded token ask for logits, and our own sampler reads them where they lie,
// the rows of a step side by side where there are processors for it.
//
// The token that was sampled last is not in the cache: it is fed by the next step. So after k output tokens the cache holds the prompt and
// k - 1 of them, and Rewind only has to cut it.
//
// A sequence that is closed leaves a snapshot of its state, if its tenant could save work by it, under that tenant's name alone; Open puts
// back the one that begins like the prompt and cuts it to what they share. Of a prompt that begins with what its org published, a second
// one is left, of exactly those tokens and under the org's name, if they are proven finite, since others get it. What its tenant's share of
// the memory does not hold is cut off before it is copied, and what would not be kept is not copied.
//
// Tested by tests/inference/model_test.cpp, tests/inference/interleaving_test.cpp, tests/inference/state_model_test.cpp.
#include "inference/engines/llama_engine.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "inference/step_budget.h"

namespace tollgate::inference {
namespace {

constexpr std::int64_t kPieceStep = 16;  // Tokens by which pieces differ for which a device has other kernels.

// Whether a part of a sequence's state means anything: not where states are folded into one, or old tokens are forgotten.
bool KeepsParts(const llama_model* model) {
  return !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model) && llama_model_n_swa(model) == 0;
}

}  // namespace

LlamaEngine::LlamaEngine(ModelInfo info, GgufHeader header, LlamaModel model, LlamaContext context, LlamaVocab vocab, int step_tokens_max,
                         std::int64_t prefix_cache_bytes, bool device_cuts, bool in_own_process, std::vector<DeviceShare> shares)
    : info_(std::move(info)),
      model_(std::move(model)),
      context_(std::move(context)),
      adapters_(model_.get(), context_.get(), std::move(header), std::move(shares), in_own_process),
      vocab_(std::move(vocab)),
      batch_(step_tokens_max),
      cut_(context_.get(), info_.slots, vocab_.tokens(), device_cuts),
      slots_(static_cast<std::size_t>(info_.slots)),
      keeps_parts_(KeepsParts(model_.get())),
      prefixes_(keeps_parts_ ? prefix_cache_bytes : 0),
      crew_(SamplingHelpers(info_.slots)),
      scratch_(static_cast<std::size_t>(crew_.workers())),
      step_tokens_max_(step_tokens_max) {
  info_.rewinds = keeps_parts_;
  llama_set_abort_callback(
      context_.get(), [](void* self) { return static_cast<LlamaEngine*>(self)->interrupted(); }, this);
}

LlamaEngine::~LlamaEngine() {
  if (interrupted()) LlamaInterrupted(false);
}

void LlamaEngine::Interrupt() {
  if (!interrupted_.exchange(true, std::memory_order_acq_rel)) LlamaInterrupted(true);
}

absl::StatusOr<std::vector<std::int32_t>> LlamaEngine::Tokenize(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  TG_RETURN_IF_ERROR(vocab_.Tokenize(text, tokens));
  return tokens;
}

absl::StatusOr<std::vector<std::int32_t>> LlamaEngine::RenderParts(std::span<const PromptPart> parts) const {
  return vocab_.RenderParts(parts);
}

absl::Status LlamaEngine::Start(int threads) {
  llama_set_n_threads(context_.get(), threads, threads);
  threads_ = LlamaThreads::Attach(context_.get(), threads);
  TG_RETURN_IF_ERROR(WarmUp(1, 0));
  if (info_.device_memory_bytes == 0) return absl::OkStatus();
  const std::int64_t whole = std::min<std::int64_t>(step_tokens_max_ - info_.slots, info_.context_tokens);
  TG_RETURN_IF_ERROR(WarmUp(whole, info_.slots - 1));
  // Pieces of all lengths: a device's libraries choose other kernels for them, and fetch each when it is first used.
  for (std::int64_t piece = std::min(StepBudget::kDeviceChunk, whole); piece > kPieceStep; piece -= kPieceStep) {
    TG_RETURN_IF_ERROR(WarmUp(piece, info_.slots - 1));
  }
  return WarmUp(1, info_.slots - 1);
}

// A step of so many tokens in the first slot, and one in each of so many others.
absl::Status LlamaEngine::WarmUp(std::int64_t prompt_tokens, int others) {
  batch_.raw.n_tokens = 0;
  for (std::int64_t i = 0; i < prompt_tokens; ++i) batch_.Add(0, i, 0, i + 1 == prompt_tokens);
  for (int slot = 1; slot <= others; ++slot) batch_.Add(0, 0, slot, true);
  TG_RETURN_IF_ERROR(Decode());
  llama_memory_clear(llama_get_memory(context_.get()), true);
  return absl::OkStatus();
}

absl::Status LlamaEngine::Fill(std::span<const EngineWork> work) {
  ordered_.assign(work.begin(), work.end());
  std::sort(ordered_.begin(), ordered_.end(), [](const EngineWork& a, const EngineWork& b) { return a.slot < b.slot; });
  batch_.raw.n_tokens = 0;
  wanted_.clear();
  chunks_.clear();
  const bool proves = info_.kv_tokens > 0;
  for (const EngineWork& item : ordered_) {
    if (item.slot < 0 || item.slot >= info_.slots || !slots_[item.slot])
      return base::Internal(fmt::format("slot {} is not open", item.slot));
    if (slots_[item.slot]->aside != nullptr) return base::Internal(fmt::format("slot {} is suspended", item.slot));
    const Slot& slot = *slots_[item.slot];
    if (slot.adapters != slots_[ordered_.front().slot]->adapters) return base::Internal("a step was asked for with two sets of adapters");
    const std::int64_t known = static_cast<std::int64_t>(slot.prompt.size() + slot.output.size());
    const std::int64_t tokens = std::max<std::int64_t>(item.prompt_tokens, 1);
    if (slot.cached + tokens > known || slot.cached + tokens > info_.context_tokens || batch_.raw.n_tokens + tokens > step_tokens_max_) {
      return base::Internal(fmt::format("slot {} was given {} tokens of work it cannot do", item.slot, tokens));
    }
    const std::int64_t end = slot.cached + tokens;
    for (std::int64_t i = slot.cached; i < end; ++i) batch_.Add(slot.TokenAt(i), i, item.slot, i + 1 == known || (proves && i + 1 == end));
    if (end == known || proves) (end == known ? wanted_ : chunks_).push_back({item.slot, batch_.raw.n_tokens - 1});
  }
  return absl::OkStatus();
}

absl::StatusOr<int> LlamaBatch::Decode(llama_context* context) const {
  try {
    const int code = llama_decode(context, raw);
    llama_synchronize(context);
    return code;
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the engine failed: {}", e.what()));
  }
}

absl::Status LlamaEngine::Decode() {
  TG_ASSIGN(const int code, batch_.Decode(context_.get()));
  switch (code) {
    case 0: return absl::OkStatus();
    case 1: return base::Internal("the engine found no room in its cache, which is guaranteed: a defect");
    case 2: return base::Unavailable("the engine was interrupted");
    case -1: return base::Internal("the engine refused the batch");
    default: return base::Internal(fmt::format("the engine failed with code {}", code));
  }
}

absl::StatusOr<EngineOpened> LlamaEngine::Open(int index, const EngineSequence& sequence) {
  const auto prompt = sequence.prompt_tokens;
  if (info_.strict) {  // Nothing of what ran before is left, not even its place.
    llama_memory_clear(llama_get_memory(context_.get()), true);
    spoilt_.clear();
  }
  if ((info_.kv_tokens > 0 ? !spoilt_.empty() : spoilt_.contains(index)) && !Cleanse(index))
    return base::Unavailable("the engine's memory is short; try again");
  TG_RETURN_IF_ERROR(adapters_.Usable(sequence.adapters));
  const std::string with = adapters_.Salt(sequence.adapters);
  Slot& slot = slots_[index].emplace(Slot{
      {prompt.begin(), prompt.end()}, {}, 0, Sampler(sequence.sampling, prompt, sequence.logit_bias), sequence.tenant.ToString() + with});
  slot.adapters.assign(sequence.adapters.begin(), sequence.adapters.end());
  slot.logprobs = sequence.logprobs;
  slot.sampler.Ban(sequence.banned_first);
  slot.grammar = std::dynamic_pointer_cast<LlamaGrammar>(sequence.read);
  if (slot.grammar == nullptr && !sequence.grammar.empty()) {
    TG_ASSIGN(slot.grammar, LlamaGrammar::Make(vocab_, sequence.grammar));
  }
  slot.published = std::clamp<std::int64_t>(sequence.published_tokens, 0, static_cast<std::int64_t>(prompt.size()) - 1);
  slot.published_salt = "published:" + sequence.published_by.ToString() + with;  // Never a tenant's name.
  const EngineOpened opened = Restore(index, slot);
  slot.cached = opened.cached_tokens + opened.published_tokens;
  return opened;
}

// Puts the longest prefix that the tenant has into the slot, or a longer one of what is published.
EngineOpened LlamaEngine::Restore(int index, const Slot& opened) {
  // A device computes a token in about the time in which so many are copied to it.
  constexpr std::int64_t kCopiedInTime = 4;
  const auto find = [this](const std::string& salt, std::span<const std::int32_t> prompt) {
    const auto hit = prefixes_.Find(salt, prompt);
    return hit && info_.device_memory_bytes > 0 && hit->tokens * kCopiedInTime < hit->state_tokens ? std::nullopt : hit;
  };
  const auto own = find(opened.salt, opened.prompt);
  const std::int64_t own_tokens = own ? own->tokens : 0;
  const auto until = static_cast<std::size_t>(opened.published) + 1;  // Find leaves a token to evaluate.
  const auto prefix = std::span(opened.prompt).first(until);
  const auto all = opened.published > own_tokens ? find(opened.published_salt, prefix) : std::nullopt;
  if (all && all->tokens > own_tokens && Put(index, {all->state, all->state_tokens}, all->tokens))
    return {own_tokens, all->tokens - own_tokens};
  return {own && Put(index, {own->state, own->state_tokens}, own_tokens) ? own_tokens : 0, 0};
}

std::int64_t LlamaEngine::Share(int from, int to) {
  const Slot& source = *slots_[from];
  Slot& target = *slots_[to];
  const std::size_t most = std::min({source.prompt.size(), target.prompt.size() - 1, static_cast<std::size_t>(source.cached)});
  const auto end = source.prompt.begin() + static_cast<std::ptrdiff_t>(most);
  const auto same = std::mismatch(source.prompt.begin(), end, target.prompt.begin()).first - source.prompt.begin();
  if (!keeps_parts_ || !source.sound || source.aside != nullptr || target.aside != nullptr || source.salt != target.salt ||
      same <= target.cached)
    return 0;
  try {
    if (!shared_ || shared_->slot != from) {
      shared_.emplace(LlamaAway{from, std::make_unique<LlamaAside>()});
      if (!TakeOut(from, INT64_MAX, *shared_->aside)) return shared_.reset(), 0;
    }
    target.cached = Put(to, shared_->aside->state(), same) ? same : 0;
  } catch (const std::exception& e) {
    base::Warn("llama", "a prompt was not shared: {}", e.what());
    return 0;
  }
  return target.cached;
}

void LlamaEngine::Keep(int index) {
  Slot& slot = *slots_[index];
  std::vector<std::int32_t> tokens = std::move(slot.prompt);
  tokens.insert(tokens.end(), slot.output.begin(), slot.output.end());
  tokens.resize(static_cast<std::size_t>(slot.cached));
  // What all may find holds nothing but what all may know, and an answer's token has proven it.
  const std::int64_t published = slot.finite && !slot.output.empty() ? std::min(slot.published, slot.cached) : 0;
  std::vector<std::int32_t> open(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(published));
  KeepUnder(slot.salt, std::move(tokens), index);
  KeepUnder(slot.published_salt, std::move(open), index);
}

// Keeps the state of these tokens, the slot's first, or of as many as there can be room for. What the slot has beyond them is cut off.
void LlamaEngine::KeepUnder(const std::string& salt, std::vector<std::int32_t> tokens, int index) {
  Slot& slot = *slots_[index];
  const auto state_bytes = [&] { return static_cast<std::int64_t>(llama_state_seq_get_size(context_.get(), index)); };
  tokens.resize(static_cast<std::size_t>(std::min<std::int64_t>(std::ssize(tokens), slot.cached)));
  if (!prefixes_.Wants(salt, tokens)) return;
  try {
    std::int64_t bytes = state_bytes();
    const std::int64_t end = std::min<std::int64_t>(std::ssize(tokens), prefixes_.Fits(salt, slot.cached, bytes));
    tokens.resize(static_cast<std::size_t>(end));
    if (end < slot.cached) {
      if (!prefixes_.Wants(salt, tokens)) return;
      if (!llama_memory_seq_rm(llama_get_memory(context_.get()), index, static_cast<llama_pos>(end), -1)) return;
      slot.cached = end;
      bytes = state_bytes();
    }
    if (!prefixes_.MakeRoom(salt, tokens, bytes)) return;
    std::vector<std::uint8_t> state(static_cast<std::size_t>(bytes));
    if (llama_state_seq_get_data(context_.get(), state.data(), state.size(), index) != state.size()) return;
    prefixes_.Keep(salt, std::move(tokens), std::move(state));
  } catch (const std::exception& e) {
    base::Warn("llama", "a prefix was not kept: {}", e.what());
  }
}

void LlamaEngine::Close(int index) {
  shared_.reset();
  const bool odd = slots_[index] && slots_[index]->odd;
  const bool may_be = odd || (slots_[index] && (!slots_[index]->adapters.empty() || info_.kv_tokens > 0));
  const bool spoilt = may_be && !interrupted() && !TurnsOutFinite(index);
  if (odd) prefixes_.Forget(slots_[index]->salt, slots_[index]->prompt);  // It may have come from there.
  if (slots_[index] && slots_[index]->sound && slots_[index]->aside == nullptr && !interrupted() && !spoilt) Keep(index);
  llama_memory_seq_rm(llama_get_memory(context_.get()), index, -1, -1);
  slots_[index].reset();
  if (spoilt && !Cleanse(index)) spoilt_.insert(index);
}

absl::Status LlamaEngine::Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) {
  if (work.empty()) return absl::OkStatus();
  shared_.reset();
  TG_RETURN_IF_ERROR(Fill(work));
  if (info_.kv_tokens > 0 && !spoilt_.empty() && !Cleanse(*spoilt_.begin())) return base::Unavailable("the engine's memory is short");
  cut_.Suit(CutIsEnough());
  absl::Status status = adapters_.Use(slots_[ordered_.front().slot]->adapters);
  if (status.ok()) status = Decode();
  if (!status.ok()) {
    for (const EngineWork& item : ordered_) slots_[item.slot]->sound = false;
    return status;
  }
  for (const EngineWork& item : ordered_) {
    slots_[item.slot]->cached += std::max<std::int64_t>(item.prompt_tokens, 1);
    slots_[item.slot]->finite = false;
  }
  ProveChunks(outputs);
  SampleAll(outputs);
  return absl::OkStatus();
}

// Whether all slots that are open can do with what the device leaves of their logits.
bool LlamaEngine::CutIsEnough() const {
  return cut_.wanted() && std::all_of(slots_.begin(), slots_.end(), [this](const std::optional<Slot>& slot) {
           return !slot || (slot->logprobs < 0 && !slot->grammar && slot->adapters.empty() && cut_.Enough(slot->sampler.deciding()));
         });
}

void LlamaEngine::TakeLogits(Wanted& wanted) {
  if (!cut_.on()) {
    wanted.logits = llama_get_logits_ith(context_.get(), wanted.row);
    return;
  }
  wanted.cut = cut_.Row(wanted.row);
  if (wanted.cut.tokens.empty()) {
    wanted.logits = wanted.cut.logits.data();
  } else {
    ++device_sampled_;
  }
}

// libllama is asked for the rows on this thread alone: it may put them in another order.
void LlamaEngine::SampleAll(std::vector<EngineOutput>& outputs) {
  for (Wanted& wanted : wanted_) TakeLogits(wanted);
  const std::size_t first = outputs.size();
  outputs.resize(first + wanted_.size());
  tops_.resize(wanted_.size());
  crew_.Run(static_cast<int>(wanted_.size()), [&](int index, int worker) {
    const auto i = static_cast<std::size_t>(index);
    EngineOutput& output = outputs[first + i];
    output.slot = wanted_[i].slot;
    try {
      output.status = Sample(wanted_[i], scratch_[static_cast<std::size_t>(worker)], tops_[i], output);
    } catch (const std::exception& e) {
      output.status = base::Internal(fmt::format("choosing a token failed: {}", e.what()));
    }
  });
}

// The next token: the sampler's, if the grammar allows it; else the sampler's of those that the grammar allows.
// Where that is what is forbidden alone, it comes: who forbade it finds it again.
absl::StatusOr<std::int32_t> LlamaEngine::Choose(Slot& slot, const LlamaCut& cut, std::span<const float> logits, Scratch& scratch) const {
  const auto position = static_cast<std::int64_t>(slot.output.size());
  if (!cut.tokens.empty()) return slot.sampler.SampleFrom(cut.tokens, cut.logits, position, scratch.sampler);
  TG_ASSIGN(std::int32_t token, slot.sampler.Sample(logits, position, scratch.sampler));
  if (!slot.grammar) return token;
  TG_ASSIGN(const bool allowed, slot.grammar->Allows(token));
  if (!allowed) {
    scratch.masked.assign(logits.begin(), logits.end());
    TG_RETURN_IF_ERROR(slot.grammar->Mask(scratch.masked));
    auto other = slot.sampler.Sample(scratch.masked, position, scratch.sampler);
    if (!other.ok() && slot.sampler.bans()) {
      slot.sampler.Ban({});
      other = slot.sampler.Sample(scratch.masked, position, scratch.sampler);
    }
    if (!other.ok()) return base::Internal("nothing that the grammar allows can come next");
    token = *other;
  }
  TG_RETURN_IF_ERROR(slot.grammar->Accept(token));
  return token;
}

absl::Status LlamaEngine::Sample(const Wanted& wanted, Scratch& scratch, std::vector<EngineAlternative>& alternatives,
                                 EngineOutput& output) {
  Slot& slot = *slots_[wanted.slot];
  if (wanted.logits == nullptr && wanted.cut.tokens.empty()) return base::Internal("the engine gave no logits");
  const std::span<const float> logits(wanted.logits, wanted.logits == nullptr ? 0 : static_cast<std::size_t>(vocab_.tokens()));
  const bool proves = info_.kv_tokens > 0;
  slot.finite = (slot.adapters.empty() && !proves) || IsFinite(wanted.logits);
  if (proves && !slot.finite) return Overflowed();
  const auto chosen = Choose(slot, wanted.cut, logits, scratch);
  if (!chosen.ok()) {
    slot.finite = IsFinite(wanted.logits);  // Of a cut, in which some are always allowed, it was the greatest that is not.
    slot.odd = !slot.finite;
    return chosen.status();
  }
  const std::int32_t token = *chosen;
  slot.sampler.Accept(token);
  slot.output.push_back(token);
  output.token = token;
  output.bytes = vocab_.Bytes(token);
  output.ends = vocab_.EndsTurn(token);
  if (output.ends) output.bytes = {};
  if (slot.logprobs >= 0) AddLogprobs(logits, slot.logprobs, scratch, alternatives, output);
  return absl::OkStatus();
}

void LlamaEngine::AddLogprobs(std::span<const float> logits, int top, Scratch& scratch, std::vector<EngineAlternative>& alternatives,
                              EngineOutput& output) const {
  output.logprob = Logprobs(logits, output.token, top, scratch.likeliest);
  alternatives.clear();
  for (const TokenLogprob& likely : scratch.likeliest) alternatives.push_back({likely.token, vocab_.Bytes(likely.token), likely.logprob});
  output.top = alternatives;
}

absl::Status LlamaEngine::Rewind(int index, std::int64_t output_tokens, std::span<const std::int32_t> banned) {
  Slot& slot = *slots_[index];
  const auto have = static_cast<std::int64_t>(slot.output.size());
  if (output_tokens < 0 || output_tokens > have) return base::InvalidArgument("there are not so many output tokens to rewind to");
  const std::int64_t cached = std::min(slot.cached, static_cast<std::int64_t>(slot.prompt.size()) + output_tokens - 1);
  if (slot.aside == nullptr && !llama_memory_seq_rm(llama_get_memory(context_.get()), index, static_cast<llama_pos>(cached), -1)) {
    return base::Unimplemented("this model's memory cannot be taken back in part");
  }
  for (std::int64_t i = have; i > output_tokens; --i) {
    slot.sampler.TakeBack(slot.output.back());
    slot.output.pop_back();
  }
  slot.cached = cached;
  slot.sampler.Ban(banned);
  return slot.grammar ? slot.grammar->Restart(slot.output) : absl::OkStatus();
}

}  // namespace tollgate::inference
