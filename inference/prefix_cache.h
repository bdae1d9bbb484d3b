// PrefixCache: snapshots of sequences' state in memory, found again by the tokens they begin with. Nothing is ever found under another salt
// than the one it was kept under: a tenant (with whatever else changes what the model computes) sees only its own. A salt is "TENANT", or
// "TENANT|WHAT ELSE".
//
// Bounded in bytes, of which the tenants that used it lately have max-min shares: who uses less than its share, under all its salts, loses
// nothing whoever comes, and what it leaves is the others'. When it is full, those that have neither found nor kept anything for kIdle give
// way first, the longest idle before all; then who uses the most, counted with what it brings, gives up what it used least recently in the
// largest of its salts. One thread.
#pragma once

#include <chrono>
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

#include "base/clock.h"

namespace tollgate::inference {

class PrefixCache {
 public:
  static constexpr std::int64_t kBlockTokens = 8;  // What agrees on less than a block is not found.

  static constexpr std::chrono::minutes kIdle{10};  // Who looked for nothing that long, and brought nothing, has no share.

  // 0 bytes: nothing is kept.
  explicit PrefixCache(std::int64_t bytes_max, const base::Clock& clock = base::SystemClock()) : bytes_max_(bytes_max), clock_(clock) {}

  // The snapshot that agrees with the prompt on the most tokens: on its first `tokens`, a block at least, and fewer than the prompt has. Of
  // several the one that was kept for the fewest.
  struct Hit {
    std::span<const std::uint8_t> state;  // Of all the tokens it was kept for. Valid until something is kept or forgotten.
    std::int64_t tokens = 0;
    std::int64_t state_tokens = 0;  // That it was kept for.
  };
  std::optional<Hit> Find(std::string_view salt, std::span<const std::int32_t> prompt);

  // Whether keeping these would let a later prompt save at least a block more than what is there.
  bool Wants(std::string_view salt, std::span<const std::int32_t> tokens) const;

  // Of a snapshot of so many tokens and bytes, the first how many tokens would be kept now: all of them, or as many whole blocks as its
  // tenant's share holds.
  std::int64_t Fits(std::string_view salt, std::int64_t tokens, std::int64_t state_bytes) const;

  // Makes the room for a snapshot that is kept next, so that its state is taken out into memory that this gave up. False: its tenant's
  // share does not hold it, and nothing was given up.
  bool MakeRoom(std::string_view salt, std::span<const std::int32_t> tokens, std::int64_t state_bytes);

  // Keeps a snapshot, if there can be room. What it holds more of than an older one of the same salt takes that one's place.
  void Keep(std::string_view salt, std::vector<std::int32_t> tokens, std::vector<std::uint8_t> state);

  // Drops what Find gives for this prompt.
  void Forget(std::string_view salt, std::span<const std::int32_t> prompt);

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
    base::MonoTime used_at;  // Looked into, or something kept.
  };
  struct Use {  // Of a tenant, under all its salts.
    std::int64_t bytes = 0;
    base::MonoTime used_at = base::MonoTime::min();
  };
  struct Match {
    Entries::iterator entry;
    std::int64_t tokens = 0;
  };

  using Owners = std::map<std::string, Owner, std::less<>>;  // By salt. None is without entries.

  static Match Longest(Owner& owner, std::span<const std::int32_t> tokens);
  std::map<std::string_view, Use> Uses() const;
  std::int64_t Share(std::string_view tenant) const;
  void DropIdle(std::string_view tenant, std::int64_t bytes);
  void Drop(Owners::iterator owner, Entries::iterator entry);

  std::int64_t bytes_max_;
  const base::Clock& clock_;
  std::int64_t bytes_ = 0;
  Owners owners_;
};

}  // namespace tollgate::inference
