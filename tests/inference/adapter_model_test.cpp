// LoRA adapters on tiny generated models: they compute what they say, come and go while the model serves, share no prefix; and whatever our
// reader lets through, libllama survives.
#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "inference/adapter_file.h"
#include "inference/engines/llama.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_adapter.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::HearAll;
using test::Heard;
using test::kTinyVocab;
using test::MakePool;
using test::Submit;
using test::Team;
using test::TinyAdapter;
using test::TinyModel;
using test::Tolerance;
using test::WriteAdapter;

ModelOptions Options(const TinyModel& tiny, const tollgate::test::TempDir& folder, const std::string& name) {
  ModelOptions model = tiny.WriteTo(folder);
  model.name = name;
  model.kv = KvType::kF32;
  model.in_own_process = true;  // Else a GPU takes no adapter of a model with experts.
  return model;
}

SequenceRequest Greedy(const std::string& model, std::size_t prompt_tokens = 40, int tenant = 1) {
  SequenceRequest request;
  request.model = model;
  request.tenant = Team(tenant);
  for (std::size_t i = 0; i < prompt_tokens; ++i) request.prompt_tokens.push_back(static_cast<std::int32_t>(5 + i * 7 % 250));
  request.sampling.temperature = 0;
  request.max_tokens = request.allowance = 8;
  request.logprobs = 5;
  return request;
}

// The log-probabilities of what comes first, by token.
std::map<std::int32_t, float> First(Pool& pool, const std::string& model) {
  const Heard heard = HearAll(*Submit(pool, Greedy(model)));
  INFO(base::Message(heard.end.status));
  REQUIRE(heard.end.status.ok());
  std::map<std::int32_t, float> first;
  for (const Piece& piece : heard.pieces) {
    for (const OutputToken& token : piece.tokens) {
      for (const auto& top : token.top) first[top.id] = top.logprob;
      if (!first.empty()) return first;
    }
  }
  return first;
}

double Distance(const std::map<std::int32_t, float>& a, const std::map<std::int32_t, float>& b) {
  double most = a.size() == b.size() && !a.empty() ? 0 : 1e9;
  for (const auto& [token, logprob] : a) most = std::max<double>(most, b.contains(token) ? std::abs(b.at(token) - logprob) : 1e9);
  return most;
}

absl::Status Load(Pool& pool, const AdapterOptions& adapter) {
  const absl::Status status = pool.LoadAdapter(adapter);
  INFO(status.ToString());
  CHECK(status.ok());
  return status;
}

TEST_CASE("A model with an adapter computes as the model into which the adapter was worked; several add up; without, it is itself") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder, other;
    const TinyModel tiny(architecture);
    const auto pool = MakePool(Options(tiny, folder, "tiny"));
    const auto alone = First(*pool, "tiny");
    const std::string a = TinyAdapter{.seed = 3, .only = {}}.For(tiny.Bytes());
    const std::string b = TinyAdapter{.seed = 4, .rank = 2, .only = "ffn"}.For(tiny.Bytes());
    Load(*pool, WriteAdapter(folder, a, "tiny", "a", 0.5)).IgnoreError();
    Load(*pool, WriteAdapter(folder, b, "tiny", "b", 2)).IgnoreError();
    const auto merged = [&](const std::string& bytes) {
      ModelOptions model = Options(tiny, other, "merged");
      std::ofstream(model.file, std::ios::binary) << bytes;
      model.sha256 = *DigestOfFile(model.file);
      return First(*MakePool(model), "merged");
    };
    const std::string with_a = TinyAdapter::Merge(tiny.Bytes(), a, 0.5);
    const auto first = First(*pool, "tiny:a");
    CHECK(Distance(first, merged(with_a)) <= std::max(2e-3, Tolerance()));
    CHECK(Distance(First(*pool, "tiny:a+b"), merged(TinyAdapter::Merge(with_a, b, 2))) <= std::max(2e-3, Tolerance()));
    CHECK(Distance(First(*pool, "tiny:b+a"), First(*pool, "tiny:a+b")) <= Tolerance());
    CHECK(Distance(First(*pool, "tiny"), alone) <= Tolerance());
    CHECK(Distance(first, alone) > 0.01);
    CHECK(Distance(First(*pool, "tiny:a"), first) <= Tolerance());
  }
}

