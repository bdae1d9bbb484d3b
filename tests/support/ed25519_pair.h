// A fresh Ed25519 key pair in PEM, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them.
#pragma once

#include <string>

namespace tollgate::test {

struct Ed25519Pair {
  std::string private_pem, public_pem;
};
Ed25519Pair MakeEd25519Pair();

}  // namespace tollgate::test
