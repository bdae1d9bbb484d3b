// Clients that leave, dawdle, overrun, or speak no HTTP.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <random>
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
constexpr char kUnary[] = R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}]})";
constexpr char kStream[] = R"({"model":"smollm2","messages":[{"role":"user","content":"hi"}],"stream":true})";

struct Fixture {
  explicit Fixture(http_front::HttpOptions options = {}) {
    auto started = http_front::HttpFront::Start(std::move(options), io, io.context().get_executor(), chat, {});
    REQUIRE(started.ok());
    front = *std::move(started);
  }
  bool Alive() {
    RawClient client(front->port());
    client.Send(Request("GET", "/healthz"));
    return client.Read().status == 200;
  }
  // The pipeline begins its stream with `first` (nothing if empty), then runs until it is cancelled.
  void RunUntilCancelled(std::string first, Signal& started, Signal& cancelled) {
    chat.Answer([first, &started, &cancelled](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
      if (!first.empty()) {
        const absl::Status begun = co_await asked.writer->Begin(SampleHead());
        const absl::Status written = co_await asked.writer->Write(TextPiece(first));
        CHECK(begun.ok());
        CHECK(written.ok());
      }
      started.Set();
      co_await UntilCancelled(asked.cancellation);
      cancelled.Set();
      co_return SampleFailure(base::Cancelled("the client went away"));
    });
  }

  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> front;
};

// The other end of the client's connection, which this process holds as well; -1: there is none.
int AcceptedFrom(const RawClient& client) {
  sockaddr_in ours{};
  socklen_t size = sizeof ours;
  REQUIRE(getsockname(client.fd(), reinterpret_cast<sockaddr*>(&ours), &size) == 0);
  for (int fd = 0; fd < 4096; ++fd) {
    sockaddr_in peer{};
    size = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.sin_port == ours.sin_port) return fd;
  }
  return -1;
}

