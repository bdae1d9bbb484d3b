// Answers of megabytes, and clients that read them slowly or not at all.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

constexpr std::size_t kBytes = 32 << 20;  // Of an answer: more than the kernel keeps for both sides.

// A way to ask for so much, and what the answer ends with.
struct Way {
  const char* path;
  const char* body;
  std::string end;
};
const std::vector<Way> kWays = {
    {"/v1/embeddings", R"({"model":"smollm2","input":"a"})", R"("total_tokens":12}})"},
    {"/v1/chat/completions", R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}]})", R"("fp_tollgate"})"},
    {"/v1/chat/completions", R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}],"stream":true})", "data: [DONE]\n\n"},
};

struct Fixture {
  explicit Fixture(const http_front::HttpOptions& options = {})
      : front(*http_front::HttpFront::Start(options, io, io.context().get_executor(), chat, {})) {}

  // The next answers are large, and hold this.
  void AnswerMuch(const pipeline::Room& room) {
    chat.EmbedAs(kBytes / 4, room);
    chat.Answer([room](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
      pipeline::Reply reply = SampleReply(std::string(kBytes, 'x'));
      reply.room = room;
      co_return reply;
    });
  }
  // Asks, and reads no more than the head.
  RawClient Ask(const Way& way) {
    RawClient client;
    const int bytes = 64 * 1024;
    setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    REQUIRE(client.Connect(front->port()));
    client.Send(Request("POST", way.path, way.body));
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

TEST_CASE("An answer keeps its room until its client has read it, or is gone") {
  for (const Way& way : {kWays[0], kWays[1]}) {
    for (const bool reads : {true, false}) {
      INFO(way.path);
      Fixture f;
      auto room = std::make_shared<int>();
      const std::weak_ptr<int> held = room;
      f.AnswerMuch(std::move(room));
      RawClient client = f.Ask(way);
      f.AnswerMuch(nullptr);
      CHECK_FALSE(held.expired());
      std::string rest;
      if (reads) {
        CHECK(client.ReadUntil(way.end, rest));
      } else {
        client.Close();
      }
      while (!held.expired()) std::this_thread::yield();
    }
  }
}

TEST_CASE("A client that reads a large answer slowly gets all of it, however long that takes") {
  http_front::HttpOptions options;
  options.write_timeout_ms = 2000;
  Fixture f(options);
  f.AnswerMuch(nullptr);
  std::vector<RawClient> clients;
  for (const Way& way : kWays) clients.push_back(f.Ask(way));
  const auto begun = std::chrono::steady_clock::now();
  std::vector<std::size_t> taken(clients.size());
  std::string bytes(256 * 1024, '\0');
  while (std::chrono::steady_clock::now() < begun + std::chrono::milliseconds(2 * options.write_timeout_ms)) {
    for (std::size_t i = 0; i < clients.size(); ++i) {
      const ssize_t count = recv(clients[i].fd(), bytes.data(), bytes.size(), 0);
      INFO(kWays[i].path << ' ' << i);
      REQUIRE(count > 0);
      taken[i] += static_cast<std::size_t>(count);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(40));  // A megabyte or two a second, some sixth of each.
  }
  for (std::size_t i = 0; i < clients.size(); ++i) {
    CHECK(taken[i] < kBytes);
    std::string rest;
    CHECK(clients[i].ReadUntil(kWays[i].end, rest));
  }
}
