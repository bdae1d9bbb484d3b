// Checks on text that comes with calls. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::admin {

// INVALID_ARGUMENT, naming `what`, unless it is at most `bytes_max` bytes of UTF-8 without control characters.
absl::Status CheckText(std::string_view what, std::string_view text, std::size_t bytes_max);
absl::Status CheckReason(std::string_view reason);  // "reason", 500 bytes.
// And there must be one: "reason: say why {what}; it goes on record".
absl::Status NeedReason(std::string_view reason, std::string_view what);
absl::StatusOr<base::RequestId> RequestOf(const std::string& text);  // INVALID_ARGUMENT, "request_id", unless it is a UUID.

// NOT_FOUND, "there is no team 'acme/serch'", for a `name` that is not there `within` another; INVALID_ARGUMENT if it can be nobody's.
absl::Status NoSuch(std::string_view what, std::string_view within, std::string_view name);

}  // namespace tollgate::admin
