// Tally: what one judgement says otherwise than another, added up by tenant and rule. For replays, reports of shadows, and whoever joins
// their pages. Memory: a line for each tenant, rule and change, whatever the number of judgements. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "policy/verdict.h"
#include "tollgate/v1/policy.pb.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::explain {

// A verdict, as far as it is compared.
struct Said {
  struct Rule {
    std::string id, action;  // The action, or what the rule asks of the request ("approval").
    std::int64_t count = 0;
  };
  std::string action;
  std::vector<Rule> rules;
};
Said SaidBy(const policy::Verdict& verdict);
Said SaidBy(const v1::Verdict& verdict);  // One without an action, which judged nothing, says "allow".

class Tally {
 public:
  explicit Tally(int examples_max) : examples_max_(examples_max) {}

  // One judgement. `at`: where it is on record.
  void Compare(std::string_view team, bool output, const v1::RecordPosition& at, const Said& was, const Said& would);
  void AddErased() { ++erased_; }
  void AddUnreadable() { ++unreadable_; }
  void AddModelUnknown() { ++model_unknown_; }
  void AddNotAsked(const std::string& question);  // As Verdict::not_scanned names it.
  // A reply of which not all, or nothing, was judged. `why`: as in ReplyGap.
  void AddGap(const std::string& why, const v1::RecordPosition& at);
  void Add(const v1::PolicyChanges& page);

  // Lines by tenant, direction and rule; without digest and token.
  v1::PolicyChanges Changes() const;

 private:
  struct Line {
    std::int64_t count = 0, spans_was = 0, spans_would = 0;
    std::vector<v1::RecordPosition> examples;
  };
  using Key = std::tuple<std::string, std::string, std::string, std::string, std::string>;  // Team, direction, rule (or none), was, would.

  void Note(Line& line, std::int64_t count, std::int64_t spans_was, std::int64_t spans_would,
            const google::protobuf::RepeatedPtrField<v1::RecordPosition>& examples) const;
  Line& NoteOne(Key key, const v1::RecordPosition& at);
  void NoteOne(Line& line, const v1::RecordPosition& at) const;

  const int examples_max_;
  std::int64_t judged_ = 0, replies_ = 0, changed_ = 0, erased_ = 0, unreadable_ = 0, model_unknown_ = 0;
  std::map<Key, Line> lines_;
  std::map<std::string, Line> gaps_;
  std::set<std::string> not_asked_;
};

}  // namespace tollgate::explain
