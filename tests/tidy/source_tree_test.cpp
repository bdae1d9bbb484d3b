// The reader that the rules rely on.
#include <catch2/catch_test_macros.hpp>

#include "tests/tidy/source_tree.h"

using namespace tollgate::tidy;

TEST_CASE("The tree holds this file and nothing that is built") {
  bool found = false;
  for (const SourceFile& file : Tree()) {
    found = found || file.path == "tests/tidy/source_tree_test.cpp";
    CHECK_FALSE(file.path.starts_with("build/"));
  }
  CHECK(found);
  CHECK(RoomOf("gateway/net/listener.h") == "gateway/net");
  CHECK(RoomOf("base/uuid.h") == "base");
  CHECK(RoomOf("Makefile").empty());
}

TEST_CASE("Includes are read as written") {
  const SourceFile file{"x.cpp", {"#include \"base/uuid.h\"", "#include <vector>", "// #include <no>", "  #  include <pqxx/pqxx>"}};
  const auto includes = IncludesOf(file);
  REQUIRE(includes.size() == 3);
  CHECK(includes[0].path == "base/uuid.h");
  CHECK(includes[0].quoted);
  CHECK(includes[2].path == "pqxx/pqxx");
  CHECK(includes[2].line == 4);
  CHECK_FALSE(includes[2].quoted);
}

TEST_CASE("Functions are found with their length, and brackets in comments and quotes do not count") {
  const SourceFile file{"x.cpp",
                        {"namespace a {",                            // 1
                         "struct S { int x = 0; };",                 // 2
                         "int One() { return '{' + 1'000; }  // {",  // 3
                         "/* { */ std::string Two(int a,",           // 4
                         "                        int b) {",         // 5
                         "  if (a) { return R\"x(\"{)x\"; }",        // 6
                         "  const auto f = [] { return 1; };",       // 7
                         "}",                                        // 8
                         "Class::Class() : a_(1), b_{2} {",          // 9
                         "}",                                        // 10
                         "const std::array<int, 2> kA = {1, 2};",    // 11
                         "}"}};                                      // 12
  const auto functions = FunctionsOf(file);
  REQUIRE(functions.size() >= 3);
  CHECK(functions[0].name == "One");
  CHECK(functions[0].line_count == 1);
  CHECK(functions[1].name == "Two");
  CHECK(functions[1].first_line == 4);
  CHECK(functions[1].line_count == 5);
  CHECK(functions[2].name == "Class::Class");
}
