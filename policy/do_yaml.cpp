// Ways to redact (mask, hash, pseudonymise, replace) are read together, for each has fields that the others do not take.
//
// Tested by tests/policy/rule_yaml_test.cpp and tests/policy/pseudonyms_test.cpp.
#include "policy/do_yaml.h"

#include <algorithm>

#include <fmt/format.h>

#include "policy/pseudonyms.h"

namespace tollgate::policy {
namespace {

using Fields = YamlReader::Fields;

constexpr std::size_t kReplacementBytesMax = 256;
constexpr std::size_t kSaltBytesMin = 16;
constexpr std::int64_t kRetriesMax = 8;
constexpr std::size_t kModelBytesMax = 128, kSentencesBytesMax = 4096;

bool IsLabel(std::string_view text) {
  return !text.empty() && text.size() <= 24 && text[0] >= 'A' && text[0] <= 'Z' &&
         text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string_view::npos;
}

// A field that only one `do` takes: whether it is there, or why it may not be.
absl::StatusOr<bool> Takes(const YamlReader& yaml, Fields& fields, const char* field, bool its_own, const char* whose) {
  if (!fields.contains(field)) return false;
  if (its_own) return true;
  return yaml.Wrong(fields[field], fmt::format("'{}' is for 'do: {}'; remove it", field, whose));
}

// Actions on the request. `example`: what must stand behind the name; empty where the name may stand alone.
struct EffectWord {
  std::string_view name;
  Effect::Kind kind;
  const char* example;
};
constexpr EffectWord kEffects[] = {{"append_system", Effect::Kind::kAppendSystem, "{append_system: Answer in English.}"},
                                   {"route", Effect::Kind::kRoute, "{route: qwen3-small}"},
                                   {"rate_limit", Effect::Kind::kRateLimit, "{rate_limit: {requests: 10, per: hour, by: end_user}}"},
                                   {"terms", Effect::Kind::kAccept, "{terms: acceptable-use@3}"},
                                   {"justification", Effect::Kind::kJustify, ""},
                                   {"approval", Effect::Kind::kApprove, ""}};

const EffectWord* EffectOf(std::string_view name) {
  const auto* found = std::find_if(std::begin(kEffects), std::end(kEffects), [&](const EffectWord& word) { return word.name == name; });
  return found == std::end(kEffects) ? nullptr : found;
}

absl::Status ReadRateLimit(const YamlReader& yaml, const YAML::Node& node, Effect& effect) {
  TG_ASSIGN(Fields fields, yaml.Map(node, "'rate_limit'", {"requests", "per", "by"}));
  for (const char* field : {"requests", "per", "by"}) {
    if (!fields.contains(field)) return yaml.Wrong(node, fmt::format("'{}' is missing; 'rate_limit' needs requests, per and by", field));
  }
  TG_ASSIGN(effect.amount, yaml.Int(fields["requests"], "requests", 1, 1'000'000'000));
  TG_RETURN_IF_ERROR(yaml.OneOf(fields["per"], "per", {"minute", "hour", "day"}).status());
  TG_RETURN_IF_ERROR(yaml.OneOf(fields["by"], "by", {"key", "project", "team", "end_user"}).status());
  effect.window = fields["per"].Scalar();
  effect.by = fields["by"].Scalar();
  return absl::OkStatus();
}

absl::Status ReadTerms(const YamlReader& yaml, const YAML::Node& node, Effect& effect) {
  TG_ASSIGN(effect.text, yaml.Text(node, "terms"));
  const std::size_t at = effect.text.find('@');
  const bool good = effect.text.size() <= 64 && at != 0 && at != std::string::npos && at + 1 < effect.text.size() &&
                    effect.text.find('@', at + 1) == std::string::npos &&
                    effect.text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-@") == std::string::npos;
  return good ? absl::OkStatus()
              : yaml.Wrong(node, "'terms' is a name and a version of a-z, 0-9, '.', '_' and '-', as in acceptable-use@3");
}

absl::Status ReadWords(const YamlReader& yaml, const YAML::Node& node, std::string_view name, std::size_t bytes_max, Effect& effect) {
  TG_ASSIGN(effect.text, yaml.Text(node, name));
  if (effect.text.empty() || effect.text.size() > bytes_max) return yaml.Wrong(node, fmt::format("'{}' is 1 to {} bytes", name, bytes_max));
  return absl::OkStatus();
}

// A name that may stand alone, or a mapping of one action on the request to what it takes.
absl::Status ReadEffect(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  rule.action = Action::kFlag;
  if (node.IsScalar()) {
    const EffectWord& word = *EffectOf(node.Scalar());
    rule.effect.kind = word.kind;
    if (word.example[0] == 0) return absl::OkStatus();
    return yaml.Wrong(node, fmt::format("'do: {}' needs to be told what: write do: {}", word.name, word.example));
  }
  TG_ASSIGN(Fields fields, yaml.Map(node, "'do'", {"append_system", "route", "rate_limit", "terms", "approval"}));
  if (fields.size() != 1) return yaml.Wrong(node, "'do' has exactly one action; write one rule for each");
  const YAML::Node& value = fields.begin()->second;
  rule.effect.kind = EffectOf(fields.begin()->first)->kind;
  switch (rule.effect.kind) {
    case Effect::Kind::kAppendSystem: return ReadWords(yaml, value, "append_system", kSentencesBytesMax, rule.effect);
    case Effect::Kind::kRoute: return ReadWords(yaml, value, "route", kModelBytesMax, rule.effect);
    case Effect::Kind::kRateLimit: return ReadRateLimit(yaml, value, rule.effect);
    case Effect::Kind::kAccept: return ReadTerms(yaml, value, rule.effect);
    default: break;
  }
  TG_ASSIGN(Fields approval, yaml.Map(value, "'approval'", {"minutes"}));
  if (!approval.contains("minutes")) return yaml.Wrong(value, "'minutes' is missing; for one request write do: approval");
  TG_ASSIGN(rule.effect.amount, yaml.Int(approval["minutes"], "minutes", 1, 10'080));
  return absl::OkStatus();
}

bool NamesEffect(const YAML::Node& node) { return node.IsMap() || (node.IsScalar() && EffectOf(node.Scalar()) != nullptr); }

absl::Status ReadReplacement(const YamlReader& yaml, const YAML::Node& node, Replacement& replacement) {
  TG_ASSIGN(replacement.text, yaml.Text(node, "replacement"));
  if (replacement.text.empty() || replacement.text.size() > kReplacementBytesMax)
    return yaml.Wrong(node, "'replacement' is 1 to 256 bytes, as in \"[CARD]\"");
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadDo(const YamlReader& yaml, Fields& fields, Rule& rule) {
  if (NamesEffect(fields["do"])) {
    for (const char* field : {"keep_last", "salt", "label", "replacement"}) {
      if (fields.contains(field)) return yaml.Wrong(fields[field], fmt::format("'{}' is for actions that change a span; remove it", field));
    }
    return ReadEffect(yaml, fields["do"], rule);
  }
  TG_ASSIGN(const std::size_t which, yaml.OneOf(fields["do"], "do",
                                                {"allow", "flag", "redact", "block", "mask", "hash", "replace", "pseudonymise",
                                                 "append_system", "route", "rate_limit", "terms", "justification", "approval"}));
  const bool mask = which == 4, hash = which == 5, replace = which == 6, pseudonymise = which == 7;
  rule.action = which < 4 ? static_cast<Action>(which) : Action::kRedact;
  if (mask) rule.replacement.form = Replacement::Form::kMask;
  if (hash) rule.replacement.form = Replacement::Form::kHash;
  if (pseudonymise) rule.replacement.form = Replacement::Form::kPseudonym;
  TG_ASSIGN(const bool keep_last, Takes(yaml, fields, "keep_last", mask, "mask"));
  if (keep_last) {
    TG_ASSIGN(const std::int64_t keep, yaml.Int(fields["keep_last"], "keep_last", 0, 8));
    rule.replacement.keep_last = static_cast<int>(keep);
  }
  TG_ASSIGN(const bool salt, Takes(yaml, fields, "salt", hash, "hash"));
  if (salt) {
    TG_ASSIGN(rule.replacement.salt, yaml.Text(fields["salt"], "salt"));
  }
  if (hash && rule.replacement.salt.size() < kSaltBytesMin) {
    return yaml.Wrong(fields["do"], "'do: hash' needs a 'salt' of at least 16 bytes, without which short values could be guessed");
  }
  TG_ASSIGN(const bool label, Takes(yaml, fields, "label", pseudonymise, "pseudonymise"));
  if (label) {
    TG_ASSIGN(rule.replacement.text, yaml.Text(fields["label"], "label"));
    if (!IsLabel(rule.replacement.text))
      return yaml.Wrong(fields["label"], "'label' is 1 to 24 of A-Z, 0-9 and '_' and begins with a letter, as in PERSON");
  }
  if (replace && !fields.contains("replacement"))
    return yaml.Wrong(fields["do"], "'do: replace' needs a 'replacement', as in \"(hidden)\"");
  TG_ASSIGN(const bool replacement, Takes(yaml, fields, "replacement", which == 2 || replace, "redact' or 'do: replace"));
  return replacement ? ReadReplacement(yaml, fields["replacement"], rule.replacement) : absl::OkStatus();
}

absl::Status CheckDoWhere(const YamlReader& yaml, Fields& fields, Rule& rule) {
  if (rule.effect.kind != Effect::Kind::kNone) {
    const bool said_direction = fields.contains("where") && fields["where"]["direction"].IsDefined();
    if (rule.output && said_direction) {
      return yaml.Wrong(
          fields["where"]["direction"],
          fmt::format("'do: {}' acts before a model does; leave 'direction' out, or write input", EffectName(rule.effect.kind)));
    }
    rule.output = false;
    return absl::OkStatus();
  }
  if (rule.replacement.form != Replacement::Form::kPseudonym) return absl::OkStatus();
  const bool said = fields.contains("where") && fields["where"]["direction"].IsDefined();
  if (rule.output && said) {
    return yaml.Wrong(
        fields["where"]["direction"],
        "'do: pseudonymise' acts on input: replies get the values back; leave 'direction' out, and hide what a model writes by "
        "itself with a second rule");
  }
  rule.output = false;
  for (const char* field : {"parts", "tool"}) {
    if (!fields.contains("where") || !fields["where"][field].IsDefined()) continue;
    return yaml.Wrong(fields["where"][field],
                      fmt::format("'do: pseudonymise' looks at every text, because restored values come back in any; "
                                  "leave '{}' out",
                                  field));
  }
  if (!rule.sight.SeesRole(Role::kAssistant)) {
    return yaml.Wrong(fields["where"]["roles"],
                      "'do: pseudonymise' needs the role assistant: a restored reply comes back as one in the next turn; add it, or leave "
                      "'roles' out");
  }
  return absl::OkStatus();
}

absl::Status ReadRetry(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  TG_ASSIGN(const std::int64_t times, yaml.Int(node, "retry", 1, kRetriesMax));
  if (rule.action != Action::kBlock && rule.action != Action::kRedact)
    return yaml.Wrong(node, "'retry' comes before a block or a redaction: it is for what must not leave; remove it, or write do: block");
  if (rule.ask || !rule.gauges.empty())
    return yaml.Wrong(node, "'retry' is for what has a place in the text: it takes a reply back to there; remove it");
  if (!rule.output) return yaml.Wrong(node, "'retry' is for replies, and this rule acts on prompts alone; remove it");
  rule.retries = static_cast<int>(times);
  return absl::OkStatus();
}

}  // namespace tollgate::policy
