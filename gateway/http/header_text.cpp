// Clients differ in what they make of a header that is not ASCII: Python's httpx and Node's fetch refuse it or send Latin-1, curl sends the
// bytes that it was given.
// Tested by tests/gateway/http/header_text_test.cpp.
#include "gateway/http/header_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/encoding.h"

namespace tollgate::http_front {
namespace {

constexpr std::chrono::milliseconds kDay = std::chrono::hours(24);

// What RFC 8187 marks: the charset, and in quotes a language.
std::optional<std::string_view> Marked(std::string_view value) {
  constexpr std::string_view kCharset = "utf-8'";
  if (value.size() < kCharset.size()) return std::nullopt;
  const auto same = [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b); };
  if (!std::equal(kCharset.begin(), kCharset.end(), value.begin(), same)) return std::nullopt;
  const std::size_t quote = value.find('\'', kCharset.size());
  if (quote == std::string_view::npos) return std::nullopt;
  return value.substr(quote + 1);
}

std::string FromLatin1(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) out += static_cast<char>(0xC0 | byte >> 6);
    out += byte >= 0x80 ? static_cast<char>(0x80 | (byte & 0x3F)) : c;
  }
  return out;
}

}  // namespace

std::string PercentDecode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int value = 0;
    const bool escape = text[i] == '%' && i + 2 < text.size() && std::from_chars(&text[i + 1], &text[i] + 3, value, 16).ptr == &text[i] + 3;
    out += escape ? static_cast<char>(value) : text[i];
    if (escape) i += 2;
  }
  return out;
}

std::string HeaderWords(std::string_view value) {
  if (const auto marked = Marked(value)) return PercentDecode(*marked);
  return base::IsValidUtf8(value) ? std::string(value) : FromLatin1(value);
}

std::optional<std::chrono::milliseconds> HeaderTime(std::string_view value, std::chrono::milliseconds unit) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(number) || number <= 0) return std::nullopt;
  const double most = static_cast<double>(kDay.count());
  return std::chrono::milliseconds(std::llround(std::clamp(number * static_cast<double>(unit.count()), 1.0, most)));
}

}  // namespace tollgate::http_front
