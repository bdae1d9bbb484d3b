// A rule, read and compiled: what the YAML says, in the engine's terms. Inside policy/ only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "policy/gauges.h"
#include "policy/guard_model.h"
#include "policy/pattern.h"
#include "policy/reply_shape.h"
#include "policy/sight.h"
#include "policy/time_window.h"
#include "policy/topic.h"
#include "policy/verdict.h"

namespace tollgate::policy {

// Names of `where`; an empty list means all.
struct Scope {
  std::vector<std::string> orgs, teams, projects, keys, models, end_users;
  std::optional<TimeWindow> time;
  bool Covers(const Subject& subject) const;
  bool operator==(const Scope&) const = default;
};

// Where a test expects a rule to hit: what stands there, or the bytes from `begin` to `end` if `text` is empty.
struct ExpectedSpan {
  std::string text;
  std::int64_t begin = 0, end = 0;
};

// A test that ships with a rule.
struct RuleTest {
  int line = 0, column = 0;
  std::string text;
  bool output = false;  // Direction.
  Role role = Role::kUser;
  Channel channel;
  std::int64_t at = 0;                          // Seconds since 1970; 0: some moment that the rule's `where` holds.
  std::vector<std::string> expect, expect_not;  // Rule ids.
  std::vector<std::pair<std::string, std::vector<ExpectedSpan>>> spans;  // By rule id: all that it hits, in order.
  bool has_result = false;
  std::string result;  // The text that comes out.
};

// What takes the place of what a redacting rule hit.
struct Replacement {
  enum class Form { kText, kMask, kHash, kPseudonym };
  static constexpr char kStars[] = "****";

  Form form = Form::kText;
  std::string text;   // kText: all of it. kHash, kPseudonym: the label before the digest.
  int keep_last = 0;  // kMask: characters that stay, behind the stars.
  std::string salt;   // kHash.

  // For the span's raw bytes. `alone` false: another rule hit some of them too, so none may stay. A pseudonym is Pseudonyms' to make: here
  // it is the label alone, which hides for good.
  std::string For(std::string_view span, bool alone) const;
};

// A detector that gateway asks for policy, or what a reply must be as a whole.
struct Ask {
  enum class At { kEnd, kSentence, kTokens };

  std::string name;
  At at = At::kEnd;         // When in a streamed reply.
  std::int64_t tokens = 0;  // kTokens: how many there are between two.
  bool hold = true;         // Nothing of a reply leaves before its verdict.
  bool fail_open = false;   // Where it cannot say, the rule does not act.
  std::int64_t least_score_percent = 0;
  std::shared_ptr<const GuardModel> guard = nullptr;  // It is a model of the pool: `name`; with neither of these a detector outside.
  std::shared_ptr<const Topic> topic = nullptr;       // The same, and the model embeds.
  std::shared_ptr<const ReplyShape> shape = nullptr;  // Asks nobody: a text that breaks it is a hit.

  const char* whom() const { return guard != nullptr ? "guard model" : topic != nullptr ? "embedding model" : "external detector"; }
  bool metered() const { return guard != nullptr || topic != nullptr; }  // The tenant pays for each question.
};

struct Rule {
  std::string policy;  // The source's name.
  int line = 0, column = 0;
  std::string id, because, severity, where, detect;  // The last two: summaries for listings.
  Action action = Action::kFlag;
  Effect effect;
  int retries = 0;  // Of a reply: how often what it finds is written anew before it acts.
  Scope scope;
  Sight sight;
  bool input = true, output = true;
  Replacement replacement;    // With an empty text: the detector's own placeholder.
  std::vector<Gauge> gauges;  // Of the whole prompt; a rule has these, patterns or keywords.
  std::vector<std::shared_ptr<const Pattern>> patterns;
  std::vector<std::string> keywords;
  bool whole_word = true, ignore_case = true;
  bool as_written = false;  // Not looked for in disguise.
  enum class Decode { kInput, kBoth, kNever };
  Decode decode = Decode::kInput;  // In which directions it is looked for in what is encoded.
  std::optional<Ask> ask;          // Instead of patterns and keywords.
  std::vector<RuleTest> tests;
  // What a rule's `unless` says: a rule of its own, right behind that one, with its id, that allows for it alone and is in no verdict.
  bool exception = false;

  // Whether it looks at such a text. What allows for other rules must be sure that it is about the tools that it names.
  bool Sees(Role role, const Channel& channel) const {
    return action == Action::kAllow && !exception ? sight.SeesSurely(role, channel) : sight.Sees(role, channel);
  }
};

// Whether what rule `allow` (an index) allows is exempt from rule `other`.
inline bool Exempts(std::span<const Rule> rules, std::size_t allow, std::size_t other) {
  return !rules[allow].exception || allow == other + 1;
}

}  // namespace tollgate::policy
