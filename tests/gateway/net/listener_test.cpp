#include "gateway/net/listener.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "gateway/net/descriptors.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/http/raw_client.h"

using namespace tollgate;
using tollgate::testing::RawClient;

namespace {

// Keeps what it is handed.
class Taker {
 public:
  net::Listener::Handler Handler() {
    return [this](net::Accepted connection) {
      const std::lock_guard lock(mu_);
      taken_.push_back(std::move(connection));
      changed_.notify_all();
    };
  }
  bool AwaitTaken(std::size_t count) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return taken_.size() >= count; });
  }
  std::string source(std::size_t i) {
    const std::lock_guard lock(mu_);
    return taken_[i].source;
  }
  void CloseAll() {
    const std::lock_guard lock(mu_);
    for (const auto& connection : taken_) close(connection.fd);
    taken_.clear();
  }
  ~Taker() { CloseAll(); }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<net::Accepted> taken_;
};

std::unique_ptr<net::Listener> Bind(net::ListenerOptions options, net::IoThreads& io) {
  auto listener = net::Listener::Bind(options, io);
  REQUIRE(listener.ok());
  return *std::move(listener);
}

// Lowers the process's limit and takes every descriptor that is left.
class Exhausted {
 public:
  Exhausted() {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit low = before_;
    low.rlim_cur = 256;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) fillers_.push_back(fd);
    REQUIRE(errno == EMFILE);
  }
  ~Exhausted() {
    for (const int fd : fillers_) close(fd);
    setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_{};
  std::vector<int> fillers_;
};

}  // namespace

TEST_CASE("Connections are handed over with their source, and the port closes on Stop") {
  net::IoThreads io(1);
  Taker taker;
  auto listener = Bind({.name = "test"}, io);
  listener->Start(taker.Handler());
  REQUIRE(listener->port() != 0);
  RawClient client(listener->port());
  REQUIRE(taker.AwaitTaken(1));
  CHECK(taker.source(0) == "127.0.0.1");
  CHECK(listener->accepted() == 1);
  listener->Stop();
  CHECK_FALSE(RawClient().Connect(listener->port()));
}

TEST_CASE("An IPv6 listener gives IPv6 and mapped IPv4 sources") {
  net::IoThreads io(1);
  Taker taker;
  auto bound = net::Listener::Bind({.name = "test", .address = "::"}, io);
  if (!bound.ok()) SKIP("no IPv6 on this machine");
  (*bound)->Start(taker.Handler());
  RawClient client((*bound)->port());
  REQUIRE(taker.AwaitTaken(1));
  CHECK(taker.source(0) == "127.0.0.1");
}

TEST_CASE("An address that is no address refuses the start and says what one looks like") {
  net::IoThreads io(1);
  const auto listener = net::Listener::Bind({.name = "grpc", .address = "localhost"}, io);
  REQUIRE_FALSE(listener.ok());
  CHECK(base::Message(listener.status()) == "listener grpc: \"localhost\" is not a numeric IPv4 or IPv6 address, for example 127.0.0.1");
}

TEST_CASE("Beyond a limit newcomers are closed at once, and a place that is freed is given again") {
  for (const bool watch : {false, true}) {
    for (const bool total : {false, true}) {
      INFO("watch " << watch << " total " << total);
      net::IoThreads io(1);
      Taker taker;
      net::ListenerOptions options{.name = "test", .watch_descriptors = watch};
      (total ? options.connections_max : options.connections_per_source_max) = 2;
      auto listener = Bind(options, io);
      listener->Start(taker.Handler());
      RawClient a(listener->port()), b(listener->port());
      REQUIRE(taker.AwaitTaken(2));
      RawClient c(listener->port());
      CHECK(c.AtEnd());
      CHECK(listener->refused() == 1);
      CHECK(listener->open() == 2);
      taker.CloseAll();
      CHECK(listener->open() == 0);
      RawClient d(listener->port());
      CHECK(taker.AwaitTaken(1));
      CHECK(listener->open() == 1);
    }
  }
}

