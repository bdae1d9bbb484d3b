// Policies on trial: a shadow is recorded and changes nothing; a canary acts on its share, and the record says so.
#include <catch2/catch_test_macros.hpp>

#include "base/crypto.h"
#include "base/status.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/shadow.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Reply;

namespace {

constexpr const char* kLive = R"(version: 1
name: house
rules:
  - id: mail
    detect: { personal_data: email }
    do: redact
)";
constexpr const char* kNext = R"(version: 1
name: house
rules:
  - id: codename
    detect: { keywords: bluebird }
    do: block
)";

std::string TextOf(const pipeline::Outcome<Reply>& outcome) {
  const auto* reply = std::get_if<Reply>(&outcome);
  return reply == nullptr ? "refused" : reply->text;
}

}  // namespace

TEST_CASE("A shadow's verdict on prompt and output is on record beside the one that acted, and changes nothing") {
  test::World world(kLive);
  world.Try(kNext, "shadow");
  CHECK(TextOf(world.Chat(world.Ask("bluebird of a@example.com"))) == "bluebird of [EMAIL]");
  const auto entries = world.journal.entries();
  REQUIRE(entries.size() == 2);
  const v1::RequestBody& request = entries[0].record.request();
  CHECK(request.input_verdict().action() == "redact");
  CHECK_FALSE(request.canary());
  CHECK(request.shadow().verdict().action() == "block");
  CHECK(request.shadow().verdict().rules(0).rule_id() == "codename");
  CHECK(request.shadow().policy_digest().size() == 32);
  CHECK(request.shadow().policy_digest() != request.policy_digest());
  const v1::EndBody& end = entries[1].record.end();
  CHECK(end.output_verdict().action() == "allow");
  CHECK(end.shadow_output().verdict().action() == "block");
  CHECK(end.shadow_output().policy_digest() == request.shadow().policy_digest());
  world.CheckBooks();
}

TEST_CASE("What a shadow's rules would ask others is on record as not scanned, for nobody is asked") {
  test::World world(kLive);
  world.Try(
      "version: 1\nname: house\nrules:\n  - {id: in, where: {direction: input}, detect: {external: tox}, do: block}\n"
      "  - {id: out, where: {direction: output}, detect: {external: tox}, do: block}\n",
      "shadow");
  CHECK(TextOf(world.Chat(world.Ask("hello"))) == "hello");
  const auto entries = world.journal.entries();
  REQUIRE(entries.size() == 2);
  const v1::Verdict prompt = entries[0].record.request().shadow().verdict(), reply = entries[1].record.end().shadow_output().verdict();
  REQUIRE(prompt.not_scanned_size() == 1);
  CHECK(prompt.not_scanned(0) == "external tox (in)");
  REQUIRE(reply.not_scanned_size() == 1);
  CHECK(reply.not_scanned(0) == "external tox (out)");
  CHECK(entries[1].record.end().output_verdict().not_scanned().empty());
}

TEST_CASE("A prompt that the policies in force block carries the shadow's verdict too") {
  test::World world(kNext);
  world.Try(kLive, "shadow");
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("bluebird of a@example.com"))));
  const v1::DenyBody deny = world.journal.entries()[0].record.deny();
  CHECK(deny.input_verdict().action() == "block");
  CHECK(deny.shadow().verdict().action() == "redact");
}

TEST_CASE("How often a shadow agreed is counted by direction") {
  pipeline::ShadowCounts counts;
  v1::ShadowVerdict shadow;
  v1::Verdict acted;
  acted.set_action("redact");
  counts.Add(false, acted, shadow);  // No shadow.
  shadow.set_policy_digest("d");
  for (const char* said : {"allow", "flag", "redact", "block", "block"}) {
    shadow.mutable_verdict()->set_action(said);
    counts.Add(false, acted, shadow);
  }
  CHECK(counts.Of(false).same == 1);
  CHECK(counts.Of(false).stricter == 2);
  CHECK(counts.Of(false).milder == 2);
  CHECK(counts.Of(true).same + counts.Of(true).stricter + counts.Of(true).milder == 0);
  shadow.mutable_verdict()->set_action("flag");
  shadow.mutable_verdict()->add_rules()->set_effect("approval");
  counts.Add(true, acted, shadow);
  CHECK(counts.Of(true).stricter == 1);
}

TEST_CASE("What a shadow is compared with leaves out the rules that asked others") {
  v1::Verdict acted;
  acted.set_action("block");
  for (const auto& [id, action] : {std::pair("mail", "redact"), {"guard", "block"}}) {
    v1::RuleOutcome& rule = *acted.add_rules();
    rule.set_rule_id(id);
    rule.set_action(action);
  }
  v1::EndBody end;
  CHECK(pipeline::WithoutAsked(acted, end.guards()).action() == "block");
  end.add_guards()->set_rule_id("guard");
  const v1::Verdict rest = pipeline::WithoutAsked(acted, end.guards());
  CHECK(rest.action() == "redact");
  REQUIRE(rest.rules_size() == 1);
  CHECK(rest.rules(0).rule_id() == "mail");
}

TEST_CASE("Without a trial no record speaks of one") {
  test::World world(kLive);
  world.Chat(world.Ask("hello"));
  const auto entries = world.journal.entries();
  CHECK_FALSE(entries[0].record.request().has_shadow());
  CHECK_FALSE(entries[1].record.end().has_shadow_output());
}

TEST_CASE("A canary of everything acts in place of the policies in force") {
  test::World world(kLive);
  world.Try(kNext, "canary", 10000);
  CHECK(TextOf(world.Chat(world.Ask("to a@example.com"))) == "to a@example.com");
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("bluebird"))));
  const auto entries = world.journal.entries();
  CHECK(entries[0].record.request().canary());
  CHECK(entries[2].record.deny().canary());
}

TEST_CASE("A rule with hours goes by the gateway's clock") {
  test::World world(R"(version: 1
name: house
rules:
  - id: weekend
    where: { time: { days: [sat, sun], zone: Europe/Berlin } }
    detect: { keywords: bluebird }
    do: redact
)");
  world.clock.SetWall(base::FromMicros(1'795'860'000'000'000));  // 2026-11-28T10:00:00Z, a Saturday.
  CHECK(TextOf(world.Chat(world.Ask("bluebird"))) == "[REDACTED]");
  world.clock.SetWall(base::FromMicros(1'796'032'800'000'000));  // The Monday after.
  CHECK(TextOf(world.Chat(world.Ask("bluebird"))) == "bluebird");
}
