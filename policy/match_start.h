// What the beginning of every match of a pattern is like, whatever follows: which bytes it may have, and whether it is a word's.
//
// Immutable; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "policy/regex_facts.h"

namespace tollgate::policy {

class MatchStart {
 public:
  static constexpr std::size_t kBytesMax = 16;

  MatchStart() = default;  // Of matches of which nothing is known.
  explicit MatchStart(const RegexNode& tree);

  // Whether the bytes from `at` on, which is in the text, may be a match's first ones.
  bool Fits(std::string_view text, std::size_t at) const {
    if (text.size() - at < bytes_) return false;
    std::size_t i = 0;
    while (i < bytes_ && (may_be_[static_cast<unsigned char>(text[at + i])] >> i & 1) != 0) ++i;
    return i == bytes_;
  }

  // It begins at the edge of a word (\b) or with '_'.
  bool at_edge() const { return at_edge_; }
  // It begins with a digit or '_'.
  bool digit_first() const { return digit_first_; }
  // So many bytes behind its first one it has a digit; not all such places.
  std::span<const std::uint8_t> digits() const { return {digits_.data(), digits_count_}; }
  // All bytes that a match may have, at whatever place.
  const ByteSet& all() const { return all_; }

 private:
  std::array<std::uint16_t, 256> may_be_{};  // By byte: the i-th bit, it may be a match's i-th.
  std::size_t bytes_ = 0;
  std::array<std::uint8_t, 3> digits_{};
  std::size_t digits_count_ = 0;
  bool at_edge_ = false, digit_first_ = false;
  ByteSet all_ = ByteSet().set();
};

}  // namespace tollgate::policy
