// Requests for vectors and relevance: on record before they are routed, under policy in every input, billed by input tokens, ended once.
#include "gateway/pipeline/embed_request.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <random>
#include <thread>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "tests/gateway/pipeline/embed_world.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/support/random.h"

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

TEST_CASE("Inputs are on record before the model sees them, the vectors' digest before they leave, and input tokens are billed") {
  World world;
  const EmbedAnswer answer = world.Vectors(Texts({"first text", "second"}));
  CHECK(answer.dimensions == 8);
  REQUIRE(answer.numbers.size() == 16);
  CHECK(world.Kinds() == "REQUEST FINAL");
  const auto entries = world.journal.entries();
  const v1::RequestBody& body = entries[0].record.request();
  CHECK(body.operation() == "embeddings");
  CHECK(body.inputs() == 2);
  CHECK(body.model() == "vec");
  CHECK_FALSE(body.has_sampling());
  CHECK(body.input_tokens() == answer.end.usage().input());
  const v1::SealedContent content = world.Content(entries[0]);
  REQUIRE(content.prompt_size() == 2);
  CHECK(content.prompt(1).parts(0) == "second");
  const v1::EndBody& end = entries[1].record.end();
  CHECK(end.reason() == "EMBEDDED");
  CHECK(end.tokens().input() > 0);
  CHECK(end.tokens().output() == 0);
  CHECK(end.vectors().count() == 2);
  CHECK(end.vectors().dimensions() == 8);
  CHECK(end.vectors().sha256() == std::string(base::View(pipeline::DigestOf(std::span<const float>(answer.numbers)))));
  CHECK_FALSE(entries[1].content.has_value());
  CHECK(answer.end.record().index() == 1);
  CHECK(answer.end.input_policy().action() == "allow");
  world.CheckBooks();
}

TEST_CASE("Nothing is computed while the REQUEST record is not durable") {
  World world;
  test::WatchedPool watched;
  watched.inner = &world.pool();
  world.pool_between = &watched;
  world.journal.Hold();
  auto running = std::async(std::launch::async, [&] { return world.Embed(Texts({"hello"})); });
  while (world.journal.waiting() == 0) std::this_thread::yield();
  CHECK(watched.Take().empty());
  world.journal.Release();
  CHECK(std::holds_alternative<EmbedAnswer>(running.get()));
  CHECK(watched.Take().size() == 1);
}

TEST_CASE("Policy judges every input: a block denies all, a redaction is what is embedded, and neither is in the record in clear") {
  World world(kEmbedPolicy);
  const Failure blocked = world.Refused(Texts({"harmless", "about Bluebird"}));
  CHECK(absl::IsPermissionDenied(blocked.status));
  CHECK(ReasonOf(blocked) == "POLICY_BLOCKED");
  CHECK_THAT(base::Message(blocked.status), ContainsSubstring("codename") && !ContainsSubstring("luebird"));
  CHECK(world.Kinds() == "DENY");
  CHECK(world.journal.entries()[0].record.deny().input_verdict().rules(0).spans(0).message() == 1);

  const EmbedAnswer redacted = world.Vectors(Texts({"harmless", "write to ada@example.com now"}));
  CHECK(redacted.end.input_policy().action() == "redact");
  CHECK(redacted.numbers == world.Vectors(Texts({"harmless", "write to [MAIL] now"})).numbers);
  const auto entries = world.journal.entries();
  const v1::SealedContent content = world.Content(entries[1]);
  CHECK(content.prompt_used(1).parts(0) == "write to [MAIL] now");
  for (const auto& entry : entries) {
    std::string bytes = entry.record.SerializeAsString();
    if (entry.content) bytes += entry.content->stored;
    CHECK(bytes.find("ada@example") == std::string::npos);
    CHECK(bytes.find("luebird") == std::string::npos);
  }
  world.CheckBooks();
}

TEST_CASE("Only the first dimensions, at length 1 again; more than there are is refused") {
  World world;
  const std::vector<float> whole = world.Vectors(Texts({"a", "b"})).numbers;
  v1::EmbedRequest request = Texts({"a", "b"});
  request.set_dimensions(3);
  const EmbedAnswer cut = world.Vectors(request);
  CHECK(cut.dimensions == 3);
  CHECK(cut.numbers == pipeline::FirstDimensions(whole, 8, 3));
  CHECK(world.journal.entries()[2].record.request().dimensions() == 3);
  CHECK(world.journal.entries()[3].record.end().vectors().dimensions() == 3);
  request.set_dimensions(9);
  const Failure refused = world.Refused(request);
  CHECK(ParamOf(refused) == "dimensions");
  CHECK_THAT(base::Message(refused.status), ContainsSubstring("is 9; a vector of vec has 8 numbers"));
}

