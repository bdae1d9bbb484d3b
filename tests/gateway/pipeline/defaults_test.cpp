#include "gateway/pipeline/defaults.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error_detail.h"
#include "gateway/directory/chat_defaults.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using directory::ChatDefaults;
using pipeline::ApplyDefaults;
using test::World;

namespace {

struct Chain {
  // Org, team, project.
  ChatDefaults scopes[3] = {{"org", "acme", 1, {}, {}}, {"team", "search", 4, {}, {}}, {"project", "web", 2, {}, {}}};
  v1::ChatDefaults& org = scopes[0].settings;
  v1::ChatDefaults& team = scopes[1].settings;
  v1::ChatDefaults& project = scopes[2].settings;

  absl::StatusOr<pipeline::DefaultsApplied> Apply(v1::ChatRequest& request) const {
    const std::vector<const ChatDefaults*> chain = {&scopes[0], &scopes[1], &scopes[2]};
    return ApplyDefaults(chain, request);
  }
};

// "system:be nice|more user:hi"
std::string Shown(const v1::ChatRequest& request) {
  std::string out;
  for (const v1::ChatMessage& m : request.messages()) {
    if (!out.empty()) out += ' ';
    out += v1::Role_Name(m.role()).substr(5, 1);
    out += ':';
    for (int i = 0; i < m.parts_size(); ++i) out += (i > 0 ? "|" : "") + m.parts(i);
  }
  return out;
}

v1::ChatRequest Ask(std::initializer_list<std::pair<v1::Role, const char*>> messages) {
  v1::ChatRequest request;
  for (const auto& [role, text] : messages) {
    request.add_messages()->set_role(role);
    request.mutable_messages()->rbegin()->add_parts(text);
  }
  return request;
}

v1::ChatDefaults Prompt(const std::string& text) {
  v1::ChatDefaults settings;
  settings.set_system_prompt(text);
  return settings;
}

}  // namespace

TEST_CASE("What a request leaves out comes from the deepest scope that sets it; what it names stays") {
  Chain chain;
  chain.org.mutable_sampling()->set_temperature(0.5);
  chain.org.mutable_sampling()->set_top_k(40);
  chain.org.set_max_tokens(100);
  chain.team.mutable_sampling()->set_temperature(0.2);
  chain.project.set_max_tokens(50);
  v1::ChatRequest request = Ask({{v1::ROLE_USER, "hi"}});
  const auto applied = chain.Apply(request);
  REQUIRE(applied.ok());
  CHECK(request.sampling().temperature() == 0.2);
  CHECK(request.sampling().top_k() == 40);
  CHECK_FALSE(request.sampling().has_top_p());
  CHECK(request.max_tokens() == 50);
  CHECK(applied->clamped.empty());
  CHECK(applied->in_force.size() == 3);

  v1::ChatRequest named = Ask({{v1::ROLE_USER, "hi"}});
  named.mutable_sampling()->set_temperature(0);
  named.set_max_tokens(7);
  REQUIRE(chain.Apply(named).ok());
  CHECK(named.sampling().temperature() == 0);
  CHECK(named.max_tokens() == 7);
}

TEST_CASE("What a request names beyond a cap is refused with the numbers, or lowered where the scope says so") {
  Chain chain;
  chain.org.set_output_tokens_cap(1000);
  chain.org.set_clamp(true);
  chain.team.set_output_tokens_cap(200);
  chain.team.set_temperature_cap(0.7);
  chain.team.set_stop_cap(1);
  struct Case {
    void (*make)(v1::ChatRequest&);
    const char* refused;  // By the team; null: lowered.
  };
  const auto tokens = [](v1::ChatRequest& r) { r.set_max_tokens(2000); };
  const auto hot = [](v1::ChatRequest& r) { r.mutable_sampling()->set_temperature(1.5); };
  const auto stops = [](v1::ChatRequest& r) { r.add_stop("a"), r.add_stop("b"); };
  const std::vector<std::pair<void (*)(v1::ChatRequest&), std::string>> rows = {
      {tokens, "max_tokens: is 2000; team search allows at most 200 tokens of output (version 4 of its defaults)"},
      {hot, "temperature: is 1.5; team search allows at most 0.7 (version 4 of its defaults)"},
      {stops, "stop: holds 2 strings; team search allows at most 1 (version 4 of its defaults)"}};
  for (const auto& [make, message] : rows) {
    v1::ChatRequest request = Ask({{v1::ROLE_USER, "hi"}});
    make(request);
    const auto refused = chain.Apply(request);
    CHECK(base::Message(refused.status()) == message);
    const auto detail = base::DetailOf(refused.status());
    CHECK(detail->reason == "CAP_EXCEEDED");
    CHECK(message.starts_with(detail->param + ":"));
    CHECK_FALSE(detail->may_retry);
  }
  chain.team.set_clamp(true);
  v1::ChatRequest request = Ask({{v1::ROLE_USER, "hi"}});
  for (const auto& [make, message] : rows) make(request);
  const auto applied = chain.Apply(request);
  REQUIRE(applied.ok());
  CHECK(request.max_tokens() == 200);
  CHECK(request.sampling().temperature() == 0.7);
  CHECK(request.stop_size() == 1);
  CHECK(request.stop(0) == "a");
  CHECK(applied->clamped == std::vector<std::string>{"temperature", "max_tokens", "stop"});
}

