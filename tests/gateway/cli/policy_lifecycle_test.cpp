// Trials, rollback and the second person on the command line.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/cli/fake_services.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("A shadow and a canary say what is tried; a rollback what is in force") {
  Server server;
  const Result shadow = server.Run({"policy", "shadow", "acme", "4"});
  CHECK(shadow.code == kDone);
  CHECK(server.policy.tried.version() == 4);
  CHECK(server.policy.tried.canary_per_10000() == 0);
  CHECK_THAT(shadow.out, ContainsSubstring("version 3 is in force, version 4 is on trial (shadow)"));
  CHECK(server.Run({"policy", "canary", "acme", "4", "--share", "12.5", "--by", "tenant"}).code == kDone);
  CHECK(server.policy.tried.canary_per_10000() == 1250);
  CHECK(server.policy.tried.by_tenant());
  CHECK(server.Run({"policy", "canary", "acme", "4", "--share", "0"}).code == kUsage);
  CHECK(server.Run({"policy", "shadow", "acme"}).code == kUsage);
  CHECK(server.Run({"policy", "rollback", "acme", "--org", "x"}).code == kDone);
  CHECK(server.policy.rolled_back.name() == "acme");
  CHECK(server.policy.rolled_back.org() == "x");
}

TEST_CASE("A draft is stored and said to be one; lists tell each version's state") {
  Server server;
  CHECK_THAT(server.Run({"policy", "put", "-", "--name", "acme", "--draft"}, "x").out, ContainsSubstring("as a draft: its tests fail"));
  CHECK(server.policy.put.draft());
  const Result list = server.Run({"policy", "list", "acme"});
  CHECK(server.policy.list.name() == "acme");
  CHECK_THAT(list.out, ContainsSubstring("STATE") && ContainsSubstring("tested") && ContainsSubstring("ann@acme.example"));
}

TEST_CASE("The second person is switched on and off by word") {
  Server server;
  CHECK_THAT(server.Run({"policy", "second-person", "on", "--org", "acme"}).out, ContainsSubstring("nobody puts in force"));
  CHECK(server.policy.second_person.wanted());
  CHECK_THAT(server.Run({"policy", "second-person", "off"}).out, ContainsSubstring("may do so alone"));
  CHECK(server.Run({"policy", "second-person", "maybe"}).code == kUsage);
}
