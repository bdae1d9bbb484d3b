#include "base/yaml_documents.h"

#include <catch2/catch_test_macros.hpp>

namespace tollgate::base {
namespace {

TEST_CASE("The first document that holds something keeps its places, and the second's is told") {
  const YamlDocuments one = ReadYaml("# by us\n---\n---\na: 1\n...\n--- # the end\n");
  REQUIRE(one.first.IsMap());
  CHECK(one.first["a"].Mark().line == 3);
  CHECK(one.first["a"].Mark().column == 3);
  CHECK_FALSE(one.second);
  const YamlDocuments two = ReadYaml("a: 1\n---\nb: 2\n");
  CHECK(two.first["a"].as<int>() == 1);
  REQUIRE(two.second);
  CHECK(two.second->line == 1);
  CHECK_FALSE(ReadYaml("").first.IsDefined());
  CHECK_FALSE(ReadYaml("---\n--- # nothing\n").first.IsDefined());
}

TEST_CASE("What begins no document is an error, and not read for ever") {
  for (const char* text : {"}", "]", "a: 1\n}", ", a", "lists: !{a: b} c}\n"}) {
    INFO(text);
    CHECK_THROWS_AS(ReadYaml(text), YAML::Exception);
  }
}

TEST_CASE("A document of more values than are asked for is not built") {
  const std::string text = "a: &l [1, 2, 3]\nb: *l\nc:\n";  // Three keys, a list, its three, an alias, a null, and the mapping.
  CHECK(ReadYaml(text, 10).first["b"].size() == 3);
  CHECK_THROWS_AS(ReadYaml(text, 9), TooManyValues);
}

}  // namespace
}  // namespace tollgate::base
