// Identifiers of Western Europe. Where a number has letters or separators of its own and a strong checksum it stands alone; where it is
// digits only it needs a word beside it.
//
// Sources: NHS Data Dictionary, HMRC (NINO, UTR, VAT), London Stock Exchange (SEDOL); Revenue (PPS); Bundeszentralamt für Steuern, VKVV
// paragraph 2 (Versicherungsnummer), ICAO Doc 9303 (identity cards); INSEE (NIR, SIREN); Interior Ministry (DNI, NIE), AEAT (CIF); Agenzia
// delle Entrate; AT (NIF); Belastingdienst; Rijksregister, FPS Finance; ZAS (AHV), BFS (UID); Austrian social insurance. VAT numbers: VIES.
//
// Tested by tests/policy/catalog_test.cpp.
#include <algorithm>

#include "policy/catalog/checksums.h"
#include "policy/catalog/identifiers.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

char Letter(std::string_view table, int at) { return table[static_cast<std::size_t>(at)]; }

bool IsNhs(std::string_view id) { return !AllSame(id) && Weighted(id, {10, 9, 8, 7, 6, 5, 4, 3, 2, 1}) % 11 == 0; }

bool IsNino(std::string_view id) {
  static constexpr std::string_view kNotUsed = "BG GB KN NK NT TN ZZ";
  return kNotUsed.find(id.substr(0, 2)) == std::string_view::npos;
}

bool IsUtr(std::string_view id) {
  return !AllSame(id) && id[0] == Letter("21987654321", Weighted(id.substr(1), {6, 7, 8, 9, 10, 5, 4, 3, 2}) % 11);
}

bool IsGbVat(std::string_view id) {
  const int rest = (Weighted(id.substr(2), {8, 7, 6, 5, 4, 3, 2}) + Number(id, 9, 2)) % 97;
  return rest == 0 || rest == 42 || rest == 55;  // The last two for numbers given since 2010.
}

bool IsSedol(std::string_view id) { return !AllSame(id) && Weighted(id, {1, 3, 1, 7, 3, 9, 1}) % 10 == 0; }

bool IsPps(std::string_view id) {
  const int second = id.size() > 8 && id[8] != 'W' ? id[8] - 'A' + 1 : 0;
  return id[7] == Letter("WABCDEFGHIJKLMNOPQRSTUV", (Weighted(id, {8, 7, 6, 5, 4, 3, 2}) + 9 * second) % 23);
}

// Of the first ten digits one occurs two or three times, the others at most once.
bool IsSteuerId(std::string_view id) {
  int counts[10] = {}, twice = 0, thrice = 0;
  for (std::size_t i = 0; i < 10; ++i) ++counts[Value(id, i)];
  for (const int count : counts) {
    twice += count == 2 ? 1 : 0;
    thrice += count == 3 ? 1 : 0;
    if (count > 3) return false;
  }
  return id[0] != '0' && twice + thrice == 1 && PassesMod11_10(id);
}

bool IsRentenversicherung(std::string_view id) {
  if (!IsShortDate(0, Number(id, 4, 2), 1) || Number(id, 2, 2) == 0 || Number(id, 2, 2) > 31) return false;
  std::string digits(id.substr(0, 8));
  const int letter = id[8] - 'A' + 1;
  digits += static_cast<char>('0' + letter / 10);
  digits += static_cast<char>('0' + letter % 10);
  digits += id.substr(9, 2);
  return WeightedCrossSum(digits, {2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1}) % 10 == Value(id, 11);
}

bool IsGermanCard(std::string_view id) { return Weighted(id, {7, 3, 1, 7, 3, 1, 7, 3, 1}) % 10 == Value(id, 9); }

bool IsNir(std::string_view id) {
  std::string digits(id.substr(0, 13));
  if (digits[6] == 'A' || digits[6] == 'B') {  // Corsica: 2A counts as 19, 2B as 18.
    digits[5] = '1';
    digits[6] = digits[6] == 'A' ? '9' : '8';
  }
  return 97 - Modulo(digits, 97) == Number(id, 13, 2);
}

bool IsFrenchVat(std::string_view id) { return Number(id, 2, 2) == (12 + 3 * Modulo(id.substr(4), 97)) % 97; }

