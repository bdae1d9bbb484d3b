// The real `tollgate serve` in front of scripted servers that embed and rerank: policy, record, quota and bill as for a model of its own.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <mutex>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tests/inference/tiny_model.h"
#include "tests/support/scripted_upstream.h"

namespace {

using namespace tollgate::e2e;
using tollgate::test::ScriptedUpstream;
namespace json = boost::json;
namespace v1 = tollgate::v1;

constexpr std::int64_t kDimensions = 64;  // Of the generated model.

// Embeds as the first byte of each input says, or scores documents by their length.
json::object Answer(const json::object& asked, std::int64_t lie) {
  std::int64_t tokens = lie;
  if (asked.contains("documents")) {
    const std::string query(asked.at("query").as_string());
    json::array results;
    for (const json::value& document : asked.at("documents").as_array()) {
      tokens += static_cast<std::int64_t>(query.size() + document.as_string().size());
      results.push_back({{"index", results.size()}, {"relevance_score", static_cast<double>(document.as_string().size()) / 1000}});
    }
    return {{"results", std::move(results)}, {"usage", {{"prompt_tokens", tokens}}}};
  }
  json::array data;
  for (const json::value& input : asked.at("input").as_array()) {
    tokens += static_cast<std::int64_t>(input.as_array().size());
    json::array vector(static_cast<std::size_t>(kDimensions), 0);
    vector[0] = 3, vector[1] = 4;
    data.push_back({{"index", data.size()}, {"embedding", std::move(vector)}});
  }
  return {{"data", std::move(data)}, {"usage", {{"prompt_tokens", tokens}}}};
}

struct World {
  explicit World(const char* pooling)
      : gateway(installation, OptionsOf(folder, server.url(), pooling)),
        admin(gateway, installation.owner_key()),
        company(MakeCompany(admin, "vec")) {
    const std::string path = pooling == std::string("rank") ? "/v1/rerank" : "/v1/embeddings";
    const std::string body = pooling == std::string("rank") ? R"({"model":"vec","query":"q","documents":["d"]})" : Body("hello");
    REQUIRE(Eventually([&] { return Http(path, body).status == 200; }));
  }
  static InstanceOptions OptionsOf(const tollgate::test::TempDir& folder, const std::string& url, const char* pooling) {
    InstanceOptions options;
    options.model_name = "vec";
    options.model_file = tollgate::inference::test::TinyModel("bert").WriteTo(folder).file;
    options.context_tokens = 512;
    options.upstreams = {url};
    options.pooling = pooling;
    return options;
  }
  static std::string Body(const std::string& input, const std::string& model = "vec", const std::string& more = "") {
    return json::serialize(json::object{{"model", model}, {"input", json::array{input, "second"}}}).insert(1, more);
  }
  HttpReply Http(const std::string& path, const std::string& body, const std::string& key = "") {
    HttpConnection connection(gateway.http_port());
    connection.Send(Post(path, key.empty() ? company.key : key, body));
    return connection.Read();
  }
  v1::EndBody EndOf(const HttpReply& reply) { return StoryOf(admin, reply.headers.at("x-request-id")).end; }
  // Promise P1, looked at from the server: the inputs are on record before it is asked anything.
  void Serve(ScriptedUpstream::Exchange& exchange) {
    {
      std::lock_guard lock(mu);
      ++asked;
      if (Books(installation).Requests() < asked) ++too_early;
    }
    if (away) return exchange.Reply(503, "");
    if (nonsense) return exchange.Reply(200, R"({"data":[{"index":0,"embedding":[1,NaN]}]})");
    exchange.Reply(200, json::serialize(Answer(json::parse(exchange.request().body).as_object(), lie)));
  }
  json::object Sent() { return json::parse(server.requests().back().body).as_object(); }

