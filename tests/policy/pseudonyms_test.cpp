#include <algorithm>

#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/pseudonyms.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

const std::string kMail = "  - {id: mail, detect: {personal_data: email}, do: pseudonymise}\n";
const std::string kPeople = "  - {id: people, detect: {keywords: [Ada Lovelace, Grace Hopper]}, do: pseudonymise, label: PERSON}\n";

std::string Policy(const std::string& rules) { return "version: 1\nname: t\nrules:\n" + rules; }

Subject Tenant(const std::string& key = "a tenant's key") {
  Subject subject;
  subject.pseudonym_key = key;
  return subject;
}

Message Said(Role role, const std::string& text) { return {role, "", {text}}; }

Inspection MustInspect(const PolicySet& policies, const std::vector<Message>& prompt, const Subject& subject = Tenant()) {
  auto out = policies.Inspect(subject, prompt);
  REQUIRE(out.ok());
  return *std::move(out);
}

std::string Asked(const PolicySet& policies, const std::string& text, const Subject& subject = Tenant()) {
  return MustInspect(policies, {Said(Role::kUser, text)}, subject).prompt[0].parts[0];
}

// The subject of the reply to a prompt.
Subject Answered(const Inspection& asked) {
  Subject subject = Tenant();
  subject.pseudonyms = asked.pseudonyms;
  return subject;
}

}  // namespace

TEST_CASE("A value has one pseudonym under a tenant's key, and another under another tenant's") {
  const auto policies = MustCompile(Policy(kMail + kPeople));
  const std::string once = Asked(*policies, "bob@example.com");
  CHECK(once.size() == std::string("[EMAIL_7Q2K9FXM]").size());
  CHECK(once.starts_with("[EMAIL_"));
  CHECK(once.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ]", 7) == std::string::npos);
  CHECK(Asked(*policies, "to bob@example.com, bob@example.com") == "to " + once + ", " + once);
  CHECK(Asked(*policies, "eve@example.com") != once);
  CHECK(Asked(*policies, "bob@example.com", Tenant("another tenant's key")) != once);
  CHECK(Asked(*policies, "Ask Ada Lovelace.").starts_with("Ask [PERSON_"));
  CHECK(Asked(*policies, "bob@example.com", Tenant("")) == "[EMAIL]");  // Tried out, for nobody.
}

TEST_CASE("A reply gets the values back that its own prompt held, after the output rules") {
  const auto policies =
      MustCompile(Policy(kMail + "  - {id: out, where: {direction: output}, detect: {personal_data: email}, do: redact}\n"));
  const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "Write to bob@example.com.")});
  REQUIRE(asked.pseudonyms != nullptr);
  const std::string bob = asked.pseudonyms->all()[0].text;
  CHECK(asked.prompt[0].parts[0] == "Write to " + bob + ".");
  const Filtered reply = MustFilter(*policies, "Dear " + bob + ", and cc eve@example.com.", Answered(asked));
  CHECK(reply.text == "Dear bob@example.com, and cc [EMAIL].");
  REQUIRE(reply.raw.size() == 2);
  CHECK(reply.raw[0] == RawSpan{"mail", 5, bob, true});
  CHECK(reply.raw[1] == RawSpan{"out", 30, "eve@example.com", false});
}

TEST_CASE("A pseudonym of another conversation, or one that a model invented, stays as it is") {
  const auto policies = MustCompile(Policy(kMail));
  const std::string other = Asked(*policies, "eve@example.com");
  const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "bob@example.com")});
  for (const std::string& text :
       {other, std::string("[EMAIL_00000000]"), asked.pseudonyms->all()[0].text.substr(1), std::string("[EMAIL_")}) {
    CHECK(MustFilter(*policies, text, Answered(asked)).text == text);
  }
  const Inspection nothing = MustInspect(*policies, {Said(Role::kUser, "hello")});
  CHECK(nothing.pseudonyms == nullptr);
  CHECK(MustFilter(*policies, other, Answered(nothing)).text == other);
}

TEST_CASE("Over many turns a value keeps its pseudonym, and the model sees it in no message") {
  const auto policies = MustCompile(Policy(kMail + kPeople));
  std::vector<Message> talk;
  std::string model_side;
  for (int turn = 0; turn < 12; ++turn) {
    talk.push_back(Said(Role::kUser, turn % 3 == 0 ? "Is Ada Lovelace bob@example.com?" : "And Grace Hopper?"));
    const Inspection asked = MustInspect(*policies, talk);
    for (const Message& message : asked.prompt) model_side += message.parts[0];
    std::string reply;
    for (const Pseudonym& pseudonym : asked.pseudonyms->all()) reply += "I know " + pseudonym.text + ". ";
    talk.push_back(Said(Role::kAssistant, MustFilter(*policies, reply, Answered(asked)).text));
  }
  CHECK(talk.back().parts[0] == "I know Ada Lovelace. I know bob@example.com. I know Grace Hopper. ");
  for (const char* value : {"Ada", "Lovelace", "Grace", "Hopper", "bob@", "example.com"})
    CHECK(model_side.find(value) == std::string::npos);
}

