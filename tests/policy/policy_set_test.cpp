#include <thread>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

Inspection MustInspect(const PolicySet& policies, const std::vector<Message>& prompt, const Subject& subject = {}) {
  auto out = policies.Inspect(subject, prompt);
  REQUIRE(out.ok());
  return *std::move(out);
}

const char* const kMail = "{personal_data: email}";

}  // namespace

TEST_CASE("Every part of every message is scanned, and names") {
  const auto policies = MustCompile(OneRule(kMail, "redact"));
  const std::vector<Message> prompt = {{Role::kSystem, "", {"You help ops@example.com."}},
                                       {Role::kUser, "bob@example.com", {"no", " mail here"}},
                                       {Role::kAssistant, "", {"Ask ann@example.com"}},
                                       {Role::kTool, "", {"{\"to\":\"tom@example.com\"}", " and ", "x@example.com"}}};
  const Inspection out = MustInspect(*policies, prompt);
  CHECK(out.changed);
  CHECK(out.prompt[0].parts == std::vector<std::string>{"You help [EMAIL]."});
  CHECK(out.prompt[1].name == "[EMAIL]");
  CHECK(out.prompt[1].parts == prompt[1].parts);
  CHECK(out.prompt[2].parts == std::vector<std::string>{"Ask [EMAIL]"});
  CHECK(out.prompt[3].parts == std::vector<std::string>{"{\"to\":\"[EMAIL]\"}", " and ", "[EMAIL]"});
  REQUIRE(out.verdict.rules.size() == 1);
  CHECK(out.verdict.action == Action::kRedact);
  CHECK(out.verdict.rules[0].count == 5);
  CHECK(out.verdict.rules[0].spans[0] == Span{0, "text", 9, 24});
  CHECK(out.verdict.rules[0].spans[1] == Span{1, "name", 0, 15});
  CHECK(out.verdict.not_scanned.empty());
  CHECK(out.questions.empty());
}

TEST_CASE("A value split over parts is found, and the message then has one part") {
  const auto policies = MustCompile(OneRule("{personal_data: card}", "redact"));
  const Inspection out = MustInspect(*policies, {{Role::kUser, "", {"card 4111 1111", " 1111 1", "111 please"}}});
  CHECK(out.prompt[0].parts == std::vector<std::string>{"card [CARD] please"});
  CHECK(out.verdict.rules[0].spans[0] == Span{0, "text", 5, 24});
}

TEST_CASE("A block leaves the prompt as it was and says why") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n"
      "  - {id: mail, detect: {personal_data: email}, do: redact}\n"
      "  - {id: topic, detect: {keywords: falcon}, do: block, because: Not announced.}\n");
  const std::vector<Message> prompt = {{Role::kUser, "", {"bob@example.com about Falcon"}}, {Role::kUser, "", {"and falcon"}}};
  const Inspection out = MustInspect(*policies, prompt);
  CHECK(out.verdict.action == Action::kBlock);
  CHECK_FALSE(out.changed);
  CHECK(out.prompt[0].parts == prompt[0].parts);
  REQUIRE(out.verdict.rules.size() == 2);
  CHECK(out.verdict.rules[1].rule_id == "topic");
  CHECK(out.verdict.rules[1].because == "Not announced.");
  CHECK(out.verdict.rules[1].count == 2);
}

TEST_CASE("An exception lets pass what it covers, and only that") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n"
      "  - {id: mail, detect: {personal_data: email}, do: block}\n"
      "  - {id: desk, where: {team: support}, detect: {keywords: help@example.com}, do: allow}\n");
  const std::vector<Message> prompt = {{Role::kUser, "", {"Write to help@example.com"}}};
  CHECK(MustInspect(*policies, prompt, {"o", "support", "p", "k", "m"}).verdict.action == Action::kAllow);
  CHECK(MustInspect(*policies, prompt, {"o", "search", "p", "k", "m"}).verdict.action == Action::kBlock);
  const std::vector<Message> other = {{Role::kUser, "", {"Write to help@example.com or me@example.com"}}};
  CHECK(MustInspect(*policies, other, {"o", "support", "p", "k", "m"}).verdict.action == Action::kBlock);
}

