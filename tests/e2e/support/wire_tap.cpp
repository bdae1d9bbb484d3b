// One thread polls all of it: each connection has two descriptors, and what is readable on one is written to the other.
#include "tests/e2e/support/wire_tap.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"

namespace tollgate::e2e {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

}  // namespace

struct WireTap::Impl {
  int server_port = 0;
  int listener = -1;
  int port = 0;
  std::atomic<bool> stop{false};
  mutable std::mutex mu;
  std::string bytes;
  std::map<int, int> peers;  // Both ways.
  std::map<int, bool> from_server;
  std::jthread thread;

  void Accept() {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) return;
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = Loopback(server_port);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      ::close(client);
      ::close(server);
      return;
    }
    peers[client] = server;
    peers[server] = client;
    from_server[client] = false;
    from_server[server] = true;
  }

  void Pump(int fd) {
    char buffer[16384];
    const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
    const int peer = peers[fd];
    if (count <= 0) {
      for (const int one : {fd, peer}) {
        ::close(one);
        peers.erase(one);
        from_server.erase(one);
      }
      return;
    }
    if (from_server[fd]) {
      std::lock_guard lock(mu);
      bytes.append(buffer, static_cast<std::size_t>(count));
    }
    for (ssize_t sent = 0; sent < count;) {
      const ssize_t now = ::send(peer, buffer + sent, static_cast<std::size_t>(count - sent), MSG_NOSIGNAL);
      if (now <= 0) return;
      sent += now;
    }
  }

  void Run() {
    while (!stop) {
      std::vector<pollfd> fds = {{listener, POLLIN, 0}};
      for (const auto& [fd, peer] : peers) fds.push_back({fd, POLLIN, 0});
      if (::poll(fds.data(), fds.size(), 50) <= 0) continue;
      for (std::size_t i = 1; i < fds.size(); ++i) {
        if (fds[i].revents != 0 && peers.contains(fds[i].fd)) Pump(fds[i].fd);
      }
      if (fds[0].revents != 0) Accept();
    }
    for (const auto& [fd, peer] : peers) ::close(fd);
  }
};

WireTap::WireTap(int server_port) : impl_(std::make_unique<Impl>()) {
  impl_->server_port = server_port;
  impl_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at = Loopback(0);
  socklen_t size = sizeof at;
  TG_CHECK(::bind(impl_->listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 && ::listen(impl_->listener, 64) == 0 &&
               ::getsockname(impl_->listener, reinterpret_cast<sockaddr*>(&at), &size) == 0,
           "the wire tap cannot listen");
  impl_->port = ntohs(at.sin_port);
  impl_->thread = std::jthread([impl = impl_.get()] { impl->Run(); });
}

WireTap::~WireTap() {
  impl_->stop = true;
  impl_->thread.join();
  ::close(impl_->listener);
}

int WireTap::port() const { return impl_->port; }

std::string WireTap::bytes() const {
  std::lock_guard lock(impl_->mu);
  return impl_->bytes;
}

}  // namespace tollgate::e2e
