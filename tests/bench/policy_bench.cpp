// Costs of the policy room, on prose, code and text full of personal data. Prints `name value unit` a line; the texts are made from a seed,
// so every part is new to the matcher's caches.
//   policy.*     a prompt's inspection and a streamed token, with the 20 rules that other benchmarks use
//   scan.*       100 rules (24 identifiers, 76 kinds of secrets) over 2 KB: detection alone, a whole Inspect, and what the same patterns
//   cost
//                one RE2 at a time with spans, in one RE2::Set without, and, where it is installed, in Vectorscan without
//   scan.decoding.*  what decoding and reading again adds to an Inspect, also where there is much to decode; and the Inspect
//   scan.keywords100k.*  a list of 100,000 terms beside them: to compile, in memory, and an Inspect's ratio; scan.inspect.packs: every pack
//   stream.*     the same 100 rules, 4 bytes at a time; the worst of the three texts. stream.all: every built-in detector, stream.packs:
//   every pack
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include <malloc.h>
#include <re2/re2.h>
#include <re2/set.h>

#include "base/encoding.h"
#include "policy/bundle.h"
#include "policy/catalog.h"
#include "policy/packs.h"
#include "policy/policy_set.h"
#include "policy/program.h"
#include "policy/rule_yaml.h"
#include "tests/bench/rules.h"
#include "tests/bench/vectorscan.h"

namespace {

using namespace tollgate::policy;

// The thread's own processor time: what a call costs, whatever else the machine does.
struct Clock {
  using duration = std::chrono::nanoseconds;
  static duration now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + duration(t.tv_nsec);
  }
};

std::mt19937_64 random_(20261125);
std::size_t Below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
const std::string& Pick(const std::vector<std::string>& from) { return from[Below(from.size())]; }

std::string Word() {
  static const std::vector<std::string> syllables = {"an", "be", "con", "de", "er",  "fi",  "gra", "ho",  "in",
                                                     "ka", "lo", "men", "no", "or",  "pre", "qui", "re",  "sta",
                                                     "ti", "un", "ver", "wa", "ter", "ing", "ly",  "tion"};
  std::string out;
  for (std::size_t n = 1 + Below(3); n > 0; --n) out += Pick(syllables);
  return out;
}

std::string Digits(std::size_t n) {
  std::string out;
  while (n-- > 0) out += static_cast<char>('0' + Below(10));
  return out;
}

std::string Prose(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    std::string word = Below(5) == 0 ? "the" : Word();
    if (Below(12) == 0) word[0] = static_cast<char>(word[0] - 32);
    out += word;
    const std::size_t mark = Below(60);
    out += mark < 6 ? ", " : mark < 10 ? ". " : mark == 10 ? " (" + Digits(4) + ") " : mark == 11 ? " \u2014 " : mark == 12 ? ".\n\n" : " ";
  }
  return out;
}

std::string Code(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    const std::vector<std::string> lines = {
        "  const auto " + Word() + "_" + Word() + " = " + Word() + "." + Word() + "(" + Digits(2) + ");\n",
        "  if (" + Word() + "->" + Word() + " != nullptr) return " + Word() + "::" + Word() + "(0x" + Digits(4) + ");\n",
        "def " + Word() + "(self, " + Word() + "='" + Word() + "'):\n",
        "    // " + Word() + " " + Word() + " " + Word() + "\n",
        "    \"" + Word() + "-" + Word() + "\": [" + Digits(3) + ", " + Digits(1) + "." + Digits(2) + "],\n",
        "#include <" + Word() + "/" + Word() + ".h>\n"};
    out += Pick(lines);
  }
  return out;
}

std::string Personal(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    const std::vector<std::string> items = {Word() + "." + Word() + "@" + Word() + ".com",
                                            "4111 1111 1111 1111",
                                            "phone (" + Digits(3) + ") " + Digits(3) + "-" + Digits(4),
                                            "192.168." + Digits(2) + ".7",
                                            "536-22-" + Digits(4),
                                            "order " + Digits(8),
                                            "GB82 WEST 1234 5698 7654 32"};
    out += Prose(20 + Below(60)) + " " + Pick(items) + " ";
  }
  return out;
}

