// A recursive-descent parser. Case-insensitivity and the dot's flag are worked into the sets, so the tree has no flags: what is printed
// means the same wherever it is pasted, which the prefix closure relies on.
//
// Tested by tests/policy/regex_test.cpp.
#include "policy/regex_syntax.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "policy/fold.h"
#include "policy/regex_class.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kPatternBytesMax = 4096;
constexpr int kDepthMax = 40;
constexpr int kRepeatMax = 1000;

class Parser {
 public:
  Parser(std::string_view pattern, bool ignore_case) : in_(pattern) { flags_.ignore_case = ignore_case; }

  absl::StatusOr<RegexNode> Run() {
    if (in_.size() > kPatternBytesMax) return base::InvalidArgument("a pattern is at most 4096 bytes; split it into several");
    TG_ASSIGN(RegexNode all, Alternation(0));
    if (at_ < in_.size()) return Wrong("an unmatched ')'; write \\) for the character itself");
    return all;
  }

 private:
  struct Flags {
    bool ignore_case = false, multi_line = false, dot_newline = false;
  };

  absl::Status Wrong(std::string_view what) const { return base::InvalidArgument(fmt::format("at character {}: {}", at_ + 1, what)); }
  bool End() const { return at_ >= in_.size(); }
  char Peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool Take(std::string_view text) {
    if (in_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  static RegexNode Set(std::vector<CodeRange> ranges) {
    RegexNode node;
    node.kind = RegexNode::Kind::kSet;
    node.set = NormaliseRanges(std::move(ranges));
    return node;
  }
  RegexNode Literal(char32_t c) const {
    std::vector<CodeRange> one = {{c, c}};
    if (flags_.ignore_case) AddOtherCases(one);
    return Set(std::move(one));
  }
  RegexNode NextLiteral() {
    std::size_t length = 0;
    const char32_t c = DecodeAt(in_, at_, length);
    at_ += length;
    return Literal(c);
  }
  static RegexNode Assertion(std::string text) {
    RegexNode node;
    node.kind = RegexNode::Kind::kAssert;
    node.assertion = std::move(text);
    return node;
  }

  absl::StatusOr<RegexNode> Alternation(int depth) {
    if (depth > kDepthMax) return Wrong("groups are nested too deeply; at most 40 levels");
    std::vector<RegexNode> branches;
    do {
      TG_ASSIGN(RegexNode branch, Concatenation(depth));
      branches.push_back(std::move(branch));
    } while (Take("|"));
    if (branches.size() == 1) return std::move(branches[0]);
    RegexNode node;
    node.kind = RegexNode::Kind::kAlternate;
    node.kids = std::move(branches);
    return node;
  }

  absl::StatusOr<RegexNode> Concatenation(int depth) {
    RegexNode node;
    while (!End() && Peek() != '|' && Peek() != ')') {
      if (Take("(?")) {
        TG_ASSIGN(std::optional<RegexNode> group, SpecialGroup(depth));
        if (!group) continue;  // Flags for the rest of this group.
        TG_ASSIGN(RegexNode repeated, Quantifiers(*std::move(group)));
        node.kids.push_back(std::move(repeated));
        continue;
      }
      if (Take("\\Q")) {
        TG_RETURN_IF_ERROR(Quoted(node.kids));
        continue;
      }
      TG_ASSIGN(RegexNode atom, Atom(depth));
      TG_ASSIGN(RegexNode repeated, Quantifiers(std::move(atom)));
      node.kids.push_back(std::move(repeated));
    }
    if (node.kids.size() == 1) return std::move(node.kids[0]);
    return node;
  }

  // Behind "\Q": literals up to "\E" or the pattern's end, of which a quantifier repeats the last.
  absl::Status Quoted(std::vector<RegexNode>& kids) {
    const std::size_t before = kids.size();
    while (!End() && !Take("\\E")) kids.push_back(NextLiteral());
    if (kids.size() == before) return absl::OkStatus();
    TG_ASSIGN(kids.back(), Quantifiers(std::move(kids.back())));
    return absl::OkStatus();
  }

  absl::StatusOr<RegexNode> Group(int depth) {
    const Flags outer = flags_;
    TG_ASSIGN(RegexNode inside, Alternation(depth + 1));
    if (!Take(")")) return Wrong("a group is not closed; add ')'");
    flags_ = outer;
    return inside;
  }

  // After "(?". No node: flags were set for what follows in the enclosing group.
  absl::StatusOr<std::optional<RegexNode>> SpecialGroup(int depth) {
    if (Peek() == '=' || Peek() == '!' || (Peek() == '<' && (Peek(1) == '=' || Peek(1) == '!'))) {
      return Wrong("look-around is not supported; match the context too, or use keywords with whole_word");
    }
    if (Take("P<")) {
      while (!End() && Peek() != '>') ++at_;
      if (!Take(">")) return Wrong("a group's name is not closed; add '>'");
      TG_ASSIGN(RegexNode group, Group(depth));
      return std::optional<RegexNode>(std::move(group));
    }
    Flags flags = flags_;
    bool on = true;
    for (; !End() && Peek() != ')' && Peek() != ':'; ++at_) {
      switch (Peek()) {
        case '-': on = false; break;
        case 'i': flags.ignore_case = on; break;
        case 'm': flags.multi_line = on; break;
        case 's': flags.dot_newline = on; break;
        default: return Wrong("unknown group flag; the flags are i, m and s");
      }
    }
    if (Take(")")) {
      flags_ = flags;
      return std::optional<RegexNode>();
    }
    if (!Take(":")) return Wrong("a group is not closed; add ')'");
    const Flags outer = flags_;
    flags_ = flags;
    TG_ASSIGN(RegexNode group, Group(depth));
    flags_ = outer;
    return std::optional<RegexNode>(std::move(group));
  }

  absl::StatusOr<RegexNode> Atom(int depth) {
    switch (Peek()) {
      case '(': ++at_; return Group(depth);
      case '[': return Class();
      case '.': ++at_; return flags_.dot_newline ? Set({{0, 0x10FFFF}}) : Set({{0, '\n' - 1}, {'\n' + 1, 0x10FFFF}});
      case '^': ++at_; return Assertion(flags_.multi_line ? "(?m:^)" : "\\A");
      case '$': ++at_; return Assertion(flags_.multi_line ? "(?m:$)" : "\\z");
      case '*':
      case '+':
      case '?': return Wrong("nothing to repeat; write \\ before the character to mean itself");
      case '\\': return Escape();
      default: break;
    }
    return NextLiteral();
  }

  absl::StatusOr<RegexNode> Escape() {
    const char c = Peek(1);
    if (c == 'b' || c == 'B' || c == 'A' || c == 'z') {
      at_ += 2;
      return Assertion(std::string("\\") + c);
    }
    ClassReader reader(in_, at_, flags_.ignore_case);
    TG_ASSIGN(ClassItem item, reader.EscapeItem());
    at_ = reader.position();
    if (item.is_class) return Set(std::move(item.ranges));
    return Literal(item.ranges[0].lo);
  }

  absl::StatusOr<RegexNode> Class() {
    ClassReader reader(in_, at_, flags_.ignore_case);
    TG_ASSIGN(std::vector<CodeRange> ranges, reader.Bracket());
    at_ = reader.position();
    return Set(std::move(ranges));
  }

  // "{n}", "{n,}" or "{n,m}" at the cursor; otherwise the brace is a literal, as in RE2.
  std::optional<std::pair<int, int>> Count() {
    std::size_t i = at_ + 1;
    const auto number = [&]() -> int {
      int value = -1;
      for (; i < in_.size() && in_[i] >= '0' && in_[i] <= '9'; ++i) value = std::min((value < 0 ? 0 : value) * 10 + (in_[i] - '0'), 100000);
      return value;
    };
    const int least = number();
    if (least < 0) return std::nullopt;
    int most = least;
    if (i < in_.size() && in_[i] == ',') {
      ++i;
      most = number();  // -1: none given.
    }
    if (i >= in_.size() || in_[i] != '}') return std::nullopt;
    at_ = i + 1;
    return std::pair(least, most);
  }

  absl::StatusOr<RegexNode> Quantifiers(RegexNode atom) {
    bool repeated = false;
    while (!End()) {
      std::pair<int, int> count;
      if (Take("*"))
        count = {0, RegexNode::kUnbounded};
      else if (Take("+"))
        count = {1, RegexNode::kUnbounded};
      else if (Take("?"))
        count = {0, 1};
      else if (Peek() != '{')
        break;
      else if (auto counted = Count())
        count = *counted;
      else
        break;
      if (repeated) return Wrong("a repeat of a repeat; put the inner one in a group (?:…)");
      if (Peek() == '?')
        return Wrong("lazy quantifiers are not supported, matches are leftmost-longest; use a negated class such as [^\"]*");
      if (Peek() == '+') return Wrong("possessive quantifiers are not supported; put the inner repeat in a group (?:…)");
      const bool unbounded = count.second == RegexNode::kUnbounded;
      if (count.first > kRepeatMax || count.second > kRepeatMax) return Wrong("a repeat is at most 1000");
      if (!unbounded && count.second < count.first) return Wrong("a repeat {n,m} needs n <= m");
      RegexNode node;
      node.kind = RegexNode::Kind::kRepeat;
      node.min = count.first;
      node.max = count.second;
      node.kids.push_back(std::move(atom));
      atom = std::move(node);
      repeated = true;
    }
    return atom;
  }

  std::string_view in_;
  std::size_t at_ = 0;
  Flags flags_;
};

std::string PrintSet(const std::vector<CodeRange>& set) {
  const auto point = [](char32_t c) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return plain ? std::string(1, static_cast<char>(c)) : fmt::format("\\x{{{:x}}}", static_cast<std::uint32_t>(c));
  };
  if (set.empty()) return "[^\\x{0}-\\x{10ffff}]";
  if (set.size() == 1 && set[0].lo == set[0].hi) return point(set[0].lo);
  std::string out = "[";
  for (const CodeRange& range : set) {
    out += point(range.lo);
    if (range.hi > range.lo) out += "-" + point(range.hi);
  }
  return out + "]";
}

std::string Print(const RegexNode& node, bool loosen) {
  std::string out;
  switch (node.kind) {
    case RegexNode::Kind::kSet: return PrintSet(node.set);
    case RegexNode::Kind::kAssert: return node.assertion;
    case RegexNode::Kind::kConcat:
      for (const RegexNode& kid : node.kids) out += Print(kid, loosen);
      return out.empty() ? "(?:)" : "(?:" + out + ")";
    case RegexNode::Kind::kAlternate:
      for (const RegexNode& kid : node.kids) out += (out.empty() ? "(?:" : "|") + Print(kid, loosen);
      return out + ")";
    case RegexNode::Kind::kRepeat: break;
  }
  out = "(?:" + Print(node.kids[0], loosen) + ")";
  if (node.max == RegexNode::kUnbounded || (loosen && node.max > 2)) {
    if (node.min <= 1 || loosen) return out + (node.min == 0 ? "*" : "+");
    return out + fmt::format("{{{},}}", node.min);
  }
  return out + fmt::format("{{{},{}}}", node.min, node.max);
}

}  // namespace

absl::StatusOr<RegexNode> ParseRegex(std::string_view pattern, bool ignore_case) { return Parser(pattern, ignore_case).Run(); }
std::string PrintRegex(const RegexNode& node) { return Print(node, false); }
std::string PrintLoosened(const RegexNode& node) { return Print(node, true); }

}  // namespace tollgate::policy
