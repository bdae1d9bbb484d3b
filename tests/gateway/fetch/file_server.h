// An HTTP server of one file for tests: knows ranges, if it shall, and breaks off where it shall. On loopback, any free port.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace tollgate::test {

class FileServer {
 public:
  FileServer(std::string path, std::string body);
  ~FileServer();

  std::string Url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  std::vector<std::string> requests() const;  // Their heads, in order.
  // Done once, when the next request has been read and before it is answered.
  void Meanwhile(std::function<void()> what);
  // What every request is answered from now on, head and body as they are. Empty: the file again.
  void AnswerWith(std::string answer);

  std::atomic<bool> knows_ranges{true};
  std::atomic<std::size_t> cut_after{SIZE_MAX};  // Bytes of a body, after which the connection breaks.

 private:
  void Serve();
  void Answer(int connection);

  const std::string path_;
  const std::string body_;
  int listener_ = -1;
  int port_ = 0;
  mutable base::Mutex mu_;
  std::vector<std::string> requests_ GUARDED_BY(mu_);
  std::function<void()> meanwhile_ GUARDED_BY(mu_);
  std::string instead_ GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace tollgate::test
