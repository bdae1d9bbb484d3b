// Which bytes of a text are of which kind: a bit for each, 64 bytes of the text in a word, the first one lowest.
//
// Immutable once made; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tollgate::policy {

class TextBits {
 public:
  // kEdge: between a word's byte (letter, digit or '_', of ASCII) and another one, as for RE2's \b before this byte. kRun: a byte of a long
  // number, name or key (Pattern::IsRunByte).
  enum Kind { kDigit, kDot, kColon, kHyphen, kUnderscore, kEdge, kRun, kKinds };
  static constexpr std::size_t kWordBytes = 64;
  static constexpr std::size_t kCounted = kHyphen + 1;  // Of these it is known how many there are.

  explicit TextBits(std::string_view text);

  // Of the bytes from 64 * index on; index is at most that of the word behind the text's last one, which is empty.
  std::uint64_t Word(Kind kind, std::size_t index) const { return words_[index][kind]; }
  // Of the 64 bytes from that place on, which is in the text; beyond the text no bit is set.
  std::uint64_t From(Kind kind, std::size_t at) const {
    const std::size_t index = at / kWordBytes, low = at % kWordBytes;
    return low == 0 ? words_[index][kind] : words_[index][kind] >> low | words_[index + 1][kind] << (kWordBytes - low);
  }
  std::size_t words() const { return words_.size() - 1; }

  std::size_t Count(Kind kind) const { return counts_[kind]; }  // Of the first kCounted kinds.
  // Whether there are so many from `begin` to before `end`, which may be beyond the text.
  bool HasSoMany(Kind kind, std::size_t count, std::size_t begin, std::size_t end) const;
  // The first one at or after `from`; SIZE_MAX if there is none.
  std::size_t Next(Kind kind, std::size_t from) const;

 private:
  std::vector<std::array<std::uint64_t, kKinds>> words_;  // And an empty one.
  std::array<std::size_t, kCounted> counts_{};
};

}  // namespace tollgate::policy
