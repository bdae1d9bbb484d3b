// `tollgate embed` against services that answer from memory.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/cli/fake_services.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Texts come as vectors, a line each, or ranked by a query") {
  Server server;
  const Result vectors = server.Run({"embed", "-m", "bge", "--dimensions", "2", "one", "two words"});
  CHECK(vectors.code == kDone);
  CHECK(vectors.out == "0.000000 0.500000\n1.000000 0.500000\n");
  CHECK(server.embeddings.embed.model() == "bge");
  CHECK(server.embeddings.embed.dimensions() == 2);
  CHECK(server.embeddings.embed.inputs(1).text() == "two words");
  CHECK_THAT(server.Run({"--json", "embed", "-m", "bge", "one"}).out, ContainsSubstring("\"values\""));
  const Result ranked = server.Run({"embed", "-m", "rank", "--query", "who?", "--top", "5", "one", "two"});
  CHECK(ranked.code == kDone);
  CHECK(ranked.out == "0.5000  two\n0.2500  one\n");
  CHECK(server.embeddings.rerank.query() == "who?");
  CHECK(server.embeddings.rerank.top_n() == 5);
  CHECK(server.Run({"embed", "one"}).code == kUsage);
}
