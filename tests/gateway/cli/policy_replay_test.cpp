// Replays and reports of shadows on the command line: pages are asked for to the last and added up.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/cli/fake_services.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("A replay joins its pages and names records that changed") {
  Server server;
  const Result text = server.Run({"policy", "replay", "-", "--name", "house", "--from", "7d", "--team", "search", "--reason", "v5"});
  CHECK(text.code == kDone);
  CHECK_THAT(text.out, ContainsSubstring("2,000 prompts and 1,000 replies judged anew, 40 would change; policies 0123456789ab"));
  CHECK_THAT(text.out, ContainsSubstring("6 more prompts were erased and cannot be replayed"));
  CHECK_THAT(text.out, ContainsSubstring("4 replies blocked by a rule then: judged is what was written until there, and the rest was never "
                                         "made (1/7 1/9)\n1 reply erased, and cannot be replayed\n"));
  CHECK_THAT(text.out,
             ContainsSubstring("1/7 1/9") && ContainsSubstring("codename") && ContainsSubstring("no hit") && ContainsSubstring("42"));
  REQUIRE(server.policy.replays.size() == 2);
  const v1::ReplayPolicyRequest& first = server.policy.replays[0];
  CHECK(first.name() == "house");
  CHECK(first.team() == "search");
  CHECK(first.reason() == "v5");
  CHECK(first.examples() == 3);
  CHECK(first.to_us() - first.from_us() == 7 * 86'400'000'000);
  CHECK(server.policy.replays[1].page_token() == "more");
  CHECK(server.policy.replays[1].to_us() == first.to_us());

  const Result json =
      server.Run({"policy", "replay", "--name", "house", "--policy-version", "4", "--reason", "x", "--against-in-force", "--json"});
  CHECK_THAT(json.out, ContainsSubstring("\"judged\"") && ContainsSubstring("3000"));
  CHECK(server.policy.replays[2].version() == 4);
  CHECK(server.policy.replays[2].against_in_force());
}

TEST_CASE("A replay of nothing, without a reason or backwards in time is a usage error") {
  Server server;
  CHECK_THAT(server.Run({"policy", "replay", "--reason", "x"}).err, ContainsSubstring("replay what?"));
  CHECK_THAT(server.Run({"policy", "replay", "-", "--reason", "x"}).err, ContainsSubstring("standard input has no name"));
  CHECK(server.Run({"policy", "replay", "--name", "house"}).code == kUsage);
  CHECK_THAT(server.Run({"policy", "replay", "--name", "house", "--reason", "x", "--from", "1h", "--to", "2h"}).err,
             ContainsSubstring("--from 1h is not before --to 2h"));
  CHECK(server.policy.replays.empty());
}

TEST_CASE("A shadow's report has the same form") {
  Server server;
  const Result text = server.Run({"policy", "shadow-report", "--from", "24h", "--digest", "0123"});
  CHECK(text.code == kDone);
  CHECK_THAT(text.out, ContainsSubstring("3,000 prompts and replies judged by the shadow too, 40 would change"));
  REQUIRE(server.policy.reports.size() == 2);
  CHECK(server.policy.reports[0].policy_digest() == "0123");
}
