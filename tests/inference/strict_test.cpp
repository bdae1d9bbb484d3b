// Where strict answers run, and what is refused; with the scripted engine. What they are worth is tested with real models, in
// strict_model_test.cpp.
#include <catch2/catch_test_macros.hpp>

#include <fstream>

#include "tests/inference/support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

using test::Ask;
using test::HearAll;
using test::MakePool;
using test::Scripted;
using test::Submit;

ModelOptions StrictModel() {
  ModelOptions model = Scripted();
  model.strict = true;
  return model;
}

SequenceRequest AskStrictly(const Pool& pool, const std::string& text) {
  SequenceRequest request = Ask(pool, text);
  request.strict = true;
  return request;
}

TEST_CASE("Strict answers run one at a time in a replica of their own, beside others, and show in its stats") {
  const auto pool = MakePool(StrictModel());
  REQUIRE(pool->models().size() == 1);
  REQUIRE(pool->models()[0].strict.has_value());
  CHECK(pool->models()[0].strict->chunk_tokens == kStrictChunkTokens);
  CHECK(pool->models()[0].slots == 4);
  CHECK(pool->Find("script")->strict == pool->models()[0].strict);
  const auto first = Submit(*pool, AskStrictly(*pool, "!say one\n!hang"));
  const auto second = Submit(*pool, AskStrictly(*pool, "two"));
  const auto running = [&] { return pool->stats().at(1).running == 1 && pool->stats().at(1).waiting == 1; };
  while (!running()) std::this_thread::yield();
  CHECK(HearAll(*Submit(*pool, Ask(*pool, "beside"))).text == "beside");
  CHECK(running());
  first->Cancel();
  CHECK(HearAll(*second).text == "two");
  const std::vector<ReplicaStats> stats = pool->stats();
  REQUIRE(stats.size() == 2);
  CHECK(stats[0].model == "script");
  CHECK(stats[1].model == "script (strict)");
  CHECK(stats[1].slots == 1);
  CHECK(stats[0].opened == 1);
  CHECK(stats[1].opened == 2);
}

TEST_CASE("A model that is not strict, a group, a fleet of servers and a model that embeds are refused by name") {
  const auto plain = MakePool(Scripted());
  CHECK_FALSE(plain->models()[0].strict.has_value());
  const auto refused = plain->Submit(AskStrictly(*plain, "hello")).status();
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(base::Message(refused) == "model script gives no strict answers: register it with strict");
  const auto pool = MakePool(StrictModel());
  const std::uint64_t seeds[] = {1, 2};
  CHECK(pool->SubmitGroup(AskStrictly(*pool, "hello"), seeds).status().code() == absl::StatusCode::kInvalidArgument);
  ModelOptions fleet = StrictModel();
  fleet.name = "fleet", fleet.engine = EngineKind::kOpenAi, fleet.file = "vocabulary.gguf";
  CHECK(pool->Load(fleet).code() == absl::StatusCode::kUnimplemented);
  ModelOptions embeds = StrictModel();
  embeds.name = "vec", embeds.pooling = Pooling::kMean;
  CHECK(base::Message(pool->Load(embeds)).find("leave strict out") != std::string::npos);
}

TEST_CASE("Both replicas of a model come and go together, and adapters with them") {
  const tollgate::test::TempDir folder;
  const auto pool = MakePool(StrictModel());
  AdapterOptions adapter{.name = "script:a", .base = "script", .file = folder.File("a.lora"), .sha256 = {}};
  std::ofstream(adapter.file) << "an adapter";
  adapter.sha256 = *DigestOfFile(adapter.file);
  REQUIRE(pool->LoadAdapter(adapter).ok());
  CHECK(pool->LoadAdapter(adapter).code() == absl::StatusCode::kAlreadyExists);
  CHECK(pool->Find("script:a")->strict.has_value());
  SequenceRequest request = AskStrictly(*pool, "hello");
  request.model = "script:a";
  CHECK(HearAll(*Submit(*pool, request)).text == "hello");
  REQUIRE(pool->Unload("script:a", base::MonoTime::max()).ok());
  CHECK(absl::IsNotFound(pool->Submit(request).status()));
  REQUIRE(pool->LoadAdapter(adapter).ok());
  REQUIRE(pool->Unload("script", base::MonoTime::max()).ok());
  CHECK(pool->stats().empty());
  CHECK(pool->models().empty());
  CHECK(pool->Load(StrictModel()).ok());
  CHECK(pool->stats().size() == 2);
}

}  // namespace
}  // namespace tollgate::inference
