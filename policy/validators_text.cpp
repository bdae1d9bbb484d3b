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

constexpr std::string_view kPhoneContext[] = {"phone",     "phones",    "telephone", "tel",      "mobile",   "cell",     "cellphone",
                                              "call",      "called",    "calling",   "fax",      "whatsapp", "sms",      "dial",
                                              "hotline",   "telefon",   "handy",     "mobil",    "telefono", "teléfono", "móvil",
                                              "téléphone", "rufnummer", "ring",      "voicemail"};
constexpr std::string_view kSsnContext[] = {"ssn", "ssns", "ss", "social security", "social-security", "soc sec", "taxpayer"};
constexpr std::string_view kVersionContext[] = {"version", "ver",   "v",        "release", "rev",    "revision", "section", "chapter",
                                                "clause",  "build", "firmware", "driver",  "update", "upgrade",  "package", "oid"};
constexpr std::string_view kFileEndings[] = {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "json", "html", "map", "py"};
constexpr std::string_view kPlaceholders[] = {"example", "placeholder", "changeme",    "your",       "xxxx",  "1234567890",
                                              "dummy",   "redacted",    "process.env", "os.environ", "getenv"};

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
  while (word_end > 0 && (text[word_end - 1] == ' ' || text[word_end - 1] == ':' || text[word_end - 1] == '=') && begin - word_end < 3)
    --word_end;
  std::size_t word = word_end;
  while (word > 0 && IsLetter(text[word - 1]) && word_end - word < 16) --word;
  return Among(kVersionContext, LowerCase(text.substr(word, word_end - word))) ? 0 : end;
}

std::size_t AcceptIpv6(std::string_view text, std::size_t begin, std::size_t end) {
  if (Before(text, begin) == ':' || Before(text, begin) == '.') return 0;
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

bool LooksLikeUuid(std::string_view value) {
  if (value.size() != 36) return false;
  for (std::size_t i = 0; i < 36; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (value[i] == '-')) return false;
  }
  return true;
}

bool HasDigitsJustBefore(std::string_view text, std::size_t end) {
  for (std::size_t back = 1; back <= 12 && IsWordByte(Before(text, end, back)); ++back) {
    if (IsDigit(Before(text, end, back))) return true;
  }
  return false;
}

bool LooksRandom(std::string_view value, double bits_min) {
  bool digit = false;
  for (const char c : value) digit = digit || IsDigit(c);
  return BitsPerByte(value) >= (digit ? bits_min : bits_min + 0.6);
}

}  // namespace

std::span<const std::string_view> PhoneContext() { return kPhoneContext; }
std::span<const std::string_view> SsnContext() { return kSsnContext; }

bool HasContextWord(std::string_view text, std::size_t begin, std::span<const std::string_view> words) {
  std::size_t from = begin > kLeftContextBytes ? begin - kLeftContextBytes : 0;
  const bool cut = from > 0;
  while (from < begin && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  const std::string left = FoldCase(text.substr(from, begin - from));
  for (const std::string_view word : words) {
    for (std::size_t at = left.find(word); at != std::string::npos; at = left.find(word, at + 1)) {
      const bool starts = at == 0 ? !cut : !IsWordCodePoint(DecodeBefore(left, at));
      const std::size_t after = at + word.size();
      std::size_t length = 0;
      if (starts && (after == left.size() || !IsWordCodePoint(DecodeAt(left, after, length)))) return true;
    }
  }
  return false;
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
  const std::string_view local = all.substr(0, all.find('@'));
  return local == "git" || Among(kFileEndings, LowerCase(all.substr(all.rfind('.') + 1))) ? 0 : end;
}

std::size_t AcceptPhone(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  if (IsWordByte(Before(text, begin)) || Before(text, begin) == '.' || Before(text, begin) == '#') return 0;
  if (Before(text, begin) == '-' && HasDigitsJustBefore(text, begin - 1)) return 0;  // The tail of a longer identifier.
  std::size_t digits = 0, dots = 0, opened = 0, closed = 0;
  for (const char c : all) {
    digits += IsDigit(c) ? 1 : 0;
    dots += c == '.' ? 1 : 0;
    opened += c == '(' ? 1 : 0;
    closed += c == ')' ? 1 : 0;
  }
  if (digits < 7 || digits > 15 || opened > 1 || closed > opened) return 0;
  if (dots == 3 && all.find_first_not_of("0123456789.") == std::string_view::npos) return 0;                            // An IP address.
  if (all.size() >= 10 && all[4] == '-' && all[7] == '-' && (all[0] == '1' || all[0] == '2') && opened == 0) return 0;  // A date.
  if (all[0] == '+') return digits >= 8 && all.find_first_of("123456789") == all.find_first_of("0123456789") ? end : 0;
  return HasContextWord(text, begin, PhoneContext()) ? end : 0;
}

std::size_t AcceptIp(std::string_view text, std::size_t begin, std::size_t end) {
  return text.substr(begin, end - begin).find(':') == std::string_view::npos ? AcceptIpv4(text, begin, end) : AcceptIpv6(text, begin, end);
}

std::size_t AcceptAssignedKey(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = text.substr(begin, end - begin);
  value.remove_prefix(value.find_first_of(":="));
  value.remove_prefix(std::min(value.find_first_not_of(":=> \t\"'`"), value.size()));
  if (value.size() < 16 || LooksLikeUuid(value)) return 0;
  const std::string lower = LowerCase(value);
  for (const std::string_view placeholder : kPlaceholders) {
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

}  // namespace tollgate::policy
