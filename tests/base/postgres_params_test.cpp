// How parameters are written, without a database.
#include <catch2/catch_test_macros.hpp>

#include "base/postgres.h"
#include "base/postgres_params.h"

using namespace tollgate::base;

TEST_CASE("Parameters are written as Postgres reads them") {
  const auto texts =
      TextParams(std::vector<Value>{std::monostate(), std::int64_t{-5}, std::string("it's"), Blob{std::string("\0\xff", 2)}});
  REQUIRE(texts.ok());
  CHECK((*texts)[0] == std::nullopt);
  CHECK((*texts)[1] == "-5");
  CHECK((*texts)[2] == "it's");
  CHECK((*texts)[3] == "\\x00ff");
}

TEST_CASE("A zero byte in text is refused, because Postgres would cut the text there") {
  CHECK(TextParams(std::vector<Value>{std::string("a\0b", 3)}).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Blobs at the end of the list travel as they are, others in hex") {
  const Params params = {Blob{"a"}, std::int64_t{1}, Blob{"b"}, Blob{std::string("\0c", 2)}};
  const auto wire = ToWire(params);
  REQUIRE(wire.ok());
  REQUIRE(wire->texts.size() == 2);
  CHECK(wire->texts[0] == "\\x61");
  REQUIRE(wire->binaries.size() == 2);
  CHECK(*wire->binaries[1] == std::string("\0c", 2));
  CHECK(ToWire({std::int64_t{1}})->binaries.empty());
}

TEST_CASE("No element of an array can be taken for NULL or for syntax") {
  CHECK(std::get<std::string>(ArrayOf({})) == "{}");
  CHECK(std::get<std::string>(ArrayOf({std::int64_t{1}, std::monostate(), std::int64_t{-2}})) == "{1,NULL,-2}");
  CHECK(std::get<std::string>(ArrayOf({std::string("NULL"), std::string(""), std::string("a\"b\\c,{}")})) == R"({"NULL","","a\"b\\c,{}"})");
  CHECK(std::get<std::string>(ArrayOf({Blob{"\x01"}, Blob{""}})) == R"({"\\x01","\\x"})");
}