// Prose with what mail and tickets paste: base64 of prose, and percent-encoded links.
std::string Encoded(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    out += Prose(100 + Below(200)) + " " + tollgate::base::Base64Encode(Prose(60 + Below(120)));
    out += " https://" + Word() + ".example/?q=" + Word() + "%20" + Word() + "%3D" + Word() + " ";
  }
  return out;
}

void Print(const std::string& name, double value, const std::string& unit) {
  std::printf("%s %.3f %s\n", name.c_str(), value, unit.c_str());
}

double Micros(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

template <typename T>
T Percentile(std::vector<T> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void Inspect(const PolicySet& policies, const std::string& corpus, std::string (*make)(std::size_t)) {
  std::vector<double> micros;
  for (int i = 0; i < 600; ++i) {
    const Message message{Role::kUser, "", {make(2048)}};
    const auto begin = Clock::now();
    const auto out = policies.Inspect({}, {&message, 1});
    if (!out.ok()) std::abort();
    if (i >= 100) micros.push_back(Micros(Clock::now() - begin) * 2048 / static_cast<double>(message.parts[0].size()));
  }
  Print("policy.inspect." + corpus + ".us_per_2kb", Percentile(micros, 0.5), "us");
  Print("policy.inspect." + corpus + ".p99_us_per_2kb", Percentile(micros, 0.99), "us");
}

struct Streamed {
  double us_per_token = 0, held_mean_bytes = 0, held_p99_bytes = 0;
};

Streamed Stream(const PolicySet& policies, std::string (*make)(std::size_t)) {
  std::vector<double> micros;
  std::vector<std::size_t> held;
  for (int i = 0; i < 120; ++i) {
    std::string text = make(2048);
    const auto filter = policies.OpenOutput({});
    std::size_t tokens = 0;
    const auto begin = Clock::now();
    for (std::size_t at = 0, end; at < text.size(); at = end, ++tokens) {
      end = std::min(at + 4, text.size());
      while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
      if (!filter->Push(std::string_view(text).substr(at, end - at)).ok()) std::abort();
      held.push_back(filter->held_bytes());
    }
    if (!filter->Finish().ok()) std::abort();
    if (i >= 20) micros.push_back(Micros(Clock::now() - begin) / static_cast<double>(tokens));
  }
  double sum = 0;
  for (const std::size_t bytes : held) sum += static_cast<double>(bytes);
  return {Percentile(micros, 0.5), sum / static_cast<double>(held.size()), static_cast<double>(Percentile(held, 0.99))};
}

constexpr std::pair<const char*, std::string (*)(std::size_t)> kCorpora[] = {{"prose", Prose}, {"code", Code}, {"pii", Personal}};

void WorstStream(const std::string& name, const PolicySet& policies) {
  Streamed worst;
  for (const auto& [corpus, make] : kCorpora) {
    const Streamed its = Stream(policies, make);
    worst.us_per_token = std::max(worst.us_per_token, its.us_per_token);
    worst.held_mean_bytes = std::max(worst.held_mean_bytes, its.held_mean_bytes);
    worst.held_p99_bytes = std::max(worst.held_p99_bytes, its.held_p99_bytes);
    std::fprintf(stderr, "%s %s: %.2f us a token, %.1f bytes held, p99 %.0f\n", name.c_str(), corpus, its.us_per_token, its.held_mean_bytes,
                 its.held_p99_bytes);
  }
  Print(name + ".us_per_token", worst.us_per_token, "us");
  Print(name + ".held_mean_bytes", worst.held_mean_bytes, "bytes");
  Print(name + ".held_p99_bytes", worst.held_p99_bytes, "bytes");
}

// The first of the catalogue, a rule each: `identifiers` + `secrets` rules.
std::string CatalogueRules(std::size_t identifiers, std::size_t secrets, const std::string& more = "", const std::string& how = "") {
  std::string yaml = "version: 1\nname: hundred\nrules:\n";
  const auto add = [&](const char* kind, Catalog catalog, std::size_t count) {
    const std::vector<std::string>& names = DetectorNames(catalog);
    for (std::size_t i = 0; i < std::min(count, names.size()); ++i)
      yaml += "  - {id: " + names[i] + ", detect: {" + kind + ": " + names[i] + how + "}, do: redact}\n";
  };
  add("personal_data", Catalog::kPersonalData, identifiers);
  add("secrets", Catalog::kSecrets, secrets);
  return yaml + more;
}

std::shared_ptr<const PolicySet> MustCompile(const std::string& yaml) {
  const PolicySource source{"bench", yaml};
  const auto made = PolicySet::Compile({&source, 1});
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", tollgate::base::Message(made.status()).c_str());
    std::exit(1);
  }
  return *made;
}

// The median cost of `run` on texts that it has not seen, for 2 KB.
template <typename Run>
double MedianMicros(std::string (*make)(std::size_t), int rounds, Run&& run) {
  std::vector<double> micros;
  for (int i = 0; i < rounds; ++i) {
    const std::string text = make(2048);
    const auto begin = Clock::now();
    run(text);
    if (i >= rounds / 6) micros.push_back(Micros(Clock::now() - begin) * 2048 / static_cast<double>(text.size()));
  }
  return Percentile(micros, 0.5);
}

double InspectMicros(const PolicySet& policies, std::string (*make)(std::size_t)) {
  return MedianMicros(make, 600, [&](const std::string& text) {
    const Message message{Role::kUser, "", {text}};
    if (!policies.Inspect({}, {&message, 1}).ok()) std::abort();
  });
}

// The same patterns without us: every match of every pattern by an RE2 of its own; and all in one set, which tells no spans.
class Bare {
 public:
  explicit Bare(const std::vector<Rule>& rules) : set_(Options(std::int64_t{64} << 20), RE2::UNANCHORED) {
    for (const Rule& rule : rules) {
      for (const auto& pattern : rule.patterns) {
        const std::string regex = PrintRegex(pattern->spec().regex);
        regexes_.push_back(regex);
        each_.push_back(std::make_unique<RE2>(regex, Options(16 << 20)));
        set_.Add(regex, nullptr);
      }
    }
    if (!set_.Compile()) std::abort();
  }
  void OneByOne(const std::string& text) const {
    for (const auto& re : each_) {
      re2::StringPiece found;
      std::size_t at = 0;
      while (at < text.size() && re->Match(text, at, text.size(), RE2::UNANCHORED, &found, 1))
        at = static_cast<std::size_t>(found.end() - text.data()) + 1;
    }
  }
  const std::vector<std::string>& regexes() const { return regexes_; }
  void Set(const std::string& text) const {
    std::vector<int> hits;
    set_.Match(text, &hits);
  }

 private:
  static RE2::Options Options(std::int64_t memory) {
    RE2::Options options;
    options.set_longest_match(true);
    options.set_log_errors(false);
    options.set_max_mem(memory);
    return options;
  }
  std::vector<std::string> regexes_;
  std::vector<std::unique_ptr<RE2>> each_;
  RE2::Set set_;
};

// Every pack that ships, in force together.
std::shared_ptr<const PolicySet> AllPacks() {
  std::vector<PolicySource> sources;
  for (const Pack& pack : Packs()) sources.push_back({std::string(pack.name), std::string(pack.yaml)});
  const auto made = PolicySet::Compile(sources);
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", tollgate::base::Message(made.status()).c_str());
    std::exit(1);
  }
  return *made;
}

