// One loop. Tested by tests/gateway/admin/changes_test.cpp.
#include "gateway/admin/text.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::admin {

absl::Status CheckText(std::string_view what, std::string_view text, std::size_t bytes_max) {
  const bool control = std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (text.size() <= bytes_max && !control && base::IsValidUtf8(text)) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{}: use at most {} bytes of UTF-8 without control characters", what, bytes_max));
}

absl::Status NoSuch(std::string_view what, std::string_view within, std::string_view name) {
  TG_RETURN_IF_ERROR(CheckText(what, name, 63));
  return base::NotFound(fmt::format("there is no {} '{}/{}'", what, within, name));
}

absl::Status CheckReason(std::string_view reason) { return CheckText("reason", reason, 500); }

absl::Status NeedReason(std::string_view reason, std::string_view what) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  if (reason.empty()) return base::InvalidArgument(fmt::format("reason: say why {}; it goes on record", what));
  return absl::OkStatus();
}

absl::StatusOr<base::RequestId> RequestOf(const std::string& text) {
  const auto id = base::Uuid::Parse(text);
  if (!id.ok()) return base::InvalidArgument("request_id: use the UUID that came with the answer");
  return base::RequestId(*id);
}

}  // namespace tollgate::admin
