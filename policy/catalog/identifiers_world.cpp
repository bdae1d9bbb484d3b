// What is the same in every country: addresses, payment instruments, devices, securities, travel documents.
//
// Each pattern is written so that a stream is held as little as possible: anchored at a word's start where the format allows it, bounded
// where the format is, and free of lower-case letters after a space (prose would keep the match alive).
//
// Sources: ISO/IEC 7812 (cards), ISO 13616 (IBAN), ISO 6166 (ISIN), ISO 17442 (LEI), ISO 9362 (BIC), ISO 3779 and 49 CFR 565 (VIN), 3GPP
// TS 23.003 (IMEI), ICAO Doc 9303 (travel documents), BIP 173 and BIP 350 (Bitcoin addresses).
//
// Tested by tests/policy/catalog_test.cpp.
#include <algorithm>
#include <string>

#include "policy/catalog/checksums.h"
#include "policy/catalog/identifiers.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// What stands between groups of digits: up to two of blanks, tabs, line ends and hyphens, or one of their relatives (no-break and narrow
// blanks, dashes), which are blanks and hyphens in a text's plain form. Of a card a point or an underscore, too.
#define TG_BLANKS "[ \\t\\r\\n-]{0,2}"
#define TG_GAP "(?:" TG_BLANKS "|[._\\x{A0}\\x{2010}-\\x{2015}\\x{202F}])"
#define TG_LETTERS "A-Za-z\\x{C0}-\\x{24F}\\x{370}-\\x{5FF}"
#define TG_PHONE_DIGITS "\\d(?:[ ().\\x{A0}\\x{2010}-\\x{2015}\\x{202F}/-]{0,3}\\d){6,14}\\b"

// Of English, German, French, Spanish, Italian, Dutch and Portuguese.
#define TG_ENGLISH_MONTHS \
  "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
#define TG_OTHER_MONTHS                                                                                                                    \
  "januar|jänner|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|" \
  "décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|maggio|"     \
  "giugno|luglio|settembre|ottobre|dicembre|januari|februari|maart|mei|augustus|janeiro|fevereiro|março|maio|junho|julho|setembro|"       \
  "outubro|novembro|dezembro"

constexpr char kBirthWords[] =
    "born|birth|birthday|birthdate|dob|d.o.b|geboren|geburtsdatum|geb|geburtstag|né le|née le|date de naissance|nacido|nacida|nacimiento|"
    "nato il|nata il|data di nascita|geboortedatum|född|født|nascido|nascida|data de nascimento|urodzony|urodzona|data urodzenia|"
    "birth date|date of birth";

constexpr char kPhoneWords[] =
    "phone|phones|telephone|tel|mobile|cell|cellphone|call|called|calling|fax|whatsapp|sms|dial|hotline|telefon|handy|mobil|telefono|"
    "teléfono|móvil|téléphone|rufnummer|ring|voicemail|telefoon|telefone|telemóvel|celular|cellulare|telefonnummer|tél|tlf|mob|ph|puh|"
    "portable|gsm|natel|handynummer|contact no|contact number|text me|телефон|тел|telefonu|电话|電話|手机|전화";

constexpr char kPassportWords[] =
    "passport|passport no|passport number|reisepass|reisepassnummer|passnummer|pass-nr|passeport|pasaporte|passaporto|paspoort|"
    "paspoortnummer|paszport";

// North American and Chinese makers use the check digit; elsewhere it may be anything.
bool IsVin(std::string_view id) {
  if (std::none_of(id.begin(), id.end(), IsDigit) || std::none_of(id.begin(), id.end(), IsLetter)) return false;
  if ((id[0] < '1' || id[0] > '5') && id[0] != 'L') return true;
  static constexpr std::string_view kLetters = "ABCDEFGHJKLMNPRSTUVWXYZ", kDigits = "12345678123457923456789";
  static constexpr int kWeights[] = {8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2};
  int sum = 0;
  for (std::size_t i = 0; i < 17; ++i) {
    sum += kWeights[i] * (IsDigit(id[i]) ? id[i] - '0' : kDigits[kLetters.find(id[i])] - '0');
  }
  return id[8] == (sum % 11 == 10 ? 'X' : static_cast<char>('0' + sum % 11));
}

bool IsIsin(std::string_view id) {
  const bool issued = IsCountry(id.substr(0, 2)) || id.starts_with("XS") || id.starts_with("EU");
  return issued && std::count_if(id.begin(), id.end(), IsDigit) >= 3 && PassesIsinLuhn(id);
}

bool IsLei(std::string_view id) { return std::any_of(id.begin(), id.end() - 2, IsLetter) && Modulo(id, 97) == 1; }

bool IsOldLei(std::string_view id) { return id.substr(4, 2) != "00" && IsLei(id); }  // Given before two zeros were reserved.

bool HasTwoDigits(std::string_view id) { return std::count_if(id.begin(), id.end(), IsDigit) >= 2; }

bool IsMac(std::string_view id) { return (id.size() == 12 || id.size() == 16) && !AllSame(id); }  // EUI-48 or EUI-64.

