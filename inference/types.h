// What callers of the pool speak: turns, sampling, models. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "inference/pooling_kind.h"
#include "inference/strict.h"

namespace tollgate::inference {

// How the context is kept: 16-bit floats; 8-bit blocks: half the memory, answers that differ a little; or 32-bit floats: twice the memory,
// for answers that do not depend on what ran beside them but for the last bits.
enum class KvType { kF16, kQ8, kF32 };
std::string_view Name(KvType kv);  // "f16", "q8", "f32"

// How a model writes down its calls of tools. docs/output.md shows each.
enum class ToolStyle {
  kNone,      // It has no place for tools.
  kHermes,    // <tool_call>{"name": …, "arguments": …}</tool_call>: Hermes, Qwen, ChatML.
  kLlama,     // {"name": …, "parameters": …}: Llama from 3.1 on.
  kMistral,   // [TOOL_CALLS] [{"name": …, "arguments": …, "id": …}].
  kDeepSeek,  // <｜tool▁calls▁begin｜> …: V3, R1.
};
std::string_view Name(ToolStyle style);  // "hermes", "llama" …

// A function that the model may call. `parameters`: a JSON Schema of an object, as JSON.
struct ToolDefinition {
  std::string name;
  std::string description;
  std::string parameters;
};

// A call of a function. `arguments`: a JSON object.
struct ToolUse {
  std::string id;
  std::string name;
  std::string arguments;
};

// One turn of a conversation. `role` is "system", "user", "assistant" or "tool"; anything else is refused by Render. `name` is given to
// templates that have a place for it and ignored by others. All text is text: nothing in it can become a control token.
struct Turn {
  std::string role;
  std::string name;
  std::string text;
  std::vector<ToolUse> calls{};         // Of an assistant's turn.
  std::string call_id{};                // Of a tool's turn: which call it answers.
  std::vector<ToolDefinition> tools{};  // Of the first turn alone: what the model may call.
};

// A stretch of a prompt that is no conversation. `trusted`: control tokens that it spells are control tokens; else it is text and nothing
// but text, whatever it spells. What stands side by side and is no control token is tokenised as one.
struct PromptPart {
  std::string text;
  bool trusted = false;
};

// How tokens are chosen, in this order: penalties, temperature, min_p, top_k, top_p. Submit refuses what is out of range, naming the field.
struct SamplingParams {
  double temperature = 1.0;        // 0 to 2; 0 = greedy: the likeliest token, the lowest id on a tie.
  double top_p = 1.0;              // 0 < top_p <= 1.
  std::int32_t top_k = 0;          // 0 = all.
  double min_p = 0.0;              // 0 to 1, share of the likeliest token's probability.
  double presence_penalty = 0.0;   // -2 to 2, once for a token that stands in the output.
  double frequency_penalty = 0.0;  // -2 to 2, for each time it stands there.
  double repeat_penalty = 1.0;     // 0.01 to 2, for tokens of prompt and output; 1 = none.
  std::uint64_t seed = 0;          // The caller draws it, so that it can be recorded.
};

// Added to a token's logit before it is sampled, after the penalties. -100 all but forbids a token, 100 all but forces it.
struct LogitBias {
  std::int32_t token = 0;
  float bias = 0;  // -100 to 100.
};

// A LoRA adapter to load beside its model.
struct AdapterOptions {
  std::string name;                    // "BASE:ADAPTER": what requests call the model with it.
  std::string base;                    // The model that it changes, by name.
  std::string file;                    // GGUF.
  std::optional<base::Digest> sha256;  // Expected. Required; the refusal names the file's own.
  double scale = 1;                    // How strongly it acts, more than 0 to 16.
};

// An adapter that is loaded.
struct AdapterInfo {
  std::string name;  // "BASE:ADAPTER".
  base::Digest sha256{};
  double scale = 1;
  std::int64_t rank = 0;
  std::int64_t memory_bytes = 0;         // What it is reckoned to take of the machine's,
  std::int64_t device_memory_bytes = 0;  // and of its model's GPUs'.
};

// A model that is loaded, or one with adapters: then `base` is the model's name, and `adapters` what acts beside its weights.
struct ModelInfo {
  std::string name;
  std::string base;
  std::vector<AdapterInfo> adapters;
  std::string engine;               // "llama", "openai" or "scripted".
  base::Digest sha256{};            // Of the weights' file; of the engine's own description where there is no file.
  std::string licence;              // SPDX name, as configured.
  std::string architecture;         // As the file says: "llama", "deepseek2" …
  std::string chat_template;        // How turns are rendered: "chatml", "scripted" …
  std::string engine_build;         // Library and backend, for records and diagnostics.
  std::int64_t context_tokens = 0;  // Of one sequence: prompt + output; where cells are shared, when its turn comes.
  std::int64_t vocab_tokens = 0;
  std::int64_t size_bytes = 0;           // Of the weights' file.
  std::int64_t memory_bytes = 0;         // What it is reckoned to take of the machine's, with its context and caches,
  std::int64_t device_memory_bytes = 0;  // and of its GPUs'.
  int slots = 0;                         // Sequences that run side by side.
  std::int64_t kv_tokens = 0;            // Cells that they share; 0: each has its context to itself.
  bool grammars = false;                 // Output can be held to JSON or a grammar.
  bool logprobs = false;                 // It can tell its tokens' log-probabilities.
  bool resumes = true;   // A sequence at its allowance goes on where it stood; else what is more is a new request to a server.
  bool rewinds = false;  // Tokens of its output can be taken back (TokenStream::Rewind).
  ToolStyle tools = ToolStyle::kNone;
  bool hides_calls = false;             // Its servers show no call of a tool as one: nobody could read it.
  bool thinks = false;                  // It thinks between <think> and </think> before it answers;
  bool opens_thinking = false;          // prompts end within the thought.
  Pooling pooling = Pooling::kNone;     // Not kNone: it embeds or reranks, and does not chat.
  std::int64_t dimensions = 0;          // Of a vector, where it embeds.
  std::optional<StrictSetup> strict{};  // Where it gives strict answers.
  bool embeds() const { return pooling != Pooling::kNone && pooling != Pooling::kRank; }
  bool reranks() const { return pooling == Pooling::kRank; }
};

// Bands of urgency: 0 is served first, 3 with what the others leave.
constexpr int kBands = 4;
constexpr int kBandDefault = 1;

// Why a sequence ended. In brackets: the status that StreamEnd carries.
enum class EndReason {
  kStop,          // The model ended its turn, or a stop string was met. [OK]
  kLength,        // max_tokens or the context was reached. [OK]
  kAllowance,     // The final allowance was used up, to the token. [OK]
  kCancelled,     // Cancel, or the stream was dropped. [CANCELLED]
  kDeadline,      // The request's deadline passed: in queue, prompt or output. [DEADLINE_EXCEEDED]
  kQueueTimeout,  // Waited longer for a slot than the model's queue_timeout. [UNAVAILABLE, with a retry hint]
  kEngineFailed,  // The engine failed on this sequence. [UNAVAILABLE or INTERNAL; what else is the sequence's own doing]
  kShutdown,      // The pool was drained or destroyed. [UNAVAILABLE]
};
std::string_view Name(EndReason reason);  // "stop", "length", "allowance", "cancelled" …

}  // namespace tollgate::inference
