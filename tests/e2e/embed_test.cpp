// Vectors and relevance through the real program: OpenAI's client, the books, and a canary in inputs that is nowhere in clear.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/wire_tap.h"
#include "tollgate/v1/embeddings.grpc.pb.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;
namespace base = tollgate::base;

// Letters that no id, header or JSON of ours can hold.
const std::string kCanary = "ϞϠϢϤϦϨϪ";

struct World {
  World() : gateway(installation, {.extra = {{"diagnostics.level", "debug"}}}), admin(gateway, installation.owner_key()) {
    red = MakeCompany(admin).key;
    admin.MakeProject("blue", "app");
    blue = admin.MakeKey("blue", "app", "blue").secret();
    Load("vec", "mean");
    Load("rank", "rank");
  }
  Finished Cli(std::vector<std::string> words) {
    words.insert(words.end(), {"--admin", fmt::format("127.0.0.1:{}", gateway.admin_port()), "--key", installation.owner_key()});
    return RunTollgate(words);
  }
  void Load(const std::string& name, const std::string& pooling) {
    const Finished added = Cli({"models", "add", name, "--engine", "scripted", "--context", "2048", "--pooling", pooling});
    INFO(added.err);
    REQUIRE(added.code == 0);
    REQUIRE(Cli({"prices", "set", name, "--input", "0.10", "--output", "0.40"}).code == 0);
    const Finished loaded = Cli({"models", "load", name});
    INFO(loaded.err);
    REQUIRE(loaded.code == 0);
  }
  // 200 or the status; `answer` is its body.
  int Http(const std::string& key, const std::string& path, const std::string& body) {
    HttpConnection connection(http.port());
    connection.Send(Post(path, key, body));
    const HttpReply reply = connection.Read();
    answer = reply.body;
    const auto its_id = reply.headers.find("x-request-id");
    id = its_id == reply.headers.end() ? "" : its_id->second;
    return reply.status;
  }
  grpc::Status Embed(const std::string& key, const std::string& text) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + key);
    v1::EmbedRequest request;
    request.set_model("vec");
    request.add_inputs()->set_text("harmless");
    request.add_inputs()->set_text(text);
    v1::EmbedReply reply;
    return v1::Embeddings::NewStub(ChannelTo(wire.port()))->Embed(&context, request, &reply);
  }

  // The documents come back; `answer` is the reply, or the message of the error.
  grpc::Status Rerank(const std::string& key, const std::vector<std::string>& documents) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + key);
    v1::RerankRequest request;
    request.set_model("rank");
    request.set_query("q");
    for (const std::string& document : documents) request.add_documents(document);
    request.set_return_documents(true);
    v1::RerankReply reply;
    const grpc::Status status = v1::Embeddings::NewStub(ChannelTo(wire.port()))->Rerank(&context, request, &reply);
    answer = status.ok() ? reply.DebugString() : status.error_message();
    id = reply.id();
    for (const auto* headers : {&context.GetServerInitialMetadata(), &context.GetServerTrailingMetadata()}) {
      if (const auto at = headers->find("x-request-id"); at != headers->end()) id = std::string(at->second.data(), at->second.size());
    }
    return status;
  }

  Installation installation;
  Gateway gateway;
  Admin admin;
  WireTap wire{gateway.grpc_port()};
  WireTap http{gateway.http_port()};
  std::string red, blue, answer, id;
};

std::string Json(const std::string& text) { return "\"" + text + "\""; }

