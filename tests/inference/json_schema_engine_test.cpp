// Outputs held to schemas, on a tiny generated model that would say anything else: each that ends satisfies its schema, as a validator of
// our own reads it.
#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>
#include <functional>

#include <fmt/format.h>

#include "inference/json_schema.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;
using test::HearAll;
using test::Heard;
using test::TinyModel;

bool Satisfies(const json::value& value, const json::value& schema, const json::value& root);

bool IsOfType(const json::value& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number() && !value.is_double();
  return type == "boolean" ? value.is_bool() : value.is_null();
}

std::size_t CodePoints(const json::string& text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

std::size_t Bound(const json::object& schema, const char* name, std::size_t otherwise) {
  return schema.contains(name) ? static_cast<std::size_t>(schema.at(name).as_int64()) : otherwise;
}

// Of a number; and every other value.
bool IsWithin(const json::value& value, const json::object& schema) {
  if (!value.is_number()) return true;
  const auto number =
      value.to_number<double>();  // Infinite where the text is beyond a double: without a bound it is a number all the same.
  const auto bound = [&](const char* name, const auto& holds) {
    return !schema.contains(name) || holds(number, schema.at(name).to_number<double>());
  };
  return bound("minimum", std::greater_equal<>()) && bound("maximum", std::less_equal<>()) && bound("exclusiveMinimum", std::greater<>()) &&
         bound("exclusiveMaximum", std::less<>());
}

bool SatisfiesFields(const json::value& value, const json::object& schema, const json::value& root) {
  if (const auto* object = value.if_object()) {
    if (schema.contains("required")) {
      for (const auto& name : schema.at("required").as_array())
        if (!object->contains(name.as_string())) return false;
    }
    for (const auto& member : *object) {
      const auto* properties = schema.if_contains("properties");
      const auto* property =
          properties != nullptr ? properties->as_object().if_contains(member.key()) : schema.if_contains("additionalProperties");
      if (properties != nullptr && property == nullptr) return false;
      if (property != nullptr && property->is_object() && !Satisfies(member.value(), *property, root)) return false;
    }
  }
  if (const auto* array = value.if_array()) {
    if (array->size() < Bound(schema, "minItems", 0) || array->size() > Bound(schema, "maxItems", SIZE_MAX)) return false;
    if (const auto* items = schema.if_contains("items"))
      for (const auto& item : *array)
        if (!Satisfies(item, *items, root)) return false;
  }
  if (const auto* text = value.if_string()) {
    return CodePoints(*text) >= Bound(schema, "minLength", 0) && CodePoints(*text) <= Bound(schema, "maxLength", SIZE_MAX);
  }
  return true;
}

bool Satisfies(const json::value& value, const json::value& given, const json::value& root) {
  if (given.is_bool()) return given.as_bool();
  const json::object& schema = given.as_object();
  if (const auto* ref = schema.if_contains("$ref")) return Satisfies(value, root.at_pointer(ref->as_string().subview(1)), root);
  const auto any = [&](const json::array& list, auto test) { return std::any_of(list.begin(), list.end(), test); };
  if (const auto* list = schema.if_contains("anyOf"))
    return any(list->as_array(), [&](const json::value& one) { return Satisfies(value, one, root); });
  if (const auto* list = schema.if_contains("enum")) return any(list->as_array(), [&](const json::value& one) { return one == value; });
  if (const auto* one = schema.if_contains("const")) return *one == value;
  if (const auto* type = schema.if_contains("type")) {
    const auto is = [&](const json::value& name) { return IsOfType(value, std::string(name.as_string())); };
    if (type->is_array() ? !any(type->as_array(), is) : !is(*type)) return false;
  }
  if (!IsWithin(value, schema)) return false;
  return SatisfiesFields(value, schema, root);
}

struct Fixture {
  tollgate::test::TempDir folder;
  std::unique_ptr<Pool> pool = test::MakePool(TinyModel("llama").WriteTo(folder));

  // True if the output ended by itself.
  bool Holds(const std::string& schema, std::uint64_t seed) {
    const auto grammar = JsonSchemaGrammar(schema);
    INFO(schema << " " << grammar.status().ToString());
    REQUIRE(grammar.ok());
    SequenceRequest request = test::Ask(*pool, "say something");
    request.sampling.seed = seed;
    request.max_tokens = 300;
    request.grammar = *grammar;
    request.grammar_is_ours = true;
    const Heard heard = HearAll(*test::Submit(*pool, std::move(request)));
    INFO(heard.text << " " << heard.end.status.ToString());
    CHECK((heard.end.reason == EndReason::kStop || heard.end.reason == EndReason::kLength));
    if (heard.end.reason != EndReason::kStop) return false;
    boost::system::error_code error;
    const json::value value = json::parse(heard.text, error);
    REQUIRE_FALSE(error.failed());
    const json::value root = json::parse(schema);
    CHECK(Satisfies(value, root, root));
    return true;
  }
};

std::string RandomSchema(std::mt19937_64& random, int depth) {
  switch (random() % (depth > 0 ? 9 : 6)) {
    case 0: {
      const std::int64_t least = static_cast<std::int64_t>(random() % 2000) - 1000;
      const auto most = least + 2 + static_cast<std::int64_t>(random() % 3000);
      if (random() % 3 == 0) return R"({"type":"integer"})";
      return fmt::format(R"({{"type":"{}","exclusiveMinimum":{},"maximum":{}}})", random() % 2 == 0 ? "integer" : "number", least, most);
    }
    case 1: return R"({"type":["boolean","null"]})";
    case 2: return R"({"enum":["red","green \"blue\"",7,null]})";
    case 3: return R"({"type":"string","maxLength":6})";
    case 4: return R"({"type":"string","minLength":2,"maxLength":4})";
    case 5: return R"({"const":{"k":[1,"é"]}})";
    case 6: return R"({"type":"array","minItems":1,"maxItems":3,"items":)" + RandomSchema(random, depth - 1) + "}";
    case 7: return R"({"anyOf":[)" + RandomSchema(random, depth - 1) + "," + RandomSchema(random, depth - 1) + "]}";
    default: break;
  }
  std::string properties;
  std::string required;
  for (std::uint64_t i = 0, n = 1 + random() % 4; i < n; ++i) {
    const std::string key = "\"p" + std::string(i, '1') + "\"";  // Keys that begin like others.
    properties += (i == 0 ? "" : ",") + key + ":" + RandomSchema(random, depth - 1);
    if (random() % 2 == 0) required += (required.empty() ? "" : ",") + key;
  }
  return R"({"type":"object","additionalProperties":false,"properties":{)" + properties + R"(},"required":[)" + required + "]}";
}

