// What ModelGuards does for a topic (policy/topic.h): the job for the model that embeds, and what its vectors say. Pure but for the
// examples' vectors, which are kept.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/mutex.h"
#include "base/uuid.h"
#include "gateway/pipeline/questions.h"
#include "inference/pool.h"
#include "policy/topic.h"

namespace tollgate::pipeline {

// Vectors of topics' phrases, a set for each tenant, model file and topic: what a tenant pays for and waits for does not tell what others
// do. The longest unused go first. Thread-safe.
class TopicExamples {
 public:
  static constexpr std::size_t kNumbersMax = 8 << 20;  // 32 MiB of them.
  using Vectors = std::shared_ptr<const std::vector<float>>;

  Vectors Find(const base::TeamId& team, const base::Digest& model, const base::Digest& topic);  // Null: not kept.
  void Keep(const base::TeamId& team, const base::Digest& model, const base::Digest& topic, Vectors vectors);

 private:
  struct Entry {
    std::string key;
    Vectors vectors;
  };
  base::Mutex mu_;
  std::list<Entry> entries_ GUARDED_BY(mu_);  // The last used first.
  std::map<std::string, std::list<Entry>::iterator, std::less<>> by_key_ GUARDED_BY(mu_);
  std::size_t numbers_ GUARDED_BY(mu_) = 0;
};

// What is embedded for one question.
struct TopicJob {
  static constexpr std::size_t kPiecesMax = 1024;  // Of a text, before those that the model's context does not hold are cut again.

  TopicExamples::Vectors phrases;                 // Of the topic's phrases; null: they are the job's first inputs.
  std::vector<std::string> pieces;                // Of the texts.
  std::vector<std::vector<std::int32_t>> inputs;  // Phrases that are not there yet, then pieces.
  std::int64_t tokens = 0;

  std::span<const float> PhrasesIn(std::span<const float> vectors, std::size_t count, std::size_t dimensions) const;
};

// FAILED_PRECONDITION: the model does not embed. INVALID_ARGUMENT: the texts, or an example, are more than it takes. No pieces: nothing to
// judge.
absl::StatusOr<TopicJob> MakeTopicJob(inference::Pool& pool, const inference::ModelInfo& model, const policy::Topic& topic,
                                      TopicExamples::Vectors phrases, std::span<const policy::Message> messages);

// The answer that the job's vectors give: the score, which example is nearest ("example 2"), and as what was said the piece that is nearest
// to it.
QuestionAnswer TopicAnswer(const policy::Question& question, const TopicJob& job, std::span<const float> vectors, std::size_t dimensions);

}  // namespace tollgate::pipeline
