// The phrases' vectors come with the first job that needs them, in front of its own: whoever asks first pays for them, in the same hold.
//
// Tested by tests/gateway/pipeline/topic_guard_test.cpp.
#include "gateway/pipeline/topic_guard.h"

#include <utility>

#include <fmt/format.h>

#include "inference/embed.h"

namespace tollgate::pipeline {
namespace {

std::string KeyOf(const base::TeamId& team, const base::Digest& model, const base::Digest& topic) {
  return team.value.Bytes() + std::string(base::View(model)) + std::string(base::View(topic));
}

// The piece's tokens; of one that the context does not hold, those of its halves.
absl::Status AddPiece(inference::Pool& pool, const inference::ModelInfo& model, std::string_view piece, TopicJob& job) {
  TG_ASSIGN(std::vector<std::int32_t> tokens, pool.EmbedTokens(model.name, {.text = piece, .query = {}}));
  if (static_cast<std::int64_t>(tokens.size()) <= model.context_tokens || piece.size() < 8) {
    job.tokens += static_cast<std::int64_t>(tokens.size());
    job.pieces.emplace_back(piece);
    job.inputs.push_back(std::move(tokens));
    return absl::OkStatus();
  }
  if (job.inputs.size() > static_cast<std::size_t>(inference::kEmbedJobInputsMax)) return absl::OkStatus();  // Too many, whatever comes.
  std::size_t half = piece.size() / 2;
  while ((static_cast<unsigned char>(piece[half]) & 0xC0) == 0x80) --half;
  TG_RETURN_IF_ERROR(AddPiece(pool, model, piece.substr(0, half), job));
  return AddPiece(pool, model, piece.substr(half), job);
}

absl::Status AddPhrases(inference::Pool& pool, const inference::ModelInfo& model, const policy::Topic& topic, TopicJob& job) {
  for (std::size_t i = 0; i < topic.phrases(); ++i) {
    TG_ASSIGN(std::vector<std::int32_t> tokens, pool.EmbedTokens(model.name, {.text = topic.Phrase(i), .query = {}}));
    if (static_cast<std::int64_t>(tokens.size()) > model.context_tokens)
      return base::InvalidArgument(
          fmt::format("an example makes {} tokens, and it takes {}; shorten it", tokens.size(), model.context_tokens));
    job.tokens += static_cast<std::int64_t>(tokens.size());
    job.inputs.push_back(std::move(tokens));
  }
  return absl::OkStatus();
}

}  // namespace

TopicExamples::Vectors TopicExamples::Find(const base::TeamId& team, const base::Digest& model, const base::Digest& topic) {
  base::Lock lock(mu_);
  const auto found = by_key_.find(KeyOf(team, model, topic));
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->vectors;
}

void TopicExamples::Keep(const base::TeamId& team, const base::Digest& model, const base::Digest& topic, Vectors vectors) {
  base::Lock lock(mu_);
  std::string key = KeyOf(team, model, topic);
  if (by_key_.contains(key)) return;
  numbers_ += vectors->size();
  entries_.push_front({key, std::move(vectors)});
  by_key_[std::move(key)] = entries_.begin();
  while (numbers_ > kNumbersMax) {
    numbers_ -= entries_.back().vectors->size();
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

std::span<const float> TopicJob::PhrasesIn(std::span<const float> vectors, std::size_t count, std::size_t dimensions) const {
  return phrases != nullptr ? std::span<const float>(*phrases) : vectors.first(count * dimensions);
}

absl::StatusOr<TopicJob> MakeTopicJob(inference::Pool& pool, const inference::ModelInfo& model, const policy::Topic& topic,
                                      TopicExamples::Vectors phrases, std::span<const policy::Message> messages) {
  if (!model.embeds())
    return base::FailedPrecondition(fmt::format("it {}; name a model that embeds", model.reranks() ? "reranks" : "chats"));
  TopicJob job;
  job.phrases = std::move(phrases);
  if (job.phrases == nullptr) TG_RETURN_IF_ERROR(AddPhrases(pool, model, topic, job));
  for (const policy::Message& message : messages) {
    const std::string text = TextOf(message);
    for (const std::string_view piece : policy::TopicPieces(text, TopicJob::kPiecesMax)) {
      TG_RETURN_IF_ERROR(AddPiece(pool, model, piece, job));
    }
  }
  const auto most = std::min(inference::kEmbedJobInputsMax, inference::kEmbedJobNumbersMax / model.dimensions);
  if (static_cast<std::int64_t>(job.inputs.size()) > most)
    return base::InvalidArgument(fmt::format("the text makes more pieces than the {} that it embeds at once", most));
  return job;
}

QuestionAnswer TopicAnswer(const policy::Question& question, const TopicJob& job, std::span<const float> vectors, std::size_t dimensions) {
  const policy::Topic& topic = *question.topic;
  const std::span<const float> phrases = job.PhrasesIn(vectors, topic.phrases(), dimensions);
  const std::span<const float> pieces = vectors.subspan(job.phrases != nullptr ? 0 : phrases.size());
  const policy::TopicReading reading = policy::ReadTopic(topic, phrases, pieces, dimensions);
  QuestionAnswer out;
  out.answer.id = question.id;
  out.answer.hit = true;  // Policy compares the score.
  out.answer.score_millionths = reading.score_millionths;
  if (reading.score_millionths > 0) {
    out.category = fmt::format("example {}", reading.example + 1);
    out.said = job.pieces[reading.piece];
  }
  return out;
}

}  // namespace tollgate::pipeline
