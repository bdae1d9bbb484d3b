// Case pairs are laid out in a few regular ways: a constant distance (Latin-1, Greek, Cyrillic, Armenian) or neighbours, upper case
// first on even or on odd code points (the extended blocks). The exceptions are listed one by one.
//
// Tested by tests/policy/fold_test.cpp.
#include "policy/fold.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace tollgate::policy {
namespace {

bool In(char32_t c, char32_t lo, char32_t hi) { return c >= lo && c <= hi; }

char32_t FoldExtendedLatin(char32_t c) {
  if (c == 0x130 || c == 0x131 || c == 0x138 || c == 0x149 || c == 0x17F) return c;
  if (c == 0x178) return 0xFF;
  const bool odd_is_upper = In(c, 0x139, 0x148) || In(c, 0x179, 0x17E);
  return (c % 2 == 1) == odd_is_upper ? c + 1 : c;
}

char32_t FoldGreek(char32_t c) {
  if (In(c, 0x391, 0x3A9) && c != 0x3A2) return c + 32;
  if (In(c, 0x388, 0x38A)) return c + 37;
  switch (c) {
    case 0x386: return 0x3AC;
    case 0x38C: return 0x3CC;
    case 0x38E: return 0x3CD;
    case 0x38F: return 0x3CE;
    case 0x3C2: return 0x3C3;  // Final sigma.
    default: return c;
  }
}

char32_t FoldCyrillic(char32_t c) {
  if (In(c, 0x400, 0x40F)) return c + 80;
  if (In(c, 0x410, 0x42F)) return c + 32;
  if (In(c, 0x460, 0x481) || In(c, 0x48A, 0x4BF) || In(c, 0x4D0, 0x52F)) return c % 2 == 0 ? c + 1 : c;
  if (In(c, 0x4C1, 0x4CE)) return c % 2 == 1 ? c + 1 : c;
  return c;
}

}  // namespace

char32_t FoldCodePoint(char32_t c) {
  if (c < 0x80) return In(c, 'A', 'Z') ? c + 32 : c;
  if (c < 0x100) return In(c, 0xC0, 0xDE) && c != 0xD7 ? c + 32 : c;
  if (c < 0x180) return FoldExtendedLatin(c);
  if (In(c, 0x386, 0x3CE)) return FoldGreek(c);
  if (In(c, 0x400, 0x52F)) return FoldCyrillic(c);
  return In(c, 0x531, 0x556) ? c + 48 : c;
}

std::string FoldCase(std::string_view text) {
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto b = static_cast<std::uint8_t>(out[i]);
    if (b < 0x80) {
      if (b >= 'A' && b <= 'Z') out[i] = static_cast<char>(b + 32);
    } else if (b >= 0xC3 && b <= 0xD6 && i + 1 < out.size()) {
      const auto low = static_cast<std::uint8_t>(out[i + 1]);
      if ((low & 0xC0) != 0x80) continue;
      const char32_t folded = FoldCodePoint(static_cast<char32_t>((b & 0x1F) << 6 | (low & 0x3F)));
      out[i] = static_cast<char>(0xC0 | (folded >> 6));
      out[++i] = static_cast<char>(0x80 | (folded & 0x3F));
    }
  }
  return out;
}

// Most of what is not ASCII has no cases: dashes and quotes, Han and kana, emoji.
std::string_view FoldedView(std::string_view text, std::string& storage) {
  const auto may_begin_letter = [](char c) { return static_cast<std::uint8_t>(c) >= 0xC3 && static_cast<std::uint8_t>(c) <= 0xD6; };
  std::size_t at = 0;
  for (std::uint64_t bytes = 0; at + sizeof bytes <= text.size(); at += sizeof bytes) {
    std::memcpy(&bytes, text.data() + at, sizeof bytes);
    if ((bytes & 0x8080808080808080) == 0) continue;
    const std::string_view its = text.substr(at, sizeof bytes);
    if (std::any_of(its.begin(), its.end(), may_begin_letter)) break;
  }
  if (std::none_of(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), may_begin_letter)) return text;
  storage = FoldCase(text);
  return storage;
}

char32_t DecodeAt(std::string_view text, std::size_t at, std::size_t& length) {
  const auto first = static_cast<std::uint8_t>(text[at]);
  length = 1;
  const std::size_t want = first >= 0xF8 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  if (want == 1 || at + want > text.size()) return first;
  char32_t c = first & (0xFF >> (want + 1));
  for (std::size_t i = 1; i < want; ++i) {
    const auto b = static_cast<std::uint8_t>(text[at + i]);
    if ((b & 0xC0) != 0x80) return first;
    c = c << 6 | (b & 0x3F);
  }
  length = want;
  return c;
}

char32_t DecodeBefore(std::string_view text, std::size_t end) {
  if (end == 0) return 0;
  std::size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  std::size_t length = 0;
  const char32_t c = DecodeAt(text, at, length);
  return at + length == end ? c : static_cast<std::uint8_t>(text[end - 1]);
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  const int tails = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static constexpr std::uint8_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[tails] | (c >> (6 * tails)));
  for (int i = tails - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
}

bool IsWordCodePoint(char32_t c) {
  if (c < 0x80) return In(c, '0', '9') || In(c, 'a', 'z') || In(c, 'A', 'Z');
  if (c < 0xC0) return c == 0xAA || c == 0xB5 || c == 0xBA;
  if (c < 0x300) return c != 0xD7 && c != 0xF7 && !In(c, 0x2B9, 0x2FF);
  if (In(c, 0x300, 0x36F)) return true;                      // Combining marks belong to the letter before them.
  if (In(c, 0x370, 0xDFF)) return c != 0x37E && c != 0x387;  // Greek … Sinhala.
  if (In(c, 0x10A0, 0x177F) || In(c, 0x1800, 0x18AF)) return !In(c, 0x1360, 0x1368);
  return In(c, 0x1C80, 0x1CBF) || In(c, 0x1D00, 0x1FFF) || In(c, 0x2C00, 0x2DFF) || In(c, 0xA640, 0xA7FF) || In(c, 0xAC00, 0xD7AF) ||
         In(c, 0xFF10, 0xFF19) || In(c, 0xFF21, 0xFF3A) || In(c, 0xFF41, 0xFF5A);
}

}  // namespace tollgate::policy
