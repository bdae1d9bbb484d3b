// The upstream embedder against servers that do what they should.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <atomic>
#include <set>

#include "tests/inference/upstream_embed_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
namespace json = boost::json;

std::vector<std::string> Texts(int count) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) texts.push_back(fmt::format("{} {}", static_cast<char>('a' + i % 26), std::string(i % 7, 'x')));
  return texts;
}

json::array Ids(const std::vector<std::int32_t>& tokens) { return json::array(tokens.begin(), tokens.end()); }

TEST_CASE("Inputs go as their token ids, in parts, and their vectors come in order and of length 1, as numbers or as base64") {
  for (const bool base64 : {false, true}) {
    ScriptedUpstream server([&](Exchange& e) { ByteModel{.base64 = base64}.Answer(e); });
    const auto replica = StartEmbedder(EmbedUpstream({server.url()}));
    const auto texts = Texts(130);
    const EmbedJob job = JobOf(*replica, texts);
    const Heard heard = HearAll(*EmbedOn(*replica, job));
    REQUIRE(heard.end.reason == EndReason::kStop);
    REQUIRE(heard.end.vectors.size() == 130 * 4);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::vector<float> expected = OfLengthOne(VectorOf(texts[i].size() + 2, texts[i][0]));
      for (std::size_t n = 0; n < 4; ++n) CHECK(heard.end.vectors[i * 4 + n] == Approx(expected[n]));
    }
    CHECK(heard.end.input_tokens_evaluated == heard.end.input_tokens);
    CHECK(heard.end.tokens_decoded == 0);
    CHECK(heard.end.reported.input_tokens == heard.end.input_tokens);
    CHECK_FALSE(heard.end.reported.differs);
    CHECK(replica->stats().prompt_tokens == heard.end.input_tokens);
    const auto requests = server.requests();
    REQUIRE(requests.size() == 3);
    std::size_t input = 0;
    for (const auto& request : requests) {
      CHECK(request.path == "/v1/embeddings");
      const json::object body = BodyOf(request);
      CHECK(body.at("model") == "upstream-bytes");
      CHECK(body.at("encoding_format") == "base64");
      CHECK(body.at("cache_salt").as_string().size() == 43);
      CHECK(body.size() == 4);
      for (const json::value& sent : body.at("input").as_array()) CHECK(sent == Ids(job.inputs[input++]));
    }
    CHECK(input == 130);
  }
}

TEST_CASE("Jobs are with all servers at once, each with the same number, and another team's salt is another") {
  Gate gate;
  const auto handler = [&](Exchange& e) {
    gate.Wait();
    ByteModel{}.Answer(e);
  };
  ScriptedUpstream a(handler), b(handler);
  ModelOptions model = EmbedUpstream({a.url(), b.url()});
  model.slots = 5;  // The last one is kept for a tenant that holds none.
  const auto replica = StartEmbedder(model);
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(EmbedOn(*replica, JobOf(*replica, {fmt::format("text {}", i)}, 1 + i % 2)));
  a.WaitForRequests(2);
  b.WaitForRequests(2);
  gate.Open();
  for (const auto& stream : streams) CHECK(HearAll(*stream).end.reason == EndReason::kStop);
  CHECK(a.requests().size() == 2);
  CHECK(b.requests().size() == 2);
  std::set<std::string> salts;
  for (const ScriptedUpstream* server : {&a, &b}) {
    for (const auto& request : server->requests()) salts.insert(BodyOf(request).at("cache_salt").as_string().c_str());
  }
  CHECK(salts.size() == 2);
}

TEST_CASE("A job that is cancelled or late is gone from its server at once and costs nothing") {
  base::ManualClock clock;
  for (const bool late : {false, true}) {
    Gate asked, gone;
    ScriptedUpstream server([&](Exchange& e) {
      asked.Open();
      if (e.WaitGone()) gone.Open();
    });
    const auto replica = StartEmbedder(EmbedUpstream({server.url()}), clock);
    EmbedJob job = JobOf(*replica, {"hello"});
    if (late) job.deadline = clock.Mono() + std::chrono::seconds(5);
    const auto stream = EmbedOn(*replica, std::move(job));
    asked.Wait();
    late ? clock.Advance(std::chrono::seconds(5)) : stream->Cancel();
    const Heard heard = HearAll(*stream);
    gone.Wait();
    CHECK(heard.end.reason == (late ? EndReason::kDeadline : EndReason::kCancelled));
    CHECK(heard.end.input_tokens_evaluated == 0);
    CHECK(heard.end.vectors.empty());
    CHECK(replica->stats().upstream.failures == 0);
  }
}

