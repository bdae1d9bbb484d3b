// A Merkle tree grown leaf by leaf is the list of its perfect subtrees' roots, largest first: their sizes are the bits of the leaf count.
// Appending a leaf merges equal sizes from the right, as a carry does; the root folds the list from the right (RFC 6962 §2.1).
// Tested by tests/audit/merkle_test.cpp.
#include "audit/merkle.h"

#include <string>

namespace tollgate::audit {

base::Digest HashLeaf(std::string_view head, std::string_view rest) {
  std::string bytes(1, '\0');
  bytes.append(head);
  return base::Sha256(bytes, rest);
}

base::Digest HashChildren(const base::Digest& left, const base::Digest& right) {
  std::string bytes("\1");
  bytes.append(base::View(left));
  bytes.append(base::View(right));
  return base::Sha256(bytes);
}

void MerkleTree::Append(const base::Digest& leaf) {
  base::Digest node = leaf;
  for (std::int64_t size = size_; size & 1; size >>= 1) {
    node = HashChildren(peaks_.back(), node);
    peaks_.pop_back();
  }
  peaks_.push_back(node);
  ++size_;
}

base::Digest MerkleTree::Root() const {
  if (peaks_.empty()) return base::Sha256("");
  base::Digest root = peaks_.back();
  for (std::size_t i = peaks_.size() - 1; i-- > 0;) root = HashChildren(peaks_[i], root);
  return root;
}

}  // namespace tollgate::audit
