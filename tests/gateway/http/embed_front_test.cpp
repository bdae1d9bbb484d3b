// The routes for vectors and relevance, on a socket.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <memory>
#include <thread>

#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

constexpr std::int64_t kMany = 8 << 20;  // Numbers in a vector whose answer is 32 MiB: more than the kernel keeps for both sides.

struct Fixture {
  explicit Fixture(const http_front::HttpOptions& options = {})
      : front(*http_front::HttpFront::Start(options, io, io.context().get_executor(), chat, {})) {}
  RawResponse Ask(std::string_view path, std::string_view body, std::string_view headers = "", std::string_view method = "POST") {
    RawClient client(front->port());
    client.Send(Request(std::string(method), std::string(path), std::string(body), std::string(headers)));
    return client.Read();
  }
  // Asks for one such vector, and reads no more than the head.
  RawClient AskForMany() {
    RawClient client;
    const int bytes = 64 * 1024;
    setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    REQUIRE(client.Connect(front->port()));
    client.Send(Request("POST", "/v1/embeddings", R"({"model":"smollm2","input":"a"})"));
    std::string head;
    REQUIRE(client.ReadUntil("\r\n\r\n", head));
    CHECK(head.starts_with("HTTP/1.1 200"));
    return client;
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

TEST_CASE("An answer keeps its room until its client has read it, or is gone") {
  for (const bool reads : {true, false}) {
    Fixture f;
    auto room = std::make_shared<int>();
    const std::weak_ptr<int> held = room;
    f.chat.EmbedAs(kMany, std::move(room));
    RawClient client = f.AskForMany();
    f.chat.EmbedAs(2, nullptr);
    CHECK_FALSE(held.expired());
    std::string rest;
    if (reads) {
      CHECK(client.ReadUntil(R"("total_tokens":12}})", rest));
    } else {
      client.Close();
    }
    while (!held.expired()) std::this_thread::yield();
  }
}

TEST_CASE("A client that reads a large answer slowly gets all of it, however long that takes") {
  http_front::HttpOptions options;
  options.write_timeout_ms = 2000;
  Fixture f(options);
  f.chat.EmbedAs(kMany, nullptr);
  RawClient client = f.AskForMany();
  const auto begun = std::chrono::steady_clock::now();
  std::size_t taken = 0;
  std::string bytes(256 * 1024, '\0');
  while (std::chrono::steady_clock::now() < begun + std::chrono::milliseconds(2 * options.write_timeout_ms)) {
    const ssize_t count = recv(client.fd(), bytes.data(), bytes.size(), 0);
    REQUIRE(count > 0);
    taken += static_cast<std::size_t>(count);
    std::this_thread::sleep_for(std::chrono::milliseconds(40));  // A megabyte or two a second, some sixth of the answer.
  }
  CHECK(taken < static_cast<std::size_t>(4 * kMany));
  std::string rest;
  CHECK(client.ReadUntil(R"("total_tokens":12}})", rest));
}
