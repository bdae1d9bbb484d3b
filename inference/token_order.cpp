// How it works. Sorted once, each token keeps only what it does not share with the one before it.
//
// Tested by tests/inference/grammar_follower_test.cpp.
#include "inference/token_order.h"

#include <algorithm>

namespace tollgate::inference {

TokenOrder::TokenOrder(std::int32_t tokens, const std::function<std::string_view(std::int32_t)>& bytes_of) {
  std::vector<std::pair<std::string_view, std::int32_t>> sorted;
  for (std::int32_t token = 0; token < tokens; ++token) {
    if (const std::string_view bytes = bytes_of(token); !bytes.empty()) sorted.emplace_back(bytes, token);
  }
  std::sort(sorted.begin(), sorted.end());
  items_.reserve(sorted.size());
  std::string_view before;
  for (const auto& [bytes, token] : sorted) {
    const auto differs = std::mismatch(bytes.begin(), bytes.end(), before.begin(), before.end()).first;
    const auto shared = static_cast<std::uint32_t>(differs - bytes.begin());
    const auto from = static_cast<std::uint32_t>(rest_.size());
    rest_ += bytes.substr(shared);
    items_.push_back({token, shared, from, static_cast<std::uint32_t>(rest_.size())});
    before = bytes;
  }
}

}  // namespace tollgate::inference
