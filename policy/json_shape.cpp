// Compile walks the schema once and refuses what Breaks does not honour; references are then known to lead somewhere and not in circles, so
// Breaks follows them as it meets them. Readers differ on which of two like keys counts, and Boost.JSON keeps one: whether keys came twice
// is told by counting the colons that stand outside of strings, one a member.
//
// Tested by tests/policy/json_shape_test.cpp.
#include "policy/json_shape.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>
#include <boost/json.hpp>

namespace tollgate::policy {
namespace {

namespace json = boost::json;

constexpr int kDepthMax = 32;      // Of the schema,
constexpr int kTextDepthMax = 64;  // and of the text.
constexpr int kSchemasMax = 1000;
constexpr std::int64_t kStepsMax = 1 << 25;  // Fields of schemas and values of enums that are looked at, for one text: half a second.

constexpr std::string_view kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
constexpr std::string_view kFormats[] = {"date", "time", "date-time", "uuid"};
constexpr std::string_view kBounds[] = {"minItems", "maxItems", "minLength", "maxLength"};
constexpr std::string_view kAnnotations[] = {"title",     "description", "default", "examples",    "$schema",    "$comment",     "readOnly",
                                             "writeOnly", "$defs",       "$id",     "definitions", "deprecated", "discriminator"};

std::string_view View(json::string_view text) { return {text.data(), text.size()}; }
json::string_view Key(std::string_view text) { return {text.data(), text.size()}; }

template <typename List>
bool IsOneOf(std::string_view name, const List& list) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

const json::value* Target(const json::value& root, const json::value& ref) {
  if (!ref.is_string() || !View(ref.get_string()).starts_with("#/")) return nullptr;
  boost::system::error_code error;
  return root.find_pointer(ref.get_string().subview(1), error);
}

class Checker {
 public:
  explicit Checker(const json::value& root) : root_(root) {}

  absl::Status Schema(const json::value& schema, const std::string& path, int depth) {
    if (depth > kDepthMax) return Bad(path, fmt::format("it is nested deeper than {}", kDepthMax));
    if (++schemas_ > kSchemasMax) return Bad(path, fmt::format("it has more than {} parts", kSchemasMax));
    if (schema.is_bool() && schema.get_bool()) return absl::OkStatus();
    if (!schema.is_object()) return Bad(path, "a schema is an object here, or true");
    for (const auto& field : schema.get_object()) TG_RETURN_IF_ERROR(Field(View(field.key()), field.value(), path, depth));
    return absl::OkStatus();
  }

 private:
  static absl::Status Bad(std::string_view path, std::string_view what) {
    return base::InvalidArgument(fmt::format("the schema is refused at {}: {}", path.empty() ? "its root" : path.substr(0, 120), what));
  }

  absl::Status Field(std::string_view name, const json::value& value, const std::string& path, int depth) {
    const std::string at = fmt::format("{}/{}", path, name);
    if (IsOneOf(name, kAnnotations)) return absl::OkStatus();
    if (name == "$ref") return Reference(value, at, depth);
    if (name == "items" || name == "additionalProperties") {
      return name[0] == 'a' && value.is_bool() ? absl::OkStatus() : Schema(value, at, depth + 1);
    }
    if (name == "properties") {
      if (!value.is_object()) return Bad(at, "it is an object of schemas");
      for (const auto& its : value.get_object()) {
        TG_RETURN_IF_ERROR(Schema(its.value(), fmt::format("{}/{}", at, View(its.key())), depth + 1));
      }
      return absl::OkStatus();
    }
    if (name == "anyOf" || name == "oneOf" || name == "allOf") {
      if (!value.is_array() || value.get_array().empty()) return Bad(at, "it is an array of schemas");
      for (const json::value& its : value.get_array()) TG_RETURN_IF_ERROR(Schema(its, at, depth + 1));
      return absl::OkStatus();
    }
    return Plain(name, value, at);
  }

  static bool AllStrings(const json::value& value) {
    return value.is_array() &&
           std::all_of(value.get_array().begin(), value.get_array().end(), [](const json::value& v) { return v.is_string(); });
  }

