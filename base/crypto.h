// The few primitives that rooms share, over OpenSSL 3. All functions are thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::base {

using Digest = std::array<std::uint8_t, 32>;

Digest Sha256(std::string_view bytes);
Digest Sha256(std::string_view first, std::string_view second);  // Of the concatenation.
// Of what takes long: `go_on` is asked again and again, some tens of milliseconds apart. Nothing: it said no.
std::optional<Digest> Sha256While(const std::function<bool()>& go_on, std::string_view bytes);
Digest HmacSha256(std::string_view key, std::string_view bytes);
std::string HkdfSha256(std::string_view secret, std::string_view salt, std::string_view info, std::size_t length);  // RFC 5869
std::string HkdfExpandSha256(std::string_view key, std::string_view info,
                             std::size_t length);                // Its second half: `key` is uniformly random.
std::string RandomBytes(std::size_t count);                      // From the operating system's generator; dies if it fails.
bool ConstantTimeEqual(std::string_view a, std::string_view b);  // Lengths are not secret.
inline std::string_view View(const Digest& d) { return {reinterpret_cast<const char*>(d.data()), d.size()}; }

// AES-256-GCM. `key` 32 bytes, `nonce` 12 bytes; the 16-byte tag ends the ciphertext.
std::string AesGcmSeal(std::string_view key, std::string_view nonce, std::string_view aad, std::string_view plaintext);
absl::StatusOr<std::string> AesGcmOpen(std::string_view key, std::string_view nonce, std::string_view aad,
                                       std::string_view sealed);  // DATA_LOSS if it does not verify

void Wipe(std::string& secret);  // Overwrites and empties.

}  // namespace tollgate::base
