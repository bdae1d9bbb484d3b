// What is done with inputs before a model sees them, and with documents before they go back: read, measured, bounded, judged.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <future>
#include <thread>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/embed_world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using Catch::Matchers::ContainsSubstring;
using inference::Pooling;
using pipeline::EmbedAnswer;
using pipeline::Failure;
using pipeline::RerankAnswer;
using test::kEmbedPolicy;
using test::ParamOf;
using test::Rank;
using test::ReasonOf;
using test::Texts;
using World = test::EmbedWorld;

TEST_CASE("What a rerank may not be is refused before the work: a long query, many tokens in sum, a client that has gone") {
  World world;
  const auto refused = [&](const v1::RerankRequest& request, std::shared_ptr<pipeline::Cancellation> cancellation = nullptr) {
    return std::get<Failure>(world.Rerank(request, std::move(cancellation)));
  };
  // Each document with the query would be a hundred million tokens.
  const Failure long_query = refused(Rank(std::string(200'000, 'q'), std::vector<std::string>(2000, "a")));
  CHECK(ParamOf(long_query) == "query");
  CHECK_THAT(base::Message(long_query.status), ContainsSubstring("is 50000 tokens long and rank takes 4096"));
  const Failure many = refused(Rank(std::string(8000, 'q'), std::vector<std::string>(2000, "a")));
  CHECK(ReasonOf(many) == "TOO_MANY_TOKENS");
  CHECK_THAT(base::Message(many.status), ContainsSubstring("the query counted with each document"));
  CHECK(ParamOf(refused(Rank("q", {"a", std::string(20'000, 'x')}))) == "documents[1]");
  auto gone = std::make_shared<pipeline::Cancellation>();
  gone->Cancel();
  CHECK(absl::IsCancelled(refused(Rank("q", {"a"}), gone).status));
  CHECK(world.journal.entries().empty());
  CHECK(std::holds_alternative<RerankAnswer>(world.Rerank(Rank(std::string(3000, 'q'), std::vector<std::string>(2000, "a")))));
  world.CheckBooks();
}

TEST_CASE("A rule may measure texts that are too long for the model, and send them to one that takes them") {
  World world(R"(version: 1
name: house
rules:
  - id: long
    detect: { length: { tokens: 100 } }
    do: { route: rank }
)");
  world.LoadEmbedder("small", Pooling::kRank, 64);
  const auto outcome = world.Rerank(Rank(std::string(400, 'q'), {"a", "b"}, "small"));
  REQUIRE(std::holds_alternative<RerankAnswer>(outcome));
  CHECK(std::get<RerankAnswer>(outcome).head.model == "rank");
}

TEST_CASE("What ids spell is bounded as any text is, and ids that cannot fit are not read") {
  World world;
  v1::EmbedRequest request = Texts({});
  auto* ids = request.add_inputs()->mutable_tokens();
  for (int i = 0; i < 4097; ++i) ids->add_ids('a' | 'b' << 7);
  CHECK(ReasonOf(world.Refused(request)) == "CONTEXT_LENGTH_EXCEEDED");
  CHECK(ParamOf(world.Refused(request)) == "input[0]");
  test::World small;
  small.options.limits.prompt_bytes_max = 50;
  small.LoadEmbedder("vec");
  v1::EmbedRequest spelt = Texts({"0123456789"});
  auto* more = spelt.add_inputs()->mutable_tokens();
  for (int i = 0; i < 10; ++i) more->add_ids('a' | 'b' << 7 | 'c' << 14 | 'd' << 21);
  CHECK(std::holds_alternative<EmbedAnswer>(small.Embed(spelt)));
  spelt.add_inputs()->mutable_tokens()->add_ids('a');
  const auto refused = small.Embed(spelt);
  REQUIRE(std::holds_alternative<Failure>(refused));
  CHECK_THAT(base::Message(std::get<Failure>(refused).status), ContainsSubstring("bytes of text; at most 50 are allowed"));
}

TEST_CASE("Token ids are read as the text that they spell: policy scans it, and what it leaves is embedded") {
  World world(kEmbedPolicy);
  const auto ids = [](const std::string& text) {  // As the scripted engine spells ASCII: four letters a token.
    v1::EmbedRequest request = Texts({});
    auto* tokens = request.add_inputs()->mutable_tokens();
    for (std::size_t i = 0; i < text.size(); i += 4) {
      std::int32_t token = 0;
      for (std::size_t n = 0; n < 4 && i + n < text.size(); ++n) token |= static_cast<std::int32_t>(text[i + n]) << (7 * n);
      tokens->add_ids(token);
    }
    return request;
  };
  const std::vector<float> spelt = world.Vectors(ids("plain text")).numbers;
  CHECK(spelt == world.Vectors(Texts({"plain text"})).numbers);
  CHECK(world.journal.entries()[0].record.request().token_inputs() == 1);
  CHECK(world.Content(world.journal.entries()[0]).prompt(0).parts(0) == "plain text");
  CHECK(ReasonOf(world.Refused(ids("bluebird"))) == "POLICY_BLOCKED");
  CHECK(world.Vectors(ids("to ada@example.com")).numbers == world.Vectors(Texts({"to [MAIL]"})).numbers);
  v1::EmbedRequest control = Texts({});
  control.add_inputs()->mutable_tokens()->add_ids(1 << 29 | 2);
  const Failure refused = world.Refused(control);
  CHECK(ReasonOf(refused) == "INVALID_TOKENS");
  CHECK(ParamOf(refused) == "input[0]");
}

TEST_CASE("Documents that are returned leave as any reply does: under the rules of output, and on record") {
  World world(R"(version: 1
name: house
rules:
  - id: project
    where: { direction: output }
    detect: { regex: "PROJECT-[0-9]{4}" }
    do: redact
  - id: sealed
    where: { direction: output }
    detect: { keywords: [sealed] }
    do: block
    because: It stays inside.
)");
  v1::RerankRequest request = Rank("red", {"blue", "red about PROJECT-1234"});
  request.set_return_documents(true);
  auto outcome = world.Rerank(request);
  REQUIRE(std::holds_alternative<RerankAnswer>(outcome));
  const RerankAnswer& answer = std::get<RerankAnswer>(outcome);
  CHECK(answer.results[0].document() == "red about [REDACTED]");
  CHECK(answer.results[1].document() == "blue");
  CHECK(answer.end.output_policy().action() == "redact");
  const v1::EndBody end = world.journal.entries()[1].record.end();
  REQUIRE(end.output_verdict().rules_size() == 1);
  CHECK(end.output_verdict().rules(0).rule_id() == "project");
  CHECK(end.output_verdict().rules(0).spans(0).message() == 1);
  CHECK(end.delivered_bytes() == 24);

  request.add_documents("sealed");
  outcome = world.Rerank(request);
  REQUIRE(std::holds_alternative<Failure>(outcome));
  const Failure& blocked = std::get<Failure>(outcome);
  CHECK(ReasonOf(blocked) == "POLICY_BLOCKED");
  CHECK(ParamOf(blocked) == "return_documents");
  CHECK_THAT(base::Message(blocked.status), ContainsSubstring("documents[2]") && ContainsSubstring("policy rule sealed"));
  const v1::EndBody held = world.journal.entries()[3].record.end();
  CHECK(held.reason() == "POLICY_BLOCKED");
  CHECK_FALSE(held.has_vectors());
  CHECK(held.tokens().input() > 0);
  CHECK(held.delivered_bytes() == 0);
  request.set_return_documents(false);
  CHECK(std::holds_alternative<RerankAnswer>(world.Rerank(request)));
  world.CheckBooks();
}

TEST_CASE("Documents are not returned where a rule would ask somebody about them") {
  World world(R"(version: 1
name: house
rules:
  - id: asks
    where: { direction: output }
    detect: { external: judge }
    do: block
)");
  v1::RerankRequest request = Rank("red", {"blue"});
  request.set_return_documents(true);
  const auto outcome = world.Rerank(request);
  REQUIRE(std::holds_alternative<Failure>(outcome));
  CHECK(ReasonOf(std::get<Failure>(outcome)) == "POLICY_NOT_APPLICABLE");
  CHECK_THAT(base::Message(std::get<Failure>(outcome).status), ContainsSubstring("policy rule asks asks judge"));
  CHECK(world.journal.entries().empty());
}

TEST_CASE("Of a step that outlasts all patience the input tokens are billed that it had begun") {
  World world;
  const v1::EmbedRequest request = Texts({"worked through", "!pace_ms 12000 for longer than anybody waits"});
  std::int64_t billed = 0, all = 1;
  // Who goes before the step begins pays nothing, and who goes between two steps pays for the first.
  for (std::size_t records = 0; billed < all; records += 2) {
    auto cancellation = std::make_shared<pipeline::Cancellation>();
    auto running = std::async(std::launch::async, [&] { return world.Embed(request, cancellation); });
    while (world.journal.entries().size() == records) std::this_thread::yield();
    cancellation->Cancel();
    CHECK(absl::IsCancelled(std::get<Failure>(running.get()).status));
    billed = world.journal.entries()[records + 1].record.end().tokens().input();
    all = world.journal.entries()[records].record.request().input_tokens();
    REQUIRE(billed <= all);
  }
  world.CheckBooks();
}
