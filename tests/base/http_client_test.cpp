#include "base/http_client.h"

#include <atomic>
#include <cstdlib>
#include <optional>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/error_detail.h"
#include "tests/support/scripted_upstream.h"
#include "tests/support/temp_dir.h"

namespace tollgate::base {
namespace {

using std::chrono::milliseconds;
using test::ScriptedUpstream;

struct Answer final : HttpSink {
  bool OnBody(int, std::string_view bytes) override {
    body += bytes;
    return body.size() < most;
  }
  void OnRetryAfter(std::chrono::seconds told) override { wait = told; }
  void OnEnd(int http_status, const absl::Status& s) override {
    code = http_status;
    status = s;
  }
  std::string body;
  std::size_t most = SIZE_MAX;
  int code = -1;
  std::chrono::seconds wait{0};
  std::optional<absl::Status> status;
};

std::unique_ptr<HttpClient> Client(HttpClientOptions options = {}) {
  auto client = HttpClient::Create(std::move(options));
  REQUIRE(client.ok());
  return *std::move(client);
}

template <typename Condition>
void RunUntil(HttpClient& client, Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    client.Run(milliseconds(50));
  }
}

HttpRequest Post(const ScriptedUpstream& server, std::string body = "question") {
  HttpRequest request;
  request.url = server.url() + "/ask";
  request.headers = {"x-mine: yes"};
  request.post = true;
  request.body = std::move(body);
  return request;
}

Answer AskOnce(HttpClient& client, const HttpRequest& request) {
  Answer answer;
  client.Start(request, answer);
  RunUntil(client, [&] { return answer.status.has_value(); });
  return answer;
}

TEST_CASE("A request goes out whole and its answer comes back, on one connection for one after the other") {
  ScriptedUpstream server([](auto& exchange) { exchange.Reply(200, exchange.request().body + "!"); });
  const auto client = Client();
  const std::string large(2'000'000, 'x');  // More than what HTTP clients ask leave for.
  for (const std::string& body : {std::string("question"), large}) {
    const Answer answer = AskOnce(*client, Post(server, body));
    CHECK(answer.status->ok());
    CHECK(answer.code == 200);
    CHECK(answer.body == body + "!");
  }
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].method == "POST");
  CHECK(requests[0].path == "/ask");
  CHECK(requests[0].headers.at("x-mine") == "yes");
  CHECK_FALSE(requests[1].headers.contains("expect"));
  CHECK(requests[1].connection == 1);
}

TEST_CASE("A kept connection that is dead is replaced without the caller seeing it") {
  // The first request is answered, then its connection closed: at once, or when the second request has come on it.
  const bool on_second = GENERATE_COPY(false, true);
  std::atomic<int> calls{0};
  ScriptedUpstream server([&](auto& exchange) {
    const int call = ++calls;
    if (on_second && call == 2) return exchange.Cut();
    exchange.Reply(200, "answer");
    if (!on_second && call == 1) exchange.Cut();
  });
  const auto client = Client();
  CHECK(AskOnce(*client, Post(server)).status->ok());
  const Answer second = AskOnce(*client, Post(server));
  CHECK(second.status->ok());
  CHECK(second.body == "answer");
  CHECK(server.requests().back().connection == 2);
}

