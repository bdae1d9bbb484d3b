// Policies of several files: as one text, read by the compiler, numbered and signed.
#include "policy/bundle.h"

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

constexpr const char* kMain =
    "version: 1\nname: t\ninclude: [common/pii.yaml, lists.yaml]\nlists:\n  rivals: {file: rivals.txt}\nrules:\n"
    "  - {id: r, detect: {list: [rivals, friends]}, do: redact}\n";
constexpr const char* kPii = "version: 1\nrules:\n  - {id: mail, detect: {personal_data: email}, do: redact}\n";
constexpr const char* kLists = "version: 1\nlists: {friends: [hooli]}\n";

std::string Whole(std::vector<Bundle::File> files = {{"common/pii.yaml", kPii},
                                                     {"lists.yaml", kLists},
                                                     {"rivals.txt", "# ours\nglobex\n\n  initech  \n"}},
                  const char* main = kMain) {
  const auto text = WriteBundle(main, files);
  REQUIRE(text.ok());
  return *text;
}

TEST_CASE("A policy with the files that it includes acts as one") {
  const auto policies = MustCompile(Whole());
  const auto out = policies->FilterWhole({}, "globex, Initech and hooli: bob@example.com # ours");
  CHECK(out->text == "[REDACTED], [REDACTED] and [REDACTED]: [EMAIL] # ours");
  const auto named = FilesNamedIn("t", kMain);
  REQUIRE(named.ok());
  CHECK(*named == std::vector<std::string>{"common/pii.yaml", "lists.yaml", "rivals.txt"});
  CHECK(FilesNamedIn("t", "rules: [").status().message().find("t:") != std::string::npos);
}

TEST_CASE("The digest covers every file") {
  const auto one = MustCompile(Whole());
  const auto other = MustCompile(Whole({{"common/pii.yaml", kPii}, {"lists.yaml", kLists}, {"rivals.txt", "globex\n"}}));
  CHECK(one->digest() != other->digest());
}

TEST_CASE("Files that are missing, unused, in circles or wrong are refused with their place") {
  const std::string head = "version: 1\nname: t\ninclude: ";
  const std::string rules = "\nrules:\n  - {id: r, detect: {keywords: x}, do: flag}\n";
  const std::tuple<std::string, std::vector<Bundle::File>, const char*> cases[] = {
      {head + "a.yaml" + rules, {}, "test.yaml:3:10: the file 'a.yaml' did not come along"},
      {head + "[a.yaml, a.yaml]" + rules, {{"a.yaml", kPii}}, "test.yaml:3:19: 'a.yaml' is included a second time"},
      {head + "../a.yaml" + rules, {}, "test.yaml:3:10: a file is named by a path below"},
      {head + "/etc/passwd" + rules, {}, "test.yaml:3:10: a file is named by a path below"},
      {head + "a.yaml" + rules, {{"a.yaml", kPii}, {"b.yaml", kPii}}, "the bundle carries 'b.yaml', which nothing includes"},
      {head + "a.yaml" + rules,
       {{"a.yaml", "version: 1\ninclude: a.yaml\nlists: {x: [y]}\n"}},
       "test.yaml/a.yaml:2:10: what is included includes nothing"},
      {head + "a.yaml" + rules, {{"a.yaml", "version: 1\nrules:\n  - {id: q, detect: {keyword: x}, do: flag}\n"}}, "test.yaml/a.yaml:3:"},
      {head + "a.yaml" + rules, {{"a.yaml", "version: 1\n"}}, "test.yaml/a.yaml:1:1: 'name' is missing"},
      {head + "a.yaml" + rules, {{"a.yaml", "version: [\n"}}, "test.yaml/a.yaml:"},
      {head + "a.yaml" + rules,
       {{"a.yaml", "version: 1\nrules:\n  - {id: r, detect: {keywords: y}, do: flag}\n"}},
       "a second rule with id 'r'"},
      {"version: 1\nname: t\nlists: {x: {file: w.txt}}" + rules,
       {{"w.txt", "a\n" + std::string(300, 'b') + "\n"}},
       "test.yaml/w.txt:2:1: a keyword is"},
      {"version: 1\nname: t\nlists: {x: {path: w.txt}}" + rules, {{"w.txt", "a\n"}}, "unknown field 'path'"},
  };
  for (const auto& [main, files, error] : cases) {
    INFO(error);
    const auto text = WriteBundle(main, files);
    REQUIRE(text.ok());
    CHECK(CompileError(*text).find(error) != std::string::npos);
  }
}

