#include <catch2/catch_test_macros.hpp>

#include "audit/merkle.h"
#include "base/encoding.h"
#include "tests/support/random.h"

namespace tollgate::audit {
namespace {

std::string Hex(const base::Digest& digest) { return base::HexEncode(base::View(digest)); }

// RFC 6962 §2.1, as it is written.
base::Digest RootOf(const std::vector<base::Digest>& leaves, std::size_t begin, std::size_t end) {
  const std::size_t n = end - begin;
  if (n == 0) return base::Sha256("");
  if (n == 1) return leaves[begin];
  std::size_t k = 1;
  while (k * 2 < n) k *= 2;
  return HashChildren(RootOf(leaves, begin, begin + k), RootOf(leaves, begin + k, end));
}

TEST_CASE("Roots are those of RFC 6962's reference vectors") {
  const char* const inputs[] = {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
  const char* const roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                               "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                               "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                               "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                               "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                               "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                               "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  MerkleTree tree;
  CHECK(Hex(tree.Root()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t i = 0; i < std::size(inputs); ++i) {
    tree.Append(HashLeaf(*base::HexDecode(inputs[i])));
    CHECK(Hex(tree.Root()) == roots[i]);
  }
  CHECK(tree.size() == 8);
}

TEST_CASE("A tree grown leaf by leaf has the root of the definition, at every size") {
  std::vector<base::Digest> leaves;
  MerkleTree tree;
  for (int i = 0; i < 300; ++i) {
    leaves.push_back(HashLeaf(std::to_string(i)));
    tree.Append(leaves.back());
    REQUIRE(tree.Root() == RootOf(leaves, 0, leaves.size()));
  }
}

}  // namespace
}  // namespace tollgate::audit
