// A deterministic fuzzer: random changes to policies and texts, from a printed seed. Whatever comes in, the answer is a status or a
// verdict, and a stream says what the whole text says. TOLLGATE_FUZZ_ROUNDS asks for more.
#include <cstdlib>
#include <fstream>

#include "policy/bundle.h"
#include "policy/json_shape.h"
#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::size_t Rounds(std::size_t usual) {
  const char* given = std::getenv("TOLLGATE_FUZZ_ROUNDS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : usual;
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}
  std::size_t Below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  // Cuts, copies, swaps bytes, and pastes what is known to hurt.
  std::string Change(std::string text, const std::vector<std::string>& pieces) {
    for (std::size_t n = 1 + Below(6); n > 0; --n) {
      const std::size_t at = Below(text.size() + 1), length = Below(std::min<std::size_t>(text.size() - at, 40) + 1);
      switch (Below(5)) {
        case 0: text.erase(at, length); break;
        case 1: text.insert(at, text.substr(Below(text.size() + 1), length)); break;
        case 2: text.insert(at, pieces[Below(pieces.size())]); break;
        case 3: text.insert(at, 1, static_cast<char>(Below(256))); break;
        default:
          if (at < text.size()) text[at] = static_cast<char>(Below(128));
      }
    }
    return text;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("A policy file changed at random compiles or is refused with its place") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/policy/samples/acme.yaml");
  const std::string sample((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::vector<std::string> pieces = {
      "{",     "}",      "[",  "- ", ": ",  "\t",   "&a ",          "*a",       "<<: *a",       "!!binary ", "|",       ">",   "'", "\"",
      "(((((", "{1000}", "[^", "\\", "(?i", "\xff", "\xef\xbb\xbf", "do: hash", "keep_last: 4", "cap: 16",   "list: x", "all", "\0"};
  Mutator mutator(seed);
  std::size_t refused = 0;
  for (std::size_t round = Rounds(250); round > 0; --round) {
    const PolicySource source{"fuzz.yaml", mutator.Change(sample, pieces)};
    const auto made = PolicySet::Compile({&source, 1});
    if (made.ok()) continue;
    ++refused;
    INFO(source.yaml);
    CHECK(made.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(made.status()).starts_with("fuzz.yaml:"));
  }
  CHECK(refused > 20);
}

TEST_CASE("A bundle changed at random compiles or is refused with its place, and its signed bytes are what stands before its signatures") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  const std::vector<Bundle::File> files = {{"shared.yaml",
                                            "version: 1\nlists: {friends: [hooli]}\nrules:\n  - {id: m, where: {tool: [mail], "
                                            "parts: tool_results}, detect: {list: friends}, do: redact}\n"},
                                           {"lists/rivals.txt", "# ours\nglobex\ninitech\n"}};
  const std::string policy =
      "version: 1\nname: fuzz\ninclude: shared.yaml\nlists: {rivals: {file: lists/rivals.txt}}\nrules:\n"
      "  - {id: r, where: {end_user: ann}, detect: {list: rivals}, do: redact}\n"
      "  - id: j\n    detect: {not_json: {type: object, $defs: {n: {type: [number, 'null']}}, properties: {a: {$ref: '#/$defs/n'}}}}\n    "
      "do: block\n";
  std::string sample = *NumberBundle(*WriteBundle(policy, files), "fuzz", 3);
  sample = *AddSignature(sample, "ann", std::string(64, 's'));
  const std::vector<std::string> pieces = {"--- # file: ",
                                           "--- # bundle: ",
                                           "--- # signed: ",
                                           "--- # file: a.yaml\n",
                                           "\n",
                                           "include: ",
                                           "{file: x}",
                                           "../",
                                           "$ref: '#/'",
                                           "&a ",
                                           "*a",
                                           "{",
                                           "}",
                                           "parts: [",
                                           "tool: ",
                                           "not_json: any",
                                           "\xff",
                                           "\r\n"};
  Mutator mutator(seed);
  std::size_t refused = 0;
  for (std::size_t round = Rounds(400); round > 0; --round) {
    const PolicySource source{"fuzz.yaml", mutator.Change(sample, pieces)};
    INFO(source.yaml);
    const auto bundle = ReadBundle("fuzz.yaml", source.yaml);
    if (bundle.ok()) CHECK((std::string(Bundle::kSignedPrefix) + source.yaml).starts_with(bundle->signed_bytes));
    const auto made = PolicySet::Compile({&source, 1});
    if (made.ok()) continue;
    ++refused;
    CHECK(made.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(made.status()).starts_with("fuzz.yaml"));
  }
  CHECK(refused > 50);
}

TEST_CASE("JSON changed at random is some or is none, and what is some may have begun as it did") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  const auto shape =
      *JsonShape::Compile(R"({"type":"object","properties":{"a":{"type":"array","items":{"anyOf":[{"type":"string"},{"const":null}]}}}})");
  const auto any = *JsonShape::Compile("true");
  const std::string sample = R"({"a": ["x", null, "\u00e9:\"", "y"], "b": {"c": [1, -2.5e3, true]}})";
  const std::vector<std::string> pieces = {"{", "}", "[", "]", "\"", ",", ":", "null", "\\", "\\u0000", "1e999", "\xff", " ", "\"a\": 1, "};
  Mutator mutator(seed);
  std::size_t good = 0;
  for (std::size_t round = Rounds(3000); round > 0; --round) {
    const std::string text = mutator.Change(sample, pieces);
    INFO(text);
    if (shape->Breaks(text).empty()) CHECK(any->Breaks(text).empty());
    if (!any->Breaks(text).empty()) continue;
    ++good;
    CHECK(shape->MayBecome(std::string_view(text).substr(0, mutator.Below(text.size() + 1))));
  }
  CHECK(good > 20);
}

TEST_CASE("Texts changed at random are judged alike as a stream and whole, by every built-in detector") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: p, detect: {personal_data: all}, do: mask, keep_last: 2}\n"
      "  - {id: s, detect: {secrets: all}, do: redact}\n  - {id: k, detect: {keywords: [falcon, order]}, do: redact}\n");
  Mutator mutator(seed);
  std::vector<std::string> pieces = {"\u200b", "\u202e", "\uff20", "\U0001F600", "\xff",  "\xc3", "\xed\xa0\x80",
                                     " ",      "\n",     "falcon", "@",          "-----", "eyJ",  "\0"};
  for (const Examples& examples : IdentifierExamples()) pieces.push_back(Plain(examples.positives[0]));
  std::mt19937_64 random(seed);
  for (const SecretTemplate& secret : SecretTemplates()) pieces.push_back(MakeSecret(secret.pattern, random));
  std::size_t judged = 0;
  for (std::size_t round = Rounds(700); round > 0; --round) {
    std::string text = pieces[mutator.Below(pieces.size())] + " " + pieces[mutator.Below(pieces.size())];
    text = mutator.Change(text, pieces);
    const auto whole = policies->FilterWhole({}, text);
    if (!whole.ok()) {  // Not UTF-8.
      CHECK_FALSE(policies->OpenOutput({})->Push(text).ok());
      continue;
    }
    ++judged;
    CheckStream(*policies, text, *whole, [&] { return 1 + mutator.Below(9); });
  }
  CHECK(judged > 230);
}

}  // namespace tollgate::policy
