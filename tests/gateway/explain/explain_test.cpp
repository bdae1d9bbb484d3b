// What policy says of a policy that somebody tries arrives in the API's messages, field by field.
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <span>
#include <string>
#include <vector>

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

namespace {

const policy::PolicySource kAsking{"house", R"(version: 1
name: house
rules:
  - {id: mail, detect: {personal_data: email}, do: redact}
  - {id: secret, detect: {keywords: bluebird}, do: block}
  - {id: unsafe, detect: {guard: {model: judge, prompt: "{{text}}", answer: {hit: yes, pass: no}}, least_score: 40}, do: block}
  - {id: law, detect: {topic: {model: vec, examples: [a, b]}, least_score: 70}, do: flag}
  - {id: toxic, detect: {external: kind, on_error: allow}, do: flag}
)"};

// Says what it is told to, by rule, and keeps what it was shown.
struct Others {
  std::map<std::string, policy::Heard> says;
  std::vector<std::string> shown;

  absl::StatusOr<v1::ExplainPolicyReply> Explain(const v1::ExplainPolicyRequest& request) {
    const auto ask = [this](std::span<const policy::Question> questions, const policy::Message& text) {
      std::vector<policy::Heard> out;
      for (const policy::Question& question : questions) {
        policy::Heard& heard = out.emplace_back(says[question.rule_id]);
        heard.answer.id = question.id;
      }
      shown.push_back(TextOf(text));
      return absl::StatusOr<std::vector<policy::Heard>>(std::move(out));
    };
    return explain::Explain({&kAsking, 1}, {}, request, ask);
  }
};

policy::Heard Says(bool hit, std::int64_t score_millionths, const std::string& category, const std::string& failure = "") {
  return {.answer = {.id = "", .hit = hit, .failure = failure, .score_millionths = score_millionths, .spans = {}},
          .category = category,
          .millis = 12.5,
          .input_tokens = 40,
          .output_tokens = 1};
}

}  // namespace

TEST_CASE("What others said reaches the reply: state, score, category, time and tokens, and the verdict has it") {
  for (const bool output : {false, true}) {
    Others others;
    others.says = {{"unsafe", Says(true, 930'000, "S1")}, {"law", Says(true, 412'000, "example 2")}, {"toxic", Says(false, 1'000'000, "")}};
    v1::ExplainPolicyRequest request;
    request.set_text("for bob@example.com");
    request.set_output(output);
    const auto reply = others.Explain(request);
    REQUIRE(reply.ok());
    CHECK(others.shown == std::vector<std::string>{"for [EMAIL]"});
    CHECK(reply->outcome().action() == "block");
    CHECK(reply->text_used().empty());
    REQUIRE(reply->rules_size() == 5);
    const v1::ExplainedRule& unsafe = reply->rules(2);
    CHECK(unsafe.state() == "hit");
    CHECK(unsafe.count() == 1);
    CHECK(unsafe.why() == "the guard model judge gives it 93.0 percent (S1), and 40 or more count");
    CHECK(unsafe.score().value() == 93);
    CHECK(unsafe.score().least() == 40);
    CHECK(unsafe.score().unit() == "percent");
    CHECK(unsafe.answer().detector() == "guard");
    CHECK(unsafe.answer().name() == "judge");
    CHECK(unsafe.answer().category() == "S1");
    CHECK(unsafe.answer().failure().empty());
    CHECK(unsafe.answer().ms() == 12.5);
    CHECK(unsafe.answer().input_tokens() == 40);
    CHECK(unsafe.answer().output_tokens() == 1);
    CHECK(reply->rules(3).state() == "no match");
    CHECK(reply->rules(3).count() == 0);
    CHECK(reply->rules(3).answer().detector() == "topic");
    CHECK(reply->rules(3).score().value() == 41.2);
    CHECK(reply->rules(4).state() == "no match");
    CHECK(reply->rules(4).why() == "the external detector kind says that it is no hit");
    CHECK(reply->rules(4).answer().detector() == "external");
    CHECK_FALSE(reply->rules(4).has_score());
    CHECK_FALSE(reply->rules(0).has_answer());
  }
}

