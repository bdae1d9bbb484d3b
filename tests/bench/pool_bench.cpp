// pool: what the pool adds to libllama. Our Pool against a bare llama_decode loop of the same batch shape, on the same model, threads and
// token counts, in the same process, interleaved (A B B A). A ratio of 1 means that the scheduler, the sampler and the streams cost
// nothing.
//
//   pool.clientsN.ratio          the whole program: clients over gRPC, full governance, both sides greedy; nothing is found cached, or the
//                                program ends
//   pool.greedy.clientsN.ratio   both greedy
//   pool.sampled.clientsN.ratio  ours temperature 1, top_p 1; the loop greedy
//   pool.NAME.clientsN.efficiency             the engine's share of the pool's time; sampling is the engine's
//   pool.process.clientsN.ratio               pool.isolation: process ÷ thread, greedy, one beside the other
//   pool.device_sampling.clientsN.ratio       on a GPU: pool.device_sampling: auto ÷ off, greedy, one beside the other
//   pool.bare.clientsN.tokens_per_second      the loop
//   pool.decode.clientsN.tokens_per_second    the loop without choosing tokens: what libllama can give at best
//   pool.scripted.clientsN.tokens_per_second  the scripted engine: what the pool itself can carry
//   pool.clientsN.device_memory_ratio         on a GPU: what a model took of it ÷ what was reckoned before it was loaded
//
// `pool_bench alone [N…]`: only what needs no gateway, and no database, with so many clients (default 1 4 8 16). TOLLGATE_BENCH_MODEL:
// real_pool.h. TOLLGATE_BENCH_PAIRS (default 4: 8 runs of each side), TOLLGATE_BENCH_TOKENS (default 48 a client), TOLLGATE_BENCH_THREADS
// (default as the pool's).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include "inference/pool.h"
#include "inference/vocab_passes.h"
#include "inference/worker/process.h"
#include "inference/worker/serve.h"
#include "tests/bench/figures.h"
#include "tests/bench/pool_grpc.h"
#include "tests/bench/real_pool.h"

