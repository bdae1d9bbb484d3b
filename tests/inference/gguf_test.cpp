// The GGUF reader against sound, cut, spoilt and hostile headers.
#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <fstream>
#include <limits>

#include "inference/gguf.h"
#include "inference/mapped_file.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_gguf.h"

namespace tollgate::inference {
namespace {

using test::Gguf;

TEST_CASE("A sound file gives its facts") {
  const auto header = ReadGguf(Gguf::Tiny().Bytes());
  INFO(header.status().ToString());
  REQUIRE(header.ok());
  CHECK(header->architecture == "llama");
  CHECK(header->context_tokens == 2048);
  CHECK(header->vocab_tokens == 3);
  CHECK(header->layers == 2);
  CHECK(header->tensors == 2);
  CHECK(header->chat_template == "chat");
}

TEST_CASE("A file cut at any byte of its header or data is refused") {
  const std::string bytes = Gguf::Tiny().Bytes();
  for (std::size_t size = 0; size < bytes.size(); size += size < 64 ? 1 : 16) {
    INFO("cut at " << size);
    CHECK(ReadGguf(std::string_view(bytes).substr(0, size)).status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(ReadGguf(std::string_view(bytes).substr(0, bytes.size() - 1)).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("What libllama would stumble over is refused by name") {
  struct Row {
    Gguf file;
    const char* says;
  };
  const Row rows[] = {
      {Gguf::Tiny().Magic("GGML"), "GGUF"},
      {Gguf::Tiny().Version(1), "version 1"},
      {Gguf::Tiny().Version(0x03000000), "version"},
      {Gguf::Tiny().TensorCount(1ULL << 62), "tensors"},
      {Gguf::Tiny().KeyCount(1ULL << 62), "keys"},
      {Gguf::Tiny().KeyCount(40000), "claims 40000 keys"},
      {Gguf::Tiny().Without("general.architecture"), "general.architecture"},
      {Gguf::Tiny().Without("llama.context_length"), "llama.context_length"},
      {Gguf::Tiny().Without("llama.attention.head_count"), "llama.attention.head_count"},
      {Gguf::Tiny().Number("llama.attention.head_count", 0), "head_count = 0"},
      {Gguf::Tiny().Number("llama.block_count", 100000), "block_count = 100000"},
      {Gguf::Tiny().Number("llama.embedding_length", 0), "embedding_length = 0"},
      {Gguf::Tiny().Without("tokenizer.ggml.tokens"), "no tokenizer"},
      {Gguf::Tiny().Without("tokenizer.ggml.model"), "no tokenizer"},
      {Gguf::Tiny().Number("tokenizer.ggml.eos_token_id", 3), "no token"},
      {Gguf::Tiny().Number("general.alignment", 3), "alignment"},
      {Gguf::Tiny().Number("general.alignment", 0), "alignment"},
      {Gguf::Tiny().Raw("tokenizer.ggml.scores", 9,
                        test::Packed<std::uint32_t>(6) + test::Packed<std::uint64_t>(1) + test::Packed<float>(0)),
       "1 entries"},
      {Gguf::Tiny().Raw("llama.attention.layer_norm_rms_epsilon", 6, test::Packed(-1.0F)), "epsilon = -1"},
      {Gguf::Tiny().Raw("llama.rope.freq_base", 6, test::Packed(0.0F)), "freq_base = 0"},
      {Gguf::Tiny().Raw("x", 6, test::Packed(std::numeric_limits<float>::quiet_NaN())), "no finite number"},
      {Gguf::Tiny().Raw("x", 12, test::Packed(std::numeric_limits<double>::infinity())), "no finite number"},
      {Gguf::Tiny().Raw("x", 77, ""), "unknown type 77"},
      {Gguf::Tiny().Raw("x", 9, test::Packed<std::uint32_t>(9) + test::Packed<std::uint64_t>(1)), "unknown type 9"},
      {Gguf::Tiny().Raw("x", 9, test::Packed<std::uint32_t>(8) + test::Packed<std::uint64_t>(1ULL << 61)), "more than the file holds"},
      {Gguf::Tiny().Raw("x", 9, test::Packed<std::uint32_t>(5) + test::Packed<std::uint64_t>(1ULL << 63)), "more than the file holds"},
      {Gguf::Tiny().Raw("x", 8, test::Packed<std::uint64_t>(~0ULL)), "cut off"},
      {Gguf::Tiny().Raw("x", 7, std::string(1, '\2')), "neither true nor false"},
      {Gguf::Tiny().Raw("llama.block_count", 4, test::Packed<std::uint32_t>(2)), "stands twice"},
      {Gguf::Tiny().Tensor("bad", {0}, 0), "impossible shape"},
      {Gguf::Tiny().Tensor("bad", {1ULL << 63, 4}, 0), "impossible shape"},
      {Gguf::Tiny().Tensor("bad", {1 << 20, 1 << 20, 1 << 20}, 0), "impossible shape"},
      {Gguf::Tiny().Tensor("bad", {8}, 99), "unknown type 99"},
      {Gguf::Tiny().Tensor("bad", {33}, 2), "whole blocks"},
      {Gguf::Tiny().Tensor("bad", {}, 0), "0 dimensions"},
      {Gguf::Tiny().Tensor("bad", {1, 1, 1, 1, 1}, 0), "5 dimensions"},
      {Gguf::Tiny().Tensor("output_norm.weight", {8}, 0), "stands twice"},
      {Gguf::Tiny().Tensor("far", {8}, 0, 1 << 30), "not where"},
      {Gguf::Tiny().Tensor(std::string(64, 'n'), {8}, 0), "name too long"},
      {Gguf::Tiny().WithoutTensors(), "no tensors"},
  };
  for (const Row& row : rows) {
    const auto header = ReadGguf(row.file.Bytes());
    INFO(row.says << " / " << header.status().ToString());
    CHECK(header.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(header.status()).find(row.says) != std::string::npos);
  }
}

TEST_CASE("A deepseek2 file needs the five keys without which libllama ends the process") {
  const std::string keys[] = {"attention.head_count_kv", "attention.key_length", "rope.dimension_count", "expert_count",
                              "expert_used_count"};
  Gguf whole = Gguf::Tiny("deepseek2");
  for (const std::string& key : keys) whole.Number("deepseek2." + key, key == "attention.key_length" ? 4 : 2);
  CHECK(ReadGguf(whole.Bytes()).ok());
  for (const std::string& key : keys) {
    const auto header = ReadGguf(Gguf(whole).Without("deepseek2." + key).Bytes());
    CHECK(base::Message(header.status()).find(key) != std::string::npos);
  }
}

TEST_CASE("Spoilt bytes anywhere never do more than get refused") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::string bytes = Gguf::Tiny().Bytes();
  for (int round = 0; round < 5000; ++round) {
    std::string spoilt = bytes;
    for (std::uint64_t n = 1 + random() % 4; n > 0; --n) spoilt[random() % spoilt.size()] = static_cast<char>(random());
    if (random() % 4 == 0) spoilt.resize(random() % spoilt.size());
    const auto header = ReadGguf(spoilt);
    if (header.ok()) CHECK(header->vocab_tokens > 0);
  }
}

TEST_CASE("A file that is not there, or no file, is an error that names it") {
  CHECK(MappedFile::Open("/nonexistent/model.gguf").status().code() == absl::StatusCode::kNotFound);
  CHECK(MappedFile::Open("/tmp").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(base::Message(DigestOfFile("/nonexistent/model.gguf").status()).find("/nonexistent/model.gguf") != std::string::npos);
}

}  // namespace
}  // namespace tollgate::inference
