// The sample policies do to the demo's sentences what the demo says they do, whatever the model.
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "gateway/dev/demo_steps.h"
#include "gateway/dev/sample_policies.h"
#include "policy/policy_set.h"

using namespace tollgate;

namespace {
std::shared_ptr<const policy::PolicySet> Compile() {
  std::vector<policy::PolicySource> sources;
  for (const auto& sample : dev::SamplePolicies()) sources.push_back({std::string(sample.name), std::string(sample.yaml)});
  const auto set = policy::PolicySet::Compile(sources);
  INFO(set.status().ToString());
  REQUIRE(set.ok());
  return *set;
}

policy::Subject From(const std::string& team, const std::string& project) { return {"acme", team, project, "", "smollm2"}; }

policy::Inspection Inspect(const policy::PolicySet& set, const policy::Subject& subject, const std::string& text) {
  const std::vector<policy::Message> prompt = {{policy::Role::kUser, "", {text}}};
  auto inspection = set.Inspect(subject, prompt);
  REQUIRE(inspection.ok());
  return *std::move(inspection);
}
}  // namespace

TEST_CASE("The web project's personal data is hidden going in, its forbidden topic blocked") {
  const auto set = Compile();
  const auto personal = Inspect(*set, From("search", "web"), dev::kPersonalPrompt);
  CHECK(personal.verdict.action == policy::Action::kRedact);
  CHECK(personal.prompt[0].parts[0].find("4111") == std::string::npos);
  CHECK(personal.prompt[0].parts[0].find("ann@") == std::string::npos);
  CHECK(Inspect(*set, From("search", "web"), dev::kBlockedPrompt).verdict.action == policy::Action::kBlock);
  CHECK(Inspect(*set, From("search", "web"), "Why is the sky blue?").verdict.action == policy::Action::kAllow);
}

TEST_CASE("The batch project may read personal data, and none of it comes out") {
  const auto set = Compile();
  for (const std::string& sentence : dev::SentencesToRepeat()) {
    INFO(sentence);
    CHECK_FALSE(Inspect(*set, From("search", "batch"), sentence).changed);
    const auto out = set->FilterWhole(From("search", "batch"), sentence);
    REQUIRE(out.ok());
    CHECK(out->text == "Card [CARD] belongs to [EMAIL].");
    CHECK(Inspect(*set, From("search", "web"), sentence).changed);
  }
}