constexpr std::string_view kDniLetters = "TRWAGMYFPDXBNJZSQVHLCKE";
bool IsDni(std::string_view id) { return id[8] == Letter(kDniLetters, Number(id, 0, 8) % 23); }
bool IsNie(std::string_view id) { return id[8] == Letter(kDniLetters, ((id[0] - 'X') * 10'000'000 + Number(id, 1, 7)) % 23); }
bool IsCif(std::string_view id) {
  const int check = (10 - WeightedCrossSum(id.substr(1), {2, 1, 2, 1, 2, 1, 2}) % 10) % 10;
  const bool letter = std::string_view("KNPQRSW").find(id[0]) != std::string_view::npos;
  const bool digit = std::string_view("ABEH").find(id[0]) != std::string_view::npos;
  return (!letter && Value(id, 8) == check && IsDigit(id[8])) || (!digit && id[8] == Letter("JABCDEFGHI", check));
}

// Odd places have a table of their own; a digit counts as the letter with its place in the alphabet.
bool IsCodiceFiscale(std::string_view id) {
  static constexpr int kOdd[] = {1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
  int sum = 0;
  for (std::size_t i = 0; i < 15; ++i) {
    const int place = IsDigit(id[i]) ? id[i] - '0' : id[i] - 'A';
    sum += i % 2 == 0 ? kOdd[place] : place;
  }
  return id[15] == 'A' + sum % 26;
}

bool IsPtNif(std::string_view id) {
  const int rest = Weighted(id, {9, 8, 7, 6, 5, 4, 3, 2}) % 11;
  const bool given = id[0] != '0' && (id[0] != '4' || id[1] == '5');  // 45: people from abroad.
  return !AllSame(id) && given && Value(id, 8) == (rest < 2 ? 0 : 11 - rest);
}

bool IsBsn(std::string_view id) { return !AllSame(id) && Weighted(id, {9, 8, 7, 6, 5, 4, 3, 2, -1}) % 11 == 0; }
bool IsDutchVat(std::string_view id) { return IsBsn(id.substr(2, 9)) || Modulo(id, 97) == 1; }

bool IsRijksregister(std::string_view id) {  // BIS numbers have 20 or 40 more months.
  const std::string head(id.substr(0, 9));
  const int check = Number(id, 9, 2), month = Number(id, 2, 2);
  if (month > 52 || month % 20 > 12 || Number(id, 4, 2) > 31) return false;
  return !AllSame(id) && (97 - Modulo(head, 97) == check || 97 - Modulo("2" + head, 97) == check);
}
bool IsBelgianVat(std::string_view id) {
  const std::string_view number = id.substr(id.size() - 9);
  return (Number(number, 0, 7) + Number(number, 7, 2)) % 97 == 0;
}

bool IsEan(std::string_view id) { return Weighted(id, {1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1}) % 10 == 0; }
bool IsSwissUid(std::string_view id) { return (11 - Weighted(id.substr(3), {5, 4, 3, 2, 7, 6, 5, 4}) % 11) % 11 == Value(id, 11); }

bool IsSvnr(std::string_view id) {
  return id[0] != '0' && Number(id, 4, 2) > 0 && Number(id, 4, 2) < 32 && Number(id, 6, 2) < 16 &&
         Weighted(id, {3, 7, 9, 0, 5, 8, 4, 2, 1, 6}) % 11 == Value(id, 3);
}
bool IsAustrianVat(std::string_view id) {
  return (10 - (WeightedCrossSum(id.substr(3), {1, 2, 1, 2, 1, 2, 1}) + 4) % 10) % 10 == Value(id, 10);
}

#define TG_NINO "[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"

constexpr Identifier kRows[] = {
    {"gb_nhs_number", R"(\d{3}[ -]\d{3}[ -]\d{4}|\d{10})", IsNhs, "nhs|nhs number|nhs no|patient"},
    {"gb_nino", TG_NINO R"( \d{2} \d{2} \d{2} [A-D])", IsNino},
    {"gb_nino", TG_NINO R"((?: ?\d{6} ?[A-D]|\d{2} \d{2} \d{2} ?[A-D]| \d{2} \d{2} \d{2}[A-D]))", IsNino,
     "nino|national insurance|ni number|ni no|insurance number|ni"},
    {"gb_utr", R"(\d{5} ?\d{5})", IsUtr, "utr|unique taxpayer reference|unique taxpayer"},
    {"gb_vat", R"(GB ?\d{3} ?\d{4} ?\d{2})", IsGbVat},
    {"gb_sedol", R"([0-9B-DF-HJ-NP-TV-Z]{6}\d)", IsSedol, "sedol|sedols"},
    {"ie_pps", R"(\d{7}[A-W][A-IW]?)", IsPps, "pps|ppsn|pps number|pps no"},
    {"de_steuer_id", R"([1-9]\d ?\d{3} ?\d{3} ?\d{3})", IsSteuerId,
     "steuer-id|steuerid|steuer id|steueridentifikationsnummer|steuer-identifikationsnummer|identifikationsnummer|idnr|german tax id"},
    {"de_rentenversicherung", R"(\d{2} ?\d{6} ?[A-Z] ?\d{3})", IsRentenversicherung},
    {"de_vat", R"(DE ?[1-9]\d{8})", [](std::string_view id) { return PassesMod11_10(id.substr(2)); }},
    {"de_id_card", R"([CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d)", IsGermanCard,
     "personalausweis|ausweisnummer|personalausweisnummer|ausweis|ausweis-nr|reisepass|german id card"},
    // As it is printed large, without the check digit.
    {"de_id_card", "[LMNPRTVWXY][CFGHJKLMNPRTVWXYZ0-9]{8}",
     [](std::string_view id) { return std::count_if(id.begin(), id.end(), IsDigit) >= 2; },
     "personalausweis|ausweisnummer|personalausweisnummer|ausweis|ausweis-nr|german id card"},
    {"fr_nir", R"([12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2})", IsNir},
    {"fr_nir", R"([3478] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2})", IsNir,
     "nir|nia|insee|sécurité sociale|securite sociale|numéro de sécu"},
    {"fr_siren", R"(\d{3} \d{3} \d{3}|\d{9})", PassesLuhn, "siren|rcs|numéro siren"},
    {"fr_siret", R"(\d{3} \d{3} \d{3} \d{5}|\d{14})", PassesLuhn, "siret|numéro siret"},
    {"fr_vat", R"(FR ?\d{2} ?\d{3} ?\d{3} ?\d{3})", IsFrenchVat},
    {"es_dni", R"((?:\d{8}|\d{2}\.\d{3}\.\d{3}|[KLM]-?\d{7})-?[A-HJ-NP-TV-Z])", IsDni, "dni|nif|d.n.i|documento|identidad|spanish id"},
    {"es_nie", R"([XYZ]-?\d{7}-?[A-HJ-NP-TV-Z])", IsNie},
    {"es_cif", R"([ABCDEFGHJNPQRSUVW]-?\d{7}-?[0-9A-J])", IsCif, "cif|nif|c.i.f"},
    {"it_codice_fiscale", R"([A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z])", IsCodiceFiscale},
    {"it_partita_iva", R"(\d{11})", PassesLuhn, "partita iva|p.iva|p. iva|piva|p.i"},
    {"pt_nif", R"(\d{3} \d{3} \d{3}|\d{9})", IsPtNif, "nif|contribuinte|nipc"},
    {"nl_bsn", R"(\d{9}|\d{3}[. ]\d{3}[. ]\d{3}|\d{4}[. ]\d{2}[. ]\d{3})", IsBsn,
     "bsn|burgerservicenummer|sofinummer|sofi|bsn-nummer|citizen service number"},
    {"nl_vat", R"(NL\d{9}B\d{2})", IsDutchVat},
    {"be_national_number", R"(\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2})", IsRijksregister},
    {"be_national_number", R"(\d{11}|\d{6}[ -]\d{3}[ -.]\d{2})", IsRijksregister,
     "rijksregister|rijksregisternummer|registre national|numéro national|insz|niss|nrn"},
    {"be_vat", R"(BE ?0?\d{3}\.?\d{3}\.?\d{3})", IsBelgianVat},
    {"ch_ahv", R"(756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2})", IsEan},
    {"ch_uid", R"(CHE-?\d{3}\.?\d{3}\.?\d{3})", IsSwissUid},
    {"at_svnr", R"(\d{4} ?\d{6})", IsSvnr, "svnr|sv-nummer|sv-nr|sozialversicherungsnummer|versicherungsnummer"},
    {"at_vat", R"(ATU\d{8})", IsAustrianVat},
};

}  // namespace

std::span<const Identifier> WestEuropeanIdentifiers() { return kRows; }

}  // namespace tollgate::policy
