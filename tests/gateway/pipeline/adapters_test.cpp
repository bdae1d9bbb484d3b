// Requests that a model answers with LoRA adapters: who may, what is on record, what it costs, what rules and stops cover it.
#include <catch2/catch_test_macros.hpp>

#include <functional>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::Reply;
using test::ReasonOf;
using test::ReplyOf;
using test::World;
namespace v1 = tollgate::v1;

namespace {

const absl::Status& StatusOf(const Outcome<Reply>& outcome) {
  REQUIRE(std::holds_alternative<Failure>(outcome));
  return std::get<Failure>(outcome).status;
}

v1::RequestBody LastRequest(const World& world) {
  v1::RequestBody last;
  for (const audit::Entry& entry : world.journal.entries()) {
    if (entry.record.has_request()) last = entry.record.request();
  }
  return last;
}

// Asked, it answers that nothing is wrong, after something has happened.
struct Meanwhile final : pipeline::Answerers {
  explicit Meanwhile(std::function<void()> happens) : happens(std::move(happens)) {}
  void Ask(pipeline::QuestionAsk ask, std::function<void(pipeline::QuestionAnswer)> done) override {
    happens();
    pipeline::QuestionAnswer answer;
    answer.answer.id = ask.question.id;
    done(std::move(answer));
  }
  std::function<void()> happens;
};

std::string Short(const std::string& name) { return base::HexEncode(base::View(base::Sha256("matrices of " + name))).substr(0, 12); }

}  // namespace

TEST_CASE("A request names an adapter after its model; record, reply and route say which it was, and it costs what its model does") {
  World world;
  world.LoadAdapter("legal");
  world.GrantOnly("script:legal");
  const auto outcome = world.Chat(world.Ask("hello", "script:legal"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.head.model == "script:legal");
  CHECK(reply.head.told_route == "model=script:legal; adapters=legal@" + Short("legal"));
  const v1::RequestBody body = LastRequest(world);
  CHECK(body.model() == "script:legal");
  CHECK(body.model_requested().empty());
  REQUIRE(body.adapters_size() == 1);
  CHECK(body.adapters(0).name() == "script:legal");
  CHECK(body.adapters(0).sha256() == base::View(base::Sha256("matrices of legal")));
  CHECK(body.adapters(0).scale_millionths() == 500'000);
  CHECK(body.price().output_nanos_per_1000() == 2000);
  CHECK(body.model_sha256() != body.adapters(0).sha256());
  CHECK(world.Count(world.NewCaller(), "script:legal").ok());
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "script"))) == "MODEL_NOT_GRANTED");  // The adapter's permission is not its model's.
  world.CheckBooks();
}

TEST_CASE("Who may not use an adapter gets the answer of a model that it may not use, and does not see it") {
  World world;
  world.LoadAdapter("legal");
  world.LoadModel("secret");
  directory::Model secret;
  secret.name = "secret";
  secret.engine = "scripted";
  secret.loaded = secret.restricted = true;
  world.Register(secret);
  const auto as_adapter = world.Chat(world.Ask("hello", "script:legal"));
  const auto as_model = world.Chat(world.Ask("hello", "secret"));
  CHECK(ReasonOf(as_adapter) == "MODEL_NOT_GRANTED");
  CHECK(ReasonOf(as_model) == "MODEL_NOT_GRANTED");
  std::string message(base::Message(StatusOf(as_model)));
  message.replace(message.find("secret"), 6, "script:legal");
  CHECK(base::Message(StatusOf(as_adapter)) == message);
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "script:none"))) == "MODEL_NOT_FOUND");
  const auto listed = [&] {
    std::string names;
    const v1::ListModelsReply reply = world.List();
    for (const v1::Model& model : reply.models()) names += model.name() + " ";
    return names;
  };
  CHECK(listed() == "script ");
  world.GrantOnly("script:legal");
  CHECK(listed() == "script:legal ");
  world.CheckBooks();
}

TEST_CASE("Several adapters act together where each may be used, by whatever order they are named") {
  World world;
  world.LoadAdapter("legal");
  world.LoadAdapter("tone");
  world.GrantOnly("script:legal");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "script:legal+tone"))) == "MODEL_NOT_GRANTED");
  world.GrantOnly("script:tone");
  const auto outcome = world.Chat(world.Ask("hello", "script:tone+legal"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.head.model == "script:legal+tone");
  CHECK(reply.head.told_route == "model=script:legal+tone; adapters=legal@" + Short("legal") + " tone@" + Short("tone"));
  CHECK(LastRequest(world).adapters_size() == 2);
  CHECK(LastRequest(world).model_requested() == "script:tone+legal");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "script:legal+legal"))) == "INVALID_VALUE");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "script:legal+none"))) == "MODEL_NOT_FOUND");
  world.CheckBooks();
}

