// How it works. Greedy is one pass for the maximum and one for its place. Otherwise: weights e^((l - max) / T), with their sums by
// blocks, in one pass (vocab_passes.h); min_p is a threshold on the weight. A draw from all walks the sums. top_k and top_p never sort the
// vocabulary: weights are counted into bins of equal width in log space (the exponent and first bits of the float), the bins are walked
// from the heaviest until the cut falls inside one, and only that bin's candidates are ordered. Ties go to the lower id. The draw is a
// hash of (seed, position): no state to rewind. With top_k it goes through the candidates in an order that is theirs alone, whatever else
// there was: so the greatest logits give the token that all would.
//
// Presence and frequency penalties look at the output, the repeat penalty at prompt and output, as OpenAI and vLLM define them.
//
// Tested by tests/inference/sampler_test.cpp.
#include "inference/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "inference/vocab_passes.h"

namespace tollgate::inference {
namespace {

using Candidate = SamplerScratch::Candidate;

absl::Status OutOfRange(const char* field, double value, const char* range) {
  return base::InvalidArgument(fmt::format("{} is {}; it must be {}", field, value, range));
}

// Uniform in (0, 1): splitmix64 of seed and position.
double Draw(std::uint64_t seed, std::int64_t position) {
  std::uint64_t z = seed + 0x9E3779B97F4A7C15ULL * (static_cast<std::uint64_t>(position) + 1);
  for (int round = 0; round < 2; ++round) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
  }
  return (static_cast<double>(z >> 11) + 0.5) * 0x1.0p-53;
}

bool Heavier(const Candidate& a, const Candidate& b) { return a.weight != b.weight ? a.weight > b.weight : a.token < b.token; }

// Bins of weights in (0, 1]: the float's exponent and two bits of its mantissa, the heaviest first.
constexpr int kBins = 512;
inline int BinOf(float weight) {
  const auto bits = std::bit_cast<std::uint32_t>(weight) >> 21;
  constexpr std::uint32_t kOne = 0x3F800000U >> 21;
  return static_cast<int>(bits >= kOne ? 0 : kOne - bits);
}

// Reduces `scratch.weights` to the heaviest `top_k`, then to the smallest set of at least `top_p` of their mass. Leaves them in
// `scratch.candidates` and returns their mass.
double Nucleus(SamplerScratch& scratch, std::int64_t top_k, double top_p, double total) {
  std::array<std::uint32_t, kBins> counts{};
  std::array<double, kBins> mass{};
  for (const float w : scratch.weights) {
    if (w <= 0) continue;
    const int bin = BinOf(w);
    ++counts[bin];
    mass[bin] += w;
  }
  // The last bin that can matter: the one in which both cuts could still fall.
  int last = 0;
  std::int64_t count = 0;
  double sum = 0;
  const double wanted = top_k > 0 ? std::numeric_limits<double>::infinity() : top_p * total;
  for (; last < kBins; ++last) {
    count += counts[last];
    sum += mass[last];
    if ((top_k > 0 && count >= top_k) || sum >= wanted) break;
  }
  last = std::min(last, kBins - 1);
  auto& kept = scratch.candidates;
  kept.clear();
  for (std::size_t i = 0; i < scratch.weights.size(); ++i) {
    const float w = scratch.weights[i];
    if (w > 0 && BinOf(w) <= last) kept.push_back({w, static_cast<std::int32_t>(i)});
  }
  // Those in the last bin decide where the cut is; order only them. For top_k the mass is known only after the cut.
  // top_k's keep their order, whatever else was in the last bin (SampleFrom).
  const auto above = [last](const Candidate& c) { return BinOf(c.weight) < last; };
  const auto edge = top_k > 0 ? std::stable_partition(kept.begin(), kept.end(), above) : std::partition(kept.begin(), kept.end(), above);
  std::sort(edge, kept.end(), Heavier);
  if (top_k > 0) {
    if (static_cast<std::int64_t>(kept.size()) > top_k) kept.resize(static_cast<std::size_t>(top_k));
    double mass_kept = 0;
    for (const Candidate& c : kept) mass_kept += c.weight;
    if (top_p >= 1) return mass_kept;
    std::sort(kept.begin(), kept.end(), Heavier);
    double cumulative = 0;
    std::size_t size = 0;
    while (size < kept.size() && cumulative < top_p * mass_kept) cumulative += kept[size++].weight;
    kept.resize(std::max<std::size_t>(size, 1));
    return size == 0 ? kept[0].weight : cumulative;
  }
  double cumulative = 0;
  for (auto it = kept.begin(); it != edge; ++it) cumulative += it->weight;
  auto it = edge;
  while (it != kept.end() && (cumulative < wanted || it == kept.begin())) cumulative += (it++)->weight;
  kept.erase(it, kept.end());
  return cumulative;
}

std::int32_t PickFromAll(std::span<const float> weights, std::span<const double> sums, double target) {
  std::int32_t last = -1;
  for (std::size_t block = 0; block < sums.size(); ++block) {
    if (sums[block] < target) {
      target -= sums[block];
      continue;
    }
    const std::size_t end = std::min((block + 1) * kWeighBlock, weights.size());
    for (std::size_t i = block * kWeighBlock; i < end; ++i) {
      if (weights[i] <= 0) continue;
      last = static_cast<std::int32_t>(i);
      target -= weights[i];
      if (target <= 0) return last;
    }
  }
  if (last >= 0) return last;
  return static_cast<std::int32_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
}

std::int32_t PickFrom(std::span<const Candidate> candidates, double target) {
  for (const Candidate& c : candidates) {
    target -= c.weight;
    if (target <= 0) return c.token;
  }
  return candidates.back().token;
}

}  // namespace

