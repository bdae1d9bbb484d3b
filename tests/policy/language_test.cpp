// Languages: which one a text is in, and rules that ask for one. The sentences are our own; of each language every second one was never
// looked at while words were chosen.
#include "policy/language.h"

#include <algorithm>
#include <fstream>
#include <map>

#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/explain.h"
#include "policy/language_words.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

struct Sentence {
  std::string code, text;
  bool held_back = false;
};

std::vector<Sentence> Sentences() {
  std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/tests/policy/data/languages.txt");
  std::vector<Sentence> out;
  std::map<std::string, int> seen;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    out.push_back({line.substr(0, 2), line.substr(3), seen[line.substr(0, 2)]++ % 2 == 1});
  }
  return out;
}

std::string CodeOf(std::string_view text) {
  LanguageLetters letters{};
  AddLanguages(text, letters);
  if (std::all_of(letters.begin(), letters.end(), [](std::int64_t count) { return count == 0; })) return "";
  const auto language = static_cast<std::size_t>(std::max_element(letters.begin(), letters.end()) - letters.begin());
  return language == kUnknown ? "" : std::string(LanguageCodes()[language]);
}

bool Hits(const std::string& detect, const std::string& text, Role role = Role::kUser) {
  const Message prompt[] = {{Role::kSystem, "", {"Be helpful, and answer what the people of this company want to know."}},
                            {role, "", {text}}};
  const auto out = MustCompile(OneRule(detect, "flag", "    where: {roles: [user]}\n"))->Inspect({}, prompt);
  REQUIRE(out.ok());
  return !out->verdict.rules.empty();
}

const std::string kGerman = "Ich verstehe nicht, warum das Programm nach dem Update nicht mehr startet.";
const std::string kEnglish = "I do not understand why the program fails to start after the update.";

}  // namespace

TEST_CASE("Of sentences that were held back at least nineteen in twenty are told, and one in fifty wrongly at most") {
  int all = 0, right = 0, wrong = 0;
  std::map<std::string, int> languages;
  for (const Sentence& sentence : Sentences()) {
    ++languages[sentence.code];
    REQUIRE(LanguageByCode(sentence.code));
    if (!sentence.held_back) continue;
    const std::string code = CodeOf(sentence.text);
    UNSCOPED_INFO(sentence.code << " is told to be '" << code << "': " << sentence.text);
    ++all;
    right += code == sentence.code ? 1 : 0;
    wrong += code != sentence.code && !code.empty() ? 1 : 0;
  }
  CHECK(languages.size() == kLanguages);
  CHECK(all >= 50);
  CHECK(right * 20 >= all * 19);
  CHECK(wrong * 50 <= all);
}

TEST_CASE("What is too little, code, names or numbers is in no language") {
  for (const char* text : {"", "OK", "the quick", "int main() { return 0; }", "for (int i = 0; i < n; ++i) sum += values[i];",
                           "Berlin Paris London Roma Madrid", "4111 1111 1111 1111", "\U0001F600\U0001F600", "x = y + 2 * (z - 1)",
                           "Lorem ipsum dolor sit amet consectetur"}) {
    INFO(text);
    CHECK(CodeOf(text).empty());
  }
  CHECK_FALSE(LanguageByCode("xx"));
  CHECK_FALSE(LanguageByCode(""));
  CHECK(AllLanguageWords().size() < kLanguages);  // Others have a script of their own.
}

TEST_CASE("A long text is told paragraph by paragraph, whatever its bytes, in linear time") {
  LanguageLetters letters{};
  AddLanguages(kEnglish + "\n" + kEnglish + "\n\n" + kGerman + "\nOK\n", letters);
  CHECK(letters[*LanguageByCode("en")] > 2 * letters[*LanguageByCode("de")] - 20);
  CHECK(letters[*LanguageByCode("de")] > 40);
  CHECK(letters[kUnknown] == 2);
  LanguageLetters odd{};
  AddLanguages(std::string(200'000, '\n') + std::string(1'000'000, 'x') + "\xff\xfe\xf8\x90\x80\x80" + std::string(3, '\0'), odd);
  CHECK(odd[kUnknown] >= 1'000'000);
}

TEST_CASE("A rule about languages hits a prompt in another one, by paragraph, for the roles that it names") {
  CHECK(Hits("{language: {is_not: [en]}}", kGerman));
  CHECK_FALSE(Hits("{language: {is_not: [en, de]}}", kGerman));
  CHECK_FALSE(Hits("{language: {is_not: en}}", kEnglish));
  CHECK(Hits("{language: {is: [fr, de]}}", kGerman));
  CHECK_FALSE(Hits("{language: {is: fr}}", kGerman));
  CHECK_FALSE(Hits("{language: {is_not: en}}", kGerman, Role::kAssistant));
  CHECK(Hits("{language: {is_not: en}}", kEnglish + "\n" + kGerman));
  CHECK_FALSE(Hits("{language: {is_not: en, letters: 200}}", kEnglish + "\n" + kGerman));
  CHECK_FALSE(Hits("{language: {is_not: en}}", "x = y + 2\nBonjour"));  // No language that is known for sure.
  const auto set = MustCompile(OneRule("{language: {is: de}}", "{append_system: Answer in German.}"));
  const Message prompt[] = {{Role::kUser, "", {kGerman}}};
  CHECK(set->Inspect({}, prompt)->prompt[0].parts[0] == "Answer in German.");
  CHECK(set->Describe()[0].detect == "language is de");
  const PolicySource source{"t", OneRule("{language: {is: de}}", "flag")};
  CHECK_THAT(Explain({&source, 1}, {}, {kGerman, false, Role::kUser})->rules[0].why, ContainsSubstring("letters in such a language"));
}

TEST_CASE("What a policy says of languages is refused with place and remedy") {
  struct Row {
    const char *detect, *action, *error;
  };
  const Row rows[] = {{"{language: {}}", "flag", "either is or is_not"},
                      {"{language: {is: en, is_not: de}}", "flag", "either is or is_not"},
                      {"{language: {is: []}}", "flag", "a value or a list with at least one"},
                      {"{language: {is: klingon}}", "flag", "no language 'klingon' is known here; there are ar, bg"},
                      {"{language: {is: en, letters: 0}}", "flag", "letters"},
                      {"{language: {is: en}, decode: both}", "flag", "'decode' says nothing for language"},
                      {"{language: {is: en}}", "redact", "judges a prompt as a whole"}};
  for (const Row& row : rows) CHECK_THAT(CompileError(OneRule(row.detect, row.action)), ContainsSubstring(row.error));
}

}  // namespace tollgate::policy
