// inet_pton reads, inet_ntop writes; both families are compared as 128 bits.
//
// Tested by tests/base/networks_test.cpp.
#include "base/networks.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <fmt/format.h>

namespace tollgate::base {
namespace {

constexpr int kMappedBits = 96;  // ::ffff:0:0/96
constexpr IpAddress kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsMapped(const IpAddress& address) { return std::equal(kMapped.begin(), kMapped.begin() + kMappedBits / 8, address.begin()); }

// `address` with everything behind its first `bits` cleared.
IpAddress Cut(IpAddress address, int bits) {
  for (int i = 0; i < static_cast<int>(address.size()); ++i) {
    const int left = std::clamp(bits - 8 * i, 0, 8);
    address[static_cast<std::size_t>(i)] &= static_cast<std::uint8_t>(0xff00 >> left);
  }
  return address;
}

}  // namespace

std::optional<IpAddress> ParseIp(std::string_view text) {
  char word[INET6_ADDRSTRLEN] = "";
  if (text.size() >= sizeof word) return std::nullopt;
  std::memcpy(word, text.data(), text.size());
  IpAddress out = kMapped;
  if (::inet_pton(AF_INET, word, out.data() + kMappedBits / 8) == 1) return out;
  if (::inet_pton(AF_INET6, word, out.data()) == 1) return out;
  return std::nullopt;
}

std::string FormatIp(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (IsMapped(address)) {
    ::inet_ntop(AF_INET, address.data() + kMappedBits / 8, text, sizeof text);
  } else {
    ::inet_ntop(AF_INET6, address.data(), text, sizeof text);
  }
  return text;
}

absl::StatusOr<Networks> Networks::Parse(std::span<const std::string> texts) {
  Networks out;
  for (const std::string& text : texts) {
    const std::size_t slash = text.find('/');
    const auto address = ParseIp(std::string_view(text).substr(0, slash));
    const int bits_max = address && text.find(':') == std::string::npos ? 32 : 128;
    int bits = bits_max;
    bool good = address.has_value();
    if (good && slash != std::string::npos) {
      const char* const end = text.data() + text.size();
      const auto [last, error] = std::from_chars(text.data() + slash + 1, end, bits);
      good = error == std::errc() && last == end && bits >= 0 && bits <= bits_max;
    }
    if (!good) return InvalidArgument(fmt::format("\"{}\" is no network; write an address, or one such as 10.0.0.0/8 or fd00::/8", text));
    const int of_128 = bits + 128 - bits_max;
    // All of IPv4 too, which stands within IPv6.
    if (of_128 <= kMappedBits && (bits == 0 || Cut(kMapped, of_128) == *address))
      return InvalidArgument(fmt::format("\"{}\" is everybody; name the networks that are meant", text));
    if (Cut(*address, of_128) != *address)
      return InvalidArgument(
          fmt::format("\"{}\" has bits set behind its first {}; write {}/{}", text, bits, FormatIp(Cut(*address, of_128)), bits));
    out.networks_.push_back({*address, of_128});
  }
  return out;
}

bool Networks::Contains(const IpAddress& address) const {
  return std::any_of(networks_.begin(), networks_.end(), [&](const Network& one) { return Cut(address, one.bits) == one.address; });
}

}  // namespace tollgate::base
