// Identifiers of the Americas. Numbers that are digits only need a word beside them: one nine-digit number in ten has a good check digit.
//
// Sources: SSA's rules for numbers since 2011, IRS publications 1635 and 1915, ABA routing numbers, CMS (NPI, MBI), DEA's registrant
// numbers, CUSIP Global Services; CRA (SIN); RENAPO (CURP), SAT (RFC), Banxico (CLABE); Receita Federal (CPF, CNPJ); AFIP (CUIT); the
// Chilean, Colombian, Peruvian and Ecuadorian tax offices.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/checksums.h"
#include "policy/catalog/identifiers.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

bool IsSsn(std::string_view id) {
  const int area = Number(id, 0, 3);
  if (area == 0 || area == 666 || area >= 900 || Number(id, 3, 2) == 0 || Number(id, 5, 4) == 0) return false;
  return id != "078051120" && id != "219099999";  // Printed in advertisements, never valid.
}

bool IsItin(std::string_view id) {
  const int group = Number(id, 3, 2);
  return group >= 50 && group != 66 && group != 67 && group != 68 && group != 69 && group != 89 && group != 93;
}

bool IsEin(std::string_view id) {
  static constexpr std::string_view kNeverIssued = "00 07 08 09 17 18 19 28 29 49 69 70 78 79 89 96 97";
  return kNeverIssued.find(id.substr(0, 2)) == std::string_view::npos && !AllSame(id.substr(2));
}

bool IsRoutingNumber(std::string_view id) {
  const int prefix = Number(id, 0, 2);
  const bool issued = prefix <= 12 || (prefix >= 21 && prefix <= 32) || (prefix >= 61 && prefix <= 72) || prefix == 80;
  return issued && !AllSame(id) && Weighted(id, {3, 7, 1, 3, 7, 1, 3, 7, 1}) % 10 == 0;
}

bool IsCusip(std::string_view id) { return WeightedCrossSum(id, {1, 2, 1, 2, 1, 2, 1, 2, 1}) % 10 == 0 && !AllSame(id); }

bool IsCurp(std::string_view id) {
  // The alphabet has Ñ after N, which shifts the letters behind it.
  int sum = 0;
  for (std::size_t i = 0; i < 17; ++i) sum += (18 - static_cast<int>(i)) * (Value(id, i) + (id[i] > 'N' ? 1 : 0));
  return IsShortDate(Number(id, 4, 2), Number(id, 6, 2), Number(id, 8, 2)) && (10 - sum % 10) % 10 == Value(id, 17);
}

bool IsRfc(std::string_view id) {
  const std::size_t shift = 13 - id.size();  // A company's is one shorter: a blank before it, worth 37.
  int sum = shift * 37 * 13;
  for (std::size_t i = 0; i + 1 < id.size(); ++i) sum += (13 - static_cast<int>(i + shift)) * (Value(id, i) + (id[i] > 'N' ? 1 : 0));
  const int check = (11 - sum % 11) % 11;
  const std::size_t date = id.size() - 9;
  return IsShortDate(Number(id, date, 2), Number(id, date + 2, 2), Number(id, date + 4, 2)) &&
         id.back() == (check == 10 ? 'A' : static_cast<char>('0' + check));
}

// Two check digits, each 11 less a weighted sum (0 where that has two digits).
bool IsCpf(std::string_view id) {
  const int first = Weighted(id, {10, 9, 8, 7, 6, 5, 4, 3, 2}) * 10 % 11 % 10;
  const int second = Weighted(id, {11, 10, 9, 8, 7, 6, 5, 4, 3, 2}) * 10 % 11 % 10;
  return !AllSame(id) && Value(id, 9) == first && Value(id, 10) == second;
}
bool IsCnpj(std::string_view id) {  // Those given since July 2026 may have letters, which count from A = 17.
  static constexpr int kWeights[] = {6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2};
  const auto check = [&](std::size_t count) {
    int sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += kWeights[i + 13 - count] * (id[i] - '0');
    return sum * 10 % 11 % 10;
  };
  return !AllSame(id) && Value(id, 12) == check(12) && Value(id, 13) == check(13);
}

