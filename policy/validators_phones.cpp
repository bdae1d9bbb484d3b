// Telephone numbers: how they are written, what else is written so, and the words that say which it is.
//
// Tested by tests/policy/validators_test.cpp and tests/policy/ordinary_forms_test.cpp.
#include <algorithm>
#include <array>

#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// A '+' and digits go back from here, not more of them than a number has with those of the candidate.
bool InsideInternational(std::string_view text, std::size_t begin, std::size_t end) {
  auto digits = std::count_if(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end), IsDigit);
  for (std::size_t back = 1; back <= kLeftContextBytes && back <= begin && digits <= 15; ++back) {
    const char c = Before(text, begin, back);
    if (c == '+') return true;
    if (!IsDigit(c) && std::string_view(" ().-/").find(c) == std::string_view::npos && static_cast<signed char>(c) >= 0) return false;
    digits += IsDigit(c) ? 1 : 0;
  }
  return false;
}

// 25.11.2026, 11/25/2026 or 2026-11-25, whatever follows.
bool BeginsWithDate(std::string_view text) {
  std::array<std::size_t, 3> lengths{};
  std::array<int, 3> values{};
  std::size_t at = 0;
  for (std::size_t part = 0; part < 3; ++part) {
    if (part > 0 && (at == text.size() || std::string_view("./-").find(text[at]) == std::string_view::npos || text[at] != text[lengths[0]]))
      return false;
    at += part > 0 ? 1 : 0;
    const std::size_t from = at;
    for (; at < text.size() && at - from < 4 && IsDigit(text[at]); ++at) values[part] = values[part] * 10 + (text[at] - '0');
    lengths[part] = at - from;
  }
  const auto is_year = [&](std::size_t part) { return lengths[part] == 4 && values[part] >= 1900 && values[part] < 2100; };
  const auto is_day = [&](std::size_t part) { return lengths[part] >= 1 && lengths[part] <= 2 && values[part] >= 1 && values[part] <= 31; };
  const bool ends = at == text.size() || !IsDigit(text[at]);
  return ends && is_day(1) && ((is_year(0) && is_day(2)) || (is_day(0) && is_year(2)));
}

// What is said of many things beside telephones is not enough for what counts them: "was called 1000000 times". A number for it has ten
// digits, or nine in groups, or begins as numbers are dialled, or has its hyphen: 555-0123.
bool IsDialled(std::string_view all) {
  const auto digits = std::count_if(all.begin(), all.end(), IsDigit);
  const auto parted = std::count_if(all.begin(), all.end(), [](char c) { return c == ' ' || c == '-'; });
  return digits >= 10 || (digits == 9 && parted >= 2) || all[0] == '0' || all[0] == '(' || (all.size() == 8 && all[3] == '-');
}

bool IsPhoneShaped(std::string_view all) {
  const auto digits = std::count_if(all.begin(), all.end(), IsDigit);
  const auto opened = std::count(all.begin(), all.end(), '('), closed = std::count(all.begin(), all.end(), ')');
  return digits >= 7 && digits <= 15 && opened <= 1 && closed <= opened;
}

bool HasDigitsJustBefore(std::string_view text, std::size_t end) {
  for (std::size_t back = 1; back <= 12 && IsWordByte(Before(text, end, back)); ++back) {
    if (IsDigit(Before(text, end, back))) return true;
  }
  return false;
}

}  // namespace

std::size_t AcceptInternationalPhone(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  if (IsWordByte(Before(text, begin)) || !IsPhoneShaped(all)) return 0;
  for (std::size_t at = all.find(" -"); at != std::string_view::npos; at = all.find(" -", at + 1)) {
    if (at + 2 < all.size() && IsDigit(all[at + 2])) return 0;  // "+63458999 -388": lines of a patch.
  }
  const bool country = all.find_first_of("123456789") == all.find_first_of("0123456789");
  return country && std::count_if(all.begin(), all.end(), IsDigit) >= 8 ? end : 0;
}

std::size_t AcceptLocalPhone(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  static const ContextWords kStrong({"phone",         "phones",
                                     "telephone",     "tel",
                                     "tél",           "tlf",
                                     "cellphone",     "fax",
                                     "whatsapp",      "sms",
                                     "hotline",       "telefon",
                                     "telefono",      "teléfono",
                                     "téléphone",     "rufnummer",
                                     "voicemail",     "telefoon",
                                     "telefone",      "telemóvel",
                                     "telefonnummer", "handynummer",
                                     "phone number",  "mobile number",
                                     "cell number",   "contact number",
                                     "contact no",    "mobil",
                                     "móvil",         "celular",
                                     "cellulare",     "natel",
                                     "gsm",           "puh",
                                     "тел",           "телефон",
                                     "telefonu",      "电话",
                                     "電話",          "手机",
                                     "전화"});
  const char before = Before(text, begin);
  if (IsWordByte(before) || before == '.' || before == '+' || before == '(') return 0;
  if (before == '#' && !kStrong.StandBefore(text, begin)) return 0;
  if (before == '-' && HasDigitsJustBefore(text, begin - 1)) return 0;  // The tail of a longer identifier.
  if (InsideInternational(text, begin, end)) return 0;
  if (std::count(all.begin(), all.end(), '.') == 3 && all.find_first_not_of("0123456789.") == std::string_view::npos)
    return 0;  // An address.
  if (BeginsWithDate(all) || !IsPhoneShaped(all)) return 0;
  return IsDialled(all) || kStrong.StandBefore(text, begin) ? end : 0;
}

}  // namespace tollgate::policy
