#include "tests/support/ed25519_pair.h"

#include <memory>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/status.h"

namespace tollgate::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

Ed25519Pair MakeEd25519Pair() {
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free);
  TG_CHECK(key != nullptr, "OpenSSL makes no Ed25519 key");
  const Bio secret(BIO_new(BIO_s_mem()), &BIO_free), open(BIO_new(BIO_s_mem()), &BIO_free);
  TG_CHECK(PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1, "a key cannot be written");
  TG_CHECK(PEM_write_bio_PUBKEY(open.get(), key.get()) == 1, "a key cannot be written");
  return {TextOf(secret.get()), TextOf(open.get())};
}

}  // namespace tollgate::test
