#include "policy/resolver.h"

#include <algorithm>
#include <random>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::string Rules(const std::string& rules) { return "version: 1\nname: t\nrules:\n" + rules; }

// A redaction and a block, each with an exception of its own, what excuses all, and what nothing of its own excuses. Rule n is source n.
std::vector<Rule> RulesWithExceptions() {
  std::vector<Rule> out;
  const auto add = [&](const char* id, Action action, bool exception = false) {
    Rule& rule = out.emplace_back();
    rule.id = id;
    rule.action = action;
    rule.exception = exception;
    rule.keywords = {"word"};
  };
  add("hide", Action::kRedact);
  add("hide", Action::kAllow, true);
  add("ok", Action::kAllow);
  add("stop", Action::kBlock);
  add("stop", Action::kAllow, true);
  add("see", Action::kFlag);
  add("mask", Action::kRedact);
  return out;
}

// What Resolver does, as it is defined: a hit is exempt if any hit of an exception that is about it, and began no later, covers it.
class ByDefinition {
 public:
  ByDefinition(const Program& program, bool stop_at_block) : program_(program), tally_(program.rules()), stop_at_block_(stop_at_block) {}

  void Judge(const std::vector<Hit>& hits) {
    for (const Hit& hit : hits) {
      const Action action = program_.rules()[hit.rule].action;
      if (blocked_ && stop_at_block_) break;
      if (hit.continuation) {
        if ((exempt_[hit.source] & hit.views) == 0) Redact(hit);
        continue;
      }
      const bool exempt = action != Action::kAllow && IsExempt(hits, hit);
      if (action != Action::kAllow) exempt_[hit.source] = exempt ? exempt_[hit.source] | hit.views : exempt_[hit.source] & ~hit.views;
      if (exempt) continue;
      const bool again = hit.source == counted_.source && hit.begin == counted_.begin && hit.end == counted_.end;
      counted_ = hit;
      const Span span{0, "text", hit.begin, hit.end};
      if (!again && !program_.rules()[hit.rule].exception) tally_.Add(hit.rule, {&span, hit.end > 0 ? 1U : 0U});
      if (action == Action::kRedact) Redact(hit);
      if (action != Action::kBlock || blocked_) continue;
      blocked_ = true;
      block_begin_ = hit.begin;
      if (!stop_at_block_ || edits_.empty() || edits_.back().end <= hit.begin) continue;
      edits_.back().end = hit.begin;
      edits_.back().alone = false;
    }
  }

  void CheckSame(const Resolver& resolver, const Verdict& verdict) const {
    CHECK(tally_.ToVerdict() == verdict);
    CHECK(resolver.blocked() == blocked_);
    CHECK(resolver.block_begin() == block_begin_);
    REQUIRE(resolver.edits().size() == edits_.size());
    for (std::size_t i = 0; i < edits_.size(); ++i) {
      CHECK(resolver.edits()[i].begin == edits_[i].begin);
      CHECK(resolver.edits()[i].end == edits_[i].end);
      CHECK(resolver.edits()[i].source == edits_[i].source);
      CHECK(resolver.edits()[i].alone == edits_[i].alone);
    }
  }

 private:
  bool IsExempt(const std::vector<Hit>& hits, const Hit& hit) const {
    return std::any_of(hits.begin(), hits.end(), [&](const Hit& a) {
      return program_.rules()[a.rule].action == Action::kAllow && a.begin <= hit.begin && a.end >= hit.end && a.end > hit.begin &&
             a.Excuses(hit) && Exempts(program_.rules(), a.rule, hit.rule);
    });
  }

  void Redact(const Hit& hit) {
    if (!edits_.empty() && (hit.begin < edits_.back().end || (hit.continuation && hit.begin == edits_.back().end))) {
      edits_.back().end = std::max(edits_.back().end, hit.end);
      edits_.back().alone = edits_.back().alone && hit.views != Hit::kDecoded && program_.sources()[edits_.back().source].rule == hit.rule;
    } else if (!hit.continuation) {
      edits_.push_back({hit.begin, hit.end, hit.source, hit.views != Hit::kDecoded});
    }
  }

  const Program& program_;
  Tally tally_;
  const bool stop_at_block_;
  std::vector<Resolver::Edit> edits_;
  std::map<std::uint32_t, int> exempt_;
  Hit counted_;
  bool blocked_ = false;
  std::int64_t block_begin_ = 0;
};

std::vector<Hit> RandomHits(std::mt19937_64& random, const Program& program) {
  std::vector<Hit> hits(random() % 24);
  for (Hit& hit : hits) {
    hit.source = static_cast<std::uint32_t>(random() % program.sources().size());
    hit.begin = static_cast<std::int64_t>(random() % 30);
    hit.end = hit.begin + static_cast<std::int64_t>(random() % 10);
    hit.views = static_cast<std::uint8_t>(1 + random() % 4);
    hit.continuation = (hit.source == 0 || hit.source == 6) && random() % 6 == 0;
  }
  program.Finish(hits);
  return hits;
}

}  // namespace

