// What is left of schemas that cannot be enforced whole, and what is refused all the same.
#include "inference/schema_part.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include <fmt/format.h>

#include "inference/grammar_follower.h"
#include "inference/json_schema.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

bool IsWhole(std::string_view gbnf, std::string_view text) {
  auto rules = ReadGrammar(gbnf);
  INFO(rules.status().ToString());
  REQUIRE(rules.ok());
  GrammarFollower follower(*std::move(rules));
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto takes = follower.Takes(text.substr(i, 1));
    REQUIRE(takes.ok());
    if (!*takes) return false;
    REQUIRE(follower.Accept(text.substr(i, 1)).ok());
  }
  return follower.MayEnd();
}

}  // namespace

TEST_CASE("Keywords that cannot be enforced are passed over, and all else is enforced") {
  struct Row {
    const char* schema;
    const char* takes;    // Satisfies the schema, and can be written.
    const char* refuses;  // Cannot.
  };
  const Row rows[] = {
      {R"({"type":"string","pattern":"^a"})", R"("abc")", "1"},
      {R"({"type":"object","properties":{"q":{"type":"string","format":"uri"},"n":{"type":"number","minimum":0.5}},"required":["q"]})",
       R"({"q":"http://a","n":0.7})", R"({"n":0.7})"},
      {R"({"type":"string","nullable":true,"maxLength":2})", R"("ab")", R"("abc")"},
      {R"({"type":"string","maxLength":100000,"minLength":2})", R"("ab")", R"("a")"},
      {R"({"type":"array","items":{"type":"integer"},"uniqueItems":true,"maxItems":2})", "[1,2]", R"(["a"])"},
      {R"({"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false,"minItems":2,"maxItems":2})", R"(["a",1])",
       R"(["a"])"},
      {R"({"type":"integer","minimum":1,"multipleOf":2})", "4", "0"},
      {R"({"type":"integer","minimum":0,"exclusiveMinimum":true})", "7", "-1"},
      {R"({"type":"object","patternProperties":{"^x":{}},"additionalProperties":false})", R"({"x1":true})", "[]"},
      {R"({"type":"object","additionalProperties":{"type":"integer","multipleOf":2}})", R"({"x1":2})", R"({"x1":"2"})"},
      {R"({"type":"object","required":["a"]})", R"({"a":{"b":[1]}})", "{}"},
      {R"({"type":"object","properties":{"a":{"type":"null"}},"required":["b"],"additionalProperties":{"type":"boolean"}})",
       R"({"a":null,"b":true})", R"({"a":null})"},
      {R"({"type":"string","enum":["a",null]})", "null", R"("b")"},
      {R"({"enum":["a"],"pattern":"a"})", R"("a")", R"("b")"},
      {R"({"const":{"a":1},"not":{}})", R"({"a":1})", R"({"a":2})"},
      // Unions beside other fields.
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"anyOf":[{"required":["a"]},{"required":["b"]}]})",
       R"({"b":1})", R"({"b":"1"})"},
      {R"({"type":"string","oneOf":[{"const":"a","title":"A"},{"const":"b"}]})", R"("b")", R"("c")"},
      {R"({"type":"object","oneOf":[{"properties":{"k":{"const":1}}},{"properties":{"k":{"const":2}}}]})", R"({"k":2})", R"({"k":3})"},
      {R"({"type":"object","properties":{"c":{}},"anyOf":[{"properties":{"k":{"const":1}},"required":["k"]}]})", R"({"c":0,"k":1})", "[]"},
      {R"({"allOf":[{"$ref":"#/$defs/a"},{"properties":{"y":{}}}],"$defs":{"a":{"type":"object","properties":{"x":{}}}}})",
       R"({"x":1,"y":2})", "[]"},
      {R"({"anyOf":[{"type":"string","pattern":"a"},{"type":"null"}],"nullable":true})", R"("a")", "1"},
      // References.
      {R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#/$defs/n"}}}}})",
       R"({"v":1,"next":{"v":2,"next":{}}})", R"({"v":"1"})"},
      {R"({"properties":{"child":{"$ref":"#"},"v":{"type":"integer"}}})", R"({"child":{"child":{},"v":1},"v":1})", R"({"v":"1"})"},
      {R"({"$ref":"#/$defs/a","pattern":"b","$defs":{"a":{"type":"string"}}})", R"("b")", "1"},
      {R"({"properties":{"a":{"$ref":"https://example.com/s"},"b":{"$ref":"#name"}}})", R"({"a":1,"b":[]})", "[]"},
      {R"({"properties":{"x":{"$ref":"#/components/s"},"y":{"$ref":"#/components/s"}},"components":{"s":{"type":"string","pattern":"a"}}})",
       R"({"x":"a","y":"a"})", R"({"x":1})"},
      {R"({"pattern":"a"})", "1", "x"},
  };
  for (const Row& row : rows) {
    INFO(row.schema);
    CHECK_FALSE(JsonSchemaGrammar(row.schema).ok());
    CHECK_FALSE(HoldToSchema(row.schema, true).ok());
    const auto held = HoldToSchema(row.schema, false);
    INFO(held.status().ToString());
    REQUIRE(held.ok());
    CHECK_FALSE(held->whole);
    INFO(EnforceablePart(row.schema, kSchemaLengthMax).value());
    CHECK(IsWhole(held->gbnf, row.takes));
    CHECK_FALSE(IsWhole(held->gbnf, row.refuses));
  }
}

TEST_CASE("A schema that can be enforced is, whole, whether it is strict or not") {
  for (const char* schema : {"{}", R"({"type":"integer","minimum":1})", R"({"properties":{"a":{"type":"string","maxLength":3}}})"}) {
    for (const bool strict : {false, true}) {
      const auto held = HoldToSchema(schema, strict);
      REQUIRE(held.ok());
      CHECK(held->whole);
      CHECK(held->gbnf == *JsonSchemaGrammar(schema));
    }
  }
}

TEST_CASE("Lengths that are too many together are passed over, short ones last") {
  std::string schema = R"({"properties":{"s":{"type":"string","maxLength":2})";
  for (int i = 0; i < 4; ++i) schema += fmt::format(R"(,"p{}":{{"type":"string","maxLength":900}})", i);
  schema += "}}";
  CHECK_FALSE(HoldToSchema(schema, true).ok());
  const auto held = HoldToSchema(schema, false);
  REQUIRE(held.ok());
  CHECK_FALSE(held->whole);
  CHECK_FALSE(IsWhole(held->gbnf, R"({"s":"abc"})"));
  CHECK(IsWhole(held->gbnf, R"({"s":"ab","p0":"abcd"})"));
}

TEST_CASE("What is no schema, and what is too large for a grammar, is refused, strict or not") {
  std::string values = "1";
  for (int i = 2; i <= 501; ++i) values += "," + std::to_string(i);
  std::string nested = R"({"type":"string","pattern":"a"})";
  for (int i = 0; i < 40; ++i) nested = R"({"type":"array","items":)" + nested + "}";
  for (const std::string& schema :
       {std::string("{"), std::string("[]"), std::string(R"({"type":"thing","pattern":"a"})"), std::string(R"({"enum":[],"pattern":"a"})"),
        std::string(R"({"anyOf":[],"pattern":"a"})"), std::string(R"({"$ref":"#/$defs/none","pattern":"a"})"),
        std::string(R"({"type":"string","minLength":5,"maxLength":4})"), std::string(R"({"type":"integer","minimum":5,"maximum":4})"),
        std::string(R"({"properties":{"a":5}})"), std::string(R"({"properties":[],"pattern":"a"})"),
        std::string(R"({"required":["b"],"properties":{"a":{}},"additionalProperties":false})"), R"({"enum":[)" + values + "]}", nested,
        std::string(40'000, ' ')}) {
    INFO(schema.substr(0, 100));
    CHECK_FALSE(HoldToSchema(schema, false).ok());
    CHECK(absl::IsInvalidArgument(HoldToSchema(schema, false).status()));
  }
}

TEST_CASE("References that go round in any way are cut, and the copy ends") {
  std::string defs;
  for (int i = 0; i < 300; ++i) {
    defs += fmt::format(R"({}"d{}":{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d{}"}},"b":{{"$ref":"#/$defs/d{}"}}}}}})",
                        i == 0 ? "" : ",", i, (i * 7 + 1) % 300, (i * 11 + 3) % 300);
  }
  const std::string schema = R"({"$ref":"#/$defs/d0","$defs":{)" + defs + "}}";
  const auto part = EnforceablePart(schema, kSchemaLengthMax);
  REQUIRE(part.ok());
  CHECK(part->size() < 2 * schema.size());
  // Of a schema for names that are not declared there is one copy.
  const std::string more = R"({"type":"object","properties":{"x":{"enum":[")" + std::string(5'000, 'x') + R"("]}}})";
  std::string names = "\"a\"";
  for (int i = 0; i < 200; ++i) names += fmt::format(",\"a{}\"", i);
  const std::string wide = fmt::format(R"({{"type":"object","additionalProperties":{},"required":[{}]}})", more, names);
  CHECK(EnforceablePart(wide, 1)->size() < 20'000);
  const auto inside = EnforceablePart(R"({"properties":{"a":{"items":{"$ref":"#/properties"},"x":{"$ref":"#/properties/a"}}}})", 1);
  CHECK(inside.ok());
}

TEST_CASE("Any schema has a part or is refused, and none hurts") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const char* names[] = {"type",     "properties", "items",    "anyOf",   "allOf",       "enum",        "const",   "$ref",
                         "required", "minLength",  "maxItems", "pattern", "prefixItems", "$defs",       "minimum", "additionalProperties",
                         "a",        "format",     "not",      "oneOf",   "maximum",     "uniqueItems", "then",    "exclusiveMinimum"};
  const json::value leaves[] = {"object", "array", "string", "integer", "a",   "#/$defs/a", "#/properties/a", "#",
                                1,        -3,      2.5,      true,      false, nullptr,     "uuid",           json::array{"a"}};
  const std::function<json::value(int)> draw = [&](int depth) -> json::value {
    if (depth == 0 || random() % 4 == 0) return leaves[random() % std::size(leaves)];
    if (random() % 5 == 0) return json::array{draw(depth - 1), draw(depth - 1)};
    json::object out;
    for (std::uint64_t n = random() % 4; n > 0; --n) out[names[random() % std::size(names)]] = draw(depth - 1);
    return out;
  };
  int parts = 0;
  for (int round = 0; round < 2'000; ++round) {
    json::object schema = {{"type", leaves[random() % 4]}};
    for (std::uint64_t n = random() % 4; n > 0; --n) schema[names[random() % std::size(names)]] = draw(4);
    const auto held = HoldToSchema(json::serialize(schema), false);
    if (!held.ok()) CHECK(absl::IsInvalidArgument(held.status()));
    if (!held.ok() || held->whole) continue;
    ++parts;
    CHECK(ReadGrammar(held->gbnf).ok());
  }
  CHECK(parts > 40);
}

}  // namespace tollgate::inference
