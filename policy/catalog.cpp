// Each pattern is written so that a stream is held as little as possible: anchored at a word's start where the format allows it, bounded
// where the format is, and free of lower-case letters after a space (prose would keep the match alive).
//
// Secrets are recognised by the prefixes that their issuers publish. Those without one (assigned keys, credentials in URLs) need a name
// or a place beside them, and entropy.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog.h"

namespace tollgate::policy {
namespace {

// Hyphens and spaces that people put between groups of digits: no-break, narrow, Unicode dashes.
#define TG_SEPARATOR "[ \\x{A0}\\x{2010}-\\x{2015}\\x{202F}-]"
#define TG_LETTERS "A-Za-z\\x{C0}-\\x{24F}\\x{370}-\\x{5FF}"

constexpr BuiltIn kPersonalData[] = {
    {"email", "EMAIL",
     "[" TG_LETTERS "0-9_%+][" TG_LETTERS "0-9._%+'-]{0,63}[@\\x{FF20}]"
     "[" TG_LETTERS "0-9](?:[" TG_LETTERS "0-9.-]{0,120}[" TG_LETTERS "0-9])?\\.[" TG_LETTERS "]{2,24}",
     AcceptEmail, 0, 0, false},
    {"card", "CARD", "\\b\\d(?:" TG_SEPARATOR "?\\d){12,18}\\b", AcceptCard, 13, 0, false},
    {"iban", "IBAN", "\\b(?:[A-Z]{2}\\d{2}(?:[ -]?[A-Z0-9]){11,30}|[a-z]{2}\\d{2}[a-z0-9]{11,30})", AcceptIban, 4, 0, false},
    {"us_ssn", "US_SSN", "\\b\\d{3}(?:[- ]\\d{2}[- ]|\\d{2})\\d{4}\\b", AcceptSsn, 9, 0, false},
    {"phone", "PHONE", "[+(]{0,2}\\d(?:[ ().\\x{A0}\\x{2010}-\\x{2015}\\x{202F}/-]{0,3}\\d){6,14}\\b", AcceptPhone, 7, 0, true},
    {"ip", "IP", "\\b(?:\\d{1,3}(?:\\.\\d{1,3}){3,7}\\b|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7})", AcceptIp, 1, 0, false},
};

#define TG_KEY_HEADER "(?:[A-Z0-9]{1,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----"

constexpr BuiltIn kSecrets[] = {
    {"aws_access_key", "AWS_ACCESS_KEY", "\\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\\b", nullptr, 0, 0, false},
    {"aws_secret_key", "AWS_SECRET_KEY",
     "(?i:aws.?secret.?(?:access.?)?key|secretaccesskey)[\"']?[ \\t]{0,3}(?:=>|[:=])[ \\t]{0,3}[\"']?[A-Za-z0-9/+]{40}", AcceptAssignedKey,
     1, 0, false},
    {"github_token", "GITHUB_TOKEN", "\\b(?:gh[pousr]_[A-Za-z0-9]{36,80}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\\b", nullptr, 0, 0,
     false},
    {"gitlab_token", "GITLAB_TOKEN", "\\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,64}", nullptr, 0, 0, false},
    {"google_api_key", "GOOGLE_API_KEY", "\\bAIza[0-9A-Za-z_-]{35}", nullptr, 0, 0, false},
    {"slack_token", "SLACK_TOKEN", "\\b(?:xox[abeoprs]|xapp)-[0-9]{1,14}-[A-Za-z0-9-]{10,160}", nullptr, 1, 0, false},
    {"slack_webhook", "SLACK_WEBHOOK", "hooks\\.slack\\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,60}", nullptr, 0, 0, false},
    {"stripe_key", "STRIPE_KEY", "\\b(?:[rs]k_(?:live|test)|whsec)_[0-9A-Za-z]{16,128}", nullptr, 0, 0, false},
    {"openai_key", "OPENAI_KEY", "\\bsk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,200}", AcceptMixedToken, 1, 0, false},
    {"anthropic_key", "ANTHROPIC_KEY", "\\bsk-ant-[a-z0-9]{3,10}-[A-Za-z0-9_-]{20,200}", nullptr, 0, 0, false},
    {"hugging_face_token", "HUGGING_FACE_TOKEN", "\\bhf_[A-Za-z0-9]{34,40}\\b", nullptr, 0, 0, false},
    {"npm_token", "NPM_TOKEN", "\\bnpm_[A-Za-z0-9]{36}\\b", nullptr, 0, 0, false},
    {"pypi_token", "PYPI_TOKEN", "\\bpypi-AgE[A-Za-z0-9_-]{50,240}", nullptr, 0, 0, false},
    {"sendgrid_key", "SENDGRID_KEY", "\\bSG\\.[A-Za-z0-9_-]{16,32}\\.[A-Za-z0-9_-]{32,64}", nullptr, 0, 0, false},
    {"twilio_key", "TWILIO_KEY", "\\bSK[0-9a-f]{32}\\b", nullptr, 1, 0, false},
    {"digitalocean_token", "DIGITALOCEAN_TOKEN", "\\bdo[opr]_v1_[a-f0-9]{64}\\b", nullptr, 0, 0, false},
    {"shopify_token", "SHOPIFY_TOKEN", "\\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\\b", nullptr, 0, 0, false},
    {"telegram_bot_token", "TELEGRAM_BOT_TOKEN", "\\b\\d{8,10}:AA[A-Za-z0-9_-]{33}", nullptr, 8, 0, false},
    {"private_key_pem", "PRIVATE_KEY",
     "-----BEGIN " TG_KEY_HEADER "(?:[A-Za-z0-9+/=\\s:,.\\\\]|-[A-Za-z0-9])*(?:-----END " TG_KEY_HEADER ")?", nullptr, 0, 4096, false},
    {"jwt", "JWT", "\\beyJ[A-Za-z0-9_-]{8,}\\.eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{16,}", nullptr, 0, 2048, false},
    {"tollgate_key", "TOLLGATE_KEY", "\\btg_[a-z]{2,8}_[A-Za-z0-9]{6,12}_[A-Za-z0-9_-]{20,80}", nullptr, 0, 0, false},
    {"url_credentials", "URL_CREDENTIALS",
     "\\b[a-z][a-z0-9+]{2,15}://[A-Za-z0-9._~%!$&*+=-]{0,64}:[A-Za-z0-9._~%!$&*+=-]{3,100}@[A-Za-z0-9.-]{1,100}", nullptr, 0, 0, false},
    {"generic_api_key", "API_KEY",
     "(?i:api.?key|access.?key|secret.?key|auth.?token|access.?token|client.?secret|app.?secret|secret|token|passwd|password)"
     "[\"'`]?[ \\t]{0,3}(?:=>|[:=])[ \\t]{0,3}[\"'`]?[A-Za-z0-9_./+~=-]{16,200}",
     AcceptAssignedKey, 0, 0, false},
};

}  // namespace

std::span<const BuiltIn> PersonalData() { return kPersonalData; }
std::span<const BuiltIn> Secrets() { return kSecrets; }

const BuiltIn* FindBuiltIn(std::span<const BuiltIn> list, std::string_view name) {
  for (const BuiltIn& entry : list) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

}  // namespace tollgate::policy
