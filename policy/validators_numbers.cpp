// Numbers with a checksum or a structure: cards, IBAN, SSN.
//
// A card candidate is the longest run of digit groups; the number may end earlier, at a group's end ("4111 1111 1111 1111 12/27"), so
// lengths are tried from long to short. An IBAN's length is its country's, whatever capital letters follow.
//
// Groups that a line's end, a tab or two characters part may be the numbers of a table, and one in ten of these passes Luhn. There a card
// is only what has the groups that are printed on cards, and no other number before it.
//
// Tested by tests/policy/validators_test.cpp.
#include <algorithm>
#include <array>
#include <string>

#include "policy/catalog/checksums.h"
#include "policy/fold.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// Issuer identification ranges (first six digits) and the lengths their numbers have.
struct Issuer {
  int from, to, shortest, longest;
};
constexpr std::array<Issuer, 15> kIssuers = {{{400000, 499999, 16, 19},
                                              {510000, 559999, 16, 16},
                                              {222100, 272099, 16, 16},
                                              {340000, 349999, 15, 15},
                                              {370000, 379999, 15, 15},
                                              {601100, 601199, 16, 19},
                                              {644000, 659999, 16, 19},
                                              {622126, 622925, 16, 19},
                                              {352800, 358999, 16, 19},
                                              {300000, 305999, 14, 19},
                                              {360000, 369999, 14, 19},
                                              {380000, 399999, 14, 19},
                                              {620000, 629999, 16, 19},
                                              {220000, 220499, 16, 19},
                                              {500000, 509999, 16, 19}}};

bool IssuedWithLength(std::string_view digits) {
  const int head = std::stoi(std::string(digits.substr(0, 6)));
  const auto length = static_cast<int>(digits.size());
  return std::any_of(kIssuers.begin(), kIssuers.end(), [&](const Issuer& issuer) {
    if (head < issuer.from || head > issuer.to || length < issuer.shortest || length > issuer.longest) return false;
    return issuer.from != 400000 || length == 16 || length == 19;
  });
}

struct Country {
  char code[3];
  std::uint8_t length;
};
constexpr Country kIbanCountries[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22}, {"BI", 27}, {"BR", 29},
    {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27}, {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29},
    {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28},
    {"HR", 21}, {"HU", 28}, {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28},
    {"LC", 32}, {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MN", 20},
    {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24}, {"PL", 28}, {"PS", 29}, {"PT", 25},
    {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24}, {"SC", 31}, {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27},
    {"SO", 23}, {"ST", 25}, {"SV", 28}, {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30}};

// Groups of four go back from here to two letters and two digits: an IBAN, written apart.
bool InsideIban(std::string_view text, std::size_t at) {
  for (int groups = 0; groups < 9 && at >= 5 && text[at - 1] == ' '; ++groups, at -= 5) {
    const std::string_view group = text.substr(at - 5, 4);
    if (!std::all_of(group.begin(), group.end(), IsWordByte)) return false;
    if (IsLetter(group[0]) && IsLetter(group[1]) && IsDigit(group[2]) && IsDigit(group[3])) return true;
  }
  return false;
}

bool IsCard(std::string_view digits) {
  return digits.find_first_not_of(digits[0]) != std::string::npos && IssuedWithLength(digits) && PassesLuhn(digits);
}

// The digits of a candidate, and where each stands.
struct CardDigits {
  static constexpr std::size_t kMax = 19;

  CardDigits(std::string_view text, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end && digits.size() < kMax; ++i) {
      if (!IsDigit(text[i])) continue;
      at[digits.size()] = i;
      digits += text[i];
    }
  }
  bool EndsGroup(std::size_t count) const { return count == digits.size() || at[count] != at[count - 1] + 1; }
  std::string_view First(std::size_t count) const { return std::string_view(digits).substr(0, count); }

  std::string digits;
  std::array<std::size_t, kMax> at{};
};

// More than one character, or a line's end or a tab.
bool IsWide(std::string_view gap) {
  std::size_t length = 0;
  if (gap.empty()) return false;
  DecodeAt(gap, 0, length);
  return length < gap.size() || gap.find_first_of("\t\r\n") != std::string_view::npos;
}

// How many of the digits stand no further apart than one blank or hyphen.
std::size_t TogetherCount(std::string_view text, const CardDigits& card) {
  for (std::size_t i = 1; i < card.digits.size(); ++i) {
    const std::size_t behind = card.at[i - 1] + 1;
    if (IsWide(text.substr(behind, card.at[i] - behind))) return i;
  }
  return card.digits.size();
}

using CardGroups = std::array<std::size_t, 5>;
constexpr std::array<CardGroups, 4> kPrintedGroups = {{{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}}};

// How many digits the groups have, if the candidate begins with them; else 0.
std::size_t PrintedCount(const CardDigits& card, const CardGroups& groups) {
  std::size_t count = 0;
  for (const std::size_t group : groups) {
    if (group == 0) break;
    if (count + group > card.digits.size() || card.at[count + group - 1] != card.at[count] + group - 1) return 0;
    count += group;
    if (!card.EndsGroup(count)) return 0;
  }
  return count;
}

// The next number of a row or of a column.
bool FollowsNumber(std::string_view text, std::size_t begin) {
  std::size_t at = begin;
  while (at > 0 && begin - at < 2 && std::string_view(" \t\r\n-").find(text[at - 1]) != std::string_view::npos) --at;
  return at < begin && IsDigit(Before(text, at)) && IsDigit(Before(text, at, 2)) && IsDigit(Before(text, at, 3));
}

}  // namespace

std::size_t AcceptCard(std::string_view text, std::size_t begin, std::size_t end) {
  const char before = Before(text, begin);
  if ((before == '.' || before == '/') && IsDigit(Before(text, begin, 2))) return 0;  // The fraction of a number, the tail of a reference.
  static const ContextWords kOtherNumbers({"siret", "imei"});                         // Of a card's length, with Luhn's check digit.
  if (InsideIban(text, begin) || kOtherNumbers.StandBefore(text, begin)) return 0;
  const CardDigits card(text, begin, end);
  const std::size_t together = TogetherCount(text, card);
  for (std::size_t count = together; count >= 13; --count) {
    if (card.EndsGroup(count) && IsCard(card.First(count))) return card.at[count - 1] + 1;
  }
  if (together == card.digits.size() || FollowsNumber(text, begin)) return 0;
  for (const CardGroups& groups : kPrintedGroups) {
    const std::size_t count = PrintedCount(card, groups);
    if (count > 0 && IsCard(card.First(count))) return card.at[count - 1] + 1;
  }
  return 0;
}

std::size_t AcceptIban(std::string_view text, std::size_t begin, std::size_t end) {
  const char code[3] = {Upper(text[begin]), Upper(text[begin + 1]), '\0'};
  const auto country = std::find_if(std::begin(kIbanCountries), std::end(kIbanCountries),
                                    [&](const Country& c) { return std::string_view(c.code) == code; });
  if (country == std::end(kIbanCountries)) return 0;
  std::string iban;
  for (std::size_t i = begin; i < end; ++i) {
    if (!IsWordByte(text[i])) continue;
    iban += Upper(text[i]);
    if (iban.size() < country->length) continue;
    const bool goes_on = i + 1 < end && IsWordByte(text[i + 1]);
    return !goes_on && Modulo(iban.substr(4) + iban.substr(0, 4), 97) == 1 ? i + 1 : 0;
  }
  return 0;
}

}  // namespace tollgate::policy