// A list of 100,000 terms out of a file, beside the 100 rules.
void ManyKeywords(const PolicySet& without) {
  std::vector<Bundle::File> files = {{"terms.txt", ""}};
  for (int i = 0; i < 100'000; ++i) files[0].text += Word() + Word() + std::to_string(i) + "\n";
  std::string yaml = CatalogueRules(24, 76, "  - {id: words, do: flag, detect: {list: terms}}\n");
  yaml.insert(yaml.find("rules:"), "lists: {terms: {file: terms.txt}}\n");
  const auto text = WriteBundle(yaml, files);
  if (!text.ok()) std::abort();
  const std::size_t before = mallinfo2().uordblks;
  const auto begin = Clock::now();
  const auto with = MustCompile(*text);
  Print("scan.keywords100k.compile_ms", Micros(Clock::now() - begin) / 1000, "ms");
  Print("scan.keywords100k.mib", static_cast<double>(mallinfo2().uordblks - before) / (1 << 20), "MiB");
  Print("scan.keywords100k.ratio", InspectMicros(*with, Prose) / InspectMicros(without, Prose), "ratio");
}

void Scan() {
  const std::string yaml = CatalogueRules(24, 76);
  const auto policies = MustCompile(yaml);
  std::vector<Rule> rules;
  if (!ReadPolicy({"bench", yaml}, rules).ok()) std::abort();
  const auto program = Program::Build(rules, false);
  if (!program.ok()) std::abort();
  const Program::Selection selection = (*program)->Select({}, Role::kUser);
  const Bare bare(rules);
  const auto vectorscan = tollgate::bench::MakeVectorscan(bare.regexes());
  if (vectorscan != nullptr)
    Print("scan.vectorscan.patterns", static_cast<double>(vectorscan->patterns()), "of " + std::to_string(bare.regexes().size()));
  double ratio = 0;
  for (const auto& [corpus, make] : kCorpora) {
    const std::string name = corpus;
    Print("scan." + name + ".us_per_2kb", MedianMicros(make, 600, [&](const std::string& text) { (*program)->FindAll(text, selection); }),
          "us");
    const double inspect = InspectMicros(*policies, make);
    const double one_by_one = MedianMicros(make, 200, [&](const std::string& text) { bare.OneByOne(text); });
    Print("scan.inspect." + name + ".us_per_2kb", inspect, "us");
    Print("scan.re2_each." + name + ".us_per_2kb", one_by_one, "us");
    Print("scan.re2_set." + name + ".us_per_2kb", MedianMicros(make, 200, [&](const std::string& text) { bare.Set(text); }), "us");
    if (vectorscan != nullptr)
      Print("scan.vectorscan." + name + ".us_per_2kb", MedianMicros(make, 200, [&](const std::string& text) { vectorscan->Scan(text); }),
            "us");
    ratio = std::max(ratio, inspect / one_by_one);
  }
  Print("scan.inspect.ratio", ratio, "ratio");
  std::string words = "  - {id: words, do: flag, detect: {keywords: [";
  for (int i = 0; i < 10'000; ++i) words += (i == 0 ? "" : ", ") + Word() + Word() + std::to_string(i);
  const auto with_words = MustCompile(CatalogueRules(24, 76, words + "]}}\n"));
  Print("scan.keywords10k.ratio", InspectMicros(*with_words, Prose) / InspectMicros(*policies, Prose), "ratio");
  const auto no_decoding = MustCompile(CatalogueRules(24, 76, "", ", decode: never"));
  const auto decoding = [&](const std::string& corpus, std::string (*make)(std::size_t)) {
    const double with = InspectMicros(*policies, make);
    Print("scan.decoding." + corpus + ".us_per_2kb", with - InspectMicros(*no_decoding, make), "us");
    Print("scan.decoding." + corpus + ".inspect_us_per_2kb", with, "us");
  };
  for (const auto& [corpus, make] : kCorpora) decoding(corpus, make);
  decoding("encoded", Encoded);
  const auto all = MustCompile(CatalogueRules(1000, 1000));
  for (const auto& [corpus, make] : kCorpora)
    Print("scan.inspect.all." + std::string(corpus) + ".us_per_2kb", InspectMicros(*all, make), "us");
  WorstStream("stream", *policies);
  WorstStream("stream.all", *all);
  const auto packs = AllPacks();
  for (const auto& [corpus, make] : kCorpora)
    Print("scan.inspect.packs." + std::string(corpus) + ".us_per_2kb", InspectMicros(*packs, make), "us");
  WorstStream("stream.packs", *packs);
  ManyKeywords(*policies);
}

}  // namespace

int main() {
  const auto begin = Clock::now();
  const auto policies = MustCompile(tollgate::bench::kTwentyRules);
  Print("policy.compile_ms", Micros(Clock::now() - begin) / 1000, "ms");
  for (const auto& [name, make] : kCorpora) {
    Inspect(*policies, name, make);
    const Streamed streamed = Stream(*policies, make);
    Print("policy.stream." + std::string(name) + ".us_per_token", streamed.us_per_token, "us");
    Print("policy.stream." + std::string(name) + ".held_mean_bytes", streamed.held_mean_bytes, "bytes");
    Print("policy.stream." + std::string(name) + ".held_p99_bytes", streamed.held_p99_bytes, "bytes");
  }
  Scan();
  return 0;
}
