// Small helpers that the validators share.
#pragma once

#include <cstddef>
#include <string_view>

namespace tollgate::policy {

inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
inline bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline bool IsWordByte(char c) { return IsDigit(c) || IsLetter(c); }  // '_' parts words: IsWordCodePoint.
inline bool IsCapital(char c) { return c >= 'A' && c <= 'Z'; }
inline bool IsSmall(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
inline bool IsHangul(char32_t c) { return c >= 0xAC00 && c <= 0xD7AF; }
inline char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
inline char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
inline char Before(std::string_view text, std::size_t at, std::size_t back = 1) { return at >= back ? text[at - back] : '\0'; }

// A word of a name in camelCase begins here: homePhone. Not behind one letter: iPhone.
inline bool BeginsInName(std::string_view text, std::size_t at) {
  return at >= 2 && IsCapital(text[at]) && IsSmall(text[at - 1]) && IsSmall(text[at - 2]);
}

// All of a value is words, as names in code and configuration are: "module.db_1.auth_token", "app-secrets-eu-west-1".
bool ReadsAsWords(std::string_view value);

// What stands behind a name and its sign, of a match that ends with it.
std::string_view AssignedValue(std::string_view match);

}  // namespace tollgate::policy
