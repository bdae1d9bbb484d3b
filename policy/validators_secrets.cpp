// Keys and tokens: how random a value is, what only stands for one, and what reads as words.
//
// Names in code and in configuration are written with the same letters as keys (module.db_1.auth_token), and some of them are as rich in
// different characters. What tells them is that they are words, of one case or with a capital at each beginning, digits at an end; what is
// made at random changes between the three all the time.
//
// Tested by tests/policy/secret_forms_test.cpp and tests/policy/ordinary_forms_test.cpp.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "policy/fold.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kPlaceholders[] = {"placeholder", "changeme", "change_me", "your_", "your-",    "yourkey",
                                              "yourtoken",   "xxxx",     "insert_",   "dummy", "redacted", "replace-me"};
constexpr std::string_view kPlaceholderValues[] = {"example", "your", "1234567890", "process.env", "os.environ", "getenv"};
// Before "token": of a list's next page, or of a form, for a while and for one caller.
constexpr std::string_view kPassing[] = {"next", "page", "continuation", "pagination", "cursor", "csrf", "xsrf", "authenticity"};

constexpr std::size_t kKeyBytesMin = 16;
constexpr std::size_t kKeyBytes = 32;  // Of a key of no known form: so much of it is as random as it.
constexpr std::size_t kWordsLookedAt = 16;

bool LooksLikeUuid(std::string_view value) {
  if (value.size() != 36) return false;
  for (std::size_t i = 0; i < 36; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (value[i] == '-')) return false;
  }
  return true;
}

// How often letters, capitals and digits take turns: often in what is made at random, seldom in words.
std::size_t Turns(std::string_view text) {
  const auto kind = [](char c) { return IsDigit(c) ? 1 : !IsLetter(c) ? 0 : c <= 'Z' ? 2 : 3; };
  std::size_t turns = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const int before = kind(text[i - 1]), its = kind(text[i]);
    turns += before != 0 && its != 0 && before != its ? 1 : 0;
  }
  return turns;
}

bool IsJumbled(std::string_view text) { return Turns(text) * 6 >= text.size(); }

bool HasVowel(std::string_view text) { return text.find_first_of("aeiouyAEIOUY") != std::string_view::npos; }

bool HasFewVowels(std::string_view text) {
  const auto vowels = std::count_if(text.begin(), text.end(), [](char c) { return HasVowel({&c, 1}); });
  return static_cast<std::size_t>(vowels) * 10 < text.size() * 3;
}

// A short value holds fewer different characters than its alphabet has, and hexadecimal has few. Without a digit only what is plainly no
// word counts: letters of both cases all mixed up, or many with few vowels.
bool LooksRandom(std::string_view value) {
  bool digit = false, capital = false, small = false, mark = false, hex = true;
  for (const char c : value) {
    digit = digit || IsDigit(c);
    capital = capital || IsCapital(c);
    small = small || IsSmall(c);
    mark = mark || !IsWordByte(c);
    hex = hex && (IsDigit(c) || (Lower(c) >= 'a' && Lower(c) <= 'f'));
  }
  const double bits = BestBitsPerByte(value, kKeyBytes);
  if (digit && hex && capital != small) return bits >= 2.6;
  if (digit) return bits >= (value.size() < 20 && (capital || small) ? 3.2 : 3.4);
  if (bits >= 4.0) return true;
  if (mark) return false;
  if (capital && small) return bits >= 3.4 && Turns(value) * 5 >= value.size() * 2;
  return value.size() >= 24 && bits >= 3.7 && HasFewVowels(value);
}

// The longest stretch of a value that is left when the words of a list are taken out of it.
template <typename List>
std::string_view LongestBeside(const List& list, std::string_view value) {
  const std::string lower = FoldCase(value);
  std::vector<bool> taken(value.size() + 1);
  taken.back() = true;
  for (const std::string_view word : list) {
    for (std::size_t at = 0; (at = lower.find(word, at)) != std::string::npos; ++at)
      std::fill_n(taken.begin() + static_cast<std::ptrdiff_t>(at), word.size(), true);
  }
  std::size_t begin = 0, longest = 0, from = 0;
  for (std::size_t at = 0; at < taken.size(); ++at) {
    if (!taken[at]) continue;
    if (at - begin > longest) longest = at - begin, from = begin;
    begin = at + 1;
  }
  return value.substr(from, longest);
}

// Where the piece ends that begins at `at`: digits, capitals, or small letters behind one capital or none; anything else alone.
std::size_t EndOfPiece(std::string_view part, std::size_t at) {
  const auto skip = [&](bool (*of)(char)) {
    while (at < part.size() && of(part[at])) ++at;
  };
  if (IsDigit(part[at])) {
    skip(IsDigit);
    return at;
  }
  const std::size_t from = at;
  skip(IsCapital);
  if (at - from > 1 && at < part.size() && IsSmall(part[at])) return at - 1;  // HTTPServer
  if (at - from <= 1) skip(IsSmall);
  return std::max(at, from + 1);
}

enum class Piece { kWord, kNeither, kRandom };

// What stands between two marks: "cluster", "oauth2", "fetchAccessToken" are words.
Piece KindOfPart(std::string_view part) {
  std::size_t digits = 0;
  while (digits < part.size() && digits < 4 && IsDigit(part[part.size() - 1 - digits])) ++digits;
  if (part.size() <= 3 || digits == part.size()) return Piece::kNeither;
  part.remove_suffix(digits);
  std::size_t pieces = 0, brief = 0;
  for (std::size_t at = 0; at < part.size(); ++pieces) {
    const std::size_t end = EndOfPiece(part, at);
    brief += end - at <= 2 || IsDigit(part[at]) ? 1 : 0;
    at = end;
  }
  if (brief * 4 > pieces) return Piece::kRandom;
  if (pieces > 1 || HasVowel(part)) return Piece::kWord;
  return part.size() <= 5 ? Piece::kNeither : Piece::kRandom;  // http, prd
}

