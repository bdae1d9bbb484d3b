// Who gets the next slot: fair by tenant, counted in tokens.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>

#include "inference/fair_queue.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::seconds;

using test::Team;

base::KeyId Key(int number) { return base::KeyId(Team(number).value); }

// A small language: a queue, tenants by number, sequences by their prompt's length.
struct Fixture {
  FairQueue queue;
  base::MonoTime now{seconds(1000)};

  struct Of {
    int key = 1;
    int band = 1;
    int deadline_s = 0;  // 0 = none.
    double weight = 1;
    int output_limit = 50;
    bool goes_on = false;
  };
  void Push(int team, int prompt_tokens = 10) { Push(team, prompt_tokens, Of{}); }
  void Push(int team, int prompt_tokens, const Of& of) {
    SequenceRequest request;
    request.tenant = Team(team);
    request.key = Key(of.key);
    request.band = of.band;
    request.weight = of.weight;
    request.goes_on = of.goes_on;
    if (of.deadline_s > 0) request.deadline = now + seconds(of.deadline_s);
    request.prompt_tokens.assign(static_cast<std::size_t>(prompt_tokens), 1);
    auto sequence = std::make_unique<Sequence>(std::move(request));
    sequence->output_limit = of.output_limit;
    queue.Push(std::move(sequence), now);
  }
  std::unique_ptr<Sequence> Pop(bool last_slot = false) {
    auto sequence = queue.Pop(last_slot, now);
    if (sequence != nullptr) queue.ChargePrompt(*sequence, static_cast<double>(sequence->request.prompt_tokens.size()));
    return sequence;
  }
  // The prompt length of the next, 0 for none; it releases its slot at once.
  std::size_t PopSize() {
    const auto sequence = Pop();
    if (sequence == nullptr) return 0;
    FairQueue::Release(*sequence);
    return sequence->request.prompt_tokens.size();
  }
  // The tenants served next, as text; each releases its slot at once.
  std::string Serve(int times, int output_tokens = 0) {
    std::string order;
    for (int i = 0; i < times; ++i) {
      const auto sequence = Pop();
      if (sequence == nullptr) return order + "-";
      order += static_cast<char>('0' + sequence->request.tenant.value.raw()[15]);
      FairQueue::ChargeOutput(*sequence, output_tokens);
      FairQueue::Release(*sequence);
    }
    return order;
  }
};

