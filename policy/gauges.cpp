// One pass over the characters of each message counts them, their kinds, lines and words. What reads as program text is judged line by
// line: by a word that only programs begin a line with, or by marks that prose does not have at a line's end together with marks inside. It
// is a heuristic, and its errors on texts of our own are in docs/policy.md.
//
// Tested by tests/policy/gauges_test.cpp.
#include "policy/gauges.h"

#include <algorithm>
#include <array>
#include <deque>
#include <string_view>
#include <utility>

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>
#include <unicode/uchar.h>

namespace tollgate::policy {
namespace {

constexpr std::size_t kRunWords = 5;         // That must be there again to count as repeated.
constexpr std::int64_t kWordsMin = 20;       // Below, nothing is called repetitive.
constexpr std::int64_t kWordsMax = 200'000;  // Looked at; bounds the memory.
constexpr std::size_t kCodeLineBytesMax = 400;

constexpr std::array<std::string_view, 34> kCodeStarts = {
    "#include ", "#define ", "#!/",          "import ",       "from ",     "def ",    "class ",  "struct ", "enum ",
    "function ", "func ",    "fn ",          "public ",       "private ",  "static ", "const ",  "let ",    "var ",
    "return ",   "package ", "using ",       "namespace ",    "if (",      "for (",   "while (", "} else",  "elif ",
    "except ",   "SELECT ",  "INSERT INTO ", "CREATE TABLE ", "@Override", "pub ",    "impl "};
constexpr std::array<std::string_view, 14> kCodeMarks = {
    "()", "();", "==", "!=", "=>", "->", "::", "&&", "||", "+=", " = ", "</", "[0]", "):"};

bool Has(std::string_view line, std::string_view mark) { return line.find(mark) != std::string_view::npos; }

// A word that begins code, with what must stand on such a line as well: "from here" is prose, "from os import path" is not.
bool BeginsCode(std::string_view line) {
  for (const std::string_view start : kCodeStarts) {
    if (!line.starts_with(start)) continue;
    if (start == "from ") return Has(line, " import ");
    if (start == "SELECT ") return Has(line, " FROM ");
    if (start == "import ")
      return line.find(' ', start.size()) == line.npos || line.back() == ';' || Has(line, " as ") || Has(line, " from ");
    const bool sure = start[0] == '#' || start[0] == '}' || start[0] == '@' || start.ends_with("(") || start[0] == 'I' || start[0] == 'C';
    return sure || std::string_view("{}:;,)(").find(line.back()) != std::string_view::npos || Has(line, " = ");
  }
  return false;
}

bool ReadsAsCode(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  if (first == std::string_view::npos || line.size() > kCodeLineBytesMax) return false;
  line = line.substr(first, line.find_last_not_of(" \t\r") + 1 - first);
  if (line.find_first_not_of("{}()[];,") == std::string_view::npos) return line.find_first_of("{}") != std::string_view::npos;
  if (BeginsCode(line)) return true;
  const auto marks = std::count_if(kCodeMarks.begin(), kCodeMarks.end(), [&](std::string_view mark) { return Has(line, mark); });
  const char last = line.back();
  if (last == '{' || (last == ';' && line.find_first_of("()=[]") != std::string_view::npos)) return true;
  return marks >= 2;
}

// Words in runs of kRunWords that were there before.
class Repeats {
 public:
  void Add(std::uint64_t word) {
    if (++words_ > kWordsMax) return;
    last_.push_back(word);
    if (last_.size() > kRunWords) last_.pop_front();
    fresh_ = std::min(fresh_ + 1, static_cast<std::int64_t>(kRunWords));
    if (last_.size() < kRunWords) return;
    std::uint64_t run = 14695981039346656037u;
    for (const std::uint64_t each : last_) run = (run ^ each) * 1099511628211u;
    if (seen_.insert(run).second) return;
    repeated_ += fresh_;
    fresh_ = 0;
  }
  std::int64_t Percent() const { return words_ < kWordsMin ? 0 : repeated_ * 100 / std::min(words_, kWordsMax); }

