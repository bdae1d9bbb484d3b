// What a model needs in memory, and that one which does not fit is refused with the numbers.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/memory_estimate.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

GgufHeader SmolHeader() {
  GgufHeader header;
  header.architecture = "llama";
  header.layers = 30;
  header.vocab_tokens = 49152;
  header.numbers = {{"llama.embedding_length", 576},
                    {"llama.feed_forward_length", 1536},
                    {"llama.attention.head_count", 9},
                    {"llama.attention.head_count_kv", 3}};
  return header;
}

ModelOptions Options() {
  ModelOptions model;
  model.slots = 4;
  model.context_tokens = 1000;  // 1024 in libllama's blocks.
  model.prefix_cache_bytes = 1 << 20;
  return model;
}

TEST_CASE("Numbers beyond any machine need more than there is, not less than nothing") {
  GgufHeader header = SmolHeader();
  header.layers = 512;
  header.vocab_tokens = 1 << 24;
  for (const char* key : {"embedding_length", "attention.key_length", "attention.value_length"})
    header.numbers[fmt::format("llama.{}", key)] = 1 << 20;
  for (const char* key : {"attention.head_count", "attention.head_count_kv"}) header.numbers[fmt::format("llama.{}", key)] = 1 << 16;
  header.numbers["llama.feed_forward_length"] = 1 << 24;
  ModelOptions model = Options();
  model.slots = 1;
  for (const std::int64_t tokens : {1 << 16, 1 << 18, 1 << 20, 1 << 24, 1 << 30}) {
    for (const KvType kv : {KvType::kQ8, KvType::kF16, KvType::kF32}) {
      for (const Pooling pooling : {Pooling::kNone, Pooling::kMean}) {
        model.context_tokens = tokens;
        model.kv = kv;
        model.pooling = pooling;
        const MemoryNeed need = EstimateMemory(header, 1 << 20, model);
        INFO(tokens << " " << need.context << " " << need.computing);
        CHECK(need.context >= 1LL << 58);
        CHECK(need.computing > 1LL << 40);
        CHECK(need.total() > need.context);
        CHECK(CheckFits(need, model, 1LL << 50).code() == absl::StatusCode::kResourceExhausted);
      }
    }
  }
}

TEST_CASE("The context's size follows from layers, heads, slots and the type it is kept in") {
  const MemoryNeed need = EstimateMemory(SmolHeader(), 98'000'000, Options());
  CHECK(need.weights == 98'000'000);
  CHECK(need.context == 30LL * 3 * (64 + 64) * 2 * 4 * 1024);
  CHECK(need.prefix_cache == 1 << 20);
  CHECK(need.computing > 4 << 20);
  CHECK(need.computing < 64 << 20);
  ModelOptions q8 = Options();
  q8.kv = KvType::kQ8;
  CHECK(EstimateMemory(SmolHeader(), 0, q8).context == 30LL * 3 * 128 * 34 / 32 * 4 * 1024);

  ModelOptions shared = Options();  // Cells that slots share count once, whatever the slots.
  shared.kv_tokens = 1500;
  CHECK(EstimateMemory(SmolHeader(), 0, shared).context == 30LL * 3 * (64 + 64) * 2 * 1536);
  CHECK(EstimateMemory(SmolHeader(), 0, shared).moving == 30LL * 3 * (64 + 64) * 2 * 2 * shared.context_tokens);
  CHECK(EstimateMemory(SmolHeader(), 0, Options()).moving == 0);
  CHECK(base::Message(CheckFits(EstimateMemory(SmolHeader(), 0, shared), shared, 0)).find("4 slots that share 1500 tokens") !=
        std::string::npos);
  CHECK(PrefixBytesMax(shared) + SuspendedBytesMax(shared) == shared.prefix_cache_bytes);
  CHECK(PrefixBytesMax(Options()) == Options().prefix_cache_bytes);

  GgufHeader mla = SmolHeader();  // DeepSeek: one latent head.
  mla.numbers["llama.attention.head_count_kv"] = 1;
  mla.numbers["llama.attention.key_length"] = 576;
  mla.numbers["llama.attention.value_length"] = 512;
  CHECK(EstimateMemory(mla, 0, Options()).context == 30LL * (576 + 512) * 2 * 4 * 1024);

  GgufHeader bare = SmolHeader();  // Heads that differ by layer stand in an array: every query head counts.
  bare.numbers.erase("llama.attention.head_count_kv");
  CHECK(EstimateMemory(bare, 0, Options()).context == 30LL * 9 * 128 * 2 * 4 * 1024);
}

TEST_CASE("What fits is let in to the byte; what does not is refused in numbers, with what to lower") {
  const MemoryNeed need = EstimateMemory(SmolHeader(), 98'000'000, Options());
  CHECK(CheckFits(need, Options(), need.total()).ok());
  const absl::Status refused = CheckFits(need, Options(), need.total() - 1);
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK(base::DetailOf(refused)->reason == "MODEL_DOES_NOT_FIT");
  const std::string message(base::Message(refused));
  for (const char* part :
       {"weights 94", "context of 4 slots x 1000 tokens 90", "prefix cache 1", "MiB are free", "lower slots", "8 bits"}) {
    INFO(message << " lacks " << part);
    CHECK(message.find(part) != std::string::npos);
  }
  CHECK(base::Message(CheckFits(need, Options(), -5)).find("and 0 MiB are free") != std::string::npos);
}

TEST_CASE("With GPUs, weights, context and computing go onto them; kept prefixes and a layer's weights stay in the machine's memory") {
  const MemoryNeed need = EstimateMemory(SmolHeader(), 98'000'000, Options());
  const SplitNeed split = SplitOverDevices(need, SmolHeader());
  CHECK(split.devices.weights == need.weights);
  CHECK(split.devices.context == need.context);
  CHECK(split.devices.computing == need.computing);
  CHECK(split.devices.layers == 30);
  CHECK(split.host.prefix_cache == need.prefix_cache);
  CHECK(split.host.total() == need.prefix_cache + 98'000'000 / 31);
}

TEST_CASE("This machine has some memory") { CHECK(MemoryAvailable() > 1 << 20); }

}  // namespace
}  // namespace tollgate::inference
