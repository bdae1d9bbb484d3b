#include "policy/message_runs.h"

#include "policy/policy_set.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// "u:text" of a user, "a:text" of the assistant …; "u/bob:text" of a user with a name.
std::vector<Message> Prompt(const std::vector<std::string>& lines) {
  std::vector<Message> out;
  for (const std::string& line : lines) {
    const std::size_t colon = line.find(':');
    const std::string who = line.substr(0, colon);
    const Role role = who[0] == 's' ? Role::kSystem : who[0] == 'a' ? Role::kAssistant : who[0] == 't' ? Role::kTool : Role::kUser;
    out.push_back({role, who.size() > 1 ? who.substr(2) : "", {line.substr(colon + 1)}});
  }
  return out;
}

std::vector<std::string> Texts(const std::vector<Message>& prompt) {
  std::vector<std::string> out;
  for (const Message& message : prompt) {
    std::string text;
    for (const std::string& part : message.parts) text += part;
    out.push_back(text);
  }
  return out;
}

Inspection MustInspect(const PolicySet& policies, const std::vector<Message>& prompt) {
  auto out = policies.Inspect({}, prompt);
  REQUIRE(out.ok());
  return *std::move(out);
}

const char* const kRules =
    "version: 1\nname: t\nrules:\n"
    "  - {id: pii, detect: {personal_data: [card, email, iban]}, do: redact}\n"
    "  - {id: key, detect: {secrets: [private_key_pem, github_pat]}, do: redact}\n"
    "  - {id: word, detect: {keywords: [project falcon, falcon]}, do: redact}\n"
    "  - {id: tricks, detect: {unicode: [homoglyph]}, do: redact}\n";

}  // namespace

