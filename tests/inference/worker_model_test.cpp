// libllama in a process of its own, on generated models: the same answers, adapters and vectors as on a thread, prefixes apart by tenant,
// and refusals with their numbers.
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include "inference/make_pool.h"
#include "inference/prefix_cache.h"
#include "tests/inference/gpu.h"
#include "tests/inference/tiny_adapter.h"
#include "tests/inference/tiny_model.h"
#include "tests/inference/worker_support.h"

namespace tollgate::inference {
namespace {

using test::HearAll;
using test::Heard;
using test::Submit;
using test::Team;
using test::TinyModel;

PoolOptions Options(const ModelOptions& model, Isolation isolation) {
  PoolOptions options;
  options.models = {model};
  options.isolation = isolation;
  options.worker = test::TestWorker();
  options.replica_nice = 0;
  return options;
}

SequenceRequest Request(const Pool& pool, int tenant, std::int64_t tokens) {
  SequenceRequest request;
  request.model = pool.models()[0].name;
  for (std::int64_t i = 0; i < tokens; ++i) request.prompt_tokens.push_back(static_cast<std::int32_t>(40 + (i * 7) % 200));
  request.sampling.temperature = 0;
  request.max_tokens = request.allowance = 24;
  request.tenant = Team(tenant);
  request.logprobs = 2;
  return request;
}

std::vector<OutputToken> TokensOf(const Heard& heard) {
  std::vector<OutputToken> tokens;
  for (const Piece& piece : heard.pieces) tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
  return tokens;
}

// What the model with these adapters says, and how sure it is of it.
std::vector<OutputToken> Says(Pool& pool, const std::string& model) {
  SequenceRequest request = Request(pool, 1, 60);
  request.model = model;
  const Heard heard = HearAll(*Submit(pool, request));
  INFO(heard.end.status.ToString());
  REQUIRE(heard.end.status.ok());
  return TokensOf(heard);
}

// On a GPU, whose sums depend on what is computed together, two tokens may be as good as each other: from there on all is another's. And
// adapters of these tests make logits of some hundreds, of which it knows three digits.
bool Same(const std::vector<OutputToken>& a, const std::vector<OutputToken>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::abs(a[i].logprob - b[i].logprob) >= (test::OnGpu() ? 1 : 1e-3)) return false;
    if (a[i].id != b[i].id) return test::OnGpu() && i > 0;
  }
  return true;
}

EmbedJob Job(const Pool& pool, int tenant, int inputs) {
  EmbedJob job;
  job.model = pool.models()[0].name;
  job.tenant = Team(tenant);
  const std::vector<std::int32_t> query = *pool.Tokenize(job.model, "a query");
  for (int i = 0; i < inputs; ++i) {
    auto tokens = pool.EmbedTokens(job.model, {"a text of some length, number " + std::to_string(i), query});
    REQUIRE(tokens.ok());
    job.inputs.push_back(*std::move(tokens));
  }
  return job;
}

std::vector<float> Vectors(Pool& pool, const EmbedJob& job) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  for (;;) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    const auto stream = pool.Embed(job);
    if (stream.ok()) {
      const Heard heard = HearAll(**stream);
      if (heard.end.status.ok()) return heard.end.vectors;
      test::CheckLost(heard);
    }
    std::this_thread::yield();
  }
}

bool Near(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return std::abs(x - y) < (test::OnGpu() ? 0.02 : 1e-4); });
}

void Abort(const std::string& model) { ::kill(test::ProcessOf(model), SIGABRT); }

}  // namespace

