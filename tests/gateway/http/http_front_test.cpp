#include "gateway/http/http_front.h"

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <string>

#include <fmt/format.h>

#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kUnary[] = R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}]})";
constexpr char kStream[] = R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}],"stream":true})";
constexpr char kStreamUsage[] =
    R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}})";

struct Fixture {
  explicit Fixture(http_front::HttpOptions options = {}, http_front::Probes probes = {}) {
    auto started = http_front::HttpFront::Start(std::move(options), io, io.context().get_executor(), chat, std::move(probes));
    REQUIRE(started.ok());
    front = *std::move(started);
  }
  RawResponse Ask(std::string_view request) {
    RawClient client(front->port());
    client.Send(request);
    return client.Read();
  }

  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> front;
};

std::string Id(const FakeChat& chat) { return chat.last().caller.request_id.ToString(); }

std::string Chunk(const std::string& id, const std::string& choices, const std::string& usage) {
  return "data: {\"id\":\"chatcmpl-" + id +
         R"(","object":"chat.completion.chunk","created":1790000000,"model":"smollm2","system_fingerprint":"fp_tollgate","choices":)" +
         choices + usage + "}\n\n";
}

}  // namespace

TEST_CASE("Tokens of a chat are counted in vLLM's form, where vLLM has it and under /v1, for who has a key") {
  Fixture f;
  for (const char* path : {"/v1/tokenize", "/tokenize"}) {
    const RawResponse response = f.Ask(Request("POST", path, kUnary));
    CHECK(response.status == 200);
    CHECK(response.body == R"({"count":7,"max_model_len":4096})");
  }
  CHECK(f.Ask(Request("GET", "/v1/tokenize", "")).status == 405);
  CHECK(f.Ask(Request("POST", "/v1/tokenize", R"({"model":"m","prompt":"x"})")).status == 400);
  f.chat.RefuseAll(base::Unauthenticated("no such key"));
  CHECK(f.Ask(Request("POST", "/v1/tokenize", "not even JSON")).status == 401);
}

TEST_CASE("A plain completion carries the caller in and OpenAI's object and headers out") {
  Fixture f;
  const RawResponse response = f.Ask(Request("POST", kChat, kUnary,
                                             "X-Client-Request-Id: mine\r\nx-stainless-retry-count: 2\r\n"
                                             "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"));
  CHECK(response.status == 200);
  const Asked asked = f.chat.last();
  CHECK(asked.caller.bearer == "tg_test");
  CHECK(asked.caller.source == "127.0.0.1");
  CHECK(asked.caller.surface == pipeline::Surface::kHttp);
  CHECK(asked.caller.client_request_id == "mine");
  CHECK(asked.request.client_request_id() == "mine");
  CHECK(asked.caller.retry_count == 2);
  CHECK(asked.writer == nullptr);
  CHECK(asked.request.messages(0).parts(0) == "hi");
  CHECK(response.body.starts_with(R"({"id":"chatcmpl-)" + Id(f.chat) +
                                  R"(","object":"chat.completion","created":1790000000,"model":"smollm2",)"));
  CHECK(response.body.find(R"("content":"Hello")") != std::string::npos);
  auto headers = response.headers;
  CHECK(headers["content-type"] == "application/json");
  CHECK(headers["x-request-id"] == Id(f.chat));
  CHECK(headers["openai-version"] == "2020-10-01");
  CHECK(headers.contains("openai-processing-ms"));
  CHECK(headers["x-tollgate-record"] == "3/42");
  CHECK(headers["x-tollgate-overhead-ms"] == "1.234");
  CHECK(headers["x-ratelimit-limit-requests"] == "60");
  CHECK(headers["x-ratelimit-remaining-requests"] == "59");
  CHECK(headers["x-ratelimit-reset-requests"] == "1.5s");
  CHECK(headers["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  CHECK(headers.contains("date"));
}

TEST_CASE("A stream is OpenAI's events, to the byte") {
  Fixture f;
  for (const bool usage : {false, true}) {
    const RawResponse response = f.Ask(Request("POST", kChat, usage ? kStreamUsage : kStream));
    CHECK(response.status == 200);
    CHECK(response.complete);
    auto headers = response.headers;
    CHECK(headers["content-type"] == "text/event-stream");
    CHECK(headers["cache-control"] == "no-cache");
    CHECK(headers["x-tollgate-record"] == "3/41");
    const std::string id = Id(f.chat);
    const std::string null_usage = usage ? R"(,"usage":null)" : "";
    std::string expected =
        Chunk(id, R"([{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}])",
              null_usage) +
        Chunk(id, R"([{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}])", null_usage) +
        Chunk(id, R"([{"index":0,"delta":{"content":"lo"},"logprobs":null,"finish_reason":null}])", null_usage) +
        Chunk(id, R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}])", null_usage);
    if (usage) {
      expected +=
          Chunk(id, "[]",
                R"(,"usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":0,)"
                R"("audio_tokens":0},)"
                R"("completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,)"
                R"("rejected_prediction_tokens":0}})");
    }
    CHECK(response.body == expected + "data: [DONE]\n\n");
  }
}

