// What callers ask of the output beside its sampling: bias, log-probabilities, JSON; and what of it is on record.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/world.h"
#include "tests/inference/tiny_model.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Reply;
using test::ReasonOf;
using test::ReplyOf;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - id: code
    where: { direction: output }
    detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }
    do: redact
)";

v1::ChatRequest AskLogprobs(const test::World& world, const std::string& text, int top) {
  v1::ChatRequest request = world.Ask(text);
  request.set_logprobs(true);
  request.set_top_logprobs(top);
  return request;
}

// Tokens with what stands beside them: "a(b,c) ".
template <typename Tokens>
std::string Told(const Tokens& tokens) {
  std::string out;
  for (const auto& token : tokens) {
    out += token.token() + "(";
    for (const auto& top : token.top()) out += top.token() + ",";
    out += ")";
  }
  return out;
}

std::string Recorded(const test::World& world) {
  std::string out;
  for (const auto kind : {v1::RECORD_KIND_SEGMENT, v1::RECORD_KIND_FINAL})
    for (const auto& entry : world.journal.Of(kind)) out += Told(world.Content(entry).logprobs());
  return out;
}

}  // namespace

TEST_CASE("Log-probabilities come where they are asked for, and are on record with the text") {
  test::World world;
  const Reply& plain = ReplyOf(world.Chat(world.Ask("!alt x\n!say one two")));
  CHECK(plain.logprobs.empty());
  CHECK(Recorded(world).empty());
  const auto outcome = world.Chat(AskLogprobs(world, "!alt x\n!alt y\n!say one two", 2));
  const Reply& reply = ReplyOf(outcome);
  CHECK(Told(reply.logprobs) == "one (one ,x,)two(two,x,)");
  CHECK(reply.logprobs[0].logprob() == -0.25);
  CHECK(reply.logprobs[0].top(1).logprob() == -1.25);
  CHECK(Recorded(world) == Told(reply.logprobs));
  const auto entries = world.journal.entries();
  CHECK(entries[2].record.request().logprobs());
  CHECK(entries[2].record.request().top_logprobs() == 2);
  CHECK(world.Content(entries[3]).logprobs(0).top(1).logprob_millionths() == -1'250'000);
  CHECK(Told(ReplyOf(world.Chat(AskLogprobs(world, "!say one", 0))).logprobs) == "one()");
  world.CheckBooks();
}

TEST_CASE("On a stream they are on record before they are written, and none of a redacted token is in either") {
  test::World world(kPolicy);
  world.options.segment = std::chrono::milliseconds(0);
  test::RecordingWriter writer;
  writer.on_write = [&](int) { CHECK(Recorded(world) == Told(writer.logprobs)); };
  const auto outcome = world.Chat(AskLogprobs(world, "!pace_ms 1\n!alt ZQ~AB~12\n!alt ok.\n!say see ZQ\\|~AB\\|~12 and go", 5), &writer);
  const Reply& reply = ReplyOf(outcome);
  CHECK(writer.text + reply.text == "see [REDACTED] and go");
  const std::string all = Told(writer.logprobs) + Told(reply.logprobs);
  CHECK(all == "see (see ,ok.,)and (and ,ok.,)go(go,ok.,)");
  CHECK(Recorded(world) == all);
  world.CheckBooks();
}

TEST_CASE("Many alternatives take the same way on the CPU pool") {
  test::World world(kPolicy);
  const char* ask = "!alt ZQ~AB~12\n!alt a.\n!alt b.\n!alt c.\n!alt d.\n!alt e.\n!alt f.\n!say see ZQ\\|~AB\\|~12 and go";
  const auto outcome = world.Chat(AskLogprobs(world, ask, 20));
  CHECK(ReplyOf(outcome).text == "see [REDACTED] and go");
  const std::string others = "a.,b.,c.,d.,e.,f.,)";
  CHECK(Told(ReplyOf(outcome).logprobs) == "see (see ," + others + "and (and ," + others + "go(go," + others);
  CHECK(Recorded(world) == Told(ReplyOf(outcome).logprobs));
  world.CheckBooks();
}

TEST_CASE("A reply of more log-probabilities than it may hold ends there, or is refused by name where it was asked for; a stream goes on") {
  test::World world;
  world.options.limits.logprobs_max = 6;
  v1::ChatRequest request = AskLogprobs(world, "!alt x\n!say one two three four", 2);
  const auto shorter = world.Chat(request);
  CHECK(ReplyOf(shorter).text == "one two ");
  CHECK(ReplyOf(shorter).logprobs.size() == 2);
  test::RecordingWriter writer;
  const auto streamed = world.Chat(request, &writer);
  CHECK(writer.text + ReplyOf(streamed).text == "one two three four");
  request.set_max_tokens(3);
  CHECK(base::DetailOf(std::get<Failure>(world.Chat(request)).status)->param == "max_tokens");
  world.CheckBooks();
}

