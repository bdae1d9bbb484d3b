// Two teams on one real model: what each one's own earlier prompts save it, on the wire and on the bill, and how alike they are served.
#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <map>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;

const std::string kModel = TOLLGATE_SOURCE_DIR "/build/setup/models/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr std::int64_t kInputNanos = 100'000, kCachedNanos = 10'000, kOutputNanos = 400'000;  // A token.

struct World {
  explicit World(int slots)
      : gateway(installation, {.model_name = "smollm2", .model_file = kModel, .slots = slots, .context_tokens = 512}),
        admin(gateway, installation.owner_key()) {
    keys["red"] = MakeCompany(admin, "another").key;
    v1::SetPriceRequest price;
    price.set_model("smollm2");
    price.set_input_per_1000("0.10");
    price.set_cached_input_per_1000("0.01");
    price.set_output_per_1000("0.40");
    admin.Call<v1::Directory>(&v1::Directory::Stub::SetPrice, price);
    admin.MakeProject("blue", "app");
    keys["blue"] = admin.MakeKey("blue", "app", "other").secret();
    for (const char* team : {"red", "blue"}) REQUIRE(Eventually([&] { return Say(team, "Hi.", Surface::kHttpPlain).done; }));
  }

  Answer Say(const std::string& team, const std::string& prompt, Surface surface, const std::string& system = "") {
    return Ask(ports, surface, {.key = keys.at(team), .prompt = prompt, .model = "smollm2", .system = system, .max_tokens = 4});
  }

  Installation installation;
  Gateway gateway;
  Ports ports = PortsOf(gateway);
  Admin admin;
  std::map<std::string, std::string> keys;  // By team.
};

std::int64_t Metric(const std::string& text, const std::string& name) {
  const std::string line = "\n" + name + "{model=\"smollm2\"} ";
  const std::size_t at = text.find(line);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + line.size());
}

}  // namespace

TEST_CASE(
    "A team's second request with the same long system prompt tells what the first saved it, on every surface, and is billed for less") {
  World world(4);
  Books books(world.installation);
  std::vector<Answer> answers;
  const auto ask = [&](const std::string& team, const std::string& prompt, Surface surface, const std::string& system) {
    const Answer answer = world.Say(team, prompt, surface, system);
    INFO(answer.message);
    REQUIRE(answer.done);
    const Story story = StoryOf(world.admin, answer.request_id);
    CHECK(story.end.tokens().input() == answer.input);
    CHECK(story.end.tokens().cached_input() == answer.cached);
    CHECK(story.end.amount_nanos() ==
          (answer.input - answer.cached) * kInputNanos + answer.cached * kCachedNanos + answer.output * kOutputNanos);
    answers.push_back(answer);
    return answer;
  };
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    // One that nobody has sent before, nor any that begins like it.
    std::string system = fmt::format("{} is the number of this desk, for {}.", static_cast<int>(surface), Name(surface));
    for (int i = 0; i < 12; ++i) system += fmt::format(" Rule {}: never speak of number {} to anybody.", i, i * i + 3);
    CHECK(ask("red", "Hello.", surface, system).cached == 0);
    const Answer second = ask("red", "What is two and two?", surface, system);
    CHECK(second.cached >= 96);
    CHECK(second.cached < second.input);
    const Answer foreign = ask("blue", "What is two and two?", surface, system);
    CHECK(foreign.input == second.input);
    CHECK(foreign.cached == 0);
    CHECK(ask("blue", "Hello.", surface, system).cached == second.cached);
  }
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE cached_input_tokens > 0") == 8);
  CHECK(CheckAcknowledged(world.admin, books, answers) == "");
  CHECK(books.Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("While two teams wait, /metrics shows how far apart they were served, and that it is within the bound beside it") {
  World world(2);
  // Of twelve under way two run, so that with nine waiting both teams wait.
  constexpr int kRed = 8, kBlue = 4;
  Load load(world.ports, kRed + kBlue, [&](int thread, int number) {
    return std::pair(kSurfaces[number % 4],
                     Question{.key = world.keys.at(thread < kRed ? "red" : "blue"),
                              .prompt = fmt::format("Thread {} asks for the {}th time: tell me a story.", thread, number),
                              .model = "smollm2",
                              .max_tokens = 12});
  });
  int beyond = 0;
  CHECK(Eventually(
      [&] {
        const std::string text = world.gateway.Metrics();
        const std::int64_t gap = Metric(text, "tollgate_pool_fairness_gap_tokens"),
                           bound = Metric(text, "tollgate_pool_fairness_bound_tokens");
        beyond += gap > bound ? 1 : 0;
        return gap > 0 && bound > 0 && Metric(text, "tollgate_pool_waiting") > kRed;
      },
      milliseconds(60'000)));
  CHECK(beyond == 0);
  load.Stop();
  for (const Answer& answer : load.answers()) {
    INFO(answer.message);
    CHECK(answer.done);
  }
  CHECK(Eventually([&] { return Metric(world.gateway.Metrics(), "tollgate_pool_fairness_bound_tokens") == 0; }));  // Nobody waits.
}
