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

// Issuer identification ranges (first six digits) and the lengths their numbers have. Shorter ones than these have other numbers, too: of
// `worded` a word for a card must stand beside.
struct Issuer {
  int from, to, shortest, longest;
  int worded = 0;  // The shortest there is; 0: the same.
};
constexpr Issuer kIssuers[] = {
    {400000, 499999, 16, 19, 13},  // Visa, Elo.
    {510000, 559999, 16, 16},      // Mastercard.
    {222100, 272099, 16, 16},      // Mastercard.
    {340000, 349999, 15, 15},      // American Express.
    {370000, 379999, 15, 15},      // American Express.
    {601100, 601199, 16, 19},      // Discover.
    {644000, 659999, 16, 19},      // Discover, RuPay, Elo, Troy.
    {300000, 305999, 14, 19},      // Diners Club.
    {309500, 309599, 14, 19},      // Diners Club.
    {360000, 369999, 14, 19},      // Diners Club.
    {380000, 399999, 14, 19},      // Diners Club, Hipercard.
    {350000, 359999, 16, 19},      // JCB, from 3528 to 3589; numbers for tests are made of all of 35.
    {213100, 213199, 15, 15},      // JCB.
    {180000, 180099, 15, 15},      // JCB.
    {620000, 629999, 16, 19},      // UnionPay.
    {810000, 817199, 16, 19},      // UnionPay, RuPay.
    {817200, 829999, 16, 16},      // RuPay.
    {600000, 601099, 16, 16},      // RuPay, Hipercard.
    {601200, 609999, 16, 16},      // RuPay, Hipercard.
    {500000, 509999, 16, 19, 12},  // Maestro, Verve, Elo, RuPay.
    {560000, 589999, 16, 19, 12},  // Maestro.
    {670000, 679999, 16, 19, 12},  // Maestro.
    {630400, 630499, 16, 19, 12},  // Maestro.
    {639000, 639099, 16, 19, 12},  // Maestro.
    {60400, 60499, 16, 19, 12},    // Maestro.
    {636000, 638999, 16, 19},      // Elo, Hipercard, InterPayment, InstaPayment.
    {639100, 639999, 16, 16},      // InstaPayment.
    {220000, 220499, 16, 19},      // Mir.
    {220500, 220599, 16, 16},      // Borica.
    {979200, 979289, 16, 16},      // Troy.
    {970400, 970499, 16, 19},      // Napas.
    {860000, 860099, 16, 16},      // Uzcard.
    {986000, 986099, 16, 16},      // Humo.
    {911200, 911299, 16, 16},      // Belkart.
};

bool IssuedWithLength(std::string_view digits, bool worded) {
  const int head = std::stoi(std::string(digits.substr(0, 6)));
  const auto length = static_cast<int>(digits.size());
  return std::any_of(std::begin(kIssuers), std::end(kIssuers), [&](const Issuer& issuer) {
    const int shortest = worded && issuer.worded != 0 ? issuer.worded : issuer.shortest;
    if (head < issuer.from || head > issuer.to || length < shortest || length > issuer.longest) return false;
    return issuer.from != 400000 || length == 13 || length == 16 || length == 19;
  });
}

struct Country {
  char code[3];
  std::uint8_t length;
};
constexpr Country kIbanCountries[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22}, {"BI", 27},
    {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27}, {"DK", 18}, {"DO", 28},
    {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22}, {"GE", 22}, {"GI", 23},
    {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HN", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26},
    {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32}, {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21},
    {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28},
    {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24}, {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22},
    {"RU", 33}, {"SA", 24}, {"SC", 31}, {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25},
    {"SV", 28}, {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30}};

