// What a stream's client hears while there is nothing for it.
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <sstream>
#include <string>

#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"
#include "tests/support/signal.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kStream[] = R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}],"stream":true})";
constexpr char kComment[] = "d\r\n: keep-alive\n\r\n";  // In a chunk of its own.

struct Fixture {
  Fixture() {
    http_front::HttpOptions options;
    options.comment_ms = 40;
    front = *http_front::HttpFront::Start(std::move(options), io, io.context().get_executor(), chat, {});
  }
  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> front;
};

}  // namespace

TEST_CASE("A quiet stream carries keep-alive comments, also one that began with nothing, and says how long its client may hear nothing") {
  for (const std::string piece : {"piece", ""}) {
    Fixture f;
    Signal cancelled;
    f.chat.Answer([&](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
      CHECK(asked.writer->silence_max() == std::chrono::milliseconds(40));
      const absl::Status begun = co_await asked.writer->Begin(SampleHead());
      CHECK(begun.ok());
      if (!piece.empty()) {
        const absl::Status written = co_await asked.writer->Write(TextPiece(piece));
        CHECK(written.ok());
      }
      co_await UntilCancelled(asked.cancellation);
      cancelled.Set();
      co_return SampleFailure(base::Cancelled("the client went away"));
    });
    RawClient client(f.front->port());
    client.Send(Request("POST", kChat, kStream));
    std::string text, more;
    CHECK(client.ReadUntil(kComment, text));
    CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(text.find(R"("delta":{"role":"assistant")") != std::string::npos);
    CHECK(client.ReadUntil(kComment, more));
    client.Close();
    CHECK(cancelled.Wait());
  }
}

TEST_CASE("For who takes every empty line for an event's end each event has data, comments or not") {
  Fixture f;
  std::function<void(bool)> go[2];
  Signal waits[2];
  f.chat.Answer([&](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    const auto strand = co_await boost::asio::this_coro::executor;
    absl::Status status = co_await asked.writer->Begin(SampleHead());
    for (int i = 0; i < 2; ++i) {
      auto start = [&, i](auto done) {
        go[i] = done;
        boost::asio::post(strand, [&, i] { waits[i].Set(); });
      };
      co_await async::Callback<bool>(start);
      const absl::Status written = co_await asked.writer->Write(TextPiece("piece"));
      status.Update(written);
    }
    CHECK(status.ok());
    co_return SampleReply("end");
  });
  RawClient client(f.front->port());
  std::string request = Request("POST", kChat, kStream), head, body;
  request.replace(request.find("HTTP/1.1"), 8, "HTTP/1.0");  // Without chunks.
  client.Send(request);
  REQUIRE(client.ReadUntil("\r\n\r\n", head));
  for (int i = 0; i < 2; ++i) {
    std::string more;
    REQUIRE(waits[i].Wait());
    REQUIRE(client.ReadUntil(": keep-alive\n", more));
    body += more;
    go[i](true);
  }
  body += client.ReadToEnd();
  std::istringstream lines(body);
  std::string data;
  int events = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("data: ")) data += line.substr(6);
    if (!line.empty()) continue;
    CHECK(data.starts_with(++events < 6 ? "{" : "[DONE]"));
    data.clear();
  }
  CHECK(events == 6);  // The role, two pieces, the last one, why it ended, and that.
}
