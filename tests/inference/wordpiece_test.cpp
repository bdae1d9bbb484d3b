// What models of the BERT family read of a text that policy has looked at: their tokeniser, WordPiece, drops characters, and the word is
// whole.
#include <catch2/catch_test_macros.hpp>

#include <fstream>

#include "inference/engines/llama_tokenizer.h"
#include "policy/fold.h"
#include "policy/plain_form.h"
#include "tests/inference/tiny_gguf.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

std::unique_ptr<Tokenizer> WordPiece(const tollgate::test::TempDir& folder) {
  const std::vector<std::string> tokens = {"[PAD]",      "[UNK]",       "[CLS]", "[SEP]", "[MASK]",          "<|im_start|>",
                                           "<|im_end|>", "\u2581sword", "fish",  "word",  "\u2581swordfish", "\u2581my"};
  std::vector<std::uint32_t> types(tokens.size(), 1);
  std::fill(types.begin(), types.begin() + 7, 3U);
  test::Gguf file = test::Gguf::Tiny("bert");
  file.Text("tokenizer.ggml.model", "bert").Texts("tokenizer.ggml.tokens", tokens);
  std::string kinds = test::Packed<std::uint32_t>(5) + test::Packed<std::uint64_t>(types.size());
  std::string scores = test::Packed<std::uint32_t>(6) + test::Packed<std::uint64_t>(types.size());
  for (const std::uint32_t type : types) {
    kinds += test::Packed(type);
    scores += test::Packed(0.0F);
  }
  file.Raw("tokenizer.ggml.token_type", 9, kinds).Raw("tokenizer.ggml.scores", 9, scores);
  file.Without("tokenizer.ggml.eos_token_id").Number("tokenizer.ggml.unknown_token_id", 1).Number("tokenizer.ggml.cls_token_id", 2);
  file.Number("tokenizer.ggml.bos_token_id", 2).Number("tokenizer.ggml.seperator_token_id", 3).Number("tokenizer.ggml.padding_token_id", 0);
  file.Number("tokenizer.ggml.mask_token_id", 4);
  ModelOptions model;
  model.name = "wordpiece";
  model.file = folder.File("wordpiece.gguf");
  model.chat_template = "chatml";
  std::ofstream(model.file, std::ios::binary) << file.Bytes();
  model.sha256 = *DigestOfFile(model.file);
  model.context_tokens = 512;
  auto tokenizer = MakeLlamaTokenizer(model, "");
  INFO(tokenizer.status().ToString());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

}  // namespace

TEST_CASE("A character that WordPiece drops out of a word is none of its plain form either") {
  const tollgate::test::TempDir folder;
  const auto tokenizer = WordPiece(folder);
  const std::vector<std::int32_t> whole = *tokenizer->Tokenize("my swordfish");
  REQUIRE(whole == std::vector<std::int32_t>{11, 10});
  std::size_t dropped = 0, wrong = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "my sword";
    policy::AppendUtf8(c, text);
    text += "fish";
    if (*tokenizer->Tokenize(text) != whole) continue;
    ++dropped;
    if (policy::ToPlain(text) != "my swordfish" && ++wrong < 20) FAIL_CHECK("U+" << std::hex << static_cast<std::uint32_t>(c));
  }
  CHECK(wrong == 0);
  CHECK(dropped > 60'000);  // The private ones alone are more.
}

}  // namespace tollgate::inference
