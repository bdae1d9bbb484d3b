// Boost.JSON's parser drives a handler of ours, which builds the value on Boost's own stack and keeps the keys of the objects that are
// open, so that an object's end can look for a repeated one. The parser itself refuses invalid UTF-8 (also in escapes) and too deep
// nesting.
//
// Tested by tests/gateway/http/strict_json_test.cpp.
#include "gateway/http/strict_json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_stack.hpp>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/http/fields.h"

namespace tollgate::http_front {
namespace {

namespace json = boost::json;
using Error = json::error_code;

// The names are Boost.JSON's.
struct Handler {
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  bool on_document_begin(Error&) { return true; }
  bool on_document_end(Error&) { return true; }
  bool on_object_begin(Error&) { return true; }
  bool on_object_end(std::size_t n, Error& error) {
    const auto first = keys.end() - static_cast<std::ptrdiff_t>(n);
    std::sort(first, keys.end());
    const auto twice = std::adjacent_find(first, keys.end());
    if (twice != keys.end()) {
      duplicate = std::move(*twice);
      error = make_error_code(boost::system::errc::invalid_argument);
      return false;
    }
    keys.erase(first, keys.end());
    stack.push_object(n);
    return true;
  }
  bool on_array_begin(Error&) { return true; }
  bool on_array_end(std::size_t n, Error&) {
    stack.push_array(n);
    return true;
  }
  bool on_key_part(json::string_view s, std::size_t, Error&) {
    stack.push_chars(s);
    key.append(s.data(), s.size());
    return true;
  }
  bool on_key(json::string_view s, std::size_t, Error&) {
    stack.push_key(s);
    key.append(s.data(), s.size());
    keys.push_back(std::exchange(key, {}));
    return true;
  }
  bool on_string_part(json::string_view s, std::size_t, Error&) {
    stack.push_chars(s);
    return true;
  }
  bool on_string(json::string_view s, std::size_t, Error&) {
    stack.push_string(s);
    return true;
  }
  bool on_number_part(json::string_view, Error&) { return true; }
  bool on_int64(std::int64_t i, json::string_view, Error&) {
    stack.push_int64(i);
    return true;
  }
  bool on_uint64(std::uint64_t u, json::string_view, Error&) {
    stack.push_uint64(u);
    return true;
  }
  bool on_double(double d, json::string_view s, Error&) {
    doubles.push_back(View(s));
    stack.push_double(d);
    return true;
  }
  bool on_bool(bool b, Error&) {
    stack.push_bool(b);
    return true;
  }
  bool on_null(Error&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, Error&) { return true; }
  bool on_comment(json::string_view, Error&) { return true; }

  json::value_stack stack;
  std::string key;                // The part of a key read so far.
  std::vector<std::string> keys;  // Of the objects that are open, innermost last.
  std::string duplicate;
  std::vector<std::string_view> doubles;  // As they are spelt, in their order; the text is read in one piece, so each is whole.
};

// Values stand in the order in which they were read.
void Spell(const json::value& value, const std::vector<std::string_view>& doubles, NumberTexts& numbers) {
  if (value.is_double()) {
    numbers.emplace(&value, doubles[numbers.size()]);
  } else if (value.is_array()) {
    for (const json::value& element : value.get_array()) Spell(element, doubles, numbers);
  } else if (value.is_object()) {
    for (const auto& field : value.get_object()) Spell(field.value(), doubles, numbers);
  }
}

void Append(const json::value& value, const NumberTexts& numbers, std::string& out) {
  if (value.is_array()) {
    out += '[';
    for (const json::value& element : value.get_array()) {
      if (&element != value.get_array().data()) out += ',';
      Append(element, numbers, out);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& field : value.get_object()) {
      if (!std::exchange(first, false)) out += ',';
      out += json::serialize(field.key());
      out += ':';
      Append(field.value(), numbers, out);
    }
    out += '}';
  } else {
    const auto spelt = numbers.find(&value);
    out += spelt != numbers.end() ? std::string(spelt->second) : json::serialize(value);
  }
}

absl::Status Bad(std::string message) {
  return base::WithDetail(base::InvalidArgument(message), {.reason = "INVALID_JSON", .may_retry = false});
}

std::string Why(const Error& error, std::string_view text) {
  if (error == json::error::too_deep) return fmt::format("it is nested deeper than {} levels", kJsonDepthMax);
  if (error == json::error::incomplete) return "it ends too early";
  if (error == json::error::extra_data) return "text follows after the value";
  if (!base::IsValidUtf8(text)) return "it is not UTF-8";
  return error.message();
}

}  // namespace

absl::StatusOr<json::value> ParseStrictJson(std::string_view text, const json::storage_ptr& storage, NumberTexts* numbers) {
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  json::basic_parser<Handler> parser(options);
  parser.handler().stack.reset(storage);
  Error error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  if (!parser.handler().duplicate.empty() || (error && error.category() == boost::system::generic_category())) {
    return Bad(
        fmt::format("the request body names the key \"{}\" twice in one object; send it once", parser.handler().duplicate.substr(0, 64)));
  }
  if (!error && read < text.size()) error = json::error::extra_data;
  if (error) return Bad(fmt::format("the request body is not valid JSON: {} (at byte {})", Why(error, text), read));
  json::value root = parser.handler().stack.release();
  if (numbers != nullptr && !parser.handler().doubles.empty()) Spell(root, parser.handler().doubles, *numbers);
  return root;
}

absl::StatusOr<boost::json::object> ParseBody(std::string_view text, const boost::json::storage_ptr& storage, NumberTexts* numbers) {
  TG_ASSIGN(boost::json::value root, ParseStrictJson(text, storage, numbers));
  if (!root.is_object()) return Refuse("INVALID_TYPE", "", "The request body must be a JSON object.");
  return std::move(root.get_object());
}

std::string JsonAsSpelt(const json::value& value, const NumberTexts& numbers) {
  std::string out;
  Append(value, numbers, out);
  return out;
}

}  // namespace tollgate::http_front