// The canary is in no record, and in no byte that left the program; the books agree, and the program ends.
void CheckNowhere(World& world) {
  const std::string hex = base::HexEncode(kCanary.substr(0, 8));
  const std::string stored =
      world.installation.Sql()
          ->Run("search", fmt::format("SELECT count(*) FROM audit.record WHERE position('\\x{0}'::bytea IN message) > 0 "
                                      "OR position('\\x{0}'::bytea IN content) > 0",
                                      hex))
          ->Text(0, 0);
  CHECK(stored == "0");
  const std::string metrics = world.gateway.Metrics();
  Books books(world.installation);
  CHECK(Eventually([&] { return books.Open() == 0; }));
  CHECK(books.Check() == "");
  CHECK(world.gateway.Stop() == 0);
  const std::pair<const char*, std::string> places[] = {{"gRPC wire", world.wire.bytes()},
                                                        {"HTTP wire", world.http.bytes()},
                                                        {"diagnostics", world.gateway.process().Err() + world.gateway.process().Out()},
                                                        {"metrics", metrics}};
  for (const auto& [place, bytes] : places) {
    INFO(place);
    REQUIRE_FALSE(bytes.empty());
    CHECK(bytes.find(kCanary.substr(0, 4)) == std::string::npos);
    CHECK(bytes.find(base::Base64Encode(kCanary).substr(0, 8)) == std::string::npos);
    CHECK(bytes.find("\\u03de") == std::string::npos);
    CHECK(bytes.find(hex) == std::string::npos);
  }
}

}  // namespace

