// Adapters, and models that embed or rerank, in processes of their own: as on threads; added again to each new process; and what ends a
// process ends what ran there and no other tenant's job.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <signal.h>

#include <filesystem>
#include <fstream>

#include "tests/inference/worker_support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

using test::AskModel;
using test::CheckLost;
using test::Embed;
using test::HearAll;
using test::Heard;
using test::ProcessOf;
using test::ProcessPool;
using test::Submit;
using test::Until;

struct Adapters {
  tollgate::test::TempDir folder;
  std::unique_ptr<Pool> pool;

  explicit Adapters(const std::vector<std::string>& models = {"script", "other"}) : pool(ProcessPool(models)) {}

  AdapterOptions Named(const std::string& name) const {
    AdapterOptions adapter{.name = "script:" + name, .base = "script", .file = folder.File(name), .sha256 = {}};
    std::ofstream(adapter.file) << name;
    adapter.sha256 = *DigestOfFile(adapter.file);
    return adapter;
  }
  void Load(const std::string& name) const {
    const absl::Status status = pool->LoadAdapter(Named(name));
    INFO(status.ToString());
    REQUIRE(status.ok());
  }
  std::shared_ptr<TokenStream> Asked(const std::string& model, const std::string& text) const {
    return Submit(*pool, AskModel(*pool, model, text));
  }
  std::string Answer(const std::string& model) const { return test::Answer(*pool, "by " + model, model); }
  // Kills the model's process, and waits until the next one answers.
  void NextProcess() const {
    const std::int64_t restarts = pool->stats()[0].engine_restarts;
    ::kill(ProcessOf("script"), SIGKILL);
    Until(*pool, [&](const ReplicaStats& s) { return s.engine_restarts > restarts && s.ready; });
    CHECK(Answer("script") == "by script");
  }
};

PoolOptions Embedders(Pooling pooling = Pooling::kMean, const std::string& first = "script") {
  PoolOptions options = test::ProcessOptions({first, "other"});
  options.models[0].pooling = pooling;
  return options;
}

std::vector<float> VectorOf(Pool& pool, const std::string& text) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  EmbedJob job;
  job.model = pool.models()[0].name;
  job.tenant = test::Team(1);
  job.inputs.push_back(*pool.EmbedTokens(job.model, {text, {}}));
  for (;;) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    const auto stream = pool.Embed(job);
    if (stream.ok()) return HearAll(**stream).end.vectors;
    REQUIRE(stream.status().code() == absl::StatusCode::kUnavailable);
    std::this_thread::yield();
  }
}

TEST_CASE("An abort while an adapter is in use ends what ran there; the adapters are in the next process, the other model is unharmed") {
  const Adapters f;
  f.Load("a");
  f.Load("b");
  const auto other = f.Asked("other", "!pace_ms 1\n!tokens 300");
  const auto beside = f.Asked("script:b", "!tokens 5\n!hang");
  Until(*f.pool, [](const ReplicaStats& s) { return s.output_tokens >= 5; });
  CheckLost(HearAll(*f.Asked("script:a", "!tokens 3\n!abort")));
  CheckLost(HearAll(*beside));
  for (const char* model : {"script", "script:a", "script:b", "script:a+b"}) CHECK(f.Answer(model) == std::string("by ") + model);
  CHECK(f.pool->models().size() == 4);
  CHECK(f.pool->stats()[0].engine_restarts == 1);
  CHECK(HearAll(*other).end.tokens_decoded == 300);
  CHECK(f.pool->stats()[1].engine_restarts == 0);
}

TEST_CASE("Adapters come and go through many processes; those of this side and of the process need not have the same handles") {
  const Adapters f;
  for (const char* name : {"a", "b", "c"}) f.Load(name);
  CHECK(f.pool->Unload("script:a", base::MonoTime::max()).ok());
  f.NextProcess();
  CHECK(f.Answer("script:b+c") == "by script:b+c");
  CHECK(f.pool->Unload("script:b", base::MonoTime::max()).ok());
  f.Load("a");
  f.NextProcess();
  f.NextProcess();
  CHECK(f.Answer("script:a+c") == "by script:a+c");
  for (const char* name : {"script:c", "script:a"}) CHECK(f.pool->Unload(name, base::MonoTime::max()).ok());
  CHECK(f.Answer("script") == "by script");
  CHECK(f.pool->stats()[0].engine_restarts == 3);
}

