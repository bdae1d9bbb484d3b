// One step for each trusted proxy, bounded by the head's size.
//
// Tested by tests/gateway/net/forwarded_test.cpp.
#include "gateway/net/forwarded.h"

#include <optional>

namespace tollgate::net {
namespace {

// "10.0.0.7", "10.0.0.7:5000", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5000", with spaces around.
std::optional<base::IpAddress> AddressOf(std::string_view entry) {
  const std::size_t begin = entry.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return std::nullopt;
  entry = entry.substr(begin, entry.find_last_not_of(" \t") + 1 - begin);
  if (entry.starts_with('[')) {
    const std::size_t end = entry.find(']');
    return end == std::string_view::npos ? std::nullopt : base::ParseIp(entry.substr(1, end - 1));
  }
  const std::size_t colon = entry.find(':');
  const bool port = colon != std::string_view::npos && colon == entry.rfind(':');
  return base::ParseIp(port ? entry.substr(0, colon) : entry);
}

}  // namespace

std::string ClientOf(std::string_view peer, std::span<const std::string_view> forwarded, const base::Networks& trusted) {
  const std::optional<base::IpAddress> from = base::ParseIp(peer);
  if (!from) return std::string(peer);
  base::IpAddress known = *from;
  std::string all;  // As one list, which is what several fields mean.
  for (const std::string_view value : forwarded) all.append(value).append(1, ',');
  std::string_view rest = all;
  while (!rest.empty() && trusted.Contains(known)) {
    rest.remove_suffix(1);
    const std::size_t begin = rest.rfind(',') + 1;  // 0 where there is none before it.
    const std::optional<base::IpAddress> next = AddressOf(rest.substr(begin));
    if (!next) break;
    known = *next;
    rest = rest.substr(0, begin);
  }
  return base::FormatIp(known);
}

}  // namespace tollgate::net