// Groups of four go back from here to where an IBAN begins that, written apart, ends in the candidate.
bool InsideIban(std::string_view text, std::size_t begin, std::size_t end) {
  const char by = Before(text, begin);
  std::size_t at = begin;
  for (int groups = 0; groups < 9 && at >= 5 && text[at - 1] == by && (by == ' ' || by == '-'); ++groups) {
    at -= 5;
    const std::string_view group = text.substr(at, 4);
    if (!std::all_of(group.begin(), group.end(), IsWordByte)) return false;
    if (IsLetter(group[0]) && IsLetter(group[1]) && IsDigit(group[2]) && IsDigit(group[3])) return AcceptIban(text, at, end) > begin;
  }
  return false;
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

// What a card's number looks like where it stands: all its digits together, or in the groups that are printed on cards. In any other groups
// it is a row of numbers, unless something says that it is a card's; so are groups of four that go on to the left.
bool LooksPrinted(std::string_view text, const CardDigits& card, std::size_t count) {
  if (card.at[count - 1] == card.at[0] + count - 1) return true;
  const bool grouped = std::any_of(kPrintedGroups.begin(), kPrintedGroups.end(),
                                   [&](const CardGroups& groups) { return PrintedCount(card, groups) == count; });
  const auto is_group = [&](std::size_t end) {
    return end >= 5 && std::string_view(" -").find(text[end - 1]) != std::string_view::npos && IsDigit(text[end - 2]) &&
           IsDigit(text[end - 3]) && IsDigit(text[end - 4]) && IsDigit(text[end - 5]) && (end == 5 || !IsWordByte(text[end - 6]));
  };
  const std::size_t begin = card.at[0];
  return grouped && !(is_group(begin) && is_group(begin - 5));
}

bool AllGapsWide(std::string_view text, const CardDigits& card) {
  for (std::size_t i = 1; i < card.digits.size(); ++i) {
    const std::string_view gap = text.substr(card.at[i - 1] + 1, card.at[i] - card.at[i - 1] - 1);
    if (!gap.empty() && !IsWide(gap)) return false;
  }
  return true;
}

// "12/4111…": the tail of a reference. "v1/4111…": a part of a path.
bool ContinuesNumber(std::string_view text, std::size_t begin) {
  const char before = Before(text, begin);
  if ((before != '.' && before != '/') || !IsDigit(Before(text, begin, 2))) return false;
  std::size_t back = 2;
  while (back < 8 && IsDigit(Before(text, begin, back))) ++back;
  return before == '.' || !IsLetter(Before(text, begin, back));
}

// The next number of a row or of a column.
bool FollowsNumber(std::string_view text, std::size_t begin) {
  std::size_t at = begin;
  while (at > 0 && begin - at < 2 && std::string_view(" \t\r\n-").find(text[at - 1]) != std::string_view::npos) --at;
  return at < begin && IsDigit(Before(text, at)) && IsDigit(Before(text, at, 2)) && IsDigit(Before(text, at, 3));
}

// What is said of a number stands before it, with no other number between them.
bool Said(const ContextWords& words, std::string_view text, std::size_t begin) {
  const std::size_t from = begin > kLeftContextBytes ? begin - kLeftContextBytes : 0;
  const std::size_t digit = text.substr(from, begin - from).find_last_of("0123456789");
  if (digit == std::string_view::npos) return words.StandBefore(text, begin);
  const std::size_t behind = from + digit + 1;
  return words.StandBefore(text.substr(behind), begin - behind);
}

// Of a card's length, with its check digit.
bool IsOtherNumber(std::string_view text, std::size_t begin, std::size_t digits) {
  static const ContextWords kSiret({"siret"}), kImei({"imei"}), kClabe({"clabe"});
  return (digits == 14 && Said(kSiret, text, begin)) || (digits == 15 && Said(kImei, text, begin)) ||
         (digits == 18 && Said(kClabe, text, begin));
}

bool SaysCard(std::string_view text, std::size_t begin) {
  static const ContextWords kWords({"card",
                                    "cards",
                                    "cardnumber",
                                    "credit",
                                    "debit",
                                    "visa",
                                    "maestro",
                                    "mastercard",
                                    "pan",
                                    "carte",
                                    "karte",
                                    "kreditkarte",
                                    "kreditkartennummer",
                                    "kartennummer",
                                    "tarjeta",
                                    "carta",
                                    "cartão",
                                    "cartao",
                                    "kaart",
                                    "karta",
                                    "kort",
                                    "kart",
                                    "карта",
                                    "カード",
                                    "卡",
                                    "카드"});
  return kWords.StandBefore(text, begin);
}

// Points part groups of four, or an American Express's: one point makes a fraction, groups of three an amount.
bool IsPointed(std::string_view number) {
  const std::size_t first = number.find('.');
  if (first == std::string_view::npos) return true;
  const std::size_t second = number.find('.', first + 1);
  if (first != 4 || second == std::string_view::npos || number.find_first_not_of("0123456789.") != std::string_view::npos) return false;
  if (second == 11) return number.size() >= 16 && number.find('.', second + 1) == std::string_view::npos;
  for (std::size_t at = 4; at < number.size(); at += 5) {
    if (number[at] != '.') return false;
  }
  return true;
}

// Whether the first digits of the candidate are a card's number.
bool IsCard(std::string_view text, std::size_t begin, const CardDigits& card, std::size_t count) {
  const std::string_view number = card.First(count);
  if (!PassesLuhn(number) || !IssuedWithLength(number, true) || !IsPointed(text.substr(begin, card.at[count - 1] + 1 - begin)))
    return false;
  return IssuedWithLength(number, false) || SaysCard(text, begin);
}

}  // namespace

std::size_t AcceptCard(std::string_view text, std::size_t begin, std::size_t end) {
  if (ContinuesNumber(text, begin)) return 0;
  const CardDigits card(text, begin, end);
  if (card.digits.find_first_not_of(card.digits[0]) == std::string::npos) return 0;
  const auto judge = [&](std::size_t count) {
    return IsOtherNumber(text, begin, count) || InsideIban(text, begin, end) ? 0 : card.at[count - 1] + 1;
  };
  const std::size_t together = TogetherCount(text, card);
  for (std::size_t count = together; count >= 12; --count) {
    if (card.EndsGroup(count) && IsCard(text, begin, card, count) && (LooksPrinted(text, card, count) || SaysCard(text, begin)))
      return judge(count);
  }
  if (together == card.digits.size() || (FollowsNumber(text, begin) && AllGapsWide(text, card))) return 0;
  for (const CardGroups& groups : kPrintedGroups) {
    const std::size_t count = PrintedCount(card, groups);
    if (count > 0 && IsCard(text, begin, card, count)) return judge(count);
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
