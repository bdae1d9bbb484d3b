// Policies compiled beside the directory: by a compile function that the test holds and lets go.
#include "gateway/directory/policy_compiler.h"

#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/directory/policy_company.h"
#include "tests/support/reason.h"

using namespace tollgate;
using namespace tollgate::directory;
using namespace std::chrono_literals;
using tollgate::directory::test::kNow;
using tollgate::directory::test::Yaml;
using World = tollgate::directory::test::PolicyCompany;
using tollgate::test::ReasonOf;

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
