// The upstream engine against servers that send without end, or nothing at all, over real sockets and by the real clock: what is read is
// bounded, and so is how long anybody waits.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include <fmt/format.h>

#include "inference/engines/upstream_engine.h"
#include "tests/inference/support.h"
#include "tests/inference/upstream_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using std::chrono::milliseconds;

// Beyond what is read: what lies in the buffers of both sockets.
constexpr std::int64_t kSentBytesMax = 32 << 20;

std::string Chunk(const std::string& bytes) { return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes); }

struct Flood {
  const char* what;
  std::function<void(Exchange&)> begin;
  std::string piece;  // Sent again and again.
  std::int64_t tokens = 0;
};

void Begun(Exchange& e) {
  e.Begin();
  for (int i = 0; i < 3; ++i) e.Write(Event(Said(i, i + 1), {kWords + i}));
}

const std::string kMany(100'000, 'x');
const Flood kFloods[] = {{"an event's line",
                          [](Exchange& e) {
                            Begun(e);
                            e.Write("data: ");
                          },
                          Chunk(kMany), 3},
                         {"an event of many lines", Begun, Chunk("data: " + kMany + "\n"), 3},
                         {"a comment", Begun, Chunk(": " + kMany), 3},
                         {"a refusal's body", [](Exchange& e) { e.Begin(503); }, Chunk(kMany)},
                         {"a line of its head", [](Exchange& e) { e.Raw("HTTP/1.1 200 fine\r\nx-more: "); }, kMany},
                         {"its head", [](Exchange& e) { e.Raw("HTTP/1.1 200 fine\r\n"); }, "x-more: " + std::string(1000, 'x') + "\r\n"}};

TEST_CASE("What a server sends without end is read no further than it may go; another server is asked if nothing had come") {
  for (const Flood& flood : kFloods) {
    INFO(flood.what);
    std::atomic<std::int64_t> sent{0};
    std::atomic<int> calls{0};
    const auto handler = [&](Exchange& e) {
      if (++calls > 1) return WordModel{}.Answer(e);
      flood.begin(e);
      while (e.Raw(flood.piece) && sent < 4 * kSentBytesMax) sent += static_cast<std::int64_t>(flood.piece.size());
      e.Cut();
    };
    ScriptedUpstream a(handler), b(handler);
    ModelOptions options = Upstream({a.url(), b.url()});
    options.upstream.health_interval = milliseconds(0);
    const auto replica = StartUpstream(options);
    const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
    CHECK(heard.end.reason == (flood.tokens > 0 ? EndReason::kEngineFailed : EndReason::kStop));
    CHECK(heard.text == (flood.tokens > 0 ? Said(0, 3) : Said(0, 10)));
    CHECK(heard.end.tokens_decoded == (flood.tokens > 0 ? flood.tokens : 11));
    CHECK(sent < kSentBytesMax);
    CHECK(replica->stats().upstream.failures == 1);
  }
}

// Of one step: how many tokens came for each slot. What has ended is in no further step.
std::map<int, int> Given(Engine& engine, std::vector<EngineWork>& work) {
  std::vector<EngineOutput> outputs;
  std::map<int, int> given;
  REQUIRE(engine.Step(work, outputs).ok());
  for (EngineWork& item : work) item.prompt_tokens = 0;
  for (const EngineOutput& output : outputs) {
    INFO(output.status.ToString());
    REQUIRE(output.status.ok());
    given[output.slot] += output.token >= 0 ? 1 : 0;
    if (output.ends) std::erase_if(work, [&](const EngineWork& item) { return item.slot == output.slot; });
  }
  return given;
}

TEST_CASE("What is costly to follow is given out in parts, so that everybody's tokens come in between, and all of it comes") {
  constexpr int kHeld = 4, kTokens = 60;
  std::string grammar = "root ::= ";  // Many readings, none of which is decided.
  for (int i = 0; i < 8; ++i) grammar += fmt::format("{}([a-z0-9 ]{{1,4}}){{1,{}}}", i == 0 ? "" : " | ", 1000 - i);
  ScriptedUpstream server([&](Exchange& e) {
    std::string all;
    for (int i = 0; i < kTokens; ++i) all += Event(Said(i, i + 1), {kWords + i});
    e.Begin();
    e.Write(all + Event("", {kEndTurn}, "stop") + kDone);
    e.End();
  });
  ModelOptions options = Upstream({server.url()}, kHeld + 1);
  options.upstream.health_interval = milliseconds(0);
  const auto engine = MakeUpstreamEngine(options, WordTokenizer(), base::SystemClock());
  REQUIRE(engine.ok());
  const std::vector<std::int32_t> prompt = {1, 2, 3};
  std::vector<EngineWork> work;
  for (int i = 0; i <= kHeld; ++i) {
    REQUIRE((*engine)->Open(i, {.prompt_tokens = prompt, .grammar = i < kHeld ? std::string_view(grammar) : std::string_view()}).ok());
    work.push_back({i, 3, 1000});
  }
  std::map<int, int> sum;
  int most = 0;  // In one step, of those that are held to the grammar.
  while (!work.empty()) {
    int held = 0;
    for (const auto& [slot, count] : Given(**engine, work)) {
      sum[slot] += count;
      held += slot < kHeld ? count : 0;
    }
    most = std::max(most, held);
  }
  for (const auto& [slot, count] : sum) CHECK(count == kTokens + 1);
  CHECK(most < kTokens);
}

TEST_CASE("A grammar that was read where it was asked for is not read again on the engine's thread, nor for another attempt") {
  std::atomic<int> calls{0};
  const auto handler = [&](Exchange& e) {
    if (++calls == 1) return e.Cut();
    e.Begin();
    e.Write(Event(Said(0, 1), {kWords}) + Event("", {kEndTurn}, "stop") + kDone);
    e.End();
  };
  ScriptedUpstream a(handler), b(handler);
  ModelOptions options = Upstream({a.url(), b.url()});
  options.upstream.health_interval = milliseconds(0);
  const auto made = MakeUpstreamEngine(options, WordTokenizer(), base::SystemClock());
  REQUIRE(made.ok());
  Engine& engine = **made;
  auto read = engine.CheckGrammar("root ::= \"w0 \"");
  REQUIRE(read.ok());
  const std::vector<std::int32_t> prompt = {1, 2, 3};
  REQUIRE(engine.Open(0, {.prompt_tokens = prompt, .grammar = "no grammar at all", .read = *std::move(read)}).ok());
  std::vector<EngineWork> work = {{0, 3, 1000}};
  int given = 0;
  while (!work.empty()) given += Given(engine, work)[0];
  CHECK(given == 2);
  CHECK(calls == 2);
  engine.Close(0);
  CHECK_FALSE(engine.Open(0, {.prompt_tokens = prompt, .grammar = "no grammar at all"}).ok());
}

TEST_CASE("Comments without end are no tokens: the server is left when its time has passed") {
  base::ManualClock clock;
  std::atomic<int> calls{0}, comments{0};
  const auto handler = [&](Exchange& e) {
    if (++calls > 1) return WordModel{}.Answer(e);
    e.Begin();
    while (e.Raw(Chunk(": still here\n\n"))) ++comments;
  };
  ScriptedUpstream a(handler), b(handler);
  ModelOptions options = Upstream({a.url(), b.url()});
  options.upstream.health_interval = milliseconds(0);
  const auto replica = StartUpstream(options, clock);
  const auto stream = SubmitTo(*replica, AskUpstream(*replica));
  while (comments < 1000) std::this_thread::yield();
  clock.Advance(options.upstream.first_token_timeout);
  CHECK(HearAll(*stream).text == Said(0, 10));
  CHECK(calls == 2);
}

TEST_CASE("A server that says nothing is given up by the clock: before TLS, before the first token, between tokens") {
  ScriptedUpstream server([](Exchange& e) {
    if (Asked(e.request().body).prompt.size() == 8) Begun(e);
    e.WaitGone();
  });
  struct Row {
    bool tls;
    const char* prompt;
    std::int64_t tokens;
    const char* why;
  };
  for (const Row& row :
       {Row{true, "hello", 0, "Timeout"}, Row{false, "hello there", 0, "did not begin"}, Row{false, "hello", 3, "stopped"}}) {
    ModelOptions options = Upstream({row.tls ? "https" + server.url().substr(4) : server.url()});
    options.upstream.health_interval = milliseconds(0);
    options.upstream.connect_timeout = milliseconds(200);  // By libcurl's clock; the others by this one.
    base::ManualClock clock;
    const auto replica = StartUpstream(options, clock);
    const std::size_t asked = server.requests().size();
    const auto stream = SubmitTo(*replica, AskUpstream(*replica, row.prompt));
    if (!row.tls) {
      while (server.requests().size() == asked || stream->tokens_decoded() < row.tokens) std::this_thread::yield();
      clock.Advance(row.tokens == 0 ? options.upstream.first_token_timeout : options.upstream.stall_timeout);
    }
    const Heard heard = HearAll(*stream);
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
    CHECK(base::Message(heard.end.status).find(row.why) != std::string::npos);
    CHECK(heard.end.tokens_decoded == row.tokens);
  }
}

}  // namespace
}  // namespace tollgate::inference
