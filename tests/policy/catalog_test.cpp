#include <fstream>
#include <map>
#include <set>

#include "policy/catalog.h"
#include "policy/catalog/secrets.h"
#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// Which kind of secret is found, as its placeholder; the text itself if none.
std::string Found(const PolicySet& policies, const std::string& text) { return MustFilter(policies, text).text; }

// A password may be anything; its place tells.
bool IsPassword(std::string_view detector) {
  return detector == "url_credentials" || detector == "curl_user_password" || detector == "netrc_password" ||
         detector == "connection_string_password" || detector == "assigned_password";
}

// Of these the form says enough.
bool NeedsNoEntropy(std::string_view detector) {
  return detector == "tollgate_key" || detector == "jwt" || detector == "jwe" || IsPassword(detector);
}

// What scanners take for secrets, and is none: ids, digests, public keys and certificates, versions, paths.
constexpr const char* kSecretNoise[] = {
    "request 550e8400-e29b-41d4-a716-446655440000 took 12 ms", "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkq",
    "v1.24.0-rc.3+build.20261126 of lib/Sources/AppDelegate.swift"};

// The body with what no alphabet has behind every third character.
std::string Broken(const std::string& secret, std::size_t body) {
  std::string out = secret.substr(0, body);
  for (std::size_t i = body; i < secret.size(); ++i) {
    out += secret[i];
    if ((i - body) % 3 == 2) out += '!';
  }
  return out;
}

// What is all but a secret of that form: its description, its beginning, its prefix, it read backwards, with characters of no alphabet,
// with another issuer's prefix, placeholders of its length.
std::vector<std::string> NearMisses(const SecretTemplate& its, std::mt19937_64& random) {
  std::vector<std::string> out = its.near_misses;
  const std::size_t open = its.pattern.find('{');
  if (open == std::string::npos) return out;
  const std::string secret = MakeSecret(its.pattern, random);
  out.push_back("The form is " + its.pattern + ".");
  out.push_back("The prefix " + its.pattern.substr(0, open) + " tells.");
  out.emplace_back(secret.rbegin(), secret.rend());
  if (!IsPassword(its.detector)) out.push_back(secret.substr(0, std::min(secret.size(), open + 3)) + "! is how it begins.");
  if (!IsPassword(its.detector)) out.push_back(Broken(secret, open));
  if (!IsPassword(its.detector)) out.push_back(secret.substr(0, open + 2) + "..." + secret.substr(secret.size() - 4));
  // Of some the host or the field tells, not how it begins.
  const bool names_place = its.pattern.substr(0, open).find_first_of(":=") != std::string::npos;
  if (!IsPassword(its.detector) && open >= 3 && !names_place)
    out.push_back("zq" + its.pattern.substr(0, open).substr(2) + secret.substr(open));
  if (NeedsNoEntropy(its.detector)) return out;
  for (const char body : {'x', '0'}) out.push_back(MakeSecret(its.pattern, random, body));
  return out;
}

}  // namespace

