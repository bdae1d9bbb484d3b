// The policy that benchmarks run under: 20 rules of every kind, for prompts and output.
#pragma once

namespace tollgate::bench {

inline constexpr char kTwentyRules[] = R"(
version: 1
name: bench
rules:
  - {id: email, detect: {personal_data: email}, do: redact}
  - {id: card, detect: {personal_data: card}, do: redact}
  - {id: iban, detect: {personal_data: iban}, do: redact}
  - {id: ssn, detect: {personal_data: us_ssn}, do: redact}
  - {id: phone, detect: {personal_data: phone}, do: redact}
  - {id: ip, detect: {personal_data: ip}, do: redact}
  - {id: aws, detect: {secrets: aws_access_key}, do: redact}
  - {id: github, detect: {secrets: github_token}, do: redact}
  - {id: google, detect: {secrets: google_api_key}, do: redact}
  - {id: slack, detect: {secrets: slack_token}, do: redact}
  - {id: stripe, detect: {secrets: stripe_key}, do: redact}
  - {id: pem, detect: {secrets: private_key_pem}, do: redact}
  - {id: jwt, detect: {secrets: jwt}, do: redact}
  - {id: generic, detect: {secrets: generic_api_key}, do: redact}
  - {id: falcon, detect: {keywords: [project falcon, codename falcon, falcon launch]}, do: redact}
  - {id: rivals, detect: {keywords: [globex, initech, umbrella corp, hooli]}, do: flag}
  - {id: ticket, detect: {regex: '\b[A-Z]{2,5}-\d{1,6}\b'}, do: flag}
  - {id: salary, detect: {regex: '\bsalary of \d{4,7}\b', ignore_case: true}, do: redact}
  - {id: host, detect: {regex: '\b[a-z0-9-]{1,40}\.corp\.internal\b'}, do: redact}
  - {id: desk, detect: {keywords: [help@acme.example]}, do: allow}
)";

}  // namespace tollgate::bench
