// How it works. libllama parses grammars by recursion (deep parentheses end the process), and follows all readings of a text at once: where
// a rule refers to itself in two ways the readings multiply with each character, and one token can take minutes on the thread that serves
// everyone. Without recursion the readings, like libllama's search for left recursion, are bounded by the places in the grammar once each
// reference is replaced by what it stands for: forty rules of two alternatives can make 2^40. So one scan finds the rules, what each refers
// to and how often, how deep it nests and what its repetitions multiply to; a depth-first search then looks for a circle and adds the
// places up. Our own JSON grammar recurs, but has one reading only.
//
// Tested by tests/inference/grammar_test.cpp.
#include "inference/grammar.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::inference {
namespace {

constexpr std::size_t kBytesMax = 16 << 10;
constexpr std::size_t kRulesMax = 512;
constexpr int kDepthMax = 32;
constexpr std::int64_t kRepetitionsMax = 10'000;
constexpr std::int64_t kPlacesMax = 1 << 16;

constexpr std::string_view kJson = R"(root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ( member ( "," ws member )* )? "}"
member ::= string ":" ws value ws
array ::= "[" ws ( value ws ( "," ws value ws )* )? "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F\x7F] | "\\" ( ["\\bfnrt] | "u00" [01] [0-9a-f] )
number ::= "-"? ( "0" | [1-9] [0-9]{0,15} ) ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,3} )?
ws ::= " "? | "\n" " "{0,16}
)";

