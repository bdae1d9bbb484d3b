// The canaries under everything that a rule can do with a reply, on every surface and cut in every way: none of their bytes leaves, and
// what leaves, what the caller is told and what is on record are the same everywhere.
#include <catch2/catch_test_macros.hpp>

#include <regex>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/canary.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;
namespace v1 = tollgate::v1;

// What a team's rules do, and what "before CANARY after" becomes.
struct Act {
  const char* team;
  const char* greek_does;
  const char* code_does;
  const char* greek_leaves;  // Regexes.
  const char* code_leaves;
  const char* action = "redact";
  const char* prompts = "";  // A rule about prompts beside them.
};

const Act kActs[] = {
    {"red", "redact, replacement: \"[GONE]\"", "redact, replacement: \"[GONE]\"", R"(before \[GONE\] after)", R"(before \[GONE\] after)"},
    {"mask", "mask", "mask, keep_last: 2", R"(before \*{4} after)", R"(before \*{4}73 after)"},
    {"hash", "hash, salt: 0123456789abcdef", "hash, salt: fedcba9876543210", R"(before \[[A-Z]+:[0-9a-f]{12}\] after)",
     R"(before \[[A-Z]+:[0-9a-f]{12}\] after)"},
    {"swap", "replace, replacement: a rose", "replace, replacement: (none)", "before a rose after", R"(before \(none\) after)"},
    // Values of the prompt come back; what the model writes by itself does not.
    {"alias", "redact", "redact", R"(before \[REDACTED\] after)", R"(before \[REDACTED\] after)", "redact",
     "  - {id: alias.name, where: {team: alias, direction: input}, detect: {keywords: Ada Lovelace}, do: pseudonymise, label: NAME}\n"},
    {"blue", "block", "block", "before ", "before ", "block"},
};

struct World : CanaryWorld {
  World() {
    std::string rules;
    for (const Act& act : kActs) {
      rules += RulesFor(act.team, act.greek_does, act.code_does) + act.prompts;
      MakeTeam(act.team);
    }
    // It watches replies, and cannot hold them.
    rules += RulesFor("watch", kGone, kGone) +
             "  - {id: watch.guard, where: {team: watch, direction: output}, detect: {guard: {model: scripted, prompt: '{{text}}', "
             "answer: {hit_regex: evil, pass_regex: before}, answer_tokens: 64}, at: sentence, stream: observe}, do: block, "
             "because: Be kind.}\n";
    MakeTeam("watch");
    admin.PutPolicy("version: 1\nname: test\nrules:\n" + rules);
    const Question asks{.key = keys["swap"], .prompt = Join(kGreek)};
    REQUIRE(Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, asks).text == "a rose"; }));
  }
  void MakeTeam(const std::string& team) {
    if (keys.contains(team)) return;
    admin.MakeProject(team, "app");
    keys[team] = admin.MakeKey(team, "app", team).secret();
  }
};

// All that a record says of a reply which does not depend on when its pieces came. Of raw text a block's is all that was decoded: so much
// of it as the canary is long.
std::string FactsOf(const Story& story, std::size_t canary_bytes) {
  v1::Verdict verdict = story.end.output_verdict();
  verdict.clear_not_scanned();
  std::string raw;
  for (const v1::RawSpan& span : story.raw) {
    if (!span.rule_id().empty()) raw += fmt::format("{}@{}={} ", span.rule_id(), span.offset(), span.text().substr(0, canary_bytes));
  }
  return fmt::format("{}\n{} {} {} bytes\n{}\n{}\npolicy {} prompt {}", verdict.DebugString(),
                     v1::FinishReason_Name(story.end.finish_reason()), story.end.reason(), story.end.delivered_bytes(), story.text, raw,
                     base::HexEncode(story.request.request().policy_digest()), story.request.request().input_verdict().action());
}

}  // namespace

