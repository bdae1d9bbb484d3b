// Runs of plain bytes are copied whole; only quotes, backslashes and control characters are escaped, so UTF-8 stays as it is.
//
// Tested by tests/gateway/http/chat_reply_test.cpp.
#include "gateway/http/json_out.h"

#include <cstddef>

#include "base/encoding.h"

namespace tollgate::http_front {
namespace {

void AppendEscaped(std::string& out, unsigned char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

// Every byte that starts no whole code point becomes U+FFFD.
std::string Repair(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t length = 0;
    for (std::size_t n = 1; n <= 4 && n <= text.size() && length == 0; ++n) {
      if (base::IsValidUtf8(text.substr(0, n))) length = n;
    }
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      length = 1;
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  if (!base::IsValidUtf8(text)) return AppendJsonString(out, Repair(text));
  out += '"';
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text.substr(plain, i - plain));
    AppendEscaped(out, c);
    plain = i + 1;
  }
  out.append(text.substr(plain));
  out += '"';
}

void AppendJsonStringOrNull(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    AppendJsonString(out, text);
  }
}

}  // namespace tollgate::http_front
