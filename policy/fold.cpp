// ICU is asked once about every code point. The answers are kept in blocks of 64 code points, few of which hold a letter that is folded;
// bytes that begin no such letter, as those of ASCII, Han and kana, are not even decoded.
//
// Tested by tests/policy/fold_test.cpp.
#include "policy/fold.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include <unicode/uchar.h>

namespace tollgate::policy {
namespace {

constexpr char32_t kLast = 0x10FFFF;
constexpr std::size_t kBlock = 64;

bool In(char32_t c, char32_t lo, char32_t hi) { return c >= lo && c <= hi; }

class Folding {
 public:
  Folding() {
    blocks_.emplace_back();  // Of none.
    for (char32_t c = 0; c <= kLast; ++c) {
      const auto folded = static_cast<char32_t>(u_foldCase(static_cast<UChar32>(c), U_FOLD_CASE_DEFAULT));
      if (folded == c) continue;
      pairs_.push_back({c, folded});
      if (Utf8Length(folded) == Utf8Length(c)) Add(c, folded);
    }
  }

  char32_t Of(char32_t c) const {
    if (c > kLast) return c;
    const std::uint16_t block = block_of_[c / kBlock];
    return block == 0 ? c : blocks_[block][c % kBlock];
  }
  // Whether a character beyond ASCII that is folded may begin with this byte.
  bool MayBegin(char byte) const { return may_begin_[static_cast<std::uint8_t>(byte)]; }
  const std::vector<CasePair>& pairs() const { return pairs_; }

 private:
  void Add(char32_t c, char32_t folded) {
    std::uint16_t& block = block_of_[c / kBlock];
    if (block == 0) {
      block = static_cast<std::uint16_t>(blocks_.size());
      blocks_.emplace_back();
      for (std::size_t i = 0; i < kBlock; ++i) blocks_[block][i] = static_cast<char32_t>(c / kBlock * kBlock + i);
    }
    blocks_[block][c % kBlock] = folded;
    if (c < 0x80) return;
    std::string bytes;
    AppendUtf8(c, bytes);
    may_begin_[static_cast<std::uint8_t>(bytes[0])] = true;
  }

  std::array<std::uint16_t, (kLast + 1) / kBlock> block_of_{};
  std::vector<std::array<char32_t, kBlock>> blocks_;
  std::array<bool, 256> may_begin_{};
  std::vector<CasePair> pairs_;
};

const Folding& Cases() {
  static const Folding folding;
  return folding;
}

}  // namespace

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

char32_t FoldCodePoint(char32_t c) { return Cases().Of(c); }

const std::vector<CasePair>& CasePairs() { return Cases().pairs(); }

int Utf8Length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

std::string FoldCase(std::string_view text) {
  const Folding& cases = Cases();
  std::string out(text), bytes;
  for (std::size_t at = 0, length = 1; at < out.size(); at += length) {
    char& byte = out[at];
    length = 1;
    if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte + 32);
    if (!cases.MayBegin(byte)) continue;
    const char32_t c = DecodeAt(text, at, length), folded = length == 1 ? c : cases.Of(c);
    if (folded == c) continue;
    bytes.clear();
    AppendUtf8(folded, bytes);
    bytes.copy(&byte, length);
  }
  return out;
}

std::string_view FoldedView(std::string_view text, std::string& storage) {
  const Folding& cases = Cases();
  std::size_t at = 0;
  while (at < text.size()) {
    for (std::uint64_t bytes = 0; at + sizeof bytes <= text.size(); at += sizeof bytes) {
      std::memcpy(&bytes, text.data() + at, sizeof bytes);
      if ((bytes & 0x8080808080808080) != 0) break;
    }
    for (const std::size_t to = std::min(text.size(), at + 8); at < to;) {
      std::size_t length = 1;
      if (cases.MayBegin(text[at])) {
        const char32_t c = DecodeAt(text, at, length);
        if (length > 1 && cases.Of(c) != c) {
          storage = FoldCase(text);
          return storage;
        }
      }
      at += length;
    }
  }
  return text;
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
