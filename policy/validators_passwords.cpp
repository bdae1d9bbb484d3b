// Passwords: what a place or a name says is one, unless it only stands for one.
//
// Where the place tells (a URL, curl, netrc, a connection string) any word may be a password. A name beside it ("password = …", "the
// password is …") says less: it also stands beside types, rules, names of variables and descriptions, so there a value must hold letters
// and a digit, or a mark among letters, and must not read as words.
//
// Tested by tests/policy/secret_forms_test.cpp.
#include <algorithm>
#include <string>

#include "policy/fold.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kPasswordBytesMin = 6;
// How passwords are kept; what such a word begins says so, and is none.
constexpr std::string_view kHowKept[] = {"base64", "sha1",  "sha2", "sha3", "sha5", "sha-", "md5",  "pbkdf2", "bcrypt", "scrypt",
                                         "argon2", "rot13", "aes1", "aes2", "aes-", "utf8", "ntlm", "hmac",   "oauth2", "x509"};
constexpr std::string_view kStandIns[] = {"password", "passwd", "pwd", "param", "input", "field", "string"};

bool IsName(std::string_view text) {
  return !text.empty() && !IsDigit(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsWordByte(c) || c == '_' || c == '.'; });
}

// "$PASSWORD", "${db.password}", "%PASSWORD%", "%(password)s", "{{ password }}", "x-{password}"
bool IsTemplate(std::string_view value) {
  for (const std::string_view sign : {"${", "$(", "{{", "#{"}) {
    if (value.find(sign) != std::string_view::npos) return true;
  }
  if (value.starts_with('{')) return true;
  if (value.starts_with('$')) {
    const std::size_t end = std::min(value.find_first_of(";,&)]:/-", 1), value.size());
    return IsName(value.substr(1, end - 1));
  }
  if (value.starts_with('%')) return value.ends_with('%') || value.starts_with("%(") || value.size() <= 3;
  const std::size_t open = value.find('{'), close = value.find('}', std::min(open, value.size()));
  return close != std::string_view::npos && IsName(value.substr(open + 1, close - open - 1));
}

bool IsMasked(std::string_view value) {
  return value.find("***") != std::string_view::npos || value.find("\u2022") != std::string_view::npos ||
         value.find_first_not_of(value[0]) == std::string_view::npos;
}

bool IsRealPassword(std::string_view value) {
  return !value.empty() && !IsTemplate(value) && !IsMasked(value) && !HoldsPlaceholder(value) && FoldCase(value) != "password";
}

std::size_t CountDigits(std::string_view text) { return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), IsDigit)); }
bool HasLetter(std::string_view text) { return std::any_of(text.begin(), text.end(), IsLetter); }

// p@ssword, not password!
bool HasMarkInside(std::string_view text) {
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (std::string_view("!@#$%^&*~").find(text[i]) != std::string_view::npos && IsWordByte(text[i - 1]) && IsWordByte(text[i + 1]))
      return true;
  }
  return false;
}

// What a list or a sentence goes on with behind a value without quotes is none of it.
std::string_view TrimUnquoted(std::string_view value) {
  for (std::size_t at = 0; (at = value.find_first_of(";,&", at)) != std::string_view::npos; ++at) {
    const std::string_view rest = value.substr(at + 1);
    const std::size_t sign = rest.find('=');
    if (sign == std::string_view::npos || !IsName(rest.substr(0, sign))) continue;
    value = value.substr(0, at);
    break;
  }
  return value.substr(0, value.find_last_not_of(".,;:)]}\\") + 1);
}

bool IsAddress(std::string_view value) {
  const std::size_t at = value.find('@'), dot = value.rfind('.');
  return at != std::string_view::npos && at > 0 && dot != std::string_view::npos && dot > at + 1 && dot + 2 < value.size() &&
         IsName(value.substr(at + 1)) && CountDigits(value.substr(dot)) == 0;
}

bool IsPlace(std::string_view value) {
  return value.starts_with('/') || value.starts_with("./") || value.starts_with("../") || value.starts_with("~/") ||
         value.find("://") != std::string_view::npos;
}

bool SaysHowKept(std::string_view value) {
  const std::string folded = FoldCase(value);
  return std::any_of(std::begin(kHowKept), std::end(kHowKept), [&](std::string_view word) { return folded.starts_with(word); });
}

// 12-digit, 1.2.3, v2.0, 2026-11-25T…
bool IsNumbered(std::string_view value) {
  if (value.starts_with('v')) value.remove_prefix(1);
  const std::size_t end = std::min(value.find_first_not_of("0123456789"), value.size());
  if (end == 0 || end + 1 >= value.size()) return false;
  const std::string_view rest = value.substr(end + 1);
  if (value[end] == '.') return IsDigit(rest[0]);
  const bool words = rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == std::string_view::npos;
  return value[end] == '-' && (words || (end == 4 && rest.size() > 2 && IsDigit(rest[0]) && IsDigit(rest[1]) && rest[2] == '-'));
}

