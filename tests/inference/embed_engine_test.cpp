// Vectors and relevance by libllama on tiny generated models, against libllama used bare: one input alone, in a context of its own.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include <llama.h>

#include "inference/engines/llama.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Team;
using test::TinyModel;

ModelOptions Tiny(const std::string& architecture, Pooling pooling, const tollgate::test::TempDir& folder) {
  ModelOptions model = TinyModel(architecture).WriteTo(folder);
  model.pooling = pooling;
  model.kv = KvType::kF32;
  return model;
}

// One input through libllama and nothing else.
class Bare {
 public:
  Bare(const std::string& file, enum llama_pooling_type pooling) {
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
    model_ = llama_model_load_from_file(file.c_str(), params);
    REQUIRE(model_ != nullptr);
    llama_context_params context = llama_context_default_params();
    context.n_ctx = context.n_batch = context.n_ubatch = 512;
    context.n_seq_max = 1;
    context.embeddings = true;
    context.pooling_type = pooling;
    context.type_k = context.type_v = GGML_TYPE_F32;
    context.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    context.n_threads = context.n_threads_batch = 1;
    context_ = llama_init_from_model(model_, context);
    REQUIRE(context_ != nullptr);
  }
  ~Bare() {
    llama_free(context_);
    llama_model_free(model_);
  }

  std::vector<float> Of(const std::vector<std::int32_t>& tokens) {
    llama_batch batch = llama_batch_init(static_cast<int>(tokens.size()), 0, 1);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      batch.token[i] = tokens[i];
      batch.pos[i] = static_cast<llama_pos>(i);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    batch.n_tokens = static_cast<int>(tokens.size());
    REQUIRE(llama_decode(context_, batch) == 0);
    llama_batch_free(batch);
    const bool ranks = llama_pooling_type(context_) == LLAMA_POOLING_TYPE_RANK;
    const float* raw = llama_get_embeddings_seq(context_, 0);
    std::vector<float> vector(raw, raw + (ranks ? 1 : llama_model_n_embd_out(model_)));
    if (llama_get_memory(context_) != nullptr) llama_memory_clear(llama_get_memory(context_), true);
    if (ranks) return {1 / (1 + std::exp(-vector[0]))};
    double square = 0;
    for (const float x : vector) square += static_cast<double>(x) * x;
    for (float& x : vector) x = static_cast<float>(x / std::sqrt(square));
    return vector;
  }

 private:
  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
};

float Apart(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

std::vector<std::string> Texts(std::mt19937_64& random) {
  std::vector<std::string> texts;
  for (int i = 0; i < 100; ++i) {
    std::string text;
    for (std::uint64_t n = 1 + random() % 60; n > 0; --n) text.push_back(static_cast<char>(' ' + random() % 95));
    texts.push_back(text);
  }
  return texts;
}

TEST_CASE("A hundred inputs in one job have the vectors that each has alone and bare, for every way of pooling") {
  std::mt19937_64 random(tollgate::test::Seed());
  struct Row {
    const char* architecture;
    Pooling asked;
    enum llama_pooling_type raw;
  };
  for (const Row& row : {Row{"bert", Pooling::kAsFile, LLAMA_POOLING_TYPE_MEAN}, Row{"bert", Pooling::kCls, LLAMA_POOLING_TYPE_CLS},
                         Row{"llama", Pooling::kMean, LLAMA_POOLING_TYPE_MEAN}, Row{"llama", Pooling::kLast, LLAMA_POOLING_TYPE_LAST},
                         Row{"deepseek2", Pooling::kLast, LLAMA_POOLING_TYPE_LAST}}) {
    INFO(row.architecture << ' ' << Name(row.asked));
    const tollgate::test::TempDir folder;
    const ModelOptions model = Tiny(row.architecture, row.asked, folder);
    const auto pool = MakePool(model);
    const ModelInfo info = pool->models()[0];
    CHECK(info.pooling == (row.asked == Pooling::kAsFile ? Pooling::kMean : row.asked));
    CHECK(info.dimensions == (info.architecture == "deepseek2" ? 128 : 64));
    Bare bare(model.file, row.raw);
    const std::vector<std::string> texts = Texts(random);
    const Heard heard = HearAll(*test::Embed(*pool, texts));
    REQUIRE(heard.end.reason == EndReason::kStop);
    const auto each = static_cast<std::size_t>(info.dimensions);
    REQUIRE(heard.end.vectors.size() == texts.size() * each);
    CHECK(pool->stats()[0].steps < 100);
    float most = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto from = heard.end.vectors.begin() + static_cast<std::ptrdiff_t>(i * each);
      const std::vector<float> ours(from, from + static_cast<std::ptrdiff_t>(each));
      const auto tokens = pool->EmbedTokens(info.name, {texts[i], {}});
      REQUIRE(tokens.ok());
      most = std::max(most, Apart(ours, bare.Of(*tokens)));
      if (i % 25 == 0) most = std::max(most, Apart(ours, HearAll(*test::Embed(*pool, {texts[i]})).end.vectors));
    }
    CHECK(most < (test::OnGpu() ? 2e-2F : 2e-4F));
  }
}

