// How a model with adapters is called.
#include <catch2/catch_test_macros.hpp>

#include "base/adapter_names.h"

namespace tollgate::base {
namespace {

TEST_CASE("A name is divided into its base and its adapters") {
  struct Row {
    const char* name;
    const char* base;
    std::vector<std::string> adapters;
  };
  const Row rows[] = {{"qwen3:legal", "qwen3", {"qwen3:legal"}},
                      {"llama3.2:1b:legal", "llama3.2:1b", {"llama3.2:1b:legal"}},
                      {"qwen3:legal+tone", "qwen3", {"qwen3:legal", "qwen3:tone"}},
                      {"qwen3:a+a", "qwen3", {"qwen3:a", "qwen3:a"}},
                      {"qwen3", "", {}},
                      {":legal", "", {}},
                      {"qwen3:", "", {}},
                      {"qwen3:a+", "", {}},
                      {"qwen3:a++b", "", {}},
                      {"qwen3:a/b", "", {}},
                      {"", "", {}}};
  for (const Row& row : rows) {
    INFO(row.name);
    const AdapterNames parts = SplitAdapters(row.name);
    CHECK(parts.base == row.base);
    CHECK(parts.adapters == row.adapters);
  }
}

TEST_CASE("Several are the same whatever their order; one twice and too many are refused") {
  CHECK(JoinAdapters(SplitAdapters("q:b+a+c").adapters) == "q:a+b+c");
  CHECK(JoinAdapters(SplitAdapters("q:a").adapters) == "q:a");
  CHECK(SplitAdapters("q:a+b+c+d").Check().ok());
  CHECK(absl::IsInvalidArgument(SplitAdapters("q:a+b+c+d+e").Check()));
  CHECK(absl::IsInvalidArgument(SplitAdapters("q:a+b+a").Check()));
}

}  // namespace
}  // namespace tollgate::base