  static absl::Status Plain(std::string_view name, const json::value& value, const std::string& at) {
    if (name == "const") return absl::OkStatus();
    if (name == "enum") return value.is_array() && !value.get_array().empty() ? absl::OkStatus() : Bad(at, "it is an array of values");
    if (name == "required") return AllStrings(value) ? absl::OkStatus() : Bad(at, "it is an array of names");
    if (name == "type") {
      const bool list = AllStrings(value) && !value.get_array().empty();
      if (!value.is_string() && !list) return Bad(at, "it is a type's name, or an array of some");
      const auto known = [](const json::value& type) { return IsOneOf(View(type.get_string()), kTypes); };
      const bool good = list ? std::all_of(value.get_array().begin(), value.get_array().end(), known) : known(value);
      return good ? absl::OkStatus() : Bad(at, fmt::format("there are {}", fmt::join(kTypes, ", ")));
    }
    if (name == "format") {
      const bool good = value.is_string() && IsOneOf(View(value.get_string()), kFormats);
      return good ? absl::OkStatus() : Bad(at, fmt::format("there are {}", fmt::join(kFormats, ", ")));
    }
    if (IsOneOf(name, kBounds)) {
      const bool good = value.is_int64() && value.get_int64() >= 0;
      return good ? absl::OkStatus() : Bad(at, "it is a whole number, at least 0");
    }
    return Bad(at, "this keyword is not judged; leave it out");
  }

  absl::Status Reference(const json::value& ref, const std::string& at, int depth) {
    const json::value* target = Target(root_, ref);
    if (target == nullptr) return Bad(at, "it must point into the schema: \"#/$defs/…\"");
    if (!open_.insert(target).second) return Bad(at, "the schema refers to itself: write the nesting out as deep as you need it");
    TG_RETURN_IF_ERROR(Schema(*target, at, depth + 1));
    open_.erase(target);
    return absl::OkStatus();
  }

  const json::value& root_;
  int schemas_ = 0;
  std::set<const json::value*> open_;
};

bool IsOfType(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number() && (!value.is_double() || value.get_double() == std::trunc(value.get_double()));
  return type == "boolean" ? value.is_bool() : value.is_null();
}

bool IsOfFormat(std::string_view text, std::string_view format) {
  static const std::string kDate = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])";
  static const std::string kTime = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:Z|[-+](?:[01][0-9]|2[0-3]):[0-5][0-9])";
  static const re2::RE2 date(kDate), time(kTime), both(kDate + "[Tt]" + kTime),
      uuid("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}");
  const re2::RE2& pattern = format == "date" ? date : format == "time" ? time : format == "uuid" ? uuid : both;
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), pattern);
}

