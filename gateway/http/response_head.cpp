// Header values here are numbers, ids and texts of ours; none comes from a client unchecked, so nothing can inject a line.
//
// Tested by tests/gateway/http/error_reply_test.cpp and tests/gateway/http/http_front_test.cpp.
#include "gateway/http/response_head.h"

#include <ctime>
#include <iterator>

#include <fmt/format.h>

namespace tollgate::http_front {
namespace {

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Status";
  }
}

void AppendDate(std::string& out, base::WallTime now) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = static_cast<std::time_t>(base::ToMicros(now) / 1'000'000);
  std::tm t{};
  gmtime_r(&seconds, &t);
  fmt::format_to(std::back_inserter(out), "date: {}, {:02} {} {} {:02}:{:02}:{:02} GMT\r\n", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon],
                 t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace

std::string FormatHead(const ResponseHead& head, const Headers& headers, base::WallTime now) {
  std::string out;
  out.reserve(1024);
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", head.status, ReasonOf(head.status));
  AppendDate(out, now);
  if (!head.content_type.empty()) fmt::format_to(std::back_inserter(out), "content-type: {}\r\n", head.content_type);
  if (head.content_length) {
    fmt::format_to(std::back_inserter(out), "content-length: {}\r\n", *head.content_length);
  } else if (!head.http_1_0) {
    out += "transfer-encoding: chunked\r\n";
  }
  if (!head.keep_alive) {
    out += "connection: close\r\n";
  } else if (head.http_1_0) {
    out += "connection: keep-alive\r\n";
  }
  for (const auto& [name, value] : headers) out.append(name).append(": ").append(value).append("\r\n");
  out += "\r\n";
  return out;
}

std::string FormatChunk(std::string_view data) {
  if (data.empty()) return "";
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

}  // namespace tollgate::http_front
