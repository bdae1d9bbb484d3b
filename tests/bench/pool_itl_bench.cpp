// pool_itl: what a long prompt does to those who are in the middle of an answer. Fifteen chats decode side by side; then a prompt of 4,000
// tokens arrives and is worked through in chunks beside them.
// Several times, each with chats of its own, which are watched alone for 5 s before it or, in every other, after it (A B B A); medians.
//
//   pool.itl_p99_over_p50   their inter-token time while the prompt is worked through: p99 ÷ p50 alone; at most 2
//   pool.itl_p50_ms         alone
//   pool.itl_beside_p50_ms  while it is
//   pool.long_prompt_ttft_s the long prompt's own time to first token, if it is always less than the 30 s that are measured at most
//
// TOLLGATE_BENCH_ARRIVALS (7). TOLLGATE_BENCH_KV_TOKENS: so many tokens for all slots, instead of a context for each.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "inference/pool.h"
#include "tests/bench/figures.h"
#include "tests/bench/real_pool.h"

namespace tollgate::inference {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kChats = 15;
constexpr int kLongPrompt = 4000;
constexpr auto kAlone = std::chrono::seconds(5);
constexpr auto kBesideMax = std::chrono::seconds(30);

std::unique_ptr<Pool> MakePool() {
  ModelOptions model;
  model.slots = kChats + 1;
  model.context_tokens = kLongPrompt + 352;
  model.prefix_cache_bytes = 0;
  model.kv_tokens = static_cast<std::int64_t>(bench::FromEnvironment("TOLLGATE_BENCH_KV_TOKENS", 0));
  return bench::MakeModelPool(std::move(model));
}

std::shared_ptr<TokenStream> Submit(Pool& pool, std::uint8_t team, int prompt_tokens, int output_tokens) {
  SequenceRequest request;
  request.model = "model";
  request.tenant = bench::Team(team);
  for (int i = 0; i < prompt_tokens; ++i) request.prompt_tokens.push_back(1000 + (team * 7919 + i * 31) % 40000);
  request.logit_bias = {{.token = 0, .bias = -100}, {.token = 2, .bias = -100}};  // Nobody ends early.
  request.max_tokens = output_tokens;
  request.allowance = output_tokens;
  auto stream = pool.Submit(std::move(request));
  if (!stream.ok()) bench::Fail(base::Message(stream.status()));
  return *std::move(stream);
}

// Waits until there is something to take.
Taken Next(TokenStream& stream, Piece& piece) {
  for (;;) {
    const Taken taken = stream.Take(piece);
    if (taken != Taken::kEmpty) return taken;
    const auto ready = std::make_shared<std::atomic<bool>>(false);
    stream.NotifyOnce([ready] {
      ready->store(true);
      ready->notify_one();
    });
    ready->wait(false);
  }
}

// When text of a chat came, and how many tokens it had by then: one without whole text of its own comes with the next.
struct Arrival {
  Clock::time_point at;
  std::int64_t tokens;
};
struct Chat {
  std::shared_ptr<TokenStream> stream;
  std::vector<Arrival> arrivals;
  std::thread reader;

  void Start() {
    reader = std::thread([this] {
      for (Piece piece; Next(*stream, piece) != Taken::kEnd;) arrivals.push_back({Clock::now(), piece.tokens_decoded});
    });
  }
};

// Inter-token times, in ms, of tokens that came between `from` and `to`; ascending.
std::vector<double> Between(const std::vector<Chat>& chats, Clock::time_point from, Clock::time_point to) {
  std::vector<double> ms;
  for (const Chat& chat : chats) {
    for (std::size_t i = 1; i < chat.arrivals.size(); ++i) {
      const Arrival& now = chat.arrivals[i];
      const Arrival& before = chat.arrivals[i - 1];
      if (now.at < from || now.at >= to || now.tokens == before.tokens) continue;
      const double took = std::chrono::duration<double, std::milli>(now.at - before.at).count();
      ms.push_back(took / static_cast<double>(now.tokens - before.tokens));
    }
  }
  std::sort(ms.begin(), ms.end());
  return ms;
}

// What one arrival did; in ms, and in s.
struct Effect {
  double alone_p50, beside_p50, beside_p99;
  std::optional<double> first_token_s;
};

Effect Arrive(Pool& pool, bool alone_first) {
  std::vector<Chat> chats(kChats);
  for (int i = 0; i < kChats; ++i) {
    chats[static_cast<std::size_t>(i)].stream = Submit(pool, static_cast<std::uint8_t>(1 + i), 32, kLongPrompt);
    chats[static_cast<std::size_t>(i)].Start();
  }
  for (const Chat& chat : chats) {
    while (chat.stream->tokens_decoded() < 10) std::this_thread::sleep_for(milliseconds(5));
  }
  Clock::time_point alone;
  const auto watch_alone = [&] {
    alone = Clock::now();
    std::this_thread::sleep_for(kAlone);
  };
  if (alone_first) watch_alone();
  const auto arrives = Clock::now();
  const auto long_one = Submit(pool, 100, kLongPrompt, 2);
  while (long_one->tokens_decoded() == 0 && Clock::now() < arrives + kBesideMax) std::this_thread::sleep_for(milliseconds(5));
  const auto first = Clock::now();
  const bool whole = long_one->tokens_decoded() > 0;
  long_one->Cancel();
  for (Piece piece; Next(*long_one, piece) != Taken::kEnd;) continue;
  if (!alone_first) watch_alone();
  for (const Chat& chat : chats) chat.stream->Cancel();
  for (Chat& chat : chats) chat.reader.join();
  const std::vector<double> usual = Between(chats, alone, alone + kAlone), beside = Between(chats, arrives, first);
  if (usual.empty() || beside.empty()) bench::Fail("the chats gave no tokens");
  Effect effect{bench::Quantile(usual, 0.5), bench::Quantile(beside, 0.5), bench::Quantile(beside, 0.99), {}};
  if (whole) effect.first_token_s = std::chrono::duration<double>(first - arrives).count();
  return effect;
}

void Measure(Pool& pool, int arrivals) {
  std::vector<double> ratios, alone, beside, first_token;
  for (int i = 0; i < arrivals; ++i) {
    const Effect effect = Arrive(pool, i % 2 == 0);
    ratios.push_back(effect.beside_p99 / effect.alone_p50);
    alone.push_back(effect.alone_p50);
    beside.push_back(effect.beside_p50);
    if (effect.first_token_s) first_token.push_back(*effect.first_token_s);
  }
  bench::PrintMedian("pool.itl_p99_over_p50", ratios, "ratio", 2);
  bench::PrintMedian("pool.itl_p50_ms", alone, "ms", 1);
  bench::PrintMedian("pool.itl_beside_p50_ms", beside, "ms", 1);
  if (first_token.size() == ratios.size()) bench::PrintMedian("pool.long_prompt_ttft_s", first_token, "s", 1);
}

}  // namespace
}  // namespace tollgate::inference

int main() {
  const auto pool = tollgate::inference::MakePool();
  tollgate::inference::Measure(*pool, static_cast<int>(tollgate::bench::FromEnvironment("TOLLGATE_BENCH_ARRIVALS", 7)));
}
