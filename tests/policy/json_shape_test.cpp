// What a reply must be to count as JSON of a schema, and how rules say so.
#include "policy/json_shape.h"

#include <boost/json.hpp>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::string Broken(const std::string& schema, const std::string& text) {
  const auto shape = JsonShape::Compile(schema);
  INFO(schema);
  INFO(base::Message(shape.status()));
  REQUIRE(shape.ok());
  return std::string((*shape)->Breaks(text));
}

TEST_CASE("A text keeps a schema, or breaks a keyword of it") {
  const std::string person = R"({"type":"object","properties":{"name":{"type":"string","minLength":2,"maxLength":4},)"
                             R"("age":{"type":"integer"},"tags":{"type":"array","items":{"enum":["a","b",null]},"maxItems":2}},)"
                             R"("required":["name"],"additionalProperties":false})";
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {"true", "[1, {\"a\": null}] ", ""},
      {"true", "", "json"},
      {"true", "```json\n{}\n```", "json"},
      {"true", "{} {}", "json"},
      {"true", R"({"a":1,"a":2})", "json"},
      {"true", R"({"a":{"b":1,"b":2}})", "json"},
      {"true", R"({"a:":"b:c\":","d":[{"e":":"}]})", ""},
      {"true", "\xFF", "json"},
      {"{}", "3", ""},
      {person, R"({"name":"Änne"})", ""},
      {person, R"({"name":"Ännes"})", "maxLength"},
      {person, R"({"name":"A"})", "minLength"},
      {person, R"({"name":"Ann","age":3})", ""},
      {person, R"({"name":"Ann","age":3.0})", ""},
      {person, R"({"name":"Ann","age":3.5})", "type"},
      {person, R"({"name":"Ann","tags":["a",null]})", ""},
      {person, R"({"name":"Ann","tags":["a","c"]})", "enum"},
      {person, R"({"name":"Ann","tags":["a","a","a"]})", "maxItems"},
      {person, R"({"age":3})", "required"},
      {person, R"({"name":"Ann","else":1})", "additionalProperties"},
      {person, "[]", "type"},
      {R"({"additionalProperties":{"type":"number"}})", R"({"a":1,"b":"x"})", "type"},
      {R"({"type":["string","null"]})", "null", ""},
      {R"({"type":["string","null"]})", "1", "type"},
      {R"({"anyOf":[{"type":"string"},{"const":5}]})", "5", ""},
      {R"({"anyOf":[{"type":"string"},{"const":5}]})", "6", "anyOf"},
      {R"({"oneOf":[{"type":"number"},{"type":"integer"}]})", "5", "oneOf"},
      {R"({"oneOf":[{"type":"number"},{"type":"integer"}]})", "5.5", ""},
      {R"({"allOf":[{"type":"number"},{"enum":[1,2]}]})", "3", "allOf"},
      {R"({"format":"date"})", "\"2026-11-26\"", ""},
      {R"({"format":"date"})", "\"2026-13-26\"", "format"},
      {R"({"format":"date-time"})", "\"2026-11-26T10:00:00Z\"", ""},
      {R"({"format":"uuid"})", "\"123e4567-e89b-12d3-a456-426614174000\"", ""},
      {R"({"format":"time"})", "\"10:00\"", "format"},
      {R"({"$defs":{"n":{"type":"number"}},"items":{"$ref":"#/$defs/n"}})", "[1,\"x\"]", "type"},
      {R"({"minItems":1})", "[]", "minItems"},
      {"true", std::string(100, '['), "json"},
  };
  for (const auto& [schema, text, broken] : cases) {
    INFO(schema << " " << text);
    CHECK(Broken(schema, text) == broken);
  }
  CHECK(Broken("true", std::string(JsonShape::kTextBytesMax + 1, ' ')) == "size");
}

