// kill -9 at every step of a request's way, then a restart, or another instance that takes over: each REQUEST has one terminal record, what
// was told to clients is on record, usage equals records equals ledger, and nothing stays reserved.
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/table_lock.h"
#include "tests/support/random.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;
namespace v1 = tollgate::v1;
namespace test = tollgate::test;

struct World {
  World() {
    gateway = std::make_unique<Gateway>(installation);
    Admin admin(*gateway, installation.owner_key());
    key = MakeCompany(admin).key;
    admin.SetQuota(ScopeOf("red"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 50'000'000);
    admin.SetQuota(ScopeOf("red", "app"), v1::QUOTA_METER_REQUESTS, v1::QUOTA_WINDOW_MONTH, 1'000'000);
    admin.SetQuota(ScopeOf(""), v1::QUOTA_METER_CONCURRENT, v1::QUOTA_WINDOW_UNSPECIFIED, 1000);
    REQUIRE(Eventually([&] {
      return Ask(PortsOf(*gateway), Surface::kHttpPlain, {.key = key, .prompt = "hello"}).headers.contains("x-ratelimit-limit-tokens");
    }));
  }
  Ports ports() const { return PortsOf(*gateway); }
  void Restart() {
    gateway.reset();
    gateway = std::make_unique<Gateway>(installation);
  }
  void FinalChecks() {
    Books books(installation);
    CHECK(books.Check() + Reconcile(*gateway, installation.owner_key()) == "");
    CHECK(Eventually([&] { return books.Count("SELECT count(DISTINCT epoch) FROM metering.lease WHERE NOT closed") <= 1; }));  // Come home.
    CHECK(gateway->Stop() == 0);
    CHECK(books.CheckBalances() == "");
    CHECK(books.Check() == "");
  }
  Installation installation;
  std::unique_ptr<Gateway> gateway;
  std::string key;
};

// A question that is asked on each surface at once.
struct Everywhere {
  Everywhere(const World& world, const std::string& prompt) {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      Question question{.key = world.key, .prompt = prompt, .patience = milliseconds(120'000)};
      question.on_text = [this, first = true](const std::string&) mutable {
        if (std::exchange(first, false)) ++streaming;
        return true;
      };
      asking.emplace_back([this, i, ports = world.ports(), question] { answers[i] = Ask(ports, kSurfaces[i], question); });
    }
  }
  std::vector<Answer> answers{std::size(kSurfaces)};  // Whole once `asking` has ended.
  std::atomic<int> streaming{0};                      // How many of the two streams have brought text.
  std::vector<std::jthread> asking;
};

struct Step {
  const char* name;
  Surface surface;
  const char* prompt;
  const char* lock_before;  // Before it asks.
  std::size_t text_bytes;   // Then it waits for so much text …
  int requests;             // … and for so many more REQUEST records …
  const char* lock_after;   // … then locks this …
  const char* reason;       // … kills, restarts, and expects this end.
  const char* policy = "";
  const char* model = "scripted";  // "chat": an alias, whose first model the prompt says is away.
};

constexpr const char* kCounted = R"(
version: 1
name: test
rules:
  - {id: counted, detect: {keywords: hello}, do: {rate_limit: {requests: 1000, per: hour, by: key}}}
)";
// Its guard model is the scripted one itself, which does what the prompt says.
constexpr const char* kGuarded = R"(
version: 1
name: test
rules:
  - id: guarded
    where: {direction: input}
    detect: {guard: {model: scripted, prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: '[a-z]'}, answer_tokens: 64}}
    do: block
)";

