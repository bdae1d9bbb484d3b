// One rule for each schema, by recursion over it. What is followed at once, here and by servers, are the readings of a text; they are
// counted on the way (an anyOf has the sum of its alternatives', an object begins with at most one for each key), and a schema with too
// many is refused. A schema may not refer to itself: readings of nested alternatives would double with each level of the output. Where
// anything may come (`any`), the grammar recurs, and has one reading.
//
// An object's properties are a chain of rules with two states: nothing was written yet (f), or a comma is due (a). An optional property
// is skipped without writing anything, so the chain is linear in their number.
//
// Tested by tests/inference/json_schema_test.cpp and tests/inference/json_schema_engine_test.cpp.
#include "inference/json_schema.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/json_text.h"
#include "inference/number_rules.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr int kDepthMax = 32;
constexpr int kSchemasMax = 1000;
constexpr std::int64_t kLengthMax = kSchemaLengthMax;
constexpr std::int64_t kRepetitionsMax = 2000;
constexpr std::int64_t kReadingsMax = 500;
constexpr std::size_t kGrammarBytesMax = 128 << 10;

constexpr std::string_view kBase = R"(any ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ( member ( "," ws member )* )? "}"
member ::= string ":" ws any ws
array ::= "[" ws ( any ws ( "," ws any ws )* )? "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F\x7F] | "\\" ( ["\\bfnrt] | "u00" [01] [0-9a-f] )
number ::= integer ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,3} )?
integer ::= "-"? ( "0" | [1-9] [0-9]{0,15} )
boolean ::= "true" | "false"
null ::= "null"
ws ::= " "? | "\n" " "{0,16}
date-part ::= [0-9]{4} "-" ( "0" [1-9] | "1" [0-2] ) "-" ( "0" [1-9] | "1" [0-9] | "2" [0-8] )
time-part ::= ( [01] [0-9] | "2" [0-3] ) ":" [0-5] [0-9] ":" [0-5] [0-9] ( "Z" | [-+] ( "0" [0-9] | "1" [0-3] ) ":" [0-5] [0-9] )
date ::= "\"" date-part "\""
time ::= "\"" time-part "\""
date-time ::= "\"" date-part "T" time-part "\""
uuid ::= "\"" [0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12} "\""
)";

constexpr std::string_view kAnnotations[] = {"title",    "description", "default", "examples", "$schema",     "$comment",     "deprecated",
                                             "readOnly", "writeOnly",   "$defs",   "$id",      "definitions", "discriminator"};
constexpr std::string_view kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

std::string_view View(json::string_view text) { return {text.data(), text.size()}; }

template <typename List>
bool IsOneOf(std::string_view name, const List& list) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

// `text` as a literal of a grammar.
std::string Literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

bool IsOfType(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_int64() || value.is_uint64();
  return type == "boolean" ? value.is_bool() : value.is_null();
}

class Converter {
 public:
  explicit Converter(const json::value& root) : root_(root) {}

  absl::StatusOr<std::string> Convert() {
    TG_ASSIGN(const Node root, Schema(root_, "", 0));
    std::string grammar = fmt::format("root ::= {}\n", root.name) + rules_ + std::string(kBase);
    if (grammar.size() > kGrammarBytesMax) return Bad("", "it makes too large a grammar: make it smaller");
    return grammar;
  }

 private:
  struct Node {
    std::string name;  // A rule's.
    std::int64_t readings = 1;
  };
  using Fields = const json::object&;

  static absl::Status Bad(std::string_view path, std::string_view what) {
    const std::string_view at = path.empty() ? "its root" : path.substr(0, 120);
    return base::InvalidArgument(fmt::format("the schema is refused at {}: {}", at, what));
  }

  // A new rule with this body.
  Node Rule(std::string_view body, std::int64_t readings = 1) {
    Node node{fmt::format("r{}", rule_count_++), readings};
    rules_ += fmt::format("{} ::= {}\n", node.name, body);
    return node;
  }

