// The prefix closure P, over non-empty prefixes only:
//
//   P(c) = c            P(assertion) = nothing        P(R|S) = P(R) | P(S)
//   P(R S) = P(R) | R P(S)      P(R*) = R* P(R)       P(R{n,m}) = R{0,m-1} P(R)
//
// Because a prefix here is never empty, whatever stands before P(…) in the result is followed by at least one character, so assertions
// kept there see both their neighbours and are exact; assertions at the right edge, which the next byte still decides, are dropped:
// undecided counts as possible. Each repeat of a nested pattern contributes its body twice, once as it is and once as its prefixes, so
// the result grows with the nesting depth, not exponentially.
//
// Required literals: each node gives the finite set of its words while that is small ("exact") and otherwise the best set of factors
// found so far; a concatenation multiplies exact sets until they grow too large, and keeps the set whose shortest member is longest.
//
// Tested by tests/policy/regex_test.cpp.
#include "policy/regex_facts.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "policy/fold.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kExactWordsMax = 12;
constexpr std::size_t kExactBytesMax = 24;
constexpr std::size_t kRequiredSetsMax = 4;

std::string Show(const RegexNode& node, bool loosened) { return loosened ? PrintLoosened(node) : PrintRegex(node); }

std::string PrefixesOfConcat(const RegexNode& node, bool loosened) {
  std::string rest;  // P of the kids from here to the end.
  for (auto kid = node.kids.rbegin(); kid != node.kids.rend(); ++kid) {
    const std::string own = PrintPrefixes(*kid, loosened);
    if (!rest.empty()) rest = Show(*kid, loosened) + rest;
    if (!own.empty()) rest = rest.empty() ? own : own + "|" + rest;
    if (!rest.empty()) rest = "(?:" + rest + ")";
  }
  return rest;
}

using Words = std::vector<std::string>;
struct Literals {
  std::optional<Words> exact;  // All words, if few.
  Words required;
};

std::size_t Shortest(const Words& words) {
  std::size_t least = words.empty() ? 0 : words[0].size();
  for (const std::string& word : words) least = std::min(least, word.size());
  return least;
}

void KeepBetter(Words& best, const Words& other) {
  if (Shortest(other) > Shortest(best)) best = other;
}

Literals LiteralsOfSet(const RegexNode& node) {
  Words words;
  for (const CodeRange& range : node.set) {
    if (range.hi - range.lo > 40) return {};
    for (char32_t c = range.lo; c <= range.hi; ++c) {
      std::string word;
      AppendUtf8(FoldCodePoint(c), word);
      if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(std::move(word));
      if (words.size() > 4) return {};
    }
  }
  return {words, words};
}

Literals LiteralsOf(const RegexNode& node);

Literals LiteralsOfConcat(const RegexNode& node) {
  Literals out;
  std::optional<Words> run = Words{""};  // The words of the kids since the last break.
  bool whole = true;
  for (const RegexNode& kid : node.kids) {
    const Literals part = LiteralsOf(kid);
    KeepBetter(out.required, part.required);
    std::optional<Words> joined;
    if (part.exact && run->size() * part.exact->size() <= kExactWordsMax) {
      joined.emplace();
      for (const std::string& a : *run) {
        for (const std::string& b : *part.exact) joined->push_back(a + b);
      }
      if (Shortest(*joined) > kExactBytesMax) joined.reset();
    }
    if (joined) {
      run = std::move(joined);
    } else {
      KeepBetter(out.required, *run);
      run = part.exact && part.exact->size() <= kExactWordsMax ? *part.exact : Words{""};
      whole = false;
    }
  }
  KeepBetter(out.required, *run);
  if (whole) out.exact = run;
  return out;
}

Literals LiteralsOf(const RegexNode& node) {
  switch (node.kind) {
    case RegexNode::Kind::kSet: return LiteralsOfSet(node);
    case RegexNode::Kind::kAssert: return {Words{""}, {}};
    case RegexNode::Kind::kConcat: return LiteralsOfConcat(node);
    case RegexNode::Kind::kAlternate: {
      // Where it may be an edge, what stands beside it tells alone; with the other branch it is the same and longer.
      const auto is_assert = [](const RegexNode& kid) { return kid.kind == RegexNode::Kind::kAssert; };
      if (std::any_of(node.kids.begin(), node.kids.end(), is_assert)) return {};
      Literals out{Words{}, {}};
      bool all = true;
      for (const RegexNode& kid : node.kids) {
        const Literals part = LiteralsOf(kid);
        if (out.exact && part.exact)
          out.exact->insert(out.exact->end(), part.exact->begin(), part.exact->end());
        else
          out.exact.reset();
        all = all && !part.required.empty();
        out.required.insert(out.required.end(), part.required.begin(), part.required.end());
      }
      if (!all) out.required.clear();
      if (out.exact && out.exact->size() > kExactWordsMax) out.exact.reset();
      return out;
    }
    case RegexNode::Kind::kRepeat: break;
  }
  if (node.min == 0) return {};
  Literals inside = LiteralsOf(node.kids[0]);
  if (node.min != 1 || node.max != 1) inside.exact.reset();
  return inside;
}