bool IsCuit(std::string_view id) { return "012345678990"[11 - Weighted(id, {5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11] == id[10]; }

bool IsRut(std::string_view id) {
  int sum = 0, weight = 2;
  for (std::size_t i = id.size() - 1; i > 0; --i, weight = weight == 7 ? 2 : weight + 1) sum += weight * Value(id, i - 1);
  const int check = (11 - sum % 11) % 11;
  return !AllSame(id) && id.back() == (check == 10 ? 'K' : static_cast<char>('0' + check));
}

bool IsNit(std::string_view id) {
  const int rest = Weighted(id, {41, 37, 29, 23, 19, 17, 13, 7, 3}) % 11;
  return !AllSame(id) && Value(id, 9) == (rest > 1 ? 11 - rest : rest);
}

bool IsCedula(std::string_view id) {
  const int province = Number(id, 0, 2);
  return ((province >= 1 && province <= 24) || province == 30) && Value(id, 2) < 6 && PassesLuhn(id);
}

#define TG_MBI "[AC-HJKMNP-RT-Y]"

constexpr Identifier kRows[] = {
    {"us_ssn", R"(\d{3}-\d{2}-\d{4})", IsSsn},
    {"us_ssn", R"(\d{3}[ .]\d{2}[ .]\d{4}|\d{9})", IsSsn, "ssn|ssns|ss|social security|social-security|soc sec|taxpayer"},
    {"us_itin", R"(9\d{2}-\d{2}-\d{4})", IsItin},
    {"us_itin", R"(9\d{2} \d{2} \d{4}|9\d{8})", IsItin, "itin|itins|taxpayer identification|taxpayer id"},
    {"us_ein", R"(\d{2}-\d{7})", IsEin, "ein|fein|employer identification|employer id|federal tax id|tax id"},
    {"us_routing_number", R"(\d{9})", IsRoutingNumber, "routing|aba|rtn|routing number|transit number"},
    {"us_npi", R"([12]\d{9})", [](std::string_view id) { return PassesLuhn("80840" + std::string(id)); },
     "npi|national provider|provider identifier"},
    {"us_dea_number", R"([ABFGMPRX][A-Z9]\d{7})",
     [](std::string_view id) {
       return Weighted(id.substr(2), {1, 2, 1, 2, 1, 2}) % 10 == Value(id, 8);
     },
     "dea|dea number|dea no|prescriber"},
    {"us_medicare_mbi", R"([1-9])" TG_MBI "[AC-HJKMNP-RT-Y0-9]\\d-?" TG_MBI "[AC-HJKMNP-RT-Y0-9]\\d-?" TG_MBI TG_MBI R"(\d{2})", nullptr,
     "medicare|mbi|beneficiary"},
    {"us_cusip", R"([0-9A-Z]{3}[0-9][0-9A-Z]{4}\d)", IsCusip, "cusip|cusips"},
    {"ca_sin", R"(\d{3}[ -]\d{3}[ -]\d{3}|\d{9})",
     [](std::string_view id) { return id[0] != '0' && id[0] != '8' && !AllSame(id) && PassesLuhn(id); },
     "sin|social insurance|assurance sociale|nas"},
    {"mx_curp", R"([A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d)", IsCurp},
    {"mx_rfc", R"([A-Z]{3,4}\d{6}[A-Z0-9]{2}[0-9A])", IsRfc},
    {"mx_clabe", R"(\d{18}|\d{3} \d{3} \d{11} \d)",
     [](std::string_view id) {
       int sum = 0;
       for (std::size_t i = 0; i < 18; ++i) sum += Value(id, i) * (i == 17 ? 1 : i % 3 == 0 ? 3 : i % 3 == 1 ? 7 : 1) % 10;
       return sum % 10 == 0 && !AllSame(id);
     },
     "clabe|interbancaria"},
    {"br_cpf", R"(\d{3}\.\d{3}\.\d{3}-\d{2})", IsCpf},
    {"br_cpf", R"(\d{11})", IsCpf, "cpf"},
    {"br_cnpj", R"([0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-\d{2})", IsCnpj},
    {"br_cnpj", R"([0-9A-Z]{12}\d{2})", IsCnpj, "cnpj"},
    {"ar_cuit", R"((?:2[0347]|3[034])-\d{8}-\d)", IsCuit},
    {"ar_cuit", R"((?:2[0347]|3[034])\d{9})", IsCuit, "cuit|cuil"},
    {"cl_rut", R"(\d{1,2}\.\d{3}\.\d{3}-[0-9Kk])", IsRut},
    {"cl_rut", R"(\d{7,8}-[0-9Kk])", IsRut, "rut|run"},
    {"co_nit", R"(\d{3}\.\d{3}\.\d{3}-\d|\d{9}-\d)", IsNit, "nit"},
    {"pe_ruc", R"((?:10|15|16|17|20)\d{9})",
     [](std::string_view id) {
       return (11 - Weighted(id, {5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11) % 10 == Value(id, 10);
     },
     "ruc"},
    {"ec_cedula", R"(\d{9}-?\d)", IsCedula, "cédula|cedula|cédula de identidad"},
};

}  // namespace

std::span<const Identifier> AmericanIdentifiers() { return kRows; }

}  // namespace tollgate::policy
