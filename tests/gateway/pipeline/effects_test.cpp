// What rules ask of a request beside hiding or blocking: another model, a longer system prompt, a justification.
#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "base/status.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Reply;
using test::ReasonOf;

namespace {

const std::string kRoute = test::HousePolicy("  - {id: long, detect: {length: {characters: 40}}, do: {route: big}}\n");

}  // namespace

TEST_CASE("A rule sends a request to another model, with its price and its policy, and the record and the reply say so") {
  test::World world(kRoute + "  - {id: on-big, where: {model: big}, detect: {keywords: secret}, do: redact}\n");
  world.LoadModel("big");
  const auto outcome = world.Chat(world.Ask("a secret of more than forty characters, I would say"));
  const auto* reply = std::get_if<Reply>(&outcome);
  REQUIRE(reply != nullptr);
  CHECK(reply->head.model == "big");
  CHECK(reply->head.told_route == "rule=long; model=big");
  CHECK(reply->text.find("[REDACTED]") != std::string::npos);  // Judged again, for the other model.
  const v1::RequestBody request = world.journal.entries()[0].record.request();
  CHECK(request.model() == "big");
  CHECK(request.model_requested() == "script");
  CHECK(request.routed_by() == "long");
  CHECK(request.input_verdict().rules(0).effect() == "route big");
  world.CheckBooks();
  const auto shorter = world.Chat(world.Ask("a short one"));
  CHECK(std::get<Reply>(shorter).head.model == "script");
  CHECK(std::get<Reply>(shorter).head.told_route.empty());
}

TEST_CASE("Of two rules that send a request elsewhere the first one does, and both are on record") {
  for (const bool big_first : {true, false}) {
    const std::string big = "  - {id: to-big, detect: {keywords: tax}, do: {route: big}}\n";
    const std::string small = "  - {id: to-small, detect: {keywords: tax}, do: {route: small}}\n";
    test::World world(test::HousePolicy(big_first ? big + small : small + big));
    world.LoadModel("big");
    world.LoadModel("small");
    const auto outcome = world.Chat(world.Ask("about tax"));
    const auto* reply = std::get_if<Reply>(&outcome);
    REQUIRE(reply != nullptr);
    CHECK(reply->head.model == (big_first ? "big" : "small"));
    CHECK(reply->head.told_route == (big_first ? "rule=to-big; model=big" : "rule=to-small; model=small"));
    const v1::RequestBody request = world.journal.entries()[0].record.request();
    CHECK(request.routed_by() == (big_first ? "to-big" : "to-small"));
    REQUIRE(request.input_verdict().rules_size() == 2);
    CHECK(request.input_verdict().rules(0).effect() == (big_first ? "route big" : "route small"));
    CHECK(request.input_verdict().rules(1).effect() == (big_first ? "route small" : "route big"));
    world.CheckBooks();
  }
}

TEST_CASE("A denial of a prompt that a rule sent elsewhere names the model whose rules refused it, and the rule") {
  test::World world(
      test::HousePolicy("  - {id: to-big, detect: {keywords: tax}, do: {route: big}}\n"
                        "  - {id: not-on-big, where: {model: big}, detect: {keywords: tax}, do: block}\n"));
  world.LoadModel("big");
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("about tax"))));
  const v1::DenyBody deny = world.journal.entries()[0].record.deny();
  CHECK(deny.model_requested() == "script");
  CHECK(deny.model() == "big");
  CHECK(deny.routed_by() == "to-big");
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
  test::World world(test::HousePolicy("  - {id: tone, detect: {request: any}, do: {append_system: Answer in English.}}\n"));
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
  test::World world(test::HousePolicy("  - {id: why, detect: {keywords: salaries}, do: justification, because: Pay is confidential.}\n"));
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
  test::World world(test::HousePolicy("  - {id: long, detect: {length: {tokens: 60}}, do: block}\n"));
  CHECK(ReasonOf(world.Chat(world.Ask("short"))) == "answered");
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word ";
  CHECK(ReasonOf(world.Chat(world.Ask(text))) == "POLICY_BLOCKED");
  const auto entries = world.journal.entries();  // The count is on record, for replays: of the prompt as it came.
  CHECK(entries[0].record.request().counted_tokens() == entries[0].record.request().input_tokens());
  CHECK(entries.back().record.deny().counted_tokens() > 60);
}

TEST_CASE("With tools in the request the addition is still the conversation's, and the tools stay what they are") {
  const std::string add = test::HousePolicy("  - {id: tone, detect: {request: any}, do: {append_system: Answer in English.}}\n");
  for (const bool system : {false, true}) {
    INFO(system);
    test::World world(add);
    v1::ChatRequest ask = world.Ask("hello");
    v1::Tool* tool = ask.add_tools();
    tool->set_name("find");
    tool->set_description("Finds.");
    tool->set_parameters(R"({"type":"object"})");
    if (system) {
      v1::ChatMessage* first = ask.add_messages();
      first->set_role(v1::ROLE_SYSTEM);
      first->add_parts("Be brief.");
      ask.mutable_messages()->SwapElements(0, 1);
    }
    REQUIRE(std::holds_alternative<Reply>(world.Chat(ask)));
    const v1::SealedContent content = world.Content(world.journal.entries()[0]);
    REQUIRE(content.prompt_used_size() == 2);
    CHECK(content.prompt_used(0).role() == v1::ROLE_SYSTEM);
    std::string text;
    for (const std::string& part : content.prompt_used(0).parts()) text += part;
    CHECK(text == (system ? "Be brief.\n\nAnswer in English." : "Answer in English."));
    CHECK(content.prompt_used(1).role() == v1::ROLE_USER);
    REQUIRE(content.tools_used_size() == 1);
    CHECK(content.tools_used(0).description() == "Finds.");
    CHECK(content.tools_used(0).parameters() == R"({"type":"object"})");
  }
}

TEST_CASE("A published system prompt is published as it is, or not at all") {
  v1::ChatDefaults settings;
  settings.set_system_prompt("Write to ann@corp.example for help, and be brief.");
  settings.set_shares_cache(true);
  const auto published = [&](const std::string& policy) {
    test::World world(policy);
    world.SetDefaults("org", settings);
    REQUIRE(std::holds_alternative<Reply>(world.Chat(world.Ask("hello"))));
    return world.journal.entries()[0].record.request().published_tokens();
  };
  CHECK(published("") > 0);
  CHECK(published(test::HousePolicy("  - {id: m, where: {roles: [user]}, detect: {personal_data: email}, do: redact}\n")) > 0);
  CHECK(published(test::HousePolicy("  - {id: tone, detect: {request: any}, do: {append_system: Answer in English.}}\n")) == 0);
  CHECK(published(test::HousePolicy("  - {id: m, detect: {personal_data: email}, do: pseudonymise}\n")) == 0);
}

TEST_CASE("Of very many rules that block a prompt the words name some and count the others, programs get all, and why is told still") {
  std::string rules;
  for (int i = 10; i < 50; ++i)
    rules += "  - {id: rule-" + std::to_string(i) + ", detect: {keywords: secret}, do: block, because: It is secret.}\n";
  test::World world(test::HousePolicy(rules));
  const auto outcome = world.Chat(world.Ask("a secret"));
  const auto* failure = std::get_if<Failure>(&outcome);
  REQUIRE(failure != nullptr);
  const std::string words = base::Message(failure->status);
  CHECK(words.find("rule-40, rule-41, … and 8 more: It is secret.") != std::string::npos);
  CHECK(base::DetailOf(failure->status)->rule_ids.size() == 40);
}
