// PolicySet: the compiled policies of a scope. Text in, verdict out; no I/O, no clock; of a tenant it keeps nothing.
//
// Compile once, share for ever: immutable, any thread may call anything. A reload compiles a new one and swaps the pointer; whoever
// holds the old one finishes with it. The language: docs/policy.md.
//
// Cost: Compile some milliseconds (run it off the I/O threads); Inspect about 30 µs per 2 KB of ordinary text with 20 rules, linear in
// the text whatever it holds.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/status.h"
#include "policy/pseudonyms.h"
#include "policy/reply_shape.h"
#include "policy/stream_filter.h"
#include "policy/verdict.h"

namespace tollgate::policy {

struct GuardModel;  // guard_model.h
struct Topic;       // topic.h

// One policy file. `name` is what errors call it.
struct PolicySource {
  std::string name;
  std::string yaml;
};

// What a verdict waits for and policy cannot know by itself: what a detector says that gateway asks. Gateway answers by `id` and calls
// Decide.
struct Question {
  enum class At { kEnd, kSentence, kTokens };

  std::string id;  // Unique in what it came with.
  std::string rule_id;
  std::string name;                     // Whom to ask: a detector outside, or a model of the pool.
  std::vector<std::uint32_t> messages;  // Of a prompt: those that it is about. Of a reply: none.
  // Of a reply: when to ask, and whether it waits for the verdict.
  At at = At::kEnd;
  std::int64_t tokens = 0;
  bool hold = true;
  std::shared_ptr<const GuardModel> guard = nullptr;  // `name` is a guard model, to be asked like this;
  std::shared_ptr<const Topic> topic = nullptr;       // or one that embeds, for this;
  std::shared_ptr<const ReplyShape> shape = nullptr;  // or nobody is asked, and this answers about the whole reply.
  std::int64_t least_score_millionths = 0;            // Below, a hit is none.

  // As records call it.
  const char* detector() const {
    return guard != nullptr ? "guard" : topic != nullptr ? "topic" : shape != nullptr ? shape->detector() : "external";
  }
  std::string label() const;  // As Verdict::not_scanned names it: "guard MODEL (RULE)".
};
struct Answer {
  std::string id;
  bool hit = false;
  std::string failure;  // Not empty: nobody could answer. The rule then acts as if hit, unless it says on_error: allow.
  std::int64_t score_millionths = 1'000'000;  // How sure it is; below the rule's least_score it is no hit.
  std::vector<Span> spans;  // Where in what it was asked about, if it says: counted, and not among the verdict's, which are of other texts.
  std::optional<Score> measured = {};  // By a shape that measures.
};

struct Inspection {
  Verdict verdict;
  bool changed = false;         // `prompt` differs from what was given.
  std::vector<Message> prompt;  // As it is to be used: redacted. After a block: as given, and not to be used.
  std::size_t put_before = 0;   // Messages at its front that it was not given.
  std::vector<Question> questions;
  std::shared_ptr<const Pseudonyms> pseudonyms;  // That stand in `prompt`; null if none does. Give them to the reply's subject.
};

struct Filtered {
  std::string text;  // What may be released. After a block: what came before the hit.
  bool blocked = false;
  bool withheld = false;  // By a rule about the whole reply: nothing of it may be released.
  Verdict verdict;
  std::vector<RawSpan> raw;
};

// For listings. `where` and `detect` are one-line summaries; `tests` how many ship with the rule.
struct RuleDescription {
  std::string policy, id, where, detect, because, severity;
  Action action = Action::kAllow;
  int tests = 0;
  std::int64_t hold_bytes_max = 0;    // The most a stream can be held for this rule; 0 if it does not act on output.
  std::vector<std::string> models{};  // Those that its `where` names; none: all.
};

enum class RunTests { kYes, kNo };

class PolicySet {
 public:
  // Compiles all sources into one set and runs the tests that they carry. INVALID_ARGUMENT names the place and the remedy:
  // "acme.yaml:12:7: unknown field 'detct'; did you mean 'detect'?", a line for each rule, or else each test, that is wrong, 20 at most and
  // "... and 3 more". No sources: a set that allows everything.
  // Tests have bounds together, in number, bytes and time (policy_tests.h). `tests` kNo leaves them out: for a draft, which may fail them
  // and may not act, and for what passed them before. `keep_going`, where there is one, is asked now and then: what it refuses with ends
  // the work.
  static absl::StatusOr<std::shared_ptr<const PolicySet>> Compile(std::span<const PolicySource> sources, RunTests tests = RunTests::kYes,
                                                                  const KeepGoing& keep_going = nullptr);

  virtual ~PolicySet() = default;

  // Judges a prompt: every part and name of every message. INVALID_ARGUMENT if a text is not valid UTF-8 or longer than 1 GiB;
  // FAILED_PRECONDITION, POLICY_TOO_MANY_HITS, if rules find more in it than can be judged; what `keep_going` refuses with.
  virtual absl::StatusOr<Inspection> Inspect(const Subject& subject, std::span<const Message> prompt,
                                             const KeepGoing& keep_going = nullptr) const = 0;

  // The verdict once the questions are answered: `so_far` and what the answers add. What nobody could answer is in its `not_scanned`, as
  // "external NAME (RULE)", "guard MODEL (RULE)" or "topic MODEL (RULE)". INVALID_ARGUMENT if an answer is missing or not asked for, or a
  // question is another policy's.
  virtual absl::StatusOr<Verdict> Decide(const Verdict& so_far, std::span<const Question> questions,
                                         std::span<const Answer> answers) const = 0;

  // What is to be asked of a channel of a reply to this subject, as far as it is to leave: filtered.
  virtual std::vector<Question> QuestionsOfOutput(const Subject& subject, const Channel& channel = {}) const = 0;

  // A filter for one reply, or for another channel of it (reasoning, a call), alive as long as its owner wants. Never null. While it
  // works it asks `keep_going`; once that has refused, or rules find more in the reply than can be judged, nothing more comes out.
  virtual std::unique_ptr<StreamFilter> OpenOutput(const Subject& subject, const Channel& channel = {},
                                                   KeepGoing keep_going = nullptr) const = 0;

  // The same judgement on a complete reply, and that of rules about a reply as a whole which ask nobody. The arguments of a call come and
  // go as they are written: they are judged as JsonDecoded, which offsets count in (json_parts.h). Errors as Inspect.
  virtual absl::StatusOr<Filtered> FilterWhole(const Subject& subject, std::string_view reply, const Channel& channel = {},
                                               const KeepGoing& keep_going = nullptr) const = 0;

  // Some rule measures the prompt in tokens: give Inspect a subject that has them counted.
  virtual bool needs_prompt_tokens() const = 0;

  // How often a rule wants what it finds in a reply to be written anew before it acts, by its id; only those that do. Whoever runs the
  // model does it, where it can.
  virtual const std::map<std::string, int, std::less<>>& retries() const = 0;

  // SHA-256 over the sources' names and texts, in order: what the record pins.
  virtual const base::Digest& digest() const = 0;

  // The sentence that a rule has for callers; "" if there is no such rule. Lives as long as the set.
  virtual std::string_view Because(std::string_view rule_id) const = 0;

  virtual std::vector<RuleDescription> Describe() const = 0;
};

}  // namespace tollgate::policy
