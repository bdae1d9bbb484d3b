// A test meets the set as a request of the rule's own scope would, a tool's result in both its readings: the first name of each list in its
// `where`, at a moment of its hours or the test's own. On output it is also run byte by byte through a stream, so that no policy goes in
// force whose stream and whole text disagree on its own examples. Number and bytes are counted before the first test runs; the time is
// looked at between tests, in a stream every few hundred characters, and by the set itself while it judges.
//
// Tested by tests/policy/rule_tests_test.cpp.
#include "policy/policy_tests.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/encoding.h"
#include "policy/faults.h"
#include "policy/gauges.h"
#include "policy/json_parts.h"
#include "policy/rule_yaml.h"

namespace tollgate::policy {
namespace {

struct Outcome {
  std::string text;
  Verdict verdict;
};

// The text in which a rule's spans count.
std::string Judged(const RuleTest& test) { return IsDecoded(test.channel.part, test.output) ? JsonDecoded(test.text) : test.text; }

std::string First(const std::vector<std::string>& names) { return names.empty() ? "" : names.front(); }

// Whether the tests may go on.
class Patience {
 public:
  explicit Patience(const TestBounds& bounds) : bounds_(bounds), until_(std::chrono::steady_clock::now() + bounds.time) {}

  absl::Status Check() const {
    if (bounds_.keep_going) TG_RETURN_IF_ERROR(bounds_.keep_going());
    if (std::chrono::steady_clock::now() < until_) return absl::OkStatus();
    return base::InvalidArgument(fmt::format(
        "the tests of these policies together take more than {} ms here; give rules fewer and shorter ones", bounds_.time.count()));
  }