TEST_CASE("Log-probabilities that are kept whole are of the large answers: what finds no room is refused before policy says a word") {
  test::World world(R"(version: 1
name: house
rules:
  - id: word
    detect: { keywords: [ZQ] }
    do: block
    because: Codes stay inside.
  - id: wide
    detect: { keywords: [elsewhere] }
    do: { route: wide }
)");
  world.LoadModel("wide", 2, 8, true, 8192);
  world.options.answer_bytes_max = 9 << 20;  // A context of 4,096 tokens, each with 20 others, is 8.6 MB; at most 100,000 are 10 MB.
  world.SetQuota("requests", "minute", 6);
  CHECK(ReasonOf(world.Chat(AskLogprobs(world, "!say elsewhere", 20))) == "OVERLOADED");
  CHECK(world.pipe().answer_bytes() == 0);
  auto first = world.Chat(AskLogprobs(world, "!say one", 20));
  REQUIRE(ReplyOf(first).room != nullptr);
  for (const char* ask : {"!say one", "!say ZQ"}) {
    const auto refused = world.Chat(AskLogprobs(world, ask, 20));
    REQUIRE(std::holds_alternative<Failure>(refused));
    CHECK(base::DetailOf(std::get<Failure>(refused).status)->reason == "OVERLOADED");
  }
  CHECK(world.Kinds() == "REQUEST FINAL");
  test::RecordingWriter writer;
  CHECK(ReplyOf(world.Chat(AskLogprobs(world, "!say one", 20), &writer)).room == nullptr);
  v1::ChatRequest few = AskLogprobs(world, "!say one", 20);
  few.set_max_tokens(20);
  CHECK(ReplyOf(world.Chat(few)).room == nullptr);
  CHECK(ReplyOf(world.Chat(world.Ask("!say one"))).room == nullptr);
  std::get<pipeline::Reply>(first).room = nullptr;
  CHECK(ReplyOf(world.Chat(AskLogprobs(world, "!say one", 20))).room != nullptr);
  CHECK(world.pipe().answer_bytes() == 0);
  CHECK(ReasonOf(world.Chat(AskLogprobs(world, "!say ZQ", 20))) == "POLICY_BLOCKED");
  CHECK(ReasonOf(world.Chat(world.Ask("!say one"))) == "RATE_LIMITED");  // Six had work done for them.
  world.CheckBooks();
}

TEST_CASE("A biased token is biased, and the bias is on record") {
  test::World world;
  const Reply probe = ReplyOf(world.Chat(AskLogprobs(world, "!say one two", 0)));
  v1::ChatRequest request = world.Ask("!say one two");
  v1::LogitBias* bias = request.add_logit_bias();
  bias->set_token(probe.logprobs[0].token_id());
  bias->set_bias(-100);
  const auto outcome = world.Chat(request);
  CHECK(ReplyOf(outcome).text == "other two");
  const auto requests = world.journal.Of(v1::RECORD_KIND_REQUEST);
  REQUIRE(requests[1].record.request().sampling().logit_bias_size() == 1);
  CHECK(requests[1].record.request().sampling().logit_bias(0).bias_millionths() == -100'000'000);
}

TEST_CASE("What the model does not have is refused by name before anything is recorded") {
  test::World world;
  v1::ChatRequest request = world.Ask("hello");
  SECTION("a token") {
    request.add_logit_bias()->set_token(2'000'000'000);
    const auto outcome = world.Chat(request);
    CHECK(base::DetailOf(std::get<Failure>(outcome).status)->param == "logit_bias");
  }
  SECTION("a form") {
    request.mutable_output_form()->set_json_object(true);
    const auto outcome = world.Chat(request);
    CHECK(base::DetailOf(std::get<Failure>(outcome).status)->param == "response_format");
  }
  SECTION("a schema") {
    request.mutable_output_form()->set_json_schema("{}");
    const auto outcome = world.Chat(request);
    CHECK(base::DetailOf(std::get<Failure>(outcome).status)->param == "response_format");
  }
  CHECK(world.Kinds().empty());
}

TEST_CASE("The schema that an output is held to is judged with the prompt; a grammar is not, and the record says so by name") {
  const std::string direction = GENERATE("output", "input");
  test::World world("version: 1\nname: house\nrules:\n  - {id: fish, where: {direction: " + direction +
                    "}, detect: {keywords: swordfish}, do: block}\n");
  world.SetRoles("member,grammar_author");
  const test::TempDir folder;
  inference::ModelOptions model = inference::test::TinyModel("llama").WriteTo(folder);
  model.name = "script";  // In the place of one that cannot be held to a form; it has a price.
  REQUIRE(world.pool().Unload("script", base::MonoTime()).ok());
  const absl::Status loaded = world.pool().Load(model);
  INFO(base::Message(loaded));
  REQUIRE(loaded.ok());
  v1::ChatRequest request = world.Ask("go");
  request.set_max_tokens(16);
  std::string not_scanned;
  bool judged = false, in_part = false;
  SECTION("a schema") {
    request.mutable_output_form()->set_json_schema(R"({"const":"swordfish"})");
    judged = true;
  }
  SECTION("a part of one") {
    request.mutable_output_form()->set_json_schema(R"({"const":"sword\u0066ish","pattern":"fish$"})");
    judged = true;
    in_part = true;
  }
  SECTION("a grammar") {
    request.mutable_output_form()->set_grammar(R"(root ::= "swordfish")");
    not_scanned = "output_grammar";
  }
  SECTION("none") {}
  const auto outcome = world.Chat(request);
  if (judged && direction == "input") {
    CHECK(std::get<Failure>(outcome).status.code() == absl::StatusCode::kPermissionDenied);
    REQUIRE(world.Kinds() == "DENY");
    CHECK(world.Content(world.journal.entries().front()).output_schema() == request.output_form().json_schema());
    return;
  }
  const Reply& reply = ReplyOf(outcome);
  const v1::Record asked = world.journal.Of(v1::RECORD_KIND_REQUEST).back().record;
  CHECK(asked.request().input_verdict().action() == "allow");
  CHECK(asked.request().schema_in_part() == in_part);
  REQUIRE(asked.request().input_verdict().not_scanned_size() == (not_scanned.empty() ? 0 : 1));
  if (!not_scanned.empty()) CHECK(asked.request().input_verdict().not_scanned(0) == not_scanned);
  if (direction == "input" || (not_scanned.empty() && !judged)) return;
  CHECK(world.Content(world.journal.entries().front()).output_schema().find("sword") != std::string::npos);
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);  // What it lets through is filtered as any output.
  CHECK(reply.text.find("swordfish") == std::string::npos);
}
