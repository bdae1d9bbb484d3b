// Identifiers of Northern, Central and Eastern Europe. Many begin with a birth date, which with a check digit is enough to stand alone.
//
// Sources: Skatteverket (personnummer), Skatteetaten (fødselsnummer), CPR-kontoret, DVV and PRH (Finland), Þjóðskrá; the population
// registers of Estonia, Lithuania and Latvia; MSWiA (PESEL, dowód), GUS (REGON), Ministry of Finance (NIP); Czech act 133/2000; Hungarian
// acts on TAJ and tax numbers; Romanian, Bulgarian and former Yugoslav rules of personal numbers; HR OIB; AADE and IDIKA (Greece); NVI
// (Turkey); the Russian tax and pension services; the Ukrainian tax service.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/checksums.h"
#include "policy/catalog/identifiers.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// A date DDMMYY, of no stated century.
bool StartsWithDayFirst(std::string_view id) { return IsShortDate(Number(id, 4, 2), Number(id, 2, 2), Number(id, 0, 2)); }

bool IsPersonnummer(std::string_view id) {
  const std::string_view ten = id.substr(id.size() - 10);
  const int day = Number(ten, 4, 2);  // 60 more: a co-ordination number.
  return IsShortDate(Number(ten, 0, 2), Number(ten, 2, 2), day > 60 ? day - 60 : day) && PassesLuhn(ten);
}

bool IsFodselsnummer(std::string_view id) {
  const int day = Number(id, 0, 2), month = Number(id, 2, 2);  // D-numbers add 40 to the day.
  return IsShortDate(Number(id, 4, 2), month, day > 40 ? day - 40 : day) && Weighted(id, {3, 7, 6, 1, 8, 9, 4, 5, 2, 1}) % 11 == 0 &&
         Weighted(id, {5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1}) % 11 == 0;
}

bool IsHetu(std::string_view id) {  // The sign of the century may be a letter.
  const std::string digits = std::string(id.substr(0, 6)) + std::string(id.substr(id.size() - 4, 3));
  static constexpr std::string_view kCheck = "0123456789ABCDEFHJKLMNPRSTUVWXY";
  return StartsWithDayFirst(id) && id.back() == kCheck[static_cast<std::size_t>(Modulo(digits, 31))];
}
bool IsYTunnus(std::string_view id) { return !AllSame(id) && Weighted(id, {7, 9, 10, 5, 8, 4, 2, 1}) % 11 == 0; }

bool IsKennitala(std::string_view id) {
  const int day = Number(id, 0, 2);  // 40 more: a company.
  return IsShortDate(Number(id, 4, 2), Number(id, 2, 2), day > 40 ? day - 40 : day) && (id[9] == '9' || id[9] == '0' || id[9] == '8') &&
         Weighted(id, {3, 2, 7, 6, 5, 4, 3, 2, 1}) % 11 == 0;
}

// Estonia and Lithuania: a second row of weights where the first gives 10.
bool IsBalticCode(std::string_view id) {
  if (!IsShortDate(Number(id, 1, 2), Number(id, 3, 2), Number(id, 5, 2))) return false;
  int check = Weighted(id, {1, 2, 3, 4, 5, 6, 7, 8, 9, 1}) % 11;
  if (check == 10) check = Weighted(id, {3, 4, 5, 6, 7, 8, 9, 1, 2, 3}) % 11 % 10;
  return Value(id, 10) == check;
}
bool IsPersonasKods(std::string_view id) {
  if (id.starts_with("32")) return true;  // Since 2017 without date and check digit.
  return StartsWithDayFirst(id) && (1 + Weighted(id, {10, 5, 8, 4, 2, 1, 6, 3, 7, 9})) % 11 % 10 == Value(id, 10);
}

bool IsPesel(std::string_view id) {
  return IsShortDate(Number(id, 0, 2), Number(id, 2, 2) % 20, Number(id, 4, 2)) &&
         Weighted(id, {1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1}) % 10 == 0;
}
bool IsNip(std::string_view id) { return !AllSame(id) && Weighted(id, {6, 5, 7, 2, 3, 4, 5, 6, 7}) % 11 == Value(id, 9); }
bool IsRegon(std::string_view id) {
  if (AllSame(id)) return false;
  const bool short_form = Weighted(id, {8, 9, 2, 3, 4, 5, 6, 7}) % 11 % 10 == Value(id, 8);
  return short_form && (id.size() == 9 || Weighted(id, {2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8}) % 11 % 10 == Value(id, 13));
}
bool IsDowod(std::string_view id) { return Weighted(id, {7, 3, 1, 0, 7, 3, 1, 7, 3}) % 10 == Value(id, 3); }

