// Known answers of FIPS 180-4, RFC 4231, RFC 5869 and the GCM specification, and what must not verify.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/crypto.h"
#include "base/encoding.h"

using namespace tollgate::base;

namespace {

std::string Hex(const Digest& d) { return HexEncode(View(d)); }
std::string Unhex(std::string_view text) { return *HexDecode(text); }

}  // namespace

TEST_CASE("SHA-256 gives FIPS 180-4's answers, whole and in two parts") {
  CHECK(Hex(Sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Hex(Sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(Hex(Sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(Hex(Sha256(std::string(1'000'000, 'a'))) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(Sha256("ab", "c") == Sha256("abc"));
  CHECK(Sha256("", "abc") == Sha256("abc"));
  const std::string large((40 << 20) + 1, 'a');
  int asked = 0;
  CHECK(Sha256While([&] { return ++asked > 0; }, large) == Sha256(large));
  CHECK(asked == 3);
  CHECK(Sha256While([] { return true; }, "") == Sha256(""));
  CHECK_FALSE(Sha256While([&] { return --asked > 0; }, large).has_value());
}

TEST_CASE("HMAC-SHA-256 gives RFC 4231's answers") {
  struct Row {
    std::string key, data, mac;
  };
  const auto row = GENERATE(
      values<Row>({{std::string(20, '\x0b'), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
                   {"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
                   {std::string(20, '\xaa'), std::string(50, '\xdd'), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
                   {std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First",
                    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
                   {"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"}}));
  CHECK(Hex(HmacSha256(row.key, row.data)) == row.mac);
}

TEST_CASE("HKDF-SHA-256 gives RFC 5869's answers") {
  CHECK(HexEncode(HkdfSha256(std::string(22, '\x0b'), Unhex("000102030405060708090a0b0c"), Unhex("f0f1f2f3f4f5f6f7f8f9"), 42)) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  CHECK(HexEncode(HkdfSha256(std::string(22, '\x0b'), "", "", 42)) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
  CHECK(HkdfSha256("secret", "salt", "info", 0).empty());
  CHECK(HexEncode(HkdfExpandSha256(Unhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"), Unhex("f0f1f2f3f4f5f6f7f8f9"),
                                   42)) == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST_CASE("AES-256-GCM gives the specification's answers and opens what it sealed") {
  struct Row {
    std::string key, nonce, aad, plain, sealed;
  };
  const auto row = GENERATE(values<Row>(
      {{std::string(64, '0'), std::string(24, '0'), "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
       {std::string(64, '0'), std::string(24, '0'), "", std::string(32, '0'),
        "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
       {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"}}));
  const std::string sealed = AesGcmSeal(Unhex(row.key), Unhex(row.nonce), Unhex(row.aad), Unhex(row.plain));
  CHECK(HexEncode(sealed) == row.sealed);
  CHECK(*AesGcmOpen(Unhex(row.key), Unhex(row.nonce), Unhex(row.aad), sealed) == Unhex(row.plain));
}

TEST_CASE("Sealed content does not open when a bit of it, its key, nonce or context is another") {
  const std::string key = RandomBytes(32);
  const std::string nonce = RandomBytes(12);
  const std::string sealed = AesGcmSeal(key, nonce, "tenant a", "secret text");
  const auto refused = [](const absl::StatusOr<std::string>& opened) { return opened.status().code() == absl::StatusCode::kDataLoss; };
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    CHECK(refused(AesGcmOpen(key, nonce, "tenant a", changed)));
  }
  CHECK(refused(AesGcmOpen(RandomBytes(32), nonce, "tenant a", sealed)));
  CHECK(refused(AesGcmOpen(key, RandomBytes(12), "tenant a", sealed)));
  CHECK(refused(AesGcmOpen(key, nonce, "tenant b", sealed)));
  CHECK(refused(AesGcmOpen(key, nonce, "", sealed)));
  CHECK(refused(AesGcmOpen(key, nonce, "tenant a", sealed.substr(1))));
  CHECK(refused(AesGcmOpen(key, nonce, "tenant a", "short")));
}

TEST_CASE("Comparing, wiping and random bytes do what they say") {
  CHECK(ConstantTimeEqual("", ""));
  CHECK(ConstantTimeEqual("abc", "abc"));
  CHECK_FALSE(ConstantTimeEqual("abc", "abd"));
  CHECK_FALSE(ConstantTimeEqual("abc", "ab"));
  CHECK(RandomBytes(0).empty());
  CHECK(RandomBytes(32) != RandomBytes(32));
  std::string secret = "a secret that is longer than the small buffer of a string";
  Wipe(secret);
  CHECK(secret.empty());
}
