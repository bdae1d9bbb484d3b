// How often the built-in detectors are right: sentences made from templates, each with one labelled value or with a distractor, judged by
// all detectors at once. Templates are split into a tuning half, which may be looked at, and a held-back half, which decides. The table in
// docs/accuracy.md is this test's output; where they differ, the failure prints the new one.
#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include <fmt/format.h>

#include "policy/catalog.h"
#include "policy/catalog/checksums.h"
#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// The half that may be looked at. What decides is in data/held_back_templates.txt.
const std::vector<std::string> kTuning = {"{L}: {V}",
                                          "My {L} is {V}, can you update the file?",
                                          "Please add {L} {V} to the contract and send it back today.",
                                          "The applicant gave {L} {V} on the form.",
                                          "Row 17 | {L} | {V} | checked",
                                          "We need the {L} ({V}) before Friday.",
                                          "{L} = {V}",
                                          "Summarise this: name Anna Keller, {L} {V}, city Lyon.",
                                          "Is {L} number {V} still valid?",
                                          "{\"{L}\": \"{V}\"}",
                                          "Hi, {L} no. {V} belongs to our new colleague.",
                                          "Translate: the customer's {L} is {V}.",
                                          "- {L}\t{V}\n- status\topen",
                                          "Could you check whether {L} {V} is in the list?",
                                          "For the record, the {L} on file reads {V}.",
                                          "{L}:{V};",
                                          "Subject: onboarding\n\n{L} - {V}\nThanks",
                                          "Form field {L} was filled with {V} by the user.",
                                          "<td>{L}</td><td>{V}</td>",
                                          "The {L} of the person is {V}, entered on 3 May.",
                                          "**{L}** _{V}_",
                                          "* _{L}_: _{V}_ (new)"};
// Where the name comes after the value only formats that stand alone can be found: context is read to the left. Counted, not bounded.
const std::vector<std::string> kNameBehind = {"{V} is my {L}.", "Use {V} as the {L}, please."};

const std::vector<std::string> kSecretTuning = {"{V}",
                                                "export KEY={V}",
                                                "Is {V} still valid?",
                                                "log: request with {V} failed",
                                                "My script has {V} in it, why does it fail?",
                                                "- {V}\n- next",
                                                "Authenticate with `{V}`.",
                                                "<code>{V}</code>",
                                                "_{V}_"};

// What resembles values: `{9}` nine digits, `{A3}` three capitals, `{h8}` eight hex digits, `{U}` a UUID, `{L16}` sixteen digits that fail
// Luhn.
const std::vector<std::string> kNoise = {"Order {9} shipped on 2026-11-25.",
                                         "Invoice INV-{8} is due.",
                                         "Build {2}.{1}.{5}.{4} runs since Monday.",
                                         "Session {U} expired.",
                                         "Commit {h40} broke it.",
                                         "SKU {A3}-{6} is out of stock.",
                                         "Part {8}{A1} fits model {A2}{4}.",
                                         "Tracking 1Z{6}{A2}{8} left.",
                                         "Ticket {A4}-{5} was closed.",
                                         "EAN {13} does not scan.",
                                         "Epoch {10} or {13} in milliseconds.",
                                         "Case {3}-{3}-{4} has 12 units.",
                                         "Reference {L16} on the slip.",
                                         "Batch {4} {4} {4} passed.",
                                         "Digest {h64} matches.",
                                         "Port {4}, process {5}, thread {7}.",
                                         "Population {1},{3},{3} in 2024.",
                                         "Contract {11} was signed by both.",
                                         "Serial {A1}{7}{A1} on the back plate.",
                                         "Lot {6}/{4} expires in May.",
                                         "Article {2}-{7} and {7}-{1} are new.",
                                         "Request id {h32} took 12 ms.",
                                         "Version {1}.{2}.{3} of the schema, revision {6}.",
                                         "The value was 0.{15} exactly.",
                                         "Container {A4}{7} is on board.",
                                         "Key {h16}-{h16} in the cache.",
                                         "Row {12} of table {A3}_{4}.",
                                         "Meter {L16} reads {5} kWh.",
                                         "Coordinates {2}.{6}, {2}.{6}.",
                                         "Flight {A2} {4}, seat {2}C, booking {A6}.",
                                         "Totals\n{4}\t{4}\t{4}\t{4}\n{4}\t{4}\t{4}\t{4}",
                                         "{4}  {4}\n{4}  {4}\n{4}  {4}\n{4}  {4}",
                                         "Readings:\n{6}\n{6}\n{6}\n{3}\n{3}\n{3}",
                                         "user_{9} in job_{12}_{4}, img_{15}_{10}.jpg",
                                         "const long MAX_{8} = {11}; int64 id_{A2}{9};",
                                         "a_{3}-{2}-{4}5 tbl_{2}.{2}.{2}_{13}"};