absl::Status CheckSampling(const SamplingParams& p) {
  if (!(p.temperature >= 0 && p.temperature <= 2)) return OutOfRange("temperature", p.temperature, "between 0 and 2");
  if (!(p.top_p > 0 && p.top_p <= 1)) return OutOfRange("top_p", p.top_p, "greater than 0 and at most 1");
  if (p.top_k < 0) return OutOfRange("top_k", p.top_k, "0 (all) or more");
  if (!(p.min_p >= 0 && p.min_p <= 1)) return OutOfRange("min_p", p.min_p, "between 0 and 1");
  if (!(p.presence_penalty >= -2 && p.presence_penalty <= 2)) return OutOfRange("presence_penalty", p.presence_penalty, "between -2 and 2");
  if (!(p.frequency_penalty >= -2 && p.frequency_penalty <= 2))
    return OutOfRange("frequency_penalty", p.frequency_penalty, "between -2 and 2");
  if (!(p.repeat_penalty >= 0.01 && p.repeat_penalty <= 2)) return OutOfRange("repeat_penalty", p.repeat_penalty, "between 0.01 and 2");
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingParams& params, std::span<const std::int32_t> prompt_tokens, std::span<const LogitBias> bias)
    : params_(params),
      penalties_(params.presence_penalty != 0 || params.frequency_penalty != 0 || params.repeat_penalty != 1),
      bias_(bias.begin(), bias.end()) {
  if (params.repeat_penalty == 1) return;
  prompt_tokens_.assign(prompt_tokens.begin(), prompt_tokens.end());
  std::sort(prompt_tokens_.begin(), prompt_tokens_.end());
  prompt_tokens_.erase(std::unique(prompt_tokens_.begin(), prompt_tokens_.end()), prompt_tokens_.end());
}

void Sampler::Accept(std::int32_t token) {
  banned_.clear();
  if (penalties_) ++output_counts_[token];
}

void Sampler::TakeBack(std::int32_t token) {
  const auto it = output_counts_.find(token);
  if (it != output_counts_.end() && --it->second == 0) output_counts_.erase(it);
}

