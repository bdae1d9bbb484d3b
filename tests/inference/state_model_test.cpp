// What becomes of a slot's state: as much of it is kept as its tenant has room for, nothing is copied for nothing, siblings get one copy,
// and what is no number goes with the sequence that made it. This program's llama_state_seq_get_data stands before libllama's, and counts.
#include <dlfcn.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>

#include <llama.h>
#include <catch2/catch_test_macros.hpp>

#include "inference/engines/llama.h"
#include "inference/gguf.h"
#include "inference/prefix_cache.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace {

std::atomic<int> states_taken_out{0};

}  // namespace

extern "C" std::size_t llama_state_seq_get_data(llama_context* context, std::uint8_t* to, std::size_t size, llama_seq_id sequence) {
  static const auto real = reinterpret_cast<decltype(&llama_state_seq_get_data)>(::dlsym(RTLD_NEXT, "llama_state_seq_get_data"));
  ++states_taken_out;
  return real(context, to, size, sequence);
}

namespace tollgate::inference {
namespace {

using test::kTinyVocab;
using test::Team;
using test::TinyModel;
using test::Tolerance;

using StateTokens = std::vector<std::int32_t>;

StateTokens Words(std::size_t count, std::int32_t from = 5) {
  StateTokens tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = from + static_cast<std::int32_t>(i * 7 % 200);
  return tokens;
}

// An engine, by slots.
class Slots {
 public:
  explicit Slots(ModelOptions model) {
    model.kv = KvType::kF32;
    auto made = MakeLlamaEngine(model, "");
    INFO(made.status().ToString());
    REQUIRE(made.ok());
    engine_ = *std::move(made);
  }
  Engine& operator*() { return *engine_; }

  EngineOpened Open(int slot, const StateTokens& prompt, int tenant, std::int64_t published = 0) {
    const auto opened = engine_->Open(slot, {.prompt_tokens = prompt,
                                             .sampling = {.temperature = 0},
                                             .tenant = Team(tenant),
                                             .published_tokens = published,
                                             .published_by = org_,
                                             .logprobs = kTinyVocab});
    REQUIRE(opened.ok());
    return *opened;
  }

  struct Given {
    absl::Status status = absl::UnknownError("nothing came");
    std::vector<float> logprobs;  // By token.
  };
  Given Step(int slot, std::int64_t prompt_tokens) {
    std::vector<EngineOutput> outputs;
    const EngineWork work{slot, prompt_tokens};
    REQUIRE(engine_->Step(std::span(&work, 1), outputs).ok());
    Given given;
    if (outputs.empty()) return given;
    given.status = outputs[0].status;
    given.logprobs.resize(kTinyVocab);
    for (const EngineAlternative& other : outputs[0].top) given.logprobs[static_cast<std::size_t>(other.token)] = other.logprob;
    return given;
  }

  // A prompt from its first token to its last, and the slot is free again.
  std::pair<EngineOpened, Given> Run(const StateTokens& prompt, int tenant, std::int64_t published = 0) {
    const EngineOpened opened = Open(0, prompt, tenant, published);
    const Given given = Step(0, std::ssize(prompt) - opened.cached_tokens - opened.published_tokens);
    engine_->Close(0);
    return {opened, given};
  }

