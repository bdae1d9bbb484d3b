// Packs on the command line: listed, printed as they are, and good to go on with.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/packs.h"
#include "tests/gateway/cli/fake_services.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Packs are listed, for people and for scripts, with no server") {
  const Result list = RunLine({"policy", "packs"});
  CHECK(list.code == kDone);
  const Result json = RunLine({"policy", "packs", "--json"});
  CHECK_THAT(json.out, ContainsSubstring("[{\"name\":\"pii-eu\",\"description\":\"Hides "));
  for (const policy::Pack& pack : policy::Packs()) CHECK_THAT(list.out, ContainsSubstring(std::string(pack.name)));
}

TEST_CASE("A printed pack is what `policy put` takes") {
  const Result printed = RunLine({"policy", "packs", "payment-card"});
  CHECK(printed.code == kDone);
  CHECK(printed.out == policy::FindPack("payment-card")->yaml);
  const Result tried = RunLine({"policy", "explain", "-", "--input", "pay 4111 1111 1111 1111"}, printed.out);
  CHECK_THAT(tried.out, ContainsSubstring("becomes: pay ****1111"));
  Server server;
  CHECK(server.Run({"policy", "put", "-", "--name", "payment-card"}, printed.out).code == kDone);
  const Result unknown = RunLine({"policy", "packs", "pii-uk"});
  CHECK(unknown.code == kUsage);
  CHECK_THAT(unknown.err, ContainsSubstring("there is no pack 'pii-uk'; did you mean 'pii-us'?") ||
                              ContainsSubstring("there is no pack 'pii-uk'; did you mean 'pii-eu'?"));
}