TEST_CASE("What another rule hides too, or what is encoded, is hidden for good") {
  const auto policies = MustCompile(Policy(kMail + "  - {id: bob, where: {direction: input}, detect: {keywords: bob}, do: redact}\n"));
  CHECK(Asked(*policies, "bob@example.com") == "[EMAIL]");
  const auto plain = MustCompile(Policy(kMail));
  CHECK(Asked(*plain, "d3JpdGUgdG8gYm9iQGV4YW1wbGUuY29tIHRvZGF5") == "[EMAIL]");
  const auto allowed = MustCompile(Policy(kMail + "  - {id: ok, detect: {keywords: bob@example.com}, do: allow}\n"));
  CHECK(Asked(*allowed, "bob@example.com") == "bob@example.com");
}

TEST_CASE("A value that is split over two messages comes back whole") {
  const auto policies = MustCompile(Policy(kMail));
  const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "write to bob@exam"), Said(Role::kUser, "ple.com today")});
  REQUIRE(asked.pseudonyms != nullptr);
  CHECK(asked.pseudonyms->all()[0].value == "bob@example.com");
  CHECK(asked.prompt[1].parts[0] == " today");
}

TEST_CASE("In a JSON reply a value is escaped") {
  const auto policies =
      MustCompile(Policy("  - {id: q, detect: {regex: 'says \"[a-z\\n]+\"'}, cap: 64, do: pseudonymise, label: QUOTE}\n"));
  const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "he says \"yes\nno\" now")});
  REQUIRE(asked.pseudonyms != nullptr);
  Subject subject = Answered(asked);
  const std::string reply = "{\"a\":\"" + asked.pseudonyms->all()[0].text + "\"}";
  CHECK(MustFilter(*policies, reply, subject).text == "{\"a\":\"says \"yes\nno\"\"}");
  subject.json_reply = true;
  CHECK(MustFilter(*policies, reply, subject).text == "{\"a\":\"says \\\"yes\\u000ano\\\"\"}");
}

TEST_CASE("A blocked prompt makes no pseudonyms, and a flood of values is hidden for good beyond the bound") {
  const auto policies = MustCompile(Policy(kMail + "  - {id: no, detect: {keywords: falcon}, do: block}\n"));
  CHECK(MustInspect(*policies, {Said(Role::kUser, "bob@example.com falcon")}).pseudonyms == nullptr);
  Pseudonyms many("key");
  for (std::size_t i = 0; i < Pseudonyms::kPseudonymsMax; ++i) REQUIRE(many.Add("N", std::to_string(i), "r").has_value());
  CHECK_FALSE(many.Add("N", "one more", "r").has_value());
  CHECK(many.Add("N", "7", "r").has_value());
}

TEST_CASE("A stream restores what the whole text does, in any pieces") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  // Rules that find parts of pseudonyms, what stands beside them, and nothing at all.
  const std::string outputs[] = {"", "  - {id: out, where: {direction: output}, detect: {personal_data: all}, do: redact}\n",
                                 "  - {id: out, where: {direction: output}, detect: {regex: '[A-Z0-9]{4}\\] (?:and|or)'}, do: redact}\n",
                                 "  - {id: out, where: {direction: output}, detect: {regex: '\\[[A-Z]{3}'}, do: mask, keep_last: 1}\n",
                                 "  - {id: out, where: {direction: output}, detect: {keywords: [stop, 'x[email']}, do: block}\n"};
  std::size_t restored = 0;
  for (const std::string& output : outputs) {
    const auto policies = MustCompile(Policy(kMail + kPeople + output));
    const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "Ada Lovelace, Grace Hopper, bob@example.com, eve@example.com")});
    const Subject subject = Answered(asked);
    std::vector<std::string> words = {" ",
                                      "[",
                                      "]",
                                      "[[",
                                      "and",
                                      "or ",
                                      "x",
                                      "stop ",
                                      "Ada Lovelace",
                                      "bob@example.com",
                                      "[EMAIL_",
                                      "_A",
                                      "7",
                                      "[PERSON",
                                      "\u00e9",
                                      "\u200b",
                                      "[EMAIL_00000000]"};
    for (const Pseudonym& pseudonym : asked.pseudonyms->all()) words.insert(words.end(), 3, pseudonym.text);
    for (int round = 0; round < 1500; ++round) {
      std::string text;
      for (std::size_t n = 1 + below(12); n > 0; --n) {
        const std::string& word = words[below(words.size())];
        text += below(5) == 0 && word[0] == '[' ? word.substr(0, 1 + below(word.size())) : word;
      }
      const Filtered whole = MustFilter(*policies, text, subject);
      restored +=
          static_cast<std::size_t>(std::count_if(whole.raw.begin(), whole.raw.end(), [](const RawSpan& span) { return span.restored; }));
      CheckStream(
          *policies, text, whole, [] { return std::size_t{1}; }, subject);
      CheckStream(
          *policies, text, whole, [&] { return 1 + below(9); }, subject);
    }
  }
  CHECK(restored > 5000);
}

