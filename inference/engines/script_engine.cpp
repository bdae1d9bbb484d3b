// How it works. Prompt tokens hold their own bytes (see Encode), so that the engine reads the script back from the tokens alone, as a real
// engine has only them. A sequence whose next token is not due yet gives nothing in a step; a step that has nothing to give waits a moment
// for the first that is due, so that a paced or hung sequence neither blocks the others nor spins.
//
// Where it embeds, a vector is made of its input's bytes alone, the same for the same text; where it reranks, a document's relevance is the
// share of the query's words that it has. An input "!fail …" makes the step fail, "!away MODEL" that of this model, "!abort …" the process
// abort where ScriptMayAbort; one that begins with "!pace_ms N" takes N milliseconds.
//
// Tested by tests/inference/script_engine_test.cpp, tests/inference/embed_test.cpp.
#include "inference/engines/script_engine.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/mutex.h"
#include "inference/chat_format.h"
#include "inference/chat_tools.h"
#include "inference/engines/script.h"
#include "inference/engines/script_cells.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;

// Ids: up to four ASCII bytes other than NUL, seven bits each, the first lowest; or kBytes | count << 24 | up to three bytes; or kControl +
// n.
constexpr std::int32_t kBytes = 1 << 28;
constexpr std::int32_t kControl = 1 << 29;
constexpr std::int32_t kVocab = 1 << 30;
enum Control : std::int32_t { kBegin, kEndTurn, kSystem, kUser, kAssistant, kTool, kNewTurn, kReply };
constexpr float kLogprob = -0.25F;
constexpr microseconds kWaitMax = std::chrono::milliseconds(2);  // A slice of waiting: how late a clock that tests move may be seen.

bool IsPlain(char c) { return c > 0; }

void Encode(std::string_view text, std::vector<std::int32_t>& tokens) {
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < std::min<std::size_t>(4, text.size()) && IsPlain(text[plain])) ++plain;
    std::int32_t token = 0;
    std::size_t used = plain;
    if (plain > 0) {
      for (std::size_t i = 0; i < plain; ++i) token |= static_cast<std::int32_t>(text[i]) << (7 * i);
    } else {
      while (used < std::min<std::size_t>(3, text.size()) && !IsPlain(text[used])) ++used;
      for (std::size_t i = 0; i < used; ++i) token |= static_cast<std::int32_t>(static_cast<unsigned char>(text[i])) << (8 * i);
      token |= kBytes | static_cast<std::int32_t>(used) << 24;
    }
    tokens.push_back(token);
    text.remove_prefix(used);
  }
}

void Decode(std::int32_t token, std::string& text) {
  if (token >= kBytes) {
    const int count = (token >> 24) & 3;
    for (int i = 0; i < count; ++i) text.push_back(static_cast<char>((token >> (8 * i)) & 0xFF));
    return;
  }
  for (; token > 0; token >>= 7) text.push_back(static_cast<char>(token & 0x7F));
}

Control RoleToken(std::string_view role) {
  if (role == "system") return kSystem;
  if (role == "user") return kUser;
  if (role == "assistant") return kAssistant;
  return kTool;
}

std::string LastUserText(std::span<const std::int32_t> prompt) {
  std::string text;
  bool user = false;
  for (const std::int32_t token : prompt) {
    if (token < kControl) {
      if (user) Decode(token, text);
      continue;
    }
    if (token == kControl + kUser) {
      user = true;
      text.clear();
    } else if (token == kControl + kEndTurn) {
      user = false;
    }
  }
  return text;
}

std::int32_t OutputToken(std::string_view bytes) {
  std::uint32_t hash = 2166136261U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return static_cast<std::int32_t>(hash % static_cast<std::uint32_t>(kBytes));
}

constexpr std::int64_t kScriptedDimensions = 8;

absl::StatusOr<std::string> ScriptedText(std::span<const std::int32_t> tokens, std::int32_t begin) {
  if (!tokens.empty() && tokens.front() == begin) tokens = tokens.subspan(1);
  std::string text;
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= kControl) return base::InvalidArgument("a number that is no token of text");
    Decode(token, text);
  }
  return base::IsValidUtf8(text) ? absl::StatusOr<std::string>(std::move(text))
                                 : base::InvalidArgument("the tokens spell bytes that are not UTF-8, so that policy cannot read them");
}

