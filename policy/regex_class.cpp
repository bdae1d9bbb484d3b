// Sets are kept as sorted ranges of code points. Other cases are added before a class is negated, so that (?i)[^k] excludes K too. Those
// that take more bytes are not (of s the old ſ, of ß its capital): they would widen what patterns hold, and plain forms have none of them.
//
// Tested by tests/policy/regex_test.cpp.
#include "policy/regex_class.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "policy/fold.h"

namespace tollgate::policy {
namespace {

constexpr char32_t kLast = 0x10FFFF;

const std::vector<CodeRange> kDigit = {{'0', '9'}};
const std::vector<CodeRange> kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const std::vector<CodeRange> kSpace = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};

struct Posix {
  const char* name;
  std::vector<CodeRange> ranges;
};
const std::vector<Posix>& PosixClasses() {
  static const std::vector<Posix> classes = {{"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
                                             {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
                                             {"digit", kDigit},
                                             {"lower", {{'a', 'z'}}},
                                             {"upper", {{'A', 'Z'}}},
                                             {"space", {{'\t', '\r'}, {' ', ' '}}},
                                             {"blank", {{'\t', '\t'}, {' ', ' '}}},
                                             {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
                                             {"word", kWord},
                                             {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}};
  return classes;
}

bool Contains(const std::vector<CodeRange>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const CodeRange& r) { return c >= r.lo && c <= r.hi; });
}

}  // namespace

std::vector<CodeRange> NormaliseRanges(std::vector<CodeRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const CodeRange& a, const CodeRange& b) { return a.lo < b.lo; });
  std::vector<CodeRange> out;
  for (const CodeRange& range : ranges) {
    if (!out.empty() && range.lo <= out.back().hi + 1)
      out.back().hi = std::max(out.back().hi, range.hi);
    else
      out.push_back(range);
  }
  return out;
}

void AddOtherCases(std::vector<CodeRange>& ranges) {
  for (int pass = 0; pass < 2; ++pass) {  // Twice: sigma has three forms.
    const std::vector<CodeRange> before = ranges;
    for (const auto& [letter, folded] : CasePairs()) {
      if (Contains(before, letter)) ranges.push_back({folded, folded});
      if (Utf8Length(letter) <= Utf8Length(folded) && Contains(before, folded)) ranges.push_back({letter, letter});
    }
    ranges = NormaliseRanges(std::move(ranges));
  }
}

std::vector<CodeRange> Complement(const std::vector<CodeRange>& normal) {
  std::vector<CodeRange> out;
  char32_t next = 0;
  for (const CodeRange& range : normal) {
    if (range.lo > next) out.push_back({next, range.lo - 1});
    next = range.hi + 1;
  }
  if (next <= kLast) out.push_back({next, kLast});
  return out;
}

absl::Status ClassReader::Wrong(std::string_view what) const {
  return base::InvalidArgument(fmt::format("at character {}: {}", at_ + 1, what));
}

absl::StatusOr<char32_t> ClassReader::Hex() {
  const bool braced = Peek() == '{';
  if (braced) ++at_;
  char32_t value = 0;
  int digits = 0;
  for (; digits < (braced ? 6 : 2) && std::isxdigit(static_cast<unsigned char>(Peek())); ++digits, ++at_) {
    const char c = static_cast<char>(std::tolower(static_cast<unsigned char>(Peek())));
    value = value * 16 + static_cast<char32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  if (digits == 0 || (!braced && digits != 2) || value > kLast || (braced && Peek() != '}'))
    return Wrong("a character code is \\x41 or \\x{20AC}");
  if (braced) ++at_;
  return value;
}

absl::StatusOr<ClassItem> ClassReader::EscapeItem() {
  const char c = Peek(1);
  const auto set = [&](const std::vector<CodeRange>& ranges, bool negated) {
    at_ += 2;
    return ClassItem{true, negated ? Complement(ranges) : ranges};
  };
  const auto one = [&](char32_t code) {
    at_ += 2;
    return ClassItem{false, {{code, code}}};
  };
  switch (c) {
    case '\0': return Wrong("a pattern cannot end in '\\'; write \\\\ for the character itself");
    case 'd':
    case 'D': return set(kDigit, c == 'D');
    case 'w':
    case 'W': return set(kWord, c == 'W');
    case 's':
    case 'S': return set(kSpace, c == 'S');
    case 'n': return one('\n');
    case 't': return one('\t');
    case 'r': return one('\r');
    case 'f': return one('\f');
    case 'v': return one('\v');
    case 'a': return one('\a');
    case 'p':
    case 'P': return Wrong("Unicode classes such as \\p{L} are not supported; list ranges such as [A-Za-zÀ-ÿ]");
    case 'x': {
      at_ += 2;
      TG_ASSIGN(const char32_t code, Hex());
      return ClassItem{false, {{code, code}}};
    }
    default: break;
  }
  if (c >= '0' && c <= '9') return Wrong("back-references and octal codes are not supported; write \\x41 for a character code");
  if (std::isalpha(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80)
    return Wrong("unknown escape; write the character without '\\'");
  return one(static_cast<char32_t>(c));
}

absl::StatusOr<ClassItem> ClassReader::Item() {
  if (Peek() == '\\') return EscapeItem();
  if (Peek() == '[' && Peek(1) == ':') {
    const std::size_t close = in_.find(":]", at_);
    std::string_view name = close == std::string_view::npos ? "" : in_.substr(at_ + 2, close - at_ - 2);
    const bool negated = !name.empty() && name[0] == '^';
    if (negated) name.remove_prefix(1);
    for (const Posix& posix : PosixClasses()) {
      if (name != posix.name) continue;
      at_ = close + 2;
      return ClassItem{true, negated ? Complement(NormaliseRanges(posix.ranges)) : posix.ranges};
    }
    return Wrong("unknown POSIX class; for example [[:alnum:]]");
  }
  std::size_t length = 0;
  const char32_t c = DecodeAt(in_, at_, length);
  at_ += length;
  return ClassItem{false, {{c, c}}};
}

absl::StatusOr<std::vector<CodeRange>> ClassReader::Bracket(bool ignore_case) {
  ++at_;
  const bool negated = Peek() == '^';
  if (negated) ++at_;
  std::vector<CodeRange> ranges;
  for (bool first = true; first || Peek() != ']'; first = false) {
    if (at_ >= in_.size()) return Wrong("a class is not closed; add ']'");
    TG_ASSIGN(ClassItem item, Item());
    if (!item.is_class && Peek() == '-' && Peek(1) != ']' && Peek(1) != '\0') {
      ++at_;
      TG_ASSIGN(ClassItem to, Item());
      if (to.is_class || to.ranges[0].lo < item.ranges[0].lo)
        return Wrong("a range in a class runs from the lower to the higher character");
      item.ranges[0].hi = to.ranges[0].lo;
    }
    ranges.insert(ranges.end(), item.ranges.begin(), item.ranges.end());
  }
  ++at_;
  ranges = NormaliseRanges(std::move(ranges));
  if (ignore_case) AddOtherCases(ranges);
  if (negated) ranges = Complement(ranges);
  if (ranges.empty()) return Wrong("a class that matches nothing; remove it");
  return ranges;
}

}  // namespace tollgate::policy