TEST_CASE("What does not come whole is UNAVAILABLE, and what the sink had enough of is ABORTED") {
  ScriptedUpstream server([](auto& exchange) {
    exchange.Begin();
    exchange.Write("beginning");
    if (exchange.request().body == "cut") return exchange.Cut();
    exchange.WaitGone();
  });
  const auto client = Client();
  const absl::Status cut = *AskOnce(*client, Post(server, "cut")).status;
  CHECK(cut.code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(DetailOf(cut).has_value());
  Answer enough;
  enough.most = 3;
  client->Start(Post(server), enough);
  RunUntil(*client, [&] { return enough.status.has_value(); });
  CHECK(enough.status->code() == absl::StatusCode::kAborted);
  HttpRequest slow = Post(server);
  slow.timeout = milliseconds(50);
  CHECK(AskOnce(*client, slow).status->code() == absl::StatusCode::kUnavailable);
  CHECK(client->transfers() == 0);
}

TEST_CASE("How long an answer asks to wait is told, a day at most; what is no time is not") {
  const std::pair<const char*, int> fields[] = {{"retry-after: 7\r\n", 7},
                                                {"Retry-After: 9223372036854775807\r\n", 86'400},
                                                {"retry-after: Fri, 31 Dec 2099 23:59:59 GMT\r\n", 86'400},
                                                {"retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 0},
                                                {"retry-after: -7\r\n", 0},
                                                {"retry-after: soon\r\n", 0},
                                                {"", 0}};
  for (const auto& [field, seconds] : fields) {
    INFO(field);
    ScriptedUpstream server([field = field](auto& exchange) { exchange.Reply(429, "later", field); });
    const Answer answer = AskOnce(*Client(), Post(server));
    CHECK(answer.code == 429);
    CHECK(answer.status->ok());
    CHECK(answer.wait == std::chrono::seconds(seconds));
  }
}

TEST_CASE("A cancelled request closes its connection, and its sink hears no more") {
  test::Gate gone;
  ScriptedUpstream server([&](auto& exchange) {
    exchange.Begin();
    exchange.Write("beginning");
    if (exchange.WaitGone()) gone.Open();
  });
  const auto client = Client();
  Answer answer;
  const auto transfer = client->Start(Post(server), answer);
  RunUntil(*client, [&] { return !answer.body.empty(); });
  client->Cancel(transfer);
  gone.Wait();
  client->Run(milliseconds(0));
  CHECK_FALSE(answer.status);
  CHECK(client->transfers() == 0);
}

TEST_CASE("Servers that refuse connections, addresses that are none, and other protocols end with OnEnd") {
  ScriptedUpstream server([](auto&) {});
  HttpRequest request = Post(server);
  server.Refuse();
  const auto client = Client();
  const absl::Status refused = *AskOnce(*client, request).status;
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  REQUIRE(DetailOf(refused).has_value());
  CHECK(DetailOf(refused)->reason == "UNREACHABLE");
  for (const char* url : {"", "nonsense://x", "file:///etc/passwd", "http://"}) {
    request.url = url;
    CHECK(AskOnce(*client, request).status->code() == absl::StatusCode::kUnavailable);
  }
}

// A key and a certificate for 127.0.0.1 that is its own authority.
void MakeCertificate(const test::TempDir& folder, const std::string& name) {
  const std::string command = fmt::format(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={0} -addext subjectAltName=IP:127.0.0.1 "
      "-keyout {1} -out {2} 2>/dev/null",
      name, folder.File(name + ".key"), folder.File(name + ".pem"));
  REQUIRE(std::system(command.c_str()) == 0);
}

TEST_CASE("Over TLS both sides are known by their certificates: an unknown server, and a client without one, get nothing") {
  const test::TempDir folder;
  for (const char* name : {"server", "client", "stranger"}) MakeCertificate(folder, name);
  ScriptedUpstream server(
      [](auto& exchange) { exchange.Reply(200, "answer"); }, false,
      {.certificate = folder.File("server.pem"), .key = folder.File("server.key"), .client_ca = folder.File("client.pem")});
  struct Row {
    const char* trusted;
    const char* shown;  // Empty: none.
    bool answered;
  };
  for (const Row& row :
       {Row{"server", "client", true}, Row{"server", "", false}, Row{"server", "stranger", false}, Row{"stranger", "client", false}}) {
    INFO(row.trusted << " " << row.shown);
    HttpClientOptions options;
    options.ca_file = folder.File(std::string(row.trusted) + ".pem");
    if (*row.shown != 0) {
      options.certificate_file = folder.File(std::string(row.shown) + ".pem");
      options.key_file = folder.File(std::string(row.shown) + ".key");
    }
    const auto client = Client(options);
    const Answer answer = AskOnce(*client, Post(server));
    CHECK(answer.status->ok() == row.answered);
    CHECK(answer.body == (row.answered ? "answer" : ""));
  }
}

TEST_CASE("A certificate that cannot be read is refused with its path") {
  const auto client = HttpClient::Create({.ca_file = "/no/such/file"});
  REQUIRE_FALSE(client.ok());
  CHECK(Message(client.status()).find("/no/such/file") != std::string::npos);
}

}  // namespace
}  // namespace tollgate::base
