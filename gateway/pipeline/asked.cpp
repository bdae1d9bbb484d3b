// Each text stands behind its length and each list behind its count, so that no two requests make the same bytes. Written out field by
// field rather than as protobuf has it: what waits for a yes has to be the same prompt a week and a version later. Fields that came later
// stand at the end, and only where they say something.
// Tested by tests/gateway/pipeline/asked_test.cpp.
#include "gateway/pipeline/asked.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "gateway/pipeline/tool_prompt.h"

namespace tollgate::pipeline {
namespace {

namespace v1 = tollgate::v1;

class Canonical {
 public:
  void Number(std::int64_t number) {
    for (int shift = 0; shift < 64; shift += 8) bytes_.push_back(static_cast<char>(static_cast<std::uint64_t>(number) >> shift & 0xFF));
  }
  void Text(std::string_view text) {
    Number(static_cast<std::int64_t>(text.size()));
    bytes_ += text;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

void Put(const v1::ChatMessage& message, Canonical& out) {
  out.Number(message.role());
  out.Text(message.name());
  out.Number(message.parts_size());
  for (const std::string& part : message.parts()) out.Text(part);
  out.Number(message.tool_calls_size());
  for (const v1::ToolCall& call : message.tool_calls()) {
    out.Text(call.id());
    out.Text(call.name());
    out.Text(call.arguments());
    out.Number(call.index());
  }
  out.Text(message.tool_call_id());
}

void PutTools(const v1::ChatRequest& call, Canonical& out) {
  out.Number(call.tools_size());
  for (const v1::Tool& tool : call.tools()) {
    out.Text(tool.name());
    out.Text(tool.description());
    out.Text(tool.parameters());
  }
  const v1::ToolChoice& choice = call.tool_choice();
  out.Text(choice.none() ? "none" : choice.required() ? "required" : choice.has_function() ? "function" : "");
  out.Text(choice.function());
  out.Number(OneCall(call) ? 1 : 0);
}

void PutForm(const v1::OutputForm& form, Canonical& out) {
  out.Text(form.json_object() ? "json_object" : form.has_json_schema() ? "json_schema" : form.has_grammar() ? "grammar" : "");
  out.Text(form.has_grammar() ? form.grammar() : form.json_schema());
}

// Which schemas are enforced whole.
void PutStrict(const v1::ChatRequest& call, Canonical& out) {
  const auto strict = [](const v1::Tool& tool) { return tool.strict(); };
  if (!call.output_form().strict() && std::none_of(call.tools().begin(), call.tools().end(), strict)) return;
  out.Text("strict");
  out.Number(call.output_form().strict() ? 1 : 0);
  for (const v1::Tool& tool : call.tools()) out.Number(tool.strict() ? 1 : 0);
}

}  // namespace

base::Digest DigestOfAsked(const v1::ChatRequest& call, std::string_view end_user) {
  Canonical out;
  out.Text("tollgate asked v1");
  out.Text(call.model());
  out.Text(end_user);
  out.Number(call.messages_size());
  for (const v1::ChatMessage& message : call.messages()) Put(message, out);
  PutTools(call, out);
  PutForm(call.output_form(), out);
  PutStrict(call, out);
  return base::Sha256(out.bytes());
}

}  // namespace tollgate::pipeline
