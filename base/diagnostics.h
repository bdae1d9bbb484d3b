// Diagnostics: one line of text per event on standard error, for whoever operates the program. Never content, never secrets.
#pragma once

#include <string_view>

#include <fmt/format.h>

namespace tollgate::base {

enum class Level { kDebug, kInfo, kWarn, kError };

void SetDiagnosticsLevel(Level least);                                     // Default kInfo.
void SetDiagnosticsJson(bool on);                                          // One JSON object a line instead of text.
void Diagnose(Level level, std::string_view room, std::string_view text);  // Any thread.

template <typename... Args>
void Info(std::string_view room, fmt::format_string<Args...> f, Args&&... args) {
  Diagnose(Level::kInfo, room, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void Warn(std::string_view room, fmt::format_string<Args...> f, Args&&... args) {
  Diagnose(Level::kWarn, room, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void Error(std::string_view room, fmt::format_string<Args...> f, Args&&... args) {
  Diagnose(Level::kError, room, fmt::format(f, std::forward<Args>(args)...));
}

}  // namespace tollgate::base
