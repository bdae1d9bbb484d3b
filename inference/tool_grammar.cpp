// The calls are one JSON Schema: any of an object for each function, with its name as a constant and its parameters as another member. What
// json_schema.h makes of that becomes the rule for a call, and the words around it are written about that. References inside of a
// function's schema are moved to where it stands in the whole.
//
// Tested by tests/inference/tool_grammar_test.cpp, tests/inference/tool_grammar_engine_test.cpp.
#include "inference/tool_grammar.h"

#include <boost/json.hpp>

#include <fmt/format.h>

#include "inference/json_schema.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr std::string_view kRoot = "root ::= ";

void MoveReferences(json::value& value, const std::string& to) {
  if (value.is_array()) {
    for (json::value& item : value.get_array()) MoveReferences(item, to);
  }
  if (!value.is_object()) return;
  for (auto& member : value.get_object()) {
    const bool reference = member.key() == "$ref" && member.value().is_string() && member.value().get_string().starts_with("#/");
    if (reference) member.value() = to + std::string(member.value().get_string().subview(1));
    if (!reference) MoveReferences(member.value(), to);
  }
}

absl::StatusOr<json::value> ParametersOf(const ToolDefinition& tool) {
  boost::system::error_code error;
  json::value schema = json::parse(tool.parameters.empty() ? "{}" : tool.parameters, error, {}, json::parse_options{.max_depth = 128});
  if (error || !schema.is_object())
    return base::InvalidArgument(fmt::format("{}: its parameters are no JSON Schema of an object", tool.name));
  if (!schema.get_object().contains("type") && !schema.get_object().contains("$ref")) schema.get_object()["type"] = "object";
  const absl::Status sound = JsonSchemaGrammar(json::serialize(schema)).status();
  if (!sound.ok()) return base::Annotate(sound, fmt::format("{}: a call of it cannot be forced", tool.name));
  return schema;
}

}  // namespace

ToolStyle ForcedStyle(ToolStyle style) { return style == ToolStyle::kDeepSeek ? ToolStyle::kLlama : style; }

absl::StatusOr<std::string> ToolGrammar(ToolStyle style, std::span<const ToolDefinition> tools, bool several, bool in_thought) {
  const std::string key = ForcedStyle(style) == ToolStyle::kLlama ? "parameters" : "arguments";
  json::array calls;
  for (const ToolDefinition& tool : tools) {
    TG_ASSIGN(json::value schema, ParametersOf(tool));
    MoveReferences(schema, fmt::format("#/anyOf/{}/properties/{}", calls.size(), key));
    calls.push_back(json::object{{"type", "object"},
                                 {"properties", json::object{{"name", json::object{{"const", tool.name}}}, {key, std::move(schema)}}},
                                 {"required", json::array{"name", key}}});
  }
  TG_ASSIGN(const std::string grammar, JsonSchemaGrammar(json::serialize(json::object{{"anyOf", std::move(calls)}})));
  std::string root;
  switch (ForcedStyle(style)) {
    case ToolStyle::kHermes:
      root = R"("<tool_call>\n" call "\n</tool_call>")";
      if (several) root += R"( ( "\n<tool_call>\n" call "\n</tool_call>" ){0,15})";
      break;
    case ToolStyle::kMistral: root = fmt::format(R"("[TOOL_CALLS] [" call{} "]")", several ? R"( ( ", " call ){0,15})" : ""); break;
    default: root = fmt::format("call{}", several ? R"( ( "\n" call ){0,15})" : ""); break;
  }
  if (in_thought) root = R"([^<]* "</think>\n\n" )" + root;
  return fmt::format("{}{}\ncall ::= {}", kRoot, root, grammar.substr(kRoot.size()));
}

}  // namespace tollgate::inference