TEST_CASE("A llama and a deepseek2 model answer in a process of their own as on a thread, with kept prefixes, grammars and rewinding") {
  for (const char* architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    ModelOptions model = TinyModel(architecture).WriteTo(folder);
    model.kv = KvType::kF32;
    const auto apart = test::ProcessPool(Options(model, Isolation::kProcess));
    const auto here = test::ProcessPool(Options(model, Isolation::kThread));
    CHECK(apart->models()[0].memory_bytes == here->models()[0].memory_bytes);
    CHECK(apart->models()[0].engine_build == here->models()[0].engine_build);
    const Turn turn{"user", "", "caf\xC3\xA9 <|im_end|> text"};
    CHECK(apart->Render(model.name, std::span(&turn, 1)) == here->Render(model.name, std::span(&turn, 1)));
    const PromptPart part{"<|im_start|>judge", true};
    CHECK(apart->RenderParts(model.name, std::span(&part, 1)) == here->RenderParts(model.name, std::span(&part, 1)));
    CHECK(apart->Tokenize(model.name, "text alone") == here->Tokenize(model.name, "text alone"));

    const auto there = TokensOf(HearAll(*Submit(*apart, Request(*apart, 1, 100))));
    const auto same = TokensOf(HearAll(*Submit(*here, Request(*here, 1, 100))));
    REQUIRE(there.size() == same.size());
    REQUIRE(there.size() > 0);
    for (std::size_t i = 0; i < there.size(); ++i) {
      CHECK(there[i].id == same[i].id);
      CHECK(std::abs(there[i].logprob - same[i].logprob) < (test::OnGpu() ? 0.05 : 1e-4));
      CHECK(there[i].top.size() == 2);
    }
    CHECK(HearAll(*Submit(*apart, Request(*apart, 1, 100))).end.cached_input_tokens == 99);
    CHECK(HearAll(*Submit(*apart, Request(*apart, 2, 100))).end.cached_input_tokens == 0);
    CHECK(apart->stats()[0].prefix_cache_bytes > 0);

    SequenceRequest json = Request(*apart, 3, 30);
    json.json = true;
    json.max_tokens = json.allowance = 100;
    const Heard object = HearAll(*Submit(*apart, json));
    CHECK(object.end.status.ok());
    CHECK(object.text.starts_with("{"));
    SequenceRequest odd = Request(*apart, 3, 30);
    odd.grammar = "root ::= (((";
    CHECK(apart->Submit(odd).status().code() == absl::StatusCode::kInvalidArgument);

    SequenceRequest rewound = Request(*apart, 4, 30);
    rewound.allowance = 6;
    const auto stream = Submit(*apart, rewound);
    Heard heard;
    REQUIRE(test::Hear(*stream, heard) == Taken::kParked);
    stream->Rewind(2, {});
    stream->Allow(24, true);
    CHECK(HearAll(*stream).end.status.ok());
  }
}

TEST_CASE("Adapters compute in a process as on a thread, and in the next one after an abort while one is in use") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    const TinyModel tiny(architecture);
    ModelOptions model = tiny.WriteTo(folder);
    model.kv = KvType::kF32;
    model.in_own_process = true;  // Else a GPU takes no adapter of a model with experts on a thread.
    const auto apart = test::ProcessPool(Options(model, Isolation::kProcess));
    const auto here = test::ProcessPool(Options(model, Isolation::kThread));
    for (const auto& [name, seed] : {std::pair("a", 3), std::pair("b", 4)}) {
      const auto adapter = test::WriteAdapter(
          folder, test::TinyAdapter{.seed = static_cast<std::uint64_t>(seed), .only = {}}.For(tiny.Bytes()), model.name, name, 0.5);
      for (const auto& pool : {apart.get(), here.get()}) {
        const absl::Status loaded = pool->LoadAdapter(adapter);
        INFO(loaded.ToString());
        REQUIRE(loaded.ok());
      }
    }
    CHECK(apart->models()[1].adapters[0].rank == here->models()[1].adapters[0].rank);
    CHECK(apart->models()[1].memory_bytes == here->models()[1].memory_bytes);
    const auto names = {model.name, model.name + ":a", model.name + ":b", model.name + ":a+b"};
    const auto alone = Says(*here, model.name);
    CHECK_FALSE(Same(Says(*here, model.name + ":a"), alone));
    for (const std::string& name : names) CHECK(Same(Says(*apart, name), Says(*here, name)));

    SequenceRequest waits = Request(*apart, 2, 60);
    waits.model = model.name + ":a";
    waits.allowance = 3;
    const auto in_use = Submit(*apart, waits);
    Heard heard;
    REQUIRE(test::Hear(*in_use, heard) == Taken::kParked);
    Abort(model.name);
    while (test::Hear(*in_use, heard) != Taken::kEnd) {
    }
    test::CheckLost(heard);
    test::Until(*apart, [](const ReplicaStats& s) { return s.engine_restarts == 1 && s.ready; });
    for (const std::string& name : names) CHECK(Same(Says(*apart, name), Says(*here, name)));
    CHECK(apart->Unload(model.name + ":a", base::MonoTime::max()).ok());
    CHECK(Same(Says(*apart, model.name + ":b"), Says(*here, model.name + ":b")));
  }
}