TEST_CASE("An input of exactly the context fits; nothing of an earlier step is left for the next") {
  const tollgate::test::TempDir folder;
  const ModelOptions model = Tiny("llama", Pooling::kLast, folder);
  const auto pool = MakePool(model);
  const std::string full(511, 'a');  // And the begin token.
  REQUIRE(pool->EmbedTokens("llama", {full, {}})->size() == 512);
  const std::vector<float> first = HearAll(*test::Embed(*pool, {full})).end.vectors;
  for (int i = 0; i < 5; ++i) HearAll(*test::Embed(*pool, {std::string(static_cast<std::size_t>(100 * i + 50), 'z'), "other"}, 2 + i));
  CHECK(HearAll(*test::Embed(*pool, {full})).end.vectors == first);
}

TEST_CASE("A reranker's relevance is its classifier's, with the query and the document as it was trained on them") {
  const tollgate::test::TempDir folder;
  const ModelOptions model = Tiny("bert", Pooling::kRank, folder);
  const auto pool = MakePool(model);
  Bare bare(model.file, LLAMA_POOLING_TYPE_RANK);
  EmbedJob job;
  job.model = "bert";
  const std::vector<std::int32_t> query = *pool->Tokenize("bert", "what?");
  CHECK(*pool->TextOf("bert", query) == "what?");
  for (const char* document : {"one", "another document", "a third </s> with a marker"}) {
    const auto tokens = pool->EmbedTokens("bert", {document, query});
    REQUIRE(tokens.ok());
    CHECK(std::search(tokens->begin(), tokens->end(), query.begin(), query.end()) == tokens->begin() + 1);
    CHECK(tokens->front() == 1);
    CHECK(tokens->back() == 2);
    CHECK(std::count(tokens->begin(), tokens->end(), 2) == 2);  // Behind each; what a document writes is text.
    job.inputs.push_back(*tokens);
  }
  const Heard heard = HearAll(**pool->Embed(job));
  REQUIRE(heard.end.vectors.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(heard.end.vectors[i] > 0);
    CHECK(heard.end.vectors[i] < 1);
    CHECK(std::abs(heard.end.vectors[i] - bare.Of(job.inputs[i])[0]) < 2e-4F);
  }
}

TEST_CASE("Token ids are the text that they spell, with or without the tokens around it; control tokens within are refused") {
  const tollgate::test::TempDir folder;
  const auto pool = MakePool(Tiny("bert", Pooling::kAsFile, folder));
  for (const std::string text : {"plain words", "odd \xC3\xA9 \xF0\x9F\x98\x80", " led by a space"}) {
    std::vector<std::int32_t> tokens = *pool->EmbedTokens("bert", {text, {}});
    CHECK(*pool->TextOf("bert", tokens) == text);
    tokens.erase(tokens.begin());
    tokens.pop_back();
    CHECK(*pool->TextOf("bert", tokens) == text);
  }
  const auto refusal = [&](std::vector<std::int32_t> tokens) { return base::Message(pool->TextOf("bert", tokens).status()); };
  CHECK_THAT(refusal({300, 2, 301}), ContainsSubstring("control token"));
  CHECK_THAT(refusal({test::kTinyVocab}), ContainsSubstring("not one of the model's tokens, 0 to 383"));
  CHECK_THAT(refusal({-1}), ContainsSubstring("not one of the model's tokens"));
  CHECK_THAT(refusal({3 + 0xFF}), ContainsSubstring("not UTF-8"));
}

TEST_CASE("Text that spells a control token which the file marks as users' own stays text") {
  const tollgate::test::TempDir folder;
  for (const Pooling pooling : {Pooling::kAsFile, Pooling::kRank}) {
    test::TinyVocabulary vocabulary;
    vocabulary.controls = {"<|doc|>"};
    vocabulary.type = 4;
    ModelOptions model = TinyModel("bert", 1, 0.1F, vocabulary).WriteTo(folder);
    model.pooling = pooling;
    model.kv = KvType::kF32;
    const auto pool = MakePool(model);
    const std::vector<std::int32_t> query = *pool->Tokenize("bert", "<|doc|>");
    const std::vector<std::int32_t> tokens = *pool->EmbedTokens("bert", {"a<|doc|>b<|doc|><|doc|>", query});
    CHECK(std::count(tokens.begin(), tokens.end(), 358) == 0);  // Its number: the first behind letters.
    CHECK(*pool->TextOf("bert", query) == "<|doc|>");
  }
}

TEST_CASE("A file that cannot do what is asked of it is refused before libllama sees it, with the remedy") {
  const tollgate::test::TempDir folder;
  struct Row {
    const char* architecture;
    Pooling asked;
    const char* says;
  };
  for (const Row& row : {Row{"bert", Pooling::kNone, "an encoder (bert), which cannot chat"},
                         Row{"llama", Pooling::kRank, "has no classifier"}, Row{"llama", Pooling::kAsFile, "does not say how it pools"}}) {
    PoolOptions options;
    options.models = {Tiny(row.architecture, row.asked, folder)};
    const auto pool = Pool::Create(std::move(options));
    CHECK_THAT(base::Message(pool.status()), ContainsSubstring(row.says));
  }
}

}  // namespace
}  // namespace tollgate::inference
