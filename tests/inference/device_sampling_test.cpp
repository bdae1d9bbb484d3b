// Where the device that computes leaves only the greatest logits, each sequence says what it says where all are copied: token for token,
// whoever opens, closes and is rewound beside it; and as soon as one needs the others, all are there. libllama's backend for the processor
// cuts logits too, so that this needs no GPU.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>

#include "inference/engines/llama.h"
#include "tests/inference/gpu.h"
#include "tests/inference/tiny_model.h"
#include "tests/inference/worker_support.h"

namespace tollgate::inference {
namespace {

using test::kTinyVocab;
using test::Team;
using test::TinyModel;

using Tokens = std::vector<std::int32_t>;

std::unique_ptr<Engine> Make(ModelOptions model, DeviceSampling device_sampling) {
  model.device_sampling = device_sampling;
  auto engine = MakeLlamaEngine(model, "");
  INFO(engine.status().ToString());
  REQUIRE(engine.ok());
  return *std::move(engine);
}

// Drives an engine at random, but the same way for the same seed, and remembers what it said.
class Driver {
 public:
  Driver(Engine& engine, std::uint64_t seed) : engine_(engine), random_(seed) {}

  // So many steps. `needy`: every other sequence needs all logits.
  void Run(int steps, bool needy) {
    for (int step = 0; step < steps; ++step) {
      for (int slot = 0; slot < kSlots; ++slot) {
        Place& place = places_[slot];
        if (place.open && (random_() % 40 == 0 || place.outputs > 150)) Close(slot);
        if (!place.open && random_() % 3 == 0) Open(slot, needy && random_() % 2 == 0);
        if (place.open && place.outputs > 4 && random_() % 25 == 0) Rewind(slot);
      }
      Step();
    }
  }

  void CloseAll() {
    for (int slot = 0; slot < kSlots; ++slot) {
      if (places_[slot].open) Close(slot);
    }
  }

  Tokens said;

 private:
  static constexpr int kSlots = 4;

  struct Place {
    bool open = false;
    std::int64_t prompt_left = 0;
    std::int64_t outputs = 0;
    std::int32_t last = 0;
  };

  void Open(int slot, bool needy) {
    Tokens prompt(5 + random_() % 60);
    for (std::int32_t& token : prompt) token = static_cast<std::int32_t>(random_() % 256);
    EngineSequence sequence{.prompt_tokens = prompt, .tenant = Team(1 + slot)};
    SamplingParams& sampling = sequence.sampling;
    const double temperatures[] = {0, 0.3, 1, 2}, top_ps[] = {1, 0.9};
    sampling.temperature = temperatures[random_() % 4];
    sampling.top_k = 1 + static_cast<std::int32_t>(random_() % 110);
    sampling.top_p = top_ps[random_() % 2];
    sampling.min_p = random_() % 4 == 0 ? 0.02 : 0;
    sampling.seed = random_();
    const LogitBias bias{7, 2};
    const std::uint64_t need = random_() % 5;
    if (needy && need == 0) sampling.temperature = 1, sampling.top_k = 0;
    if (needy && need == 1) sampling.presence_penalty = 0.5;
    if (needy && need == 2) sequence.logit_bias = std::span(&bias, 1);
    if (needy && need == 3) sequence.logprobs = 2;
    if (needy && need == 4) sequence.grammar = "root ::= [a-z]*";
    const auto opened = engine_.Open(slot, sequence);
    REQUIRE(opened.ok());
    places_[slot] = {true, std::ssize(prompt) - opened->cached_tokens, 0, 0};
  }

  void Rewind(int slot) {
    Place& place = places_[slot];
    const Tokens banned = {place.last, static_cast<std::int32_t>(random_() % kTinyVocab)};
    place.outputs -= 1 + static_cast<std::int64_t>(random_() % 3);
    REQUIRE(engine_.Rewind(slot, place.outputs, banned).ok());
  }

  void Close(int slot) {
    engine_.Close(slot);
    places_[slot] = {};
  }

