// One secret, planted in prompts and outputs on every surface, under rules that redact or block it, cut into tokens in every way; then
// every byte that left the program is searched for it. canary_actions_test.cpp does so for what else rules can do.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "tests/e2e/support/books.h"
#include "tests/e2e/support/canary.h"
#include "tests/e2e/support/http_client.h"

namespace {

using namespace tollgate::e2e;
using World = CanaryWorld;

}  // namespace

TEST_CASE("A secret in the output leaves on no surface, however it is cut into tokens") {
  World world;
  for (const Surface surface : kSurfaces) {
    for (const bool code : {false, true}) {
      for (const std::string& cut : Chunkings(code ? kCode : kGreek)) {
        for (const char* pace : {"", "!pace_ms 25\n"}) {
          if (*pace != 0 && cut.find("\\|") != cut.rfind("\\|") && !IsStream(surface)) continue;  // Slow, and of use on streams only.
          const Question redacted{.key = world.keys["red"], .prompt = fmt::format("{}!say before {} after", pace, cut)};
          const Answer red = Ask(world.ports, surface, redacted);
          INFO(Name(surface) << " " << redacted.prompt << " -> " << red.code << " " << red.message);
          CHECK(red.done);
          CHECK(red.text == "before [GONE] after");
          CHECK(red.finish == "stop");
          CHECK(red.text.find('\xCF') == std::string::npos);

          Question blocked = redacted;
          blocked.key = world.keys["blue"];
          const Answer blue = Ask(world.ports, surface, blocked);
          INFO("blocked: " << blue.code << " " << blue.message << " " << blue.text);
          CHECK(blue.done);
          CHECK(blue.finish == "content_filter");
          CHECK(blue.text == "before ");
          const std::string rule = code ? "code" : "greek";
          CHECK(red.told == "redact red." + rule + ": " + kBecause);
          CHECK(blue.told == "block blue." + rule + ": " + kBecause);
        }
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("Nothing derived from a secret leaves as a log-probability, neither of its own tokens nor as an alternative to others") {
  World world;
  for (const Surface surface : kSurfaces) {
    for (const bool code : {false, true}) {
      for (const std::string& cut : Chunkings(code ? kCode : kGreek)) {
        // The whole secret, and its beginning, stand beside every token.
        const std::string first = code ? "ZQ\\|~J" : "Ϟ\\|Ϡ";
        const Question redacted{.key = world.keys["red"],
                                .prompt = fmt::format("!alt {}\n!alt {}\n!alt never.\n!say before, {} after.", cut, first, cut),
                                .top_logprobs = 20};
        const Answer red = Ask(world.ports, surface, redacted);
        INFO(Name(surface) << " " << redacted.prompt << " -> " << red.code << " " << red.message << " " << red.text);
        CHECK(red.text == "before, [GONE] after.");
        CHECK(Join(red.tokens, "|") == "before, |after.");
        CHECK(Join(red.alternatives, "|") == "before, |never.|after.|never.");
        Question blocked = redacted;
        blocked.key = world.keys["blue"];
        const Answer blue = Ask(world.ports, surface, blocked);
        CHECK(blue.finish == "content_filter");
        CHECK(Join(blue.tokens, "|") == "before, ");
        CHECK(Join(blue.alternatives, "|") == "before, |never.");
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("A secret in a call, a thought or another answer leaves on no surface, escaped or not") {
  World world;
  // In JSON, with a letter of each as an escape; the engine's own backslash is two.
  const std::string greek = "Ϟ\\\\u03e0Ϣ\\|ϤϦϨϪ", code = "Z\\|Q~J\\\\u0058VK~\\|73";
  for (const Surface surface : kSurfaces) {
    for (const std::string& secret : {greek, code}) {
      for (const char* pace : {"", "!pace_ms 10\n"}) {
        const Question call{
            .key = world.keys["red"], .prompt = fmt::format("{}!say so \n!call find {{\"q\": \"{}!\"}}", pace, secret), .tools = true};
        const Answer red = Ask(world.ports, surface, call);
        INFO(Name(surface) << " " << call.prompt << " -> " << red.code << " " << red.message << " " << red.text);
        CHECK(Join(red.calls, "|") == R"(find({"q": "[GONE]!"}))");
        CHECK(red.finish == "tool_calls");
        Question blocked = call;
        blocked.key = world.keys["blue"];
        const Answer blue = Ask(world.ports, surface, blocked);
        CHECK(blue.calls.empty());
        CHECK(blue.finish == "content_filter");
      }
    }
    for (const std::string& cut : {Join(kGreek, "\\|"), Join(kCode, "\\|")}) {
      const Question thought{.key = world.keys["red"], .prompt = fmt::format("!pace_ms 5\n!think so {} is\n!say it", cut)};
      const Answer red = Ask(world.ports, surface, thought);
      INFO(Name(surface) << " " << thought.prompt << " -> " << red.code << " " << red.message << " " << red.text);
      CHECK(red.thought == "so [GONE] is");
      CHECK(red.text == "it");
      const Answer two =
          Ask(world.ports, surface, {.key = world.keys["red"], .prompt = fmt::format("!pace_ms 5\n!say so {} is", cut), .choices = 2});
      CHECK(two.text == "so [GONE] is");
      CHECK(two.other == "so [GONE] is");
      const Answer none = Ask(world.ports, surface, {.key = world.keys["blue"], .prompt = fmt::format("!say so {} is", cut), .choices = 2});
      CHECK(none.text == "so ");
      CHECK(none.other == "so ");
      CHECK(none.told.starts_with("block blue."));
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("What a guard model blocks leaves on no surface while it is held, and its own words never do") {
  World world;
  world.admin.MakeProject("green", "app");
  const std::string key = world.admin.MakeKey("green", "app", "green").secret();
  // The guard says what it judges: its every answer holds the secret.
  world.admin.PutPolicy(
      "version: 1\nname: test\nrules:\n" + kRedAndBlue +
      fmt::format("  - id: green.guard\n    where: {{team: green, direction: output}}\n    detect:\n      guard: {{model: scripted, "
                  "prompt: '{{{{text}}}}', "
                  "answer: {{hit_regex: '[{}]|ZQ', pass_regex: before}}, answer_tokens: 64}}\n      at: sentence\n    do: block\n",
                  Join(kGreek)));
  REQUIRE(Eventually([&] {
    return Ask(PortsOf(world.gateway), Surface::kHttpPlain, {.key = key, .prompt = "!say before ZQ"}).finish == "content_filter";
  }));
  for (const Surface surface : kSurfaces) {
    for (const auto& canary : {kGreek, kCode}) {
      for (const char* pace : {"", "!pace_ms 5\n"}) {
        const Answer answer = Ask(
            world.ports, surface,
            {.key = key, .prompt = fmt::format("{}!say before. So {} after. And before.", pace, Join(canary, "\\|")), .top_logprobs = 3});
        INFO(Name(surface) << " " << answer.code << " " << answer.message << " " << answer.text);
        CHECK(answer.done);
        CHECK(answer.finish == "content_filter");
        CHECK((answer.text.empty() || answer.text.starts_with("before.")));
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("What is written anew leaves on no surface, and the reply goes on without it") {
  World world;
  world.admin.MakeProject("green", "app");
  const std::string key = world.admin.MakeKey("green", "app", "green").secret();
  std::string rules = kRedAndBlue;
  for (const auto& [id, action] : {std::pair{"greek", "block"}, std::pair{"code", "redact"}}) {
    const std::string detect = std::string(id) == "greek" ? "keywords: [" + Join(kGreek) + "]" : "regex: 'ZQ~[A-Z]{4,8}~[0-9]{2}'";
    rules += fmt::format("  - {{id: green.{}, where: {{team: green, direction: output}}, detect: {{{}}}, do: {}, retry: 8}}\n", id, detect,
                         action);
  }
  world.admin.PutPolicy("version: 1\nname: test\nrules:\n" + rules);
  REQUIRE(Eventually(
      [&] { return Ask(PortsOf(world.gateway), Surface::kHttpPlain, {.key = key, .prompt = "!say " + Join(kGreek)}).text == "other "; }));
  // The scripted engine goes on with what it was told to say behind the token that is forbidden, so that token has all of the secret but
  // its end.
  const std::string greek = Join(kGreek), code = Join(kCode, "", 0, 9) + "\\|3";
  for (const Surface surface : kSurfaces) {
    for (const std::string& secret : {greek, code}) {
      for (const char* pace : {"", "!pace_ms 10\n"}) {
        for (const int choices : {1, 2}) {
          const Question question{.key = key,
                                  .prompt = fmt::format("{}!alt {}\n!say before {} after", pace, secret, secret),
                                  .top_logprobs = 5,
                                  .choices = choices};
          const Answer answer = Ask(world.ports, surface, question);
          INFO(Name(surface) << " " << question.prompt << " -> " << answer.code << " " << answer.message << " " << answer.text);
          CHECK(answer.done);
          CHECK(answer.finish == "stop");
          CHECK(answer.text == (secret == greek ? "before other after" : "before other 3 after"));
          if (choices == 2) CHECK(answer.other == answer.text);
        }
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("A secret in the prompt reaches neither the model nor any surface, wherever in the prompt it stands") {
  World world;
  for (const auto& canary : {kGreek, kCode}) {
    const std::string secret = Join(canary);
    for (const Surface surface : kSurfaces) {
      INFO(Name(surface));
      const Answer red = Ask(world.ports, surface, {.key = world.keys["red"], .prompt = "before " + secret + " after"});
      CHECK(red.text == "before [GONE] after");  // The scripted engine says what it was told.
      const Answer blue = Ask(world.ports, surface, {.key = world.keys["blue"], .prompt = "before " + secret + " after"});
      CHECK(blue.code == (IsGrpc(surface) ? 7 : 403));
      CHECK(blue.reason == (IsGrpc(surface) ? "POLICY_BLOCKED" : "content_filter"));
      CHECK(blue.text.empty());
      const Answer system = Ask(world.ports, surface, {.key = world.keys["blue"], .prompt = "hello", .system = "Say " + secret + " now."});
      CHECK(system.code == (IsGrpc(surface) ? 7 : 403));
    }
    // Parts that only together hold it, and a name.
    const std::string half = Join(canary, "", 0, 3), rest = Join(canary, "", 3);
    const std::string bodies[] = {
        fmt::format(
            R"({{"model":"scripted","messages":[{{"role":"user","content":[{{"type":"text","text":{}}},{{"type":"text","text":{}}}]}}]}})",
            JsonQuote(half), JsonQuote(rest)),
        fmt::format(R"({{"model":"scripted","messages":[{{"role":"user","name":{},"content":"hello"}}]}})", JsonQuote(secret)),
        fmt::format(
            R"({{"model":"scripted","messages":[{{"role":"user","content":{}}},{{"role":"assistant","content":"what?"}},{{"role":"user","content":"hello"}}]}})",
            JsonQuote(secret))};
    for (const std::string& body : bodies) {
      INFO(body);
      HttpConnection connection(world.ports.http);
      connection.Send(Post("/v1/chat/completions", world.keys["blue"], body));
      const HttpReply reply = connection.Read();
      CHECK(reply.status == 403);
      CHECK(JsonAt(reply.body, "error.code") == "content_filter");
    }
  }
  world.CheckAll();
}

TEST_CASE("What only begins like a secret is delivered whole") {
  World world;
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const Answer answer = Ask(world.ports, surface, {.key = world.keys["blue"], .prompt = "!say ZQ~JX\\|VK~\\|7 and ϞϠ\\|Ϣ\\|Ϥ then ZQ~"});
    CHECK(answer.done);
    CHECK(answer.finish == "stop");
    CHECK(answer.text == "ZQ~JXVK~7 and ϞϠϢϤ then ZQ~");
  }
}

TEST_CASE("The search finds what is there: without a rule the secret is on every wire") {
  World world;
  world.admin.MakeProject("green", "app");
  const std::string key = world.admin.MakeKey("green", "app", "green").secret();
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    for (const auto& canary : {kGreek, kCode}) {
      WireTap tap(IsGrpc(surface) ? world.gateway.grpc_port() : world.gateway.http_port());
      const std::string prompt = "say " + Join(canary);
      REQUIRE(Eventually([&] { return Ask({tap.port(), tap.port()}, surface, {.key = key, .prompt = prompt}).text == prompt; }));
      CHECK_FALSE(Leak(tap.bytes(), canary).empty());
    }
  }
}
