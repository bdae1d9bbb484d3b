// What an upstream's HTTP status means: whether another server is asked, whether it counts against the one that gave it, and for how long
// that one is left alone.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/engines/upstream_engine.h"
#include "tests/inference/support.h"
#include "tests/inference/upstream_embed_support.h"
#include "tests/inference/upstream_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Row {
  int status;
  bool retried;
  bool counts;  // Against the server: three in a row open its circuit.
};
const Row kRows[] = {{408, true, false},  {425, true, false},  {429, true, false}, {500, true, true},  {501, true, true},
                     {502, true, true},   {503, true, true},   {504, true, true},  {529, true, true},  {400, false, false},
                     {413, false, false}, {422, false, false}, {401, false, true}, {403, false, true}, {404, false, true},
                     {302, false, true},  {204, false, true}};

// As a status, or by an error within an answer that had begun with 200.
void Refuse(Exchange& e, int status, bool within) {
  if (!within) return e.Reply(status, status == 204 ? "" : "SECRET");
  e.Begin();
  e.Write(fmt::format("data: {{\"error\":{{\"message\":\"SECRET\",\"code\":{}}}}}\n\n", status) + kDone);
  e.End();
}

ModelOptions NoProbes(ModelOptions options) {
  options.upstream.health_interval = milliseconds(0);
  return options;
}

TEST_CASE("Of the statuses before a token those that say \"not now\" are tried on another server, and no others") {
  const bool within = GENERATE(false, true);
  for (const Row& row : kRows) {
    if (within && row.status < 400) continue;
    INFO(row.status << within);
    std::atomic<int> calls{0};
    const auto handler = [&](Exchange& e) { ++calls == 1 ? Refuse(e, row.status, within) : WordModel{}.Answer(e); };
    ScriptedUpstream a(handler), b(handler);
    const auto replica = StartUpstream(NoProbes(Upstream({a.url(), b.url()})));
    const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
    CHECK(heard.end.reason == (row.retried ? EndReason::kStop : EndReason::kEngineFailed));
    CHECK(heard.text == (row.retried ? Said(0, 10) : ""));
    CHECK(a.requests().size() + b.requests().size() == (row.retried ? 2U : 1U));
    CHECK(replica->stats().upstream.retries == (row.retried ? 1 : 0));
    CHECK(heard.end.input_tokens_evaluated == (row.retried ? 8 : 0));
    CHECK(base::Message(heard.end.status).find("SECRET") == std::string::npos);
  }
}

TEST_CASE("What a working server may say does not open its circuit, however often; its own failures do, after three in a row") {
  const bool within = GENERATE(false, true);
  for (const Row& row : kRows) {
    if (within && row.status < 400) continue;
    INFO(row.status << within);
    ScriptedUpstream server([&](Exchange& e) { Refuse(e, row.status, within); });
    base::ManualClock clock;
    const auto replica = StartUpstream(NoProbes(Upstream({server.url()})), clock);
    for (int i = 0; i < 5; ++i) CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).end.reason == EndReason::kEngineFailed);
    CHECK(server.requests().size() == (row.counts ? 3U : 5U));
    CHECK(replica->stats().upstream.usable == (row.counts ? 0 : 1));
  }
}

TEST_CASE("Each server is tried once, and a status that is the same everywhere ends with the last one's word") {
  const auto handler = [](Exchange& e) { e.Reply(429, ""); };
  ScriptedUpstream a(handler), b(handler), c(handler);
  const auto replica = StartUpstream(NoProbes(Upstream({a.url(), b.url(), c.url()})));
  const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
  CHECK(base::Message(heard.end.status).find("HTTP 429: try again") != std::string::npos);
  for (const ScriptedUpstream* server : {&a, &b, &c}) CHECK(server->requests().size() == 1);
}

TEST_CASE("A server that asks to be left alone is, for so long and no longer than half a minute, while others are asked") {
  struct Wait {
    const char* told;
    std::int64_t kept;  // Seconds; 0: none.
  };
  for (const int status : {408, 425, 429, 503}) {
    for (const Wait& wait : {Wait{"7", 7}, Wait{"86400", 30}, Wait{"9223372036854775807", 30}, Wait{"-5", 0}, Wait{"soon", 0}}) {
      INFO(status << " " << wait.told);
      std::atomic<bool> busy{true};
      ScriptedUpstream server(
          [&](Exchange& e) { busy ? e.Reply(status, "", "retry-after: " + std::string(wait.told) + "\r\n") : WordModel{}.Answer(e); });
      base::ManualClock clock;
      const auto replica = StartUpstream(NoProbes(Upstream({server.url()})), clock);
      const Heard first = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
      CHECK(first.end.reason == EndReason::kEngineFailed);
      const auto told = base::DetailOf(first.end.status);
      CHECK(told.has_value() == (wait.kept > 0));
      if (told) CHECK(told->retry_after_ms == wait.kept * 1000);
      busy = false;
      if (wait.kept > 0) {
        const Heard second = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
        CHECK(server.requests().size() == 1);
        const auto detail = base::DetailOf(second.end.status);
        REQUIRE(detail);
        CHECK(detail->reason == "UPSTREAM_UNAVAILABLE");
        CHECK(detail->retry_after_ms == wait.kept * 1000);
        clock.Advance(seconds(wait.kept));
      }
      CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
    }
  }
}

TEST_CASE("While one server rests the other has all the work; servers that embed rest alike") {
  std::atomic<int> calls{0};
  const auto handler = [&](Exchange& e) { ++calls == 1 ? e.Reply(429, "", "retry-after: 9\r\n") : WordModel{}.Answer(e); };
  ScriptedUpstream a(handler), b(handler);
  base::ManualClock clock;
  const auto replica = StartUpstream(NoProbes(Upstream({a.url(), b.url()})), clock);
  for (int i = 0; i < 6; ++i) CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
  CHECK(std::min(a.requests().size(), b.requests().size()) == 1);
  CHECK(replica->stats().upstream.usable == 1);
  clock.Advance(seconds(9));
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
  CHECK(std::min(a.requests().size(), b.requests().size()) == 2);

  std::atomic<bool> busy{true};
  ScriptedUpstream embeds([&](Exchange& e) { busy ? e.Reply(429, "", "retry-after: 9\r\n") : ByteModel{}.Answer(e); });
  const auto embedder = StartEmbedder(EmbedUpstream({embeds.url()}), clock);
  CHECK(HearAll(*EmbedOn(*embedder, JobOf(*embedder, {"ab"}))).end.reason == EndReason::kEngineFailed);
  busy = false;
  CHECK(HearAll(*EmbedOn(*embedder, JobOf(*embedder, {"ab"}))).end.reason == EndReason::kEngineFailed);
  CHECK(embeds.requests().size() == 1);
  clock.Advance(seconds(9));
  CHECK(HearAll(*EmbedOn(*embedder, JobOf(*embedder, {"ab"}))).end.reason == EndReason::kStop);
}

}  // namespace
}  // namespace tollgate::inference
