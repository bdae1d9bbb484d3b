// Addresses, phone numbers and secrets: structure, entropy and the words to the left.
//
// Context is whole words only, in a fixed number of bytes, so that "public" does not contain "lic" and a stream sees what the whole
// text sees.
//
// Tested by tests/policy/validators_test.cpp.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "policy/fold.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kVersionContext[] = {"version", "ver",   "v",        "release", "rev",    "revision", "section", "chapter",
                                                "clause",  "build", "firmware", "driver",  "update", "upgrade",  "package", "oid"};
constexpr std::string_view kFileEndings[] = {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "json", "html", "map", "py"};
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
  const char before = Before(text, begin);
  if (groups != 4 || before == '.' || before == '-' || before == '/') return 0;
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
  int groups = 0, gaps = 0;
  bool digit = false;
  for (std::size_t i = 0; i < address.size();) {
    if (address[i] == ':') {
      if (i + 1 < address.size() && address[i + 1] == ':')
        ++gaps, i += 2;
      else if (i + 1 == address.size())
        return 0;  // A colon of the sentence, or no address at all.
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

// Between "scheme://" and the host of a URL.
bool InUserInfo(std::string_view text, std::size_t begin) {
  for (std::size_t back = 1; back <= kLeftContextBytes && back <= begin; ++back) {
    const char c = text[begin - back];
    if (c == '/') return back + 2 <= begin && text.substr(begin - back - 2, 2) == ":/";
    if (c == '?' || c == ' ' || c == '\n' || c == '\t' || c == '"') return false;
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

bool IsPhoneShaped(std::string_view all) {
  const auto digits = std::count_if(all.begin(), all.end(), IsDigit);
  const auto opened = std::count(all.begin(), all.end(), '('), closed = std::count(all.begin(), all.end(), ')');
  return digits >= 7 && digits <= 15 && opened <= 1 && closed <= opened;
}

// Braces, dollars and asterisks are how templates and redactions write a password.
bool IsRealPassword(std::string_view value) {
  return value.size() >= 4 && value.find_first_of("${}*%") == std::string_view::npos && !HoldsPlaceholder(value) &&
         LowerCase(value) != "password";
}

bool HasDigitsJustBefore(std::string_view text, std::size_t end) {
  for (std::size_t back = 1; back <= 12 && IsWordByte(Before(text, end, back)); ++back) {
    if (IsDigit(Before(text, end, back))) return true;
  }
  return false;
}

// A name of code that begins with the word names something else: "ring_buffer_size" is about no ring, "user_ssn" and "ssn_1" are.
bool GoesOnAt(std::string_view left, std::size_t after) {
  const std::size_t next = std::min(left.find_first_not_of('_', after), left.size());
  if (next == left.size() || (next > after && IsDigit(left[next]))) return false;
  std::size_t length = 0;
  return IsWordCodePoint(DecodeAt(left, next, length));
}

bool LooksRandom(std::string_view value, double bits_min) {
  bool digit = false;
  for (const char c : value) digit = digit || IsDigit(c);
  return BitsPerByte(value) >= (digit ? bits_min : bits_min + 0.6);
}

}  // namespace

ContextWords::ContextWords(std::vector<std::string> words) : words_(std::move(words)) {
  auto made = AhoCorasick::Build(words_);
  TG_CHECK(made.ok(), "context words are few and short");
  automaton_ = *std::move(made);
}

bool ContextWords::StandBefore(std::string_view text, std::size_t begin) const {
  std::size_t from = begin > kLeftContextBytes ? begin - kLeftContextBytes : 0;
  const bool cut = from > 0;
  while (from < begin && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  std::string folded;
  const std::string_view left = FoldedView(text.substr(from, begin - from), folded);
  AhoCorasick::State state = AhoCorasick::kStart;
  bool found = false;
  for (std::size_t after = 1; after <= left.size() && !found; ++after) {
    state = automaton_.Next(state, left[after - 1]);
    if (!automaton_.EndsWord(state)) continue;
    if (GoesOnAt(left, after)) continue;
    automaton_.ForEachEnding(state, [&](std::uint32_t word) {
      const std::size_t at = after - words_[word].size();
      found = found || (at == 0 ? !cut : !IsWordCodePoint(DecodeBefore(left, at)));
    });
  }
  return found;
}

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

bool ContinuesSomething(std::string_view text, std::size_t begin) {
  if (begin == 0) return false;
  const char before = Before(text, begin), earlier = Before(text, begin, 2);
  if (before == '-') return IsWordByte(earlier);
  if (before == '.' || before == '/' || before == ',') return IsDigit(earlier);
  if (before == '+' || before == '$' || before == '#') return true;
  return IsWordCodePoint(DecodeBefore(text, begin));
}

std::size_t AcceptInternationalPhone(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  if (IsWordByte(Before(text, begin)) || !IsPhoneShaped(all)) return 0;
  const bool country = all.find_first_of("123456789") == all.find_first_of("0123456789");
  return country && std::count_if(all.begin(), all.end(), IsDigit) >= 8 ? end : 0;
}

std::size_t AcceptLocalPhone(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  const char before = Before(text, begin);
  if (IsWordByte(before) || before == '.' || before == '#' || before == '+' || before == '(') return 0;
  if (before == '-' && HasDigitsJustBefore(text, begin - 1)) return 0;  // The tail of a longer identifier.
  if (std::count(all.begin(), all.end(), '.') == 3 && all.find_first_not_of("0123456789.") == std::string_view::npos)
    return 0;                                                                                            // An address.
  if (all.size() >= 10 && all[4] == '-' && all[7] == '-' && (all[0] == '1' || all[0] == '2')) return 0;  // A date.
  return IsPhoneShaped(all) ? end : 0;
}

std::size_t AcceptIp(std::string_view text, std::size_t begin, std::size_t end) {
  return text.substr(begin, end - begin).find(':') == std::string_view::npos ? AcceptIpv4(text, begin, end) : AcceptIpv6(text, begin, end);
}

std::size_t AcceptAssignedKey(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = text.substr(begin, end - begin);
  value.remove_prefix(value.find_first_of(":="));
  value.remove_prefix(std::min(value.find_first_not_of(":=> \t\"'`"), value.size()));
  if (value.size() < 16 || LooksLikeUuid(value)) return 0;
  if (HoldsPlaceholder(value)) return 0;
  const std::string lower = LowerCase(value);
  for (const std::string_view placeholder : kPlaceholderValues) {
    if (lower.find(placeholder) != std::string::npos) return 0;
  }
  return LooksRandom(value, 3.4) ? end : 0;
}

std::size_t AcceptMixedToken(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view value = text.substr(begin, end - begin);
  bool digit = false, letter = false;
  for (const char c : value) digit = digit || IsDigit(c), letter = letter || IsLetter(c);
  return digit && letter && BitsPerByte(value) >= 3.0 ? end : 0;
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
