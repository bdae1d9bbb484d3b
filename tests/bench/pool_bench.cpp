// pool: what the pool adds to libllama. Our Pool against a bare llama_decode loop of the same batch shape, on the same model, threads and
// token counts, in the same process, interleaved (A B B A). A ratio of 1 means that the scheduler, the sampler and the streams cost
// nothing.
//
//   pool.clientsN.ratio          the whole program: clients over gRPC, full governance, both sides greedy
//   pool.greedy.clientsN.ratio   both greedy
//   pool.sampled.clientsN.ratio  ours temperature 1, top_p 1; the loop greedy
//   pool.scripted.clientsN.tokens_per_second  the scripted engine: what the pool itself can carry
//
// Arguments choose parts: grpc, scripted, pool, or of one of them one number of clients, as pool16; none: all.
// TOLLGATE_BENCH_PAIRS (default 4: 8 runs of each side), TOLLGATE_BENCH_TOKENS (default 48 a client),
// TOLLGATE_BENCH_THREADS (default as the pool's: one a core but one).
#include <algorithm>
#include <chrono>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include "inference/pool.h"
#include "tests/bench/figures.h"
#include "tests/bench/pool_grpc.h"
#include "tests/bench/real_pool.h"

namespace tollgate::inference {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

[[noreturn]] void Fail(const std::string& why) {
  fmt::print(stderr, "pool_bench: {}\n", why);
  std::exit(1);
}

constexpr int kContext = 512;

// The bare side: one batch a step, one token a sequence, the likeliest next.
class BareLoop {
 public:
  BareLoop(int clients, int threads) : clients_(clients) {
    llama_model_params model_params = llama_model_default_params();
    model_ = llama_model_load_from_file(bench::kSmolLm2File.c_str(), model_params);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<std::uint32_t>(kContext * clients);
    params.n_batch = params.n_ubatch = 512;
    params.n_seq_max = static_cast<std::uint32_t>(clients);
    params.n_outputs_max = params.n_seq_max;
    params.kv_unified = false;
    params.no_perf = true;
    params.n_threads = params.n_threads_batch = threads;
    if (model_ != nullptr) context_ = llama_init_from_model(model_, params);
    if (context_ == nullptr) Fail("libllama cannot load " + bench::kSmolLm2File);
    vocab_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    batch_ = llama_batch_init(512, 0, 1);
    auto* registry = ggml_backend_dev_backend_reg(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    auto* make = reinterpret_cast<decltype(ggml_threadpool_new)*>(ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_new"));
    ggml_threadpool_params threadpool = ggml_threadpool_params_default(threads);
    llama_attach_threadpool(context_, make(&threadpool), nullptr);
  }

  double Run(const std::vector<std::int32_t>& prompt, int tokens) {
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
    const float* logits = llama_get_logits_ith(context_, row);
    return static_cast<std::int32_t>(std::max_element(logits, logits + vocab_) - logits);
  }

  int clients_;
  int vocab_ = 0;
  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
};

// Our side: as many streams, submitted together, each taken by the event until its end.
double RunPool(Pool& pool, const SequenceRequest& request, int clients) {
  const auto start = Clock::now();
  std::vector<std::thread> consumers;
  for (int c = 0; c < clients; ++c) {
    SequenceRequest own = request;
    own.sampling.seed = static_cast<std::uint64_t>(c);
    auto stream = pool.Submit(std::move(own));
    if (!stream.ok()) Fail(base::Message(stream.status()));
    consumers.emplace_back([stream = *std::move(stream)] {
      for (Piece piece;;) {
        const Taken taken = stream->Take(piece);
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
  return Seconds(start);
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

struct Spread {
  double median;
  double percent;
};
Spread Of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double median = values[values.size() / 2];
  return {median, 100 * (values[values.size() * 3 / 4] - values[values.size() / 4]) / median};
}

// A prompt after which the model does not end its turn soon. Each run has its own, of the same length, so that nothing is found cached.
std::string LongStory(int run) {
  return fmt::format("{:04} Write a very long story about a river, with every detail you can think of.", run);
}

void Measure(int clients, int threads, int pairs, int tokens) {
  PoolOptions options;
  ModelOptions& model = options.models.emplace_back();
  model.name = "smollm2";
  model.file = bench::kSmolLm2File;
  const auto digest = DigestOfFile(bench::kSmolLm2File);
  if (!digest.ok()) Fail(base::Message(digest.status()));
  model.sha256 = *digest;
  model.slots = clients;
  model.context_tokens = kContext;
  model.threads = threads;
  model.prefix_cache_bytes = 0;  // The bare loop works through every prompt, so we must.
  options.replica_nice = 0;
  auto pool = Pool::Create(std::move(options));
  if (!pool.ok()) Fail(base::Message(pool.status()));
  BareLoop bare(clients, threads);
  for (const bool sampled : {false, true}) {
    const SequenceRequest request = Ask(**pool, LongStory(0), tokens, sampled ? 1 : 0);
    RunPool(**pool, request, clients);
    bare.Run(request.prompt_tokens, tokens);
    std::vector<double> ratios;
    std::vector<double> rates;
    for (int pair = 0; pair < pairs; ++pair) {
      const double b1 = bare.Run(request.prompt_tokens, tokens);
      const double p1 = RunPool(**pool, request, clients);
      const double p2 = RunPool(**pool, request, clients);
      const double b2 = bare.Run(request.prompt_tokens, tokens);
      ratios.push_back(b1 / p1);
      ratios.push_back(b2 / p2);
      rates.push_back(clients * tokens / p1);
      rates.push_back(clients * tokens / p2);
    }
    const Spread ratio = Of(ratios);
    const std::string name = fmt::format("pool.{}.clients{}", sampled ? "sampled" : "greedy", clients);
    fmt::print("{}.ratio {:.3f} ratio spread {:.1f}%{}\n", name, ratio.median, ratio.percent, ratio.percent > 15 ? " unstable" : "");
    fmt::print("{}.tokens_per_second {:.1f} tokens/s\n", name, Of(rates).median);
    std::fflush(stdout);
  }
}

// The whole program against the bare loop.
void MeasureGrpc(int clients, int threads, int pairs, int tokens) {
  const auto prompt = [] {
    PoolOptions options;
    ModelOptions& model = options.models.emplace_back();
    model.name = "smollm2";
    model.file = bench::kSmolLm2File;
    model.sha256 = *DigestOfFile(bench::kSmolLm2File);
    auto pool = Pool::Create(std::move(options));
    if (!pool.ok()) Fail(base::Message(pool.status()));
    return Ask(**pool, LongStory(0), 1, 0).prompt_tokens;
  }();
  BareLoop bare(clients, threads);  // After a pool, which loads the backends.
  bench::PoolGrpc gateway(bench::kSmolLm2File, clients, kContext);
  int run = 0;
  gateway.Run(LongStory(++run), clients, tokens);
  bare.Run(prompt, tokens);
  std::vector<double> ratios, rates;
  for (int pair = 0; pair < pairs; ++pair) {
    const double b1 = bare.Run(prompt, tokens);
    const double g1 = gateway.Run(LongStory(++run), clients, tokens);
    const double g2 = gateway.Run(LongStory(++run), clients, tokens);
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
  model.slots = clients;
  model.context_tokens = 1 << 20;
  auto pool = Pool::Create(std::move(options));
  if (!pool.ok()) Fail(base::Message(pool.status()));
  const SequenceRequest request = Ask(**pool, fmt::format("!tokens {}", tokens), tokens, 0);
  std::vector<double> rates;
  for (int run = 0; run < 7; ++run) rates.push_back(clients * tokens / RunPool(**pool, request, clients));
  const Spread rate = Of(rates);
  fmt::print("pool.scripted.clients{}.tokens_per_second {:.0f} tokens/s spread {:.1f}%\n", clients, rate.median, rate.percent);
}

}  // namespace
}  // namespace tollgate::inference

int main(int argc, char** argv) {
  using namespace tollgate;
  using namespace tollgate::inference;
  const int as_the_pool = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1);
  const int threads = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_THREADS", as_the_pool));
  const int pairs = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_PAIRS", 4));
  const int tokens = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_TOKENS", 48));
  const std::set<std::string> parts(argv + 1, argv + argc);
  const auto Wanted = [&](const std::string& part, int clients) {
    return parts.empty() || parts.contains(part) || parts.contains(fmt::format("{}{}", part, clients));
  };
  for (const int clients : {1, 4, 8, 16}) {
    if (Wanted("grpc", clients)) MeasureGrpc(clients, threads, pairs, tokens);
  }
  for (const int clients : {1, 16}) {
    if (Wanted("scripted", clients)) MeasureScripted(clients, 200'000 / clients);
  }
  for (const int clients : {1, 4, 8, 16}) {
    if (Wanted("pool", clients)) Measure(clients, threads, pairs, tokens);
  }
}
