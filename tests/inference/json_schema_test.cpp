// Which schemas become grammars, and why others are refused. What the grammars let through is json_schema_engine_test's.
#include <catch2/catch_test_macros.hpp>

#include <string>

#include <fmt/format.h>

#include "inference/json_schema.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

std::string Nested(int depth) {
  std::string schema = R"({"type":"string"})";
  for (int i = 0; i < depth; ++i) schema = R"({"type":"array","items":)" + schema + "}";
  return schema;
}

// Each definition has the one before it twice, as alternatives.
std::string Doubling(int levels) {
  std::string defs = R"("d0":{"type":"string"})";
  for (int i = 1; i <= levels; ++i) {
    const std::string items = fmt::format(R"({{"type":"array","items":{{"$ref":"#/$defs/d{}"}}}})", i - 1);
    defs += fmt::format(R"(,"d{}":{{"anyOf":[{},{}]}})", i, items, items);
  }
  return fmt::format(R"({{"$ref":"#/$defs/d{}","$defs":{{{}}}}})", levels, defs);
}

TEST_CASE("Sound schemas become grammars, in the order in which their properties stand") {
  for (
      const std::string& schema : {
          std::string("{}"),
          std::string("true"),
          std::string(R"({"type":"object"})"),
          std::string(
              R"({"type":"object","properties":{"z":{"type":"string"},"a":{"type":["integer","null"]}},"required":["a"],"additionalProperties":false})"),
          std::string(R"({"type":"array","items":{"enum":["a\"b\\c",1,null,{"x":[1.5]}]},"minItems":2,"maxItems":5})"),
          std::string(
              R"({"title":"T","description":"d","default":{},"anyOf":[{"type":"string","minLength":1,"maxLength":9},{"const":"é"}]})"),
          std::string(
              R"({"$defs":{"a/b~c":{"type":"boolean"}},"properties":{"x":{"$ref":"#/$defs/a~1b~0c"},"y":{"allOf":[{"$ref":"#/$defs/a~1b~0c"}]}}})"),
          std::string(R"({"type":"string","format":"date-time"})"),
          std::string(R"({"type":"object","additionalProperties":{"type":"number"}})"),
          std::string(R"({"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991})"),
          std::string(R"({"type":["number","null"],"exclusiveMinimum":0,"maximum":1})"),
          Nested(31),
          Doubling(8),
      }) {
    INFO(schema);
    const auto grammar = JsonSchemaGrammar(schema);
    INFO(grammar.status().ToString());
    REQUIRE(grammar.ok());
    CHECK(grammar->starts_with("root ::= "));
  }
  const auto ordered = JsonSchemaGrammar(R"({"properties":{"z":{"type":"null"},"a":{"type":"null"}}})");
  CHECK(ordered->find(R"("\"z\":" ws null ws)") < ordered->find(R"("\"a\":" ws null ws)"));
}

TEST_CASE("Numbers of an enum or a const are held to as people write them") {
  const auto grammar = JsonSchemaGrammar(R"({"enum":[0.25,-99.5,1.50,1e3,0.7,{"x":[1.5,null,"a\"b",0.1]}]})");
  REQUIRE(grammar.ok());
  INFO(*grammar);
  for (const char* text : {"\"0.25\"", "\"-99.5\"", "\"1.5\"", "\"1000\"", "\"0.7\"", R"("{\"x\":[1.5,null,\"a\\\"b\",0.1]}")"})
    CHECK(grammar->find(text) != std::string::npos);
}

TEST_CASE("Bounds that many numbers share are written once") {
  const std::string number = R"({"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991})";
  std::string schema;
  for (int i = 0; i < 300; ++i) schema += fmt::format(R"({}"p{}":{})", i == 0 ? "" : ",", i, number);
  const auto grammar = JsonSchemaGrammar(R"({"properties":{)" + schema + "}}");
  INFO(grammar.status().ToString());
  REQUIRE(grammar.ok());
  std::size_t times = 0;
  for (std::size_t at = grammar->find("[1-8] [0-9]{15}"); at != std::string::npos; at = grammar->find("[1-8] [0-9]{15}", at + 1)) ++times;
  CHECK(times == 2);  // With a sign, and without.
}

