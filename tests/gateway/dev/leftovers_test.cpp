// What stands beside the sample company is named with the command that takes it back; the sample itself is not.
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "gateway/cli/words.h"
#include "gateway/dev/company.h"
#include "gateway/dev/leftovers.h"
#include "gateway/dev/sample_policies.h"

using namespace tollgate;

namespace {
v1::Quota& AddQuota(dev::CompanyNow& now, const std::string& team, const std::string& project, const std::string& limit,
                    std::int64_t amount) {
  const auto parsed = cli::ParseLimit(limit);
  REQUIRE(parsed.ok());
  v1::Quota& quota = *now.quotas.add_quotas();
  quota.mutable_scope()->set_org("acme");
  quota.mutable_scope()->set_team(team);
  quota.mutable_scope()->set_project(project);
  quota.set_meter(parsed->meter);
  quota.set_window(parsed->window);
  quota.set_amount(amount);
  return quota;
}

dev::CompanyNow Sample() {
  dev::CompanyNow now;
  for (const dev::SampleQuota& quota : dev::SampleQuotas()) AddQuota(now, quota.team, quota.project, quota.limit, quota.amount);
  for (const dev::SamplePolicy& sample : dev::SamplePolicies()) {
    auto& policy = *now.policies.add_policies();
    policy.set_name(std::string(sample.name));
    policy.set_version_in_force(1);
  }
  now.teams.add_teams()->set_name("search");
  auto& project = *now.projects.add_projects();
  project.set_team("search");
  project.set_name("web");
  return now;
}

std::string Only(const dev::CompanyNow& now) {
  const auto found = dev::FindLeftovers(now);
  REQUIRE(found.size() == 1);
  return found[0].what + " | " + found[0].command;
}
}  // namespace

TEST_CASE("The sample company has no leftovers") { CHECK(dev::FindLeftovers(Sample()).empty()); }

TEST_CASE("Each leftover is named with the command that takes it back") {
  dev::CompanyNow now = Sample();
  SECTION("a stop of a model") {
    auto& stop = *now.stops.add_stops();
    stop.mutable_target()->set_model("smollm2");
    stop.set_reason("incident 12");
    CHECK(Only(now) == "emergency stop of model smollm2: incident 12 | stop model smollm2 --lift --reason \"back to the sample\"");
  }
  SECTION("a stop of a project") {
    auto& scope = *now.stops.add_stops()->mutable_target()->mutable_scope();
    scope.set_org("acme");
    scope.set_team("search");
    scope.set_project("web");
    CHECK(Only(now).ends_with("| stop project search/web --lift --reason \"back to the sample\""));
  }
  SECTION("a stop of everything") {
    now.stops.add_stops()->mutable_target()->set_everything(true);
    CHECK(Only(now).ends_with("| stop everything --lift --reason \"back to the sample\""));
  }
  SECTION("a limit of one's own") {
    AddQuota(now, "search", "", "tokens/minute", 5);
    CHECK(Only(now) == "limit of 5 tokens/minute on acme/search | quota remove tokens/minute --team search");
  }
  SECTION("a limit of a key") {
    AddQuota(now, "support", "trial", "concurrent", 1).mutable_scope()->set_key("3kQ9xZ0b");
    CHECK(Only(now).ends_with("| quota remove concurrent --key-id 3kQ9xZ0b"));
  }
  SECTION("a changed limit of the sample") {
    for (auto& quota : *now.quotas.mutable_quotas()) {
      if (quota.scope().project() == "trial") quota.set_amount(50);
    }
    CHECK(Only(now) == "limit of 50 tokens/minute on acme/support/trial | quota set tokens/minute 100 --project support/trial");
  }
  SECTION("a block") {
    now.teams.mutable_teams(0)->set_blocked(true);
    CHECK(Only(now) == "block of team search | team unblock search --reason \"back to the sample\"");
  }
  SECTION("an allow-list") {
    auto& grant = *now.grants.add_grants();
    grant.mutable_scope()->set_org("acme");
    grant.mutable_scope()->set_team("search");
    grant.set_model("llama");
    grant.set_granted(true);
    CHECK(Only(now) == "allow-list of acme/search, with model llama on it | models clear --team search");
  }
  SECTION("another version of a sample policy") {
    now.policies.mutable_policies(0)->set_version_in_force(2);
    CHECK(Only(now).ends_with(" 1"));
  }
  SECTION("a policy of one's own") {
    auto& policy = *now.policies.add_policies();
    policy.set_name("strict");
    policy.set_version_in_force(3);
    CHECK(Only(now) == "policy strict is in force in version 3 | policy activate strict 0");
  }
}
