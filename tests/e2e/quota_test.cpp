// Quotas end to end: to the token, over many calls at once, over two instances, and given back when a request comes to nothing.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;

constexpr std::int64_t kStep = 64;  // Tokens by which a running request extends its reservation.

struct World {
  World() : admin(gateway, installation.owner_key()), company(MakeCompany(admin)) {
    REQUIRE(Eventually([&] { return Say("hello").done; }));
  }
  Answer Say(const std::string& prompt, Surface surface = Surface::kHttpPlain, const std::string& key = "") {
    return Ask(ports, surface, {.key = key.empty() ? company.key : key, .prompt = prompt});
  }
  // A team of its own with a key, so that nothing else counts.
  std::string Team(const std::string& team) {
    admin.MakeProject(team, "app");
    return admin.MakeKey(team, "app", team).secret();
  }
  void Limit(const std::string& team, const std::string& key, v1::QuotaMeter meter, v1::QuotaWindow window, std::int64_t amount) {
    admin.SetQuota(ScopeOf(team), meter, window, amount);
    const char* header = meter == v1::QUOTA_METER_REQUESTS ? "x-ratelimit-limit-requests" : "x-ratelimit-limit-tokens";
    const auto in_force = [&] {
      return Ask(ports, Surface::kHttpPlain, {.key = key, .prompt = "x", .model = "none"}).headers.contains(header);
    };
    if (meter != v1::QUOTA_METER_CONCURRENT) REQUIRE(Eventually(in_force));
  }
  std::int64_t Used(const std::string& team) {
    return Books(installation)
        .Count(fmt::format("SELECT coalesce(sum(u.input_tokens + u.output_tokens), 0)::int8 FROM metering.usage u "
                           "JOIN directory.team t ON t.id = u.team_id WHERE t.name = '{}'",
                           team));
  }

  Installation installation;
  Gateway gateway{installation};
  Ports ports = PortsOf(gateway);
  Admin admin;
  Company company;
};

// Calls at once, from a thread each.
std::vector<Answer> AtOnce(int calls, const std::function<Answer(int)>& ask) {
  std::vector<Answer> answers(static_cast<std::size_t>(calls));
  std::vector<std::jthread> threads;
  for (int i = 0; i < calls; ++i) threads.emplace_back([&, i] { answers[static_cast<std::size_t>(i)] = ask(i); });
  threads.clear();
  return answers;
}

// Lets those go who hold a place, also when the test ends early.
struct Leaving {
  std::atomic<bool>& leave;
  ~Leaving() { leave = true; }
};

// The answer to a key, and to another team's.
struct Answers {
  Answer its, others;
};

// While another request of the key is running.
Answers AskBeside(World& world, const std::string& key) {
  std::atomic<bool> runs{false}, leave{false};
  std::jthread running([&] {
    while (!runs && !leave) {  // The place may be free a moment later.
      Ask(world.ports, Surface::kHttpStream, {.key = key, .prompt = "!pace_ms 20\n!tokens 1000", .on_text = [&](const std::string&) {
                                                runs = true;
                                                return !leave;
                                              }});
    }
  });
  const Leaving leaving{leave};
  REQUIRE(Eventually([&] { return runs.load(); }));
  return {world.Say("hello", Surface::kHttpPlain, key), world.Say("hello")};
}

}  // namespace

TEST_CASE("A stream ends at the exact token of its budget, and the next request is told when it resets") {
  World world;
  int n = 0;
  for (const Surface surface : kSurfaces) {
    for (const std::int64_t budget : {80, 100, 200}) {
      const std::string team = fmt::format("team{}", ++n);
      const std::string key = world.Team(team);
      REQUIRE(Eventually([&] { return world.Say("x", Surface::kHttpPlain, key).code != 401; }));
      const std::int64_t already = world.Used(team);
      world.Limit(team, key, v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, budget);
      const Answer answer = world.Say("!tokens 5000", surface, key);
      INFO(Name(surface) << ", " << budget << " tokens: " << answer.code << " " << answer.message << " " << answer.input << "+"
                         << answer.output);
      CHECK(answer.done);
      CHECK(answer.finish == "length");
      CHECK(answer.input + answer.output == budget);
      CHECK(answer.text.size() == 5 * static_cast<std::size_t>(answer.output));
      if (IsGrpc(surface)) CHECK(answer.quota_reached.find(team) != std::string::npos);
      CHECK(world.Used(team) - already == budget);
      const Answer next = world.Say("hello", surface, key);
      CHECK(next.code == (IsGrpc(surface) ? 8 : 429));
      CHECK(next.reason == (IsGrpc(surface) ? "QUOTA_SPENT" : "insufficient_quota"));
      CHECK(next.message.find("team " + team + " has used") != std::string::npos);
      CHECK(next.message.find("resets 20") != std::string::npos);
      if (!IsGrpc(surface)) CHECK(next.header("x-should-retry") == "false");
    }
  }
  CHECK(world.gateway.Stop() == 0);
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(books.CheckBalances() == "");
}