 private:
  std::unique_ptr<Engine> engine_;
  const base::OrgId org_ = base::OrgId::New();
};

void CheckAlike(const Slots::Given& a, const Slots::Given& b) {
  REQUIRE((a.status.ok() && b.status.ok()));
  double most = 0;
  for (std::size_t i = 0; i < a.logprobs.size(); ++i) most = std::max<double>(most, std::abs(a.logprobs[i] - b.logprobs[i]));
  CHECK(most <= Tolerance());
}

// A token of this model's state takes some 520 bytes.
ModelOptions WithCache(const tollgate::test::TempDir& folder, std::int64_t bytes, int slots = 2) {
  ModelOptions model = TinyModel("llama").WriteTo(folder, slots);
  model.prefix_cache_bytes = bytes;
  return model;
}

TEST_CASE("Of a conversation that is longer than its tenant has room for, what fits is kept, copied once and found again") {
  const tollgate::test::TempDir folder;
  Slots slots(WithCache(folder, 60'000));
  const int before = states_taken_out;
  const auto [cold, first] = slots.Run(Words(200), 1);
  CHECK(cold.cached_tokens == 0);
  CHECK(states_taken_out == before + 1);
  CHECK((*slots).cache_bytes() > 40'000);
  CHECK((*slots).cache_bytes() <= 60'000);
  const auto [warm, again] = slots.Run(Words(200), 1);
  CHECK(warm.cached_tokens >= 96);
  CHECK(warm.cached_tokens <= 112);
  CheckAlike(again, first);
  CHECK(states_taken_out == before + 1);  // No more of it would fit.

  // Another tenant needs less than an equal part: it gets that from the longer one, and keeps it whatever length comes.
  slots.Run(Words(40, 6), 2);
  const auto [cut, third] = slots.Run(Words(200), 1);
  CHECK(cut.cached_tokens == 0);
  CheckAlike(third, first);
  CHECK(slots.Open(0, Words(40, 6), 2).cached_tokens == 39);
  (*slots).Close(0);
  const auto [shorter, last] = slots.Run(Words(200), 1);
  CHECK(shorter.cached_tokens >= 48);
  CHECK(shorter.cached_tokens < warm.cached_tokens);
  CheckAlike(last, first);
}

TEST_CASE("What would not be kept is not copied") {
  const tollgate::test::TempDir folder;
  Slots slots(WithCache(folder, 3'000));  // Less than a block of tokens.
  const int before = states_taken_out;
  for (int tenant = 1; tenant <= 3; ++tenant) slots.Run(Words(200), tenant, 40);
  CHECK(states_taken_out == before);
  CHECK((*slots).cache_bytes() == 0);
}

TEST_CASE("Siblings that take over one prompt in a turn get one copy of its state, and a later one a copy of its own") {
  const tollgate::test::TempDir folder;
  Slots slots(WithCache(folder, 0, 5));
  const StateTokens prompt = Words(100);
  for (int slot = 0; slot < 4; ++slot) slots.Open(slot, prompt, 1);
  const Slots::Given first = slots.Step(0, 100);
  const int before = states_taken_out;
  for (int slot = 1; slot < 4; ++slot) CHECK((*slots).Share(0, slot) == 99);
  CHECK(states_taken_out == before + 1);
  CheckAlike(slots.Step(1, 1), first);
  CheckAlike(slots.Step(2, 1), first);
  CHECK(slots.Step(0, 0).status.ok());
  CheckAlike(slots.Step(3, 1), first);
  slots.Open(4, prompt, 1);
  CHECK((*slots).Share(0, 4) == 99);
  CHECK(states_taken_out == before + 2);
  CheckAlike(slots.Step(4, 1), first);

  // Another prompt in the slot that was shared from.
  for (const int slot : {0, 1}) (*slots).Close(slot);
  StateTokens changed = prompt;
  changed[50] = 4;
  for (const int slot : {0, 1}) slots.Open(slot, changed, 1);
  const Slots::Given other = slots.Step(0, 100);
  CHECK((*slots).Share(0, 1) == 99);
  CheckAlike(slots.Step(1, 1), other);
}

constexpr std::int32_t kPoison = 300;

// A llama whose numbers overflow on kPoison alone: it is the one token with something in the embedding's first place, which the first layer
// multiplies beyond what a float holds.
ModelOptions Overflowing(const tollgate::test::TempDir& folder) {
  const TinyModel tiny("llama");
  std::string bytes = tiny.Bytes();
  const auto header = ReadGguf(bytes);
  REQUIRE(header.ok());
  for (const GgufTensor& tensor : header->tensor_table) {
    const bool embeds = tensor.name == "token_embd.weight";
    if (!embeds && tensor.name != "blk.0.attn_v.weight") continue;
    for (std::int64_t row = 0; row < tensor.shape[1]; ++row) {
      const float value = !embeds ? 3e38F : row == kPoison ? 1.0F : 0.0F;
      std::memcpy(bytes.data() + tensor.at + static_cast<std::uint64_t>(row * tensor.shape[0]) * sizeof value, &value, sizeof value);
    }
  }
  ModelOptions model = tiny.WriteTo(folder, 2);
  std::ofstream(model.file, std::ios::binary) << bytes;
  model.sha256 = *DigestOfFile(model.file);
  return model;
}

StateTokens Poisoned() {
  StateTokens tokens = Words(60);
  tokens[55] = kPoison;
  return tokens;
}

TEST_CASE("A prompt on which a model's own numbers overflow ends alone: its slot is cleaned, and nothing of it is kept") {
  if (test::OnGpu()) SKIP("sums end in other numbers there");
  const tollgate::test::TempDir folder;
  ModelOptions model = Overflowing(folder);
  Slots slots(model);
  model.prefix_cache_bytes = 0;
  Slots alone(model);
  slots.Open(1, Words(50, 9), 3);
  CHECK(slots.Step(1, 50).status.ok());
  for (int round = 0; round < 2; ++round) {
    const auto [opened, bad] = slots.Run(Poisoned(), 1, 24);
    CHECK(opened.cached_tokens + opened.published_tokens == 0);
    CHECK(absl::IsInternal(bad.status));
  }
  CHECK((*slots).cache_bytes() == 0);
  const auto [opened, good] = slots.Run(Words(40), 2, 24);
  CHECK(opened.published_tokens == 0);
  CheckAlike(good, alone.Run(Words(40), 2).second);

  // What ran beside goes on from its own state.
  alone.Open(1, Words(50, 9), 3);
  CHECK(alone.Step(1, 50).status.ok());
  for (int i = 0; i < 3; ++i) CheckAlike(slots.Step(1, 0), alone.Step(1, 0));
}

TEST_CASE("What was kept of a prompt that was cut short before its numbers could show is its tenant's alone, and forgotten when they do") {
  if (test::OnGpu()) SKIP("sums end in other numbers there");
  const tollgate::test::TempDir folder;
  ModelOptions model = Overflowing(folder);
  Slots slots(model);
  slots.Open(0, Poisoned(), 1, 24);
  slots.Step(0, 58);
  (*slots).Close(0);
  CHECK((*slots).cache_bytes() > 0);
  CHECK(slots.Open(1, Words(40), 2, 24).published_tokens == 0);
  (*slots).Close(1);
  const auto [from_it, bad] = slots.Run(Words(50), 1);
  CHECK(from_it.cached_tokens == 49);
  CHECK(absl::IsInternal(bad.status));
  const auto [cold, good] = slots.Run(Words(50), 1);
  CHECK(cold.cached_tokens == 0);
  model.prefix_cache_bytes = 0;
  Slots alone(model);
  CheckAlike(good, alone.Run(Words(50), 1).second);
}

}  // namespace
}  // namespace tollgate::inference
