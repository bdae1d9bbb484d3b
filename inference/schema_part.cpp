// A copy of the schema is made of the keywords that the converter knows, so that one place alone decides what a grammar can hold. What is
// passed over must leave a value that satisfies the whole within reach: a required name that is not declared becomes a property, a tuple an
// array of anything. Each target of a reference is copied once, under a name of its own; while it is being copied it is open, and a
// reference to what is open is cut.
//
// Tested by tests/inference/schema_part_test.cpp.
#include "inference/schema_part.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "inference/json_schema.h"
#include "inference/number_rules.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr int kCopiedDepth = 64;  // Far beyond what the converter takes.
constexpr std::string_view kUnions[] = {"anyOf", "oneOf", "allOf"};
constexpr std::string_view kDescribes[] = {"properties", "items", "prefixItems"};
constexpr std::string_view kKeptFormats[] = {"date", "time", "date-time", "uuid"};
constexpr std::string_view kNumberBounds[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};

using Fields = const json::object&;

const json::value* Find(Fields fields, std::string_view name) { return fields.if_contains({name.data(), name.size()}); }

template <typename Names>
bool HasAny(Fields fields, const Names& names) {
  return std::any_of(std::begin(names), std::end(names), [&](std::string_view name) { return Find(fields, name) != nullptr; });
}

bool IsFalse(const json::value* value) { return value != nullptr && value->is_bool() && !value->get_bool(); }

// Says at most which names must be there, or what must not be.
bool OnlyRequires(const json::value& schema) {
  constexpr std::string_view kMore[] = {"type", "enum", "const", "$ref", "additionalProperties", "patternProperties"};
  return schema.is_object() && !HasAny(schema.get_object(), kMore) && !HasAny(schema.get_object(), kUnions) &&
         !HasAny(schema.get_object(), kDescribes);
}

// As it is named, or as the fields imply; null if neither.
json::value TypeOf(Fields fields) {
  if (const json::value* type = Find(fields, "type")) return *type;
  if (Find(fields, "properties") != nullptr || Find(fields, "additionalProperties") != nullptr) return "object";
  if (Find(fields, "items") != nullptr) return "array";
  return nullptr;
}

bool Allows(const json::value& type, std::string_view name) {
  const json::string_view its(name.data(), name.size());
  if (!type.is_array()) return type.is_string() && type.get_string() == its;
  const json::array& list = type.get_array();
  return std::any_of(list.begin(), list.end(), [&](const json::value& one) { return one.is_string() && one.get_string() == its; });
}

class Copy {
 public:
  Copy(const json::value& root, std::int64_t longest) : root_(root), longest_(longest) { open_.insert(&root); }

  json::value All() {
    json::value out = Schema(root_, 0);
    if (out.is_object() && !defs_.empty()) out.get_object()["$defs"] = defs_;
    return out;
  }

 private:
  json::value Schema(const json::value& schema, int depth) {
    if (schema.is_bool()) return true;
    if (depth > kCopiedDepth) return nullptr;  // Which is no schema, wherever a reference may lead to it.
    if (!schema.is_object()) return schema;
    Fields fields = schema.get_object();
    if (const json::value* ref = Find(fields, "$ref")) return Reference(*ref, depth);
    if (HasAny(fields, kUnions)) {
      if (std::optional<json::value> out = Union(fields, depth)) return *std::move(out);
    }
    for (const char* name : {"const", "enum"}) {
      if (const json::value* values = Find(fields, name)) return json::object{{name, *values}};
    }
    return Typed(fields, depth);
  }

  json::value Reference(const json::value& ref, int depth) {
    if (!ref.is_string()) return json::object{{"$ref", ref}};
    if (!ref.get_string().starts_with("#/")) return true;  // The whole, or another document.
    boost::system::error_code error;
    const json::value* target = root_.find_pointer(ref.get_string().subview(1), error);
    if (target == nullptr) return json::object{{"$ref", "#/nothing"}};
    if (const auto known = known_.find(target); known != known_.end()) return known->second;
    if (!open_.insert(target).second) return true;
    json::value copied = Schema(*target, depth + 1);
    open_.erase(target);
    return known_[target] = Named(std::move(copied));
  }

  // What stands in the place of a schema that is needed more than once.
  json::value Named(json::value copied) {
    if (copied.is_bool()) return true;
    const std::string name = fmt::format("d{}", defs_.size());
    defs_[name] = std::move(copied);
    return json::object{{"$ref", "#/$defs/" + name}};
  }

  // Nothing, if the fields beside it are what to hold to.
  std::optional<json::value> Union(Fields fields, int depth) {
    std::string_view only;
    int unions = 0;
    bool only_requires = true;
    for (const std::string_view name : kUnions) {
      const json::value* list = Find(fields, name);
      if (list == nullptr) continue;
      if (!list->is_array() || list->get_array().empty()) return json::object{{name, *list}};
      only = name;
      ++unions;
      for (const json::value& one : list->get_array()) only_requires = only_requires && OnlyRequires(one);
    }
    if (only_requires || Find(fields, "enum") != nullptr || Find(fields, "const") != nullptr) return std::nullopt;
    const json::array& list = Find(fields, only)->get_array();
    if (unions > 1 || HasAny(fields, kDescribes) || (only == "allOf" && list.size() > 1)) return TypeAlone(fields);
    json::array out;
    for (const json::value& one : list) {
      json::value alternative = one;
      const bool untyped = one.is_object() && Find(one.get_object(), "type") == nullptr && Find(one.get_object(), "$ref") == nullptr;
      if (untyped && Find(fields, "type") != nullptr) alternative.get_object()["type"] = *Find(fields, "type");
      out.push_back(Schema(alternative, depth + 1));
      if (out.back().is_bool()) return TypeAlone(fields);
    }
    return json::object{{only, std::move(out)}};
  }

