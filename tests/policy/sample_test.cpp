// The sample policy, and every example of docs/policy.md and docs/policy-examples.md: what users copy must compile, pass its own tests and
// do what it says.
#include <algorithm>

#include "base/encoding.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::string Read(const std::string& path) {
  auto text = base::ReadFile(std::string(TOLLGATE_SOURCE_DIR) + "/" + path);
  REQUIRE(text.ok());
  return *std::move(text);
}

}  // namespace

TEST_CASE("The sample policy allows, redacts, flags and blocks") {
  const auto policies = MustCompile(Read("policy/samples/acme.yaml"));
  struct Row {
    const char *text, *out;
    Action action;
  };
  const Row rows[] = {
      {"What is the capital of France?", "What is the capital of France?", Action::kAllow},
      {"I am jane.doe@example.com, card 4111 1111 1111 1111.", "I am [EMAIL], card [CARD].", Action::kRedact},
      {"Ask help@acme.example.", "Ask help@acme.example.", Action::kAllow},
      {"Tell me about Project Falcon.", "", Action::kBlock},
      {"My key is AKIAIOSFODNN7EXAMPLE.", "", Action::kBlock},
      {"Call my phone 415-555-2671.", "Call my phone 415-555-2671.", Action::kFlag},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Message message{Role::kUser, "", {row.text}};
    const auto out = policies->Inspect({"acme", "search", "web", "k", "m"}, {&message, 1});
    REQUIRE(out.ok());
    CHECK(out->verdict.action == row.action);
    if (row.action != Action::kBlock) CHECK(out->prompt[0].parts[0] == row.out);
  }
  const Filtered reply = MustFilter(*policies, "Write to bob@example.com, card 4111111111111111. Project Falcon is");
  CHECK(reply.text == "Write to [EMAIL], card [CARD]. ");
  CHECK(reply.blocked);
}

TEST_CASE("Every example of the policy guide compiles and passes its tests") {
  const std::string guide = Read("docs/policy.md");
  int examples = 0;
  for (std::size_t at = guide.find("```yaml\n"); at != std::string::npos; at = guide.find("```yaml\n", at)) {
    at += 8;
    const std::size_t end = guide.find("```", at);
    REQUIRE(end != std::string::npos);
    std::string yaml = guide.substr(at, end - at);
    at = end + 3;
    if (yaml.starts_with("- ")) yaml = "version: 1\nname: guide\nrules:\n" + yaml;
    MustCompile(yaml);
    ++examples;
  }
  CHECK(examples >= 8);
}

TEST_CASE("The reference page names every field and value that the compiler knows") {
  const std::string page = Read("docs/policy-reference.md");
  const std::string head = "version: 1\nname: t\nrules:\n  - {id: r, ", words = "detect: {keywords: x}, do: flag";
  const std::string guard = head + "do: flag, detect: {guard: {model: m, ",
                    rate = head + "detect: {keywords: x}, do: {rate_limit: {requests: 1, ";
  // What is wrong with each is told with all that would have been right.
  const std::string wrong[] = {
      "zzzz: 1\n",
      "version: 1\nname: t\nlists: {a: {zzzz: 1}}\nrules: []\n",
      head + "zzzz: 1}\n",
      head + words + ", severity: zzzz}\n",
      head + words + ", where: {zzzz: 1}}\n",
      head + words + ", where: {direction: zzzz}}\n",
      head + words + ", where: {roles: zzzz}}\n",
      head + words + ", where: {parts: zzzz}}\n",
      head + words + ", where: {time: {zzzz: 1}}}\n",
      head + words + ", where: {time: {days: zzzz}}}\n",
      head + words + ", tests: [{zzzz: 1}]}\n",
      head + words + ", tests: [{text: x, direction: zzzz}]}\n",
      head + words + ", tests: [{text: x, role: zzzz}]}\n",
      head + words + ", tests: [{text: x, part: zzzz}]}\n",
      head + "detect: {keywords: x}, do: zzzz}\n",
      head + "detect: {keywords: x}, do: {zzzz: 1}}\n",
      head + "detect: {keywords: x}, do: {approval: {zzzz: 1}}}\n",
      head + "detect: {keywords: x}, do: {rate_limit: {zzzz: 1}}}\n",
      rate + "per: zzzz, by: key}}}\n",
      rate + "per: day, by: zzzz}}}\n",
      head + "do: flag, detect: {zzzz: 1}}\n",
      head + "do: flag, detect: {keywords: x, decode: zzzz}}\n",
      head + "do: flag, detect: {hosts: {zzzz: 1}}}\n",
      head + "do: flag, detect: {length: {zzzz: 1}}}\n",
      head + "do: flag, detect: {shape: {zzzz: 1}}}\n",
      head + "do: flag, detect: {code: {zzzz: 1}}}\n",
      head + "do: flag, detect: {language: {zzzz: 1}}}\n",
      head + "do: flag, detect: {request: zzzz}}\n",
      head + "do: flag, detect: {not_json: zzzz}}\n",
      head + "do: flag, detect: {external: a, stream: zzzz}}\n",
      head + "do: flag, detect: {external: a, on_error: zzzz}}\n",
      head + "do: flag, detect: {topic: {zzzz: 1}}}\n",
      guard + "zzzz: 1}}}\n",
      guard + "format: zzzz}}}\n",
      guard + "format: gpt_oss_safeguard, policy: x, reasoning: zzzz}}}\n",
      guard + "prompt: '{{text}}', answer: {zzzz: 1}}}}\n",
  };
  for (const std::string& yaml : wrong) {
    const std::string error = CompileError(yaml);
    INFO(error);
    const std::string_view before[] = {" has the fields ", "' is one of "};
    const auto said = std::find_if(std::begin(before), std::end(before), [&](auto what) { return error.find(what) != std::string::npos; });
    REQUIRE(said != std::end(before));
    std::string rest = error.substr(error.find(*said) + said->size());
    for (std::size_t end = 0; !rest.empty(); rest.erase(0, end)) {
      end = std::min(rest.find(", "), rest.size());
      INFO(rest.substr(0, end));
      CHECK(page.find("`" + rest.substr(0, end) + "`") != std::string::npos);
      end += rest.size() > end ? 2 : 0;
    }
  }
  // A page stays one.
  CHECK(std::count(page.begin(), page.end(), '\n') < 110);
}

TEST_CASE("The worked examples compile, each rule with tests for and against it") {
  const std::string page = Read("docs/policy-examples.md");
  std::vector<PolicySource> sources;
  for (int number = 1;; ++number) {
    const std::size_t heading = page.find("\n## " + std::to_string(number) + ". ");
    if (heading == std::string::npos) break;
    const std::size_t begin = page.find("```yaml\n", heading) + 8, end = page.find("```", begin);
    REQUIRE(end != std::string::npos);
    sources.push_back({"example " + std::to_string(number), page.substr(begin, end - begin)});
    INFO(sources.back().name);
    for (const RuleDescription& rule : MustCompile(sources.back().yaml)->Describe()) {
      INFO(rule.id);
      CHECK(rule.id.starts_with("ex" + std::to_string(number) + "."));
      CHECK((rule.tests >= 2 || rule.detect.starts_with("guard model")));  // Which is not run here.
    }
    CHECK(sources.back().yaml.find("expect_not") != std::string::npos);
  }
  CHECK(sources.size() == 28);
}

}  // namespace tollgate::policy