TEST_CASE("Adapters come and go beside a model that serves; another under the same name is another") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const auto pool = MakePool(Options(tiny, folder, "tiny"));
  const auto alone = First(*pool, "tiny");
  std::map<std::int32_t, float> firsts[2];
  for (int round = 0; round < 6; ++round) {
    const auto seed = static_cast<std::uint64_t>(round % 2);
    Load(*pool, WriteAdapter(folder, TinyAdapter{.seed = 10 + seed, .only = {}}.For(tiny.Bytes()), "tiny", "x")).IgnoreError();
    const auto first = First(*pool, "tiny:x");
    if (round < 2) firsts[seed] = first;
    CHECK(Distance(first, firsts[seed]) <= Tolerance());
    CHECK(pool->models().size() == 2);
    CHECK(pool->models()[1].base == "tiny");
    CHECK(pool->models()[1].adapters.at(0).rank == 4);
    CHECK(pool->models()[0].memory_bytes > pool->models()[1].memory_bytes);
    CHECK(pool->Unload("tiny:x", base::MonoTime::max()).ok());
    CHECK(absl::IsNotFound(pool->Submit(Greedy("tiny:x")).status()));
    CHECK(Distance(First(*pool, "tiny"), alone) <= Tolerance());
  }
  CHECK(Distance(firsts[0], firsts[1]) > 0.01);
}

TEST_CASE("What a tenant had worked through saves work under the same adapters alone, to the token") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const auto pool = MakePool(Options(tiny, folder, "tiny"));
  for (const char* name : {"a", "b"})
    Load(*pool, WriteAdapter(folder, TinyAdapter{.seed = 5, .only = {}}.For(tiny.Bytes()), "tiny", name, name[0] == 'a' ? 1 : 2))
        .IgnoreError();
  const auto cached = [&](const char* model, int tenant = 1) {
    return HearAll(*Submit(*pool, Greedy(model, 200, tenant))).end.cached_input_tokens;
  };
  for (const char* model : {"tiny", "tiny:a", "tiny:b", "tiny:a+b"}) {
    INFO(model);
    CHECK(cached(model) == 0);
    CHECK(cached(model) == 199);
    CHECK(cached(model, 2) == 0);
  }
}

TEST_CASE("An adapter of another model, a cut file, another digest and what does not fit are refused by name and number") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  PoolOptions options;
  options.models = {Options(tiny, folder, "tiny")};
  options.models.front().prefix_cache_bytes = 0;
  options.memory_bytes = 10 << 20;
  const auto pool = *Pool::Create(std::move(options));
  const auto refused = [&](const AdapterOptions& adapter, absl::StatusCode code, const char* says) {
    const absl::Status status = pool->LoadAdapter(adapter);
    INFO(status.ToString());
    CHECK(status.code() == code);
    CHECK(base::Message(status).find(says) != std::string::npos);
    CHECK(base::Message(pool->CheckAdapter(adapter)) == base::Message(status));
  };
  const std::string good = TinyAdapter{.only = {}}.For(tiny.Bytes());
  using enum absl::StatusCode;
  refused(WriteAdapter(folder, TinyAdapter{.only = {}}.For(TinyModel("deepseek2").Bytes()), "tiny", "other"), kInvalidArgument,
          "\"deepseek2\"");
  refused(WriteAdapter(folder, good.substr(0, good.size() - 40), "tiny", "cut"), kInvalidArgument, "past the end of the file");
  refused(WriteAdapter(folder, tiny.Bytes(), "tiny", "model"), kInvalidArgument, "no general.type");
  AdapterOptions swapped = WriteAdapter(folder, good, "tiny", "swapped");
  (*swapped.sha256)[0] ^= 1;
  refused(swapped, kFailedPrecondition, "is not the file that was registered");
  if (!test::OnGpu())  // Whose room is what its memory has.
    refused(WriteAdapter(folder, TinyAdapter{.rank = 512, .only = {}}.For(tiny.Bytes()), "tiny", "large"), kResourceExhausted,
            "MiB are free");
  refused(WriteAdapter(folder, good, "none", "a"), kNotFound, "model none is not loaded");
  refused(WriteAdapter(folder, good, "tiny", "scale", 17), kInvalidArgument, "its scale is 17");
  AdapterOptions gone = WriteAdapter(folder, good, "tiny", "gone");
  gone.file += ".not";
  refused(gone, kNotFound, "gone");
  CHECK(pool->models().size() == 1);
  CHECK(First(*pool, "tiny").size() == 5);
}

