// Unseen characters have honest uses, and the character before tells: a joiner after an emoji or after a letter of a script that joins, a
// variation selector after a symbol. A run is honest if each of its characters is.
//
// Mixed words. "pаypal" with a Cyrillic а is a trick; "SMSка", "TNFα" and "Ωm" are how people write. What tells them apart is where the
// scripts change: in the middle of a word, or once, between small letters of which all that are not Latin look Latin.
//
// Tested by tests/policy/unicode_test.cpp.
#include "policy/fold.h"
#include "policy/plain_form.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

bool In(char32_t c, char32_t lo, char32_t hi) { return c >= lo && c <= hi; }

bool IsSymbol(char32_t c) { return In(c, 0x203C, 0x3299) || In(c, 0x1F000, 0x1FAFF) || c == 0xA9 || c == 0xAE; }
bool IsRightToLeft(char32_t c) { return In(c, 0x590, 0x8FF) || In(c, 0xFB1D, 0xFDFF) || In(c, 0xFE70, 0xFEFC); }
bool IsJoining(char32_t c) { return In(c, 0x590, 0x1CFF) || IsRightToLeft(c); }  // Arabic … Mongolian.

bool RightToLeftBefore(std::string_view text, std::size_t begin) {
  const std::size_t from = begin > kLeftContextBytes ? begin - kLeftContextBytes : 0;
  for (std::size_t at = begin; at > from; --at) {
    if ((static_cast<unsigned char>(text[at - 1]) & 0xC0) == 0x80) continue;
    std::size_t length = 0;
    if (IsRightToLeft(DecodeAt(text, at - 1, length))) return true;
  }
  return false;
}

bool IsHonest(char32_t before, char32_t c, std::string_view text, std::size_t begin) {
  if (c == 0xFE0E || c == 0xFE0F) return IsSymbol(before) || In(before, '0', '9') || before == '#' || before == '*';
  if (In(c, 0xFE00, 0xFE0D)) return IsSymbol(before) || In(before, 0x3400, 0x9FFF);
  if (In(c, 0xE0100, 0xE01EF)) return In(before, 0x3400, 0x9FFF) || In(before, 0x20000, 0x3FFFF);
  if (c == 0x200C || c == 0x200D) return IsJoining(before) || IsSymbol(before) || (c == 0x200D && before == 0xFE0F);
  if (c == 0x200E || c == 0x200F || c == 0x61C) return RightToLeftBefore(text, begin);
  if (In(c, 0x17B4, 0x17B5) || In(c, 0x180B, 0x180F)) return In(before, 0x1780, 0x18AF);
  if (In(c, 0x115F, 0x1160)) return In(before, 0x1100, 0x11FF);
  return c == 0xFEFF && begin == 0;
}

}  // namespace

std::size_t AcceptInvisible(std::string_view text, std::size_t begin, std::size_t end) {
  char32_t before = DecodeBefore(text, begin);
  std::size_t length = 0;
  for (std::size_t at = begin; at < end; at += length) {
    const char32_t c = DecodeAt(text, at, length);
    if (!IsHonest(before, c, text, begin)) return end;
    before = c;
  }
  return 0;
}

std::size_t AcceptTags(std::string_view text, std::size_t begin, std::size_t end) {
  constexpr std::size_t kFlagTagsMax = 7;  // "gbeng" and the end.
  return DecodeBefore(text, begin) == 0x1F3F4 && (end - begin) / 4 <= kFlagTagsMax ? 0 : end;
}

std::size_t AcceptHomoglyph(std::string_view text, std::size_t begin, std::size_t end) {
  int latin = 0, latin_small = 0, foreign = 0, alike = 0, changes = 0;
  bool was_latin = false;
  std::size_t length = 0;
  for (std::size_t at = begin; at < end; at += length) {
    const char32_t c = DecodeAt(text, at, length);
    const bool is_latin = c < 0x370;
    if (at > begin && is_latin != was_latin) ++changes;
    was_latin = is_latin;
    latin += is_latin ? 1 : 0;
    latin_small += is_latin && (In(c, 'a', 'z') || c >= 0xDF) ? 1 : 0;
    foreign += is_latin ? 0 : 1;
    alike += LooksLatin(c) ? 1 : 0;
  }
  if (alike == 0 || latin == 0) return 0;
  if (changes >= 2) return end;
  return alike == foreign && latin >= 2 && latin_small > 0 ? end : 0;
}

}  // namespace tollgate::policy
