// Costs of the policy room. Prints `name value unit` a line. Texts (tests/bench/texts.h): prose, code and text full of personal data, made
// from a seed so that every part is new to the matchers' caches; and `pages` and `sources`, the repository's own, which nobody made for
// this. Times are the thread's own processor time: what a call costs, whatever else the machine does. Ratios are medians of interleaved
// pairs.
//   policy.*     a prompt's inspection and a streamed token, with the 20 rules that other benchmarks use
//   scan.*       100 rules (24 identifiers, 76 kinds of secrets) over 2 KB: detection alone, a whole Inspect, and what the same patterns
//                cost one RE2 at a time with spans, in one RE2::Set without, and, where it is installed, in Vectorscan without
//   scan.decoding.*  what decoding and reading again adds to an Inspect, also where there is much to decode; and the Inspect
//   scan.keywords10k, scan.keywords100k  so many terms beside them: an Inspect's ratio; of the longer list, from a file, also the time to
//                compile it and its memory
//   scan.inspect.all, scan.inspect.packs, scan.inspect.bank  every built-in detector; every pack in force together; and 70 regexes beside
//   stream.*     the same 100 rules, 4 bytes at a time; the worst of the three made texts. stream.all, stream.packs, stream.bank: as above
//   stream.fixed_window.*  what others do: the longest match's bytes stay back always, and are searched again as each token comes
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include <malloc.h>
#include <re2/re2.h>
#include <re2/set.h>

#include "policy/bundle.h"
#include "policy/catalog.h"
#include "policy/packs.h"
#include "policy/policy_set.h"
#include "policy/program.h"
#include "policy/rule_yaml.h"
#include "tests/bench/figures.h"
#include "tests/bench/rules.h"
#include "tests/bench/texts.h"
#include "tests/bench/vectorscan.h"

namespace {

using namespace tollgate::policy;
using namespace tollgate::bench;

// The thread's own processor time: what a call costs, whatever else the machine does.
struct Clock {
  using duration = std::chrono::nanoseconds;
  static duration now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + duration(t.tv_nsec);
  }
};

