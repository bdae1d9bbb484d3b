// Ed25519 (RFC 8032), over OpenSSL 3. Keys come as PEM, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::base {

// The 32 bytes of a public key in PEM, or of a private key's. INVALID_ARGUMENT: it is none, or of another kind.
absl::StatusOr<std::string> Ed25519PublicKey(std::string_view pem);

// 64 bytes. INVALID_ARGUMENT: no private key of this kind.
absl::StatusOr<std::string> Ed25519Sign(std::string_view private_pem, std::string_view message);

// `public_key`: 32 bytes. False also for what is no key or no signature.
bool Ed25519Verify(std::string_view public_key, std::string_view message, std::string_view signature);

}  // namespace tollgate::base
