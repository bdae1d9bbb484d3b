// What only a machine with a GPU can show: that it gives what the processor gives, that models are placed on it, and that what does not fit
// is refused before libllama tries. Skipped, aloud, where there is none; `make gpu-check` runs it. Prints `name value unit` lines.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <numeric>

#include <fmt/format.h>

#include "inference/engines/llama.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::kTinyVocab;
using test::TinyModel;

// GPUs multiply 32-bit floats in TF32, of 10 bits, where many rows come together; contexts are kept in 16 bits. Log-probabilities of these
// models lie between -10 and -3.
constexpr double kToleranceNats = 0.05;
constexpr std::size_t kPrompt = 120;
constexpr std::size_t kOutputs = 24;

using Row = std::vector<double>;  // Log-probabilities by token.

struct Heard {
  std::vector<std::int32_t> tokens;
  std::vector<Row> rows;
};

std::vector<std::int32_t> Prompt() {
  std::vector<std::int32_t> prompt(kPrompt);
  for (std::size_t i = 0; i < kPrompt; ++i) prompt[i] = static_cast<std::int32_t>(5 + i * 7 % 250);
  return prompt;
}

// The engine as the pool drives it: the prompt in two chunks, then a token a step, in the third of four slots.
Heard FromEngine(const ModelOptions& model) {
  auto made = MakeLlamaEngine(model, "");
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  Engine& engine = **made;
  CHECK(engine.Info().device_memory_bytes > 0);
  SamplingParams greedy;
  greedy.temperature = 0;
  const std::vector<std::int32_t> prompt = Prompt();
  REQUIRE(engine.Open(2, {.prompt_tokens = prompt, .sampling = greedy, .tenant = test::Team(1), .logprobs = kTinyVocab}).ok());
  Heard heard;
  std::vector<EngineOutput> outputs;
  const EngineWork first{2, kPrompt / 3};
  REQUIRE(engine.Step(std::span(&first, 1), outputs).ok());
  for (std::size_t i = 0; i < kOutputs; ++i) {
    const EngineWork work{2, i == 0 ? static_cast<std::int64_t>(kPrompt - kPrompt / 3) : 0};
    outputs.clear();
    REQUIRE(engine.Step(std::span(&work, 1), outputs).ok());
    REQUIRE(outputs.size() == 1);
    REQUIRE(outputs[0].status.ok());
    heard.tokens.push_back(outputs[0].token);
    Row& row = heard.rows.emplace_back(kTinyVocab);
    for (const EngineAlternative& other : outputs[0].top) row[static_cast<std::size_t>(other.token)] = other.logprob;
  }
  return heard;
}

struct Processor {
  explicit Processor(const std::string& file) {
    llama_model_params params = llama_model_default_params();
    ggml_backend_dev_t none = nullptr;
    params.devices = &none;
    params.n_gpu_layers = 0;
    model.reset(llama_model_load_from_file(file.c_str(), params));
    REQUIRE(model != nullptr);
    llama_context_params context_params = llama_context_default_params();
    context_params.n_ctx = 512;
    context_params.n_threads = context_params.n_threads_batch = 1;
    context_params.type_k = context_params.type_v = GGML_TYPE_F32;
    context_params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    context_params.offload_kqv = context_params.op_offload = false;
    context.reset(llama_init_from_model(model.get(), context_params));
    REQUIRE(context != nullptr);
  }

  Row Feed(std::vector<std::int32_t> tokens) {
    REQUIRE(llama_decode(context.get(), llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(tokens.size()))) == 0);
    const float* logits = llama_get_logits_ith(context.get(), -1);
    Row row(logits, logits + kTinyVocab);
    const double max = *std::max_element(row.begin(), row.end());
    const double sum = std::accumulate(row.begin(), row.end(), 0.0, [max](double s, double l) { return s + std::exp(l - max); });
    for (double& l : row) l -= max + std::log(sum);
    return row;
  }

  LlamaModel model;
  LlamaContext context;
};

