// The texts in which tools, calls and results stand in a prompt, family by family, as the models' published templates write them.
// Pure; any thread. What is no JSON where JSON is due is written as a string.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inference/types.h"

namespace tollgate::inference {

// Tokens that the layouts of a style name beside the family's own.
std::span<const std::string_view> ToolControls(ToolStyle style);
// Those of them that the model writes when it calls, so that its output shows them.
std::span<const std::string_view> ToolMarks(ToolStyle style);

// JSON as Python writes it: ", " and ": " between, or in lines with `indent` spaces a level.
std::string SpacedJson(std::string_view json, int indent = 0);

// {"type": "function", "function": {…}}; without lines where they would make it much longer.
std::string ToolJson(const ToolDefinition& tool, int indent = 0);

// What tells the model of its tools: stands at the end of the system turn (Hermes, DeepSeek), before the first user turn's text (Llama), or
// between [AVAILABLE_TOOLS] and its end (Mistral).
std::string ToolsText(ToolStyle style, std::span<const ToolDefinition> tools);

// DeepSeek's list of them, without how to call one.
std::string ToolsList(std::span<const ToolDefinition> tools);

// All calls of one turn, without the control tokens around them; of DeepSeek, one call.
std::string CallsText(ToolStyle style, std::span<const ToolUse> calls);

// One result. `call_id` stands in Mistral's.
std::string ResultText(ToolStyle style, std::string_view text, std::string_view call_id);

}  // namespace tollgate::inference
