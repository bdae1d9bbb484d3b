// The schema is written as YAML, for who writes a policy writes that; here it becomes the JSON that it stands for. A quoted scalar is a
// string, a plain one null, a truth value or a number where it reads as one.
//
// Tested by tests/policy/json_shape_test.cpp.
#include "policy/json_shape_yaml.h"

#include <string>

#include <boost/json.hpp>

#include "policy/json_shape.h"
#include "policy/semantic_yaml.h"

namespace tollgate::policy {
namespace {

namespace json = boost::json;

constexpr int kDepthMax = 64;
constexpr std::size_t kNodesMax = 8192;   // Aliases can make much of little.
constexpr std::size_t kNodeBytes = 4096;  // Each may be a pattern.

class ToJson {
 public:
  explicit ToJson(const YamlReader& yaml) : yaml_(yaml) {}

  absl::StatusOr<json::value> Convert(const YAML::Node& node, int depth) {
    if (depth > kDepthMax || ++nodes_ > kNodesMax) return yaml_.Wrong(node, "the schema is too deep or too large; make it smaller");
    TG_RETURN_IF_ERROR(yaml_.Taken(node, yaml_.budget().TakeRead(kNodeBytes)));
    if (node.IsMap()) {
      json::object out;
      for (const auto& entry : node) {
        TG_ASSIGN(const std::string key, yaml_.Text(entry.first, "not_json"));
        TG_ASSIGN(json::value value, Convert(entry.second, depth + 1));
        if (!out.emplace(key, std::move(value)).second) return yaml_.Wrong(entry.first, "the key stands here a second time; remove one");
      }
      return json::value(std::move(out));
    }
    if (node.IsSequence()) {
      json::array out;
      for (const auto& item : node) {
        TG_ASSIGN(json::value value, Convert(item, depth + 1));
        out.push_back(std::move(value));
      }
      return json::value(std::move(out));
    }
    if (node.IsNull()) return json::value(nullptr);
    TG_ASSIGN(const std::string text, yaml_.Text(node, "not_json"));
    if (node.Tag() != "!") {  // Not quoted.
      boost::system::error_code error;
      json::value plain = json::parse(text, error);
      if (!error && plain.is_primitive() && !plain.is_string()) return plain;
    }
    return json::value(text);
  }

 private:
  const YamlReader& yaml_;
  std::size_t nodes_ = 0;
};

}  // namespace

absl::Status ReadJsonShape(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, Rule& rule) {
  const YAML::Node& node = fields["not_json"];
  if (!rule.output) return yaml.Wrong(node, "'not_json' judges replies, and this rule acts on prompts alone; change its 'where'");
  std::string schema = "true";
  if (node.IsMap()) {
    TG_ASSIGN(const json::value value, ToJson(yaml).Convert(node, 0));
    schema = json::serialize(value);
  } else {
    TG_RETURN_IF_ERROR(yaml.OneOf(node, "not_json", {"any"}).status());
  }
  auto shape = JsonShape::Compile(schema);
  if (!shape.ok()) return yaml.Wrong(node, base::Message(shape.status()));
  rule.detect = node.IsMap() ? "a reply that is not JSON of a schema" : "a reply that is not JSON";
  return JudgeReplies(yaml, detect, fields, node.IsMap() ? "schema" : "any", *std::move(shape), rule);
}

}  // namespace tollgate::policy
