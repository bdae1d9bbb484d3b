// What policy works on and what it answers. Plain values: copy them freely, store them, compare them.
//
// Offsets are bytes. A message's text is its parts joined with nothing between, because a value that is split over two parts is
// still that value; spans of "text" count from the start of the joined text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::policy {

class Pseudonyms;  // pseudonyms.h

// Whether somebody still waits for what is being worked on, asked now and then by whoever works: what it refuses with ends the work, with
// that status, and it must refuse from then on. Null: work ends when it is done.
using KeepGoing = std::function<absl::Status()>;

// In order of strictness: where rules disagree about the same bytes, the greater acts. An allow rule is an exception: what it covers
// is neither redacted nor blocked by another rule.
enum class Action : std::uint8_t { kAllow, kFlag, kRedact, kBlock };
const char* ActionName(Action action);  // "allow", "flag", "redact", "block"

enum class Role : std::uint8_t { kSystem, kUser, kAssistant, kTool };
const char* RoleName(Role role);  // "system", "user", "assistant", "tool"

// What a text is, for `where`. What a tool's message says is its result, whatever its channel says.
enum class Part : std::uint8_t { kText, kReasoning, kToolDefinition, kToolCall, kToolResult };
const char* PartName(Part part);  // "text", "reasoning", "tool_definitions", "tool_calls", "tool_results"

struct Channel {
  Part part = Part::kText;
  std::string tool = {};  // Whose definition, call or result it is; empty = no tool's, or not known.
  bool operator==(const Channel&) const = default;
};

// Whom and what a call is about. It holds a key and the end user: never print it. Empty = not known; rules that name some then do not act.
struct Subject {
  std::string org, team, project, key, model;
  std::int64_t unix_seconds = 0;    // When the call came in; 0 = not known. One value for a call's prompt and its reply.
  std::int64_t prompt_tokens = -1;  // Of the prompt as it came; -1 = not counted. For PolicySet::needs_prompt_tokens.
  std::string pseudonym_key = {};   // The tenant's, 32 bytes: what values of the prompt are pseudonymised under.
  // For the reply: those that the call's own prompt made, whose values come back in it; null = none. `json_reply`: the reply's text is
  // JSON.
  std::shared_ptr<const Pseudonyms> pseudonyms = nullptr;
  bool json_reply = false;
  std::string end_user = {};                  // As the application names them.
  std::vector<std::string> model_parts = {};  // Where `model` is one with adapters: the model and each of them; rules for these cover it.
};

struct Message {
  Role role = Role::kUser;
  std::string name;                // The author's name, scanned as the text is.
  std::vector<std::string> parts;  // Text parts in order.
  bool aside = false;              // No message of the conversation, but behind it: a call, or a tool.
  Channel channel = {};
};
std::string TextOf(const Message& message);  // Its parts as one.

// Where a rule hit, in what was given to Inspect. On output: message 0, field "text", offsets into the raw reply.
struct Span {
  std::uint32_t message = 0;
  const char* field = "text";  // "text" or "name"; static storage.
  std::int64_t begin = 0, end = 0;
  bool operator==(const Span& other) const;
};

// What a rule asks of whoever runs the request, beside its action. Policy says that it applies; `kAppendSystem` alone it also does.
struct Effect {
  enum class Kind : std::uint8_t { kNone, kAppendSystem, kRoute, kRateLimit, kJustify, kApprove, kAccept };
  Kind kind = Kind::kNone;
  std::string text;  // kAppendSystem: what the system prompt ends with. kRoute: the model. kAccept: the terms and their version, "terms@2".
  std::string by, window;   // kRateLimit: of whom ("key", "project", "team", "end_user"), in which window ("minute", "hour", "day").
  std::int64_t amount = 0;  // kRateLimit: requests. kApprove: for how many minutes; 0 = for one request.
  bool operator==(const Effect&) const = default;
};
const char* EffectName(Effect::Kind kind);     // "", "append_system", "route", "rate_limit", "justification", "approval", "terms"
std::string EffectText(const Effect& effect);  // For records: with the model of a route, and the terms' version.

// What was measured where a measure decides, beside the least that counts. A form, a checksum, a word either is there or is not: no score.
struct Score {
  double value = 0, least = 0;
  std::string_view unit;  // "bits a character", "characters"; static storage.
  bool operator==(const Score&) const = default;
};

// One rule that hit. `because` is the sentence for the caller; never the matched text.
struct RuleOutcome {
  static constexpr std::size_t kSpansMax = 64;

  std::string rule_id;
  Action action = Action::kAllow;
  std::string because;
  std::vector<Span> spans;  // The first kSpansMax; `count` says how many there were.
  std::int64_t count = 0;
  Effect effect = {};
  std::string severity = {};        // As its policy says: "medium".
  std::optional<Score> score = {};  // What it measured itself, of what hit; of several spans the highest.
  bool operator==(const RuleOutcome&) const = default;
};

// Data, not an error. `rules` in the order of the policy; empty when nothing hit.
struct Verdict {
  Action action = Action::kAllow;  // The strictest of `rules`.
  std::vector<RuleOutcome> rules;
  std::vector<std::string> not_scanned;  // What no rule looked at, by name ("image"). An explicit value: absent means scanned.
  bool operator==(const Verdict&) const = default;
};

// Raw text that did not go out as it was: redacted, restored, or from a block's first byte on. For the sealed part of the record only.
struct RawSpan {
  std::string rule_id;
  std::int64_t offset = 0;  // In the raw reply.
  std::string bytes;
  bool restored = false;  // A pseudonym: its value went out in its place.
  bool operator==(const RawSpan&) const = default;
};

}  // namespace tollgate::policy