TEST_CASE("The keywords of JSON Schema's validation are judged as its specification says") {
  struct Case {
    std::string schema, kept, broken, keyword;
  };
  const Case cases[] = {
      {R"({"minimum":1})", R"([1,1.0,7,"x"])", "[0.5,0,-1]", "minimum"},
      {R"({"maximum":9007199254740993})", "[9007199254740993]", "[9007199254740994,1e300]", "maximum"},
      {R"({"exclusiveMinimum":1})", "[1.1]", "[1,1.0]", "exclusiveMinimum"},
      {R"({"exclusiveMaximum":1})", "[0.9,-3]", "[1,2]", "exclusiveMaximum"},
      {R"({"multipleOf":3})", R"([0,3,-6,9.0,"x"])", "[1,3.5,9007199254740994]", "multipleOf"},
      {R"({"multipleOf":0.01})", "[19.99,0.07,4.35,1000000000.01]", "[19.995,0.001]", "multipleOf"},
      {R"({"pattern":"^[A-Z]{2}\\d+$"})", R"(["AB12",5])", R"(["aB12","AB","xAB12"])", "pattern"},
      {R"({"pattern":"b+"})", R"(["abc"])", R"(["ac",""])", "pattern"},
      {R"({"uniqueItems":true})", R"([[],[1,2],["1",1],[{"a":1},{"a":2}],[false,0,null]])",
       R"([[1,1.0],[[1],[1]],["a","b","a"],[{"a":1,"b":2},{"b":2.0,"a":1}],[0,-0.0]])", "uniqueItems"},
      {R"({"uniqueItems":false})", "[[1,1]]", "[]", ""},
      {R"({"minProperties":2})", R"([{"a":1,"b":1},[]])", R"([{"a":1},{}])", "minProperties"},
      {R"({"maxProperties":1})", R"([{"a":1},{}])", R"([{"a":1,"b":1}])", "maxProperties"},
      {R"({"prefixItems":[{"type":"string"},{"const":2}],"items":false})", R"([[],["a"],["a",2]])", R"([["a",2,3]])", "false"},
      {R"({"prefixItems":[{"type":"string"}]})", R"([["a",7]])", "[[7]]", "type"},
      {R"({"contains":{"type":"null"}})", R"([[null],[1,null],"x"])", "[[],[1]]", "contains"},
      {R"({"contains":{"type":"null"},"minContains":2,"maxContains":3})", "[[null,null],[1,null,null,null]]",
       "[[null],[null,null,null,null]]", "contains"},
      {R"({"contains":{"type":"null"},"minContains":0})", "[[]]", "[]", ""},
      {R"({"not":{"type":"string"}})", "[1,null]", R"(["x"])", "not"},
      {R"({"if":{"type":"number"},"then":{"minimum":5},"else":{"type":"null"}})", "[5,null]", "[4]", "minimum"},
      {R"({"if":{"type":"number"},"then":{"minimum":5},"else":{"type":"null"}})", "[5,null]", R"(["x"])", "type"},
      {R"({"then":false})", "[1]", "[]", ""},
      {R"({"patternProperties":{"^n_":{"type":"number"}},"additionalProperties":false})", R"([{"n_a":1},{}])", R"([{"x":1}])",
       "additionalProperties"},
      {R"({"patternProperties":{"^n_":{"type":"number"}}})", R"([{"n_a":1,"s":"x"}])", R"([{"n_a":"x"}])", "type"},
      {R"({"properties":{"a":{}},"patternProperties":{"^n_":{}},"additionalProperties":{"type":"null"}})", R"([{"a":1,"n_b":2,"c":null}])",
       R"([{"c":1}])", "type"},
      {R"({"propertyNames":{"maxLength":2}})", R"([{"ab":1}])", R"([{"abc":1}])", "maxLength"},
      {R"({"dependentRequired":{"a":["b"]}})", R"([{"a":1,"b":1},{"b":1},{}])", R"([{"a":1}])", "dependentRequired"},
      {R"({"dependentSchemas":{"a":{"required":["b"]}}})", R"([{"a":1,"b":1},{"b":1}])", R"([{"a":1}])", "dependentSchemas"},
      {R"({"properties":{"a":false}})", R"([{"b":1}])", R"([{"a":1}])", "false"},
      {R"({"enum":[1,{"a":[2.0]}]})", R"([1.0,{"a":[2]}])", R"([2,{"a":[3]},{"a":[2],"b":1}])", "enum"},
      {R"({"format":"email"})", R"(["ann@acme.example"])", R"(["ann@","ann at acme.example","a..b@c.de"])", "format"},
      {R"({"format":"ipv4"})", R"(["192.0.2.1"])", R"(["192.0.2","192.0.2.256","::1"])", "format"},
      {R"({"format":"ipv6"})", R"(["2001:db8::1"])", R"(["192.0.2.1","2001:db8::g"])", "format"},
      {R"({"format":"hostname"})", R"(["a-b.example"])", R"(["-a.example","a..b",""])", "format"},
      {R"({"format":"uri"})", R"(["https://acme.example/a?b=c#d","urn:isbn:123"])", R"(["/a","https://a b","x%zz"])", "format"},
      {R"({"$defs":{"t":{"properties":{"v":{"type":"number"},"kids":{"items":{"$ref":"#/$defs/t"}}},"required":["v"]}},"$ref":"#/$defs/t"})",
       R"([{"v":1,"kids":[{"v":2,"kids":[{"v":3}]}]}])", R"([{"v":1,"kids":[{"v":2,"kids":[{}]}]}])", "required"},
  };
  for (const Case& c : cases) {
    INFO(c.schema << " " << c.kept << " " << c.broken);
    const auto shape = JsonShape::Compile(c.schema);
    INFO(base::Message(shape.status()));
    REQUIRE(shape.ok());
    // Each value of the two lists by itself.
    const boost::json::value kept = boost::json::parse(c.kept), broken = boost::json::parse(c.broken);
    for (const auto& value : kept.as_array()) CHECK((*shape)->Breaks(boost::json::serialize(value)).empty());
    for (const auto& value : broken.as_array()) {
      INFO(boost::json::serialize(value));
      CHECK((*shape)->Breaks(boost::json::serialize(value)) == c.keyword);
    }
  }
}

TEST_CASE("A schema and a text that would take for ever together end as broken") {
  const std::string self = R"({"anyOf":[{"items":{"$ref":"#"},"minItems":1},{"items":{"$ref":"#"},"minItems":1,"maxItems":9}]})";
  CHECK(Broken(self, std::string(60, '[') + std::string(60, ']')) == "size");
  const std::string numbers = R"({"pattern":"^(a|ab|b){1,90}c$"})";
  CHECK(Broken(numbers, "\"" + std::string(JsonShape::kTextBytesMax - 2, 'a') + "\"") == "size");
}

TEST_CASE("A schema that would not be judged as it says is refused by name") {
  const std::pair<std::string, const char*> cases[] = {
      {"{", "no JSON"},
      {"[]", "an object, true or false"},
      {R"-({"pattern":"a(?=b)"})-", "/pattern: the pattern does not compile, in RE2's syntax"},
      {R"({"patternProperties":{"[":true}})", "/patternProperties: the pattern does not compile"},
      {R"({"pattern":"(((a{1,100}){1,9})b){1,9}"})", "/pattern: the pattern "},
      {R"({"unevaluatedProperties":false})", "/unevaluatedProperties: this keyword is not judged"},
      {R"({"type":"text"})", "/type: there are object"},
      {R"({"properties":{"a":{"minimum":"1"}}})", "/properties/a/minimum: it is a number"},
      {R"({"multipleOf":0})", "a number above 0"},
      {R"({"uniqueItems":1})", "true or false"},
      {R"({"dependentRequired":{"a":"b"}})", "arrays of names"},
      {R"({"not":3})", "/not: a schema is an object"},
      {R"({"properties":[]})", "an object of schemas"},
      {R"({"$ref":"#/$defs/x"})", "point into the schema"},
      {R"({"$ref":"#"})", "comes back to itself"},
      {R"({"$defs":{"x":{"anyOf":[{"type":"null"},{"not":{"$ref":"#/$defs/y"}}]},"y":{"allOf":[{"$ref":"#/$defs/x"}]}},"$ref":"#/$defs/x"})",
       "comes back to itself"},
      {R"({"required":"a"})", "an array of names"},
      {R"({"maxItems":-1})", "at least 0"},
      {R"({"format":"color"})", "there are date"},
      {R"({"anyOf":[]})", "an array of schemas"},
      {"{\"title\":\"" + std::string(33 << 10, 'x') + "\"}", "32 KiB"},
  };
  for (const auto& [schema, error] : cases) {
    const auto shape = JsonShape::Compile(schema);
    INFO(schema.substr(0, 100) << base::Message(shape.status()));
    CHECK(base::Message(shape.status()).find(error) != std::string::npos);
  }
}

TEST_CASE("What may become JSON is told from what cannot") {
  const auto shape = *JsonShape::Compile("true");
  for (const char* begin : {"", " ", "{", "{\"a", "[1, 2", "tru", "\"x"}) CHECK(shape->MayBecome(begin));
  for (const char* begin : {"Sure", "{a", "```", "[1 2", "{} x"}) {
    CHECK_FALSE(shape->MayBecome(begin));
    CHECK(shape->Breaks(begin) == "json");  // It is not waited for, so this is what is told.
  }
}

TEST_CASE("A rule writes its schema in YAML, and its tests run on it") {
  const auto policies =
      MustCompile(OneRule("{not_json: {type: object, required: [a], properties: {a: {const: \"5\"}, b: {const: 5}}}}", "block",
                          "    tests:\n      - {text: 'no', result: ''}\n      - {text: '{\"a\":5}'}\n"
                          "      - {text: '{\"a\":\"5\",\"b\":5}', expect_not: r}\n"));
  CHECK(policies->FilterWhole({}, "no")->withheld);
  CHECK(policies->FilterWhole({}, "no", {Part::kReasoning})->text == "no");
  CHECK(policies->FilterWhole({}, "no", {Part::kToolCall, "f"})->text == "no");
  REQUIRE(policies->QuestionsOfOutput({}).size() == 1);
  CHECK(policies->QuestionsOfOutput({})[0].detector() == std::string("not_json"));
  CHECK(policies->QuestionsOfOutput({}, {Part::kReasoning}).empty());
  const auto of_tool = MustCompile(OneRule("{not_json: any}", "flag", "    where: {tool: f}\n"));
  CHECK(of_tool->QuestionsOfOutput({}).empty());
  CHECK(of_tool->QuestionsOfOutput({}, {Part::kToolCall, "f"}).size() == 1);
}

TEST_CASE("A text with more values than an enum's can be compared with in half a second counts as broken") {
  std::string values;
  for (int i = 0; i < 6000; ++i) values += (i == 0 ? "" : ",") + std::to_string(i);
  const auto shape = JsonShape::Compile(R"({"items":{"enum":[)" + values + "]}}");
  REQUIRE(shape.ok());
  const auto last_of_the_enum = [](int times) {
    std::string text = "[5999";
    for (int i = 1; i < times; ++i) text += ",5999";
    return text + "]";
  };
  CHECK((*shape)->Breaks(last_of_the_enum(1000)).empty());
  CHECK((*shape)->Breaks(last_of_the_enum(100'000)) == "size");
}

TEST_CASE("A rule about JSON that says what it cannot do is refused") {
  const std::pair<std::string, const char*> cases[] = {
      {OneRule("{not_json: any}", "redact"), "flagged or blocked"},
      {OneRule("{not_json: any}", "block", "    where: {direction: input}\n"), "judges replies"},
      {OneRule("{not_json: some}", "block"), "'not_json' is one of any"},
      {OneRule("{not_json: {pattern: '['}}", "block"), "test.yaml:5:24: the schema is refused at /pattern"},
      {OneRule("{not_json: any, at: end}", "block"), "'at' is for external"},
      {OneRule("{not_json: any, decode: both}", "block"), "'decode' says nothing"},
      {OneRule("{not_json: any}", "block", "    unless: {keywords: x}\n"), "judges the whole reply"},
      {OneRule("{not_json: {a: &a [x, x], enum: [*a, *a]}}", "block"), "/a: this keyword"},
  };
  for (const auto& [yaml, error] : cases) CHECK(CompileError(yaml).find(error) != std::string::npos);
}

}  // namespace
}  // namespace tollgate::policy
