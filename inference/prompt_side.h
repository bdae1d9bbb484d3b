// PromptSide: what an engine says of prompts, texts and adapters' files, and never computes for: so it can stand apart from the engine, as
// it does for one in a process of its own. Immutable, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/embed.h"
#include "inference/types.h"

namespace tollgate::inference {

// A grammar as an engine has read it, for one sequence.
class CheckedGrammar {
 public:
  virtual ~CheckedGrammar() = default;
  // The same for another sequence, without reading it again.
  virtual std::shared_ptr<CheckedGrammar> Again() const = 0;
};

class PromptSide {
 public:
  virtual ~PromptSide() = default;

  virtual absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const = 0;

  virtual absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view /*text*/) const {  // Of text that is nothing but text.
    return base::Unimplemented("this model's engine cannot tokenise");
  }

  virtual absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> /*parts*/) const {  // As Pool::RenderParts.
    return base::Unimplemented("this model's engine takes no prompts beside conversations");
  }

  // Reads a grammar, for EngineSequence; null where the engine reads it elsewhere, but would take it. INVALID_ARGUMENT: it is none.
  // UNIMPLEMENTED where the engine has no grammars. Some milliseconds at worst.
  virtual absl::StatusOr<std::shared_ptr<CheckedGrammar>> CheckGrammar(std::string_view /*gbnf*/) const {
    return base::Unimplemented("this model's engine cannot hold its output to a grammar");
  }

  // Where the model embeds or reranks. The tokens of a text, or of a document with a query's, with those before, between and behind that
  // the model was trained with; and the text of what such tokens hold.
  virtual absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& /*text*/) const { return NoVectors(); }
  virtual absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> /*tokens*/) const { return NoVectors(); }

  // What the file of an adapter holds and would take, if it is good for this model and `memory_bytes` of the machine's are free.
  // INVALID_ARGUMENT: it is none, or does not fit the model; FAILED_PRECONDITION: another digest; RESOURCE_EXHAUSTED, in numbers: no room.
  virtual absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& /*adapter*/, std::int64_t /*memory_bytes*/) const {
    return base::Unimplemented("this model's engine takes no adapters; load one where the engine runs");
  }

 protected:
  static absl::Status NoVectors() { return base::Unimplemented("this model chats: it makes no vectors"); }
};

}  // namespace tollgate::inference
