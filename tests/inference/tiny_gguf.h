// Writes small GGUF files, sound and spoilt, a key and a tensor at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace tollgate::inference::test {

template <typename T>
std::string Packed(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
inline std::string PackedText(const std::string& text) { return Packed<std::uint64_t>(text.size()) + text; }

class Gguf {
 public:
  // Two layers, three tokens, two tensors: enough for the reader, not for a model.
  static Gguf Tiny(const std::string& architecture = "llama") {
    Gguf file;
    file.Raw("general.architecture", 8, PackedText(architecture));
    file.Number(architecture + ".context_length", 2048);
    file.Number(architecture + ".embedding_length", 8);
    file.Number(architecture + ".block_count", 2);
    file.Number(architecture + ".feed_forward_length", 16);
    file.Number(architecture + ".attention.head_count", 2);
    file.Raw("tokenizer.ggml.model", 8, PackedText("gpt2"));
    file.Raw("tokenizer.ggml.tokens", 9,
             Packed<std::uint32_t>(8) + Packed<std::uint64_t>(3) + PackedText("a") + PackedText("b") + PackedText("c"));
    file.Number("tokenizer.ggml.eos_token_id", 2);
    file.Raw("tokenizer.chat_template", 8, PackedText("chat"));
    file.Tensor("token_embd.weight", {8, 3}, 0);
    file.Tensor("output_norm.weight", {8}, 0);
    return file;
  }

  Gguf& Magic(const std::string& magic) { return magic_ = magic, *this; }
  Gguf& Version(std::uint32_t version) { return version_ = version, *this; }
  Gguf& TensorCount(std::uint64_t count) { return tensor_count_ = count, *this; }
  Gguf& KeyCount(std::uint64_t count) { return key_count_ = count, *this; }
  Gguf& WithoutTensors() { return tensors_.clear(), data_.clear(), *this; }

  // Adds a key; `bytes` is its value as it stands in the file.
  Gguf& Raw(const std::string& key, std::uint32_t type, const std::string& bytes) {
    keys_.push_back({key, Packed(type) + bytes});
    return *this;
  }
  // Sets a 32-bit number, in place if the key is there.
  Gguf& Number(const std::string& key, std::uint32_t value) {
    for (Key& known : keys_) {
      if (known.name == key) return known.value = Packed<std::uint32_t>(4) + Packed(value), *this;
    }
    return Raw(key, 4, Packed(value));
  }
  Gguf& Text(const std::string& key, const std::string& text) { return Without(key).Raw(key, 8, PackedText(text)); }
  Gguf& Texts(const std::string& key, const std::vector<std::string>& texts) {
    std::string bytes = Packed<std::uint32_t>(8) + Packed<std::uint64_t>(texts.size());
    for (const std::string& text : texts) bytes += PackedText(text);
    return Without(key).Raw(key, 9, bytes);
  }
  Gguf& Numbers(const std::string& key, const std::vector<std::uint32_t>& values) {
    std::string bytes = Packed<std::uint32_t>(4) + Packed<std::uint64_t>(values.size());
    for (const std::uint32_t value : values) bytes += Packed(value);
    return Without(key).Raw(key, 9, bytes);
  }
  Gguf& Without(const std::string& key) {
    std::erase_if(keys_, [&](const Key& k) { return k.name == key; });
    return *this;
  }
  // Adds a tensor of F32 size after the ones before it, `off` bytes away from where it belongs.
  Gguf& Tensor(const std::string& name, const std::vector<std::uint64_t>& shape, std::uint32_t type, std::uint64_t off = 0) {
    std::string entry = PackedText(name) + Packed(static_cast<std::uint32_t>(shape.size()));
    std::uint64_t bytes = 4;
    for (const std::uint64_t size : shape) {
      entry += Packed(size);
      bytes *= size;
    }
    tensors_.push_back(entry + Packed(type) + Packed(data_.size() + off));
    if (bytes < 4096) data_.resize(data_.size() + (bytes + 31) / 32 * 32);
    return *this;
  }
  // Adds an F32 tensor with these values.
  Gguf& Values(const std::string& name, const std::vector<std::uint64_t>& shape, const std::vector<float>& values) {
    std::string entry = PackedText(name) + Packed(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t size : shape) entry += Packed(size);
    tensors_.push_back(entry + Packed<std::uint32_t>(0) + Packed<std::uint64_t>(data_.size()));
    data_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    data_.resize((data_.size() + 31) / 32 * 32);
    return *this;
  }

  std::string Bytes() const {
    std::string bytes = magic_ + Packed(version_) + Packed(tensor_count_ == kOwn ? tensors_.size() : tensor_count_) +
                        Packed(key_count_ == kOwn ? static_cast<std::uint64_t>(keys_.size()) : key_count_);
    for (const Key& key : keys_) bytes += PackedText(key.name) + key.value;
    for (const std::string& tensor : tensors_) bytes += tensor;
    bytes.resize((bytes.size() + 31) / 32 * 32);
    return bytes + data_;
  }

 private:
  struct Key {
    std::string name;
    std::string value;
  };
  static constexpr std::uint64_t kOwn = ~0ULL;

  std::string magic_ = "GGUF";
  std::uint32_t version_ = 3;
  std::uint64_t tensor_count_ = kOwn;
  std::uint64_t key_count_ = kOwn;
  std::vector<Key> keys_;
  std::vector<std::string> tensors_;
  std::string data_;
};

}  // namespace tollgate::inference::test