bool IsRodneCislo(std::string_view id) {
  int month = Number(id, 2, 2) % 50;
  if (month > 20) month -= 20;
  const bool whole = Modulo(id, 11) == 0 || (Modulo(id.substr(0, 9), 11) == 10 && id[9] == '0');
  return IsShortDate(Number(id, 0, 2), month, Number(id, 4, 2)) && whole;
}

bool IsTaj(std::string_view id) { return !AllSame(id) && Weighted(id, {3, 7, 3, 7, 3, 7, 3, 7}) % 10 == Value(id, 8); }
bool IsAdoazonosito(std::string_view id) { return Weighted(id, {1, 2, 3, 4, 5, 6, 7, 8, 9}) % 11 == Value(id, 9); }

bool IsCnp(std::string_view id) {
  const int county = Number(id, 7, 2), rest = Weighted(id, {2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9}) % 11;
  return IsShortDate(Number(id, 1, 2), Number(id, 3, 2), Number(id, 5, 2)) && ((county >= 1 && county <= 52) || county == 70) &&
         Value(id, 12) == (rest == 10 ? 1 : rest);
}

bool IsEgn(std::string_view id) {
  return IsShortDate(Number(id, 0, 2), Number(id, 2, 2) % 20, Number(id, 4, 2)) &&
         Weighted(id, {2, 4, 8, 5, 10, 9, 7, 3, 6}) % 11 % 10 == Value(id, 9);
}

