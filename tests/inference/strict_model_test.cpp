// What strict answers are for: made again alone, they are the same token by token and, on one processor, to the last bit of their
// log-probabilities, whatever ran beside them or before. With tiny models of random weights.
#include <catch2/catch_test_macros.hpp>

#include <bit>

#include "inference/make_pool.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_adapter.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Submit;
using test::Team;
using test::TinyAdapter;
using test::TinyModel;
using test::WriteAdapter;

ModelOptions Options(const TinyModel& tiny, const tollgate::test::TempDir& folder, KvType kv = KvType::kF32) {
  ModelOptions model = tiny.WriteTo(folder);
  model.name = "tiny";
  model.kv = kv;
  model.strict = true;
  return model;
}

SequenceRequest Request(std::size_t prompt_tokens, std::uint64_t seed, int tenant = 1) {
  SequenceRequest request;
  request.model = "tiny";
  request.tenant = Team(tenant);
  for (std::size_t i = 0; i < prompt_tokens; ++i) request.prompt_tokens.push_back(static_cast<std::int32_t>(5 + (i * 7 + i / 11) % 250));
  request.sampling.seed = seed;
  request.max_tokens = request.allowance = 24;
  request.logprobs = 3;
  return request;
}

SequenceRequest Strict(std::size_t prompt_tokens, std::uint64_t seed) {
  SequenceRequest request = Request(prompt_tokens, seed);
  request.strict = true;
  return request;
}

// Each token with the bits of its log-probability and of those beside it.
using Told = std::vector<std::pair<std::int32_t, std::uint32_t>>;

Told ToldBy(const Heard& heard) {
  INFO(base::Message(heard.end.status));
  CHECK(heard.end.status.ok());
  Told told;
  for (const Piece& piece : heard.pieces) {
    for (const OutputToken& token : piece.tokens) {
      told.emplace_back(token.id, std::bit_cast<std::uint32_t>(token.logprob));
      for (const auto& other : token.top) told.emplace_back(other.id, std::bit_cast<std::uint32_t>(other.logprob));
    }
  }
  return told;
}

Told Alone(Pool& pool, const SequenceRequest& request) { return ToldBy(HearAll(*Submit(pool, request))); }

// Keeps the model's other replica busy with several at once.
class Busy {
 public:
  explicit Busy(Pool& pool) {
    for (int i = 0; i < 3; ++i) threads_.emplace_back([this, &pool, i] { Ask(pool, i); });
    while (answered_.load() < 6) std::this_thread::yield();
  }
  ~Busy() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Ask(Pool& pool, int caller) {
    for (std::size_t round = 0; !over_; ++round) {
      const auto stream = pool.Submit(Request(20 + 31 * (round % 7), round, 2 + caller));
      Heard heard;
      if (stream.ok()) test::Hear(**stream, heard);
      ++answered_;
    }
  }

  std::atomic<bool> over_{false};
  std::atomic<int> answered_{0};
  std::vector<std::thread> threads_;
};

TEST_CASE("Beside slots that share cells a strict answer is what it is beside slots of their own, to the last bit") {
  const tollgate::test::TempDir folder, again;
  const TinyModel tiny("llama");
  ModelOptions shares = Options(tiny, folder);
  shares.kv_tokens = shares.context_tokens + 40;
  const auto pool = MakePool(shares), own = MakePool(Options(tiny, again));
  const Busy others(*pool);
  for (const std::size_t tokens : {1, 129, 300}) {
    CHECK(Alone(*pool, Strict(tokens, tokens)) == Alone(*own, Strict(tokens, tokens)));
  }
  const ReplicaStats strict = pool->stats().at(1);
  CHECK(strict.kv_tokens_total == shares.context_tokens);
  CHECK(strict.preemptions == 0);
}

TEST_CASE("A strict answer made while others run is made again alone, in another pool, to the last bit") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    for (const KvType kv : {KvType::kF32, KvType::kF16}) {
      INFO(architecture << " " << Name(kv));
      const tollgate::test::TempDir folder, again;
      const TinyModel tiny(architecture);
      const std::size_t prompts[] = {1, 2, 127, 128, 129, 300, 128, 7};
      std::vector<Told> busy;
      {
        const auto pool = MakePool(Options(tiny, folder, kv));
        const Busy others(*pool);
        for (const std::size_t tokens : prompts) busy.push_back(Alone(*pool, Strict(tokens, tokens)));
        CHECK(pool->stats().at(1).cached_tokens == 0);
        CHECK(pool->stats().at(1).prompt_tokens == 1 + 2 + 127 + 128 + 129 + 300 + 128 + 7);
      }
      const auto pool = MakePool(Options(tiny, again, kv));
      for (std::size_t i = std::size(prompts); i-- > 0;) {
        INFO(prompts[i] << " prompt tokens");
        CHECK(busy[i].size() > 1);
        CHECK(Alone(*pool, Strict(prompts[i], prompts[i])) == busy[i]);
      }
      CHECK(busy[3] == busy[6]);
    }
  }
}

