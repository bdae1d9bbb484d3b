// What is on trial while policies are compiled beside the directory: what acts, acts on, and nothing that was replaced comes back.
#include <chrono>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/directory/policy_company.h"
#include "tests/support/reason.h"

using namespace tollgate;
using namespace tollgate::directory;
using namespace std::chrono_literals;
using tollgate::directory::test::Yaml;
using World = tollgate::directory::test::PolicyCompany;
using tollgate::test::ReasonOf;

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

TEST_CASE("What is tried comes into force while it is behind: what acts, acts on, and what is being compiled is not begun anew") {
  for (const bool canary : {true, false}) {
    CAPTURE(canary);
    World world;
    world.CanaryBesideLists();
    if (!canary) world.Shadow(2);
    world.Settled();
    world.held.Hold("falcon");
    world.Put(world.acme, "lists", 2, Yaml("owl"));
    world.Bind(world.acme, "lists", 2);
    auto snapshot = world.Built();
    while (!World::Blocks(*snapshot, "owl")) {  // Compiled, where what is tried is not.
      REQUIRE(world.compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
      snapshot = world.Built();
    }
    world.held.AwaitBegun("falcon");
    const int times = world.held.times();
    World::EndTrial(world.bindings["acme/house"]);
    world.Bind(world.acme, "house", 2);
    for (int i = 0; i < 2; ++i) {
      snapshot = world.Built();
      CHECK(snapshot->compiling());
      CHECK(World::MayBegin(*snapshot).ok());
      CHECK(World::Blocks(*snapshot, "owl"));
      CHECK(World::Blocks(*snapshot, "eagle"));
      CHECK_FALSE(World::Blocks(*snapshot, "raven"));
      CHECK(World::CanaryBlocks(*snapshot, "falcon") == canary);
      world.company.Team(world.acme, "sales" + std::to_string(i));
    }
    world.held.LetGo("falcon");
    snapshot = world.Settled();
    CHECK(world.held.times() == times);
    CHECK(snapshot->shards()[0]->trial == nullptr);
    for (const char* word : {"falcon", "owl"}) CHECK(World::Blocks(*snapshot, word));
    for (const char* word : {"eagle", "raven"}) CHECK_FALSE(World::Blocks(*snapshot, word));
  }
}

TEST_CASE("A policy of which only a canary acted comes into force while the canary is older than others: nothing begins without it") {
  World world;
  world.Put(world.acme, "lists", 1, Yaml("raven"));
  world.Bind(world.acme, "lists", 1);
  world.Put(world.acme, "house", 1, Yaml("falcon"));
  world.Try(1);
  world.Settled();
  world.held.Hold("falcon");
  world.Put(world.acme, "lists", 2, Yaml("owl"));
  world.Bind(world.acme, "lists", 2);
  auto snapshot = world.Built();
  while (!World::Blocks(*snapshot, "owl")) {
    REQUIRE(world.compiler.WaitForDone(std::chrono::steady_clock::now() + 30s));
    snapshot = world.Built();
  }
  World::EndTrial(world.bindings["acme/house"]);
  world.Bind(world.acme, "house", 1);
  CHECK(ReasonOf(World::MayBegin(*world.Built())) == "POLICY_UNUSABLE");
  world.held.LetGo("falcon");
  snapshot = world.Settled();
  CHECK(World::MayBegin(*snapshot).ok());
  CHECK(World::Blocks(*snapshot, "falcon"));
}

TEST_CASE("A canary that was ended does not act on for the next one, though an instance sees both at once") {
  for (const bool ended : {true, false}) {
    CAPTURE(ended);
    World world;
    world.Put(world.acme, "house", 1, Yaml("eagle"));
    world.Bind(world.acme, "house", 1);
    world.Put(world.acme, "house", 2, Yaml("falcon"));
    world.Try(2);
    CHECK(World::CanaryBlocks(*world.Settled(), "falcon"));
    world.held.Hold("heron");
    world.Put(world.acme, "house", 3, Yaml("heron"));
    if (ended) world.Try(0);
    world.Try(3);
    world.company.Team(world.acme, "sales");
    auto snapshot = world.Built();
    CHECK(World::CanaryBlocks(*snapshot, "falcon") == !ended);
    CHECK(World::MayBegin(*snapshot).ok());
    world.company.Team(world.acme, "support");
    CHECK(World::CanaryBlocks(*world.Built(), "falcon") == !ended);
    world.held.LetGo("heron");
    CHECK(World::CanaryBlocks(*world.Settled(), "heron"));
  }
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
