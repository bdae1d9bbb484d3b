// Networks: a set of IP networks, as "10.0.0.0/8" or "fd00::/8", that addresses are looked up in. Immutable.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::base {

// An address of either family in one form: IPv4 stands mapped into IPv6.
using IpAddress = std::array<std::uint8_t, 16>;

// nullopt: not a numeric IPv4 or IPv6 address.
std::optional<IpAddress> ParseIp(std::string_view text);
// Its one spelling: "10.0.0.7", also for an IPv4 address that is mapped into IPv6, or "2001:db8::1".
std::string FormatIp(const IpAddress& address);

class Networks {
 public:
  // Each is ADDRESS/BITS, or an address, which stands for itself. INVALID_ARGUMENT names the one that is neither, has bits set behind its
  // length, or is of length 0, which would be everybody.
  static absl::StatusOr<Networks> Parse(std::span<const std::string> texts);

  bool Contains(const IpAddress& address) const;
  bool empty() const { return networks_.empty(); }

 private:
  struct Network {
    IpAddress address;
    int bits;  // Of 128.
  };
  std::vector<Network> networks_;
};

}  // namespace tollgate::base