TEST_CASE("A kept connection that its server has closed is replaced unseen, and a server that never ends holds up no shutdown") {
  std::atomic<bool> ends{true};
  Gate asked;
  ScriptedUpstream server([&](Exchange& e) {
    if (ends) {
      ByteModel{}.Answer(e);
      return e.Cut();
    }
    asked.Open();
    e.WaitGone();
  });
  const auto replica = StartEmbedder(EmbedUpstream({server.url()}));
  for (int i = 0; i < 20; ++i) CHECK(HearAll(*EmbedOn(*replica, JobOf(*replica, {"hello"}))).end.reason == EndReason::kStop);
  CHECK(replica->stats().upstream.failures == 0);
  ends = false;
  const auto stream = EmbedOn(*replica, JobOf(*replica, {"hello"}));
  asked.Wait();
  replica->Stop();
  CHECK(HearAll(*stream).end.reason == EndReason::kShutdown);
}

TEST_CASE("Documents go as text in which no control token is spelt, and each gets its score, whatever order they come in") {
  for (const UpstreamKind kind : {UpstreamKind::kVllm, UpstreamKind::kLlamaServer}) {
    const bool logits = kind == UpstreamKind::kLlamaServer;
    ScriptedUpstream server([&](Exchange& e) {
      const json::object asked = BodyOf(e.request());
      const std::string query(asked.at("query").as_string());
      json::array results;
      std::int64_t tokens = 0;
      for (std::size_t i = asked.at("documents").as_array().size(); i-- > 0;) {
        const std::string document(asked.at("documents").as_array()[i].as_string());
        tokens += static_cast<std::int64_t>(query.size() + document.size()) + 3;
        const double score = static_cast<double>(document.size()) / 100;
        results.push_back({{"index", i}, {"document", {{"text", document}}}, {"relevance_score", score}});
      }
      e.Reply(200, json::serialize(json::object{{"results", std::move(results)}, {"usage", {{"total_tokens", tokens}}}}));
    });
    ModelOptions model = EmbedUpstream({server.url()}, Pooling::kRank);
    model.upstream.kind = kind;
    const auto replica = StartEmbedder(model);
    std::vector<std::string> texts = Texts(71);
    texts[0] = "who </s> sat?";
    texts[2] = "the <s>cat</s> \"sat\" \xC3\xBC";
    const Heard heard = HearAll(*EmbedOn(*replica, RankJobOf(*replica, texts)));
    INFO(heard.end.status.ToString());
    REQUIRE(heard.end.reason == EndReason::kStop);
    REQUIRE(heard.end.vectors.size() == 70);
    for (std::size_t i = 0; i < 70; ++i) {
      const double raw = static_cast<double>(ByteTexts(Pooling::kRank).Sent(texts[i + 1]).size()) / 100;
      CHECK(heard.end.vectors[i] == Approx(logits ? 1 / (1 + std::exp(-raw)) : raw));
    }
    CHECK_FALSE(heard.end.reported.differs);
    CHECK(heard.end.reported.input_tokens == heard.end.input_tokens);
    const auto requests = server.requests();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].path == "/v1/rerank");
    const json::object body = BodyOf(requests[0]);
    CHECK(body.at("query") == "who < /s> sat?");
    CHECK(body.at("documents").as_array()[1] == "the < s>cat< /s> \"sat\" \xC3\xBC");
    CHECK(body.size() == (logits ? 3 : 4));
  }
}

TEST_CASE("Servers that make no vectors, or no ranks, are refused with the remedy") {
  const auto refusal = [](UpstreamKind kind, Pooling pooling) {
    ModelOptions model = EmbedUpstream({"http://127.0.0.1:1"}, pooling);
    model.upstream.kind = kind;
    const auto made = MakeUpstreamEmbedder(model, std::make_unique<ByteTexts>(pooling), base::SystemClock());
    return made.ok() ? std::string() : base::Message(made.status());
  };
  CHECK(refusal(UpstreamKind::kSglang, Pooling::kMean).empty());
  CHECK_THAT(refusal(UpstreamKind::kSglang, Pooling::kRank), ContainsSubstring("vllm or llama_server"));
  CHECK_THAT(refusal(UpstreamKind::kTensorRtLlm, Pooling::kMean), ContainsSubstring("leave pooling out"));
}

}  // namespace
}  // namespace tollgate::inference
