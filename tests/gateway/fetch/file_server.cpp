#include "tests/gateway/fetch/file_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status.h"

namespace tollgate::test {

FileServer::FileServer(std::string path, std::string body) : path_(std::move(path)), body_(std::move(body)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  TG_CHECK(::bind(listener_, any, size) == 0 && ::listen(listener_, 8) == 0, "a test's server cannot listen");
  TG_CHECK(::getsockname(listener_, any, &size) == 0, "a test's server has no port");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

FileServer::~FileServer() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
}

std::vector<std::string> FileServer::requests() const {
  base::Lock lock(mu_);
  return requests_;
}

void FileServer::Meanwhile(std::function<void()> what) {
  base::Lock lock(mu_);
  meanwhile_ = std::move(what);
}

void FileServer::AnswerWith(std::string answer) {
  base::Lock lock(mu_);
  instead_ = std::move(answer);
}

void FileServer::Serve() {
  for (;;) {
    const int connection = ::accept(listener_, nullptr, nullptr);
    if (connection < 0) return;
    Answer(connection);
    ::close(connection);
  }
}

void FileServer::Answer(int connection) {
  std::string head;
  char buffer[4096];
  while (head.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got <= 0) return;
    head.append(buffer, static_cast<std::size_t>(got));
  }
  std::function<void()> meanwhile;
  std::string instead;
  {
    base::Lock lock(mu_);
    requests_.push_back(head);
    meanwhile = std::exchange(meanwhile_, nullptr);
    instead = instead_;
  }
  if (meanwhile) meanwhile();
  std::string answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnothing";
  if (head.starts_with("GET " + path_ + " ")) {
    const std::size_t at = head.find("Range: bytes=");
    const bool ranged = knows_ranges && at != std::string::npos;
    const std::size_t from = ranged ? std::stoul(head.substr(at + 13)) : 0;
    if (from >= body_.size()) {
      answer = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    } else {
      answer = fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", ranged ? "206 Partial Content" : "200 OK",
                           body_.size() - from);
      answer += body_.substr(from, cut_after);
    }
  }
  if (!instead.empty()) answer = instead;
  for (std::size_t sent = 0; sent < answer.size();) {
    const ssize_t some = ::send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
    if (some <= 0) return;
    sent += static_cast<std::size_t>(some);
  }
}

}  // namespace tollgate::test
