// What rules ask of a request beside hiding or blocking: another model, a longer system prompt, a justification.
#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "base/status.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Reply;

namespace {

std::string Policy(const std::string& rules) { return "version: 1\nname: house\nrules:\n" + rules; }

std::string ReasonOf(const pipeline::Outcome<Reply>& outcome) {
  const auto* failure = std::get_if<Failure>(&outcome);
  if (failure == nullptr) return "answered";
  const auto detail = base::DetailOf(failure->status);
  return detail ? detail->reason : base::Message(failure->status);
}

const std::string kRoute = Policy("  - {id: long, detect: {length: {characters: 40}}, do: {route: big}}\n");

}  // namespace

TEST_CASE("A rule sends a request to another model, with its price and its policy, and the record and the reply say so") {
  test::World world(kRoute + "  - {id: on-big, where: {model: big}, detect: {keywords: secret}, do: redact}\n");
  world.LoadModel("big");
  const auto outcome = world.Chat(world.Ask("a secret of more than forty characters, I would say"));
  const auto* reply = std::get_if<Reply>(&outcome);
  REQUIRE(reply != nullptr);
  CHECK(reply->head.model == "big");
  CHECK(reply->head.route == "rule=long; model=big");
  CHECK(reply->text.find("[REDACTED]") != std::string::npos);  // Judged again, for the other model.
  const v1::RequestBody request = world.journal.entries()[0].record.request();
  CHECK(request.model() == "big");
  CHECK(request.model_requested() == "script");
  CHECK(request.routed_by() == "long");
  CHECK(request.input_verdict().rules(0).effect() == "route big");
  world.CheckBooks();
  const auto shorter = world.Chat(world.Ask("a short one"));
  CHECK(std::get<Reply>(shorter).head.model == "script");
  CHECK(std::get<Reply>(shorter).head.route.empty());
}

TEST_CASE("A rule cannot send a request where its key may not go, or where there is no price") {
  const std::string text = "more than forty characters, to be sent elsewhere";
  {
    test::World world(kRoute);
    CHECK(ReasonOf(world.Chat(world.Ask(text))) == "MODEL_NOT_FOUND");
  }
  {
    test::World world(kRoute);
    world.LoadModel("big");
    world.GrantOnly("script");
    const auto outcome = world.Chat(world.Ask(text));
    CHECK(ReasonOf(outcome) == "MODEL_NOT_GRANTED");
    CHECK(base::Message(std::get<Failure>(outcome).status).find("policy rule long sends this request to big") == 0);
    CHECK(world.Kinds().find("REQUEST") == std::string::npos);
  }
  {
    test::World world(kRoute);
    world.LoadModel("big", 2, 8, /*priced=*/false);
    CHECK(ReasonOf(world.Chat(world.Ask(text))) != "answered");
  }
}

TEST_CASE("What a rule adds to the system prompt reaches the model and is on record, in whatever form the system prompt came") {
  test::World world(Policy("  - {id: tone, detect: {request: any}, do: {append_system: Answer in English.}}\n"));
  v1::ChatRequest ask = world.Ask("hello");
  REQUIRE(std::holds_alternative<Reply>(world.Chat(ask)));
  v1::SealedContent content = world.Content(world.journal.entries()[0]);
  REQUIRE(content.prompt_used_size() == 2);
  CHECK(content.prompt_used(0).role() == v1::ROLE_SYSTEM);
  CHECK(content.prompt_used(0).parts(0) == "Answer in English.");
  CHECK(content.prompt_size() == 1);
  CHECK(world.journal.entries()[0].record.request().input_verdict().rules(0).effect() == "append_system");
}

TEST_CASE("Where a rule wants a justification, a request without one is refused by the field's name, and one with it is on record") {
  test::World world(Policy("  - {id: why, detect: {keywords: salaries}, do: justification, because: Pay is confidential.}\n"));
  v1::ChatRequest ask = world.Ask("list the salaries");
  const auto refused = world.Chat(ask);
  CHECK(ReasonOf(refused) == "JUSTIFICATION_NEEDED");
  const std::string message = base::Message(std::get<Failure>(refused).status);
  CHECK(message.find("Pay is confidential.") != std::string::npos);
  CHECK(message.find("x-tollgate-justification") != std::string::npos);
  CHECK(world.Kinds() == "DENY");
  CHECK(world.journal.entries()[0].record.deny().reason() == "JUSTIFICATION_NEEDED");
  ask.set_justification("Audit of November.");
  REQUIRE(std::holds_alternative<Reply>(world.Chat(ask)));
  const auto entries = world.journal.entries();
  CHECK(entries[1].record.request().justified());
  CHECK(entries[1].record.request().input_verdict().rules(0).effect() == "justification");
  CHECK(world.Content(entries[1]).justification() == "Audit of November.");
  ask.set_justification(std::string(501, 'x'));
  CHECK(ReasonOf(world.Chat(ask)) == "INVALID_REQUEST");
  REQUIRE(std::holds_alternative<Reply>(world.Chat(world.Ask("hello"))));  // Nobody asks there.
}

TEST_CASE("Prompts are counted in tokens where a rule measures tokens") {
  test::World world(Policy("  - {id: long, detect: {length: {tokens: 60}}, do: block}\n"));
  CHECK(ReasonOf(world.Chat(world.Ask("short"))) == "answered");
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word ";
  CHECK(ReasonOf(world.Chat(world.Ask(text))) == "POLICY_BLOCKED");
}
