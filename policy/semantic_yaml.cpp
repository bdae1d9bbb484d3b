// Field by field, as rule_yaml reads the rest of a rule.
//
// Tested by tests/policy/semantic_test.cpp.
#include "policy/semantic_yaml.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "policy/guard_yaml.h"
#include "policy/topic_yaml.h"

namespace tollgate::policy {
namespace {

constexpr std::int64_t kTokensMax = 4096;

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-") == std::string_view::npos;
}

// "end", "sentence", "40 tokens".
absl::Status ReadAt(const YamlReader& yaml, const YAML::Node& node, Ask& ask) {
  TG_ASSIGN(const std::string text, yaml.Text(node, "at"));
  if (text == "end" || text == "sentence") {
    ask.at = text == "end" ? Ask::At::kEnd : Ask::At::kSentence;
    return absl::OkStatus();
  }
  std::int64_t tokens = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tokens);
  if (error != std::errc() || std::string_view(end) != " tokens" || tokens < 1 || tokens > kTokensMax)
    return yaml.Wrong(node, "'at' is end, sentence, or a number of tokens from 1 to 4096, as in at: 40 tokens");
  ask.at = Ask::At::kTokens;
  ask.tokens = tokens;
  return absl::OkStatus();
}

absl::Status ReadStream(const YamlReader& yaml, YamlReader::Fields& fields, Ask& ask) {
  if (!fields.contains("stream")) return absl::OkStatus();
  TG_ASSIGN(const std::size_t which, yaml.OneOf(fields["stream"], "stream", {"hold", "observe"}));
  ask.hold = which == 0;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadSemantic(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, Rule& rule) {
  Ask ask;
  const bool guard = fields.contains("guard"), topic = fields.contains("topic");
  if (fields.contains("least_score")) {
    TG_ASSIGN(ask.least_score_percent, yaml.Int(fields["least_score"], "least_score", 1, 100));
  }
  if (guard) {
    TG_ASSIGN(ask.guard, ReadGuard(yaml, fields["guard"], ask.least_score_percent));
    ask.name = ask.guard->model;
  } else if (topic) {
    TG_ASSIGN(ask.topic, ReadTopicRule(yaml, fields["topic"]));
    ask.name = ask.topic->model;
    if (ask.least_score_percent == 0)
      return yaml.Wrong(detect,
                        "'least_score' is missing: how near to an example a text of the topic is, in percent, as in least_score: 75");
  } else {
    TG_ASSIGN(ask.name, yaml.Text(fields["external"], "external"));
    if (!IsName(ask.name))
      return yaml.Wrong(fields["external"], "'external' is the name of a detector under `detectors` of tollgate.yaml, as in toxicity");
  }
  if ((rule.action != Action::kFlag && rule.action != Action::kBlock) || rule.effect.kind != Effect::Kind::kNone)
    return yaml.Wrong(
        detect, fmt::format("what {} finds can be flagged or blocked: write do: flag or do: block", guard   ? "a guard model"
                                                                                                    : topic ? "an embedding model"
                                                                                                            : "an external detector"));
  for (const char* field : {"at", "stream"}) {
    if (fields.contains(field) && !rule.output)
      return yaml.Wrong(fields[field], fmt::format("'{}' is for replies, and this rule acts on prompts alone; remove it", field));
  }
  if (fields.contains("at")) TG_RETURN_IF_ERROR(ReadAt(yaml, fields["at"], ask));
  TG_RETURN_IF_ERROR(ReadStream(yaml, fields, ask));
  if (fields.contains("on_error")) {
    TG_ASSIGN(const std::size_t which, yaml.OneOf(fields["on_error"], "on_error", {"block", "allow"}));
    ask.fail_open = which == 1;
  }
  rule.detect = guard   ? fmt::format("guard model {} ({})", ask.name, FormatName(ask.guard->format))
                : topic ? fmt::format("topic of {} examples, by model {}", ask.topic->examples.size(), ask.name)
                        : fmt::format("external detector {}", ask.name);
  if (ask.fail_open) rule.detect += ", let pass where it cannot say";
  rule.as_written = true;
  rule.decode = Rule::Decode::kNever;
  rule.ask = std::move(ask);
  return absl::OkStatus();
}

absl::Status JudgeReplies(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, std::string name,
                          std::shared_ptr<const ReplyShape> shape, Rule& rule) {
  if ((rule.action != Action::kFlag && rule.action != Action::kBlock) || rule.effect.kind != Effect::Kind::kNone)
    return yaml.Wrong(detect, "a reply that is judged as a whole can be flagged or blocked: write do: flag or do: block");
  rule.input = false;
  const bool all_parts = (rule.sight.parts & 0x1F) == 0x1F;
  const Part judged = rule.sight.tools.empty() ? Part::kText : Part::kToolCall;
  if (all_parts) rule.sight.parts = static_cast<std::uint8_t>(1u << static_cast<unsigned>(judged));
  Ask ask;
  ask.name = std::move(name);
  ask.shape = std::move(shape);
  TG_RETURN_IF_ERROR(ReadStream(yaml, fields, ask));
  rule.as_written = true;
  rule.decode = Rule::Decode::kNever;
  rule.ask = std::move(ask);
  return absl::OkStatus();
}

}  // namespace tollgate::policy
