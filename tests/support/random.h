// Seeds and loop counts of property tests. Print the seed: `INFO("TOLLGATE_SEED=" << seed)`; setting it in the environment repeats a run.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace tollgate::test {

inline std::uint64_t Seed() {
  const char* text = std::getenv("TOLLGATE_SEED");
  return text != nullptr ? std::stoull(text) : std::random_device()();
}

// How often a randomised fault is tried: 25, or TOLLGATE_LOOPS (`make soak` sets 200).
inline int Loops() {
  const char* text = std::getenv("TOLLGATE_LOOPS");
  return text != nullptr ? std::stoi(text) : 25;
}

}  // namespace tollgate::test
