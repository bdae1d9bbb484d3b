// The upstream engine against servers that keep to their word.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <mutex>

#include "base/error_detail.h"
#include "inference/engines/upstream_engine.h"
#include "tests/inference/support.h"
#include "tests/inference/upstream_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using std::chrono::milliseconds;

// One request at a time and one question after the server's health beside it: where connections are used again, a third is never opened.
constexpr int kConnectionsMax = 2;

TEST_CASE("An answer comes token by token, counted by ids or by our own tokenizer, with the upstream's count beside it") {
  const bool names_tokens = GENERATE(true, false);
  WordModel model{.words = 10, .names_tokens = names_tokens};
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  const auto replica = StartUpstream(Upstream({server.url()}));
  const auto stream = SubmitTo(*replica, AskUpstream(*replica));
  const Heard heard = HearAll(*stream);
  CHECK(heard.text == Said(0, 10));
  CHECK(heard.end.reason == EndReason::kStop);
  CHECK(heard.end.input_tokens == 8);
  CHECK(heard.end.input_tokens_evaluated == 8);
  CHECK(heard.end.tokens_decoded == 11);  // The end of the turn is one.
  CHECK(heard.end.reported.input_tokens == 8);
  CHECK(heard.end.reported.output_tokens == 11);
  CHECK_FALSE(heard.end.reported.differs);
  const ModelInfo info = replica->info();
  CHECK(info.engine == "openai");
  CHECK(info.engine_build == "openai 1, vllm upstream-words");
  CHECK(replica->stats().kv_tokens_total == 0);  // Its context is there.
}

TEST_CASE("What goes out is token ids, our own salt and our own priority, the secret in its header, and nothing else of the caller") {
  WordModel model;
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  ModelOptions options = Upstream({server.url() + "/"});
  options.upstream.bearer = "open-sesame";
  options.upstream.priority = true;
  options.upstream.salt_key = "key";
  const auto replica = StartUpstream(options);
  SequenceRequest request = AskUpstream(*replica, "secret plans");
  request.band = 3;
  request.stop = {"never"};
  const auto prompt = request.prompt_tokens;
  HearAll(*SubmitTo(*replica, request));
  request.tenant = Team(2);
  HearAll(*SubmitTo(*replica, request));
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].path == "/v1/completions");
  CHECK(requests[0].headers.at("authorization") == "Bearer open-sesame");
  CHECK(requests[0].body.find("secret plans") == std::string::npos);
  CHECK(requests[0].body.find("never") == std::string::npos);
  const Asked first(requests[0].body), second(requests[1].body);
  CHECK(first.prompt == prompt);
  CHECK(first.priority == 3);
  CHECK(first.salt.size() == 43);
  CHECK(second.salt.size() == 43);
  CHECK(first.salt != second.salt);
  CHECK(requests[1].connection <= kConnectionsMax);
}

TEST_CASE("An upstream never computes beyond the allowance; when more is allowed, the answer goes on from where it stood") {
  WordModel model{.words = 40};
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  const auto replica = StartUpstream(Upstream({server.url()}));
  SequenceRequest request = AskUpstream(*replica);
  request.allowance = 5;
  const auto stream = SubmitTo(*replica, request);
  Heard heard;
  REQUIRE(Hear(*stream, heard) == Taken::kParked);
  CHECK(heard.text == Said(0, 5));
  stream->Allow(20, false);
  REQUIRE(Hear(*stream, heard) == Taken::kParked);
  CHECK(heard.text == Said(0, 20));
  stream->Allow(30, true);
  REQUIRE(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.text == Said(0, 30));
  CHECK(heard.end.reason == EndReason::kAllowance);
  CHECK(heard.end.tokens_decoded == 30);
  CHECK(heard.end.reported.output_tokens == 30);
  CHECK_FALSE(heard.end.reported.differs);
  const auto requests = server.requests();
  REQUIRE(requests.size() == 3);
  const std::int64_t asked[] = {5, 15, 10};
  for (std::size_t i = 0; i < 3; ++i) CHECK(Asked(requests[i].body).max_tokens == asked[i]);
  CHECK(Asked(requests[2].body).prompt.size() == 8 + 20);
  CHECK(requests[2].connection <= kConnectionsMax);  // A parked sequence keeps no connection to itself.
}

