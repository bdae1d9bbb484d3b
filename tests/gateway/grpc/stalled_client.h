// A gRPC client, byte for byte, that grants no window but what it is told to: it calls, answers pings, and can else be sent no message.
// Waits end after 30 s.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/gateway/http/raw_client.h"

namespace tollgate::testing {

class StalledClient {
 public:
  explicit StalledClient(std::uint16_t port) : client_(port) {
    const std::string no_window("\0\4\0\0\0\0", 6);  // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    client_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, no_window));
  }

  // `method` as "/tollgate.v1.Inference/Chat", `message` in protobuf's bytes. Returns the call's stream.
  std::uint32_t Call(const std::string& method, const std::string& bearer, const std::string& message = "") {
    const std::uint32_t stream = std::exchange(next_, next_ + 2);
    const std::vector<std::pair<std::string, std::string>> headers = {{":method", "POST"},
                                                                      {":scheme", "http"},
                                                                      {":path", method},
                                                                      {":authority", "x"},
                                                                      {"te", "trailers"},
                                                                      {"content-type", "application/grpc"},
                                                                      {"authorization", "Bearer " + bearer}};
    std::string block;
    for (const auto& [name, value] : headers) block += '\0' + Text(name) + Text(value);  // Literals, not indexed.
    client_.Send(Frame(kHeaders, kEndHeaders, stream, block) +
                 Frame(kData, kEndStream, stream, '\0' + Number(static_cast<std::uint32_t>(message.size())) + message));
    return stream;
  }

  // False: the connection ended, or 30 s passed, and the stream was not reset.
  bool AwaitReset(std::uint32_t stream) {
    while (!reset_.contains(stream)) {
      if (!ReadFrame()) return false;
    }
    return true;
  }
  // It may be sent so many bytes more of this stream's messages.
  void Grant(std::uint32_t stream, std::uint32_t bytes) {
    client_.Send(Frame(kWindow, 0, 0, Number(bytes)) + Frame(kWindow, 0, stream, Number(bytes)));
  }
  // So many have come in all. False: the connection or the stream ended before, or 30 s passed.
  bool AwaitBytes(std::uint32_t stream, std::size_t bytes) {
    while (message_bytes_[stream] < bytes) {
      if (reset_.contains(stream) || ended_streams_.contains(stream) || !ReadFrame()) return false;
    }
    return true;
  }
  // The call's end, with its status. False: it was reset, or the connection ended, or 30 s passed.
  bool AwaitStatus(std::uint32_t stream) {
    while (!ended_streams_.contains(stream)) {
      if (reset_.contains(stream) || !ReadFrame()) return false;
    }
    return true;
  }
  // False: 30 s passed, and the server has not closed the connection.
  bool AwaitEnd() {
    while (ReadFrame()) {
    }
    return ended_;
  }
  bool got_message() const { return !message_bytes_.empty(); }

 private:
  static constexpr char kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kWindow = 8;
  static constexpr char kEndStream = 1, kAck = 1, kEndHeaders = 4;

  static std::string Number(std::uint32_t n) {
    return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
  }
  static std::uint32_t NumberAt(std::string_view bytes, std::size_t at, std::size_t size) {
    std::uint32_t n = 0;
    for (std::size_t i = at; i < at + size; ++i) n = n << 8 | static_cast<unsigned char>(bytes[i]);
    return n;
  }
  static std::string Frame(char type, char flags, std::uint32_t stream, const std::string& payload) {
    return Number(static_cast<std::uint32_t>(payload.size())).substr(1) + type + flags + Number(stream) + payload;
  }
  // A string of HPACK.
  static std::string Text(const std::string& text) {
    std::size_t size = text.size();
    if (size < 127) return static_cast<char>(size) + text;
    std::string out(1, '\x7f');
    for (size -= 127; size >= 128; size /= 128) out += static_cast<char>(size % 128 + 128);
    return out + static_cast<char>(size) + text;
  }

  bool Fill(std::size_t bytes) {
    while (buffer_.size() < bytes) {
      char more[4096];
      const ssize_t count = recv(client_.fd(), more, sizeof more, 0);
      ended_ = count == 0 || (count < 0 && errno == ECONNRESET);  // Reset: with our last answer to a ping unread.
      if (count <= 0) return false;
      buffer_.append(more, static_cast<std::size_t>(count));
    }
    return true;
  }

  bool ReadFrame() {
    constexpr std::size_t kHead = 9;
    if (!Fill(kHead)) return false;
    const std::size_t size = NumberAt(buffer_, 0, 3);
    const char type = buffer_[3];
    const bool ack = (buffer_[4] & kAck) != 0, end = (buffer_[4] & kEndStream) != 0;
    const std::uint32_t stream = NumberAt(buffer_, 5, 4);
    if (!Fill(kHead + size)) return false;
    const std::string payload = buffer_.substr(kHead, size);
    buffer_.erase(0, kHead + size);
    if (type == kReset) reset_.insert(stream);
    if (type == kData && size > 0) message_bytes_[stream] += size;
    if (type == kHeaders && end) ended_streams_.insert(stream);
    if (type == kPing && !ack) client_.Send(Frame(kPing, kAck, 0, payload));
    if (type == kSettings && !ack) client_.Send(Frame(kSettings, kAck, 0, ""));
    return true;
  }

  RawClient client_;
  std::uint32_t next_ = 1;
  std::string buffer_;
  std::set<std::uint32_t> reset_, ended_streams_;
  std::map<std::uint32_t, std::size_t> message_bytes_;
  bool ended_ = false;
};

}  // namespace tollgate::testing
