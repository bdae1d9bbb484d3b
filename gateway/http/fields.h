// Reading one JSON field into a typed value, or a refusal that names it.
#pragma once

#include <boost/json/string_view.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::http_front {

inline std::string_view View(boost::json::string_view s) { return {s.data(), s.size()}; }

// `code` is OpenAI's, in upper case; `param` is the field's path.
absl::Status Refuse(std::string_view code, std::string_view param, std::string_view message);

absl::Status UnknownField(std::string_view param);
absl::Status MissingField(std::string_view param);
absl::Status Unsupported(std::string_view param, std::string_view remedy);  // The field is known and not built.
absl::Status WrongType(std::string_view param, std::string_view wanted, const boost::json::value& got);

absl::StatusOr<bool> ReadBool(std::string_view param, const boost::json::value& value);
absl::StatusOr<double> ReadNumber(std::string_view param, const boost::json::value& value);
absl::StatusOr<std::int64_t> ReadInteger(std::string_view param, const boost::json::value& value, std::int64_t least, std::int64_t most);
absl::StatusOr<std::string> ReadString(std::string_view param, const boost::json::value& value);

// Of a field that has no meaning here: OK for a hint at what a server might keep of a prompt, as clients put them on messages, parts and
// tools. It is an object, and without effect: Tollgate's prefix cache needs none. Any other is UnknownField.
absl::Status CheckOther(std::string_view param, std::string_view key, const boost::json::value& value);

}  // namespace tollgate::http_front
