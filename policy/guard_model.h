// GuardModel: a model that judges texts: how it is asked, and how its answer is read. Four published formats are built in (Llama Guard,
// ShieldGemma, Granite Guardian, gpt-oss-safeguard); a policy may bring a prompt and an answer of its own. docs/policy.md has the language.
//
// Pure values: whoever asks a policy's questions runs the model. What is judged is data: nothing in it becomes a control token, and what it
// spells of the format's own marks is quoted, so that no text ends its own place in the prompt.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/verdict.h"

namespace tollgate::policy {

struct GuardPatterns;  // Compiled regexes of an answer.

struct GuardModel {
  enum class Format : std::uint8_t { kLlamaGuard, kShieldGemma, kGraniteGuardian, kGptOssSafeguard, kOwn };
  static constexpr std::int64_t kAnswerTokensMax = 2048;
  static constexpr std::size_t kTextBytesMax = 16 << 10;  // Of a prompt or policy text.

  std::string model;  // Or an alias.
  Format format = Format::kOwn;
  std::vector<std::string> categories;  // Of the format's; empty: all that it asks about at once.
  std::string text;                     // kGptOssSafeguard: the policy. kOwn: the prompt, with {{text}} where the judged text goes.
  bool raw = false;               // kOwn: `text` is the whole prompt, control tokens and all; else one turn in the model's chat format.
  std::string reasoning = "low";  // kGptOssSafeguard.
  // kOwn: the first word of the answer, in any case; or, where there are patterns, what they find in it.
  std::vector<std::string> hit_words, pass_words;
  std::shared_ptr<const GuardPatterns> patterns = nullptr;
  bool force = false;                    // kOwn, words: the answer is held to one of them by a grammar.
  std::int64_t least_score_percent = 0;  // Not 0: the score decides, whatever the answer says.
  std::int64_t answer_tokens = 0;        // The most that it may say.
  std::int64_t deadline_ms = 10'000;     // For a question, its wait for the model included.
  std::int64_t reply_bytes = 16 << 10;   // Of a longer reply, its end.
};

const char* FormatName(GuardModel::Format format);  // "llama_guard", "shieldgemma" …
std::vector<std::string_view> CategoryNames(GuardModel::Format format);
// Whether a question of this format is about exactly one category.
bool AsksOneCategory(GuardModel::Format format);
std::int64_t DefaultAnswerTokens(GuardModel::Format format);

// A stretch of the prompt. `trusted`: the format's or the policy's, in which control tokens are spelt; else text and nothing but text.
struct GuardPart {
  std::string text;
  bool trusted = false;
};

// What the model is asked about: `messages` in order, the last one a reply if `output`. One turn of the user's, in the model's own chat
// format, if InChatFormat; else the whole prompt.
std::vector<GuardPart> GuardPrompt(const GuardModel& guard, std::span<const Message> messages, bool output);
inline bool InChatFormat(const GuardModel& guard) { return guard.format == GuardModel::Format::kOwn && !guard.raw; }

// GBNF that the answer is held to; empty: none.
std::string GuardGrammar(const GuardModel& guard);

struct GuardToken {
  struct Alternative {
    std::string bytes;
    double logprob = 0;
  };
  std::string bytes;
  std::vector<Alternative> likeliest;  // With itself, where it is among them; natural logarithms.
};
struct GuardReply {
  std::string text;
  bool whole = true;               // It ended by itself, not at its bound.
  std::vector<GuardToken> tokens;  // Where the model tells them.
};
struct GuardReading {
  bool hit = false;
  std::string category;                          // As the model names it.
  std::optional<std::int64_t> score_millionths;  // That of a hit, from the probabilities of the words for hit and pass.
};

// INVALID_ARGUMENT, without content: it says neither. Never crashes, whatever was said; linear.
absl::StatusOr<GuardReading> ReadGuardReply(const GuardModel& guard, const GuardReply& reply);

// For kOwn: each empty or a regex. `category`: what its first group matches. INVALID_ARGUMENT: which does not compile, and why.
absl::StatusOr<std::shared_ptr<const GuardPatterns>> CompileGuardPatterns(const std::string& hit, const std::string& pass,
                                                                          const std::string& category);

}  // namespace tollgate::policy