TEST_CASE("A stream whose whole text comes with the end still begins with the role") {
  Fixture f;
  f.chat.Answer([](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> { co_return SampleReply(""); });
  const RawResponse response = f.Ask(Request("POST", kChat, kStream));
  CHECK(response.status == 200);
  CHECK(response.body.find(R"("delta":{"role":"assistant")") != std::string::npos);
  CHECK(response.body.ends_with("data: [DONE]\n\n"));
}

TEST_CASE("A refusal before the first byte is a status, with limits and record, also for a stream") {
  Fixture f;
  f.chat.Fail(base::WithDetail(base::ResourceExhausted("team search has used 100 of 100 tokens"),
                               {.reason = "QUOTA_SPENT", .may_retry = false, .subject = "team search"}));
  for (const char* body : {kUnary, kStream}) {
    const RawResponse response = f.Ask(Request("POST", kChat, body));
    CHECK(response.status == 429);
    CHECK(response.body == R"({"error":{"message":"team search has used 100 of 100 tokens","type":"insufficient_quota","param":null,)"
                           R"("code":"insufficient_quota"}})");
    auto headers = response.headers;
    CHECK(headers["x-should-retry"] == "false");
    CHECK(headers["x-tollgate-record"] == "3/41");
    CHECK(headers["x-ratelimit-remaining-tokens"] == "0");
    CHECK(headers["x-ratelimit-reset-tokens"] == "6m0s");
    CHECK(headers["x-request-id"] == Id(f.chat));
  }
}

TEST_CASE("A failure after the first byte is an error event, no [DONE], and the connection's end") {
  Fixture f;
  f.chat.Answer([](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    const absl::Status begun = co_await asked.writer->Begin(SampleHead());
    const absl::Status written = co_await asked.writer->Write(TextPiece("part"));
    CHECK(begun.ok());
    CHECK(written.ok());
    co_return SampleFailure(base::Unavailable("the server is shutting down; send the request again"));
  });
  RawClient client(f.front->port());
  client.Send(Request("POST", kChat, kStream));
  const RawResponse response = client.Read();
  CHECK(response.status == 200);
  CHECK(response.complete);
  CHECK(
      response.body.ends_with("\n\ndata: {\"error\":{\"message\":\"the server is shutting down; send the request "
                              "again\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"));
  CHECK(response.body.find("[DONE]") == std::string::npos);
  CHECK(client.AtEnd());
}

TEST_CASE("Requests that cannot be translated are refused before the pipeline sees them") {
  Fixture f;
  struct Row {
    std::string request;
    int status;
    std::string in_body;
  };
  const Row rows[] = {
      {Request("POST", kChat, "{"), 400, "not valid JSON"},
      {Request("POST", kChat), 400, "not valid JSON"},
      {Request("POST", kChat, R"({"model":"m","messages":[{"role":"user","content":"x"}],"functions":[{}]})"), 400,
       R"("param":"functions","code":"unsupported_parameter")"},
      {Request("GET", kChat), 405, "use POST"},
      {Request("DELETE", "/v1/models"), 405, "use GET"},
      {Request("GET", "/v1/nothing?x=1"), 404, "Unknown request URL: GET /v1/nothing."},
      {Request("GET", "/"), 404, "unknown_url"},
      {Request("GET", "/metrics"), 404, "unknown_url"},
      {Request("POST", "/v1/responses", "{}"), 404, "use /v1/chat/completions"},
      {Request("POST", "/v1/messages", "{}"), 404, "use /v1/chat/completions"},
      {Request("POST", "/chat/completions", "{}"), 404, "end the client's base URL in /v1"},
      {Request("GET", "http://gateway.example/v1/nothing"), 404, "Unknown request URL: GET /v1/nothing."},
      {"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n{}",
       415, "application/json"},
  };
  for (const Row& row : rows) {
    INFO(row.request);
    const RawResponse response = f.Ask(row.request);
    CHECK(response.status == row.status);
    CHECK(response.body.starts_with(R"({"error":{"message":)"));
    INFO(response.body);
    CHECK(response.body.find(row.in_body) != std::string::npos);
    auto headers = response.headers;
    CHECK(headers["x-should-retry"] == "false");
    CHECK_FALSE(headers["x-request-id"].empty());
  }
  CHECK(f.chat.last().request.model().empty());
}

TEST_CASE("A credential that is missing, doubled or of another scheme reaches the pipeline as none") {
  Fixture f;
  for (const std::string header :
       {"", "Authorization: Basic eDp5\r\n", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", "Authorization: Bearer\r\n"}) {
    f.Ask("GET /v1/models HTTP/1.1\r\nHost: x\r\n" + header + "\r\n");
    CHECK(f.chat.last().caller.bearer.empty());
  }
  f.Ask("GET /v1/models HTTP/1.1\r\nHost: x\r\nauthorization: bearer k\r\n\r\n");
  CHECK(f.chat.last().caller.bearer == "k");
}

TEST_CASE("Models are listed and found, also by an encoded name") {
  Fixture f;
  CHECK(f.Ask(Request("GET", "/v1/models")).body.find(R"("id":"smollm2")") != std::string::npos);
  CHECK(f.Ask(Request("GET", "/v1/models/smollm2")).status == 200);
  CHECK(f.Ask(Request("GET", "/v1/models/org/model%20b")).status == 200);
  CHECK(f.Ask(Request("GET", "/v1/models/org%2Fmodel%20b")).status == 200);
  const RawResponse missing = f.Ask(Request("GET", "/v1/models/gpt-4%zz"));
  CHECK(missing.status == 404);
  CHECK(missing.body.find(R"("param":"model","code":"model_not_found")") != std::string::npos);
  f.chat.FailModels(base::Unauthenticated("no"));
  CHECK(f.Ask(Request("GET", "/v1/models")).status == 401);
  CHECK(f.Ask(Request("GET", "/v1/models/smollm2")).status == 401);
}

TEST_CASE("The key comes before the body: a stranger learns nothing of what a request must look like") {
  Fixture f;
  f.chat.RefuseAll(base::WithDetail(base::Unauthenticated("no valid key"), {.reason = "INVALID_API_KEY", .may_retry = false}));
  for (const std::string& request :
       {Request("POST", kChat, "{"), Request("POST", kChat), Request("POST", kChat, kUnary), Request("POST", kChat, R"({"model":1})"),
        Request("POST", kChat, kUnary, "Content-Type: text/plain\r\n"), Request("POST", kChat, std::string(100'000, '['))}) {
    const RawResponse response = f.Ask(request);
    CHECK(response.status == 401);
    CHECK(response.body == R"({"error":{"message":"no valid key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}})");
  }
  struct Row {
    const char* line;
    int status;
  };
  for (const Row& row : {Row{"POST /v1/chat/completions", 401}, Row{"PUT /v1/chat/completions", 405}, Row{"POST /v1/models", 405},
                         Row{"POST /x", 404}, Row{"GET /healthz", 200}}) {
    INFO(row.line);
    RawClient client(f.front->port());  // Nobody waits for a body that is only announced, nor takes one in that is read by none.
    client.Send(std::string(row.line) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\nExpect: 100-continue\r\n\r\n");
    RawResponse response = client.Read();
    CHECK(response.status == row.status);
    CHECK(response.headers["connection"] == "close");
  }
  CHECK(f.chat.last().request.model().empty());
}

TEST_CASE("A request whose end others may see elsewhere is refused, and its connection ends") {
  Fixture f;
  for (const std::string coding : {"chunked, identity", "xchunked", "gzip", "identity"}) {
    INFO(coding);
    RawClient client(f.front->port());
    client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + coding + "\r\n\r\n" + Request("GET", "/healthz"));
    RawResponse response = client.Read();
    CHECK(response.status == 400);
    CHECK(response.headers["connection"] == "close");
    CHECK(client.ReadToEnd().empty());
  }
  RawClient old(f.front->port());
  old.Send("POST /v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  CHECK(old.Read().status == 400);
}

TEST_CASE("What follows a body in chunks is no header") {
  Fixture f;
  const auto chunked = [](const std::string& trailer) {
    return fmt::format(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n{}\r\n",
        kChat, std::string_view(kUnary).size(), kUnary, trailer);
  };
  RawClient client(f.front->port());
  client.Send(chunked("x-client-request-id: from-a-trailer\r\n"));
  CHECK(client.Read().status == 200);
  CHECK(f.chat.last().caller.client_request_id.empty());
}

TEST_CASE("Health, readiness and metrics answer on their listeners") {
  std::vector<std::string> reasons;
  std::mutex mu;
  const http_front::Probes probes{.not_ready =
                                      [&] {
                                        const std::lock_guard lock(mu);
                                        return reasons;
                                      },
                                  .metrics = [] { return std::string("tollgate_up 1\n"); }};
  Fixture f({}, probes);
  net::IoThreads io(1);
  auto started = http_front::ProbesFront::Start({}, io, probes);
  REQUIRE(started.ok());
  for (const std::uint16_t port : {f.front->port(), (*started)->port()}) {
    RawClient client(port);
    for (const char* path : {"/healthz", "/livez", "/health?verbose"}) {
      client.Send(Request("GET", path));
      const RawResponse response = client.Read();
      CHECK(response.status == 200);
      CHECK(response.body == R"({"status":"ok"})");
    }
    client.Send(Request("GET", "/readyz"));
    CHECK(client.Read().body == R"({"status":"ready"})");
    {
      const std::lock_guard lock(mu);
      reasons = {"no model is loaded", "the journal's database is down"};
    }
    client.Send(Request("GET", "/readyz"));
    const RawResponse not_ready = client.Read();
    CHECK(not_ready.status == 503);
    const std::string reasons_told = R"({"status":"not ready","reasons":["no model is loaded","the journal's database is down"]})";
    // The API's listener names no model: who asks there has shown no key.
    CHECK(not_ready.body == (port == f.front->port() ? R"({"status":"not ready"})" : reasons_told));
    {
      const std::lock_guard lock(mu);
      reasons.clear();
    }
    client.Send(Request("POST", "/healthz", "{}"));
    CHECK(client.Read().status == 405);
  }
  RawClient client((*started)->port());
  client.Send(Request("GET", "/metrics"));
  RawResponse metrics = client.Read();
  CHECK(metrics.body == "tollgate_up 1\n");
  CHECK(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8");
  client.Send("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string head = client.ReadToEnd();
  CHECK(head.find("content-length: 15\r\n") != std::string::npos);
  CHECK(head.ends_with("\r\n\r\n"));
}

TEST_CASE("A connection is kept alive, and pipelined requests are answered in order") {
  Fixture f;
  RawClient client(f.front->port());
  client.Send(Request("POST", kChat, kUnary) + Request("GET", "/v1/models") + Request("POST", kChat, kStream) + Request("GET", "/healthz"));
  CHECK(client.Read().body.find("\"Hello\"") != std::string::npos);
  CHECK(client.Read().body.starts_with(R"({"object":"list")"));
  CHECK(client.Read().body.ends_with("[DONE]\n\n"));
  CHECK(client.Read().body == R"({"status":"ok"})");
  client.Send(Request("GET", "/healthz"));
  CHECK(client.Read().status == 200);
}

TEST_CASE("HTTP/1.0 gets an unframed stream and the connection's end") {
  Fixture f;
  RawClient client(f.front->port());
  client.Send("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: " + std::to_string(sizeof kStream - 1) + "\r\n\r\n" + kStream);
  const RawResponse response = client.Read();
  CHECK(response.status == 200);
  CHECK_FALSE(response.headers.contains("transfer-encoding"));
  CHECK(response.body.starts_with("data: {"));
  CHECK(response.body.ends_with("[DONE]\n\n"));
}

TEST_CASE("A large body is parsed on the CPU pool and answered the same") {
  Fixture f;
  const std::string text(300'000, 'x');
  const RawResponse response =
      f.Ask(Request("POST", kChat, R"({"model":"smollm2","messages":[{"role":"user","content":")" + text + R"("}]})"));
  CHECK(response.status == 200);
  CHECK(f.chat.last().request.messages(0).parts(0) == text);
}

TEST_CASE("A port that is taken refuses the start and says what to do") {
  Fixture f;
  net::IoThreads io(1);
  http_front::HttpOptions options;
  options.listener.port = f.front->port();
  options.listener.name = "http";
  const auto second = http_front::HttpFront::Start(options, io, io.context().get_executor(), f.chat, {});
  REQUIRE_FALSE(second.ok());
  CHECK(base::Message(second.status()).find("cannot listen on 127.0.0.1:" + std::to_string(f.front->port())) != std::string::npos);
}