TEST_CASE("Fifty calls at once use a budget of N to the last step and never past it") {
  World world;
  const std::string key = world.Team("crowd");
  REQUIRE(Eventually([&] { return world.Say("x", Surface::kHttpPlain, key).code != 401; }));
  const std::int64_t budget = 2500;
  const std::int64_t already = world.Used("crowd");
  world.Limit("crowd", key, v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, budget);
  const auto answers =
      AtOnce(50, [&](int i) { return world.Say(i % 2 == 0 ? "!tokens 100" : "!pace_ms 1\n!tokens 100", kSurfaces[i % 4], key); });
  std::int64_t sum = 0;
  for (const Answer& answer : answers) sum += answer.input + answer.output;
  const std::int64_t used = world.Used("crowd") - already;
  CHECK(sum == used);
  CHECK(used <= budget);
  // What is left over is less than the least that a request must reserve: its prompt and one step.
  CHECK(used > budget - kStep - 30);
  CHECK(world.gateway.Stop() == 0);
  CHECK(Books(world.installation).CheckBalances() == "");
}

TEST_CASE("A limit of a key, a project, a team or the organisation binds its requests, and says whose it is") {
  World world;
  struct Row {
    const char* whose;
    v1::ScopeRef (*scope)(const std::string& team, const std::string& public_id);
  };
  // The organisation's last, for it is everybody's.
  const Row rows[] = {
      {"key ", [](const std::string&, const std::string& id) { return ScopeOf("", "", id); }},
      {"project ", [](const std::string& team, const std::string&) { return ScopeOf(team, "app"); }},
      {"team ", [](const std::string& team, const std::string&) { return ScopeOf(team); }},
      {"org ", [](const std::string&, const std::string&) { return ScopeOf(""); }},
  };
  for (const Row& row : rows) {
    for (const v1::QuotaMeter meter : {v1::QUOTA_METER_REQUESTS, v1::QUOTA_METER_TOKENS, v1::QUOTA_METER_CONCURRENT}) {
      const bool running = meter == v1::QUOTA_METER_CONCURRENT;
      const std::string what = running ? "running" : meter == v1::QUOTA_METER_REQUESTS ? "requests" : "tokens";
      const std::string team = std::string(row.whose, 3) + what;
      INFO(row.whose << what);
      world.admin.MakeProject(team, "app");
      const v1::CreateKeyReply key = world.admin.MakeKey(team, "app", team);
      REQUIRE(Eventually([&] { return world.Say("x", Surface::kHttpPlain, key.secret()).code != 401; }));
      const auto limit = [&](std::int64_t amount) {
        const v1::QuotaWindow window = running                             ? v1::QUOTA_WINDOW_UNSPECIFIED
                                       : meter == v1::QUOTA_METER_REQUESTS ? v1::QUOTA_WINDOW_MINUTE
                                                                           : v1::QUOTA_WINDOW_MONTH;
        world.admin.SetQuota(row.scope(team, key.key().public_id()), meter, window, amount);
      };
      limit(1);
      Answers got;
      const auto refused = [&] {
        got = running ? AskBeside(world, key.secret()) : Answers{.its = world.Say("hello", Surface::kHttpPlain, key.secret())};
        return got.its.code == 429;
      };
      CHECK(Eventually(refused));
      CHECK(got.its.message.find(row.whose) != std::string::npos);
      CHECK(got.its.message.find(what) != std::string::npos);
      // Nobody else's.
      const bool everybody = std::string_view(row.whose) == "org ";
      if (!running) got.others = world.Say("hello");
      CHECK((got.others.code == 429) == everybody);
      limit(1'000'000);
      CHECK(Eventually([&] { return world.Say("hello", Surface::kHttpPlain, key.secret()).done; }));
    }
  }
}