TEST_CASE("Numbers that overflow under an adapter end its sequences, never another's in the same slot, and it is used no more") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    const TinyModel tiny(architecture);
    ModelOptions model = Options(tiny, folder, "tiny");
    model.slots = 2;
    model.in_own_process = false;
    const auto pool = MakePool(model);
    const auto alone = First(*pool, "tiny");
    const absl::Status loaded =
        pool->LoadAdapter(WriteAdapter(folder, TinyAdapter{.magnitude = 1e18F, .only = "ffn"}.For(tiny.Bytes()), "tiny", "huge"));
    if (test::OnGpu() && architecture == "deepseek2") {  // What routes to experts ends the process there over what is not a number.
      CHECK(base::Message(loaded).find("pool.isolation: process") != std::string::npos);
      continue;
    }
    REQUIRE(loaded.ok());
    SequenceRequest beside = Greedy("tiny", 60, 2);
    beside.max_tokens = beside.allowance = 300;
    const Heard before = HearAll(*Submit(*pool, beside));
    const auto running = Submit(*pool, beside);  // Its state is taken out and put back.
    const Heard heard = HearAll(*Submit(*pool, Greedy("tiny:huge", 300)));
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(HearAll(*running).text == before.text);
    for (int i = 0; i < 4; ++i) CHECK(Distance(First(*pool, "tiny"), alone) <= Tolerance());
    const Heard again = HearAll(*Submit(*pool, Greedy("tiny:huge", 30)));
    CHECK(base::Message(again.end.status).find("tiny:huge gave numbers that are not finite") != std::string::npos);
  }
}

TEST_CASE("An adapter that is good does not suffer from the company that another tenant puts it in") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const auto pool = MakePool(Options(tiny, folder, "tiny"));
  Load(*pool, WriteAdapter(folder, TinyAdapter{.magnitude = 1e18F, .only = "ffn"}.For(tiny.Bytes()), "tiny", "huge")).IgnoreError();
  Load(*pool, WriteAdapter(folder, TinyAdapter{.seed = 3, .only = {}}.For(tiny.Bytes()), "tiny", "good", 0.5)).IgnoreError();
  const auto says = [&](const char* model, int tenant) {
    return std::string(base::Message(HearAll(*Submit(*pool, Greedy(model, 30, tenant))).end.status));
  };
  const auto alone = First(*pool, "tiny:good");
  CHECK_FALSE(says("tiny:good+huge", 2).empty());
  CHECK(says("tiny:good+huge", 2).find("used together no more") != std::string::npos);
  CHECK(Distance(First(*pool, "tiny:good"), alone) <= Tolerance());
  CHECK_FALSE(says("tiny:huge", 2).empty());
  CHECK(says("tiny:good+huge", 2).find("tiny:huge gave numbers that are not finite") != std::string::npos);
  CHECK(pool->Unload("tiny:huge", base::MonoTime::max()).ok());
  CHECK(Distance(First(*pool, "tiny:good"), alone) <= Tolerance());
}

