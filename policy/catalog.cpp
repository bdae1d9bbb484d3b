// Rows become patterns once a process: a prefix closure and two RE2 programs each, some hundred microseconds. A row that does not compile
// is our own mistake, which a test over all rows finds, so it ends the process.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "policy/catalog/forms.h"
#include "policy/catalog/identifiers.h"
#include "policy/catalog/secrets.h"
#include "policy/catalog/unicode_kinds.h"
#include "policy/fold.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

struct Entry {
  std::string name, family;
  PatternSpec spec;
  std::once_flag once;
  std::shared_ptr<const Pattern> pattern;
};

struct Table {
  std::vector<std::unique_ptr<Entry>> entries;
  std::vector<std::string> names, families;

  void Add(std::string name, std::string family, PatternSpec spec) {
    auto entry = std::make_unique<Entry>();
    const auto note = [](std::vector<std::string>& list, const std::string& word) {
      if (!word.empty() && std::find(list.begin(), list.end(), word) == list.end()) list.push_back(word);
    };
    note(names, name);
    note(families, family);
    spec.label = family.empty() ? name : family;
    std::transform(spec.label.begin(), spec.label.end(), spec.label.begin(), Upper);
    entry->name = std::move(name);
    entry->family = std::move(family);
    entry->spec = std::move(spec);
    entries.push_back(std::move(entry));
  }
};

RegexNode Parse(const std::string& regex) {
  auto tree = ParseRegex(regex, false);
  TG_CHECK(tree.ok(), regex);
  return *std::move(tree);
}

std::vector<std::string> SplitWords(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find('|'), list.size());
    out.push_back(FoldCase(list.substr(0, end)));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return out;
}

// Words of several words as names of code have them: tax_id, tax-id, socialSecurity. Short ones become other words: "sa id", "said".
std::vector<std::string> WithNameForms(std::vector<std::string> words) {
  constexpr std::size_t kJoinedMin = 8;
  for (std::size_t i = 0, given = words.size(); i < given; ++i) {
    if (words[i].find(' ') == std::string::npos) continue;
    std::string joined;
    for (const char by : {'_', '-'}) {
      joined = words[i];
      std::replace(joined.begin(), joined.end(), ' ', by);
      words.push_back(joined);
    }
    std::erase(joined, '-');
    if (joined.size() >= kJoinedMin) words.push_back(joined);
  }
  return words;
}

// What people call an identifier of that name: "ssn" of us_ssn, and all words that stand beside one of its forms.
void AddNames(Table& table) {
  std::map<std::string, std::vector<std::string>> names;
  for (const auto& entry : table.entries) {
    std::string own = entry->name.size() > 3 && entry->name[2] == '_' ? entry->name.substr(3) : entry->name;
    std::replace(own.begin(), own.end(), '_', ' ');
    std::vector<std::string>& its = names[entry->name];
    its.push_back(std::move(own));
    its.insert(its.end(), entry->spec.context.begin(), entry->spec.context.end());
  }
  for (const auto& entry : table.entries) entry->spec.names = names[entry->name];
}

Table MakePersonalData() {
  Table out;
  for (const auto rows : {WorldIdentifiers(), AmericanIdentifiers(), WestEuropeanIdentifiers(), NorthAndEastEuropeanIdentifiers(),
                          AsianAfricanPacificIdentifiers()}) {
    for (const Identifier& row : rows) {
      const std::string regex = row.regex;
      PatternSpec spec;
      spec.regex = Parse(row.accept != nullptr || regex.starts_with("\\b") ? regex : "\\b(?:" + regex + ")\\b");
      spec.validator = row.accept;
      spec.whole = row.accept == nullptr || row.accept == AcceptBirthDate || row.accept == AcceptBirthDateInWords;
      spec.check = row.check;
      spec.context = WithNameForms(SplitWords(row.context));
      spec.columns = true;
      if (row.check != nullptr) WidenGaps(spec.regex);
      MakeWordEdges(spec);
      out.Add(row.name, "", std::move(spec));
    }
  }
  AddNames(out);
  return out;
}

Table MakeSecrets() {
  Table out;
  for (const auto rows : {CloudSecrets(), CodeSecrets(), ModelSecrets(), BusinessSecrets(), UniversalSecrets()}) {
    for (const SecretKind& row : rows) {
      PatternSpec spec;
      spec.regex = Parse(row.regex);
      spec.validator = row.accept;
      spec.bits_min = row.bits_min;
      spec.cap = row.cap;
      spec.context = SplitWords(row.context);
      MakeWordEdges(spec);
      out.Add(row.name, row.family, std::move(spec));
    }
  }
  return out;
}

Table MakeUnicode() {
  Table out;
  for (const UnicodeKind& row : UnicodeKinds()) {
    PatternSpec spec;
    spec.regex = Parse(row.regex);
    spec.validator = row.accept;
    spec.cap = row.cap;
    out.Add(row.name, "", std::move(spec));
  }
  return out;
}

Table& TableOf(Catalog catalog) {
  static Table tables[] = {MakePersonalData(), MakeSecrets(), MakeUnicode()};
  return tables[static_cast<std::size_t>(catalog)];
}

}  // namespace

const std::vector<std::string>& DetectorNames(Catalog catalog) { return TableOf(catalog).names; }
const std::vector<std::string>& FamilyNames(Catalog catalog) { return TableOf(catalog).families; }

std::vector<std::shared_ptr<const Pattern>> DetectorPatterns(Catalog catalog, std::string_view name) {
  std::vector<std::shared_ptr<const Pattern>> out;
  for (auto& entry : TableOf(catalog).entries) {
    if (name != "all" && name != entry->name && name != entry->family) continue;
    std::call_once(entry->once, [&] {
      auto made = Pattern::Compile(std::move(entry->spec));
      TG_CHECK(made.ok(), entry->name);
      entry->pattern = *std::move(made);
    });
    out.push_back(entry->pattern);
  }
  return out;
}

}  // namespace tollgate::policy