  Installation installation;
  tollgate::test::TempDir folder;
  std::mutex mu;
  std::int64_t asked = 0;
  std::int64_t too_early = 0;
  std::atomic<bool> away{false}, nonsense{false};
  std::atomic<std::int64_t> lie{0};
  ScriptedUpstream server{[this](ScriptedUpstream::Exchange& exchange) { Serve(exchange); }};
  Gateway gateway;
  Admin admin;
  Company company;
};

}  // namespace

TEST_CASE("Vectors of an upstream are on record and billed to the token, their inputs before it is asked, and policy holds before them") {
  World world("model");
  world.admin.PutPolicy(
      "version: 1\nname: test\nrules:\n"
      "  - {id: no.plans, detect: {keywords: [forbidden]}, do: block}\n"
      "  - {id: no.codes, detect: {regex: 'ZQ[0-9]{4}'}, do: redact, replacement: \"[GONE]\"}\n");
  REQUIRE(Eventually([&] { return world.Http("/v1/embeddings", World::Body("forbidden")).status == 403; }));
  const std::size_t before = world.server.requests().size();
  CHECK(world.Http("/v1/embeddings", World::Body("a forbidden thing")).status == 403);
  CHECK(world.server.requests().size() == before);

  const HttpReply reply = world.Http("/v1/embeddings", World::Body("code ZQ1234"));
  REQUIRE(reply.status == 200);
  const json::object answer = json::parse(reply.body).as_object();
  REQUIRE(answer.at("data").as_array().size() == 2);
  const json::array& vector = answer.at("data").as_array()[1].at("embedding").as_array();
  CHECK(vector.size() == static_cast<std::size_t>(kDimensions));
  CHECK(std::abs(vector[0].to_number<double>() - 0.6) < 1e-6);
  CHECK(std::abs(vector[1].to_number<double>() - 0.8) < 1e-6);
  const json::object sent = world.Sent();
  CHECK(sent.at("model") == "upstream-model");
  CHECK(sent.at("cache_salt").as_string().size() == 43);
  std::int64_t tokens = 0;
  for (const json::value& input : sent.at("input").as_array()) tokens += static_cast<std::int64_t>(input.as_array().size());
  CHECK(answer.at("usage").at("prompt_tokens").as_int64() == tokens);
  const std::size_t plain = std::string("code [GONE]").size();  // A token a byte, and those around it.
  CHECK(sent.at("input").as_array()[0].as_array().size() >= plain);
  CHECK(sent.at("input").as_array()[0].as_array().size() <= plain + 2);
  const v1::EndBody end = world.EndOf(reply);
  CHECK(end.reason() == "EMBEDDED");
  CHECK(end.tokens().input() == tokens);
  CHECK(end.tokens().output() == 0);
  CHECK(end.vectors().count() == 2);
  CHECK(end.vectors().dimensions() == kDimensions);
  CHECK(end.amount_nanos() > 0);
  CHECK(world.too_early == 0);
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
  CHECK(world.gateway.Stop() == 0);
  CHECK(Books(world.installation).CheckBalances() == "");
}

TEST_CASE("What clients send for an upstream that embeds is refused; another team's salt is another") {
  World world("model");
  const std::size_t before = world.server.requests().size();
  for (const char* field :
       {R"("cache_salt":"mine",)", R"("priority":0,)", R"("truncate_prompt_tokens":1,)", R"("add_special_tokens":true,)"})
    CHECK(world.Http("/v1/embeddings", World::Body("x", "vec", field)).status == 400);
  CHECK(world.server.requests().size() == before);
  world.admin.MakeProject("blue", "app");
  const std::string blue = world.admin.MakeKey("blue", "app", "blue").secret();
  REQUIRE(Eventually([&] { return world.Http("/v1/embeddings", World::Body("same"), blue).status == 200; }));
  const json::object of_blue = world.Sent();
  REQUIRE(world.Http("/v1/embeddings", World::Body("same")).status == 200);
  CHECK(of_blue.at("input") == world.Sent().at("input"));
  CHECK(of_blue.at("cache_salt") != world.Sent().at("cache_salt"));
}

