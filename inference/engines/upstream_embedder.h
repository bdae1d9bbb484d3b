// The upstream embedder: jobs of a model that embeds or reranks on a fleet of servers, over HTTP (upstream.h). A slot is a job, of which
// one request at a time may be under way.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "inference/engine.h"
#include "inference/pool.h"

namespace tollgate::inference {

// Texts of a model that embeds or reranks elsewhere, as tokens, by its file's vocabulary; and what its file says.
class UpstreamTexts : public PromptSide {
 public:
  // Of ModelInfo: sha256, architecture, vocab_tokens, pooling, and dimensions, which is 1 where it reranks.
  virtual const ModelInfo& Facts() const = 0;

  // What is sent for a text where text is sent (of a model that reranks), so that the server finds no control token in what callers write.
  // Tokenize and EmbedTokens count this.
  virtual std::string Sent(std::string_view text) const = 0;
};

// As MakeUpstreamEngine. UNIMPLEMENTED: servers of this kind are not asked for vectors, or ranks.
absl::StatusOr<std::unique_ptr<Engine>> MakeUpstreamEmbedder(const ModelOptions& model, std::unique_ptr<UpstreamTexts> texts,
                                                             const base::Clock& clock);

}  // namespace tollgate::inference