void AppendScriptedVector(std::string_view text, std::vector<float>& vectors) {
  const base::Digest digest = base::Sha256(text);
  double square = 0;
  for (std::size_t i = 0; i < kScriptedDimensions; ++i) square += (digest[i] - 127.5) * (digest[i] - 127.5);
  for (std::size_t i = 0; i < kScriptedDimensions; ++i) vectors.push_back(static_cast<float>((digest[i] - 127.5) / std::sqrt(square)));
}

float ScriptedRelevance(const std::string& query, const std::string& document) {
  std::istringstream words(query);
  int all = 0, found = 0;
  for (std::string word; words >> word; ++all) found += document.find(word) != std::string::npos ? 1 : 0;
  return all == 0 ? 0.0F : static_cast<float>(found) / static_cast<float>(all);
}

struct Slot {
  Script script;
  std::int64_t prompt_tokens = 0;
  std::int64_t prompt_left = 0;
  std::int64_t given_before = 0;    // Tokens of the reply that stand in the prompt.
  base::MonoTime last;              // When it gave its last token.
  std::optional<ScriptEvent> next;  // Drawn from the script, not given yet.
  std::vector<int> adapters;
  std::vector<std::int32_t> banned;
  std::vector<std::int32_t> biased_away;  // As far as a script goes: a bias of -100 forbids.
  int logprobs = -1;
  std::vector<EngineAlternative> top;  // Of the token that was given last.
};

class ScriptedEngine final : public Engine {
 public:
  ScriptedEngine(const ModelOptions& model, const base::Clock& clock)
      : clock_(clock),
        slots_(static_cast<std::size_t>(model.slots)),
        cells_(model.kv_tokens, model.slots),
        step_tokens_max_(std::max<std::int64_t>(model.step_tokens_max, model.slots + 16)) {
    info_.name = model.name;
    info_.engine = "scripted";
    info_.sha256 = base::Sha256("tollgate scripted engine 1");
    info_.licence = model.licence;
    info_.architecture = "scripted";
    info_.chat_template = "scripted";
    info_.engine_build = "scripted 1";
    info_.context_tokens = model.context_tokens;
    info_.vocab_tokens = kVocab;
    info_.slots = model.slots, info_.kv_tokens = model.kv_tokens;
    info_.pooling = model.pooling == Pooling::kAsFile ? Pooling::kMean : model.pooling;
    if (info_.pooling != Pooling::kNone) {
      info_.dimensions = info_.reranks() ? 1 : kScriptedDimensions;
      return;
    }
    if (model.strict) info_.strict = {"scripted 1", "scripted", 1, step_tokens_max_, model.context_tokens, std::string(Name(model.kv))};
    info_.logprobs = true;
    info_.rewinds = true;
    info_.tools = ToolStyle::kHermes;
    info_.thinks = true;
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override {
    TG_RETURN_IF_ERROR(CheckTurns(turns));
    std::vector<std::int32_t> tokens;
    if (!turns.front().tools.empty()) {
      for (const Control control : {kBegin, kSystem}) tokens.push_back(kControl + control);
      Encode(ToolsText(info_.tools, turns.front().tools), tokens);
      for (const Control control : {kEndTurn, kNewTurn}) tokens.push_back(kControl + control);
    }
    for (const Turn& turn : turns) {
      for (const Control control : {kBegin, RoleToken(turn.role)}) tokens.push_back(kControl + control);
      Encode(turn.text, tokens);
      if (!turn.calls.empty()) Encode(CallsText(info_.tools, turn.calls), tokens);
      for (const Control control : {kEndTurn, kNewTurn}) tokens.push_back(kControl + control);
    }
    for (const Control control : {kBegin, kAssistant, kReply}) tokens.push_back(kControl + control);
    return tokens;
  }

  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    Encode(text, tokens);
    return tokens;
  }