TEST_CASE("Two instances share one budget and do not overshoot it") {
  World world;
  Gateway second(world.installation, {.state = "b"});
  const std::string key = world.Team("shared");
  for (const Gateway* gateway : {&world.gateway, &second}) {
    REQUIRE(Eventually([&] { return Ask(PortsOf(*gateway), Surface::kHttpPlain, {.key = key, .prompt = "x"}).done; }));
  }
  const std::int64_t budget = 4000;
  const std::int64_t already = world.Used("shared");
  world.Limit("shared", key, v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, budget);
  REQUIRE(Eventually([&] {
    return Ask(PortsOf(second), Surface::kHttpPlain, {.key = key, .prompt = "x", .model = "none"})
        .headers.contains("x-ratelimit-limit-tokens");
  }));
  const auto answers = AtOnce(30, [&](int i) {
    Answer last;
    for (int k = 0; k < 8; ++k)
      last = Ask(PortsOf((i + k) % 2 == 0 ? world.gateway : second), kSurfaces[(i + k) % 4], {.key = key, .prompt = "!tokens 60"});
    return last;
  });
  const std::int64_t used = world.Used("shared") - already;
  CHECK(used <= budget);
  CHECK(used > budget - 4 * (kStep + 30));
  for (const Answer& answer : answers) CHECK((answer.code == 429 || answer.code == 8 || answer.done));
  CHECK(second.Stop() == 0);
  CHECK(world.gateway.Stop() == 0);
  Books books(world.installation);
  CHECK(books.CheckBalances() == "");
  CHECK(books.Check() == "");
}

TEST_CASE("Requests per minute: exactly as many as allowed, then a wait that is told") {
  World world;
  const std::string key = world.Team("rpm");
  REQUIRE(Eventually([&] { return world.Say("x", Surface::kHttpPlain, key).code != 401; }));
  auto sql = world.installation.Sql();
  // Not across the turn of a minute: all in one window.
  REQUIRE(Eventually([&] { return sql->Run("clock", "SELECT extract(second FROM clock_timestamp())::int")->Int(0, 0) < 45; },
                     milliseconds(30'000)));
  world.Limit("rpm", key, v1::QUOTA_METER_REQUESTS, v1::QUOTA_WINDOW_MINUTE, 5);
  const auto answers = AtOnce(16, [&](int i) { return world.Say("hello", kSurfaces[i % 4], key); });
  int done = 0;
  for (const Answer& answer : answers) {
    done += answer.done ? 1 : 0;
    if (answer.done) continue;
    CHECK((answer.code == 429 || answer.code == 8));
    CHECK((answer.reason == "RATE_LIMITED" || answer.reason == "rate_limit_exceeded"));
    if (answer.code != 429) continue;
    const int wait = std::stoi("0" + answer.header("retry-after"));
    CHECK((wait >= 1 && wait <= 60));
    CHECK(answer.header("x-should-retry") == "true");
    CHECK(answer.header("x-ratelimit-remaining-requests") == "0");
    CHECK(answer.header("x-ratelimit-limit-requests") == "5");
  }
  CHECK(done == 5);
}

TEST_CASE("Concurrent requests: as many as allowed, and a place comes back however a request ends") {
  World world;
  const std::string key = world.Team("narrow");
  REQUIRE(Eventually([&] { return world.Say("x", Surface::kHttpPlain, key).done; }));
  world.Limit("narrow", key, v1::QUOTA_METER_CONCURRENT, v1::QUOTA_WINDOW_UNSPECIFIED, 2);
  REQUIRE(Eventually([&] {
    std::atomic<bool> leave{false};
    std::vector<std::jthread> holding;
    for (int i = 0; i < 2; ++i) {
      holding.emplace_back([&] {
        Ask(world.ports, Surface::kHttpStream,
            {.key = key, .prompt = "!pace_ms 20\n!tokens 1000", .on_text = [&](const std::string&) { return !leave; }});
      });
    }
    const Leaving leaving{leave};
    Books books(world.installation);
    const bool both = Eventually([&] { return books.Open() == 2; });
    const Answer third = world.Say("hello", Surface::kHttpPlain, key);
    leave = true;
    return both && third.code == 429;
  }));
  const char* endings[] = {"hello", "!say a b\n!fail", "!pace_ms 5\n!tokens 20"};
  for (int round = 0; round < 6; ++round) {
    INFO("round " << round);
    // The places of the round before are free again within moments.
    REQUIRE(Eventually([&] { return world.Say("hello", Surface::kHttpPlain, key).done; }));
    std::atomic<int> running{0};
    std::atomic<bool> leave{false};
    std::vector<std::jthread> holding;
    for (int i = 0; i < 2; ++i) {
      holding.emplace_back([&, i] {
        bool counted = false;
        while (!counted && !leave) {  // One of the two places may be free a moment later than the other.
          Ask(world.ports, i == 0 ? Surface::kGrpcStream : Surface::kHttpStream,
              {.key = key, .prompt = "!pace_ms 20\n!tokens 1000", .on_text = [&](const std::string&) {
                 if (!std::exchange(counted, true)) ++running;
                 return !leave;
               }});
        }
      });
    }
    const Leaving leaving{leave};
    REQUIRE(Eventually([&] { return running == 2; }));
    for (const Surface surface : kSurfaces) {
      const Answer third = world.Say("hello", surface, key);
      CHECK(third.code == (IsGrpc(surface) ? 8 : 429));
      CHECK(third.message.find("running") != std::string::npos);
      if (!IsGrpc(surface)) CHECK(third.header("x-should-retry") == "true");
    }
    leave = true;
    holding.clear();
    REQUIRE(Eventually([&] { return world.Say(endings[round % 3], kSurfaces[round % 4], key).code != 429; }));
  }
  CHECK(Eventually([&] { return Books(world.installation).Open() == 0; }));
}

TEST_CASE("What is left falls with use, in headers and trailers, and a key's own quota holds from the moment it is set") {
  World world;
  const v1::CreateKeyReply key = world.admin.MakeKey("red", "app", "limited");
  world.admin.SetQuota(ScopeOf("", "", key.key().public_id()), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 5000);
  REQUIRE(Eventually([&] { return world.Say("hello", Surface::kHttpPlain, key.secret()).headers.contains("x-ratelimit-limit-tokens"); }));
  std::int64_t left = 5001;
  for (int i = 0; i < 8; ++i) {
    const Answer answer = world.Say("one two three", kSurfaces[i % 4], key.secret());
    REQUIRE(answer.done);
    INFO(Name(kSurfaces[i % 4]) << " left " << answer.header("x-ratelimit-remaining-tokens"));
    CHECK(answer.header("x-ratelimit-limit-tokens") == "5000");
    const std::int64_t now = std::stoll("0" + answer.header("x-ratelimit-remaining-tokens"));
    CHECK(now < 5000);
    if (kSurfaces[i % 4] == Surface::kHttpStream) continue;  // Its headers leave while the reservation stands.
    CHECK(now < left);
    left = now;
  }
  // Denied and failed requests do not use it up.
  for (int i = 0; i < 5; ++i)
    CHECK(Ask(world.ports, Surface::kHttpPlain, {.key = key.secret(), .prompt = "x", .model = "none"}).code == 404);
  const Answer last = world.Say("one", Surface::kHttpPlain, key.secret());
  CHECK(std::stoll("0" + last.header("x-ratelimit-remaining-tokens")) > left - 100);
}

TEST_CASE("A model without a price is refused, never free") {
  Installation installation;
  Gateway gateway(installation, {.model_name = "unpriced"});
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin, "scripted").key;
  REQUIRE(
      Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "x", .model = "unpriced"}).code != 401; }));
  for (const Surface surface : kSurfaces) {
    const Answer answer = Ask(PortsOf(gateway), surface, {.key = key, .prompt = "hello", .model = "unpriced"});
    CHECK_FALSE(answer.done);
    CHECK(answer.message.find("tollgate prices set unpriced") != std::string::npos);
  }
  CHECK(Books(installation).Requests() == 0);
}