  absl::StatusOr<Node> Schema(const json::value& schema, const std::string& path, int depth) {
    if (depth > kDepthMax) return Bad(path, fmt::format("it is nested deeper than {}", kDepthMax));
    if (++schemas_ > kSchemasMax || rules_.size() > kGrammarBytesMax)
      return Bad(path, fmt::format("it has more than {} parts", kSchemasMax));
    if (schema.is_bool() && schema.get_bool()) return Node{"any"};
    if (!schema.is_object()) return Bad(path, "a schema is an object here, or true");
    Fields fields = schema.get_object();
    TG_ASSIGN(Node node, OfFields(fields, path, depth));
    if (node.readings > kReadingsMax)
      return Bad(path, fmt::format("its alternatives multiply to {}; at most {} are allowed", node.readings, kReadingsMax));
    return node;
  }

  absl::StatusOr<Node> OfFields(Fields fields, const std::string& path, int depth) {
    if (const json::value* ref = fields.if_contains("$ref")) {
      TG_RETURN_IF_ERROR(Only(fields, {"$ref"}, path));
      return Reference(*ref, path, depth);
    }
    for (const std::string_view name : {"anyOf", "oneOf", "allOf"}) {
      const json::value* list = fields.if_contains({name.data(), name.size()});
      if (list == nullptr) continue;
      TG_RETURN_IF_ERROR(Only(fields, {name}, path));
      return Alternatives(*list, name, path, depth);
    }
    TG_ASSIGN(const std::vector<std::string_view> types, TypesOf(fields, path));
    if (fields.contains("enum") || fields.contains("const")) {
      TG_RETURN_IF_ERROR(Only(fields, {"enum", "const", "type"}, path));
      return Values(fields, types, path);
    }
    TG_RETURN_IF_ERROR(OnlyOf(types, fields, path));
    if (types.empty()) return Node{"any"};
    std::string body;
    std::int64_t readings = 0;
    for (const std::string_view type : types) {
      TG_ASSIGN(const Node node, OfType(type, fields, path, depth));
      if (types.size() == 1) return node;
      body += (body.empty() ? "" : " | ") + node.name;
      readings += node.readings;
    }
    return Rule(body, readings);
  }

  // Every field is one of these, or says nothing about what may come.
  static absl::Status Only(Fields fields, const std::vector<std::string_view>& names, const std::string& path) {
    for (const auto& field : fields) {
      const std::string_view name = View(field.key());
      if (IsOneOf(name, names) || IsOneOf(name, kAnnotations)) continue;
      return Bad(path, fmt::format("\"{}\" cannot be enforced here: leave it out, and describe it in the prompt", name.substr(0, 64)));
    }
    return absl::OkStatus();
  }