void AddBytes(const RegexNode& set, ByteSet& bytes) {
  for (const CodeRange& range : set.set) {
    for (char32_t c = range.lo; c <= range.hi && c < 0x80; ++c) bytes.set(c);
    if (range.hi >= 0x80) {
      for (int b = 0x80; b < 256; ++b) bytes.set(static_cast<std::size_t>(b));
    }
  }
}

void CollectBytes(const RegexNode& node, ByteSet& bytes) {
  if (node.kind == RegexNode::Kind::kSet) AddBytes(node, bytes);
  for (const RegexNode& kid : node.kids) CollectBytes(kid, bytes);
}

// Runs that every word has at least: one at its beginning, one at its end, the longest. `all`: no word has anything else.
struct Runs {
  bool all = true;
  int first = 0, last = 0, longest = 0;
};
constexpr int kRunEnough = 1000;  // Nobody asks further.

Runs RunsOfBoth(const Runs& a, const Runs& b) {
  return {a.all && b.all, std::min(kRunEnough, a.all ? a.longest + b.first : a.first),
          std::min(kRunEnough, b.all ? a.last + b.longest : b.last),
          std::min(kRunEnough, std::max({a.longest, b.longest, a.last + b.first}))};
}

Runs RunsOf(const RegexNode& node, const ByteSet& bytes) {
  switch (node.kind) {
    case RegexNode::Kind::kSet: {
      ByteSet its;
      AddBytes(node, its);
      const bool in = (its & ~bytes).none();
      return {in, in, in, in};
    }
    case RegexNode::Kind::kAssert: return {};
    case RegexNode::Kind::kConcat: {
      Runs out;
      for (const RegexNode& kid : node.kids) out = RunsOfBoth(out, RunsOf(kid, bytes));
      return out;
    }
    case RegexNode::Kind::kAlternate: {
      Runs out{true, kRunEnough, kRunEnough, kRunEnough};
      for (const RegexNode& kid : node.kids) {
        const Runs its = RunsOf(kid, bytes);
        out = {out.all && its.all, std::min(out.first, its.first), std::min(out.last, its.last), std::min(out.longest, its.longest)};
      }
      return out;
    }
    case RegexNode::Kind::kRepeat: break;
  }
  const Runs its = RunsOf(node.kids[0], bytes);
  Runs out{its.all, 0, 0, 0};
  for (int i = 0; i < std::min(node.min, kRunEnough); ++i) out = i == 0 ? its : RunsOfBoth(out, its);
  return out;
}

void CollectRequired(const RegexNode& node, std::vector<ByteSet>& out) {
  switch (node.kind) {
    case RegexNode::Kind::kSet: {
      ByteSet bytes;
      AddBytes(node, bytes);
      if (std::find(out.begin(), out.end(), bytes) == out.end()) out.push_back(bytes);
      return;
    }
    case RegexNode::Kind::kAlternate: {  // One set for all branches: the bytes that any of them may hold.
      ByteSet bytes;
      for (const RegexNode& kid : node.kids) {
        if (WidthOf(kid).min == 0) return;
        CollectBytes(kid, bytes);
      }
      out.push_back(bytes);
      return;
    }
    case RegexNode::Kind::kRepeat:
      if (node.min > 0) CollectRequired(node.kids[0], out);
      return;
    default:
      for (const RegexNode& kid : node.kids) CollectRequired(kid, out);
  }
}

}  // namespace

std::string PrintPrefixes(const RegexNode& node, bool loosened) {
  switch (node.kind) {
    case RegexNode::Kind::kSet: return PrintRegex(node);
    case RegexNode::Kind::kAssert: return "";
    case RegexNode::Kind::kConcat: return PrefixesOfConcat(node, loosened);
    case RegexNode::Kind::kAlternate: {
      std::string out;
      for (const RegexNode& kid : node.kids) {
        const std::string own = PrintPrefixes(kid, loosened);
        if (!own.empty()) out += (out.empty() ? "(?:" : "|") + own;
      }
      return out.empty() ? out : out + ")";
    }
    case RegexNode::Kind::kRepeat: break;
  }
  if (node.max == 0) return "";
  const std::string own = PrintPrefixes(node.kids[0], loosened);
  if (own.empty() || node.max == 1) return own;
  const std::string body = "(?:" + Show(node.kids[0], loosened) + ")";
  if (node.max == RegexNode::kUnbounded || (loosened && node.max > 2)) return "(?:" + body + "*" + own + ")";
  return fmt::format("(?:{}{{0,{}}}{})", body, node.max - 1, own);
}

