// The schema is walked once; what was seen is not walked again, so that schemas may refer to themselves. Whether a reference comes back to
// where it began without going down into the text is a search of its own along the keywords that stay at one value.
//
// Tested by tests/policy/json_shape_test.cpp.
#include "policy/json_schema.h"

#include <algorithm>
#include <set>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

namespace tollgate::policy {
namespace {

namespace json = boost::json;

constexpr int kDepthMax = 32;
constexpr int kJsonDepthMax = 64;
constexpr int kSchemasMax = 1000;
constexpr int kPatternSizeMax = 2000;  // Instructions of RE2's program: what one byte of a text may cost.

constexpr std::string_view kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
constexpr std::string_view kFormats[] = {"date", "time", "date-time", "uuid", "email", "hostname", "ipv4", "ipv6", "uri"};
constexpr std::string_view kAnnotations[] = {"title",     "description", "default", "examples",    "$schema",    "$comment",     "readOnly",
                                             "writeOnly", "$defs",       "$id",     "definitions", "deprecated", "discriminator"};
constexpr std::string_view kCounts[] = {"minItems",      "maxItems",      "minLength",   "maxLength",
                                        "minProperties", "maxProperties", "minContains", "maxContains"};
constexpr std::string_view kNumbers[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
constexpr std::string_view kLists[] = {"anyOf", "oneOf", "allOf", "prefixItems"};              // Of schemas;
constexpr std::string_view kMaps[] = {"properties", "patternProperties", "dependentSchemas"};  // objects of some;
constexpr std::string_view kSingles[] = {"items",         "additionalProperties",
                                         "propertyNames", "contains",  // and one by itself.
                                         "not",           "if",
                                         "then",          "else"};
constexpr std::string_view kStaying[] = {"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas"};  // At the same value.

std::string_view View(json::string_view text) { return {text.data(), text.size()}; }

template <typename List>
bool IsOneOf(std::string_view name, const List& list) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool AllStrings(const json::value& value) {
  return value.is_array() &&
         std::all_of(value.get_array().begin(), value.get_array().end(), [](const json::value& v) { return v.is_string(); });
}

class Reader {
 public:
  explicit Reader(JsonSchema& out) : out_(out) {}

  absl::Status Schema(const json::value& schema, const std::string& path, int depth) {
    if (depth > kDepthMax) return Bad(path, fmt::format("it is nested deeper than {}", kDepthMax));
    if (++schemas_ > kSchemasMax) return Bad(path, fmt::format("it has more than {} parts", kSchemasMax));
    if (schema.is_bool()) return absl::OkStatus();
    if (!schema.is_object()) return Bad(path, "a schema is an object, true or false");
    for (const auto& field : schema.get_object()) TG_RETURN_IF_ERROR(Field(View(field.key()), field.value(), path, depth));
    return absl::OkStatus();
  }

 private:
  enum class Seen { kOpen, kDone };

  static absl::Status Bad(std::string_view path, std::string_view what) {
    return base::InvalidArgument(fmt::format("the schema is refused at {}: {}", path.empty() ? "its root" : path.substr(0, 120), what));
  }

  absl::Status Field(std::string_view name, const json::value& value, const std::string& path, int depth) {
    const std::string at = fmt::format("{}/{}", path, name);
    if (IsOneOf(name, kAnnotations)) return absl::OkStatus();
    if (name == "$ref") return Reference(value, at, depth);
    if (IsOneOf(name, kSingles)) return Schema(value, at, depth + 1);
    if (IsOneOf(name, kMaps)) {
      if (!value.is_object()) return Bad(at, "it is an object of schemas");
      for (const auto& its : value.get_object()) {
        if (name == "patternProperties") {
          TG_RETURN_IF_ERROR(Pattern(View(its.key()), at));
        }
        TG_RETURN_IF_ERROR(Schema(its.value(), fmt::format("{}/{}", at, View(its.key())), depth + 1));
      }
      return absl::OkStatus();
    }
    if (IsOneOf(name, kLists)) {
      if (!value.is_array() || value.get_array().empty()) return Bad(at, "it is an array of schemas");
      for (const json::value& its : value.get_array()) TG_RETURN_IF_ERROR(Schema(its, at, depth + 1));
      return absl::OkStatus();
    }
    return Plain(name, value, at);
  }

  absl::Status Plain(std::string_view name, const json::value& value, const std::string& at) {
    const auto must = [&](bool good, std::string_view what) { return good ? absl::OkStatus() : Bad(at, what); };
    if (name == "const") return absl::OkStatus();
    if (name == "enum") return must(value.is_array() && !value.get_array().empty(), "it is an array of values");
    if (name == "required") return must(AllStrings(value), "it is an array of names");
    if (name == "uniqueItems") return must(value.is_bool(), "it is true or false");
    if (name == "multipleOf") return must(value.is_number() && value.to_number<double>() > 0, "it is a number above 0");
    if (IsOneOf(name, kNumbers)) return must(value.is_number(), "it is a number");
    if (IsOneOf(name, kCounts)) return must(value.is_int64() && value.get_int64() >= 0, "it is a whole number, at least 0");
    if (name == "pattern") return value.is_string() ? Pattern(View(value.get_string()), at) : Bad(at, "it is a regular expression");
    if (name == "dependentRequired") {
      const auto good = [](const auto& its) { return AllStrings(its.value()); };
      return must(value.is_object() && std::all_of(value.get_object().begin(), value.get_object().end(), good), "it has arrays of names");
    }
    if (name == "format") {
      return must(value.is_string() && IsOneOf(View(value.get_string()), kFormats), fmt::format("there are {}", fmt::join(kFormats, ", ")));
    }
    if (name == "type") {
      const bool list = AllStrings(value) && !value.get_array().empty();
      if (!value.is_string() && !list) return Bad(at, "it is a type's name, or an array of some");
      const auto known = [](const json::value& type) { return IsOneOf(View(type.get_string()), kTypes); };
      return must(list ? std::all_of(value.get_array().begin(), value.get_array().end(), known) : known(value),
                  fmt::format("there are {}", fmt::join(kTypes, ", ")));
    }
    return Bad(at, "this keyword is not judged; leave it out");
  }

  absl::Status Pattern(std::string_view text, const std::string& at) {
    if (out_.patterns.contains(text)) return absl::OkStatus();
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    auto pattern = std::make_unique<const re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
    if (!pattern->ok()) return Bad(at, fmt::format("the pattern does not compile, in RE2's syntax: {}", pattern->error()));
    if (pattern->ProgramSize() > kPatternSizeMax) return Bad(at, "the pattern is too large; make it smaller");
    out_.patterns.emplace(text, std::move(pattern));
    return absl::OkStatus();
  }

  absl::Status Reference(const json::value& ref, const std::string& at, int depth) {
    const json::value* target = out_.Target(ref);
    if (target == nullptr) return Bad(at, "it must point into the schema: \"#/$defs/…\"");
    if (!walked_.insert(target).second) return absl::OkStatus();
    TG_RETURN_IF_ERROR(Schema(*target, at, depth + 1));
    return Circles(*target) ? Bad(at, "the reference comes back to itself before it says anything of the text") : absl::OkStatus();
  }

  bool Circles(const json::value& schema) {
    if (!schema.is_object()) return false;
    const auto [seen, fresh] = staying_.emplace(&schema, Seen::kOpen);
    if (!fresh) return seen->second == Seen::kOpen;
    bool circles = false;
    const auto circle = [&](const json::value& its) { circles = circles || Circles(its); };
    for (const auto& field : schema.get_object()) {
      const json::value& value = field.value();
      // A target that is none is refused where it stands.
      if (field.key() == "$ref" && out_.Target(value) != nullptr) circle(*out_.Target(value));
      if (!IsOneOf(View(field.key()), kStaying)) continue;
      if (field.key() == "dependentSchemas" && value.is_object()) {
        for (const auto& its : value.get_object()) circle(its.value());
      } else if (value.is_array()) {
        for (const json::value& its : value.get_array()) circle(its);
      } else {
        circle(value);
      }
    }
    staying_[&schema] = Seen::kDone;
    return circles;
  }

  JsonSchema& out_;
  int schemas_ = 0;
  std::set<const json::value*> walked_;
  std::map<const json::value*, Seen> staying_;
};

}  // namespace

const json::value* JsonSchema::Target(const json::value& ref) const {
  if (!ref.is_string()) return nullptr;
  if (ref.get_string() == "#") return &root;
  if (!View(ref.get_string()).starts_with("#/")) return nullptr;
  boost::system::error_code error;
  return root.find_pointer(ref.get_string().subview(1), error);
}

absl::StatusOr<std::unique_ptr<const JsonSchema>> JsonSchema::Read(std::string_view text) {
  if (text.size() > kBytesMax) return base::InvalidArgument("a schema has at most 32 KiB; make it smaller");
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  boost::system::error_code error;
  auto out = std::make_unique<JsonSchema>();
  out->root = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return base::InvalidArgument("the schema is no JSON, or nested deeper than 64");
  TG_RETURN_IF_ERROR(Reader(*out).Schema(out->root, "", 0));
  return out;
}

bool IsOfJsonFormat(std::string_view text, std::string_view format) {
  if (format == "ipv4" || format == "ipv6") {
    unsigned char address[sizeof(in6_addr)];
    return text.size() < 64 && inet_pton(format == "ipv4" ? AF_INET : AF_INET6, std::string(text).c_str(), address) == 1;
  }
  static const std::string kDate = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])";
  static const std::string kTime = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:Z|[-+](?:[01][0-9]|2[0-3]):[0-5][0-9])";
  static const std::string kLabel = "[0-9A-Za-z](?:[-0-9A-Za-z]{0,61}[0-9A-Za-z])?";
  static const std::string kHost = kLabel + "(?:\\." + kLabel + ")*";
  static const std::map<std::string_view, const re2::RE2> patterns = [] {
    std::map<std::string_view, const re2::RE2> out;
    out.try_emplace("date", kDate);
    out.try_emplace("time", kTime);
    out.try_emplace("date-time", kDate + "[Tt]" + kTime);
    out.try_emplace("uuid", "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}");
    out.try_emplace("hostname", kHost);
    out.try_emplace("email", "[-!#$%&'*+/=?^_`{|}~0-9A-Za-z]+(?:\\.[-!#$%&'*+/=?^_`{|}~0-9A-Za-z]+)*@" + kHost);
    out.try_emplace("uri", "[A-Za-z][-+.0-9A-Za-z]*:(?:[-._~:/?#\\[\\]@!$&'()*+,;=0-9A-Za-z]|%[0-9A-Fa-f]{2})*");
    return out;
  }();
  return (format != "hostname" || text.size() <= 253) && re2::RE2::FullMatch({text.data(), text.size()}, patterns.at(format));
}

}  // namespace tollgate::policy