TEST_CASE("Cut vectors have length 1 and the direction of what is left, whatever they are") {
  std::mt19937_64 random(test::Seed());
  for (int round = 0; round < 200; ++round) {
    const std::int64_t each = 1 + static_cast<std::int64_t>(random() % 64),
                       kept = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(each));
    std::vector<float> vectors(static_cast<std::size_t>(each * 3));
    for (float& x : vectors) x = static_cast<float>(static_cast<double>(random() % 2001) - 1000) / 1000;
    const std::vector<float> cut = pipeline::FirstDimensions(vectors, each, kept);
    REQUIRE(cut.size() == static_cast<std::size_t>(kept * 3));
    for (std::int64_t v = 0; v < 3; ++v) {
      double square = 0, dot = 0, was = 0;
      for (std::int64_t i = 0; i < kept; ++i) {
        const double x = cut[static_cast<std::size_t>(v * kept + i)], y = vectors[static_cast<std::size_t>(v * each + i)];
        square += x * x;
        dot += x * y;
        was += y * y;
      }
      if (kept == each) {
        CHECK(std::abs(square - was) < 1e-6);  // Whole ones are the engine's: nothing is done to them.
      } else if (was > 0) {
        CHECK(std::abs(square - 1) < 1e-5);
        CHECK(std::abs(dot - std::sqrt(was)) < 1e-4);
      }
    }
  }
}

TEST_CASE("Documents are ranked by their query, on record, and given as policy left them") {
  World world(kEmbedPolicy);
  v1::RerankRequest three = Rank("red green", {"blue", "red green ada@example.com", "red"});
  three.set_return_documents(true);
  auto outcome = world.Rerank(three);
  REQUIRE(std::holds_alternative<RerankAnswer>(outcome));
  const RerankAnswer& answer = std::get<RerankAnswer>(outcome);
  REQUIRE(answer.results.size() == 3);
  CHECK(answer.results[0].index() == 1);
  CHECK(answer.results[0].relevance_score() == 1);
  CHECK(answer.results[1].index() == 2);
  CHECK(answer.results[2].index() == 0);
  CHECK(answer.results[0].document() == "red green [MAIL]");
  const auto entries = world.journal.entries();
  CHECK(entries[0].record.request().operation() == "rerank");
  CHECK(entries[0].record.request().inputs() == 3);
  CHECK(world.Content(entries[0]).prompt_size() == 4);
  CHECK(entries[1].record.end().reason() == "RERANKED");
  CHECK(entries[1].record.end().vectors().count() == 3);
  CHECK(entries[1].record.end().vectors().sha256() ==
        std::string(base::View(pipeline::DigestOf(std::span<const v1::RankedDocument>(answer.results)))));
  v1::RerankRequest two = Rank("red", {"a", "red", "b"});
  two.set_top_n(1);
  outcome = world.Rerank(two);
  CHECK(std::get<RerankAnswer>(outcome).results.size() == 1);
  CHECK_FALSE(std::get<RerankAnswer>(outcome).results[0].has_document());
  outcome = world.Rerank(Rank("Bluebird", {"a"}));
  CHECK(ReasonOf(std::get<Failure>(outcome)) == "POLICY_BLOCKED");
  world.CheckBooks();
}

TEST_CASE("A model does what it is for and nothing else, and says where to go") {
  World world;
  CHECK(ReasonOf(world.Refused(Texts({"a"}, "script"))) == "MODEL_DOES_NOT_EMBED");
  CHECK(ReasonOf(world.Refused(Texts({"a"}, "rank"))) == "MODEL_DOES_NOT_EMBED");
  for (const char* model : {"vec", "script"}) {
    const auto outcome = world.Rerank(Rank("q", {"a"}, model));
    CHECK(ReasonOf(std::get<Failure>(outcome)) == "MODEL_DOES_NOT_RERANK");
  }
  v1::ChatRequest chat = world.Ask("hello");
  chat.set_model("vec");
  const auto chatted = world.Chat(chat);
  CHECK(ReasonOf(std::get<Failure>(chatted)) == "MODEL_DOES_NOT_CHAT");
  CHECK_THAT(base::Message(std::get<Failure>(chatted).status), ContainsSubstring("/v1/embeddings"));
  CHECK(ReasonOf(world.Count(world.NewCaller(), "rank").status()) == "MODEL_DOES_NOT_CHAT");
  CHECK(world.journal.entries().empty());
  std::map<std::string, std::string> serves;
  const v1::ListModelsReply listed = world.List();
  for (const v1::Model& model : listed.models()) serves[model.name()] = model.serves();
  CHECK(serves["script"] == "chat");
  CHECK(serves["vec"] == "embeddings");
  CHECK(serves["rank"] == "rerank");
}