 private:
  std::int64_t words_ = 0, repeated_ = 0, fresh_ = 0;  // `fresh_`: of the last words, those not counted as repeated.
  std::deque<std::uint64_t> last_;
  absl::flat_hash_set<std::uint64_t> seen_;  // Its hash is the process's own: nobody can write words that fall together.
};

// The code point at `at` of valid UTF-8, which moves behind it.
char32_t NextCodePoint(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  char32_t c = lead & (0x3F >> more);
  for (int i = 0; i < more && at < text.size(); ++i) c = c << 6 | (static_cast<unsigned char>(text[at++]) & 0x3F);
  return c;
}

bool IsLetterOrDigit(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return u_isalnum(static_cast<UChar32>(c)) != 0 || (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) != 0;
}

bool IsBlank(char32_t c) { return c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') : u_isUWhiteSpace(static_cast<UChar32>(c)) != 0; }

}  // namespace

std::int64_t EstimateTokens(std::string_view text) { return std::max<std::int64_t>(1, static_cast<std::int64_t>(text.size()) / 4); }

const char* MeasureName(Gauge::Measure measure) {
  static constexpr const char* kNames[] = {"request",      "characters",  "tokens",     "messages",   "turns",
                                           "longest_line", "non_letters", "repetition", "code lines", "letters in such a language"};
  return kNames[static_cast<std::size_t>(measure)];
}

const PromptMeasure::Shape& PromptMeasure::ShapeOf(const Sight& sight) {
  const auto [at, fresh] = shapes_.try_emplace(sight);
  Shape& shape = at->second;
  if (!fresh) return shape;
  std::int64_t letters = 0, blanks = 0;
  Repeats repeats;
  const Message* before = nullptr;
  for (const Message& message : prompt_) {
    const bool other = before == nullptr || before->role != Role::kUser;
    before = &message;
    if (!sight.Sees(message.role, message.channel)) continue;
    if (message.role == Role::kUser && other) ++shape.turns;
    std::string text;
    for (const std::string& part : message.parts) text += part;
    shape.messages += text.empty() ? 0 : 1;
    std::int64_t line = 0;
    std::size_t line_begin = 0;
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t begin = i;
      const char32_t c = NextCodePoint(text, i);
      ++shape.characters;
      const bool letter = IsLetterOrDigit(c);
      letters += letter ? 1 : 0;
      blanks += IsBlank(c) ? 1 : 0;
      if (letter) {
        word = (word == 0 ? 14695981039346656037u : word) ^ c;
        word *= 1099511628211u;
      } else if (word != 0) {
        repeats.Add(std::exchange(word, 0));
      }
      if (c != '\n') {
        shape.longest_line = std::max(shape.longest_line, line += c == '\r' ? 0 : 1);
        continue;
      }
      shape.code_lines += ReadsAsCode(std::string_view(text).substr(line_begin, begin - line_begin)) ? 1 : 0;
      line_begin = i;
      line = 0;
    }
    if (word != 0) repeats.Add(word);
    shape.code_lines += ReadsAsCode(std::string_view(text).substr(line_begin)) ? 1 : 0;
  }
  const std::int64_t shown = shape.characters - blanks;
  shape.non_letters = shown == 0 ? 0 : (shown - letters) * 100 / shown;
  shape.repetition = repeats.Percent();
  return shape;
}

std::int64_t PromptMeasure::LettersIn(std::uint32_t languages, const Sight& sight) {
  const auto [at, fresh] = languages_.try_emplace(sight);
  if (fresh) {
    for (const Message& message : prompt_) {
      if (sight.Sees(message.role, message.channel)) AddLanguages(TextOf(message), at->second);
    }
  }
  std::int64_t letters = 0;
  for (std::size_t i = 0; i < kLanguages; ++i) letters += (languages >> i & 1) != 0 ? at->second[i] : 0;
  return letters;
}

std::int64_t PromptMeasure::Value(const Gauge& gauge, const Sight& sight) {
  using Measure = Gauge::Measure;
  switch (gauge.measure) {
    case Measure::kAlways: return 1;
    case Measure::kTokens: return subject_.prompt_tokens < 0 ? INT64_MAX : subject_.prompt_tokens;
    case Measure::kCharacters: return ShapeOf(sight).characters;
    case Measure::kMessages: return ShapeOf(sight).messages;
    case Measure::kTurns: return ShapeOf(sight).turns;
    case Measure::kLongestLine: return ShapeOf(sight).longest_line;
    case Measure::kNonLetters: return ShapeOf(sight).non_letters;
    case Measure::kRepetition: return ShapeOf(sight).repetition;
    case Measure::kCodeLines: return ShapeOf(sight).code_lines;
    case Measure::kLanguage: return LettersIn(gauge.languages, sight);
  }
  return 0;
}

std::optional<PromptMeasure::Reading> PromptMeasure::FirstOver(std::span<const Gauge> gauges, const Sight& sight) {
  const auto concerns = [&](const Message& message) { return sight.Sees(message.role, message.channel); };
  if (std::none_of(prompt_.begin(), prompt_.end(), concerns)) return std::nullopt;
  for (const Gauge& gauge : gauges) {
    const std::int64_t value = Value(gauge, sight);
    if (value > gauge.over) return Reading{gauge, value};
  }
  return std::nullopt;
}

std::optional<Score> PromptMeasure::Reading::score() const {
  if (gauge.measure == Gauge::Measure::kAlways || value == INT64_MAX) return std::nullopt;
  return Score{static_cast<double>(value), static_cast<double>(gauge.over) + 1, MeasureName(gauge.measure)};
}

std::string PromptMeasure::Told(const std::optional<Reading>& reading) {
  if (!reading) return "the text is within what it allows";
  const auto& [gauge, value] = *reading;
  if (gauge.measure == Gauge::Measure::kAlways) return "it acts on any request";
  if (value == INT64_MAX) return "tokens are not counted here, and it would act on what is not counted";
  return fmt::format("the text has {} {}, and more than {} count", value, MeasureName(gauge.measure), gauge.over);
}

namespace {

std::optional<PromptMeasure::Reading> ReadReply(const Gauge& gauge, std::string_view text) {
  const Subject nobody;
  const Message reply{Role::kAssistant, "", {std::string(text)}};
  return PromptMeasure(nobody, {&reply, 1}).FirstOver({&gauge, 1}, {});
}

}  // namespace

std::string_view ReplyGauge::Breaks(std::string_view text) const { return ReadReply(gauge_, text) ? kind_ : ""; }

std::string ReplyGauge::Why(std::string_view text) const { return PromptMeasure::Told(ReadReply(gauge_, text)); }

std::optional<Score> ReplyGauge::Measured(std::string_view text) const {
  const Subject nobody;
  const Message reply{Role::kAssistant, "", {std::string(text)}};
  return PromptMeasure::Reading{gauge_, PromptMeasure(nobody, {&reply, 1}).Value(gauge_, {})}.score();
}

}  // namespace tollgate::policy