// The name of a variable, a call, a parameter of SQL, a pointer.
bool IsCode(std::string_view value) {
  if (value.find_first_of("([") != std::string_view::npos) return true;
  if (std::string_view("@:&*").find(value[0]) != std::string_view::npos && IsName(value.substr(1))) return true;
  if (!IsName(value)) return false;
  const bool small = std::none_of(value.begin(), value.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (small && value.find('.') != std::string_view::npos) return true;
  const std::string folded = FoldCase(value);
  return CountDigits(value) < 2 && std::any_of(std::begin(kStandIns), std::end(kStandIns),
                                               [&](std::string_view word) { return folded.find(word) != std::string::npos; });
}

std::size_t AcceptTail(std::string_view text, std::size_t begin, std::size_t end, std::size_t value) {
  return IsRealPassword(text.substr(begin + value, end - begin - value)) ? end : 0;
}

}  // namespace

std::size_t AcceptAssignedPassword(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = AssignedValue(text.substr(begin, end - begin));
  const std::size_t from = end - value.size();
  const char before = Before(text, from);
  const bool quoted = before == '"' || before == '\'' || before == '`';
  if (!quoted) value = TrimUnquoted(value);
  if (value.size() < kPasswordBytesMin || !IsRealPassword(value)) return 0;
  if (!HasLetter(value) || (CountDigits(value) == 0 && !HasMarkInside(value))) return 0;
  if (IsPlace(value) || IsAddress(value) || IsNumbered(value) || SaysHowKept(value) || ReadsAsWords(value)) return 0;
  return !quoted && IsCode(value) ? 0 : from + value.size();
}

std::size_t AcceptPasswordInWords(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = AssignedValue(text.substr(begin, end - begin));
  const std::size_t from = end - value.size();
  value = TrimUnquoted(value);
  const std::size_t digits = CountDigits(value);
  if (value.size() < kPasswordBytesMin || digits == 0 || !HasLetter(value) || !IsRealPassword(value)) return 0;
  if (IsPlace(value) || IsAddress(value) || IsNumbered(value) || SaysHowKept(value) || ReadsAsWords(value)) return 0;
  return digits < 2 && FoldCase(value).find("password") != std::string::npos ? 0 : from + value.size();
}

std::size_t AcceptCurlPassword(std::string_view text, std::size_t begin, std::size_t end) {
  return AcceptTail(text, begin, end, text.substr(begin, end - begin).rfind(':') + 1);
}

std::size_t AcceptUserPassword(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin), value = all.substr(all.rfind(':') + 1);
  if (CountDigits(value) == 0 || !HasLetter(value) || IsPlace(value) || ReadsAsWords(value)) return 0;
  return AcceptCurlPassword(text, begin, end);
}

std::size_t AcceptUrlPassword(std::string_view text, std::size_t begin, std::size_t end) {
  std::string_view value = text.substr(begin, end - begin);
  value.remove_prefix(value.find("://") + 3);
  value.remove_prefix(value.find(':') + 1);
  value = value.substr(0, value.rfind('@'));
  const std::size_t port = std::min(value.find_first_not_of("0123456789"), value.size());
  if (port > 0 && port <= 5 && port < value.size() && std::string_view("?#,;&|)]}(\\").find(value[port]) != std::string_view::npos)
    return 0;
  return IsRealPassword(value) ? end : 0;
}

std::size_t AcceptConnectionPassword(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t from = text.find('=', begin) + 1;
  while (from < end && std::string_view(" \t\"'").find(text[from]) != std::string_view::npos) ++from;
  const std::size_t to = std::min(text.substr(0, end).find_first_of(";\"'", from), end);
  return IsRealPassword(text.substr(from, to - from)) ? to : 0;
}

// A sentence of these words goes on with small letters, and its machine has no domain.
std::size_t AcceptNetrcPassword(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  const std::size_t password = all.find_last_of(" \t\r\n\f\v") + 1;
  const std::string_view machine = all.substr(8, all.find_first_of(" \t\r\n\f\v", 8) - 8);
  const bool word = all.substr(password).find_first_not_of("abcdefghijklmnopqrstuvwxyz.,") == std::string_view::npos;
  return word && machine.find('.') == std::string_view::npos && machine != "localhost" ? 0 : AcceptTail(text, begin, end, password);
}

}  // namespace tollgate::policy
