// A blocking HTTP client that sends any bytes and shows what comes, byte for byte. Waits end after 30 s.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <catch2/catch_test_macros.hpp>

namespace tollgate::testing {

struct RawResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // Lower-case names.
  std::string body;                            // Chunks joined.
  bool complete = false;                       // False: the connection ended before the body did.
};

class RawClient {
 public:
  RawClient() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(fd_ >= 0);
    const timeval wait{.tv_sec = 30, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  }
  explicit RawClient(std::uint16_t port) : RawClient() { REQUIRE(Connect(port)); }
  ~RawClient() { Close(); }
  RawClient(RawClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool Connect(std::uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int fd() const { return fd_; }

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // The server has closed; what it said is still there to read.
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  // Reads until the text has come; false at the connection's end.
  bool ReadUntil(std::string_view text, std::string& all) {
    std::size_t at = 0;
    for (std::size_t from = 0; (at = buffer_.find(text, from)) == std::string::npos;) {
      from = buffer_.size() < text.size() ? 0 : buffer_.size() - text.size() + 1;  // Of megabytes each is looked at once.
      if (!More()) return false;
    }
    all = buffer_.substr(0, at + text.size());
    buffer_.erase(0, all.size());
    return true;
  }

  std::string ReadToEnd() {
    while (More()) {
    }
    return std::exchange(buffer_, {});
  }

  bool AtEnd() { return buffer_.empty() && !More(); }

  RawResponse Read() {
    RawResponse response;
    std::string head;
    if (!ReadUntil("\r\n\r\n", head)) return response;
    response.status = std::atoi(head.substr(9, 3).c_str());
    std::size_t at = head.find("\r\n") + 2;
    while (at + 2 < head.size()) {
      const std::size_t end = head.find("\r\n", at);
      const std::size_t colon = head.find(": ", at);
      response.headers[head.substr(at, colon - at)] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    if (response.headers.contains("content-length")) {
      ReadBody(response, std::strtoull(response.headers["content-length"].c_str(), nullptr, 10));
    } else if (response.headers.contains("transfer-encoding")) {
      ReadChunks(response);
    } else {
      response.body = ReadToEnd();
      response.complete = true;
    }
    return response;
  }

 private:
  bool More() {
    char bytes[16384];
    const ssize_t count = recv(fd_, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }
  bool Fill(std::size_t bytes) {
    while (buffer_.size() < bytes) {
      if (!More()) return false;
    }
    return true;
  }
  void ReadBody(RawResponse& response, std::size_t length) {
    response.complete = Fill(length);
    response.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
  }
  void ReadChunks(RawResponse& response) {
    std::string line;
    while (ReadUntil("\r\n", line)) {
      const std::size_t length = std::strtoull(line.c_str(), nullptr, 16);
      if (!Fill(length + 2)) return;
      response.body += buffer_.substr(0, length);
      buffer_.erase(0, length + 2);
      if (length == 0) {
        response.complete = true;
        return;
      }
    }
  }

  int fd_;
  std::string buffer_;
};

// A request with a body, or without one when it is empty.
inline std::string Request(std::string_view method, std::string_view target, std::string_view body = "", std::string_view headers = "") {
  std::string out =
      std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tg_test\r\n" + std::string(headers);
  if (!body.empty()) out += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  return out + "\r\n" + std::string(body);
}

}  // namespace tollgate::testing
