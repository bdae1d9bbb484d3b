// Wrapping one key under another, and the derivations of audit/FORMAT.md. Internal to audit/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

inline constexpr std::size_t kKeyBytes = 32;
inline constexpr std::size_t kNonceBytes = 12;

std::string BigEndian32(std::uint32_t value);

// nonce ‖ ciphertext ‖ tag.
std::string Wrap(std::string_view key, std::string_view aad, std::string_view secret);
absl::StatusOr<std::string> Unwrap(std::string_view key, std::string_view aad, std::string_view wrapped);  // DATA_LOSS

std::string TenantAad(base::TeamId team, std::uint32_t version);
std::string DayAad(base::TeamId team, std::int64_t day);
std::string RequestInfo(base::TeamId team, base::RequestId request, std::string_view salt);
std::string SubjectKey(std::string_view tenant_key);                           // For end users' HMACs.
std::string PseudonymKey(std::string_view subject_key);                        // For what values are pseudonymised under.
std::string SourceMark(std::string_view source_key, std::string_view source);  // Keys::SourceHmac.

}  // namespace tollgate::audit