TEST_CASE("What cannot be enforced is refused with its place") {
  struct Row {
    std::string schema;
    const char* says;
  };
  std::string many = R"({"type":"string"})";
  for (int i = 0; i < 1100; ++i) many += ",{}";
  std::string values = "1";
  for (int i = 2; i <= 501; ++i) values += "," + std::to_string(i);
  const Row rows[] = {
      {"", "not JSON"},
      {"{", "not JSON"},
      {"\"\xFF\"", "not UTF-8"},
      {"[]", "its root: a schema is an object"},
      {"false", "a schema is an object"},
      {std::string(40'000, ' '), "at most 32768"},
      {R"({"type":"thing"})", "\"type\" must be"},
      {R"({"type":[]})", "must not be empty"},
      {R"({"type":"string","pattern":"a+"})", "\"pattern\" cannot be enforced"},
      {R"({"type":"string","minimum":1})", "\"minimum\" cannot be enforced"},
      {R"({"minimum":1})", "\"minimum\" cannot be enforced"},
      {R"({"type":"integer","multipleOf":2})", "\"multipleOf\" cannot be enforced"},
      {R"({"properties":{"a":{"type":"number","minimum":0.5}}})", "/properties/a: \"minimum\" cannot be enforced here: it must be a whole"},
      {R"({"type":["integer","null"],"minimum":5,"maximum":4})", "its bounds let no number through"},
      {R"({"properties":{"a":{"properties":{"b":{"format":"email","type":"string"}}}}})", "/properties/a/properties/b: \"format\""},
      {R"({"type":"object","patternProperties":{}})", "\"patternProperties\""},
      {R"({"type":"string","properties":{}})", "\"properties\" cannot be enforced here"},
      {R"({"not":{}})", "\"not\""},
      {R"({"anyOf":[{}],"type":"object"})", "\"type\" cannot be enforced here"},
      {R"({"anyOf":[]})", "\"anyOf\" must be"},
      {R"({"allOf":[{},{}]})", "write them as one"},
      {R"({"enum":[]})", "at least one value"},
      {R"({"enum":["a",1],"type":"string"})", "that \"type\" does not allow"},
      {R"({"properties":{"id":{"const":12345678901234567890123}}})", "/properties/id: \"enum\" or \"const\" has a number beyond 64 bits"},
      {R"({"enum":[{"a":[-9223372036854775809]}]})", "has a number beyond 64 bits"},
      {R"({"type":"object","required":["a"]})", "\"required\" names"},
      {R"({"type":"object","properties":{"a":{}},"required":["b"]})", "\"required\" names"},
      {R"({"type":"string","minLength":5,"maxLength":4})", "less than"},
      {R"({"type":"string","maxLength":1001})", "from 0 to 1000"},
      {R"({"type":"array","minItems":-1})", "from 0 to 1000"},
      {R"({"type":"array","items":{"type":"string","minLength":1000,"maxLength":1000},"maxItems":1000})", "add up to more than 2000"},
      {R"({"$ref":"#/$defs/none"})", "points to nothing"},
      {R"({"$ref":"http://example.com/s"})", "must point into the schema"},
      {R"({"$ref":"#"})", "must point into the schema"},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}})", "refers to itself"},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"array","items":{"$ref":"#/$defs/a"}}}})", "refers to itself"},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"properties":{"x":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/a"}]}}}}})", "refers to itself"},
      {Nested(40), "deeper than 32"},
      {Doubling(9), "multiply to 512"},
      {R"({"enum":[)" + values + "]}", "multiply to 501"},
      {R"({"anyOf":[)" + many + "]}", "more than 1000 parts"},
  };
  for (const Row& row : rows) {
    const absl::Status status = JsonSchemaGrammar(row.schema).status();
    INFO(row.says << " / " << status.ToString() << " / " << row.schema.substr(0, 80));
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(status).find(row.says) != std::string::npos);
    CHECK(base::Message(status).size() < 400);
  }
}

TEST_CASE("Any schema is judged, none hurts") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> parts = {"{",
                                          "}",
                                          "[",
                                          "]",
                                          ":",
                                          ",",
                                          "\"type\"",
                                          "\"object\"",
                                          "\"properties\"",
                                          "\"items\"",
                                          "\"a\"",
                                          "\"enum\"",
                                          "\"$ref\"",
                                          "\"#/a\"",
                                          "1",
                                          "\"anyOf\"",
                                          "true",
                                          "null",
                                          "\"array\"",
                                          "\"required\"",
                                          "\"minItems\"",
                                          "\"format\"",
                                          "-3",
                                          "\"$defs\"",
                                          "\"#/$defs/a\""};
  for (int round = 0; round < 5000; ++round) {
    std::string schema = "{";
    for (std::uint64_t n = random() % 30; n > 0; --n) schema += parts[random() % parts.size()];
    const absl::Status status = JsonSchemaGrammar(schema + "}").status();
    CHECK((status.ok() || status.code() == absl::StatusCode::kInvalidArgument));
  }
}

}  // namespace
}  // namespace tollgate::inference