constexpr Identifier kRows[] = {
    {"email",
     "[" TG_LETTERS "0-9_%+][" TG_LETTERS "0-9._%+'-]{0,63}[@\\x{FF20}]"
     "[" TG_LETTERS "0-9](?:[" TG_LETTERS "0-9.-]{0,120}[" TG_LETTERS "0-9])?\\.[" TG_LETTERS "]{2,24}",
     nullptr, "", AcceptEmail},
    {"card", "\\b\\d(?:" TG_GAP "\\d){11,18}\\b", nullptr, "", AcceptCard},
    {"iban",
     "\\b(?:[A-Z]{2}\\d{2}(?:" TG_BLANKS "[A-Z0-9]){11,30}|[a-z]{2}\\d{2}(?:[a-z0-9]{11,30}|(?: [a-z0-9]{4}){2,7}(?: [a-z0-9]{1,3})?))",
     nullptr, "", AcceptIban},
    {"phone", "\\+\\(?" TG_PHONE_DIGITS, nullptr, "", AcceptInternationalPhone},
    {"phone", "(?:\\(|\\b)" TG_PHONE_DIGITS, nullptr, kPhoneWords, AcceptLocalPhone},
    {"ip", R"(\b\d{1,3}(?:\.\d{1,3}){3,7}\b)", nullptr, "", AcceptIp},
    {"ip", R"(\b[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7})", nullptr, "", AcceptIp},
    {"mac_address", "[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5,7}", IsMac},
    {"mac_address", "[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5,7}", IsMac},
    {"imei", R"(\d{15}|\d{2}-\d{6}-\d{6}-\d|\d{2} \d{6} \d{6} \d)", PassesLuhn, "imei|imeis|device id|handset"},
    {"vin", "[A-HJ-NPR-Z0-9]{17}", IsVin, "vin|chassis|vehicle identification|fahrgestellnummer|fin|numéro de série|bastidor|telaio"},
    {"isin", R"([A-Z]{2}[A-Z0-9]{9}\d)", IsIsin, "isin|isins|security|securities|bond|bonds|fund|share|shares|stock|etf|wertpapier"},
    {"lei", R"([A-Z0-9]{4}00[A-Z0-9]{12}\d{2})", IsLei},
    {"lei", R"([A-Z0-9]{18}\d{2})", IsOldLei, "lei|legal entity identifier"},
    {"bic", "[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", [](std::string_view id) { return IsCountry(id.substr(4, 2)); },
     "bic|swift|swift code|bic code|swift-code"},
    {"bitcoin_address", R"(\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b)", nullptr, "", AcceptBitcoinAddress},
    {"bitcoin_address", R"(\bbc1[02-9ac-hj-np-z]{11,71}\b)", nullptr, "", AcceptBitcoinAddress},
    {"ethereum_address", "0x[0-9A-Fa-f]{40}", [](std::string_view id) { return !AllSame(id.substr(2)); }},
    {"birth_date", R"(\b(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})\b)", nullptr, kBirthWords, AcceptBirthDate},
    {"birth_date",
     "\\b\\d{1,2}(?:st|nd|rd|th|er|\\.)?[ -](?:of |de )?(?i:" TG_ENGLISH_MONTHS "|" TG_OTHER_MONTHS ")\\.?,?[ -](?:de )?\\d{4}\\b", nullptr,
     kBirthWords, AcceptBirthDateInWords},
    {"birth_date", "\\b(?i:" TG_ENGLISH_MONTHS ")\\.? \\d{1,2}(?:st|nd|rd|th)?,? \\d{4}\\b", nullptr, kBirthWords, AcceptBirthDateInWords},
    {"passport_number", R"([A-Z]{0,2}\d{6,9}|[A-Z][A-Z0-9]{7}\d|\d{2}[A-Z]{2}\d{5})", nullptr, kPassportWords},
    {"passport_number", "[CFGHJK][CFGHJKLMNPRTVWXYZ0-9]{7}[CFGHJKLMNPRTVWXYZ]", HasTwoDigits, kPassportWords},
    // The lines of passports, visas and cards. Those of names have no edge on the right: they end in '<'.
    {"passport_mrz", R"(\b[A-Z0-9][A-Z0-9<]{8}\d[A-Z<]{3}\d{6}\d[MFX<]\d{6}\d[A-Z0-9<]{7}(?:[A-Z0-9<]{7}[0-9<])?\d\b)", nullptr, "",
     AcceptMrz},
    {"passport_mrz", R"(\b[ACI][A-Z0-9<][A-Z<]{3}[A-Z0-9<]{9}\d[A-Z0-9<]{15})", nullptr, "", AcceptMrz},
    {"passport_mrz", R"(\b\d{7}[MFX<]\d{7}[A-Z<]{3}[A-Z0-9<]{11}\d\b)", nullptr, "", AcceptMrz},
    {"passport_mrz", R"(\b[A-Z][A-Z<]{28}(?:[A-Z<]{6}(?:[A-Z<]{8})?)?<)", nullptr, "", AcceptMrzNames},
};

}  // namespace

std::span<const Identifier> WorldIdentifiers() { return kRows; }

}  // namespace tollgate::policy
