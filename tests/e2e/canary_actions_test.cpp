// The canaries under everything that a rule can do with a reply, on every surface and cut in every way: none of their bytes leaves, and
// what leaves, what the caller is told and what is on record are the same everywhere.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <regex>
#include <span>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/canary.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;
namespace v1 = tollgate::v1;

// A published form, which must be random besides: what is on record of it has a score.
const std::vector<std::string> kToken = {"ghp_p", "Q4rT8", "vW2xY", "6zA0b", "C3dE7", "fG1hJ", "5kL9m", "N7s73"};
// Another one, for rules that let it pass.
const std::vector<std::string> kShown = {"ghp_a", "B7cD1", "eF5gH", "9iJ3k", "L8mN2", "oP6qR", "0sT4u", "V1w73"};

struct Canary {
  const char* id;  // Of its rule, behind the team.
  const std::vector<std::string>& letters;
  bool scored() const { return std::string(id) == "token"; }
};
const Canary kCanaries[] = {{"greek", kGreek}, {"code", kCode}, {"token", kToken}};
const Canary kPasses[] = {{"token", kShown}};

// What a team's rules do, and what "before CANARY after" becomes.
struct Act {
  const char* team;
  const char* greek_does;
  const char* code_does;     // And the token's rule.
  const char* greek_leaves;  // Regexes.
  const char* code_leaves;
  const char* action = "redact";
  const char* prompts = "";  // A rule about prompts beside them.

  bool Is(const std::string& its) const { return its == action; }
  std::span<const Canary> canaries() const {
    if (Is("flag") || Is("allow")) return kPasses;
    return kCanaries;
  }
  std::string Leaves(const Canary& canary) const { return std::string(canary.id) == "greek" ? greek_leaves : code_leaves; }
  std::string Rules() const {
    return RulesFor(team, greek_does, code_does) +
           fmt::format("  - {{id: {0}.token, where: {{team: {0}}}, detect: {{secrets: github_pat}}, do: {1}, because: {2}}}\n", team,
                       code_does, kBecause) +
           prompts;
  }
};

const Act kActs[] = {
    {"red", "redact, replacement: \"[GONE]\"", "redact, replacement: \"[GONE]\"", R"(before \[GONE\] after)", R"(before \[GONE\] after)"},
    {"mask", "mask", "mask, keep_last: 2", R"(before \*{4} after)", R"(before \*{4}73 after)"},
    {"hash", "hash, salt: 0123456789abcdef", "hash, salt: fedcba9876543210", R"(before \[[A-Z]+:[0-9a-f]{12}\] after)",
     R"(before \[[A-Z_]+:[0-9a-f]{12}\] after)"},
    {"swap", "replace, replacement: a rose", "replace, replacement: (none)", "before a rose after", R"(before \(none\) after)"},
    // Values of the prompt come back; what the model writes by itself does not.
    {"alias", "redact", "redact", R"(before \[REDACTED\] after)", R"(before \[(REDACTED|GITHUB_TOKEN)\] after)", "redact",
     "  - {id: alias.name, where: {team: alias, direction: input}, detect: {keywords: Ada Lovelace}, do: pseudonymise, label: NAME}\n"},
    {"blue", "block", "block", "before ", "before ", "block"},
    {"flag", "flag", "flag", "", "before ghp_[A-Za-z0-9]{34}73 after", "flag"},
    {"allow", "allow", "allow", "", "before ghp_[A-Za-z0-9]{34}73 after", "allow"},
};

