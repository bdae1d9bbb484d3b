// The words beside a value as programs, forms and laid-out text write them.
#include <map>

#include "policy/validators.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

struct Row {
  const char *kind, *text, *out;  // out nullptr: nothing is found.
};

void Check(const Row& row) {
  static std::map<std::string, std::shared_ptr<const PolicySet>> policies;
  auto& its = policies[row.kind];
  if (its == nullptr) its = MustCompile(OneRule(std::string("{personal_data: ") + row.kind + "}", "replace", "    replacement: '#'\n"));
  INFO(row.kind << ": " << row.text);
  const Filtered whole = MustFilter(*its, row.text);
  CHECK(whole.text == (row.out == nullptr ? row.text : row.out));
  for (const std::size_t points : {1, 7}) CheckStream(*its, row.text, whole, [points = points] { return points; });
}

}  // namespace

TEST_CASE("Names of fields in JSON, SQL, forms and code name their values") {
  const Row rows[] = {
      {"phone", R"("phone_number": "4155552671", phone_number=07700900123)", R"("phone_number": "#", phone_number=#)"},
      {"phone", R"("mobile_number":"07700900123","phoneNumber":"4155552671")", R"("mobile_number":"#","phoneNumber":"#")"},
      {"phone", "phonenumber=4155552671&homePhone=4155552672&phone_no=4155552673", "phonenumber=#&homePhone=#&phone_no=#"},
      {"passport_number", R"("passport_number": "536228107", UPDATE u SET passport_number='536228107')",
       R"("passport_number": "#", UPDATE u SET passport_number='#')"},
      {"passport_number", "passportNo: 536228107, PASSPORT_NUMBER_1=536228107", "passportNo: #, PASSPORT_NUMBER_1=#"},
      {"gb_nhs_number", R"("nhs_number": "9434765919", "nhsNumber": "9434765919", nhs_no=9434765919)",
       R"("nhs_number": "#", "nhsNumber": "#", nhs_no=#)"},
      {"us_ssn", R"("ssn_number": "536228107", "SSNNumber": "536228107")", R"("ssn_number": "#", "SSNNumber": "#")"},
      {"us_ssn", R"("social_security_number": "536228107")", R"("social_security_number": "#")"},
      {"us_ssn", "socialSecurityNumber: 536228107", "socialSecurityNumber: #"},
      {"us_ssn", "X-Social-Security-Number: 536228107", "X-Social-Security-Number: #"},
      {"us_ssn", "Social  Security number: 536228107", "Social  Security number: #"},
      {"us_ssn", "social\nsecurity number: 536228107", "social\nsecurity number: #"},
      {"us_ssn", "SOCIAL \t\r\n SECURITY\n536228107", "SOCIAL \t\r\n SECURITY\n#"},
      {"us_routing_number", R"("routing_number": "111000025", routingNumber=111000025)", R"("routing_number": "#", routingNumber=#)"},
      {"us_npi", R"("npi_number": "1234567893")", R"("npi_number": "#")"},
      {"gb_nino", R"("national_insurance_number": "AB123456C", "ni_number":"AB123456C")",
       R"("national_insurance_number": "#", "ni_number":"#")"},
      {"de_steuer_id", R"("steuer_id": "86095742719", "steuerId": "86095742719")", R"("steuer_id": "#", "steuerId": "#")"},
      {"birth_date", R"("birth_date": "1984-05-17", "dateOfBirth": "1984-05-17", date_of_birth=17.05.1984)",
       R"("birth_date": "#", "dateOfBirth": "#", date_of_birth=#)"},
      {"us_ein", "tax_id: 12-3456789, federal tax\n  id 12-3456789", "tax_id: #, federal tax\n  id #"},
  };
  for (const Row& row : rows) Check(row);
}

TEST_CASE("Names of other things that begin with such a word name nothing") {
  const Row rows[] = {
      {"phone", "phone_notes: 4155552671 phoneBook 4155552671 phone_number_format: 4155552671", nullptr},
      {"phone", "iPhone 4155552671 phoneNumberId=4155552671 phone_number_id=4155552671", nullptr},
      {"phone", "call_id: 1700000000, cell_count 1234567890, microPhon 4155552671 earphone_number 4155552671", nullptr},
      {"us_ssn", "SSID: 536228107 ssn_count: 536228107 ssnNotes 536228107 lessn_number 536228107", nullptr},
      {"us_ssn", "socialsecurityoffice 536228107 social security_office 536228107", nullptr},
      {"passport_number", "passport_notes=536228107 passportNumbering=536228107 passport_normal 536228107", nullptr},
      {"birth_date", "birth_rate 1984-05-17 birthRate: 1984-05-17 release_date: 1984-05-17", nullptr},
      {"za_id", "He said 7503305044089", nullptr},
      {"gb_nhs_number", "nhs_numbering: 9434765919", nullptr},
  };
  for (const Row& row : rows) Check(row);
}

TEST_CASE("A blank of a context word is a run of them, within its bytes") {
  const ContextWords words({"tax id"});
  const auto has = [&](const std::string& left) { return words.StandBefore(left, left.size()); };
  CHECK(has("Tax \t\n ID: "));
  CHECK(has("my tax" + std::string(40, ' ') + "id "));
  CHECK_FALSE(has("my tax" + std::string(64, ' ') + "id "));
  CHECK_FALSE(has("taxid "));
  CHECK_FALSE(has("syntax id "));
  CHECK_FALSE(has("tax idea "));
  CHECK(has("federalTax id "));
}

}  // namespace tollgate::policy