// On audit.record the journal waits; on metering.balance the leases do; on keys.request only the key, so that a REQUEST may stand without
// one.
constexpr Step kSteps[] = {
    {"reserving", Surface::kHttpPlain, "hello", "metering.balance", 0, 0, "", "RECOVERED"},
    {"asking what rules count", Surface::kHttpStream, "hello", "gate.rate", 0, 0, "", "RECOVERED", kCounted},
    {"before the request's key is durable", Surface::kHttpStream, "hello", "keys.request", 0, 0, "", "RECOVERED"},
    {"before the REQUEST is durable", Surface::kGrpcUnary, "hello", "audit.record", 0, 0, "", "RECOVERED"},
    {"while a guard model is asked", Surface::kHttpPlain, "!hang", "", 0, 1, "", "RECOVERED", kGuarded},
    {"routed, before the first token", Surface::kGrpcStream, "!hang", "", 0, 1, "", "RECOVERED"},
    {"unary, decoding", Surface::kHttpPlain, "!pace_ms 2\n!tokens 100000", "", 0, 1, "", "RECOVERED"},
    {"after the first segment", Surface::kHttpStream, "!say one two \n!hang", "", 3, 1, "", "RECOVERED"},
    {"in the middle of segments", Surface::kGrpcStream, "!pace_ms 1\n!tokens 100000", "", 300, 1, "", "RECOVERED"},
    {"before the last segment", Surface::kHttpStream, "!say one \n!pace_ms 400\n!say two", "", 3, 1, "audit.record", "RECOVERED"},
    {"settling a unary reply", Surface::kGrpcUnary, "!pace_ms 400\n!say one", "", 0, 1, "audit.record", "RECOVERED"},
    {"after the answer", Surface::kHttpPlain, "hello", "", 0, 1, "", "STOP"},
    {"between two attempts", Surface::kHttpPlain, "!pace_ms 400\n!away scripted", "", 0, 1, "keys.request", "RECOVERED", "", "chat"},
    {"while the second attempt runs", Surface::kGrpcStream, "!away scripted\n!hang", "", 0, 2, "", "RECOVERED", "", "chat"},
};

void MakeAlias(const World& world) {
  const std::string admin = fmt::format("127.0.0.1:{}", world.gateway->admin_port());
  for (std::vector<std::string> words :
       std::initializer_list<std::vector<std::string>>{{"models", "add", "spare", "--engine", "scripted"},
                                                       {"prices", "set", "spare", "--input", "0.10", "--output", "0.40"},
                                                       {"models", "load", "spare"},
                                                       {"models", "alias", "chat", "scripted", "--fallback", "spare"}}) {
    words.insert(words.end(), {"--admin", admin, "--key", world.installation.owner_key()});
    REQUIRE(RunTollgate(words).code == 0);
  }
  REQUIRE(Eventually([&] { return Ask(world.ports(), Surface::kHttpPlain, {.key = world.key, .prompt = "x", .model = "chat"}).done; }));
}

// The ends of the `made` requests that the step put on record. Of a call that went on with a fallback the first ended by itself.
void CheckEnds(const World& world, const Step& step, std::int64_t made) {
  Books books(world.installation);
  std::vector<std::string> reasons = books.Reasons();
  reasons.erase(reasons.begin(), reasons.end() - made);
  if (step.model == std::string("chat")) {
    REQUIRE((made == 1 || made == 2));
    CHECK(reasons.front() == "ENGINE_FAILED");
    reasons.erase(reasons.begin());
    const auto rows = world.installation.Sql()->Run(
        "ids", fmt::format("SELECT request_id::text FROM audit.record WHERE kind = 1 ORDER BY log_id, leaf_index OFFSET {}",
                           books.Requests() - made));
    REQUIRE(rows.ok());
    Admin admin(*world.gateway, world.installation.owner_key());
    CHECK(StoryOf(admin, rows->Text(0, 0)).end.continued_as().size() == 16);
  } else {
    CHECK((made == 1 || (made == 0 && step.requests == 0)));
  }
  for (const std::string& reason : reasons) CHECK((reason == step.reason || (*step.lock_after != 0 && reason == "STOP")));
}

}  // namespace

