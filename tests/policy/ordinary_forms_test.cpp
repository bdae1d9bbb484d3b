// Values as data writes them: separated by commas, semicolons and tabs, in quotes, tags, brackets and assignments, in URLs and logs.
#include <map>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

struct Row {
  const char *kind, *text, *out;  // out nullptr: nothing is found.
};

void Check(const char* detect, const Row& row) {
  static std::map<std::string, std::shared_ptr<const PolicySet>> policies;
  auto& its = policies[row.kind];
  if (its == nullptr) its = MustCompile(OneRule(std::string("{") + detect + ": " + row.kind + "}", "replace", "    replacement: '#'\n"));
  INFO(row.kind << ": " << row.text);
  const Filtered whole = MustFilter(*its, row.text);
  CHECK(whole.text == (row.out == nullptr ? row.text : row.out));
  CheckStream(*its, row.text, whole, [] { return std::size_t{1}; });
}

}  // namespace

TEST_CASE("Identifiers are found in the ordinary forms of data, and not as the tail of other numbers") {
  const Row rows[] = {
      {"us_ssn", "Jane,42,536-22-8107", "Jane,42,#"},
      {"us_ssn", "1,234,536-22-8107;536-22-8107", "1,234,#;#"},
      {"us_ssn", "SSN#536-22-8107 SSN-536-22-8107 ssn:536-22-8107", "SSN## SSN-# ssn:#"},
      {"us_ssn", "SSN: #536-22-8107, SSN no.536228107", "SSN: ##, SSN no.#"},
      {"us_ssn", "id=42;536-22-8107;ok 42\t536-22-8107\t1", "id=42;#;ok 42\t#\t1"},
      {"us_ssn", "\"536-22-8107\",'536-22-8107',(536-22-8107),[536-22-8107]", "\"#\",'#',(#),[#]"},
      {"us_ssn", R"({"id":42,"ssn":"536-22-8107"} <ssn>536-22-8107</ssn>)", R"({"id":42,"ssn":"#"} <ssn>#</ssn>)"},
      {"us_ssn", "ssn,42,536228107", "ssn,42,#"},
      {"us_ssn", "SSN은 536-22-8107입니다, SSN은 536228107", "SSN은 #입니다, SSN은 #"},
      {"us_ssn", "ORD-536-22-8107 SKU-536-22-8107 2024-536-22-8107 12.536-22-8107 a/7/536-22-8107", nullptr},
      {"us_ssn", "order #536-22-8107 $536-22-8107 +536-22-8107 x536-22-8107", nullptr},
      {"birth_date", "Jane,born,42,17.02.1990", "Jane,born,42,#"},
      {"birth_date", "dob,1990-02-17 DOB#1990-02-17", "dob,# DOB##"},
      {"birth_date", "born 3 May 1984, geboren am 3. März 1984, né le 1er février 1990, born March 12th, 1985",
       "born #, geboren am #, né le #, born #"},
      {"birth_date", "born 33 May 1984 in May 1984, 12 marched 1984, march 1984; founded 3 May 1984", nullptr},
      {"birth_date", "born 7-17.02.1990 or 1.17.02.1990", nullptr},
      {"gb_vat", "VAT number-GB640538211, INV-GB640538211", "VAT number-#, INV-#"},
      {"gb_vat", "INV-GB640538211", nullptr},
      {"phone", "phone +33 1 20 45 40 20, mobile +1 (344) 555-0760", "phone #, mobile #"},
      {"phone", "Tél : 06 12 34 56 78, portable 06 12 34 56 79; Mob: 07700 900123; Ph: 0412 345 678", "Tél : #, portable #; Mob: #; Ph: #"},
      {"phone", "tlf. 22 12 34 56, puh. 040 1234567, GSM 0470 12 34 56, Natel 079 123 45 67, Handynummer 0151 12345678",
       "tlf. #, puh. #, GSM #, Natel #, Handynummer #"},
      {"phone", "тел. 8 (912) 345-67-89; numer telefonu: 601234567; Contact no. 07700 900123; phone #415-555-2671",
       "тел. #; numer telefonu: #; Contact no. #; phone ##"},
      {"phone", "call (415) 555-2671 or (415)555-2671; call 555-0123, call 4155552671, mobile 91 234 56 78, called 06 12 34 56 78",
       "call # or #; call #, call #, mobile #, called #"},
      {"phone", "a call on 25.11.2026 at 14:30; call 11/25/2026; fax it by 31.12.2026; call 2026/11/25 10:30; phone 2026-11-25 12:00",
       nullptr},
      {"phone", "malloc was called with 104857600 bytes and called 1000000 times; mobile traffic rose from 1000000 to 2000000", nullptr},
      {"phone", "We called customers 10 20 30 40 times; ring buffer of 16777216 bytes; +63458999 -388 lines", nullptr},
      {"phone", "f(415) 555-2671", nullptr},
      {"se_personnummer", "backup_20240411-1326.tar.gz 20260522-0314", nullptr},
      {"se_personnummer", "personnummer 20040411-1320, 19811218-9876", "personnummer #, #"},
      {"kr_rrn", "주민등록번호는900101-1234568입니다", "주민등록번호는#입니다"},
      {"us_ssn", "번호는536-22-8107", "번호는#"},
      {"br_cpf", "Ana,42,281.587.336-20;CPF-281.587.336-20;CPF#28158733620", "Ana,42,#;CPF-#;CPF##"},
      {"es_dni", "DNI-33494203Q, 7,DNI,33494203Q", "DNI-#, 7,DNI,#"},
      {"es_nie", "NIE-X4156686B NIE#X4156686B 7,X4156686B", "NIE-# NIE## 7,#"},
      {"es_nie", "REF-X4156686B 7-X4156686B", nullptr},
      {"gb_nhs_number", "nhs,Jane,42,798 484 3724", "nhs,Jane,42,#"},
      {"kr_rrn", "주민등록번호는 9009031552316", "주민등록번호는 #"},
  };
  for (const Row& row : rows) Check("personal_data", row);
}

TEST_CASE("E-mail addresses are found beside URLs and under every country's domain, and passwords of URLs are none") {
  const Row rows[] = {
      {"email", "acme,https://acme.example,bob@example.com", "acme,https://acme.example,#"},
      {"email", "<a href='https://acme.example'>bob@example.com</a>", "<a href='https://acme.example'>#</a>"},
      {"email", "url=https://a.example;user=bob@b.example", "url=https://a.example;user=#"},
      {"email", "https://a.example|bob@b.example https://a.example(bob@b.example)", "https://a.example|# https://a.example(#)"},
      {"email", "https://a.example:8443/?u=bob@b.example&v=https://a.example&u=bob@b.example",
       "https://a.example:8443/?u=#&v=https://a.example&u=#"},
      {"email", "juan.perez@itau.com.py, a@b.sh b@c.rs c@d.pl d@e.md e@f.so f@g.app g@h.zip h@i.mov i@j.map", "#, # # # # # # # # #"},
      {"email", "mailto://bob@b.example http://bob@b.example [bob](https://bob@b.example) xmpp://bob@b.example",
       "mailto://# http://# [bob](https://#) xmpp://#"},
      {"email", "mailto:bob@b.example <bob@b.example> \"bob@b.example\" bob@b.example;ann@b.example", "mailto:# <#> \"#\" #;#"},
      {"email", "postgres://app:s3cret@db.example.com ssh://deploy@host.example https://app:s3@cret@db.example.com icon@2x.png", nullptr},
  };
  for (const Row& row : rows) Check("personal_data", row);
}

TEST_CASE("Cards of every issuer are found, whatever numbers stand before them, and other numbers of their length are not") {
  const Row rows[] = {
      {"card", "Terminal TX42 4111 1111 1111 1111", "Terminal TX42 #"},
      {"card", "AB12 VISA 4111 1111 1111 1111, DE42 4111 1111 1111 1111", "AB12 VISA #, DE42 #"},
      {"card", "SIRET 73282932000074, carte 4111 1111 1111 1111", "SIRET 73282932000074, carte #"},
      {"card", "IMEI 356838268303750 and 378282246310005", "IMEI 356838268303750 and #"},
      {"card", "4111.1111.1111.1111 and 3782.822463.10005", "# and #"},
      {"card", "JCB 213112345678904, 3530111333300000", "JCB #, #"},
      {"card", "6759649826438453 501812345678901236 6304000000000000", "# # #"},
      {"card", "6011111111111117 6445644564456445 6500000000000002", "# # #"},
      {"card", "30569309025904 38520000023237 36227206271667 30951234567897", "# # # #"},
      {"card", "6200000000000005 6205500000000000004 2200123456789019 9792030394440796", "# # # #"},
      {"card", "6062825624254001 5067230000009011 6362970000457013 8171999927660000", "# # # #"},
      {"card", "card 4222222222222, Visa: 4222222222222; Maestro 501812345673", "card #, Visa: #; Maestro #"},
      {"card", "order 12345 4111 1111\n1111 1111, Amount 100 4111 1111 1111\n1111, 4111_1111_1111_1111", "order 12345 #, Amount 100 #, #"},
      {"card", "https://x.example/v1/4111111111111111 and 3782 822463 10005, 3056 930902 5904", "https://x.example/v1/# and #, #"},
      {"card", "card 41 11 11 11 11 11 11 11", "card #"},
      {"card", "EAN 4222222222222 and 501812345673", nullptr},
      {"card", "Winning numbers: 20 38 92 06 53 04 12 53 45 57 55 47; 30 31 32 33 34 35 36 37 38 39 40; 41 11 11 11 11 11 11 11", nullptr},
      {"card", "Order 411-1111111-1111111 of 1234 5678 4111 1111 1111 1111 9876; 12/4111111111111111", nullptr},
      {"card", "AT61 1904 3002 3457 3201, AT51-4000-0000-0000-0002", nullptr},
      {"card", "SIRET 36252187900035, IMEI: 356838268303750 IMEI 378282246310005", nullptr},
      {"card", "4.111111111111111 1.234.567.890.123.456 0.4111111111111111 41111111.11111111 4111.111111111111", nullptr},
  };
  for (const Row& row : rows) Check("personal_data", row);
}

TEST_CASE("Addresses of machines are found in URLs, paths, ranges and brackets, and versions in paths are none") {
  const Row rows[] = {
      {"ip", "curl http://10.2.3.4/admin ssh://10.2.3.4 //10.2.3.4/x", "curl http://#/admin ssh://# //#/x"},
      {"ip", R"(\\10.2.3.4\share from /10.2.3.4:5000)", R"(\\#\share from /#:5000)"},
      {"ip", "10.0.0.1-10.0.0.9, 10.0.0.0/8", "#-#, #/8"},
      {"ip", "[2001:db8::1]:443 [fe80::1ff:fe23:4567:890a%eth2] http://[2001:db8::1]/", "[#]:443 [#%eth2] http://[#]/"},
      {"ip", "client 2001:db8::1: refused, ip:2001:db8::1", "client #: refused, ip:#"},
      {"ip", "Chrome/120.0.0.0 lib/1.2.3.4/x 7-1.2.3.4 app-1.2.3.4 1.2-1.2.3.4 12:34:56: no", nullptr},
  };
  for (const Row& row : rows) Check("personal_data", row);
}

TEST_CASE("What is appended to a key, or put before it, does not hide it") {
  const std::string body = "4eC39HqLyjWDarjtT1zdp7dc", more = "R9b2Xk8", p36 = body + "Qm7Xw2Lk9Za1";
  const std::string rows[] = {"sk_live_" + body + std::string(96, 'a'),
                              "ghp_" + p36 + "xxxx",
                              "sk-proj-" + body + more + "-dummy",
                              "sk-proj-dummy-" + body + more,
                              "sk-proj-" + body + std::string(150, '-'),
                              "npm_" + p36 + "x",
                              std::string("shpat_") + "0a1b2c3d4e5f60718293a4b5c6d7e8f9ab",
                              "token = " + body + more + "example",
                              "token = " + body + more + std::string(160, 'a')};
  const auto policies = MustCompile(OneRule("{secrets: all}", "redact"));
  for (const std::string& text : rows) {
    INFO(text);
    const Filtered whole = MustFilter(*policies, "Use " + text + " now");
    CHECK(whole.text.find(body.substr(4, 12)) == std::string::npos);
    CHECK(whole.raw.size() == 1);
    for (const std::size_t points : {1, 3, 50}) CheckStream(*policies, "Use " + text + " now", whole, [points = points] { return points; });
  }
  for (const char* text : {"sk_live_xxxxxxxxxxxxxxxxxxxxxxxx", "sk-proj-your-api-key-goes-here-replace-me-1",
                           "sk-proj-your-openai-project-key-goes-here-2", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                           "token = your_example_token_goes_here_v1", "secret: process.env.STRIPE_SECRET_KEY_LIVE_2"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
}

}  // namespace tollgate::policy
