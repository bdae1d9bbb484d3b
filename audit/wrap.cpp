// Every wrapped key names in its associated data what it is and whose: a row moved to another team, day or request does not open.
// Tested by tests/audit/keys_test.cpp.
#include "audit/wrap.h"

#include "base/crypto.h"
#include "base/encoding.h"

namespace tollgate::audit {

std::string BigEndian32(std::uint32_t value) {
  std::string out;
  base::AppendBigEndian(out, value, 4);
  return out;
}

std::string Wrap(std::string_view key, std::string_view aad, std::string_view secret) {
  std::string nonce = base::RandomBytes(kNonceBytes);
  return nonce + base::AesGcmSeal(key, nonce, aad, secret);
}

absl::StatusOr<std::string> Unwrap(std::string_view key, std::string_view aad, std::string_view wrapped) {
  if (wrapped.size() < kNonceBytes) return base::DataLoss("a stored key is cut short");
  return base::AesGcmOpen(key, wrapped.substr(0, kNonceBytes), aad, wrapped.substr(kNonceBytes));
}

std::string TenantAad(base::TeamId team, std::uint32_t version) { return "TGKT" + team.Bytes() + BigEndian32(version); }
std::string DayAad(base::TeamId team, std::int64_t day) { return "TGKD" + team.Bytes() + BigEndian32(static_cast<std::uint32_t>(day)); }
std::string RequestInfo(base::TeamId team, base::RequestId request, std::string_view salt) {
  return "TGKQ" + team.Bytes() + request.Bytes() + std::string(salt);
}

std::string SubjectKey(std::string_view tenant_key) { return base::HkdfSha256(tenant_key, "", "tollgate end user v1", kKeyBytes); }

std::string PseudonymKey(std::string_view subject_key) { return base::HkdfExpandSha256(subject_key, "tollgate pseudonym v1", kKeyBytes); }

std::string SourceMark(std::string_view source_key, std::string_view source) {
  return std::string(base::View(base::HmacSha256(source_key, source)).substr(0, 16));
}

}  // namespace tollgate::audit