namespace tollgate::inference {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

[[noreturn]] void Fail(const std::string& why) {
  fmt::print(stderr, "pool_bench: {}\n", why);
  std::_Exit(1);  // Threads compute still.
}

constexpr int kContext = 512;

// The bare side: one batch a step, one token a sequence, the likeliest next.
class BareLoop {
 public:
  BareLoop(int clients, int threads) : clients_(clients) {
    llama_model_params model_params = llama_model_default_params();
    model_ = llama_model_load_from_file(bench::ModelFile().c_str(), model_params);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<std::uint32_t>(kContext * clients);
    params.n_batch = params.n_ubatch = 512;
    params.n_seq_max = static_cast<std::uint32_t>(clients);
    params.n_outputs_max = params.n_seq_max;
    params.kv_unified = false;
    params.no_perf = true;
    params.n_threads = params.n_threads_batch = threads;
    if (model_ != nullptr) context_ = llama_init_from_model(model_, params);
    if (context_ == nullptr) Fail("libllama cannot load " + bench::ModelFile());
    vocab_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    batch_ = llama_batch_init(512, 0, 1);
    auto* registry = ggml_backend_dev_backend_reg(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    auto* make = reinterpret_cast<decltype(ggml_threadpool_new)*>(ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_new"));
    ggml_threadpool_params threadpool = ggml_threadpool_params_default(threads);
    llama_attach_threadpool(context_, make(&threadpool), nullptr);
  }

  ~BareLoop() {
    llama_detach_threadpool(context_);
    llama_batch_free(batch_);
    llama_free(context_);
    llama_model_free(model_);
  }

  // Seconds. Without `choosing`, every token is the prompt's first.
  double Run(const std::vector<std::int32_t>& prompt, int tokens, bool choosing = true) {
    choosing_ = choosing;
    const auto start = Clock::now();
    std::vector<std::int32_t> next(static_cast<std::size_t>(clients_));
    for (int c = 0; c < clients_; ++c) {
      batch_.n_tokens = 0;
      for (std::size_t i = 0; i < prompt.size(); ++i) Add(prompt[i], static_cast<int>(i), c, i + 1 == prompt.size());
      Decode();
      next[static_cast<std::size_t>(c)] = Greedy(batch_.n_tokens - 1);
    }
    for (int t = 1; t < tokens; ++t) {
      batch_.n_tokens = 0;
      for (int c = 0; c < clients_; ++c) Add(next[static_cast<std::size_t>(c)], static_cast<int>(prompt.size()) + t - 1, c, true);
      Decode();
      for (int c = 0; c < clients_; ++c) next[static_cast<std::size_t>(c)] = Greedy(c);
    }
    const double took = Seconds(start);
    llama_memory_clear(llama_get_memory(context_), false);
    return took;
  }

 private:
  void Add(std::int32_t token, int position, int sequence, bool output) {
    const int i = batch_.n_tokens++;
    batch_.token[i] = token;
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = sequence;
    batch_.logits[i] = output ? 1 : 0;
  }
  void Decode() {
    if (llama_decode(context_, batch_) != 0) Fail("llama_decode failed");
    llama_synchronize(context_);
  }
  std::int32_t Greedy(int row) {
    if (!choosing_) return batch_.token[0];
    const std::span<const float> logits(llama_get_logits_ith(context_, row), static_cast<std::size_t>(vocab_));
    return static_cast<std::int32_t>(FirstOf(logits, Greatest(logits)));
  }

  int clients_;
  int vocab_ = 0;
  bool choosing_ = true;
  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
};

// Our side: as many streams, submitted together, each taken by the event until its end. Nothing if the model ended a turn before its time,
// as it may where tokens are drawn.
std::optional<double> TryPool(Pool& pool, const SequenceRequest& request, int clients) {
  static std::uint64_t seed = 0;
  const auto start = Clock::now();
  std::vector<std::thread> consumers;
  std::atomic<bool> whole{true};
  for (int c = 0; c < clients; ++c) {
    SequenceRequest own = request;
    own.sampling.seed = ++seed;
    auto stream = pool.Submit(std::move(own));
    if (!stream.ok()) Fail(base::Message(stream.status()));
    consumers.emplace_back([stream = *std::move(stream), tokens = request.max_tokens, &whole] {
      for (Piece piece;;) {
        const Taken taken = stream->Take(piece);
        if (taken == Taken::kEnd && stream->end().tokens_decoded != tokens) whole = false;
        if (taken == Taken::kEnd) return;
        if (taken != Taken::kEmpty) continue;
        const auto ready = std::make_shared<std::atomic<bool>>(false);
        stream->NotifyOnce([ready] {
          ready->store(true);
          ready->notify_one();
        });
        ready->wait(false);
      }
    });
  }
  for (std::thread& consumer : consumers) consumer.join();
  return whole ? std::optional(Seconds(start)) : std::nullopt;
}

double RunPool(Pool& pool, const SequenceRequest& request, int clients) {
  for (int tries = 0; tries < 20; ++tries) {
    if (const auto took = TryPool(pool, request, clients)) return *took;
  }
  Fail("the model ends its turn before it has given so many tokens");
}

SequenceRequest Ask(const Pool& pool, const std::string& text, int tokens, double temperature) {
  SequenceRequest request;
  request.model = pool.models()[0].name;
  const Turn turn{"user", "", text};
  auto prompt = pool.Render(request.model, std::span(&turn, 1));
  if (!prompt.ok()) Fail(base::Message(prompt.status()));
  request.prompt_tokens = *std::move(prompt);
  request.sampling.temperature = temperature;
  request.max_tokens = tokens;
  request.allowance = tokens;
  return request;
}

// After this the model does not end its turn soon.
constexpr char kLongStory[] = "0000 Write a very long story about a river, with every detail you can think of.";

// What is free on all GPUs.
std::int64_t DeviceFree() {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    std::size_t free = 0, total = 0;
    if (ggml_backend_dev_type(ggml_backend_dev_get(i)) != GGML_BACKEND_DEVICE_TYPE_GPU) continue;
    ggml_backend_dev_memory(ggml_backend_dev_get(i), &free, &total);
    sum += static_cast<std::int64_t>(free);
  }
  return sum;
}

// Once a model was loaded, whose first costs what libllama keeps.
void PrintDeviceMemory(const Pool& pool, int clients, std::int64_t free_before) {
  const std::int64_t reckoned = pool.models()[0].device_memory_bytes;
  if (reckoned == 0) return;
  const auto took = static_cast<double>(free_before - DeviceFree());
  bench::Print(fmt::format("pool.clients{}.device_memory_ratio", clients), took / static_cast<double>(reckoned), "ratio", 3);
}

std::unique_ptr<Pool> MakePool(int clients, int threads, Isolation isolation = Isolation::kThread,
                               DeviceSampling device_sampling = DeviceSampling::kOff) {
  ModelOptions model;
  model.slots = bench::SlotsFor(clients);
  model.context_tokens = kContext;
  model.threads = threads;
  model.prefix_cache_bytes = 0;  // The bare loop works through every prompt, so we must.
  model.device_sampling = device_sampling;
  return bench::MakeModelPool(std::move(model), isolation);
}

void Measure(int clients, int threads, int pairs, int tokens) {
  const std::int64_t free_before = DeviceFree();
  const auto pool = MakePool(clients, threads);
  PrintDeviceMemory(*pool, clients, free_before);
  BareLoop bare(clients, threads);
  for (const bool sampled : {false, true}) {
    const SequenceRequest request = Ask(*pool, kLongStory, tokens, sampled ? 1 : 0);
    RunPool(*pool, request, clients);
    bare.Run(request.prompt_tokens, tokens);
    std::vector<double> ratios, rates, bare_rates, decode_rates;
    for (int pair = 0; pair < pairs; ++pair) {
      const double b1 = bare.Run(request.prompt_tokens, tokens);
      const double p1 = RunPool(*pool, request, clients);
      const double p2 = RunPool(*pool, request, clients);
      const double b2 = bare.Run(request.prompt_tokens, tokens);
      for (const double ratio : {b1 / p1, b2 / p2}) ratios.push_back(ratio);
      for (const double took : {p1, p2}) rates.push_back(clients * tokens / took);
      for (const double took : {b1, b2}) bare_rates.push_back(clients * tokens / took);
      if (!sampled) decode_rates.push_back(clients * tokens / bare.Run(request.prompt_tokens, tokens, false));
    }
    const std::string name = fmt::format("pool.{}.clients{}", sampled ? "sampled" : "greedy", clients);
    bench::PrintMedian(name + ".ratio", ratios, "ratio", 3);
    bench::PrintMedian(name + ".tokens_per_second", rates, "tokens/s", 1);
    bench::Print(name + ".efficiency", pool->stats()[0].efficiency, "ratio", 3);
    if (sampled) continue;
    bench::PrintMedian(fmt::format("pool.bare.clients{}.tokens_per_second", clients), bare_rates, "tokens/s", 1);
    bench::PrintMedian(fmt::format("pool.decode.clients{}.tokens_per_second", clients), decode_rates, "tokens/s", 1);
  }
}

// A pool of another kind beside the usual one: how fast it is, in all and by that one.
void MeasureBeside(const char* name, Pool& other, int clients, int threads, int pairs, int tokens) {
  const auto usual = MakePool(clients, threads);
  const SequenceRequest request = Ask(*usual, kLongStory, tokens, 0);
  RunPool(*usual, request, clients);
  RunPool(other, request, clients);
  std::vector<double> ratios, rates;
  for (int pair = 0; pair < 2 * pairs; ++pair) {
    const double u1 = RunPool(*usual, request, clients);
    const double o1 = RunPool(other, request, clients);
    const double o2 = RunPool(other, request, clients);
    const double u2 = RunPool(*usual, request, clients);
    for (const double ratio : {u1 / o1, u2 / o2}) ratios.push_back(ratio);
    for (const double took : {o1, o2}) rates.push_back(clients * tokens / took);
  }
  bench::PrintMedian(fmt::format("pool.{}.clients{}.ratio", name, clients), ratios, "ratio", 3);
  bench::PrintMedian(fmt::format("pool.{}.clients{}.tokens_per_second", name, clients), rates, "tokens/s", 1);
}

// What it costs that the engine is in another process.
void MeasureProcess(int clients, int threads, int pairs, int tokens) {
  const auto apart = MakePool(clients, threads, Isolation::kProcess);
  MeasureBeside("process", *apart, clients, threads, pairs, tokens);
}

// What it saves that a GPU finds the greatest logits.
void MeasureDeviceSampling(int clients, int threads, int pairs, int tokens) {
  if (DeviceFree() == 0) return;
  const auto pool = MakePool(clients, threads, Isolation::kThread, DeviceSampling::kAuto);
  MeasureBeside("device_sampling", *pool, clients, threads, pairs, tokens);
  if (pool->stats()[0].device_sampled == 0) Fail("the device does not sample");
}

// The whole program against the bare loop.
void MeasureGrpc(int clients, int threads, int pairs, int tokens) {
  // A pool comes first: it loads the backends.
  const std::vector<std::int32_t> prompt = Ask(*MakePool(1, threads), kLongStory, 1, 0).prompt_tokens;
  BareLoop bare(clients, threads);
  bench::PoolGrpc gateway(bench::ModelFile(), bench::SlotsFor(clients), kContext);
  gateway.Run(kLongStory, prompt.size(), clients, tokens);
  bare.Run(prompt, tokens);
  std::vector<double> ratios, rates;
  for (int pair = 0; pair < pairs; ++pair) {
    const double b1 = bare.Run(prompt, tokens);
    const double g1 = gateway.Run(kLongStory, prompt.size(), clients, tokens);
    const double g2 = gateway.Run(kLongStory, prompt.size(), clients, tokens);
    const double b2 = bare.Run(prompt, tokens);
    for (const double ratio : {b1 / g1, b2 / g2}) ratios.push_back(ratio);
    for (const double took : {g1, g2}) rates.push_back(clients * tokens / took);
  }
  const std::string name = fmt::format("pool.clients{}", clients);
  bench::PrintMedian(name + ".ratio", ratios, "ratio", 3);
  bench::PrintMedian(name + ".tokens_per_second", rates, "tokens/s", 1);
}

void MeasureScripted(int clients, int tokens) {
  PoolOptions options;
  ModelOptions& model = options.models.emplace_back();
  model.name = "script";
  model.engine = EngineKind::kScripted;
  model.slots = bench::SlotsFor(clients);
  model.context_tokens = 1 << 20;
  auto pool = Pool::Create(std::move(options));
  if (!pool.ok()) Fail(base::Message(pool.status()));
  const SequenceRequest request = Ask(**pool, fmt::format("!tokens {}", tokens), tokens, 0);
  std::vector<double> rates;
  for (int run = 0; run < 7; ++run) rates.push_back(clients * tokens / RunPool(**pool, request, clients));
  bench::PrintMedian(fmt::format("pool.scripted.clients{}.tokens_per_second", clients), rates, "tokens/s", 0);
}

}  // namespace
}  // namespace tollgate::inference

