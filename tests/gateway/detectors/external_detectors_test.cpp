// External detectors that answer, that hang, that fail, that flood: each question gets one answer, and none waits for ever.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <future>
#include <thread>

#include "gateway/detectors/external_detectors.h"
#include "gateway/pipeline/breaker.h"
#include "tests/support/scripted_upstream.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using detectors::DetectorOptions;
using detectors::ExternalDetectors;
using pipeline::QuestionAnswer;
using std::chrono::milliseconds;

namespace {

std::unique_ptr<ExternalDetectors> Make(const test::ScriptedUpstream& server, const std::function<void(DetectorOptions&)>& set = {}) {
  DetectorOptions options;
  options.name = "toxicity";
  options.url = server.url() + "/judge";
  options.deadline = std::chrono::minutes(2);
  if (set) set(options);
  auto made = ExternalDetectors::Create({options});
  REQUIRE(made.ok());
  return *std::move(made);
}

std::future<QuestionAnswer> Ask(ExternalDetectors& detectors, const std::string& text, const std::string& name = "toxicity",
                                std::chrono::milliseconds patience = std::chrono::hours(1), const std::string& tenant = "") {
  pipeline::QuestionAsk ask;
  ask.question = {"r", "r", name, {0}};
  ask.messages = std::make_shared<const std::vector<policy::Message>>(std::vector<policy::Message>{{policy::Role::kUser, "", {text}}});
  ask.tenant = tenant;
  ask.deadline = std::chrono::steady_clock::now() + patience;
  auto promise = std::make_shared<std::promise<QuestionAnswer>>();
  auto future = promise->get_future();
  detectors.Ask(std::move(ask), [promise](QuestionAnswer answer) { promise->set_value(std::move(answer)); });
  return future;
}

// A server that answers "no hit" once its gate is open.
struct Gated {
  test::Gate gate;
  test::ScriptedUpstream server{[this](test::ScriptedUpstream::Exchange& exchange) {
    gate.Wait();
    exchange.Reply(200, R"({"hit":false})");
  }};
};

}  // namespace

TEST_CASE("A detector is asked with its secret and answers") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) {
    const bool bad = exchange.request().body.find("evil") != std::string::npos;
    exchange.Reply(200, bad ? R"({"hit":true,"score":0.9,"category":"evil"})" : R"({"hit":false})");
  });
  const auto detectors = Make(server, [](DetectorOptions& o) { o.bearer = "s3cret"; });
  const QuestionAnswer bad = Ask(*detectors, "evil words").get();
  CHECK(bad.answer.hit);
  CHECK(bad.category == "evil");
  CHECK(bad.answer.failure.empty());
  CHECK_FALSE(Ask(*detectors, "kind words").get().answer.hit);
  CHECK(server.requests()[0].method == "POST");
  CHECK(server.requests()[0].path == "/judge");
  CHECK(server.requests()[0].headers.at("authorization") == "Bearer s3cret");
  const auto stats = detectors->stats();
  CHECK(stats[0].asked == 2);
  CHECK(stats[0].hits == 1);
  CHECK(stats[0].failures == 0);
}

TEST_CASE("Whatever a detector does wrong is an answer that says so, without its words") {
  struct Row {
    int status;
    std::string body;
    const char* failure;
  };
  const Row rows[] = {{500, "secret", "answered with status 500"},
                      {200, "secret", "cannot be read"},
                      {200, R"({"hit":"secret"})", "'hit' must be true or false"},
                      {204, "", "answered with status 204"},
                      {200, std::string(100'000, ' '), "longer than 64 KiB"}};
  for (const Row& row : rows) {
    test::ScriptedUpstream server([&](test::ScriptedUpstream::Exchange& exchange) { exchange.Reply(row.status, row.body); });
    const QuestionAnswer answer = Ask(*Make(server), "x").get();
    CHECK_THAT(answer.answer.failure, ContainsSubstring(row.failure) && !ContainsSubstring("secret"));
    CHECK(answer.answer.id == "r");
  }
  test::ScriptedUpstream cut([](test::ScriptedUpstream::Exchange& exchange) { exchange.Cut(); });
  CHECK_THAT(Ask(*Make(cut), "x").get().answer.failure, ContainsSubstring("cannot be reached, or broke off"));
}

TEST_CASE("A detector that hangs is given up at its deadline") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) { exchange.WaitGone(); });
  const auto detectors = Make(server, [](DetectorOptions& o) { o.deadline = milliseconds(30); });
  CHECK_THAT(Ask(*detectors, "x").get().answer.failure, ContainsSubstring("did not answer in time"));
}

