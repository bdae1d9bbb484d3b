// What the pool's tests share: a small language for pools, requests and streams. Waits end by an event; a wait that lasts for minutes fails
// the test.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/clock.h"
#include "base/uuid.h"
#include "inference/pool.h"
#include "tests/support/random.h"

namespace tollgate::inference::test {

using tollgate::test::Seed;

struct Heard {
  std::string text;
  std::vector<Piece> pieces;
  int parks = 0;
  StreamEnd end;
};

// Takes until something other than text comes.
inline Taken Hear(TokenStream& stream, Heard& heard) {
  for (;;) {
    Piece piece;
    const Taken taken = stream.Take(piece);
    if (taken == Taken::kPiece) {
      heard.text += piece.text;
      heard.pieces.push_back(piece);
      continue;
    }
    if (taken == Taken::kParked) ++heard.parks;
    if (taken == Taken::kEnd) heard.end = stream.end();
    if (taken != Taken::kEmpty) return taken;
    struct Signal {
      std::mutex mu;
      std::condition_variable cv;
      bool set = false;
    };
    const auto signal = std::make_shared<Signal>();
    stream.NotifyOnce([signal] {
      {
        std::lock_guard lock(signal->mu);
        signal->set = true;
      }
      signal->cv.notify_one();
    });
    std::unique_lock lock(signal->mu);
    TG_CHECK(signal->cv.wait_for(lock, std::chrono::minutes(3), [&] { return signal->set; }), "a stream said nothing for three minutes");
  }
}

inline Heard HearAll(TokenStream& stream) {
  Heard heard;
  REQUIRE(Hear(stream, heard) == Taken::kEnd);
  return heard;
}

// Waits until `condition` holds of the first model's stats.
template <typename Condition>
void Until(const Pool& pool, Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  while (!condition(pool.stats()[0])) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    std::this_thread::yield();
  }
}

inline base::TeamId Team(int number) {
  std::array<std::uint8_t, 16> bytes{};
  bytes[15] = static_cast<std::uint8_t>(number);
  return base::TeamId(base::Uuid(bytes));
}

inline ModelOptions Scripted(int slots = 4) {
  ModelOptions model;
  model.name = "script";
  model.engine = EngineKind::kScripted;
  model.slots = slots;
  model.context_tokens = 1 << 16;
  return model;
}

inline std::unique_ptr<Pool> MakePool(const ModelOptions& model, const base::Clock& clock = base::SystemClock()) {
  PoolOptions options;
  options.models = {model};
  options.clock = &clock;
  options.replica_nice = 0;
  auto pool = Pool::Create(std::move(options));
  INFO(pool.status().ToString());
  REQUIRE(pool.ok());
  return *std::move(pool);
}

inline SequenceRequest Ask(const Pool& pool, const std::string& text) {
  SequenceRequest request;
  request.model = pool.models()[0].name;
  const Turn turn{"user", "", text};
  auto tokens = pool.Render(request.model, std::span(&turn, 1));
  REQUIRE(tokens.ok());
  request.prompt_tokens = *std::move(tokens);
  request.allowance = 1'000'000;
  return request;
}

inline SequenceRequest Of(int tenant, SequenceRequest request) {
  request.tenant = Team(tenant);
  return request;
}

inline std::shared_ptr<TokenStream> Embed(Pool& pool, const std::vector<std::string>& texts, int tenant = 1) {
  EmbedJob job;
  job.model = pool.models()[0].name;
  job.tenant = Team(tenant);
  for (const std::string& text : texts) {
    auto tokens = pool.EmbedTokens(job.model, {text, {}});
    REQUIRE(tokens.ok());
    job.inputs.push_back(*std::move(tokens));
  }
  auto stream = pool.Embed(std::move(job));
  INFO(stream.status().ToString());
  REQUIRE(stream.ok());
  return *std::move(stream);
}

inline std::shared_ptr<TokenStream> Submit(Pool& pool, SequenceRequest request) {
  auto stream = pool.Submit(std::move(request));
  INFO(stream.status().ToString());
  REQUIRE(stream.ok());
  return *std::move(stream);
}

}  // namespace tollgate::inference::test
