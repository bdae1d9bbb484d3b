// The upstream engine against servers that break, stall, lie and flood; and how it goes round them.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/engines/upstream_engine.h"
#include "inference/engines/upstream_wire.h"
#include "tests/inference/support.h"
#include "tests/inference/upstream_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using std::chrono::milliseconds;
using std::chrono::seconds;

ModelOptions NoProbes(ModelOptions options) {
  options.upstream.health_interval = milliseconds(0);
  return options;
}

// Moves the clock while the stream is heard, a second at a time.
Heard HearWhileTimePasses(TokenStream& stream, base::ManualClock& clock) {
  std::atomic<bool> over{false};
  std::thread time([&] {
    while (!over) {
      clock.Advance(seconds(1));
      std::this_thread::yield();
    }
  });
  Heard heard = HearAll(stream);
  over = true;
  time.join();
  return heard;
}

struct Fault {
  const char* what;
  std::function<void(Exchange&)> answer;
  std::int64_t tokens;  // That come before the sequence fails,
  absl::StatusCode code = absl::StatusCode::kUnavailable;
};

void Begun(Exchange& e, int words) {
  e.Begin();
  for (int i = 0; i < words; ++i) e.Write(Event(Said(i, i + 1), {kWords + i}));
}

// A fault a line.
// clang-format off
const Fault kFaults[] = {
    {"cuts before a byte", [](Exchange& e) { e.Cut(); }, 0},
    {"cuts after the head", [](Exchange& e) { e.Begin(); e.Cut(); }, 0},
    {"cuts mid-event", [](Exchange& e) { Begun(e, 3); e.Write("data: {\"choices\":[{\"te"); e.Cut(); }, 3},
    {"ends its chunks mid-event", [](Exchange& e) { Begun(e, 3); e.Write("data: {\"choices\":[{\"te"); e.End(); }, 3},
    {"ends without an end", [](Exchange& e) { Begun(e, 3); e.End(); }, 3},
    {"says it is done without an end", [](Exchange& e) { Begun(e, 3); e.Write(kDone); e.End(); }, 3},
    {"sends a line of 10 MB", [](Exchange& e) { Begun(e, 3); e.Write("data: " + std::string(10'000'000, 'x') + "\n\n"); e.End(); }, 3},
    {"sends an event of 10 MB in lines", [](Exchange& e) {
       Begun(e, 3);
       for (int i = 0; i < 100; ++i) e.Write("data: " + std::string(100'000, 'x') + "\n");
       e.End();
     }, 3},
    {"sends what is no JSON", [](Exchange& e) { Begun(e, 3); e.Write("data: <html>\n\n"); e.WaitGone(); }, 3},
    {"sends another shape", [](Exchange& e) { Begun(e, 3); e.Write("data: {\"choices\":[{\"text\":null}]}\n\n"); e.WaitGone(); }, 3},
    {"sends bytes that are no UTF-8", [](Exchange& e) { Begun(e, 3); e.Write("data: {\"choices\":[{\"text\":\"\xC3\"}]}\n\n"); e.WaitGone(); }, 3},
    {"names tokens that are none", [](Exchange& e) { Begun(e, 3); e.Write(Event("x", {1000})); e.WaitGone(); }, 3},
    {"reports an error", [](Exchange& e) { Begun(e, 3); e.Write("data: {\"error\":{\"message\":\"your prompt SECRET\"}}\n\n"); e.End(); }, 3},
    {"ends for no known reason", [](Exchange& e) { Begun(e, 3); e.Write(Event("", {}, "abort")); e.End(); }, 3},
    {"goes on after its end", [](Exchange& e) { Begun(e, 2); e.Write(Event("", {}, "stop") + Event("more", {kWords})); e.WaitGone(); }, 2},
    {"answers with no events", [](Exchange& e) { e.Reply(200, "{\"choices\":[{\"text\":\"SECRET\"}]}"); }, 0},
    {"answers nothing", [](Exchange& e) { e.Reply(200, ""); }, 0},
    {"gives an end and no token", [](Exchange& e) { e.Begin(); e.Write(Event("", {}, "length") + kDone); e.End(); }, 0},
    {"refuses the request", [](Exchange& e) { e.Reply(400, "SECRET"); }, 0, absl::StatusCode::kInternal},
    {"knows no such model", [](Exchange& e) { e.Reply(404, "SECRET"); }, 0, absl::StatusCode::kInternal},
    {"refuses our secret", [](Exchange& e) { e.Reply(401, "SECRET"); }, 0, absl::StatusCode::kInternal},
    {"redirects", [](Exchange& e) { e.Reply(302, ""); }, 0, absl::StatusCode::kInternal},
    {"is busy", [](Exchange& e) { e.Reply(429, ""); }, 0},
    {"fails", [](Exchange& e) { e.Reply(500, "SECRET"); }, 0},
    {"sends text without end in one event after the other, with no tokens", [](Exchange& e) {
       e.Begin();
       const std::string event = Event(std::string(900'000, 'x'), {kWords});
       for (int i = 0; i < 40; ++i) e.Write(event);
       e.WaitGone();
     }, -1},
};
// clang-format on

TEST_CASE("Whatever an upstream breaks, its sequence ends with what came, the prompt unbilled if nothing did, and others go on") {
  for (const Fault& fault : kFaults) {
    INFO(fault.what);
    std::atomic<bool> broken{true};
    ScriptedUpstream server([&](Exchange& e) { broken ? fault.answer(e) : WordModel{}.Answer(e); });
    const auto replica = StartUpstream(NoProbes(Upstream({server.url()})));
    const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(heard.end.status.code() == fault.code);
    CHECK(base::Message(heard.end.status).find("SECRET") == std::string::npos);
    if (fault.tokens >= 0) {
      CHECK(heard.end.tokens_decoded == fault.tokens);
      CHECK(heard.text == Said(0, static_cast<int>(fault.tokens)));
      CHECK(heard.end.input_tokens_evaluated == (fault.tokens == 0 ? 0 : 8));
    }
    broken = false;
    CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
  }
}

TEST_CASE("An upstream that gives more than it was asked for is cut off at that, and flagged") {
  ScriptedUpstream server([&](Exchange& e) {
    Begun(e, 50);
    e.WaitGone();
  });
  const auto replica = StartUpstream(NoProbes(Upstream({server.url()})));
  for (const bool by_allowance : {false, true}) {
    SequenceRequest request = AskUpstream(*replica);
    request.max_tokens = by_allowance ? 0 : 20;
    if (by_allowance) request.allowance = 20;
    request.allowance_final = by_allowance;
    const Heard heard = HearAll(*SubmitTo(*replica, request));
    CHECK(heard.end.tokens_decoded == 20);
    CHECK(heard.text == Said(0, 20));
    CHECK(heard.end.reason == (by_allowance ? EndReason::kAllowance : EndReason::kLength));
    CHECK(heard.end.reported.differs);
    CHECK(heard.end.reported.answers == 0);  // It was cut off before it could say.
  }
  // More tokens in one event than were asked for.
  ScriptedUpstream burst([&](Exchange& e) {
    e.Begin();
    e.Write(Event(Said(0, 9), {kWords, kWords + 1, kWords + 2, kWords + 3, kWords + 4, kWords + 5, kWords + 6, kWords + 7, kWords + 8}));
    e.WaitGone();
  });
  const auto other = StartUpstream(NoProbes(Upstream({burst.url()})));
  SequenceRequest request = AskUpstream(*other);
  request.max_tokens = 4;
  const Heard heard = HearAll(*SubmitTo(*other, request));
  CHECK(heard.end.tokens_decoded == 4);
  CHECK(heard.text == Said(0, 4));
}

TEST_CASE("Usage that is not what was sent and came is flagged; what is billed is our own count") {
  struct Row {
    std::int64_t input;
    std::int64_t output;
    bool differs;
  };
  constexpr std::int64_t kMost = kUpstreamCountMax;
  for (const Row& row : {Row{0, 0, false}, Row{1, 0, true}, Row{-8, 0, true}, Row{0, 1'000'000, true}, Row{0, -11, true},
                         Row{kMost - 8, 0, true}, Row{0, INT64_MAX - 11, true}, Row{-9, 0, true}, Row{0, INT64_MIN, true}}) {
    WordModel model;
    model.lie_input = row.input;
    model.lie_output = row.output;
    ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
    const auto replica = StartUpstream(NoProbes(Upstream({server.url()})));
    const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
    CHECK(heard.end.reason == EndReason::kStop);
    CHECK(heard.end.input_tokens == 8);
    CHECK(heard.end.tokens_decoded == 11);
    CHECK(heard.end.reported.differs == row.differs);
    const std::int64_t input = std::clamp<std::int64_t>(8 + row.input, 0, kMost),
                       output = std::clamp<std::int64_t>(11 + row.output, 0, kMost);
    CHECK(heard.end.reported.input_tokens == input);
    CHECK(heard.end.reported.output_tokens == output);
    CHECK(heard.end.reported.sent_tokens == 8);
    CHECK(heard.end.reported.came_tokens == 11);
    CHECK(heard.end.reported.answers == 1);
    CHECK(heard.end.reported.silent == 0);
    const UpstreamStats stats = replica->stats().upstream;
    CHECK(stats.usage_differences == (row.differs ? 1 : 0));
    CHECK(stats.input_tokens_differing == std::abs(input - 8));
    CHECK(stats.output_tokens_differing == std::abs(output - 11));
    CHECK(stats.usage_missing == 0);
  }
}

TEST_CASE("An upstream without a tokens' list is counted by our own tokenizer, text that it held back included") {
  ScriptedUpstream server([&](Exchange& e) {
    e.Begin();
    e.Write(Event("w0 w1 w2 "));
    e.Write(Event(""));
    e.Write(Event("ab"));
    e.Write(Event("", {}, "stop"));
    e.Write(kDone);
    e.End();
  });
  const auto replica = StartUpstream(NoProbes(Upstream({server.url()})));
  const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(heard.text == "w0 w1 w2 ab");
  CHECK(heard.end.tokens_decoded == 6);
  CHECK(heard.end.reported.output_tokens == -1);
  CHECK(heard.end.reported.silent == 1);
  CHECK(replica->stats().upstream.usage_missing == 1);
  CHECK_FALSE(heard.end.reported.differs);
}

TEST_CASE("A code point that the upstream holds back until it is whole comes whole") {
  ScriptedUpstream server([&](Exchange& e) {
    e.Begin();
    e.Write(Event("", {0xE4}));
    e.Write(Event("", {0xBD}));
    e.Write(Event("\xE4\xBD\xA0", {0xA0}));
    e.Write(Event("", {kEndTurn}, "stop") + UsageEvent(8, 4) + kDone);
    e.End();
  });
  const auto replica = StartUpstream(NoProbes(Upstream({server.url()})));
  const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(heard.text == "\xE4\xBD\xA0");
  CHECK(heard.end.tokens_decoded == 4);
  CHECK_FALSE(heard.end.reported.differs);
}

TEST_CASE("An upstream that stalls is given up, also while it sends comments, with what had come") {
  base::ManualClock clock;
  for (const bool pings : {false, true}) {
    ScriptedUpstream server([&](Exchange& e) {
      Begun(e, 3);
      for (int i = 0; pings && i < 20; ++i) e.Write(": still here\n\n");
      e.WaitGone();
    });
    ModelOptions options = NoProbes(Upstream({server.url()}));
    options.queue_timeout = seconds(3600);
    const auto replica = StartUpstream(options, clock);
    const auto stream = SubmitTo(*replica, AskUpstream(*replica));
    while (stream->tokens_decoded() < 3) std::this_thread::yield();
    const Heard heard = HearWhileTimePasses(*stream, clock);
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
    CHECK(heard.text == Said(0, 3));
    CHECK(heard.end.tokens_decoded == 3);
  }
}

TEST_CASE("An answer whose tokens have all come is complete, though its end does not") {
  base::ManualClock clock;
  for (const bool cut : {false, true}) {
    ScriptedUpstream server([&](Exchange& e) { Begun(e, 5), cut ? e.Cut() : static_cast<void>(e.WaitGone()); });
    const auto replica = StartUpstream(NoProbes(Upstream({server.url()})), clock);
    SequenceRequest request = AskUpstream(*replica);
    request.max_tokens = 5;
    const auto stream = SubmitTo(*replica, request);
    while (stream->tokens_decoded() < 4) std::this_thread::yield();  // The last waits for the answer's end.
    const Heard heard = HearWhileTimePasses(*stream, clock);
    CHECK(heard.end.reason == EndReason::kLength);
    CHECK(heard.text == Said(0, 5));
  }
}

TEST_CASE("An answer whose end was said is complete, though what it ends with does not come") {
  base::ManualClock clock;
  const std::string said = Event(Said(0, 5), {kWords, kWords + 1, kWords + 2, kWords + 3, kWords + 4}) + Event("", {}, "stop");
  for (const std::string& more : {std::string(), UsageEvent(8, 5) + kDone}) {
    for (const bool cut : {false, true}) {
      INFO(cut << more);
      ScriptedUpstream server([&](Exchange& e) { e.Begin(), e.Write(said + more), cut ? e.Cut() : static_cast<void>(e.WaitGone()); });
      const auto replica = StartUpstream(NoProbes(Upstream({server.url()})), clock);
      const auto stream = SubmitTo(*replica, AskUpstream(*replica));
      while (stream->tokens_decoded() < 5) std::this_thread::yield();
      const Heard heard = HearWhileTimePasses(*stream, clock);
      CHECK(heard.end.reason == EndReason::kStop);
      CHECK(heard.text == Said(0, 5));
    }
  }
}

TEST_CASE("Before the first token another server is tried; after it none is") {
  std::atomic<int> calls{0};
  std::function<void(Exchange&)> first;
  const auto handler = [&](Exchange& e) { ++calls == 1 ? first(e) : WordModel{}.Answer(e); };
  const std::function<void(Exchange&)> early[] = {[](Exchange& e) { e.Cut(); }, [](Exchange& e) { e.Reply(503, ""); },
                                                  [](Exchange& e) { e.Reply(429, ""); },
                                                  [](Exchange& e) {
                                                    e.Begin();
                                                    e.Cut();
                                                  },
                                                  [](Exchange& e) {
                                                    e.Begin();
                                                    e.Write("data: nonsense\n\n");
                                                    e.WaitGone();
                                                  }};
  for (const auto& fault : early) {
    calls = 0;
    first = fault;
    ScriptedUpstream a(handler), b(handler);
    const auto replica = StartUpstream(NoProbes(Upstream({a.url(), b.url()})));
    const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
    CHECK(heard.end.reason == EndReason::kStop);
    CHECK(heard.text == Said(0, 10));
    CHECK(replica->stats().upstream.retries == 1);
    CHECK(replica->stats().upstream.failures == 1);
    CHECK(a.requests().size() == 1);
    CHECK(b.requests().size() == 1);
  }
  calls = 0;
  first = [](Exchange& e) {
    Begun(e, 1);
    e.Cut();
  };
  ScriptedUpstream a(handler), b(handler);
  const auto replica = StartUpstream(NoProbes(Upstream({a.url(), b.url()})));
  const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(heard.end.reason == EndReason::kEngineFailed);
  CHECK(heard.text == Said(0, 1));
  CHECK(calls == 1);
}

TEST_CASE("A server that does not begin is left for another when the first token is late") {
  base::ManualClock clock;
  std::atomic<int> calls{0};
  const auto handler = [&](Exchange& e) {
    if (++calls > 1) return WordModel{}.Answer(e);
    e.Begin();
    e.WaitGone();
  };
  ScriptedUpstream a(handler), b(handler);
  ModelOptions options = NoProbes(Upstream({a.url(), b.url()}));
  const auto replica = StartUpstream(options, clock);
  const auto stream = SubmitTo(*replica, AskUpstream(*replica));
  while (calls == 0) std::this_thread::yield();
  clock.Advance(options.upstream.first_token_timeout);
  CHECK(HearAll(*stream).text == Said(0, 10));
  CHECK(calls == 2);
}

TEST_CASE("Attempts are bounded, and a fleet that is down refuses with a hint at once, the prompt unbilled") {
  const auto handler = [](Exchange& e) { e.Cut(); };
  ScriptedUpstream a(handler), b(handler), c(handler), d(handler);
  base::ManualClock clock;
  ModelOptions options = NoProbes(Upstream({a.url(), b.url(), c.url(), d.url()}));
  options.upstream.retries_max = 1;
  const auto replica = StartUpstream(options, clock);
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).end.reason == EndReason::kEngineFailed);
  CHECK(a.requests().size() + b.requests().size() + c.requests().size() + d.requests().size() == 2);
  for (int i = 0; i < 20 && replica->stats().upstream.usable > 0; ++i) HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(replica->stats().upstream.usable == 0);
  CHECK_FALSE(replica->stats().ready);
  const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
  const auto detail = base::DetailOf(heard.end.status);
  REQUIRE(detail);
  CHECK(detail->reason == "UPSTREAM_UNAVAILABLE");
  CHECK(detail->retry_after_ms == 1000);
  CHECK(heard.end.input_tokens_evaluated == 0);
}

TEST_CASE("A circuit that opened closes when the server works again") {
  base::ManualClock clock;
  std::atomic<bool> broken{true};
  ScriptedUpstream server([&](Exchange& e) { broken ? e.Cut() : WordModel{}.Answer(e); });
  const auto replica = StartUpstream(NoProbes(Upstream({server.url()})), clock);
  for (int i = 0; i < 3; ++i) HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  broken = false;
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).end.reason == EndReason::kEngineFailed);
  CHECK(server.requests().size() == 3);
  clock.Advance(seconds(1));
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
}

