// ApiKey: the text of an API key, and what of it may be stored.
//
//   tg_live_3kQ9xZ0b_<43 characters: 256 random bits in base 62>_<6 characters: CRC-32 of all before, in base 62>
//   └env┘   └ public id: names the key, safe to show and in diagnostics
//
// The prefix and the checksum let secret scanners find leaked keys without false alarms. Only HMAC-SHA-256(pepper, secret) is stored.
// Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/status.h"

namespace tollgate::identity {

enum class Environment { kLive, kDev };  // "live", "dev": dev keys are made by `tollgate dev` and refused by `tollgate serve`.

struct ApiKey {
  Environment environment = Environment::kLive;
  std::string public_id;  // 8 of [0-9A-Za-z].
  std::string secret;     // 43 of [0-9A-Za-z]. Never in messages, logs or records.
};

// INVALID_ARGUMENT says what is malformed (length, prefix, alphabet, checksum), never any of the text.
absl::StatusOr<ApiKey> ParseApiKey(std::string_view text);

std::string FormatApiKey(const ApiKey& key);

// A new key with fresh random id and secret.
ApiKey MintApiKey(Environment environment);

// What is stored and compared.
base::Digest SecretHmac(std::string_view pepper, std::string_view secret);

}  // namespace tollgate::identity