TEST_CASE("The connections of a trusted proxy are everybody's, and are counted in total alone") {
  for (const bool watch : {false, true}) {
    INFO("watch " << watch);
    net::IoThreads io(1);
    Taker taker;
    net::ListenerOptions options{.name = "test", .connections_max = 3, .connections_per_source_max = 1, .watch_descriptors = watch};
    const std::string loopback[] = {"127.0.0.1"};
    options.proxies = *base::Networks::Parse(loopback);
    auto listener = Bind(options, io);
    listener->Start(taker.Handler());
    RawClient a(listener->port()), b(listener->port()), c(listener->port());
    REQUIRE(taker.AwaitTaken(3));
    CHECK(taker.source(2) == "127.0.0.1");
    RawClient d(listener->port());
    CHECK(d.AtEnd());
    taker.CloseAll();
    CHECK(listener->open() == 0);
  }
}

TEST_CASE("With every descriptor taken newcomers are closed instead of left hanging, and service returns unaided") {
  net::IoThreads io(1);
  Taker taker;
  auto listener = Bind({.name = "test", .descriptors_reserved = 0}, io);
  listener->Start(taker.Handler());
  std::vector<RawClient> before(8), after(8);  // Their sockets exist; connecting needs no more descriptors.
  {
    const Exhausted exhausted;
    for (RawClient& client : before) {
      REQUIRE(client.Connect(listener->port()));
      CHECK(client.AtEnd());
    }
    CHECK(listener->refused() == 8);
    CHECK(listener->accepted() == 0);
  }
  for (RawClient& client : after) REQUIRE(client.Connect(listener->port()));
  CHECK(taker.AwaitTaken(8));
}

TEST_CASE("The last descriptors are left to the rest of the program") {
  net::IoThreads io(1);
  Taker taker;
  auto listener = Bind({.name = "test", .descriptors_reserved = 100'000'000}, io);
  listener->Start(taker.Handler());
  RawClient client(listener->port());
  CHECK(client.AtEnd());
  CHECK(listener->refused() == 1);
}

TEST_CASE("When descriptors run short the API's listener is closed to newcomers first, then the administrators', then the probes'") {
  net::IoThreads io(1);
  Taker taker;
  std::vector<std::unique_ptr<net::Listener>> listeners;
  for (const int reserved : {net::kReservedByApi, net::kReservedByAdmin, net::kReservedByProbes}) {
    listeners.push_back(Bind({.name = "test", .descriptors_reserved = reserved}, io));
    listeners.back()->Start(taker.Handler());
  }
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = open("/dev/null", O_RDONLY);
  close(next);
  for (int open_to = 0; open_to < 3; ++open_to) {
    const int left = open_to == 0 ? net::kReservedByProbes + 8 : open_to == 1 ? net::kReservedByAdmin + 8 : net::kReservedByApi + 8;
    const rlimit low{static_cast<rlim_t>(next + left), before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (int i = 0; i < 3; ++i) {
      INFO("left " << left << ", listener " << i);
      const auto refused = listeners[static_cast<std::size_t>(i)]->refused();
      RawClient client(listeners[static_cast<std::size_t>(i)]->port());
      if (i < 2 - open_to) {
        CHECK(client.AtEnd());
        CHECK(listeners[static_cast<std::size_t>(i)]->refused() == refused + 1);
      } else {
        CHECK(taker.AwaitTaken(1));
        taker.CloseAll();
      }
    }
  }
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("The process takes as many descriptors as it may, not as few as it was given at first") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit low{256, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  const auto limit = static_cast<rlim_t>(net::RaiseDescriptorLimit());
  rlimit raised{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &raised) == 0);
  CHECK(raised.rlim_cur == before.rlim_max);
  CHECK((limit == before.rlim_max || before.rlim_max > static_cast<rlim_t>(INT64_MAX)));
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}
