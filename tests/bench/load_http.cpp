// One thread with epoll, a kept connection a client, and as little reading of answers as will do: status, length or chunks.
#include "tests/bench/load.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tests/bench/figures.h"
#include "tests/e2e/support/http_client.h"

namespace tollgate::bench {
namespace {

using Clock = std::chrono::steady_clock;

double Millis(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

struct Connection {
  int fd = -1;
  std::string in;
  std::size_t at = 0;  // What of `in` was read.
  bool head_read = false;
  bool chunked = false;
  std::size_t length = 0;
  int status = 0;
  int chunks = 0;
  bool busy = false;
  Clock::time_point due;
};

class Run {
 public:
  Run(const Traffic& traffic, const Plan& plan) : traffic_(traffic), plan_(plan) {
    for (const std::string& prompt : traffic.prompts) {
      e2e::HttpAsk ask;
      ask.key = traffic.key;
      ask.model = traffic.model;
      ask.prompt = prompt;
      ask.stream = traffic.stream;
      ask.max_tokens = traffic.max_tokens;
      requests_.push_back(e2e::PostChat(ask));
    }
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    Watch(timer_, nullptr);
    for (int i = 0; i < plan.clients; ++i) {
      Connection& connection = connections_.emplace_back();
      Connect(connection);
      free_.push_back(&connection);
    }
  }
  ~Run() {
    for (const Connection& connection : connections_) ::close(connection.fd);
    ::close(timer_);
    ::close(epoll_);
  }

  Outcome Go() {
    const auto began = Clock::now();
    const auto until = began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(plan_.seconds));
    const std::chrono::duration<double> gap(plan_.rate_per_s > 0 ? 1 / plan_.rate_per_s : 0);
    const auto DueAt = [&](std::int64_t i) { return began + std::chrono::duration_cast<Clock::duration>(gap * static_cast<double>(i)); };
    for (;;) {
      const auto now = Clock::now();
      const bool enough = plan_.requests_max > 0 && begun_ >= plan_.requests_max;
      const bool open = plan_.rate_per_s > 0;
      while (!free_.empty() && !(plan_.requests_max > 0 && begun_ >= plan_.requests_max)) {
        const auto due = open ? DueAt(begun_) : now;
        if (due > now || due >= until) break;
        Connection& connection = *free_.front();
        free_.pop_front();
        Send(connection, due);
      }
      const auto next = open ? DueAt(begun_) : now;
      if (free_.size() == connections_.size() && (next >= until || enough)) break;
      if (open && next < until && next > now) SetTimer(next - now);
      Wait();
    }
    detail::Finish(outcome_, Millis(Clock::now() - began) / 1000);
    return std::move(outcome_);
  }

 private:
  void Watch(int fd, Connection* connection) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = connection}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void Connect(Connection& connection) {
    connection = {};
    connection.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(traffic_.port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(connection.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) Fail("cannot connect over HTTP");
    const int one = 1;
    ::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    Watch(connection.fd, &connection);
  }

  void SetTimer(Clock::duration in) {
    const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(in).count();
    const itimerspec spec{.it_interval = {}, .it_value = {.tv_sec = nanos / 1'000'000'000, .tv_nsec = nanos % 1'000'000'000}};
    ::timerfd_settime(timer_, 0, &spec, nullptr);
  }

  void Send(Connection& connection, Clock::time_point due) {
    const std::string& request = requests_[static_cast<std::size_t>(begun_++) % requests_.size()];
    connection.busy = true;
    connection.due = due;
    // A request fits the socket's buffer: the send does not block for long.
    if (::send(connection.fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
      Over(connection, "cannot send");
  }

  void Wait() {
    epoll_event events[64];
    const int count = ::epoll_wait(epoll_, events, 64, 10'000);
    if (count == 0) Fail("no answer over HTTP for 10 s");
    for (int i = 0; i < count; ++i) {
      auto* const connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == nullptr) {
        std::uint64_t ticks = 0;
        [[maybe_unused]] const auto ignored = ::read(timer_, &ticks, sizeof ticks);
        continue;
      }
      char bytes[32768];
      const ssize_t got = ::recv(connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);
      if (got < 0) continue;
      if (got == 0) {
        Over(*connection, "the connection was closed");
        continue;
      }
      connection->in.append(bytes, static_cast<std::size_t>(got));
      if (connection->busy && Whole(*connection)) Over(*connection, connection->status == 200 ? "" : connection->in.substr(0, 1000));
    }
  }

  // Reads on; true when the whole answer is there.
  bool Whole(Connection& c) {
    if (!c.head_read) {
      const auto end = c.in.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      std::string head = c.in.substr(0, end + 2);
      std::transform(head.begin(), head.end(), head.begin(), [](unsigned char x) { return static_cast<char>(std::tolower(x)); });
      c.status = std::atoi(head.c_str() + 9);
      const auto length = head.find("\r\ncontent-length:");
      c.chunked = length == std::string::npos;
      if (!c.chunked) c.length = static_cast<std::size_t>(std::atoll(head.c_str() + length + 17));
      c.at = end + 4;
      c.head_read = true;
    }
    if (!c.chunked) {
      c.chunks = 1;
      return c.in.size() >= c.at + c.length;
    }
    for (;;) {
      const auto line = c.in.find("\r\n", c.at);
      if (line == std::string::npos) return false;
      const auto size = std::strtoul(c.in.c_str() + c.at, nullptr, 16);
      if (c.in.size() < line + 2 + size + 2) return false;
      c.at = line + 2 + size + 2;
      if (size == 0) return true;
      if (c.chunks++ == 0) outcome_.first_ms.push_back(Millis(Clock::now() - c.due));
    }
  }

  void Over(Connection& connection, const std::string& error) {
    if (!connection.busy) return;
    if (error.empty()) {
      outcome_.ms.push_back(Millis(Clock::now() - connection.due));
      outcome_.messages += connection.chunks;
    } else if (outcome_.failed++ == 0) {
      outcome_.first_error = error;
    }
    if (error.empty() || connection.status != 0) {
      connection.in.clear();
      connection.at = connection.length = 0;
      connection.head_read = connection.chunked = connection.busy = false;
      connection.chunks = connection.status = 0;
    } else {
      ::close(connection.fd);
      Connect(connection);
    }
    free_.push_back(&connection);
  }

  const Traffic traffic_;
  const Plan plan_;
  std::vector<std::string> requests_;
  int epoll_ = -1;
  int timer_ = -1;
  std::int64_t begun_ = 0;
  std::deque<Connection> connections_;
  std::deque<Connection*> free_;
  Outcome outcome_;
};

}  // namespace

namespace detail {

Outcome RunHttp(const Traffic& traffic, const Plan& plan) { return Run(traffic, plan).Go(); }

void Finish(Outcome& outcome, double seconds) {
  std::sort(outcome.ms.begin(), outcome.ms.end());
  std::sort(outcome.first_ms.begin(), outcome.first_ms.end());
  outcome.requests = static_cast<std::int64_t>(outcome.ms.size());
  outcome.per_s = static_cast<double>(outcome.requests) / seconds;
}

}  // namespace detail

Outcome RunLoad(const Traffic& traffic, const Plan& plan) {
  Outcome outcome = traffic.grpc ? detail::RunGrpc(traffic, plan) : detail::RunHttp(traffic, plan);
  if (outcome.failed > 0)
    fmt::print(stderr, "{} of {} requests failed, the first with: {}\n", outcome.failed, outcome.failed + outcome.requests,
               outcome.first_error);
  return outcome;
}

}  // namespace tollgate::bench
