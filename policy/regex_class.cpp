// Sets are kept as sorted ranges of code points. Other cases are added before a class is negated, so that (?i)[^k] excludes K too. Those
// that take more bytes are not (of s the old ſ, of ß its capital): they would widen what patterns hold, and plain forms have none of them.
// Unicode classes come from ICU's tables and are printed as ranges: RE2's own may be of another version of Unicode.
//
// Tested by tests/policy/regex_test.cpp.
#include "policy/regex_class.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/uscript.h>

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
                                             {"ascii", {{0, 0x7F}}},
                                             {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}},
                                             {"graph", {{'!', '~'}}},
                                             {"print", {{' ', '~'}}},
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

bool Contains(const std::vector<CodeRange>& normal, char32_t c) {
  const auto behind = std::upper_bound(normal.begin(), normal.end(), c, [](char32_t value, const CodeRange& r) { return value < r.lo; });
  return behind != normal.begin() && c <= std::prev(behind)->hi;
}

// The value of a property by one of its names, written exactly so: ICU looks past case, blanks and '_', RE2 does not.
std::optional<std::int32_t> ValueNamed(const std::string& name, UProperty property, UPropertyNameChoice choice) {
  const std::int32_t value = u_getPropertyValueEnum(property, name.c_str());
  const char* its = value == UCHAR_INVALID_CODE ? nullptr : u_getPropertyValueName(property, value, choice);
  return its != nullptr && name == its ? std::optional(value) : std::nullopt;
}

// What RE2 calls \p{name}: a general category by its short name, a script by its long one, or Any. As there, C leaves out what is not
// assigned; surrogates stand in no text.
std::optional<std::vector<CodeRange>> UnicodeClass(const std::string& name, bool ignore_case) {
  if (name == "Any") return std::vector<CodeRange>{{0, kLast}};
  UErrorCode error = U_ZERO_ERROR;
  icu::UnicodeSet set;
  const auto category = ValueNamed(name, UCHAR_GENERAL_CATEGORY_MASK, U_SHORT_PROPERTY_NAME);
  const auto script = ValueNamed(name, UCHAR_SCRIPT, U_LONG_PROPERTY_NAME);
  if (category && name != "LC" && name != "Cn") {
    const std::uint32_t mask = static_cast<std::uint32_t>(*category) & ~(U_GC_CN_MASK | U_GC_CS_MASK);
    set.applyIntPropertyValue(UCHAR_GENERAL_CATEGORY_MASK, static_cast<std::int32_t>(mask), error);
  } else if (script && *script != USCRIPT_UNKNOWN) {
    set.applyIntPropertyValue(UCHAR_SCRIPT, *script, error);
  } else {
    return std::nullopt;
  }
  TG_CHECK(U_SUCCESS(error), "ICU has no table of characters' properties");
  if (ignore_case) set.closeOver(USET_CASE_INSENSITIVE).removeAllStrings();
  std::vector<CodeRange> out;
  for (std::int32_t i = 0; i < set.getRangeCount(); ++i)
    out.push_back({static_cast<char32_t>(set.getRangeStart(i)), static_cast<char32_t>(set.getRangeEnd(i))});
  return out;
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

void AddOtherCases(std::vector<CodeRange>& normal) {
  for (int pass = 0; pass < 2; ++pass) {  // Twice: sigma has three forms.
    const std::vector<CodeRange> before = normal;
    for (const auto& [letter, folded] : CasePairs()) {
      if (Contains(before, letter)) normal.push_back({folded, folded});
      if (Utf8Length(letter) <= Utf8Length(folded) && Contains(before, folded)) normal.push_back({letter, letter});
    }
    normal = NormaliseRanges(std::move(normal));
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

absl::StatusOr<ClassItem> ClassReader::UnicodeItem() {
  bool negated = Peek(1) == 'P';
  std::size_t from = at_ + 2, length = 0;
  if (Peek(2) == '{') {
    const std::size_t close = in_.find('}', ++from);
    if (close == std::string_view::npos) return Wrong("a Unicode class is not closed; add '}', as in \\p{Greek}");
    length = close - from;
  } else if (from < in_.size()) {
    DecodeAt(in_, from, length);
  }
  std::string name(in_.substr(from, length));
  if (name.starts_with('^')) {
    negated = !negated;
    name.erase(0, 1);
  }
  const auto ranges = UnicodeClass(name, ignore_case_);
  if (!ranges) {
    return Wrong(
        "unknown Unicode class; as in RE2 it is a general category such as \\pL, \\p{Lu} and \\p{Nd}, or a script such as \\p{Greek} and "
        "\\p{Old_Italic}, written exactly so");
  }
  ClassItem item{true, negated ? Complement(*ranges) : *ranges};
  if (item.ranges.empty()) return Wrong("a class that matches nothing; remove it");
  at_ = from + length + (Peek(2) == '{' ? 1 : 0);
  return item;
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
    case 'P': return UnicodeItem();
    case 'x': {
      at_ += 2;
      TG_ASSIGN(const char32_t code, Hex());
      return ClassItem{false, {{code, code}}};
    }
    default: break;
  }
  const auto is_octal = [](char digit) { return digit >= '0' && digit <= '7'; };
  if (c == '0' || (is_octal(c) && is_octal(Peek(2)))) {  // One digit alone is a back-reference, but for 0.
    char32_t code = 0;
    ++at_;
    for (int digits = 0; digits < 3 && is_octal(Peek()); ++digits, ++at_) code = code * 8 + static_cast<char32_t>(Peek() - '0');
    return ClassItem{false, {{code, code}}};
  }
  if (c >= '0' && c <= '9') return Wrong("back-references are not supported; write \\x41 or \\101 for a character code");
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

absl::StatusOr<std::vector<CodeRange>> ClassReader::Bracket() {
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
  if (ignore_case_) AddOtherCases(ranges);
  if (negated) ranges = Complement(ranges);
  if (ranges.empty()) return Wrong("a class that matches nothing; remove it");
  return ranges;
}

}  // namespace tollgate::policy
