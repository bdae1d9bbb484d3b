// Strict answers on their way: who may ask for one, what goes on record of it, and that the record alone makes it again.
#include "gateway/pipeline/strict.h"

#include <condition_variable>

#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "gateway/pipeline/records.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Reply;
using test::ReplyOf;

namespace {

struct Strict : test::World {
  explicit Strict(const std::string& policy = "") : test::World(policy) {
    options.build = "1.2.3";
    LoadStrict("exact");
    SetRoles("member,evidence");
  }
  v1::ChatRequest AskStrictly(const std::string& text, const std::string& model = "exact") const {
    v1::ChatRequest request = Ask(text, model);
    request.set_replay(v1::REPLAY_STRICT);
    return request;
  }
  std::string Refusal(const v1::ChatRequest& request) {
    const auto outcome = Chat(request);
    const auto* failure = std::get_if<Failure>(&outcome);
    if (failure == nullptr) return "";
    const auto detail = base::DetailOf(failure->status);
    return detail->reason + " " + detail->param + ": " + base::Message(failure->status);
  }
  const v1::RequestBody Request() const { return journal.entries().front().record.request(); }
  v1::StrictInput Input() const { return Content(journal.entries().front()).strict_input(); }
  v1::StrictOutput Output() const { return Content(journal.entries().back()).strict_output(); }

  // The tokens that the record alone leads to.
  std::vector<std::int32_t> Again() {
    inference::SequenceRequest sequence = pipeline::SequenceOf(Request(), Input());
    sequence.allowance = journal.entries().back().record.end().tokens().output();
    sequence.allowance_final = true;
    const auto stream = pool().Submit(std::move(sequence));
    REQUIRE(stream.ok());
    std::vector<std::int32_t> tokens;
    for (;;) {
      inference::Piece piece;
      const inference::Taken taken = (*stream)->Take(piece);
      for (const inference::OutputToken& token : piece.tokens) tokens.push_back(token.id);
      if (taken == inference::Taken::kEnd) return tokens;
      if (taken == inference::Taken::kEmpty) std::this_thread::yield();
    }
  }
  std::vector<std::int32_t> Recorded() const {
    const v1::StrictOutput output = Output();
    return {output.tokens().begin(), output.tokens().end()};
  }
};

}  // namespace

TEST_CASE(
    "A strict answer, whole or streamed, has on record all that it was made with, sealed what is content; the record alone makes it "
    "again") {
  for (const bool streamed : {false, true}) {
    Strict world(test::CodeAndFish("output"));
    v1::ChatRequest request = world.AskStrictly("!say one two ZQ~AB~12 three four");
    request.mutable_sampling()->set_temperature(0.123456789);
    request.mutable_sampling()->set_seed(77);
    request.add_stop("four");
    v1::LogitBias& bias = *request.add_logit_bias();
    bias.set_token(5), bias.set_bias(0.3F);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, streamed ? &writer : nullptr);
    CHECK(ReplyOf(outcome).end.finish_reason() == v1::FINISH_REASON_STOP);
    CHECK((streamed ? writer.text + ReplyOf(outcome).text : ReplyOf(outcome).text).find("ZQ~") == std::string::npos);

    const v1::StrictRun run = world.Request().strict();
    CHECK(run.build() == "1.2.3");
    CHECK(run.engine_build() == "scripted 1");
    CHECK(run.processor() == "scripted");
    CHECK(run.threads() == 1);
    CHECK(run.chunk_tokens() == inference::kStrictChunkTokens);
    CHECK(run.context_tokens() == 4096);
    CHECK(run.kv() == "f16");
    CHECK(world.Request().sampling().seed() == 77);
    CHECK(world.Request().ShortDebugString().find("four") == std::string::npos);
    CHECK(world.Input().prompt_tokens_size() == world.Request().input_tokens());
    CHECK(world.Input().stop(0) == "four");
    const inference::SequenceRequest sequence = pipeline::SequenceOf(world.Request(), world.Input());
    CHECK(sequence.sampling.temperature == 0.123457);
    CHECK(sequence.logit_bias.at(0).bias == 0.3F);
    CHECK(world.Output().complete());
    CHECK(world.Recorded().size() >= 4);
    CHECK(world.Again() == world.Recorded());
    CHECK(world.pool().stats().at(2).model == "exact (strict)");
    CHECK(world.pool().stats().at(2).opened == 2);
    CHECK(world.pool().stats().at(1).opened == 0);
    world.CheckBooks();
  }
}

