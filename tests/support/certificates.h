// TestAuthority: an authority that gives certificates out, as files in PEM, for tests of TLS.
#pragma once

#include <memory>
#include <string>

#include "tests/support/temp_dir.h"

namespace tollgate::test {

struct CertificateFiles {
  std::string certificate;
  std::string key;
};

class TestAuthority {
 public:
  // Files go into `folder`, which outlives it. Authorities and certificates of one folder have different names.
  TestAuthority(const TempDir& folder, std::string name);
  ~TestAuthority();

  std::string file() const { return own_.certificate; }

  // `bears`: what its holder is known by, "IP:127.0.0.1" or "DNS:gpu.example". `expired`: it has run out.
  CertificateFiles Issue(const std::string& name, const std::string& bears = "IP:127.0.0.1", bool expired = false) const;

 private:
  struct Impl;
  const TempDir& folder_;
  CertificateFiles own_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::test
