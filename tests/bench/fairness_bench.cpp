// fairness: what a tenant gets beside another that asks for ten times as much, on the real model.
//
//   fairness.jain                     two tenants that always wait, 10:1 in offered load: Jain's index of the tokens served (a prompt token
//                                     counts 1, an output token 2), the worst of the windows of 10 s; at least 0.98
//   fairness.gap_over_bound           the greatest gap seen between the two counters ÷ the bound published with it; at most 1
//   fairness.victim_ttft_bound.promptN  a victim's time to first token beside an aggressor, p99 ÷ (2 x alone p99 + 2 x step p99);
//                                     at most 1. Alone, beside, beside, alone …: the median of the pairs
//   fairness.victim_ttft_bound.promptN.all  the same of all pairs' times together, whose worst counts as their p99
//   fairness.victim_ttft_ms.promptN   beside the aggressor, the median
//   isolation.foreign_hits            prompt tokens that a tenant's first request saved because another had sent the same prompt: 0
//   isolation.own_hits                those that its second one saved because it had sent it itself
//   isolation.foreign_over_cold       time to first token of a prompt that another tenant has sent ÷ that of one that nobody has, each the
//                                     median; about 1, and as many prompt tokens are worked through, or the program ends
//   cancel.steps_p99                  steps that ended between a cancel and its sequence's end; at most 1
//
// `fairness_bench N…`: victims alone, with prompts of so many tokens. TOLLGATE_BENCH_WINDOWS (default 3), TOLLGATE_BENCH_PAIRS (default 7
// for each prompt length), TOLLGATE_BENCH_RUNS (default 1: times to first token alone, and as many beside, in each pair).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "inference/pool.h"
#include "tests/bench/figures.h"
#include "tests/bench/real_pool.h"

namespace tollgate::inference {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kSlots = 4;

std::unique_ptr<Pool> MakePool() {
  ModelOptions model;
  model.slots = kSlots;
  model.context_tokens = 2304;
  model.queue_sequences_max = 1000;
  model.queue_timeout = std::chrono::hours(1);
  return bench::MakeModelPool(std::move(model));
}

// One tenant's offered load: as many sequences in the pool as it wants, each with its own prompt, all drained as they go.
class Load {
 public:
  Load(Pool& pool, std::uint8_t team, int wanted, int prompt_tokens, int output_tokens)
      : pool_(pool), team_(team), wanted_(wanted), prompt_tokens_(prompt_tokens), output_tokens_(output_tokens) {}

  // Takes what is there and brings new sequences for those that ended.
  void Turn() {
    for (auto& stream : streams_) {
      Piece piece;
      Taken taken = Taken::kPiece;
      while (taken == Taken::kPiece) taken = stream->Take(piece);
      if (taken != Taken::kEnd) continue;
      done_ += Served(*stream);
      stream = nullptr;
    }
    std::erase(streams_, nullptr);
    while (static_cast<int>(streams_.size()) < wanted_) streams_.push_back(Submit());
  }

  std::shared_ptr<TokenStream> Submit() {
    SequenceRequest request;
    request.model = "model";
    request.tenant = bench::Team(team_);
    for (int i = 0; i < prompt_tokens_; ++i) request.prompt_tokens.push_back(1000 + static_cast<int>((next_ * 7919 + i * 31) % 40000));
    ++next_;
    request.max_tokens = output_tokens_;
    request.allowance = output_tokens_;
    auto stream = pool_.Submit(std::move(request));
    if (!stream.ok()) bench::Fail(base::Message(stream.status()));
    return *std::move(stream);
  }

  // Gives up what it has in the pool.
  void Leave() {
    done_ = served();
    streams_.clear();
  }

  double served() const {
    double sum = done_;
    for (const auto& stream : streams_) sum += Served(*stream);
    return sum;
  }
  double Served(const TokenStream& stream) const {
    const auto decoded = static_cast<double>(stream.tokens_decoded());
    return decoded == 0 ? 0 : prompt_tokens_ + 2 * decoded;
  }