TEST_CASE(
    "A server that lies about cost is billed by our count and flagged; one that gives nonsense or nothing is not billed, and a fallback "
    "answers") {
  World world("model");
  world.lie = 1000;
  const HttpReply lied = world.Http("/v1/embeddings", World::Body("hello"));
  REQUIRE(lied.status == 200);
  std::int64_t tokens = 0;
  const json::object sent = world.Sent();
  for (const json::value& input : sent.at("input").as_array()) tokens += static_cast<std::int64_t>(input.as_array().size());
  CHECK(world.EndOf(lied).tokens().input() == tokens);
  CHECK(world.EndOf(lied).server_usage().input_reported() == tokens + 1000);
  CHECK(world.EndOf(lied).server_usage().input_sent() == tokens);
  CHECK(world.EndOf(lied).server_usage().differs());
  CHECK(Eventually(
      [&] { return world.gateway.Metrics().find("tollgate_upstream_usage_differences_total{model=\"vec\"} 1") != std::string::npos; }));
  world.lie = 0;
  world.nonsense = true;
  const HttpReply nonsense = world.Http("/v1/embeddings", World::Body("hello"));
  CHECK(nonsense.status == 503);
  const v1::EndBody broken = world.EndOf(nonsense);
  CHECK(broken.reason() == "ENGINE_FAILED");
  CHECK(broken.tokens().input() == 0);
  CHECK(broken.amount_nanos() == 0);
  world.nonsense = false;

  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.end(),
                 {"--admin", fmt::format("127.0.0.1:{}", world.gateway.admin_port()), "--key", world.installation.owner_key()});
    return RunTollgate(words).code;
  };
  REQUIRE(run({"models", "add", "spare", "--engine", "scripted", "--pooling", "mean"}) == 0);
  REQUIRE(run({"prices", "set", "spare", "--input", "0.10", "--output", "0.40"}) == 0);
  REQUIRE(run({"models", "load", "spare"}) == 0);
  REQUIRE(run({"models", "alias", "embed", "vec", "--fallback", "spare"}) == 0);
  REQUIRE(Eventually([&] { return world.Http("/v1/embeddings", World::Body("hello", "embed")).status == 200; }));
  world.away = true;
  const HttpReply fell = world.Http("/v1/embeddings", World::Body("hello", "embed"));
  CHECK(fell.status == 200);
  CHECK(fell.headers.at("x-tollgate-route") == "alias=embed; model=spare; fallback=1; after=vec");
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("Ranks of an upstream are of the documents as policy left them, on record and billed") {
  World world("rank");
  world.admin.PutPolicy(
      "version: 1\nname: test\nrules:\n"
      "  - {id: no.codes, detect: {regex: 'ZQ[0-9]{4}'}, do: redact, replacement: \"[GONE]\"}\n");
  HttpReply reply;
  const std::string body =
      R"({"model":"vec","query":"who ZQ1234?","documents":["short","the <|im_end|> longer document"],"return_documents":true})";
  REQUIRE(Eventually([&] {
    reply = world.Http("/v1/rerank", body);
    return reply.status == 200 && world.Sent().at("query") == "who [GONE]?";
  }));
  CHECK(world.Sent().at("documents").as_array()[1] == "the < |im_end|> longer document");
  const json::object answer = json::parse(reply.body).as_object();
  const json::array& results = answer.at("results").as_array();
  REQUIRE(results.size() == 2);
  CHECK(results[0].at("index").as_int64() == 1);
  CHECK(reply.body.find("the <|im_end|> longer document") != std::string::npos);
  const v1::EndBody end = world.EndOf(reply);
  CHECK(end.reason() == "RERANKED");
  CHECK(end.tokens().input() == answer.at("usage").at("prompt_tokens").as_int64());
  CHECK(end.tokens().input() > 2 * 11 + 5 + 30);
  CHECK(end.vectors().count() == 2);
  CHECK(world.too_early == 0);
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}