TEST_CASE("An adapter's file is checked on this side, in the words of a thread, and again by each process") {
  const Adapters f;
  AdapterOptions swapped = f.Named("swapped");
  std::ofstream(swapped.file) << "something else";
  CHECK(absl::IsFailedPrecondition(f.pool->CheckAdapter(swapped)));
  CHECK(absl::IsFailedPrecondition(f.pool->LoadAdapter(swapped)));
  f.Load("a");
  f.Load("b");
  std::ofstream(f.folder.File("a")) << "another by now";
  f.NextProcess();
  const Heard missing = HearAll(*f.Asked("script:a", "hello"));
  INFO(missing.end.status.ToString());
  CHECK(absl::IsFailedPrecondition(missing.end.status));
  CHECK(base::Message(missing.end.status).find("script:a is missing since") == 0);
  CHECK(base::Message(missing.end.status).find("is not the file that was registered") != std::string::npos);
  CHECK(f.Answer("script:b") == "by script:b");
  CHECK(f.pool->Unload("script:a", base::MonoTime::max()).ok());
  f.Load("a");
  CHECK(f.Answer("script:a") == "by script:a");
  CHECK(f.pool->stats()[0].engine_restarts == 1);
}

TEST_CASE("An adapter at whose adding processes end is left out after the second; the model serves without it") {
  const Adapters f;
  f.Load("a");
  f.Load("b");
  std::ofstream(f.folder.File("a") + ".aborts") << "yes";
  ::kill(ProcessOf("script"), SIGKILL);
  CHECK(f.Answer("script:b") == "by script:b");
  CHECK(f.Answer("script") == "by script");
  CHECK(f.pool->stats()[0].engine_restarts == 3);
  CHECK(absl::IsFailedPrecondition(HearAll(*f.Asked("script:a", "hello")).end.status));
  CHECK(f.pool->Unload("script:a", base::MonoTime::max()).ok());
  CHECK(absl::IsUnavailable(f.pool->LoadAdapter(f.Named("a"))));
  std::filesystem::remove(f.folder.File("a") + ".aborts");
  CHECK(f.Answer("script") == "by script");
  f.Load("a");
  CHECK(f.Answer("script:a") == "by script:a");
}

TEST_CASE("A model that embeds or reranks serves in a process of its own as on a thread") {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kRank}) {
    const auto apart = ProcessPool(Embedders(pooling));
    ModelOptions model = test::Scripted();
    model.pooling = pooling;
    const auto here = test::MakePool(model);
    CHECK(apart->models()[0].pooling == pooling);
    CHECK(apart->models()[0].dimensions == here->models()[0].dimensions);
    const EmbedText text{"so many words", "many"};
    const auto tokens = apart->EmbedTokens("script", text);
    REQUIRE(tokens.ok());
    CHECK(tokens == here->EmbedTokens("script", text));
    if (pooling == Pooling::kMean) CHECK(apart->TextOf("script", *tokens) == here->TextOf("script", *tokens));
    EmbedJob job;
    job.model = "script";
    job.tenant = test::Team(1);
    for (int i = 0; i < 150; ++i) job.inputs.push_back(*apart->EmbedTokens("script", {"text " + std::to_string(i), "7"}));
    const Heard there = HearAll(**apart->Embed(job));
    CHECK(there.end.status.ok());
    CHECK(there.end.vectors == HearAll(**here->Embed(job)).end.vectors);
    CHECK(there.end.vectors.size() == 150 * static_cast<std::size_t>(apart->models()[0].dimensions));
    const Heard failed = HearAll(*Embed(*apart, {"!fail"}));
    CHECK(failed.end.status == HearAll(*Embed(*here, {"!fail"})).end.status);
    CHECK(apart->stats()[0].engine_restarts == 0);
  }
}

TEST_CASE("An abort while an embedding runs fails the jobs of that step; another tenant's job goes on in the next process") {
  const auto pool = ProcessPool(Embedders());
  const std::vector<float> hello = VectorOf(*pool, "hello");
  const auto other = Submit(*pool, AskModel(*pool, "other", "!pace_ms 1\n!tokens 300"));
  const auto fatal = Embed(*pool, {"!pace_ms 50", "!abort"}, 1);
  const auto beside = Embed(*pool, {"hello", "again"}, 2);
  CheckLost(HearAll(*fatal));
  const Heard unharmed = HearAll(*beside);
  CHECK(unharmed.end.status.ok());
  REQUIRE(unharmed.end.vectors.size() == 16);
  CHECK(std::equal(hello.begin(), hello.end(), unharmed.end.vectors.begin()));
  CHECK(VectorOf(*pool, "hello") == hello);
  CHECK(pool->stats()[0].engine_restarts == 1);
  CHECK(HearAll(*other).end.tokens_decoded == 300);
  CHECK(pool->stats()[1].engine_restarts == 0);
}

TEST_CASE("Vectors that are none are the end of the process that gave them") {
  const std::string fault = GENERATE("vectors", "few");
  const auto pool = ProcessPool(Embedders(Pooling::kMean, "x/" + fault));
  CheckLost(HearAll(*Embed(*pool, {"hello", "again"})));
  Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts == 1 && s.ready; });
  CHECK(test::Answer(*pool, "hello", "other") == "hello");
}

}  // namespace
}  // namespace tollgate::inference