  json::value TypeAlone(Fields fields) {
    json::value type = TypeOf(fields);
    const json::value* all = Find(fields, "allOf");
    for (std::size_t i = 0; all != nullptr && type.is_null() && i < all->get_array().size(); ++i) {
      const json::value* one = &all->get_array()[i];
      const json::value* ref = one->is_object() ? Find(one->get_object(), "$ref") : nullptr;
      boost::system::error_code error;
      if (ref != nullptr && ref->is_string() && ref->get_string().starts_with("#/"))
        one = root_.find_pointer(ref->get_string().subview(1), error);
      if (one != nullptr && one->is_object()) type = TypeOf(one->get_object());
    }
    if (type.is_null()) return true;
    return json::object{{"type", std::move(type)}};
  }

  json::value Typed(Fields fields, int depth) {
    json::object out;
    const json::value type = TypeOf(fields);
    if (type.is_null()) return true;
    out["type"] = type;
    if (Allows(type, "object")) Object(fields, out, depth);
    if (Allows(type, "array")) Array(fields, out, depth);
    if (Allows(type, "string")) String(fields, out);
    for (const std::string_view name : kNumberBounds) {
      const json::value* bound = Find(fields, name);
      const bool kept = bound != nullptr && (Allows(type, "integer") || Allows(type, "number")) &&
                        (!Allows(type, "integer") || IsNumberBound(name, *bound, true)) &&
                        (!Allows(type, "number") || IsNumberBound(name, *bound, false));
      if (kept) out[name] = *bound;
    }
    return out;
  }

  void Object(Fields fields, json::object& out, int depth) {
    const json::value* listed = Find(fields, "properties");
    if (listed != nullptr && !listed->is_object()) {
      out["properties"] = *listed;
      return;
    }
    json::object properties;
    for (std::size_t i = 0; listed != nullptr && i < listed->get_object().size(); ++i) {
      const auto& property = *(listed->get_object().begin() + i);
      properties[property.key()] = Schema(property.value(), depth + 1);
    }
    const json::value* more = Find(fields, "additionalProperties");
    const bool closed = IsFalse(more) && Find(fields, "patternProperties") == nullptr;
    json::array required;
    std::optional<json::value> undeclared;  // Made once, for many names may be required.
    const json::value* names = Find(fields, "required");
    for (std::size_t i = 0; names != nullptr && names->is_array() && i < names->get_array().size(); ++i) {
      const json::value& name = names->get_array()[i];
      required.push_back(name);
      if (!name.is_string() || closed || properties.contains(name.get_string())) continue;
      if (!undeclared) undeclared = more != nullptr && more->is_object() ? Named(Schema(*more, depth + 1)) : json::value(true);
      properties[name.get_string()] = *undeclared;
    }
    if (more != nullptr && properties.empty() && (closed || !IsFalse(more)))
      out["additionalProperties"] = more->is_bool() ? *more : Schema(*more, depth + 1);
    if (!properties.empty()) out["properties"] = std::move(properties);
    if (!required.empty()) out["required"] = std::move(required);
  }

  void Array(Fields fields, json::object& out, int depth) {
    const json::value* items = Find(fields, "items");
    const bool tuple = Find(fields, "prefixItems") != nullptr || (items != nullptr && (items->is_bool() || items->is_array()));
    if (items != nullptr && !tuple) out["items"] = Schema(*items, depth + 1);
    for (const std::string_view name : {"minItems", "maxItems"}) Length(fields, name, out);
  }

  void String(Fields fields, json::object& out) const {
    const json::value* format = Find(fields, "format");
    const auto named = [&](std::string_view name) { return format != nullptr && Allows(*format, name); };
    if (std::any_of(std::begin(kKeptFormats), std::end(kKeptFormats), named)) {
      out["format"] = *format;
      return;
    }
    for (const std::string_view name : {"minLength", "maxLength"}) Length(fields, name, out);
  }

  void Length(Fields fields, std::string_view name, json::object& out) const {
    const json::value* length = Find(fields, name);
    const bool long_one = length != nullptr && length->is_number() && !(length->is_int64() && length->get_int64() <= longest_);
    if (length != nullptr && !long_one) out[name] = *length;
  }

  const json::value& root_;
  const std::int64_t longest_;
  json::object defs_;
  std::map<const json::value*, json::value> known_;  // What stands in the place of a reference to it.
  std::set<const json::value*> open_;
};

}  // namespace

absl::StatusOr<std::string> EnforceablePart(std::string_view schema, std::int64_t longest) {
  boost::system::error_code error;
  if (schema.size() > kSchemaBytesMax) return base::InvalidArgument(fmt::format("the schema has more than {} bytes", kSchemaBytesMax));
  const json::value root = json::parse({schema.data(), schema.size()}, error, {}, json::parse_options{.max_depth = 128});
  if (error) return base::InvalidArgument("the schema is not JSON");
  return json::serialize(Copy(root, longest).All());
}

absl::StatusOr<SchemaGrammar> HoldToSchema(std::string_view schema, bool strict) {
  absl::StatusOr<std::string> grammar = JsonSchemaGrammar(schema);
  if (grammar.ok()) return SchemaGrammar{*std::move(grammar), true};
  if (strict) return grammar.status();
  for (const std::int64_t longest : {kSchemaLengthMax, kShortLengthMax}) {
    const absl::StatusOr<std::string> part = EnforceablePart(schema, longest);
    if (!part.ok()) return grammar.status();
    grammar = JsonSchemaGrammar(*part);
    if (grammar.ok()) return SchemaGrammar{*std::move(grammar), false};
  }
  return grammar.status();
}

}  // namespace tollgate::inference
