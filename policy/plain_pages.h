// The plain forms (plain_form.h) of single characters, whatever stands before them. Any thread; a page is made when the first of its
// characters is met, in well under a millisecond, and lives as long as the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "policy/validators_internal.h"

namespace tollgate::policy {

// A control of ASCII that is no white space.
constexpr bool IsUnseenAscii(char c) { return (static_cast<unsigned char>(c) < ' ' && !IsBlank(c)) || c == '\x7F'; }

// Of 256 characters, by the last byte of their number.
struct PlainPage {
  static constexpr std::size_t kFormBytesMax = 12;  // Longer forms are ornaments (U+FDFA is eighteen letters): they stay as they are.
  static constexpr std::uint8_t kItself = 0xFF;     // Instead of the bytes of a form.

  std::array<std::uint8_t, 256> bytes{};
  std::array<std::array<char, kFormBytesMax>, 256> forms{};
  std::array<bool, 256> marks{};  // Of a script.
};

// `c`: no ASCII, and at most U+10FFFF.
const PlainPage& PlainPageOf(char32_t c);

// Whether a mark of a script has its sense behind the character that is seen before it.
bool Spells(char32_t mark, char32_t seen);

}  // namespace tollgate::policy
