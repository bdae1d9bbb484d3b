// The real `tollgate serve` with an external detector: what it calls evil reaches nobody, on any surface, and is on record; what is on
// record can be replayed.
#include <catch2/catch_test_macros.hpp>

#include <functional>

#include "base/clock.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/support/grpc_reason.h"
#include "tests/support/scripted_upstream.h"

namespace {

using namespace tollgate::e2e;
using tollgate::test::ScriptedUpstream;
namespace v1 = tollgate::v1;

struct World {
  World() : admin(gateway, installation.owner_key()), company(MakeCompany(admin)) {
    REQUIRE(Eventually([&] { return Say("hello", Surface::kHttpPlain).done; }));
  }
  Answer Say(const std::string& prompt, Surface surface) { return Ask(ports, surface, {.key = company.key, .prompt = prompt}); }
  void Put(const std::string& rule) { admin.PutPolicy("version: 1\nname: test\nrules:\n  - {id: guard, " + rule + "}\n"); }

  std::function<void()> when_asked;  // Before the answer.
  ScriptedUpstream detector{[this](ScriptedUpstream::Exchange& exchange) {
    const std::string& body = exchange.request().body;
    if (when_asked) when_asked();
    if (body.find("mumble") != std::string::npos) return exchange.Reply(200, "mumble");
    exchange.Reply(200, body.find("evil") != std::string::npos ? R"({"hit":true,"score":0.9,"category":"evil"})" : R"({"hit":false})");
  }};
  Installation installation;
  Gateway gateway{installation, {.detectors = {{"kind", detector.url() + "/judge"}}}};
  Ports ports = PortsOf(gateway);
  Admin admin;
  Company company;
};

}  // namespace

TEST_CASE("A detector's verdict holds on every surface, and the record has it") {
  World world;
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const std::string refused = IsGrpc(surface) ? "POLICY_BLOCKED" : "content_filter";
    world.Put("where: {direction: input}, detect: {external: kind}, do: block, because: Be kind.");
    CHECK(world.Say("a kind word", surface).text == "a kind word");
    const Answer blocked = world.Say("an evil word", surface);
    CHECK(blocked.reason == refused);
    CHECK(blocked.message.find("Be kind.") != std::string::npos);
    CHECK(world.Say("mumble", surface).reason == refused);  // What nobody can read is no answer.

    world.Put("where: {direction: output}, detect: {external: kind, at: sentence}, do: block");
    const Answer held = world.Say("All is well. The canary is evil. And more.", surface);
    CHECK(held.finish == "content_filter");
    CHECK(held.seen.find("canary") == std::string::npos);
    const v1::EndBody end = StoryOf(world.admin, held.request_id).end;
    REQUIRE(end.guards_size() == 1);
    CHECK(end.guards(0).hit());
    CHECK(end.guards(0).category() == "evil");
    CHECK(end.output_verdict().action() == "block");

    world.Put("where: {direction: output}, detect: {external: other, on_error: allow}, do: block");
    const Answer open = world.Say("nobody is asked", surface);
    CHECK(open.text == "nobody is asked");
    CHECK(StoryOf(world.admin, open.request_id).end.output_verdict().not_scanned_size() == 1);
  }
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("What is on record is replayed by a candidate") {
  World world;
  world.Say("about bluebird", Surface::kHttpPlain);
  v1::ReplayPolicyRequest request;
  request.set_org("acme");
  request.set_reason("to see");
  request.set_examples(3);
  request.set_yaml("version: 1\nname: next\nrules:\n  - {id: codename, detect: {keywords: bluebird}, do: block}\n");
  const auto changes = world.admin.Call<v1::Policy>(&v1::Policy::Stub::Replay, request);
  CHECK(changes.judged() >= 4);
  CHECK(changes.replies() >= 2);
  CHECK(changes.changed() == 2);  // The model says what it was told.
  REQUIRE(changes.rules_size() == 2);
  for (const v1::RuleChange& rule : changes.rules()) {
    CHECK(rule.rule_id() == "codename");
    CHECK(rule.examples_size() == 1);
  }
  CHECK(changes.rules(1).direction() == "output");
}

TEST_CASE("A replay of replies by the rules that judged them changes nothing, and without those it changes each") {
  World world;
  v1::ReplayPolicyRequest request;
  request.set_org("acme");
  request.set_reason("to see");
  const std::string nothing = "version: 1\nname: next\nrules:\n  - {id: none, detect: {keywords: bluebird}, do: flag}\n";
  for (const std::string act :
       {"flag", "redact", "mask, keep_last: 2", "replace, replacement: a rose", "hash, salt: 0123456789abcdef", "block"}) {
    INFO(act);
    const std::string rule = "where: {direction: output}, detect: {keywords: canary}, do: " + act;
    world.Put(rule);
    request.set_from_us(tollgate::base::ToMicros(tollgate::base::SystemClock().Wall()));
    int replies = 0;
    for (const Surface surface : kSurfaces) {
      for (const char* prompt : {"the canary sings, a canary sings", "canary", "nothing is told"}) {
        world.Say(prompt, surface);
        ++replies;
      }
    }
    request.set_yaml("version: 1\nname: next\nrules:\n  - {id: guard, " + rule + "}\n");
    const auto same = world.admin.Call<v1::Policy>(&v1::Policy::Stub::Replay, request);
    CHECK(same.replies() == replies);
    CHECK(same.changed() == 0);
    CHECK(same.reply_gaps_size() == (act == "block" ? 1 : 0));
    request.set_yaml(nothing);
    const auto without = world.admin.Call<v1::Policy>(&v1::Policy::Stub::Replay, request);
    CHECK(without.replies() == replies);
    CHECK(without.changed() == replies * 2 / 3);
    REQUIRE(without.rules_size() == 1);
    CHECK(without.rules(0).rule_id() == "guard");
    CHECK(without.rules(0).direction() == "output");
    CHECK(without.rules(0).spans_would() == 0);
  }
}