// How a child ends that loads the adapter and decodes with it: 0 it answered, 1 refused, else the signal, negative.
int UseInChild(const ModelOptions& model, const AdapterOptions& adapter) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
    for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, SIG_DFL);
    alarm(60);
    const auto engine = MakeLlamaEngine(model, "");
    if (!engine.ok() || !(*engine)->CheckAdapter(adapter, INT64_MAX).ok()) _exit(1);
    const auto handle = (*engine)->AddAdapter(adapter);
    if (!handle.ok()) _exit(1);
    const std::vector<std::int32_t> prompt{5, 6, 7, 8};
    const std::vector<int> adapters{*handle};
    EngineSequence sequence;
    sequence.prompt_tokens = prompt;
    sequence.adapters = adapters;
    if (!(*engine)->Open(0, sequence).ok()) _exit(1);
    std::vector<EngineOutput> outputs;
    const EngineWork work{0, 4};
    const bool stepped = (*engine)->Step(std::span(&work, 1), outputs).ok();
    (*engine)->Close(0);
    (*engine)->RemoveAdapter(*handle);
    _exit(stepped ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_CASE("A spoilt adapter that our reader lets through does not end the process") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const tollgate::test::TempDir folder;
  int let_through = 0;
  for (const std::string architecture : {"llama", "deepseek2"}) {
    const TinyModel tiny(architecture);
    const ModelOptions model = Options(tiny, folder, "tiny");
    const auto base = ReadGguf(tiny.Bytes());
    const std::string sound = TinyAdapter{.only = {}}.For(tiny.Bytes());
    CHECK(UseInChild(model, WriteAdapter(folder, sound, "tiny", "sound")) == 0);
    const std::size_t head = sound.rfind(".lora_b") + 64;
    for (int round = 0; round < 6000 && let_through < 120; ++round) {
      std::string spoilt = sound;
      for (std::uint64_t n = 1 + random() % 2; n > 0; --n)
        spoilt[random() % head] = static_cast<char>(random() % 2 == 0 ? random() : random() % 8);
      if (spoilt == sound || !ReadAdapter(spoilt, *base).ok()) continue;
      ++let_through;
      const int end = UseInChild(model, WriteAdapter(folder, spoilt, "tiny", "spoilt"));
      std::size_t first = 0;
      while (spoilt[first] == sound[first]) ++first;
      INFO(architecture << " byte " << first);
      CHECK(end >= 0);
    }
  }
  CHECK(let_through > 30);
}

TEST_CASE("An adapter whose file is replaced after it was checked is not loaded") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const auto engine = MakeLlamaEngine(Options(tiny, folder, "tiny"), "");
  REQUIRE(engine.ok());
  const AdapterOptions adapter = WriteAdapter(folder, TinyAdapter{.seed = 3, .only = {}}.For(tiny.Bytes()), "tiny", "a");
  REQUIRE((*engine)->CheckAdapter(adapter, INT64_MAX).ok());
  WriteAdapter(folder, TinyAdapter{.seed = 4, .only = {}}.For(tiny.Bytes()), "tiny", "a");
  CHECK(absl::IsFailedPrecondition((*engine)->AddAdapter(adapter).status()));
  std::filesystem::remove(adapter.file);
  CHECK(absl::IsFailedPrecondition((*engine)->AddAdapter(adapter).status()));
  WriteAdapter(folder, TinyAdapter{.seed = 3, .only = {}}.For(tiny.Bytes()), "tiny", "a");
  CHECK((*engine)->AddAdapter(adapter).ok());
}

TEST_CASE("An adapter of the embedding is looked up and added, where the output is a weight of its own") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  test::Gguf file = TinyAdapter::Head("llama", 4);
  std::vector<float> a(2 * kTinyVocab, 0.5F), b(2 * 64, 0.25F);
  for (std::size_t i = 0; i < a.size(); i += 3) a[i] = -1;
  file.Values("token_embd.weight.lora_a", {2, kTinyVocab}, a).Values("token_embd.weight.lora_b", {2, 64}, b);
  CHECK(UseInChild(Options(tiny, folder, "tiny"), WriteAdapter(folder, file.Bytes(), "tiny", "embedding")) == 0);
}

}  // namespace
}  // namespace tollgate::inference