TEST_CASE("What is wrong with a call is refused by the field's name, before anything is kept") {
  World world;
  world.LoadEmbedder("small", Pooling::kMean, 64);
  CHECK(ParamOf(world.Refused(Texts({}))) == "input");
  CHECK(ParamOf(world.Refused(Texts({"a", ""}))) == "input[1]");
  CHECK(ParamOf(world.Refused(Texts(std::vector<std::string>(2049, "a")))) == "input");
  CHECK(ParamOf(world.Refused(Texts({"a"}, ""))) == "model");
  CHECK(ReasonOf(world.Refused(Texts({"a"}, "none"))) == "MODEL_NOT_FOUND");
  const Failure long_one = world.Refused(Texts({"a", std::string(400, 'x')}, "small"));
  CHECK(ReasonOf(long_one) == "CONTEXT_LENGTH_EXCEEDED");
  CHECK_THAT(base::Message(long_one.status), ContainsSubstring("input[1]: is 101 tokens long and small takes 64"));
  CHECK(ParamOf(std::get<Failure>(world.Rerank(Rank("", {"a"})))) == "query");
  CHECK(ParamOf(std::get<Failure>(world.Rerank(Rank("q", {"a", ""})))) == "documents[1]");
  v1::EmbedRequest negative = Texts({"a"});
  negative.set_dimensions(-1);
  CHECK(ParamOf(world.Refused(negative)) == "dimensions");
  CHECK(world.journal.entries().empty());
}

TEST_CASE("Quotas, allow-lists, stops, caps and keys hold as for a chat") {
  World world;
  v1::ChatDefaults caps;
  caps.set_input_tokens_cap(20);
  caps.set_system_prompt("Be kind.");
  world.SetDefaults("team", caps);
  CHECK(ReasonOf(world.Refused(Texts({std::string(200, 'x')}))) == "CAP_EXCEEDED");
  world.Vectors(Texts({"short"}));
  const auto entries = world.journal.entries();
  CHECK(entries[0].record.request().defaults_size() == 1);
  CHECK(world.Content(entries[0]).prompt_size() == 1);  // No system prompt is put before an input.
  world.SetQuota("tokens", "month", 10);
  CHECK(ReasonOf(world.Refused(Texts({std::string(60, 'x')}))) == "QUOTA_SPENT");
  world.GrantOnly("script");
  CHECK(ReasonOf(world.Refused(Texts({"a"}))) == "MODEL_NOT_GRANTED");
  world.GrantOnly("vec");
  world.BlockTeam();
  CHECK(absl::IsPermissionDenied(world.Refused(Texts({"a"})).status));
  world.CheckBooks();
}

TEST_CASE("A rule that adds to the system prompt refuses by name; one that asks for a justification gets it") {
  World world(R"(version: 1
name: house
rules:
  - id: footer
    detect: { keywords: [footer] }
    do: { append_system: Be brief. }
  - id: why
    detect: { keywords: [payroll] }
    do: justification
    because: Say why.
)");
  const Failure footer = world.Refused(Texts({"a footer"}));
  CHECK(ReasonOf(footer) == "POLICY_NOT_APPLICABLE");
  CHECK_THAT(base::Message(footer.status), ContainsSubstring("policy rule footer adds to the system prompt"));
  v1::EmbedRequest payroll = Texts({"the payroll"});
  CHECK(ReasonOf(world.Refused(payroll)) == "JUSTIFICATION_NEEDED");
  payroll.set_justification("audit of payroll texts");
  world.Vectors(payroll);
  world.CheckBooks();
}

TEST_CASE("An approval for one request is not used up by one that the pool refuses") {
  test::WatchedPool pool;
  World world("version: 1\nname: house\nrules:\n  - {id: dump, detect: {keywords: all records}, do: approval}\n");
  pool.inner = &world.pool();
  world.pool_between = &pool;
  CHECK(ReasonOf(world.Refused(Texts({"all records"}))) == "APPROVAL_NEEDED");
  REQUIRE(world.gates.Grant({}, world.gates.ListApprovals({})->all.back().id, "second").ok());
  pool.embeds = base::WithDetail(absl::ResourceExhaustedError("full"), {.reason = "QUEUE_FULL"});
  CHECK(ReasonOf(world.Refused(Texts({"all records"}))) == "QUEUE_FULL");
  pool.embeds = absl::OkStatus();
  world.Vectors(Texts({"all records"}));
  CHECK(ReasonOf(world.Refused(Texts({"all records"}))) == "APPROVAL_NEEDED");
  world.CheckBooks();
}

