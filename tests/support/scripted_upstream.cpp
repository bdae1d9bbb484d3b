// How it works. Plain sockets and blocking reads; the destructor shuts every socket down, which ends each thread's wait. Gates that a
// handler waits at must be open by then.
//
// Tested by tests/base/http_client_test.cpp.
#include "tests/support/scripted_upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <list>

#include <fmt/format.h>

#include "base/status.h"

namespace tollgate::test {
namespace {

using Request = ScriptedUpstream::Request;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// A connection, plain or in TLS.
class Wire {
 public:
  Wire(int fd, SSL_CTX* tls) : fd_(fd) {
    if (tls == nullptr) return;
    ssl_.reset(SSL_new(tls));
    SSL_set_fd(ssl_.get(), fd);
    sound_ = SSL_accept(ssl_.get()) == 1;
  }
  ~Wire() { ::close(fd_); }

  bool sound() const { return sound_; }
  int fd() const { return fd_; }
  void Send(std::string_view bytes) {
    while (sound_ && !bytes.empty()) {
      const auto sent = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                             : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) {
        sound_ = false;
      } else {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      }
    }
  }
  // Appends what comes. False: nothing will.
  bool Receive(std::string& bytes) {
    char buffer[16384];
    const auto got = ssl_ ? SSL_read(ssl_.get(), buffer, sizeof buffer) : ::recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    bytes.append(buffer, static_cast<std::size_t>(got));
    return true;
  }
  void Cut() {
    sound_ = false;
    ::shutdown(fd_, SHUT_RDWR);
  }

 private:
  int fd_;
  std::unique_ptr<SSL, SslFree> ssl_;
  bool sound_ = true;
};

class WireExchange final : public ScriptedUpstream::Exchange {
 public:
  WireExchange(Request request, Wire& wire, const std::atomic<bool>& closing)
      : request_(std::move(request)), wire_(wire), closing_(closing) {}
  const Request& request() const override { return request_; }
  void Reply(int status, std::string_view body, std::string_view fields) override {
    wire_.Send(fmt::format("HTTP/1.1 {} as told\r\ncontent-type: application/json\r\n{}content-length: {}\r\n\r\n{}", status, fields,
                           body.size(), body));
  }
  void Begin(int status) override {
    wire_.Send(fmt::format("HTTP/1.1 {} as told\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n", status));
  }
  void Write(std::string_view bytes) override { wire_.Send(fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes)); }
  void End() override { wire_.Send("0\r\n\r\n"); }
  bool Raw(std::string_view bytes) override {
    wire_.Send(bytes);
    return wire_.sound();
  }
  void Cut() override { wire_.Cut(); }
  bool WaitGone() override {
    pollfd waiting{wire_.fd(), POLLRDHUP, 0};
    while (!closing_.load()) {
      if (::poll(&waiting, 1, 50) > 0) return !closing_.load();
    }
    return false;
  }

 private:
  Request request_;
  Wire& wire_;
  const std::atomic<bool>& closing_;
};

// Takes one request off `bytes`, receiving more as needed.
bool ReadRequest(Wire& wire, std::string& bytes, Request& request) {
  std::size_t end = 0;
  while ((end = bytes.find("\r\n\r\n")) == std::string::npos) {
    if (!wire.Receive(bytes)) return false;
  }
  std::string_view head(bytes.data(), end);
  const std::string_view line = head.substr(0, head.find("\r\n"));
  request.method = line.substr(0, line.find(' '));
  request.path = line.substr(request.method.size() + 1, line.rfind(' ') - request.method.size() - 1);
  for (std::size_t at = line.size() + 2; at < head.size();) {
    const std::size_t stop = std::min(head.find("\r\n", at), head.size());
    const std::string_view field = head.substr(at, stop - at);
    std::string name(field.substr(0, field.find(':')));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers[name] = field.substr(std::min(field.find(": ") + 2, field.size()));
    at = stop + 2;
  }
  const auto length = request.headers.find("content-length");
  const std::size_t size = length == request.headers.end() ? 0 : std::stoul(length->second);
  while (bytes.size() < end + 4 + size) {
    if (!wire.Receive(bytes)) return false;
  }
  request.body = bytes.substr(end + 4, size);
  bytes.erase(0, end + 4 + size);
  return true;
}

}  // namespace