bool IsPassingToken(std::string_view text, std::size_t begin) {
  if (begin >= text.size() || Lower(text[begin]) != 't') return false;
  const std::size_t from = begin > kWordsLookedAt ? begin - kWordsLookedAt : 0;
  std::string left = FoldCase(text.substr(from, begin - from));
  if (!left.empty() && std::string_view(" _.-").find(left.back()) != std::string_view::npos) left.pop_back();
  return std::any_of(std::begin(kPassing), std::end(kPassing), [&](std::string_view word) { return left.ends_with(word); });
}

bool IsBase64(char c) { return IsWordByte(c) || c == '+' || c == '/' || c == '='; }

}  // namespace

double BitsPerByte(std::string_view text) {
  std::array<int, 256> counts{};
  for (const char c : text) ++counts[static_cast<unsigned char>(c)];
  double bits = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    const double share = count / static_cast<double>(text.size());
    bits -= share * std::log2(share);
  }
  return bits;
}

double BestBitsPerByte(std::string_view text, std::size_t stretch) {
  double best = BitsPerByte(text);
  if (text.size() <= stretch) return best;
  const auto worth = [](int count) { return count > 1 ? count * std::log2(count) : 0.0; };
  std::array<int, 256> counts{};
  double same = 0;  // Of a stretch: the sum of what its counts are worth.
  const auto add = [&](char c, int by) {
    int& count = counts[static_cast<unsigned char>(c)];
    same -= worth(count);
    count += by;
    same += worth(count);
  };
  const auto bytes = static_cast<double>(stretch);
  for (std::size_t at = 0; at < text.size(); ++at) {
    add(text[at], 1);
    if (at >= stretch) add(text[at - stretch], -1);
    if (at + 1 >= stretch) best = std::max(best, std::log2(bytes) - same / bytes);
  }
  return best;
}

bool HoldsPlaceholder(std::string_view value) {
  const std::string lower = FoldCase(value);
  return std::any_of(std::begin(kPlaceholders), std::end(kPlaceholders),
                     [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

double BitsBesidePlaceholder(std::string_view value, std::size_t bytes_min) {
  const std::string_view rest = LongestBeside(kPlaceholders, value);
  return rest.size() >= bytes_min && IsJumbled(rest) ? BestBitsPerByte(rest, bytes_min) : 0;
}

bool ReadsAsWords(std::string_view value) {
  std::size_t parts = 0, words = 0, beside = 0;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find_first_of("_.-/~+=|:,"), value.size());
    const std::string_view part = value.substr(0, end);
    value.remove_prefix(std::min(end + 1, value.size()));
    if (part.empty()) continue;
    if (!std::all_of(part.begin(), part.end(), IsWordByte)) return false;
    const Piece kind = KindOfPart(part);
    if (kind == Piece::kRandom) return false;
    ++parts;
    (kind == Piece::kWord ? words : beside) += part.size();
  }
  return parts > 1 && words >= beside;
}

std::string_view AssignedValue(std::string_view match) {
  constexpr std::string_view kWideColon = "\uff1a", kQuote = "\u201c";
  const std::size_t before = match.find_last_of(" \t\r\n\"'`>");
  if (before != std::string_view::npos)
    match.remove_prefix(before + 1);
  else if (const std::size_t sign = match.find_first_of(":="); sign != std::string_view::npos)
    match.remove_prefix(sign);
  else if (const std::size_t wide = match.find(kWideColon); wide != std::string_view::npos)
    match.remove_prefix(wide);
  for (;;) {
    if (match.starts_with(kWideColon) || match.starts_with(kQuote))
      match.remove_prefix(kWideColon.size());
    else if (!match.empty() && std::string_view(":=*").find(match[0]) != std::string_view::npos)
      match.remove_prefix(1);
    else
      return match;
  }
}

std::size_t AcceptAssignedKey(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = AssignedValue(text.substr(begin, end - begin));
  if (value.ends_with('(')) {  // What is called is code, if it reads so; a key ends here.
    value.remove_suffix(1);
    --end;
    if (KindOfPart(value) == Piece::kWord) return 0;
  }
  if (value.size() < kKeyBytesMin || LooksLikeUuid(value) || ReadsAsWords(value) || IsPassingToken(text, begin)) return 0;
  std::string_view rest = value;
  for (const auto take : {LongestBeside(kPlaceholders, value), LongestBeside(kPlaceholderValues, value)}) {
    if (take.size() < rest.size()) rest = take;
  }
  if (rest.size() < value.size() && (rest.size() < kKeyBytesMin || !IsJumbled(rest))) return 0;
  return LooksRandom(rest) ? end : 0;
}

std::size_t AcceptMixedToken(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view value = text.substr(begin, end - begin);
  bool digit = false, letter = false;
  for (const char c : value) digit = digit || IsDigit(c), letter = letter || IsLetter(c);
  const double bits = BestBitsPerByte(value, kKeyBytes);
  return letter && (digit ? bits >= 3.0 : bits >= 4.0 && IsJumbled(value)) ? end : 0;  // One key in forty has no digit.
}

std::size_t AcceptPrivateKey(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view longest;
  for (std::size_t at = begin; at < end; ++at) {
    const std::size_t from = at;
    while (at < end && IsBase64(text[at])) ++at;
    if (at - from > longest.size()) longest = text.substr(from, at - from);
  }
  return BestBitsPerByte(longest, kKeyBytes) >= 3.0 ? end : 0;
}

}  // namespace tollgate::policy