double Micros(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

template <typename T>
T Percentile(std::vector<T> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void Inspect(const PolicySet& policies, const std::string& corpus, MakeText make) {
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

Streamed Stream(const PolicySet& policies, MakeText make) {
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

void PrintStream(const std::string& name, const Streamed& its) {
  Print(name + ".us_per_token", its.us_per_token, "us");
  Print(name + ".held_mean_bytes", its.held_mean_bytes, "bytes");
  Print(name + ".held_p99_bytes", its.held_p99_bytes, "bytes");
}

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
  PrintStream(name, worst);
  for (const auto& [corpus, make] : kFound) PrintStream(name + "." + corpus, Stream(policies, make));
}

// Nothing goes out before as many bytes have come after it as the longest match has, and all that is back is searched again as each token
// comes. The scanner is ours, so that the window alone makes the difference.
void FixedWindow(const std::vector<Rule>& rules, const Program& program, const Program::Selection& selection) {
  std::size_t window = 0;
  for (const Rule& rule : rules) {
    for (const auto& pattern : rule.patterns)
      window = std::max(window, static_cast<std::size_t>(pattern->cap() > 0 ? pattern->cap() : pattern->width_max()));
  }
  double worst = 0;
  for (const auto& [corpus, make] : kCorpora) {
    std::vector<double> micros;
    for (int i = 0; i < 24; ++i) {
      const std::string text = make(window + 512);
      const auto begin = Clock::now();
      for (std::size_t at = 0; at < 512; at += 4) program.FindAll(std::string_view(text).substr(at, window + 4), selection);
      if (i >= 4) micros.push_back(Micros(Clock::now() - begin) / (512 / 4));
    }
    worst = std::max(worst, Percentile(micros, 0.5));
  }
  Print("stream.fixed_window.us_per_token", worst, "us");
  Print("stream.fixed_window.held_mean_bytes", static_cast<double>(window), "bytes");
  Print("stream.fixed_window.held_p99_bytes", static_cast<double>(window), "bytes");
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
double MedianMicros(MakeText make, int rounds, Run&& run) {
  std::vector<double> micros;
  for (int i = 0; i < rounds; ++i) {
    const std::string text = make(2048);
    const auto begin = Clock::now();
    run(text);
    if (i >= rounds / 6) micros.push_back(Micros(Clock::now() - begin) * 2048 / static_cast<double>(text.size()));
  }
  return Percentile(micros, 0.5);
}

double InspectMicros(const PolicySet& policies, MakeText make, int rounds = 600) {
  return MedianMicros(make, rounds, [&](const std::string& text) {
    const Message message{Role::kUser, "", {text}};
    if (!policies.Inspect({}, {&message, 1}).ok()) std::abort();
  });
}

// Each of 8 pairs: A B, B A, and so on.
template <typename Cost>
std::vector<double> Ratios(const Cost& cost, const Cost& beside) {
  std::vector<double> out;
  for (int i = 0; i < 8; ++i) {
    const double first = i % 2 == 0 ? cost() : beside();
    const double second = i % 2 == 0 ? beside() : cost();
    out.push_back(i % 2 == 0 ? first / second : second / first);
  }
  return out;
}

// What it adds to an Inspect of prose.
void PrintRatio(const std::string& name, const PolicySet& with, const PolicySet& without) {
  const std::function<double()> cost = [&] { return InspectMicros(with, Prose, 120); };
  const std::function<double()> beside = [&] { return InspectMicros(without, Prose, 120); };
  PrintMedian(name, Ratios(cost, beside), "ratio", 3);
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
std::shared_ptr<const PolicySet> AllPacks(int own = 0) {
  std::vector<PolicySource> sources;
  for (const Pack& pack : Packs()) sources.push_back({std::string(pack.name), std::string(pack.yaml)});
  std::string yaml = "version: 1\nname: own\nrules:\n";
  for (int i = 0; i < own; ++i)
    yaml += "- {id: own" + std::to_string(i) + ", detect: {regex: '\\b[A-Z]{2}" + std::to_string(i) + "-[0-9]{4,8}\\b'}, do: redact}\n";
  if (own > 0) sources.push_back({"own", yaml});
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
  PrintRatio("scan.keywords100k.ratio", *with, without);
}

// One corpus under the 100 rules, and the same patterns elsewhere. An Inspect beside one RE2 after another.
class Hundred {
 public:
  Hundred() : policies_(MustCompile(yaml_)) {
    if (!ReadPolicy({"bench", yaml_}, rules_).ok()) std::abort();
    auto program = Program::Build(rules_, false);
    if (!program.ok()) std::abort();
    program_ = *std::move(program);
    selection_ = program_->Select({}, Role::kUser);
    bare_ = std::make_unique<Bare>(rules_);
    vectorscan_ = MakeVectorscan(bare_->regexes());
    if (vectorscan_ != nullptr)
      Print("scan.vectorscan.patterns", static_cast<double>(vectorscan_->patterns()),
            ("of " + std::to_string(bare_->regexes().size())).c_str(), 0);
  }

  // The ratios of an Inspect to one RE2 after another.
  std::vector<double> Measure(const std::string& name, MakeText make) const {
    const auto print = [&](const std::string& what, double micros) { Print("scan." + what + name + ".us_per_2kb", micros, "us"); };
    print("", MedianMicros(make, 600, [&](const std::string& text) { program_->FindAll(text, selection_); }));
    print("inspect.", InspectMicros(*policies_, make));
    const auto one_by_one = [&](int rounds) { return MedianMicros(make, rounds, [&](const std::string& text) { bare_->OneByOne(text); }); };
    print("re2_each.", one_by_one(200));
    print("re2_set.", MedianMicros(make, 200, [&](const std::string& text) { bare_->Set(text); }));
    if (vectorscan_ != nullptr) print("vectorscan.", MedianMicros(make, 200, [&](const std::string& text) { vectorscan_->Scan(text); }));
    const std::function<double()> inspect = [&] { return InspectMicros(*policies_, make, 60); };
    const std::function<double()> each = [&] { return one_by_one(60); };
    return Ratios(inspect, each);
  }
  void BesideFixedWindow() const { FixedWindow(rules_, *program_, selection_); }
  const PolicySet& policies() const { return *policies_; }

 private:
  const std::string yaml_ = CatalogueRules(24, 76);
  std::shared_ptr<const PolicySet> policies_;
  std::vector<Rule> rules_;
  std::unique_ptr<const Program> program_;  // Of rules_.
  Program::Selection selection_;
  std::unique_ptr<Bare> bare_;
  std::unique_ptr<Vectorscan> vectorscan_;
};

void Decoding(const PolicySet& policies) {
  const auto without = MustCompile(CatalogueRules(24, 76, "", ", decode: never"));
  const auto print = [&](const std::string& corpus, MakeText make) {
    const double with = InspectMicros(policies, make);
    Print("scan.decoding." + corpus + ".us_per_2kb", with - InspectMicros(*without, make), "us");
    Print("scan.decoding." + corpus + ".inspect_us_per_2kb", with, "us");
  };
  for (const auto& [corpus, make] : kCorpora) print(corpus, make);
  print("encoded", Encoded);
}

void Everything(const std::string& name, const PolicySet& policies) {
  for (const auto* corpora : {kCorpora + 0, kCorpora + 1, kCorpora + 2, kFound + 0, kFound + 1})
    Print("scan.inspect." + name + "." + corpora->first + ".us_per_2kb", InspectMicros(policies, corpora->second), "us");
  WorstStream("stream." + name, policies);
}

void Scan() {
  const Hundred hundred;
  std::vector<double> worst;
  for (const auto* corpora : {kCorpora + 0, kCorpora + 1, kCorpora + 2, kFound + 0, kFound + 1}) {
    std::vector<double> ratios = hundred.Measure(corpora->first, corpora->second);
    if (Median(ratios) > Median(worst)) worst = std::move(ratios);
  }
  PrintMedian("scan.inspect.ratio", worst, "ratio", 3);
  std::string words = "  - {id: words, do: flag, detect: {keywords: [";
  for (int i = 0; i < 10'000; ++i) words += (i == 0 ? "" : ", ") + Word() + Word() + std::to_string(i);
  const auto with_words = MustCompile(CatalogueRules(24, 76, words + "]}}\n"));
  PrintRatio("scan.keywords10k.ratio", *with_words, hundred.policies());
  ManyKeywords(hundred.policies());
  Decoding(hundred.policies());
  WorstStream("stream", hundred.policies());
  hundred.BesideFixedWindow();
  Everything("all", *MustCompile(CatalogueRules(1000, 1000)));
  Everything("packs", *AllPacks());
  Everything("bank", *AllPacks(70));
}

}  // namespace

int main() {
  const auto begin = Clock::now();
  const auto policies = MustCompile(kTwentyRules);
  Print("policy.compile_ms", Micros(Clock::now() - begin) / 1000, "ms");
  for (const auto& [name, make] : kCorpora) {
    Inspect(*policies, name, make);
    PrintStream("policy.stream." + std::string(name), Stream(*policies, make));
  }
  Scan();
  return 0;
}
