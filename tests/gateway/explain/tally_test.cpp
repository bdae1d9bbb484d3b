// What one verdict says otherwise than another is counted once for the whole and once for each rule, and pages add up.
#include <catch2/catch_test_macros.hpp>

#include "gateway/explain/tally.h"

using namespace tollgate;
using explain::Said;
using explain::Tally;

namespace {

v1::RecordPosition At(std::int64_t index) {
  v1::RecordPosition at;
  at.set_log_id(1);
  at.set_index(index);
  return at;
}

const Said kNothing{"allow", {}};
const Said kRedacted{"redact", {{"mail", "redact", 2}}};
const Said kBlocked{"block", {{"mail", "redact", 3}, {"codename", "block", 1}}};

}  // namespace

TEST_CASE("Equal verdicts change nothing; other actions and other counts do") {
  Tally tally(1);
  tally.Compare("search", false, At(1), kRedacted, kRedacted);
  tally.Compare("search", false, At(2), kNothing, kRedacted);
  tally.Compare("search", false, At(3), kNothing, kRedacted);
  tally.Compare("search", false, At(4), kRedacted, kBlocked);
  tally.Compare("legal", true, At(5), kBlocked, kNothing);
  const v1::PolicyChanges changes = tally.Changes();
  CHECK(changes.judged() == 5);
  CHECK(changes.changed() == 4);
  REQUIRE(changes.verdicts_size() == 3);
  CHECK(changes.verdicts(0).team() == "legal");
  CHECK(changes.verdicts(0).direction() == "output");
  CHECK(changes.verdicts(1).was() == "allow");
  CHECK(changes.verdicts(1).would() == "redact");
  CHECK(changes.verdicts(1).count() == 2);
  REQUIRE(changes.verdicts(1).examples_size() == 1);
  CHECK(changes.verdicts(1).examples(0).index() == 2);
  REQUIRE(changes.rules_size() == 5);
  const v1::RuleChange& codename = changes.rules(2);
  CHECK(codename.rule_id() == "codename");
  CHECK(codename.was().empty());
  CHECK(codename.would() == "block");
  CHECK(codename.spans_would() == 1);
  const v1::RuleChange& more = changes.rules(4);  // The same action, of more spans.
  CHECK(more.was() == more.would());
  CHECK(more.spans_was() == 2);
  CHECK(more.spans_would() == 3);
}

TEST_CASE("Pages add up to what one tally of everything says") {
  Tally whole(2), sum(2);
  for (int page = 0; page < 4; ++page) {
    Tally part(2);
    for (int i = 0; i < 5; ++i) {
      const Said& was = i % 2 == 0 ? kNothing : kRedacted;
      const Said& would = (i + page) % 3 == 0 ? kBlocked : kRedacted;
      whole.Compare("search", i % 2 == 1, At(5 * page + i), was, would);
      part.Compare("search", i % 2 == 1, At(5 * page + i), was, would);
    }
    whole.AddErased();
    part.AddErased();
    part.AddUnreadable();
    whole.AddUnreadable();
    for (Tally* tally : {&whole, &part}) tally->AddGap(page % 2 == 0 ? "blocked" : "erased", At(page));
    sum.Add(part.Changes());
  }
  CHECK(sum.Changes().SerializeAsString() == whole.Changes().SerializeAsString());
  CHECK(sum.Changes().erased() == 4);
  CHECK(sum.Changes().unreadable() == 4);
  CHECK(sum.Changes().replies() == 8);
  REQUIRE(sum.Changes().reply_gaps_size() == 2);
  CHECK(sum.Changes().reply_gaps(0).why() == "blocked");
  CHECK(sum.Changes().reply_gaps(0).count() == 2);
  CHECK(sum.Changes().reply_gaps(0).examples(1).index() == 2);
}

TEST_CASE("A verdict on record says what the same verdict says that policy gave") {
  policy::Verdict given;
  given.action = policy::Action::kRedact;
  given.rules.push_back({"mail", policy::Action::kRedact, "", {}, 7});
  v1::Verdict recorded;
  recorded.set_action("redact");
  v1::RuleOutcome& rule = *recorded.add_rules();
  rule.set_rule_id("mail");
  rule.set_action("redact");
  rule.set_count(7);
  Tally tally(0);
  tally.Compare("a", false, At(1), explain::SaidBy(recorded), explain::SaidBy(given));
  tally.Compare("a", false, At(1), explain::SaidBy(v1::Verdict()), explain::SaidBy(policy::Verdict()));
  CHECK(tally.Changes().changed() == 0);
}

TEST_CASE("What a rule asks of a request is part of what it says") {
  policy::Verdict flags, asks;
  flags.action = asks.action = policy::Action::kFlag;
  flags.rules.push_back({"pay", policy::Action::kFlag, "", {}, 1});
  asks.rules.push_back({"pay", policy::Action::kFlag, "", {}, 1, {.kind = policy::Effect::Kind::kApprove}});
  Tally tally(0);
  tally.Compare("a", false, At(1), explain::SaidBy(flags), explain::SaidBy(asks));
  const v1::PolicyChanges changes = tally.Changes();
  CHECK(changes.changed() == 1);
  REQUIRE(changes.rules_size() == 1);
  CHECK(changes.rules(0).was() == "flag");
  CHECK(changes.rules(0).would() == "approval");
}
