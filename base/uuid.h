// Identifiers: RFC 9562 UUIDs, and typed ids over them, so that swapped arguments do not compile.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::base {

class Uuid {
 public:
  constexpr Uuid() = default;  // All zero: "none".
  explicit constexpr Uuid(const std::array<std::uint8_t, 16>& bytes) : bytes_(bytes) {}

  static Uuid NewV7();                                      // Time-ordered (milliseconds), 74 random bits. Any thread.
  static absl::StatusOr<Uuid> Parse(std::string_view);      // 8-4-4-4-12 hex digits.
  static absl::StatusOr<Uuid> FromBytes(std::string_view);  // 16 raw bytes.

  std::string ToString() const;
  std::string Bytes() const { return std::string(reinterpret_cast<const char*>(bytes_.data()), bytes_.size()); }
  bool IsNone() const { return *this == Uuid(); }
  const std::array<std::uint8_t, 16>& raw() const { return bytes_; }
  auto operator<=>(const Uuid&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

template <typename Tag>
struct Id {
  Uuid value;

  Id() = default;
  explicit Id(const Uuid& v) : value(v) {}
  static Id New() { return Id(Uuid::NewV7()); }
  std::string ToString() const { return value.ToString(); }
  std::string Bytes() const { return value.Bytes(); }
  bool IsNone() const { return value.IsNone(); }
  auto operator<=>(const Id&) const = default;
};

using OrgId = Id<struct OrgTag>;
using TeamId = Id<struct TeamTag>;  // The tenant.
using ProjectId = Id<struct ProjectTag>;
using KeyId = Id<struct KeyTag>;
using RequestId = Id<struct RequestTag>;
using InstanceId = Id<struct InstanceTag>;

struct UuidHash {
  std::size_t operator()(const Uuid& id) const;
  template <typename Tag>
  std::size_t operator()(const Id<Tag>& id) const {
    return (*this)(id.value);
  }
};

}  // namespace tollgate::base