TEST_CASE("An answer that policy or a quota cut off is on record as far as it came, and is made again so far") {
  SECTION("policy") {
    Strict world(test::CodeAndFish("output"));
    const auto outcome = world.Chat(world.AskStrictly("!say a big swordfish swims on and on"));
    CHECK(ReplyOf(outcome).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    const std::vector<std::int32_t> again = world.Again(), recorded = world.Recorded();
    CHECK(recorded.size() >= 3);
    CHECK(std::equal(recorded.begin(), recorded.end(), again.begin()));
  }
  SECTION("quota") {
    Strict world;
    world.SetQuota("tokens", "day", 60);
    const auto outcome = world.Chat(world.AskStrictly("!tokens 500"));
    CHECK(ReplyOf(outcome).end.finish_reason() == v1::FINISH_REASON_LENGTH);
    CHECK_FALSE(world.Output().complete());
    CHECK(world.Recorded().size() > 10);
    CHECK(world.Again() == world.Recorded());
  }
}

TEST_CASE("An answer that is not strict has nothing of that on record") {
  Strict world;
  ReplyOf(world.Chat(world.Ask("hello", "exact")));
  CHECK_FALSE(world.Request().has_strict());
  CHECK_FALSE(world.Content(world.journal.entries().front()).has_strict_input());
  CHECK_FALSE(world.Content(world.journal.entries().back()).has_strict_output());
  CHECK(world.pool().stats().at(2).opened == 0);
}

TEST_CASE("Who may not ask strictly, what cannot be strict and a model that is not are refused by name, and nothing is kept") {
  Strict world;
  const auto refused = [&](auto change, const std::string& model = "exact") {
    v1::ChatRequest request = world.AskStrictly("hello", model);
    change(request);
    return world.Refusal(request);
  };
  CHECK(refused([](auto& r) { r.set_choices(2); }).starts_with("INVALID_REQUEST n: "));
  CHECK(refused([](auto& r) { r.set_max_reasoning_tokens(5); }).starts_with("INVALID_REQUEST max_reasoning_tokens: "));
  CHECK(refused([](auto& r) { r.set_replay(static_cast<v1::Replay>(7)); }).starts_with("INVALID_REQUEST replay: "));
  CHECK(refused([](auto&) {}, "script") ==
        "STRICT_UNAVAILABLE replay: replay: cannot be strict: script gives no strict answers; ask its operator to load "
        "it with strict, or use another model");
  world.SetRoles("member,grammar_author");
  CHECK(refused([](auto&) {}).starts_with("ROLE_NOT_GRANTED replay: "));
  world.SetRoles("admin");
  CHECK(refused([](auto&) {}).empty());
  CHECK(world.Kinds() == "REQUEST FINAL");
  inference::ModelInfo fleet;
  fleet.name = "fleet", fleet.engine = "openai";
  CHECK(base::Message(pipeline::ValidateStrictFor(world.AskStrictly("hello"), fleet)).find("(engine openai)") != std::string::npos);
}

TEST_CASE("What stands between a record and its replay is told, the coarsest first") {
  inference::ModelInfo model;
  model.name = "exact";
  model.sha256 = base::Sha256("weights");
  model.adapters = {{.name = "exact:a", .sha256 = base::Sha256("a"), .scale = 0.5},
                    {.name = "exact:b", .sha256 = base::Sha256("b"), .scale = 1}};
  model.strict = {"llama 1", "CPU zen4", 3, 128, 2048, "f16"};
  v1::RequestBody recorded;
  recorded.set_model_sha256(std::string(base::View(model.sha256)));
  pipeline::FillAdapters(model, recorded.mutable_adapters());
  *recorded.mutable_strict() = pipeline::RunOf(*model.strict, "1.2.3");
  CHECK(pipeline::ObstacleTo(recorded, model, "1.2.3").reason.empty());
  struct Row {
    const char* reason;
    void (*change)(inference::ModelInfo&);
  };
  const Row rows[] = {
      {"OTHER_WEIGHTS", [](auto& m) { m.sha256 = base::Sha256("others"); }},
      {"OTHER_ADAPTERS", [](auto& m) { m.adapters.pop_back(); }},
      {"OTHER_ADAPTERS", [](auto& m) { m.adapters[0].scale = 0.6; }},
      {"OTHER_ADAPTERS", [](auto& m) { std::swap(m.adapters[0], m.adapters[1]); }},
      {"NOT_STRICT_HERE", [](auto& m) { m.strict.reset(); }},
      {"OTHER_BUILD", [](auto& m) { m.strict->engine_build = "llama 2"; }},
      {"OTHER_PROCESSOR", [](auto& m) { m.strict->processor = "CPU zen5"; }},
      {"OTHER_SETUP", [](auto& m) { m.strict->threads = 4; }},
      {"OTHER_SETUP", [](auto& m) { m.strict->chunk_tokens = 64; }},
      {"OTHER_SETUP", [](auto& m) { m.strict->context_tokens = 4096; }},
      {"OTHER_SETUP", [](auto& m) { m.strict->kv = "f32"; }},
  };
  for (const Row& row : rows) {
    inference::ModelInfo changed = model;
    row.change(changed);
    const pipeline::Obstacle obstacle = pipeline::ObstacleTo(recorded, changed, "1.2.3");
    CHECK(obstacle.reason == row.reason);
    CHECK_FALSE(obstacle.message.empty());
  }
  CHECK(pipeline::ObstacleTo(recorded, model, "1.2.4").reason == "OTHER_BUILD");
}
