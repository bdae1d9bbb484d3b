// One object for whatever may come to be told beside OpenAI's own fields, so that it never collides with one of theirs.
//
// Tested by tests/gateway/http/chat_reply_test.cpp.
#include "gateway/http/policy_told.h"

#include "gateway/http/json_out.h"

namespace tollgate::http_front {
namespace {

void Append(std::string& out, std::string_view name, const tollgate::v1::PolicyOutcome* outcome) {
  if (outcome == nullptr || outcome->rules().empty()) return;
  out += out.empty() ? "" : ",";
  AppendJsonString(out, name);
  out += R"(:{"action":)";
  AppendJsonString(out, outcome->action());
  out += R"(,"rules":[)";
  for (int i = 0; i < outcome->rules_size(); ++i) {
    out += i == 0 ? R"({"id":)" : R"(,{"id":)";
    AppendJsonString(out, outcome->rules(i).id());
    out += R"(,"action":)";
    AppendJsonString(out, outcome->rules(i).action());
    out += R"(,"because":)";
    AppendJsonString(out, outcome->rules(i).because());
    out += '}';
  }
  out += "]}";
}

}  // namespace

std::string PolicyTold(const tollgate::v1::PolicyOutcome* input, const tollgate::v1::PolicyOutcome* output) {
  std::string fields;
  Append(fields, "input_policy", input);
  Append(fields, "output_policy", output);
  return fields.empty() ? "" : R"(,"tollgate":{)" + fields + '}';
}

}  // namespace tollgate::http_front
