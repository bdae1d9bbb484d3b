// Policy knows messages alone, so calls and tools are messages to it, behind those of the conversation; an edit that stays inside of a part
// leaves the cut as it was, and JSON is put together again. Where an edit reaches over parts, what is left is one text, which the model
// gets as a string in the place of its JSON. What the second reading of a result loses, policy takes out of the result itself. A rule may
// put a system message before all (append_system): it is a turn of its own, and no message of the request.
//
// Tested by tests/gateway/pipeline/tool_prompt_test.cpp.
#include "gateway/pipeline/tool_prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/encoding.h"
#include "inference/grammar.h"
#include "inference/json_schema.h"
#include "inference/tool_grammar.h"
#include "policy/json_parts.h"

namespace tollgate::pipeline {
namespace {

namespace v1 = tollgate::v1;

constexpr int kToolsMax = 128;
constexpr int kCallsMax = 128;  // Of one message.

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

constexpr std::string_view kNameRule = "must be 1 to 64 letters, digits, _ and -";

// Servers make them as they please ("functions.find:0").
bool IsId(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

constexpr std::string_view kIdRule = "must be 1 to 128 ASCII characters without blanks";

// Of what policy left.
constexpr std::string_view kNotApplicable = "POLICY_NOT_APPLICABLE";
constexpr std::string_view kNoSchema =
    "policy changes the parameters so that no call can be held to them: leave out what it hides, or let the model decide and ask for text";

absl::Status CheckCalls(const v1::ChatMessage& message, const std::string& at) {
  if (message.tool_calls_size() > 0 && message.role() != v1::ROLE_ASSISTANT)
    return BadField(at + ".tool_calls", "are an assistant's alone");
  if (message.tool_calls_size() > kCallsMax) return BadField(at + ".tool_calls", fmt::format("are more than {}", kCallsMax));
  std::set<std::string_view> ids;
  for (int i = 0; i < message.tool_calls_size(); ++i) {
    const v1::ToolCall& call = message.tool_calls(i);
    const std::string its = fmt::format("{}.tool_calls[{}]", at, i);
    if (!IsName(call.name())) return BadField(its + ".function.name", kNameRule);
    if (!IsId(call.id()) || !ids.insert(call.id()).second) return BadField(its + ".id", fmt::format("{}, and no two alike", kIdRule));
    if (!base::IsValidUtf8(call.arguments())) return BadField(its + ".function.arguments", "is not valid UTF-8");
  }
  const bool names = message.role() == v1::ROLE_TOOL;
  if (!message.tool_call_id().empty() && !names) return BadField(at + ".tool_call_id", "is a tool's alone");
  if (!message.tool_call_id().empty() && !IsId(message.tool_call_id())) return BadField(at + ".tool_call_id", kIdRule);
  return absl::OkStatus();
}

std::vector<inference::ToolDefinition> Definitions(const Tools& tools) {
  std::vector<inference::ToolDefinition> out;
  for (const v1::Tool& tool : tools) out.push_back({tool.name(), tool.description(), tool.parameters()});
  return out;
}

bool HasForm(const v1::ChatRequest& request) {
  const v1::OutputForm& form = request.output_form();
  return form.json_object() || form.has_json_schema() || form.has_grammar();
}

bool UsesTools(const v1::ChatRequest& request) { return request.tools_size() > 0 && !request.tool_choice().none(); }

// The output is calls, or the form: the model decides.
bool CallsOrForm(const v1::ChatRequest& request) { return UsesTools(request) && HasForm(request) && !MustCall(request); }

// Those of `tools`, which are the request's, to whose calls the output is held; empty: to none.
std::vector<inference::ForcedTool> HeldTo(const v1::ChatRequest& request, const std::vector<inference::ToolDefinition>& tools) {
  const v1::ToolChoice& choice = request.tool_choice();
  std::vector<inference::ForcedTool> out;
  if (!MustCall(request) && !CallsOrForm(request)) return out;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    if (choice.has_function() && tools[i].name != choice.function()) continue;
    out.push_back({tools[i].name, tools[i].parameters, request.tools(static_cast<int>(i)).strict()});
  }
  return out;
}

// Empty where no schema is asked for.
absl::StatusOr<inference::SchemaGrammar> FormGrammar(const v1::OutputForm& form) {
  if (!form.has_json_schema()) return inference::SchemaGrammar{};
  return inference::HoldToSchema(form.json_schema(), form.strict());
}

// The grammar of calls of `tools`, or of a form beside them.
absl::StatusOr<inference::SchemaGrammar> GrammarOf(const v1::ChatRequest& request, std::span<const inference::ForcedTool> tools,
                                                   const v1::OutputForm& form, const inference::ModelInfo& model) {
  if (!CallsOrForm(request)) return inference::ToolGrammar(model.tools, tools, !OneCall(request), model.opens_thinking);
  TG_ASSIGN(inference::SchemaGrammar calls, inference::ToolGrammar(model.tools, tools, !OneCall(request), false));
  TG_ASSIGN(inference::SchemaGrammar beside, FormGrammar(form));
  if (beside.gbnf.empty()) beside.gbnf = inference::JsonGrammar();
  return inference::CallsOrForm(std::move(calls), beside);
}

// How many messages policy put before those of the request.
std::size_t PutBefore(const v1::ChatRequest& request, std::span<const policy::Message> used) {
  const auto aside = std::find_if(used.begin(), used.end(), [](const policy::Message& message) { return message.aside; });
  return static_cast<std::size_t>(aside - used.begin()) - static_cast<std::size_t>(request.messages_size());
}

// As policy left them.
std::vector<inference::ToolDefinition> ToolsUsed(const v1::ChatRequest& request, std::span<const policy::Message> used) {
  std::size_t at = PutBefore(request, used) + static_cast<std::size_t>(request.messages_size());
  for (const v1::ChatMessage& message : request.messages()) at += static_cast<std::size_t>(message.tool_calls_size());
  std::vector<inference::ToolDefinition> out;
  for (const v1::Tool& tool : request.tools()) {
    const policy::Message& its = used[at++];
    const bool whole = its.parts.size() > 1;  // Else one text is left of it.
    out.push_back({its.name, its.parts.empty() ? "" : its.parts[0], whole ? policy::JsonOf(its.parts, 1, tool.parameters()) : ""});
  }
  return out;
}

bool MentionsTools(const v1::ChatRequest& request) {
  return UsesTools(request) || std::any_of(request.messages().begin(), request.messages().end(),
                                           [](const v1::ChatMessage& m) { return m.tool_calls_size() > 0 || !m.tool_call_id().empty(); });
}

}  // namespace

bool MustCall(const v1::ChatRequest& request) {
  return UsesTools(request) && (request.tool_choice().required() || request.tool_choice().has_function());
}

bool OneCall(const v1::ChatRequest& request) {
  return request.tool_choice().has_function() || (request.has_parallel_tool_calls() && !request.parallel_tool_calls());
}

absl::Status ValidateTools(const Tools& tools) {
  if (tools.size() > kToolsMax) return BadField("tools", fmt::format("holds {} tools; at most {} are allowed", tools.size(), kToolsMax));
  std::set<std::string_view> names;
  for (int i = 0; i < tools.size(); ++i) {
    const v1::Tool& tool = tools[i];
    const std::string at = fmt::format("tools[{}].function", i);
    if (!IsName(tool.name())) return BadField(at + ".name", kNameRule);
    if (!names.insert(tool.name()).second) return BadField(at + ".name", "is another tool's as well");
    if (!base::IsValidUtf8(tool.description())) return BadField(at + ".description", "is not valid UTF-8");
    if (tool.parameters().size() > inference::kSchemaBytesMax)
      return BadField(at + ".parameters",
                      fmt::format("has {} bytes; at most {} are allowed", tool.parameters().size(), inference::kSchemaBytesMax));
    if (!tool.parameters().empty() &&
        (!policy::CutJson(tool.parameters()) || tool.parameters().find_first_not_of(" \t\r\n") == std::string::npos ||
         tool.parameters()[tool.parameters().find_first_not_of(" \t\r\n")] != '{'))
      return BadField(at + ".parameters", "is no JSON object");
  }
  return absl::OkStatus();
}

absl::Status ValidateTools(const v1::ChatRequest& request) {
  TG_RETURN_IF_ERROR(ValidateTools(request.tools()));
  for (int i = 0; i < request.messages_size(); ++i) TG_RETURN_IF_ERROR(CheckCalls(request.messages(i), fmt::format("messages[{}]", i)));
  const v1::ToolChoice& choice = request.tool_choice();
  if (request.tools_size() == 0 && (choice.required() || choice.has_function()))
    return BadField("tool_choice", "is only allowed with tools");
  if (request.tools_size() == 0 && request.has_parallel_tool_calls()) return BadField("parallel_tool_calls", "is only allowed with tools");
  const auto named = [&](const v1::Tool& tool) { return tool.name() == choice.function(); };
  if (choice.has_function() && std::none_of(request.tools().begin(), request.tools().end(), named))
    return BadField("tool_choice", "names a function that is none of the tools");
  if (UsesTools(request) && request.output_form().has_grammar())
    return BadField("grammar", "cannot be together with tools that may be called: set tool_choice to none, or leave the grammar out");
  return absl::OkStatus();
}

absl::Status ValidateToolsFor(const v1::ChatRequest& request, const inference::ModelInfo& model) {
  if (MentionsTools(request) && model.tools == inference::ToolStyle::kNone)
    return BadField("tools", fmt::format("{} has no place for tools in its chat format, {}: leave them out, or use another model",
                                         model.name, model.chat_template));
  if (UsesTools(request) && model.hides_calls)
    return BadField("tools", fmt::format("{} runs on servers that give no text for the token that its calls begin with: leave tools out, "
                                         "set tool_choice to none, or use another model",
                                         model.name));
  if (request.max_reasoning_tokens() > 0 && !model.thinks)
    return BadField("max_reasoning_tokens",
                    fmt::format("{} does not think before it answers: leave it out, or use another model", model.name));
  const std::vector<inference::ForcedTool> held = HeldTo(request, Definitions(request.tools()));
  if (held.empty()) return absl::OkStatus();
  if (CallsOrForm(request) && inference::ForcedStyle(model.tools) != model.tools)
    return BadField("response_format",
                    fmt::format("cannot be together with tools that {} may call, whose calls no form can stand beside: set tool_choice to "
                                "required or none, or ask for text",
                                model.name));
  if (MustCall(request) && model.opens_thinking && request.max_reasoning_tokens() > 0)
    return BadField(
        "max_reasoning_tokens",
        fmt::format("cannot be together with a call that is forced of {}, whose prompts end within the thought: leave it out, or "
                    "let the model decide",
                    model.name));
  // To servers the control token that a call of Mistral's begins with is no text that a grammar may ask for.
  if (!model.grammars || (!model.resumes && model.tools == inference::ToolStyle::kMistral))
    return CallsOrForm(request)
               ? BadField("response_format",
                          fmt::format("cannot be together with tools that {} may call, which cannot be held to calls: set "
                                      "tool_choice to none, ask for text, or use another model",
                                      model.name))
               : BadField("tool_choice",
                          fmt::format("{} cannot be held to a call: let the model decide, or use another model", model.name));
  return absl::OkStatus();
}

absl::StatusOr<inference::SchemaGrammar> GrammarAsked(const v1::ChatRequest& request, const inference::ModelInfo& model) {
  const v1::OutputForm& form = request.output_form();
  if (const absl::Status sound = form.has_grammar() ? inference::CheckGrammar(form.grammar()) : absl::OkStatus(); !sound.ok())
    return BadField("grammar", base::Message(sound));
  absl::StatusOr<inference::SchemaGrammar> beside = FormGrammar(form);
  if (!beside.ok()) return BadField("response_format", base::Message(beside.status()));
  const std::vector<inference::ForcedTool> held = HeldTo(request, Definitions(request.tools()));
  if (held.empty()) return beside;
  absl::StatusOr<inference::SchemaGrammar> grammar = GrammarOf(request, held, form, model);
  if (!grammar.ok()) return BadField("tools", base::Message(grammar.status()));
  return grammar;
}

std::vector<policy::Message> PolicyPrompt(const v1::ChatRequest& request) {
  std::vector<policy::Message> out = ToPolicy(request.messages());
  std::map<std::string_view, const std::string*> tool_of;  // By a call's id; as the conversation goes, for ids may come again.
  for (int i = 0; i < request.messages_size(); ++i) {
    const v1::ChatMessage& message = request.messages(i);
    const auto answered = tool_of.find(message.tool_call_id());
    if (message.role() == v1::ROLE_TOOL) {
      // Of a call that is not here, nobody knows what it answers, whatever name it bears: to policy it is every tool's.
      out[static_cast<std::size_t>(i)].channel = {policy::Part::kToolResult, answered == tool_of.end() ? "" : *answered->second};
    }
    for (const v1::ToolCall& call : message.tool_calls()) {
      tool_of[call.id()] = &call.name();
      policy::Message& added =
          out.emplace_back(policy::Message{policy::Role::kAssistant, call.name(), {}, true, {policy::Part::kToolCall, call.name()}});
      policy::AddJson(call.arguments(), added.parts);
    }
  }
  for (const v1::Tool& tool : request.tools()) {
    policy::Message& added = out.emplace_back(
        policy::Message{policy::Role::kSystem, tool.name(), {tool.description()}, true, {policy::Part::kToolDefinition, tool.name()}});
    policy::AddJson(tool.parameters(), added.parts);
  }
  for (int i = 0; i < request.messages_size(); ++i) {
    const policy::Message& message = out[static_cast<std::size_t>(i)];
    if (auto reading = policy::SecondReading(message)) {
      policy::Message added{policy::Role::kTool, "", *std::move(reading), true, message.channel};
      out.push_back(std::move(added));
    }
  }
  if (request.output_form().has_json_schema()) {
    policy::Message& added = out.emplace_back(policy::Message{.role = policy::Role::kSystem, .name = "", .parts = {}, .aside = true});
    policy::AddJson(request.output_form().json_schema(), added.parts);
  }
  return out;
}

absl::StatusOr<v1::OutputForm> FormUsed(const v1::ChatRequest& request, std::span<const policy::Message> used) {
  v1::OutputForm form = request.output_form();
  if (!form.has_json_schema()) return form;
  std::vector<std::string> parts;
  policy::AddJson(form.json_schema(), parts);
  if (used.back().parts == parts) return form;
  form.set_json_schema(policy::JsonOf(used.back().parts, 0, form.json_schema()));
  const absl::Status held = FormGrammar(form).status();
  if (held.ok()) return form;
  return BadField(
      "response_format",
      fmt::format("policy changes the schema so that no output can be held to it: leave out what it hides, or ask for text ({})",
                  base::Message(held)),
      kNotApplicable);
}

std::vector<inference::Turn> TurnsOf(const v1::ChatRequest& request, std::span<const policy::Message> used) {
  // Policy does not judge ids, so none goes on as the caller wrote it: by the order in which they come.
  std::map<std::string_view, std::string> ids;
  const auto id_of = [&](std::string_view id) {
    return id.empty() ? "" : ids.try_emplace(id, fmt::format("call{:05}", ids.size())).first->second;
  };
  const std::size_t before = PutBefore(request, used);
  std::size_t at = before + static_cast<std::size_t>(request.messages_size());
  std::vector<inference::Turn> turns = ToTurns(used.first(at));
  for (int i = 0; i < request.messages_size(); ++i) {
    const v1::ChatMessage& message = request.messages(i);
    inference::Turn& turn = turns[before + static_cast<std::size_t>(i)];
    turn.call_id = id_of(message.tool_call_id());
    for (const v1::ToolCall& call : message.tool_calls()) {
      turn.calls.push_back({id_of(call.id()), used[at].name, policy::JsonOf(used[at].parts, 0, call.arguments())});
      ++at;
    }
  }
  if (UsesTools(request) && !turns.empty()) turns.front().tools = ToolsUsed(request, used);
  return turns;
}

void FillUsed(const v1::ChatRequest& request, std::span<const policy::Message> used, v1::SealedContent& content) {
  const std::vector<inference::Turn> turns = TurnsOf(request, used);
  ToProto(used.first(turns.size()), content.mutable_prompt_used());
  for (std::size_t i = 0; i < turns.size(); ++i) {
    v1::ChatMessage* message = content.mutable_prompt_used(static_cast<int>(i));
    message->set_tool_call_id(turns[i].call_id);
    for (const inference::ToolUse& call : turns[i].calls) {
      v1::ToolCall* out = message->add_tool_calls();
      out->set_id(call.id);
      out->set_name(call.name);
      out->set_arguments(call.arguments);
    }
  }
  if (turns.empty()) return;
  for (std::size_t i = 0; i < turns.front().tools.size(); ++i) {
    const inference::ToolDefinition& tool = turns.front().tools[i];
    v1::Tool* out = content.add_tools_used();
    out->set_name(tool.name);
    out->set_description(tool.description);
    out->set_parameters(tool.parameters);
    out->set_strict(request.tools(static_cast<int>(i)).strict());
  }
}

std::int64_t BytesOf(const v1::ChatRequest& request) {
  std::size_t bytes = static_cast<std::size_t>(BytesOf(request.messages()));
  for (const v1::ChatMessage& message : request.messages())
    for (const v1::ToolCall& call : message.tool_calls()) bytes += call.name().size() + call.arguments().size();
  for (const v1::Tool& tool : request.tools()) bytes += tool.name().size() + tool.description().size() + tool.parameters().size();
  return static_cast<std::int64_t>(bytes + request.output_form().json_schema().size());
}

inference::OutputSyntax SyntaxOf(const v1::ChatRequest& request, const inference::ModelInfo& model) {
  inference::OutputSyntax syntax;
  if (!HasForm(request) || MustCall(request)) syntax = {.thinks = model.thinks, .in_thought = model.opens_thinking};
  if (!UsesTools(request)) return syntax;
  syntax.tools = MustCall(request) ? inference::ForcedStyle(model.tools) : model.tools;
  for (const v1::Tool& tool : request.tools()) syntax.names.push_back(tool.name());
  return syntax;
}

absl::StatusOr<inference::SchemaGrammar> OutputGrammar(const v1::ChatRequest& request, std::span<const policy::Message> used,
                                                       const v1::OutputForm& form, const inference::ModelInfo& model) {
  if (!UsesTools(request)) return FormGrammar(form);
  const std::vector<inference::ToolDefinition> tools = ToolsUsed(request, used);
  for (int i = 0; i < request.tools_size(); ++i) {
    if (tools[static_cast<std::size_t>(i)].name == request.tools(i).name()) continue;
    return BadField(fmt::format("tools[{}].function.name", i),
                    "is changed by policy, and a call by another name would be nobody's: name the function otherwise, or leave it out",
                    kNotApplicable);
  }
  const std::vector<inference::ForcedTool> held = HeldTo(request, tools);
  if (held.empty()) return FormGrammar(form);
  for (const inference::ForcedTool& tool : held) {
    const auto same = [&](const v1::Tool& t) { return t.name() == tool.name; };
    const v1::Tool& came = *std::find_if(request.tools().begin(), request.tools().end(), same);
    if (tool.parameters.empty() && !came.parameters().empty())
      return BadField("tools", fmt::format("{}: {}", tool.name, kNoSchema), kNotApplicable);
  }
  auto grammar = GrammarOf(request, held, form, model);
  if (!grammar.ok()) return BadField("tools", fmt::format("{} ({})", kNoSchema, base::Message(grammar.status())), kNotApplicable);
  return grammar;
}

}  // namespace tollgate::pipeline
