// An upstream's circuit, as answers that begin, that are broken off and that fail open and close it; and whether a model of servers is
// ready.
#include <atomic>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/error_detail.h"
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

// A server that never begins an answer in a form, nor one to a prompt that is longer than five letters, and answers all else. It says how
// many of those it has.
struct Particular {
  std::atomic<bool> broken{false};
  std::atomic<int> left{0};
  ScriptedUpstream server;
  Particular()
      : server([this](Exchange& e) {
          const std::string& body = e.request().body;
          if (broken) return e.Cut();
          if (body.find("structured_outputs") == std::string::npos && Asked(body).prompt.size() == 8) return WordModel{}.Answer(e);
          ++left;
          e.WaitGone();
        }) {}
  int answered() const { return static_cast<int>(server.requests().size()) - left; }
  void AwaitLeft(int count) const {
    while (left < count) std::this_thread::yield();
  }
};

SequenceRequest AskSlow(const Replica& replica, bool form) {
  SequenceRequest request = AskUpstream(replica, form ? "hello" : "one that is longer");
  if (form) request.grammar = "root ::= \"w0 \"";
  return request;
}

TEST_CASE("Forms and long prompts that a server does not begin open no circuit while it answers others") {
  const bool form = GENERATE(true, false);
  base::ManualClock clock;
  Particular a, b;
  ModelOptions options = Upstream({a.server.url(), b.server.url()}, 8);
  if (!form) options.upstream.endpoints.pop_back();
  options.upstream.health_interval = milliseconds(0);
  const auto replica = StartUpstream(options, clock);
  for (int round = 1; round <= 2; ++round) {
    std::vector<std::shared_ptr<TokenStream>> slow;
    for (int i = 0; i < 4; ++i) slow.push_back(SubmitTo(*replica, AskSlow(*replica, form)));
    while (a.left + b.left < 4 * round) std::this_thread::yield();
    clock.Advance(seconds(30));
    const int before_a = a.answered(), before_b = b.answered();
    for (int i = 0; i < 100 && (a.answered() == before_a || (form && b.answered() == before_b)); ++i)
      CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica, std::to_string(10'000 + i)))).text == Said(0, 10));
    REQUIRE(a.answered() > before_a);
    clock.Advance(options.upstream.first_token_timeout - seconds(30));
    for (const auto& stream : slow) {
      const Heard heard = HearAll(*stream);
      CHECK(heard.end.reason == EndReason::kEngineFailed);
      CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
      CHECK(base::DetailOf(heard.end.status).value_or(base::ErrorDetail{}).may_retry != form);  // Sent again it would take as long.
      CHECK((base::Message(heard.end.status).find("in this form") != std::string::npos) == form);
    }
    CHECK(a.left + b.left == 4 * round);  // No other server was held up by it.
    CHECK(replica->stats().upstream.usable == (form ? 2 : 1));
  }
}

TEST_CASE("Where nobody is answered, silence opens the circuit, whatever was asked for") {
  const bool form = GENERATE(true, false);
  base::ManualClock clock;
  Particular fussy;
  const ModelOptions options = OneServer(fussy.server);
  const auto replica = StartUpstream(options, clock);
  std::vector<std::shared_ptr<TokenStream>> slow;
  for (int i = 0; i < 3; ++i) slow.push_back(SubmitTo(*replica, AskSlow(*replica, form)));
  fussy.AwaitLeft(3);
  clock.Advance(options.upstream.first_token_timeout);
  for (const auto& stream : slow) CHECK(HearAll(*stream).end.reason == EndReason::kEngineFailed);
  CHECK(replica->stats().upstream.usable == 0);
}

TEST_CASE("A server that is tried with a form, or with a long prompt, is soon there for others") {
  const bool form = GENERATE(true, false);
  base::ManualClock clock;
  Particular fussy;
  const ModelOptions options = OneServer(fussy.server);
  const auto replica = StartUpstream(options, clock);
  fussy.broken = true;
  for (int i = 0; i < 3; ++i) HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  REQUIRE(replica->stats().upstream.usable == 0);
  fussy.broken = false;
  clock.Advance(seconds(1));
  const auto slow = SubmitTo(*replica, AskSlow(*replica, form));
  fussy.AwaitLeft(1);
  if (!form) {
    CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).end.reason == EndReason::kEngineFailed);
    clock.Advance(seconds(5));
  }
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
  CHECK(replica->stats().upstream.usable == 1);
  clock.Advance(options.upstream.first_token_timeout);
  CHECK(HearAll(*slow).end.reason == EndReason::kEngineFailed);
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 10));
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
