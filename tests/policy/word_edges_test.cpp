// Where the words begin and end that detectors look for: '_' parts them, as in snake_case and in _emphasis_.
#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::shared_ptr<const PolicySet> Redacting(const std::string& detect) {
  return MustCompile(OneRule(detect, "redact", "    replacement: '#'\n"));
}

std::string Filter(const std::string& detect, const std::string& text) { return MustFilter(*Redacting(detect), text).text; }

// What stands in the place of `value` in `out`, where the rest of `text` stayed; "?" if it did not.
std::string InPlaceOf(const std::string& value, const std::string& text, const std::string& out) {
  const std::size_t at = text.find(value);
  const std::string left = text.substr(0, at), right = text.substr(at + value.size());
  if (out.size() < left.size() + right.size() || !out.starts_with(left) || !out.ends_with(right)) return "?";
  return out.substr(at, out.size() - left.size() - right.size());
}

// A '_' may be a value's own first or last character: it is hidden with it then.
bool IsHidden(const std::string& what) { return what == "_#_" || what == "#_" || what == "_#" || what == "#"; }

}  // namespace

TEST_CASE("Every identifier is found between underscores") {
  for (const Examples& examples : IdentifierExamples()) {
    const auto policies = Redacting("{personal_data: " + examples.detector + "}");
    for (const std::string& marked : examples.positives) {
      const std::string value = "_" + marked.substr(marked.find('{') + 1, marked.find('}') - marked.find('{') - 1) + "_";
      const std::string text = Replaced(marked, value);
      INFO(examples.detector << ": " << text);
      CHECK(IsHidden(InPlaceOf(value, text, MustFilter(*policies, text).text)));
    }
    for (const std::string& text : examples.negatives) {
      INFO(examples.detector << ": _" << text << "_");
      CHECK(MustFilter(*policies, "_" + text + "_").raw.empty());
    }
  }
}

TEST_CASE("Every secret is found between underscores") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (const SecretTemplate& its : SecretTemplates()) {
    const auto policies = Redacting("{secrets: " + its.detector + "}");
    const std::string secret = MakeSecret(its.pattern, random), text = "Use _" + secret + "_ here.";
    INFO(its.detector << ": " << text);
    const std::string out = MustFilter(*policies, text).text;
    CHECK(out.find('#') != std::string::npos);
    CHECK(out.find(secret.substr(secret.size() / 2, 12)) == std::string::npos);
  }
}

TEST_CASE("'_' is an edge for numbers, keys, the words beside them, and keywords") {
  struct Row {
    const char *detect, *text, *out;  // out nullptr: unchanged.
  };
  const Row rows[] = {
      {"{personal_data: card}", "_4111 1111 1111 1111_", "_#_"},
      {"{personal_data: card}", "card_4111111111111111", "card_#"},
      {"{personal_data: card}", "order_4111111111111111_v2, max_4111111111111111", "order_#_v2, max_#"},
      {"{personal_data: card}", "4111111111111111_378282246310005", "#_#"},
      {"{personal_data: card}", "a4111111111111111 4111111111111111b _44111111111111111_ _411111111111111_", nullptr},
      {"{personal_data: card}", "4_111_111_111_111_111 x_1_000_000", nullptr},  // Digits of one number in code.
      {"{personal_data: us_ssn}", "ssn_536228107, user_ssn: 536228107, SSN_OLD=536-22-8107", "ssn_#, user_ssn: #, SSN_OLD=#"},
      {"{personal_data: us_ssn}", "_SSN_: 536228107, __ssn__: 536228107", "_SSN_: #, __ssn__: #"},
      {"{personal_data: us_ssn}", "ssn_count: 536228107 ssn__first 536228107", nullptr},  // A name of something else.
      {"{personal_data: us_ssn}", "lessn_536228107 ssnx_536228107 id_536228107", nullptr},
      {"{personal_data: us_ssn}", "1-_536-22-8107_", "1-_#_"},
      {"{personal_data: ip}", "host_10.0.0.1_up", "host_#_up"},
      {"{personal_data: ip}", "version_1.2.3.4 lib_v_1.2.3.4", nullptr},
      {"{personal_data: phone}", "_+49 30 1234567_ phone_415-555-2671", "_#_ phone_#"},
      {"{personal_data: phone}", "ring_buffer_size = 16777216; call_id: 1700000000; cell_count 12345678", nullptr},
      {"{personal_data: phone}", "customer_phone: 4155552671", "customer_phone: #"},
      {"{personal_data: phone}", "order_415-555-2671 microphone_4155552671", nullptr},
      {"{personal_data: mac_address}", "mac_00:1b:44:11:3a:b7_eth0", "mac_#_eth0"},
      {"{personal_data: email}", "_git@github.com:acme/site.git_ _bob@example.com_", "_git@github.com:acme/site.git_ #_"},
      {"{secrets: aws_access_key}", "key_AKIAIOSFODNN7ABCDEFG_old", "key_#_old"},
      {"{secrets: aws_access_key}", "XAKIAIOSFODNN7ABCDEFG aAKIAIOSFODNN7ABCDEFG_", nullptr},
      {"{keywords: falcon}", "_falcon_ **_Falcon_** falcon_budget.xlsx my_falcon", "_#_ **_#_** #_budget.xlsx my_#"},
      {"{keywords: falcon}", "falconry_club gyrfalcon_2 myfalcon", nullptr},
      {"{keywords: project falcon}", "_project falcon_ project\n  falcon", "_#_ #"},
      {"{regex: '\\bfalcon\\b'}", "_falcon_", nullptr},  // A regex means what RE2 says.
  };
  for (const Row& row : rows) {
    INFO(row.detect << ": " << row.text);
    CHECK(Filter(row.detect, row.text) == (row.out == nullptr ? row.text : row.out));
  }
}

