// Addresses, phone numbers and secrets: structure, entropy and the words to the left.
//
// Tested by tests/policy/validators_test.cpp.
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

constexpr std::string_view kVersionContext[] = {"version", "ver",   "v",        "release", "rev",    "revision", "section", "chapter",
                                                "clause",  "build", "firmware", "driver",  "update", "upgrade",  "package", "oid"};
constexpr std::string_view kFileEndings[] = {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "json", "html"};
constexpr std::string_view kPlaceholders[] = {"placeholder", "changeme", "change_me", "your_", "your-",    "yourkey",
                                              "yourtoken",   "xxxx",     "insert_",   "dummy", "redacted", "replace-me"};
constexpr std::string_view kPlaceholderValues[] = {"example", "your", "1234567890", "process.env", "os.environ", "getenv"};

template <typename List>
bool Among(const List& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

std::string LowerCase(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), Lower);
  return out;
}

// "lib/1.2.3.4" and "app-1.2.3.4" are versions; what follows the slashes of a URL, or the first address of a range, is another address.
bool ContinuesPath(std::string_view text, std::size_t begin) {
  const char before = Before(text, begin);
  if (before == '/') return IsWordByte(Before(text, begin, 2)) || Before(text, begin, 2) == '.';
  if (before != '-') return before == '.';
  std::size_t back = 2;
  int dots = 0;
  for (char c = Before(text, begin, back); back < 17 && (IsDigit(c) || c == '.'); c = Before(text, begin, ++back)) dots += c == '.' ? 1 : 0;
  return dots != 3;
}

std::size_t AcceptIpv4(std::string_view text, std::size_t begin, std::size_t end) {
  int groups = 0;
  for (std::size_t i = begin; i < end; ++i) {
    std::size_t stop = i;
    int value = 0;
    for (; stop < end && IsDigit(text[stop]); ++stop) value = value * 10 + (text[stop] - '0');
    if (value > 255 || (text[i] == '0' && stop - i > 1)) return 0;
    ++groups;
    i = stop;
  }
  if (groups != 4 || ContinuesPath(text, begin)) return 0;
  // "version 1.2.3.4": the word right before the number.
  std::size_t word_end = begin;
  while (word_end > 0 && std::string_view(" :=_").find(text[word_end - 1]) != std::string_view::npos && begin - word_end < 3) --word_end;
  std::size_t word = word_end;
  while (word > 0 && IsLetter(text[word - 1]) && word_end - word < 16) --word;
  return Among(kVersionContext, LowerCase(text.substr(word, word_end - word))) ? 0 : end;
}

// What ends at `end` is a group of an address, or nothing: the address began earlier.
bool EndsGroup(std::string_view text, std::size_t end) {
  std::size_t length = 0;
  while (length < 5 && IsWordByte(Before(text, end, length + 1))) ++length;
  const std::string_view word = text.substr(end - length, length);
  return length < 5 && word.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

std::size_t AcceptIpv6(std::string_view text, std::size_t begin, std::size_t end) {
  if (Before(text, begin) == '.' || (Before(text, begin) == ':' && EndsGroup(text, begin - 1))) return 0;
  std::string_view address = text.substr(begin, end - begin);
  if (address.ends_with(':') && !address.ends_with("::")) {  // A colon of the sentence.
    address.remove_suffix(1);
    --end;
  }
  int groups = 0, gaps = 0;
  bool digit = false;
  for (std::size_t i = 0; i < address.size();) {
    if (address[i] == ':') {
      if (i + 1 < address.size() && address[i + 1] == ':')
        ++gaps, i += 2;
      else
        ++i;
      if (i < address.size() && address[i] == ':') return 0;
      continue;
    }
    for (++groups; i < address.size() && address[i] != ':'; ++i) digit = digit || IsDigit(address[i]);
  }
  const bool whole = gaps == 0 ? groups == 8 : gaps == 1 && groups >= 2 && groups <= 7;
  return whole && digit && address.size() >= 6 ? end : 0;
}

// Of URLs that name nobody on a machine: what stands before their '@' is the beginning of an address.
constexpr std::string_view kPublicSchemes[] = {"http", "https", "mailto", "xmpp", "sip", "ftp"};

std::string SchemeBefore(std::string_view text, std::size_t end) {
  std::size_t begin = end;
  while (begin > 0 && end - begin < 8 && IsLetter(text[begin - 1])) --begin;
  return LowerCase(text.substr(begin, end - begin));
}

// Between "scheme://" and the host of a URL: right behind the slashes, as a machine's user is, or behind a colon, as a password is. A host
// and what follows it touch an address, too: https://acme.example,bob@example.com.
bool InUserInfo(std::string_view text, std::size_t begin) {
  bool colon = false;
  for (std::size_t back = 1; back <= kLeftContextBytes && back <= begin; ++back) {
    const char c = text[begin - back];
    if (c == '/') {
      if (back + 2 > begin || text.substr(begin - back - 2, 2) != ":/") return false;
      return colon || (back == 1 && !Among(kPublicSchemes, SchemeBefore(text, begin - back - 2)));
    }
    if (std::string_view("?,;'\"<>|() \t\r\n").find(c) != std::string_view::npos) return false;
    colon = colon || c == ':';
  }
  return false;
}

bool LooksLikeUuid(std::string_view value) {
  if (value.size() != 36) return false;
  for (std::size_t i = 0; i < 36; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (value[i] == '-')) return false;
  }
  return true;
}

