// Sources: the chat templates that Qwen 2.5 and 3, Hermes 2 Pro, Llama 3.1 and Mistral v3 to v7 publish. DeepSeek V3 and R1 publish how
// calls and results are written and not how tools are listed; theirs are listed as V3.1's template does. Mistral's ids have nine letters
// and digits: the last nine of ours, alike for a call and its result.
//
// Tested by tests/inference/chat_tools_test.cpp.
#include "inference/chat_tools.h"

#include <boost/json.hpp>

#include <fmt/format.h>

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr std::string_view kMistralControls[] = {"[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]",
                                                 "[/TOOL_RESULTS]"};
constexpr std::string_view kDeepSeekControls[] = {"<｜tool▁calls▁begin｜>",  "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                                                  "<｜tool▁call▁end｜>",     "<｜tool▁calls▁end｜>",  "<｜tool▁outputs▁begin｜>",
                                                  "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁outputs▁end｜>"};

std::string Quoted(std::string_view text) { return json::serialize(json::string(text)); }

bool IsJson(std::string_view text) {
  boost::system::error_code error;
  json::parse({text.data(), text.size()}, error, {}, json::parse_options{.max_depth = 128});
  return !error;
}

std::string MistralId(std::string_view id) {
  std::string out;
  for (auto c = id.rbegin(); c != id.rend() && out.size() < 9; ++c) {
    if ((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z')) out.insert(out.begin(), *c);
  }
  return std::string(9 - out.size(), '0') + out;
}

constexpr std::string_view kHermesBefore =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within "
    "<tools></tools> XML tags:\n<tools>";
constexpr std::string_view kHermesAfter =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML "
    "tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
constexpr std::string_view kLlamaBefore =
    "Given the following functions, please respond with a JSON for a function call with its proper arguments that best answers the given "
    "prompt.\n\nRespond in the format {\"name\": function name, \"parameters\": dictionary of argument name and its value}."
    "Do not use variables.\n\n";
constexpr std::string_view kDeepSeekBefore = "## Tools\nYou have access to the following tools:\n";
constexpr std::string_view kDeepSeekAfter =
    "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
    "tool_name\n```json\n{arguments}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>\n\nWhere tool_name is one of the tools above and the "
    "arguments are JSON that follows its parameters.";

}  // namespace

std::string_view Name(ToolStyle style) {
  switch (style) {
    case ToolStyle::kNone: return "none";
    case ToolStyle::kHermes: return "hermes";
    case ToolStyle::kLlama: return "llama";
    case ToolStyle::kMistral: return "mistral";
    case ToolStyle::kDeepSeek: return "deepseek";
  }
  return "none";
}

std::span<const std::string_view> ToolControls(ToolStyle style) {
  if (style == ToolStyle::kMistral) return kMistralControls;
  if (style == ToolStyle::kDeepSeek) return kDeepSeekControls;
  return {};
}

std::span<const std::string_view> ToolMarks(ToolStyle style) {
  if (style == ToolStyle::kMistral) return std::span(kMistralControls).subspan(2, 1);
  if (style == ToolStyle::kDeepSeek) return std::span(kDeepSeekControls).first(5);
  return {};
}

// Over the text, so that numbers stay as they are written.
// Deeper than schemas go, so that what is nested on purpose does not become a hundred times as long.
constexpr int kIndentedLevelsMax = 8;
// Real tools are under three times as long in lines. What is more was made to be long, and stands without lines.
constexpr std::size_t kIndentedMax = 4;
constexpr std::size_t kIndentedFree = 4096;

std::string SpacedJson(std::string_view text, int indent) {
  if (!IsJson(text)) return Quoted(text);
  std::string out;
  int level = 0;
  bool string = false;
  const auto line = [&] {
    if (indent > 0) out.append("\n").append(static_cast<std::size_t>(std::min(level, kIndentedLevelsMax) * indent), ' ');
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (string) {
      out += c;
      if (c == '\\') out += text[++i];
      string = c != '"';
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    const bool opened = !out.empty() && (out.back() == '{' || out.back() == '[');
    const bool closes = c == '}' || c == ']';
    if (closes) --level;
    const bool breaks = level > 0 || closes;
    if (opened && !closes && breaks) line();
    if (closes && !opened) line();
    out += c;
    string = c == '"';
    if (c == '{' || c == '[') ++level;
    if (c == ':') out += ' ';
    if (c == ',') {
      if (indent > 0) {
        line();
      } else {
        out += ' ';
      }
    }
  }
  return out;
}

std::string ToolJson(const ToolDefinition& tool, int indent) {
  std::string function = fmt::format("{{\"name\":{}", Quoted(tool.name));
  if (!tool.description.empty()) function += fmt::format(",\"description\":{}", Quoted(tool.description));
  if (!tool.parameters.empty())
    function += fmt::format(",\"parameters\":{}", IsJson(tool.parameters) ? tool.parameters : Quoted(tool.parameters));
  const std::string text = fmt::format("{{\"type\":\"function\",\"function\":{}}}}}", function);
  std::string plain = SpacedJson(text);
  if (indent == 0) return plain;
  std::string indented = SpacedJson(text, indent);
  return indented.size() <= kIndentedMax * plain.size() + kIndentedFree ? indented : plain;
}

std::string ToolsList(std::span<const ToolDefinition> tools) {
  std::string out(kDeepSeekBefore);
  for (const ToolDefinition& tool : tools) {
    out += fmt::format("\n### {}\nDescription: {}\n\nParameters: {}\n", tool.name, tool.description,
                       tool.parameters.empty() ? "{}" : SpacedJson(tool.parameters));
  }
  return out;
}

std::string ToolsText(ToolStyle style, std::span<const ToolDefinition> tools) {
  if (style == ToolStyle::kDeepSeek) return ToolsList(tools) + std::string(kDeepSeekAfter);
  std::string out(style == ToolStyle::kHermes ? kHermesBefore : style == ToolStyle::kLlama ? kLlamaBefore : "[");
  for (const ToolDefinition& tool : tools) {
    switch (style) {
      case ToolStyle::kNone: break;
      case ToolStyle::kHermes: out += "\n" + ToolJson(tool); break;
      case ToolStyle::kLlama: out += ToolJson(tool, 4) + "\n\n"; break;
      case ToolStyle::kMistral: out += (out.size() > 1 ? ", " : "") + ToolJson(tool); break;
      case ToolStyle::kDeepSeek: break;
    }
  }
  if (style == ToolStyle::kHermes) out += kHermesAfter;
  if (style == ToolStyle::kMistral) out += "]";
  return out;
}

std::string CallsText(ToolStyle style, std::span<const ToolUse> calls) {
  std::string out;
  for (const ToolUse& call : calls) {
    const std::string arguments = SpacedJson(call.arguments.empty() ? "{}" : call.arguments);
    const std::string before = out.empty() ? "" : style == ToolStyle::kMistral ? ", " : "\n";
    switch (style) {
      case ToolStyle::kNone: break;
      case ToolStyle::kHermes:
        out += fmt::format("{}<tool_call>\n{{\"name\": {}, \"arguments\": {}}}\n</tool_call>", before, Quoted(call.name), arguments);
        break;
      case ToolStyle::kLlama: out += fmt::format("{}{{\"name\": {}, \"parameters\": {}}}", before, Quoted(call.name), arguments); break;
      case ToolStyle::kMistral:
        out += fmt::format("{}{{\"name\": {}, \"arguments\": {}, \"id\": {}}}", before, Quoted(call.name), arguments,
                           Quoted(MistralId(call.id)));
        break;
      case ToolStyle::kDeepSeek: out += fmt::format("{}\n```json\n{}\n```", call.name, arguments); break;
    }
  }
  return style == ToolStyle::kMistral ? "[" + out + "]" : out;
}

std::string ResultText(ToolStyle style, std::string_view text, std::string_view call_id) {
  switch (style) {
    case ToolStyle::kHermes: return fmt::format("<tool_response>\n{}\n</tool_response>", text);
    case ToolStyle::kLlama: return Quoted(text);
    case ToolStyle::kMistral: return fmt::format("{{\"content\": {}, \"call_id\": {}}}", SpacedJson(text), Quoted(MistralId(call_id)));
    default: return std::string(text);
  }
}

}  // namespace tollgate::inference
