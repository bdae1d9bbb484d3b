// The calls are one JSON Schema: any of an object for each function, with its name as a constant and its parameters as another member. What
// json_schema.h makes of that becomes the rule for a call, and the words around it are written about that. References inside of a
// function's schema are moved to where it stands in the whole. Of a schema that is not strict its part stands there (schema_part.h). A form
// beside the calls keeps its rules, under names of their own.
//
// Tested by tests/inference/tool_grammar_test.cpp, tests/inference/tool_grammar_engine_test.cpp.
#include "inference/tool_grammar.h"

#include <absl/strings/ascii.h>

#include <boost/json.hpp>

#include <fmt/format.h>

#include "inference/grammar_rules.h"
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

struct Parameters {
  json::value schema;
  bool whole = true;
};

// Lengths above `longest` may be passed over where the schema is not strict.
absl::StatusOr<Parameters> ParametersOf(const ForcedTool& tool, std::int64_t longest) {
  boost::system::error_code error;
  const json::parse_options options{.max_depth = 128};
  Parameters out{json::parse(tool.parameters.empty() ? "{}" : tool.parameters, error, {}, options)};
  if (error || !out.schema.is_object())
    return base::InvalidArgument(fmt::format("{}: its parameters are no JSON Schema of an object", tool.name));
  json::object& fields = out.schema.get_object();
  if (!fields.contains("type") && !fields.contains("$ref")) fields["type"] = "object";
  absl::Status sound = JsonSchemaGrammar(json::serialize(out.schema)).status();
  if (!tool.strict && (!sound.ok() || longest < kSchemaLengthMax)) {
    TG_ASSIGN(const std::string part, EnforceablePart(json::serialize(out.schema), longest));
    sound = JsonSchemaGrammar(part).status();
    out = {json::parse(part, {}, options), false};
    if (!out.schema.is_object()) out.schema = json::object{{"type", "object"}};
  }
  if (!sound.ok()) return base::Annotate(sound, fmt::format("{}: a call of it cannot be forced", tool.name));
  return out;
}

// The grammar of one call, as a JSON object whose arguments are under `key`.
absl::StatusOr<SchemaGrammar> CallGrammar(std::span<const ForcedTool> tools, const std::string& key, std::int64_t longest) {
  json::array calls;
  bool whole = true;
  for (const ForcedTool& tool : tools) {
    TG_ASSIGN(Parameters its, ParametersOf(tool, longest));
    whole = whole && its.whole;
    MoveReferences(its.schema, fmt::format("#/anyOf/{}/properties/{}", calls.size(), key));
    calls.push_back(json::object{{"type", "object"},
                                 {"properties", json::object{{"name", json::object{{"const", tool.name}}}, {key, std::move(its.schema)}}},
                                 {"required", json::array{"name", key}}});
  }
  TG_ASSIGN(std::string grammar, JsonSchemaGrammar(json::serialize(json::object{{"anyOf", std::move(calls)}})));
  return SchemaGrammar{std::move(grammar), whole};
}

// The same grammar, each of its rules under another name.
std::string Renamed(std::string_view gbnf, std::string_view prefix) {
  std::string out;
  for (std::size_t i = 0; i < gbnf.size();) {
    const std::size_t from = i++;
    if (gbnf[from] == '"' || gbnf[from] == '[') {
      const char end = gbnf[from] == '"' ? '"' : ']';
      while (gbnf[i] != end) i += gbnf[i] == '\\' ? 2 : 1;
      ++i;
    } else if (IsNamePart(gbnf[from])) {
      while (i < gbnf.size() && IsNamePart(gbnf[i])) ++i;
      if (absl::ascii_isalpha(static_cast<unsigned char>(gbnf[from]))) out += prefix;  // Else how often something may come.
    }
    out += gbnf.substr(from, i - from);
  }
  return out;
}

}  // namespace

ToolStyle ForcedStyle(ToolStyle style) { return style == ToolStyle::kDeepSeek ? ToolStyle::kLlama : style; }

absl::StatusOr<SchemaGrammar> ToolGrammar(ToolStyle style, std::span<const ForcedTool> tools, bool several, bool in_thought) {
  const std::string key = ForcedStyle(style) == ToolStyle::kLlama ? "parameters" : "arguments";
  absl::StatusOr<SchemaGrammar> call = CallGrammar(tools, key, kSchemaLengthMax);
  // Too much for one grammar: perhaps for lengths that nobody asked to be strict about.
  if (!call.ok()) call = CallGrammar(tools, key, kShortLengthMax);
  if (!call.ok()) return call.status();
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
  call->gbnf = fmt::format("{}{}\ncall ::= {}", kRoot, root, call->gbnf.substr(kRoot.size()));
  return call;
}

SchemaGrammar CallsOrForm(SchemaGrammar calls, const SchemaGrammar& form) {
  const std::size_t line = calls.gbnf.find('\n');
  std::string either =
      fmt::format("{}( {} ) | form-root{}", kRoot, calls.gbnf.substr(kRoot.size(), line - kRoot.size()), calls.gbnf.substr(line));
  return {std::move(either) + "\n" + Renamed(form.gbnf, "form-"), calls.whole && form.whole};
}

}  // namespace tollgate::inference