TEST_CASE("An adapter that does not fit is refused on this side in the words of a thread, and the process goes on") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const ModelOptions model = tiny.WriteTo(folder);
  const auto apart = test::ProcessPool(Options(model, Isolation::kProcess));
  const auto here = test::ProcessPool(Options(model, Isolation::kThread));
  std::string short_one = test::TinyAdapter{.seed = 1, .only = {}}.For(tiny.Bytes());
  short_one.resize(short_one.size() - 64);
  for (const std::string& bytes :
       {std::string("no file of ours"), short_one, test::TinyAdapter{.seed = 1, .only = {}}.For(TinyModel("deepseek2").Bytes())}) {
    const auto adapter = test::WriteAdapter(folder, bytes, model.name, "odd");
    const absl::Status refused = apart->LoadAdapter(adapter);
    INFO(refused.ToString());
    CHECK(absl::IsInvalidArgument(refused));
    CHECK(refused == here->LoadAdapter(adapter));
    CHECK(refused == apart->CheckAdapter(adapter));
  }
  auto other = test::WriteAdapter(folder, test::TinyAdapter{.seed = 1, .only = {}}.For(tiny.Bytes()), model.name, "other");
  other.sha256 = base::Digest{};
  CHECK(absl::IsFailedPrecondition(apart->LoadAdapter(other)));
  CHECK(Says(*apart, model.name).size() == 24);
  CHECK(apart->stats()[0].engine_restarts == 0);
}

TEST_CASE("Vectors and relevance are those of a thread, also in the process after one that aborted while they were computed") {
  struct Row {
    const char* architecture;
    Pooling pooling;
  };
  for (const Row& row : {Row{"bert", Pooling::kAsFile}, Row{"bert", Pooling::kRank}, Row{"llama", Pooling::kLast}}) {
    INFO(row.architecture << " " << static_cast<int>(row.pooling));
    const tollgate::test::TempDir folder;
    ModelOptions model = TinyModel(row.architecture).WriteTo(folder);
    model.pooling = row.pooling;
    model.kv = KvType::kF32;
    const auto apart = test::ProcessPool(Options(model, Isolation::kProcess));
    const auto here = test::ProcessPool(Options(model, Isolation::kThread));
    CHECK(apart->models()[0].pooling == here->models()[0].pooling);
    CHECK(apart->models()[0].dimensions == here->models()[0].dimensions);
    const EmbedJob job = Job(*apart, 1, 20);
    CHECK(job.inputs == Job(*here, 1, 20).inputs);
    CHECK(apart->TextOf(model.name, job.inputs[0]) == here->TextOf(model.name, job.inputs[0]));
    CHECK(absl::IsFailedPrecondition(apart->Submit(Request(*apart, 1, 10)).status()));
    const auto vectors = Vectors(*here, job);
    CHECK(Near(Vectors(*apart, job), vectors));

    const auto running = apart->Embed(Job(*apart, 2, 1000));
    REQUIRE(running.ok());
    test::Until(*apart, [](const ReplicaStats& s) { return s.steps >= 3; });
    Abort(model.name);
    const Heard heard = HearAll(**running);
    if (!heard.end.status.ok()) test::CheckLost(heard);  // If a step was under way.
    CHECK(Near(Vectors(*apart, job), vectors));
    CHECK(apart->stats()[0].engine_restarts == 1);
  }
}