TEST_CASE("Secrets are found by the form their issuers publish") {
  const auto policies = MustCompile(OneRule("{secrets: all}", "redact"));
  struct Row {
    std::string text, out;
  };
  const std::string a36 = "0123456789abcdefghijklmnopqrstuvwxyz";
  const Row rows[] = {
      {"AKIAIOSFODNN7EXAMPLE", "[AWS_ACCESS_KEY]"},
      {"ghp_" + a36, "[GITHUB_TOKEN]"},
      {"github_pat_" + a36.substr(0, 22) + "_" + a36 + a36.substr(0, 23), "[GITHUB_TOKEN]"},
      {"glpat-" + a36.substr(0, 20), "[GITLAB_TOKEN]"},
      {"AIza" + a36.substr(1), "[GOOGLE_API_KEY]"},
      {"xoxb-123456789012-" + a36.substr(0, 24), "[SLACK_TOKEN]"},
      {"sk_live_" + a36.substr(0, 24), "[STRIPE_KEY]"},
      {"sk-proj-" + a36, "[OPENAI_KEY]"},
      {"hf_" + a36.substr(0, 34), "[HUGGING_FACE_TOKEN]"},
      {"npm_" + a36, "[NPM_TOKEN]"},
      {"SG." + a36.substr(0, 22) + "." + a36 + "0123456", "[SENDGRID_KEY]"},
      {"SK0123456789abcdef0123456789abcdef", "[TWILIO_KEY]"},
      {"123456789:AA" + a36.substr(0, 33), "[TELEGRAM_BOT_TOKEN]"},
      {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", "[JWT]"},
      {"tg_live_ab12cd34_" + a36 + "ABCDEFG_0a1b2c", "[TOLLGATE_KEY]"},
      {"postgres://app:s3cr3t@db.internal:5432/x", "[URL_CREDENTIALS]:5432/x"},
      {"API_KEY = \"Zx81kQ0pLm29sTuVw3Yb\"", "[API_KEY]\""},
      {"a -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + a36 + a36 + "\n+/=\n-----END RSA PRIVATE KEY----- b",
       "a [PRIVATE_KEY] b"},
      {"-----BEGIN OPENSSH PRIVATE KEY-----\n" + a36 + a36, "[PRIVATE_KEY]"},
      {"password: hunter2", "[PASSWORD]"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(Found(*policies, row.text) == row.out);
    CHECK(Found(*policies, "x " + row.text + ",").starts_with("x [") == !row.text.starts_with("a "));
  }
}

TEST_CASE("What only resembles a secret is left alone") {
  const auto policies = MustCompile(OneRule("{secrets: all}", "redact"));
  for (const char* text :
       {"AKIAIOSFODNN7EXAMPL", "TAKIAIOSFODNN7EXAMPLE", "ghp_short", "the token bucket algorithm", "password: hunter",
        "token=00000000000000000000", "api_key = your_api_key_goes_here", "api_key: 550e8400-e29b-41d4-a716-446655440000",
        "-----BEGIN PUBLIC KEY-----\nMIIB", "https://example.com:8080/path@2x", "sk-learn is a library; sk_test is a prefix",
        "eyJ is how a JSON object begins in base64", "secret: this-is-a-sentence", "SKU 0123456789", "hf_hub_download(repo_id)"}) {
    INFO(text);
    CHECK(Found(*policies, text) == text);
  }
}

TEST_CASE("Every identifier is found in its published forms and left alone in near misses") {
  std::size_t detectors = 0;
  for (const Examples& examples : IdentifierExamples()) {
    INFO(examples.detector);
    ++detectors;
    REQUIRE(examples.positives.size() >= 3);
    REQUIRE(examples.negatives.size() >= 5);
    const auto policies = MustCompile(OneRule("{personal_data: " + examples.detector + "}", "redact", "    replacement: '#'\n"));
    for (const std::string& marked : examples.positives) {
      INFO(marked);
      CHECK(Found(*policies, Plain(marked)) == Replaced(marked, "#"));
    }
    for (const std::string& text : examples.negatives) CHECK(Found(*policies, text) == text);
  }
  CHECK(detectors == DetectorNames(Catalog::kPersonalData).size());
}

TEST_CASE("Every kind of secret is found in its issuer's form and left alone in near misses") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  std::map<std::string, std::set<std::string>> positives, near_misses;  // Noise, the same for all kinds, is not counted.
  for (const SecretTemplate& its : SecretTemplates()) {
    INFO(its.detector << " " << its.pattern);
    const auto policies = MustCompile(OneRule("{secrets: " + its.detector + "}", "redact", "    replacement: '#'\n"));
    const auto leaves = [&](const std::string& text) {
      INFO(text);
      CHECK(MustFilter(*policies, text).raw.empty());
    };
    for (int i = 0; i < 4; ++i) {
      const std::string secret = MakeSecret(its.pattern, random);
      INFO(secret);
      const std::string out = Found(*policies, "Use " + secret + " here.");
      CHECK(out.find('#') != std::string::npos);
      CHECK(out.find(secret.substr(secret.size() / 2, 12)) == std::string::npos);
      positives[its.detector].insert(secret);
    }
    for (const char* noise : kSecretNoise) leaves(noise);
    for (const std::string& text : NearMisses(its, random)) {
      leaves(text);
      near_misses[its.detector].insert(text);
    }
  }
  for (const std::string& detector : DetectorNames(Catalog::kSecrets)) {
    INFO(detector);
    CHECK(positives[detector].size() >= 3);
    CHECK(near_misses[detector].size() >= 5);
  }
}

TEST_CASE("The documentation names every built-in detector") {
  std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/docs/detectors.md");
  const std::string page((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (const Catalog catalog : {Catalog::kPersonalData, Catalog::kSecrets, Catalog::kUnicode}) {
    for (const auto* names : {&DetectorNames(catalog), &FamilyNames(catalog)}) {
      for (const std::string& name : *names) {
        INFO(name);
        CHECK(page.find("`" + name + "`") != std::string::npos);
      }
    }
  }
}

TEST_CASE("The catalogue holds at least 45 identifiers of 20 countries and 120 kinds of secrets") {
  std::set<std::string> countries;
  for (const std::string& name : DetectorNames(Catalog::kPersonalData)) {
    if (name.size() > 3 && name[2] == '_') countries.insert(name.substr(0, 2));
  }
  CHECK(DetectorNames(Catalog::kPersonalData).size() >= 45);
  CHECK(countries.size() >= 20);
  CHECK(DetectorNames(Catalog::kSecrets).size() >= 120);
}

TEST_CASE("Kinds of secrets differ in their form, and 120 of them in more than a prefix of one issuer") {
  std::map<std::string, std::string> forms;
  std::set<std::string> families;
  for (const auto& rows : {CloudSecrets(), CodeSecrets(), ModelSecrets(), BusinessSecrets(), UniversalSecrets()}) {
    for (const SecretKind& kind : rows) {
      INFO(kind.name << " and " << forms[kind.regex]);
      CHECK(forms[kind.regex].empty());
      forms[kind.regex] = kind.name;
      families.insert(*kind.family == 0 ? kind.name : kind.family);
    }
  }
  CHECK(families.size() >= 120);
}

TEST_CASE("Names are found, and only theirs") {
  CHECK(DetectorPatterns(Catalog::kSecrets, "jwt").size() == 1);
  CHECK(DetectorPatterns(Catalog::kPersonalData, "jwt").empty());
  CHECK(DetectorPatterns(Catalog::kPersonalData, "us_ssn").size() == 2);
  CHECK(DetectorPatterns(Catalog::kSecrets, "github_token").size() == 5);
}

TEST_CASE("Every built-in detector compiles alone and holds a bounded number of bytes") {
  for (const auto& [kind, catalog] : {std::pair("personal_data", Catalog::kPersonalData), std::pair("secrets", Catalog::kSecrets)}) {
    for (const std::string& name : DetectorNames(catalog)) {
      INFO(name);
      const auto policies = MustCompile(OneRule("{" + std::string(kind) + ": " + name + "}", "redact"));
      CHECK(policies->Describe()[0].hold_bytes_max > 0);
      CHECK(policies->Describe()[0].hold_bytes_max <= 8192);
    }
  }
}

}  // namespace tollgate::policy
