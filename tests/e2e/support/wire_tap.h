// A relay on TCP that keeps every byte the server sends: what a wire-tap at the client would see, also of gRPC.
#pragma once

#include <memory>
#include <string>

namespace tollgate::e2e {

class WireTap {
 public:
  explicit WireTap(int server_port);  // On 127.0.0.1.
  ~WireTap();
  int port() const;
  std::string bytes() const;  // From the server, of all connections so far.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::e2e
