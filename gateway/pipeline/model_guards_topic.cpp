// ModelGuards for questions about a topic: one job for the model that embeds, with the topic's phrases in front where their vectors are not
// kept. And what servers say that questions cost, where they run such models.
//
// Tested by tests/gateway/pipeline/topic_guard_test.cpp.
#include <utility>

#include "gateway/async/run_on.h"
#include "gateway/pipeline/defaults.h"
#include "gateway/pipeline/model_guards.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/shared.h"
#include "inference/embed.h"
#include "inference/fingerprint.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

// The pieces that are embedded. Where there is nothing to judge, it is answered.
async::Awaitable<absl::Status> ModelGuards::CutForTopic(Call& call) {
  const inference::ModelInfo& model = lines_[call.line].model;
  const policy::Topic& topic = *call.question().topic;
  TopicExamples::Vectors kept = shared_.topics.Find(principal_.place.team->id, model.sha256, topic.digest);
  auto cut = [&]() -> absl::Status {
    TG_ASSIGN(call.topic, MakeTopicJob(*with_.pool, model, topic, std::move(kept), *call.ask.messages));
    return absl::OkStatus();
  };
  TG_CO_RETURN_IF_ERROR(co_await async::RunOnIf(Large(*call.ask.messages), with_.cpu, cut));
  call.prompt_tokens = call.topic.tokens;
  if (!call.topic.pieces.empty()) co_return absl::OkStatus();
  QuestionAnswer nothing;
  nothing.answer.id = call.question().id;
  nothing.answer.score_millionths = 0;
  call.ended = true;
  Answer(call, std::move(nothing));
  co_return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<inference::TokenStream>> ModelGuards::SubmitTopic(Call& call) {
  inference::EmbedJob job{.model = lines_[call.line].model.name,
                          .fingerprint = FingerprintOf(lines_[call.line].model),
                          .inputs = std::move(call.topic.inputs),
                          .deadline = call.deadline};
  SetOwner(principal_.place, StandingOf(principal_.snapshot->DefaultsOf(principal_.place)), job);
  return with_.pool->Embed(std::move(job));
}

// What the vectors say; those of the topic's phrases are kept.
QuestionAnswer ModelGuards::TopicAnswerOf(const Call& call) const {
  const inference::ModelInfo& model = lines_[call.line].model;
  const policy::Topic& topic = *call.question().topic;
  const std::vector<float>& vectors = call.stream->end().vectors;
  const auto dimensions = static_cast<std::size_t>(model.dimensions);
  if (call.topic.phrases == nullptr) {
    const std::span<const float> phrases = call.topic.PhrasesIn(vectors, topic.phrases(), dimensions);
    shared_.topics.Keep(principal_.place.team->id, model.sha256, topic.digest,
                        std::make_shared<const std::vector<float>>(phrases.begin(), phrases.end()));
  }
  return TopicAnswer(call.question(), call.topic, vectors, dimensions);
}

void ModelGuards::CountServer(Line& line, const inference::StreamEnd& end) {
  if (line.model.engine == "openai") AddServerUsage(end.reported, *line.usage.mutable_server_usage());
}

}  // namespace tollgate::pipeline
