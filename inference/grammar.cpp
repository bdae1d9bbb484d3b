// How it works. All readings of a text are followed at once (grammar_follower.h): where a rule refers to itself in two ways they multiply
// with each character. Without recursion they are bounded by the places in the grammar once each reference is replaced by what it stands
// for: forty rules of two alternatives can make 2^40. So one scan writes the rules out and finds what each refers to and how often, how
// deep it nests and what its repetitions multiply to; of a caller's grammar, a depth-first search then looks for a circle and adds the
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
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/grammar_rules.h"

namespace tollgate::inference {
namespace {

constexpr std::size_t kBytesMax = 16 << 10;
constexpr std::size_t kRulesMax = 512;
constexpr int kDepthMax = 32;
constexpr std::int64_t kRepetitionsMax = 10'000;
constexpr std::int64_t kPlacesMax = 1 << 16;
constexpr std::size_t kElementsMax = 1 << 18;

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

using Element = GrammarRules::Element;
using Ranges = GrammarRules::Ranges;
using Items = std::vector<Element>;
using Body = std::vector<Items>;  // Alternatives.

class Parser {
 public:
  // `bounded`: as a caller's.
  Parser(std::string_view text, bool bounded) : text_(text), bounded_(bounded) {}

  absl::Status Parse() {
    Space(true);
    while (at_ < text_.size()) TG_RETURN_IF_ERROR(ParseRule());
    if (!rules_.contains("root")) return base::InvalidArgument("the grammar has no rule \"root\"");
    for (const auto& [name, id] : ids_) {
      if (!rules_.contains(name))
        return base::InvalidArgument(fmt::format("the grammar refers to a rule {}, which it does not have", name));
    }
    for (const auto& [name, rule] : rules_) {
      if (bounded_) TG_RETURN_IF_ERROR(Visit(name));
    }
    return absl::OkStatus();
  }

  // Once it is parsed.
  GrammarRules Rules() && {
    GrammarRules rules{{}, {}, std::move(sets_), ids_.at("root")};
    for (const Body& body : bodies_) {
      std::vector<std::uint32_t>& begins = rules.rules.emplace_back();
      for (const Items& items : body) {
        begins.push_back(static_cast<std::uint32_t>(rules.elements.size()));
        rules.elements.insert(rules.elements.end(), items.begin(), items.end());
        rules.elements.push_back({});
      }
    }
    return rules;
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
    if (bounded_ && rules_.size() > kRulesMax) return Bad(fmt::format("it has more than {} rules", kRulesMax));
    Space(true);
    Body body;
    TG_RETURN_IF_ERROR(Alternatives(0, rules_[current_].places, body));
    bodies_[IdOf(current_)] = std::move(body);
    if (at_ < text_.size() && Now() != '\n' && Now() != '\r') return Bad("the rule should end here");
    Space(true);
    return absl::OkStatus();
  }

  std::uint32_t IdOf(const std::string& name) {
    const auto [at, is_new] = ids_.try_emplace(name, static_cast<std::uint32_t>(bodies_.size()));
    if (is_new) bodies_.emplace_back();
    return at->second;
  }

  // A rule without a name.
  Element Unnamed(Body body) {
    for (const Items& items : body) written_ += items.size() + 1;
    bodies_.push_back(std::move(body));
    return {Element::kRule, static_cast<std::uint32_t>(bodies_.size() - 1)};
  }

  Element SetOf(const Ranges& ranges) {
    const auto [at, is_new] = set_ids_.try_emplace(ranges, static_cast<std::uint32_t>(sets_.size()));
    if (is_new) sets_.push_back(ranges);
    return {Element::kSet, at->second};
  }

  // Of one character, as most of a grammar are. One that no text has: the empty set.
  Element SetOf(std::uint32_t point) {
    const auto [at, is_new] = point_ids_.try_emplace(point, static_cast<std::uint32_t>(sets_.size()));
    const bool none = point == 0 || (point >= 0xD800 && point <= 0xDFFF) || point > 0x10FFFF;
    if (is_new) sets_.push_back(none ? Ranges() : Ranges{{point, point}});
    return {Element::kSet, at->second};
  }