TEST_CASE("A value that is too long is hidden for good, whatever found it") {
  const auto policies = MustCompile(Policy("  - {id: note, detect: {regex: '<<[^>]*'}, cap: 512, do: pseudonymise, label: NOTE}\n"));
  const auto note = [](std::size_t bytes) { return "<<" + std::string(bytes - 2, 'x'); };
  CHECK(Asked(*policies, note(Pseudonyms::kValueBytesMax)).starts_with("[NOTE_"));
  for (const std::size_t bytes : {Pseudonyms::kValueBytesMax + 1, std::size_t{1} << 20}) {
    const Inspection asked = MustInspect(*policies, {Said(Role::kUser, note(bytes))});
    CHECK(asked.prompt[0].parts[0] == "[NOTE]");
    CHECK(asked.pseudonyms == nullptr);
  }
}

TEST_CASE("A reply gets no more values back than it has room for: what comes then stays a pseudonym") {
  const auto policies = MustCompile(Policy("  - {id: note, detect: {regex: '<<[^>]*'}, cap: 512, do: pseudonymise, label: NOTE}\n"));
  const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "<<" + std::string(1022, 'x'))});
  const std::string pseudonym = asked.pseudonyms->all()[0].text;
  std::string reply;
  for (int i = 0; i < 1100; ++i) reply += pseudonym;
  const std::size_t bytes = static_cast<std::size_t>(Pseudonyms::kRestoredBytesMax) + 76 * pseudonym.size();
  CHECK(MustFilter(*policies, reply, Answered(asked)).text.size() == bytes);
  const auto filter = policies->OpenOutput(Answered(asked));
  std::size_t streamed = 0;
  for (std::size_t at = 0; at < reply.size(); at += 7) streamed += filter->Push(reply.substr(at, 7))->size();
  CHECK(streamed + filter->Finish()->size() == bytes);
}

TEST_CASE("A stream holds at most the beginning of a pseudonym, and nothing of what cannot become one") {
  const auto policies = MustCompile(Policy(kMail));
  const Inspection asked = MustInspect(*policies, {Said(Role::kUser, "bob@example.com")});
  const auto filter = policies->OpenOutput(Answered(asked));
  CHECK(*filter->Push("see [EMA") == "see ");
  CHECK(filter->held_bytes() == 4);
  CHECK(filter->decided_bytes() == 4);
  CHECK(*filter->Push("X") == "[EMAX");
  CHECK(filter->held_bytes() == 0);
  CHECK(*filter->Push(asked.pseudonyms->all()[0].text) == "bob@example.com");
  CHECK(*filter->Push("[EMAIL_") == "");
  CHECK(*filter->Finish() == "[EMAIL_");
}

TEST_CASE("Where pseudonyms would leak or mean nothing, the policy is refused by line and column") {
  struct Row {
    std::string rule, error;
  };
  const Row rows[] = {
      {"  - {id: r, where: {direction: output}, detect: {personal_data: email}, do: pseudonymise}\n",
       "test.yaml:4:32: 'do: pseudonymise' acts on input"},
      {"  - {id: r, where: {direction: both}, detect: {personal_data: email}, do: pseudonymise}\n", "'do: pseudonymise' acts on input"},
      {"  - {id: r, where: {roles: [user]}, detect: {personal_data: email}, do: pseudonymise}\n", "needs the role assistant"},
      {"  - {id: r, detect: {personal_data: email}, do: pseudonymise, label: person}\n", "test.yaml:4:70: 'label' is 1 to 24 of A-Z"},
      {"  - {id: r, detect: {personal_data: email}, do: redact, label: PERSON}\n", "'label' is for 'do: pseudonymise'; remove it"},
      {"  - {id: r, detect: {personal_data: email}, do: pseudonymise, salt: 0123456789abcdef}\n", "'salt' is for 'do: hash'; remove it"},
  };
  for (const Row& row : rows) CHECK_THAT(CompileError(Policy(row.rule)), Catch::Matchers::ContainsSubstring(row.error));
}

}  // namespace tollgate::policy
