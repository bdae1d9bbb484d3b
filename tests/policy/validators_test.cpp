#include <map>

#include "policy/catalog/checksums.h"
#include "policy/validators.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// Redacts one kind of personal data in a text.
std::string Redacted(const char* kind, const std::string& text) {
  static std::map<std::string, std::shared_ptr<const PolicySet>> policies;
  auto& its = policies[kind];
  if (its == nullptr) its = MustCompile(OneRule("{personal_data: " + std::string(kind) + "}", "redact"));
  return MustFilter(*its, text).text;
}

}  // namespace

TEST_CASE("Personal data is found by its structure, and what only looks like it is not") {
  struct Row {
    const char *kind, *text, *out;  // out nullptr: unchanged.
  };
  const Row rows[] = {
      {"email", "Write to jane.doe+x@mail.example.co.uk.", "Write to [EMAIL]."},
      {"email", "<bob@example.com>, \u201cann@example.org\u201d", "<[EMAIL]>, \u201c[EMAIL]\u201d"},
      {"email", "jos\u00e9.p\u00e9rez@example.es", "[EMAIL]"},
      {"email", "icon@2x.png git@github.com:a/b @everyone a@b", nullptr},
      {"card", "4111 1111 1111 1111", "[CARD]"},
      {"card", "4111-1111-1111-1111, 378282246310005.", "[CARD], [CARD]."},
      {"card", "4111\u00a01111\u00a01111\u00a01111", "[CARD]"},
      {"card", "4111 1111 1111 1111 12/27", "[CARD] 12/27"},
      {"card", "ref 1234 4111 1111 1111 1111", "ref 1234 [CARD]"},
      {"card", "4111 1111 1111 1112", nullptr},
      {"card", "1111111111111111 0000 0000 0000 0000", nullptr},
      {"card", "id 41111111111111111111111111 and 0.4111111111111111", nullptr},
      {"card", "550e8400-e29b-41d4-a716-446655440000", nullptr},
      {"card", "4111  1111  1111  1111", "[CARD]"},
      {"card", "4111 1111\n1111 1111", "[CARD]"},
      {"card", "4111 1111\r\n1111 1111 and 3782\t822463\t10005", "[CARD] and [CARD]"},
      {"card", "4111\u2009 1111\u2003\u20031111\u3000\t1111", "[CARD]"},
      {"card", "no. 7\n4111 1111 1111 1111\n123\n", "no. 7\n[CARD]\n123\n"},
      {"card", "4111   1111   1111   1111, 4111\n\n\n1111 1111 1111", nullptr},
      {"card", "41111111\n11111111, 411111\t1111\t111111", nullptr},  // Not as cards have it.
      {"card", "3400\t4111\t1111\t1111\t1111", nullptr},              // The middle of a row.
      {"iban", "GB82 WEST 1234 5698 7654 32 AND MORE", "[IBAN] AND MORE"},
      {"iban", "DE89370400440532013000, de89370400440532013000", "[IBAN], [IBAN]"},
      {"iban", "GB82WEST12345698765432 DE89370400440532013000", "[IBAN] [IBAN]"},
      {"iban", "GB82 WEST 1234 5698 7654 33 and XX82WEST12345698765432", nullptr},
      {"iban", "GB82  WEST  1234  5698  7654  32, DE89 3704 0044\n0532 0130 00.", "[IBAN], [IBAN]."},
      {"iban", "DE89\t3704\r\n0044\t0532\t0130\t00\nAND MORE", "[IBAN]\nAND MORE"},
      {"us_ssn", "SSN 536-22-8107", "SSN [US_SSN]"},
      {"us_ssn", "SSN: 536  22\n8107", "SSN: [US_SSN]"},
      {"gb_vat", "GB 980  7806\n84", "[GB_VAT]"},
      {"gb_vat", "GB  980 7806 84, GB\n980780684", nullptr},  // A country, and a number.
      {"us_ssn", "social security number: 536228107", "social security number: [US_SSN]"},
      {"us_ssn", "number 536228107, 536 22 8107; 000-12-3456 666-12-3456 900-12-3456 123-00-4567 078-05-1120", nullptr},
      {"phone", "phone (415) 555-2671", "phone [PHONE]"},
      {"phone", "+49 30 1234567 and +1-415-555-2671", "[PHONE] and [PHONE]"},
      {"phone", "t\u00e9l\u00e9phone : 01 23 45 67 89", "t\u00e9l\u00e9phone : [PHONE]"},
      {"phone", "order 415-555-2671; microphone 4155552671; on 2026-11-25 12345678", nullptr},
      {"phone", "phone 550e8400-e29b-41d4-a716-446655440000", nullptr},
      {"ip", "from 192.168.10.254, 8.8.8.8.", "from [IP], [IP]."},
      {"ip", "2001:db8::ff00:42:8329 and 2001:0db8:0000:0000:0000:ff00:0042:8329", "[IP] and [IP]"},
      {"ip", "version 1.2.3.4, v1.2.3.4, 1.2.3.4.5, 999.1.1.1, 10.0.19045.1", nullptr},
      {"ip", "std::vector 12:34:56 aa:bb:cc:dd:ee:ff a::b abc::d", nullptr},
  };
  for (const Row& row : rows) {
    INFO(row.kind << ": " << row.text);
    CHECK(Redacted(row.kind, row.text) == (row.out == nullptr ? row.text : row.out));
  }
}

TEST_CASE("Ordinary sentences hold no personal data") {
  const auto policies = MustCompile(OneRule("{personal_data: all}", "block"));
  for (const char* text :
       {"having friends over is nice", "My name is Arjun and I work from home.", "The public library opens at 9:30 and closes at 18:00.",
        "Order 100000012345 shipped on 2026-11-25 for 1,299.00 EUR.", "See section 4.2.1.3 of ISO 27001:2022, pages 12-19.",
        "UUID 550e8400-e29b-41d4-a716-446655440000, commit 9fceb02d0ae598e95dc970b74767f19372d61af8.",
        "for (int i = 0; i < 10; ++i) a[i] = b::c(i) * 0x7fff;", "Version 2.14.0 of the package replaces version 2.13.9.1.",
        "Axel called from Berlin; 3 of 12 agreed (25.0 %)."}) {
    INFO(text);
    CHECK_FALSE(MustFilter(*policies, text).blocked);
  }
}

TEST_CASE("Context is whole words within reach on the left") {
  const ContextWords words({"tel", "social security"});
  const auto has = [&](const std::string& left) { return words.StandBefore(left, left.size()); };
  CHECK(has("Tel: "));
  CHECK(has("my SOCIAL SECURITY number is "));
  CHECK_FALSE(has("hotel: "));
  CHECK_FALSE(has("telling "));
  CHECK_FALSE(has("tel " + std::string(64, '.')));
  CHECK(has("tel " + std::string(59, '.')));
  CHECK(has("\u201ctel\u201d "));
  CHECK(has("home_tel: "));
  CHECK(has("_tel_ "));
  CHECK(has("tel_2 "));
  CHECK_FALSE(has("tel_count "));
}

TEST_CASE("Luhn and entropy") {
  CHECK(PassesLuhn("79927398713"));
  CHECK_FALSE(PassesLuhn("79927398714"));
  CHECK(BitsPerByte("aaaa") == 0);
  CHECK(BitsPerByte("abcd") == 2);
}

}  // namespace tollgate::policy