 private:
  const TestBounds& bounds_;
  const std::chrono::steady_clock::time_point until_;
};

absl::Status CheckAmount(std::span<const Rule> rules, const TestBounds& bounds) {
  std::size_t tests = 0, bytes = 0;
  for (const Rule& rule : rules) {
    tests += rule.tests.size();
    for (const RuleTest& test : rule.tests) bytes += test.text.size();
  }
  if (tests > bounds.tests)
    return base::InvalidArgument(
        fmt::format("these policies have {} tests together, and may have {}; give rules fewer", tests, bounds.tests));
  if (bytes > bounds.bytes)
    return base::InvalidArgument(
        fmt::format("the tests of these policies have {} bytes of text together, and may have {}; give rules shorter ones, or fewer", bytes,
                    bounds.bytes));
  return absl::OkStatus();
}

constexpr std::size_t kPushesUnasked = 256;

absl::StatusOr<Outcome> Run(const PolicySet& policies, const Subject& subject, const RuleTest& test, const Patience& patience) {
  const KeepGoing keep_going = [&patience] { return patience.Check(); };
  if (!test.output) {
    const std::vector<Message> prompt = PromptOf(test.role, test.channel, test.text);
    TG_ASSIGN(Inspection inspection, policies.Inspect(subject, prompt, keep_going));
    TG_RETURN_IF_ERROR(TellAsWritten(prompt, inspection.verdict));
    std::string text;
    if (inspection.verdict.action != Action::kBlock) text = TextUsed(inspection.prompt[inspection.put_before], test.text);
    return Outcome{std::move(text), std::move(inspection.verdict)};
  }
  TG_ASSIGN(Filtered whole, policies.FilterWhole(subject, test.text, test.channel, keep_going));
  if (test.channel.part == Part::kToolCall)
    return Outcome{std::move(whole.text), std::move(whole.verdict)};  // It does not leave in pieces.
  const auto stream = policies.OpenOutput(subject, test.channel, keep_going);
  std::string streamed;
  std::size_t pushes = 0;
  for (std::size_t at = 0; at < test.text.size();) {
    if (++pushes % kPushesUnasked == 0) TG_RETURN_IF_ERROR(patience.Check());
    std::size_t length = 1;
    while (at + length < test.text.size() && (static_cast<unsigned char>(test.text[at + length]) & 0xC0) == 0x80) ++length;
    TG_ASSIGN(const std::string out, stream->Push(std::string_view(test.text).substr(at, length)));
    streamed += out;
    at += length;
  }
  TG_ASSIGN(const std::string rest, stream->Finish());
  if (!whole.withheld && streamed + rest != whole.text) return base::Internal("the stream and the whole text differ; report this policy");
  return Outcome{std::move(whole.text), std::move(whole.verdict)};
}

const RuleOutcome* Find(const Verdict& verdict, const std::string& id) {
  const auto found =
      std::find_if(verdict.rules.begin(), verdict.rules.end(), [&](const RuleOutcome& outcome) { return outcome.rule_id == id; });
  return found == verdict.rules.end() ? nullptr : &*found;
}

std::string Quoted(std::string_view text, std::int64_t begin, std::int64_t end) {
  return fmt::format("\"{}\" (bytes {} to {})", text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), begin,
                     end);
}

// What is wrong with where a rule hit; empty if nothing is.
std::string WrongSpans(const RuleOutcome& got, std::span<const ExpectedSpan> wanted, std::string_view text) {
  const auto is_there = [&](const ExpectedSpan& want, const Span& span) {
    if (want.text.empty()) return want.begin == span.begin && want.end == span.end;
    return text.substr(static_cast<std::size_t>(span.begin), static_cast<std::size_t>(span.end - span.begin)) == want.text;
  };
  if (got.count == static_cast<std::int64_t>(wanted.size()) &&
      std::equal(wanted.begin(), wanted.end(), got.spans.begin(), got.spans.end(), is_there))
    return "";
  if (got.spans.empty()) return fmt::format("'{}' hit as a whole, in no place of the text; leave its 'spans' out", got.rule_id);
  std::vector<std::string> expected, found;
  for (const ExpectedSpan& want : wanted)
    expected.push_back(want.text.empty() ? Quoted(text, want.begin, want.end) : fmt::format("\"{}\"", want.text));
  for (const Span& span : got.spans) found.push_back(Quoted(text, span.begin, span.end));
  return fmt::format("'{}' was expected to find {} and found {}{}", got.rule_id, fmt::join(expected, ", "), fmt::join(found, ", "),
                     got.count > static_cast<std::int64_t>(found.size()) ? " …" : "");
}

// What is wrong with the outcome; empty if nothing is.
std::string Wrong(const Outcome& outcome, const RuleTest& test) {
  for (const std::string& id : test.expect) {
    if (Find(outcome.verdict, id) == nullptr) return fmt::format("'{}' was expected to hit and did not", id);
  }
  for (const std::string& id : test.expect_not) {
    if (Find(outcome.verdict, id) != nullptr) return fmt::format("'{}' hit and was not expected to", id);
  }
  for (const auto& [id, spans] : test.spans) {  // Each of these is expected above too.
    if (std::string wrong = WrongSpans(*Find(outcome.verdict, id), spans, Judged(test)); !wrong.empty()) return wrong;
  }
  if (test.has_result && outcome.text != test.result) return fmt::format("the text that comes out is \"{}\"", outcome.text);
  return "";
}

}  // namespace

absl::Status RunRuleTests(const PolicySet& policies, std::span<const Rule> rules, const TestBounds& bounds) {
  TG_RETURN_IF_ERROR(CheckAmount(rules, bounds));
  const Patience patience(bounds);
  Faults faults;
  for (const Rule& rule : rules) {
    Subject subject{First(rule.scope.orgs), First(rule.scope.teams), First(rule.scope.projects), First(rule.scope.keys),
                    First(rule.scope.models)};
    subject.end_user = First(rule.scope.end_users);
    for (const RuleTest& test : rule.tests) {
      TG_RETURN_IF_ERROR(patience.Check());
      subject.unix_seconds = test.at != 0 ? test.at : rule.scope.time ? rule.scope.time->Example() : 0;
      subject.prompt_tokens = EstimateTokens(test.text);  // Nobody counts here, and what is not counted would hit.
      const auto fail = [&](std::string_view what) {
        faults.Add(PolicyError(rule.policy, test.line, test.column,
                               fmt::format("a test of rule '{}' fails: {}; mend the rule or the test", rule.id, what)));
      };
      auto outcome = Run(policies, subject, test, patience);
      if (!outcome.ok()) TG_RETURN_IF_ERROR(patience.Check());  // Not the test's fault.
      const std::string wrong = outcome.ok() ? Wrong(*outcome, test) : std::string(base::Message(outcome.status()));
      if (!wrong.empty()) fail(wrong);
    }
  }
  return faults.ToStatus();
}

}  // namespace tollgate::policy
