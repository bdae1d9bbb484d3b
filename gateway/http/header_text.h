// What the text of a header, or of a path, means. Pure; thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace tollgate::http_front {

// %41 is A; what is no escape stays as it is.
std::string PercentDecode(std::string_view text);

// Words of people, in whichever way a client could send them: UTF-8; UTF-8''Pr%C3%BCfung, as RFC 8187 writes what is not ASCII; or Latin-1.
std::string HeaderWords(std::string_view value);

// A time in `unit`, "90" or "90.5", of a day at most: more is a day. Nothing: it is none, or not above zero.
std::optional<std::chrono::milliseconds> HeaderTime(std::string_view value, std::chrono::milliseconds unit);

}  // namespace tollgate::http_front
