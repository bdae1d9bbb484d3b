// Tokenizer: the tokens of a model whose weights are elsewhere. Immutable, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/status.h"
#include "inference/types.h"

namespace tollgate::inference {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const = 0;              // As Engine::Render.
  virtual absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const = 0;                  // As text alone.
  virtual absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> /*parts*/) const {  // As Engine::RenderParts.
    return base::Unimplemented("this model's tokenizer takes no prompts beside conversations");
  }
  // Of a model's output, that goes on behind other text: no space is put first, as some vocabularies have it where a text begins, and what
  // spells one of Shown is that token.
  virtual absl::StatusOr<std::vector<std::int32_t>> TokenizeNext(std::string_view text) const { return Tokenize(text); }
  // The control tokens that are read in outputs, by their text: those by which the model calls tools.
  virtual std::vector<std::string> Shown() const { return {}; }
  virtual bool Shows(std::int32_t /*token*/) const { return false; }  // It is one of them.
  virtual std::string_view Bytes(std::int32_t token) const = 0;       // REQUIRES: in range.
  virtual bool EndsTurn(std::int32_t token) const = 0;                // REQUIRES: in range.
  virtual std::int64_t tokens() const = 0;                            // Of the vocabulary.
  virtual const base::Digest& digest() const = 0;                     // Of its file.
  virtual std::string format() const = 0;                             // "chatml" …
  virtual std::string architecture() const = 0;
  virtual void Describe(ModelInfo& /*info*/) const {}  // As ChatFormat::Describe.
};

}  // namespace tollgate::inference
