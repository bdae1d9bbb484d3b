// Fairness in a simulation: slots that decode a token a step, prompts that take their steps, tenants that offer far more than there is.
#include <catch2/catch_test_macros.hpp>

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "inference/door.h"
#include "inference/fair_queue.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using test::Team;

struct Mix {
  int prompt_max;
  int output_max;
  double weight = 1;
  int group = 1;  // Sequences that come together or not at all.
};

// Each step decodes one token of each running sequence; a prompt takes a step for each 64 tokens. A tenant has as many sequences waiting as
// it wants; with a door, as many of them as that lets in, and visitors come last.
class Simulation {
 public:
  Simulation(int slots, std::uint64_t seed) : slots_(slots), random_(seed) {}
  Simulation(int slots, std::uint64_t seed, int queue_max) : Simulation(slots, seed) { door_.emplace(slots, queue_max); }

  void Offer(int team, const Mix& mix, int waiting) {
    mixes_[team] = mix;
    wanted_[team] = waiting;
  }

  // It asks for one sequence whenever it has none inside. With a door.
  void Visit(int team, const Mix& mix) {
    mixes_[team] = mix;
    visitors_.push_back(team);
  }

  void Step() {
    now_ += milliseconds(50);
    for (const auto& [team, wanted] : wanted_) {
      while (waiting_[team] < wanted && Ask(team)) {
      }
    }
    for (const int team : visitors_) {
      if (door_->inside(Team(team)) == 0) Ask(team);
    }
    const int slots = slots_;
    while (static_cast<int>(running_.size()) < slots) {
      const bool last = slots >= 4 && static_cast<int>(running_.size()) == slots - 1;
      const Sequence* head = queue_.Peek(last, now_).sequence;
      auto sequence = queue_.Pop(last, now_);
      REQUIRE(sequence.get() == head);
      if (sequence == nullptr) break;
      --waiting_[TeamOf(*sequence)];
      queue_.ChargePrompt(*sequence, static_cast<double>(sequence->request.prompt_tokens.size()));
      sequence->prompt_left = static_cast<std::int64_t>(sequence->request.prompt_tokens.size());
      running_.push_back({std::move(sequence), 1 + static_cast<std::int64_t>(random_() % 1000)});
    }
    for (auto it = running_.begin(); it != running_.end();) it = Decode(*it) ? running_.erase(it) : std::next(it);
  }

  const FairQueue& queue() const { return queue_; }
  double served(int team) const { return served_.at(team); }  // Weighted tokens that were worked through.
  int refused(int team) { return refused_[team]; }            // By the door.
  std::int64_t inside(int team) const { return door_->inside(Team(team)); }

 private:
  struct Running {
    std::unique_ptr<Sequence> sequence;
    std::int64_t ends_after;  // Tokens, if the limit does not come first.
  };
  static int TeamOf(const Sequence& s) { return s.request.tenant.value.raw()[15]; }

  bool Ask(int team) {
    const int group = mixes_[team].group;
    if (door_ && door_->Ask(Team(team), group) != Door::Answer::kIn) {
      ++refused_[team];
      return false;
    }
    if (door_) door_->Enter(Team(team), group);
    for (int i = 0; i < group; ++i) Push(team);
    return true;
  }

  void Push(int team) {
    const Mix& mix = mixes_[team];
    SequenceRequest request;
    request.tenant = Team(team);
    request.weight = mix.weight;
    request.prompt_tokens.assign(1 + random_() % static_cast<std::size_t>(mix.prompt_max), 1);
    auto sequence = std::make_unique<Sequence>(std::move(request));
    sequence->output_limit = 1 + static_cast<std::int64_t>(random_() % static_cast<std::size_t>(mix.output_max));
    queue_.Push(std::move(sequence), now_);
    ++waiting_[team];
  }

  // True when it has ended.
  bool Decode(Running& running) {
    Sequence& s = *running.sequence;
    double& served = served_[TeamOf(s)];
    if (s.prompt_left > 0) {
      const std::int64_t chunk = std::min<std::int64_t>(s.prompt_left, 64);
      s.prompt_left -= chunk;
      served += static_cast<double>(chunk);
      return false;
    }
    ++s.decoded;
    served += kOutputTokenWeight;
    FairQueue::ChargeOutput(s, 1);
    if (s.decoded < s.output_limit && s.decoded < running.ends_after) return false;
    FairQueue::Release(s);
    if (door_) door_->Leave(s.request.tenant);
    return true;
  }