bool IsJmbg(std::string_view id) {
  const int check = (11 - Weighted(id, {7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11) % 11 % 10;
  return IsShortDate(Number(id, 5, 2), Number(id, 2, 2), Number(id, 0, 2)) && Value(id, 12) == check;
}

bool IsAfm(std::string_view id) { return !AllSame(id) && Weighted(id, {256, 128, 64, 32, 16, 8, 4, 2}) % 11 % 10 == Value(id, 8); }
bool IsAmka(std::string_view id) { return StartsWithDayFirst(id) && PassesLuhn(id); }

bool IsTurkishId(std::string_view id) {
  const int odd = Weighted(id, {1, 0, 1, 0, 1, 0, 1, 0, 1}), even = Weighted(id, {0, 1, 0, 1, 0, 1, 0, 1});
  const int tenth = (odd * 7 - even + 80) % 10;
  return id[0] != '0' && Value(id, 9) == tenth && Value(id, 10) == (odd + even + tenth) % 10;
}

bool IsInn(std::string_view id) {
  if (AllSame(id)) return false;
  if (id.size() == 10) return Weighted(id, {2, 4, 10, 3, 5, 9, 4, 6, 8}) % 11 % 10 == Value(id, 9);
  return Weighted(id, {7, 2, 4, 10, 3, 5, 9, 4, 6, 8}) % 11 % 10 == Value(id, 10) &&
         Weighted(id, {3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8}) % 11 % 10 == Value(id, 11);
}
bool IsSnils(std::string_view id) { return !AllSame(id) && Weighted(id, {9, 8, 7, 6, 5, 4, 3, 2, 1}) % 101 % 100 == Number(id, 9, 2); }
bool IsRnokpp(std::string_view id) { return !AllSame(id) && (Weighted(id, {-1, 5, 7, 9, 4, 6, 10, 5, 7}) + 11) % 11 % 10 == Value(id, 9); }

// Without a word for it, "20240411-1326" is when a file was made.
bool IsUnlikeTime(std::string_view id) {
  const bool time = id.starts_with("20") && Number(id, 8, 2) < 24 && Number(id, 10, 2) < 60;
  return !time && IsPersonnummer(id);
}

constexpr Identifier kRows[] = {
    {"se_personnummer", R"((?:19|20)\d{6}[-+]\d{4})", IsUnlikeTime},
    {"se_personnummer", R"((?:19|20)?\d{10}|(?:19|20)?\d{6}[-+]\d{4})", IsPersonnummer,
     "personnummer|pnr|samordningsnummer|person-nr|personal identity number"},
    {"no_fodselsnummer", R"(\d{6} \d{5})", IsFodselsnummer},
    {"no_fodselsnummer", R"(\d{11})", IsFodselsnummer, "fødselsnummer|fodselsnummer|fnr|personnummer|d-nummer|national identity number"},
    {"dk_cpr", R"(\d{6}-?\d{4})", StartsWithDayFirst, "cpr|cpr-nummer|cpr-nr|cpr nummer"},
    {"fi_hetu", R"(\d{6}[-+A-FU-Y]\d{3}[A-FHJ-NPR-Y])", IsHetu},
    {"fi_hetu", R"(\d{6}[-+A-FU-Y]\d{4})", IsHetu, "hetu|henkilötunnus|henkilötunnuksen|personbeteckning|sotu"},
    {"fi_business_id", R"(\d{7}-\d)", IsYTunnus, "y-tunnus|business id|ly-tunnus|fo-nummer"},
    {"is_kennitala", R"(\d{6}-?\d{4})", IsKennitala, "kennitala|kt|kennitölu"},
    {"ee_isikukood", R"([1-8]\d{10})", IsBalticCode, "isikukood|isikukoodi|estonian id"},
    {"lt_asmens_kodas", R"([1-8]\d{10})", IsBalticCode, "asmens kodas|asmens kodą|asmens kodo|a.k|lithuanian id"},
    {"lv_personas_kods", R"(\d{6}-?\d{5})", IsPersonasKods, "personas kods|personas kodu|p.k|latvian id"},
    {"pl_pesel", R"(\d{11})", IsPesel, "pesel"},
    {"pl_nip", R"(\d{10}|\d{3}-\d{3}-\d{2}-\d{2}|\d{3}-\d{2}-\d{2}-\d{3}|PL\d{10})",
     [](std::string_view id) { return IsNip(id.substr(id.size() - 10)); }, "nip"},
    {"pl_regon", R"(\d{9}|\d{14})", IsRegon, "regon"},
    {"pl_dowod", R"([A-Z]{3} ?\d{6})", IsDowod, "dowód|dowodu|dowód osobisty|dowodu osobistego|polish id card"},
    {"cz_rodne_cislo", R"(\d{6}/?\d{4})", IsRodneCislo, "rodné číslo|rodne cislo|rodného čísla|rč|r.č|birth number"},
    {"hu_taj", R"(\d{3}[ -]?\d{3}[ -]?\d{3})", IsTaj, "taj|taj-szám|taj szám|tajszám"},
    {"hu_adoazonosito", R"(8\d{9})", IsAdoazonosito, "adóazonosító|adóazonosító jel|adóazonosító jele|adóazonosítója"},
    {"ro_cnp", R"([1-9]\d{12})", IsCnp, "cnp|cod numeric personal|codul numeric personal"},
    {"bg_egn", R"(\d{10})", IsEgn, "егн|egn"},
    {"hr_oib", R"(\d{11}|HR\d{11})", [](std::string_view id) { return PassesMod11_10(id.substr(id.size() - 11)); }, "oib|oib-a|pdv"},
    {"rs_jmbg", R"(\d{13})", IsJmbg, "jmbg|jmb|emšo|emso|матични број|јмбг"},
    {"gr_afm", R"(\d{9}|EL\d{9})", [](std::string_view id) { return IsAfm(id.substr(id.size() - 9)); }, "afm|αφμ|α.φ.μ|a.f.m"},
    {"gr_amka", R"(\d{11})", IsAmka, "amka|αμκα|α.μ.κ.α"},
    {"tr_kimlik", R"([1-9]\d{10})", IsTurkishId, "tckn|kimlik|t.c|kimlik no|tc no|turkish id"},
    {"ru_inn", R"(\d{10}|\d{12})", IsInn, "инн|inn"},
    {"ru_snils", R"(\d{3}-\d{3}-\d{3}[ -]\d{2})", IsSnils},
    {"ua_rnokpp", R"(\d{10})", IsRnokpp, "рнокпп|іпн|rnokpp|ipn|ідентифікаційний код"},
};

}  // namespace

std::span<const Identifier> NorthAndEastEuropeanIdentifiers() { return kRows; }

}  // namespace tollgate::policy
