// Policies compiled beside the directory: by a compile function that the test holds and lets go.
#include "gateway/directory/policy_compiler.h"

#include <condition_variable>
#include <map>
#include <mutex>

#include <catch2/catch_test_macros.hpp>

#include "gateway/directory/shard.h"
#include "gateway/directory/snapshot_builder.h"
#include "tests/gateway/directory/held_compile.h"
#include "tests/gateway/directory/rows_of.h"
#include "tests/support/reason.h"

using namespace tollgate;
using namespace tollgate::directory;
using namespace std::chrono_literals;
using tollgate::directory::test::Company;
using tollgate::directory::test::HeldCompile;
using tollgate::directory::test::kMacKey;
using tollgate::test::ReasonOf;

namespace {

const base::WallTime kNow = base::FromMicros(1'790'000'000'000'000);

std::string Yaml(const std::string& word) {
  return "version: 1\nname: house\nrules:\n  - id: " + word + "\n    detect: {keywords: " + word + "}\n    do: block\n";
}

// Two orgs and a builder that compiles beside, as the directory has it.
struct World {
  World() {
    acme = company.Org("acme");
    company.Key(company.Project(company.Team(acme, "search"), "web"), "acmekey1");
    globex = company.Org("globex");
    globex_key = company.Key(company.Project(company.Team(globex, "search"), "web"), "globkey1");
  }
  void Put(const Row& org, const std::string& name, std::int64_t version, const std::string& yaml) {
    company.Add(Table::kPolicy, {{"org", org.id.ToString()},
                                 {"name", name},
                                 {"policy_version", version},
                                 {"sha256", base::Blob{std::string(base::View(base::Sha256(yaml)))}},
                                 {"yaml", yaml},
                                 {"created_us", std::int64_t{1}}});
  }
  Row Bind(const Row& org, const std::string& name, std::int64_t version) {
    Row& row = bindings[org.Text("name") + "/" + name];
    if (row.id.IsNone()) {
      row = NewRow(Table::kPolicyBinding);
      row.Set("org", org.id.ToString());
      row.Set("name", name);
      row.Set("mode", std::string("enforce"));
    }
    row.Set("policy_version", version);
    return row = company.Put(row);
  }
  std::shared_ptr<const Snapshot> Built() {
    const absl::Status applied = builder.Apply(company.changed, company.head);
    INFO(applied);
    REQUIRE(applied.ok());
    company.changed.clear();
    auto snapshot = builder.Build({});
    REQUIRE(snapshot.ok());
    return *snapshot;
  }
  // Once everything is compiled.
  std::shared_ptr<const Snapshot> Settled() {
    auto snapshot = Built();
    while (snapshot->compiling()) {
      REQUIRE(compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
      snapshot = Built();
    }
    return snapshot;
  }
  static bool Blocks(const Snapshot& snapshot, const std::string& text, const std::string& key = "acmekey1") {
    const policy::Message message{policy::Role::kUser, "", {text}};
    const auto inspected = snapshot.Policies(*snapshot.FindKey(key))->Inspect({}, {&message, 1});
    REQUIRE(inspected.ok());
    return inspected->verdict.action == policy::Action::kBlock;
  }
  static absl::Status MayBegin(const Snapshot& snapshot, const std::string& key = "acmekey1") {
    return snapshot.MayBegin(*snapshot.FindKey(key), kNow);
  }

  Company company;
  HeldCompile held;
  PolicyCompiler compiler{held.AsCompile(), nullptr};
  SnapshotBuilder builder{kMacKey, &compiler};
  Row acme, globex, globex_key;
  std::map<std::string, Row> bindings;
};

}  // namespace

TEST_CASE("While an org's next policies are compiled those of before act, and other orgs' changes come into force") {
  World world;
  world.Put(world.acme, "house", 1, Yaml("eagle"));
  world.Bind(world.acme, "house", 1);
  CHECK(World::Blocks(*world.Settled(), "eagle"));

  world.held.Hold("falcon");
  world.Put(world.acme, "house", 2, Yaml("falcon"));
  const std::int64_t version = world.Bind(world.acme, "house", 2).version;
  auto snapshot = world.Built();
  CHECK(snapshot->compiling());
  CHECK(snapshot->version() == version);
  CHECK_FALSE(snapshot->Has(version));
  CHECK(World::Blocks(*snapshot, "eagle"));
  CHECK(World::MayBegin(*snapshot).ok());

  world.globex_key.Set("revoked_us", std::int64_t{1});
  const std::int64_t revoked = world.company.Put(world.globex_key).version;
  world.Put(world.globex, "house", 1, Yaml("owl"));
  world.Bind(world.globex, "house", 1);
  snapshot = world.Built();
  CHECK(snapshot->Has(revoked));
  CHECK(ReasonOf(World::MayBegin(*snapshot, "globkey1")) == "KEY_REVOKED");
  while (snapshot->shards()[1]->compiling) {  // Its policies wait for no other org's.
    REQUIRE(world.compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
    snapshot = world.Built();
  }
  CHECK(World::Blocks(*snapshot, "owl", "globkey1"));
  CHECK(World::Blocks(*snapshot, "eagle"));

  world.held.LetGo("falcon");
  snapshot = world.Settled();
  CHECK(snapshot->Has(version));
  CHECK(World::Blocks(*snapshot, "falcon"));
  CHECK_FALSE(World::Blocks(*snapshot, "eagle"));
}

TEST_CASE("Where a policy came into force of which no version is compiled no request begins, and running ones go on") {
  World world;
  world.held.Hold("eagle");
  world.Put(world.acme, "house", 1, Yaml("eagle"));
  world.Bind(world.acme, "house", 1);
  auto snapshot = world.Built();
  const absl::Status refused = World::MayBegin(*snapshot);
  CHECK(absl::IsUnavailable(refused));
  CHECK(ReasonOf(refused) == "POLICY_UNUSABLE");
  CHECK(snapshot->MayRun(*snapshot->FindKey("acmekey1"), "smollm2", kNow).ok());
  CHECK(World::MayBegin(*snapshot, "globkey1").ok());
  world.held.LetGo("eagle");
  snapshot = world.Settled();
  CHECK(World::MayBegin(*snapshot).ok());
  CHECK(World::Blocks(*snapshot, "eagle"));

  world.held.Hold("raven");  // Beside one that is compiled.
  world.Put(world.acme, "second", 1, Yaml("raven"));
  world.Bind(world.acme, "second", 1);
  CHECK(absl::IsUnavailable(World::MayBegin(*world.Built())));
  world.Bind(world.acme, "second", 0);  // Back to what is compiled already.
  snapshot = world.Built();
  CHECK_FALSE(snapshot->compiling());
  CHECK(World::MayBegin(*snapshot).ok());
  CHECK(World::Blocks(*snapshot, "eagle"));
}

TEST_CASE("What is asked for anew gives up what was asked for before, and an org's own compiling holds up no other org's") {
  World world;
  world.held.Hold("eagle");
  world.Put(world.acme, "house", 1, Yaml("eagle"));
  world.Bind(world.acme, "house", 1);
  world.Built();
  world.held.AwaitBegun("eagle");
  world.Put(world.acme, "house", 2, Yaml("falcon"));
  world.Bind(world.acme, "house", 2);
  const auto snapshot = world.Settled();  // Nobody lets the first go: it ends because it is wanted no more.
  CHECK(World::Blocks(*snapshot, "falcon"));
}

TEST_CASE("A canary that comes into force is not compiled again, nor is a trial that did not compile") {
  World world;
  world.Put(world.acme, "house", 1, Yaml("eagle"));
  Row binding = world.Bind(world.acme, "house", 0);
  binding.Set("candidate_version", std::int64_t{1});
  binding.Set("candidate_mode", std::string("canary"));
  binding.Set("canary_by", std::string("request"));
  binding.Set("canary_share", std::int64_t{1});
  world.bindings["acme/house"] = world.company.Put(binding);
  world.Settled();
  CHECK(world.held.times() == 1);
  for (const char* column : {"candidate_version", "candidate_mode", "canary_by", "canary_share"})
    world.bindings["acme/house"].Set(column, std::monostate());
  world.Bind(world.acme, "house", 1);
  CHECK(World::Blocks(*world.Built(), "eagle"));
  CHECK(world.held.times() == 1);

  world.Put(world.globex, "house", 1, "this: is no policy");
  binding = world.Bind(world.globex, "house", 0);
  binding.Set("candidate_version", std::int64_t{1});
  binding.Set("candidate_mode", std::string("shadow"));
  world.company.Put(binding);
  CHECK(world.Settled()->shards()[1]->trial == nullptr);
  CHECK(world.held.times() == 2);
  world.company.Team(world.globex, "sales");
  CHECK(world.Settled()->shards()[1]->trial == nullptr);
  CHECK(world.held.times() == 2);
}
