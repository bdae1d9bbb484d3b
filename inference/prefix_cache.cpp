// How it works. Each salt has an index of its own, so that nothing of another's can be met by any collision. In it an entry stands once for
// each whole block of its tokens, under a hash of all tokens up to the block's end. The last block of a prompt that has entries names all
// those which agree with it the longest; which of them, and how far, is told by comparing their tokens one by one.
//
// A tenant's share is found as water finds its level: who uses less than an equal part of what is there keeps that and leaves the rest to
// be parted anew. Tenants that are idle count nothing in it, and go before anybody else loses something. One entry takes no more than the
// share of who brings it; so while there is no room, and nobody idle, somebody is above its own share, and the one that uses the most is:
// it or another gives way, and nobody below. Idle is told by time and not by what others do, so that no tenant makes another idle.
//
// Tested by tests/inference/prefix_cache_test.cpp.
#include "inference/prefix_cache.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tollgate::inference {
namespace {

constexpr std::int64_t kEntryBytes = 256;  // What an entry costs beside its tokens and state.
constexpr std::int64_t kTokenBytes = sizeof(std::int32_t);

std::int64_t EntryBytes(std::int64_t tokens, std::int64_t state_bytes) { return state_bytes + tokens * kTokenBytes + kEntryBytes; }

std::string_view TenantOf(std::string_view salt) { return salt.substr(0, salt.find('|')); }

// The hashes of the tokens up to the end of each whole block.
std::vector<std::uint64_t> BlockHashes(std::span<const std::int32_t> tokens, std::int64_t blocks) {
  std::vector<std::uint64_t> hashes;
  std::uint64_t hash = 0x9E3779B97F4A7C15ULL;
  for (std::int64_t i = 0; i < blocks * PrefixCache::kBlockTokens; ++i) {
    hash = (hash ^ static_cast<std::uint32_t>(tokens[static_cast<std::size_t>(i)])) * 0xBF58476D1CE4E5B9ULL;
    hash ^= hash >> 29;
    if ((i + 1) % PrefixCache::kBlockTokens == 0) hashes.push_back(hash);
  }
  return hashes;
}

std::int64_t Blocks(std::size_t tokens) { return static_cast<std::int64_t>(tokens) / PrefixCache::kBlockTokens; }

}  // namespace

PrefixCache::Match PrefixCache::Longest(Owner& owner, std::span<const std::int32_t> tokens) {
  const std::vector<std::uint64_t> hashes = BlockHashes(tokens, Blocks(tokens.size()));
  Match longest{owner.entries.end(), 0};
  for (std::size_t block = hashes.size(); block > 0 && longest.tokens == 0; --block) {
    const auto [first, last] = owner.by_block.equal_range(hashes[block - 1]);
    for (auto it = first; it != last; ++it) {
      const std::vector<std::int32_t>& known = it->second->tokens;
      const std::int64_t same = std::mismatch(tokens.begin(), tokens.end(), known.begin(), known.end()).first - tokens.begin();
      if (same < kBlockTokens || same < longest.tokens) continue;
      if (same > longest.tokens || known.size() < longest.entry->tokens.size()) longest = {it->second, same};
    }
  }
  return longest;
}

std::optional<PrefixCache::Hit> PrefixCache::Find(std::string_view salt, std::span<const std::int32_t> prompt) {
  const auto owner = owners_.find(salt);
  if (owner == owners_.end() || prompt.empty()) return std::nullopt;
  owner->second.used_at = clock_.Mono();
  const Match match = Longest(owner->second, prompt.first(prompt.size() - 1));
  if (match.tokens == 0) return std::nullopt;
  Entries& entries = owner->second.entries;
  entries.splice(entries.end(), entries, match.entry);
  return Hit{match.entry->state, match.tokens, std::ssize(match.entry->tokens)};
}

bool PrefixCache::Wants(std::string_view salt, std::span<const std::int32_t> tokens) const {
  const std::int64_t blocks = Blocks(tokens.size());
  if (bytes_max_ == 0 || blocks == 0) return false;
  const auto owner = owners_.find(salt);
  if (owner == owners_.end()) return true;
  const std::uint64_t last = BlockHashes(tokens, blocks).back();
  const auto [first, end] = owner->second.by_block.equal_range(last);
  return std::none_of(first, end, [&](const auto& known) {
    return std::equal(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(blocks * kBlockTokens), known.second->tokens.begin());
  });
}

std::map<std::string_view, PrefixCache::Use> PrefixCache::Uses() const {
  std::map<std::string_view, Use> uses;
  for (const auto& [salt, owner] : owners_) {
    Use& use = uses[TenantOf(salt)];
    use.bytes += owner.bytes;
    use.used_at = std::max(use.used_at, owner.used_at);
  }
  return uses;
}

// The most bytes that one entry of the tenant's may take, were it its only one.
std::int64_t PrefixCache::Share(std::string_view tenant) const {
  const base::MonoTime idle_until = clock_.Mono() - kIdle;
  std::vector<std::int64_t> others;
  for (const auto& [other, use] : Uses()) {
    if (other != tenant && use.used_at > idle_until) others.push_back(use.bytes);
  }
  std::sort(others.begin(), others.end());
  std::int64_t left = bytes_max_;
  std::int64_t among = std::ssize(others) + 1;
  for (const std::int64_t bytes : others) {
    if (bytes > left / among) break;
    left -= bytes;
    --among;
  }
  return left / among;
}

