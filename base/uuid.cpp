// UUIDs of version 7: 48 bits of milliseconds, then 74 random bits.
// Tested by tests/base/values_test.cpp.
#include "base/uuid.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/encoding.h"

namespace tollgate::base {

Uuid Uuid::NewV7() {
  std::array<std::uint8_t, 16> bytes;
  const auto ms = static_cast<std::uint64_t>(ToMicros(SystemClock().Wall()) / 1000);
  for (int i = 0; i < 6; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(ms >> (40 - 8 * i));
  const std::string random = RandomBytes(10);
  std::memcpy(bytes.data() + 6, random.data(), random.size());
  bytes[6] = static_cast<std::uint8_t>(0x70 | (bytes[6] & 0x0F));
  bytes[8] = static_cast<std::uint8_t>(0x80 | (bytes[8] & 0x3F));
  return Uuid(bytes);
}

absl::StatusOr<Uuid> Uuid::Parse(std::string_view text) {
  const auto bad = [] { return InvalidArgument("an id has the form 01234567-89ab-7cde-8f01-23456789abcd"); };
  if (text.size() != 36) return bad();
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) return bad();
    if (!dash) digits.push_back(text[i]);
  }
  const auto bytes = HexDecode(digits);
  if (!bytes.ok()) return bad();
  return FromBytes(*bytes);
}

absl::StatusOr<Uuid> Uuid::FromBytes(std::string_view bytes) {
  if (bytes.size() != 16) return InvalidArgument("an id has 16 bytes");
  std::array<std::uint8_t, 16> raw;
  std::memcpy(raw.data(), bytes.data(), raw.size());
  return Uuid(raw);
}

std::string Uuid::ToString() const {
  std::string text = HexEncode(Bytes());
  for (const std::size_t at : {8U, 13U, 18U, 23U}) text.insert(at, 1, '-');
  return text;
}

std::size_t UuidHash::operator()(const Uuid& id) const {
  // The last eight bytes are random in every id we make.
  std::uint64_t tail;
  std::memcpy(&tail, id.raw().data() + 8, sizeof(tail));
  std::uint64_t head;
  std::memcpy(&head, id.raw().data(), sizeof(head));
  return static_cast<std::size_t>(tail ^ (head * 0x9E3779B97F4A7C15ULL));
}

}  // namespace tollgate::base
