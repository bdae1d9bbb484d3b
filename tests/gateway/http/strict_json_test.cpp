#include "gateway/http/strict_json.h"

#include <boost/json/object.hpp>
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "base/error_detail.h"

using tollgate::http_front::ParseStrictJson;
namespace base = tollgate::base;

TEST_CASE("A text with one meaning is read") {
  const auto value = ParseStrictJson(R"({"a":[1,2.5,-3,"x\u00e9\ud83d\ude00",true,null],"b":{"a":1},"c":{"a":2}})", {});
  REQUIRE(value.ok());
  const auto& object = value->as_object();
  CHECK(object.at("a").as_array().size() == 6);
  CHECK(object.at("a").as_array()[3].as_string() == "x\u00e9\U0001F600");
  CHECK(object.at("c").as_object().at("a").as_int64() == 2);
}

TEST_CASE("A text that readers could take differently is refused and says why") {
  struct Row {
    std::string text;
    std::string why;
  };
  const std::string deep = std::string(33, '[') + std::string(33, ']');
  const Row rows[] = {
      {R"({"a":1,"a":2})", "the key \"a\" twice"},
      {R"({"x":{"model":1,"b":2,"model":3}})", "the key \"model\" twice"},
      {R"({"a\u0062":1,"ab":2})", "the key \"ab\" twice"},
      {R"([{"":1,"":2}])", "the key \"\" twice"},
      {deep, "nested deeper than 32"},
      {"{\"a\":\"\xff\"}", "it is not UTF-8"},
      {"{\"a\":\"\xc0\xaf\"}", "it is not UTF-8"},
      {"{\"a\":\"\xed\xa0\x80\"}", "it is not UTF-8"},
      {R"({"a":"\ud800"})", "not valid JSON"},
      {R"({"a":"\udc00x"})", "not valid JSON"},
      {R"({"a":1} x)", "text follows"},
      {R"({"a":1}{"b":2})", "text follows"},
      {R"({"a":)", "ends too early"},
      {"", "ends too early"},
      {R"({"a":01})", "not valid JSON"},
      {R"({"a":NaN})", "not valid JSON"},
      {R"({'a':1})", "not valid JSON"},
      {R"({"a":1,})", "not valid JSON"},
      {"\xef\xbb\xbf{}", "not valid JSON"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto value = ParseStrictJson(row.text, {});
    REQUIRE_FALSE(value.ok());
    CHECK(value.status().code() == absl::StatusCode::kInvalidArgument);
    INFO(base::Message(value.status()));
    CHECK(base::Message(value.status()).find(row.why) != std::string::npos);
    const auto detail = base::DetailOf(value.status());
    REQUIRE(detail.has_value());
    CHECK_FALSE(detail->may_retry);
  }
}

TEST_CASE("Depth 32 is still read") { CHECK(ParseStrictJson(std::string(32, '[') + std::string(32, ']'), {}).ok()); }
