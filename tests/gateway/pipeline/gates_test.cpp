// What rules ask of shared state: rates, terms of use, a second person's approval.
#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "base/status.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Reply;

namespace {

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
  test::World world(
      test::HousePolicy("  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 2, per: hour, by: end_user}}}\n"));
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

TEST_CASE("A canary's rate counts apart from that of the same rule in force") {
  const std::string few = "  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 1, per: hour, by: key}}}\n";
  test::World world(test::HousePolicy(few));
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "answered");
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "RATE_LIMITED");
  world.Try(test::HousePolicy(few), "canary", 10'000);
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "answered");
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "RATE_LIMITED");
  world.CheckBooks();
}

TEST_CASE("Terms are accepted once by each end user, on record, and asked for again in a new version") {
  const auto terms = [](const std::string& version) {
    return test::HousePolicy("  - {id: terms, detect: {request: any}, do: {terms: house-rules@" + version +
                             "}, because: Read the house rules.}\n");
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
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "anna"))).reason == "answered");            // Once is enough,
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "bert"))).reason == "TERMS_NOT_ACCEPTED");  // for who said it,
  world.Try(terms("2"), "canary", 10'000);
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "anna"))).reason == "TERMS_NOT_ACCEPTED");  // of that version.
  world.CheckBooks();
}

TEST_CASE("An approval is asked for by a refusal, given once by somebody, and good for one request or for its minutes") {
  for (const bool minutes : {false, true}) {
    INFO((minutes ? "for minutes" : "for one request"));
    const std::string how = minutes ? "{approval: {minutes: 30}}" : "approval";
    test::World world(test::HousePolicy("  - {id: dump, detect: {keywords: all records}, do: " + how + ", because: Mass data.}\n"));
    const v1::ChatRequest ask = world.Ask("give me all records");
    const base::ErrorDetail refused = DetailOf(world.Chat(ask));
    CHECK(refused.reason == "APPROVAL_NEEDED");
    const auto waits = world.gates.ListApprovals({});
    REQUIRE(waits->all.size() == 1);
    CHECK(refused.subject == waits->all[0].id.ToString());
    CHECK(DetailOf(world.Chat(ask)).subject == refused.subject);  // The same wish, not another one.
    CHECK(world.journal.entries()[0].record.deny().approvals(0) == waits->all[0].id.Bytes());
    REQUIRE(world.gates.Grant({}, waits->all[0].id, "second").ok());
    CHECK(DetailOf(world.Chat(ask)).reason == "answered");
    const auto entries = world.journal.entries();
    REQUIRE(entries[2].record.request().approvals_size() == 1);
    CHECK(entries[2].record.request().approvals(0) == waits->all[0].id.Bytes());
    CHECK(DetailOf(world.Chat(ask)).reason == (minutes ? "answered" : "APPROVAL_NEEDED"));
    world.clock.Advance(std::chrono::minutes(31));
    CHECK(DetailOf(world.Chat(ask)).reason == "APPROVAL_NEEDED");
    world.CheckBooks();
  }
}

TEST_CASE("Terms of several rules are accepted by one request, or one after the other") {
  for (const bool at_once : {true, false}) {
    INFO((at_once ? "at once" : "one by one"));
    test::World world(
        test::HousePolicy("  - {id: use, detect: {request: any}, do: {terms: acceptable-use@3}}\n"
                          "  - {id: data, detect: {request: any}, do: {terms: privacy@1}}\n"));
    v1::ChatRequest ask = As(world.Ask("hello"), "anna");
    const auto refused = world.Chat(ask);
    CHECK(base::Message(std::get<Failure>(refused).status).find("set to acceptable-use@3,privacy@1") != std::string::npos);
    CHECK(DetailOf(refused).rule_ids == std::vector<std::string>{"use", "data"});
    if (at_once) {
      ask.set_accept_terms("acceptable-use@3, privacy@1");
      CHECK(DetailOf(world.Chat(ask)).reason == "answered");
      CHECK(world.journal.entries()[1].record.request().terms_accepted() == "acceptable-use@3,privacy@1");
    } else {
      ask.set_accept_terms("acceptable-use@3");
      CHECK(DetailOf(world.Chat(ask)).reason == "TERMS_NOT_ACCEPTED");
      CHECK(world.journal.entries()[1].record.deny().terms_accepted() == "acceptable-use@3");
      ask.set_accept_terms("privacy@1");
      CHECK(DetailOf(world.Chat(ask)).reason == "answered");
    }
    CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "anna"))).reason == "answered");
    world.CheckBooks();
  }
}

TEST_CASE("What a denied request accepts is on its record, and not asked for again") {
  test::World world(
      test::HousePolicy("  - {id: use, detect: {request: any}, do: {terms: acceptable-use@3}}\n"
                        "  - {id: dump, detect: {keywords: all records}, do: approval}\n"));
  v1::ChatRequest ask = As(world.Ask("all records"), "anna");
  ask.set_accept_terms("acceptable-use@3");
  CHECK(DetailOf(world.Chat(ask)).reason == "APPROVAL_NEEDED");
  CHECK(world.journal.entries()[0].record.deny().terms_accepted() == "acceptable-use@3");
  CHECK(DetailOf(world.Chat(As(world.Ask("hello"), "anna"))).reason == "answered");
}