// Detectors all of whose values tell what they are without a name beside them.
constexpr std::string_view kAlone =
    " email card iban phone ip mac_address lei bitcoin_address ethereum_address passport_mrz us_ssn us_itin mx_curp mx_rfc br_cpf br_cnpj "
    "ar_cuit cl_rut gb_nino gb_vat de_rentenversicherung de_vat fr_nir fr_vat es_nie it_codice_fiscale nl_vat be_national_number "
    "be_vat ch_ahv ch_uid at_vat in_gstin cn_id hk_hkid kr_rrn sg_nric th_id ru_snils ";

struct Labelled {
  std::string text, detector;        // No detector: nothing may be found.
  std::size_t begin = 0, bytes = 0;  // Of the value.
  bool held_back = false, name_behind = false;
};

class Sentences {
 public:
  explicit Sentences(std::uint64_t seed) : random_(seed) {}

  std::vector<Labelled> Make() {
    std::vector<Labelled> out;
    const auto held_back = Sections();
    std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/tests/policy/data/accuracy_values.txt");
    std::string before;
    for (std::string line; std::getline(in, line); before = line.substr(0, line.find('\t'))) {
      if (line.starts_with("#")) continue;
      const std::vector<std::string> cells = Split(line, '\t');
      const std::vector<std::string> names = Split(cells[1], ';');
      std::size_t value = 2;
      const auto add = [&](const std::vector<std::string>& templates, bool held_back, bool behind) {
        for (std::size_t i = 0; i < templates.size(); ++i) {
          const std::string& its = cells[2 + value++ % (cells.size() - 2)];
          out.push_back(Fill(templates[i], names[i % names.size()], its, cells[0], held_back, behind));
        }
      };
      add(kTuning, false, false);
      add(held_back.at("[named]"), true, false);
      if (cells[0] != before && kAlone.find(" " + cells[0] + " ") != std::string_view::npos) add(held_back.at("[alone]"), true, false);
      add(kNameBehind, true, true);
    }
    for (const SecretTemplate& secret : SecretTemplates()) {
      for (const auto* templates : {&kSecretTuning, &held_back.at("[secret]"), &held_back.at("[secret]")}) {
        for (const std::string& text : *templates)
          out.push_back(Fill(text, "", MakeSecret(secret.pattern, random_), secret.detector, templates != &kSecretTuning, false));
      }
    }
    for (int i = 0; i < 20; ++i) {
      for (const std::string& text : kNoise) out.push_back({Noise(text), "", 0, 0, false});
      for (const std::string& text : held_back.at("[noise]")) out.push_back({Noise(text), "", 0, 0, true});
    }
    return out;
  }

  static std::vector<std::string> Split(const std::string& line, char by) {
    std::vector<std::string> out = {""};
    for (const char c : line) {
      if (c == by)
        out.emplace_back();
      else
        out.back() += c;
    }
    return out;
  }

