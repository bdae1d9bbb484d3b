// Tested by tests/inference/upstream_tls_test.cpp.
#include "tests/support/certificates.h"

#include <atomic>
#include <utility>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "base/status.h"

namespace tollgate::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

constexpr long kDay = 24 * 3600;

Key NewKey() { return {EVP_EC_gen("P-256"), &EVP_PKEY_free}; }

void Extend(X509* certificate, int what, const std::string& text) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, text.c_str());
  TG_CHECK(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "an extension of a certificate");
  X509_EXTENSION_free(extension);
}

Certificate NewCertificate(const std::string& name, EVP_PKEY* key, bool expired) {
  static std::atomic<long> serial{1};
  Certificate certificate(X509_new(), &X509_free);
  X509* const x = certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -2 * kDay);
  X509_gmtime_adj(X509_getm_notAfter(x), expired ? -kDay : 2 * kDay);
  X509_set_pubkey(x, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  return certificate;
}

CertificateFiles Write(const TempDir& folder, const std::string& name, X509* certificate, EVP_PKEY* key) {
  const CertificateFiles files{folder.File(name + ".pem"), folder.File(name + ".key")};
  const Bio certificate_file(BIO_new_file(files.certificate.c_str(), "w"), &BIO_free);
  const Bio key_file(BIO_new_file(files.key.c_str(), "w"), &BIO_free);
  TG_CHECK(PEM_write_bio_X509(certificate_file.get(), certificate) == 1 &&
               PEM_write_bio_PrivateKey(key_file.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
           "a certificate's files");
  TG_CHECK(::chmod(files.key.c_str(), 0600) == 0, "a private key's file");  // As the program wants it.
  return files;
}

}  // namespace

struct TestAuthority::Impl {
  Key key{nullptr, &EVP_PKEY_free};
  Certificate certificate{nullptr, &X509_free};
};

TestAuthority::TestAuthority(const TempDir& folder, std::string name) : folder_(folder), impl_(std::make_unique<Impl>()) {
  impl_->key = NewKey();
  impl_->certificate = NewCertificate(name, impl_->key.get(), false);
  X509* const own = impl_->certificate.get();
  X509_set_issuer_name(own, X509_get_subject_name(own));
  Extend(own, NID_basic_constraints, "critical,CA:TRUE");
  TG_CHECK(X509_sign(own, impl_->key.get(), EVP_sha256()) > 0, "an authority signs itself");
  own_ = Write(folder_, name, own, impl_->key.get());
}

TestAuthority::~TestAuthority() = default;

CertificateFiles TestAuthority::Issue(const std::string& name, const std::string& bears, bool expired) const {
  const Key key = NewKey();
  const Certificate certificate = NewCertificate(name, key.get(), expired);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(impl_->certificate.get()));
  Extend(certificate.get(), NID_subject_alt_name, bears);
  TG_CHECK(X509_sign(certificate.get(), impl_->key.get(), EVP_sha256()) > 0, "an authority signs");
  return Write(folder_, name, certificate.get(), key.get());
}

}  // namespace tollgate::test
