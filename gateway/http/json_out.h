// Writing JSON by hand, for bodies whose bytes matter.
#pragma once

#include <string>
#include <string_view>

namespace tollgate::http_front {

// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);

// `text` as a JSON string, or null when it is empty.
void AppendJsonStringOrNull(std::string& out, std::string_view text);

}  // namespace tollgate::http_front
