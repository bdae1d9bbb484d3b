// Field by field, as rule_yaml reads the rest of a rule. What a test leaves open is filled in so that its rule looks at the text.
//
// Tested by tests/policy/rule_tests_test.cpp and tests/policy/sight_test.cpp.
#include "policy/test_yaml.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "policy/json_parts.h"

namespace tollgate::policy {
namespace {

// What there is, what is most likely meant first.
constexpr std::pair<Part, Role> kTexts[] = {{Part::kText, Role::kUser},          {Part::kText, Role::kAssistant},
                                            {Part::kText, Role::kSystem},        {Part::kToolResult, Role::kTool},
                                            {Part::kToolCall, Role::kAssistant}, {Part::kToolDefinition, Role::kSystem},
                                            {Part::kReasoning, Role::kAssistant}};

// Who wrote the text, and what it is.
absl::Status ReadPlace(const YamlReader& yaml, YamlReader::Fields& fields, const Rule& rule, RuleTest& test) {
  Sight asked = rule.sight;  // Narrowed to what the test itself says.
  if (fields.contains("role")) {
    TG_ASSIGN(const std::size_t role, yaml.OneOf(fields["role"], "role", {"system", "user", "assistant", "tool"}));
    asked = {static_cast<std::uint8_t>(1u << role), 0xFF, asked.tools};
    test.role = static_cast<Role>(role);
  }
  if (fields.contains("part")) {
    TG_ASSIGN(const std::size_t part,
              yaml.OneOf(fields["part"], "part", {"text", "reasoning", "tool_definitions", "tool_calls", "tool_results"}));
    asked = {fields.contains("role") ? asked.roles : std::uint8_t{0xFF}, static_cast<std::uint8_t>(1u << part), asked.tools};
    test.channel.part = static_cast<Part>(part);
  }
  if (fields.contains("tool")) {
    TG_ASSIGN(test.channel.tool, yaml.Text(fields["tool"], "tool"));
  } else if (!asked.tools.empty()) {
    test.channel.tool = asked.tools.front();
  }
  const bool of_tool = !test.channel.tool.empty() && !fields.contains("role");
  for (const auto& [part, role] : kTexts) {
    const bool plain = part == Part::kText || part == Part::kReasoning;
    if ((test.output && role != Role::kAssistant) || (of_tool && plain && !fields.contains("part"))) continue;
    if (!asked.SeesRole(role) || !asked.SeesPart(part)) continue;
    test.role = role;
    test.channel.part = part;
    break;
  }
  const bool of_none = test.role != Role::kTool && (test.channel.part == Part::kText || test.channel.part == Part::kReasoning);
  if (of_none && !fields.contains("tool")) test.channel.tool.clear();
  return absl::OkStatus();
}

// What stands there, or its bytes.
absl::StatusOr<ExpectedSpan> ReadSpan(const YamlReader& yaml, const YAML::Node& node, std::string_view text) {
  ExpectedSpan span;
  if (node.IsSequence() && node.size() == 2) {
    const auto size = static_cast<std::int64_t>(text.size());
    TG_ASSIGN(span.begin, yaml.Int(node[0], "spans", 0, size));
    TG_ASSIGN(span.end, yaml.Int(node[1], "spans", 0, size));
    if (span.begin >= span.end) return yaml.Wrong(node, "a span's first byte stands before the one past its last, as in [10, 29]");
    return span;
  }
  if (!node.IsScalar() || node.Scalar().empty())
    return yaml.Wrong(node, "a span is the text that the rule finds, or [its first byte, one past its last]");
  TG_ASSIGN(span.text, yaml.Text(node, "spans"));
  if (text.find(span.text) == std::string_view::npos && JsonDecoded(text).find(span.text) == std::string::npos)
    return yaml.Wrong(node, fmt::format("\"{}\" does not stand in the test's text; copy what the rule is to find, or give its bytes as "
                                        "[[10, 29]]",
                                        span.text));
  return span;
}

// All that one rule finds.
absl::Status ReadSpansOf(const YamlReader& yaml, const YAML::Node& node, const std::string& id, RuleTest& test) {
  std::vector<ExpectedSpan> spans;
  if (node.IsScalar()) {
    TG_ASSIGN(spans.emplace_back(), ReadSpan(yaml, node, test.text));
  } else if (!node.IsSequence() || node.size() == 0 || node.size() > RuleOutcome::kSpansMax) {
    return yaml.Wrong(node, fmt::format("'spans' is what a rule finds: a text, a list of 1 to {}, or a mapping of rule ids to these; "
                                        "for nothing write expect_not",
                                        RuleOutcome::kSpansMax));
  }
  if (node.IsSequence()) {
    for (const auto& item : node) {
      TG_ASSIGN(spans.emplace_back(), ReadSpan(yaml, item, test.text));
    }
  }
  test.spans.emplace_back(id, std::move(spans));
  return absl::OkStatus();
}

absl::Status ReadSpans(const YamlReader& yaml, const YAML::Node& node, const Rule& rule, RuleTest& test) {
  if (!node.IsMap() || node.size() == 0) return ReadSpansOf(yaml, node, rule.id, test);
  for (const auto& entry : node) {
    TG_ASSIGN(const std::string id, yaml.Text(entry.first, "spans"));
    TG_RETURN_IF_ERROR(ReadSpansOf(yaml, entry.second, id, test));
  }
  return absl::OkStatus();
}

absl::Status ReadExpectations(const YamlReader& yaml, YamlReader::Fields& fields, const Rule& rule, RuleTest& test) {
  if (fields.contains("expect")) {
    TG_ASSIGN(test.expect, yaml.Texts(fields["expect"], "expect"));
  }
  if (fields.contains("expect_not")) {
    TG_ASSIGN(test.expect_not, yaml.Texts(fields["expect_not"], "expect_not"));
  }
  if (fields.contains("spans")) TG_RETURN_IF_ERROR(ReadSpans(yaml, fields["spans"], rule, test));
  for (const auto& [id, spans] : test.spans) {
    if (std::find(test.expect.begin(), test.expect.end(), id) == test.expect.end()) test.expect.push_back(id);
  }
  if (test.expect.empty() && test.expect_not.empty()) test.expect = {rule.id};
  test.has_result = fields.contains("result");
  if (test.has_result) {
    TG_ASSIGN(test.result, yaml.Text(fields["result"], "result"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTests(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  if (!node.IsSequence()) return yaml.Wrong(node, "'tests' is a list; begin each with '- text: …'");
  for (const auto& item : node) {
    TG_ASSIGN(
        YamlReader::Fields fields,
        yaml.Map(item, "a test", {"note", "text", "direction", "role", "part", "tool", "at", "expect", "expect_not", "spans", "result"}));
    if (!fields.contains("text")) return yaml.Wrong(item, "'text' is missing; a test needs it");
    TG_RETURN_IF_ERROR(yaml.Taken(item, yaml.budget().TakeRead(sizeof(RuleTest))));
    RuleTest test;
    test.line = item.Mark().line + 1;
    test.column = item.Mark().column + 1;
    TG_ASSIGN(test.text, yaml.Text(fields["text"], "text"));
    test.output = !rule.input;
    if (fields.contains("direction")) {
      TG_ASSIGN(const std::size_t direction, yaml.OneOf(fields["direction"], "direction", {"input", "output"}));
      test.output = direction == 1;
    }
    TG_RETURN_IF_ERROR(ReadPlace(yaml, fields, rule, test));
    if (fields.contains("at")) {
      TG_ASSIGN(const std::string at, yaml.Text(fields["at"], "at"));
      auto moment = ParseMoment(at);
      if (!moment.ok()) return yaml.Wrong(fields["at"], "at: " + base::Message(moment.status()));
      test.at = *moment;
    }
    TG_RETURN_IF_ERROR(ReadExpectations(yaml, fields, rule, test));
    rule.tests.push_back(std::move(test));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::policy
