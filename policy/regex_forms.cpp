// It is done to the tree, not to the pattern's text, where a repeat of é would become one of its accent: a set of letters becomes the
// choice between it and letters with their accents behind them, and a letter in pieces the choice between them and the whole. A typographic
// quotation mark or hyphen in a word (driver’s) is also the one of ASCII, which the plain form of a text has; by itself, or in a class, it
// is what the pattern is about. What stays equal is what the pattern finds in text of its own form.
//
// Tested by tests/policy/disguise_test.cpp.
#include "policy/regex_forms.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "policy/fold.h"
#include "policy/plain_form.h"
#include "policy/regex_class.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kLettersMax = 16;  // Each is one more way to go on.
constexpr std::size_t kPiecesMax = 4;    // Vietnamese has two accents on a letter, Greek three.

using Kind = RegexNode::Kind;

RegexNode Set(std::vector<CodeRange> ranges) {
  RegexNode out;
  out.kind = Kind::kSet;
  out.set = NormaliseRanges(std::move(ranges));
  return out;
}

RegexNode Node(Kind kind, std::vector<RegexNode> kids) {
  RegexNode out;
  out.kind = kind;
  out.kids = std::move(kids);
  return out;
}

std::string Utf8(char32_t c) {
  std::string out;
  AppendUtf8(c, out);
  return out;
}

std::vector<char32_t> CodePoints(std::string_view text) {
  std::vector<char32_t> out;
  for (std::size_t at = 0, length = 1; at < text.size(); at += length) out.push_back(DecodeAt(text, at, length));
  return out;
}

// What the set holds from `first` on; nothing if that is much.
std::vector<char32_t> Members(const RegexNode& set, char32_t first) {
  std::vector<char32_t> out;
  for (const CodeRange& range : set.set) {
    for (char32_t c = std::max(range.lo, first); c <= range.hi; ++c) {
      if (out.size() == kLettersMax) return {};
      out.push_back(c);
    }
  }
  return out;
}

RegexNode OrInPieces(const RegexNode& set) {
  std::map<std::vector<char32_t>, std::vector<CodeRange>> letters;  // By their accents.
  for (const char32_t c : Members(set, 0x80)) {
    const std::vector<char32_t> pieces = CodePoints(Decomposed(Utf8(c)));
    if (pieces.size() > 1) letters[{pieces.begin() + 1, pieces.end()}].push_back({pieces[0], pieces[0]});
  }
  if (letters.empty()) return set;
  std::vector<RegexNode> ways = {set};
  for (auto& [accents, its] : letters) {
    std::vector<RegexNode> kids = {Set(std::move(its))};
    for (const char32_t accent : accents) kids.push_back(Set({{accent, accent}}));
    ways.push_back(Node(Kind::kConcat, std::move(kids)));
  }
  return Node(Kind::kAlternate, std::move(ways));
}

// Of how many kids from `at` on one letter is made, the most: then `whole` has it, in its cases. 1: none is.
std::size_t PiecesAt(const std::vector<RegexNode>& kids, std::size_t at, std::vector<CodeRange>& whole) {
  std::size_t out = 1;
  if (kids[at].kind != Kind::kSet) return out;
  const std::vector<char32_t> letters = Members(kids[at], 0);
  std::string accents;
  for (std::size_t i = at + 1; i < std::min(kids.size(), at + kPiecesMax) && !letters.empty(); ++i) {
    constexpr char32_t kFirstAccent = 0x300;
    const std::vector<CodeRange>& accent = kids[i].set;
    if (accent.size() != 1 || accent[0].lo != accent[0].hi || accent[0].lo < kFirstAccent) break;
    AppendUtf8(accent[0].lo, accents);
    std::vector<CodeRange> its;
    for (const char32_t letter : letters) {
      const std::vector<char32_t> composed = CodePoints(Composed(Utf8(letter) + accents));
      if (composed.size() == 1) its.push_back({composed[0], composed[0]});
    }
    if (its.empty()) continue;
    out = i - at + 1;
    whole = std::move(its);
  }
  return out;
}

const RegexNode& Repeated(const RegexNode& node) { return node.kind == Kind::kRepeat ? node.kids[0] : node; }

bool HoldsLetter(const RegexNode& node) {
  const RegexNode& its = Repeated(node);
  return its.kind == Kind::kSet && !its.set.empty() && IsWordCodePoint(its.set[0].lo);
}

// `node`, with the mark of ASCII that its one character reads as.
RegexNode OrPlainMark(RegexNode node) {
  RegexNode& its = node.kind == Kind::kRepeat ? node.kids[0] : node;
  std::string mark;
  if (its.kind != Kind::kSet || its.set.size() != 1 || its.set[0].lo != its.set[0].hi || !ReadsAsMarks(its.set[0].lo, mark)) return node;
  if (mark == "'" || mark == "\"" || mark == "-") {
    const auto plain = static_cast<char32_t>(mark[0]);
    its = Set({{plain, plain}, its.set[0]});
  }
  return node;
}

// A concatenation's kids, with marks beside letters in both ways.
std::vector<RegexNode> WithPlainMarks(const std::vector<RegexNode>& kids) {
  std::vector<RegexNode> out;
  for (std::size_t at = 0; at < kids.size(); ++at) {
    const bool in_word = (at > 0 && HoldsLetter(kids[at - 1])) || (at + 1 < kids.size() && HoldsLetter(kids[at + 1]));
    out.push_back(in_word ? OrPlainMark(kids[at]) : kids[at]);
  }
  return out;
}

}  // namespace

RegexNode InBothForms(const RegexNode& written) {
  if (written.kind == Kind::kSet) return OrInPieces(written);
  RegexNode node = written;
  if (node.kind == Kind::kConcat) node.kids = WithPlainMarks(written.kids);
  RegexNode out = node;
  out.kids.clear();
  for (std::size_t at = 0; at < node.kids.size();) {
    std::vector<CodeRange> whole;
    const std::size_t pieces = node.kind == Kind::kConcat ? PiecesAt(node.kids, at, whole) : 1;
    if (pieces == 1) {
      out.kids.push_back(InBothForms(node.kids[at]));
    } else {
      const auto first = node.kids.begin() + static_cast<std::ptrdiff_t>(at);
      RegexNode written = Node(Kind::kConcat, {first, first + static_cast<std::ptrdiff_t>(pieces)});
      out.kids.push_back(Node(Kind::kAlternate, {std::move(written), Set(std::move(whole))}));
    }
    at += pieces;
  }
  return out;
}

}  // namespace tollgate::policy
