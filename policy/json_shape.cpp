// The judge walks text and schema together. A schema may refer to itself, and a text is as deep as it likes within bounds; steps and depth
// are counted. Readers differ on which of two like keys counts, and Boost.JSON keeps one: whether keys came twice is told by counting the
// colons that stand outside of strings, one a member.
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
#include <re2/re2.h>
#include <boost/json.hpp>

#include "policy/json_schema.h"

namespace tollgate::policy {
namespace {

namespace json = boost::json;

constexpr int kTextDepthMax = 64;
constexpr int kNestingMax = 600;                       // Of schemas within schemas, while one text is judged.
constexpr std::int64_t kStepsMax = 1 << 25;            // For one text: half a second.
constexpr std::int64_t kBytesAStep = 64;               // Of what is read in one go.
constexpr long double kRounding = 1.0L / (1LL << 51);  // What a decimal fraction may be off, as a part of itself, once it is binary.

std::string_view View(json::string_view text) { return {text.data(), text.size()}; }
json::string_view Key(std::string_view text) { return {text.data(), text.size()}; }

// Exact: a long double has 64 bits of mantissa at least.
long double Number(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  return value.is_uint64() ? static_cast<long double>(value.get_uint64()) : value.get_double();
}

bool IsWhole(const json::value& value) { return !value.is_double() || value.get_double() == std::trunc(value.get_double()); }

bool IsOfType(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number() && IsWhole(value);
  return type == "boolean" ? value.is_bool() : value.is_null();
}

// As JSON Schema has it: 1 and 1.0 are the same number.
bool Same(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return Number(a) == Number(b);
  if (a.is_array() && b.is_array()) {
    return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(), b.get_array().end(), Same);
  }
  if (!a.is_object() || !b.is_object()) return a == b;
  const auto has = [&](const auto& its) {
    const json::value* other = b.get_object().if_contains(its.key());
    return other != nullptr && Same(its.value(), *other);
  };
  return a.get_object().size() == b.get_object().size() && std::all_of(a.get_object().begin(), a.get_object().end(), has);
}

// One text for all values that are the same.
void Canonical(const json::value& value, std::string& out) {
  if (value.is_number()) {
    out += fmt::format("{:a}", Number(value) == 0 ? 0.0L : Number(value));
  } else if (value.is_array()) {
    out += '[';
    for (const json::value& item : value.get_array()) (Canonical(item, out), out += ',');
    out += ']';
  } else if (value.is_object()) {
    std::vector<std::pair<std::string_view, const json::value*>> members;
    for (const auto& its : value.get_object()) members.emplace_back(View(its.key()), &its.value());
    std::sort(members.begin(), members.end());
    out += '{';
    for (const auto& [key, its] : members) {
      out += json::serialize(Key(key)) + ':';
      Canonical(*its, out);
      out += ',';
    }
    out += '}';
  } else {
    out += json::serialize(value);
  }
}

std::int64_t CodePoints(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

bool IsMultiple(const json::value& value, const json::value& of) {
  const long double left = std::fabs(std::remainder(Number(value), Number(of)));
  return left == 0 || (!(IsWhole(value) && IsWhole(of)) && left <= kRounding * std::fabs(Number(value)));
}

// What is broken first: the keyword; empty if nothing is.
class Judge {
 public:
  explicit Judge(const JsonSchema& schema) : schema_(schema) {}

  bool gave_up() const { return steps_ > kStepsMax || nesting_max_ > kNestingMax; }

  std::string_view Breaks(const json::value& value, const json::value& schema) {
    if (schema.is_bool()) return schema.get_bool() ? "" : "false";
    nesting_max_ = std::max(nesting_max_, ++nesting_);
    std::string_view broken;
    for (const auto& field : schema.get_object()) {
      ++steps_;
      broken = gave_up() ? View(field.key()) : Field(View(field.key()), field.value(), value, schema.get_object());
      if (!broken.empty()) break;
    }
    --nesting_;
    return broken;
  }

 private:
  static std::string_view Unless(bool kept, std::string_view name) { return kept ? std::string_view() : name; }

  std::string_view Field(std::string_view name, const json::value& rule, const json::value& value, const json::object& fields) {
    if (name == "$ref") return Breaks(value, *schema_.Target(rule));
    if (name == "const") return Unless(Same(value, rule), name);
    if (name == "enum") {
      steps_ += static_cast<std::int64_t>(rule.get_array().size());
      return Unless(std::any_of(rule.get_array().begin(), rule.get_array().end(), [&](const json::value& its) { return Same(value, its); }),
                    name);
    }
    if (name == "type") {
      const auto is = [&](const json::value& type) { return IsOfType(value, View(type.get_string())); };
      return Unless(rule.is_string() ? is(rule) : std::any_of(rule.get_array().begin(), rule.get_array().end(), is), name);
    }
    if (const auto broken = OfSeveral(name, rule, value, fields); !broken.empty()) return broken;
    if (value.is_object()) return OfObject(name, rule, value.get_object(), fields);
    if (value.is_array()) return OfArray(name, rule, value.get_array(), fields);
    if (value.is_number()) return Unless(KeepsNumber(name, rule, value), name);
    return Unless(!value.is_string() || KeepsString(name, rule, View(value.get_string())), name);
  }

  // Schemas that are put together.
  std::string_view OfSeveral(std::string_view name, const json::value& rule, const json::value& value, const json::object& fields) {
    const auto fits = [&](const json::value& schema) { return Breaks(value, schema).empty(); };
    if (name == "anyOf") return Unless(std::any_of(rule.get_array().begin(), rule.get_array().end(), fits), name);
    if (name == "allOf") return Unless(std::all_of(rule.get_array().begin(), rule.get_array().end(), fits), name);
    if (name == "oneOf") return Unless(std::count_if(rule.get_array().begin(), rule.get_array().end(), fits) == 1, name);
    if (name == "not") return Unless(!fits(rule), name);
    if (name == "dependentSchemas" && value.is_object()) {
      for (const auto& its : rule.get_object()) {
        if (value.get_object().contains(its.key()) && !fits(its.value())) return name;
      }
    }
    if (name != "if") return {};
    const json::value* branch = fields.if_contains(fits(rule) ? "then" : "else");
    return branch == nullptr ? std::string_view() : Breaks(value, *branch);
  }

  std::string_view OfObject(std::string_view name, const json::value& rule, const json::object& object, const json::object& fields) {
    const auto has = [&](const json::value& its) { return object.contains(its.get_string()); };
    const auto size = static_cast<std::int64_t>(object.size());
    if (name == "required") return Unless(std::all_of(rule.get_array().begin(), rule.get_array().end(), has), name);
    if (name == "minProperties") return Unless(size >= rule.get_int64(), name);
    if (name == "maxProperties") return Unless(size <= rule.get_int64(), name);
    if (name == "dependentRequired") {
      for (const auto& its : rule.get_object()) {
        const json::array& names = its.value().get_array();
        if (object.contains(its.key()) && !std::all_of(names.begin(), names.end(), has)) return name;
      }
      return {};
    }
    const bool of_members =
        name == "properties" || name == "patternProperties" || name == "additionalProperties" || name == "propertyNames";
    if (!of_members) return {};
    for (const auto& its : object) {
      if (const auto broken = OfMember(name, rule, its, fields); !broken.empty()) return broken;
    }
    return {};
  }

  std::string_view OfMember(std::string_view name, const json::value& rule, const json::key_value_pair& its, const json::object& fields) {
    ++steps_;
    if (name == "propertyNames") return Breaks(json::value(its.key()), rule);
    if (name == "properties") {
      const json::value* schema = rule.get_object().if_contains(its.key());
      return schema == nullptr ? std::string_view() : Breaks(its.value(), *schema);
    }
    if (name == "patternProperties") {
      for (const auto& pattern : rule.get_object()) {
        if (!Finds(View(pattern.key()), View(its.key()))) continue;
        if (const auto broken = Breaks(its.value(), pattern.value()); !broken.empty()) return broken;
      }
      return {};
    }
    const json::value* declared = fields.if_contains("properties");
    const json::value* patterns = fields.if_contains("patternProperties");
    if (declared != nullptr && declared->get_object().contains(its.key())) return {};
    const auto finds = [&](const auto& pattern) { return Finds(View(pattern.key()), View(its.key())); };
    if (patterns != nullptr && std::any_of(patterns->get_object().begin(), patterns->get_object().end(), finds)) return {};
    if (rule.is_bool()) return Unless(rule.get_bool(), name);
    return Breaks(its.value(), rule);
  }

  std::string_view OfArray(std::string_view name, const json::value& rule, const json::array& array, const json::object& fields) {
    const auto size = static_cast<std::int64_t>(array.size());
    if (name == "minItems") return Unless(size >= rule.get_int64(), name);
    if (name == "maxItems") return Unless(size <= rule.get_int64(), name);
    if (name == "uniqueItems") return Unless(!rule.get_bool() || AreUnique(array), name);
    if (name == "contains") {
      const std::int64_t found = std::count_if(array.begin(), array.end(), [&](const json::value& v) { return Breaks(v, rule).empty(); });
      const json::value *least = fields.if_contains("minContains"), *most = fields.if_contains("maxContains");
      return Unless(found >= (least == nullptr ? 1 : least->get_int64()) && (most == nullptr || found <= most->get_int64()), name);
    }
    if (name == "prefixItems") {
      for (std::size_t i = 0; i < std::min(array.size(), rule.get_array().size()); ++i) {
        if (const auto broken = Breaks(array[i], rule.get_array()[i]); !broken.empty()) return broken;
      }
    }
    if (name != "items") return {};
    const json::value* before = fields.if_contains("prefixItems");
    for (std::size_t i = before == nullptr ? 0 : before->get_array().size(); i < array.size(); ++i) {
      if (const auto broken = Breaks(array[i], rule); !broken.empty()) return broken;
    }
    return {};
  }

  bool AreUnique(const json::array& array) {
    std::set<std::string> seen;
    for (const json::value& item : array) {
      std::string text;
      Canonical(item, text);
      steps_ += 16 + static_cast<std::int64_t>(text.size()) / 4;
      if (gave_up() || !seen.insert(std::move(text)).second) return false;
    }
    return true;
  }

  static bool KeepsNumber(std::string_view name, const json::value& rule, const json::value& value) {
    if (name == "minimum") return Number(value) >= Number(rule);
    if (name == "maximum") return Number(value) <= Number(rule);
    if (name == "exclusiveMinimum") return Number(value) > Number(rule);
    if (name == "exclusiveMaximum") return Number(value) < Number(rule);
    return name != "multipleOf" || IsMultiple(value, rule);
  }

  bool KeepsString(std::string_view name, const json::value& rule, std::string_view text) {
    steps_ += static_cast<std::int64_t>(text.size()) / kBytesAStep;
    if (name == "minLength") return CodePoints(text) >= rule.get_int64();
    if (name == "maxLength") return CodePoints(text) <= rule.get_int64();
    if (name == "pattern") return Finds(View(rule.get_string()), text);
    return name != "format" || IsOfJsonFormat(text, View(rule.get_string()));
  }

  bool Finds(std::string_view pattern, std::string_view text) {
    const re2::RE2& compiled = *schema_.patterns.find(pattern)->second;
    steps_ += 1 + static_cast<std::int64_t>(text.size()) * compiled.ProgramSize() / kBytesAStep;
    return !gave_up() && re2::RE2::PartialMatch({text.data(), text.size()}, compiled);
  }

  const JsonSchema& schema_;
  std::int64_t steps_ = 0;
  int nesting_ = 0, nesting_max_ = 0;
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
  TG_ASSIGN(auto read, JsonSchema::Read(schema));
  return std::shared_ptr<const JsonShape>(new JsonShape(std::move(read)));
}

std::string_view JsonShape::Breaks(std::string_view text) const {
  if (text.size() > kTextBytesMax) return "size";
  boost::system::error_code error;
  const json::value value = json::parse(Key(text), error, {}, Options());
  if (error || MembersOf(value) != ColonsOutside(text)) return "json";
  Judge judge(*schema_);
  const std::string_view broken = judge.Breaks(value, schema_->root);
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
