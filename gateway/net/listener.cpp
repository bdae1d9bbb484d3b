// The acceptor waits for readability and then accepts by hand (accept4), because Asio's own accept gives no say when descriptors run out.
// All uses of the acceptor and each call of the handler happen under one mutex, so that Stop() means stopped.
//
// Out of descriptors: close the spare one, accept into its place, close the newcomer, open the spare again. Should another thread snatch
// the freed descriptor in between, wait a moment and go on: the newcomer stays in the backlog. The kernel's readiness is level-triggered
// here (each async_wait re-arms it), so that nothing that waits is forgotten.
//
// Tested by tests/gateway/net/listener_test.cpp.
#include "gateway/net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/mutex.h"
#include "gateway/net/io_threads.h"
#include "gateway/net/places.h"

namespace tollgate::net {
namespace {

namespace asio = boost::asio;
using Error = boost::system::error_code;

constexpr int kAcceptsPerWake = 64;
constexpr std::chrono::milliseconds kPause{50};
constexpr std::chrono::seconds kWarnEvery{10};

std::string SourceOf(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
  } else if (peer.ss_family == AF_INET6) {
    const in6_addr& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
      inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof text);
    } else {
      inet_ntop(AF_INET6, &address, text, sizeof text);
    }
  }
  return text;
}