 private:
  // The held-back templates by their section's name.
  static std::map<std::string, std::vector<std::string>> Sections() {
    std::map<std::string, std::vector<std::string>> out;
    std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/tests/policy/data/held_back_templates.txt");
    static const std::set<std::string> kSections = {"[named]", "[alone]", "[secret]", "[noise]"};
    std::string section;
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || section.empty() || kSections.contains(line)) {
        if (kSections.contains(line)) section = line;
        continue;
      }
      for (const auto& [written, meant] : {std::pair("\\n", "\n"), std::pair("\\r", "\r"), std::pair("\\t", "\t")}) {
        for (std::size_t at = 0; (at = line.find(written, at)) != std::string::npos; ++at) line.replace(at, 2, meant);
      }
      out[section].push_back(line);
    }
    return out;
  }

  Labelled Fill(std::string text, const std::string& name, const std::string& value, const std::string& detector, bool held_back,
                bool behind) {
    text = Noise(text);
    if (const std::size_t at = text.find("{L}"); at != std::string::npos) text.replace(at, 3, name);
    const std::size_t begin = text.find("{V}");
    text.replace(begin, 3, value);
    return {text, detector, begin, value.size(), held_back, behind};
  }

  std::string Noise(const std::string& text) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
      const std::size_t close = text[at] == '{' ? text.find('}', at) : std::string::npos;
      const std::string what = close == std::string::npos ? "" : text.substr(at + 1, close - at - 1);
      const bool counted = what.size() >= 2 && std::string_view("Ah").find(what[0]) != std::string_view::npos;
      const std::string count = what.substr(counted ? 1 : 0);
      const bool number = !count.empty() && count.find_first_not_of("0123456789") == std::string::npos;
      if (what != "L16" && what != "U" && !number) {
        out += text[at];
        continue;
      }
      if (what == "L16") {
        std::string digits = MakeSecret("{d16}", random_);
        while (PassesLuhn(digits)) digits = MakeSecret("{d16}", random_);
        out += digits;
      } else if (what[0] == 'A') {
        for (int n = std::stoi(count); n > 0; --n) out += static_cast<char>('A' + random_() % 26);
      } else {
        out += MakeSecret(counted || what == "U" ? "{" + what + "}" : "{d" + what + "}", random_);
      }
      at = close;
    }
    return out;
  }

  std::mt19937_64 random_;
};

struct Score {
  int right = 0, missed = 0, wrong = 0;
  std::map<std::string, int> instead_of;  // Of the wrong hits: what the sentence held.
  double precision() const { return right + wrong == 0 ? 1 : static_cast<double>(right) / (right + wrong); }
  double recall() const { return right + missed == 0 ? 1 : static_cast<double>(right) / (right + missed); }
};
using Scores = std::map<std::string, Score>;

// Every detector is a rule of its own, so that the verdict says which found something.
std::shared_ptr<const PolicySet> EveryDetector() {
  std::string yaml = "version: 1\nname: all\nrules:\n";
  for (const auto& [kind, catalog] : {std::pair("personal_data", Catalog::kPersonalData), std::pair("secrets", Catalog::kSecrets)}) {
    for (const std::string& name : DetectorNames(catalog))
      yaml += fmt::format("  - {{id: {0}, detect: {{{1}: {0}}}, do: flag}}\n", name, kind);
  }
  return MustCompile(yaml);
}

// Whether a rule found the value, all of it and nothing else. What is written of a secret holds more than it, and a password may go on with
// what touches it: a hit lies within, or goes on to the next blank, and holds the middle or the end.
bool IsTheValue(const RuleOutcome& outcome, const Labelled& sentence, bool identifier) {
  if (identifier && outcome.count != 1) return false;
  const auto begin = static_cast<std::int64_t>(sentence.begin), end = begin + static_cast<std::int64_t>(sentence.bytes);
  const Span& span = outcome.spans[0];
  if (identifier) return span.begin == begin && span.end == end;
  const std::size_t blank = std::min(sentence.text.find_first_of(" \n", static_cast<std::size_t>(end)), sentence.text.size());
  const bool middle = span.begin <= begin + (end - begin) / 2 && span.end > begin + (end - begin) / 2;
  const auto within = [&](const Span& its) { return its.begin >= begin && its.end <= static_cast<std::int64_t>(blank); };
  return std::all_of(outcome.spans.begin(), outcome.spans.end(), within) && (middle || span.end >= end);
}

// May say of any named key or password what a more special kind says.
bool GoesByName(std::string_view detector) { return detector == "generic_api_key" || detector == "assigned_password"; }