void Sampler::Penalise(std::span<float> logits) const {
  const auto repeat = static_cast<float>(params_.repeat_penalty);
  const auto weaken = [&](std::int32_t token) { logits[token] = logits[token] > 0 ? logits[token] / repeat : logits[token] * repeat; };
  if (repeat != 1) {
    for (const std::int32_t token : prompt_tokens_) weaken(token);
  }
  for (const auto& [token, count] : output_counts_) {
    if (repeat != 1 && !std::binary_search(prompt_tokens_.begin(), prompt_tokens_.end(), token)) weaken(token);
    logits[token] -= static_cast<float>(params_.presence_penalty + params_.frequency_penalty * count);
  }
  for (const LogitBias& bias : bias_) logits[bias.token] += bias.bias;
  for (const std::int32_t token : banned_) logits[token] = -std::numeric_limits<float>::infinity();
}

absl::StatusOr<std::int32_t> Sampler::Sample(std::span<const float> logits, std::int64_t position, SamplerScratch& scratch) const {
  if (!plain()) {
    scratch.logits.assign(logits.begin(), logits.end());
    Penalise(scratch.logits);
    logits = scratch.logits;
  }
  return Choose(logits, position, scratch);
}

std::int64_t Sampler::deciding() const {
  if (penalties_ || !bias_.empty()) return 0;
  const std::int64_t chosen = params_.temperature == 0 ? 1 : params_.top_k;
  return chosen == 0 ? 0 : chosen + static_cast<std::int64_t>(banned_.size());
}

absl::StatusOr<std::int32_t> Sampler::SampleFrom(std::span<const std::int32_t> tokens, std::span<const float> logits, std::int64_t position,
                                                 SamplerScratch& scratch) const {
  auto& greatest = scratch.greatest;
  greatest.clear();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool banned = std::find(banned_.begin(), banned_.end(), tokens[i]) != banned_.end();
    greatest.push_back({banned ? -std::numeric_limits<float>::infinity() : logits[i], tokens[i]});
  }
  std::sort(greatest.begin(), greatest.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  scratch.logits.clear();
  for (const Candidate& candidate : greatest) scratch.logits.push_back(candidate.weight);
  TG_ASSIGN(const std::int32_t chosen, Choose(scratch.logits, position, scratch));
  return greatest[static_cast<std::size_t>(chosen)].token;
}

absl::StatusOr<std::int32_t> Sampler::Choose(std::span<const float> logits, std::int64_t position, SamplerScratch& scratch) const {
  const float max = Greatest(logits);
  const auto useless = [](const char* what) {
    return base::Internal(fmt::format("the model gave {}; its weights may be damaged: check the file's sha256", what));
  };
  if (std::isnan(max)) return useless("logits that are not numbers");
  if (!std::isfinite(max)) return useless("no finite logit");
  if (params_.temperature == 0 || params_.top_k == 1) {
    return static_cast<std::int32_t>(FirstOf(logits, max));
  }
  const auto scale = static_cast<float>(1.0 / std::max(params_.temperature, 1e-4));
  scratch.weights.resize(logits.size());
  scratch.sums.resize((logits.size() + kWeighBlock - 1) / kWeighBlock);
  Weigh(logits, max, scale, static_cast<float>(params_.min_p), scratch.weights, scratch.sums);
  const double total = std::accumulate(scratch.sums.begin(), scratch.sums.end(), 0.0);
  const double draw = Draw(params_.seed, position);
  if (params_.top_k == 0 && params_.top_p >= 1) return PickFromAll(scratch.weights, scratch.sums, draw * total);
  const bool every = params_.top_k >= static_cast<std::int64_t>(logits.size());
  const double mass = Nucleus(scratch, every ? 0 : params_.top_k, params_.top_p, total);
  return PickFrom(scratch.candidates, draw * mass);
}

}  // namespace tollgate::inference
