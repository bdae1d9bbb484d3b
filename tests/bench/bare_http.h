// A bare Boost.Beast server: parses requests, answers each at once with given bytes, on two threads.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace tollgate::bench {

struct HttpAnswers {
  std::size_t head_bytes;  // Heads are as long as the gateway's.
  std::string body;
  std::size_t sse_head_bytes;
  std::vector<std::string> chunks;  // To requests that hold "stream":true.
};

// Serves for ever. `ready` is told the port.
void ServeBareHttp(const HttpAnswers& answers, const std::function<void(int port)>& ready);

}  // namespace tollgate::bench