void Count(const PolicySet& policies, const Labelled& sentence, Scores& scores) {
  static const std::vector<std::string>& identifiers = DetectorNames(Catalog::kPersonalData);
  const bool identifier = std::find(identifiers.begin(), identifiers.end(), sentence.detector) != identifiers.end();
  bool found = false;
  for (const RuleOutcome& outcome : MustFilter(policies, sentence.text).verdict.rules) {
    if (outcome.rule_id == sentence.detector && IsTheValue(outcome, sentence, identifier)) {
      found = true;
    } else if (!GoesByName(outcome.rule_id) || sentence.detector.empty()) {
      Score& score = scores[outcome.rule_id];
      ++score.wrong;
      ++score.instead_of[sentence.detector.empty() ? "noise" : outcome.rule_id == sentence.detector ? "its place" : sentence.detector];
      if (std::getenv("TOLLGATE_SHOW") != nullptr) fmt::print("wrong {}: {}\n", outcome.rule_id, sentence.text);
    }
  }
  if (sentence.detector.empty()) return;
  ++(found ? scores[sentence.detector].right : scores[sentence.detector].missed);
  if (!found && std::getenv("TOLLGATE_SHOW") != nullptr) fmt::print("missed {}: {}\n", sentence.detector, sentence.text);
}

// The published table: totals, and a row for each detector that was not always right.
std::string Table(const Scores& scores, std::size_t sentences, const Score& behind) {
  Score all;
  for (const auto& [name, score] : scores) {
    all.right += score.right;
    all.missed += score.missed;
    all.wrong += score.wrong;
  }
  std::string out = fmt::format(
      "{} detectors, {} held-back sentences: {} found, {} missed, {} wrong (precision {:.4f}, recall {:.4f}).\nWith the name behind the "
      "value: "
      "{} of {} found.\n\n| detector | found | missed | wrong | precision | recall | wrong hits were on |\n|---|---|---|---|---|---|---|\n",
      scores.size(), sentences, all.right, all.missed, all.wrong, all.precision(), all.recall(), behind.right,
      behind.right + behind.missed);
  for (const auto& [name, score] : scores) {
    if (score.missed + score.wrong == 0) continue;
    std::string on;
    for (const auto& [what, count] : score.instead_of) on += fmt::format("{}{} {}", on.empty() ? "" : ", ", count, what);
    out += fmt::format("| {} | {} | {} | {} | {:.3f} | {:.3f} | {} |\n", name, score.right, score.missed, score.wrong, score.precision(),
                       score.recall(), on);
  }
  return out;
}

}  // namespace

TEST_CASE("Built-in detectors are precise and complete on sentences they were not tuned on") {
  const auto policies = EveryDetector();
  const std::vector<Labelled> sentences = Sentences(20261126).Make();
  REQUIRE(sentences.size() >= 2000);
  Scores tuning, held_back, behind;
  std::size_t decides = 0;
  for (const Labelled& sentence : sentences) {
    Count(*policies, sentence, sentence.name_behind ? behind : sentence.held_back ? held_back : tuning);
    decides += sentence.held_back && !sentence.name_behind ? 1 : 0;
  }
  Scores::mapped_type with_name_behind;
  for (const auto& [name, score] : behind) {
    with_name_behind.right += score.right;
    with_name_behind.missed += score.missed;
  }
  for (const auto& [name, score] : tuning) {
    if (score.missed + score.wrong > 0)
      fmt::print("tuning half: {} found {}, missed {}, wrong {}\n", name, score.right, score.missed, score.wrong);
  }
  const std::string table = Table(held_back, decides, with_name_behind);
  fmt::print("held-back half: {}", table);
  for (const auto& [name, score] : held_back) {
    INFO(name);
    CHECK(score.precision() >= 0.95);
    CHECK(score.recall() >= 0.95);
  }
  std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/docs/accuracy.md");
  const std::string published((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  CHECK(published.find(table) != std::string::npos);  // docs/accuracy.md publishes what is printed above.
}

TEST_CASE("Two hundred sentences of ordinary business hold nothing") {
  const auto policies = EveryDetector();
  std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/tests/policy/data/business_sentences.txt");
  int sentences = 0;
  std::string all;
  std::vector<Message> prompt;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# ")) continue;
    ++sentences;
    for (const RuleOutcome& outcome : MustFilter(*policies, line).verdict.rules) FAIL_CHECK(outcome.rule_id << ": " << line);
    all += line + "\n";
    prompt.push_back({Role::kUser, "", {line}});
  }
  CHECK(sentences == 200);
  // A prompt is also decoded, and read over the seams of its messages.
  prompt.push_back({Role::kSystem, "", {all}});
  const auto inspection = policies->Inspect({}, prompt);
  REQUIRE(inspection.ok());
  for (const RuleOutcome& outcome : inspection->verdict.rules) FAIL_CHECK("in a prompt: " << outcome.rule_id);
}

}  // namespace tollgate::policy