TEST_CASE("Questions wait for their turn, and those beyond the bound are answered at once") {
  Gated gated;
  const auto detectors = Make(gated.server, [](DetectorOptions& o) {
    o.running_max = 1;
    o.waiting_max = 2;
  });
  auto first = Ask(*detectors, "1");
  gated.server.WaitForRequests(1);
  auto second = Ask(*detectors, "2"), third = Ask(*detectors, "3");
  CHECK_THAT(Ask(*detectors, "4").get().answer.failure, ContainsSubstring("too many questions waiting"));
  gated.gate.Open();
  CHECK(first.get().answer.failure.empty());
  CHECK(second.get().answer.failure.empty());
  CHECK(third.get().answer.failure.empty());
}

TEST_CASE("Where nobody may wait, whoever has a turn at once is asked all the same") {
  Gated gated;
  const auto detectors = Make(gated.server, [](DetectorOptions& o) {
    o.running_max = 2;
    o.waiting_max = 0;
  });
  auto first = Ask(*detectors, "1"), second = Ask(*detectors, "2");
  gated.server.WaitForRequests(2);
  CHECK_THAT(Ask(*detectors, "3").get().answer.failure, ContainsSubstring("too many questions waiting"));
  gated.gate.Open();
  CHECK(first.get().answer.failure.empty());
  CHECK(second.get().answer.failure.empty());
}

TEST_CASE("Where nobody may wait, whoever has its share of the turns takes no place that another could run in") {
  Gated gated;
  const auto detectors = Make(gated.server, [](DetectorOptions& o) {
    o.running_max = 4;
    o.waiting_max = 0;
  });
  const auto hour = milliseconds(std::chrono::hours(1));
  std::vector<std::future<QuestionAnswer>> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(Ask(*detectors, "1", "toxicity", hour, "loud"));
    gated.server.WaitForRequests(static_cast<std::size_t>(i) + 1);
  }
  CHECK_THAT(Ask(*detectors, "1", "toxicity", hour, "loud").get().answer.failure, ContainsSubstring("too many questions waiting"));
  all.push_back(Ask(*detectors, "quiet", "toxicity", hour, "quiet"));
  gated.server.WaitForRequests(4);
  gated.gate.Open();
  for (auto& one : all) CHECK(one.get().answer.failure.empty());
}

TEST_CASE("One that fails again and again is left alone for a while") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) { exchange.Reply(503, ""); });
  const auto detectors = Make(server, [](DetectorOptions& o) {
    o.failures_max = 2;
    o.rest = std::chrono::hours(1);
  });
  Ask(*detectors, "1").get();
  Ask(*detectors, "2").get();
  CHECK_THAT(Ask(*detectors, "3").get().answer.failure, ContainsSubstring("failed 2 times in a row"));
  CHECK(server.requests().size() == 2);
  CHECK(detectors->stats()[0].resting);
}