  static absl::Status OnlyOf(const std::vector<std::string_view>& types, Fields fields, const std::string& path) {
    std::vector<std::string_view> names = {"type"};
    const auto add = [&](std::string_view type, std::initializer_list<std::string_view> more) {
      if (IsOneOf(type, types)) names.insert(names.end(), more);
    };
    add("object", {"properties", "required", "additionalProperties"});
    add("array", {"items", "minItems", "maxItems"});
    add("string", {"minLength", "maxLength", "format"});
    for (const std::string_view type : {"integer", "number"}) add(type, {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"});
    return Only(fields, names, path);
  }

  // Those named; without any, what the other fields are about; empty = any.
  static absl::StatusOr<std::vector<std::string_view>> TypesOf(Fields fields, const std::string& path) {
    std::vector<std::string_view> types;
    const auto add = [&](const json::value& type) -> absl::Status {
      const std::string_view name = type.is_string() ? View(type.get_string()) : "";
      const auto* known = std::find(std::begin(kTypes), std::end(kTypes), name);
      if (known == std::end(kTypes)) return Bad(path, "\"type\" must be object, array, string, number, integer, boolean or null");
      if (!IsOneOf(name, types)) types.push_back(*known);
      return absl::OkStatus();
    };
    if (const json::value* type = fields.if_contains("type")) {
      if (!type->is_array()) TG_RETURN_IF_ERROR(add(*type));
      if (type->is_array() && type->get_array().empty()) return Bad(path, "\"type\" must not be empty");
      for (std::size_t i = 0; type->is_array() && i < type->get_array().size(); ++i) TG_RETURN_IF_ERROR(add(type->get_array()[i]));
    } else if (fields.contains("properties") || fields.contains("additionalProperties")) {
      types.push_back("object");
    } else if (fields.contains("items")) {
      types.push_back("array");
    }
    return types;
  }

  absl::StatusOr<Node> OfType(std::string_view type, Fields fields, const std::string& path, int depth) {
    if (type == "object") return Object(fields, path, depth);
    if (type == "array") return Array(fields, path, depth);
    if (type == "string") return String(fields, path);
    if (type == "integer" || type == "number") return Number(type, fields, path);
    return Node{std::string(type)};
  }

  absl::StatusOr<Node> Number(std::string_view type, Fields fields, const std::string& path) {
    const absl::StatusOr<NumberRule> rule = NumbersWithin(fields, type == "integer");
    if (!rule.ok()) return Bad(path, base::Message(rule.status()));
    if (rule->body.empty()) return Node{std::string(type)};
    const auto [known, added] = numbers_.try_emplace(rule->body);
    if (added) known->second = Rule(rule->body, rule->readings);
    return known->second;
  }

  // "#/$defs/name": a JSON pointer (RFC 6901) into the whole.
  absl::StatusOr<Node> Reference(const json::value& ref, const std::string& path, int depth) {
    if (!ref.is_string() || !View(ref.get_string()).starts_with("#/"))
      return Bad(path, "\"$ref\" must point into the schema: \"#/$defs/…\"");
    boost::system::error_code error;
    const json::value* target = root_.find_pointer(ref.get_string().subview(1), error);
    if (target == nullptr) return Bad(path, "\"$ref\" points to nothing in the schema");
    if (const auto known = known_.find(target); known != known_.end()) return known->second;
    if (!open_.insert(target).second) return Bad(path, "the schema refers to itself: write the nesting out as deep as you need it");
    TG_ASSIGN(Node node, Schema(*target, path, depth + 1));
    open_.erase(target);
    known_[target] = node;
    return node;
  }

  absl::StatusOr<Node> Alternatives(const json::value& list, std::string_view name, const std::string& path, int depth) {
    if (!list.is_array() || list.get_array().empty()) return Bad(path, fmt::format("\"{}\" must be an array of schemas", name));
    const json::array& schemas = list.get_array();
    if (name == "allOf" && schemas.size() > 1) return Bad(path, "\"allOf\" of several cannot be enforced: write them as one");
    std::string body;
    std::int64_t readings = 0;
    for (std::size_t i = 0; i < schemas.size(); ++i) {
      TG_ASSIGN(const Node node, Schema(schemas[i], fmt::format("{}/{}/{}", path, name, i), depth + 1));
      body += (i == 0 ? "" : " | ") + node.name;
      readings += node.readings;
    }
    return Rule(body, readings);
  }

  absl::StatusOr<Node> Values(Fields fields, const std::vector<std::string_view>& types, const std::string& path) {
    json::array values;
    if (const json::value* one = fields.if_contains("const")) {
      values.push_back(*one);
    } else if (const json::value& list = fields.at("enum"); list.is_array()) {
      values = list.get_array();
    }
    if (values.empty()) return Bad(path, "\"enum\" must be an array of at least one value");
    std::string body;
    for (const json::value& value : values) {
      const bool fits = types.empty() || std::any_of(types.begin(), types.end(), [&](auto type) { return IsOfType(value, type); });
      if (!fits) return Bad(path, "\"enum\" or \"const\" has a value that \"type\" does not allow");
      if (HoldsFarNumber(value)) return Bad(path, "\"enum\" or \"const\" has a number beyond 64 bits: write it as a string");
      body += (body.empty() ? "" : " | ") + Literal(JsonText(value));
    }
    return Rule(body, static_cast<std::int64_t>(values.size()));
  }

  // A length between 0 and kLengthMax, if the field is there.
  absl::StatusOr<std::int64_t> Length(Fields fields, std::string_view name, std::int64_t otherwise, const std::string& path) {
    const json::value* value = fields.if_contains({name.data(), name.size()});
    if (value == nullptr) return otherwise;
    if (!value->is_int64() || value->get_int64() < 0 || value->get_int64() > kLengthMax)
      return Bad(path, fmt::format("\"{}\" must be a number from 0 to {}", name, kLengthMax));
    repetitions_ += value->get_int64();
    if (repetitions_ > kRepetitionsMax) return Bad(path, fmt::format("its lengths add up to more than {}", kRepetitionsMax));
    return value->get_int64();
  }

  absl::StatusOr<Node> String(Fields fields, const std::string& path) {
    TG_ASSIGN(const std::int64_t least, Length(fields, "minLength", 0, path));
    TG_ASSIGN(const std::int64_t most, Length(fields, "maxLength", -1, path));
    if (most >= 0 && most < least) return Bad(path, "\"maxLength\" is less than \"minLength\"");
    if (const json::value* format = fields.if_contains("format")) {
      const std::string_view name = format->is_string() ? View(format->get_string()) : "";
      if (name != "date" && name != "time" && name != "date-time" && name != "uuid")
        return Bad(path, "\"format\" can be date, time, date-time or uuid; describe others in the prompt");
      if (least > 0 || most >= 0) return Bad(path, "\"format\" and a length cannot be enforced together");
      return Node{std::string(name)};
    }
    if (least == 0 && most < 0) return Node{"string"};
    if (most == 0) return Rule(R"("\"\"")");
    return Rule(fmt::format(R"("\"" char{{{},{}}} "\"")", least, most < 0 ? "" : std::to_string(most)));
  }

  absl::StatusOr<Node> Array(Fields fields, const std::string& path, int depth) {
    TG_ASSIGN(const std::int64_t least, Length(fields, "minItems", 0, path));
    TG_ASSIGN(const std::int64_t most, Length(fields, "maxItems", -1, path));
    if (most >= 0 && most < least) return Bad(path, "\"maxItems\" is less than \"minItems\"");
    if (most == 0) return Rule(R"("[" ws "]")");
    Node item{"any"};
    if (const json::value* items = fields.if_contains("items")) {
      TG_ASSIGN(item, Schema(*items, path + "/items", depth + 1));
    }
    std::string more;
    if (most < 0 && least <= 1) {
      more = fmt::format(R"( ( "," ws {} ws )*)", item.name);
    } else if (most != 1) {
      const std::string upto = most < 0 ? "" : std::to_string(most - 1);
      more = fmt::format(R"( ( "," ws {} ws ){{{},{}}})", item.name, std::max<std::int64_t>(least - 1, 0), upto);
    }
    const std::string all = fmt::format("{} ws{}", item.name, more);
    return Rule(fmt::format(R"("[" ws {} "]")", least == 0 ? "( " + all + " )?" : all), item.readings);
  }

  absl::StatusOr<Node> Object(Fields fields, const std::string& path, int depth) {
    const json::value* listed = fields.if_contains("properties");
    if (listed != nullptr && !listed->is_object()) return Bad(path, "\"properties\" must be an object of schemas");
    TG_ASSIGN(const std::set<std::string_view> required, Required(fields, listed, path));
    if (listed == nullptr || listed->get_object().empty()) return Map(fields, path, depth);
    // Their own schemas may say more of others; the output has none.
    std::vector<std::pair<std::string, bool>> properties;  // A rule each, and whether it must come.
    std::int64_t readings = static_cast<std::int64_t>(listed->get_object().size());
    for (const auto& property : listed->get_object()) {
      const std::string_view key = View(property.key());
      TG_ASSIGN(const Node value, Schema(property.value(), fmt::format("{}/properties/{}", path, key), depth + 1));
      const Node rule = Rule(fmt::format(R"({} ws {} ws)", Literal(json::serialize(json::value(property.key())) + ":"), value.name));
      properties.emplace_back(rule.name, required.contains(key));
      readings = std::max(readings, value.readings);
    }
    std::string due;    // What may follow when a comma is due,
    std::string first;  // and when nothing was written yet.
    bool first_may_be_empty = true;
    for (auto property = properties.rbegin(); property != properties.rend(); ++property) {
      const auto& [rule, must] = *property;
      const std::string with = due.empty() ? rule : rule + " " + due;
      if (must) {
        first = with;
      } else {
        first = first.empty() ? with : with + " | " + first;
      }
      first_may_be_empty = first_may_be_empty && !must;
      first = Rule(first).name;
      const std::string comma = fmt::format(R"("," ws {})", rule);
      due = Rule((must ? comma : "( " + comma + " )?") + (due.empty() ? "" : " " + due)).name;
    }
    return Rule(fmt::format(R"("{{" ws {}{} "}}")", first, first_may_be_empty ? "?" : ""), readings);
  }

  static absl::StatusOr<std::set<std::string_view>> Required(Fields fields, const json::value* listed, const std::string& path) {
    std::set<std::string_view> required;
    const json::value* list = fields.if_contains("required");
    if (list == nullptr) return required;
    if (!list->is_array()) return Bad(path, "\"required\" must be an array of names");
    for (const json::value& name : list->get_array()) {
      if (!name.is_string() || listed == nullptr || !listed->get_object().contains(name.get_string()))
        return Bad(path, "\"required\" names what \"properties\" does not have");
      required.insert(View(name.get_string()));
    }
    return required;
  }

  // Without properties: any keys.
  absl::StatusOr<Node> Map(Fields fields, const std::string& path, int depth) {
    const json::value* more = fields.if_contains("additionalProperties");
    if (more == nullptr) return Node{"object"};
    if (more->is_bool() && !more->get_bool()) return Rule(R"("{" ws "}")");
    TG_ASSIGN(const Node value, Schema(*more, path + "/additionalProperties", depth + 1));
    const Node member = Rule(fmt::format(R"(string ":" ws {} ws)", value.name));
    return Rule(fmt::format(R"("{{" ws ( {0} ( "," ws {0} )* )? "}}")", member.name), value.readings);
  }

  const json::value& root_;
  std::string rules_;
  int rule_count_ = 0;
  int schemas_ = 0;
  std::int64_t repetitions_ = 0;
  std::map<const json::value*, Node> known_;
  std::map<std::string, Node> numbers_;  // By the rule's body: many have the same bounds.
  std::set<const json::value*> open_;
};

}  // namespace

absl::StatusOr<std::string> JsonSchemaGrammar(std::string_view schema) {
  if (schema.size() > kSchemaBytesMax)
    return base::InvalidArgument(fmt::format("the schema has {} bytes; at most {} are allowed", schema.size(), kSchemaBytesMax));
  if (!base::IsValidUtf8(schema)) return base::InvalidArgument("the schema is not UTF-8");
  boost::system::error_code error;
  const json::parse_options options{.max_depth = 4 * kDepthMax};
  const json::value root = json::parse({schema.data(), schema.size()}, error, {}, options);
  if (error) return base::InvalidArgument("the schema is not JSON");
  return Converter(root).Convert();
}

}  // namespace tollgate::inference
