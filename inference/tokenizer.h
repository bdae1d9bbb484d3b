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

// How far one output has followed a grammar. One thread.
class GrammarReader {
 public:
  virtual ~GrammarReader() = default;
  virtual absl::Status Read(std::int32_t token) = 0;  // Not OK: it may not come next, or the grammar takes too long. Read no more.
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const = 0;              // As Engine::Render.
  virtual absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const = 0;                  // As text alone.
  virtual absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> /*parts*/) const {  // As Engine::RenderParts.
    return base::Unimplemented("this model's tokenizer takes no prompts beside conversations");
  }
  // Of text that goes on behind other text: no space is put first, as some vocabularies have it where a text begins.
  virtual absl::StatusOr<std::vector<std::int32_t>> TokenizeNext(std::string_view text) const { return Tokenize(text); }
  // From the beginning of an output. INVALID_ARGUMENT: it is no GBNF.
  virtual absl::StatusOr<std::unique_ptr<GrammarReader>> Follow(std::string_view /*gbnf*/) const {
    return base::Unimplemented("this model's tokenizer reads no grammars");
  }
  virtual std::string_view Bytes(std::int32_t token) const = 0;  // REQUIRES: in range.
  virtual bool EndsTurn(std::int32_t token) const = 0;           // REQUIRES: in range.
  virtual std::int64_t tokens() const = 0;                       // Of the vocabulary.
  virtual const base::Digest& digest() const = 0;                // Of its file.
  virtual std::string format() const = 0;                        // "chatml" …
  virtual std::string architecture() const = 0;
  virtual void Describe(ModelInfo& /*info*/) const {}  // As ChatFormat::Describe.
};

}  // namespace tollgate::inference
