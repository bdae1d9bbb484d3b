// How it works. The engine asks about the winner alone first; only where that is refused about all. A token that ends the turn has no
// bytes: it may come where the grammar may end. Other control tokens have none either, and never come.
//
// Tested by tests/inference/grammar_engine_test.cpp.
#include "inference/engines/llama_grammar.h"

#include <limits>
#include <utility>

namespace tollgate::inference {

absl::StatusOr<std::shared_ptr<LlamaGrammar>> LlamaGrammar::Make(const LlamaVocab& vocab, std::string_view gbnf) {
  TG_ASSIGN(GrammarRules rules, ReadGrammar(gbnf));
  return std::shared_ptr<LlamaGrammar>(new LlamaGrammar(vocab, std::make_unique<GrammarFollower>(std::move(rules))));
}

std::shared_ptr<CheckedGrammar> LlamaGrammar::Again() const {
  return std::shared_ptr<LlamaGrammar>(new LlamaGrammar(vocab_, follower_->Again()));
}

absl::StatusOr<bool> LlamaGrammar::Allows(std::int32_t token) {
  TG_ASSIGN(const bool takes, follower_->Takes(vocab_.EndsTurn(token) ? std::string_view() : vocab_.Bytes(token)));
  return takes || (vocab_.EndsTurn(token) && follower_->MayEnd());
}

absl::Status LlamaGrammar::Mask(std::span<float> logits) {
  may_.assign(logits.size(), 0);
  TG_RETURN_IF_ERROR(follower_->Mark(vocab_.order(), may_));
  const bool may_end = follower_->MayEnd();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (may_[i] != 0 || (may_end && vocab_.EndsTurn(static_cast<std::int32_t>(i)))) continue;
    logits[i] = -std::numeric_limits<float>::infinity();
  }
  return absl::OkStatus();
}

absl::Status LlamaGrammar::Accept(std::int32_t token) {
  return vocab_.EndsTurn(token) ? absl::OkStatus() : follower_->Accept(vocab_.Bytes(token));
}

absl::Status LlamaGrammar::Restart(std::span<const std::int32_t> tokens) {
  follower_->Restart();
  for (const std::int32_t token : tokens) TG_RETURN_IF_ERROR(Accept(token));
  return absl::OkStatus();
}

}  // namespace tollgate::inference
