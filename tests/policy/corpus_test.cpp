// What the fuzzers start from and once found (tests/fuzz/corpus), held in every build: a property that does not hold ends the program.
#include <filesystem>
#include <fstream>

#include <catch2/catch_test_macros.hpp>

#include "tests/fuzz/properties.h"

namespace tollgate::fuzz {

TEST_CASE("Whatever the fuzzers found once is judged as they want it") {
  const struct {
    const char* folder;
    void (*property)(std::string_view);
  } rows[] = {{"language", Language}, {"plain", Plain}, {"stream", Stream}};
  for (const auto& row : rows) {
    std::size_t inputs = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(TOLLGATE_SOURCE_DIR) / "tests/fuzz/corpus" / row.folder)) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string input((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      UNSCOPED_INFO(entry.path());
      row.property(input);
      ++inputs;
    }
    CHECK(inputs >= 4);
  }
}

}  // namespace tollgate::fuzz
