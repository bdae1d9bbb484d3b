// Identifiers of Asia, Africa, Australia and New Zealand.
//
// Sources: Israeli Population Authority; South African Home Affairs; UIDAI (Aadhaar), Income Tax Department (PAN), GSTN; GB 11643 (China),
// GB 32100 (USCC); Hong Kong Immigration; Taiwanese Interior Ministry; Japan's My Number act; Korean MOIS; ICA (Singapore); JPN (Malaysia);
// Thai DOPA; Indonesian Dukcapil; NADRA (Pakistan); ATO, ABR, ASIC, Services Australia; Inland Revenue and Health (New Zealand).
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/checksums.h"
#include "policy/catalog/identifiers.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

bool IsIsraeliId(std::string_view id) { return !AllSame(id) && PassesLuhn(id); }

bool IsZaId(std::string_view id) {
  return IsShortDate(Number(id, 0, 2), Number(id, 2, 2), Number(id, 4, 2)) && id[10] <= '2' && PassesLuhn(id);
}

bool IsAadhaar(std::string_view id) { return !AllSame(id) && PassesVerhoeff(id); }

bool IsChineseId(std::string_view id) {
  const int province = Number(id, 0, 2);
  return province >= 11 && province <= 82 && IsDate(Number(id, 6, 4), Number(id, 10, 2), Number(id, 12, 2)) && PassesMod11_2(id);
}
bool IsUscc(std::string_view id) {
  static constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
  static constexpr int kWeights[] = {1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28};
  int sum = 0;
  for (std::size_t i = 0; i < 17; ++i) sum += kWeights[i] * static_cast<int>(kAlphabet.find(id[i]));
  return id[17] == kAlphabet[static_cast<std::size_t>((31 - sum % 31) % 31)];
}

bool IsHkid(std::string_view id) {  // A missing second letter counts as 36.
  const std::string_view number = id.substr(id.size() - 7);
  const bool two = id.size() == 9;
  int sum = (two ? Value(id, 0) : 36) * 9 + Value(id, two ? 1 : 0) * 8 + Weighted(number, {7, 6, 5, 4, 3, 2, 1});
  return sum % 11 == 0;
}

bool IsTaiwanId(std::string_view id) {
  static constexpr std::string_view kLetters = "ABCDEFGHJKLMNPQRSTUVXYWZIO";  // In the order of their numbers, from 10.
  const int place = static_cast<int>(kLetters.find(id[0])) + 10;
  return (place / 10 + place % 10 * 9 + Weighted(id.substr(1), {8, 7, 6, 5, 4, 3, 2, 1, 1})) % 10 == 0;
}

