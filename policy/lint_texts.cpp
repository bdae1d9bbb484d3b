// The texts are put together from parts by a small generator with a fixed seed: long enough to measure on, and never the same line twice,
// so that a matcher's caches do not learn them by heart. The records are full of numbers that are nobody's: they cost what real ones cost.
//
// Tested by tests/policy/lint_test.cpp.
#include <array>

#include <fmt/format.h>

#include "policy/fold.h"
#include "policy/lint_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kTextBytes = 8192;
constexpr int kRepeatsMore = 3;

constexpr const char* kSentences[] = {"Could you please summarise the notes of this morning's meeting in five points?",
                                      "The delivery arrives on Tuesday, and the invoice follows at the end of the month.",
                                      "We moved the launch to spring because two suppliers were late.",
                                      "Write a friendly reply to a customer who asks when the shop opens again.",
                                      "Our team will travel to Lisbon in May and needs three rooms near the station.",
                                      "The second quarter was better than the first, mostly thanks to new customers in the north.",
                                      "Please translate this paragraph into French and keep the tone polite.",
                                      "She explained the change to everyone, and nobody had any questions.",
                                      "The report has twelve pages, four tables and no conclusion yet.",
                                      "How do I sort a list of names by length and then by the alphabet?",
                                      "It rained all day, so we had the picnic in the hall.",
                                      "The function returns nothing when the list is empty; is that a mistake?",
                                      "Explain the difference between a contract and an agreement in simple words.",
                                      "The chairs in the small room are broken and should be replaced before winter.",
                                      "He asked for a table by the window and a menu without meat.",
                                      "Version 3 of the handbook is shorter and has more pictures.",
                                      "Make a plan for a week of meals for a family of four.",
                                      "Thank you for your patience while we looked into the matter.",
                                      "The price went up by eight percent, which is less than we had feared.",
                                      "Which of these two headlines is clearer, and why?",
                                      "The bus stops here every twenty minutes until midnight.",
                                      "After the update the page loads faster, but the search does not find old articles.",
                                      "Give me three ideas for a short talk about teamwork.",
                                      "The museum is closed on Mondays and open late on Thursdays."};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::size_t Below(std::size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(state_ >> 33) % n;
  }
  template <typename List>
  auto& Pick(List& list) {
    return list[Below(std::size(list))];
  }

 private:
  std::uint64_t state_;
};

std::string Word(Dice& dice) {
  static constexpr const char* kSyllables[] = {"an", "be",  "con", "der", "es", "fi",  "gra", "ho", "in",  "ka",
                                               "lo", "men", "nor", "pre", "re", "sta", "ti",  "un", "ver", "wa"};
  std::string out;
  for (std::size_t n = 1 + dice.Below(3); n > 0; --n) out += dice.Pick(kSyllables);
  return out;
}

std::string Digits(Dice& dice, int count) {
  std::string out;
  for (; count > 0; --count) out += static_cast<char>('0' + dice.Below(10));
  return out;
}

std::string Prose() {
  Dice dice(1);
  std::string out;
  while (out.size() < kTextBytes)
    out += fmt::format("{} {} {} {} {}. ", dice.Pick(kSentences), Word(dice), Word(dice), Word(dice), Word(dice));
  return out;
}

std::string Code() {
  Dice dice(2);
  std::string out;
  while (out.size() < kTextBytes) {
    const std::string a = Word(dice), b = Word(dice), c = Word(dice);
    switch (dice.Below(5)) {
      case 0: out += fmt::format("  const auto {}_{} = {}.find({});\n", a, b, c, Digits(dice, 2)); break;
      case 1: out += fmt::format("def {}(self, {}=\"{}\"):\n    return self.{} + 0x{}\n", a, b, c, b, Digits(dice, 4)); break;
      case 2: out += fmt::format("// {} {} {} in {}.{}\n", a, b, c, a, b); break;
      case 3: out += fmt::format("  \"{}-{}\": [{}, {}.{}],\n", a, b, Digits(dice, 3), Digits(dice, 1), Digits(dice, 2)); break;
      default: out += fmt::format("import {} from \"./{}/{}.js\";\n", a, b, c); break;
    }
  }
  return out;
}

std::string Records() {
  Dice dice(3);
  std::string out;
  while (out.size() < kTextBytes) {
    out +=
        fmt::format("{};order {}-{};2026-{}-{};{} {};ref {};{} {}.{}\n", Digits(dice, 6), Word(dice), Digits(dice, 5), 10 + dice.Below(3),
                    10 + dice.Below(18), Word(dice), Word(dice), Digits(dice, 9), Word(dice), Digits(dice, 3), Digits(dice, 2));
  }
  return out;
}

void AppendSample(const RegexNode& node, Dice& dice, std::string& out) {
  switch (node.kind) {
    case RegexNode::Kind::kAssert: return;
    case RegexNode::Kind::kSet: {
      if (node.set.empty()) return;
      const CodeRange& range = dice.Pick(node.set);
      const auto span = static_cast<std::size_t>(range.hi - range.lo) + 1;
      AppendUtf8(range.lo + static_cast<char32_t>(dice.Below(std::min<std::size_t>(span, 64))), out);
      return;
    }
    case RegexNode::Kind::kConcat:
      for (const RegexNode& kid : node.kids) AppendSample(kid, dice, out);
      return;
    case RegexNode::Kind::kAlternate:
      if (!node.kids.empty()) AppendSample(dice.Pick(node.kids), dice, out);
      return;
    case RegexNode::Kind::kRepeat: {
      const int most = node.max == RegexNode::kUnbounded ? node.min + kRepeatsMore : std::min(node.max, node.min + kRepeatsMore);
      const int times = node.min + static_cast<int>(dice.Below(static_cast<std::size_t>(most - node.min) + 1));
      for (int i = 0; i < times; ++i) AppendSample(node.kids[0], dice, out);
      return;
    }
  }
}

}  // namespace

const std::vector<LintText>& LintTexts() {
  static const std::vector<LintText> texts = {{"prose", Prose()}, {"code", Code()}, {"records", Records()}};
  return texts;
}

std::span<const char* const> OrdinarySentences() { return kSentences; }

std::vector<std::string> SampleWords(const RegexNode& node, int count) {
  Dice dice(4);
  std::vector<std::string> out;
  for (int i = 0; i < count; ++i) {
    std::string word;
    AppendSample(node, dice, word);
    if (!word.empty() && std::find(out.begin(), out.end(), word) == out.end()) out.push_back(std::move(word));
  }
  return out;
}

}  // namespace tollgate::policy
