// How it works. libllama loads the file's vocabulary alone; LlamaVocab does the rest, as it does for the llama engine.
//
// Tested by tests/inference/upstream_model_test.cpp.
#include "inference/engines/llama_tokenizer.h"

#include <algorithm>
#include <exception>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/engines/llama_library.h"
#include "inference/engines/llama_vocab.h"
#include "inference/mapped_file.h"

namespace tollgate::inference {
namespace {

class LlamaTokenizer final : public Tokenizer {
 public:
  LlamaTokenizer(LlamaModel model, LlamaVocab vocab, const base::Digest& digest, std::string architecture)
      : model_(std::move(model)), vocab_(std::move(vocab)), digest_(digest), architecture_(std::move(architecture)) {
    const std::vector<std::string> names = vocab_.format().tool_marks();
    for (std::int32_t token = 0; !names.empty() && token < static_cast<std::int32_t>(vocab_.tokens()); ++token) {
      if (const std::string name(vocab_.Bytes(token)); std::find(names.begin(), names.end(), name) != names.end()) shown_[name] = token;
    }
  }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return vocab_.Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    TG_RETURN_IF_ERROR(vocab_.Tokenize(text, tokens));
    return tokens;
  }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return vocab_.RenderParts(parts);
  }
  absl::StatusOr<std::vector<std::int32_t>> TokenizeNext(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    while (!text.empty()) {
      auto next = shown_.end();
      std::size_t at = text.size();
      for (auto shown = shown_.begin(); shown != shown_.end(); ++shown) {
        if (const std::size_t found = text.find(shown->first); found < at) at = found, next = shown;
      }
      TG_RETURN_IF_ERROR(vocab_.TokenizeNext(text.substr(0, at), tokens));
      if (next == shown_.end()) break;
      tokens.push_back(next->second);
      text.remove_prefix(at + next->first.size());
    }
    return tokens;
  }
  std::vector<std::string> Shown() const override {
    std::vector<std::string> names;
    for (const auto& [name, token] : shown_) names.push_back(name);
    return names;
  }
  bool Shows(std::int32_t token) const override {
    return std::any_of(shown_.begin(), shown_.end(), [token](const auto& shown) { return shown.second == token; });
  }
  std::string_view Bytes(std::int32_t token) const override { return vocab_.Bytes(token); }
  bool EndsTurn(std::int32_t token) const override { return vocab_.EndsTurn(token); }
  std::int64_t tokens() const override { return vocab_.tokens(); }
  const base::Digest& digest() const override { return digest_; }
  std::string format() const override { return vocab_.format().name(); }
  std::string architecture() const override { return architecture_; }
  void Describe(ModelInfo& info) const override { vocab_.format().Describe(info); }

 private:
  LlamaModel model_;
  LlamaVocab vocab_;
  base::Digest digest_;
  std::string architecture_;
  std::map<std::string, std::int32_t> shown_;
};

}  // namespace

absl::StatusOr<VocabularyFile> ReadVocabularyFile(const ModelOptions& model) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(model.file));
  auto header = ReadGguf(file.bytes());
  if (!header.ok()) return base::Annotate(header.status(), model.file);
  const base::Digest digest = base::Sha256(file.bytes());
  if (!model.sha256 || digest != *model.sha256) {
    return base::FailedPrecondition(
        fmt::format("{} has the sha256 {}, which is not what was registered; fetch it again, or register this one if you trust it",
                    model.file, base::HexEncode(base::View(digest))));
  }
  if (model.context_tokens > header->context_tokens) {
    return base::FailedPrecondition(
        fmt::format("context_tokens is {}, but the model was trained for {}", model.context_tokens, header->context_tokens));
  }
  return VocabularyFile{*std::move(header), digest};
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeLlamaTokenizer(const ModelOptions& model, const std::string& backends_dir) {
  TG_ASSIGN(const VocabularyFile file, ReadVocabularyFile(model));
  TG_ASSIGN(ChatFormat format, ChatFormat::Choose(model.chat_template, file.header.chat_template));
  TG_RETURN_IF_ERROR(StartLlama(backends_dir));
  try {
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    const LlamaLoading loading;
    LlamaModel loaded(llama_model_load_from_file(model.file.c_str(), params));
    if (loaded == nullptr)
      return base::FailedPrecondition(fmt::format("libllama cannot read the vocabulary of {}; its lines above say why", model.file));
    TG_ASSIGN(LlamaVocab vocab, LlamaVocab::Make(loaded.get(), std::move(format)));
    return std::make_unique<LlamaTokenizer>(std::move(loaded), std::move(vocab), file.digest, file.header.architecture);
  } catch (const std::exception& e) {
    return base::FailedPrecondition(fmt::format("libllama cannot read the vocabulary of {}: {}", model.file, e.what()));
  }
}

}  // namespace tollgate::inference
