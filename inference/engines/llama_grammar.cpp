// How it works. libllama's grammar sampler, asked about the winner alone first; only where that is refused about all. A token is accepted
// only after it was allowed, because libllama ends the process on a grammar that was given another. Each call is timed: what grammar.h lets
// through has bounded readings, and one that is slow all the same ends its own sequence before it holds up the others for long.
//
// To start again the text is read again: libllama's clone compares each state with each place of the grammar, and takes 320 ms for one
// with 4,000 alternatives that is read in 40.
//
// Tested by tests/inference/grammar_engine_test.cpp.
#include "inference/engines/llama_grammar.h"

#include <cmath>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "inference/engines/llama_library.h"

namespace tollgate::inference {

// Runs a call of libllama. Not OK: it threw, or took too long.
template <typename Call>
absl::Status LlamaGrammar::Timed(Call call) const {
  const base::MonoTime start = clock_.Mono();
  try {
    call();
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the grammar failed: {}", e.what()));
  }
  if (clock_.Mono() - start > kCallMax) {
    return base::ResourceExhausted("the grammar has too many readings: make it less ambiguous");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<LlamaGrammar>> LlamaGrammar::Make(const llama_vocab* vocab, std::string_view gbnf,
                                                                 const base::Clock& clock) {
  std::shared_ptr<LlamaGrammar> grammar(new LlamaGrammar(vocab, gbnf, clock));
  TG_RETURN_IF_ERROR(grammar->Read());
  return grammar;
}

absl::Status LlamaGrammar::Read() {
  const LlamaQuiet quiet;
  now_.reset(llama_sampler_init_grammar(vocab_, gbnf_.c_str(), "root"));
  if (now_ == nullptr) return base::InvalidArgument("the grammar cannot be read: check its rules, literals and repetitions");
  return absl::OkStatus();
}

absl::Status LlamaGrammar::Apply(std::span<llama_token_data> candidates) {
  llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
  return Timed([&] { llama_sampler_apply(now_.get(), &array); });
}

absl::StatusOr<bool> LlamaGrammar::Allows(std::int32_t token) {
  llama_token_data candidate{token, 0, 0};
  TG_RETURN_IF_ERROR(Apply(std::span(&candidate, 1)));
  return !std::isinf(candidate.logit);
}

absl::Status LlamaGrammar::Mask(std::span<float> logits) {
  candidates_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) candidates_[i] = {static_cast<llama_token>(i), 0, 0};
  TG_RETURN_IF_ERROR(Apply(candidates_));
  for (const llama_token_data& candidate : candidates_) {
    if (std::isinf(candidate.logit)) logits[static_cast<std::size_t>(candidate.id)] = -std::numeric_limits<float>::infinity();
  }
  return absl::OkStatus();
}

absl::Status LlamaGrammar::Accept(std::int32_t token) {
  return Timed([&] { llama_sampler_accept(now_.get(), token); });
}

absl::Status LlamaGrammar::Restart(std::span<const std::int32_t> tokens) {
  TG_RETURN_IF_ERROR(Read());
  for (const std::int32_t token : tokens) TG_RETURN_IF_ERROR(Accept(token));
  return absl::OkStatus();
}

}  // namespace tollgate::inference