TEST_CASE("A server that is not well by its own word gets no requests until it is") {
  std::atomic<int> health{503};
  const auto handler = [&](Exchange& e) { e.request().path == "/health" ? e.Reply(health, "") : WordModel{}.Answer(e); };
  ScriptedUpstream sick(handler, true), well([](Exchange&e) { WordModel{}.Answer(e); });
  ModelOptions options = Upstream({sick.url(), well.url()});
  options.upstream.health_interval = milliseconds(20);
  const auto replica = StartUpstream(options);
  const auto until_usable = [&](int count) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(3);
    while (replica->stats().upstream.usable != count) {
      REQUIRE(std::chrono::steady_clock::now() < give_up);
      std::this_thread::yield();
    }
  };
  until_usable(1);
  for (int i = 0; i < 10; ++i) HearAll(*SubmitTo(*replica, AskUpstream(*replica, std::string(static_cast<std::size_t>(i), 'x'))));
  CHECK(sick.requests().empty());
  CHECK(well.requests().size() == 10);
  health = 200;
  until_usable(2);
}

TEST_CASE("An upstream that never ends holds up no shutdown") {
  Gate asked;
  ScriptedUpstream server([&](Exchange& e) {
    asked.Open();
    e.WaitGone();
  });
  auto replica = StartUpstream(Upstream({server.url()}));
  const auto stream = SubmitTo(*replica, AskUpstream(*replica));
  asked.Wait();
  replica->Stop();
  CHECK(HearAll(*stream).end.reason == EndReason::kShutdown);
}

}  // namespace
}  // namespace tollgate::inference