TEST_CASE(
    "A control token, of which an upstream that names no tokens gives no text, is counted once by its word, and nothing is asked again") {
  struct Row {
    const char* text;
    const char* finish;
    std::int64_t max_tokens, reported;
    EndReason reason;
    std::int64_t decoded, came;
  };
  for (const Row& row : {Row{"a", "length", 2, 2, EndReason::kLength, 2, 1}, Row{"", "length", 1, 1, EndReason::kLength, 1, 0},
                         Row{"a", "length", 4, 9, EndReason::kLength, 4, 1}, Row{"", "stop", 5, 1, EndReason::kStop, 1, 1}}) {
    ScriptedUpstream server([&](Exchange& e) {
      e.Begin();
      if (*row.text != 0) e.Write(Event(row.text));
      e.Write(Event("") + Event("", {}, row.finish) + UsageEvent(8, row.reported) + kDone);
      e.End();
    });
    const auto replica = StartUpstream(Upstream({server.url()}));
    SequenceRequest request = AskUpstream(*replica);
    request.max_tokens = row.max_tokens;
    const Heard heard = HearAll(*SubmitTo(*replica, request));
    CHECK(heard.end.reason == row.reason);
    CHECK(heard.text == row.text);
    CHECK(heard.end.tokens_decoded == row.decoded);
    CHECK(heard.end.input_tokens_evaluated == 8);
    CHECK(heard.end.reported.output_tokens == row.reported);
    CHECK(heard.end.reported.came_tokens == row.came);
    CHECK(heard.end.reported.differs == (row.reported != row.came));
    CHECK(server.requests().size() == 1);
  }
}

TEST_CASE("Behind a token without text an answer goes on from what is known of it") {
  ScriptedUpstream server([&](Exchange& e) {
    const bool first = Asked(e.request().body).prompt.size() == 8;
    e.Begin();
    e.Write(first ? Event("a") + Event("") + Event("", {}, "length") + UsageEvent(8, 2) : Event("b", {}, "stop") + UsageEvent(9, 2));
    e.Write(kDone);
    e.End();
  });
  const auto replica = StartUpstream(Upstream({server.url()}));
  SequenceRequest request = AskUpstream(*replica);
  request.allowance = 2;
  const auto stream = SubmitTo(*replica, request);
  Heard heard;
  REQUIRE(Hear(*stream, heard) == Taken::kParked);
  CHECK(stream->tokens_decoded() == 2);
  stream->Allow(10, false);
  REQUIRE(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.text == "ab");
  CHECK(heard.end.tokens_decoded == 4);
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK(Asked(requests[1].body).prompt.size() == 9);
  CHECK(Asked(requests[1].body).max_tokens == 8);
}

TEST_CASE("Of a token without text nobody learns an id") {
  ScriptedUpstream server([&](Exchange& e) {
    e.Begin();
    e.Write(Event("a") + Event("", {}, "length") + UsageEvent(8, 3) + kDone);
    e.End();
  });
  const auto replica = StartUpstream(Upstream({server.url()}));
  SequenceRequest request = AskUpstream(*replica);
  request.max_tokens = 3;
  request.want_tokens = true;
  std::vector<std::int32_t> ids;
  for (const Piece& piece : HearAll(*SubmitTo(*replica, request)).pieces) {
    for (const OutputToken& token : piece.tokens) ids.push_back(token.id);
  }
  CHECK(ids == std::vector<std::int32_t>{'a', kUnknownToken, kUnknownToken});
}