 private:
  Pool& pool_;
  std::uint8_t team_;
  int wanted_;
  int prompt_tokens_;
  int output_tokens_;
  std::uint64_t next_ = 0;
  double done_ = 0;
  std::vector<std::shared_ptr<TokenStream>> streams_;
};

void MeasureJain(Pool& pool, int windows) {
  Load aggressor(pool, 1, 40, 48, 24);
  Load victim(pool, 2, 4, 48, 24);
  const auto run = [&](std::chrono::seconds length, double& gap) {
    for (const auto until = Clock::now() + length; Clock::now() < until;) {
      aggressor.Turn();
      victim.Turn();
      const ReplicaStats stats = pool.stats()[0];
      if (stats.fairness_bound_tokens > 0)
        gap = std::max(gap, static_cast<double>(stats.fairness_gap_tokens) / static_cast<double>(stats.fairness_bound_tokens));
      std::this_thread::sleep_for(milliseconds(5));
    }
  };
  double gap = 0;
  double worst = 1;
  run(std::chrono::seconds(3), gap);
  for (int window = 0; window < windows; ++window) {
    const double a = aggressor.served();
    const double v = victim.served();
    run(std::chrono::seconds(10), gap);
    const double x = aggressor.served() - a;
    const double y = victim.served() - v;
    worst = std::min(worst, (x + y) * (x + y) / (2 * (x * x + y * y)));
  }
  bench::Print("fairness.jain", worst, "ratio", 3);
  bench::Print("fairness.gap_over_bound", gap, "ratio", 3);
}

// The time of each step, as the statistics show them.
class StepTimes {
 public:
  explicit StepTimes(const Pool& pool)
      : thread_([this, &pool] {
          ReplicaStats before = pool.stats()[0];
          while (!done_) {
            const ReplicaStats now = pool.stats()[0];
            if (now.steps > before.steps)
              ms_.push_back(static_cast<double>(now.step_micros - before.step_micros) / 1e3 /
                            static_cast<double>(now.steps - before.steps));
            before = now;
            std::this_thread::sleep_for(milliseconds(1));
          }
        }) {}
  // In ms. The last call.
  std::vector<double> Stop() {
    done_ = true;
    thread_.join();
    return std::move(ms_);
  }

 private:
  std::atomic<bool> done_{false};
  std::vector<double> ms_;
  std::thread thread_;
};

// Times to first token, in ms; the aggressor, if there is one, goes on all the while.
std::vector<double> FirstTokens(Load& victim, int runs, Load* aggressor) {
  const auto turn = [aggressor](milliseconds pause) {
    if (aggressor != nullptr) aggressor->Turn();
    std::this_thread::sleep_for(pause);
  };
  std::vector<double> ms;
  for (int run = 0; run < runs; ++run) {
    const double before = aggressor != nullptr ? aggressor->served() : 0;
    const auto stream = victim.Submit();
    for (Piece piece; stream->Take(piece) != Taken::kEnd;) turn(milliseconds(1));
    const StreamEnd& end = stream->end();
    if (!end.first_token_at) bench::Fail("a victim's sequence gave no token");
    ms.push_back(std::chrono::duration<double, std::milli>(*end.first_token_at - end.submitted_at).count());
    for (const auto until = Clock::now() + milliseconds(100); Clock::now() < until;) turn(milliseconds(5));
    // It asks for less than its share, a third at most of what both are served: else it would be no victim, and wait its turn.
    while (aggressor != nullptr && aggressor->served() - before < 2 * victim.Served(*stream)) turn(milliseconds(5));
  }
  return ms;
}

// Of one pair, or of all: times to first token, and those of the steps beside the aggressor; in ms.
struct Times {
  std::vector<double> alone, beside, steps;

  void Append(const Times& more) {
    alone.insert(alone.end(), more.alone.begin(), more.alone.end());
    beside.insert(beside.end(), more.beside.begin(), more.beside.end());
    steps.insert(steps.end(), more.steps.begin(), more.steps.end());
  }
  double OverBound() const { return P99(beside) / (2 * P99(alone) + 2 * P99(steps)); }

