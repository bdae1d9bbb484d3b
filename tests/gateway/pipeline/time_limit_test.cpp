// How long a request may take, by what its caller says, and what is told who took longer.
#include "gateway/pipeline/time_limit.h"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <optional>
#include <string>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using namespace std::chrono_literals;
namespace v1 = tollgate::v1;
using pipeline::Surface;

TEST_CASE(
    "A caller's deadline holds as it is, a client that waits for longer is told before it gives up, and none has more than the most") {
  const pipeline::PipelineOptions options;  // 120 s, 600 s at most.
  const auto now = std::chrono::steady_clock::now();
  struct Row {
    std::optional<std::chrono::seconds> deadline, waits;
    std::chrono::seconds at;
    bool asked;
    Surface surface = Surface::kHttp;
    std::string remedy;
  };
  const std::string more = "allow more time, or ask for less";
  const std::string none = "it had 120 s, for no time was asked for; ask for more with the header x-tollgate-timeout-ms, or for less";
  const std::string most = "it had 600 s, the most that a request may have here; ask for less";
  const Row rows[] = {
      {std::nullopt, std::nullopt, 120s, false, Surface::kHttp, none},
      {std::nullopt, std::nullopt, 120s, false, Surface::kGrpc,
       "it had 120 s, for no time was asked for; ask for more with the call's deadline, or for less"},
      {10s, std::nullopt, 10s, true, Surface::kGrpc, more},
      {300s, 500s, 300s, true, Surface::kHttp, more},
      {10s, 500s, 10s, true, Surface::kHttp, more},
      {900s, std::nullopt, 600s, true, Surface::kHttp, most},
      {std::nullopt, 300s, 285s, true, Surface::kHttp, more},
      {std::nullopt, 600s, 570s, true, Surface::kHttp, more},
      {std::nullopt, 640s, 600s, true, Surface::kHttp, most},
      {std::nullopt, 86400s, 600s, true, Surface::kHttp, most},
      {std::nullopt, 10s, 120s, false, Surface::kHttp, none},
      {std::nullopt, 118s, 120s, false, Surface::kHttp, none},
      {std::nullopt, 119s, 117s, true, Surface::kHttp, more},
      {std::nullopt, 120s, 118s, true, Surface::kHttp, more},
      {std::nullopt, 123s, 120s, false, Surface::kHttp, none},
      {std::nullopt, 140s, 133s, true, Surface::kHttp, more},
      {std::nullopt, 0s, 120s, false, Surface::kHttp, none},
      {std::nullopt, -5s, 120s, false, Surface::kHttp, none},
  };
  for (const Row& row : rows) {
    pipeline::Caller caller;
    caller.surface = row.surface;
    if (row.deadline) caller.deadline = now + *row.deadline;
    if (row.waits) caller.waits_until = now + *row.waits;
    const pipeline::TimeLimit limit = TimeLimitOf(caller, options, now);
    CAPTURE(row.deadline.value_or(0s).count(), row.waits.value_or(0s).count());
    CHECK(limit.at - now == row.at);
    CHECK(limit.asked == row.asked);
    CHECK(limit.remedy == row.remedy);
  }
  pipeline::PipelineOptions short_of_time;
  short_of_time.deadline_max = short_of_time.deadline_default = 1500ms;
  CHECK(TimeLimitOf({}, short_of_time, now).remedy == "it had 1.5 s, the most that a request may have here; ask for less");
}

TEST_CASE("Who asks for no time is told how to, and who waits longer than others gets the time, on record") {
  test::World world;
  world.options.deadline_default = 300ms;
  pipeline::Caller caller = world.NewCaller();
  caller.surface = Surface::kHttp;
  const auto late = world.ChatAs(caller, world.Ask("!hang"));
  const std::string message = base::Message(std::get<pipeline::Failure>(late).status);
  CHECK(message.find("it had 0.3 s, for no time was asked for; ask for more with the header x-tollgate-timeout-ms") != std::string::npos);
  caller.request_id = base::RequestId::New();
  caller.waits_until = std::chrono::steady_clock::now() + 100s;
  CHECK(test::ReplyOf(world.ChatAs(caller, world.Ask("!pace_ms 150\n!say one two three four"))).text == "one two three four");
  const auto requests = world.journal.Of(v1::RECORD_KIND_REQUEST);
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].record.request().deadline_us() == 0);
  CHECK(requests[1].record.request().deadline_us() > requests[1].record.wall_us());
}

TEST_CASE("Who waits longer than others is told of the deadline while it waits, and not to ask again") {
  test::World world;
  world.options.deadline_default = 100ms;
  pipeline::Caller caller = world.NewCaller();
  caller.surface = Surface::kHttp;
  const auto gives_up = std::chrono::steady_clock::now() + 2s;
  caller.waits_until = gives_up;
  const auto late = world.ChatAs(caller, world.Ask("!hang"));
  CHECK(std::chrono::steady_clock::now() < gives_up);
  const auto detail = base::DetailOf(std::get<pipeline::Failure>(late).status);
  CHECK(detail->reason == "DEADLINE_EXCEEDED");
  CHECK_FALSE(detail->may_retry);
  world.CheckBooks();
}
