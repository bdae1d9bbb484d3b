// ScriptedUpstream: an HTTP server on loopback, on any free port, that does what a test tells it to, byte by byte: answers, stalls, cuts,
// floods. One thread a connection. With certificates it speaks TLS and asks its clients for theirs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace tollgate::test {

// Files in PEM.
struct TlsFiles {
  std::string certificate;
  std::string key;
  std::string client_ca;  // Clients must show a certificate of it.
  bool old = false;       // TLS 1.2 at most.
};

class ScriptedUpstream {
 public:
  struct Request {
    std::string method;
    std::string path;
    std::map<std::string, std::string> headers;  // Lower-case names.
    std::string body;
    int connection = 0;  // Counted from 1.
  };

  // One request and the way back. What is sent after the client has gone is dropped.
  class Exchange {
   public:
    virtual ~Exchange() = default;
    virtual const Request& request() const = 0;
    // A whole answer; the connection stays. `fields`: further lines of its head, each with its end.
    virtual void Reply(int status, std::string_view body, std::string_view fields = {}) = 0;
    virtual void Begin(int status = 200) = 0;        // A stream of events, in chunks;
    virtual void Write(std::string_view bytes) = 0;  // one chunk;
    virtual void End() = 0;                          // its end; the connection stays.
    virtual bool Raw(std::string_view bytes) = 0;    // These bytes. False: they cannot be sent, the client has gone.
    virtual void Cut() = 0;                          // Closes the connection as it is.
    virtual bool WaitGone() = 0;                     // Until the client has closed. False: the server is being destroyed.
  };
  using Handler = std::function<void(Exchange&)>;

  // GET /health is answered with 200 where the handler gives no answer of its own (`handles_health`).
  explicit ScriptedUpstream(Handler handler, bool handles_health = false, TlsFiles tls = {});
  ~ScriptedUpstream();

  std::string url() const;
  std::vector<Request> requests() const;  // Those that are not for /health, in the order in which they came.
  void WaitForRequests(std::size_t count) const;
  void Refuse();  // Closes the listener: new connections are refused; those that stand, stay.

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

// A gate that a handler waits at until the test opens it.
class Gate {
 public:
  void Open();
  void Wait();

 private:
  std::mutex mu_;
  std::condition_variable cv_;
  bool open_ = false;
};

}  // namespace tollgate::test