  absl::Status Alternatives(int depth, Places& places, Body& body) {
    if (depth > kDepthMax) return Bad(fmt::format("parentheses are nested deeper than {}", kDepthMax));
    do {
      Space(true);
      ++places.own;
      TG_RETURN_IF_ERROR(Sequence(depth, places, body.emplace_back()));
    } while (Take('|'));
    return absl::OkStatus();
  }

  absl::Status Sequence(int depth, Places& places, Items& all) {
    for (;;) {
      const char c = Now();
      const std::size_t from = at_;
      Places item{1, {}};
      Items made;
      if (c == '"' || c == '[') {
        ++at_;
        TG_RETURN_IF_ERROR(c == '"' ? Literal(made) : Set(made));
        item.own = static_cast<std::int64_t>(at_ - from);
      } else if (c == '(') {
        ++at_;
        Body body;
        TG_RETURN_IF_ERROR(Alternatives(depth + 1, item, body));
        if (!Take(')')) return Bad("a parenthesis is not closed");
        made.push_back(Unnamed(std::move(body)));
      } else if (IsNamePart(c)) {
        const std::string name = Name();
        made.push_back({Element::kRule, IdOf(name)});
        item = {1, {{name, 1}}};
      } else if (Take('.')) {
        made.push_back(SetOf(OtherCharacters({})));
      } else {
        return absl::OkStatus();
      }
      Space(depth > 0);
      Times times{1, 1};
      TG_RETURN_IF_ERROR(Quantifier(times));
      Repeat(std::move(made), times, all);
      if (written_ + all.size() > kElementsMax) return Bad("it is too large once its repetitions are written out");
      places.Add(std::move(item), std::max<std::int64_t>({times.least, times.most, 1}));
      Space(depth > 0);
    }
  }

  struct Times {
    std::int64_t least;
    std::int64_t most;  // Negative: no end.
  };

  void Repeat(Items item, Times times, Items& all) {
    if (times.least == 1 && times.most == 1) {
      all.insert(all.end(), item.begin(), item.end());
      return;
    }
    const Element one = item.size() == 1 ? item[0] : Unnamed({std::move(item)});
    all.insert(all.end(), static_cast<std::size_t>(times.least), one);
    if (times.most < 0) {
      const Element again = Unnamed({});
      bodies_[again.index] = {{one, again}, {}};
      all.push_back(again);
      return;
    }
    Items rest;  // What may still come.
    for (std::int64_t i = times.least; i < times.most; ++i) {
      Items more = {one};
      more.insert(more.end(), rest.begin(), rest.end());
      rest = {Unnamed({std::move(more), {}})};
    }
    all.insert(all.end(), rest.begin(), rest.end());
  }

  absl::Status Literal(Items& items) {
    if (Now() == '"') return Bad("a literal or a set is empty");
    while (!Take('"')) {
      TG_ASSIGN(const std::uint32_t point, Character());
      items.push_back(SetOf(point));
    }
    return absl::OkStatus();
  }

  absl::Status Set(Items& items) {
    const bool others = Take('^');
    if (Now() == ']') return Bad("a literal or a set is empty");
    Ranges ranges;
    while (!Take(']')) {
      TG_ASSIGN(const std::uint32_t first, Character());
      std::uint32_t last = first;
      if (Now() == '-' && text_.substr(at_).size() > 1 && text_[at_ + 1] != ']') {
        ++at_;
        TG_ASSIGN(last, Character());
      }
      ranges.emplace_back(first, last);
    }
    ranges = OtherCharacters(std::move(ranges));
    items.push_back(SetOf(others ? ranges : OtherCharacters(ranges)));
    return absl::OkStatus();
  }

  // Of a literal or a set, with an escape or without.
  absl::StatusOr<std::uint32_t> Character() {
    if (at_ >= text_.size()) return Bad("a literal or a set is not closed");
    if (Take('\\')) return Escape();
    const auto lead = static_cast<std::uint8_t>(text_[at_++]);
    if (lead < 0x80) return std::uint32_t{lead};
    int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    std::uint32_t point = lead & (0x3FU >> more);
    for (; more > 0 && at_ < text_.size(); --more) point = (point << 6) | (static_cast<std::uint8_t>(text_[at_++]) & 0x3FU);
    return point;
  }

