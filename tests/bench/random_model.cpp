// The weights are one row of normally distributed numbers, quantised once and written over and over; its length is no multiple of any
// matrix's, so that no two rows of a matrix are alike. The file is written beside its place, then moved in.
#include "tests/bench/random_model.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>

#include "tests/bench/figures.h"

namespace tollgate::bench {
namespace {

struct Shape {
  const char* name;
  ggml_type type;
  std::int64_t width, layers, heads, kv_heads, hidden;
  bool output;  // A matrix of its own, not the embeddings'.
};
constexpr Shape kShapes[] = {{"llama-1b-f16", GGML_TYPE_F16, 2048, 16, 32, 8, 8192, false},
                             {"llama-1b-q4_0", GGML_TYPE_Q4_0, 2048, 16, 32, 8, 8192, false},
                             {"llama-8b-q8_0", GGML_TYPE_Q8_0, 4096, 32, 32, 8, 14336, true}};
constexpr std::int64_t kVocab = 128'256;
constexpr std::int64_t kRandom = (1 << 20) + 32 * 37;
constexpr char kChatMl[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

class Writer {
 public:
  explicit Writer(const Shape& shape) : shape_(shape), file_(gguf_init_empty()), tensors_(ggml_init({1 << 20, nullptr, true})) {
    Keys();
    Tokenizer();
    Tensors();
  }
  ~Writer() {
    gguf_free(file_);
    ggml_free(tensors_);
  }

  void Write(const std::string& path) const {
    std::FILE* out = std::fopen(path.c_str(), "wb");
    if (out == nullptr || !gguf_write_to_file_ptr(file_, out, true)) Fail("cannot write " + path);
    const std::vector<char> random = Random();
    for (ggml_tensor* tensor = ggml_get_first_tensor(tensors_); tensor; tensor = ggml_get_next_tensor(tensors_, tensor)) {
      const std::size_t bytes = ggml_nbytes(tensor);
      const std::vector<float> ones(tensor->type == GGML_TYPE_F32 ? bytes / sizeof(float) : 0, 1.0F);
      for (std::size_t done = 0; done < bytes;) {
        const std::size_t part = std::min(bytes - done, ones.empty() ? random.size() : bytes);
        done += std::fwrite(ones.empty() ? static_cast<const void*>(random.data()) : ones.data(), 1, part, out);
        if (std::ferror(out) != 0) Fail("cannot write " + path + ": is the disk full?");
      }
      static constexpr char kPadding[32] = {};
      std::fwrite(kPadding, 1, (32 - bytes % 32) % 32, out);
    }
    if (std::fclose(out) != 0) Fail("cannot write " + path);
  }

 private:
  void Number(const char* key, std::int64_t value) {
    gguf_set_val_u32(file_, fmt::format("llama.{}", key).c_str(), static_cast<std::uint32_t>(value));
  }

  void Keys() {
    gguf_set_val_str(file_, "general.architecture", "llama");
    gguf_set_val_str(file_, "general.name", shape_.name);
    Number("context_length", 131'072);
    Number("block_count", shape_.layers);
    Number("vocab_size", kVocab);
    Number("embedding_length", shape_.width);
    Number("feed_forward_length", shape_.hidden);
    Number("attention.head_count", shape_.heads);
    Number("attention.head_count_kv", shape_.kv_heads);
    Number("rope.dimension_count", shape_.width / shape_.heads);
    gguf_set_val_f32(file_, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    gguf_set_val_f32(file_, "llama.rope.freq_base", 500'000);
  }

  // Every byte, ChatML's control tokens, printable ASCII, and words.
  void Tokenizer() {
    std::vector<std::string> texts;
    std::vector<float> scores;
    std::vector<std::int32_t> types;
    const auto add = [&](std::string text, int type) {
      texts.push_back(std::move(text));
      scores.push_back(-static_cast<float>(texts.size()));
      types.push_back(type);
    };
    add("<unk>", 2);
    add("<s>", 3);
    add("</s>", 3);
    for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), 6);
    add("<|im_start|>", 3);
    add("<|im_end|>", 3);
    add("\xE2\x96\x81", 1);
    for (char c = '!'; c <= '~'; ++c) add(std::string(1, c), 1);
    while (static_cast<std::int64_t>(texts.size()) < kVocab) add(fmt::format("\xE2\x96\x81word{}", texts.size()), 1);
    std::vector<const char*> pointers;
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    gguf_set_val_str(file_, "tokenizer.ggml.model", "llama");
    gguf_set_val_str(file_, "tokenizer.ggml.pre", "default");
    gguf_set_arr_str(file_, "tokenizer.ggml.tokens", pointers.data(), pointers.size());
    gguf_set_arr_data(file_, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
    gguf_set_arr_data(file_, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
    gguf_set_val_u32(file_, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(file_, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_u32(file_, "tokenizer.ggml.unknown_token_id", 0);
    gguf_set_val_u32(file_, "tokenizer.ggml.eot_token_id", 260);
    gguf_set_val_bool(file_, "tokenizer.ggml.add_space_prefix", false);
    gguf_set_val_str(file_, "tokenizer.chat_template", kChatMl);
  }

  void Tensor(const std::string& name, std::int64_t columns, std::int64_t rows) {
    ggml_tensor* tensor =
        rows == 0 ? ggml_new_tensor_1d(tensors_, GGML_TYPE_F32, columns) : ggml_new_tensor_2d(tensors_, shape_.type, columns, rows);
    ggml_set_name(tensor, (name + ".weight").c_str());
    gguf_add_tensor(file_, tensor);
  }

  void Tensors() {
    const std::int64_t kv = shape_.width / shape_.heads * shape_.kv_heads;
    Tensor("token_embd", shape_.width, kVocab);
    Tensor("output_norm", shape_.width, 0);
    if (shape_.output) Tensor("output", shape_.width, kVocab);
    for (std::int64_t i = 0; i < shape_.layers; ++i) {
      const std::string block = fmt::format("blk.{}.", i);
      Tensor(block + "attn_norm", shape_.width, 0);
      Tensor(block + "attn_q", shape_.width, shape_.width);
      Tensor(block + "attn_k", shape_.width, kv);
      Tensor(block + "attn_v", shape_.width, kv);
      Tensor(block + "attn_output", shape_.width, shape_.width);
      Tensor(block + "ffn_norm", shape_.width, 0);
      Tensor(block + "ffn_gate", shape_.width, shape_.hidden);
      Tensor(block + "ffn_up", shape_.width, shape_.hidden);
      Tensor(block + "ffn_down", shape_.hidden, shape_.width);
    }
  }

  std::vector<char> Random() const {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal(0, 0.02F);
    std::vector<float> values(kRandom);
    for (float& value : values) value = normal(random);
    std::vector<char> bytes(ggml_row_size(shape_.type, kRandom));
    ggml_quantize_chunk(shape_.type, values.data(), bytes.data(), 0, 1, kRandom, nullptr);
    return bytes;
  }

  const Shape& shape_;
  gguf_context* file_;
  ggml_context* tensors_;
};

}  // namespace

std::string RandomModelFile(const std::string& name) {
  const Shape* shape = std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return name == s.name; });
  if (shape == std::end(kShapes)) Fail("no random model is called " + name + "; llama-1b-f16, llama-1b-q4_0 and llama-8b-q8_0 are");
  const std::filesystem::path folder = std::filesystem::path(TOLLGATE_SOURCE_DIR) / "build" / "bench-models";
  const std::filesystem::path file = folder / (name + ".gguf");
  std::error_code failed;
  if (std::filesystem::exists(file, failed)) return file;
  std::filesystem::create_directories(folder, failed);
  Writer(*shape).Write(file.string() + ".part");
  std::filesystem::rename(file.string() + ".part", file, failed);
  if (failed) Fail("cannot write " + file.string() + ": " + failed.message());
  return file;
}

}  // namespace tollgate::bench