int AcceptOne(int listen_fd, sockaddr_storage& peer) {
  socklen_t length = sizeof peer;
  return accept4(listen_fd, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

absl::Status CannotListen(const ListenerOptions& options, const Error& error) {
  return base::FailedPrecondition(
      fmt::format("listener {}: cannot listen on {}:{}: {}; stop the program that holds the port, or configure another", options.name,
                  options.address, options.port, error.message()));
}

// Binds, without listening yet.
absl::Status Take(const ListenerOptions& options, asio::ip::tcp::acceptor& acceptor) {
  Error error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) {
    return base::InvalidArgument(
        fmt::format("listener {}: \"{}\" is not a numeric IPv4 or IPv6 address, for example 127.0.0.1", options.name, options.address));
  }
  const asio::ip::tcp::endpoint endpoint(address, options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  return error ? CannotListen(options, error) : absl::OkStatus();
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

struct Listener::Impl : std::enable_shared_from_this<Listener::Impl> {
  Impl(const ListenerOptions& o, IoThreads& io)
      : options(o),
        acceptor(io.context()),
        pause(io.context()),
        places(std::make_shared<Places>(o.connections_max, o.connections_per_source_max)) {}
  ~Impl() {
    if (spare >= 0) close(spare);
  }

  absl::Status Bind();
  void Wait() REQUIRES(mu);
  void WaitAWhile() REQUIRES(mu);
  void OnReady(const Error& error);
  enum class Spared { kRefusedOne, kNoneWaits, kFailed };
  Spared UseSpare() REQUIRES(mu);
  void Welcome(int fd, const sockaddr_storage& peer) REQUIRES(mu);
  void Refuse(int fd, std::string_view why) REQUIRES(mu);
  bool ShortOfDescriptors(int fd) const;

  const ListenerOptions options;  // Constant after construction.
  std::uint16_t port = 0;         // Constant after Bind.
  std::atomic<std::int64_t> accepted{0};
  std::atomic<std::int64_t> refused{0};
  base::Mutex mu;
  asio::ip::tcp::acceptor acceptor GUARDED_BY(mu);
  asio::steady_timer pause GUARDED_BY(mu);
  Handler handler GUARDED_BY(mu);
  bool stopped GUARDED_BY(mu) = false;
  int spare GUARDED_BY(mu) = -1;
  std::chrono::steady_clock::time_point warned GUARDED_BY(mu){};
  const std::shared_ptr<Places> places;
};

absl::Status Listener::Impl::Bind() {
  const base::Lock lock(mu);
  TG_RETURN_IF_ERROR(Take(options, acceptor));
  Error error;
  acceptor.listen(options.backlog, error);
  if (!error) acceptor.non_blocking(true, error);
  if (error) return CannotListen(options, error);
  port = acceptor.local_endpoint(error).port();
  spare = OpenSpare();
  return absl::OkStatus();
}

void Listener::Impl::Wait() {
  acceptor.async_wait(asio::ip::tcp::acceptor::wait_read, [self = shared_from_this()](const Error& error) { self->OnReady(error); });
}

void Listener::Impl::WaitAWhile() {
  pause.expires_after(kPause);
  pause.async_wait([self = shared_from_this()](const Error& error) { self->OnReady(error); });
}

void Listener::Impl::OnReady(const Error& error) {
  const base::Lock lock(mu);
  if (stopped || error == asio::error::operation_aborted) return;
  for (int i = 0; i < kAcceptsPerWake; ++i) {
    sockaddr_storage peer{};
    const int fd = AcceptOne(acceptor.native_handle(), peer);
    if (fd >= 0) {
      Welcome(fd, peer);
      if (stopped) return;
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    if (errno == EMFILE || errno == ENFILE) {
      const Spared spared = UseSpare();
      if (spared == Spared::kFailed) return WaitAWhile();
      if (spared == Spared::kNoneWaits) break;
      continue;
    }
    if (errno == ENOBUFS || errno == ENOMEM) return WaitAWhile();
    // EMFILE is reported before the kernel looks whether anyone waits. Everything else concerns the one connection that went away before it
    // was accepted.
  }
  Wait();
}

Listener::Impl::Spared Listener::Impl::UseSpare() {
  if (spare >= 0) close(spare);
  sockaddr_storage peer{};
  const int fd = AcceptOne(acceptor.native_handle(), peer);
  const bool nothing_waits = fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  if (fd >= 0) Refuse(fd, "the process has no descriptors left; raise its limit (ulimit -n) or lower connections_max");
  spare = OpenSpare();
  if (fd >= 0) return Spared::kRefusedOne;
  return nothing_waits ? Spared::kNoneWaits : Spared::kFailed;
}

bool Listener::Impl::ShortOfDescriptors(int fd) const {
  rlimit limit{};
  if (options.descriptors_reserved <= 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return false;
  return static_cast<rlim_t>(fd) + static_cast<rlim_t>(options.descriptors_reserved) >= limit.rlim_cur;
}

void Listener::Impl::Welcome(int fd, const sockaddr_storage& peer) {
  if (ShortOfDescriptors(fd))
    return Refuse(fd, "the process is short of descriptors; raise its limit (ulimit -n) or lower connections_max");
  Accepted connection{.fd = fd, .source = SourceOf(peer), .slot = nullptr};
  // Everybody's requests come over a proxy's connections.
  const auto peer_ip = base::ParseIp(connection.source);
  const std::string counted = peer_ip && options.proxies.Contains(*peer_ip) ? "" : connection.source;
  bool placed = false;
  if (options.watch_descriptors) {
    placed = places->TakeWhileOpen(fd, counted);
  } else {
    connection.slot = places->Take(counted);
    placed = connection.slot != nullptr;
  }
  if (!placed) return Refuse(fd, "connections_max or connections_per_source_max is reached");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  accepted.fetch_add(1, std::memory_order_relaxed);
  handler(std::move(connection));
}

void Listener::Impl::Refuse(int fd, std::string_view why) {
  refused.fetch_add(1, std::memory_order_relaxed);
  close(fd);
  const auto now = std::chrono::steady_clock::now();
  if (warned != decltype(warned){} && now - warned < kWarnEvery) return;
  warned = now;
  base::Warn("net", "listener {} closes new connections: {}", options.name, why);
}

Listener::Listener(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::~Listener() { Stop(); }

absl::Status Listener::CheckFree(const ListenerOptions& options) {
  asio::io_context unused;
  asio::ip::tcp::acceptor acceptor(unused);
  return Take(options, acceptor);
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const ListenerOptions& options, IoThreads& io) {
  auto impl = std::make_shared<Impl>(options, io);
  TG_RETURN_IF_ERROR(impl->Bind());
  return std::unique_ptr<Listener>(new Listener(std::move(impl)));
}

void Listener::Start(Handler handler) {
  const base::Lock lock(impl_->mu);
  TG_CHECK(!impl_->handler, "a listener starts once");
  if (impl_->stopped) return;
  impl_->handler = std::move(handler);
  impl_->Wait();
}

void Listener::Stop() {
  Handler dropped;
  const base::Lock lock(impl_->mu);
  if (impl_->stopped) return;
  impl_->stopped = true;
  Error ignored;
  impl_->acceptor.close(ignored);
  impl_->pause.cancel();
  dropped = std::move(impl_->handler);
}

std::uint16_t Listener::port() const { return impl_->port; }
std::int64_t Listener::open() const { return impl_->places->open(); }
std::int64_t Listener::accepted() const { return impl_->accepted.load(std::memory_order_relaxed); }
std::int64_t Listener::refused() const { return impl_->refused.load(std::memory_order_relaxed); }

}  // namespace tollgate::net
