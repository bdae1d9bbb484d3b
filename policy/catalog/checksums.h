// The arithmetic that identifiers share: check digits, dates, positions. Every function takes an identifier's letters and digits in upper
// case, separators removed, and is pure. Names follow the standards (ISO/IEC 7064, ISO 13616, Luhn, Verhoeff 1969).
#pragma once

#include <initializer_list>
#include <string_view>

namespace tollgate::policy {

// A digit's value, a letter's from A = 10; 0 for anything else and beyond the end.
int Value(std::string_view id, std::size_t at);
// The decimal number of `count` digits from `from`; letters count as 0.
int Number(std::string_view id, std::size_t from, std::size_t count);

// Sum of Value(i) * weight(i), over as many as there are weights.
int Weighted(std::string_view id, std::initializer_list<int> weights);
// The same, each product reduced to the sum of its decimal digits.
int WeightedCrossSum(std::string_view id, std::initializer_list<int> weights);
// The identifier as a decimal number (letters as two digits, A = 10), modulo m.
int Modulo(std::string_view id, int m);

bool PassesLuhn(std::string_view digits);      // ISO/IEC 7812-1, digits only.
bool PassesLuhn36(std::string_view id);        // The same in base 36.
bool PassesMod11_10(std::string_view digits);  // ISO/IEC 7064, hybrid.
bool PassesMod11_2(std::string_view id);       // ISO/IEC 7064, pure; the last may be X.
bool PassesVerhoeff(std::string_view digits);

// ISIN: Luhn over the letters' two-digit values.
bool PassesIsinLuhn(std::string_view id);

bool IsDate(int year, int month, int day);     // Gregorian, 1800 to 2099.
bool IsShortDate(int yy, int month, int day);  // In some century: 29 February needs yy divisible by four.

bool AllSame(std::string_view id);        // 1111…
bool IsCountry(std::string_view alpha2);  // ISO 3166-1, upper case.

}  // namespace tollgate::policy
