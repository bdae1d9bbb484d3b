// The sample policy, and every example of docs/policy.md and docs/policy-examples.md: what users copy must compile, pass its own tests and
// do what it says.
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