std::int64_t PrefixCache::Fits(std::string_view salt, std::int64_t tokens, std::int64_t state_bytes) const {
  const std::int64_t share = Share(TenantOf(salt));
  if (EntryBytes(tokens, state_bytes) <= share) return tokens;
  const std::int64_t each = state_bytes / std::max<std::int64_t>(tokens, 1) + 1 + kTokenBytes;
  const std::int64_t blocks = (share - kEntryBytes) / each / kBlockTokens - 1;  // One less, for what does not shrink with the tokens.
  return std::clamp<std::int64_t>(blocks * kBlockTokens, 0, tokens);
}

// Until there is room for the tenant's bytes, or nobody but it is idle.
void PrefixCache::DropIdle(std::string_view tenant, std::int64_t bytes) {
  if (bytes_ + bytes <= bytes_max_) return;
  const base::MonoTime idle_until = clock_.Mono() - kIdle;
  const std::map<std::string_view, Use> uses = Uses();
  std::vector<std::pair<base::MonoTime, Owners::iterator>> idle;
  for (auto owner = owners_.begin(); owner != owners_.end(); ++owner) {
    const std::string_view of = TenantOf(owner->first);
    if (const base::MonoTime used_at = uses.at(of).used_at; of != tenant && used_at <= idle_until) idle.emplace_back(used_at, owner);
  }
  std::stable_sort(idle.begin(), idle.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [used_at, owner] : idle) {
    for (std::size_t left = owner->second.entries.size(); left > 0 && bytes_ + bytes > bytes_max_; --left)
      Drop(owner, owner->second.entries.begin());
  }
}

bool PrefixCache::MakeRoom(std::string_view salt, std::span<const std::int32_t> tokens, std::int64_t state_bytes) {
  const std::string_view tenant = TenantOf(salt);
  const std::int64_t bytes = EntryBytes(std::ssize(tokens), state_bytes);
  if (Blocks(tokens.size()) == 0 || bytes > Share(tenant)) return false;
  if (const auto known = owners_.find(salt); known != owners_.end()) {
    // An older entry that this one begins with serves no prompt that this one does not.
    const Match match = Longest(known->second, tokens);
    if (match.tokens > 0 && match.tokens >= Blocks(match.entry->tokens.size()) * kBlockTokens) Drop(known, match.entry);
  }
  DropIdle(tenant, bytes);
  while (bytes_ + bytes > bytes_max_) {
    std::map<std::string_view, std::int64_t> used{{tenant, bytes}};
    for (const auto& [other, owner] : owners_) used[TenantOf(other)] += owner.bytes;
    const auto order = [&](const auto& item) {
      const std::string_view of = TenantOf(item.first);
      return std::tuple(used.at(of), of == tenant, item.second.bytes);  // Of two who use as much, who brings something gives way.
    };
    const auto most = std::max_element(owners_.begin(), owners_.end(), [&](const auto& a, const auto& b) { return order(a) < order(b); });
    Drop(most, most->second.entries.begin());
  }
  return true;
}

void PrefixCache::Keep(std::string_view salt, std::vector<std::int32_t> tokens, std::vector<std::uint8_t> state) {
  if (!MakeRoom(salt, tokens, std::ssize(state))) return;
  const std::int64_t bytes = EntryBytes(std::ssize(tokens), std::ssize(state));
  Owner& owner = owners_.try_emplace(std::string(salt)).first->second;
  const std::vector<std::uint64_t> hashes = BlockHashes(tokens, Blocks(tokens.size()));
  const auto entry = owner.entries.insert(owner.entries.end(), Entry{std::move(tokens), std::move(state), bytes});
  for (const std::uint64_t hash : hashes) owner.by_block.emplace(hash, entry);
  owner.bytes += bytes;
  owner.used_at = clock_.Mono();
  bytes_ += bytes;
}

void PrefixCache::Forget(std::string_view salt, std::span<const std::int32_t> prompt) {
  const auto owner = owners_.find(salt);
  if (owner == owners_.end() || prompt.empty()) return;
  const Match match = Longest(owner->second, prompt.first(prompt.size() - 1));
  if (match.tokens > 0) Drop(owner, match.entry);
}

void PrefixCache::Drop(Owners::iterator owner, Entries::iterator entry) {
  auto& by_block = owner->second.by_block;
  for (const std::uint64_t hash : BlockHashes(entry->tokens, Blocks(entry->tokens.size()))) {
    const auto [first, last] = by_block.equal_range(hash);
    for (auto it = first; it != last; ++it) {
      if (it->second != entry) continue;
      by_block.erase(it);
      break;
    }
  }
  owner->second.bytes -= entry->bytes;
  bytes_ -= entry->bytes;
  owner->second.entries.erase(entry);
  if (owner->second.entries.empty()) owners_.erase(owner);
}

std::int64_t PrefixCache::entries() const {
  std::int64_t count = 0;
  for (const auto& [salt, owner] : owners_) count += static_cast<std::int64_t>(owner.entries.size());
  return count;
}

}  // namespace tollgate::inference
