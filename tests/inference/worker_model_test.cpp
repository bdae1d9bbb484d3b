// libllama in a process of its own, on generated models: the same answers as on a thread, prefixes apart by tenant, and refusals with their
// numbers.
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <fstream>

#include "inference/prefix_cache.h"
#include "tests/inference/gpu.h"
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
    CHECK(HearAll(*Submit(*apart, Request(*apart, 1, 100))).end.cached_input_tokens == 96);
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

}  // namespace tollgate::inference