// Braces, dollars and asterisks are how templates and redactions write a password.
bool IsRealPassword(std::string_view value) {
  return value.size() >= 4 && value.find_first_of("${}*%") == std::string_view::npos && !HoldsPlaceholder(value) &&
         LowerCase(value) != "password";
}

constexpr std::size_t kKeyBytesMin = 16;
constexpr std::size_t kKeyBytes = 32;  // Of a key of no known form: so much of it is as random as it.

bool LooksRandom(std::string_view value, double bits_min) {
  bool digit = false;
  for (const char c : value) digit = digit || IsDigit(c);
  return BestBitsPerByte(value, kKeyBytes) >= (digit ? bits_min : bits_min + 0.6);
}

// Letters, capitals and digits take turns in what is made at random, and stay together in words.
bool IsJumbled(std::string_view text) {
  const auto kind = [](char c) { return IsDigit(c) ? 1 : !IsLetter(c) ? 0 : c <= 'Z' ? 2 : 3; };
  std::size_t turns = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const int before = kind(text[i - 1]), its = kind(text[i]);
    turns += before != 0 && its != 0 && before != its ? 1 : 0;
  }
  return turns * 6 >= text.size();
}

// The longest stretch of a value that is left when the words of a list are taken out of it.
template <typename List>
std::string_view LongestBeside(const List& list, std::string_view value) {
  const std::string lower = LowerCase(value);
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

std::size_t AcceptEmail(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  std::string_view local = all.substr(0, all.find('@'));
  local.remove_prefix(std::min(local.find_first_not_of('_'), local.size()));
  if (InUserInfo(text, begin)) return 0;  // The password of postgres://app:password@host.
  return local == "git" || Among(kFileEndings, LowerCase(all.substr(all.rfind('.') + 1))) ? 0 : end;
}

bool HoldsPlaceholder(std::string_view value) {
  const std::string lower = LowerCase(value);
  return std::any_of(std::begin(kPlaceholders), std::end(kPlaceholders),
                     [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

double BitsBesidePlaceholder(std::string_view value, std::size_t bytes_min) {
  const std::string_view rest = LongestBeside(kPlaceholders, value);
  return rest.size() >= bytes_min && IsJumbled(rest) ? BestBitsPerByte(rest, bytes_min) : 0;
}

bool ContinuesSomething(std::string_view text, std::size_t begin, const ContextWords& names) {
  if (begin == 0) return false;
  const char before = Before(text, begin), earlier = Before(text, begin, 2);
  if (before == '-' && !IsDigit(earlier)) return IsWordByte(earlier) && !names.StandBefore(text, begin);
  if (before == '-') return true;
  if (before == '#') return !names.StandBefore(text, begin);
  if (before == '.' || before == '/') return IsDigit(earlier);
  if (before == '+' || before == '$') return true;
  const char32_t letter = DecodeBefore(text, begin);
  return IsWordCodePoint(letter) && !IsHangul(letter);  // Its particles go on any word, and numbers on them.
}

std::size_t AcceptIp(std::string_view text, std::size_t begin, std::size_t end) {
  return text.substr(begin, end - begin).find(':') == std::string_view::npos ? AcceptIpv4(text, begin, end) : AcceptIpv6(text, begin, end);
}

std::size_t AcceptAssignedKey(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = text.substr(begin, end - begin);
  value.remove_prefix(value.find_first_of(":="));
  value.remove_prefix(std::min(value.find_first_not_of(":=> \t\"'`"), value.size()));
  if (value.size() < kKeyBytesMin || LooksLikeUuid(value)) return 0;
  std::string_view rest = value;
  for (const auto take : {LongestBeside(kPlaceholders, value), LongestBeside(kPlaceholderValues, value)}) {
    if (take.size() < rest.size()) rest = take;
  }
  if (rest.size() < value.size() && (rest.size() < kKeyBytesMin || !IsJumbled(rest))) return 0;
  return LooksRandom(rest, 3.4) ? end : 0;
}

std::size_t AcceptMixedToken(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view value = text.substr(begin, end - begin);
  bool digit = false, letter = false;
  for (const char c : value) digit = digit || IsDigit(c), letter = letter || IsLetter(c);
  const double bits = BestBitsPerByte(value, kKeyBytes);
  return letter && (digit ? bits >= 3.0 : bits >= 4.0 && IsJumbled(value)) ? end : 0;  // One key in forty has no digit.
}

std::size_t AcceptCurlPassword(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  return IsRealPassword(all.substr(all.rfind(':') + 1)) ? end : 0;
}

std::size_t AcceptNetrcPassword(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  return IsRealPassword(all.substr(all.find_last_of(" \t\n") + 1)) ? end : 0;
}

std::size_t AcceptConnectionPassword(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  return IsRealPassword(all.substr(all.find('=') + 1)) ? end : 0;
}

}  // namespace tollgate::policy
