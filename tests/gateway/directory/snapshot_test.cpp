#include "gateway/directory/snapshot.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "gateway/directory/shard.h"
#include "gateway/directory/snapshot_builder.h"
#include "tests/gateway/directory/rows_of.h"
#include "tests/support/reason.h"

using namespace tollgate;
using namespace tollgate::directory;
using tollgate::directory::test::Company;
using tollgate::directory::test::kMacKey;
using tollgate::test::ReasonOf;

namespace {

const base::WallTime kNow = base::FromMicros(1'790'000'000'000'000);

struct World {
  World() {
    acme = company.Org("acme");
    search = company.Team(acme, "search");
    web = company.Project(search, "web");
    key = company.Key(web, "acmekey1");
    globex = company.Org("globex");
    other = company.Key(company.Project(company.Team(globex, "search"), "web"), "globkey1");
  }
  absl::Status Apply() {
    const absl::Status status = builder.Apply(company.changed, company.head);
    company.changed.clear();
    return status;
  }
  std::shared_ptr<const Snapshot> Built() {
    REQUIRE(Apply().ok());
    auto snapshot = builder.Build({});
    INFO(snapshot.status());
    REQUIRE(snapshot.ok());
    return *snapshot;
  }
  Company company;
  SnapshotBuilder builder{kMacKey};
  Row acme, search, web, key, globex, other;
};

void Set(World& world, Row row, const std::string& column, base::Value value) {
  row.Set(column, std::move(value));
  world.company.Put(row);
}

}  // namespace

TEST_CASE("An empty directory knows nobody") {
  SnapshotBuilder builder(kMacKey);
  REQUIRE(builder.Apply({}, Head{}).ok());
  const auto snapshot = builder.Build({});
  REQUIRE(snapshot.ok());
  CHECK_FALSE((*snapshot)->FindKey("acmekey1").has_value());
  CHECK_FALSE((*snapshot)->FindKey(base::KeyId::New()).has_value());
  CHECK((*snapshot)->Quotas()->all().empty());
  CHECK((*snapshot)->version() == 0);
}

TEST_CASE("A key is found by its public id and by its row, with everything above it") {
  World world;
  const auto snapshot = world.Built();
  const auto place = snapshot->FindKey("acmekey1");
  REQUIRE(place.has_value());
  CHECK(place->org->name == "acme");
  CHECK(place->team->name == "search");
  CHECK(place->project->name == "web");
  CHECK(snapshot->FindKey(base::KeyId(world.key.id))->key == place->key);
  CHECK(snapshot->FindKey("globkey1")->org->name == "globex");
  CHECK(snapshot->MayRun(*place, "smollm2", kNow).ok());
  CHECK(snapshot->MayUse(*place, "anything"));
  CHECK(snapshot->Policies(*place) != nullptr);
  CHECK_FALSE(snapshot->PriceOf("smollm2", kNow).ok());
}

TEST_CASE("What ends a key's authority is named") {
  struct Case {
    std::string what, reason;
  };
  const auto row = GENERATE(values<Case>({{"revoked", "KEY_REVOKED"},
                                          {"expired", "KEY_EXPIRED"},
                                          {"org blocked", "ORG_BLOCKED"},
                                          {"team blocked", "TEAM_BLOCKED"},
                                          {"project blocked", "PROJECT_BLOCKED"},
                                          {"everything", "EMERGENCY_STOP"},
                                          {"org stopped", "EMERGENCY_STOP"},
                                          {"team stopped", "EMERGENCY_STOP"},
                                          {"project stopped", "EMERGENCY_STOP"},
                                          {"model stopped", "EMERGENCY_STOP"},
                                          {"other model stopped", ""},
                                          {"other org stopped", ""}}));
  World world;
  const auto before = world.Built();
  if (row.what == "revoked") Set(world, world.key, "revoked_us", std::int64_t{1});
  if (row.what == "expired") Set(world, world.key, "expires_us", base::ToMicros(kNow));
  if (row.what == "org blocked") Set(world, world.acme, "blocked", std::string("t"));
  if (row.what == "team blocked") Set(world, world.search, "blocked", std::string("t"));
  if (row.what == "project blocked") Set(world, world.web, "blocked", std::string("t"));
  if (row.what == "everything") world.company.Stop(nullptr, "everything", {}, {});
  if (row.what == "org stopped") world.company.Stop(&world.acme, "org", world.acme.id, {});
  if (row.what == "team stopped") world.company.Stop(&world.acme, "team", world.search.id, {});
  if (row.what == "project stopped") world.company.Stop(&world.acme, "project", world.web.id, {});
  if (row.what == "model stopped") world.company.Stop(nullptr, "model", {}, "smollm2");
  if (row.what == "other model stopped") world.company.Stop(nullptr, "model", {}, "qwen");
  if (row.what == "other org stopped") world.company.Stop(&world.globex, "org", world.globex.id, {});
  const auto after = world.Built();
  INFO(row.what);
  CHECK(before->MayRun(*before->FindKey("acmekey1"), "smollm2", kNow).ok());
  const absl::Status now = after->MayRun(*after->FindKey("acmekey1"), "smollm2", kNow);
  CHECK(ReasonOf(now) == row.reason);
  if (row.reason == "EMERGENCY_STOP") CHECK(base::Message(now).find("a leak") != std::string::npos);
}

TEST_CASE("A stop that is lifted stops nothing") {
  World world;
  Row stop = world.company.Stop(nullptr, "everything", {}, {});
  CHECK_FALSE(world.Built()->MayRun(*world.builder.Build({}).value()->FindKey("acmekey1"), "", kNow).ok());
  Set(world, stop, "lifted", std::string("t"));
  const auto snapshot = world.Built();
  CHECK(snapshot->MayRun(*snapshot->FindKey("acmekey1"), "", kNow).ok());
}

TEST_CASE("Every scope that has an allow-list must have the model on it") {
  World world;
  const Row on_org = world.company.Grant(world.acme, "org", world.acme.id, "smollm2");
  world.company.Grant(world.acme, "org", world.acme.id, "qwen");
  world.company.Grant(world.acme, "key", world.key.id, "smollm2");
  auto snapshot = world.Built();
  auto place = *snapshot->FindKey("acmekey1");
  CHECK(snapshot->MayUse(place, "smollm2"));
  CHECK_FALSE(snapshot->MayUse(place, "qwen"));   // Not on the key's list.
  CHECK_FALSE(snapshot->MayUse(place, "llama"));  // On none.
  CHECK(snapshot->MayUse(*snapshot->FindKey("globkey1"), "llama"));

  // A list that loses its lines stays a list; a cleared one is gone.
  Set(world, on_org, "state", std::string("revoked"));
  snapshot = world.Built();
  CHECK_FALSE(snapshot->MayUse(*snapshot->FindKey("acmekey1"), "smollm2"));
  Row cleared = on_org;
  cleared.Set("state", std::string("cleared"));
  world.company.Put(cleared);
  snapshot = world.Built();
  CHECK_FALSE(snapshot->MayUse(*snapshot->FindKey("acmekey1"), "smollm2"));  // qwen still makes a list of the org.
}

TEST_CASE("A change rebuilds the shard that it touches and no other") {
  World world;
  const auto before = world.Built();
  Set(world, world.key, "revoked_us", std::int64_t{1});
  const auto after = world.Built();
  REQUIRE(before->shards().size() == 2);
  CHECK(before->shards()[0] != after->shards()[0]);
  CHECK(before->shards()[1] == after->shards()[1]);
  CHECK(before->shards()[0]->policies == after->shards()[0]->policies);
  CHECK(after->version() == before->version() + 1);
  CHECK_FALSE(before->FindKey("acmekey1")->key->revoked_us.has_value());
  CHECK(after->FindKey("acmekey1")->key->revoked_us.has_value());
}

TEST_CASE("Policies in force are compiled for their org alone; one that no longer compiles lets nothing run there") {
  World world;
  const auto policy = [&](const Row& org, const std::string& yaml) {
    world.company.Add(Table::kPolicy, {{"org", org.id.ToString()},
                                       {"name", std::string("baseline")},
                                       {"policy_version", std::int64_t{1}},
                                       {"sha256", base::Blob{std::string(32, 's')}},
                                       {"yaml", yaml},
                                       {"created_us", std::int64_t{1}}});
    world.company.Add(Table::kPolicyBinding, {{"org", org.id.ToString()},
                                              {"name", std::string("baseline")},
                                              {"policy_version", std::int64_t{1}},
                                              {"mode", std::string("enforce")}});
  };
  policy(world.acme, "version: 1\nname: baseline\nrules:\n  - id: falcon\n    detect: {keywords: [falcon]}\n    do: block\n");
  policy(world.globex, "this: is no policy");
  const auto snapshot = world.Built();
  const auto acme = *snapshot->FindKey("acmekey1");
  const auto globex = *snapshot->FindKey("globkey1");
  CHECK(snapshot->Policies(acme)->Describe().size() == 1);
  CHECK(snapshot->MayRun(acme, "smollm2", kNow).ok());
  CHECK(absl::IsUnavailable(snapshot->MayRun(globex, "smollm2", kNow)));
  CHECK(ReasonOf(snapshot->MayRun(globex, "smollm2", kNow)) == "POLICY_UNUSABLE");
}

TEST_CASE("A canary acts on its share of requests or tenants, and always on the same tenants") {
  World world;
  Row policy = world.company.Add(Table::kPolicy, {{"org", world.acme.id.ToString()},
                                                  {"name", std::string("house")},
                                                  {"policy_version", std::int64_t{1}},
                                                  {"sha256", base::Blob{std::string(32, 's')}},
                                                  {"yaml", std::string("version: 1\nname: house\nrules: []\n")},
                                                  {"created_us", std::int64_t{1}}});
  Row binding = world.company.Add(Table::kPolicyBinding, {{"org", world.acme.id.ToString()},
                                                          {"name", std::string("house")},
                                                          {"policy_version", std::int64_t{0}},
                                                          {"mode", std::string("enforce")},
                                                          {"candidate_version", std::int64_t{1}},
                                                          {"candidate_mode", std::string("canary")},
                                                          {"canary_by", std::string("request")},
                                                          {"canary_share", std::int64_t{2500}}});
  const auto share = [&] {
    const auto snapshot = world.Built();
    const auto place = *snapshot->FindKey("acmekey1");
    int acted = 0;
    for (int i = 0; i < 4000; ++i) acted += snapshot->JudgesOf(place, base::RequestId(base::Uuid::NewV7())).canary ? 1 : 0;
    return acted;
  };
  const int requests = share();
  CHECK(requests > 800);
  CHECK(requests < 1200);
  binding.Set("canary_by", std::string("tenant"));
  world.company.Put(binding);
  const int tenants = share();
  CHECK((tenants == 0 || tenants == 4000));
  binding.Set("candidate_mode", std::string("shadow"));
  world.company.Put(binding);
  CHECK(share() == 0);
}

TEST_CASE("A trial that no longer compiles is left out, and the policies in force judge alone") {
  World world;
  world.company.Add(Table::kPolicy, {{"org", world.acme.id.ToString()},
                                     {"name", std::string("house")},
                                     {"policy_version", std::int64_t{1}},
                                     {"sha256", base::Blob{std::string(32, 's')}},
                                     {"yaml", std::string("this: is no policy")},
                                     {"created_us", std::int64_t{1}}});
  world.company.Add(Table::kPolicyBinding, {{"org", world.acme.id.ToString()},
                                            {"name", std::string("house")},
                                            {"policy_version", std::int64_t{0}},
                                            {"mode", std::string("enforce")},
                                            {"candidate_version", std::int64_t{1}},
                                            {"candidate_mode", std::string("shadow")}});
  const auto snapshot = world.Built();
  const auto place = *snapshot->FindKey("acmekey1");
  CHECK(snapshot->JudgesOf(place, base::RequestId()).shadow == nullptr);
  CHECK(snapshot->MayRun(place, "smollm2", kNow).ok());
}

TEST_CASE("Quotas and prices come with the snapshot") {
  World world;
  world.company.Add(Table::kQuota, {{"org", world.acme.id.ToString()},
                                    {"scope_kind", std::string("team")},
                                    {"scope_id", world.search.id.ToString()},
                                    {"meter", std::string("tokens")},
                                    {"period", std::string("month")},
                                    {"amount", std::int64_t{1000}},
                                    {"removed", std::string("f")}});
  world.company.Add(Table::kPrice, {{"price_version", std::int64_t{1}},
                                    {"model", std::string("smollm2")},
                                    {"effective_from_us", std::int64_t{1}},
                                    {"input_nanos", std::int64_t{1'000'000}},
                                    {"cached_input_nanos", std::int64_t{1'000'000}},
                                    {"output_nanos", std::int64_t{2'000'000}},
                                    {"currency", std::string("EUR")}});
  const auto snapshot = world.Built();
  REQUIRE(snapshot->Quotas()->all().size() == 1);
  CHECK(snapshot->Quotas()->all()[0].scope.name == "search");
  CHECK(snapshot->PriceOf("smollm2", kNow)->output_nanos_per_1000() == 2'000'000);
  Set(world, world.key, "revoked_us", std::int64_t{1});
  CHECK(world.Built()->Quotas() == snapshot->Quotas());
}

TEST_CASE("A row, a set or a head that does not verify is refused, by name, and nothing of it is taken") {
  const std::string what =
      GENERATE("row", "missing row", "old row put back", "head's set", "head's mac", "rolled back", "rolled back and changed", "other key");
  World world;
  const auto good = world.Built();
  Row revoked = world.key;
  revoked.Set("revoked_us", std::int64_t{1});
  revoked = world.company.Put(revoked);
  std::vector<Row> changed = world.company.changed;
  Head head = world.company.head;
  std::string says;
  if (what == "row") {
    changed[0].Set("revoked_us", base::Value());
    says = "row " + world.key.id.ToString() + " of directory.key does not verify";
  } else if (what == "missing row") {
    changed.clear();
    says = "a row is missing or an older one was put back";
  } else if (what == "old row put back") {
    changed[0] = world.key;
    says = "a row is missing or an older one was put back";
  } else if (what == "head's set") {
    head.set[0] ^= 1;
    says = "a row is missing or an older one was put back";
  } else if (what == "head's mac") {
    head.mac[0] ^= 1;
    says = "directory.head does not verify";
  } else if (what == "rolled back") {
    head.version = 1;
    says = "it was rolled back";
  } else if (what == "rolled back and changed") {
    head.version = good->version();
    says = "another version";
  } else {
    SnapshotBuilder other(std::string(32, 'x'));
    CHECK(absl::IsDataLoss(other.Apply(changed, head)));
    return;
  }
  INFO(what);
  const absl::Status refused = world.builder.Apply(changed, head);
  CHECK(absl::IsDataLoss(refused));
  CHECK(base::Message(refused).find(says) != std::string::npos);
  CHECK(world.builder.head().version == good->version());
  // Once it is put right it is taken.
  REQUIRE(world.Apply().ok());
  CHECK(world.builder.head().version == good->version() + 1);
}

TEST_CASE("Many keys in many orgs are each found, after every change") {
  World world;
  std::vector<std::string> ids;
  for (int o = 0; o < 20; ++o) {
    const Row project = world.company.Project(world.company.Team(world.company.Org("org-" + std::to_string(o)), "t"), "p");
    for (int k = 0; k < 50; ++k) {
      ids.push_back("k" + std::to_string(o) + "x" + std::to_string(k));
      world.company.Key(project, ids.back());
    }
    const auto snapshot = world.Built();
    for (const std::string& id : ids) REQUIRE(snapshot->FindKey(id)->key->public_id == id);
  }
}