  int slots_;
  std::mt19937_64 random_;
  FairQueue queue_;
  std::optional<Door> door_;
  std::vector<int> visitors_;
  std::map<int, int> refused_;
  base::MonoTime now_{std::chrono::seconds(1)};
  std::map<int, Mix> mixes_;
  std::map<int, int> wanted_;
  std::map<int, int> waiting_;
  std::map<int, double> served_;
  std::vector<Running> running_;
};

double Jain(const std::vector<double>& shares) {
  double sum = 0;
  double squares = 0;
  for (const double share : shares) sum += share, squares += share * share;
  return squares == 0 ? 1 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

TEST_CASE("The gap between tenants that wait never exceeds the bound that is published, for any mix, weights and slots") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 40; ++round) {
    const int slots = 1 + static_cast<int>(random() % 12);
    Simulation simulation(slots, random());
    const int teams = 2 + static_cast<int>(random() % 5);
    for (int step = 0; step < 2000; ++step) {
      if (step % 200 == 0) {  // Loads change: tenants come and go, prompts grow and shrink.
        for (int team = 1; team <= teams; ++team) {
          const Mix mix{1 + static_cast<int>(random() % 2000), 1 + static_cast<int>(random() % 400),
                        team % 3 == 0 ? 0.5 + static_cast<double>(random() % 8) : 1};
          simulation.Offer(team, mix, static_cast<int>(random() % 3 == 0 ? 0 : random() % 12));
        }
      }
      simulation.Step();
      INFO("round " << round << " step " << step << " slots " << slots << " teams " << teams);
      REQUIRE(simulation.queue().GapTokens() <= simulation.queue().GapBoundTokens() + 1e-6);
    }
  }
}

TEST_CASE("Two tenants at ten to one offered load are served alike in every window in which both wait") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  for (const int slots : {2, 4, 8}) {
    Simulation simulation(slots, seed);
    simulation.Offer(1, {200, 100}, 40);
    simulation.Offer(2, {200, 100}, 4);
    constexpr int kWindowSteps = 2000;
    std::array<double, 2> before{};
    for (int window = 0; window < 20; ++window) {
      for (int step = 0; step < kWindowSteps; ++step) simulation.Step();
      std::vector<double> shares;
      for (const int team : {1, 2}) {
        shares.push_back(simulation.served(team) - before[static_cast<std::size_t>(team - 1)]);
        before[static_cast<std::size_t>(team - 1)] = simulation.served(team);
      }
      INFO("slots " << slots << " window " << window << ": " << shares[0] << " and " << shares[1]);
      CHECK(Jain(shares) >= 0.98);
    }
  }
}

TEST_CASE("With the default queue a tenant that has nothing inside is let in, beside any number of tenants that ask without end") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  constexpr int kVisitor = 99;
  const int queue_max = ModelOptions().queue_sequences_max;
  for (const int slots : {2, 8}) {
    for (const int greedy : {1, 2, 3, 9}) {
      for (const int group : {1, 2}) {
        INFO("slots " << slots << ", " << greedy << " greedy, in groups of " << group);
        Simulation simulation(slots, seed, queue_max);
        for (int team = 1; team <= greedy; ++team) simulation.Offer(team, {200, 100, 1, group}, 1000);
        simulation.Visit(kVisitor, {200, 100});
        // Where many come in the same moment, those before them have two thirds of the queue: it is full until they have what they may.
        for (int step = 0; step < 4000; ++step) simulation.Step();
        if (greedy <= 3) CHECK(simulation.refused(kVisitor) == 0);
        const int before = simulation.refused(kVisitor);
        const double served = simulation.served(kVisitor);
        for (int step = 0; step < 4000; ++step) simulation.Step();
        CHECK(simulation.refused(kVisitor) == before);
        CHECK(simulation.served(kVisitor) > served);
        CHECK(simulation.refused(1) > 1000);
        if (greedy == 1) CHECK(simulation.inside(1) > queue_max / 2);
      }
    }
  }
}

TEST_CASE("Weights share the work as they say") {
  Simulation simulation(6, test::Seed());
  simulation.Offer(1, {200, 100, 1}, 20);
  simulation.Offer(2, {200, 100, 3}, 20);
  for (int step = 0; step < 20000; ++step) simulation.Step();
  const double ratio = simulation.served(2) / simulation.served(1);
  CHECK(ratio > 2.7);
  CHECK(ratio < 3.3);
}

}  // namespace
}  // namespace tollgate::inference
