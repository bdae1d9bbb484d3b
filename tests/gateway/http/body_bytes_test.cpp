// What bodies take of the memory that all connections share.
#include "gateway/http/body_bytes.h"

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <list>
#include <map>
#include <thread>

#include "base/error_detail.h"
#include "gateway/http/beast_session.h"
#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

constexpr std::int64_t kFree = http_front::BodyBytes::kFreeBytes;

// 1 MiB for bodies of at most 600 KiB: that one has room, whoever sends it, and two have none.
struct Fixture {
  Fixture() {
    http_front::HttpOptions options;
    options.body_bytes_max = 600 * 1024;
    options.memory_bytes_max = 1024 * 1024;
    auto started = http_front::HttpFront::Start(options, io, io.context().get_executor(), chat, {});
    REQUIRE(started.ok());
    front = *std::move(started);
  }
  void AwaitHeld(std::int64_t bytes) const {
    while (front->body_bytes() != bytes) std::this_thread::yield();
  }

  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> front;
};

std::string Body(std::size_t bytes) {
  const std::string frame = R"({"model":"m","messages":[{"role":"user","content":""}]})";
  return R"({"model":"m","messages":[{"role":"user","content":")" + std::string(bytes - frame.size(), 'x') + R"("}]})";
}

std::string Head(const std::string& tenant, const std::string& framing) {
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tenant + "\r\n" + framing + "\r\n\r\n";
}

// Sends a request but for its last byte: so much of the memory is its own from there on.
RawClient Begun(const Fixture& f, const std::string& tenant, const std::string& body) {
  const std::int64_t before = f.front->body_bytes();
  RawClient client(f.front->port());
  client.Send(Head(tenant, "Content-Length: " + std::to_string(body.size())) + body.substr(0, body.size() - 1));
  f.AwaitHeld(before + static_cast<std::int64_t>(body.size()) - 1 - kFree);
  return client;
}

void CheckOverloaded(RawClient& client) {
  RawResponse refused = client.Read();
  CHECK(refused.status == 503);
  CHECK(refused.headers["retry-after"] == "1");
  CHECK(refused.headers["x-should-retry"] == "true");
  CHECK(refused.headers["connection"] == "close");
  CHECK(refused.body.find(R"("type":"server_error","param":null,"code":"overloaded")") != std::string::npos);
  CHECK(client.AtEnd());
}

}  // namespace

TEST_CASE("Bodies that are being read have one bound together: beyond it 503, before they are read, until others are parsed or gone") {
  Fixture f;
  f.chat.Answer([&](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    CHECK(f.front->body_bytes() == 0);  // While the request runs, its body is gone.
    co_return SampleReply("Hello");
  });
  const std::string body = Body(600 * 1024);
  const auto one = static_cast<std::int64_t>(body.size()) - 1 - kFree;
  RawClient first = Begun(f, "a", body);

  RawClient second(f.front->port());
  second.Send(Head("b", "Content-Length: " + std::to_string(body.size())));
  CheckOverloaded(second);
  RawClient small(f.front->port());
  small.Send(Head("b", "Content-Length: 65536") + Body(65536).substr(1));
  CHECK(f.front->body_bytes() == one);
  RawClient growing(f.front->port());
  growing.Send(Head("b", "Transfer-Encoding: chunked"));
  growing.Send("7e000\r\n" + std::string(0x7e000, ' ') + "\r\n0");
  f.AwaitHeld(one + 0x7e000 - kFree);
  growing.Send("\r\n\r\n");
  CHECK(growing.Read().status == 400);  // Spaces alone are no JSON: it was read to its end.
  f.AwaitHeld(one);
  growing.Send(Head("b", "Transfer-Encoding: chunked") + "96000\r\n" + std::string(0x96000, ' '));
  CheckOverloaded(growing);
  CHECK(f.front->body_bytes() == one);

  first.Send(body.substr(body.size() - 1));
  CHECK(first.Read().status == 200);
  CHECK(f.front->body_bytes() == 0);
  { RawClient third = Begun(f, "b", body); }
  f.AwaitHeld(0);  // Its client has gone.
}

TEST_CASE("However many teams and orgs send large bodies, there is room for another's, and what is only promised takes none") {
  Fixture f;
  const std::string body = Body(200 * 1024);
  std::vector<RawClient> promising;
  for (int i = 0; i < 8; ++i) {
    promising.emplace_back(f.front->port()).Send(Head("a1", "Content-Length: " + std::to_string(600 * 1024)) + "{");
  }
  auto all = std::make_shared<http_front::BodyBytes>(1000, 10);
  std::map<std::string, std::int64_t> held;
  std::list<http_front::HeldBody> bodies;
  for (const std::string team : {"a1", "a2", "a3", "b1", "b2", "c1"}) {
    while (true) {
      bodies.emplace_back(all).Of({team.substr(0, 1), team});
      if (!bodies.back().GrowTo(kFree + 10).ok()) break;
      held[team] += 10;
    }
  }
  CHECK(held == std::map<std::string, std::int64_t>{{"a1", 500}, {"a2", 250}, {"b1", 120}, {"b2", 60}, {"c1", 30}});
  RawClient other = Begun(f, "b", body);
  other.Send(body.substr(body.size() - 1));
  CHECK(other.Read().status == 200);
  CHECK(f.front->body_bytes() == 0);
}

TEST_CASE("A body takes memory as it comes, and no more than its head says") {
  boost::beast::http::request_parser<http_front::GrowingBody> parser;
  parser.eager(true);
  parser.body_limit(1 << 22);
  const auto put = [&](const std::string& bytes) {
    boost::system::error_code error;
    CHECK(parser.put(boost::asio::buffer(bytes), error) == bytes.size());
    CHECK(!error);
    return parser.get().body().capacity();
  };
  CHECK(put("POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n{") < 1024);
  CHECK(put(std::string(65536, 'x')) < 2 * 65536 + 2);
  for (int i = 0; i < 44; ++i) put(std::string(65536, 'x'));
  CHECK(put(std::string(50879, 'x')) <= 3000000);
  CHECK(parser.is_done());
  CHECK(parser.get().body().size() == 3000000);
}

TEST_CASE("One body has room, however small the bound") {
  auto all = std::make_shared<http_front::BodyBytes>(100 * 1024, 1024 * 1024);  // Less than one body.
  http_front::HeldBody held(all);
  held.Of({"org", "a"});
  CHECK(held.GrowTo(1024 * 1024).ok());
  http_front::HeldBody more(all);
  more.Of({"org", "a"});
  CHECK(more.GrowTo(kFree).ok());
  CHECK(base::DetailOf(more.GrowTo(2 * kFree + 1))->reason == "OVERLOADED");
  held.Release();
  CHECK(all->held() == 0);
  CHECK(more.GrowTo(2 * kFree + 1).ok());
}