TEST_CASE("Who could not say is a row that says so, and its rule acts as in a request") {
  Others others;
  others.says = {{"unsafe", Says(false, 0, "", "guard model 'judge': it did not answer in time")},
                 {"law", Says(true, 0, "")},
                 {"toxic", Says(false, 0, "", "it is away")}};
  v1::ExplainPolicyRequest request;
  request.set_text("hello");
  const auto reply = others.Explain(request);
  REQUIRE(reply.ok());
  CHECK(reply->outcome().action() == "block");
  CHECK(reply->outcome().rule_ids_size() == 1);
  CHECK(reply->outcome().rule_ids(0) == "unsafe");
  CHECK(reply->rules(2).state() == "failed");
  CHECK(reply->rules(2).why() == "guard model 'judge': it did not answer in time; so it acts as if it had hit (on_error: block)");
  CHECK(reply->rules(2).answer().failure() == "guard model 'judge': it did not answer in time");
  CHECK_FALSE(reply->rules(2).has_score());
  CHECK(reply->rules(4).state() == "failed");
  CHECK(reply->rules(4).why() == "it is away; so it does not act (on_error: allow)");
}

TEST_CASE("Nobody is asked about what other rules block, nor where nobody asks, and an error of asking is the explanation's") {
  Others others;
  v1::ExplainPolicyRequest request;
  for (const bool output : {false, true}) {
    request.set_text("bluebird");
    request.set_output(output);
    const auto blocked = others.Explain(request);
    REQUIRE(blocked.ok());
    CHECK(others.shown.empty());
    CHECK(blocked->rules(2).state() == "no match");
    CHECK(blocked->rules(2).why() ==
          "the guard model judge would say; it is not asked, for other rules let nothing of the text through to it");
    CHECK_FALSE(blocked->rules(2).has_answer());
  }
  request.set_text("hello");
  const auto offline = explain::Explain({&kAsking, 1}, {}, request);
  REQUIRE(offline.ok());
  CHECK(offline->rules(2).state() == "no match");
  CHECK(offline->rules(2).why() ==
        "the guard model judge would say; it is asked when a request runs, and a score of 40 percent or more counts");
  const auto failed =
      explain::Explain({&kAsking, 1}, {}, request,
                       [](auto, const policy::Message&) -> absl::StatusOr<std::vector<policy::Heard>> { return base::Cancelled("gone"); });
  CHECK(failed.status().code() == absl::StatusCode::kCancelled);
}

TEST_CASE("Spans that a detector outside names are told in their places, where it saw the text as it is") {
  Others others;
  policy::Heard toxic = Says(true, 900'000, "insult");
  toxic.answer.spans = {{0, "text", 8, 12}};
  others.says = {{"unsafe", Says(false, 0, "")}, {"law", Says(false, 0, "")}, {"toxic", toxic}};
  v1::ExplainPolicyRequest request;
  request.set_text("\xC3\xA4 b\n\xC3\xA4 evil");
  const auto reply = others.Explain(request);
  REQUIRE(reply.ok());
  REQUIRE(reply->spans_size() == 1);
  CHECK(reply->spans(0).rule_id() == "toxic");
  CHECK(reply->spans(0).begin() == 8);
  CHECK(reply->spans(0).end() == 12);
  CHECK(reply->spans(0).line() == 2);
  CHECK(reply->spans(0).column() == 3);
  CHECK(reply->spans(0).detector() == "kind");
  CHECK(reply->spans(0).evidence(0) == "it is called insult");
  CHECK(reply->spans(0).became() == "is noted in the record, and stays");
  CHECK(reply->rules(4).state() == "hit");
  request.set_text("evil for bob@example.com");
  const auto changed = others.Explain(request);
  REQUIRE(changed.ok());
  REQUIRE(changed->spans_size() == 1);
  CHECK(changed->spans(0).rule_id() == "mail");
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
