// pool.isolation: an engine that aborts, or a model's process that dies, in the middle of requests. In a process of its own it takes down
// what ran in it and nothing else; on a thread it takes the instance down, which heals when its supervisor, here the test, starts it again.
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/http_client.h"

namespace {

using namespace tollgate::e2e;
using std::chrono::steady_clock;

InstanceOptions Faulty(const std::string& isolation) {
  return {.isolation = isolation, .program = TOLLGATE_BINARY_DIR "/bin/tollgate_faulty"};
}

std::string Restarts(int times) { return fmt::format("tollgate_pool_engine_restarts_total{{model=\"scripted\"}} {}\n", times); }

struct World {
  explicit World(const std::string& isolation) : gateway(std::make_unique<Gateway>(installation, Faulty(isolation))) {
    Admin admin(*gateway, installation.owner_key());
    key = MakeCompany(admin).key;
  }
  Ports ports() const { return PortsOf(*gateway); }
  Answer AskFor(Surface surface, const std::string& prompt, const std::string& model = "scripted") const {
    return Ask(ports(), surface, {.key = key, .prompt = prompt, .model = model});
  }
  bool Answers(Surface surface) const {
    return Eventually([&] { return AskFor(surface, "hello").text == "hello"; }, milliseconds(30'000));
  }
  void Run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--admin", fmt::format("127.0.0.1:{}", gateway->admin_port()), "--key", installation.owner_key()});
    const Finished finished = RunTollgate(words);
    INFO(finished.err);
    REQUIRE(finished.code == 0);
  }
  void AddSecond() const {
    Run({"models", "add", "second", "--engine", "scripted", "--context", "10000"});
    Run({"prices", "set", "second", "--input", "0.10", "--output", "0.40"});
    Run({"models", "load", "second"});
    REQUIRE(Eventually([&] { return AskFor(Surface::kHttpPlain, "hello", "second").done; }));
  }
  // Five times, so that it rests.
  void KillModel() const {
    for (int i = 0; i < 5; ++i) {
      int running = 0;
      REQUIRE(Eventually([&] { return (running = gateway->ModelProcess("scripted")) > 0; }));
      REQUIRE(Eventually([&] { return gateway->Metrics().find("tollgate_pool_ready{model=\"scripted\"} 1\n") != std::string::npos; }));
      ::kill(running, SIGKILL);
      REQUIRE(Eventually([&] { return gateway->ModelProcess("scripted") != running; }));
      if (i < 4) REQUIRE(Eventually([&] { return gateway->Metrics().find(Restarts(i + 1)) != std::string::npos; }));
    }
    REQUIRE(Eventually([&] { return gateway->Metrics().find("tollgate_pool_ready{model=\"scripted\"} 0\n") != std::string::npos; }));
  }
  // One terminal record a request, and usage, records and ledger agree.
  void FinalChecks() {
    Books books(installation);
    CHECK(Eventually([&] { return books.Open() == 0; }));
    CHECK(books.Check() == "");
    CHECK(Reconcile(*gateway, installation.owner_key()) == "");
    CHECK(gateway->Stop() == 0);
    CHECK(books.CheckBalances() == "");
  }
  Installation installation;
  std::unique_ptr<Gateway> gateway;
  std::string key;
};

}  // namespace

TEST_CASE("With isolation: process an abort fails what ran in the engine, harms no other model, and the engine comes back") {
  World world("process");
  world.AddSecond();
  Answer other;
  std::jthread asking([&] { other = world.AskFor(Surface::kHttpStream, "!pace_ms 5\n!tokens 400", "second"); });
  int restarts = 0;
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const Answer broken = world.AskFor(surface, "!say one two\n!abort");
    CHECK_FALSE(broken.done);
    if (!IsStream(surface)) CHECK(broken.code == (IsGrpc(surface) ? 14 : 503));
    CHECK(world.Answers(surface));
    CHECK(Eventually([&] { return world.gateway->Metrics().find(Restarts(restarts + 1)) != std::string::npos; }));
    ++restarts;
  }
  asking.join();
  INFO(other.message);
  CHECK(other.done);
  CHECK(other.output == 400);
  CHECK(world.gateway->Ready());
  Books books(world.installation);
  const std::vector<std::string> reasons = books.Reasons();
  CHECK(std::count(reasons.begin(), reasons.end(), "ENGINE_FAILED") == 4);
  world.FinalChecks();
}

