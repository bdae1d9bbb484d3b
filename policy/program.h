// Program: all rules of one direction, arranged for scanning. Immutable; any thread.
//
// A source is one detector of one rule: a pattern, or a keyword list. Rules with the same scope form a group, so that a subject is held
// only for the rules that concern it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "policy/aho_corasick.h"
#include "policy/keyword_scan.h"
#include "policy/live_search.h"
#include "policy/match_places.h"
#include "policy/pattern.h"
#include "policy/rule.h"

namespace tollgate::policy {

class Program {
 public:
  struct Source {
    std::uint32_t rule = 0;
    std::shared_ptr<const Pattern> pattern;  // Null for a keyword list.
    Replacement replacement;
    bool needs_trigger = false;  // Needs one of its pattern's trigger words.
    bool as_written = false;     // Not looked for in the text's plain form.
    bool decoded = false;        // Looked for in what is encoded.
    bool capped = false;         // Its pattern is.
    // Before one of them was read, nothing that a match may grow from is there but what lies before a word that it holds.
    bool by_trigger = false;
  };
  struct Group {
    Scope scope;
    std::vector<std::uint32_t> sources;
    // Never null; groups with equal lists share it.
    std::shared_ptr<const KeywordIndex> keywords = std::make_shared<const KeywordIndex>();
    std::vector<std::uint32_t> keyword_sources;  // What the sources of its keywords are here.
    std::unique_ptr<const LiveSearch> live;      // Output only: of sources by_trigger what is live before. Null if there is nothing.
  };
  // A word without which its sources find nothing.
  struct Trigger {
    std::vector<std::uint32_t> sources;
    std::size_t bytes = 0;
    bool context = false;  // Of words beside a match: it counts only where no word goes on from the left.
    bool one_word = true;  // Else its blanks may be runs of them, and where it begins is not known.
    bool Opens(std::string_view text, std::size_t end) const;
  };
  // Which sources act, for one subject (and role).
  struct Selection {
    std::vector<char> sources;            // By source.
    std::vector<const Group*> groups;     // Those with an active source.
    std::vector<std::uint32_t> patterns;  // Active sources with a pattern.
    bool plain = false;                   // Some active source is looked for in the plain form too,
    bool decoded = false;                 // … or in what is encoded.
    bool empty() const { return groups.empty(); }
  };

  // `rules` must outlive the program. Errors name no place: sizes of all rules together. `indexes`: of the programs that are built
  // together.
  static absl::StatusOr<std::unique_ptr<const Program>> Build(std::span<const Rule> rules, bool output, Budget& budget,
                                                              KeywordIndexes& indexes);
  static absl::StatusOr<std::unique_ptr<const Program>> Build(std::span<const Rule> rules, bool output);  // By itself.

  Selection Select(const Subject& subject, Role role, const Channel& channel = {}) const;

  // All hits of a complete text as it is written, ordered by HitBefore. Some of them where `effort` is over.
  std::vector<Hit> FindAll(std::string_view text, const Selection& selection, Effort* effort = nullptr) const;

  // Order in which hits are judged: by begin; what goes on before what begins; a block before others; then as in the policy.
  bool HitBefore(const Hit& a, const Hit& b) const;
  void Finish(std::vector<Hit>& hits) const;  // Fills in the rules and sorts.

  const std::vector<Source>& sources() const { return sources_; }
  std::span<const Rule> rules() const { return rules_; }
  const AhoCorasick& triggers() const { return triggers_; }  // Over folded text.
  const Trigger& trigger(std::uint32_t word) const { return trigger_of_[word]; }
  bool Swallows(const Source& source) const { return rules_[source.rule].action == Action::kRedact; }

 private:
  explicit Program(std::span<const Rule> rules) : rules_(rules) {}
  struct Survey;
  Survey Look(std::string_view text, Effort* effort) const;
  void WhereToLook(std::uint32_t source, const Survey& survey, std::string_view text, std::vector<Stretch>& out) const;
  Group& GroupFor(const Scope& scope);
  absl::Status AddTriggers(Budget& budget);

  std::span<const Rule> rules_;
  std::vector<Source> sources_;
  std::vector<std::unique_ptr<Group>> groups_;
  AhoCorasick triggers_;
  std::vector<Trigger> trigger_of_;  // By word of triggers_.
};

}  // namespace tollgate::policy