  // As one turn of the user's: a script has no control tokens that could be spelt.
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    Turn turn;
    turn.role = "user";
    for (const PromptPart& part : parts) turn.text += part.text;
    return Render({&turn, 1});
  }
  // Adapters change nothing of what it answers; of their files it knows the digest.
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t /*memory_bytes*/) const override {
    TG_ASSIGN(const base::Digest digest, DigestOfFile(adapter.file));
    if (digest != adapter.sha256) return base::FailedPrecondition(adapter.file + " is not the file that was registered");
    return AdapterInfo{.name = adapter.name, .sha256 = digest, .scale = adapter.scale, .rank = 1, .memory_bytes = 1};
  }
  absl::StatusOr<int> AddAdapter(const AdapterOptions& adapter) override {
    adapters_.emplace(static_cast<int>(adapters_.size()) + 1, adapter.name);
    return static_cast<int>(adapters_.size());
  }
  void RemoveAdapter(int handle) override { adapters_.at(handle).clear(); }

  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    Slot& opened = slots_[slot].emplace();
    opened.adapters.assign(sequence.adapters.begin(), sequence.adapters.end());
    opened.script = Script::Parse(LastUserText(sequence.prompt_tokens), info_.name);
    GoOn(sequence.prompt_tokens, opened);
    opened.prompt_tokens = opened.prompt_left = static_cast<std::int64_t>(sequence.prompt_tokens.size());
    opened.last = clock_.Mono();
    opened.logprobs = sequence.logprobs;
    opened.banned.assign(sequence.banned_first.begin(), sequence.banned_first.end());
    for (const LogitBias& bias : sequence.logit_bias) {
      if (bias.bias <= -100) opened.biased_away.push_back(bias.token);
    }
    return EngineOpened{};
  }

  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    base::MonoTime first_due = base::MonoTime::max();
    bool progress = false;
    const base::MonoTime now = clock_.Mono();
    for (const EngineWork& item : work) {
      Slot& slot = *slots_[item.slot];
      if (slot.adapters != slots_[work.front().slot]->adapters) return base::Internal("a step was asked for with two sets of adapters");
      if (cells_.IsSuspended(item.slot)) return base::Internal("a suspended slot was asked to work: a defect");
      progress = progress || item.prompt_tokens > 0;
      if (cells_.IsRedone(item.slot, item.prompt_tokens)) continue;
      slot.prompt_left -= item.prompt_tokens;
      cells_.Take(item.slot, item.prompt_tokens);
      if (slot.prompt_left > 0) continue;
      const std::size_t before = outputs.size();
      first_due = std::min(first_due, Give(item.slot, slot, now, outputs));
      cells_.Gave(item.slot, static_cast<std::int64_t>(outputs.size() - before));
    }
    TG_RETURN_IF_ERROR(cells_.Check());
    if (outputs.empty() && !progress) WaitFor(first_due);
    return interrupted_.load(std::memory_order_acquire) ? base::Unavailable("the engine is shutting down") : absl::OkStatus();
  }

  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override {
    Slot& rewound = *slots_[slot];
    rewound.script.Restart();
    for (std::int64_t i = 0; i < rewound.given_before + output_tokens; ++i) rewound.script.Next();
    rewound.next.reset();
    rewound.banned.assign(banned.begin(), banned.end());
    cells_.CutTo(slot, rewound.prompt_tokens + output_tokens - 1);
    return absl::OkStatus();
  }

  absl::StatusOr<std::int64_t> Suspend(int slot, std::int64_t bytes_max) override { return cells_.Suspend(slot, bytes_max); }
  absl::StatusOr<std::int64_t> Resume(int slot) override { return cells_.Resume(slot); }

  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override {
    std::vector<std::int32_t> tokens = {kControl + kBegin};
    if (info_.reranks()) {
      tokens.insert(tokens.end(), text.query.begin(), text.query.end());
      tokens.push_back(kControl + kNewTurn);
    }
    Encode(text.text, tokens);
    return tokens;
  }

  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const override {
    return ScriptedText(tokens, kControl + kBegin);
  }

  absl::Status Embed(std::span<const std::span<const std::int32_t>> inputs, std::vector<float>& vectors) override {
    for (const auto& input : inputs) {
      std::string query, text;
      for (const std::int32_t token : input) {
        if (token == kControl + kNewTurn) std::swap(query, text);
        if (token < kControl) Decode(token, text);
      }
      TG_RETURN_IF_ERROR(ObeyInput(text));
      info_.reranks() ? vectors.push_back(ScriptedRelevance(query, text)) : AppendScriptedVector(text, vectors);
    }
    return absl::OkStatus();
  }

  void Close(int slot) override { slots_[slot].reset(), cells_.Free(slot); }

  void Interrupt() override {
    {
      base::Lock lock(mu_);
      interrupted_.store(true, std::memory_order_release);
    }
    cv_.notify_all();
  }

 private:
  // Behind what of a reply stands in the prompt: its thought, closed, or so many of its tokens.
  static void GoOn(std::span<const std::int32_t> prompt, Slot& opened) {
    const auto begin = std::find(prompt.rbegin(), prompt.rend(), kControl + kReply).base();
    std::string tail;
    for (auto token = begin; token != prompt.end(); ++token) Decode(*token, tail);
    if (tail.find("</think>") != std::string::npos) {
      opened.script.SkipThought();
      return;
    }
    opened.given_before = begin == prompt.begin() ? 0 : prompt.end() - begin;
    for (std::int64_t i = 0; i < opened.given_before; ++i) opened.script.Next();
  }

  // Gives the slot's next token if it is due. Returns when it is, if not now.
  base::MonoTime Give(int index, Slot& slot, base::MonoTime now, std::vector<EngineOutput>& outputs) {
    if (!slot.next) slot.next = slot.script.Next();
    const ScriptEvent event = *slot.next;
    if (event.kind == ScriptEvent::kHang) return base::MonoTime::max();
    if (event.pace.count() > 0 && now < slot.last + event.pace) return slot.last + event.pace;
    if (event.kind == ScriptEvent::kAbort && ScriptMayAbort()) std::abort();
    EngineOutput& output = outputs.emplace_back();
    output.slot = index;
    if (event.kind == ScriptEvent::kFail || event.kind == ScriptEvent::kAbort) {
      output.status = base::Internal("the engine failed, as the script told it to");
      return now;
    }
    if (event.kind == ScriptEvent::kAway) {
      output.status = Away();
      return now;
    }
    slot.next.reset();
    slot.last = now;
    output.bytes = event.bytes;
    output.token = OutputToken(event.bytes);
    output.ends = event.ends || event.kind == ScriptEvent::kEnd;
    const auto forbidden = [&output](const auto& tokens) { return std::find(tokens.begin(), tokens.end(), output.token) != tokens.end(); };
    if (forbidden(slot.banned) || forbidden(slot.biased_away)) {
      output.bytes = "other ";
      output.token = OutputToken(output.bytes);
    }
    slot.banned.clear();
    if (slot.logprobs >= 0) AddLogprobs(slot, event, output);
    return now;
  }

  // The token itself is the likeliest, then what the script says.
  static void AddLogprobs(Slot& slot, const ScriptEvent& event, EngineOutput& output) {
    output.logprob = kLogprob;
    slot.top.assign(1, {output.token, output.bytes, kLogprob});
    for (const std::string& other : event.alternatives) {
      slot.top.push_back({OutputToken(other), other, kLogprob - static_cast<float>(slot.top.size())});
    }
    output.top = std::span(slot.top).first(std::min(slot.top.size(), static_cast<std::size_t>(slot.logprobs)));
  }

  static absl::Status Away() { return base::Unavailable("the engine cannot be reached, as the script told it to"); }

  // An input that begins with !fail, !abort or !pace_ms N, or is !away MODEL.
  absl::Status ObeyInput(std::string_view text) {
    if (text.starts_with("!abort") && ScriptMayAbort()) std::abort();
    if (text.starts_with("!fail") || text.starts_with("!abort")) return base::Internal("the engine failed, as the input told it to");
    if (text == "!away " + info_.name) return Away();
    if (!text.starts_with("!pace_ms ")) return absl::OkStatus();
    const base::MonoTime due = clock_.Mono() + std::chrono::milliseconds(std::min(std::atoi(std::string(text.substr(9)).c_str()), 60'000));
    while (clock_.Mono() < due && !interrupted_.load(std::memory_order_acquire)) WaitFor(due);
    return interrupted_.load(std::memory_order_acquire) ? base::Unavailable("the engine is shutting down") : absl::OkStatus();
  }

  void WaitFor(base::MonoTime due) {
    const auto left = due == base::MonoTime::max() ? kWaitMax : std::chrono::duration_cast<microseconds>(due - clock_.Mono());
    base::Lock lock(mu_);
    cv_.wait_for(lock.native(), std::clamp(left, microseconds(1), kWaitMax),
                 [this] { return interrupted_.load(std::memory_order_acquire); });
  }

  const base::Clock& clock_;
  ModelInfo info_;
  std::vector<std::optional<Slot>> slots_;  // Replica's thread only.
  ScriptCells cells_;
  std::int64_t step_tokens_max_;
  std::map<int, std::string> adapters_;  // By handle; the name of one that was removed is empty.
  base::Mutex mu_;
  std::condition_variable cv_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace

std::unique_ptr<Engine> MakeScriptedEngine(const ModelOptions& model, const base::Clock& clock) {
  return std::make_unique<ScriptedEngine>(model, clock);
}

}  // namespace tollgate::inference
