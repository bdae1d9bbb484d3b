// What requests say in their headers.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using namespace tollgate::testing;
using namespace std::chrono_literals;

namespace {

constexpr char kChat[] = "/v1/chat/completions", kTokenize[] = "/v1/tokenize";

struct Fixture {
  Fixture() {
    auto started = http_front::HttpFront::Start({}, io, io.context().get_executor(), chat, {});
    REQUIRE(started.ok());
    front = *std::move(started);
  }
  RawResponse Ask(std::string_view path, std::string_view headers, const std::string& more = "") {
    const std::string input = path == kChat || path == kTokenize ? R"("messages":[{"role":"user","content":"hi"}])"
                              : path == "/v1/embeddings"         ? R"("input":"hi")"
                                                                 : R"("query":"q","documents":["a","b"])";
    RawClient client(front->port());
    client.Send(Request("POST", path, R"({"model":"m",)" + input + more + "}", headers));
    return client.Read();
  }

  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> front;
};

}  // namespace

TEST_CASE("A request's time is what our header says; how long an SDK says that it waits is told beside it") {
  Fixture f;
  struct Row {
    const char* headers;
    std::optional<std::chrono::milliseconds> deadline, waits;
  };
  const Row rows[] = {
      {"", std::nullopt, std::nullopt},
      {"X-Tollgate-Timeout-Ms: 300000\r\n", 300s, std::nullopt},
      {"x-stainless-timeout: 600\r\n", std::nullopt, 600s},
      {"x-stainless-read-timeout: 90.5\r\n", std::nullopt, 90'500ms},
      {"x-stainless-timeout: 10\r\nx-stainless-read-timeout: 20\r\n", std::nullopt, 20s},
      {"x-stainless-timeout: 10\r\nx-tollgate-timeout-ms: 5\r\n", 5ms, 10s},
      {"x-stainless-timeout: never\r\nx-stainless-read-timeout: -5\r\n", std::nullopt, std::nullopt},
      {"x-stainless-timeout: 1000000000\r\n", std::nullopt, 24h},
  };
  for (const Row& row : rows) {
    INFO(row.headers);
    CHECK(f.Ask(kChat, row.headers).status == 200);
    const pipeline::Caller caller = f.chat.last().caller;
    const auto since = [&](const auto& at) {
      return at ? std::optional(std::chrono::duration_cast<std::chrono::milliseconds>(*at - caller.received)) : std::nullopt;
    };
    CHECK(since(caller.deadline) == row.deadline);
    CHECK(since(caller.waits_until) == row.waits);
  }
  for (const char* none : {"0", "-1", "soon", "5s"}) {
    for (const char* path : {kChat, "/v1/embeddings", "/v1/rerank", kTokenize}) {
      INFO(none << " " << path);
      const RawResponse refused = f.Ask(path, "x-tollgate-timeout-ms: " + std::string(none) + "\r\n");
      CHECK(refused.status == 400);
      CHECK(refused.body.find(R"("param":"x-tollgate-timeout-ms","code":"invalid_value")") != std::string::npos);
    }
  }
}

TEST_CASE("A justification comes in a header, whatever its letters, or in the body; both must say the same") {
  Fixture f;
  const std::string latin1 =
      "x-tollgate-justification: Pr\xfc"
      "fung\r\n";
  for (const std::string& header :
       {latin1, std::string("x-tollgate-justification: UTF-8''Pr%C3%BCfung\r\n"), std::string("x-tollgate-justification: Prüfung\r\n")}) {
    for (const char* in_body : {"", R"(,"justification":"Prüfung")"}) {
      INFO(header << in_body);
      CHECK(f.Ask(kChat, header, in_body).status == 200);
      CHECK(f.chat.last().request.justification() == "Prüfung");
      CHECK(f.Ask("/v1/embeddings", header, in_body).status == 200);
      CHECK(f.chat.embedded().justification() == "Prüfung");
      CHECK(f.Ask("/v1/rerank", header, in_body).status == 200);
      CHECK(f.chat.reranked().justification() == "Prüfung");
    }
    const RawResponse differs = f.Ask(kChat, header, R"(,"justification":"other")");
    CHECK(differs.status == 400);
    CHECK(differs.body.find(R"("param":"justification","code":"invalid_value")") != std::string::npos);
  }
  CHECK(f.Ask(kChat, "x-tollgate-justification:\r\n", R"(,"justification":"mine","accept_terms":"ai@3")").status == 200);
  CHECK(f.chat.last().request.justification() == "mine");
  CHECK(f.chat.last().request.accept_terms() == "ai@3");
  CHECK(f.Ask(kChat, "x-tollgate-accept-terms: ai@2\r\n", R"(,"accept_terms":"ai@3")").status == 400);
}

TEST_CASE("A header of ours that comes twice is refused by its name, whatever it says") {
  Fixture f;
  for (const std::string name : {"x-tollgate-timeout-ms", "x-tollgate-justification", "x-tollgate-accept-terms"}) {
    for (const char* second : {": 5000\r\n", ": 6000\r\n", ":\r\n"}) {
      INFO(name << second);
      const RawResponse refused = f.Ask(kChat, name + ": 5000\r\n" + name + second);
      CHECK(refused.status == 400);
      CHECK(refused.body.find("Invalid header " + name + ": it came more than once; send it once.") != std::string::npos);
      CHECK(refused.body.find("\"param\":\"" + name + "\",\"code\":\"invalid_value\"") != std::string::npos);
    }
  }
}

TEST_CASE("A body that is compressed is refused by what it is, not by what it looks like") {
  Fixture f;
  const RawResponse refused = f.Ask(kChat, "Content-Encoding: gzip\r\n");
  CHECK(refused.status == 415);
  CHECK(refused.body.find("must not be compressed; send it without the header Content-Encoding") != std::string::npos);
  CHECK(f.Ask(kChat, "Content-Encoding: identity\r\n").status == 200);
}