TEST_CASE("What a detector fails at for one tenant is that tenant's; that it cannot be reached is everybody's") {
  const auto hour = milliseconds(std::chrono::hours(1));
  const auto once = [](DetectorOptions& o) {
    o.failures_max = 1;
    o.rest = std::chrono::hours(1);
    o.deadline = milliseconds(1500);
  };
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) {
    const std::string& body = exchange.request().body;
    if (body.find("hang") != std::string::npos) {
      exchange.WaitGone();
      return;
    }
    if (body.find("cut") != std::string::npos) return exchange.Cut();
    exchange.Reply(body.find("crash") != std::string::npos ? 500 : 200, R"({"hit":false})");
  });
  const auto detectors = Make(server, once);
  for (const std::string odd : {"crash", "hang", "cut"}) {
    INFO(odd);
    CHECK_FALSE(Ask(*detectors, odd, "toxicity", hour, odd).get().answer.failure.empty());
    CHECK_THAT(Ask(*detectors, "x", "toxicity", hour, odd).get().answer.failure, ContainsSubstring("left alone"));
    CHECK(Ask(*detectors, "x", "toxicity", hour, "other").get().answer.failure.empty());
  }
  CHECK(detectors->stats()[0].resting);

  server.Refuse();
  const auto unreachable = Make(server, once);
  CHECK_THAT(Ask(*unreachable, "x", "toxicity", hour, "one").get().answer.failure, ContainsSubstring("cannot be reached"));
  CHECK_THAT(Ask(*unreachable, "x", "toxicity", hour, "other").get().answer.failure, ContainsSubstring("left alone"));
}

TEST_CASE("One with a short deadline may try whether a detector is back") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) {
    const std::string& body = exchange.request().body;
    if (body.find("hang") != std::string::npos) {
      exchange.WaitGone();
      return;
    }
    exchange.Reply(body.find("crash") != std::string::npos ? 503 : 200, R"({"hit":false})");
  });
  const auto detectors = Make(server, [](DetectorOptions& o) {
    o.failures_max = 1;
    o.rest = milliseconds(0);
  });
  CHECK_THAT(Ask(*detectors, "crash").get().answer.failure, ContainsSubstring("503"));
  CHECK_THAT(Ask(*detectors, "hang", "toxicity", milliseconds(300)).get().answer.failure, ContainsSubstring("did not answer in time"));
  CHECK(Ask(*detectors, "x", "toxicity", std::chrono::seconds(60)).get().answer.failure.empty());
}

TEST_CASE("Of breakers, so many are kept; who fails beyond them is not spared") {
  const auto now = pipeline::Breaker::Time{} + std::chrono::hours(1);
  pipeline::Breakers breakers(1, milliseconds(100));
  for (std::size_t i = 0; i < pipeline::Breakers::kKeptMax; ++i) breakers.Failed(std::to_string(i), now);
  breakers.Failed("more", now);
  CHECK_FALSE(breakers.May("0", now));
  CHECK(breakers.May("more", now));
  for (std::size_t i = 0; i < pipeline::Breakers::kKeptMax; ++i) breakers.Succeeded(std::to_string(i));
  CHECK_FALSE(breakers.open());
}

TEST_CASE("A breaker rests while nobody may try, and is forgotten when its key has long not failed") {
  const auto t0 = pipeline::Breaker::Time{} + std::chrono::hours(1);
  pipeline::Breakers breakers(1, milliseconds(100));
  breakers.Failed("gone", t0);
  CHECK(breakers.resting(t0 + milliseconds(99)));
  CHECK_FALSE(breakers.resting(t0 + milliseconds(100)));  // Without anybody asking.
  CHECK(breakers.open());
  for (std::size_t i = 1; i < pipeline::Breakers::kKeptMax; ++i) breakers.Failed(std::to_string(i), t0);
  const auto later = t0 + pipeline::Breakers::kForgottenAfter;
  breakers.Failed("more", later);
  CHECK_FALSE(breakers.May("more", later));  // There is room for it.
  breakers.Succeeded("more");
  CHECK_FALSE(breakers.open());
}

