// A strict reader of a GGUF file's header. libllama ends the process on some files that are damaged or lack a key, so every file is read
// here first: what this accepts, libllama loads or refuses, but survives.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::inference {

struct GgufHeader {
  std::string architecture;
  std::string name;
  std::string chat_template;        // Empty if the file has none.
  std::int64_t context_tokens = 0;  // What the model was trained for.
  std::int64_t vocab_tokens = 0;
  std::int64_t layers = 0;
  std::int64_t tensors = 0;
  bool classifier = false;  // It has a head that judges a text: the tensor cls.output.weight.
  std::map<std::string, std::int64_t, std::less<>> numbers;        // Scalar integer and bool values by key.
  std::map<std::string, double, std::less<>> reals;                // Scalar floats by key; all finite.
  std::map<std::string, std::string, std::less<>> strings;         // String values of at most 64 KiB by key.
  std::map<std::string, std::int64_t, std::less<>> array_lengths;  // Lengths of arrays by key.
};

// Reads and checks the header in `file`, which is the whole file: magic, version 2 or 3, counts, lengths, types, each tensor's place inside
// of the file, and the keys that the architecture needs. INVALID_ARGUMENT says what is wrong and at which byte. Linear in the header.
absl::StatusOr<GgufHeader> ReadGguf(std::string_view file);

}  // namespace tollgate::inference
