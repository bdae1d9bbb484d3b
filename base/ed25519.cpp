// OpenSSL's EVP interface, with handles that free themselves.
//
// Tested by tests/base/ed25519_test.cpp.
#include "base/ed25519.h"

#include <memory>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

namespace tollgate::base {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Bio Over(std::string_view text) { return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free}; }

// No passphrase is ever asked for.
int NoPassphrase(char*, int, int, void*) { return -1; }

Key ReadKey(std::string_view pem, bool secret) {
  const Bio bio = Over(pem);
  Key key(secret ? PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr)
                 : PEM_read_bio_PUBKEY(bio.get(), nullptr, &NoPassphrase, nullptr),
          &EVP_PKEY_free);
  ERR_clear_error();
  if (key != nullptr && EVP_PKEY_id(key.get()) != EVP_PKEY_ED25519) key.reset();
  return key;
}

}  // namespace

absl::StatusOr<std::string> Ed25519PublicKey(std::string_view pem) {
  Key key = ReadKey(pem, false);
  if (key == nullptr) key = ReadKey(pem, true);
  std::string out(32, '\0');
  std::size_t size = out.size();
  if (key == nullptr || EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(out.data()), &size) != 1)
    return InvalidArgument("this is no Ed25519 key in PEM; make one: openssl genpkey -algorithm ed25519");
  return out;
}

absl::StatusOr<std::string> Ed25519Sign(std::string_view private_pem, std::string_view message) {
  const Key key = ReadKey(private_pem, true);
  if (key == nullptr) return InvalidArgument("this is no private Ed25519 key in PEM; make one: openssl genpkey -algorithm ed25519");
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::string out(64, '\0');
  std::size_t size = out.size();
  TG_CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
               EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, Bytes(message), message.size()) == 1,
           "OpenSSL does not sign");
  return out;
}

bool Ed25519Verify(std::string_view public_key, std::string_view message, std::string_view signature) {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Bytes(public_key), public_key.size()), &EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const bool good = key != nullptr && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
                    EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message), message.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace tollgate::base