std::int64_t CodePoints(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// What is broken first: the keyword; empty if nothing is.
class Judge {
 public:
  explicit Judge(const json::value& root) : root_(root) {}

  bool gave_up() const { return steps_ > kStepsMax; }

  std::string_view Breaks(const json::value& value, const json::value& schema) {
    if (!schema.is_object()) return {};
    for (const auto& field : schema.get_object()) {
      const std::string_view broken = Field(View(field.key()), field.value(), value, schema.get_object());
      if (!broken.empty()) return broken;
    }
    return {};
  }

 private:
  std::string_view Field(std::string_view name, const json::value& rule, const json::value& value, const json::object& fields) {
    steps_ += name == "enum" ? static_cast<std::int64_t>(rule.get_array().size()) : 1;
    if (gave_up()) return name;
    const auto fits = [&](const json::value& schema) { return Breaks(value, schema).empty(); };
    const auto unless = [&](bool kept) { return kept ? std::string_view() : name; };
    if (name == "$ref") return Breaks(value, *Target(root_, rule));
    if (name == "anyOf") return unless(std::any_of(rule.get_array().begin(), rule.get_array().end(), fits));
    if (name == "allOf") return unless(std::all_of(rule.get_array().begin(), rule.get_array().end(), fits));
    if (name == "oneOf") return unless(std::count_if(rule.get_array().begin(), rule.get_array().end(), fits) == 1);
    if (name == "const") return unless(value == rule);
    if (name == "enum") return unless(std::find(rule.get_array().begin(), rule.get_array().end(), value) != rule.get_array().end());
    if (name == "type") {
      const auto is = [&](const json::value& type) { return IsOfType(value, View(type.get_string())); };
      return unless(rule.is_string() ? is(rule) : std::any_of(rule.get_array().begin(), rule.get_array().end(), is));
    }
    if (value.is_object()) return OfObject(name, rule, value.get_object(), fields);
    if (value.is_array()) return OfArray(name, rule, value.get_array());
    return unless(!value.is_string() || KeepsString(name, rule, View(value.get_string())));
  }

  std::string_view OfObject(std::string_view name, const json::value& rule, const json::object& object, const json::object& fields) {
    if (name == "required") {
      const auto there = [&](const json::value& its) { return object.contains(its.get_string()); };
      return std::all_of(rule.get_array().begin(), rule.get_array().end(), there) ? std::string_view() : name;
    }
    const json::value* declared = fields.if_contains("properties");
    for (const auto& its : object) {
      const json::value* schema = declared == nullptr ? nullptr : declared->get_object().if_contains(its.key());
      if (name == "additionalProperties" && schema == nullptr) {
        if (rule.is_bool() && !rule.get_bool()) return name;
        schema = &rule;
      } else if (name != "properties" || schema == nullptr) {
        continue;
      }
      if (const std::string_view broken = Breaks(its.value(), *schema); !broken.empty()) return broken;
    }
    return {};
  }

  std::string_view OfArray(std::string_view name, const json::value& rule, const json::array& array) {
    const auto size = static_cast<std::int64_t>(array.size());
    if ((name == "minItems" && size < rule.get_int64()) || (name == "maxItems" && size > rule.get_int64())) return name;
    if (name != "items") return {};
    for (const json::value& item : array) {
      if (const std::string_view broken = Breaks(item, rule); !broken.empty()) return broken;
    }
    return {};
  }

  static bool KeepsString(std::string_view name, const json::value& rule, std::string_view text) {
    if (name == "minLength") return CodePoints(text) >= rule.get_int64();
    if (name == "maxLength") return CodePoints(text) <= rule.get_int64();
    return name != "format" || IsOfFormat(text, View(rule.get_string()));
  }

  const json::value& root_;
  std::int64_t steps_ = 0;
};

std::size_t MembersOf(const json::value& value) {
  std::size_t members = 0;
  if (value.is_object()) {
    members = value.get_object().size();
    for (const auto& member : value.get_object()) members += MembersOf(member.value());
  } else if (value.is_array()) {
    for (const json::value& item : value.get_array()) members += MembersOf(item);
  }
  return members;
}

std::size_t ColonsOutside(std::string_view text) {
  std::size_t colons = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (inside && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      inside = !inside;
    else if (!inside && text[i] == ':')
      ++colons;
  }
  return colons;
}

json::parse_options Options() {
  json::parse_options options;
  options.max_depth = kTextDepthMax;
  return options;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const JsonShape>> JsonShape::Compile(std::string_view schema) {
  if (schema.size() > kSchemaBytesMax) return base::InvalidArgument("a schema has at most 32 KiB; make it smaller");
  boost::system::error_code error;
  json::value parsed = json::parse(Key(schema), error, {}, Options());
  if (error) return base::InvalidArgument("the schema is no JSON, or nested deeper than 64");
  TG_RETURN_IF_ERROR(Checker(parsed).Schema(parsed, "", 0));
  return std::shared_ptr<const JsonShape>(new JsonShape(std::move(parsed)));
}

std::string_view JsonShape::Breaks(std::string_view text) const {
  if (text.size() > kTextBytesMax) return "size";
  boost::system::error_code error;
  const json::value value = json::parse(Key(text), error, {}, Options());
  if (error || MembersOf(value) != ColonsOutside(text)) return "json";
  Judge judge(schema_);
  const std::string_view broken = judge.Breaks(value, schema_);
  return judge.gave_up() ? "size" : broken;
}

std::string JsonShape::Why(std::string_view text) const {
  const std::string_view broken = Breaks(text);
  if (broken.empty()) return "the reply is JSON as the rule wants it";
  if (broken == "json") return "the reply is no JSON, or a key comes twice in an object";
  return fmt::format("the reply breaks '{}' of the schema", broken);
}

bool JsonShape::MayBecome(std::string_view begin) const {
  json::stream_parser parser({}, Options());
  boost::system::error_code error;
  parser.write(begin.data(), begin.size(), error);
  return !error;
}

}  // namespace tollgate::policy
