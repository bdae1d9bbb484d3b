#include "tests/e2e/support/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include <fmt/format.h>
#include <boost/json.hpp>

namespace tollgate::e2e {

HttpConnection::HttpConnection(int port, std::chrono::milliseconds patience, int receive_buffer) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return;
  const timeval wait{.tv_sec = patience.count() / 1000, .tv_usec = patience.count() % 1000 * 1000};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) Close();
}

HttpConnection::~HttpConnection() { Close(); }

void HttpConnection::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void HttpConnection::Reset() {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  Close();
}

void HttpConnection::Shutdown() { ::shutdown(fd_, SHUT_WR); }

bool HttpConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool HttpConnection::More() {
  char bytes[16384];
  const ssize_t count = ::recv(fd_, bytes, sizeof bytes, 0);
  if (count <= 0) return false;
  wire_.append(bytes, static_cast<std::size_t>(count));
  return true;
}

bool HttpConnection::Fill(std::size_t bytes) {
  while (wire_.size() - at_ < bytes) {
    if (!More()) return false;
  }
  return true;
}

bool HttpConnection::ReadUntil(std::string_view text) {
  while (wire_.find(text, at_) == std::string::npos) {
    if (!More()) return false;
  }
  return true;
}

bool HttpConnection::ReadToEnd() {
  for (;;) {
    char bytes[16384];
    const ssize_t count = ::recv(fd_, bytes, sizeof bytes, 0);
    if (count == 0) return true;
    if (count < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
    wire_.append(bytes, static_cast<std::size_t>(count));
  }
}

HttpReply HttpConnection::ReadHead() {
  HttpReply reply;
  if (!ReadUntil("\r\n\r\n")) return reply;
  const std::size_t head_end = wire_.find("\r\n\r\n", at_) + 4;
  const std::string head = wire_.substr(at_, head_end - at_);
  at_ = head_end;
  reply.status = std::atoi(head.substr(9, 3).c_str());
  for (std::size_t line = head.find("\r\n") + 2; line + 2 < head.size();) {
    const std::size_t end = head.find("\r\n", line);
    const std::size_t colon = head.find(':', line);
    std::string name = head.substr(line, colon - line);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::size_t value = head.find_first_not_of(' ', colon + 1);
    reply.headers[name] = value < end ? head.substr(value, end - value) : "";
    line = end + 2;
  }
  return reply;
}

bool HttpConnection::ReadChunk(std::string& data) {
  data.clear();
  if (ReadUntil("\r\n")) {
    const std::size_t length = std::strtoull(wire_.c_str() + at_, nullptr, 16);
    at_ = wire_.find("\r\n", at_) + 2;
    const bool whole = Fill(length + 2);
    data = wire_.substr(at_, length);
    at_ += whole ? length + 2 : wire_.size() - at_;
    if (whole) return length > 0;
  }
  Close();
  return false;
}

HttpReply HttpConnection::Read() {
  HttpReply reply = ReadHead();
  if (reply.status == 0) return reply;
  if (reply.headers.contains("content-length")) {
    const std::size_t length = std::strtoull(reply.headers["content-length"].c_str(), nullptr, 10);
    reply.complete = Fill(length);
    reply.body = wire_.substr(at_, length);
    at_ += reply.body.size();
  } else if (reply.headers["transfer-encoding"] == "chunked") {
    std::string data;
    while (ReadChunk(data)) reply.body += data;
    reply.body += data;
    reply.complete = connected();
  } else {
    reply.complete = ReadToEnd();
    reply.body = wire_.substr(at_);
    at_ = wire_.size();
  }
  return reply;
}

std::string JsonQuote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string ChatBody(const HttpAsk& ask) {
  std::string body = fmt::format(R"({{"model":{},"messages":[)", JsonQuote(ask.model));
  if (!ask.system.empty()) body += fmt::format(R"({{"role":"system","content":{}}},)", JsonQuote(ask.system));
  body += fmt::format(R"({{"role":"user","content":{}}}])", JsonQuote(ask.prompt));
  if (ask.stream) body += R"(,"stream":true,"stream_options":{"include_usage":true})";
  if (ask.max_tokens > 0) body += fmt::format(R"(,"max_tokens":{})", ask.max_tokens);
  return body + ask.more_fields + "}";
}

std::string Post(std::string_view path, std::string_view key, std::string_view body, std::string_view more_headers) {
  std::string out =
      fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", path, body.size());
  if (!key.empty()) out += fmt::format("Authorization: Bearer {}\r\n", key);
  return out + std::string(more_headers) + "\r\n" + std::string(body);
}

std::string PostChat(const HttpAsk& ask) { return Post("/v1/chat/completions", ask.key, ChatBody(ask), ask.more_headers); }

HttpReply Get(int port, std::string_view path, std::string_view key) {
  HttpConnection connection(port);
  std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", path);
  if (!key.empty()) request += fmt::format("Authorization: Bearer {}\r\n", key);
  if (!connection.connected() || !connection.Send(request + "\r\n")) return {};
  return connection.Read();
}

std::vector<std::string> Events(std::string_view body) {
  std::vector<std::string> out;
  while (!body.empty()) {
    const std::size_t end = body.find("\n\n");
    if (end == std::string_view::npos) break;
    if (body.starts_with("data: ")) out.emplace_back(body.substr(6, end - 6));
    body.remove_prefix(end + 2);
  }
  return out;
}

std::string JsonAt(const std::string& json, std::string_view path) {
  boost::system::error_code error;
  const boost::json::value root = boost::json::parse(json, error);
  const boost::json::value* at = error ? nullptr : &root;
  while (at != nullptr && !path.empty()) {
    const std::size_t dot = path.find('.');
    const std::string step(path.substr(0, dot));
    path.remove_prefix(dot == std::string_view::npos ? path.size() : dot + 1);
    if (at->is_array()) {
      const std::size_t index = std::strtoull(step.c_str(), nullptr, 10);
      at = index < at->as_array().size() ? &at->as_array()[index] : nullptr;
    } else {
      at = at->is_object() ? at->as_object().if_contains(step) : nullptr;
    }
  }
  if (at == nullptr || at->is_null()) return "";
  if (at->is_string()) return std::string(at->as_string());
  return boost::json::serialize(*at);
}

}  // namespace tollgate::e2e
