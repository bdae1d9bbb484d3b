// What a judgement may come to has bounds, whoever wrote the rules and the text: beyond them nothing is judged, and nothing leaves.
#include "policy/effort.h"

#include <fmt/format.h>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error_detail.h"
#include "policy/explain.h"
#include "policy/program.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

std::string Repeat(std::string_view piece, std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += piece;
  return out;
}

// `n` rules that find the same.
std::string Rules(int n, const std::string& detect, const std::string& action = "flag") {
  std::string out = "version: 1\nname: t\nrules:\n";
  for (int i = 0; i < n; ++i) out += fmt::format("- {{id: r{}, detect: {}, do: {}}}\n", i, detect, action);
  return out;
}

absl::StatusOr<Inspection> Inspect(const PolicySet& policies, const std::string& text, const KeepGoing& keep_going = nullptr) {
  const Message message{Role::kUser, "", {text}};
  return policies.Inspect({}, {&message, 1}, keep_going);
}

void CheckRefusal(const absl::Status& status) {
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(base::Message(status), ContainsSubstring("more than 1000000 spans") && ContainsSubstring("send less text"));
  const auto detail = base::DetailOf(status);
  REQUIRE(detail.has_value());
  CHECK(detail->reason == "POLICY_TOO_MANY_HITS");
  CHECK_FALSE(detail->may_retry);
}

// Text in which the automaton of SlowRules holds no state for long: each byte costs a walk over the pattern.
std::string SlowText(std::size_t bytes) {
  std::string out;
  for (std::uint32_t x = 1; out.size() < bytes;) out += (x = x * 1664525 + 1013904223) >> 31 == 0 ? 'a' : 'b';
  return out;
}

}  // namespace

TEST_CASE("It asks as work is spent, and once it was refused it is over") {
  int asked = 0;
  bool gone = false;
  Effort effort([&]() -> absl::Status { return ++asked, gone ? base::Cancelled("gone") : absl::OkStatus(); });
  for (int i = 0; i < 100; ++i) CHECK(effort.Spend(1));
  CHECK(asked == 0);
  CHECK(effort.Spend(Effort::UnitsOf(1 << 20, 1000)));
  CHECK(asked == 1);
  gone = true;
  CHECK_FALSE(effort.Spend(1 << 20));
  CHECK_FALSE(effort.Spend(1));
  CHECK_FALSE(effort.Hold(1));
  CHECK(asked == 2);
  CHECK(absl::IsCancelled(effort.status()));

  Effort hits;
  CHECK(hits.Hold(Effort::kHitsMax));
  CHECK_FALSE(hits.Hold(Effort::kHitsMax + 1));
  CHECK_FALSE(hits.Spend(1));
  CheckRefusal(hits.status());
}

TEST_CASE("A keyword that is listed a hundred thousand times costs what it costs once") {
  std::string words;
  for (int i = 0; i < 100'000; ++i) words += i == 0 ? "a" : ", a";
  const auto policies = MustCompile(OneRule("{keywords: [" + words + "]}", "flag"));
  const auto out = Inspect(*policies, Repeat("a ", 20'000));
  REQUIRE(out.ok());
  CHECK(out->verdict.rules.at(0).count == 10'000);
}

TEST_CASE("A prompt in which rules find more than can be judged is refused, soon and in bounded memory") {
  const std::string text = Repeat("a ", 4 << 20);
  for (const std::string& yaml :
       {Rules(500, "{keywords: a}"), Rules(100, "{regex: '[a-z]'}"), Rules(2, "{regex: '[a-z ]', as_written: true}", "redact")}) {
    const auto policies = MustCompile(yaml);
    CheckRefusal(Inspect(*policies, text).status());
    CheckRefusal(policies->FilterWhole({}, text).status());
  }
  // Each of many messages has its share of the same million.
  const auto policies = MustCompile(Rules(30, "{keywords: a}"));
  const std::vector<Message> prompt(100, Message{Role::kUser, "", {Repeat("a ", 1000)}});
  CheckRefusal(policies->Inspect({}, prompt).status());
  CHECK(policies->Inspect({}, std::span(prompt).first(10)).ok());
}

TEST_CASE("Keywords that lie inside each other at every byte are thinned out as they are read") {
  std::string words;
  for (int i = 1; i <= 200; ++i) words += (i == 1 ? "" : ", ") + std::string(static_cast<std::size_t>(i), 'a');
  const auto policies = MustCompile(OneRule("{keywords: [" + words + "], whole_word: false}", "flag"));
  const auto out = Inspect(*policies, std::string(200'000, 'a'));
  // At most a million are held at once, of forty million in all: with fewer bytes it is judged, with more it is refused.
  if (out.ok()) CHECK(out->verdict.rules.at(0).count > 0);
  if (!out.ok()) CheckRefusal(out.status());
  CHECK(Inspect(*policies, std::string(4'000, 'a')).ok());
}

TEST_CASE("A stream stops where rules have found more than can be judged, and nothing more comes out") {
  const auto policies = MustCompile(Rules(500, "{keywords: a}"));
  const auto filter = policies->OpenOutput({});
  std::string out;
  absl::Status failed;
  for (int i = 0; i < 3'000 && failed.ok(); ++i) {
    const auto more = filter->Push("a ");
    if (more.ok()) out += *more;
    failed = more.status();
  }
  CheckRefusal(failed);
  CHECK(out.size() >= 3'900);
  CHECK(out.size() <= 4'100);
  CHECK_FALSE(filter->LetsOut("b"));
  CheckRefusal(filter->Push("b").status());
  CheckRefusal(filter->Finish().status());
}

TEST_CASE("Whoever no longer waits ends a judgement in the middle of one text, in prompts, replies and explanations") {
  const std::string yaml = Rules(3, "{regex: 'a[ab]{400}c'}") + "- {id: k, detect: {keywords: [a, b]}, do: flag}\n";
  const auto policies = MustCompile(yaml);
  const std::string text = SlowText(200 << 10);
  for (const int times : {0, 1, 20}) {
    int asked = 0;
    const KeepGoing keep_going = [&]() -> absl::Status { return ++asked > times ? base::Cancelled("gone") : absl::OkStatus(); };
    CHECK(absl::IsCancelled(Inspect(*policies, text, keep_going).status()));
    CHECK(asked == times + 1);
    asked = 0;
    CHECK(absl::IsCancelled(policies->FilterWhole({}, text, {}, keep_going).status()));
    CHECK(asked == times + 1);
    asked = 0;
    const auto filter = policies->OpenOutput({}, {}, keep_going);
    CHECK(absl::IsCancelled(filter->Push(text).status()));
    CHECK(absl::IsCancelled(filter->Finish().status()));
    CHECK(asked == times + 1);
  }
  const PolicySource source{"t", yaml};
  int asked = 0, most = 1 << 30;
  const KeepGoing keep_going = [&]() -> absl::Status { return ++asked > most ? base::Cancelled("gone") : absl::OkStatus(); };
  REQUIRE(PolicySet::Compile({&source, 1}, RunTests::kYes, keep_going).ok());
  most = 2 * asked + 20;  // Explain compiles twice.
  asked = 0;
  CHECK(absl::IsCancelled(Explain({&source, 1}, {}, {text}, nullptr, keep_going).status()));
}

}  // namespace tollgate::policy