TEST_CASE("A bundle is read as it was written, whatever its files hold") {
  const auto text = Whole({{"a.yaml", "no end of line"}, {"b/c.txt", ""}, {"d", "\n\n--- \n--- # note\n"}});
  const auto bundle = ReadBundle("t", text);
  REQUIRE(bundle.ok());
  CHECK(bundle->policy == kMain);
  REQUIRE(bundle->files.size() == 3);
  CHECK(bundle->files[0].text == "no end of line\n");
  CHECK(bundle->files[1].text.empty());
  CHECK(bundle->files[2].text == "\n\n--- \n--- # note\n");
  CHECK(ReadBundle("t", "plain")->policy == "plain");
  CHECK_FALSE(WriteBundle(kMain, std::vector<Bundle::File>{{"a", "x\n--- # file: b\n"}}).ok());
  CHECK_FALSE(WriteBundle(kMain, std::vector<Bundle::File>{{"a b", ""}}).ok());
}

TEST_CASE("A bundle is numbered once and signed behind its number, and signatures are over all before them") {
  const auto numbered = NumberBundle(Whole(), "acme", 7);
  REQUIRE(numbered.ok());
  const auto unsigned_bundle = ReadBundle("t", *numbered);
  REQUIRE(unsigned_bundle.ok());
  CHECK(unsigned_bundle->version == 7);
  CHECK(unsigned_bundle->signed_bytes == std::string(Bundle::kSignedPrefix) + *numbered);
  const auto once = AddSignature(*numbered, "ann", std::string(64, 'a'));
  REQUIRE(once.ok());
  const auto twice = AddSignature(*once, "bob", std::string(64, 'b'));
  REQUIRE(twice.ok());
  const auto bundle = ReadBundle("t", *twice);
  REQUIRE(bundle.ok());
  REQUIRE(bundle->signatures.size() == 2);
  CHECK(bundle->signatures[1].signer == "bob");
  CHECK(bundle->signatures[1].bytes == std::string(64, 'b'));
  CHECK(bundle->signed_bytes == unsigned_bundle->signed_bytes);
  MustCompile(*twice);
  CHECK_FALSE(NumberBundle(*numbered, "acme", 8).ok());
  CHECK_FALSE(NumberBundle(Whole(), "acme", 0).ok());
  CHECK_FALSE(NumberBundle(Whole(), "acme", Bundle::kVersionMax + 1).ok());
  CHECK_FALSE(AddSignature(Whole(), "ann", std::string(64, 'a')).ok());
}

TEST_CASE("What does not belong behind a bundle's number is refused with its line") {
  const std::string good = *NumberBundle("version: 1\n", "acme", 1);
  const std::pair<std::string, const char*> cases[] = {{good + "rules: []\n", "t:3:1: nothing but signatures"},
                                                       {good + "--- # file: a\n", "t:3:1: '# file:'"},
                                                       {good + "--- # bundle: acme 2\n", "t:3:1: '# bundle:'"},
                                                       {good + "--- # signed: ann AAAA\n", "t:3:1: '# signed:'"},
                                                       {"--- # signed: ann AAAA\n", "t:1:1: a signature stands behind"},
                                                       {"--- # bundle: acme x\n", "t:1:1: '# bundle:'"},
                                                       {"--- # file: ../a\n", "t:1:1: '# file:'"}};
  for (const auto& [text, error] : cases) CHECK(base::Message(ReadBundle("t", text).status()).starts_with(error));
}

TEST_CASE("A list of a hundred thousand terms comes in a file, and each of them is found, in whole texts and in streams") {
  constexpr int kTerms = 100'000;
  const auto term = [](int i) {  // Every tenth of two words, every hundredth of a script without spaces.
    const std::string number = std::to_string(i);
    return i % 100 == 1 ? "\u6771\u4eac" + number + "\u793e" : i % 10 == 0 ? "project k" + number : "k" + number + "x";
  };
  std::string file, all, few, few_hidden;
  for (int i = 0; i < kTerms; ++i) {
    file += term(i) + "\n";
    all += term(i) + "; ";
    if (i % 997 != 0) continue;
    few += term(i) + "; k" + std::to_string(i) + "xx; ";  // The second one is a longer word.
    few_hidden += "[T]; k" + std::to_string(i) + "xx; ";
  }
  const auto yaml = WriteBundle(
      "version: 1\nname: t\nlists: {terms: {file: terms.txt}}\nrules:\n"
      "  - {id: r, detect: {list: terms}, do: replace, replacement: '[T]'}\n",
      std::vector<Bundle::File>{{"terms.txt", file}});
  REQUIRE(yaml.ok());
  const auto policies = MustCompile(*yaml);
  CHECK(policies->Describe().at(0).detect == "100000 keywords");
  const Message message{Role::kUser, "", {all}};
  const auto prompt = policies->Inspect({}, {&message, 1});
  REQUIRE(prompt.ok());
  REQUIRE(prompt->verdict.rules.size() == 1);
  CHECK(prompt->verdict.rules[0].count == kTerms);
  CHECK(prompt->prompt[0].parts[0].size() == 5 * std::size_t{kTerms});
  const Filtered whole = MustFilter(*policies, few);
  CHECK(whole.text == few_hidden);
  CheckStream(*policies, few, whole, [] { return std::size_t{1}; });
}

}  // namespace
}  // namespace tollgate::policy