TEST_CASE("Approvals of several rules are asked for together, and none is used up before all are there") {
  test::World world(
      test::HousePolicy("  - {id: dump, detect: {keywords: all records}, do: approval}\n"
                        "  - {id: pay, detect: {keywords: payroll}, do: approval}\n"));
  const v1::ChatRequest both = world.Ask("all records of payroll");
  CHECK(DetailOf(world.Chat(both)).rule_ids == std::vector<std::string>{"dump", "pay"});
  const std::vector<gates::Approval> waits = world.gates.ListApprovals({})->all;
  REQUIRE(waits.size() == 2);
  REQUIRE(world.journal.entries()[0].record.deny().approvals_size() == 2);
  for (int i : {0, 1}) {
    CHECK(DetailOf(world.Chat(both)).reason == "APPROVAL_NEEDED");
    REQUIRE(world.gates.Grant({}, waits[static_cast<std::size_t>(i)].id, "second").ok());
  }
  CHECK(DetailOf(world.Chat(both)).reason == "answered");
  CHECK(world.journal.entries()[world.journal.entries().size() - 2].record.request().approvals_size() == 2);
  CHECK(world.gates.ListApprovals({})->all.size() == 2);
  CHECK(DetailOf(world.Chat(both)).reason == "APPROVAL_NEEDED");  // For one request each.
}

TEST_CASE("A grant for one request is not used up by one that goes no further") {
  test::World world(
      test::HousePolicy("  - {id: dump, detect: {keywords: all records}, do: approval}\n"
                        "  - {id: few, detect: {keywords: falcon}, do: {rate_limit: {requests: 1, per: hour, by: key}}}\n"));
  const v1::ChatRequest ask = world.Ask("all records"), limited = world.Ask("falcon, all records");
  for (const v1::ChatRequest& one : {ask, limited}) {
    CHECK(DetailOf(world.Chat(one)).reason == "APPROVAL_NEEDED");
    REQUIRE(world.gates.Grant({}, world.gates.ListApprovals({})->all.back().id, "second").ok());
  }
  CHECK(DetailOf(world.Chat(world.Ask("falcon"))).reason == "answered");
  CHECK(DetailOf(world.Chat(limited)).reason == "RATE_LIMITED");
  world.journal.SetFault([](const audit::Entry&) { return absl::UnavailableError("full"); });
  CHECK(DetailOf(world.Chat(ask)).reason != "answered");  // It cannot be put on record.
  world.journal.SetFault(nullptr);
  CHECK(DetailOf(world.Chat(ask)).reason == "answered");
  CHECK(DetailOf(world.Chat(ask)).reason == "APPROVAL_NEEDED");
  world.clock.Advance(std::chrono::hours(1));
  CHECK(DetailOf(world.Chat(limited)).reason == "answered");
}

TEST_CASE("An approval for one request is for the very prompt that asked: nobody sends another one under it") {
  test::World world(test::HousePolicy("  - {id: dump, detect: {keywords: records}, do: approval, because: Mass data.}\n"));
  const v1::ChatRequest harmless = world.Ask("how many records"), evil = world.Ask("all records");
  const auto refused = world.Chat(harmless);
  CHECK(DetailOf(refused).reason == "APPROVAL_NEEDED");
  const std::string message = base::Message(std::get<Failure>(refused).status);
  CHECK(message.find("a second person's approval of this very prompt") != std::string::npos);
  CHECK(message.find("send the request again as it is") != std::string::npos);
  const auto waits = world.gates.ListApprovals({});
  REQUIRE(waits->all.size() == 1);
  // What the approver reads.
  const audit::Entry denied = world.journal.entries()[0];
  CHECK(denied.record.request_id() == waits->all[0].request.Bytes());
  CHECK(world.Content(denied).prompt(0).parts(0) == "how many records");
  REQUIRE(world.gates.Grant({}, waits->all[0].id, "second").ok());

  const base::ErrorDetail other = DetailOf(world.Chat(evil));
  CHECK(other.reason == "APPROVAL_NEEDED");
  CHECK(other.subject != waits->all[0].id.ToString());  // It asks anew,
  CHECK(DetailOf(world.Chat(As(harmless, "anna"))).reason == "APPROVAL_NEEDED");
  v1::ChatRequest longer = harmless;
  *longer.add_messages() = harmless.messages(0);
  CHECK(DetailOf(world.Chat(longer)).reason == "APPROVAL_NEEDED");
  v1::ChatRequest cooler = harmless;  // and the grant is still there for what was approved, however it is drawn.
  cooler.mutable_sampling()->set_temperature(0.25);
  cooler.set_max_tokens(7);
  CHECK(DetailOf(world.Chat(cooler)).reason == "answered");
  CHECK(DetailOf(world.Chat(harmless)).reason == "APPROVAL_NEEDED");  // Once.
  world.CheckBooks();
}