TEST_CASE("A value that is split over messages of one author is hidden in both, whatever others say between them") {
  const auto policies = MustCompile(kRules);
  struct Row {
    std::vector<std::string> prompt, out;
  };
  const std::string pat = "0123456789abcdefghijklmnopqrstuvwxyz";
  const Row rows[] = {
      {{"u:My card is 4111 1111 ", "u:1111 1111, thanks."}, {"My card is [CARD]", ", thanks."}},
      {{"u:bob@exam", "u:ple.com is mine"}, {"[EMAIL]", " is mine"}},
      {{"u:GB82 WEST ", "u:1234 5698", "u: 7654 32 it is"}, {"[IBAN]", "", " it is"}},
      {{"u:4", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1", "u:1"},
       {"[CARD]", "", "", "", "", "", "", "", "", "", "", "", "", "", "", ""}},
      {{"u:ghp_0123456789", "u:" + pat.substr(10)}, {"[GITHUB_TOKEN]", ""}},
      {{"u:a -----BEGIN RSA PRIVATE KEY-----\n" + pat, "u:" + pat + "\n-----END RSA PRIVATE KEY----- b"}, {"a [PRIVATE_KEY]", " b"}},
      {{"u:about project ", "u:falcon"}, {"about [REDACTED]", ""}},
      {{"u:about fal", "u:con"}, {"about [REDACTED]", ""}},
      {{"t:4111 1111", "t: 1111 1111"}, {"[CARD]", ""}},
      {{"s:x", "u:write bob@exam", "u:", "u:ple.com"}, {"x", "write [EMAIL]", "", ""}},
      {{"u:4111 1111 ", "a:", "u:1111 1111"}, {"[CARD]", "", ""}},
      {{"u:4111 1111 ", "a:Go on.", "u:1111 1111, please"}, {"[CARD]", "Go on.", ", please"}},
      {{"u:4111 ", "a:And?", "u:1111 ", "a:And?", "u:1111 ", "t:3", "u:1111"}, {"[CARD]", "And?", "", "And?", "", "3", ""}},
      {{"s:x", "u:write bob@exam", "a:To 4111 1111 ", "u:ple.com", "a:1111 1111?"}, {"x", "write [EMAIL]", "To [CARD]", "", "?"}},
      {{"u/ann:4111 1111 ", "u/bob:What?", "u/ann:1111 1111"}, {"[CARD]", "What?", ""}},
      {{"u:ghp_0123456789", "a:Is that all?", "u:" + pat.substr(10) + " is all"}, {"[GITHUB_TOKEN]", "Is that all?", " is all"}},
      {{"u:a -----BEGIN RSA PRIVATE KEY-----\n" + pat, "a:ok", "u:" + pat + "\n-----END RSA PRIVATE KEY----- b"},
       {"a [PRIVATE_KEY]", "ok", " b"}},
      {{"u:4111 ", "a:", "t:", "u:1111 1111 ", "a:", "u:1111", "a:"}, {"[CARD]", "", "", "", "", "", ""}},
      {{"u:bob\uFF20exam", "u:ple.\u200Bcom!"}, {"[EMAIL]", "!"}},  // Full-width, invisible, and split.
      {{"u:Ym9iQGV4YW1w", "u:bGUuY29t now"}, {"[EMAIL]", " now"}},  // bob@example.com in base64.
  };
  for (const Row& row : rows) {
    INFO(row.prompt[0]);
    const Inspection out = MustInspect(*policies, Prompt(row.prompt));
    CHECK(Texts(out.prompt) == row.out);
  }
}

TEST_CASE("Messages of different authors are never read as one text") {
  const auto policies = MustCompile(kRules);
  for (const auto& lines : {std::vector<std::string>{"u:My card is 4111 1111 ", "a:1111 1111"},
                            {"u:4111 1111 ", "a:Go on.", "t:1111 1111"},
                            {"s:bob@exam", "u:ple.com"},
                            {"u/ann:4111 1111 ", "u/bob:1111 1111"},
                            {"t:4111 1111 ", "u:1111 1111"}}) {
    INFO(lines[0]);
    const std::vector<Message> prompt = Prompt(lines);
    const Inspection out = MustInspect(*policies, prompt);
    CHECK_FALSE(out.changed);
    CHECK(Texts(out.prompt) == Texts(prompt));
    CHECK(out.verdict.rules.empty());
  }
}

TEST_CASE("A seam invents nothing: what is whole in one message stays what it is") {
  const auto policies = MustCompile(kRules);
  struct Row {
    std::vector<std::string> prompt, out;
  };
  const Row rows[] = {
      {{"u:Write to bob@example.com", "u:Thanks a lot"}, {"Write to [EMAIL]", "Thanks a lot"}},
      {{"u:4111 1111 1111 1111", "u:22 of them"}, {"[CARD]", "22 of them"}},
      {{"u:falcon", "u:ry is a sport"}, {"[REDACTED]", "ry is a sport"}},
      {{"u:OK", "u:\u0410 \u0431\u0443\u043A\u0432\u0430"},
       {"OK", "\u0410 \u0431\u0443\u043A\u0432\u0430"}},  // No look-alike inside a word.
      {{"u:Room 12", "u:345 guests"}, {"Room 12", "345 guests"}},
      {{"u:Write to bob@example.com", "a:Done.", "u:Thanks a lot"}, {"Write to [EMAIL]", "Done.", "Thanks a lot"}},
      {{"u:4111 1111 1111 1111", "a:How many?", "u:22 of them"}, {"[CARD]", "How many?", "22 of them"}},
      {{"u:falcon", "a:Which?", "u:ry is a sport"}, {"[REDACTED]", "Which?", "ry is a sport"}},
  };
  for (const Row& row : rows) {
    INFO(row.prompt[0]);
    CHECK(Texts(MustInspect(*policies, Prompt(row.prompt)).prompt) == row.out);
  }
}

TEST_CASE("Of a pattern without a longest match a key's rest belongs to the key, and the next message's first word does not") {
  const auto policies = MustCompile(OneRule("{regex: '\\bkey_[a-z0-9]{4,}'}", "redact", "    cap: 64\n"));
  struct Row {
    std::vector<std::string> prompt, out;
  };
  const Row rows[] = {
      {{"u:It is key_abc123", "a:Better not.", "u:thanks anyway"}, {"It is [REDACTED]", "Better not.", "thanks anyway"}},
      {{"u:It is key_abc123", "u:understanding is all"}, {"It is [REDACTED]", "understanding is all"}},
      {{"u:It is key_abc123", "a:And?", "u:0123456789abcdef is all"}, {"It is [REDACTED]", "And?", " is all"}},
      {{"u:It is key_a", "a:And?", "u:bc1", "a:And?", "u:23 so"}, {"It is [REDACTED]", "And?", "", "And?", " so"}},
  };
  for (const Row& row : rows) {
    INFO(row.prompt[0]);
    CHECK(Texts(MustInspect(*policies, Prompt(row.prompt)).prompt) == row.out);
  }
}

TEST_CASE("The spans of a hit across messages lie in each of them, and it counts once") {
  const auto policies = MustCompile(OneRule("{personal_data: card}", "mask", "    keep_last: 4\n"));
  const Inspection out = MustInspect(*policies, Prompt({"s:hello", "u:card 4111 1111 ", "u:1111 1234 no, 1111 1111 ok", "u:x"}));
  CHECK(out.verdict.rules.empty());
  const Inspection hit = MustInspect(*policies, Prompt({"s:hello", "u:card 4111 1111 ", "u:1111 1111 ok", "u:4111 1111 1111 1111"}));
  CHECK(Texts(hit.prompt) == std::vector<std::string>{"hello", "card ****1111", " ok", "****1111"});
  REQUIRE(hit.verdict.rules.size() == 1);
  CHECK(hit.verdict.rules[0].count == 2);
  CHECK(hit.verdict.rules[0].spans == std::vector<Span>{{1, "text", 5, 15}, {2, "text", 0, 9}, {3, "text", 0, 19}});
  const Inspection turns = MustInspect(*policies, Prompt({"u:card 4111 1111 ", "a:Not 4111 1111 1111 1111?", "u:1111 1111 ok"}));
  CHECK(Texts(turns.prompt) == std::vector<std::string>{"card ****1111", "Not ****1111?", " ok"});
  REQUIRE(turns.verdict.rules.size() == 1);
  CHECK(turns.verdict.rules[0].count == 2);
  CHECK(turns.verdict.rules[0].spans == std::vector<Span>{{0, "text", 5, 15}, {1, "text", 4, 23}, {2, "text", 0, 9}});
}

TEST_CASE("Exceptions, blocks and parts hold across messages") {
  const auto allowed = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: ok, detect: {keywords: help@acme.example}, do: allow}\n"
      "  - {id: mail, detect: {personal_data: email}, do: block}\n");
  CHECK(MustInspect(*allowed, Prompt({"u:help@ac", "u:me.example"})).verdict.action == Action::kAllow);
  CHECK(MustInspect(*allowed, Prompt({"u:kelp@ac", "u:me.example"})).verdict.action == Action::kBlock);
  CHECK(MustInspect(*allowed, Prompt({"u:help@ac", "a:Yes?", "u:me.example"})).verdict.action == Action::kAllow);
  CHECK(MustInspect(*allowed, Prompt({"u:kelp@ac", "a:Yes?", "u:me.example"})).verdict.action == Action::kBlock);
  const auto policies = MustCompile(kRules);
  const std::vector<Message> prompt = {{Role::kUser, "", {"one ", "4111 ", "1111 "}}, {Role::kUser, "", {"1111", " 1111", " two"}}};
  const Inspection out = MustInspect(*policies, prompt);
  CHECK(out.prompt[0].parts == std::vector<std::string>{"one [CARD]"});
  CHECK(out.prompt[1].parts == std::vector<std::string>{" two"});
}

TEST_CASE("Values are found wherever they are cut, in long messages too, and cost no more for many seams") {
  const auto policies = MustCompile(kRules);
  const std::string value = "GB82 WEST 1234 5698 7654 32", left(9000, 'x'), right(9000, 'y');
  for (std::size_t cut = 1; cut < value.size(); ++cut) {
    INFO(cut);
    const Inspection out =
        MustInspect(*policies, Prompt({"u:" + left + " " + value.substr(0, cut), "u:" + value.substr(cut) + " " + right}));
    CHECK(Texts(out.prompt) == std::vector<std::string>{left + " [IBAN]", " " + right});
  }
  std::vector<std::string> many;
  for (int i = 0; i < 3000; ++i) many.push_back(i % 3 == 0 ? "a:and then" : "u:a word \u00E9");
  many.push_back("u:4111 1111 1111 ");
  many.push_back("u:1111");
  const Inspection out = MustInspect(*policies, Prompt(many));
  CHECK(out.prompt[3000].parts[0] == "[CARD]");
  CHECK(out.prompt[3001].parts[0] == "");
}

}  // namespace tollgate::policy