TEST_CASE("Vectors by OpenAI's client and ranks are on record, billed to the token, and their books agree") {
  World world;
  const Finished run = RunToEnd({SdkPython(), TOLLGATE_SOURCE_DIR "/tests/e2e/sdk_python/embed.py",
                                 fmt::format("http://127.0.0.1:{}/v1", world.gateway.http_port()), world.red, "vec", "8", "scripted"},
                                milliseconds(90'000),
                                {.environment = {{"PYTHONDONTWRITEBYTECODE", "1"}, {"no_proxy", "127.0.0.1"}, {"NO_PROXY", "127.0.0.1"}}});
  INFO(run.out << run.err);
  CHECK(run.code == 0);
  CHECK(run.out.find(" checks") != std::string::npos);
  REQUIRE(world.Http(world.red, "/v1/rerank",
                     R"({"model":"rank","query":"red green","documents":["blue","green","red green"],"top_n":2})") == 200);
  CHECK(world.answer.find(R"("results":[{"index":2,"relevance_score":1},{"index":1,"relevance_score":0.5}])") != std::string::npos);
  CHECK(world.Embed(world.red, "by gRPC").ok());
  CHECK(world.Http("tg_live_nobody", "/v1/embeddings", R"({"model":"vec","input":"x"})") == 401);
  Books books(world.installation);
  CHECK(Eventually([&] { return books.Open() == 0; }));
  CHECK(books.Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
  const Finished verified = world.Cli({"audit", "verify"});
  INFO(verified.err);
  CHECK(verified.code == 0);
}

TEST_CASE("A canary in an input is in no record, error, header or line in clear, blocked or redacted, on any surface and in any form") {
  World world;
  world.admin.PutPolicy(fmt::format(
      "version: 1\nname: test\nrules:\n"
      "  - id: red.greek\n    where: {{ team: red }}\n    detect: {{ keywords: [{0}] }}\n    do: redact\n    replacement: \"[GONE]\"\n"
      "  - id: blue.greek\n    where: {{ team: blue }}\n    detect: {{ keywords: [{0}] }}\n    do: block\n",
      kCanary));
  REQUIRE(Eventually([&] { return world.Http(world.blue, "/v1/embeddings", R"({"model":"vec","input":")" + kCanary + "\"}") == 403; }));
  std::string ids;  // As the scripted engine's vocabulary spells bytes beyond ASCII: three a token.
  for (std::size_t i = 0; i < kCanary.size(); i += 3) {
    int token = 1 << 28, count = 0;
    for (; count < 3 && i + static_cast<std::size_t>(count) < kCanary.size(); ++count)
      token |= static_cast<int>(static_cast<unsigned char>(kCanary[i + static_cast<std::size_t>(count)])) << (8 * count);
    ids += fmt::format("{}{}", ids.empty() ? "" : ",", token | count << 24);
  }
  for (const bool blocks : {false, true}) {
    const std::string& key = blocks ? world.blue : world.red;
    const int expected = blocks ? 403 : 200;
    for (const std::string& input :
         {Json(kCanary), "[" + Json("a") + "," + Json("to " + kCanary + " now") + "]", "[" + ids + "]", "[[" + ids + "]]"}) {
      INFO(input);
      CHECK(world.Http(key, "/v1/embeddings", R"({"model":"vec","input":)" + input + "}") == expected);
      CHECK(world.Http(key, "/v1/embeddings", R"({"model":"vec","dimensions":9,"input":)" + input + "}") == 400);
    }
    const std::string documents = R"({"model":"rank","return_documents":true,"query":"q","documents":["a",)" + Json(kCanary) + "]}";
    CHECK(world.Http(key, "/v1/rerank", documents) == expected);
    if (!blocks) CHECK(world.answer.find("[GONE]") != std::string::npos);
    CHECK(world.Http(key, "/v1/rerank", R"({"model":"rank","query":)" + Json(kCanary) + R"(,"documents":["a"]})") == expected);
    CHECK(world.Http(key, "/v1/rerank", R"({"model":"vec","query":)" + Json(kCanary) + R"(,"documents":["a"]})") == 400);
    CHECK(world.Embed(key, "with " + kCanary).error_code() == (blocks ? grpc::PERMISSION_DENIED : grpc::OK));
  }
  const std::string long_one = Json(kCanary + std::string(20'000, 'x'));
  CHECK(world.Http(world.red, "/v1/embeddings", R"({"model":"vec","input":)" + long_one + "}") == 400);
  CHECK(world.Http(world.red, "/v1/embeddings", R"({"model":"vec","input":["!fail )" + kCanary + "\"]}") == 500);
  CheckNowhere(world);
}

TEST_CASE("Documents that come back are under the rules of output: no canary on either surface, and one verdict on record") {
  World world;
  std::string rules;
  for (const auto& [team, does] : {std::pair{"red", "redact, replacement: \"[GONE]\""}, std::pair{"blue", "block"}})
    rules += fmt::format("  - {{id: {0}.greek, where: {{team: {0}, direction: output}}, detect: {{keywords: [{1}]}}, do: {2}}}\n", team,
                         kCanary, does);
  world.admin.PutPolicy("version: 1\nname: test\nrules:\n" + rules);
  REQUIRE(Eventually([&] { return world.Rerank(world.blue, {kCanary}).error_code() == grpc::PERMISSION_DENIED; }));
  const std::string secret = "to " + kCanary + " now", asks = R"({"model":"rank","query":"q","return_documents":true,"documents":["a",)";
  for (const bool blocks : {false, true}) {
    const std::string& key = blocks ? world.blue : world.red;
    std::string first;
    for (const bool grpc : {true, false}) {
      INFO((blocks ? "blocked " : "redacted ") << (grpc ? "gRPC" : "HTTP"));
      if (grpc)
        CHECK(world.Rerank(key, {"a", secret}).error_code() == (blocks ? grpc::PERMISSION_DENIED : grpc::OK));
      else
        CHECK(world.Http(key, "/v1/rerank", asks + Json(secret) + "]}") == (blocks ? 403 : 200));
      INFO(world.answer);
      CHECK((world.answer.find("to [GONE] now") != std::string::npos) == !blocks);
      CHECK((world.answer.find("policy rule blue.greek") != std::string::npos) == blocks);
      const v1::EndBody end = StoryOf(world.admin, world.id).end;
      REQUIRE(end.output_verdict().rules_size() == 1);
      CHECK(end.output_verdict().action() == (blocks ? "block" : "redact"));
      const v1::Span& span = end.output_verdict().rules(0).spans(0);
      CHECK((span.message() == 1 && span.begin() == 3 && span.end() == 3 + static_cast<std::int64_t>(kCanary.size())));
      CHECK(end.delivered_bytes() == (blocks ? 0 : 14));
      const std::string facts = end.output_verdict().DebugString() + end.reason();
      if (first.empty()) first = facts;
      CHECK(facts == first);
    }
    // Without the documents nothing of them leaves, so nothing is blocked.
    CHECK(world.Http(key, "/v1/rerank", R"({"model":"rank","query":"q","documents":["a",)" + Json(secret) + "]}") == 200);
  }
  CheckNowhere(world);
}
