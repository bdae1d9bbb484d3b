// A strict reader of a GGUF file's header. libllama ends the process on some files that are damaged or lack a key, so every file is read
// here first: what this accepts, libllama loads or refuses, but survives.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::inference {

// A tensor as the header describes it.
struct GgufTensor {
  std::string name;
  std::vector<std::int64_t> shape;  // 1 to 4 sizes, that of a row first.
  std::uint32_t type = 0;           // As ggml numbers them: 0 F32, 1 F16, 8 Q8_0, 30 BF16 …
  std::uint64_t at = 0;             // Where in the file its data begins.
  std::uint64_t bytes = 0;          // Of data; all of it lies in the file.
};

struct GgufHeader {
  std::string architecture;
  std::string name;
  std::string chat_template;        // Empty if the file has none.
  std::int64_t context_tokens = 0;  // What the model was trained for.
  std::int64_t vocab_tokens = 0;
  std::int64_t layers = 0;
  std::int64_t tensors = 0;
  bool classifier = false;                                              // It has a head that judges a text: the tensor cls.output.weight.
  std::map<std::string, std::int64_t, std::less<>> numbers;             // Scalar integer and bool values by key.
  std::map<std::string, double, std::less<>> reals;                     // Scalar floats by key; all finite.
  std::set<std::string, std::less<>> wide_reals;                        // Keys of those that are 64-bit ones.
  std::map<std::string, std::string, std::less<>> strings;              // String values of at most 64 KiB by key.
  std::map<std::string, std::int64_t, std::less<>> array_lengths;       // Lengths of arrays by key.
  std::map<std::string, std::vector<std::int64_t>, std::less<>> lists;  // Arrays of 1 to 512 integers of 32 bits, or bools, by key.
  std::vector<GgufTensor> tensor_table;                                 // In the file's order; no name stands twice.
};

// Reads and checks the header in `file`, which is the whole file: magic, version 2 or 3, counts, lengths, types, each tensor's place inside
// of the file, the keys that the architecture needs, and that they agree. INVALID_ARGUMENT says what is wrong and at which byte. Linear in
// the header.
absl::StatusOr<GgufHeader> ReadGguf(std::string_view file);

// The same without the keys that a model needs: of any GGUF file, an adapter for one. Architecture and what follows from it stay empty.
absl::StatusOr<GgufHeader> ReadGgufForm(std::string_view file);

}  // namespace tollgate::inference
