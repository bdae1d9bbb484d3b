// A topic as YAML writes it: the model, phrases for and against, and how alike is alike. Bounds are checked here, so that what stands can
// be run.
//
// Tested by tests/policy/topic_test.cpp.
#include "policy/topic_yaml.h"

#include <algorithm>

#include <fmt/format.h>

namespace tollgate::policy {
namespace {

constexpr std::size_t kModelBytesMax = 128;

absl::StatusOr<std::vector<std::string>> ReadPhrases(const YamlReader& yaml, const YAML::Node& node, const char* field) {
  TG_ASSIGN(std::vector<std::string> phrases, yaml.Texts(node, field));
  const bool good = std::all_of(phrases.begin(), phrases.end(), [](const std::string& phrase) {
    return phrase.size() <= Topic::kExampleBytesMax && phrase.find_first_not_of(" \t\r\n") != std::string::npos;
  });
  if (!good || phrases.empty() || phrases.size() > Topic::kExamplesMax)
    return yaml.Wrong(node, fmt::format("'{}' is 1 to {} phrases of 1 to {} bytes, each as somebody would write it", field,
                                        Topic::kExamplesMax, Topic::kExampleBytesMax));
  return phrases;
}

// Lengths first, so that no two lists give the same bytes.
base::Digest DigestOf(const Topic& topic) {
  std::string all = fmt::format("{} ", topic.examples.size());
  for (std::size_t i = 0; i < topic.phrases(); ++i) all += fmt::format("{}:{}", topic.Phrase(i).size(), topic.Phrase(i));
  return base::Sha256(all);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Topic>> ReadTopicRule(const YamlReader& yaml, const YAML::Node& node) {
  TG_ASSIGN(YamlReader::Fields fields, yaml.Map(node, "'topic'", {"model", "examples", "unlike", "deadline_ms", "reply_bytes"}));
  for (const char* field : {"model", "examples"}) {
    if (!fields.contains(field))
      return yaml.Wrong(node,
                        fmt::format("'{}' is missing; 'topic' needs model, one that embeds, and examples, phrases of the topic", field));
  }
  auto topic = std::make_shared<Topic>();
  TG_ASSIGN(topic->model, yaml.Text(fields["model"], "model"));
  if (topic->model.empty() || topic->model.size() > kModelBytesMax) return yaml.Wrong(fields["model"], "'model' is 1 to 128 bytes");
  TG_ASSIGN(topic->examples, ReadPhrases(yaml, fields["examples"], "examples"));
  if (fields.contains("unlike")) {
    TG_ASSIGN(topic->unlike, ReadPhrases(yaml, fields["unlike"], "unlike"));
  }
  if (fields.contains("deadline_ms")) {
    TG_ASSIGN(topic->deadline_ms, yaml.Int(fields["deadline_ms"], "deadline_ms", 10, 120'000));
  }
  if (fields.contains("reply_bytes")) {
    TG_ASSIGN(topic->reply_bytes, yaml.Int(fields["reply_bytes"], "reply_bytes", 256, 16 << 10));
  }
  topic->digest = DigestOf(*topic);
  return std::shared_ptr<const Topic>(std::move(topic));
}

}  // namespace tollgate::policy