TEST_CASE("An allowance that is met, a consumer that waits and an answer that was cut change nothing of the tokens that come") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  ModelOptions options = Options(tiny, folder);
  options.stream_buffer_bytes = 1;
  const auto pool = MakePool(options);
  const Told whole = Alone(*pool, Strict(150, 3));
  SequenceRequest cut = Strict(150, 3);
  cut.allowance = 9, cut.allowance_final = true;
  const Told part = Alone(*pool, cut);
  REQUIRE(part.size() < whole.size());
  CHECK(std::equal(part.begin(), part.end(), whole.begin()));
  SequenceRequest parks = Strict(150, 3);
  parks.allowance = 1;
  const auto stream = Submit(*pool, parks);
  Heard heard;
  for (std::int64_t allowed = 1; test::Hear(*stream, heard) == Taken::kParked;) stream->Allow(++allowed, false);
  CHECK(ToldBy(heard) == whole);
}

TEST_CASE("Stop strings, JSON, a grammar, bias and penalties are part of what is made again") {
  const tollgate::test::TempDir folder, again;
  const TinyModel tiny("llama");
  const auto pool = MakePool(Options(tiny, folder)), other = MakePool(Options(tiny, again));
  const auto with = [&](auto change) {
    SequenceRequest request = Strict(60, 5);
    change(request);
    const Told told = Alone(*pool, request);
    CHECK(Alone(*other, request) == told);
    return told;
  };
  const Told plain = with([](SequenceRequest&) {});
  CHECK(with([](SequenceRequest& r) { r.json = true; }) != plain);
  CHECK(with([](SequenceRequest& r) { r.grammar = "root ::= [a-f]+"; }) != plain);
  CHECK(with([&](SequenceRequest& r) { r.logit_bias = {{plain[0].first, -100}}; }) != plain);
  CHECK(with([](SequenceRequest& r) { r.sampling.seed = 6; }) != plain);
  with([](SequenceRequest& r) { r.stop = {"a", "e", "\n"}; });
  with([](SequenceRequest& r) { r.sampling.frequency_penalty = 1.5, r.sampling.top_p = 0.8, r.sampling.min_p = 0.01; });
}

TEST_CASE("Adapters act in strict answers, to the last bit; other adapters and other weights give others") {
  const tollgate::test::TempDir folder, again;
  const TinyModel tiny("llama");
  const auto pool = MakePool(Options(tiny, folder)), other = MakePool(Options(tiny, again));
  const std::string bytes = TinyAdapter{.seed = 3, .only = {}}.For(tiny.Bytes());
  for (Pool* one : {pool.get(), other.get()})
    REQUIRE(one->LoadAdapter(WriteAdapter(one == pool.get() ? folder : again, bytes, "tiny", "a", 0.5)).ok());
  SequenceRequest request = Strict(140, 9);
  const Told without = Alone(*pool, request);
  request.model = "tiny:a";
  const Told told = Alone(*pool, request);
  CHECK(told != without);
  {
    const Busy others(*other);
    CHECK(Alone(*other, request) == told);
    CHECK(Alone(*other, Strict(140, 9)) == without);
  }
  const tollgate::test::TempDir third;
  const auto weights = MakePool(Options(TinyModel("llama", 2), third));
  CHECK(Alone(*weights, Strict(140, 9)) != without);
  CHECK(weights->models()[0].sha256 != pool->models()[0].sha256);
  CHECK(weights->models()[0].strict == pool->models()[0].strict);
}

TEST_CASE("What a model with strict answers takes is reckoned before it is loaded: two copies, refused in numbers") {
  if (test::OnGpu()) SKIP("contexts are in the GPU's memory");
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  ModelOptions model = Options(tiny, folder);
  model.prefix_cache_bytes = 0;
  std::int64_t both = 0, one = 0;
  {
    const auto pool = MakePool(model);
    both = pool->models()[0].memory_bytes;
    model.strict = false;
    one = MakePool(model)->models()[0].memory_bytes;
  }
  CHECK(both > one + static_cast<std::int64_t>(tiny.Bytes().size()));
  model.strict = true;
  for (const bool limited : {true, false}) {  // Else what the machine says, which does not see what the first copy took.
    INFO(limited);
    const auto with = [limited](std::int64_t bytes) {
      PoolOptions options;
      options.memory_bytes = limited ? bytes : 0;
      return *CreatePool(options, [bytes] { return bytes; });
    };
    const auto pool = with(both - 1);
    for (const absl::Status& refused : {pool->Check(model), pool->Load(model)}) {
      CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
      CHECK(base::Message(refused).find("its second copy, for strict answers: it needs about") != std::string::npos);
    }
    CHECK(pool->models().empty());
    CHECK(with(both)->Load(model).ok());
  }
}

}  // namespace
}  // namespace tollgate::inference