TEST_CASE("A guard model of the pool holds on every surface, is billed apart, and is on record") {
  World world;
  const std::string judge =
      "guard: {model: scripted, prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind|well}, answer_tokens: 64}";
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const std::string refused = IsGrpc(surface) ? "POLICY_BLOCKED" : "content_filter";
    world.Put("where: {direction: input}, detect: {" + judge + "}, do: block, because: Be kind.");
    CHECK(world.Say("a kind word", surface).text == "a kind word");
    const Answer blocked = world.Say("an evil word", surface);
    CHECK(blocked.reason == refused);
    CHECK(blocked.message.find("Be kind.") != std::string::npos);
    CHECK(world.Say("mumble", surface).reason == refused);  // No verdict is none.
    world.Put("where: {direction: output}, detect: {" + judge + ", at: sentence}, do: block");
    const Answer held = world.Say("All is well. The canary is evil. And more.", surface);
    CHECK(held.finish == "content_filter");
    CHECK(held.seen.find("canary") == std::string::npos);
    const v1::EndBody end = StoryOf(world.admin, held.request_id).end;
    REQUIRE(end.guards_size() == 1);
    CHECK(end.guards(0).detector() == "guard");
    CHECK(end.guards(0).hit());
    REQUIRE(end.guard_usage_size() == 1);
    CHECK(end.guard_usage(0).model() == "scripted");
    CHECK(end.guard_usage(0).amount_nanos() > 0);
    CHECK(held.input == end.tokens().input());  // The caller's own usage has none of it.
  }
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE part = 1") >= 16);
  CHECK(books.Count("SELECT count(*) FROM metering.transfer WHERE kind = 'guard'") >= 16);
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("Explain asks whom rules in force ask, with the text on record before anybody is asked, and nothing billed") {
  World world;
  Books books(world.installation);
  const std::string judge =
      "guard: {model: scripted, prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind|well}, answer_tokens: 64}";
  const std::int64_t usage = books.Count("SELECT count(*) FROM metering.usage");
  const std::int64_t requests = books.Requests();
  const auto on_record = [&] { return books.Count("SELECT count(*) FROM audit.record WHERE kind = 7 AND content IS NOT NULL"); };
  const auto explain = [&](const std::string& text, const std::string& yaml = "") {
    v1::ExplainPolicyRequest request;
    request.set_org("acme");
    request.set_text(text);
    request.set_yaml(yaml);
    request.set_end_user("anna");
    const auto reply = world.admin.Call<v1::Policy>(&v1::Policy::Stub::Explain, request);
    REQUIRE(reply.rules_size() == 1);
    return reply;
  };
  world.Put("detect: {" + judge + "}, do: block");
  const auto evil = explain("an evil word");
  CHECK(evil.outcome().action() == "block");
  CHECK(evil.rules(0).state() == "hit");
  CHECK(evil.rules(0).answer().detector() == "guard");
  CHECK(evil.rules(0).answer().ms() > 0);
  CHECK(evil.rules(0).answer().output_tokens() == 3);
  CHECK(explain("a kind word").rules(0).state() == "no match");
  CHECK(explain("mumble").rules(0).state() == "failed");
  CHECK(on_record() == 3);
  // What is not in force asks nobody.
  CHECK_FALSE(
      explain("an evil word", "version: 1\nname: t\nrules:\n  - {id: guard, detect: {" + judge + "}, do: block}\n").rules(0).has_answer());

  CHECK(on_record() == 3);

  world.Put("detect: {external: kind}, do: block");
  world.when_asked = [&] { CHECK(on_record() == 4); };
  CHECK(explain("an evil word").rules(0).answer().category() == "evil");
  world.when_asked = nullptr;
  v1::ListRecordsRequest list;
  list.set_org("acme");
  list.add_kinds(v1::RECORD_KIND_ADMIN);
  const auto newest = world.admin.Call<v1::Audit>(&v1::Audit::Stub::List, list).records(0);
  CHECK(newest.record().admin().action() == "policy.explain");
  CHECK(newest.record().end_user_hmac().size() == 32);
  CHECK(newest.record().admin().summary() == "had a text explained, about which the rules guard ask others");
  v1::ShowRecordRequest show;
  *show.mutable_position() = newest.position();
  show.set_with_content(true);
  show.set_reason("to see");
  const auto shown = world.admin.Call<v1::Audit>(&v1::Audit::Stub::Show, show);
  REQUIRE(shown.records_size() == 1);
  REQUIRE(shown.records(0).content().prompt_size() == 1);
  CHECK(shown.records(0).content().prompt(0).parts(0) == "an evil word");
  CHECK(explain("an evil word").rules(0).score().value() == 90);
  CHECK(explain("a kind word").rules(0).state() == "no match");
  CHECK(explain("mumble").rules(0).state() == "failed");
  // One at a time asks.
  grpc::Status second;
  world.when_asked = [&] {
    v1::ExplainPolicyRequest request;
    request.set_org("acme");
    request.set_text("another word");
    v1::ExplainPolicyReply reply;
    second = world.admin.Try<v1::Policy>(&v1::Policy::Stub::Explain, request, &reply);
  };
  CHECK(explain("a kind word").rules(0).state() == "no match");
  CHECK(second.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(tollgate::test::ReasonOf(second) == "EXPLAIN_RUNNING");
  world.when_asked = nullptr;
  CHECK(explain("a kind word").rules(0).state() == "no match");
  CHECK(books.Count("SELECT count(*) FROM metering.usage") == usage);
  CHECK(books.Requests() == requests);
}
