// Bytes as text and back, and the checks every room needs on text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::base {

std::string HexEncode(std::string_view bytes);  // Lower case.
int HexValue(char c);                           // 0 to 15; -1 where it is no digit.
absl::StatusOr<std::string> HexDecode(std::string_view text);
std::string Base64Encode(std::string_view bytes);  // RFC 4648 §4, padded.
absl::StatusOr<std::string> Base64Decode(std::string_view text);
std::string Base62Encode(std::string_view bytes, std::size_t width);  // Big-endian number in [0-9A-Za-z], left-padded with '0' to `width`.
std::uint32_t Crc32(std::string_view bytes);                          // IEEE 802.3.
void AppendBigEndian(std::string& out, std::uint64_t value, int bytes);  // The low `bytes` of `value`, at most 8, highest first.

bool IsValidUtf8(std::string_view text);              // RFC 3629: no overlong forms, no surrogates.
std::size_t Utf8PrefixLength(std::string_view text);  // Bytes of the longest prefix that ends at a code point's end.

absl::StatusOr<std::string> ReadFile(const std::string& path);                                     // Names the path in the error.
absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes, unsigned mode);  // Temporary file, fsync, rename.

}  // namespace tollgate::base
