// PrefixCache: snapshots of sequences' state in memory, found again by the tokens they begin with. Nothing is ever found under another salt
// than the one it was kept under: a tenant (with whatever else changes what the model computes) sees only its own. A salt is "TENANT", or
// "TENANT|WHAT ELSE".
//
// Bounded in bytes. When it is full, the tenant that uses the most under all its salts gives up what it used least recently in the largest
// of them: none loses anything to a tenant that uses more. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tollgate::inference {

class PrefixCache {
 public:
  static constexpr std::int64_t kBlockTokens = 8;  // What agrees on less than a block is not found.

  // 0 bytes: nothing is kept.
  explicit PrefixCache(std::int64_t bytes_max) : bytes_max_(bytes_max) {}

  // The snapshot that agrees with the prompt on the most tokens: on its first `tokens`, a block at least, and fewer than the prompt has. Of
  // several the one that was kept for the fewest.
  struct Hit {
    std::span<const std::uint8_t> state;  // Of all the tokens it was kept for. Valid until the next Keep.
    std::int64_t tokens = 0;
    std::int64_t state_tokens = 0;  // That it was kept for.
  };
  std::optional<Hit> Find(std::string_view salt, std::span<const std::int32_t> prompt);

  // Whether keeping these would let a later prompt save at least a block more than what is there.
  bool Wants(std::string_view salt, std::span<const std::int32_t> tokens) const;

  // Keeps a snapshot. What it holds more of than an older one of the same salt takes that one's place.
  void Keep(std::string_view salt, std::vector<std::int32_t> tokens, std::vector<std::uint8_t> state);

  std::int64_t bytes() const { return bytes_; }
  std::int64_t entries() const;

 private:
  struct Entry {
    std::vector<std::int32_t> tokens;
    std::vector<std::uint8_t> state;
    std::int64_t bytes = 0;
  };
  using Entries = std::list<Entry>;  // The least recently used first.
  struct Owner {
    Entries entries;
    std::unordered_multimap<std::uint64_t, Entries::iterator> by_block;  // By the hash of the tokens up to the end of each block.
    std::int64_t bytes = 0;
  };
  struct Match {
    Entries::iterator entry;
    std::int64_t tokens = 0;
  };

  static Match Longest(Owner& owner, std::span<const std::int32_t> tokens);
  void Drop(Owner& owner, Entries::iterator entry);
  void MakeRoom(std::int64_t bytes);

  std::int64_t bytes_max_;
  std::int64_t bytes_ = 0;
  std::map<std::string, Owner, std::less<>> owners_;  // By salt.
};

}  // namespace tollgate::inference
