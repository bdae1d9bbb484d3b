// HTTP at the level of the socket: sends any bytes, keeps every byte that comes. No assertions: for any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tollgate::e2e {

struct HttpReply {
  int status = 0;                              // 0: no answer came.
  std::map<std::string, std::string> headers;  // Lower-case names.
  std::string body;                            // Chunks joined.
  bool complete = false;                       // False: the connection ended, or the wait, before the body did.
};

// One connection to 127.0.0.1. A wait ends after `patience`.
class HttpConnection {
 public:
  explicit HttpConnection(int port, std::chrono::milliseconds patience = std::chrono::milliseconds(30'000), int receive_buffer = 0);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  bool connected() const { return fd_ >= 0; }
  bool Send(std::string_view bytes);  // False: the other side has closed.
  // Reads until `text` has come, counted from what was not consumed yet; false at the end of connection or wait.
  bool ReadUntil(std::string_view text);
  HttpReply Read();                   // One whole answer.
  HttpReply ReadHead();               // Of an answer in chunks, which then come one by one;
  bool ReadChunk(std::string& data);  // false: the last one was read (then empty), or the connection broke (then not connected).
  bool ReadToEnd();                   // False: the wait ended first.
  void Close();                       // In order.
  void Reset();                       // With RST.
  void Shutdown();                    // The sending side alone.
  const std::string& wire() const { return wire_; }  // All that ever came.

 private:
  bool More();
  bool Fill(std::size_t bytes);

  int fd_ = -1;
  std::string wire_;
  std::size_t at_ = 0;  // What of it was consumed.
};

std::string JsonQuote(std::string_view text);  // With the quotes.

struct HttpAsk {
  std::string key;
  std::string model = "scripted";
  std::string prompt;
  bool stream = false;
  std::int64_t max_tokens = 0;
  std::string system;        // A system message before it.
  std::string more_fields;   // ,"temperature":0
  std::string more_headers;  // Lines with their \r\n.
};
std::string ChatBody(const HttpAsk& ask);
std::string PostChat(const HttpAsk& ask);  // The whole request, head and body.
std::string Post(std::string_view path, std::string_view key, std::string_view body, std::string_view more_headers = "");

HttpReply Get(int port, std::string_view path, std::string_view key = "");

// The data of each server-sent event.
std::vector<std::string> Events(std::string_view body);

// The value at a path such as "choices.0.delta.content" of a JSON text, as text; empty where there is none or it is null.
std::string JsonAt(const std::string& json, std::string_view path);

}  // namespace tollgate::e2e