TEST_CASE("A cap on output holds for all replies of a request together") {
  Chain chain;
  chain.team.set_output_tokens_cap(200);
  v1::ChatRequest request = Ask({{v1::ROLE_USER, "hi"}});
  request.set_choices(3);
  REQUIRE(chain.Apply(request).ok());
  CHECK(request.max_tokens() == 66);
  request.set_max_tokens(67);
  CHECK(base::Message(chain.Apply(request).status()) ==
        "max_tokens: is 67 for each of 3 replies; team search allows at most 200 tokens of output (version 4 of its defaults)");
  chain.team.set_clamp(true);
  const auto lowered = chain.Apply(request);
  REQUIRE(lowered.ok());
  CHECK(request.max_tokens() == 66);
  CHECK(lowered->clamped == std::vector<std::string>{"max_tokens"});
  chain.team.set_output_tokens_cap(2);
  CHECK(base::Message(chain.Apply(request).status()) ==
        "n: is 3; team search allows at most 2 tokens of output (version 4 of its defaults)");
}

TEST_CASE("What a request leaves out is under every cap without being refused, whatever the defaults say") {
  Chain chain;
  chain.org.set_temperature_cap(0.5);     // The API's own default is 1.
  chain.org.set_output_tokens_cap(1000);  // Else as many as the context takes.
  chain.project.set_max_tokens(5000);
  v1::ChatRequest request = Ask({{v1::ROLE_USER, "hi"}});
  const auto applied = chain.Apply(request);
  REQUIRE(applied.ok());
  CHECK(request.sampling().temperature() == 0.5);
  CHECK(request.max_tokens() == 1000);
  CHECK(applied->clamped.empty());
}

TEST_CASE("A reply that is kept whole is lowered to the log-probabilities it may hold where a cap alone says how long it may be") {
  World world;
  world.options.limits.logprobs_max = 10;
  v1::ChatDefaults settings;
  settings.set_output_tokens_cap(50);
  world.SetDefaults("team", settings);
  v1::ChatRequest request = world.Ask("!tokens 30");
  request.set_logprobs(true);
  const auto outcome = world.Chat(request);
  CHECK(test::ReplyOf(outcome).logprobs.size() == 10);
  CHECK(world.journal.Of(v1::RECORD_KIND_REQUEST).back().record.request().max_output_tokens() == 10);
  request.set_max_tokens(20);
  const auto refused = world.Chat(request);
  REQUIRE(std::holds_alternative<pipeline::Failure>(refused));
  CHECK_THAT(base::Message(std::get<pipeline::Failure>(refused).status),
             ContainsSubstring("max_tokens: is 20; with its log-probabilities"));
  world.CheckBooks();
}

TEST_CASE("System prompts stand before the caller's, or in their place, as one message") {
  Chain chain;
  chain.org = Prompt("O");
  chain.project = Prompt("P");
  const auto own = Ask({{v1::ROLE_SYSTEM, "mine"}, {v1::ROLE_USER, "hi"}, {v1::ROLE_SYSTEM, "late"}});
  v1::ChatRequest request = own;
  auto applied = chain.Apply(request);
  REQUIRE(applied.ok());
  CHECK(Shown(request) == "S:O\n\nP\n\n|mine U:hi S:late");
  CHECK(applied->caller_system.size() == 2);

  chain.project.set_replaces_system(true);
  request = own;
  applied = chain.Apply(request);
  CHECK(Shown(request) == "S:O\n\nP U:hi");
  CHECK(applied->caller_system.size() == 2);
  CHECK(applied->caller_system[1].parts(0) == "late");

  request = Ask({{v1::ROLE_USER, "hi"}});
  applied = chain.Apply(request);
  CHECK(Shown(request) == "S:O\n\nP U:hi");
  CHECK(applied->caller_system.empty());

  chain.org.Clear(), chain.project.Clear();
  request = own;
  applied = chain.Apply(request);
  CHECK(Shown(request) == Shown(own));
  CHECK(applied->caller_system.empty());  // Nothing was put anywhere.
}

