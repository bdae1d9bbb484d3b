// Pages over lists from a snapshot: the token is the last sort key that was shown, so that a page stays right while the list changes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/encoding.h"
#include "base/status.h"

namespace tollgate::admin {

// `items`: sort key and thing, in any order. Calls `emit` for those of the page; returns the next page's token, empty after the last.
// INVALID_ARGUMENT for a bad size or token.
template <typename Thing, typename Emit>
absl::StatusOr<std::string> Paged(std::vector<std::pair<std::string, Thing>> items, std::int32_t page_size, const std::string& token,
                                  const Emit& emit) {
  if (page_size < 0 || page_size > 1000) return base::InvalidArgument("page_size: use 1 to 1000, or 0 for 100");
  const std::size_t size = page_size == 0 ? 100 : static_cast<std::size_t>(page_size);
  const absl::StatusOr<std::string> after = base::HexDecode(token);
  if (!after.ok()) return base::InvalidArgument("page_token: send back the next_page_token of the page before, unchanged");
  const auto by_key = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::sort(items.begin(), items.end(), by_key);
  auto at = items.begin();
  if (!token.empty())
    at = std::upper_bound(items.begin(), items.end(), *after, [](const std::string& key, const auto& item) { return key < item.first; });
  std::string last;
  for (std::size_t n = 0; n < size && at != items.end(); ++n, ++at) {
    emit(at->second);
    last = at->first;
  }
  return at == items.end() ? std::string() : base::HexEncode(last);
}

}  // namespace tollgate::admin