Width WidthOf(const RegexNode& node) {
  Width out;
  switch (node.kind) {
    case RegexNode::Kind::kSet: out = {Utf8Length(node.set.front().lo), Utf8Length(node.set.back().hi)}; return out;
    case RegexNode::Kind::kAssert: return out;
    case RegexNode::Kind::kAlternate: out.min = INT64_MAX; [[fallthrough]];
    case RegexNode::Kind::kConcat:
      for (const RegexNode& kid : node.kids) {
        const Width part = WidthOf(kid);
        const bool adds = node.kind == RegexNode::Kind::kConcat;
        out.min = adds ? out.min + part.min : std::min(out.min, part.min);
        if (part.max == RegexNode::kUnbounded || out.max == RegexNode::kUnbounded)
          out.max = RegexNode::kUnbounded;
        else
          out.max = std::min<std::int64_t>(adds ? out.max + part.max : std::max(out.max, part.max), INT32_MAX);
      }
      return out;
    case RegexNode::Kind::kRepeat: break;
  }
  const Width part = WidthOf(node.kids[0]);
  out.min = part.min * node.min;
  if (part.max == 0 || node.max == 0)
    out.max = 0;
  else if (part.max == RegexNode::kUnbounded || node.max == RegexNode::kUnbounded)
    out.max = RegexNode::kUnbounded;
  else
    out.max = std::min<std::int64_t>(part.max * node.max, INT32_MAX);
  return out;
}

std::vector<std::string> RequiredLiterals(const RegexNode& node) {
  Literals found = LiteralsOf(node);
  if (found.exact) KeepBetter(found.required, *found.exact);
  if (Shortest(found.required) == 0) return {};
  std::sort(found.required.begin(), found.required.end());
  found.required.erase(std::unique(found.required.begin(), found.required.end()), found.required.end());
  return found.required;
}

RegexNode UpToLiteral(const RegexNode& node) {
  constexpr std::size_t kKidsMax = 64;  // Whose literal comes later has a beginning that is hardly shorter.
  const std::vector<std::string> literals = RequiredLiterals(node);
  if (literals.empty()) return node;
  const auto keeps_them = [&](const RegexNode& cut) { return RequiredLiterals(cut) == literals; };
  RegexNode out = node;
  if (node.kind == RegexNode::Kind::kAlternate) {
    for (RegexNode& kid : out.kids) kid = UpToLiteral(kid);
    return keeps_them(out) ? out : node;
  }
  if (node.kind != RegexNode::Kind::kConcat) return node;
  out.kids.clear();
  while (out.kids.size() < std::min(node.kids.size(), kKidsMax)) {
    out.kids.push_back(node.kids[out.kids.size()]);
    if (!keeps_them(out)) continue;
    RegexNode shorter = out;
    shorter.kids.back() = UpToLiteral(shorter.kids.back());
    return keeps_them(shorter) ? shorter : out;
  }
  return node;
}

std::vector<ByteSet> RequiredBytes(const RegexNode& node) {
  std::vector<ByteSet> sets;
  CollectRequired(node, sets);
  std::sort(sets.begin(), sets.end(), [](const ByteSet& a, const ByteSet& b) { return a.count() < b.count(); });
  if (sets.size() > kRequiredSetsMax) sets.resize(kRequiredSetsMax);
  return sets;
}

int CountMin(const RegexNode& node, char32_t lo, char32_t hi) {
  constexpr int kEnough = 1000;  // Nobody counts further.
  switch (node.kind) {
    case RegexNode::Kind::kSet: return node.set.front().lo >= lo && node.set.back().hi <= hi ? 1 : 0;
    case RegexNode::Kind::kAssert: return 0;
    case RegexNode::Kind::kConcat: {
      int sum = 0;
      for (const RegexNode& kid : node.kids) sum = std::min(sum + CountMin(kid, lo, hi), kEnough);
      return sum;
    }
    case RegexNode::Kind::kAlternate: {
      int least = kEnough;
      for (const RegexNode& kid : node.kids) least = std::min(least, CountMin(kid, lo, hi));
      return least;
    }
    case RegexNode::Kind::kRepeat: break;
  }
  return std::min(CountMin(node.kids[0], lo, hi) * node.min, kEnough);
}

int RunMin(const RegexNode& node, const ByteSet& bytes) { return RunsOf(node, bytes).longest; }

ByteSet AllBytes(const RegexNode& node) {
  ByteSet bytes;
  CollectBytes(node, bytes);
  return bytes;
}

ByteSet UnboundedBytes(const RegexNode& node) {
  ByteSet bytes;
  if (node.kind == RegexNode::Kind::kRepeat && node.max == RegexNode::kUnbounded) CollectBytes(node, bytes);
  for (const RegexNode& kid : node.kids) bytes |= UnboundedBytes(kid);
  return bytes;
}

}  // namespace tollgate::policy
