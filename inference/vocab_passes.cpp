// How it works. Each loop is written once, for sixteen lanes whatever the processor's vectors hold, so that the compiler makes vector code
// of it and the order of additions is the same everywhere; multiplication and addition are never fused (a compiler's option, set where this
// file is built). The functions that differ only in the target that they are compiled for are chosen between when one is first needed.
//
// Tested by tests/inference/sampler_test.cpp.
#include "inference/vocab_passes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace tollgate::inference {
namespace {

constexpr std::size_t kLanes = 16;

// e^x for x <= 0; 0 below the smallest normal float.
[[gnu::always_inline]] inline float ExpOfNegative(float x) {
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits.
  const float clamped = x < -87.0F ? -87.0F : x;
  const float shifted = clamped * 1.44269504088896F + kRounder;
  const float whole = shifted - kRounder;
  const float r = clamped - whole * 0.693359375F + whole * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const float power = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) - 0x4B400000U + 127U) << 23);
  return x < -87.0F ? 0.0F : p * power;
}

[[gnu::always_inline]] inline bool AnyOdd(const float* values, std::size_t size) {  // That is no number, which no comparison finds.
  constexpr std::size_t kBlock = 64;
  std::size_t i = 0;
  for (; i + kBlock <= size; i += kBlock) {
    std::uint32_t odd = 0;
    for (std::size_t j = 0; j < kBlock; ++j) odd += values[i + j] != values[i + j] ? 1U : 0U;
    if (odd > 0) return true;
  }
  while (i < size && values[i] == values[i]) ++i;
  return i < size;
}

// Two passes: as one the compiler makes no vector code of them.
[[gnu::always_inline]] inline float GreatestLoop(const float* values, std::size_t size) {
  if (AnyOdd(values, size)) return std::numeric_limits<float>::quiet_NaN();
  std::array<float, kLanes> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
  }
  for (; i < size; ++i) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  return *std::max_element(lanes.begin(), lanes.end());
}

[[gnu::always_inline]] inline std::size_t FirstLoop(const float* values, std::size_t size, float value) {
  constexpr std::size_t kBlock = 64;
  std::size_t i = 0;
  for (; i + kBlock <= size; i += kBlock) {
    std::uint32_t equal = 0;
    for (std::size_t j = 0; j < kBlock; ++j) equal += values[i + j] == value ? 1U : 0U;
    if (equal > 0) break;
  }
  while (i < size && values[i] != value) ++i;
  return i;
}

// One block; returns its sum.
[[gnu::always_inline]] inline double WeighBlock(const float* __restrict logits, std::size_t size, float max, float scale, float least,
                                                float* __restrict weights) {
  for (std::size_t i = 0; i < size; ++i) {
    const float w = ExpOfNegative((logits[i] - max) * scale);
    weights[i] = w < least ? 0.0F : w;
  }
  std::array<float, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += weights[i + j];
  }
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  for (; i < size; ++i) sum += weights[i];
  return sum;
}

[[gnu::always_inline]] inline void WeighLoop(const float* __restrict logits, std::size_t size, float max, float scale, float least,
                                             float* __restrict weights, double* __restrict sums) {
  for (std::size_t at = 0; at < size; at += kWeighBlock)
    sums[at / kWeighBlock] = WeighBlock(logits + at, std::min(kWeighBlock, size - at), max, scale, least, weights + at);
}

struct Passes {
  float (*greatest)(const float*, std::size_t);
  std::size_t (*first)(const float*, std::size_t, float);
  void (*weigh)(const float*, std::size_t, float, float, float, float*, double*);
};

constexpr Passes kAny{[](const float* v, std::size_t n) { return GreatestLoop(v, n); },
                      [](const float* v, std::size_t n, float value) { return FirstLoop(v, n, value); },
                      [](const float* l, std::size_t n, float max, float scale, float least, float* w, double* s) {
                        WeighLoop(l, n, max, scale, least, w, s);
                      }};

#ifdef __x86_64__
[[gnu::target("avx2")]] float GreatestAvx2(const float* v, std::size_t n) { return GreatestLoop(v, n); }
[[gnu::target("avx2")]] std::size_t FirstAvx2(const float* v, std::size_t n, float value) { return FirstLoop(v, n, value); }
[[gnu::target("avx2")]] void WeighAvx2(const float* l, std::size_t n, float max, float scale, float least, float* w, double* s) {
  WeighLoop(l, n, max, scale, least, w, s);
}
[[gnu::target("avx512f")]] float GreatestAvx512(const float* v, std::size_t n) { return GreatestLoop(v, n); }
[[gnu::target("avx512f")]] std::size_t FirstAvx512(const float* v, std::size_t n, float value) { return FirstLoop(v, n, value); }
[[gnu::target("avx512f")]] void WeighAvx512(const float* l, std::size_t n, float max, float scale, float least, float* w, double* s) {
  WeighLoop(l, n, max, scale, least, w, s);
}
#endif

Passes Widest() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) return {GreatestAvx512, FirstAvx512, WeighAvx512};
  if (__builtin_cpu_supports("avx2")) return {GreatestAvx2, FirstAvx2, WeighAvx2};
#endif
  return kAny;
}

const Passes& Best() {
  static const Passes passes = Widest();
  return passes;
}

}  // namespace

float Greatest(std::span<const float> values) { return Best().greatest(values.data(), values.size()); }

std::size_t FirstOf(std::span<const float> values, float value) { return Best().first(values.data(), values.size(), value); }

void Weigh(std::span<const float> logits, float max, float scale, float least, std::span<float> weights, std::span<double> sums) {
  Best().weigh(logits.data(), logits.size(), max, scale, least, weights.data(), sums.data());
}

}  // namespace tollgate::inference
