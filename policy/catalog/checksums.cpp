// Loops over characters; the standards' recurrences as they are printed.
//
// Tested by tests/policy/checksums_test.cpp.
#include "policy/catalog/checksums.h"

#include <algorithm>
#include <array>
#include <string>

#include "policy/validators_internal.h"

namespace tollgate::policy {

int Value(std::string_view id, std::size_t at) {
  if (at >= id.size()) return 0;
  const char c = id[at];
  return IsDigit(c) ? c - '0' : c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 0;
}

int Number(std::string_view id, std::size_t from, std::size_t count) {
  int value = 0;
  for (std::size_t i = from; i < from + count; ++i) value = value * 10 + (i < id.size() && IsDigit(id[i]) ? id[i] - '0' : 0);
  return value;
}

int Weighted(std::string_view id, std::initializer_list<int> weights) {
  int sum = 0;
  std::size_t i = 0;
  for (const int weight : weights) sum += weight * Value(id, i++);
  return sum;
}

int WeightedCrossSum(std::string_view id, std::initializer_list<int> weights) {
  int sum = 0;
  std::size_t i = 0;
  for (const int weight : weights) {
    const int product = weight * Value(id, i++);
    sum += product / 10 + product % 10;
  }
  return sum;
}

int Modulo(std::string_view id, int m) {
  int rest = 0;
  for (std::size_t i = 0; i < id.size(); ++i) {
    const int value = Value(id, i);
    rest = (rest * (value > 9 ? 100 : 10) + value) % m;
  }
  return rest;
}

bool PassesLuhn(std::string_view digits) {
  int sum = 0;
  bool twice = false;
  for (auto c = digits.rbegin(); c != digits.rend(); ++c, twice = !twice) {
    const int value = (*c - '0') * (twice ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  }
  return sum % 10 == 0;
}

bool PassesLuhn36(std::string_view id) {
  int sum = 0, factor = 1;
  for (std::size_t i = id.size(); i > 0; --i, factor = 3 - factor) {
    const int product = factor * Value(id, i - 1);
    sum += product / 36 + product % 36;
  }
  return sum % 36 == 0;
}

bool PassesMod11_10(std::string_view digits) {
  int rest = 10;
  for (std::size_t i = 0; i + 1 < digits.size(); ++i) {
    rest = (rest + Value(digits, i)) % 10;
    rest = (rest == 0 ? 10 : rest) * 2 % 11;
  }
  return (rest + Value(digits, digits.size() - 1)) % 10 == 1;
}

bool PassesMod11_2(std::string_view id) {
  int rest = 0;
  for (std::size_t i = 0; i < id.size(); ++i) {
    if (id[i] == 'X' && i + 1 < id.size()) return false;
    rest = (rest * 2 + (id[i] == 'X' ? 10 : Value(id, i))) % 11;
  }
  return rest == 1;
}

bool PassesVerhoeff(std::string_view digits) {
  static constexpr std::uint8_t kTimes[10][10] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 0, 6, 7, 8, 9, 5}, {2, 3, 4, 0, 1, 7, 8, 9, 5, 6}, {3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
      {4, 0, 1, 2, 3, 9, 5, 6, 7, 8}, {5, 9, 8, 7, 6, 0, 4, 3, 2, 1}, {6, 5, 9, 8, 7, 1, 0, 4, 3, 2}, {7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
      {8, 7, 6, 5, 9, 3, 2, 1, 0, 4}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0}};
  static constexpr std::uint8_t kTurn[8][10] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4}, {5, 8, 0, 3, 7, 9, 6, 1, 4, 2}, {8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
      {9, 4, 5, 3, 1, 2, 6, 8, 7, 0}, {4, 2, 8, 6, 5, 7, 3, 9, 0, 1}, {2, 7, 9, 3, 8, 0, 6, 4, 1, 5}, {7, 0, 4, 6, 9, 1, 3, 2, 5, 8}};
  std::size_t state = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const auto digit = static_cast<std::size_t>(Value(digits, digits.size() - 1 - i)) % 10;
    state = kTimes[state][kTurn[i % 8][digit]];
  }
  return state == 0;
}

bool PassesIsinLuhn(std::string_view id) {
  std::string digits;
  for (std::size_t i = 0; i < id.size(); ++i) digits += std::to_string(Value(id, i));
  return PassesLuhn(digits);
}

bool IsDate(int year, int month, int day) {
  static constexpr std::array<int, 13> kDays = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (year < 1800 || year > 2099 || month < 1 || month > 12 || day < 1) return false;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= kDays[static_cast<std::size_t>(month)] + (leap && month == 2 ? 1 : 0);
}

bool IsShortDate(int yy, int month, int day) { return IsDate(2000 + yy, month, day); }

bool AllSame(std::string_view id) { return id.find_first_not_of(id.substr(0, 1)) == std::string_view::npos; }

bool IsCountry(std::string_view alpha2) {
  static constexpr std::string_view kCountries =
      "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI "
      "CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ "
      "GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS "
      "LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG "
      "PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK "
      "TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XK";
  if (alpha2.size() != 2) return false;
  const std::size_t at = kCountries.find(alpha2);
  return at != std::string_view::npos && at % 3 == 0;
}

}  // namespace tollgate::policy