TEST_CASE("Whatever was hit, and however it comes in batches, what exceptions cover is what their definition says") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<Rule> rules = RulesWithExceptions();
  const auto program = Program::Build(rules, /*output=*/false);
  REQUIRE(program.ok());
  for (int round = 0; round < 4000; ++round) {
    INFO("round " << round);
    const bool stop_at_block = random() % 2 == 0;
    const std::vector<Hit> hits = RandomHits(random, **program);
    Tally tally(rules);
    Resolver resolver(**program, tally, stop_at_block);
    for (std::size_t at = 0; at < hits.size();) {
      std::size_t to = std::min(hits.size(), at + 1 + random() % hits.size());
      while (to < hits.size() && hits[to].begin == hits[to - 1].begin) ++to;  // A batch has all that begin before some place.
      resolver.Judge({hits.data() + at, to - at});
      at = to;
    }
    ByDefinition want(**program, stop_at_block);
    want.Judge(hits);
    want.CheckSame(resolver, tally.ToVerdict());
  }
}

TEST_CASE("However many hits of exceptions a text has, what is kept of them, and so what a hit costs, does not grow") {
  const std::vector<Rule> rules = RulesWithExceptions();
  const auto program = Program::Build(rules, /*output=*/false);
  REQUIRE(program.ok());
  std::vector<Hit> hits;
  for (std::int64_t i = 0; i < 40'000; ++i) {
    for (const std::uint32_t source : {0, 1, 2, 4}) hits.push_back({8 * i, 8 * i + (source == 0 ? 5 : 8), 0, source});
  }
  (*program)->Finish(hits);
  Tally tally(rules);
  Resolver resolver(**program, tally, /*stop_at_block=*/false);
  resolver.Judge(hits);
  CHECK(resolver.exceptions().size() == 3);
  CHECK(resolver.edits().empty());
  const Verdict verdict = tally.ToVerdict();
  REQUIRE(verdict.rules.size() == 1);
  CHECK(verdict.rules[0].rule_id == "ok");
  CHECK(verdict.rules[0].count == 40'000);
}

TEST_CASE("Overlapping rules: the strictest acts, redactions join, exceptions hold") {
  const auto policies =
      MustCompile(Rules("  - {id: ok, detect: {keywords: [abcd, 'xy z']}, do: allow}\n"
                        "  - {id: one, detect: {regex: 'bc|12'}, do: redact, replacement: '<1>'}\n"
                        "  - {id: two, detect: {regex: 'cde|234'}, do: redact, replacement: '<2>'}\n"
                        "  - {id: see, detect: {regex: '3'}, do: flag}\n"
                        "  - {id: stop, detect: {regex: 'z!|45'}, do: block}\n"));
  struct Row {
    const char *text, *out, *rules;
    bool blocked;
  };
  const Row rows[] = {
      {"bc", "<1>", "one", false},
      {"bcde", "<1>", "one two", false},  // One edit, the first rule's placeholder.
      {"bc cde", "<1> <2>", "one two", false},
      {"1234", "<1>", "one two see", false},
      {"3", "3", "see", false},
      {"abcd", "abcd", "ok", false},        // bc lies inside what is allowed.
      {"abcde", "a<1>", "one two", false},  // abcd is no whole word here.
      {"abcd bc", "abcd <1>", "ok one", false},
      {"a z! bc", "a ", "stop", true},  // What follows a block does not count.
      {"bc z!", "<1> ", "one stop", true},
      {"12345", "<1>", "one two see stop", true},  // The block cuts the redaction that it meets.
      {"xy z! bc", "xy ", "ok stop", true},
      {"45 3", "", "stop", true},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Filtered whole = MustFilter(*policies, row.text);
    std::string ids;
    for (const RuleOutcome& rule : whole.verdict.rules) ids += (ids.empty() ? "" : " ") + rule.rule_id;
    CHECK(whole.text == row.out);
    CHECK(ids == row.rules);
    CHECK(whole.blocked == row.blocked);
    CHECK((whole.verdict.action == Action::kBlock) == row.blocked);
    CheckStream(*policies, row.text, whole, [] { return std::size_t{1}; });
  }
}

TEST_CASE("Spans are kept up to a bound; the count goes on") {
  const auto policies = MustCompile(OneRule("{regex: 'a'}", "flag"));
  const Filtered whole = MustFilter(*policies, std::string(100, 'a'));
  REQUIRE(whole.verdict.rules.size() == 1);
  CHECK(whole.verdict.rules[0].spans.size() == RuleOutcome::kSpansMax);
  CHECK(whole.verdict.rules[0].count == 100);
  CHECK(whole.verdict.rules[0].spans[3] == Span{0, "text", 3, 4});
}

TEST_CASE("Actions and roles have names") {
  CHECK(std::string(ActionName(Action::kRedact)) == "redact");
  CHECK(std::string(RoleName(Role::kTool)) == "tool");
}

}  // namespace tollgate::policy
