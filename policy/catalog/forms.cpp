// A row's regex says what its number or key looks like. What is the same for all rows is worked into the tree: where a word begins and
// ends, and what may stand between groups of digits.
//
// Tested by tests/policy/word_edges_test.cpp.
#include "policy/catalog/forms.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "policy/regex_class.h"

namespace tollgate::policy {
namespace {

// The characters that a word of the pattern may begin, or end, with.
void AddOuter(const RegexNode& node, bool front, std::vector<CodeRange>& out) {
  if (node.kind == RegexNode::Kind::kSet) out.insert(out.end(), node.set.begin(), node.set.end());
  for (std::size_t i = 0; i < node.kids.size(); ++i) {
    const RegexNode& kid = node.kids[front ? i : node.kids.size() - 1 - i];
    AddOuter(kid, front, out);
    if (node.kind == RegexNode::Kind::kConcat && WidthOf(kid).min > 0) return;
  }
}

bool MayHaveOutside(const RegexNode& node, bool front, char32_t c) {
  std::vector<CodeRange> outer;
  AddOuter(node, front, outer);
  return std::any_of(outer.begin(), outer.end(), [c](const CodeRange& range) { return range.lo <= c && c <= range.hi; });
}

// A word's edge becomes one of letters and digits, at which '_' may stand too: on the left as part of the match, because a stream must keep
// it until it is known what it parts; on the right the match is whole by then.
void LetUnderscoresPart(RegexNode& node, bool front = true) {
  if (node.kind == RegexNode::Kind::kAssert && node.assertion == "\\b") {
    if (!front) {
      node.assertion = "(?:\\b|_)";
      return;
    }
    RegexNode either, underscore;
    either.kind = RegexNode::Kind::kAlternate;
    underscore.kind = RegexNode::Kind::kSet;
    underscore.set = {{'_', '_'}};
    either.kids = {node, underscore};
    node = std::move(either);
    return;
  }
  for (std::size_t i = 0; i < node.kids.size(); ++i)
    LetUnderscoresPart(node.kids[i], front && (i == 0 || node.kind == RegexNode::Kind::kAlternate));
}

bool Holds(const RegexNode& set, char32_t lo, char32_t hi) {
  return std::any_of(set.set.begin(), set.set.end(), [&](const CodeRange& range) { return range.lo <= hi && range.hi >= lo; });
}

// A blank, or what may stand for it, between groups of an identifier.
bool IsGap(const RegexNode& node) {
  return node.kind == RegexNode::Kind::kSet && Holds(node, ' ', ' ') && !Holds(node, '0', '9') && !Holds(node, 'A', 'z');
}

bool IsLetter(const RegexNode& node) {
  if (node.kind == RegexNode::Kind::kRepeat) return IsLetter(node.kids[0]);
  return node.kind == RegexNode::Kind::kSet && !Holds(node, '0', '9');
}

}  // namespace

void MakeWordEdges(PatternSpec& spec) {
  spec.parted_left = !MayHaveOutside(spec.regex, true, '_');
  spec.parted_right = !MayHaveOutside(spec.regex, false, '_');
  LetUnderscoresPart(spec.regex);
}

void WidenGaps(RegexNode& node) {
  for (std::size_t i = 0; i < node.kids.size(); ++i) {
    RegexNode& kid = node.kids[i];
    const bool optional = kid.kind == RegexNode::Kind::kRepeat && kid.max == 1;
    const RegexNode& gap = optional ? kid.kids[0] : kid;
    if (!IsGap(gap)) {
      WidenGaps(kid);
      continue;
    }
    if (i == 0 || IsLetter(node.kids[i - 1])) continue;
    RegexNode wide;
    wide.kind = RegexNode::Kind::kRepeat;
    wide.min = optional ? 0 : 1;
    wide.max = 2;
    wide.kids = {gap};
    for (const char32_t c : {'\t', '\n', '\r'}) wide.kids[0].set.push_back({c, c});
    wide.kids[0].set = NormaliseRanges(std::move(wide.kids[0].set));
    kid = std::move(wide);
  }
}

}  // namespace tollgate::policy
