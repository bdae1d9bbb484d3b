// What lint says of rules that are wrong in one way each, and that it says nothing of good ones.
#include <algorithm>

#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "policy/lint.h"
#include "policy/lint_internal.h"
#include "policy/rule_yaml.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

LintReport MustLint(const std::string& rules, const LintOptions& options = {}) {
  const PolicySource source{"test.yaml", "version: 1\nname: t\nrules:\n" + rules};
  auto out = Lint({&source, 1}, options);
  INFO(base::Message(out.status()));
  REQUIRE(out.ok());
  return *std::move(out);
}

// "error shadowed b: rule a …", one a line; what depends on the machine and untested rules are left out.
std::string Told(const LintReport& report) {
  std::string out;
  for (const LintRemark& remark : report.remarks) {
    if (remark.check == "untested" || remark.check == "slow" || remark.check == "words") continue;
    out += std::string(LintLevelName(remark.level)) + " " + remark.check + " " + remark.rule_id + ": " + remark.message + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("Lint finds what is doubtful about a rule") {
  struct Row {
    const char *rules, *told;
  };
  const Row rows[] = {
      {"- {id: a, detect: {regex: 'x\\b[a-z]{3}'}, do: flag}\n", "error dead a: no text could be found that its regex matches"},
      {"- {id: a, detect: {keywords: nothing else here}, do: allow}\n", "warning dead a: it is an exception to nothing"},
      {"- {id: a, detect: {keywords: [falcon]}, do: allow}\n- {id: b, detect: {keywords: [falcon]}, do: block}\n",
       "error shadowed b: rule a allows all that it finds (in all of 1 examples)"},
      {"- {id: a, detect: {personal_data: all}, do: allow}\n- {id: b, detect: {personal_data: email}, do: redact}\n",
       "error shadowed b: rule a allows all that it finds (it has the same detectors)"},
      {"- {id: a, detect: {keywords: falcon}, unless: {keywords: falcon}, do: block}\n", "error shadowed a: its own `unless` exempts all"},
      {"- {id: a, detect: {regex: '[A-Z]{2,5}-\\d{1,6}'}, do: block}\n- {id: b, detect: {regex: 'AB-\\d{3}'}, do: redact}\n",
       "warning shadowed b: rule a blocks whatever it finds"},
      {"- {id: a, detect: {personal_data: [email, card]}, do: redact}\n- {id: b, detect: {personal_data: card}, do: mask}\n",
       "warning shadowed b: rule a finds all that it finds (it has the same detectors), and its replacement is written, never this one's"},
      {"- {id: a, detect: {keywords: falcon}, do: redact}\n- {id: b, detect: {keywords: falcon}, do: redact}\n",
       "warning shadowed b: rule a finds all that it finds (in all of 1 examples), and its replacement is the one that is written; merge "
       "them"},
      {"- {id: a, detect: {keywords: falcon}, do: redact}\n- {id: b, detect: {keywords: falcon}, do: replace, replacement: x}\n",
       "warning shadowed b: rule a finds all that it finds (in all of 1 examples), and its replacement is written, never this one's"},
      {"- {id: a, detect: {keywords: tax}, do: {route: big}}\n- {id: b, detect: {keywords: tax}, do: {route: big}}\n",
       "note shadowed b: rule a finds all that it finds (in all of 1 examples) and does the same; merge them"},
      {"- {id: a, detect: {keywords: tax}, do: {route: big}}\n- {id: b, detect: {keywords: tax}, do: {route: small}}\n",
       "warning shadowed b: rule a finds all that it finds and comes first, and sends the request to 'big': the two contradict, and this "
       "one "
       "never sends one to 'small'"},
      {"- {id: a, detect: {request: any}, do: {route: big}}\n- {id: b, detect: {keywords: tax}, do: {route: small}}\n",
       "warning shadowed b: rule a finds all that it finds and comes first"},
      {"- {id: a, detect: {length: {characters: 40}}, do: {route: big}}\n- {id: b, detect: {length: {characters: 90}}, do: {route: "
       "huge}}\n",
       "warning shadowed b: rule a finds all that it finds and comes first"},
      {"- {id: a, detect: {keywords: tax}, do: {route: big}}\n- {id: b, detect: {keywords: tax}, do: block}\n",
       "warning shadowed a: rule b blocks whatever it finds (in all of 1 examples), so its route never applies"},
      {"- {id: a, detect: {keywords: [the, and, we, a]}, do: block}\n", "error always-on a: it acts on almost everything"},
      {"- {id: a, where: {team: x}, detect: {regex: '[a-z]{2,9}'}, do: redact}\n", "warning always-on a: it acts on almost everything"},
      {"- {id: a, detect: {keywords: museum}, do: flag}\n", "note always-on a: it finds something in 1 of 24 ordinary sentences"},
      {"- {id: a, detect: {secrets: github_token}, do: flag}\n", "warning leak a: it notes secrets and lets them through"},
      {"- {id: a, where: {direction: input}, detect: {secrets: github_token}, do: block}\n", "warning leak a: it acts on prompts only"},
      {"- {id: a, where: {direction: output}, detect: {secrets: github_token}, do: redact}\n", "warning leak a: it acts on replies only"},
      {"- {id: a, where: {roles: [user, assistant]}, detect: {secrets: github_token}, do: block}\n",
       "warning leak a: its roles leave out what system, tool messages hold"},
      {"- {id: a, detect: {secrets: github_token}, do: mask, keep_last: 8}\n",
       "warning leak a: it shows the last 8 characters of a secret"},
      {"- {id: a, detect: {keywords: globex}, do: block, because: Do not write about Globex.}\n", "warning leak a: its `because`"},
      {"- {id: a, detect: {keywords: globex}, do: replace, replacement: initech}\n- {id: b, detect: {keywords: initech}, do: block}\n",
       "note leak a: rule b finds its replacement"},
      {"- {id: a, detect: {regex: 'BEGIN[a-z ]*END'}, cap: 4096, do: redact}\n",
       "note hold a: a reply can be held back by as much as 8192"},
      {"- {id: a, detect: {keywords: globex, decode: both}, do: redact}\n",
       "note hold a: `decode: both` holds every word of a reply to its end, as much as 8192 bytes"},
      {"- {id: a, detect: {regex: '[^#]{1,900}#'}, do: redact}\n", "warning hold a: it holds replies back"},
  };
  for (const Row& row : rows) {
    INFO(row.rules);
    CHECK_THAT(Told(MustLint(row.rules)), ContainsSubstring(row.told));
  }
}

TEST_CASE("Rules that find the same and each do something of their own shadow none") {
  for (const char* rules : {
           "- {id: a, detect: {keywords: tax}, do: flag}\n- {id: b, detect: {keywords: tax}, do: {route: big}}\n",
           "- {id: a, detect: {keywords: tax}, do: {append_system: Be brief.}}\n- {id: b, detect: {keywords: tax}, do: {append_system: Be "
           "kind.}}\n",
           "- {id: a, detect: {keywords: tax}, do: flag, severity: low}\n- {id: b, detect: {keywords: tax}, do: flag, severity: high}\n",
           "- {id: a, detect: {length: {characters: 90}}, do: {route: huge}}\n- {id: b, detect: {length: {characters: 40}}, do: {route: "
           "big}}\n",
           "- {id: a, where: {team: x}, detect: {request: any}, do: {route: big}}\n- {id: b, detect: {keywords: tax}, do: {route: "
           "small}}\n",
       }) {
    INFO(rules);
    CHECK(Told(MustLint(rules)).find("shadowed") == std::string::npos);
  }
}

TEST_CASE("A rule is slow from twenty microseconds a KB on, and what it is slow by is said") {
  struct Row {
    const char* detect;
    double us_per_kb;
    const char* told;
  };
  const Row rows[] = {
      {"{regex: '[a-z]{3}[0-9]'}", 20.5, "it takes 20 microseconds a KB of records; no fixed word is in all that it matches"},
      {"{regex: 'globex-[a-z]{3}'}", 300, "it takes 300 microseconds a KB of records; use smaller repeats, or name fewer detectors"},
      {"{keywords: globex}", 21, "it takes 21 microseconds a KB of records; use smaller repeats, or name fewer detectors"},
      {"{regex: '[a-z]{3}[0-9]'}", 20, nullptr},
      {"{keywords: globex}", 0, nullptr},
  };
  for (const Row& row : rows) {
    INFO(row.detect << " at " << row.us_per_kb);
    std::vector<Rule> rules;
    REQUIRE(ReadPolicy({"t", OneRule(row.detect, "flag")}, rules).ok());
    RuleCost cost;
    cost.us_per_kb = row.us_per_kb;
    cost.slowest_text = "records";
    Remarks remarks;
    JudgeCost(rules.front(), cost, remarks);
    REQUIRE(remarks.list().size() == (row.told == nullptr ? 0 : 1));
    if (row.told == nullptr) continue;
    CHECK(remarks.list()[0].level == LintLevel::kWarning);
    CHECK(remarks.list()[0].check == "slow");
    CHECK_THAT(remarks.list()[0].message, ContainsSubstring(row.told));
  }
}

TEST_CASE("Lint measures a rule of many open patterns as slow, beside a rule of one word, which is not") {
  std::string patterns;  // Far beyond what is allowed, on any machine.
  for (int i = 1; i <= 60; ++i) patterns += (i == 1 ? "'[a-z ]{1," : ", '[a-z ]{1,") + std::to_string(i) + "}[0-9]'";
  const LintReport report =
      MustLint("- {id: a, detect: {regex: [" + patterns + "]}, do: flag}\n- {id: b, detect: {keywords: globex}, do: flag}\n");
  const auto is_slow = [](const LintRemark& remark) { return remark.check == "slow" && remark.rule_id == "a"; };
  const auto slow = std::find_if(report.remarks.begin(), report.remarks.end(), is_slow);
  REQUIRE(slow != report.remarks.end());
  CHECK(slow->level == LintLevel::kWarning);
  CHECK(report.costs[0].us_per_kb > report.costs[1].us_per_kb);
}

TEST_CASE("More than four retries, and questions after every few tokens, are slow whatever the machine") {
  const auto slow = [](const std::string& rule) {
    std::vector<std::string> out;
    for (const LintRemark& remark : MustLint("- {id: a, " + rule + "}\n").remarks) {
      if (remark.check == "slow" && remark.message.find("microseconds") == std::string::npos)
        out.push_back(std::string(LintLevelName(remark.level)) + ": " + remark.message);
    }
    return out;
  };
  const auto many = slow("detect: {keywords: globex}, do: block, retry: 5");
  REQUIRE(many.size() == 1);
  CHECK(many[0] == "note: each of its 5 retries is decoded, waited for and billed; what is found 4 times over is seldom mended by more");
  CHECK(slow("detect: {keywords: globex}, do: block, retry: 4").empty());
  const auto often = slow("detect: {external: mood, at: 15 tokens}, do: block");
  REQUIRE(often.size() == 1);
  CHECK(often[0] == "warning: it asks about the whole reply so far after every 15 tokens; ask by sentence, or more seldom");
  CHECK(slow("detect: {external: mood, at: 16 tokens}, do: block").empty());
  CHECK_THAT(slow("detect: {topic: {model: bge, examples: [x]}, least_score: 70, at: 8 tokens}, do: block").at(0),
             ContainsSubstring("the tenant pays for each"));
}

TEST_CASE("Lint has nothing to say of a good policy") {
  CHECK(Told(MustLint(R"(
  - id: desk
    detect: {keywords: help@acme.example}
    do: allow
  - id: mail
    detect: {personal_data: email}
    do: redact
    tests:
      - text: help@acme.example or bob@example.com
  - id: secrets
    detect: {secrets: all}
    do: block
    because: Secrets do not belong in prompts.
  - id: secrets.input
    where: {direction: input, team: search}
    detect: {keywords: [project falcon]}
    do: block
    because: It is not announced.
)"))
            .empty());
  const PolicySource none{"test.yaml", "version: 1\nname: t\nrules: []\n"};
  const auto empty = Lint({&none, 1}, {});
  REQUIRE(empty.ok());
  CHECK(empty->remarks.empty());
}

TEST_CASE("Tests and reasons that a rule lacks are noted") {
  const LintReport report = MustLint(
      "- {id: a, detect: {keywords: globex}, do: block}\n- {id: b, detect: {keywords: hooli}, do: flag, tests: [{text: hooli}]}\n");
  REQUIRE(report.remarks.size() == 3);
  CHECK(report.remarks[0].check == "untested");
  CHECK(report.remarks[1].check == "words");
  CHECK_THAT(report.remarks[2].message, ContainsSubstring("expect_not"));
  CHECK(report.remarks[2].line == 5);
  CHECK(report.worst() == LintLevel::kNote);
}

TEST_CASE("Names in where are compared with those that exist") {
  LintOptions options;
  options.known.teams = {"search", "support"};
  const char* rules = "- {id: a, where: {team: suport, key: k1}, detect: {keywords: globex}, do: flag}\n";
  CHECK_THAT(Told(MustLint(rules, options)), ContainsSubstring("error dead a: there is no team 'suport'; did you mean 'support'?"));
  CHECK(Told(MustLint(rules)).empty());
}

TEST_CASE("Models in where are compared with models, adapters and their sets, and aliases are told with the models that they lead to") {
  LintOptions options;
  options.known.models = {"qwen3", "qwen3:legal", "qwen3:tone", "llama3:8b", "gpt-x"};
  options.known.aliases = {{"chat", {"qwen3"}}, {"both", {"qwen3", "llama3:8b"}}, {"secret", {}}, {"gpt-x", {"qwen3"}}};
  const std::string rules =
      "- {id: a, where: {model: chat}, detect: {keywords: globex}, do: flag}\n"
      "- {id: b, where: {model: [both, qwen3]}, detect: {keywords: initech}, do: flag}\n"
      "- {id: c, where: {model: qwen33}, detect: {keywords: hooli}, do: flag}\n"
      "- {id: d, where: {model: [qwen3, \"qwen3:legal\", \"qwen3:legal+tone\", \"llama3:8b\"]}, detect: {keywords: umbrella}, do: flag}\n"
      "- {id: e, where: {model: secret}, detect: {keywords: tyrell}, do: flag}\n"
      "- {id: f, where: {model: gpt-x}, detect: {keywords: cyberdyne}, do: flag}\n"
      "- {id: g, where: {model: \"qwen3:tone+legal\"}, detect: {keywords: wonka}, do: flag}\n"
      "- {id: h, where: {model: somebody-elses}, detect: {keywords: stark}, do: flag}\n";
  const std::string told = Told(MustLint(rules.c_str(), options));
  CHECK_THAT(told, ContainsSubstring("error dead a: `chat` is an alias; rules go by the model that it leads to: qwen3"));
  CHECK_THAT(told, ContainsSubstring("warning dead b: `both` is an alias; rules go by the model that it leads to: qwen3, llama3:8b"));
  CHECK_THAT(told, ContainsSubstring("error dead c: there is no model 'qwen33'; did you mean 'qwen3'?"));
  CHECK_THAT(told, ContainsSubstring("error dead e: `secret` is an alias; rules go by the model that it leads to"));
  CHECK_THAT(told, ContainsSubstring("warning dead f: `gpt-x` is an alias"));                 // It acts where others lead to that model.
  CHECK_THAT(told, ContainsSubstring("error dead g: there is no model 'qwen3:tone+legal'"));  // It is never called so.
  CHECK_THAT(told, ContainsSubstring(
                       "error dead h: there is no model 'somebody-elses', so it acts on nobody's requests; see `tollgate models list`"));
  CHECK(told.find("dead d") == std::string::npos);
  CHECK(Told(MustLint(rules.c_str())).find("dead") == std::string::npos);
  options.known.models.clear();
  CHECK(Told(MustLint(rules.c_str(), options)).find("no model") == std::string::npos);

  const PolicySource source{"p", "version: 1\nname: p\nrules:\n" + rules};
  const auto remarks = LintAsked({&source, 1}, options.known);
  REQUIRE(remarks.ok());
  CHECK(remarks->size() == 4);
}

TEST_CASE("Whom rules ask, and where they send requests, is compared with who is here") {
  LintOptions options;
  options.known.detectors = {"toxicity", "topics"};
  options.known.is_model = [](std::string_view name) { return name == "bge" || name == "guard"; };
  const std::string rules =
      "- {id: a, detect: {external: toxcity, on_error: allow}, do: flag}\n"
      "- {id: b, detect: {external: topics}, do: flag}\n"
      "- {id: c, detect: {topic: {model: bgge, examples: [x]}, least_score: 70}, do: flag}\n"
      "- {id: d, detect: {topic: {model: bge, examples: [x]}, least_score: 70}, do: flag}\n"
      "- {id: e, detect: {guard: {model: gard, format: llama_guard}}, do: flag}\n"
      "- {id: f, where: {direction: input}, detect: {request: any}, do: {route: nowhere}}\n"
      "- {id: g, detect: {not_json: any}, do: flag}\n";
  const std::string told = Told(MustLint(rules.c_str(), options));
  CHECK_THAT(told, ContainsSubstring("error asks a: no detector 'toxcity' is configured; did you mean 'toxicity'?"));
  CHECK_THAT(told, ContainsSubstring("error asks c: it asks model 'bgge'"));
  CHECK_THAT(told, ContainsSubstring("error asks e: it asks model 'gard'"));
  CHECK_THAT(told, ContainsSubstring("error asks f: it sends requests to 'nowhere'"));
  for (const char* fine : {"asks b", "asks d", "asks g"}) CHECK(told.find(fine) == std::string::npos);
  CHECK(Told(MustLint(rules.c_str())).find("asks") == std::string::npos);

  const PolicySource source{"p", "version: 1\nname: p\nrules:\n" + rules};
  const auto remarks = LintAsked({&source, 1}, options.known);
  REQUIRE(remarks.ok());
  CHECK(remarks->size() == 4);
  options.known.detectors = std::vector<std::string>{};
  CHECK_THAT(LintAsked({&source, 1}, options.known)->front().message, ContainsSubstring("name it under detectors in tollgate.yaml"));
}

TEST_CASE("Each rule's cost is measured, and work that is no longer wanted ends") {
  LintOptions options;
  const LintReport report = MustLint(
      "- {id: a, detect: {personal_data: email}, do: redact}\n- {id: b, where: {direction: input}, detect: {keywords: globex}, do: "
      "flag}\n");
  REQUIRE(report.costs.size() == 2);
  CHECK(report.costs[0].output);
  CHECK(report.costs[0].hold_bound_bytes > 0);
  CHECK(report.costs[0].hold_max_bytes <= report.costs[0].hold_bound_bytes);
  CHECK(report.costs[0].hold_mean_bytes <= static_cast<double>(report.costs[0].hold_max_bytes));
  CHECK_FALSE(report.costs[1].output);
  CHECK(report.us_per_kb > 0);
  options.keep_going = [] { return base::Cancelled("gone"); };
  const PolicySource source{"test.yaml", "version: 1\nname: t\nrules:\n- {id: a, detect: {keywords: globex}, do: flag}\n"};
  CHECK(Lint({&source, 1}, options).status().code() == absl::StatusCode::kCancelled);
}

TEST_CASE("Words made from a regex are words of it") {
  for (const char* regex : {"[A-Z]{2,5}-\\d{1,6}", "(?:ab|cd){1,4}e?", "\\bsalary of \\d{4,7}\\b", "[^a]x{0,3}y"}) {
    const auto policies = MustCompile(OneRule("{regex: '" + std::string(regex) + "'}", "flag"));
    const auto tree = ParseRegex(regex, false);
    REQUIRE(tree.ok());
    const auto words = SampleWords(*tree, 20);
    CHECK_FALSE(words.empty());
    for (const std::string& word : words) {
      INFO(regex << ": " << word);
      CHECK(MustFilter(*policies, word).verdict.action == Action::kFlag);
    }
  }
}

}  // namespace tollgate::policy
