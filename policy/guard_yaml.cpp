// Formats take different fields; each that is not for the format at hand is refused by name, because a policy that is not what its author
// thinks it is would pass for one that guards.
//
// Tested by tests/policy/guard_model_test.cpp.
#include "policy/guard_yaml.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/nearest_word.h"

namespace tollgate::policy {
namespace {

using Fields = YamlReader::Fields;
using Format = GuardModel::Format;

constexpr std::string_view kPlace = "{{text}}";
constexpr std::size_t kModelBytesMax = 128, kWordBytesMax = 32, kVerdictsMax = 16, kRegexBytesMax = 1024;

bool IsPlainWord(std::string_view word) {
  return !word.empty() && word.size() <= kWordBytesMax &&
         word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string_view::npos;
}

absl::Status ReadCategories(const YamlReader& yaml, Fields& fields, const YAML::Node& node, GuardModel& guard) {
  const std::vector<std::string_view> known = CategoryNames(guard.format);
  if (fields.contains("categories")) {
    if (known.empty())
      return yaml.Wrong(fields["categories"], fmt::format("'categories' says nothing for {}; remove it", FormatName(guard.format)));
    TG_ASSIGN(guard.categories, yaml.Texts(fields["categories"], "categories"));
    for (const std::string& name : guard.categories) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      const std::string_view near = base::NearestWord(name, known);
      return yaml.Wrong(fields["categories"],
                        near.empty()
                            ? fmt::format("{} has no category '{}'; it has {}", FormatName(guard.format), name, fmt::join(known, ", "))
                            : fmt::format("{} has no category '{}'; did you mean '{}'?", FormatName(guard.format), name, near));
    }
  }
  if (AsksOneCategory(guard.format) && guard.categories.size() != 1)
    return yaml.Wrong(fields.contains("categories") ? fields["categories"] : node,
                      fmt::format("{} judges one category at a time: write one rule for each, with 'categories' one of {}",
                                  FormatName(guard.format), fmt::join(known, ", ")));
  return absl::OkStatus();
}

absl::Status ReadText(const YamlReader& yaml, const YAML::Node& node, const char* field, GuardModel& guard) {
  TG_ASSIGN(guard.text, yaml.Text(node, field));
  if (guard.text.empty() || guard.text.size() > GuardModel::kTextBytesMax)
    return yaml.Wrong(node, fmt::format("'{}' is 1 to {} bytes", field, GuardModel::kTextBytesMax));
  return absl::OkStatus();
}

absl::Status ReadWords(const YamlReader& yaml, Fields& answer, const YAML::Node& node, GuardModel& guard) {
  for (const auto& [field, words] : {std::pair{"hit", &guard.hit_words}, std::pair{"pass", &guard.pass_words}}) {
    if (!answer.contains(field))
      return yaml.Wrong(
          node,
          fmt::format("'{}' is missing; 'answer' needs hit and pass, as in {{hit: yes, pass: no}}, or hit_regex and pass_regex", field));
    TG_ASSIGN(*words, yaml.Texts(answer[field], field));
    if (words->empty() || words->size() > kVerdictsMax || !std::all_of(words->begin(), words->end(), IsPlainWord))
      return yaml.Wrong(answer[field],
                        fmt::format("'{}' is a word of a-z, A-Z, 0-9, '_' and '-', or up to {} of them", field, kVerdictsMax));
  }
  return absl::OkStatus();
}

absl::Status ReadAnswer(const YamlReader& yaml, const YAML::Node& node, GuardModel& guard) {
  TG_ASSIGN(Fields answer, yaml.Map(node, "'answer'", {"hit", "pass", "force", "hit_regex", "pass_regex", "category_regex"}));
  const bool regex = answer.contains("hit_regex") || answer.contains("pass_regex") || answer.contains("category_regex");
  if (!regex) {
    TG_RETURN_IF_ERROR(ReadWords(yaml, answer, node, guard));
    if (answer.contains("force")) {
      TG_ASSIGN(guard.force, yaml.Bool(answer["force"], "force"));
    }
    return absl::OkStatus();
  }
  for (const char* field : {"hit", "pass", "force"}) {
    if (answer.contains(field))
      return yaml.Wrong(answer[field], fmt::format("'{}' is for an answer whose first word decides; remove it, or the regexes", field));
  }
  std::string texts[3];
  const char* const names[3] = {"hit_regex", "pass_regex", "category_regex"};
  for (int i = 0; i < 3; ++i) {
    if (!answer.contains(names[i])) {
      if (i == 2) continue;
      return yaml.Wrong(node, fmt::format("'{}' is missing; 'answer' needs hit_regex and pass_regex", names[i]));
    }
    TG_ASSIGN(texts[i], yaml.Text(answer[names[i]], names[i]));
    if (texts[i].empty() || texts[i].size() > kRegexBytesMax)
      return yaml.Wrong(answer[names[i]], fmt::format("'{}' is 1 to {} bytes", names[i], kRegexBytesMax));
  }
  TG_RETURN_IF_ERROR(yaml.Taken(node, yaml.budget().TakeMatcher(3 << 20)));
  auto patterns = CompileGuardPatterns(texts[0], texts[1], texts[2]);
  if (!patterns.ok()) return yaml.Wrong(node, base::Message(patterns.status()));
  guard.patterns = *std::move(patterns);
  return absl::OkStatus();
}

absl::Status ReadOwn(const YamlReader& yaml, Fields& fields, const YAML::Node& node, GuardModel& guard) {
  if (fields.contains("prompt") == fields.contains("template"))
    return yaml.Wrong(node,
                      "a format of your own has either a 'prompt', one turn in the model's chat format, or a 'template', the whole of it");
  guard.raw = fields.contains("template");
  const char* const field = guard.raw ? "template" : "prompt";
  TG_RETURN_IF_ERROR(ReadText(yaml, fields[field], field, guard));
  const std::size_t at = guard.text.find(kPlace);
  if (at == std::string::npos || guard.text.find(kPlace, at + 1) != std::string::npos)
    return yaml.Wrong(fields[field], fmt::format("'{}' says once where the judged text goes: {{{{text}}}}", field));
  if (!fields.contains("answer")) return yaml.Wrong(node, "'answer' is missing; say how the verdict is read, as in {hit: yes, pass: no}");
  return ReadAnswer(yaml, fields["answer"], guard);
}

absl::Status CheckFields(const YamlReader& yaml, Fields& fields, Format format) {
  struct Row {
    const char* field;
    Format its;
    const char* whose;
  };
  constexpr const char *kOwn = "a format of your own", *kSafeguard = "gpt_oss_safeguard";
  for (const auto& [field, its, whose] :
       {Row{"prompt", Format::kOwn, kOwn}, Row{"template", Format::kOwn, kOwn}, Row{"answer", Format::kOwn, kOwn},
        Row{"policy", Format::kGptOssSafeguard, kSafeguard}, Row{"reasoning", Format::kGptOssSafeguard, kSafeguard}}) {
    if (fields.contains(field) && format != its) return yaml.Wrong(fields[field], fmt::format("'{}' is for {}; remove it", field, whose));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const GuardModel>> ReadGuard(const YamlReader& yaml, const YAML::Node& node,
                                                            std::int64_t least_score_percent) {
  TG_ASSIGN(Fields fields, yaml.Map(node, "'guard'",
                                    {"model", "format", "categories", "policy", "reasoning", "prompt", "template", "answer",
                                     "answer_tokens", "deadline_ms", "reply_bytes"}));
  auto guard = std::make_shared<GuardModel>();
  if (!fields.contains("model")) return yaml.Wrong(node, "'model' is missing; name a model of the registry, or an alias");
  TG_ASSIGN(guard->model, yaml.Text(fields["model"], "model"));
  if (guard->model.empty() || guard->model.size() > kModelBytesMax) return yaml.Wrong(fields["model"], "'model' is 1 to 128 bytes");
  if (fields.contains("format")) {
    TG_ASSIGN(const std::size_t which,
              yaml.OneOf(fields["format"], "format", {"llama_guard", "shieldgemma", "granite_guardian", "gpt_oss_safeguard", "own"}));
    guard->format = static_cast<Format>(which);
  }
  TG_RETURN_IF_ERROR(CheckFields(yaml, fields, guard->format));
  TG_RETURN_IF_ERROR(ReadCategories(yaml, fields, node, *guard));
  guard->least_score_percent = least_score_percent;
  if (guard->format == Format::kOwn) TG_RETURN_IF_ERROR(ReadOwn(yaml, fields, node, *guard));
  if (guard->format == Format::kGptOssSafeguard) {
    if (!fields.contains("policy")) return yaml.Wrong(node, "'policy' is missing; write in words what is and what is not allowed");
    TG_RETURN_IF_ERROR(ReadText(yaml, fields["policy"], "policy", *guard));
    if (fields.contains("reasoning")) {
      TG_RETURN_IF_ERROR(yaml.OneOf(fields["reasoning"], "reasoning", {"low", "medium", "high"}).status());
      guard->reasoning = fields["reasoning"].Scalar();
    }
  }
  if (least_score_percent > 0 && (guard->format == Format::kGptOssSafeguard || guard->patterns != nullptr))
    return yaml.Wrong(
        node, "'least_score' needs a score, and this answer has none: only a word that is the verdict has a probability; remove it");
  guard->answer_tokens = DefaultAnswerTokens(guard->format);
  if (fields.contains("answer_tokens")) {
    TG_ASSIGN(guard->answer_tokens, yaml.Int(fields["answer_tokens"], "answer_tokens", 1, GuardModel::kAnswerTokensMax));
  }
  if (fields.contains("deadline_ms")) {
    TG_ASSIGN(guard->deadline_ms, yaml.Int(fields["deadline_ms"], "deadline_ms", 10, 120'000));
  }
  if (fields.contains("reply_bytes")) {
    TG_ASSIGN(guard->reply_bytes, yaml.Int(fields["reply_bytes"], "reply_bytes", 256, 16 << 10));
  }
  return std::shared_ptr<const GuardModel>(std::move(guard));
}

}  // namespace tollgate::policy