bool IsNamePart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::Status Parse() {
    Space(true);
    while (at_ < text_.size()) TG_RETURN_IF_ERROR(ParseRule());
    if (!rules_.contains("root")) return base::InvalidArgument("the grammar has no rule \"root\"");
    for (const auto& [name, rule] : rules_) TG_RETURN_IF_ERROR(Visit(name));
    return absl::OkStatus();
  }

 private:
  // Places of its own, and what it refers to, how often each. Counts stop a little above the limit.
  struct Places {
    std::int64_t own = 0;
    std::vector<std::pair<std::string, std::int64_t>> refers;

    static std::int64_t Product(std::int64_t a, std::int64_t b) { return std::min(a * b, kPlacesMax + 1); }
    void Add(Places more, std::int64_t times) {
      own = std::min(own + Product(more.own, times), kPlacesMax + 1);
      for (auto& [name, count] : more.refers) refers.emplace_back(std::move(name), Product(count, times));
    }
  };
  struct Rule {
    Places places;
    std::int64_t all = 0;  // With those of what it refers to, once done.
    enum { kNew, kOpen, kDone } state = kNew;
  };

  char Now() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(char c) {
    if (Now() != c) return false;
    ++at_;
    return true;
  }
  absl::Status Bad(std::string_view what) const {
    return base::InvalidArgument(fmt::format("the grammar is refused at byte {}: {}", at_, what));
  }

  void Space(bool line_breaks) {
    while (at_ < text_.size()) {
      const char c = Now();
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || (line_breaks && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string Name() {
    const std::size_t from = at_;
    while (IsNamePart(Now())) ++at_;
    return std::string(text_.substr(from, at_ - from));
  }

  absl::Status ParseRule() {
    current_ = Name();
    Space(false);
    if (current_.empty() || !text_.substr(at_).starts_with("::=")) return Bad("a rule is NAME ::= …, its name of letters, digits and -");
    at_ += 3;
    if (!rules_.emplace(current_, Rule{}).second) return Bad(fmt::format("the rule {} stands twice", current_));
    if (rules_.size() > kRulesMax) return Bad(fmt::format("it has more than {} rules", kRulesMax));
    Space(true);
    TG_RETURN_IF_ERROR(Alternatives(0, rules_[current_].places));
    if (at_ < text_.size() && Now() != '\n' && Now() != '\r') return Bad("the rule should end here");
    Space(true);
    return absl::OkStatus();
  }

  absl::Status Alternatives(int depth, Places& places) {
    if (depth > kDepthMax) return Bad(fmt::format("parentheses are nested deeper than {}", kDepthMax));
    do {
      Space(true);
      ++places.own;
      TG_RETURN_IF_ERROR(Sequence(depth, places));
    } while (Take('|'));
    return absl::OkStatus();
  }

  absl::Status Sequence(int depth, Places& places) {
    for (;;) {
      const char c = Now();
      const std::size_t from = at_;
      Places item{1, {}};
      std::int64_t times = 1;
      if (c == '"' || c == '[') {
        ++at_;
        TG_RETURN_IF_ERROR(Quoted(c == '"' ? '"' : ']'));
        item.own = static_cast<std::int64_t>(at_ - from);
      } else if (c == '(') {
        ++at_;
        TG_RETURN_IF_ERROR(Alternatives(depth + 1, item));
        if (!Take(')')) return Bad("a parenthesis is not closed");
      } else if (IsNamePart(c)) {
        item = {1, {{Name(), 1}}};
      } else if (!Take('.')) {
        return absl::OkStatus();
      }
      Space(depth > 0);
      if (Take('{')) {
        TG_RETURN_IF_ERROR(Repetition(times));
      } else if (!Take('*') && !Take('+')) {
        Take('?');
      }
      places.Add(std::move(item), times);
      Space(depth > 0);
    }
  }

  // A literal or a set of characters, after its first quote or bracket.
  absl::Status Quoted(char end) {
    if (end == ']') Take('^');
    if (Now() == end) return Bad("a literal or a set is empty");
    while (!Take(end)) {
      if (at_ >= text_.size()) return Bad("a literal or a set is not closed");
      if (!Take('\\')) {
        ++at_;
        continue;
      }
      const std::size_t digits = Take('x') ? 2 : Take('u') ? 4 : Take('U') ? 8 : 0;
      for (std::size_t i = 0; i < digits; ++i, ++at_) {
        if (std::isxdigit(static_cast<unsigned char>(Now())) == 0) return Bad("\\x takes 2 hexadecimal digits, \\u 4 and \\U 8");
      }
      if (digits == 0 && std::string_view("tnr\\\"[]").find(Now()) == std::string_view::npos) return Bad("an unknown escape");
      if (digits == 0) ++at_;
    }
    return absl::OkStatus();
  }

  std::optional<std::int64_t> Number() {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (error != std::errc() || Now() == '-' || number > kRepetitionsMax) return std::nullopt;
    at_ = static_cast<std::size_t>(end - text_.data());
    return number;
  }

  // {n}, {n,} or {n,m}, after the brace.
  absl::Status Repetition(std::int64_t& times) {
    const auto least = Number();
    if (!least) return Bad(fmt::format("a repetition is {{n}}, {{n,}} or {{n,m}} of at most {}", kRepetitionsMax));
    std::int64_t most = *least;
    if (Take(',') && Now() != '}') {
      const auto given = Number();
      if (!given || *given < *least) return Bad(fmt::format("a repetition is {{n}}, {{n,}} or {{n,m}} of at most {}", kRepetitionsMax));
      most = *given;
    }
    if (!Take('}')) return Bad("a repetition is not closed");
    times = std::max<std::int64_t>(most, 1);
    repetitions_ *= times;
    if (repetitions_ > kRepetitionsMax) return Bad(fmt::format("its repetitions multiply to more than {}", kRepetitionsMax));
    return absl::OkStatus();
  }

  absl::Status Visit(const std::string& name) {
    const auto rule = rules_.find(name);
    if (rule == rules_.end()) return base::InvalidArgument(fmt::format("the grammar refers to a rule {}, which it does not have", name));
    if (rule->second.state == Rule::kDone) return absl::OkStatus();
    if (rule->second.state == Rule::kOpen)
      return base::InvalidArgument(fmt::format("the grammar's rule {} refers to itself: write it with * or + instead", name));
    rule->second.state = Rule::kOpen;
    std::int64_t all = rule->second.places.own;
    for (const auto& [other, times] : rule->second.places.refers) {
      TG_RETURN_IF_ERROR(Visit(other));
      all = std::min(all + Places::Product(rules_[other].all, times), kPlacesMax + 1);
    }
    if (all > kPlacesMax) {
      return base::InvalidArgument(
          fmt::format("the grammar's rule {} has more than {} places once all that it refers to is written out", name, kPlacesMax));
    }
    rule->second.all = all;
    rule->second.state = Rule::kDone;
    return absl::OkStatus();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::int64_t repetitions_ = 1;
  std::string current_;
  std::map<std::string, Rule> rules_;
};

}  // namespace

std::string_view JsonGrammar() { return kJson; }

absl::Status CheckGrammar(std::string_view gbnf) {
  if (gbnf.size() > kBytesMax)
    return base::InvalidArgument(fmt::format("the grammar has {} bytes; at most {} are allowed", gbnf.size(), kBytesMax));
  if (gbnf.find('\0') != std::string_view::npos || !base::IsValidUtf8(gbnf)) return base::InvalidArgument("the grammar is not text");
  return Parser(gbnf).Parse();
}

}  // namespace tollgate::inference
