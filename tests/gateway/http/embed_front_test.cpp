// The routes for vectors and relevance, on a socket.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <memory>

#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

struct Fixture {
  Fixture() : front(*http_front::HttpFront::Start({}, io, io.context().get_executor(), chat, {})) {}
  RawResponse Ask(std::string_view path, std::string_view body, std::string_view headers = "", std::string_view method = "POST") {
    RawClient client(front->port());
    client.Send(Request(std::string(method), std::string(path), std::string(body), std::string(headers)));
    return client.Read();
  }
  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> front;
};

}  // namespace

TEST_CASE("Vectors come in OpenAI's form with the record's place; headers of the call go in") {
  Fixture f;
  RawResponse response = f.Ask("/v1/embeddings", R"({"model":"smollm2","input":["a",[1,2]]})",
                               "X-Client-Request-Id: mine\r\nX-Tollgate-Justification: need\r\nX-Tollgate-Accept-Terms: t@1\r\n");
  CHECK(response.status == 200);
  CHECK(
      response.body ==
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0,0.5]},{"object":"embedding","index":1,"embedding":[1,0.5]}],)"
      R"("model":"smollm2","usage":{"prompt_tokens":12,"total_tokens":12}})");
  CHECK(response.headers["x-tollgate-record"] == "3/42");
  CHECK(response.headers["x-tollgate-overhead-ms"] == "1.234");
  CHECK(response.headers["x-ratelimit-limit-requests"] == "60");
  const v1::EmbedRequest asked = f.chat.embedded();
  CHECK(asked.client_request_id() == "mine");
  CHECK(asked.justification() == "need");
  CHECK(asked.accept_terms() == "t@1");
  CHECK(f.chat.embed_caller().surface == pipeline::Surface::kHttp);
}

TEST_CASE("A large body and a large answer pass whole") {
  Fixture f;
  std::string body = R"({"model":"smollm2","encoding_format":"base64","input":["x")";
  for (int i = 1; i < 2000; ++i) body += ",\"" + std::string(40, 'x') + "\"";
  const RawResponse response = f.Ask("/v1/embeddings", body + "]}");
  CHECK(response.status == 200);
  CHECK(response.complete);
  CHECK(f.chat.embedded().inputs_size() == 2000);
  CHECK(response.body.find(R"("index":1999,)") != std::string::npos);
}

TEST_CASE("Documents come ranked") {
  Fixture f;
  RawResponse response = f.Ask("/v1/rerank", R"({"model":"r","query":"q","documents":["a","b"],"return_documents":true})");
  CHECK(response.status == 200);
  CHECK(response.body.find(R"("results":[{"index":1,"relevance_score":0.75,"document":{"text":"b"}},{"index":0,)") != std::string::npos);
  CHECK(response.headers["x-tollgate-record"] == "3/42");
  CHECK(f.chat.reranked().query() == "q");
}

TEST_CASE("What is not so asked is refused as everywhere; the key comes before the body") {
  Fixture f;
  for (const char* path : {"/v1/embeddings", "/v1/rerank"}) {
    INFO(path);
    CHECK(f.Ask(path, "", "", "GET").status == 405);
    CHECK(f.Ask(path, "not JSON").status == 400);
    CHECK(f.Ask(path, "{}").status == 400);
    RawClient client(f.front->port());
    client.Send("POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
    CHECK(client.Read().status == 415);
  }
  f.chat.RefuseAll(base::Unauthenticated("no such key"));
  for (const char* path : {"/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank"}) CHECK(f.Ask(path, "not JSON").status == 401);
}
