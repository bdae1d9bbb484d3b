// The tree is read from its beginning with the set of offsets at which a node may stand: what a set has is added at each of them, and the
// offsets behind it follow. Where one begins is forgotten, so that the sets of two branches mix: more may seem to fit, never less.
//
// Tested by tests/policy/match_places_test.cpp.
#include "policy/match_start.h"

#include <algorithm>
#include <utility>

namespace tollgate::policy {
namespace {

using Offsets = std::uint32_t;  // The i-th bit: i bytes behind the match's first one.
constexpr Offsets kAllOffsets = (Offsets{1} << MatchStart::kBytesMax) - 1;

class FirstBytes {
 public:
  explicit FirstBytes(const RegexNode& tree) { Read(tree, 1); }
  const ByteSet& At(std::size_t offset) const { return sets_[offset]; }

 private:
  // Where that ends which begins at `from`.
  Offsets Read(const RegexNode& node, Offsets from) {
    switch (node.kind) {
      case RegexNode::Kind::kSet: return ReadSet(node, from);
      case RegexNode::Kind::kAssert: return from;
      case RegexNode::Kind::kConcat:
        for (const RegexNode& kid : node.kids) from = Read(kid, from);
        return from;
      case RegexNode::Kind::kAlternate: {
        Offsets to = 0;
        for (const RegexNode& kid : node.kids) to |= Read(kid, from);
        return to;
      }
      case RegexNode::Kind::kRepeat: break;
    }
    Offsets to = node.min == 0 ? from : 0;
    for (int i = 1; from != 0 && (node.max == RegexNode::kUnbounded || i <= node.max); ++i) {
      const Offsets behind = Read(node.kids[0], from);
      if (i >= node.min || behind == from) to |= behind;
      if (behind == from) break;
      from = behind;
    }
    return to;
  }

  Offsets ReadSet(const RegexNode& node, Offsets from) {
    static constexpr char32_t kFirst[] = {0, 0, 0x80, 0x800, 0x10000, 0x110000};  // By bytes in UTF-8.
    Offsets to = 0;
    for (const CodeRange& range : node.set) {
      for (std::size_t bytes = 1; bytes <= 4; ++bytes) {
        const char32_t lo = std::max(range.lo, kFirst[bytes]), hi = std::min<char32_t>(range.hi, kFirst[bytes + 1] - 1);
        if (lo > hi) continue;
        for (std::size_t at = 0; at < MatchStart::kBytesMax; ++at) {
          if ((from >> at & 1) == 0) continue;
          if (bytes == 1) {
            for (char32_t c = lo; c <= hi; ++c) sets_[at].set(c);
          } else {
            for (std::size_t i = at; i < std::min(at + bytes, MatchStart::kBytesMax); ++i) sets_[i] |= BeyondAscii();
          }
        }
        to |= from << bytes & kAllOffsets;
      }
    }
    return to;
  }

  static const ByteSet& BeyondAscii() {
    static const ByteSet bytes = [] {
      ByteSet made;
      for (std::size_t b = 0x80; b < 256; ++b) made.set(b);
      return made;
    }();
    return bytes;
  }

  std::array<ByteSet, MatchStart::kBytesMax> sets_;
};

bool BeginsAtEdge(const RegexNode& node) {
  switch (node.kind) {
    case RegexNode::Kind::kAssert: return node.assertion == "\\b";
    case RegexNode::Kind::kSet: return node.set.size() == 1 && node.set[0].lo == '_' && node.set[0].hi == '_';
    case RegexNode::Kind::kAlternate: return !node.kids.empty() && std::all_of(node.kids.begin(), node.kids.end(), BeginsAtEdge);
    case RegexNode::Kind::kRepeat: return node.min > 0 && BeginsAtEdge(node.kids[0]);
    case RegexNode::Kind::kConcat: break;
  }
  for (const RegexNode& kid : node.kids) {
    if (BeginsAtEdge(kid)) return true;
    if (WidthOf(kid).max != 0) return false;
  }
  return false;
}

}  // namespace

MatchStart::MatchStart(const RegexNode& tree)
    : bytes_(std::min<std::size_t>(kBytesMax, static_cast<std::size_t>(WidthOf(tree).min))),
      at_edge_(BeginsAtEdge(tree)),
      all_(AllBytes(tree)) {
  const FirstBytes first(tree);
  ByteSet digits;
  for (std::size_t c = '0'; c <= '9'; ++c) digits.set(c);
  for (std::size_t i = 0; i < bytes_; ++i) {
    for (std::size_t b = 0; b < 256; ++b) may_be_[b] = static_cast<std::uint16_t>(may_be_[b] | first.At(i)[b] << i);
    if ((first.At(i) & ~digits).none() && digits_count_ < digits_.size()) digits_[digits_count_++] = static_cast<std::uint8_t>(i);
  }
  digit_first_ = bytes_ > 0 && (first.At(0) & ~(ByteSet(digits).set('_'))).none();
}

}  // namespace tollgate::policy
