// What rules ask of shared state: rates, terms of use, a second person's approval.
#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "base/status.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Reply;

namespace {

std::string Policy(const std::string& rules) { return "version: 1\nname: house\nrules:\n" + rules; }

base::ErrorDetail DetailOf(const pipeline::Outcome<Reply>& outcome) {
  const auto* failure = std::get_if<Failure>(&outcome);
  if (failure == nullptr) return {.reason = "answered"};
  return base::DetailOf(failure->status).value_or(base::ErrorDetail{.reason = base::Message(failure->status)});
}

v1::ChatRequest As(v1::ChatRequest request, const std::string& end_user) {
  request.set_end_user(end_user);
  return request;
}

}  // namespace

TEST_CASE("A rule's rate counts only requests that match it, for each of those it counts by, and begins anew with the window") {
  test::World world(Policy("  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 2, per: hour, by: end_user}}}\n"));
  const v1::ChatRequest report = world.Ask("a report");
  CHECK(DetailOf(world.Chat(report)).reason == "END_USER_NEEDED");
  for (int i = 0; i < 2; ++i) CHECK(DetailOf(world.Chat(As(report, "anna"))).reason == "answered");
  const base::ErrorDetail refused = DetailOf(world.Chat(As(report, "anna")));
  CHECK(refused.reason == "RATE_LIMITED");
  CHECK(refused.rule_ids == std::vector<std::string>{"few"});
  CHECK(refused.retry_after_ms.value_or(0) > 0);
  CHECK(DetailOf(world.Chat(As(report, "bert"))).reason == "answered");
  CHECK(DetailOf(world.Chat(As(world.Ask("no such word"), "anna"))).reason == "answered");
  world.clock.Advance(std::chrono::hours(1));
  CHECK(DetailOf(world.Chat(As(report, "anna"))).reason == "answered");
  world.CheckBooks();
}

TEST_CASE("Terms are accepted once by each end user, on record, and asked for again in a new version") {
  const auto terms = [](const std::string& version) {
    return Policy("  - {id: terms, detect: {request: any}, do: {terms: house-rules@" + version + "}, because: Read the house rules.}\n");
  };
  test::World world(terms("1"));
  v1::ChatRequest ask = As(world.Ask("hello"), "anna");
  CHECK(DetailOf(world.Chat(world.Ask("hello"))).reason == "END_USER_NEEDED");
  const auto refused = world.Chat(ask);
  CHECK(DetailOf(refused).reason == "TERMS_NOT_ACCEPTED");
  const std::string message = base::Message(std::get<Failure>(refused).status);
  CHECK(message.find("Read the house rules.") != std::string::npos);
  CHECK(message.find("x-tollgate-accept-terms) set to house-rules@1") != std::string::npos);
  CHECK(world.Kinds() == "DENY");
  CHECK(world.journal.entries()[0].record.deny().reason() == "TERMS_NOT_ACCEPTED");
  ask.set_accept_terms("house-rules@0");
  CHECK(DetailOf(world.Chat(ask)).reason == "TERMS_NOT_ACCEPTED");
  ask.set_accept_terms("house-rules@1");
  CHECK(DetailOf(world.Chat(ask)).reason == "answered");
  const auto entries = world.journal.entries();
  CHECK(entries[2].record.request().terms_accepted() == "house-rules@1");
  CHECK(entries[2].record.request().input_verdict().rules(0).effect() == "terms house-rules@1");
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "anna"))).reason == "answered");  // Once is enough,
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "bert"))).reason == "TERMS_NOT_ACCEPTED");  // for who said it,
  world.Try(terms("2"), "canary", 10'000);
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "anna"))).reason == "TERMS_NOT_ACCEPTED");  // of that version.
  world.CheckBooks();
}

TEST_CASE("An approval is asked for by a refusal, given once by somebody, and good for one request or for its minutes") {
  for (const bool minutes : {false, true}) {
    INFO((minutes ? "for minutes" : "for one request"));
    const std::string how = minutes ? "{approval: {minutes: 30}}" : "approval";
    test::World world(Policy("  - {id: dump, detect: {keywords: all records}, do: " + how + ", because: Mass data.}\n"));
    const v1::ChatRequest ask = world.Ask("give me all records");
    const base::ErrorDetail refused = DetailOf(world.Chat(ask));
    CHECK(refused.reason == "APPROVAL_NEEDED");
    const auto waits = world.gates.ListApprovals({});
    REQUIRE(waits->size() == 1);
    CHECK(refused.subject == (*waits)[0].id.ToString());
    CHECK(DetailOf(world.Chat(ask)).subject == refused.subject);  // The same wish, not another one.
    CHECK(world.journal.entries()[0].record.deny().approval() == (*waits)[0].id.Bytes());
    REQUIRE(world.gates.Grant({}, (*waits)[0].id, "second").ok());
    CHECK(DetailOf(world.Chat(ask)).reason == "answered");
    const auto entries = world.journal.entries();
    REQUIRE(entries[2].record.request().approvals_size() == 1);
    CHECK(entries[2].record.request().approvals(0) == (*waits)[0].id.Bytes());
    CHECK(DetailOf(world.Chat(ask)).reason == (minutes ? "answered" : "APPROVAL_NEEDED"));
    world.clock.Advance(std::chrono::minutes(31));
    CHECK(DetailOf(world.Chat(ask)).reason == "APPROVAL_NEEDED");
    world.CheckBooks();
  }
}

TEST_CASE("What is blocked asks for nothing, and a rate counts what an approval then stops") {
  test::World world(Policy("  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 1, per: hour, by: key}}}\n"
                           "  - {id: dump, detect: {keywords: report}, do: approval}\n"
                           "  - {id: no, detect: {keywords: falcon}, do: block}\n"));
  CHECK(DetailOf(world.Chat(world.Ask("a falcon report"))).reason == "POLICY_BLOCKED");
  CHECK(world.gates.ListApprovals({})->empty());
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "APPROVAL_NEEDED");
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "RATE_LIMITED");
}
