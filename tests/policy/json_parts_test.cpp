// JSON as policy reads it, and back.
#include "policy/json_parts.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>
#include <random>

#include <fmt/format.h>

#include "policy/policy_set.h"
#include "tests/support/random.h"

using namespace tollgate;

namespace {

constexpr const char* kRules = R"(version: 1
name: house
rules:
  - { id: code, detect: { regex: '[0-9]{4}-[0-9]{4}' }, do: redact, replacement: "[GO\"NE]" }
  - { id: pin, detect: { regex: 'PIN\s[0-9]{4}' }, do: redact, replacement: "[PIN]" }
  - { id: number, detect: { regex: '\b7[0-9]{6}\b' }, do: redact, replacement: "N" }
  - { id: fish, detect: { keywords: [swordfish] }, do: block }
)";

struct Done {
  std::string json;
  bool blocked;
};

Done Filter(const std::string& json) {
  const std::vector<policy::PolicySource> sources = {{"house.yaml", kRules}};
  static const auto policies = policy::PolicySet::Compile(sources);
  if (!policies.ok()) FAIL(base::Message(policies.status()));
  const auto filter = (*policies)->OpenOutput({});
  const auto filtered = policy::FilterJson(json, *filter);
  REQUIRE(filtered.ok());
  return {*filtered, filter->blocked()};
}

}  // namespace

TEST_CASE("JSON is cut where its strings begin and end, and joined again with no escape that it does not need") {
  const auto parts = policy::CutJson(R"({"a\u0062":[1, "x\ny\/\u00e9\ud83d\ude00\"\\"]})");
  REQUIRE(parts);
  CHECK(*parts == std::vector<std::string>{"{\"", "ab", "\":[1, \"", "x\ny/é😀\"\\", "\"]}"});
  CHECK(policy::JoinJson(*parts) == R"({"ab":[1, "x\ny/é😀\"\\"]})");
  CHECK(policy::JsonDecoded(R"(["x\ny"])") == "[\"x\ny\"]");
  CHECK(policy::JsonDecoded("no\\n") == "no\\n");
  for (const char* bad : {"", "{", R"({"a":"\ud83d"})", "{'a':1}", R"({"a":1} x)"}) CHECK_FALSE(policy::CutJson(bad));
}

TEST_CASE("Where a pseudonym stands in JSON its value comes back with the escapes that JSON demands") {
  const policy::PolicySource source{
      "house", "version: 1\nname: house\nrules:\n  - {id: v, detect: {regex: 'V[^V]{0,20}V'}, do: pseudonymise, label: V}\n"};
  const auto policies = policy::PolicySet::Compile({&source, 1});
  if (!policies.ok()) FAIL(base::Message(policies.status()));
  policy::Subject subject;
  subject.pseudonym_key = std::string(32, 'k');
  const policy::Message message{policy::Role::kUser, "", {"V \"a\"\\b\nV"}};
  const auto inspection = (*policies)->Inspect(subject, {&message, 1});
  REQUIRE(inspection.ok());
  REQUIRE(inspection->pseudonyms != nullptr);
  subject.pseudonyms = inspection->pseudonyms;
  const std::string& pseudonym = inspection->prompt[0].parts[0];
  const std::pair<std::string, std::string> rows[] = {
      {fmt::format(R"({{"a":"see {}.","b":[1]}})", pseudonym), R"({"a":"see V \"a\"\\b\nV.","b":[1]})"},
      {fmt::format(R"({{"{0}":"\u005b{1}"}})", pseudonym, pseudonym.substr(1)), R"({"V \"a\"\\b\nV":"V \"a\"\\b\nV"})"},
  };
  for (const auto& [json, expected] : rows) {
    const auto filter = (*policies)->OpenOutput(subject);
    const auto out = policy::FilterJson(json, *filter);
    REQUIRE(out.ok());
    CHECK(*out == expected);
    CHECK(policy::CutJson(*out));
  }
}

TEST_CASE("What a rule redacts is gone from JSON however it is escaped, and the JSON stays whole") {
  const std::pair<const char*, const char*> rows[] = {
      {R"({"a":"plain"})", R"({"a":"plain"})"},
      {R"({"a":"see 1234-5678."})", R"({"a":"see [GO\"NE]."})"},
      {R"({"a":"\u0031\u00323\u0034-5678","b":1})", R"({"a":"[GO\"NE]","b":1})"},
      {R"({"1234-5678":"\"PIN\t1234\""})", R"({"[GO\"NE]":"\"[PIN]\""})"},
      {R"({"n":7123456,"m":[7000000 ,1]})", R"({"n":"N","m":["N" ,1]})"},
      {R"({"a":"1234-5678 1234-5678\\","b":"PIN\n0000PIN 0000"})", R"({"a":"[GO\"NE] [GO\"NE]\\","b":"[PIN][PIN]"})"},
      {"no json 1234-5678", "no json [GO\"NE]"},
  };
  for (const auto& [json, clear] : rows) {
    INFO(json);
    CHECK(Filter(json).json == clear);
  }
  CHECK(Filter(R"({"a":"sword\u0066ish"})").blocked);
}

TEST_CASE("Whatever is redacted in strings, what is left is JSON without it") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> bits = {"1234", "-", "5678", "\\u0031", "\\n", "\\\"", "\\\\", "PIN", " ", "é", "\\u00e9", "x"};
  for (int i = 0; i < 500; ++i) {
    std::string json = "{";
    for (int member = 0; member < 3; ++member) {
      json += fmt::format("{}\"k{}\": \"", member > 0 ? ", " : "", member);
      for (std::uint64_t n = random() % 8; n > 0; --n) json += bits[random() % bits.size()];
      json += "\"";
    }
    json += "}";
    INFO(json);
    const std::string clear = Filter(json).json;
    INFO(clear);
    boost::system::error_code error;
    const auto before = boost::json::parse(json), after = boost::json::parse(clear, error);
    REQUIRE_FALSE(error);
    for (const auto& member : before.as_object()) {
      const auto filter = Filter(boost::json::serialize(member.value()));
      CHECK(boost::json::parse(filter.json) == after.at(member.key()));
    }
  }
}
