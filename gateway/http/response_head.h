// The head of an HTTP response as text. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "gateway/http/error_reply.h"

namespace tollgate::http_front {

struct ResponseHead {
  int status = 200;
  std::string_view content_type;              // Empty: no such header.
  std::optional<std::size_t> content_length;  // Absent: a stream.
  bool http_1_0 = false;                      // The request's version: a stream then ends with the connection instead of being chunked.
  bool keep_alive = true;
};

std::string FormatHead(const ResponseHead& head, const Headers& headers, base::WallTime now);

// One chunk of a chunked body; empty for no data, which would end it.
std::string FormatChunk(std::string_view data);

}  // namespace tollgate::http_front
