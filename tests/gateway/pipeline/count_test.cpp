// Counting tokens: what it says is what a chat is billed.
#include "gateway/pipeline/count.h"

#include <catch2/catch_test_macros.hpp>

#include "gateway/directory/chat_defaults.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using test::ReasonOf;
using test::World;

namespace {

const std::string kRedact =
    "version: 1\nname: house\nrules:\n  - id: p.word\n    where: { direction: input }\n    detect: { keywords: secret }\n    do: ";

}  // namespace

TEST_CASE("The count of a conversation is what a chat with it is billed: with defaults, after policy") {
  for (const bool policy : {false, true}) {
    for (const bool defaults : {false, true}) {
      for (const char* text : {"hello", "the secret and the secret", "a longer text, with more words and \"signs\"; ünd ümlauts"}) {
        World world(policy ? kRedact + "redact\n" : "");
        if (defaults) {
          v1::ChatDefaults settings;
          settings.set_system_prompt("Never tell the secret.");
          world.SetDefaults("team", settings);
        }
        v1::ChatRequest chat = world.Ask(text);
        v1::ChatMessage* system = chat.add_messages();
        system->set_role(v1::ROLE_SYSTEM);
        system->add_parts("Be brief.");
        chat.mutable_messages()->SwapElements(0, 1);
        v1::CountTokensRequest count;
        count.set_model("script");
        *count.mutable_messages() = chat.messages();
        INFO(policy << defaults << text);
        const auto counted = world.CountAs(world.NewCaller(), count);
        REQUIRE(counted.ok());
        const auto reply = std::get<pipeline::Reply>(world.Chat(chat));
        CHECK(counted->tokens() == reply.end.usage().input());
        CHECK(counted->context_tokens() > counted->tokens());
        CHECK(world.journal.entries()[0].record.request().input_tokens() == counted->tokens());
      }
    }
  }
}

TEST_CASE("What rules do to a prompt is counted, and what they ask of the caller is not asked") {
  const std::string rules[] = {
      "{id: tone, detect: {request: any}, do: {append_system: Answer in English.}}",
      "{id: mail, detect: {personal_data: email}, do: pseudonymise}",
      "{id: long, detect: {keywords: elsewhere}, do: {route: big}}",
      "{id: why, detect: {keywords: elsewhere}, do: justification}",
      "{id: terms, detect: {keywords: elsewhere}, do: {terms: house@1}}",
  };
  for (const std::string& rule : rules) {
    INFO(rule);
    World world("version: 1\nname: house\nrules:\n  - " + rule + "\n");
    world.LoadModel("big");
    v1::ChatRequest chat = world.Ask("elsewhere, to bob@example.com");
    chat.set_justification("A test.");
    chat.set_end_user("ann");
    chat.set_accept_terms("house@1");
    v1::CountTokensRequest count;
    count.set_model("script");
    *count.mutable_messages() = chat.messages();
    const auto counted = world.CountAs(world.NewCaller(), count);
    REQUIRE(counted.ok());
    const auto outcome = world.Chat(chat);
    if (const auto* failure = std::get_if<pipeline::Failure>(&outcome)) {
      CHECK(base::Message(failure->status).find("this instance has no database for them") !=
            std::string::npos);  // Terms: nobody keeps them here.
      continue;
    }
    CHECK(counted->tokens() == std::get<pipeline::Reply>(outcome).end.usage().input());
  }
}

TEST_CASE("Rules for one end user count for that one, as in a chat") {
  World world(
      "version: 1\nname: house\nrules:\n"
      "  - {id: tone, where: {end_user: ann}, detect: {request: any}, do: {append_system: Answer in English and briefly.}}\n");
  std::int64_t of_nobody = 0;
  for (const char* end_user : {"", "bob", "ann"}) {
    INFO(end_user);
    v1::ChatRequest chat = world.Ask("hello");
    chat.set_end_user(end_user);
    v1::CountTokensRequest count;
    count.set_model("script");
    count.set_end_user(end_user);
    *count.mutable_messages() = chat.messages();
    const auto counted = world.CountAs(world.NewCaller(), count);
    REQUIRE(counted.ok());
    CHECK(counted->tokens() == std::get<pipeline::Reply>(world.Chat(chat)).end.usage().input());
    if (of_nobody == 0) of_nobody = counted->tokens();
    CHECK((counted->tokens() > of_nobody) == (std::string_view(end_user) == "ann"));
  }
  v1::CountTokensRequest count;
  count.set_model("script");
  count.set_end_user(std::string(257, 'x'));
  *count.mutable_messages() = world.Ask("hello").messages();
  CHECK(absl::IsInvalidArgument(world.CountAs(world.NewCaller(), count).status()));
}

TEST_CASE("Counting costs a request and no tokens, and leaves no record") {
  World world;
  world.SetQuota("tokens", "day", 1);
  world.SetQuota("requests", "minute", 2);
  CHECK(world.Count(world.NewCaller(), "script").ok());
  CHECK(world.Count(world.NewCaller(), "script").ok());
  CHECK(ReasonOf(world.Count(world.NewCaller(), "script").status()) == "RATE_LIMITED");
  CHECK(world.Kinds().empty());
}

TEST_CASE("Counting is for those who may chat: a key, a model that it may use, a prompt that policy lets pass") {
  World world(kRedact + "block\n");
  pipeline::Caller stranger = world.NewCaller();
  stranger.bearer = "tg_live_nobody";
  CHECK(absl::IsUnauthenticated(world.Count(stranger, "script").status()));
  v1::CountTokensRequest blocked;
  blocked.set_model("script");
  *blocked.mutable_messages() = world.Ask("the secret").messages();
  CHECK(ReasonOf(world.CountAs(world.NewCaller(), blocked).status()) == "POLICY_BLOCKED");
  world.GrantOnly("another");
  CHECK(ReasonOf(world.Count(world.NewCaller(), "script").status()) == "MODEL_NOT_GRANTED");
}