TEST_CASE("A request under defaults: they and what was lowered are on record, the prompt is judged, billed and sealed with them") {
  World world(
      "version: 1\nname: house\nrules:\n  - id: p.word\n    where: { direction: input }\n    detect: { keywords: secret }\n"
      "    do: redact\n");
  v1::ChatDefaults settings = Prompt("The secret word.");
  settings.set_output_tokens_cap(5);
  settings.set_clamp(true);
  const std::string plain = [&] {
    const auto reply = std::get<pipeline::Reply>(world.Chat(world.Ask("hello")));
    return std::to_string(reply.end.usage().input());
  }();
  world.SetDefaults("team", settings);
  v1::ChatRequest request = world.Ask("hello");
  request.set_max_tokens(50);
  const auto outcome = world.Chat(request);
  REQUIRE(std::holds_alternative<pipeline::Reply>(outcome));
  const auto& reply = std::get<pipeline::Reply>(outcome);
  CHECK(reply.end.usage().output() <= 5);
  CHECK(std::to_string(reply.end.usage().input()) != plain);
  const auto entries = world.journal.entries();
  const v1::RequestBody& body = entries[entries.size() - 2].record.request();
  REQUIRE(body.defaults_size() == 1);
  CHECK(body.defaults(0).scope_kind() == "team");
  CHECK(body.defaults(0).version() == 1);
  CHECK(body.defaults(0).sha256().size() == 32);
  CHECK(body.clamped_size() == 1);
  CHECK(body.max_output_tokens() == 5);
  CHECK(body.input_verdict().action() == "redact");
  CHECK(body.input_tokens() == reply.end.usage().input());
  const v1::SealedContent content = world.Content(entries[entries.size() - 2]);
  CHECK(content.prompt(0).parts(0) == "The secret word.");
  CHECK_THAT(content.prompt_used(0).parts(0), !ContainsSubstring("secret"));
  CHECK(content.caller_system_size() == 0);
  world.CheckBooks();
}

TEST_CASE("A cap that refuses leaves nothing but a counted refusal; one on the prompt counts its tokens as the model does") {
  World world;
  v1::ChatDefaults settings;
  settings.set_output_tokens_cap(5);
  settings.set_input_tokens_cap(3);
  world.SetDefaults("org", settings);
  v1::ChatRequest request = world.Ask("hello");
  request.set_max_tokens(50);
  auto refused = world.Chat(request);
  REQUIRE(std::holds_alternative<pipeline::Failure>(refused));
  CHECK(base::DetailOf(std::get<pipeline::Failure>(refused).status)->param == "max_tokens");
  request.set_max_tokens(0);
  refused = world.Chat(request);
  REQUIRE(std::holds_alternative<pipeline::Failure>(refused));
  const absl::Status status = std::get<pipeline::Failure>(refused).status;
  CHECK(base::DetailOf(status)->param == "messages");
  CHECK_THAT(base::Message(status), ContainsSubstring("tokens long; org acme allows at most 3"));
  CHECK(world.Kinds().empty());
  world.CheckBooks();
}

TEST_CASE("Published is what a prompt has in common with the org's alone, if the org says so, whatever stands behind it") {
  World world;
  v1::ChatDefaults settings = Prompt("A prompt for everybody in the house, longer than a word.");
  const auto published = [&](const std::string& text) {
    REQUIRE(std::holds_alternative<pipeline::Reply>(world.Chat(world.Ask(text))));
    const auto entries = world.journal.entries();
    return entries[entries.size() - 2].record.request().published_tokens();
  };
  world.SetDefaults("org", settings);
  CHECK(published("hello") == 0);
  settings.set_shares_cache(true);
  world.SetDefaults("org", settings);
  const std::int64_t tokens = published("hello");
  CHECK(tokens > 0);
  CHECK(published("something else, and much longer than before") == tokens);
}

TEST_CASE("A prompt that policy blocks is denied with the defaults that stood before it") {
  World world(
      "version: 1\nname: house\nrules:\n  - id: p.word\n    where: { direction: input }\n    detect: { keywords: secret }\n"
      "    do: block\n");
  world.SetDefaults("project", Prompt("Be nice."));
  v1::ChatRequest request = Ask({{v1::ROLE_SYSTEM, "mine"}, {v1::ROLE_USER, "the secret"}});
  request.set_model("script");
  CHECK(std::holds_alternative<pipeline::Failure>(world.Chat(request)));
  const auto entries = world.journal.entries();
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].record.deny().defaults(0).scope_kind() == "project");
  const v1::SealedContent content = world.Content(entries[0]);
  CHECK(content.prompt(0).parts(0) == "Be nice.\n\n");
  CHECK(content.caller_system(0).parts(0) == "mine");
}
