// Fixed widths, so parsing is arithmetic on positions. 43 base-62 digits hold 256 bits (62^43 > 2^256), 6 hold 32. The checksum covers the
// text before it and its underscore. Tested by tests/gateway/identity/api_key_test.cpp.
#include "gateway/identity/api_key.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::identity {
namespace {

constexpr std::size_t kIdWidth = 8, kSecretWidth = 43, kChecksumWidth = 6;
constexpr std::string_view kLive = "tg_live_", kDev = "tg_dev_";
constexpr std::string_view kForm = "an API key looks like tg_live_…, copied whole as it was shown when it was made";

bool Alphanumeric(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
}

std::string ChecksumOf(std::string_view text) {
  std::string bytes;
  base::AppendBigEndian(bytes, base::Crc32(text), 4);
  return base::Base62Encode(bytes, kChecksumWidth);
}

absl::Status Malformed(std::string_view what) { return base::InvalidArgument(fmt::format("malformed API key: {}; {}", what, kForm)); }

}  // namespace

absl::StatusOr<ApiKey> ParseApiKey(std::string_view text) {
  const bool live = text.starts_with(kLive);
  if (!live && !text.starts_with(kDev)) return Malformed("it does not begin with tg_live_ or tg_dev_");
  const std::size_t prefix = live ? kLive.size() : kDev.size();
  if (text.size() != prefix + kIdWidth + 1 + kSecretWidth + 1 + kChecksumWidth) return Malformed("it has a wrong length");
  const std::string_view id = text.substr(prefix, kIdWidth);
  const std::string_view secret = text.substr(prefix + kIdWidth + 1, kSecretWidth);
  const std::string_view checksum = text.substr(text.size() - kChecksumWidth);
  if (text[prefix + kIdWidth] != '_' || text[text.size() - kChecksumWidth - 1] != '_') return Malformed("its parts are not joined by '_'");
  if (!Alphanumeric(id) || !Alphanumeric(secret) || !Alphanumeric(checksum))
    return Malformed("it has a character that is no letter or digit");
  if (ChecksumOf(text.substr(0, text.size() - kChecksumWidth - 1)) != checksum)
    return Malformed("its checksum is wrong: a character was changed");
  return ApiKey{live ? Environment::kLive : Environment::kDev, std::string(id), std::string(secret)};
}

std::string FormatApiKey(const ApiKey& key) {
  std::string text = fmt::format("{}{}_{}", key.environment == Environment::kLive ? kLive : kDev, key.public_id, key.secret);
  text += '_' + ChecksumOf(text);
  return text;
}

ApiKey MintApiKey(Environment environment) {
  // The last 8 digits of a 128-bit number: every id is about equally likely.
  const std::string wide = base::Base62Encode(base::RandomBytes(16), 22);
  return {environment, wide.substr(wide.size() - kIdWidth), base::Base62Encode(base::RandomBytes(32), kSecretWidth)};
}

base::Digest SecretHmac(std::string_view pepper, std::string_view secret) { return base::HmacSha256(pepper, secret); }

}  // namespace tollgate::identity