  absl::StatusOr<std::uint32_t> Escape() {
    const int digits = Take('x') ? 2 : Take('u') ? 4 : Take('U') ? 8 : 0;
    std::uint32_t point = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      if (std::isxdigit(static_cast<unsigned char>(Now())) == 0) return Bad("\\x takes 2 hexadecimal digits, \\u 4 and \\U 8");
      point = (point << 4) | static_cast<std::uint32_t>(Now() <= '9' ? Now() - '0' : (Now() | 0x20) - 'a' + 10);
    }
    if (digits > 0) return point;
    const std::size_t known = std::string_view("tnr\\\"[]").find(Now());
    if (known == std::string_view::npos) return Bad("an unknown escape");
    ++at_;
    return static_cast<std::uint32_t>("\t\n\r\\\"[]"[known]);
  }

  std::optional<std::int64_t> Number() {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (error != std::errc() || Now() == '-' || number > kRepetitionsMax) return std::nullopt;
    at_ = static_cast<std::size_t>(end - text_.data());
    return number;
  }

  absl::Status Quantifier(Times& times) {
    if (Take('{')) return Repetition(times);
    if (Take('*')) {
      times = {0, -1};
    } else if (Take('+')) {
      times = {1, -1};
    } else if (Take('?')) {
      times = {0, 1};
    }
    return absl::OkStatus();
  }

  // {n}, {n,} or {n,m}, after the brace.
  absl::Status Repetition(Times& times) {
    const auto least = Number();
    if (!least) return Bad(fmt::format("a repetition is {{n}}, {{n,}} or {{n,m}} of at most {}", kRepetitionsMax));
    times = {*least, *least};
    if (Take(',')) {
      times.most = -1;
      if (Now() != '}') {
        const auto most = Number();
        if (!most || *most < *least) return Bad(fmt::format("a repetition is {{n}}, {{n,}} or {{n,m}} of at most {}", kRepetitionsMax));
        times.most = *most;
      }
    }
    if (!Take('}')) return Bad("a repetition is not closed");
    if (!bounded_) return absl::OkStatus();
    repetitions_ *= std::max<std::int64_t>({times.least, times.most, 1});
    if (repetitions_ > kRepetitionsMax) return Bad(fmt::format("its repetitions multiply to more than {}", kRepetitionsMax));
    return absl::OkStatus();
  }

  absl::Status Visit(const std::string& name) {
    const auto rule = rules_.find(name);
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
  bool bounded_;
  std::size_t at_ = 0;
  std::int64_t repetitions_ = 1;
  std::string current_;
  std::map<std::string, Rule> rules_;
  std::map<std::string, std::uint32_t> ids_;  // In bodies_; of rules that are referred to, too.
  std::vector<Body> bodies_;
  std::vector<Ranges> sets_;
  std::map<Ranges, std::uint32_t> set_ids_;
  std::unordered_map<std::uint32_t, std::uint32_t> point_ids_;
  std::size_t written_ = 0;  // Elements of rules without names.
};

}  // namespace

std::string_view JsonGrammar() { return kJson; }

absl::Status CheckGrammar(std::string_view gbnf) {
  if (gbnf.size() > kBytesMax)
    return base::InvalidArgument(fmt::format("the grammar has {} bytes; at most {} are allowed", gbnf.size(), kBytesMax));
  if (gbnf.find('\0') != std::string_view::npos || !base::IsValidUtf8(gbnf)) return base::InvalidArgument("the grammar is not text");
  return Parser(gbnf, true).Parse();
}

absl::StatusOr<GrammarRules> ReadGrammar(std::string_view gbnf) {
  if (!base::IsValidUtf8(gbnf)) return base::InvalidArgument("the grammar is not text");
  Parser parser(gbnf, false);
  TG_RETURN_IF_ERROR(parser.Parse());
  return std::move(parser).Rules();
}

}  // namespace tollgate::inference
