// What benchmarks of a real model share: the file, tenants by number, and a pool of it.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "inference/pool.h"
#include "tests/bench/figures.h"
#include "tests/bench/random_model.h"

namespace tollgate::bench {

// The model that is measured: SmolLM2, which scripts/setup brings, or TOLLGATE_BENCH_MODEL: a GGUF file, or a name of random_model.h.
inline const std::string& ModelFile() {
  static const std::string file = [] {
    const char* asked = std::getenv("TOLLGATE_BENCH_MODEL");
    if (asked == nullptr || *asked == 0) return std::string(TOLLGATE_SOURCE_DIR) + "/build/setup/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    return std::string(asked).ends_with(".gguf") ? std::string(asked) : RandomModelFile(asked);
  }();
  return file;
}

inline const base::Digest& ModelDigest() {
  static const base::Digest digest = [] {
    const auto read = inference::DigestOfFile(ModelFile());
    if (!read.ok()) Fail(base::Message(read.status()));
    return *read;
  }();
  return digest;
}

inline base::TeamId Team(std::uint8_t number) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[15] = number;
  return base::TeamId(base::Uuid(bytes));
}

// Slots in which so many of one tenant's clients run at once: of four or more the last is kept for a tenant that holds none.
constexpr int SlotsFor(int clients) { return clients < 4 ? clients : clients + 1; }

// `model` says how it runs; name and file are set here. With TOLLGATE_GPU=required, as scripts/gpu-check sets it, it must be on a GPU.
inline std::unique_ptr<inference::Pool> MakeModelPool(inference::ModelOptions model,
                                                      inference::Isolation isolation = inference::Isolation::kThread) {
  model.name = "model";
  model.file = ModelFile();
  model.sha256 = ModelDigest();
  inference::PoolOptions options;
  options.models.push_back(std::move(model));
  options.replica_nice = 0;
  options.isolation = isolation;
  auto pool = inference::Pool::Create(std::move(options));
  if (!pool.ok()) Fail(base::Message(pool.status()));
  const inference::ModelInfo info = (*pool)->models()[0];
  const char* gpu = std::getenv("TOLLGATE_GPU");
  if (gpu != nullptr && std::string_view(gpu) == "required" && info.device_memory_bytes == 0)
    Fail("TOLLGATE_GPU=required, and the model is on no GPU: " + info.engine_build);
  return *std::move(pool);
}

}  // namespace tollgate::bench
