// What follows the backslashes decides; of a code that is half a character the other half is looked for behind as many backslashes.
//
// Tested by tests/policy/plain_form_test.cpp.
#include "policy/json_escape.h"

#include <algorithm>
#include <cstdint>

#include "base/encoding.h"

namespace tollgate::policy {
namespace {

constexpr std::int32_t kNoDigits = -1, kTooShort = -2;

std::int32_t HexDigits(std::string_view text, std::size_t at, std::size_t count = 4) {
  std::int32_t value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (i >= text.size()) return kTooShort;
    const int digit = base::HexValue(text[i]);
    if (digit < 0) return kNoDigits;
    value = value << 4 | digit;
  }
  return value;
}

constexpr Escape kBegun{0, 0, true};

// Its u stands behind `slashes` backslashes.
Escape ReadCode(std::string_view text, std::size_t slashes) {
  const std::int32_t first = HexDigits(text, slashes + 1);
  if (first == kTooShort) return kBegun;
  if (first == kNoDigits) return {};
  const std::size_t end = slashes + 5;
  if (first < 0xD800 || first > 0xDFFF) return {end, static_cast<char32_t>(first)};
  const std::string_view lead = text.substr(0, slashes + 1), next = text.substr(end, lead.size());
  if (first <= 0xDBFF && next.size() < lead.size() && lead.starts_with(next)) return kBegun;
  if (first <= 0xDBFF && next == lead) {
    const std::int32_t second = HexDigits(text, end + lead.size());
    if (second == kTooShort) return kBegun;
    if (second >= 0xDC00 && second <= 0xDFFF)
      return {end + lead.size() + 4, static_cast<char32_t>(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))};
  }
  return {end, 0xFFFD};
}

}  // namespace

Escape ReadEscape(std::string_view text) {
  const std::string_view head = text.substr(0, kSlashesMax + 1);
  const std::size_t slashes = std::min(head.find_first_not_of('\\'), head.size());
  if (slashes > kSlashesMax) return {2, '\\'};
  if (slashes == text.size()) return kBegun;
  switch (text[slashes]) {
    case 'n': return {slashes + 1, '\n'};
    case 'r': return {slashes + 1, '\r'};
    case 't': return {slashes + 1, '\t'};
    case '"': return {slashes + 1, '"'};
    case 'u':
      if (const Escape code = ReadCode(text, slashes); code.bytes > 0 || code.begun) return code;
      break;
    case 'x':
      if (const std::int32_t code = HexDigits(text, slashes + 1, 2); code == kTooShort)
        return kBegun;
      else if (code != kNoDigits)
        return {slashes + 3, static_cast<char32_t>(code)};
      break;
    default: break;
  }
  if (slashes > 1) return {2, '\\'};
  switch (text[slashes]) {
    case 'b': return {2, '\b'};
    case 'f': return {2, ' '};
    case '/': return {2, '/'};
    default: return {};
  }
}

}  // namespace tollgate::policy
