// What ChatFormat lays out beside plain turns: the tools, the turns that call them and those that answer. The texts are chat_tools.h's;
// here are the places and the control tokens. A result that spells the marker in which Hermes' results end gets a space in it, so that what
// a tool says cannot pass for what the user says.
//
// Tested by tests/inference/chat_tools_test.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "inference/chat_families.h"
#include "inference/chat_format.h"
#include "inference/chat_tools.h"

namespace tollgate::inference {
namespace {

// Behind the list of tools of DeepSeek V3.1, in its model card's words; a layout, for the marks in it are tokens.
constexpr std::string_view kBareCallsAfter =
    "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>"
    "tool_call_arguments<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>\n\nWhere:\n"
    "- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
    "- For multiple tool calls, chain them directly without separators or spaces";

std::vector<std::string> Strings(std::span<const std::string_view> names) { return {names.begin(), names.end()}; }

std::string WithoutMarkers(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string_view before = text.substr(0, at);
    if (text[at] == '>' && (before.ends_with("<tool_response") || before.ends_with("</tool_response"))) out += ' ';
    out += text[at];
  }
  return out;
}

}  // namespace

std::vector<std::string> ChatFormat::tool_controls() const { return Strings(ToolControls(tools_)); }
std::vector<std::string> ChatFormat::tool_marks() const { return Strings(ToolMarks(tools_)); }

void ChatFormat::Describe(ModelInfo& info) const {
  info.tools = tools_;
  info.thinks = thinks_;
  info.opens_thinking = opens_thinking_;
}

absl::Status ChatFormat::CheckTools(std::span<const Turn> turns) const {
  for (const Turn& turn : turns) {
    if (tools_ == ToolStyle::kNone && (!turn.tools.empty() || !turn.calls.empty())) {
      return base::InvalidArgument(
          fmt::format("the model's chat format, {}, has no place for tools: leave them out, or use a model that has", family_->name));
    }
    if (turn.role != "tool" || !family_->tool.empty()) continue;
    if (tools_ == ToolStyle::kNone)
      return base::InvalidArgument(fmt::format("the model's chat format, {}, has no place for messages of tools", family_->name));
    if (turn.call_id.empty()) return base::InvalidArgument("a tool's message must name the call that it answers");
  }
  return absl::OkStatus();
}

void ChatFormat::AddSystem(std::vector<ChatPart>& parts, std::string_view text, std::span<const ToolDefinition> told, bool tools) const {
  const std::string_view other = parts.empty() ? family_->first_system : family_->later_system;
  std::string layout(other.empty() ? family_->system : other);
  constexpr std::string_view kDate = "Cutting Knowledge Date";
  if (const std::size_t at = layout.find(kDate); tools && at != std::string::npos) layout.insert(at, "Environment: ipython\n");
  std::string all(text);
  if (!told.empty()) all += (all.empty() ? "" : "\n\n") + (family_->bare_calls ? ToolsList(told) : ToolsText(tools_, told));
  AddTurn(parts, layout, all);
  if (!told.empty() && family_->bare_calls) AddTurn(parts, kBareCallsAfter, "");
}

// Mistral's: a space stands after its markers where one stands before a reply.
void ChatFormat::AddTools(std::vector<ChatPart>& parts, std::span<const ToolDefinition> tools) const {
  if (tools.empty()) return;
  const bool space = family_->assistant.starts_with(' ');
  AddTurn(parts, space ? "[AVAILABLE_TOOLS] {}[/AVAILABLE_TOOLS]" : "[AVAILABLE_TOOLS]{}[/AVAILABLE_TOOLS]", ToolsText(tools_, tools));
}

void ChatFormat::AddCalls(std::vector<ChatPart>& parts, const Turn& turn, bool follows_results) const {
  const std::string text = TextOf(turn);
  if (tools_ == ToolStyle::kDeepSeek) {
    AddTurn(parts, follows_results ? "{}" : family_->assistant.substr(0, family_->assistant.find("{}") + 2), text);
    if (!turn.calls.empty()) {
      AddTurn(parts, "<｜tool▁calls▁begin｜>", "");
      for (const ToolUse& call : turn.calls) {
        if (family_->bare_calls) {
          AddTurn(parts, "<｜tool▁call▁begin｜>{}", call.name);
          AddTurn(parts, "<｜tool▁sep｜>{}<｜tool▁call▁end｜>", SpacedJson(call.arguments.empty() ? "{}" : call.arguments));
          continue;
        }
        if (&call != &turn.calls.front()) AddTurn(parts, "\n", "");
        AddTurn(parts, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}<｜tool▁call▁end｜>", CallsText(tools_, std::span(&call, 1)));
      }
      AddTurn(parts, "<｜tool▁calls▁end｜>", "");
    }
    return AddTurn(parts, "<｜end▁of▁sentence｜>", "");
  }
  if (turn.calls.empty()) return AddTurn(parts, family_->assistant, text);
  const std::string calls = CallsText(tools_, turn.calls);
  if (tools_ == ToolStyle::kHermes) {
    AddTurn(parts, family_->assistant, text.empty() ? calls : text + "\n" + calls);
  } else if (tools_ == ToolStyle::kLlama) {
    AddTurn(parts, family_->assistant, calls);
  } else {
    const bool space = family_->assistant.starts_with(' ');
    if (!text.empty()) AddTurn(parts, space ? " {}" : "{}", text);
    AddTurn(parts, space ? "[TOOL_CALLS] {}{eos}" : "[TOOL_CALLS]{}{eos}", calls);
  }
}

std::size_t ChatFormat::AddResults(std::vector<ChatPart>& parts, std::span<const Turn> turns) const {
  std::size_t count = 0;
  std::string together;  // Hermes: of all, in one turn.
  const bool framed = tools_ == ToolStyle::kDeepSeek && !family_->bare_calls;
  if (framed) AddTurn(parts, "<｜tool▁outputs▁begin｜>", "");
  for (; count < turns.size() && turns[count].role == "tool" && !turns[count].call_id.empty(); ++count) {
    const std::string text = TextOf(turns[count]);
    const std::string result = ResultText(tools_, tools_ == ToolStyle::kHermes ? WithoutMarkers(text) : text, turns[count].call_id);
    switch (tools_) {
      case ToolStyle::kNone: AddTurn(parts, family_->tool, text); break;
      case ToolStyle::kHermes:
        if (!family_->tool.empty()) AddTurn(parts, family_->tool, result);
        together += (together.empty() ? "" : "\n") + result;
        break;
      case ToolStyle::kLlama: AddTurn(parts, "<|start_header_id|>ipython<|end_header_id|>\n\n{}<|eot_id|>", result); break;
      case ToolStyle::kMistral:
        AddTurn(parts, family_->assistant.starts_with(' ') ? "[TOOL_RESULTS] {}[/TOOL_RESULTS]" : "[TOOL_RESULTS]{}[/TOOL_RESULTS]",
                result);
        break;
      case ToolStyle::kDeepSeek:
        if (count > 0 && framed) AddTurn(parts, "\n", "");
        AddTurn(parts, "<｜tool▁output▁begin｜>{}<｜tool▁output▁end｜>", result);
        break;
    }
  }
  if (framed) AddTurn(parts, "<｜tool▁outputs▁end｜>", "");
  if (tools_ == ToolStyle::kHermes && family_->tool.empty()) AddTurn(parts, family_->user, together);
  return count;
}

}  // namespace tollgate::inference