TEST_CASE("Whatever a rule does with a secret, none of it leaves, and reply, reasons and record are the same on every surface") {
  World world;
  for (const Act& act : kActs) {
    for (const bool code : {false, true}) {
      const auto& canary = code ? kCode : kGreek;
      std::string told = fmt::format("{} {}.{}: {}", act.action, act.team, code ? "code" : "greek", kBecause);
      std::string first_text, first_facts;
      for (const std::string& cut : Chunkings(canary)) {
        for (const Surface surface : kSurfaces) {
          const char* pace = IsStream(surface) && cut.find("\\|") == cut.rfind("\\|") ? "!pace_ms 10\n" : "";
          const Answer answer =
              Ask(world.ports, surface, {.key = world.keys[act.team], .prompt = fmt::format("{}!say before {} after", pace, cut)});
          INFO(act.team << " " << Name(surface) << " " << cut << " -> " << answer.code << " " << answer.message << " " << answer.text);
          CHECK(answer.done);
          CHECK(answer.told == told);
          CHECK(answer.finish == (std::string(act.action) == "block" ? "content_filter" : "stop"));
          CHECK(std::regex_match(answer.text, std::regex(code ? act.code_leaves : act.greek_leaves)));
          const Story story = StoryOf(world.admin, answer.request_id);
          CHECK(story.text == answer.text);
          CHECK(story.end.delivered_bytes() == static_cast<std::int64_t>(answer.text.size()));
          REQUIRE(story.end.output_verdict().rules_size() == 1);
          const v1::Span span = story.end.output_verdict().rules(0).spans(0);
          CHECK((span.begin() == 7 && span.end() == 7 + static_cast<std::int64_t>(Join(canary).size())));
          const std::string facts = FactsOf(story, Join(canary).size());
          if (first_facts.empty()) first_text = answer.text, first_facts = facts;
          CHECK(answer.text == first_text);
          CHECK(facts == first_facts);
        }
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("Whatever a rule does with a secret of the prompt, the model gets none of it") {
  World world;
  for (const Act& act : kActs) {
    if (std::string(act.action) == "block" || *act.prompts != '\0') continue;  // canary_test.cpp; a pseudonym's value comes back.
    for (const bool code : {false, true}) {
      for (const Surface surface : kSurfaces) {
        const Answer answer =
            Ask(world.ports, surface, {.key = world.keys[act.team], .prompt = "before " + Join(code ? kCode : kGreek) + " after"});
        INFO(act.team << " " << Name(surface) << " " << answer.message << " " << answer.text);
        CHECK(std::regex_match(answer.text, std::regex(code ? act.code_leaves : act.greek_leaves)));
      }
    }
  }
  world.CheckAll();
}

TEST_CASE("Beside values that come back to their sender, and under a guard that only watches, no secret leaves") {
  World world;
  for (const Surface surface : kSurfaces) {
    for (const bool code : {false, true}) {
      const std::string cut = Join(code ? kCode : kGreek, "\\|");
      const Answer alias = Ask(world.ports, surface,
                               {.key = world.keys["alias"],
                                .prompt = fmt::format("!alt {}\n!pace_ms 2\n!say Ada Lovelace has {} now.", cut, cut),
                                .top_logprobs = 5});
      INFO(Name(surface) << " " << alias.message << " " << alias.text);
      CHECK(alias.text == "Ada Lovelace has [REDACTED] now.");
      for (const char* pace : {"", "!pace_ms 5\n"}) {
        const Answer watched =
            Ask(world.ports, surface,
                {.key = world.keys["watch"],
                 .prompt = fmt::format("{}!alt {}\n!say before {} after. An evil word. And before {}.", pace, cut, cut, cut),
                 .top_logprobs = 5});
        INFO("watched: " << watched.message << " " << watched.text);
        CHECK(watched.finish == "content_filter");
        CHECK(watched.text.starts_with("before [GONE] after. An evil word."));
        CHECK(watched.told.starts_with("block watch.guard: Be kind.|redact watch."));
        const v1::EndBody end = StoryOf(world.admin, watched.request_id).end;
        REQUIRE(end.guards_size() == 1);
        CHECK(end.guards(0).bytes_out() == static_cast<std::int64_t>(watched.text.size()));
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("In JSON that a reply writes a secret is hidden behind and in escapes, and the JSON stays whole") {
  World world;
  const std::string greek = "Ϟ\\\\u03e0Ϣ\\|ϤϦϨϪ", code = "Z\\|Q~J\\\\u0058VK~\\|73";  // The engine's own backslash is two.
  for (const Surface surface : kSurfaces) {
    for (const bool its_code : {false, true}) {
      for (const char* team : {"red", "swap", "blue"}) {
        const Answer answer = Ask(
            world.ports, surface,
            {.key = world.keys[team], .prompt = fmt::format("!pace_ms 2\n!say {{\"q\": \"see\\\\\\|n{}!\"}}", its_code ? code : greek)});
        INFO(Name(surface) << " " << team << " -> " << answer.message << " " << answer.text);
        const std::string gone = std::string(team) == "red" ? "[GONE]" : its_code ? "(none)" : "a rose";
        const bool blocked = std::string(team) == "blue";
        CHECK(answer.finish == (blocked ? "content_filter" : "stop"));
        CHECK(answer.text == "{\"q\": \"see\\n" + (blocked ? "" : gone + "!\"}"));
      }
    }
  }
  world.CheckAll();
}

TEST_CASE("A secret that is blocked in a thought, or stands in a call beside log-probabilities, leaves on no surface") {
  World world;
  const std::string greek = "Ϟ\\\\u03e0Ϣ\\|ϤϦϨϪ", code = "Z\\|Q~J\\\\u0058VK~\\|73";  // In JSON; the engine's own backslash is two.
  for (const Surface surface : kSurfaces) {
    for (const bool its_code : {false, true}) {
      const auto& canary = its_code ? kCode : kGreek;
      for (const std::string& cut : Chunkings(canary)) {
        const Answer thought =
            Ask(world.ports, surface, {.key = world.keys["blue"], .prompt = fmt::format("!pace_ms 2\n!think so {} is\n!say it", cut)});
        INFO(Name(surface) << " " << cut << " -> " << thought.message << " " << thought.thought << "|" << thought.text);
        CHECK(thought.finish == "content_filter");
        CHECK(thought.thought == "so ");
        CHECK(thought.text.empty());
        CHECK(thought.told == fmt::format("block blue.{}: {}", its_code ? "code" : "greek", kBecause));
      }
      for (const char* team : {"red", "mask", "hash", "swap", "blue"}) {
        const Answer call =
            Ask(world.ports, surface,
                {.key = world.keys[team],
                 .prompt = fmt::format("!alt {0}\n!alt {1}\n!alt never.\n!say see, {1} so \n!call find {{\"q\": \"{2}!\"}}",
                                       Join(canary, "", 0, 4) + "\\|" + Join(canary, "", 4), Join(canary, "\\|"), its_code ? code : greek),
                 .top_logprobs = 20,
                 .tools = true});
        INFO(Name(surface) << " " << team << " -> " << call.message << " " << call.text << " " << Join(call.calls));
        const bool blocked = std::string(team) == "blue";
        CHECK(call.finish == (blocked ? "content_filter" : "tool_calls"));
        CHECK(call.calls.size() == (blocked ? 0 : 1));
        CHECK(call.text.starts_with("see, "));
        CHECK(Join(call.tokens).starts_with("see, "));
        for (const std::string& token : call.tokens) CHECK((token == "see, " || token == "so " || token == "so"));
        for (const std::string& other : call.alternatives)
          CHECK((other == "never." || other == "see, " || other == "so " || other == "so"));
      }
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}
