// Signatures: those of RFC 8032 hold, and nothing else does.
#include <catch2/catch_test_macros.hpp>

#include "base/ed25519.h"
#include "base/encoding.h"
#include "tests/support/ed25519_pair.h"

using namespace tollgate;

TEST_CASE("A signature holds for its key and its message, and for nothing else") {
  const test::Ed25519Pair pair = test::MakeEd25519Pair(), other = test::MakeEd25519Pair();
  const auto key = base::Ed25519PublicKey(pair.public_pem), stranger = base::Ed25519PublicKey(other.public_pem);
  REQUIRE(key.ok());
  CHECK(key->size() == 32);
  CHECK(*base::Ed25519PublicKey(pair.private_pem) == *key);
  const auto signature = base::Ed25519Sign(pair.private_pem, "a message");
  REQUIRE(signature.ok());
  CHECK(base::Ed25519Verify(*key, "a message", *signature));
  CHECK_FALSE(base::Ed25519Verify(*key, "a message.", *signature));
  CHECK_FALSE(base::Ed25519Verify(*stranger, "a message", *signature));
  CHECK_FALSE(base::Ed25519Verify(*key, "a message", signature->substr(1)));
  CHECK_FALSE(base::Ed25519Verify("short", "a message", *signature));
  std::string bent = *signature;
  bent[10] = static_cast<char>(bent[10] ^ 1);
  CHECK_FALSE(base::Ed25519Verify(*key, "a message", bent));
}

TEST_CASE("The first test of RFC 8032 holds") {
  const auto key = base::HexDecode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const auto signature = base::HexDecode(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
  REQUIRE((key.ok() && signature.ok()));
  CHECK(base::Ed25519Verify(*key, "", *signature));
}

TEST_CASE("What is no key of the kind is refused") {
  for (const char* pem : {"", "none", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}) {
    CHECK_FALSE(base::Ed25519PublicKey(pem).ok());
    CHECK_FALSE(base::Ed25519Sign(pem, "x").ok());
  }
  CHECK_FALSE(base::Ed25519Sign(test::MakeEd25519Pair().public_pem, "x").ok());
}