TEST_CASE("Tables of numbers hold a card at most where they begin, and there by chance alone") {
  const auto policies = Redacting("{personal_data: card}");
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  int found = 0;
  for (int table = 0; table < 1000; ++table) {
    static constexpr const char* kBetween[] = {"\t", "  ", "\n", " \t"};
    const char* between = kBetween[random() % 4];
    std::string text = "Totals\n";
    for (int i = 1; i <= 24; ++i) text += MakeSecret("{d4}", random) + (i % 4 == 0 ? "\n" : between);
    found += static_cast<int>(MustFilter(*policies, text).raw.size());
  }
  CHECK(found < 80);  // One table in thirty.
}

TEST_CASE("Edges and gaps give the same in any pieces") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  std::vector<std::string> pieces = {"_",
                                     "_",
                                     "__",
                                     " ",
                                     "  ",
                                     "\n",
                                     "\r\n",
                                     "\t",
                                     "\u00a0",
                                     "\u2009",
                                     "-",
                                     "4111",
                                     "1111",
                                     "4111 1111",
                                     "4111111111111111",
                                     "378282246310005",
                                     "GB82",
                                     "WEST",
                                     "1234",
                                     "5698",
                                     "7654",
                                     "32",
                                     "SSN",
                                     "ssn_",
                                     "536-22-8107",
                                     "536",
                                     "22",
                                     "8107",
                                     "+49 30 1234567",
                                     "10.0.0.1",
                                     "00:1b:44:11:3a:b7",
                                     "a",
                                     "x1",
                                     "project",
                                     "falcon",
                                     "new",
                                     "york",
                                     "times",
                                     "of",
                                     "\"",
                                     "\\n",
                                     "\\u005f",
                                     "\uff3f",
                                     "         "};
  for (const SecretTemplate& its : SecretTemplates()) {
    if (random() % 6 == 0) pieces.push_back(MakeSecret(its.pattern, random));
  }
  const std::string keywords = "{keywords: [falcon, project falcon, new york, york times, ' of ', 'the ']";
  for (const std::string& rules :
       {OneRule("{personal_data: all}", "redact"), OneRule("{secrets: all}", "redact"),
        OneRule("{personal_data: [card, iban, us_ssn], as_written: true}", "mask\n    keep_last: 2"), OneRule(keywords + "}", "redact"),
        OneRule(keywords + ", whole_word: false}", "block"), OneRule(keywords + ", ignore_case: false, as_written: true}", "redact")}) {
    INFO(rules);
    const auto policies = MustCompile(rules);
    for (int round = 0; round < 1200; ++round) {
      std::string text;
      for (std::size_t n = 1 + random() % 16; n > 0; --n) text += pieces[random() % pieces.size()];
      const Filtered whole = MustFilter(*policies, text);
      CheckStream(*policies, text, whole, [] { return std::size_t{1}; });
      CheckStream(*policies, text, whole, [&] { return 1 + random() % 12; });
    }
  }
}

}  // namespace tollgate::policy
