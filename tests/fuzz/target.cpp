// One libFuzzer target: PROPERTY is its property's name.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/properties.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tollgate::fuzz::PROPERTY({reinterpret_cast<const char*>(data), size});
  return 0;
}
