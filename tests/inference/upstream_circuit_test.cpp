// An upstream's circuit, as answers that begin, that are broken off and that fail open and close it; and whether a model of servers is
// ready.
#include <atomic>

#include <catch2/catch_test_macros.hpp>

#include "inference/engines/upstream_engine.h"
#include "tests/inference/support.h"
#include "tests/inference/upstream_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using std::chrono::milliseconds;
using std::chrono::seconds;

ModelOptions OneServer(const ScriptedUpstream& server) {
  ModelOptions options = Upstream({server.url()});
  options.upstream.health_interval = milliseconds(0);
  options.upstream.retries_max = 0;
  return options;
}

TEST_CASE("A server that begins to answer whoever tries it takes others too, before that answer is over") {
  base::ManualClock clock;
  std::atomic<bool> broken{true};
  Gate begun, go_on;
  std::atomic<bool> first{true};
  WordModel slow;
  slow.before_word = [&](int word) {
    if (word != 1) return;
    begun.Open();
    go_on.Wait();
  };
  ScriptedUpstream server([&](Exchange& e) {
    if (broken) return e.Cut();
    first.exchange(false) ? slow.Answer(e) : WordModel{}.Answer(e);
  });
  const auto replica = StartUpstream(OneServer(server), clock);
  for (int i = 0; i < 3; ++i) HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  CHECK(replica->stats().upstream.usable == 0);
  broken = false;
  clock.Advance(seconds(1));
  const auto tries = SubmitTo(*replica, AskUpstream(*replica));
  begun.Wait();
  while (replica->stats().upstream.usable == 0) std::this_thread::yield();
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica, "another"))).text == Said(0, 10));
  go_on.Open();
  CHECK(HearAll(*tries).text == Said(0, 10));
}

TEST_CASE("Answers that were broken off after they had begun count as good: failures between them open nothing") {
  std::atomic<bool> broken{false};
  ScriptedUpstream server([&](Exchange& e) {
    if (broken) return e.Cut();
    e.Begin();
    e.Write(Event(Said(0, 1), {kWords}));
    e.WaitGone();
  });
  const auto replica = StartUpstream(OneServer(server));
  for (int i = 0; i < 6; ++i) {
    broken = true;
    CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).end.reason == EndReason::kEngineFailed);
    broken = false;
    SequenceRequest request = AskUpstream(*replica);
    request.max_tokens = 1;  // The server goes on; we do not.
    CHECK(HearAll(*SubmitTo(*replica, std::move(request))).text == Said(0, 1));
  }
  CHECK(replica->stats().upstream.usable == 1);
}

TEST_CASE("What servers say of one request within its answers opens no circuit, whoever asks for it and however often") {
  struct Row {
    const char* what;
    std::string said;
    bool form;
    std::size_t asked;  // Servers, for each request.
    absl::StatusCode code;
  };
  const std::string error = "data: {\"error\":{\"message\":\"SECRET\",\"type\":\"BadRequestError\",\"code\":400}}\n\n";
  for (const Row& row : {Row{"takes no such request", error, false, 1, absl::StatusCode::kInternal},
                         Row{"takes no such form", error, true, 1, absl::StatusCode::kInvalidArgument},
                         Row{"gives it up, and does not say why", Event("", {}, "abort"), true, 2, absl::StatusCode::kUnavailable}}) {
    INFO(row.what);
    const auto handler = [&](Exchange& e) {
      if (Asked(e.request().body).prompt.size() == 8) return WordModel{}.Answer(e);
      e.Begin();
      e.Write(row.said + kDone);
      e.End();
    };
    ScriptedUpstream a(handler), b(handler);
    ModelOptions options = Upstream({a.url(), b.url()});
    options.upstream.health_interval = milliseconds(0);
    base::ManualClock clock;
    const auto replica = StartUpstream(options, clock);
    for (int i = 0; i < 5; ++i) {
      SequenceRequest request = AskUpstream(*replica, "what they do not like");
      if (row.form) request.grammar = "root ::= \"w0 \"";
      const Heard heard = HearAll(*SubmitTo(*replica, std::move(request)));
      CHECK(heard.end.reason == EndReason::kEngineFailed);
      CHECK(heard.end.status.code() == row.code);
      CHECK(base::Message(heard.end.status).find("SECRET") == std::string::npos);
      CHECK(heard.end.input_tokens_evaluated == 0);
      CHECK(a.requests().size() + b.requests().size() == (static_cast<std::size_t>(i) + 1) * row.asked);
    }
    CHECK(replica->stats().upstream.usable == 2);
    CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
  }
}

TEST_CASE("A model is ready while one of its servers is, and not while none can be reached") {
  std::atomic<int> health{200};
  ScriptedUpstream server([&](Exchange& e) { e.request().path == "/health" ? e.Reply(health, "") : WordModel{}.Answer(e); }, true);
  ModelOptions options = Upstream({server.url(), "http://127.0.0.1:1"});
  options.upstream.health_interval = milliseconds(20);
  const auto replica = StartUpstream(options);
  for (const int now : {200, 503, 200}) {
    health = now;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(3);
    while (replica->stats().upstream.usable != (now == 200 ? 1 : 0)) {
      REQUIRE(std::chrono::steady_clock::now() < give_up);
      std::this_thread::yield();
    }
    CHECK(replica->stats().ready == (now == 200));
  }
}

}  // namespace
}  // namespace tollgate::inference
