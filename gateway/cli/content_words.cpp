// A title of the program's own for each thing, and below it the text, indented, so that hostile text cannot pass for such a title. What is
// long and says nothing to people (token numbers, log-probabilities) is counted: --json has it.
//
// Tested by tests/gateway/cli/content_words_test.cpp.
#include "gateway/cli/content_words.h"

#include <fmt/format.h>

#include "gateway/cli/record_words.h"
#include "gateway/cli/words.h"

namespace tollgate::cli {
namespace {

std::string Titled(const std::string& title, const std::string& text) {
  return text.empty() ? "" : fmt::format("    {}\n", Tamed(title)) + Indented(text, "      | ");
}

// " of reply 1 in reasoning"; replies count from 0, and the first is not said.
std::string Where(int choice, const std::string& channel) {
  return (choice > 0 ? fmt::format(" of reply {}", choice) : "") + (channel.empty() ? "" : " in " + channel);
}

std::string InBrackets(const std::string& text) { return text.empty() ? "" : " (" + text + ")"; }

// "find (call_1) {}"
std::string CallWords(const v1::ToolCall& call) { return call.name() + InBrackets(call.id()) + " " + call.arguments(); }

template <typename Messages>
std::string Conversation(const char* title, const Messages& messages) {
  if (messages.empty()) return "";
  std::string out = fmt::format("    {}\n", title);
  for (const v1::ChatMessage& message : messages) {
    std::string text;
    for (const std::string& part : message.parts()) text += part;
    const std::string answers = message.tool_call_id().empty() ? "" : ", answers " + message.tool_call_id();
    out += Indented(RoleWord(message.role()) + InBrackets(message.name()) + answers + ": " + text, "      | ");
    for (const v1::ToolCall& call : message.tool_calls()) out += Indented("calls " + CallWords(call), "      | ");
  }
  return out;
}

template <typename Tools>
std::string ToolWords(const char* how, const Tools& tools) {
  std::string out;
  for (const v1::Tool& tool : tools)
    out += Titled(fmt::format("tool {}{}{}", tool.name(), tool.strict() ? " (strict)" : "", how),
                  tool.description() + "\n" + tool.parameters());
  return out;
}

std::string PartWords(const v1::ReleasedPart& part) {
  const std::string of = Where(part.choice(), "");
  std::string out = Titled("reasoning released" + of, part.reasoning()) + Titled("text released" + of, part.text());
  for (const v1::ToolCall& call : part.tool_calls())
    out += Titled(fmt::format("call{} released{}", call.index() > 0 ? fmt::format(" {}", call.index()) : "", of), CallWords(call));
  if (part.logprobs_size() > 0) out += fmt::format("    log-probabilities of {} tokens released{}\n", part.logprobs_size(), of);
  return out;
}

std::string RawWords(const v1::RawSpan& raw) {
  const std::string why = raw.rule_id().empty() ? "not delivered"
                          : raw.restored()      ? "given its value back, of " + raw.rule_id()
                                                : "held back by " + raw.rule_id();
  const std::string became = raw.has_became_bytes() ? fmt::format(", {} bytes in its place", raw.became_bytes()) : "";
  const std::string title = fmt::format("{}{}, from byte {}{}", why, Where(raw.choice(), raw.channel()), raw.offset(), became);
  return fmt::format("    {}\n", Tamed(title)) + Indented(raw.text(), "      | ");
}

std::string StrictWords(const v1::SealedContent& content) {
  std::string out;
  if (content.has_strict_input()) {
    const v1::StrictInput& strict = content.strict_input();
    out += fmt::format("    strict: {} tokens of prompt, at most {} to decode{}\n", strict.prompt_tokens_size(), strict.max_tokens(),
                       strict.json() ? ", one JSON object" : "");
    for (const std::string& stop : strict.stop()) out += Titled("ends at", stop);
    out += Titled(strict.grammar_is_ours() ? "grammar, made here" : "grammar, as it came", strict.grammar());
  }
  if (content.has_strict_output())
    out += fmt::format("    strict: {} tokens decoded{}\n", content.strict_output().tokens_size(),
                       content.strict_output().complete() ? "" : ", then cut off");
  return out;
}

}  // namespace

std::string ContentText(const v1::StoredRecord& stored) {
  if (!stored.has_content()) return stored.content_missing().empty() ? "" : "    content: " + stored.content_missing() + "\n";
  const v1::SealedContent& content = stored.content();
  std::string out = Conversation("prompt as it came", content.prompt());
  out += Conversation("the caller's own system messages, as they came", content.caller_system());
  out += Conversation("prompt as it was used", content.prompt_used());
  out += ToolWords("", content.tools()) + ToolWords(", as it was used", content.tools_used());
  out += Titled("form of the output", content.output_schema()) + Titled("form as it was used", content.output_schema_used());
  out += Titled("justification", content.justification());
  out += Titled("text released", content.text());
  for (const v1::ReleasedPart& part : content.parts()) out += PartWords(part);
  if (content.logprobs_size() > 0) out += fmt::format("    log-probabilities of {} tokens released\n", content.logprobs_size());
  for (const v1::RawSpan& raw : content.raw()) out += RawWords(raw);
  for (const v1::GuardAnswerText& answer : content.guard_answers())
    out += Titled(fmt::format("rule {} was answered{}", answer.rule_id(), Where(answer.choice(), answer.channel())), answer.text());
  return out + StrictWords(content);
}

}  // namespace tollgate::cli