TEST_CASE("kill -9 at each step of a request leaves nothing open, unbilled or reserved") {
  World world;
  for (const Step& step : kSteps) {
    DYNAMIC_SECTION(step.name) {
      if (step.model == std::string("chat")) MakeAlias(world);
      if (*step.policy != 0) Admin(*world.gateway, world.installation.owner_key()).PutPolicy(step.policy);
      Books books(world.installation);
      const std::int64_t before = books.Requests();
      std::optional<TableLock> lock;
      // A lease that is at hand needs no database: ask for more than is.
      Question question{.key = world.key, .prompt = step.prompt, .model = step.model, .patience = milliseconds(20'000)};
      if (step.lock_before == std::string("metering.balance")) {
        Admin admin(*world.gateway, world.installation.owner_key());
        admin.SetQuota(ScopeOf("red"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_DAY, 40'000'000);
        REQUIRE(Eventually([&] { return Ask(world.ports(), Surface::kHttpPlain, {.key = "", .prompt = "x"}).code == 401; }));
      }
      if (*step.lock_before != 0) lock.emplace(world.installation, step.lock_before);
      std::atomic<std::size_t> got{0};
      std::atomic<bool> answered{false};
      question.on_text = [&got](const std::string& text) {
        got = text.size();
        return true;
      };
      Answer answer;
      std::jthread asking([&] {
        answer = Ask(world.ports(), step.surface, question);
        answered = true;
      });
      REQUIRE(Eventually([&] { return got >= step.text_bytes; }));
      REQUIRE(Eventually([&] { return books.Requests() >= before + step.requests; }));
      if (*step.lock_after != 0) lock.emplace(world.installation, step.lock_after);
      if (lock) REQUIRE(lock->Bites());
      if (step.reason == std::string("STOP")) REQUIRE(Eventually([&] { return answered.load(); }));
      world.gateway->Kill9();
      lock.reset();
      asking.join();
      world.Restart();
      REQUIRE(Eventually([&] { return books.Open() == 0; }));
      CHECK(books.Check() == "");
      if (answer.done) CHECK(step.reason == std::string("STOP"));
      // A statement that stood in a lock may be carried out by Postgres although its sender is dead; or not.
      const std::int64_t made = books.Requests() - before;
      CheckEnds(world, step, made);
      Admin admin(*world.gateway, world.installation.owner_key());
      CHECK(CheckAcknowledged(admin, books, {answer}) == "");
      if (!answer.text.empty() && !answer.done) {
        const Story story = StoryOf(admin, answer.request_id);
        CHECK(story.end.recovered() == (books.Reasons().back() == "RECOVERED"));
        CHECK(story.end.tokens().output() > 0);
      }
      CHECK(Ask(world.ports(), step.surface, {.key = world.key, .prompt = "hello"}).text == "hello");
      world.FinalChecks();
    }
  }
}

TEST_CASE("A request whose body has not come is nobody's when the program dies") {
  World world;
  Books books(world.installation);
  const std::int64_t before = books.Requests();
  HttpConnection connection(world.ports().http);
  const std::string request = PostChat({.key = world.key, .prompt = "hello"});
  connection.Send(request.substr(0, request.size() - 10));
  world.gateway->Kill9();
  world.Restart();
  CHECK(books.Requests() == before);
  world.FinalChecks();
}

TEST_CASE("kill -9 at any moment under load, again and again, loses nothing that was told") {
  World world;
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const char* prompts[] = {"hello",
                           "one two three four",
                           "!pace_ms 1\n!tokens 30",
                           "!pace_ms 5\n!tokens 20",
                           "!tokens 300",
                           "!pace_ms 2\n!say a\\|b\\|c d\n!tokens 5\n!fail"};
  std::vector<Answer> all;
  const int loops = test::Loops();
  for (int loop = 0; loop < loops; ++loop) {
    const std::uint64_t pick = random();
    Load load(world.ports(), 4, [&](int thread, int number) {
      const std::uint64_t n = pick + static_cast<std::uint64_t>(thread) * 7 + static_cast<std::uint64_t>(number);
      return std::pair(kSurfaces[n % 4],
                       Question{.key = world.key, .prompt = prompts[n / 4 % std::size(prompts)], .patience = milliseconds(10'000)});
    });
    std::this_thread::sleep_for(milliseconds(random() % 250));
    world.gateway->Kill9();
    load.Stop();
    const std::vector<Answer> answers = load.answers();
    all.insert(all.end(), answers.begin(), answers.end());
    world.Restart();
    Books books(world.installation);
    REQUIRE(Eventually([&] { return books.Open() == 0; }));
    const std::string wrong = books.Check();
    INFO("loop " << loop);
    REQUIRE(wrong == "");
  }
  Books books(world.installation);
  Admin admin(*world.gateway, world.installation.owner_key());
  std::shuffle(all.begin(), all.end(), random);
  CHECK(CheckAcknowledged(admin, books, all, 80) == "");
  const auto done = std::count_if(all.begin(), all.end(), [](const Answer& a) { return a.done; });
  WARN(fmt::format("{} kills, {} requests on record, {} whole answers", loops, books.Requests(), done));
  CHECK(done > loops);
  world.FinalChecks();
}

TEST_CASE("What a dead instance left open, a living one closes within 30 seconds") {
  World world;
  Gateway other(world.installation, {.state = "b"});
  Books books(world.installation);
  const std::int64_t before = books.Requests();
  Everywhere all(world, "!pace_ms 1\n!tokens 20\n!hang");
  REQUIRE(Eventually([&] { return books.Requests() == before + 4 && all.streaming == 2; }));
  world.gateway->Kill9();
  all.asking.clear();
  CHECK(books.Open() == 4);
  CHECK(Ask(PortsOf(other), Surface::kHttpStream, {.key = world.key, .prompt = "hello"}).text == "hello");
  const auto start = std::chrono::steady_clock::now();
  CHECK(Eventually([&] { return books.Open() == 0; }, milliseconds(30'000)));
  WARN(fmt::format("adopted after {:.1f} s", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()));
  Admin admin(other, world.installation.owner_key());
  CHECK(CheckAcknowledged(admin, books, all.answers) == "");
  CHECK(books.Check() == "");
  CHECK(Reconcile(other, world.installation.owner_key()) == "");
  CHECK(Eventually([&] { return books.Count("SELECT count(DISTINCT instance_id) FROM metering.lease WHERE NOT closed") <= 1; }));
  CHECK(other.Stop() == 0);
  CHECK(books.CheckBalances() == "");
}

TEST_CASE("An instance that was frozen until another took its log releases nothing more, and ends") {
  World world;
  world.gateway.reset();  // However long requests may go on when it ends in order.
  world.gateway = std::make_unique<Gateway>(world.installation, InstanceOptions{.extra = {{"drain_ms", "600000"}}});
  Gateway other(world.installation, {.state = "b"});
  Books books(world.installation);
  const std::int64_t before = books.Requests();
  // Of eight slots one is kept for another team, so the eighth request waits: it must not be a stream whose text is awaited.
  Everywhere all(world, "!pace_ms 5\n!tokens 100000");
  REQUIRE(Eventually([&] { return books.Requests() == before + 4 && all.streaming == 2; }));
  Everywhere stuck(world, "!hang");
  REQUIRE(Eventually([&] { return books.Requests() == before + 8; }));
  world.gateway->process().Signal(SIGSTOP);
  CHECK(Eventually([&] { return books.Open() == 0; }, milliseconds(30'000)));
  const std::vector<std::string> closed = books.Reasons();
  CHECK(std::count(closed.begin(), closed.end(), "RECOVERED") == 8);
  world.gateway->process().Signal(SIGCONT);
  CHECK(world.gateway->process().Wait(milliseconds(30'000)).value_or(0) != 0);
  all.asking.clear();
  CHECK(books.Check() == "");
  Admin admin(other, world.installation.owner_key());
  CHECK(CheckAcknowledged(admin, books, all.answers) == "");
  for (const Answer& answer : all.answers) CHECK_FALSE(answer.done);
  CHECK(Reconcile(other, world.installation.owner_key()) == "");
  world.Restart();  // The same state folder can be used again.
  CHECK(Ask(world.ports(), Surface::kGrpcUnary, {.key = world.key, .prompt = "hello"}).text == "hello");
  CHECK(other.Stop() == 0);
  world.FinalChecks();
}

TEST_CASE("SIGTERM lets running requests end, refuses new ones, and ends what takes too long with a record") {
  World world;
  world.gateway = std::make_unique<Gateway>(world.installation, InstanceOptions{.state = "drain", .extra = {{"drain_ms", "2500"}}});
  Books books(world.installation);
  const std::int64_t before = books.Requests();
  std::vector<Answer> answers(8);
  std::vector<std::jthread> asking;
  for (std::size_t i = 0; i < 8; ++i) {
    // Those that are to end run first: of eight slots one is kept for another team, and the eighth request waits.
    if (i == 4) REQUIRE(Eventually([&] { return books.Requests() == before + 4; }));
    const char* prompt = i < 4 ? "!pace_ms 10\n!tokens 100" : "!pace_ms 10\n!tokens 60000";
    asking.emplace_back([&, i, prompt] { answers[i] = Ask(world.ports(), kSurfaces[i % 4], {.key = world.key, .prompt = prompt}); });
  }
  REQUIRE(Eventually([&] { return books.Requests() == before + 8; }));
  world.gateway->process().Signal(SIGTERM);
  CHECK(Eventually([&] { return world.gateway->Readiness() == 503; }));  // While requests run.
  const Question hello{.key = world.key, .prompt = "hello", .patience = milliseconds(5000)};
  for (const Surface surface : kSurfaces) CHECK_FALSE(Ask(world.ports(), surface, hello).done);
  CHECK(world.gateway->process().Wait(milliseconds(15'000)) == 0);
  asking.clear();
  for (std::size_t i = 0; i < 8; ++i) {
    INFO(Name(kSurfaces[i % 4]) << ": " << answers[i].code << " " << answers[i].reason << " " << answers[i].message);
    CHECK(answers[i].done == (i < 4));
    if (i >= 4) CHECK(answers[i].message.find("shutting down") != std::string::npos);
  }
  CHECK(books.Open() == 0);
  const auto reasons = books.Reasons();
  CHECK(std::count(reasons.end() - 8, reasons.end(), "SHUTDOWN") == 4);
  world.Restart();
  Admin admin(*world.gateway, world.installation.owner_key());
  CHECK(CheckAcknowledged(admin, books, answers) == "");
  world.FinalChecks();
}

TEST_CASE("SIGTERM under load ends with every record written") {
  World world;
  Load load(world.ports(), 8, [&](int thread, int number) {
    return std::pair(kSurfaces[(thread + number) % 4],
                     Question{.key = world.key, .prompt = number % 2 == 0 ? "one two three" : "!pace_ms 2\n!tokens 50"});
  });
  REQUIRE(Eventually([&] { return load.answered() > 40; }));
  CHECK(world.gateway->Stop() == 0);
  load.Stop();
  Books books(world.installation);
  CHECK(books.Open() == 0);
  CHECK(books.Check() == "");
  CHECK(books.CheckBalances() == "");
  world.Restart();
  Admin admin(*world.gateway, world.installation.owner_key());
  CHECK(CheckAcknowledged(admin, books, load.answers()) == "");
  world.FinalChecks();
}

TEST_CASE("SIGTERM interrupts a verification that stands in one long statement") {
  World world;
  REQUIRE(world.installation.Sql()
              ->RunScript("make reading slow",
                          "CREATE POLICY slow ON audit.record AS RESTRICTIVE FOR SELECT TO tollgate_verifier "
                          "USING ((SELECT true FROM pg_sleep(600)))")
              .ok());
  Finished verifying;
  std::jthread asking([&] {
    const std::string admin = fmt::format("127.0.0.1:{}", world.gateway->admin_port());
    verifying = RunTollgate({"--admin", admin, "--key", world.installation.owner_key(), "audit", "verify"}, milliseconds(60'000));
  });
  Books books(world.installation);
  REQUIRE(Eventually([&] { return books.Count("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1; }));
  const auto began = std::chrono::steady_clock::now();
  CHECK(world.gateway->Stop() == 0);
  WARN(fmt::format("ended after {:.1f} s", std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()));
  asking.join();
  CHECK(verifying.code != 0);
  INFO(verifying.out << verifying.err);
  CHECK((verifying.out + verifying.err).find("shutting down") != std::string::npos);
}
