#include <catch2/catch_test_macros.hpp>
#include <future>

#include "base/error_detail.h"
#include "gateway/pipeline/refusals.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Reply;
using test::ReasonOf;

TEST_CASE("Once admission is stopped the pipeline refuses newcomers, lets those inside finish, and says when it is empty") {
  test::World world;
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto running = world.Start(world.Ask("!hang"), nullptr, cancellation);
  while (world.journal.size() == 0) std::this_thread::yield();
  std::promise<void> empty;
  world.pipe().StopAdmission([&] { empty.set_value(); });
  auto emptied = empty.get_future();
  CHECK(emptied.wait_for(std::chrono::milliseconds(5)) == std::future_status::timeout);
  const auto refused = world.Chat(world.Ask("hello"));
  CHECK(std::get<Failure>(refused).status.code() == absl::StatusCode::kUnavailable);
  CHECK(ReasonOf(refused) == "SHUTTING_DOWN");

  world.pipe().EndAll();
  const auto outcome = running.get();
  CHECK(std::get<Failure>(outcome).status.code() == absl::StatusCode::kUnavailable);
  emptied.get();
  CHECK(world.pipe().running() == 0);
  CHECK(world.journal.Of(v1::RECORD_KIND_ABORT).at(0).record.end().reason() == "SHUTDOWN");
  world.CheckBooks();
}

TEST_CASE("More requests than the instance takes are refused with a hint") {
  test::World world;
  world.options.running_max = 1;
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto running = world.Start(world.Ask("!hang"), nullptr, cancellation);
  while (world.journal.size() == 0) std::this_thread::yield();
  const auto refused = world.Chat(world.Ask("hello"));
  const auto detail = base::DetailOf(std::get<Failure>(refused).status);
  REQUIRE(detail);
  CHECK(detail->reason == "OVERLOADED");
  CHECK(detail->retry_after_ms.has_value());
  cancellation->Cancel();
  running.get();
  CHECK(std::holds_alternative<Reply>(world.Chat(world.Ask("hello"))));
}

TEST_CASE("A team has as many of the places as it leaves to others, and an org three times that") {
  test::World world;
  world.options.running_max = 4;
  world.LoadModel("busy", 4, 8);
  const std::string a = world.key_text, b = world.AddTeam("b"), c = world.AddTeam("c");
  const auto ask = [&](const std::string& key, const char* text, const char* model = "script", test::World::Cancel stop = nullptr) {
    pipeline::Caller caller = world.NewCaller();
    caller.bearer = key;
    return world.ChatAs(caller, world.Ask(text, model), nullptr, std::move(stop));
  };
  std::vector<std::future<pipeline::Outcome<Reply>>> running;
  std::vector<std::shared_ptr<pipeline::Cancellation>> stops;
  const auto hang = [&](const std::string& key) {
    const auto stop = stops.emplace_back(std::make_shared<pipeline::Cancellation>());
    running.push_back(std::async(std::launch::async, [&ask, key, stop] { return ask(key, "!hang", "busy", stop); }));
    while (world.journal.size() < running.size()) std::this_thread::yield();
  };
  const auto refused_for = [](const pipeline::Outcome<Reply>& outcome, const char* whose) {
    const Failure* failure = std::get_if<Failure>(&outcome);
    return failure != nullptr && ReasonOf(outcome) == "OVERLOADED" && base::Message(failure->status).find(whose) != std::string::npos;
  };
  world.pipe();
  hang(a);
  hang(a);
  CHECK(refused_for(ask(a, "hello"), "of your team"));
  hang(b);                                             // Another team's comes in as ever.
  CHECK(refused_for(ask(c, "hello"), "of your org"));  // The last place is another org's.
  for (const auto& stop : stops) stop->Cancel();
  for (auto& one : running) one.get();
  CHECK(std::holds_alternative<Reply>(ask(c, "hello")));
  CHECK(world.pipe().running() == 0);
  world.CheckBooks();
}

TEST_CASE("A front end learns before it reads a request whether its caller may ask, and the refusal counts") {
  test::World world;
  pipeline::Caller caller = world.NewCaller();
  const auto tenant = world.pipe().Admit(caller);
  REQUIRE(std::holds_alternative<pipeline::Tenant>(tenant));
  CHECK(std::get<pipeline::Tenant>(tenant).team.size() == 16);
  CHECK(std::get<pipeline::Tenant>(tenant).org.size() == 16);
  CHECK(world.pipe().counts().requests == 0);
  caller.bearer = "tg_live_wrong";
  const auto refused = world.pipe().Admit(caller);
  REQUIRE(std::holds_alternative<Failure>(refused));
  CHECK(ReasonOf(std::get<Failure>(refused).status) == "INVALID_API_KEY");
  CHECK(world.pipe().counts().requests == 1);
  CHECK(world.pipe().counts().failed == 1);
  world.pipe().FlushRefusals();
  CHECK(world.journal.Of(v1::RECORD_KIND_REFUSED).size() == 1);
}

TEST_CASE("Refusals become one record for each who, reason and second, within a bound") {
  base::ManualClock clock;
  test::FakeJournal journal;
  pipeline::Refusals refusals(journal, clock, 2);
  for (int i = 0; i < 1000; ++i) refusals.Count({}, "source-a", "INVALID_API_KEY");
  refusals.Count({}, "source-b", "INVALID_API_KEY");
  for (int i = 0; i < 5; ++i) refusals.Count({}, "source-" + std::to_string(i), "INVALID_API_KEY");
  refusals.Flush(false);
  CHECK(journal.size() == 0);  // The second is not over.
  clock.Advance(std::chrono::seconds(1));
  refusals.Flush(false);
  std::int64_t counted = 0;
  std::int64_t others = 0;
  for (const auto& entry : journal.entries()) {
    counted += entry.record.refused().count();
    if (entry.record.refused().reason() == "OTHER") others += entry.record.refused().count();
  }
  CHECK(journal.size() == 3);
  CHECK(counted == 1006);
  CHECK(others == 5);

  SECTION("what cannot be written is kept for the next time") {
    journal.SetFault([](const audit::Entry&) { return base::Unavailable("away"); });
    refusals.Count({}, "source-a", "RATE_LIMITED");
    refusals.Flush(true);
    CHECK(journal.size() == 3);
    journal.SetFault(nullptr);
    refusals.Flush(true);
    CHECK(journal.size() == 4);
  }
}
