#include "gateway/identity/identity.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/error_detail.h"
#include "gateway/directory/snapshot_builder.h"
#include "gateway/identity/api_key.h"
#include "tests/gateway/directory/rows_of.h"

using namespace tollgate;
using directory::Row;
using directory::test::Company;

namespace {

const std::string kPepper(32, 'p');
const base::WallTime kNow = base::FromMicros(1'790'000'000'000'000);

// A company with one key of each kind, by name.
struct World {
  World() {
    org = company.Org("acme");
    team = company.Team(org, "search");
    project = company.Project(team, "web");
    Key("good", "member");
    Key("owner", "owner");
    Key("dev", "member", true);
    Row revoked = Key("revoked", "member");
    revoked.Set("revoked_us", std::int64_t{1'789'999'999'000'000});
    company.Put(revoked);
    Row later = Key("revoked-by-a-faster-clock", "member");
    later.Set("revoked_us", std::int64_t{1'790'000'099'000'000});
    company.Put(later);
    Row expired = Key("expired", "member");
    expired.Set("expires_us", std::int64_t{1'790'000'000'000'000});
    company.Put(expired);
    Row expiring = Key("expiring", "member");
    expiring.Set("expires_us", std::int64_t{1'790'000'000'000'001});
    company.Put(expiring);
  }

  Row Key(const std::string& name, const std::string& roles, bool dev = false) {
    const auto minted = identity::MintApiKey(dev ? identity::Environment::kDev : identity::Environment::kLive);
    texts[name] = identity::FormatApiKey(minted);
    return company.Key(project, minted.public_id, identity::SecretHmac(kPepper, minted.secret), roles, dev);
  }

  std::shared_ptr<const directory::Snapshot> Snapshot() {
    REQUIRE(builder.Apply(company.changed, company.head).ok());
    company.changed.clear();
    auto snapshot = builder.Build({});
    REQUIRE(snapshot.ok());
    return *snapshot;
  }

  Company company;
  directory::SnapshotBuilder builder{directory::test::kMacKey};
  Row org, team, project;
  std::map<std::string, std::string> texts;
};

}  // namespace

TEST_CASE("A good key is its place; every other credential gets one and the same answer") {
  World world;
  const auto snapshot = world.Snapshot();
  const identity::Identity identity(kPepper, false);
  const auto who = identity.Authenticate(snapshot, world.texts["good"], kNow);
  REQUIRE(who.ok());
  CHECK(who->place.org->name == "acme");
  CHECK(who->place.team->name == "search");
  CHECK(who->place.project->name == "web");
  CHECK(identity.Authenticate(snapshot, world.texts["expiring"], kNow).ok());

  auto other_secret = *identity::ParseApiKey(world.texts["good"]);
  other_secret.secret = identity::MintApiKey(identity::Environment::kLive).secret;
  auto other_environment = *identity::ParseApiKey(world.texts["good"]);
  other_environment.environment = identity::Environment::kDev;
  auto unknown = identity::MintApiKey(identity::Environment::kLive);
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"none", ""},
      {"malformed", "sk-123"},
      {"injection", "tg_live_' OR 1=1 --"},
      {"very long", std::string(1 << 20, 'x')},
      {"wrong checksum", world.texts["good"].substr(0, world.texts["good"].size() - 1) + "!"},
      {"unknown id", identity::FormatApiKey(unknown)},
      {"wrong secret", identity::FormatApiKey(other_secret)},
      {"live key as a dev key", identity::FormatApiKey(other_environment)},
      {"dev key where none are allowed", world.texts["dev"]},
      {"revoked", world.texts["revoked"]},
      {"revoked by a faster clock", world.texts["revoked-by-a-faster-clock"]},
      {"expired at this very moment", world.texts["expired"]},
  };
  for (const auto& [what, bearer] : rows) {
    INFO(what);
    const auto refused = identity.Authenticate(snapshot, bearer, kNow);
    CHECK(absl::IsUnauthenticated(refused.status()));
    CHECK(base::Message(refused.status()).find("the API key is missing or not valid") == 0);
    CHECK(base::DetailOf(refused.status())->reason == "INVALID_API_KEY");
    CHECK_FALSE(base::DetailOf(refused.status())->may_retry);
    CHECK(identity.AuthenticateAdmin(snapshot, bearer, kNow).status() == refused.status());
  }
}

TEST_CASE("Another pepper knows no key; a dev key is good where dev keys are allowed") {
  World world;
  const auto snapshot = world.Snapshot();
  CHECK_FALSE(identity::Identity(std::string(32, 'q'), true).Authenticate(snapshot, world.texts["good"], kNow).ok());
  CHECK(identity::Identity(kPepper, true).Authenticate(snapshot, world.texts["dev"], kNow).ok());
}

TEST_CASE("A good key under a block or a stop is told so; the admin API stays open for those who must mend it") {
  struct Case {
    std::string what, reason;
    bool member_may_administrate;
  };
  const auto row = GENERATE(values<Case>({{"org", "ORG_BLOCKED", false},
                                          {"team", "TEAM_BLOCKED", false},
                                          {"project", "PROJECT_BLOCKED", false},
                                          {"stop everything", "EMERGENCY_STOP", true},
                                          {"stop team", "EMERGENCY_STOP", true}}));
  World world;
  if (row.what == "org" || row.what == "team" || row.what == "project") {
    Row blocked = row.what == "org" ? world.org : row.what == "team" ? world.team : world.project;
    blocked.Set("blocked", std::string("t"));
    world.company.Put(blocked);
  } else if (row.what == "stop everything") {
    world.company.Stop(nullptr, "everything", {}, {});
  } else {
    world.company.Stop(&world.org, "team", world.team.id, {});
  }
  const auto snapshot = world.Snapshot();
  const identity::Identity identity(kPepper, false);
  INFO(row.what);
  const auto refused = identity.Authenticate(snapshot, world.texts["good"], kNow);
  CHECK(absl::IsPermissionDenied(refused.status()));
  CHECK(base::DetailOf(refused.status())->reason == row.reason);
  CHECK(identity.AuthenticateAdmin(snapshot, world.texts["good"], kNow).ok() == row.member_may_administrate);
  CHECK(identity.AuthenticateAdmin(snapshot, world.texts["owner"], kNow).ok());
}