TEST_CASE("An alias leads to a model with adapters, by weight and as a fallback") {
  World world;
  world.LoadAdapter("legal");
  world.LoadAdapter("tone");
  for (const char* model : {"script", "script:legal", "script:tone", "script:none"}) world.GrantOnly(model);
  world.SetAlias("lawyer", "script:legal+tone=1", "script");
  CHECK(ReplyOf(world.Chat(world.Ask("hello", "lawyer"))).head.told_route ==
        "alias=lawyer; model=script:legal+tone; share=1/1; adapters=legal@" + Short("legal") + " tone@" + Short("tone"));
  CHECK(LastRequest(world).model_requested() == "lawyer");
  world.SetAlias("other", "script:none=1", "script:tone");
  CHECK(ReplyOf(world.Chat(world.Ask("hello", "other"))).head.told_route ==
        "alias=other; model=script:tone; fallback=1; adapters=tone@" + Short("tone"));
  std::string names;
  const v1::ListModelsReply reply = world.List();
  for (const v1::Model& model : reply.models()) names += model.name() + " ";
  CHECK(names == "script script:legal script:tone lawyer ");
  world.CheckBooks();
}

TEST_CASE("A stop of the model stops it with its adapters") {
  World world;
  world.LoadAdapter("legal");
  for (const char* model : {"script", "script:legal"}) world.GrantOnly(model);
  world.StopModel();
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "script:legal"))) == "EMERGENCY_STOP");
}

TEST_CASE("A rule for the model covers it with adapters; a rule for an adapter covers every set with it") {
  World world(
      "version: 1\nname: house\nrules:\n"
      "  - {id: of-model, where: {model: script}, detect: {keywords: falcon}, do: block}\n"
      "  - {id: of-adapter, where: {model: \"script:legal\"}, detect: {keywords: heron}, do: block}\n");

  world.LoadAdapter("legal");
  world.LoadAdapter("tone");
  for (const char* model : {"script", "script:legal", "script:tone"}) world.GrantOnly(model);
  const auto blocked = [&](const char* model, const char* text) {
    return std::holds_alternative<Failure>(world.Chat(world.Ask(text, model)));
  };
  for (const char* model : {"script", "script:legal", "script:tone", "script:legal+tone"}) CHECK(blocked(model, "the falcon"));
  CHECK(blocked("script:legal", "the heron"));
  CHECK(blocked("script:tone+legal", "the heron"));
  const v1::DenyBody deny = world.journal.entries().back().record.deny();
  CHECK(deny.model_requested() == "script:tone+legal");
  CHECK(deny.model() == "script:legal+tone");
  REQUIRE(deny.adapters_size() == 2);
  CHECK(deny.adapters(0).name() == "script:legal");
  CHECK_FALSE(blocked("script:tone", "the heron"));
  CHECK_FALSE(blocked("script", "the heron"));
  world.CheckBooks();
}

TEST_CASE("Where an adapter is replaced under a request that names it on record, nothing answers in its stead") {
  World world(
      "version: 1\nname: house\nrules:\n  - {id: g, where: {direction: input}, detect: {external: det}, do: block, because: No.}\n");
  world.LoadAdapter("legal", false);
  bool replace = true;
  Meanwhile guards([&] {
    if (std::exchange(replace, false)) world.LoadAdapter("legal", false, "others");
  });
  world.answerers = &guards;
  const auto outcome = world.Chat(world.Ask("hello", "script:legal"));
  CHECK(absl::IsUnavailable(StatusOf(outcome)));
  CHECK(ReasonOf(outcome) == "MODEL_CHANGED");
  CHECK(base::DetailOf(StatusOf(outcome))->retry_after_ms.has_value());
  CHECK(LastRequest(world).adapters(0).sha256() == base::View(base::Sha256("matrices of legal")));
  CHECK(ReplyOf(world.Chat(world.Ask("hello", "script:legal"))).text == "hello");
  CHECK(LastRequest(world).adapters(0).sha256() == base::View(base::Sha256("others of legal")));
  world.CheckBooks();
}
