// Policies compiled beside the directory: by a compile function that the test holds and lets go.
#include "gateway/directory/policy_compiler.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

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
  // Acme's "house" is in force with "eagle" and a canary with "falcon", beside "lists" with "raven".
  void CanaryBesideLists() {
    Put(acme, "house", 1, Yaml("eagle"));
    Bind(acme, "house", 1);
    Put(acme, "house", 2, Yaml("falcon"));
    Put(acme, "lists", 1, Yaml("raven"));
    Bind(acme, "lists", 1);
    Try(2);
  }
  // A canary of acme's policy "house"; version 0: it is ended. The share is in ten-thousandths.
  void Try(std::int64_t version, std::int64_t share = 10000) {
    if (bindings["acme/house"].id.IsNone()) Bind(acme, "house", 0);
    Row& row = bindings["acme/house"];
    row.Set("candidate_version", version);
    row.Set("candidate_mode", std::string("canary"));
    row.Set("canary_by", std::string("request"));
    row.Set("canary_share", share);
    if (version == 0) EndTrial(row);
    row = company.Put(row);
  }
  static void EndTrial(Row& row) {
    for (const char* column : {"candidate_version", "candidate_mode", "canary_by", "canary_share"}) row.Set(column, std::monostate());
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
  static bool Blocks(const policy::PolicySet& policies, const std::string& text) {
    const policy::Message message{policy::Role::kUser, "", {text}};
    const auto inspected = policies.Inspect({}, {&message, 1});
    REQUIRE(inspected.ok());
    return inspected->verdict.action == policy::Action::kBlock;
  }
  static bool Blocks(const Snapshot& snapshot, const std::string& text, const std::string& key = "acmekey1") {
    return Blocks(*snapshot.Policies(*snapshot.FindKey(key)), text);
  }
  // Whether a canary with all of acme's requests judges them, and blocks this.
  static bool CanaryBlocks(const Snapshot& snapshot, const std::string& text) {
    const Judges judges = snapshot.JudgesOf(*snapshot.FindKey("acmekey1"), base::RequestId::New());
    return judges.canary && Blocks(*judges.acting, text);
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
  world.Try(1, 1);
  world.Settled();
  CHECK(world.held.times() == 1);
  World::EndTrial(world.bindings["acme/house"]);
  world.Bind(world.acme, "house", 1);
  CHECK(World::Blocks(*world.Built(), "eagle"));
  CHECK(world.held.times() == 1);

  world.Put(world.globex, "house", 1, "this: is no policy");
  Row binding = world.Bind(world.globex, "house", 0);
  binding.Set("candidate_version", std::int64_t{1});
  binding.Set("candidate_mode", std::string("shadow"));
  world.company.Put(binding);
  CHECK(world.Settled()->shards()[1]->trial == nullptr);
  CHECK(world.held.times() == 2);
  world.company.Team(world.globex, "sales");
  CHECK(world.Settled()->shards()[1]->trial == nullptr);
  CHECK(world.held.times() == 2);
}

TEST_CASE("A canary acts on while others of the org's policies are compiled, whatever else changes, until it is ended") {
  World world;
  world.CanaryBesideLists();
  CHECK(World::CanaryBlocks(*world.Settled(), "falcon"));

  world.held.Hold("owl");
  world.Put(world.acme, "lists", 2, Yaml("owl"));
  world.Bind(world.acme, "lists", 2);
  auto snapshot = world.Built();
  CHECK(snapshot->compiling());
  CHECK(World::CanaryBlocks(*snapshot, "falcon"));
  CHECK(World::CanaryBlocks(*snapshot, "raven"));
  CHECK(World::MayBegin(*snapshot).ok());
  world.company.Team(world.acme, "sales");
  world.Try(2, 1);  // Its share is what was set last.
  snapshot = world.Built();
  REQUIRE(snapshot->shards()[0]->trial != nullptr);
  CHECK(snapshot->shards()[0]->trial->share_per_10000 == 1);
  world.Try(0);
  snapshot = world.Built();
  CHECK(snapshot->shards()[0]->trial == nullptr);
  CHECK(World::MayBegin(*snapshot).ok());
  world.Try(2);  // Begun anew, it is a new one.
  snapshot = world.Built();
  CHECK_FALSE(World::CanaryBlocks(*snapshot, "falcon"));
  CHECK(World::Blocks(*snapshot, "eagle"));
  CHECK(World::MayBegin(*snapshot).ok());
  world.held.LetGo("owl");
  CHECK(World::CanaryBlocks(*world.Settled(), "owl"));
}

TEST_CASE("A canary that was compiled without a policy which is in force now judges no request that begins") {
  World world;
  world.Put(world.acme, "house", 1, Yaml("falcon"));
  world.Try(1);
  CHECK(World::CanaryBlocks(*world.Settled(), "falcon"));
  world.held.Hold("falcon");
  world.Put(world.acme, "lists", 1, Yaml("owl"));
  world.Bind(world.acme, "lists", 1);
  auto snapshot = world.Built();
  while (!World::Blocks(*snapshot, "owl")) {  // Compiled, where the canary is not.
    REQUIRE(world.compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
    snapshot = world.Built();
  }
  CHECK(ReasonOf(World::MayBegin(*snapshot)) == "POLICY_UNUSABLE");
  world.held.LetGo("falcon");
  snapshot = world.Settled();
  CHECK(World::MayBegin(*snapshot).ok());
  CHECK(World::CanaryBlocks(*snapshot, "owl"));
}

TEST_CASE("A canary's rules act on when its version comes into force while others of the org's policies are compiled") {
  World world;
  world.CanaryBesideLists();
  world.Settled();
  world.held.Hold("owl");
  world.Put(world.acme, "lists", 2, Yaml("owl"));
  world.Bind(world.acme, "lists", 2);
  world.Built();
  World::EndTrial(world.bindings["acme/house"]);
  world.Bind(world.acme, "house", 2);
  auto snapshot = world.Built();
  CHECK(snapshot->compiling());
  CHECK(World::Blocks(*snapshot, "falcon"));
  CHECK(World::Blocks(*snapshot, "raven"));
  CHECK(World::MayBegin(*snapshot).ok());
  world.company.Team(world.acme, "sales");
  CHECK(World::Blocks(*world.Built(), "falcon"));
  world.held.LetGo("owl");
  CHECK(World::Blocks(*world.Settled(), "owl"));
}

TEST_CASE("After a start no request of an org begins before its canary is compiled, which may have acted; a new one is not waited for") {
  for (const bool alone : {true, false}) {
    CAPTURE(alone);
    World world;
    world.held.Hold("falcon");
    world.Put(world.acme, "house", 1, Yaml("eagle"));
    world.Put(world.acme, "house", 2, Yaml("falcon"));
    if (!alone) world.Bind(world.acme, "house", 1);
    world.Try(2);
    auto snapshot = world.Built();
    while (!alone && !World::Blocks(*snapshot, "eagle")) {
      REQUIRE(world.compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
      snapshot = world.Built();
    }
    CHECK(ReasonOf(World::MayBegin(*snapshot)) == "POLICY_UNUSABLE");
    world.company.Team(world.acme, "sales");
    CHECK(ReasonOf(World::MayBegin(*world.Built())) == "POLICY_UNUSABLE");
    world.held.LetGo("falcon");
    snapshot = world.Settled();
    CHECK(World::MayBegin(*snapshot).ok());
    CHECK(World::CanaryBlocks(*snapshot, "falcon"));

    world.held.Hold("heron");
    world.Put(world.acme, "house", 3, Yaml("heron"));
    world.Try(3, 1);
    snapshot = world.Built();
    CHECK(World::MayBegin(*snapshot).ok());
    CHECK(World::CanaryBlocks(*snapshot, "falcon"));  // Its own version before.
    world.held.LetGo("heron");
    CHECK(world.Settled()->shards()[0]->trial->share_per_10000 == 1);
  }
}

TEST_CASE("Whether policies are the same is told by what their rows say of the texts, and texts are copied by who compiles them") {
  World world;
  world.Put(world.acme, "house", 1, Yaml("eagle"));
  world.Bind(world.acme, "house", 1);
  world.Settled();
  Row other = NewRow(Table::kPolicy);  // Nobody writes such a row: it shows what is read.
  other.Set("org", world.acme.id.ToString());
  other.Set("name", std::string("house"));
  other.Set("policy_version", std::int64_t{2});
  other.Set("sha256", base::Blob{std::string(base::View(base::Sha256(Yaml("eagle"))))});
  other.Set("yaml", Yaml("falcon"));
  other.Set("created_us", std::int64_t{1});
  world.company.Put(other);
  world.Bind(world.acme, "house", 2);
  const auto snapshot = world.Built();
  CHECK_FALSE(snapshot->compiling());
  CHECK(World::Blocks(*snapshot, "eagle"));
  CHECK(world.held.times() == 1);

  std::thread::id on;
  const auto get = [&] {
    return world.compiler.Get(world.globex.id, PolicyCompiler::Of::kInForce, {}, [&on] {
      on = std::this_thread::get_id();
      return std::vector<policy::PolicySource>{{"house", Yaml("owl")}};
    });
  };
  std::optional<PolicyCompiler::Compiled> compiled = get();
  REQUIRE(world.compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
  compiled = get();
  REQUIRE(compiled.has_value());
  CHECK(compiled->ok());
  CHECK(on != std::thread::id());
  CHECK(on != std::this_thread::get_id());
}