TEST_CASE("Who goes away, is late, revoked or met by a failing engine gets one terminal record with what was worked through") {
  World world;
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto running =
      std::async(std::launch::async, [&] { return world.Embed(Texts(std::vector<std::string>(1500, "!pace_ms 2")), cancellation); });
  while (world.journal.entries().empty()) std::this_thread::yield();
  cancellation->Cancel();
  CHECK(absl::IsCancelled(std::get<Failure>(running.get()).status));
  CHECK(world.Kinds() == "REQUEST FINAL");
  CHECK(world.journal.entries()[1].record.end().reason() == "CLIENT_GONE");
  CHECK(world.journal.entries()[1].record.end().tokens().input() < world.journal.entries()[0].record.request().input_tokens());

  const Failure failed = world.Refused(Texts({"!fail"}));
  CHECK(absl::IsInternal(failed.status));
  CHECK(world.journal.entries()[3].record.kind() == v1::RECORD_KIND_ABORT);
  CHECK(world.journal.entries()[3].record.end().reason() == "ENGINE_FAILED");
  CHECK_FALSE(world.journal.entries()[3].record.end().has_vectors());
  CHECK(failed.head.has_value());

  auto revoked = std::async(std::launch::async, [&] { return world.Embed(Texts(std::vector<std::string>(2000, "!pace_ms 5"))); });
  while (world.journal.entries().size() < 5) std::this_thread::yield();
  world.RevokeKey();
  CHECK(ReasonOf(std::get<Failure>(revoked.get())) == "KEY_REVOKED");
  CHECK(world.journal.entries()[5].record.end().reason() == "KEY_REVOKED");
  world.CheckBooks();
}

TEST_CASE("A rule may send inputs to another model that embeds, and to none that chats") {
  World world(R"(version: 1
name: house
rules:
  - id: inside
    detect: { keywords: [secretly] }
    do: { route: vec2 }
  - id: wrong
    detect: { keywords: [loudly] }
    do: { route: script }
)");
  world.LoadEmbedder("vec2");
  CHECK(world.Vectors(Texts({"secretly"})).head.model == "vec2");
  CHECK(world.journal.entries()[0].record.request().routed_by() == "inside");
  const Failure wrong = world.Refused(Texts({"loudly"}));
  CHECK(ReasonOf(wrong) == "MODEL_DOES_NOT_EMBED");
  CHECK_THAT(base::Message(wrong.status), ContainsSubstring("policy rule wrong"));
}

TEST_CASE("Large answers have one bound until their clients have them; what is beyond it is refused before it is routed") {
  World world(kEmbedPolicy);
  world.options.answer_bytes_max = 300 * 1024;
  world.SetQuota("requests", "minute", 5);
  const std::vector<std::string> many(2048, "a");  // 256 KiB of 8 numbers each, 192 of which count.
  EmbedAnswer first = world.Vectors(Texts(many));
  REQUIRE(first.room != nullptr);
  v1::RerankRequest back = Rank("q", std::vector<std::string>(1000, std::string(100, 'x'))), ranks = back;
  back.set_return_documents(true);
  for (const auto& refused : {world.Refused(Texts(many)), std::get<Failure>(world.Rerank(back))}) {
    CHECK(absl::IsUnavailable(refused.status));
    CHECK(ReasonOf(refused) == "OVERLOADED");
  }
  CHECK(world.Kinds() == "REQUEST FINAL");
  v1::EmbedRequest shorter = Texts(many);
  shorter.set_dimensions(2);
  CHECK(world.Vectors(shorter).room == nullptr);  // As free as any small one.
  CHECK(std::holds_alternative<RerankAnswer>(world.Rerank(ranks)));
  first.room = nullptr;
  CHECK(world.Vectors(Texts(many)).room != nullptr);
  auto given = world.Rerank(back);
  REQUIRE(std::holds_alternative<RerankAnswer>(given));
  CHECK(std::get<RerankAnswer>(given).room != nullptr);
  CHECK(ReasonOf(world.Refused(Texts({"a"}))) == "RATE_LIMITED");  // The fifth was the last: those that found no room were none.
  world.CheckBooks();
}
