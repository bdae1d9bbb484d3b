// Costs of the policy room: a prompt's inspection and a streamed token, with 20 rules, on prose, code and text full of personal data.
// Prints `policy.<what> value unit` a line; the texts are made from a seed, so every part is new to the matcher's caches.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "policy/policy_set.h"
#include "tests/bench/rules.h"

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

void Print(const std::string& name, double value, const char* unit) { std::printf("policy.%s %.3f %s\n", name.c_str(), value, unit); }

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
  Print("inspect." + corpus + ".us_per_2kb", Percentile(micros, 0.5), "us");
  Print("inspect." + corpus + ".p99_us_per_2kb", Percentile(micros, 0.99), "us");
}

void Stream(const PolicySet& policies, const std::string& corpus, std::string (*make)(std::size_t)) {
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
  Print("stream." + corpus + ".us_per_token", Percentile(micros, 0.5), "us");
  Print("stream." + corpus + ".held_mean_bytes", sum / static_cast<double>(held.size()), "bytes");
  Print("stream." + corpus + ".held_p99_bytes", static_cast<double>(Percentile(held, 0.99)), "bytes");
}

}  // namespace

int main() {
  const PolicySource source{"bench", tollgate::bench::kTwentyRules};
  const auto begin = Clock::now();
  const auto policies = PolicySet::Compile({&source, 1});
  if (!policies.ok()) {
    std::fprintf(stderr, "%s\n", tollgate::base::Message(policies.status()).c_str());
    return 1;
  }
  Print("compile_ms", Micros(Clock::now() - begin) / 1000, "ms");
  const std::pair<const char*, std::string (*)(std::size_t)> corpora[] = {{"prose", Prose}, {"code", Code}, {"pii", Personal}};
  for (const auto& [name, make] : corpora) {
    Inspect(**policies, name, make);
    Stream(**policies, name, make);
  }
  return 0;
}
