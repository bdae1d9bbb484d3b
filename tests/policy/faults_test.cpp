// What is wrong with a policy is told all at once, each with its place, and no more than an error can carry.
#include "policy/faults.h"

#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/bundle.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) c == '\n' ? void(out.emplace_back()) : out.back().push_back(c);
  return out;
}

constexpr const char* kThreeWrong = R"(version: 1
name: t
lists:
  rivals: []
  friends: [acme]
rules:
  - {id: a, detect: {keywords: x}, do: blok}
  - {id: b, detect: {list: rivals}, do: flag}
  - {id: c, detect: {regex: '('}, do: flag}
  - {id: d, detect: {list: friends}, do: flag}
  - {id: d, detect: {keywords: y}, do: flag}
  - id: e
    detect: {keywords: y}
    dont: flag
)";

}  // namespace

TEST_CASE("Every rule, list and repeated id of a policy that is wrong is told, and what is right is not") {
  const std::vector<std::string> lines = Lines(CompileError(kThreeWrong));
  const char* begins[] = {"test.yaml:4:11: 'keywords' is a value or a list", "test.yaml:7:40: 'do' is one of",
                          "test.yaml:9:", "test.yaml:14:5: unknown field 'dont'", "test.yaml:11:5: a second rule with id 'd'"};
  REQUIRE(lines.size() == std::size(begins));
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK_THAT(lines[i], Catch::Matchers::StartsWith(begins[i]));
}

TEST_CASE("Of several policies, and of what they include, each fault names where it stands") {
  const auto bundle = WriteBundle(
      "version: 1\nname: t\ninclude: [more.yaml, words.yaml]\nrules:\n  - {id: a, detect: {keywords: x}, do: blok}\n",
      std::vector<Bundle::File>{{"more.yaml", "version: 1\nrules:\n  - {id: b, detect: {}, do: flag}\n  - {id: c, detect: {}, do: flag}\n"},
                                {"words.yaml", "version: 2\nrules: []\n"}});
  REQUIRE(bundle.ok());
  const PolicySource sources[] = {{"one", *bundle}, {"two", "version: 1\nname: u\nrules: 5\n"}};
  const std::vector<std::string> lines = Lines(base::Message(PolicySet::Compile(sources).status()));
  const char* begins[] = {"one/more.yaml:3:", "one/more.yaml:4:", "one/words.yaml:1:10: ", "one:5:", "two:3:8: 'rules' is a list"};
  REQUIRE(lines.size() == std::size(begins));
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK_THAT(lines[i], Catch::Matchers::StartsWith(begins[i]));
}

TEST_CASE("Every test that fails is told, once the rules are right") {
  std::string yaml = "version: 1\nname: t\nrules:\n";
  for (const char* id : {"a", "b"}) {
    yaml += std::string("  - id: ") + id + "\n    detect: {keywords: " + id + "}\n    do: flag\n    tests:\n" +
            "      - text: none\n      - text: " + id + "\n      - {text: " + id + ", expect_not: " + id + "}\n";
  }
  const std::vector<std::string> lines = Lines(CompileError(yaml));
  const char* begins[] = {"test.yaml:8:9: a test of rule 'a' fails: 'a' was expected", "test.yaml:10:9: a test of rule 'a' fails: 'a' hit",
                          "test.yaml:15:9: a test of rule 'b' fails: 'b' was expected",
                          "test.yaml:17:9: a test of rule 'b' fails: 'b' hit"};
  REQUIRE(lines.size() == std::size(begins));
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK_THAT(lines[i], Catch::Matchers::StartsWith(begins[i]));
}

TEST_CASE("Twenty faults are told at most, no more than a call's trailer holds, and the others are counted") {
  Faults faults;
  CHECK(faults.none());
  faults.Add(absl::OkStatus());
  CHECK(faults.ToStatus().ok());
  for (int i = 0; i < 25; ++i) faults.Add(base::InvalidArgument(std::to_string(i)));
  std::vector<std::string> lines = Lines(base::Message(faults.ToStatus()));
  REQUIRE(lines.size() == 21);
  CHECK(lines[19] == "19");
  CHECK(lines[20] == "... and 5 more");
  Faults long_ones;
  std::string text = "a";
  while (text.size() < 3000) text += "é";
  for (int i = 0; i < 5; ++i) long_ones.Add(base::InvalidArgument(text));
  long_ones.Add(base::InvalidArgument("short"));
  lines = Lines(base::Message(long_ones.ToStatus()));
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].size() <= Faults::kFaultBytesMax + 3);
  CHECK(lines[0].ends_with("é…"));
  CHECK(lines[2] == "... and 4 more");
}

}  // namespace tollgate::policy