TEST_CASE("An instance whose leases a failover has lost, and no record, ends, and serves again once it is started again") {
  Installation installation;
  const InstanceOptions options{.extra = {{"drain_wait_ms", "0"}}};
  auto gateway = std::make_unique<Gateway>(installation, options);
  std::string key;
  {
    Admin admin(*gateway, installation.owner_key());
    key = MakeCompany(admin).key;
    admin.SetQuota(ScopeOf("red"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 5000);
  }
  const auto limited = [&] {
    const Answer answer = Ask(PortsOf(*gateway), Surface::kHttpPlain, {.key = key, .prompt = "hello"});
    return answer.done && answer.headers.contains("x-ratelimit-limit-tokens");
  };
  REQUIRE(Eventually(limited));
  // One exchange that was answered is not there any more.
  const auto sql = installation.Sql();
  REQUIRE(sql->Run("lose", "UPDATE metering.holder SET seq = seq - 1").ok());
  CHECK(gateway->process().Wait(milliseconds(20'000)) == 1);
  INFO(gateway->process().Err());
  CHECK(gateway->process().Err().find("the database does not know this instance's leases any more") != std::string::npos);
  gateway = std::make_unique<Gateway>(installation, options);
  CHECK(Eventually(limited));
  Books books(installation);
  CHECK(books.Check() == "");
}
