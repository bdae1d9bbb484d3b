// What policy says of a policy that somebody tries arrives in the API's messages, field by field.
#include <catch2/catch_test_macros.hpp>

#include "gateway/explain/explain.h"

using namespace tollgate;

namespace {

const policy::PolicySource kSource{"acme", R"(version: 1
name: acme
rules:
  - id: mail
    where: {team: search}
    detect: {personal_data: email}
    do: redact
    severity: high
    because: Addresses were hidden.
  - id: leaky
    detect: {secrets: github_token}
    do: flag
)"};

}  // namespace

TEST_CASE("An explanation reaches the reply with every field") {
  v1::ExplainPolicyRequest request;
  request.set_text("a\nto bob@example.com");
  policy::Subject subject{"acme", "search", "", "", ""};
  const auto reply = explain::Explain({&kSource, 1}, subject, request);
  REQUIRE(reply.ok());
  CHECK(reply->outcome().action() == "redact");
  CHECK(reply->outcome().rule_ids(0) == "mail");
  CHECK(reply->outcome().redactions() == 1);
  CHECK(reply->text_used() == "a\nto [EMAIL]");
  CHECK(reply->policy_digest().size() == 64);
  REQUIRE(reply->spans_size() == 1);
  const v1::ExplainedSpan& span = reply->spans(0);
  CHECK(span.rule_id() == "mail");
  CHECK(span.action() == "redact");
  CHECK(span.severity() == "high");
  CHECK(span.begin() == 5);
  CHECK(span.end() == 20);
  CHECK(span.line() == 2);
  CHECK(span.column() == 4);
  CHECK(span.detector() == "email");
  CHECK(span.evidence_size() == 1);
  CHECK(span.became() == "becomes [EMAIL]");
  REQUIRE(reply->rules_size() == 2);
  const v1::ExplainedRule& rule = reply->rules(0);
  CHECK(rule.policy() == "acme");
  CHECK(rule.line() == 4);
  CHECK(rule.state() == "hit");
  CHECK(rule.count() == 1);
  CHECK(rule.because() == "Addresses were hidden.");
  CHECK(reply->rules(1).state() == "no match");
  subject.team = "support";
  CHECK(explain::Explain({&kSource, 1}, subject, request)->rules(0).state() == "not here");
  request.set_role(v1::Role(77));
  CHECK(explain::Explain({&kSource, 1}, subject, request).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Scores reach the reply of an explanation where something is measured") {
  const policy::PolicySource source{"t", R"(version: 1
name: t
rules:
  - {id: key, detect: {secrets: aws_access_key}, do: flag}
  - {id: long, detect: {length: {characters: 9}}, do: flag}
  - {id: mail, detect: {personal_data: email}, do: flag}
)"};
  v1::ExplainPolicyRequest request;
  request.set_text("AKIAIOSFODNN7EXAMPLE");
  const auto reply = explain::Explain({&source, 1}, {}, request);
  REQUIRE(reply.ok());
  REQUIRE(reply->spans_size() == 1);
  CHECK(reply->spans(0).score().value() >= reply->spans(0).score().least());
  CHECK(reply->spans(0).score().unit() == "bits a character");
  CHECK(reply->rules(1).score().value() == 20);
  CHECK(reply->rules(1).score().least() == 10);
  CHECK(reply->rules(1).score().unit() == "characters");
  CHECK_FALSE(reply->rules(2).has_score());
}

TEST_CASE("Remarks and costs reach the reply with every field") {
  policy::LintOptions options;
  options.known.teams = {"sales"};
  const auto reply = explain::Lint({&kSource, 1}, options);
  REQUIRE(reply.ok());
  const auto find = [&](const std::string& check) {
    for (const v1::LintRemark& remark : reply->remarks()) {
      if (remark.check() == check) return remark;
    }
    return v1::LintRemark();
  };
  CHECK(find("dead").level() == "error");
  CHECK(find("dead").rule_id() == "mail");
  CHECK(find("leak").level() == "warning");
  CHECK(find("leak").policy() == "acme");
  CHECK(find("leak").line() == 10);
  CHECK(find("leak").column() == 5);
  CHECK_FALSE(find("leak").message().empty());
  REQUIRE(reply->costs_size() == 2);
  CHECK(reply->costs(0).rule_id() == "mail");
  CHECK(reply->costs(0).output());
  CHECK(reply->costs(0).hold_bound_bytes() > 0);
  CHECK_FALSE(reply->costs(0).slowest_text().empty());
  CHECK(reply->us_per_kb() > 0);
}