TEST_CASE("A server that repeats a long prompt in its first event is heard, and one that says as much of its own is not") {
  constexpr std::size_t kPrompt = 250'000;
  const bool its_own = GENERATE(false, true);
  ScriptedUpstream server([&](Exchange& e) {
    std::string ids = "100000";
    for (std::size_t i = 1; i < kPrompt; ++i) ids += ",123456";
    const std::string first = Event(Said(0, 1), {kWords});
    const std::string echo = its_own ? "\"more\":\"" + std::string(kPrompt * 20, 'x') + "\"," : "\"prompt_token_ids\":[" + ids + "],";
    e.Begin();
    e.Write(std::string(first).insert(first.find("\"text\""), echo));
    e.Write(Event(Said(1, 2), {kWords + 1}) + Event("", {kEndTurn}, "stop") + UsageEvent(static_cast<std::int64_t>(kPrompt), 3) + kDone);
    e.End();
  });
  ModelOptions options = Upstream({server.url()});
  options.context_tokens = 300'000;
  const auto replica = StartUpstream(options);
  SequenceRequest request = AskUpstream(*replica);
  request.prompt_tokens.assign(kPrompt, 'x');
  const Heard heard = HearAll(*SubmitTo(*replica, std::move(request)));
  INFO(heard.end.status.ToString());
  CHECK(heard.end.reason == (its_own ? EndReason::kEngineFailed : EndReason::kStop));
  CHECK(heard.text == (its_own ? "" : Said(0, 2)));
  CHECK_FALSE(heard.end.reported.differs);
  CHECK(replica->stats().upstream.failures == (its_own ? 1 : 0));
}

TEST_CASE("max_tokens and the context bound what is asked for") {
  WordModel model{.words = 500};
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  ModelOptions options = Upstream({server.url()});
  options.context_tokens = 100;
  const auto replica = StartUpstream(options);
  SequenceRequest request = AskUpstream(*replica);
  request.max_tokens = 7;
  const Heard some = HearAll(*SubmitTo(*replica, request));
  CHECK(some.end.reason == EndReason::kLength);
  CHECK(some.end.tokens_decoded == 7);
  CHECK(some.text == Said(0, 7));
  request.max_tokens = 0;
  const Heard all = HearAll(*SubmitTo(*replica, request));
  CHECK(all.end.tokens_decoded == 92);
  CHECK(all.text == Said(0, 92));
}

TEST_CASE("Tokens taken back are asked for anew, without those that are banned") {
  WordModel model{.words = 30};
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  const auto replica = StartUpstream(Upstream({server.url()}));
  SequenceRequest request = AskUpstream(*replica);
  request.allowance = 10;
  const auto stream = SubmitTo(*replica, request);
  Heard heard;
  REQUIRE(Hear(*stream, heard) == Taken::kParked);
  REQUIRE(stream->Rewind(4, {kWords + 4, kWords + 5}));
  stream->Allow(1000, false);
  Heard rest;
  REQUIRE(Hear(*stream, rest) == Taken::kEnd);
  REQUIRE_FALSE(rest.pieces.empty());
  CHECK(rest.pieces[0].text_at == static_cast<std::int64_t>(Said(0, 4).size()));
  CHECK(rest.text == Said(6, 30));
  CHECK(rest.end.tokens_decoded == 10 + 24 + 1);
}

TEST_CASE("A sequence that is cancelled, or meets its stop string, closes its connection, and the others go on") {
  std::atomic<int> gone{0};
  Gate all_gone;
  ScriptedUpstream server([&](Exchange& e) {
    if (Asked(e.request().body).prompt.size() > 8) return WordModel{.words = 3}.Answer(e);
    e.Begin();
    e.Write(Event("w0 ", {kWords}));
    if (e.WaitGone() && ++gone == 2) all_gone.Open();
  });
  const auto replica = StartUpstream(Upstream({server.url()}));
  SequenceRequest request = AskUpstream(*replica);
  const auto cancelled = SubmitTo(*replica, request);
  request.stop = {"w0"};
  const Heard stopped = HearAll(*SubmitTo(*replica, request));
  CHECK(stopped.end.reason == EndReason::kStop);
  CHECK(stopped.end.stop_index == 0);
  CHECK(stopped.text.empty());
  Piece piece;
  while (cancelled->tokens_decoded() == 0) std::this_thread::yield();
  static_cast<void>(cancelled->Take(piece));
  cancelled->Cancel();
  CHECK(HearAll(*cancelled).end.reason == EndReason::kCancelled);
  all_gone.Wait();
  CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica, "longer than the others"))).text == Said(0, 3));
}

