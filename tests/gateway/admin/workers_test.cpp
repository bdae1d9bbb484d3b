#include "gateway/admin/workers.h"

#include <atomic>
#include <future>
#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"

using tollgate::admin::Whose;
using tollgate::admin::Workers;
using tollgate::base::OrgId;
using tollgate::base::Uuid;

namespace {

const Whose kInstallation{};

// A job that runs until it is let go.
class Held {
 public:
  Held(Workers& workers, const Whose& whose) {
    REQUIRE(workers
                .Submit(whose,
                        [state = state_] {
                          state->running.set_value();
                          state->go.get_future().wait();
                        })
                .ok());
  }
  ~Held() { LetGo(); }
  void AwaitRunning() { state_->running.get_future().wait(); }
  void LetGo() {
    if (!open_) state_->go.set_value();
    open_ = true;
  }

 private:
  struct State {
    std::promise<void> go, running;
  };
  bool open_ = false;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

Whose Of(const OrgId& org, bool urgent = false) { return {.urgent = urgent, .org = org}; }

}  // namespace

TEST_CASE("Jobs run, and those that find the queue full are refused at once") {
  std::atomic<int> done = 0;
  {
    Workers workers(1, 1, 2);
    Held held(workers, kInstallation);
    held.AwaitRunning();
    CHECK(workers.Submit(kInstallation, [&] { ++done; }).ok());
    CHECK(workers.Submit(kInstallation, [&] { ++done; }).ok());
    const absl::Status full = workers.Submit(kInstallation, [&] { ++done; });
    CHECK(absl::IsResourceExhausted(full));
    CHECK(tollgate::base::DetailOf(full).value_or(tollgate::base::ErrorDetail{}).retry_after_ms == 1000);
    held.LetGo();
  }
  CHECK(done == 2);
}

TEST_CASE("What is urgent runs while every thread for the rest is taken and no place is left") {
  Workers workers(1, 1, 1);
  Held running(workers, kInstallation);
  running.AwaitRunning();
  Held waiting(workers, kInstallation);
  CHECK(absl::IsResourceExhausted(workers.Submit(kInstallation, [] {})));
  std::promise<void> ran;
  REQUIRE(workers.Submit({.urgent = true, .org = {}}, [&] { ran.set_value(); }).ok());
  ran.get_future().wait();
  running.LetGo();
  waiting.LetGo();
}

TEST_CASE("One org has half of the threads, all orgs all but one, and an operator finds one free") {
  for (const bool urgent : {false, true}) {
    const OrgId acme(Uuid::NewV7()), globex(Uuid::NewV7());
    Workers workers(4, 4, 100);
    Held first(workers, Of(acme, urgent)), second(workers, Of(acme, urgent));
    first.AwaitRunning();
    second.AwaitRunning();
    std::atomic<bool> late = false;
    REQUIRE(workers.Submit(Of(acme, urgent), [&] { late = true; }).ok());
    Held other(workers, Of(globex, urgent));  // Goes past the one that waits.
    other.AwaitRunning();
    std::promise<void> ran;
    REQUIRE(workers.Submit({.urgent = urgent, .org = {}}, [&] { ran.set_value(); }).ok());
    ran.get_future().wait();
    CHECK_FALSE(late);
    std::promise<void> done;
    REQUIRE(workers.Submit(Of(acme, urgent), [&] { done.set_value(); }).ok());
    first.LetGo();
    done.get_future().wait();
    CHECK(late);
    second.LetGo();
    other.LetGo();
  }
}

TEST_CASE("One org has half of the places to wait, all orgs three quarters") {
  const OrgId acme(Uuid::NewV7()), globex(Uuid::NewV7());
  Workers workers(1, 1, 8);
  Held held(workers, kInstallation);
  held.AwaitRunning();
  const auto take = [&](const Whose& whose) {
    int taken = 0;
    while (workers.Submit(whose, [] {}).ok()) ++taken;
    return taken;
  };
  CHECK(take(Of(acme)) == 4);
  CHECK(take(Of(globex)) == 2);
  CHECK(take(kInstallation) == 2);
  held.LetGo();
}

TEST_CASE("Orgs take turns, however many jobs of one wait") {
  const OrgId acme(Uuid::NewV7()), globex(Uuid::NewV7());
  std::string order;
  {
    Workers workers(1, 1, 100);
    Held held(workers, kInstallation);
    held.AwaitRunning();
    for (const char* job : {"a", "b", "c"}) REQUIRE(workers.Submit(Of(acme), [&order, job] { order += job; }).ok());
    for (const char* job : {"x", "y"}) REQUIRE(workers.Submit(Of(globex), [&order, job] { order += job; }).ok());
    held.LetGo();
  }
  CHECK(order == "axbyc");
}

TEST_CASE("Orgs that come back with one job after another do not keep one whose job waits from its turn") {
  for (const bool urgent : {false, true}) {
    const OrgId acme(Uuid::NewV7()), globex(Uuid::NewV7()), initech(Uuid::NewV7());
    Workers workers(1, 1, 100);
    auto running = std::make_unique<Held>(workers, Of(acme, urgent));
    running->AwaitRunning();
    std::atomic<bool> ran = false;
    REQUIRE(workers.Submit(Of(acme, urgent), [&] { ran = true; }).ok());
    for (int i = 0; i < 3; ++i) {  // The third would be somebody's second turn.
      CHECK_FALSE(ran);
      auto next = std::make_unique<Held>(workers, Of(i % 2 == 0 ? globex : initech, urgent));
      running->LetGo();
      next->AwaitRunning();
      running = std::move(next);
    }
    CHECK(ran);
  }
}

TEST_CASE("Jobs that nobody waits for any more take no places") {
  const OrgId acme(Uuid::NewV7());
  std::atomic<bool> gone = false;
  std::atomic<int> ended = 0, ran = 0;
  Workers workers(1, 1, 4);
  Held held(workers, kInstallation);
  held.AwaitRunning();
  REQUIRE(workers.Submit(Of(acme), [&] { ++ran; }).ok());
  REQUIRE(workers.Submit({.urgent = false, .org = acme, .gone = &gone}, [&] { ++ended; }).ok());
  CHECK(absl::IsResourceExhausted(workers.Submit(Of(acme), [&] { ++ran; })));
  gone = true;
  CHECK(ended == 0);
  REQUIRE(workers.Submit(Of(acme), [&] { ++ran; }).ok());
  CHECK(ended == 1);
  CHECK(ran == 0);
  CHECK(absl::IsResourceExhausted(workers.Submit(Of(acme), [&] { ++ran; })));
  std::promise<void> done;
  REQUIRE(workers.Submit(kInstallation, [&] { done.set_value(); }).ok());
  held.LetGo();
  done.get_future().wait();
}
