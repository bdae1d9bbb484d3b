// How it works. One forward pass over the mapped file with a cursor that refuses to read past its end. Every count is bounded by the bytes
// that are left before anything is allocated for it. Then the tensors' places are checked against the data section; what the keys must say
// is gguf_keys.cpp's.
//
// The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Little-endian, as every machine we build for.
//
// Tested by tests/inference/gguf_test.cpp.
#include "inference/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "inference/gguf_keys.h"

namespace tollgate::inference {
namespace {

constexpr std::uint64_t kMetadataKeysMax = 1 << 16;
constexpr std::uint64_t kTensorsMax = 1 << 17;
constexpr std::uint64_t kKeyBytesMax = 1 << 16;
constexpr std::uint64_t kKeptStringBytesMax = 1 << 16;
constexpr std::uint64_t kKeptElementsMax = 512;  // libllama has no more layers.
constexpr std::uint64_t kTensorNameBytesMax = 63;

enum ValueType : std::uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
  kTypes
};
constexpr std::array<std::uint64_t, kTypes> kScalarBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct TensorType {
  std::uint32_t id;
  std::int64_t block;  // Elements.
  std::int64_t block_bytes;
};
constexpr TensorType kTensorTypes[] = {
    {0, 1, 4},      {1, 1, 2},     {2, 32, 18},    {3, 32, 20},    {6, 32, 22},    {7, 32, 24},    {8, 32, 34},
    {9, 32, 36},    {10, 256, 84}, {11, 256, 110}, {12, 256, 144}, {13, 256, 176}, {14, 256, 210}, {15, 256, 292},
    {16, 256, 66},  {17, 256, 74}, {18, 256, 98},  {19, 256, 50},  {20, 32, 18},   {21, 256, 110}, {22, 256, 82},
    {23, 256, 136}, {24, 1, 1},    {25, 1, 2},     {26, 1, 4},     {27, 1, 8},     {28, 1, 8},     {29, 256, 56},
    {30, 1, 2},     {34, 256, 54}, {35, 256, 66},  {39, 32, 17},   {40, 64, 36},   {41, 128, 18},  {42, 64, 18},
};

const TensorType* FindType(std::uint32_t id) {
  for (const TensorType& type : kTensorTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  absl::StatusOr<GgufHeader> Read();
  const std::vector<std::string_view>& tokens() const { return tokens_; }

 private:
  template <typename T>
  bool Get(T& value) {
    if (left() < sizeof(T)) return false;
    std::memcpy(&value, file_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  bool GetString(std::uint64_t bytes_max, std::string_view& text) {
    std::uint64_t size = 0;
    if (!Get(size) || size > bytes_max || size > left()) return false;
    text = file_.substr(at_, size);
    at_ += size;
    return true;
  }
  std::uint64_t left() const { return file_.size() - at_; }
  absl::Status Bad(std::string_view what) const {
    return base::InvalidArgument(fmt::format("not a sound GGUF file: {} (at byte {})", what, at_));
  }

  absl::Status ReadKey();
  absl::Status ReadScalar(const std::string& key, std::uint32_t type);
  absl::Status KeepReal(const std::string& key, double value) {
    if (!std::isfinite(value)) return Bad(fmt::format("{} is no finite number", key));
    header_.reals[key] = value;
    return absl::OkStatus();
  }
  absl::Status ReadArray(const std::string& key);
  void KeepElements(const std::string& key, std::uint32_t type, std::uint64_t count);
  absl::Status ReadTensor();
  absl::Status CheckPlaces();

  std::string_view file_;
  std::uint64_t at_ = 0;
  GgufHeader header_;
  std::set<std::string, std::less<>> keys_;
  std::vector<std::string_view> tokens_;
};

absl::Status Reader::ReadScalar(const std::string& key, std::uint32_t type) {
  std::uint64_t raw = 0;
  const std::uint64_t bytes = kScalarBytes[type];
  if (left() < bytes) return Bad(fmt::format("the value of {} is cut off", key));
  std::memcpy(&raw, file_.data() + at_, bytes);
  at_ += bytes;
  switch (type) {
    case kInt8: header_.numbers[key] = static_cast<std::int8_t>(raw); break;
    case kInt16: header_.numbers[key] = static_cast<std::int16_t>(raw); break;
    case kInt32: header_.numbers[key] = static_cast<std::int32_t>(raw); break;
    case kUint64:
      if (raw > INT64_MAX) return Bad(fmt::format("{} is out of range", key));
      header_.numbers[key] = static_cast<std::int64_t>(raw);
      break;
    case kBool:
      if (raw > 1) return Bad(fmt::format("{} is neither true nor false", key));
      header_.numbers[key] = static_cast<std::int64_t>(raw);
      break;
    case kFloat32: return KeepReal(key, std::bit_cast<float>(static_cast<std::uint32_t>(raw)));
    case kFloat64: header_.wide_reals.insert(key); return KeepReal(key, std::bit_cast<double>(raw));
    default: header_.numbers[key] = static_cast<std::int64_t>(raw);
  }
  return absl::OkStatus();
}

void Reader::KeepElements(const std::string& key, std::uint32_t type, std::uint64_t count) {
  if ((type != kUint32 && type != kInt32 && type != kBool) || count == 0 || count > kKeptElementsMax) return;
  std::vector<std::int64_t>& kept = header_.lists[key];
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint32_t raw = 0;
    std::memcpy(&raw, file_.data() + at_ + i * kScalarBytes[type], kScalarBytes[type]);
    if (type == kBool) raw = raw != 0 ? 1 : 0;
    kept.push_back(type == kInt32 ? static_cast<std::int32_t>(raw) : static_cast<std::int64_t>(raw));
  }
}

absl::Status Reader::ReadArray(const std::string& key) {
  std::uint32_t type = 0;
  std::uint64_t count = 0;
  if (!Get(type) || !Get(count)) return Bad(fmt::format("the array {} is cut off", key));
  if (type >= kTypes || type == kArray) return Bad(fmt::format("the array {} has elements of unknown type {}", key, type));
  const std::uint64_t least = type == kString ? 8 : kScalarBytes[type];
  if (count > left() / least) return Bad(fmt::format("the array {} claims {} elements, more than the file holds", key, count));
  if (type == kString) {
    const bool kept = key == "tokenizer.ggml.tokens";
    std::string_view element;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!GetString(left(), element)) return Bad(fmt::format("element {} of {} is cut off", i, key));
      if (kept) tokens_.push_back(element);
    }
  } else {
    KeepElements(key, type, count);
    at_ += count * kScalarBytes[type];
  }
  header_.array_lengths[key] = static_cast<std::int64_t>(count);
  return absl::OkStatus();
}

absl::Status Reader::ReadKey() {
  std::string_view name;
  std::uint32_t type = 0;
  if (!GetString(kKeyBytesMax, name) || name.empty()) return Bad("a key is cut off or too long");
  const std::string key(name);
  if (!keys_.insert(key).second) return Bad(fmt::format("the key {} stands twice", key));
  if (!Get(type)) return Bad(fmt::format("the type of {} is cut off", key));
  if (type >= kTypes) return Bad(fmt::format("{} has unknown type {}", key, type));
  if (type == kArray) return ReadArray(key);
  if (type != kString) return ReadScalar(key, type);
  std::string_view text;
  if (!GetString(left(), text)) return Bad(fmt::format("the value of {} is cut off", key));
  const bool whole = key == "tokenizer.chat_template" || key.ends_with(".rope.scaling.type");
  if (whole || text.size() <= kKeptStringBytesMax) header_.strings[key] = std::string(text);
  return absl::OkStatus();
}

absl::Status Reader::ReadTensor() {
  std::string_view name;
  std::uint32_t dimensions = 0;
  if (!GetString(kTensorNameBytesMax, name) || !Get(dimensions)) return Bad("a tensor's entry is cut off or its name too long");
  if (dimensions < 1 || dimensions > 4) return Bad(fmt::format("tensor {} has {} dimensions", name, dimensions));
  std::uint64_t elements = 1;
  GgufTensor tensor;
  tensor.name = name;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    std::uint64_t size = 0;
    if (!Get(size)) return Bad(fmt::format("the shape of tensor {} is cut off", name));
    if (size == 0 || size > (1ULL << 40) || elements > (1ULL << 44) / size)
      return Bad(fmt::format("tensor {} has an impossible shape", name));
    elements *= size;
    tensor.shape.push_back(static_cast<std::int64_t>(size));
  }
  if (!Get(tensor.type) || !Get(tensor.at)) return Bad(fmt::format("the place of tensor {} is cut off", name));
  const TensorType* type = FindType(tensor.type);
  if (type == nullptr) return Bad(fmt::format("tensor {} has unknown type {}", name, tensor.type));
  if (tensor.shape.front() % type->block != 0) return Bad(fmt::format("tensor {} has rows that are not whole blocks", name));
  tensor.bytes = elements / static_cast<std::uint64_t>(type->block) * static_cast<std::uint64_t>(type->block_bytes);
  header_.tensor_table.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::Status Reader::CheckPlaces() {
  const auto given = header_.numbers.find("general.alignment");
  const std::int64_t alignment = given == header_.numbers.end() ? 32 : given->second;
  if (alignment < 8 || alignment > 65536 || (alignment & (alignment - 1)) != 0)
    return Bad(fmt::format("general.alignment is {}", alignment));
  const auto step = static_cast<std::uint64_t>(alignment);
  const std::uint64_t data = (at_ + step - 1) / step * step;
  const std::uint64_t room = data > file_.size() ? 0 : file_.size() - data;
  std::set<std::string_view> names;
  std::uint64_t expected = 0;
  for (GgufTensor& tensor : header_.tensor_table) {  // So far `at` counts from the data's begin.
    header_.classifier = header_.classifier || tensor.name == "cls.output.weight";
    if (!names.insert(tensor.name).second) return Bad(fmt::format("tensor {} stands twice", tensor.name));
    if (tensor.at != expected) return Bad(fmt::format("tensor {} is not where the ones before it end", tensor.name));
    if (tensor.at > room || tensor.bytes > room - tensor.at) {
      return Bad(fmt::format("tensor {} ends {} bytes past the end of the file: it was cut off; fetch it again", tensor.name,
                             tensor.at + tensor.bytes - room));
    }
    expected = (tensor.at + tensor.bytes + step - 1) / step * step;
    tensor.at += data;
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufHeader> Reader::Read() {
  std::uint32_t version = 0;
  std::uint64_t tensors = 0;
  std::uint64_t keys = 0;
  if (!file_.starts_with("GGUF")) return Bad("it does not start with \"GGUF\"");
  at_ = 4;
  if (!Get(version) || !Get(tensors) || !Get(keys)) return Bad("the header is cut off");
  if (version != 2 && version != 3) return Bad(fmt::format("version {} is not 2 or 3", version));
  if (tensors > kTensorsMax || tensors > left() / 24) return Bad(fmt::format("it claims {} tensors", tensors));
  if (keys > kMetadataKeysMax || keys > left() / 13) return Bad(fmt::format("it claims {} keys", keys));
  for (std::uint64_t i = 0; i < keys; ++i) TG_RETURN_IF_ERROR(ReadKey());
  for (std::uint64_t i = 0; i < tensors; ++i) TG_RETURN_IF_ERROR(ReadTensor());
  TG_RETURN_IF_ERROR(CheckPlaces());
  header_.tensors = static_cast<std::int64_t>(tensors);
  return std::move(header_);
}

}  // namespace

absl::StatusOr<GgufHeader> ReadGgufForm(std::string_view file) { return Reader(file).Read(); }

absl::StatusOr<GgufHeader> ReadGguf(std::string_view file) {
  Reader reader(file);
  TG_ASSIGN(GgufHeader header, reader.Read());
  TG_RETURN_IF_ERROR(CheckKeys(header, reader.tokens()));
  return header;
}

}  // namespace tollgate::inference
