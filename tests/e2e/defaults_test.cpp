// Chat defaults and counting tokens, end to end: set at the command line, in what every surface asks within a second, on record, counted.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"

using namespace tollgate::e2e;

TEST_CASE("Defaults set at the command line hold on every surface within a second; what is counted is what is billed") {
  Installation installation;
  Gateway gateway(installation, {});
  Admin admin(gateway, installation.owner_key());
  const Company company = MakeCompany(admin);
  const Ports ports = PortsOf(gateway);
  const auto cli = [&](std::vector<std::string> words) {
    const std::string address = fmt::format("127.0.0.1:{}", gateway.admin_port());
    words.insert(words.end(), {"--admin", address, "--key", installation.owner_key(), "--org", "acme"});
    return RunTollgate(words);
  };
  const auto ask = [&](Surface surface, std::int64_t max_tokens = 0) {
    return Ask(ports, surface, {.key = company.key, .prompt = "hello", .system = "Mine.", .max_tokens = max_tokens});
  };
  const auto count = [&] {
    HttpConnection connection(ports.http);
    connection.Send(Post("/v1/tokenize", company.key,
                         R"({"model":"scripted","messages":[{"role":"system","content":"Mine."},{"role":"user","content":"hello"}]})"));
    return connection.Read().body;
  };
  const std::int64_t before = ask(Surface::kHttpPlain).input;
  CHECK(count().starts_with(fmt::format(R"({{"count":{},)", before)));

  REQUIRE(cli({"defaults", "set", "--system", "The house's words.", "--cap-output-tokens", "3", "--clamp", "--share-cache"}).code == 0);
  REQUIRE(Eventually([&] { return ask(Surface::kHttpPlain).input > before; }, std::chrono::milliseconds(1000)));
  for (const Surface surface : kSurfaces) {
    const Answer answer = ask(surface, 50);
    INFO(Name(surface) << ": " << answer.message);
    CHECK(answer.done);
    CHECK(answer.output <= 3);
    CHECK(count().starts_with(fmt::format(R"({{"count":{},)", answer.input)));
    const Story story = StoryOf(admin, answer.request_id);
    CHECK(story.request.request().input_tokens() == answer.input);
    CHECK(story.request.request().defaults_size() == 1);
    CHECK(story.request.request().clamped_size() == 1);
    CHECK(story.request.request().published_tokens() > 0);
  }
  REQUIRE(cli({"defaults", "set", "--team", "red", "--cap-output-tokens", "2"}).code == 0);
  REQUIRE(Eventually([&] { return ask(Surface::kHttpPlain, 50).reason == "cap_exceeded"; }, std::chrono::milliseconds(1000)));
  REQUIRE(cli({"defaults", "remove", "--team", "red"}).code == 0);

  REQUIRE(cli({"defaults", "set", "--key-id", company.public_id, "--band", "0", "--weight", "2.5", "--cap-reasoning-tokens", "1"}).code ==
          0);
  const auto last = [&] { return StoryOf(admin, ask(Surface::kHttpPlain).request_id).request.request(); };
  REQUIRE(Eventually([&] { return last().has_band(); }, std::chrono::milliseconds(1000)));
  for (const Surface surface : kSurfaces) {
    const Answer answer = Ask(ports, surface, {.key = company.key, .prompt = "!think a b c\n!say ok"});
    INFO(Name(surface) << ": " << answer.message);
    CHECK(answer.thought == "a");
    CHECK(answer.text == "ok");
    const Story story = StoryOf(admin, answer.request_id);
    CHECK(story.request.request().has_band());
    CHECK(story.request.request().band() == 0);
    CHECK(story.request.request().weight_millionths() == 2'500'000);
    CHECK(story.request.request().max_reasoning_tokens() == 1);
    CHECK(story.request.request().defaults_size() == 2);  // The org's and the key's.
  }
  REQUIRE(cli({"defaults", "remove", "--key-id", company.public_id}).code == 0);
  REQUIRE(cli({"defaults", "remove"}).code == 0);
  REQUIRE(Eventually([&] { return ask(Surface::kHttpPlain).input == before; }, std::chrono::milliseconds(1000)));
  Books books(installation);
  CHECK(books.Check() == "");
}