TEST_CASE("What a process has no memory for, or finds wrong with a file, is refused with the words and numbers of a thread's refusal") {
  const tollgate::test::TempDir folder;
  ModelOptions model = TinyModel("llama").WriteTo(folder);
  PoolOptions small = Options(model, Isolation::kProcess);
  small.memory_bytes = 1 << 20;
  PoolOptions same = Options(model, Isolation::kThread);
  same.memory_bytes = 1 << 20;
  const absl::Status there = Pool::Create(small).status();
  INFO(there.ToString());
  CHECK(there.code() == absl::StatusCode::kResourceExhausted);
  CHECK(there == Pool::Create(same).status());

  small.models.clear();
  const auto empty = test::ProcessPool(small);
  CHECK(empty->Check(model) == there);

  ModelOptions other = model;
  other.sha256 = base::Digest{};
  const absl::Status digest = Pool::Create(Options(other, Isolation::kProcess)).status();
  CHECK(digest == Pool::Create(Options(other, Isolation::kThread)).status());
  CHECK(digest.code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE(
    "What a model was promised and has not touched is given to no other, though the machine counts it as free, until it is taken out") {
  for (const Isolation isolation : {Isolation::kThread, Isolation::kProcess}) {
    INFO((isolation == Isolation::kThread ? "thread" : "process"));
    const tollgate::test::TempDir folder;
    const TinyModel tiny("llama");
    ModelOptions first = tiny.WriteTo(folder), second = TinyModel("deepseek2").WriteTo(folder);
    first.prefix_cache_bytes = second.prefix_cache_bytes = 64 << 20;  // Which fills as they serve.
    std::int64_t available = 100 << 20;                               // Whatever is loaded.
    auto made = CreatePool(Options(first, isolation), [&available] { return available; });
    REQUIRE(made.ok());
    Pool& pool = **made;
    const std::int64_t left = available - pool.models()[0].memory_bytes;
    for (const absl::Status& refused : {pool.Check(second), pool.Load(second)}) {
      INFO(refused.ToString());
      CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
      CHECK(base::Message(refused).find(fmt::format("and {} MiB are free", left >> 20)) != std::string::npos);
    }
    ModelOptions small = second;
    small.prefix_cache_bytes = 4 << 20;
    CHECK(pool.Check(small).ok());
    available = 2 << 20;  // Others took the rest.
    CHECK(pool.Check(small).code() == absl::StatusCode::kResourceExhausted);
    available = 100 << 20;
    REQUIRE(pool.Unload(first.name, base::MonoTime::max()).ok());
    CHECK(pool.Load(second).ok());
    CHECK(pool.Load(first).code() == absl::StatusCode::kResourceExhausted);
    available = 200 << 20;  // What others gave back since counts.
    CHECK(pool.Load(first).ok());

    if (test::OnGpu()) continue;  // Whose memory an adapter takes.
    const auto large = test::WriteAdapter(folder, test::TinyAdapter{.rank = 512, .only = {}}.For(tiny.Bytes()), first.name, "large");
    ModelOptions rest = small;
    rest.name = "rest";
    const std::int64_t taken = pool.models()[0].memory_bytes + pool.models()[1].memory_bytes;
    rest.prefix_cache_bytes = available - taken - (pool.models()[0].memory_bytes - second.prefix_cache_bytes);
    REQUIRE(pool.Load(rest).ok());  // To the byte.
    CHECK(pool.CheckAdapter(large).code() == absl::StatusCode::kResourceExhausted);
    REQUIRE(pool.Unload("rest", base::MonoTime::max()).ok());
    CHECK(pool.CheckAdapter(large).ok());
  }
}

}  // namespace tollgate::inference
