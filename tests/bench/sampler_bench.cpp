// sampler: what choosing a token costs, ours against libllama's own samplers, on the same logits, one thread, interleaved (A B B A).
// A vocabulary of 128,256 tokens, as Llama 3 has. libllama's side builds its candidate array for each token, as its callers do.
//
//   sampler.top_p.ratio    top_p 0.95 without top_k, temperature 1: ours / libllama's time; at most 0.2
//   sampler.plain.ratio    temperature 1 alone, what the OpenAI API defaults to
//   sampler.greedy.ratio   the likeliest token
//   sampler.NAME.us        ours, microseconds a token
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <llama.h>

#include "inference/sampler.h"
#include "tests/bench/figures.h"

namespace tollgate::inference {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kVocab = 128'256;
constexpr int kRows = 8;  // Different logits, so that nothing is learned of one.

struct ChainFree {
  void operator()(llama_sampler* chain) const { llama_sampler_free(chain); }
};
using Chain = std::unique_ptr<llama_sampler, ChainFree>;

// As models give them: most tokens unlikely, a few that matter.
std::vector<std::vector<float>> Logits() {
  std::mt19937_64 random(7);
  std::normal_distribution<float> body(0, 2);
  std::vector<std::vector<float>> rows(kRows, std::vector<float>(kVocab));
  for (auto& row : rows) {
    for (float& logit : row) logit = body(random);
    for (int i = 0; i < 40; ++i) row[random() % kVocab] += static_cast<float>(8 + i % 5);
  }
  return rows;
}

Chain MakeChain(const SamplingParams& params) {
  Chain chain(llama_sampler_chain_init(llama_sampler_chain_default_params()));
  if (params.temperature == 0) {
    llama_sampler_chain_add(chain.get(), llama_sampler_init_greedy());
    return chain;
  }
  if (params.top_p < 1) llama_sampler_chain_add(chain.get(), llama_sampler_init_top_p(static_cast<float>(params.top_p), 1));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_temp(static_cast<float>(params.temperature)));
  llama_sampler_chain_add(chain.get(), llama_sampler_init_dist(42));
  return chain;
}

double Theirs(llama_sampler* chain, const std::vector<std::vector<float>>& rows, int tokens) {
  std::vector<llama_token_data> candidates(kVocab);
  std::int64_t sum = 0;
  const auto start = Clock::now();
  for (int t = 0; t < tokens; ++t) {
    const auto& row = rows[static_cast<std::size_t>(t) % rows.size()];
    for (std::size_t i = 0; i < kVocab; ++i) candidates[i] = {static_cast<llama_token>(i), row[i], 0.0F};
    llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
    llama_sampler_apply(chain, &array);
    sum += array.data[array.selected].id;
  }
  const double took = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  if (sum < 0) bench::Fail("libllama chose no token");
  return took / tokens;
}

double Ours(const Sampler& sampler, const std::vector<std::vector<float>>& rows, int tokens, SamplerScratch& scratch) {
  std::int64_t sum = 0;
  const auto start = Clock::now();
  for (int t = 0; t < tokens; ++t) {
    const auto token = sampler.Sample(rows[static_cast<std::size_t>(t) % rows.size()], t, scratch);
    if (!token.ok()) bench::Fail("the sampler refused sound logits");
    sum += *token;
  }
  const double took = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  if (sum < 0) bench::Fail("the sampler chose no token");
  return took / tokens;
}

void Measure(const std::string& name, const SamplingParams& params, const std::vector<std::vector<float>>& rows) {
  const Chain chain = MakeChain(params);
  const Sampler sampler(params, {});
  SamplerScratch scratch;
  constexpr int kTokens = 50;
  Theirs(chain.get(), rows, 4);
  Ours(sampler, rows, 4, scratch);
  std::vector<double> ratios;
  std::vector<double> micros;
  for (int pair = 0; pair < 5; ++pair) {
    const double t1 = Theirs(chain.get(), rows, kTokens);
    const double o1 = Ours(sampler, rows, kTokens, scratch);
    const double o2 = Ours(sampler, rows, kTokens, scratch);
    const double t2 = Theirs(chain.get(), rows, kTokens);
    for (const double ratio : {o1 / t1, o2 / t2}) ratios.push_back(ratio);
    for (const double us : {o1, o2}) micros.push_back(us);
  }
  bench::PrintMedian("sampler." + name + ".ratio", ratios, "ratio", 3);
  bench::PrintMedian("sampler." + name + ".us", micros, "us", 0);
}

}  // namespace
}  // namespace tollgate::inference

int main() {
  using namespace tollgate::inference;
  const auto rows = Logits();
  SamplingParams nucleus;
  nucleus.top_p = 0.95;
  Measure("top_p", nucleus, rows);
  Measure("plain", SamplingParams{}, rows);
  SamplingParams greedy;
  greedy.temperature = 0;
  Measure("greedy", greedy, rows);
}