int main(int argc, char** argv) {
  using namespace tollgate;
  using namespace tollgate::inference;
  if (argc > 1 && std::string(argv[1]) == kWorkerCommand) return ServeWorker();
  int threads = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_THREADS", 0));
  const int pairs = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_PAIRS", 4));
  const int tokens = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_TOKENS", 48));
  const bool alone = argc > 1 && std::string(argv[1]) == "alone";
  {
    const auto first = MakePool(1, threads);  // What libllama sets up once is no part of a figure.
    fmt::print(stderr, "pool_bench: {} on {}\n", bench::ModelFile(), first->models()[0].engine_build);
    const int spare = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1);
    if (threads == 0) threads = first->models()[0].device_memory_bytes > 0 ? std::min(4, spare) : spare;
  }
  std::vector<int> counts = {1, 4, 8, 16};
  if (argc > 2) counts.clear();
  for (int i = 2; i < argc; ++i) counts.push_back(std::clamp(std::atoi(argv[i]), 1, 255));
  for (const int clients : counts) {
    if (!alone) MeasureGrpc(clients, threads, pairs, tokens);
  }
  for (const int clients : {1, 16}) MeasureScripted(clients, 200'000 / clients);
  for (const int clients : counts) Measure(clients, threads, pairs, tokens);
  for (const int clients : counts) MeasureProcess(clients, threads, pairs, tokens);
  for (const int clients : counts) MeasureDeviceSampling(clients, threads, pairs, tokens);
}