int OptionOf(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  REQUIRE(getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

}  // namespace

TEST_CASE("A client that goes away cancels its request: before the first token, in mid-stream, and with another request in the pipe") {
  struct Row {
    const char* body;
    std::string first;
    std::string behind;
  };
  const Row rows[] = {{kUnary, "", ""}, {kStream, "", ""}, {kStream, "piece", ""}, {kStream, "", Request("GET", "/healthz")}};
  for (const Row& row : rows) {
    Fixture f;
    Signal started, cancelled;
    f.RunUntilCancelled(row.first, started, cancelled);
    RawClient client(f.front->port());
    client.Send(Request("POST", kChat, row.body) + row.behind);
    REQUIRE(started.Wait());
    client.Close();
    CHECK(cancelled.Wait());
    CHECK(f.Alive());
  }
}

TEST_CASE("A client that does not read holds up its own stream alone, and is cut at the write timeout") {
  http_front::HttpOptions options;
  options.write_timeout_ms = 300;
  Fixture f(options);
  std::atomic<std::int64_t> written_bytes{0};
  Signal ended;
  f.chat.Answer([&](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    absl::Status status = co_await asked.writer->Begin(SampleHead());
    for (int i = 0; i < 16 * 1024 && status.ok(); ++i) {  // 1 GiB, were it taken.
      status = co_await asked.writer->Write(TextPiece(std::string(64 * 1024, 'x')));
      if (status.ok()) written_bytes += 64 * 1024;
    }
    CHECK(asked.cancellation->cancelled());
    ended.Set();
    co_return SampleFailure(status);
  });
  RawClient reader(f.front->port());
  reader.Send(Request("POST", kChat, kStream));
  std::string head;
  REQUIRE(reader.ReadUntil("\r\n\r\n", head));
  CHECK(f.Alive());
  CHECK(ended.Wait());
  CHECK(written_bytes < 64 * 1024 * 1024);  // What kernel buffers hold, far from 1 GiB.
  CHECK(f.Alive());
}

TEST_CASE("A write that waits for its client ends when the pipeline breaks it off, long before the write timeout") {
  Fixture f;
  Signal ended;
  f.chat.Answer(UntilBrokenOff(ended));
  RawClient reader(f.front->port());
  reader.Send(Request("POST", kChat, kStream));
  CHECK(ended.Wait());
  CHECK(f.Alive());
}

TEST_CASE("A connection whose peer has vanished is found out by the kernel, quiet or with bytes on their way") {
  for (const auto& [write_timeout_ms, untaken_ms] : {std::pair{300, 30'000}, std::pair{45'000, 45'000}}) {
    http_front::HttpOptions options;
    options.write_timeout_ms = write_timeout_ms;
    Fixture f(options);
    RawClient client(f.front->port());
    client.Send(Request("GET", "/healthz"));
    REQUIRE(client.Read().status == 200);
    const int fd = AcceptedFrom(client);
    REQUIRE(fd >= 0);
    struct Row {
      int level, name, value;
    };
    for (const Row& row : {Row{SOL_SOCKET, SO_KEEPALIVE, 1}, Row{IPPROTO_TCP, TCP_KEEPIDLE, 15}, Row{IPPROTO_TCP, TCP_KEEPINTVL, 5},
                           Row{IPPROTO_TCP, TCP_KEEPCNT, 3}, Row{IPPROTO_TCP, TCP_USER_TIMEOUT, untaken_ms}}) {
      CAPTURE(row.level, row.name);
      CHECK(OptionOf(fd, row.level, row.name) == row.value);
    }
    Signal started, cancelled;  // A request that has had no byte yet: it is for the questions to find out.
    f.RunUntilCancelled("", started, cancelled);
    client.Send(Request("POST", kChat, kUnary));
    REQUIRE(started.Wait());
    CHECK(OptionOf(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 30'000);
    client.Close();
    CHECK(cancelled.Wait());
  }
}

TEST_CASE("Bodies up to the limit pass, and one byte more is 413 before it is read") {
  http_front::HttpOptions options;
  options.body_bytes_max = 64 * 1024;
  Fixture f(options);
  const std::string frame = R"({"model":"m","messages":[{"role":"user","content":""}]})";
  const std::string at_limit =
      R"({"model":"m","messages":[{"role":"user","content":")" + std::string(64 * 1024 - frame.size(), 'x') + R"("}]})";
  REQUIRE(at_limit.size() == 64 * 1024);
  RawClient whole(f.front->port());
  whole.Send(Request("POST", kChat, at_limit));
  CHECK(whole.Read().status == 200);

  RawClient declared(f.front->port());  // Sends no byte of the body.
  declared.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n");
  const RawResponse refused = declared.Read();
  CHECK(refused.status == 413);
  CHECK(refused.body.find("larger than 65536 bytes") != std::string::npos);
  CHECK(refused.body.find("request_too_large") != std::string::npos);

  RawClient sending(f.front->port());  // Sends all of it all the same, and still gets the answer.
  sending.Send(Request("POST", kChat, std::string(3'000'000, ' ')));
  CHECK(sending.Read().status == 413);

  RawClient chunked(f.front->port());
  chunked.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) chunked.Send("1000\r\n" + std::string(4096, ' ') + "\r\n");
  CHECK(chunked.Read().status == 413);
  CHECK(f.Alive());
}

TEST_CASE("A client that asks first is told to continue") {
  Fixture f;
  RawClient client(f.front->port());
  client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: " +
              std::to_string(sizeof kUnary - 1) + "\r\n\r\n");
  std::string interim;
  REQUIRE(client.ReadUntil("\r\n\r\n", interim));
  CHECK(interim == "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send(kUnary);
  CHECK(client.Read().status == 200);
}

TEST_CASE("What is not HTTP is refused and closed; the server stands") {
  Fixture f;
  struct Row {
    std::string bytes;
    int status;
  };
  const Row rows[] = {
      {"nonsense\r\n\r\n", 400},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {"GET /healthz HTTP/1.1\nHost: x\n\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400},
      {"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
  };
  for (const Row& row : rows) {
    INFO(row.bytes.substr(0, 80));
    RawClient client(f.front->port());
    client.Send(row.bytes);
    const RawResponse response = client.Read();
    CHECK(response.status == row.status);
    CHECK(response.body.starts_with(R"({"error":{"message":)"));
    CHECK(client.AtEnd());
  }
  CHECK(f.Alive());
}

TEST_CASE("A head that comes field by field is refused like one that is too large, and so is what follows a body in chunks") {
  Fixture f;
  const std::string chunked = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na";
  for (const std::string& begin : {std::string("GET /v1/models HTTP/1.1\r\nHost: x\r\na"), chunked}) {
    for (const std::string& piece : {std::string(":\r\na"), ":" + std::string(1000, 'x') + "\r\na"}) {
      INFO(begin.substr(0, 20) << ' ' << piece.size());
      RawClient client(f.front->port());
      client.Send(begin);
      // One field at a time, each a byte beyond its line's end. Far more than may come; after the refusal the rest is not read.
      for (int i = 0; i < 200; ++i) client.Send(piece);
      client.Send(":\r\n\r\n");
      CHECK(client.Read().status == 431);
    }
  }
  const std::string fields = "GET /v1/models HTTP/1.1\r\nHost: x\r\n";
  std::string most = fields;
  for (int i = 0; i < 127; ++i) most += "a:\r\n";
  RawClient client(f.front->port());
  client.Send(most + "\r\n");
  CHECK(client.Read().status == 200);
  client.Send(most + "a:\r\n\r\n");
  CHECK(client.Read().status == 431);
  CHECK(f.Alive());
}

TEST_CASE("Bytes at random never hurt the server") {
  const char* fixed = std::getenv("TOLLGATE_SEED");
  const std::uint64_t seed = fixed ? std::strtoull(fixed, nullptr, 10) : std::random_device{}();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  Fixture f;
  const std::string valid = Request("POST", kChat, kUnary);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = valid;
    for (std::uint64_t changes = random() % 8 + 1; changes > 0; --changes) bytes[random() % bytes.size()] = static_cast<char>(random());
    RawClient client(f.front->port());
    client.Send(bytes.substr(0, random() % (bytes.size() + 1)));
    shutdown(client.fd(), SHUT_WR);
    client.ReadToEnd();
  }
  CHECK(f.Alive());
}

TEST_CASE("A connection that dawdles in any phase is closed") {
  http_front::HttpOptions options;
  options.header_timeout_ms = 100;
  options.body_timeout_ms = 100;
  options.idle_timeout_ms = 100;
  Fixture f(options);
  for (const char* start : {"", "GET /heal", "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"}) {
    RawClient client(f.front->port());
    client.Send(start);
    CHECK(client.AtEnd());
  }
  RawClient after(f.front->port());
  after.Send(Request("GET", "/healthz"));
  CHECK(after.Read().status == 200);
  CHECK(after.AtEnd());
}

TEST_CASE("Draining closes idle connections, lets the running answer end, and refuses new connections") {
  Fixture f;
  Signal started;
  std::function<void(bool)> go;
  f.chat.Answer([&](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    const auto strand = co_await boost::asio::this_coro::executor;
    auto start = [&](auto done) {
      go = done;
      boost::asio::post(strand, [&] { started.Set(); });  // Once it waits: else the answer may overtake the drain.
    };
    co_await async::Callback<bool>(start);
    co_return SampleReply("done");
  });
  RawClient idle(f.front->port());
  idle.Send(Request("GET", "/healthz"));
  CHECK(idle.Read().status == 200);
  RawClient running(f.front->port());
  running.Send(Request("POST", kChat, kUnary));
  REQUIRE(started.Wait());
  f.front->StopAccepting();
  CHECK(idle.AtEnd());
  CHECK_FALSE(RawClient().Connect(f.front->port()));
  go(true);
  RawResponse response = running.Read();
  CHECK(response.status == 200);
  CHECK(response.headers["connection"] == "close");
  running.Close();
  f.front->Shutdown(std::chrono::seconds(30));
}

TEST_CASE("Shutdown cancels what has not ended by its deadline") {
  Fixture f;
  Signal started, cancelled;
  f.RunUntilCancelled("piece", started, cancelled);
  RawClient client(f.front->port());
  client.Send(Request("POST", kChat, kStream));
  REQUIRE(started.Wait());
  f.front->Shutdown(std::chrono::milliseconds(1));
  CHECK(cancelled.Wait());
  CHECK(f.chat.running() == 0);
  CHECK(client.ReadToEnd().find("[DONE]") == std::string::npos);
}
