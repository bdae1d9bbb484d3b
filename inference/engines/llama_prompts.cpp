// How it works. libllama loads the file's vocabulary alone; LlamaVocab or LlamaText does the rest, as it does for the engines that chat and
// that embed. Adapters are held against the header that our own reader gives.
//
// Tested by tests/inference/worker_model_test.cpp, tests/inference/upstream_model_test.cpp.
#include "inference/engines/llama_prompts.h"

#include <exception>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "inference/adapter_file.h"
#include "inference/engines/llama_grammar.h"
#include "inference/engines/llama_library.h"
#include "inference/engines/llama_text.h"
#include "inference/engines/llama_tokenizer.h"
#include "inference/engines/llama_vocab.h"
#include "inference/engines/upstream_embed_wire.h"
#include "inference/mapped_file.h"
#include "inference/pooling.h"

namespace tollgate::inference {
namespace {

class ChatPrompts final : public PromptSide {
 public:
  ChatPrompts(LlamaModel model, LlamaVocab vocab, GgufHeader header, bool on_gpus)
      : model_(std::move(model)), vocab_(std::move(vocab)), header_(std::move(header)), on_gpus_(on_gpus) {}

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return vocab_.Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    TG_RETURN_IF_ERROR(vocab_.Tokenize(text, tokens));
    return tokens;
  }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return vocab_.RenderParts(parts);
  }
  absl::StatusOr<std::shared_ptr<CheckedGrammar>> CheckGrammar(std::string_view gbnf) const override {
    return LlamaGrammar::Make(vocab_, gbnf);
  }
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const override {
    return CheckAdapterFile(adapter, header_, on_gpus_, on_gpus_ ? std::numeric_limits<std::int64_t>::max() : memory_bytes);
  }

 private:
  LlamaModel model_;
  LlamaVocab vocab_;
  const GgufHeader header_;
  const bool on_gpus_;
};

class TextPrompts final : public PromptSide {
 public:
  TextPrompts(std::string name, LlamaModel model, LlamaText text)
      : name_(std::move(name)), model_(std::move(model)), text_(std::move(text)) {}

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> /*turns*/) const override {
    return base::FailedPrecondition(fmt::format("model {} does not chat", name_));
  }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return text_.Plain(text); }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override { return text_.Tokens(text); }
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const override { return text_.TextOf(tokens); }

 private:
  const std::string name_;
  LlamaModel model_;
  LlamaText text_;
};

class SentTexts final : public UpstreamTexts {
 public:
  SentTexts(ModelInfo facts, LlamaModel model, LlamaText text)
      : facts_(std::move(facts)), model_(std::move(model)), text_(std::move(text)), names_(text_.Names()) {}

  const ModelInfo& Facts() const override { return facts_; }
  std::string Sent(std::string_view text) const override { return BreakNames(text, names_); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> /*turns*/) const override {
    return base::FailedPrecondition(fmt::format("model {} does not chat", facts_.name));
  }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    return facts_.reranks() ? text_.Plain(Sent(text)) : text_.Plain(text);
  }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override {
    if (!facts_.reranks()) return text_.Tokens(text);
    const std::string sent = Sent(text.text);
    return text_.Tokens({.text = sent, .query = text.query});
  }
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const override { return text_.TextOf(tokens); }

 private:
  const ModelInfo facts_;
  LlamaModel model_;
  LlamaText text_;
  const std::vector<std::string> names_;
};

absl::StatusOr<LlamaModel> Vocabulary(const std::string& file) {
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  const LlamaLoading loading;
  LlamaModel vocabulary(llama_model_load_from_file(file.c_str(), params));
  if (vocabulary == nullptr)
    return base::FailedPrecondition(fmt::format("libllama cannot read the vocabulary of {}; its lines above say why", file));
  return vocabulary;
}

std::int64_t DimensionsOf(const GgufHeader& header) {
  for (const char* key : {"embedding_length_out", "embedding_length"}) {
    const auto found = header.numbers.find(fmt::format("{}.{}", header.architecture, key));
    if (found != header.numbers.end() && found->second > 0) return found->second;
  }
  return 1;  // ReadGguf wants the latter.
}

absl::StatusOr<std::unique_ptr<PromptSide>> Make(const ModelOptions& model, const ModelInfo& loaded, GgufHeader header) {
  TG_ASSIGN(LlamaModel vocabulary, Vocabulary(model.file));
  if (loaded.pooling != Pooling::kNone) {
    TG_ASSIGN(LlamaText text, LlamaText::Make(vocabulary.get(), loaded.reranks()));
    return std::make_unique<TextPrompts>(model.name, std::move(vocabulary), std::move(text));
  }
  TG_ASSIGN(ChatFormat format, ChatFormat::Choose(model.chat_template, header.chat_template));
  TG_ASSIGN(LlamaVocab vocab, LlamaVocab::Make(vocabulary.get(), std::move(format)));
  return std::make_unique<ChatPrompts>(std::move(vocabulary), std::move(vocab), std::move(header), loaded.device_memory_bytes > 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PromptSide>> MakeLlamaPrompts(const ModelOptions& model, const ModelInfo& loaded) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(model.file));
  auto header = ReadGguf(file.bytes());
  if (!header.ok()) return base::Annotate(header.status(), model.file);
  LlamaDiagnostics();
  try {
    return Make(model, loaded, *std::move(header));
  } catch (const std::exception& e) {
    return base::FailedPrecondition(fmt::format("libllama cannot read the vocabulary of {}: {}", model.file, e.what()));
  }
}

absl::StatusOr<std::unique_ptr<UpstreamTexts>> MakeLlamaTexts(const ModelOptions& model) {
  TG_ASSIGN(const VocabularyFile file, ReadVocabularyFile(model));
  ModelInfo facts;
  facts.name = model.name;
  facts.sha256 = file.digest;
  facts.architecture = file.header.architecture;
  TG_ASSIGN(facts.pooling, ResolvePooling(model.pooling, file.header));
  facts.dimensions = facts.reranks() ? 1 : DimensionsOf(file.header);
  LlamaDiagnostics();
  try {
    TG_ASSIGN(LlamaModel vocabulary, Vocabulary(model.file));
    TG_ASSIGN(LlamaText text, LlamaText::Make(vocabulary.get(), facts.reranks()));
    facts.vocab_tokens = text.tokens();
    return std::make_unique<SentTexts>(std::move(facts), std::move(vocabulary), std::move(text));
  } catch (const std::exception& e) {
    return base::FailedPrecondition(fmt::format("libllama cannot read the vocabulary of {}: {}", model.file, e.what()));
  }
}

}  // namespace tollgate::inference
