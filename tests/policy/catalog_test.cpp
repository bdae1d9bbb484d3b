#include "policy/catalog.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// Which kind of secret is found, as its placeholder; the text itself if none.
std::string Found(const PolicySet& policies, const std::string& text) { return MustFilter(policies, text).text; }

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
      {"a -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow+/=\n-----END RSA PRIVATE KEY----- b", "a [PRIVATE_KEY] b"},
      {"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE", "[PRIVATE_KEY]"},
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
       {"AKIAIOSFODNN7EXAMPL", "TAKIAIOSFODNN7EXAMPLE", "ghp_short", "the token bucket algorithm", "password: hunter2",
        "token=00000000000000000000", "api_key = your_api_key_goes_here", "api_key: 550e8400-e29b-41d4-a716-446655440000",
        "-----BEGIN PUBLIC KEY-----\nMIIB", "https://example.com:8080/path@2x", "sk-learn is a library; sk_test is a prefix",
        "eyJ is how a JSON object begins in base64", "secret: this-is-a-sentence", "SKU 0123456789", "hf_hub_download(repo_id)"}) {
    INFO(text);
    CHECK(Found(*policies, text) == text);
  }
}

TEST_CASE("Names are found, and only theirs") {
  CHECK(FindBuiltIn(Secrets(), "jwt") != nullptr);
  CHECK(FindBuiltIn(PersonalData(), "jwt") == nullptr);
}

TEST_CASE("Every built-in detector compiles alone and holds a bounded number of bytes") {
  for (const auto& [kind, list] : {std::pair("personal_data", PersonalData()), std::pair("secrets", Secrets())}) {
    for (const BuiltIn& entry : list) {
      INFO(entry.name);
      const auto policies = MustCompile(OneRule("{" + std::string(kind) + ": " + entry.name + "}", "redact"));
      CHECK(policies->Describe()[0].hold_bytes_max > 0);
      CHECK(policies->Describe()[0].hold_bytes_max <= 8192);
    }
  }
}

}  // namespace tollgate::policy
