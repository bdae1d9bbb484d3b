// Addresses of mail and of machines, and what a number is the tail of.
//
// Tested by tests/policy/validators_test.cpp.
#include <algorithm>
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

}  // namespace

std::size_t AcceptEmail(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  std::string_view local = all.substr(0, all.find('@'));
  local.remove_prefix(std::min(local.find_first_not_of('_'), local.size()));
  if (InUserInfo(text, begin)) return 0;  // The password of postgres://app:password@host.
  return local == "git" || Among(kFileEndings, LowerCase(all.substr(all.rfind('.') + 1))) ? 0 : end;
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

}  // namespace tollgate::policy