struct World : CanaryWorld {
  World() {
    std::string rules;
    for (const Act& act : kActs) {
      rules += act.Rules();
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
  void CheckAll() {
    CanaryWorld::CheckAll();
    for (const std::string& bytes : {grpc.bytes(), http.bytes(), gateway.process().Err() + gateway.process().Out()})
      CHECK(Leak(bytes, kToken).empty());
  }
};

// A verdict as it is on record, but for what depends on when a reply's pieces came: whether something was decoded behind its end.
std::string Shown(v1::Verdict verdict) {
  auto& names = *verdict.mutable_not_scanned();
  names.erase(std::remove(names.begin(), names.end(), "undelivered_tail"), names.end());
  return verdict.DebugString();
}

// Of the prompt, whether it went on or not.
std::string InputFacts(const Story& story) {
  const bool denied = story.request.has_deny();
  return Join(story.kinds, " ").substr(0, 7) + "\n" +
         Shown(denied ? story.request.deny().input_verdict() : story.request.request().input_verdict()) + story.request.deny().reason() +
         base::HexEncode(denied ? story.request.deny().policy_digest() : story.request.request().policy_digest());
}

// All that a record says of a reply which does not depend on when its pieces came. Of raw text a block's is all that was decoded: so much
// of it as the canary is long.
std::string FactsOf(const Story& story, std::size_t canary_bytes) {
  std::string raw;
  for (const v1::RawSpan& span : story.raw) {
    if (span.rule_id().empty()) continue;
    raw += fmt::format("{}@{}{}:{}={}>{} ", span.rule_id(), span.choice(), span.channel(), span.offset(),
                       span.text().substr(0, canary_bytes), span.has_became_bytes() ? span.became_bytes() : -1);
  }
  return fmt::format("{}\n{} {} {} bytes\n{}\n{}\nprompt {}", Shown(story.end.output_verdict()),
                     v1::FinishReason_Name(story.end.finish_reason()), story.end.reason(), story.end.delivered_bytes(), story.text, raw,
                     InputFacts(story));
}

// Where in a reply the canary stands.
struct Place {
  const char* field;
  const char* script;
  int choices = 1;
  bool every_cut = false;
};

void CheckRecord(const Story& story, const Place& place, const Canary& canary) {
  REQUIRE(story.end.output_verdict().rules_size() == 1);
  const v1::RuleOutcome& rule = story.end.output_verdict().rules(0);
  CHECK(rule.has_score() == canary.scored());
  CHECK(story.end.delivered_bytes_at_block() <= 7 * place.choices);
  CHECK(rule.count() == place.choices);
  REQUIRE(rule.spans_size() == place.choices);
  for (int i = 0; i < place.choices; ++i) {
    const v1::Span& span = rule.spans(i);
    CHECK((static_cast<int>(span.message()) == i && span.field() == place.field));
    CHECK((span.begin() == 7 && span.end() == 7 + static_cast<std::int64_t>(Join(canary.letters).size())));
  }
}

// Asks for the canary at that place on every surface: what leaves, what the caller is told and what is on record are the same.
void CheckEverySurface(World& world, const Act& act, const Canary& canary, const Place& place) {
  const bool blocks = act.Is("block"), thinks = std::string(place.field) == "reasoning";
  const std::string told = act.Is("flag") || act.Is("allow") ? "" : fmt::format("{} {}.{}: {}", act.action, act.team, canary.id, kBecause);
  std::vector<std::string> cuts = Chunkings(canary.letters);
  if (!place.every_cut) cuts.resize(1);
  std::string first_facts, first_text;
  for (const std::string& cut : cuts) {
    for (const Surface surface : kSurfaces) {
      const char* pace = IsStream(surface) && cut.find("\\|") == cut.rfind("\\|") ? "!pace_ms 10\n" : "";
      const std::string prompt = pace + fmt::format(fmt::runtime(place.script), cut);
      const Answer answer = Ask(world.ports, surface, {.key = world.keys[act.team], .prompt = prompt, .choices = place.choices});
      const std::string& text = thinks ? answer.thought : answer.text;
      INFO(act.team << " " << Name(surface) << " " << prompt << " -> " << answer.code << " " << answer.message << " " << text);
      CHECK(answer.done);
      CHECK(answer.told == told);
      CHECK(answer.finish == (blocks ? "content_filter" : "stop"));
      CHECK(std::regex_match(text, std::regex(act.Leaves(canary))));
      if (place.choices == 2) CHECK(answer.other == text);
      if (thinks) CHECK(answer.text == (blocks ? "" : "it"));
      const Story story = StoryOf(world.admin, answer.request_id);
      CHECK(story.text == answer.text);
      if (place.choices == 1 && !thinks) CHECK(story.end.delivered_bytes() == static_cast<std::int64_t>(answer.text.size()));
      CheckRecord(story, place, canary);
      const std::string facts = FactsOf(story, Join(canary.letters).size());
      if (first_facts.empty()) first_text = text, first_facts = facts;
      CHECK(text == first_text);
      CHECK(facts == first_facts);
    }
  }
}

}  // namespace

TEST_CASE("Whatever a rule does with a secret, none of it leaves, and reply, reasons and record are the same on every surface") {
  World world;
  for (const Act& act : kActs) {
    for (const Canary& canary : act.canaries())
      CheckEverySurface(world, act, canary, {.field = "text", .script = "!say before {} after", .every_cut = !canary.scored()});
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("So it is in a thought and in each of two replies") {
  World world;
  for (const Act& act : kActs) {
    for (const Canary& canary : act.canaries()) {
      CheckEverySurface(
          world, act, canary,
          {.field = "reasoning", .script = "!think before {} after\n!say it", .every_cut = act.Is("block") && !canary.scored()});
      CheckEverySurface(world, act, canary, {.field = "text", .script = "!say before {} after", .choices = 2});
    }
  }
  world.CheckAll();
  CHECK(Books(world.installation).Check().empty());
}

TEST_CASE("Whatever a rule does with a secret of the prompt, the model gets none of it, and its record is the same on every surface") {
  World world;
  for (const Act& act : kActs) {
    if (*act.prompts != '\0') continue;  // A pseudonym's value comes back.
    for (const Canary& canary : act.canaries()) {
      std::string first;
      for (const Surface surface : kSurfaces) {
        const Answer answer =
            Ask(world.ports, surface, {.key = world.keys[act.team], .prompt = "before " + Join(canary.letters) + " after"});
        INFO(act.team << " " << Name(surface) << " " << answer.message << " " << answer.text);
        CHECK(std::regex_match(answer.text, std::regex(act.Is("block") ? "" : act.Leaves(canary))));
        const Story story = StoryOf(world.admin, answer.request_id);
        CHECK(story.request.has_deny() == act.Is("block"));
        const std::string facts = InputFacts(story);
        CHECK(facts.find(fmt::format("rule_id: \"{}.{}\"", act.team, canary.id)) != std::string::npos);
        CHECK((facts.find("bits a character") != std::string::npos) == canary.scored());
        if (first.empty()) first = facts;
        CHECK(facts == first);
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

TEST_CASE("A secret that stands in a call beside log-probabilities leaves on no surface, whatever a rule does with it") {
  World world;
  const std::string greek = "Ϟ\\\\u03e0Ϣ\\|ϤϦϨϪ", code = "Z\\|Q~J\\\\u0058VK~\\|73";  // In JSON; the engine's own backslash is two.
  for (const Surface surface : kSurfaces) {
    for (const Canary& canary : std::span(kCanaries).first(2)) {
      for (const Act& act : kActs) {
        if (act.Is("flag") || act.Is("allow")) continue;
        const std::string cut = Join(canary.letters, "", 0, 4) + "\\|" + Join(canary.letters, "", 4);
        const Answer call =
            Ask(world.ports, surface,
                {.key = world.keys[act.team],
                 .prompt = fmt::format("!alt {0}\n!alt {1}\n!alt never.\n!say see, {1} so \n!call find {{\"q\": \"before {2} after\"}}",
                                       cut, Join(canary.letters, "\\|"), &canary.letters == &kCode ? code : greek),
                 .top_logprobs = 20,
                 .tools = true});
        INFO(Name(surface) << " " << act.team << " -> " << call.message << " " << call.text << " " << Join(call.calls));
        const bool blocked = act.Is("block");
        CHECK(call.finish == (blocked ? "content_filter" : "tool_calls"));
        REQUIRE(call.calls.size() == (blocked ? 0 : 1));
        const std::string leaves = R"(find\(\{"q": ")" + act.Leaves(canary) + R"("\}\))";
        if (!blocked) CHECK(std::regex_match(call.calls[0], std::regex(leaves)));
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
