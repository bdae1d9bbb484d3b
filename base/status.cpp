// Statuses are built from std::string_view here, so that no room needs abseil's string_view.
// Tested by tests/base/status_test.cpp.
#include "base/status.h"

#include <cstdio>
#include <cstdlib>

namespace tollgate::base {

absl::Status MakeStatus(absl::StatusCode code, std::string_view message) {
  return absl::Status(code, absl::string_view(message.data(), message.size()));
}

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status out = MakeStatus(status.code(), std::string(prefix) + ": " + Message(status));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

void Die(const char* file, int line, std::string_view what) {
  std::fprintf(stderr, "tollgate: broken invariant at %s:%d: %.*s\n", file, line, static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace tollgate::base