TEST_CASE("A model's process that is killed in mid-stream ends that stream, on record; told to stop, the instance lets streams end") {
  World world("process");
  std::atomic<std::size_t> got{0};
  Answer broken;
  {
    std::jthread asking([&] {
      Question question{.key = world.key, .prompt = "!pace_ms 1\n!tokens 100000"};
      question.on_text = [&](const std::string& text) {
        got = text.size();
        return true;
      };
      broken = Ask(world.ports(), Surface::kGrpcStream, question);
    });
    REQUIRE(Eventually([&] { return got > 50; }));
    const int process = world.gateway->ModelProcess("scripted");
    REQUIRE(process > 0);
    ::kill(process, SIGKILL);
  }
  CHECK_FALSE(broken.done);
  CHECK(broken.code == 14);
  CHECK(world.Answers(Surface::kHttpStream));
  Books books(world.installation);
  Admin admin(*world.gateway, world.installation.owner_key());
  CHECK(CheckAcknowledged(admin, books, {broken}) == "");

  Answer whole;
  const std::int64_t before = books.Requests();
  std::jthread asking([&] { whole = world.AskFor(Surface::kHttpStream, "!pace_ms 5\n!tokens 200"); });
  REQUIRE(Eventually([&] { return books.Requests() == before + 1; }));
  // As a service manager does: to every process of the group.
  ::kill(world.gateway->ModelProcess("scripted"), SIGTERM);
  CHECK(world.gateway->Stop() == 0);
  asking.join();
  CHECK(whole.done);
  CHECK(whole.output == 200);
  CHECK(books.Open() == 0);
  CHECK(books.Check() == "");
  CHECK(books.CheckBalances() == "");
}

TEST_CASE("An instance whose only model's process is gone is not ready until it is back, and no process outlives its instance") {
  World world("process");
  const int process = world.gateway->ModelProcess("scripted");
  REQUIRE(process > 0);
  world.gateway->Kill9();
  CHECK(Eventually([&] { return !std::filesystem::exists(fmt::format("/proc/{}", process)); }));
  world.gateway.reset();
  world.gateway = std::make_unique<Gateway>(world.installation, Faulty("process"));
  world.KillModel();
  CHECK_FALSE(world.gateway->Ready());
  CHECK(Get(world.gateway->probes_port(), "/readyz").body.find("process of every model") != std::string::npos);
  const Answer refused = world.AskFor(Surface::kHttpPlain, "hello");
  CHECK(refused.code == 503);
  CHECK(refused.reason == "engine_restarting");
  Books books(world.installation);
  CHECK(Eventually([&] { return books.Open() == 0; }));
  CHECK(books.Check() == "");
  CHECK(world.gateway->Stop() == 0);
}

TEST_CASE("An abort while vectors are computed fails what ran there, on record; the next one works, and other models are unharmed") {
  World world("process");
  world.Run({"models", "add", "vec", "--engine", "scripted", "--context", "2048", "--pooling", "mean"});
  world.Run({"prices", "set", "vec", "--input", "0.10", "--output", "0.40"});
  world.Run({"models", "load", "vec"});
  const auto embed = [&](const std::string& inputs) {
    HttpConnection connection(world.gateway->http_port());
    connection.Send(Post("/v1/embeddings", world.key, R"({"model":"vec","input":)" + inputs + "}"));
    return connection.Read();
  };
  REQUIRE(Eventually([&] { return embed(R"("hello")").status == 200; }));
  const std::string vectors = embed(R"(["hello","again"])").body;
  Answer other;
  std::jthread asking([&] { other = world.AskFor(Surface::kHttpStream, "!pace_ms 5\n!tokens 300"); });
  const HttpReply broken = embed(R"(["hello","!abort"])");
  CHECK(broken.status == 503);
  CHECK(broken.body.find("engine_lost") != std::string::npos);
  REQUIRE(Eventually([&] { return embed(R"(["hello","again"])").status == 200; }));
  const std::string again = embed(R"(["hello","again"])").body;
  CHECK(again.substr(again.find("\"data\"")) == vectors.substr(vectors.find("\"data\"")));
  asking.join();
  INFO(other.message);
  CHECK(other.output == 300);
  CHECK(world.gateway->Metrics().find("tollgate_pool_engine_restarts_total{model=\"vec\"} 1\n") != std::string::npos);
  Books books(world.installation);
  CHECK(Eventually([&] { return books.Open() == 0; }));
  const std::vector<std::string> reasons = books.Reasons();
  CHECK(std::count(reasons.begin(), reasons.end(), "ENGINE_FAILED") == 1);
  world.FinalChecks();
}