  void Step() {
    std::vector<EngineWork> work;
    for (int slot = 0; slot < kSlots; ++slot) {
      Place& place = places_[slot];
      if (!place.open) continue;
      const std::int64_t chunk = std::min<std::int64_t>(place.prompt_left, 1 + static_cast<std::int64_t>(random_() % 64));
      place.prompt_left -= chunk;
      work.push_back({slot, chunk});
    }
    if (work.empty()) return;
    std::vector<EngineOutput> outputs;
    REQUIRE(engine_.Step(work, outputs).ok());
    for (const EngineOutput& output : outputs) {
      INFO(output.status.ToString());
      Place& place = places_[output.slot];
      said.push_back(output.status.ok() ? output.token : -1);  // What a grammar ends may go no further.
      if (!output.status.ok() || output.ends) {
        Close(output.slot);
        continue;
      }
      ++place.outputs;
      place.last = output.token;
    }
  }

  Engine& engine_;
  std::mt19937_64 random_;
  std::array<Place, kSlots> places_;
};

TEST_CASE("The device leaves the greatest logits, and every sequence says what it says from all of them") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    const ModelOptions model = TinyModel(architecture).WriteTo(folder);
    const auto off = Make(model, DeviceSampling::kOff), on = Make(model, DeviceSampling::kOn);
    Driver expected(*off, seed), said(*on, seed);
    const auto both = [&](int steps, bool needy) {
      for (Driver* driver : {&expected, &said}) driver->Run(steps, needy);
      REQUIRE(said.said == expected.said);
      return static_cast<std::int64_t>(said.said.size());
    };
    CHECK(both(300, false) == on->device_sampled());
    const std::int64_t with_needy = both(200, true);
    const std::int64_t before = on->device_sampled();
    CHECK(before < with_needy);  // And it is not tried again at once.
    for (Driver* driver : {&expected, &said}) driver->CloseAll();
    both(400, false);
    CHECK(on->device_sampled() > before);
    CHECK(off->device_sampled() == 0);
  }
}

TEST_CASE("Numbers that overflow fail the sequence, whoever looks for the greatest") {
  const tollgate::test::TempDir folder;
  const ModelOptions model = TinyModel("llama", 1, 1e18F).WriteTo(folder);
  for (const DeviceSampling device_sampling : {DeviceSampling::kOff, DeviceSampling::kOn}) {
    const auto engine = Make(model, device_sampling);
    const Tokens prompt = {65, 66, 67};
    for (const double temperature : {0.0, 1.0}) {
      REQUIRE(engine->Open(0, {.prompt_tokens = prompt, .sampling = {.temperature = temperature, .top_k = 5}, .tenant = Team(1)}).ok());
      std::vector<EngineOutput> outputs;
      const EngineWork work{0, 3};
      REQUIRE(engine->Step(std::span(&work, 1), outputs).ok());
      CHECK(outputs.at(0).status.code() == absl::StatusCode::kInternal);
      engine->Close(0);
    }
  }
}

TEST_CASE("What was chosen from the device's logits is counted, on a thread and in a process; on its own only where a GPU computes") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  ModelOptions model = tiny.WriteTo(folder);
  const auto counted = [&](Pool& pool) {
    SequenceRequest request = test::Ask(pool, "Say something.");
    request.sampling.temperature = 0;
    request.max_tokens = 20;
    CHECK(test::HearAll(*test::Submit(pool, request)).end.status.ok());
    test::Until(pool, [](const ReplicaStats& stats) { return stats.sequences == 1; });
    const ReplicaStats stats = pool.stats()[0];
    CHECK((stats.device_sampled == 0 || stats.device_sampled == stats.output_tokens));
    return stats.device_sampled > 0;
  };
  CHECK_FALSE(counted(*test::MakePool(model)));
  model.device_sampling = DeviceSampling::kAuto;
  CHECK(counted(*test::MakePool(model)) == test::OnGpu());
  model.device_sampling = DeviceSampling::kOn;
  CHECK(counted(*test::MakePool(model)));
  PoolOptions apart;
  apart.models = {model};
  apart.isolation = Isolation::kProcess;
  apart.worker = test::TestWorker();
  CHECK(counted(*test::ProcessPool(apart)));
  model.kv_tokens = model.context_tokens + 40;
  CHECK_FALSE(counted(*test::MakePool(model)));
}

}  // namespace
}  // namespace tollgate::inference