TEST_CASE("Broken text is refused, not guessed at") {
  const auto policies = MustCompile(OneRule(kMail, "redact"));
  const std::vector<Message> prompt = {{Role::kUser, "", {"ok"}}, {Role::kUser, "", {"a\xFFz"}}};
  const auto out = policies->Inspect({}, prompt);
  CHECK(out.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(base::Message(out.status()).find("message 1 is not valid UTF-8") != std::string::npos);
  CHECK_FALSE(policies->FilterWhole({}, "\xED\xA0\x80").ok());
}

TEST_CASE("No policy allows everything") {
  const auto compiled = PolicySet::Compile({});
  REQUIRE(compiled.ok());
  const std::vector<Message> prompt = {{Role::kUser, "", {"4111 1111 1111 1111"}}};
  const auto out = (*compiled)->Inspect({}, prompt);
  REQUIRE(out.ok());
  CHECK(out->verdict.action == Action::kAllow);
  CHECK(out->prompt[0].parts == prompt[0].parts);
  CHECK((*compiled)->Describe().empty());
}

TEST_CASE("The digest pins names and texts of all sources, in order") {
  const PolicySource a{"a", OneRule(kMail, "redact")}, b{"b", "version: 1\nname: b\nrules: []\n"};
  const auto digest = [](std::vector<PolicySource> sources) {
    const auto compiled = PolicySet::Compile(sources);
    REQUIRE(compiled.ok());
    return (*compiled)->digest();
  };
  CHECK(digest({a}) == digest({a}));
  CHECK(digest({a, b}) != digest({b, a}));
  CHECK(digest({a}) != digest({a, b}));
  CHECK(digest({a}) != digest({{"c", a.yaml}}));
}

TEST_CASE("Answers decide questions; a set that asks none wants none") {
  const auto policies = MustCompile(OneRule(kMail, "block"));
  const Verdict so_far = MustInspect(*policies, {{Role::kUser, "", {"hi"}}}).verdict;
  CHECK(policies->Decide(so_far, {}, {})->action == Action::kAllow);
  const Answer yes{"q1", true, ""}, no{"q1", false, ""}, failed{"q1", false, "no guard model"};
  CHECK_FALSE(policies->Decide(so_far, {}, {&yes, 1}).ok());
  const Question asked{"q1", "r", "toxicity", {0}};
  CHECK_FALSE(policies->Decide(so_far, {&asked, 1}, {}).ok());
  CHECK(policies->Decide(so_far, {&asked, 1}, {&no, 1})->action == Action::kAllow);
  CHECK(policies->Decide(so_far, {&asked, 1}, {&yes, 1})->action == Action::kBlock);
  CHECK(policies->Decide(so_far, {&asked, 1}, {&failed, 1})->action == Action::kBlock);
}

TEST_CASE("Rules are listed with what they do") {
  const auto policies = MustCompile(OneRule("{regex: 'a[0-9]{1,5}'}", "redact",
                                            "    where: {team: [x, a], direction: output}\n    severity: high\n    because: Because.\n"));
  const auto rows = policies->Describe();
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].id == "r");
  CHECK(rows[0].policy == "test.yaml");
  CHECK(rows[0].where == "output team=a|x");
  CHECK(rows[0].detect == "regex a[0-9]{1,5}");
  CHECK(rows[0].severity == "high");
  CHECK(rows[0].action == Action::kRedact);
  CHECK(rows[0].hold_bytes_max == 6);
}

TEST_CASE("One set serves many threads") {
  const auto policies = MustCompile(OneRule("{personal_data: all}", "redact"));
  const std::string text = "Call me: phone (415) 555-2671, bob@example.com, 4111 1111 1111 1111, 10.1.2.3";
  const std::string expected = MustFilter(*policies, text).text;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto filter = policies->OpenOutput({});
        std::string out;
        for (const char c : text) out += *filter->Push(std::string(1, c));
        out += *filter->Finish();
        const Message message{Role::kUser, "", {text}};
        const auto inspected = policies->Inspect({}, {&message, 1});
        if (out != expected || !inspected.ok() || inspected->prompt[0].parts[0] != expected) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace tollgate::policy