 private:
  static double P99(std::vector<double> ms) {
    std::sort(ms.begin(), ms.end());
    return bench::Quantile(ms, 0.99);
  }
};

// The aggressor comes, and goes when the victim has been served.
void Beside(Pool& pool, Load& victim, Load& aggressor, int runs, Times& times) {
  for (const auto until = Clock::now() + std::chrono::seconds(2); Clock::now() < until;) {
    aggressor.Turn();
    std::this_thread::sleep_for(milliseconds(5));
  }
  StepTimes steps(pool);
  times.beside = FirstTokens(victim, runs, &aggressor);
  times.steps = steps.Stop();
  aggressor.Leave();
  while (pool.stats()[0].running + pool.stats()[0].waiting > 0) std::this_thread::sleep_for(milliseconds(5));
}

// `team` and the one behind it: each length has tenants of its own, so that none finds a prompt's beginning cached.
void MeasureVictim(Pool& pool, int prompt_tokens, std::uint8_t team, int pairs, int runs) {
  Load victim(pool, team, 0, prompt_tokens, 2);
  Load aggressor(pool, static_cast<std::uint8_t>(team + 1), 20, 256, 64);
  FirstTokens(victim, 1, nullptr);
  std::vector<double> ratios;
  Times all;
  for (int pair = 0; pair < pairs; ++pair) {
    Times times;
    if (pair % 2 == 0) times.alone = FirstTokens(victim, runs, nullptr);
    Beside(pool, victim, aggressor, runs, times);
    if (pair % 2 != 0) times.alone = FirstTokens(victim, runs, nullptr);
    ratios.push_back(times.OverBound());
    all.Append(times);
  }
  bench::PrintMedian(fmt::format("fairness.victim_ttft_bound.prompt{}", prompt_tokens), ratios, "ratio", 3);
  bench::Print(fmt::format("fairness.victim_ttft_bound.prompt{}.all", prompt_tokens), all.OverBound(), "ratio", 3);
  bench::PrintMedian(fmt::format("fairness.victim_ttft_ms.prompt{}", prompt_tokens), all.beside, "ms", 0);
}

StreamEnd EndOf(TokenStream& stream) {
  for (Piece piece; stream.Take(piece) != Taken::kEnd;) std::this_thread::sleep_for(milliseconds(1));
  return stream.end();
}

// What a request cost: its time to first token, in ms, and the prompt tokens that were worked through for it.
struct Cost {
  double ms;
  std::int64_t prompt_tokens;
};

Cost CostOf(Pool& pool, Load& load) {
  const std::int64_t before = pool.stats()[0].prompt_tokens;
  const StreamEnd end = EndOf(*load.Submit());
  if (!end.first_token_at) bench::Fail("a sequence gave no token");
  const double ms = std::chrono::duration<double, std::milli>(*end.first_token_at - end.submitted_at).count();
  return {ms, pool.stats()[0].prompt_tokens - before};
}

// Prompts that one tenant sends first and another sends after it, in turns.
void MeasureForeign(Pool& pool, int runs) {
  Load cold(pool, 30, 0, 200, 2), foreign(pool, 31, 0, 200, 2);
  std::vector<double> cold_ms, foreign_ms;
  for (int run = 0; run < runs; ++run) {
    const Cost first = CostOf(pool, cold), second = CostOf(pool, foreign);
    cold_ms.push_back(first.ms);
    foreign_ms.push_back(second.ms);
    if (first.prompt_tokens != 200 || second.prompt_tokens != first.prompt_tokens)
      bench::Fail(fmt::format("{} prompt tokens were worked through cold, {} where another tenant had sent them", first.prompt_tokens,
                              second.prompt_tokens));
  }
  bench::Print("isolation.foreign_over_cold", bench::Median(foreign_ms) / bench::Median(cold_ms), "ratio", 3);
}

void MeasureIsolation(Pool& pool) {
  double foreign = 0;
  double own = 0;
  for (std::uint8_t team = 10; team < 14; ++team) {
    Load first(pool, team, 0, 200, 2);  // The same prompt for each team.
    foreign += static_cast<double>(EndOf(*first.Submit()).cached_input_tokens);
    Load again(pool, team, 0, 200, 2);
    own += static_cast<double>(EndOf(*again.Submit()).cached_input_tokens);
  }
  bench::Print("isolation.foreign_hits", foreign, "tokens", 0);
  bench::Print("isolation.own_hits", own, "tokens", 0);
}

void MeasureCancel(Pool& pool, int runs) {
  Load load(pool, 20, 0, 16, 2000);
  std::vector<double> steps;
  for (int run = 0; run < runs; ++run) {
    const auto stream = load.Submit();
    const auto others = load.Submit();
    while (stream->tokens_decoded() < 3) std::this_thread::sleep_for(milliseconds(1));
    const std::int64_t before = pool.stats()[0].steps;
    stream->Cancel();
    for (Piece piece; stream->Take(piece) != Taken::kEnd;) std::this_thread::yield();
    steps.push_back(static_cast<double>(pool.stats()[0].steps - before));
  }
  std::sort(steps.begin(), steps.end());
  bench::Print("cancel.steps_p99", bench::Quantile(steps, 0.99), "steps", 0);
}

}  // namespace
}  // namespace tollgate::inference

int main(int argc, char** argv) {
  using namespace tollgate;
  const auto pool = inference::MakePool();
  const int pairs = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_PAIRS", 7));
  const int runs = static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_RUNS", 1));
  std::vector<int> prompts;
  for (int i = 1; i < argc; ++i) prompts.push_back(std::clamp(std::atoi(argv[i]), 1, 2000));
  if (prompts.empty()) {
    inference::MeasureForeign(*pool, 20);
    inference::MeasureIsolation(*pool);
    inference::MeasureCancel(*pool, 20);
    inference::MeasureJain(*pool, static_cast<int>(bench::FromEnvironment("TOLLGATE_BENCH_WINDOWS", 3)));
    prompts = {32, 512, 2000};
  }
  std::uint8_t team = 40;
  for (const int tokens : prompts)
    inference::MeasureVictim(*pool, tokens, std::exchange(team, static_cast<std::uint8_t>(team + 2)), pairs, runs);
}