// The greatest difference of the engine's log-probabilities from the processor's, over the tokens that the engine chose.
double Distance(const Heard& heard, Processor processor) {
  double most = 0;
  for (std::size_t i = 0; i < heard.rows.size(); ++i) {
    const Row row = processor.Feed(i == 0 ? Prompt() : std::vector<std::int32_t>{heard.tokens[i - 1]});
    for (std::size_t t = 0; t < row.size(); ++t) most = std::max(most, std::abs(row[t] - heard.rows[i][t]));
  }
  return most;
}

TEST_CASE("A GPU gives the log-probabilities that the processor gives") {
  if (!test::OnGpu()) SKIP("no GPU on this machine: nothing was compared");
  for (const std::string architecture : {"llama", "deepseek2"}) {
    for (const KvType kv : {KvType::kF32, KvType::kF16}) {
      const tollgate::test::TempDir folder;
      ModelOptions model = TinyModel(architecture).WriteTo(folder);
      model.kv = kv;
      const double distance = Distance(FromEngine(model), Processor(model.file));
      fmt::print("gpu.{}.{}.logprob_distance {:.6f} nats\n", architecture, kv == KvType::kF32 ? "f32" : "f16", distance);
      CHECK(distance <= kToleranceNats);
    }
  }
}

TEST_CASE("A model goes on the GPU, takes no more of it than was reckoned, and gives it back") {
  if (!test::OnGpu()) SKIP("no GPU on this machine: nothing was placed");
  const auto free = [] { return LlamaGpus()[0].room.free_bytes; };
  const tollgate::test::TempDir folder;
  ModelOptions model = TinyModel("llama").WriteTo(folder, 64, 2048);
  test::MakePool(model);  // What the runtime keeps for itself, once, is there now.
  const std::int64_t before = free();
  {
    const auto pool = test::MakePool(model);
    const ModelInfo info = pool->models()[0];
    CHECK(info.engine_build.find("CUDA") != std::string::npos);
    CHECK(info.device_memory_bytes > 0);
    SequenceRequest request;
    request.model = "llama";
    request.tenant = test::Team(1);
    request.prompt_tokens = Prompt();
    request.max_tokens = request.allowance = 20;
    CHECK(test::HearAll(*test::Submit(*pool, request)).end.tokens_decoded > 0);
    CHECK(before - free() <= info.device_memory_bytes + Headroom(before));
  }
  CHECK(before - free() <= 64 << 20);
}

TEST_CASE("A context that no GPU holds is refused with the numbers, and what is loaded serves on") {
  if (!test::OnGpu()) SKIP("no GPU on this machine: nothing was refused");
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const auto pool = test::MakePool(tiny.WriteTo(folder));
  // As trained for contexts of four million tokens: 256 of them take half a TB.
  std::string bytes = tiny.Bytes();
  const std::string key = "llama.context_length";
  const std::uint32_t tokens = 1 << 22;
  std::memcpy(bytes.data() + bytes.find(key) + key.size() + 4, &tokens, sizeof tokens);
  ModelOptions model = tiny.WriteTo(folder, 256, tokens);
  model.name = "wide";
  model.file = folder.File("wide.gguf");
  std::ofstream(model.file, std::ios::binary) << bytes;
  model.sha256 = *DigestOfFile(model.file);
  model.kv = KvType::kF32;
  for (const absl::Status& refused : {pool->Check(model), pool->Load(model)}) {
    INFO(refused.ToString());
    CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
    CHECK(base::Message(refused).find("MiB of GPU memory") != std::string::npos);
    CHECK(base::Message(refused).find("CUDA0 has") != std::string::npos);
  }
  const Turn turn{"user", "", "still there?"};
  CHECK(pool->Render("llama", std::span(&turn, 1)).ok());
  CHECK(test::HearAll(*test::Submit(*pool, test::Ask(*pool, "still there?"))).end.status.ok());
}

}  // namespace
}  // namespace tollgate::inference
