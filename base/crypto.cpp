// A thin face over OpenSSL 3's EVP. A failure of the library itself (out of memory, no provider) is a broken invariant and ends the
// program; only a ciphertext that does not verify is an error for the caller.
// Tested by tests/base/crypto_test.cpp.
#include "base/crypto.h"

#include <cstring>
#include <memory>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

namespace tollgate::base {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
  void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
  void operator()(EVP_CIPHER* c) const { EVP_CIPHER_free(c); }
  void operator()(EVP_MD* c) const { EVP_MD_free(c); }
  void operator()(EVP_MAC_CTX* c) const { EVP_MAC_CTX_free(c); }
  void operator()(EVP_MAC* c) const { EVP_MAC_free(c); }
};

const unsigned char* Data(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* Data(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

// Fetched once: a fetch by name at each call costs more than the hash of a short text.
const EVP_MD* Sha256Method() {
  static const std::unique_ptr<EVP_MD, FreeContext> method(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  TG_CHECK(method != nullptr, "OpenSSL has no SHA-256");
  return method.get();
}

EVP_MAC_CTX* NewHmacContext() {
  static const std::unique_ptr<EVP_MAC, FreeContext> method(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  EVP_MAC_CTX* context = method == nullptr ? nullptr : EVP_MAC_CTX_new(method.get());
  TG_CHECK(context != nullptr && EVP_MAC_CTX_set_params(context, params) == 1, "OpenSSL has no HMAC-SHA-256");
  return context;
}

const EVP_CIPHER* GcmMethod() {
  static const std::unique_ptr<EVP_CIPHER, FreeContext> method(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  TG_CHECK(method != nullptr, "OpenSSL has no AES-256-GCM");
  return method.get();
}

// Random bytes of one thread, drawn by the hundred: each draw asks the kernel several times whether the process has forked. What was
// taken is wiped here, and no byte is given twice. A forked child must not use it: ours only start another program.
class Stock {
 public:
  static constexpr std::size_t kBytes = 1024;

  ~Stock() { OPENSSL_cleanse(bytes_, kBytes); }
  void Take(std::string& out) {
    if (left_ < out.size()) {
      TG_CHECK(RAND_bytes(bytes_, kBytes) == 1, "the random generator failed");
      left_ = kBytes;
    }
    left_ -= out.size();
    std::memcpy(out.data(), bytes_ + left_, out.size());
    OPENSSL_cleanse(bytes_ + left_, out.size());
  }

 private:
  unsigned char bytes_[kBytes];
  std::size_t left_ = 0;
};

void CheckSizes(std::string_view key, std::string_view nonce) {
  TG_CHECK(key.size() == kKeyBytes, "an AES-256 key has 32 bytes");
  TG_CHECK(nonce.size() == kNonceBytes, "a GCM nonce has 12 bytes");
}

}  // namespace

Digest Sha256(std::string_view bytes) { return Sha256(bytes, {}); }

Digest Sha256(std::string_view first, std::string_view second) {
  thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  Digest out{};
  unsigned int size = 0;
  const bool ok =
      EVP_DigestInit_ex(context.get(), Sha256Method(), nullptr) == 1 && EVP_DigestUpdate(context.get(), first.data(), first.size()) == 1 &&
      EVP_DigestUpdate(context.get(), second.data(), second.size()) == 1 && EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1;
  TG_CHECK(ok && size == out.size(), "SHA-256 failed");
  return out;
}

std::optional<Digest> Sha256While(const std::function<bool()>& go_on, std::string_view bytes) {
  constexpr std::size_t kPart = 16 << 20;
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  Digest out{};
  unsigned int size = 0;
  bool ok = EVP_DigestInit_ex(context.get(), Sha256Method(), nullptr) == 1;
  for (std::size_t at = 0; ok && at < bytes.size(); at += kPart) {
    if (!go_on()) return std::nullopt;
    const std::string_view part = bytes.substr(at, kPart);
    ok = EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  }
  ok = ok && EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1;
  TG_CHECK(ok && size == out.size(), "SHA-256 failed");
  return out;
}

Digest HmacSha256(std::string_view key, std::string_view bytes) {
  thread_local const std::unique_ptr<EVP_MAC_CTX, FreeContext> context(NewHmacContext());
  Digest out{};
  std::size_t size = 0;
  static const unsigned char kEmpty = 0;  // OpenSSL takes a null key for "the one before".
  const bool ok = EVP_MAC_init(context.get(), key.empty() ? &kEmpty : Data(key), key.size(), nullptr) == 1 &&
                  EVP_MAC_update(context.get(), Data(bytes), bytes.size()) == 1 &&
                  EVP_MAC_final(context.get(), out.data(), &size, out.size()) == 1;
  TG_CHECK(ok && size == out.size(), "HMAC-SHA-256 failed");
  return out;
}

std::string HkdfSha256(std::string_view secret, std::string_view salt, std::string_view info, std::size_t length) {
  const Digest zeros{};
  return HkdfExpandSha256(View(HmacSha256(salt.empty() ? View(zeros) : salt, secret)), info, length);
}

std::string HkdfExpandSha256(std::string_view key, std::string_view info, std::size_t length) {
  TG_CHECK(length <= 255 * sizeof(Digest), "HKDF-SHA-256 makes at most 8,160 bytes");
  std::string out;
  std::string block;
  for (unsigned char i = 1; out.size() < length; ++i) {
    std::string input = block;
    input.append(info);
    input.push_back(static_cast<char>(i));
    const Digest next = HmacSha256(key, input);
    block.assign(View(next));
    out.append(block, 0, length - out.size());
  }
  return out;
}

std::string RandomBytes(std::size_t count) {
  thread_local Stock stock;
  std::string out(count, '\0');
  if (count <= Stock::kBytes / 4) {
    stock.Take(out);
  } else {
    TG_CHECK(RAND_bytes(Data(out), static_cast<int>(count)) == 1, "the random generator failed");
  }
  return out;
}

bool ConstantTimeEqual(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string AesGcmSeal(std::string_view key, std::string_view nonce, std::string_view aad, std::string_view plaintext) {
  CheckSizes(key, nonce);
  const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
  std::string out(plaintext.size() + kTagBytes, '\0');
  int size = 0;
  bool ok = EVP_EncryptInit_ex2(context.get(), GcmMethod(), Data(key), Data(nonce), nullptr) == 1;
  if (!aad.empty()) ok = ok && EVP_EncryptUpdate(context.get(), nullptr, &size, Data(aad), static_cast<int>(aad.size())) == 1;
  if (!plaintext.empty()) {
    ok = ok && EVP_EncryptUpdate(context.get(), Data(out), &size, Data(plaintext), static_cast<int>(plaintext.size())) == 1;
  }
  ok = ok && EVP_EncryptFinal_ex(context.get(), Data(out) + plaintext.size(), &size) == 1 &&
       EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, Data(out) + plaintext.size()) == 1;
  TG_CHECK(ok, "AES-256-GCM failed to seal");
  return out;
}

absl::StatusOr<std::string> AesGcmOpen(std::string_view key, std::string_view nonce, std::string_view aad, std::string_view sealed) {
  CheckSizes(key, nonce);
  if (sealed.size() < kTagBytes) return DataLoss("sealed content is shorter than its tag");
  const std::size_t length = sealed.size() - kTagBytes;
  std::string tag(sealed.substr(length));
  const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
  std::string out(length, '\0');
  int size = 0;
  bool ok = EVP_DecryptInit_ex2(context.get(), GcmMethod(), Data(key), Data(nonce), nullptr) == 1;
  if (!aad.empty()) ok = ok && EVP_DecryptUpdate(context.get(), nullptr, &size, Data(aad), static_cast<int>(aad.size())) == 1;
  if (length > 0) ok = ok && EVP_DecryptUpdate(context.get(), Data(out), &size, Data(sealed), static_cast<int>(length)) == 1;
  unsigned char rest[kTagBytes];
  ok = ok && EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
       EVP_DecryptFinal_ex(context.get(), rest, &size) == 1;
  if (!ok) {
    Wipe(out);
    return DataLoss("sealed content does not verify: it was changed, or the key or its context is another");
  }
  return out;
}

void Wipe(std::string& secret) {
  secret.resize(secret.capacity());
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace tollgate::base