TEST_CASE("A sequence that nobody reads holds up no other") {
  WordModel model{.words = 600};
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  ModelOptions options = Upstream({server.url()}, 2);
  options.stream_buffer_bytes = 64;
  const auto replica = StartUpstream(options);
  const auto unread = SubmitTo(*replica, AskUpstream(*replica));
  for (int i = 0; i < 5; ++i) CHECK(HearAll(*SubmitTo(*replica, AskUpstream(*replica))).text == Said(0, 600));
  CHECK(HearAll(*unread).text == Said(0, 600));
}

TEST_CASE("Several answers to one prompt are requests of their own, each with its seed") {
  WordModel model{.words = 5};
  ScriptedUpstream server([&](Exchange& e) { model.Answer(e); });
  const auto replica = StartUpstream(Upstream({server.url()}));
  const std::uint64_t seeds[] = {1, 2, 3};
  auto streams = replica->SubmitGroup(AskUpstream(*replica), {}, seeds);
  REQUIRE(streams.ok());
  for (const auto& stream : *streams) CHECK(HearAll(*stream).text == Said(0, 5));
  CHECK(server.requests().size() == 3);
}

TEST_CASE("What the engine cannot do is refused before it is queued") {
  ScriptedUpstream server([](Exchange&) {});
  ModelOptions options = Upstream({server.url()});
  options.upstream.kind = UpstreamKind::kTensorRtLlm;
  const auto replica = StartUpstream(options);
  SequenceRequest request = AskUpstream(*replica);
  request.logprobs = 1;
  CHECK(replica->Submit(request).status().code() == absl::StatusCode::kUnimplemented);
  request.logprobs = -1;
  request.json = true;
  CHECK(replica->Submit(request).status().code() == absl::StatusCode::kUnimplemented);
}

TEST_CASE("Options that make no sense are refused with the remedy") {
  struct Row {
    std::function<void(UpstreamOptions&)> spoil;
    const char* word;
  };
  const Row rows[] = {{[](auto& u) { u.endpoints.clear(); }, "endpoints"},
                      {[](auto& u) { u.endpoints = {"ftp://x"}; }, "endpoints"},
                      {[](auto& u) { u.endpoints = {"http://user:password@x"}; }, "password"},
                      {[](auto& u) { u.model.clear(); }, "upstream.model"},
                      {[](auto& u) { u.certificate_file = "/x"; }, "key_file"},
                      {[](auto& u) { u.ca_file = "/no/such"; }, "/no/such"},
                      {[](auto& u) { u.bearer = "a\nb"; }, "line"}};
  for (const Row& row : rows) {
    ModelOptions model = Upstream({"http://127.0.0.1:1"});
    row.spoil(model.upstream);
    const auto engine = MakeUpstreamEngine(model, WordTokenizer(), base::SystemClock());
    REQUIRE_FALSE(engine.ok());
    CHECK(base::Message(engine.status()).find(row.word) != std::string::npos);
  }
}

TEST_CASE("Prompts of one beginning stay with one server; many at once use all") {
  WordModel model{.words = 2};
  Gate gate;
  std::atomic<bool> hold{false};
  model.before_word = [&](int) {
    if (hold) gate.Wait();
  };
  const auto handler = [&](Exchange& e) { model.Answer(e); };
  ScriptedUpstream a(handler), b(handler), c(handler);
  const auto replica = StartUpstream(Upstream({a.url(), b.url(), c.url()}, 12));
  for (int i = 0; i < 6; ++i) HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  const std::size_t most = std::max({a.requests().size(), b.requests().size(), c.requests().size()});
  CHECK(most == 6);
  hold = true;
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < 12; ++i) streams.push_back(SubmitTo(*replica, AskUpstream(*replica)));
  for (const ScriptedUpstream* server : {&a, &b, &c}) server->WaitForRequests(2);
  gate.Open();
  for (const auto& stream : streams) CHECK(HearAll(*stream).text == Said(0, 2));
}

}  // namespace
}  // namespace tollgate::inference