TEST_CASE("A detector that was left alone is not told as resting when its rest is over, whoever asks it or does not") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) { exchange.Reply(503, ""); });
  const auto detectors = Make(server, [](DetectorOptions& o) {
    o.failures_max = 1;
    o.rest = milliseconds(100);
  });
  Ask(*detectors, "x").get();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (detectors->stats()[0].resting && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  CHECK_FALSE(detectors->stats()[0].resting);

  server.Refuse();
  Ask(*detectors, "x", "toxicity", milliseconds(std::chrono::hours(1)), "other").get();
  while (detectors->stats()[0].resting && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  CHECK_FALSE(detectors->stats()[0].resting);
}

TEST_CASE("A caller's short deadline, or an odd text, is no failure of the detector's own") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) {
    const std::string& body = exchange.request().body;
    if (body.find("hang") != std::string::npos) {
      exchange.WaitGone();
      return;
    }
    exchange.Reply(body.find("odd") != std::string::npos ? 400 : 200, R"({"hit":false})");
  });
  const auto detectors = Make(server, [](DetectorOptions& o) {
    o.failures_max = 2;
    o.rest = std::chrono::hours(1);
  });
  for (int i = 0; i < 4; ++i) {
    CHECK_THAT(Ask(*detectors, "hang", "toxicity", milliseconds(20)).get().answer.failure, ContainsSubstring("did not answer in time"));
    CHECK_THAT(Ask(*detectors, "odd").get().answer.failure, ContainsSubstring("status 400"));
  }
  CHECK(Ask(*detectors, "x").get().answer.failure.empty());
  CHECK_FALSE(detectors->stats()[0].resting);
}

TEST_CASE("Tenants' questions are taken in turn, and one with half of the places leaves the last quarter to others") {
  Gated gated;
  const auto detectors = Make(gated.server, [](DetectorOptions& o) {
    o.running_max = 4;
    o.waiting_max = 8;
  });
  const auto hour = milliseconds(std::chrono::hours(1));
  std::vector<std::future<QuestionAnswer>> many;
  for (int i = 0; i < 3; ++i) many.push_back(Ask(*detectors, "1", "toxicity", hour, "loud"));
  gated.server.WaitForRequests(3);
  for (int i = 0; i < 6; ++i) many.push_back(Ask(*detectors, "1", "toxicity", hour, "loud"));  // They wait for one of the three.
  CHECK_THAT(Ask(*detectors, "1", "toxicity", hour, "loud").get().answer.failure, ContainsSubstring("too many questions waiting"));
  auto quiet = Ask(*detectors, "quiet", "toxicity", hour, "quiet");
  gated.server.WaitForRequests(4);
  CHECK(gated.server.requests()[3].body.find("quiet") != std::string::npos);
  gated.gate.Open();
  CHECK(quiet.get().answer.failure.empty());
  for (auto& one : many) CHECK(one.get().answer.failure.empty());
}

TEST_CASE("After its rest one question tries whether it is back") {
  const auto t0 = pipeline::Breaker::Time{} + std::chrono::hours(1);
  pipeline::Breaker breaker(2, milliseconds(100));
  CHECK(breaker.May(t0));
  breaker.Failed(t0);
  CHECK(breaker.May(t0));
  breaker.Failed(t0);
  CHECK(breaker.open());
  CHECK_FALSE(breaker.May(t0 + milliseconds(99)));
  CHECK(breaker.May(t0 + milliseconds(100)));
  CHECK_FALSE(breaker.May(t0 + milliseconds(101)));  // One alone.
  breaker.Failed(t0 + milliseconds(110));
  CHECK_FALSE(breaker.May(t0 + milliseconds(200)));
  CHECK(breaker.May(t0 + milliseconds(210)));
  breaker.Succeeded();
  CHECK_FALSE(breaker.open());
  CHECK(breaker.May(t0 + milliseconds(211)));
}

TEST_CASE("A name that no detector has, and a gateway that goes, are answers too") {
  test::ScriptedUpstream server([](test::ScriptedUpstream::Exchange& exchange) { exchange.WaitGone(); });
  auto detectors = Make(server);
  CHECK_THAT(Ask(*detectors, "x", "other").get().answer.failure, ContainsSubstring("no detector 'other' is configured"));
  auto open = Ask(*detectors, "x");
  server.WaitForRequests(1);
  detectors.reset();
  CHECK_THAT(open.get().answer.failure, ContainsSubstring("shutting down"));
  CHECK_FALSE(ExternalDetectors::Create({{.name = "a", .url = "http://127.0.0.1:1"}, {.name = "a", .url = "http://127.0.0.1:1"}}).ok());
}
