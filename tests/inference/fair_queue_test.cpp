// Who gets the next slot: fair by tenant, counted in tokens.
#include <catch2/catch_test_macros.hpp>

#include <array>
#include <map>
#include <string>

#include "inference/fair_queue.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::seconds;

using test::Team;

// A small language: a queue, tenants by number, sequences by their prompt's length.
struct Fixture {
  FairQueue queue{seconds(60)};
  base::MonoTime now{seconds(1000)};
  std::map<TenantAccount*, int> numbers;

  void Push(int team, int prompt_tokens = 10) {
    SequenceRequest request;
    request.tenant = Team(team);
    request.prompt_tokens.assign(static_cast<std::size_t>(prompt_tokens), 1);
    queue.Push(std::make_unique<Sequence>(std::move(request)), now);
  }
  // The tenants served next, as text; each releases its slot at once.
  std::string Serve(int times, int output_tokens = 0) {
    std::string order;
    for (int i = 0; i < times; ++i) {
      const auto sequence = queue.Pop(false, now);
      if (sequence == nullptr) return order + "-";
      order += static_cast<char>('0' + sequence->request.tenant.value.raw()[15]);
      FairQueue::ChargeOutput(*sequence->account, output_tokens);
      FairQueue::Release(*sequence->account);
    }
    return order;
  }
};

TEST_CASE("A tenant's own sequences come in order of arrival") {
  Fixture f;
  f.Push(1, 5);
  f.Push(1, 6);
  f.Push(1, 7);
  for (const std::size_t size : {5, 6, 7}) CHECK(f.queue.Pop(false, f.now)->request.prompt_tokens.size() == size);
  CHECK(f.queue.Pop(false, f.now) == nullptr);
}

TEST_CASE("Tenants with equal work take turns, however many sequences one of them queued first") {
  Fixture f;
  for (int i = 0; i < 6; ++i) f.Push(1);
  for (int i = 0; i < 3; ++i) f.Push(2);
  CHECK(f.Serve(9) == "121212111");
}

TEST_CASE("A tenant with long prompts or outputs gets fewer turns") {
  Fixture f;
  for (int i = 0; i < 4; ++i) f.Push(1, 30);
  for (int i = 0; i < 8; ++i) f.Push(2, 10);
  CHECK(f.Serve(8) == "12221222");

  Fixture g;
  for (int i = 0; i < 4; ++i) g.Push(1, 10);
  for (int i = 0; i < 4; ++i) g.Push(2, 10);
  const auto first = g.queue.Pop(false, g.now);
  FairQueue::ChargeOutput(*first->account, 20);
  CHECK(g.Serve(5) == "22221");
}

TEST_CASE("Idling saves nothing up: a tenant that comes back is lifted to the least of those that wait") {
  Fixture f;
  for (int i = 0; i < 20; ++i) f.Push(1);
  CHECK(f.Serve(10) == "1111111111");
  for (int i = 0; i < 5; ++i) f.Push(2);
  CHECK(f.Serve(6) == "121212");
}

TEST_CASE("A tenant that comes to an empty queue is lifted to the one served last") {
  Fixture f;
  for (int i = 0; i < 5; ++i) f.Push(1, 100);
  CHECK(f.Serve(5) == "11111");
  f.Push(2, 10);
  f.Push(1, 10);
  f.Push(2, 10);
  f.Push(1, 10);
  CHECK(f.Serve(4) == "1212");
}

TEST_CASE("The last slot goes only to a tenant that holds none, while others are present") {
  Fixture f;
  f.Push(2);
  const auto other = f.queue.Pop(false, f.now);
  FairQueue::Release(*other->account);
  f.Push(1);
  f.Push(1);
  const auto holding = f.queue.Pop(false, f.now);
  CHECK(holding->request.tenant == Team(1));
  CHECK(f.queue.Pop(true, f.now) == nullptr);
  f.Push(2);
  CHECK(f.queue.Pop(true, f.now)->request.tenant == Team(2));
}

TEST_CASE("A tenant that is alone may have every slot") {
  Fixture f;
  f.Push(2);
  FairQueue::Release(*f.queue.Pop(false, f.now)->account);
  f.now += seconds(61);
  f.Push(1);
  f.Push(1);
  CHECK(f.queue.Pop(false, f.now) != nullptr);
  CHECK(f.queue.Pop(true, f.now) != nullptr);
}

TEST_CASE("Removing takes out what is asked for and keeps the order of the rest") {
  Fixture f;
  for (int i = 1; i <= 6; ++i) f.Push(1, i);
  int removed = 0;
  f.queue.Remove([](const Sequence& s) { return s.request.prompt_tokens.size() % 2 == 0; }, [&](std::unique_ptr<Sequence>) { ++removed; });
  CHECK(removed == 3);
  CHECK(f.queue.size() == 3);
  for (const std::size_t size : {1, 3, 5}) CHECK(f.queue.Pop(false, f.now)->request.prompt_tokens.size() == size);
}

TEST_CASE("Served tokens of backlogged tenants stay within one sequence of each other, for any mix of sizes") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  constexpr int kTeams = 5;
  constexpr int kInputMax = 200;
  constexpr int kOutputMax = 100;
  Fixture f;
  for (int team = 1; team <= kTeams; ++team) f.Push(team, 1 + static_cast<int>(random() % kInputMax));
  for (int round = 0; round < 2000; ++round) {
    const auto sequence = f.queue.Pop(false, f.now);
    const int team = sequence->request.tenant.value.raw()[15];
    f.Push(team, 1 + static_cast<int>(random() % kInputMax));  // Always backlogged.
    FairQueue::ChargeOutput(*sequence->account, static_cast<std::int64_t>(random() % kOutputMax));
    FairQueue::Release(*sequence->account);
    REQUIRE(f.queue.GapTokens() <= kInputMax * kPromptTokenWeight + kOutputMax * kOutputTokenWeight);
  }
}

}  // namespace
}  // namespace tollgate::inference