TEST_CASE("An approval for minutes is for any prompt of the key, and says nothing of one") {
  test::World world(test::HousePolicy("  - {id: dump, detect: {keywords: records}, do: {approval: {minutes: 30}}, because: Mass data.}\n"));
  const auto refused = world.Chat(world.Ask("how many records"));
  CHECK(base::Message(std::get<Failure>(refused).status).find("very prompt") == std::string::npos);
  CHECK(DetailOf(world.Chat(world.Ask("all records"))).subject == DetailOf(refused).subject);
  REQUIRE(world.gates.Grant({}, world.gates.ListApprovals({})->all.at(0).id, "second").ok());
  for (const char* text : {"how many records", "all records", "records"}) CHECK(DetailOf(world.Chat(world.Ask(text))).reason == "answered");
}

TEST_CASE("A system prompt that an org puts before its chats is part of what is approved") {
  test::World world(test::HousePolicy("  - {id: dump, where: {roles: [user]}, detect: {keywords: records}, do: approval}\n"));
  v1::ChatDefaults defaults;
  defaults.set_system_prompt("Be brief.");
  world.SetDefaults("org", defaults);
  const v1::ChatRequest ask = world.Ask("all records");
  CHECK(DetailOf(world.Chat(ask)).reason == "APPROVAL_NEEDED");
  REQUIRE(world.gates.Grant({}, world.gates.ListApprovals({})->all.at(0).id, "second").ok());
  defaults.set_system_prompt("Tell everything.");
  world.SetDefaults("org", defaults);
  CHECK(DetailOf(world.Chat(ask)).reason == "APPROVAL_NEEDED");
  defaults.set_system_prompt("Be brief.");
  world.SetDefaults("org", defaults);
  CHECK(DetailOf(world.Chat(ask)).reason == "answered");
}

TEST_CASE(
    "So many prompts of a key wait for an approval: the next is denied, on record, with the remedy, until one of them is turned down") {
  test::World world(test::HousePolicy("  - {id: dump, detect: {keywords: record}, do: approval, because: Mass data.}\n"));
  for (int i = 0; i < gates::kWaitingMax; ++i) {
    CHECK(DetailOf(world.Chat(world.Ask("record " + std::to_string(i)))).reason == "APPROVAL_NEEDED");
  }
  const v1::ChatRequest next = world.Ask("one record more");
  const auto refused = world.Chat(next);
  CHECK(DetailOf(refused).reason == "TOO_MANY_APPROVALS_WAIT");
  CHECK(DetailOf(refused).rule_ids == std::vector<std::string>{"dump"});
  CHECK(base::Message(std::get<Failure>(refused).status).find("tollgate policy revoke-approval ID") != std::string::npos);
  const audit::Entry denied = world.journal.entries().back();
  CHECK(denied.record.deny().reason() == "TOO_MANY_APPROVALS_WAIT");
  CHECK(denied.record.deny().approvals().empty());
  CHECK(world.Content(denied).prompt(0).parts(0) == "one record more");
  CHECK(DetailOf(world.Chat(world.Ask("record 7"))).reason == "APPROVAL_NEEDED");  // It waits already.
  REQUIRE(world.gates.Revoke({}, world.gates.ListApprovals({})->all[0].id).ok());
  CHECK(DetailOf(world.Chat(next)).reason == "APPROVAL_NEEDED");
  world.CheckBooks();
}

TEST_CASE("What a rule's rate refuses, or an end user who is not named, counts as a request: nobody asks without end") {
  test::World world(
      test::HousePolicy("  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 1, per: day, by: end_user}}}\n"));
  world.SetQuota("requests", "minute", 3);
  CHECK(DetailOf(world.Chat(As(world.Ask("a report"), "anna"))).reason == "answered");
  CHECK(DetailOf(world.Chat(As(world.Ask("a report"), "anna"))).rule_ids == std::vector<std::string>{"few"});
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "END_USER_NEEDED");
  CHECK(DetailOf(world.Chat(As(world.Ask("a report"), "anna"))).rule_ids.empty());  // The quota's refusal.
  world.CheckBooks();
}

TEST_CASE("What is blocked asks for nothing, and a rate counts nothing that an approval or another rate stops") {
  test::World world(
      test::HousePolicy("  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 1, per: hour, by: key}}}\n"
                        "  - {id: fewer, detect: {keywords: falcon}, do: {rate_limit: {requests: 1, per: hour, by: key}}}\n"
                        "  - {id: dump, detect: {keywords: yearly}, do: approval}\n"
                        "  - {id: no, detect: {keywords: badger}, do: block}\n"));
  CHECK(DetailOf(world.Chat(world.Ask("a yearly badger report"))).reason == "POLICY_BLOCKED");
  CHECK(world.gates.ListApprovals({})->all.empty());
  CHECK(DetailOf(world.Chat(world.Ask("a yearly report"))).reason == "APPROVAL_NEEDED");
  CHECK(DetailOf(world.Chat(world.Ask("a falcon"))).reason == "answered");
  CHECK(DetailOf(world.Chat(world.Ask("a falcon report"))).rule_ids == std::vector<std::string>{"fewer"});
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "answered");
  CHECK(DetailOf(world.Chat(world.Ask("a report"))).reason == "RATE_LIMITED");
}