bool IsMyNumber(std::string_view id) {
  const int rest = Weighted(id, {6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11;
  return !AllSame(id) && Value(id, 11) == (rest < 2 ? 0 : 11 - rest);
}

// Numbers given since October 2020 have no check digit.
bool IsRrn(std::string_view id) {
  const int yy = Number(id, 0, 2), month = Number(id, 2, 2);
  if (!IsShortDate(yy, month, Number(id, 4, 2))) return false;
  const bool recent = (id[6] == '3' || id[6] == '4' || id[6] == '7' || id[6] == '8') && (yy > 20 || (yy == 20 && month >= 10));
  return recent || (11 - Weighted(id, {2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5}) % 11) % 10 == Value(id, 12);
}

bool IsNric(std::string_view id) {
  int sum = Weighted(id.substr(1), {2, 7, 6, 5, 4, 3, 2});
  if (id[0] == 'T' || id[0] == 'G') sum += 4;
  if (id[0] == 'M') sum += 3;
  const std::string_view letters = id[0] == 'S' || id[0] == 'T' ? "JZIHGFEDCBA" : id[0] == 'M' ? "XWUTRQPNJLK" : "XWUTRQPNMLK";
  const auto place = static_cast<std::size_t>(sum % 11);
  return id[8] == letters[place];
}

bool IsMyKad(std::string_view id) {
  return IsShortDate(Number(id, 0, 2), Number(id, 2, 2), Number(id, 4, 2)) && Number(id, 6, 2) > 0 && Number(id, 6, 2) < 60;
}

bool IsThaiId(std::string_view id) {
  return id[0] != '0' && (11 - Weighted(id, {13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2}) % 11) % 10 == Value(id, 12);
}

bool IsNik(std::string_view id) {
  const int province = Number(id, 0, 2), day = Number(id, 6, 2);  // Women's days have 40 more.
  return province >= 11 && province <= 97 && IsShortDate(Number(id, 10, 2), Number(id, 8, 2), day > 40 ? day - 40 : day);
}

bool IsTfn(std::string_view id) {
  if (AllSame(id)) return false;
  return id.size() == 9 ? Weighted(id, {1, 4, 3, 7, 5, 8, 6, 9, 10}) % 11 == 0 : Weighted(id, {10, 7, 8, 4, 6, 3, 5, 1}) % 11 == 0;
}
bool IsAbn(std::string_view id) { return (Weighted(id, {10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19}) - 10) % 89 == 0; }
bool IsAcn(std::string_view id) { return !AllSame(id) && (10 - Weighted(id, {8, 7, 6, 5, 4, 3, 2, 1}) % 10) % 10 == Value(id, 8); }
bool IsAuMedicare(std::string_view id) { return Weighted(id, {1, 3, 7, 9, 1, 3, 7, 9}) % 10 == Value(id, 8) && id[9] != '0'; }

bool IsIrd(std::string_view given) {
  const std::string id = std::string(9 - given.size(), '0') + std::string(given);
  if (Number(id, 0, 9) < 10'000'000 || Number(id, 0, 9) > 150'000'000) return false;
  int check = (11 - Weighted(id, {3, 2, 7, 6, 5, 4, 3, 2}) % 11) % 11;
  if (check == 10) check = (11 - Weighted(id, {7, 4, 3, 2, 5, 2, 7, 6}) % 11) % 11;
  return check == Value(id, 8);
}
bool IsNhi(std::string_view id) {  // Letters count from 1, without I and O. Newer ones end in two letters, of which the last checks.
  static constexpr std::string_view kLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ";
  int sum = 0;
  for (std::size_t i = 0; i < 6; ++i)
    sum += (7 - static_cast<int>(i)) * (IsLetter(id[i]) ? static_cast<int>(kLetters.find(id[i])) + 1 : Value(id, i));
  if (IsLetter(id[6])) return id[6] == kLetters[static_cast<std::size_t>(23 - sum % 24)];
  return sum % 11 != 0 && (11 - sum % 11) % 10 == Value(id, 6);
}

constexpr Identifier kRows[] = {
    {"il_id", R"(\d{9})", IsIsraeliId, "teudat zehut|zehut|תעודת זהות|ת.ז|israeli id"},
    {"za_id", R"(\d{6} \d{4} \d{3})", IsZaId},
    {"za_id", R"(\d{13})", IsZaId, "id number|id no|identity number|south african id|sa id|rsa id"},
    {"in_aadhaar", R"([2-9]\d{3}[ -]?\d{4}[ -]?\d{4})", IsAadhaar, "aadhaar|aadhar|uidai|uid|आधार"},
    {"in_pan", R"([A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z])", nullptr, "pan|pan card|permanent account number|income tax"},
    {"in_gstin", R"(\d{2}[A-Z]{5}\d{4}[A-Z][1-9A-Z]Z[0-9A-Z])", PassesLuhn36},
    {"cn_id", R"(\d{17}[0-9Xx])", IsChineseId},
    {"cn_uscc", R"([1-9AGNY][1-9]\d{6}[0-9A-HJ-NP-RTUWXY]{10})", IsUscc, "统一社会信用代码|信用代码|uscc|unified social credit"},
    {"hk_hkid", R"(\b[A-Z]{1,2}\d{6}\([0-9A]\))", IsHkid},
    {"hk_hkid", R"([A-Z]{1,2}\d{6}[0-9A])", IsHkid, "hkid|hong kong id|hong kong identity|身份證|身份证"},
    {"tw_id", R"([A-Z][1289]\d{8})", IsTaiwanId, "身分證|身份證|身分證字號|統一證號|taiwan id|taiwanese id"},
    {"jp_my_number", R"(\d{12}|\d{4}[ -]\d{4}[ -]\d{4})", IsMyNumber, "my number|mynumber|マイナンバー|個人番号"},
    {"kr_rrn", R"(\d{6}-\d{7})", IsRrn},
    {"kr_rrn", R"(\d{13})", IsRrn, "주민등록번호|rrn|resident registration"},
    {"sg_nric", R"([STFGM]\d{7}[A-Z])", IsNric},
    {"my_nric", R"(\d{6}-\d{2}-\d{4}|\d{12})", IsMyKad, "nric|mykad|kad pengenalan|no. kp|ic number|ic no"},
    {"th_id", R"(\d-\d{4}-\d{5}-\d{2}-\d)", IsThaiId},
    {"th_id", R"(\d{13})", IsThaiId, "เลขประจำตัวประชาชน|บัตรประชาชน|thai id|thai national id"},
    {"id_nik", R"(\d{16})", IsNik, "nik|ktp|nomor induk kependudukan"},
    {"pk_cnic", R"([1-7]\d{4}-\d{7}-\d)", [](std::string_view id) { return !AllSame(id); }, "cnic|nadra|nicop"},
    {"au_tfn", R"(\d{3} ?\d{3} ?\d{2,3})", IsTfn, "tfn|tax file number|tax file"},
    {"au_abn", R"(\d{2} ?\d{3} ?\d{3} ?\d{3})", IsAbn, "abn|australian business number"},
    {"au_acn", R"(\d{3} ?\d{3} ?\d{3})", IsAcn, "acn|australian company number"},
    {"au_medicare", R"([2-6]\d{3} ?\d{5} ?\d)", IsAuMedicare, "medicare|medicare number|medicare card"},
    {"nz_ird", R"(\d{2,3}[- ]?\d{3}[- ]?\d{3})", IsIrd, "ird|ird number|inland revenue"},
    {"nz_nhi", R"([A-HJ-NP-Z]{3}\d{2}(?:\d{2}|[A-HJ-NP-Z]{2}))", IsNhi, "nhi|nhi number|national health index"},
};

}  // namespace

std::span<const Identifier> AsianAfricanPacificIdentifiers() { return kRows; }

}  // namespace tollgate::policy
