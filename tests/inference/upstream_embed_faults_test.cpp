// The upstream embedder against servers that lie, break, stall and flood; and how it goes round them.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error_detail.h"
#include "tests/inference/upstream_embed_support.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
namespace json = boost::json;
using std::chrono::seconds;

const std::vector<float> kSound = {1, 2, 3, 4};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Fault {
  const char* what;
  std::function<void(Exchange&)> answer;  // To two inputs.
  bool retried = true;
  absl::StatusCode code = absl::StatusCode::kUnavailable;
};

void Say(Exchange& e, json::array data) { e.Reply(200, VectorsBody(std::move(data), 8)); }
void SayRaw(Exchange& e, const std::string& vector) {
  e.Reply(200, R"({"data":[{"index":0,"embedding":)" + vector + R"(},{"index":1,"embedding":[1,2,3,4]}]})");
}

// A fault a line.
// clang-format off
const Fault kFaults[] = {
    {"gives one vector for two", [](Exchange& e) { Say(e, {Entry(0, kSound)}); }},
    {"gives three vectors for two", [](Exchange& e) { Say(e, {Entry(0, kSound), Entry(1, kSound), Entry(2, kSound)}); }},
    {"gives none", [](Exchange& e) { Say(e, {}); }},
    {"gives a place twice", [](Exchange& e) { Say(e, {Entry(1, kSound), Entry(1, kSound)}); }},
    {"gives a place beyond the end", [](Exchange& e) { Say(e, {Entry(0, kSound), Entry(2, kSound)}); }},
    {"gives a place before the beginning", [](Exchange& e) { Say(e, {Entry(-1, kSound), Entry(1, kSound)}); }},
    {"gives no place", [](Exchange& e) { Say(e, {{{"embedding", json::array{1, 2, 3, 4}}}, Entry(1, kSound)}); }},
    {"gives a place that is no number", [](Exchange& e) { Say(e, {{{"index", "0"}, {"embedding", json::array{1, 2, 3, 4}}}, Entry(1, kSound)}); }},
    {"gives no vector", [](Exchange& e) { Say(e, {{{"index", 0}}, Entry(1, kSound)}); }},
    {"gives an entry that is none", [](Exchange& e) { Say(e, {0, Entry(1, kSound)}); }},
    {"gives short vectors", [](Exchange& e) { Say(e, {Entry(0, {1, 2, 3}), Entry(1, {1, 2, 3})}); }},
    {"gives a short vector", [](Exchange& e) { Say(e, {Entry(0, kSound), Entry(1, {1, 2, 3})}); }},
    {"gives a long vector", [](Exchange& e) { Say(e, {Entry(0, {1, 2, 3, 4, 5}), Entry(1, kSound)}); }},
    {"gives a short vector in base64", [](Exchange& e) { Say(e, {Entry(0, {1, 2, 3}, true), Entry(1, kSound)}); }},
    {"gives a long vector in base64", [](Exchange& e) { Say(e, {Entry(0, {1, 2, 3, 4, 5}, true), Entry(1, kSound)}); }},
    {"gives what is no base64", [](Exchange& e) { SayRaw(e, R"("SECRET!")"); }},
    {"gives no number in base64", [](Exchange& e) { Say(e, {Entry(0, {1, 2, kNan, 4}, true), Entry(1, kSound)}); }},
    {"gives an endless number in base64", [](Exchange& e) { Say(e, {Entry(0, {1, 2, -kInf, 4}, true), Entry(1, kSound)}); }},
    {"gives NaN", [](Exchange& e) { SayRaw(e, "[1,2,NaN,4]"); }},
    {"gives a number too large for a float", [](Exchange& e) { SayRaw(e, "[1,2,1e39,4]"); }},
    {"gives a number too large for anything", [](Exchange& e) { SayRaw(e, "[1,2,1e999,4]"); }},
    {"gives null for a number", [](Exchange& e) { SayRaw(e, "[1,2,null,4]"); }},
    {"gives text for a number", [](Exchange& e) { SayRaw(e, R"([1,2,"SECRET",4])"); }},
    {"gives a vector without a direction", [](Exchange& e) { SayRaw(e, "[0,0,0,0]"); }},
    {"gives null for a vector", [](Exchange& e) { SayRaw(e, "null"); }},
    {"counts less than nothing", [](Exchange& e) { e.Reply(200, VectorsBody({Entry(0, kSound), Entry(1, kSound)}, -1)); }},
    {"counts more than there can be", [](Exchange& e) { e.Reply(200, VectorsBody({Entry(0, kSound), Entry(1, kSound)}, 1LL << 50)); }},
    {"says what is no JSON", [](Exchange& e) { e.Reply(200, "<html>SECRET"); }},
    {"says nothing", [](Exchange& e) { e.Reply(200, ""); }},
    {"says another shape", [](Exchange& e) { e.Reply(200, "[1,2]"); }},
    {"reports an error", [](Exchange& e) { e.Reply(200, R"({"error":{"message":"your input SECRET"}})"); }},
    {"nests without end", [](Exchange& e) { e.Reply(200, std::string(60'000, '[')); }},
    {"cuts before a byte", [](Exchange& e) { e.Cut(); }},
    {"cuts its body", [](Exchange& e) { e.Begin(); e.Write(R"({"data":[{"index":0,"embe)"); e.Cut(); }},
    {"ends its body in the middle", [](Exchange& e) { e.Begin(); e.Write(R"({"data":[{"index":0,"embe)"); e.End(); }},
    {"floods", [](Exchange& e) { e.Begin(); for (int i = 0; i < 100; ++i) e.Write(std::string(100'000, ' ')); e.WaitGone(); }},
    {"is busy", [](Exchange& e) { e.Reply(429, ""); }},
    {"has no room", [](Exchange& e) { e.Reply(503, "SECRET"); }},
    {"fails", [](Exchange& e) { e.Reply(500, "SECRET"); }},
    {"refuses the request", [](Exchange& e) { e.Reply(400, "SECRET"); }, false, absl::StatusCode::kInternal},
    {"refuses our secret", [](Exchange& e) { e.Reply(401, "SECRET"); }, false, absl::StatusCode::kInternal},
    {"has no such path", [](Exchange& e) { e.Reply(404, "SECRET"); }, false, absl::StatusCode::kInternal},
    {"redirects", [](Exchange& e) { e.Reply(302, ""); }, false, absl::StatusCode::kInternal},
};
// clang-format on

TEST_CASE("Whatever a server lies or breaks, its job ends without a vector and unbilled, and the next is answered") {
  for (const Fault& fault : kFaults) {
    INFO(fault.what);
    std::atomic<bool> broken{true};
    ScriptedUpstream server([&](Exchange& e) { broken ? fault.answer(e) : ByteModel{}.Answer(e); });
    const auto replica = StartEmbedder(EmbedUpstream({server.url()}));
    const Heard heard = HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab", "cd"})));
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(heard.end.status.code() == fault.code);
    CHECK(base::Message(heard.end.status).find("SECRET") == std::string::npos);
    CHECK(heard.end.vectors.empty());
    CHECK(heard.end.input_tokens_evaluated == 0);
    CHECK(server.requests().size() == 1);
    CHECK(replica->stats().upstream.failures == 1);
    broken = false;
    CHECK(HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab", "cd"}))).end.vectors.size() == 8);
  }
}

TEST_CASE("Another server is asked the same while nothing was answered, unless the request is to blame") {
  for (const Fault& fault : kFaults) {
    INFO(fault.what);
    std::atomic<int> calls{0};
    const auto handler = [&](Exchange& e) { ++calls == 1 ? fault.answer(e) : ByteModel{}.Answer(e); };
    ScriptedUpstream a(handler), b(handler);
    const auto replica = StartEmbedder(EmbedUpstream({a.url(), b.url()}));
    const Heard heard = HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab", "cd"})));
    CHECK(heard.end.reason == (fault.retried ? EndReason::kStop : EndReason::kEngineFailed));
    CHECK(replica->stats().upstream.retries == (fault.retried ? 1 : 0));
    CHECK(a.requests().size() + b.requests().size() == (fault.retried ? 2U : 1U));
    if (fault.retried) CHECK(heard.end.input_tokens_evaluated == 8);
  }
}

TEST_CASE("What breaks off after parts were answered costs those, and gives nothing") {
  std::atomic<int> calls{0};
  ScriptedUpstream server([&](Exchange& e) { ++calls <= 2 ? ByteModel{}.Answer(e) : e.Cut(); });
  const auto replica = StartEmbedder(EmbedUpstream({server.url()}));
  const Heard heard = HearAll(*EmbedOn(*replica, JobOf(*replica, std::vector<std::string>(200, "ab"))));
  CHECK(heard.end.reason == EndReason::kEngineFailed);
  CHECK(heard.end.input_tokens == 800);
  CHECK(heard.end.input_tokens_evaluated == 512);
}

TEST_CASE("What a server says that inputs cost is compared, part by part, and flagged; our own count is billed") {
  for (const std::int64_t lie : {0, 1, -8, 1'000'000}) {
    ScriptedUpstream server([&](Exchange& e) { ByteModel{.lie = lie}.Answer(e); });
    const auto replica = StartEmbedder(EmbedUpstream({server.url()}));
    const Heard heard = HearAll(*EmbedOn(*replica, JobOf(*replica, std::vector<std::string>(100, "ab"))));
    CHECK(heard.end.reason == EndReason::kStop);
    CHECK(heard.end.input_tokens_evaluated == 400);
    CHECK(heard.end.reported.input_tokens == 400 + 2 * lie);
    CHECK(heard.end.reported.sent_tokens == 400);
    CHECK(heard.end.reported.answers == 2);
    CHECK(heard.end.reported.differs == (lie != 0));
    const UpstreamStats stats = replica->stats().upstream;
    CHECK(stats.usage_differences == (lie != 0 ? 1 : 0));
    CHECK(stats.input_tokens_differing == 2 * std::abs(lie));
    CHECK(stats.output_tokens_differing == 0);
  }
}

TEST_CASE("An answer that is not whole in time is left for another server, also while bytes of it come") {
  for (const bool drips : {false, true}) {
    base::ManualClock clock;
    std::atomic<int> calls{0};
    Gate dripped;
    const auto handler = [&](Exchange& e) {
      if (++calls > 1) return ByteModel{}.Answer(e);
      e.Begin();
      for (int i = 0; drips && i < 10; ++i) e.Write(" ");
      dripped.Open();
      e.WaitGone();
    };
    ScriptedUpstream a(handler), b(handler);
    const ModelOptions options = EmbedUpstream({a.url(), b.url()});
    const auto replica = StartEmbedder(options, clock);
    const auto stream = EmbedOn(*replica, JobOf(*replica, {"ab"}));
    dripped.Wait();
    clock.Advance(options.upstream.first_token_timeout);
    CHECK(HearAll(*stream).end.reason == EndReason::kStop);
    CHECK(calls == 2);
  }
}

TEST_CASE("Jobs that a server is too long at open no circuit while it answers others, and do where it answers nobody") {
  for (const bool answers : {true, false}) {
    base::ManualClock clock;
    std::atomic<int> left{0};
    ScriptedUpstream server([&](Exchange& e) {
      if (BodyOf(e.request()).at("input").as_array().size() == 1) return ByteModel{}.Answer(e);
      ++left;
      e.WaitGone();
    });
    const ModelOptions options = EmbedUpstream({server.url()});
    const auto replica = StartEmbedder(options, clock);
    std::vector<std::shared_ptr<TokenStream>> slow;
    for (int i = 0; i < 3; ++i) slow.push_back(EmbedOn(*replica, JobOf(*replica, {"ab", "cd"})));
    while (left < 3) std::this_thread::yield();
    clock.Advance(seconds(1));
    if (answers) CHECK(HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab"}))).end.reason == EndReason::kStop);
    clock.Advance(options.upstream.first_token_timeout);
    for (const auto& stream : slow) CHECK(HearAll(*stream).end.reason == EndReason::kEngineFailed);
    CHECK(replica->stats().upstream.usable == (answers ? 1 : 0));
  }
}

TEST_CASE("Servers that lie again and again get no more jobs for a while, and a fleet that has none left refuses with a hint") {
  base::ManualClock clock;
  std::atomic<bool> broken{true};
  ScriptedUpstream server([&](Exchange& e) { broken ? e.Reply(200, "{}") : ByteModel{}.Answer(e); });
  const auto replica = StartEmbedder(EmbedUpstream({server.url()}), clock);
  for (int i = 0; i < 3; ++i) HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab"})));
  broken = false;
  const Heard heard = HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab"})));
  CHECK(server.requests().size() == 3);
  const auto detail = base::DetailOf(heard.end.status);
  REQUIRE(detail);
  CHECK(detail->reason == "UPSTREAM_UNAVAILABLE");
  CHECK(detail->retry_after_ms == 1000);
  CHECK(heard.end.input_tokens_evaluated == 0);
  clock.Advance(seconds(1));
  CHECK(HearAll(*EmbedOn(*replica, JobOf(*replica, {"ab"}))).end.reason == EndReason::kStop);
}

TEST_CASE("Ranks that are no shares, not one for each document, or not finite are no answer") {
  const std::pair<const char*, const char*> lies[] = {
      {"a logit", R"([{"index":0,"relevance_score":1.5},{"index":1,"relevance_score":0.5}])"},
      {"less than nothing", R"([{"index":0,"relevance_score":-0.1},{"index":1,"relevance_score":0.5}])"},
      {"one of two", R"([{"index":0,"relevance_score":0.5}])"},
      {"one twice", R"([{"index":0,"relevance_score":0.5},{"index":0,"relevance_score":0.5}])"},
      {"a place beyond", R"([{"index":0,"relevance_score":0.5},{"index":2,"relevance_score":0.5}])"},
      {"no score", R"([{"index":0},{"index":1,"relevance_score":0.5}])"},
      {"null", R"([{"index":0,"relevance_score":null},{"index":1,"relevance_score":0.5}])"},
      {"endless", R"([{"index":0,"relevance_score":1e999},{"index":1,"relevance_score":0.5}])"}};
  for (const auto& [what, results] : lies) {
    INFO(what);
    ScriptedUpstream server([results = results](Exchange& e) { e.Reply(200, fmt::format(R"({{"results":{}}})", results)); });
    const auto replica = StartEmbedder(EmbedUpstream({server.url()}, Pooling::kRank));
    const Heard heard = HearAll(*EmbedOn(*replica, RankJobOf(*replica, {"q", "ab", "cd"})));
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(heard.end.input_tokens_evaluated == 0);
  }
}

}  // namespace
}  // namespace tollgate::inference
