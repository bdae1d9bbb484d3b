// What benchmarks of the real model share: the file, tenants by number, and a pool of it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "inference/pool.h"
#include "tests/bench/figures.h"

namespace tollgate::bench {

inline const std::string kSmolLm2File = std::string(TOLLGATE_SOURCE_DIR) + "/build/setup/models/SmolLM2-135M-Instruct.Q4_1.gguf";

inline base::TeamId Team(std::uint8_t number) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[15] = number;
  return base::TeamId(base::Uuid(bytes));
}

// `model` says how it runs; name and file are set here.
inline std::unique_ptr<inference::Pool> MakeSmolLm2Pool(inference::ModelOptions model) {
  model.name = "smollm2";
  model.file = kSmolLm2File;
  model.sha256 = *inference::DigestOfFile(kSmolLm2File);
  inference::PoolOptions options;
  options.models.push_back(std::move(model));
  options.replica_nice = 0;
  auto pool = inference::Pool::Create(std::move(options));
  if (!pool.ok()) Fail(base::Message(pool.status()));
  return *std::move(pool);
}

}  // namespace tollgate::bench
