// Explain: what the rules did to one text, why, and what it cost; and for each rule that did nothing, why not.
//
// For people who write policies: it compiles the sources anew and looks at everything slowly, some milliseconds to some hundreds. Pure;
// any thread. The text is read and shown to whoever asked; it is kept nowhere. Whom rules ask, the caller asks, if it likes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/status.h"
#include "policy/policy_set.h"
#include "policy/verdict.h"

namespace tollgate::policy {

// The text, and how it comes.
struct ExplainedText {
  static constexpr std::size_t kBytesMax = 256 << 10;

  std::string text;
  bool output = false;  // A reply; else a message of a prompt, written by `role`.
  Role role = Role::kUser;
  Channel channel = {};
};

// One span that a rule found, also where nothing came of it.
struct FoundSpan {
  std::string rule_id, severity;
  Action action = Action::kFlag;
  std::int64_t begin = 0, end = 0;    // Bytes.
  std::int64_t line = 0, column = 0;  // Of its first character, from 1; columns count characters.
  std::string detector;               // What found it: "email", "keyword", "regex".
  std::vector<std::string> evidence;  // Why it counts: "its check digits agree", "'passport' stands to its left".
  std::optional<Score> score;         // Its entropy, where the detector asks for some.
  std::string became;                 // What came of it: "becomes [EMAIL]", "nothing: rule desk allows it", of an `unless` "exempts …".
};

// What one of those said whom rules ask.
struct Heard {
  Answer answer;
  std::string category;                              // As the detector names it.
  double millis = 0;                                 // From the question to the answer.
  std::int64_t input_tokens = 0, output_tokens = 0;  // Of a model of the pool.
  const char* detector = "";                         // Who it was, as the question has it …
  std::string name = {};                             // … by name: Explain fills these in.
};

// Asks whom rules ask about the text, as the other rules leave it: one that says something for each question, whether it could say or not.
// Errors are Explain's.
using AskOthers = std::function<absl::StatusOr<std::vector<Heard>>(std::span<const Question> questions, const Message& text)>;

// One rule, whether it found something or not.
struct RuleStory {
  // kAllowed: all that it found is inside what an allow rule found. kFailed: whom it asks could not say.
  enum class State { kHit, kAllowed, kNotHere, kNoMatch, kFailed };

  std::string policy, rule_id, severity, detect, because;
  int line = 0, column = 0;  // In its file.
  Action action = Action::kFlag;
  State state = State::kNoMatch;
  std::int64_t count = 0;  // Spans found.
  std::string why;         // One sentence; never empty.
  // Of a rule that measures the whole text: that which hit, else that which is nearest to it. Of one that asks others: theirs, in percent.
  std::optional<Score> score;
  double micros = 0;           // What its own detectors took, beside what all rules share.
  std::optional<Heard> heard;  // Of a rule that asks others: what they said, where they were asked.
};
const char* StateName(RuleStory::State state);  // "hit", "allowed", "not here", "no match", "failed"

struct Explanation {
  Verdict verdict;
  // The text as it would be used or released; of a blocked prompt or call nothing, nor of a reply that a rule which asks others blocks.
  std::string result;
  std::string judged;  // Of a call's arguments, or a tool's definition: the text in which spans count, escapes decoded; empty = as it came.
  base::Digest digest{};         // Of the policies, as a record pins it.
  std::vector<FoundSpan> found;  // By where they begin; at most kFoundMax.
  std::vector<RuleStory> rules;  // In the order of the policies.
  double micros = 0;             // The whole judgement.
  double shared_micros = 0;      // Of that, the pass over the text that all rules share.

  static constexpr std::size_t kFoundMax = 1000;
};

// INVALID_ARGUMENT: the sources do not compile, or the text is longer than kBytesMax or not UTF-8. Tests that they carry are not run: what
// fails one wants explaining. Without `ask` nobody is asked.
// `keep_going`, where there is one, is asked while the sources are compiled: what it refuses with ends the work.
absl::StatusOr<Explanation> Explain(std::span<const PolicySource> sources, const Subject& subject, const ExplainedText& text,
                                    const AskOthers& ask = nullptr, const std::function<absl::Status()>& keep_going = nullptr);

}  // namespace tollgate::policy