TEST_CASE("A tenant's own sequences come in order of arrival") {
  Fixture f;
  f.Push(1, 5);
  f.Push(1, 6);
  f.Push(1, 7);
  for (const std::size_t size : {5, 6, 7}) CHECK(f.PopSize() == size);
  CHECK(f.Pop() == nullptr);
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
  const auto first = g.Pop();
  FairQueue::ChargeOutput(*first, 20);
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

TEST_CASE("A kept slot is for the tenant's sequence that goes on and for no other, once, and until it lapses") {
  Fixture f;
  f.queue.Keep(Team(1), f.now + seconds(1));
  f.Push(1, 5);
  f.Push(2, 5);
  CHECK(f.queue.PopKept(f.now) == nullptr);
  f.Push(2, 6, {.goes_on = true});
  CHECK(f.queue.PopKept(f.now) == nullptr);
  f.Push(1, 7, {.key = 2, .band = 3, .goes_on = true});
  CHECK(f.queue.kept() == 1);
  CHECK(f.queue.PeekKept().sequence->request.prompt_tokens.size() == 7);
  const auto rest = f.queue.PopKept(f.now);
  REQUIRE(rest != nullptr);
  CHECK(rest->request.prompt_tokens.size() == 7);
  CHECK(rest->account->slots_held == 1);
  CHECK(f.queue.kept() == 0);
  f.queue.Keep(Team(2), f.now + seconds(1));
  CHECK(f.queue.Lapse(f.now).empty());
  f.now += seconds(1);
  CHECK(f.queue.Lapse(f.now) == std::vector<base::TeamId>{Team(2)});
  CHECK(f.queue.kept() == 0);
  CHECK(f.queue.PopKept(f.now) == nullptr);
  f.queue.Keep(Team(2), f.now + seconds(1));
  f.queue.DropKept();
  CHECK(f.queue.PeekKept().sequence == nullptr);
  CHECK(f.queue.size() == 3);
}

TEST_CASE("A slot that is kept is its tenant's: the last one is not for it before the other has lapsed") {
  Fixture f;
  f.queue.Keep(Team(1), f.now + seconds(1));
  f.Push(1);
  CHECK(f.Pop(true) == nullptr);
  f.Push(2);
  CHECK(f.Pop(true)->request.tenant == Team(2));
  CHECK(f.queue.Peek(true, f.now).sequence == nullptr);
  f.now += seconds(1);
  CHECK(f.queue.Lapse(f.now).size() == 1);
  CHECK(f.Pop(true)->request.tenant == Team(1));
}

TEST_CASE("What goes on comes before its key's others, and takes no other tenant's turn") {
  Fixture f;
  f.Push(1, 5, {.deadline_s = 1});
  f.Push(2, 6);
  f.Push(1, 7, {.deadline_s = 9, .goes_on = true});
  CHECK(f.PopSize() == 7);
  CHECK(f.PopSize() == 6);
  CHECK(f.PopSize() == 5);
}

TEST_CASE("The last slot goes only to a tenant that holds none") {
  Fixture f;
  f.Push(2);
  const auto other = f.Pop();
  FairQueue::Release(*other);
  f.Push(1);
  f.Push(1);
  const auto holding = f.Pop();
  CHECK(holding->request.tenant == Team(1));
  CHECK(f.Pop(true) == nullptr);
  f.Push(2);
  CHECK(f.Pop(true)->request.tenant == Team(2));
}

TEST_CASE("A tenant that is alone gets every slot but the last, which is there for one that was quiet for long or was never seen") {
  Fixture f;
  f.Push(2);
  FairQueue::Release(*f.Pop());
  f.now += seconds(3600);
  f.Push(1);
  const auto holding = f.Pop(true);  // It held none yet.
  REQUIRE(holding != nullptr);
  f.Push(1);
  CHECK(f.queue.Peek(true, f.now).sequence == nullptr);
  CHECK(f.Pop(true) == nullptr);
  for (const int quiet : {2, 3}) {
    f.Push(quiet);
    const auto late = f.Pop(true);
    REQUIRE(late != nullptr);
    CHECK(late->request.tenant == Team(quiet));
    FairQueue::Release(*late);
  }
  CHECK(f.Pop(true) == nullptr);
  CHECK(f.Pop(false)->request.tenant == Team(1));
}

TEST_CASE("Removing takes out what is asked for and keeps the order of the rest") {
  Fixture f;
  for (int i = 1; i <= 6; ++i) f.Push(1, i);
  int removed = 0;
  f.queue.Remove([](const Sequence& s) { return s.request.prompt_tokens.size() % 2 == 0; }, [&](std::unique_ptr<Sequence>) { ++removed; });
  CHECK(removed == 3);
  CHECK(f.queue.size() == 3);
  for (const std::size_t size : {1, 3, 5}) CHECK(f.PopSize() == size);
}

TEST_CASE("A tenant of twice the weight gets twice the tokens") {
  Fixture f;
  for (int i = 0; i < 8; ++i) f.Push(1, 10, {.weight = 2});
  for (int i = 0; i < 4; ++i) f.Push(2, 10);
  const std::string order = f.Serve(12);
  CHECK(std::count(order.begin(), order.begin() + 6, '1') == 4);
  CHECK(std::count(order.begin(), order.end(), '1') == 8);
}

TEST_CASE("Within a tenant keys take turns, and a key that comes back saved nothing up") {
  Fixture f;
  for (const int size : {11, 12, 13, 14}) f.Push(1, size, {.key = 1});
  for (const int size : {21, 22}) f.Push(1, size, {.key = 2});
  for (const std::size_t size : {11, 21, 12, 22, 13, 14}) CHECK(f.PopSize() == size);
  f.Push(1, 31, {.key = 3});
  f.Push(1, 32, {.key = 1});
  f.Push(1, 33, {.key = 3});
  f.Push(1, 34, {.key = 1});
  CHECK(f.PopSize() == 32);
  CHECK(f.PopSize() == 31);
  CHECK(f.PopSize() == 33);
}

TEST_CASE("Within a tenant a key of twice the weight gets twice the tokens") {
  Fixture f;
  for (int i = 0; i < 8; ++i) f.Push(1, 10, {.key = 1, .weight = 2});
  for (int i = 0; i < 4; ++i) f.Push(1, 20, {.key = 2});
  std::vector<std::size_t> sizes;
  for (int i = 0; i < 10; ++i) sizes.push_back(f.PopSize());
  CHECK(std::count(sizes.begin(), sizes.end(), 10U) == 8);
  CHECK(std::count(sizes.begin(), sizes.begin() + 5, 10U) == 4);
}

TEST_CASE("Within a key the earliest deadline comes first, then the one that came first") {
  Fixture f;
  f.Push(1, 1);
  f.Push(1, 2, {.deadline_s = 30});
  f.Push(1, 3, {.deadline_s = 20});
  f.Push(1, 4, {.deadline_s = 30});
  f.Push(1, 5);
  for (const std::size_t size : {3, 2, 4, 1, 5}) CHECK(f.PopSize() == size);
}

TEST_CASE("An urgent band comes first, whoever was served least; a tenant that gets nothing moves up") {
  Fixture f;
  f.Push(1, 9, {.band = 3});
  for (int i = 0; i < 20; ++i) f.Push(2, 500, {.band = 1});
  CHECK(f.Serve(2) == "22");
  f.now += seconds(19);  // Band 2 by now.
  CHECK(f.Serve(2) == "22");
  f.now += seconds(2);
  CHECK(f.Serve(2) == "12");
  f.Push(1, 9, {.band = 3});
  f.now += seconds(5);
  f.Push(1, 9, {.band = 3});  // It was served: a longer queue does not make it older.
  f.now += seconds(14);
  CHECK(f.Serve(1) == "2");
  f.now += seconds(2);
  CHECK(f.Serve(2) == "12");
}

TEST_CASE("Where all ask in one band, waiting long changes no order") {
  Fixture f;
  f.Push(1, 500);
  CHECK(f.Serve(1) == "1");
  f.Push(2, 100);
  f.Push(2, 100);
  f.Push(1, 100);
  f.now += seconds(1000);
  f.Push(3, 100);
  CHECK(f.Serve(4) == "1232");
}

TEST_CASE("A job starts about where the others are, or the last step was; what its tenant's last step was ahead by counts") {
  Fixture f;
  for (const int team : {1, 2, 3}) f.Push(team);
  std::vector<std::unique_ptr<Sequence>> jobs;
  while (auto job = f.Pop()) jobs.push_back(std::move(job));
  REQUIRE(jobs.size() == 3);
  Sequence &a = *jobs[0], &b = *jobs[1], &c = *jobs[2];
  const auto step = [&](Sequence& job, std::int64_t tokens) {
    job.end.started_at = f.now;
    std::vector<Sequence*> alone{&job};
    f.queue.OrderPrompts(alone);
    FairQueue::WorkedPrompt(job, tokens);
  };
  f.queue.BringsJob(*a.account, std::nullopt);
  for (int i = 0; i < 100; ++i) step(a, 1000);
  CHECK(a.account->worked == 100'000);
  f.queue.BringsJob(*b.account, std::nullopt);  // While nobody has one.
  CHECK(b.account->worked == 99'000);
  f.queue.BringsJob(*c.account, b.account->worked);
  CHECK(c.account->worked == 99'000 - 512);
  step(c, 8000);
  f.queue.BringsJob(*c.account, b.account->worked);
  CHECK(c.account->worked == 99'000 - 512 + 8000);  // Else large inputs, one after another, would each pass for a short prompt.
  f.queue.BringsJob(*c.account, 1'000'000);
  CHECK(c.account->worked == 1'000'000 - 512);
}

TEST_CASE("The kept slot is not for a tenant that is far ahead of one that waits") {
  Fixture f;
  f.Push(2, 10, {.output_limit = 5});
  f.Push(2, 10, {.output_limit = 5});
  f.Push(1, 10, {.output_limit = 5});
  const auto busy = f.Pop();
  const auto other = f.Pop();
  REQUIRE(busy->request.tenant != other->request.tenant);
  const auto& ahead = busy->request.tenant == Team(1) ? busy : other;
  FairQueue::ChargeOutput(*ahead, 5);
  FairQueue::Release(*ahead);
  f.Push(1, 10, {.output_limit = 5});
  CHECK(f.Pop(true) != nullptr);  // Ahead by less than it asks for.

  Fixture g;
  g.Push(2);
  g.Push(2);
  const auto holding = g.Pop();
  g.Push(1, 10, {.output_limit = 5});
  const auto first = g.Pop(true);
  REQUIRE(first != nullptr);
  FairQueue::ChargeOutput(*first, 500);
  FairQueue::Release(*first);
  g.Push(1, 10, {.output_limit = 5});
  CHECK(g.Pop(true) == nullptr);
  CHECK(g.Pop(false)->request.tenant == Team(2));
}

}  // namespace
}  // namespace tollgate::inference
