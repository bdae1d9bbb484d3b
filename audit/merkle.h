// The RFC 6962 Merkle tree: leaf hashes and roots. Pure; a tree is used by one thread at a time.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/crypto.h"

namespace tollgate::audit {

// SHA-256(0x00 || head || rest) of a leaf's data, which may come in two pieces, and SHA-256(0x01 || left || right).
base::Digest HashLeaf(std::string_view head, std::string_view rest = {});
base::Digest HashChildren(const base::Digest& left, const base::Digest& right);

// Grows by one leaf at a time; holds O(log n) hashes.
class MerkleTree {
 public:
  void Append(const base::Digest& leaf);
  base::Digest Root() const;  // Of no leaves: SHA-256 of nothing.
  std::int64_t size() const { return size_; }

 private:
  std::vector<base::Digest> peaks_;  // Roots of the perfect subtrees, largest first.
  std::int64_t size_ = 0;
};

}  // namespace tollgate::audit