TEST_CASE("Every output that ends satisfies its schema") {
  Fixture f;
  int whole = 0;
  for (
      const std::string schema : {
          R"({"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer"},"on":{"type":"boolean"}},"required":["age"]})",
          R"({"$defs":{"c":{"enum":["a","ab","abc"]}},"type":"array","items":{"$ref":"#/$defs/c"},"minItems":2,"maxItems":2})",
          R"({"type":"object","properties":{"a":{"type":"null"}}})",
          R"({"type":"object","additionalProperties":{"type":"boolean"}})",
          R"({"anyOf":[{"type":"number"},{"type":"string","format":"uuid"}]})",
          R"({"type":"array","maxItems":0})",
          R"({"type":"string","maxLength":0})",
          R"({"type":"array","maxItems":1})",
          R"({"type":"integer","minimum":7,"maximum":12})",
          R"({"type":"array","items":{"type":["number","null"],"minimum":0,"exclusiveMaximum":1},"minItems":2,"maxItems":2})",
      }) {
    for (std::uint64_t seed = 0; seed < 6; ++seed) whole += f.Holds(schema, seed) ? 1 : 0;
  }
  CHECK(whole > 24);
}

TEST_CASE("Every output of a random schema that ends satisfies it") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  Fixture f;
  int whole = 0;
  for (int round = 0; round < 60; ++round) whole += f.Holds(RandomSchema(random, 3), random()) ? 1 : 0;
  CHECK(whole > 20);
}

}  // namespace
}  // namespace tollgate::inference