struct ScriptedUpstream::Impl {
  Handler handler;
  bool handles_health = false;
  SSL_CTX* tls = nullptr;
  std::atomic<int> listener{-1};
  int port = 0;
  std::atomic<bool> closing{false};
  mutable std::mutex mu;
  mutable std::condition_variable cv;
  std::vector<Request> requests;
  std::vector<int> open;
  int connections = 0;
  std::list<std::thread> threads;
  std::thread acceptor;

  void Accept() {
    for (;;) {
      const int fd = ::accept4(listener.load(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      std::lock_guard lock(mu);
      if (closing) {
        ::close(fd);
        return;
      }
      open.push_back(fd);
      threads.emplace_back([this, fd, number = ++connections] { Serve(fd, number); });
    }
  }

  void Serve(int fd, int number) {
    Wire wire(fd, tls);
    {
      std::string bytes;
      Request request;
      request.connection = number;
      while (wire.sound() && ReadRequest(wire, bytes, request)) {
        const bool health = request.path == "/health";
        if (!health) {
          std::lock_guard lock(mu);
          requests.push_back(request);
          cv.notify_all();
        }
        WireExchange exchange(std::exchange(request, {}), wire, closing);
        request.connection = number;
        if (health && !handles_health) {
          exchange.Reply(200, "{}", "");
        } else {
          handler(exchange);
        }
      }
    }
    std::lock_guard lock(mu);
    std::erase(open, fd);  // Before it is closed, and its number another's.
  }
};

ScriptedUpstream::ScriptedUpstream(Handler handler, bool handles_health, TlsFiles tls) : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  impl_->handles_health = handles_health;
  if (!tls.certificate.empty()) {
    ::signal(SIGPIPE, SIG_IGN);
    impl_->tls = SSL_CTX_new(TLS_server_method());
    TG_CHECK(SSL_CTX_use_certificate_chain_file(impl_->tls, tls.certificate.c_str()) == 1, "the scripted server's certificate");
    TG_CHECK(SSL_CTX_use_PrivateKey_file(impl_->tls, tls.key.c_str(), SSL_FILETYPE_PEM) == 1, "the scripted server's key");
    TG_CHECK(SSL_CTX_load_verify_locations(impl_->tls, tls.client_ca.c_str(), nullptr) == 1, "the scripted server's authority");
    if (tls.old) SSL_CTX_set_max_proto_version(impl_->tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(impl_->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  impl_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  TG_CHECK(::bind(impl_->listener, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(impl_->listener, 64) == 0 &&
               ::getsockname(impl_->listener, reinterpret_cast<sockaddr*>(&address), &size) == 0,
           "a listener of the scripted server");
  impl_->port = ntohs(address.sin_port);
  impl_->acceptor = std::thread([impl = impl_.get()] { impl->Accept(); });
}

ScriptedUpstream::~ScriptedUpstream() {
  {
    std::lock_guard lock(impl_->mu);
    impl_->closing = true;
    for (const int fd : impl_->open) ::shutdown(fd, SHUT_RDWR);
  }
  Refuse();
  for (std::thread& thread : impl_->threads) thread.join();
  SSL_CTX_free(impl_->tls);
}

void ScriptedUpstream::Refuse() {
  if (!impl_->acceptor.joinable()) return;
  ::shutdown(impl_->listener, SHUT_RDWR);
  impl_->acceptor.join();
  ::close(impl_->listener);
}

std::string ScriptedUpstream::url() const {
  return fmt::format("{}://127.0.0.1:{}", impl_->tls == nullptr ? "http" : "https", impl_->port);
}

std::vector<ScriptedUpstream::Request> ScriptedUpstream::requests() const {
  std::lock_guard lock(impl_->mu);
  return impl_->requests;
}

void ScriptedUpstream::WaitForRequests(std::size_t count) const {
  std::unique_lock lock(impl_->mu);
  TG_CHECK(impl_->cv.wait_for(lock, std::chrono::minutes(3), [&] { return impl_->requests.size() >= count; }),
           "the scripted server was not asked for three minutes");
}

void Gate::Open() {
  {
    std::lock_guard lock(mu_);
    open_ = true;
  }
  cv_.notify_all();
}

void Gate::Wait() {
  std::unique_lock lock(mu_);
  TG_CHECK(cv_.wait_for(lock, std::chrono::minutes(3), [this] { return open_; }), "nobody opened a gate for three minutes");
}

}  // namespace tollgate::test