TEST_CASE("While a model's process rests the instance is ready for the others, and an alias leads to its fallback") {
  World world("process");
  world.AddSecond();
  world.Run({"models", "alias", "chat", "scripted", "--fallback", "second"});
  const auto route = [&] { return world.AskFor(Surface::kHttpPlain, "hello", "chat").header("x-tollgate-route"); };
  CHECK(Eventually([&] { return route() == "alias=chat; model=scripted; share=1/1"; }));
  world.KillModel();
  CHECK(world.gateway->Ready());
  const Answer led = world.AskFor(Surface::kHttpPlain, "hello", "chat");
  CHECK(led.text == "hello");
  CHECK(led.header("x-tollgate-route") == "alias=chat; model=second; fallback=1");
  world.FinalChecks();
}

TEST_CASE("With isolation: thread an abort ends the instance; started again, it closes what was open and serves as soon as any start") {
  World world("thread");
  CHECK(world.gateway->Stop() == 0);
  const auto began = steady_clock::now();
  world.gateway = std::make_unique<Gateway>(world.installation, Faulty("thread"));
  const auto plain = steady_clock::now() - began;

  Answer beside;
  std::jthread asking([&] { beside = world.AskFor(Surface::kHttpStream, "!say one \n!hang"); });
  Books books(world.installation);
  REQUIRE(Eventually([&] { return books.Requests() == 1; }));
  const Answer broken = world.AskFor(Surface::kGrpcStream, "!say one two\n!abort");
  CHECK_FALSE(broken.done);
  CHECK(world.gateway->process().Wait(milliseconds(20'000)) == 128 + SIGABRT);
  asking.join();
  CHECK_FALSE(beside.done);
  world.gateway.reset();

  const auto again = steady_clock::now();
  world.gateway = std::make_unique<Gateway>(world.installation, Faulty("thread"));
  const auto healed = steady_clock::now() - again;
  const auto seconds = [](auto time) { return std::chrono::duration<double>(time).count(); };
  WARN(fmt::format("ready {:.2f} s after an abort, {:.2f} s after a stop", seconds(healed), seconds(plain)));
  CHECK(healed < plain + std::chrono::seconds(2));
  CHECK(world.Answers(Surface::kHttpPlain));
  CHECK(Eventually([&] { return books.Open() == 0; }));
  const std::vector<std::string> reasons = books.Reasons();
  CHECK(std::count(reasons.begin(), reasons.end(), "RECOVERED") == 2);
  world.FinalChecks();
}

TEST_CASE("The program that is shipped does not abort because a script says so, and its command for processes is none for people") {
  Installation installation;
  Gateway gateway(installation);
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  const Answer failed = Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "!say one\n!abort"});
  CHECK_FALSE(failed.done);
  CHECK(Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "hello"}).text == "hello");
  CHECK(gateway.Stop() == 0);
  const Finished finished = RunTollgate({"pool-worker", "model"});
  CHECK(finished.code == 2);
  CHECK(finished.err.find("nothing to call by hand") != std::string::npos);
  CHECK(RunTollgate({"--help"}).out.find("pool-worker") == std::string::npos);
}
