// Whatever a reply is made of and however it is cut: the same leaves, nothing of what a rule hides is in it, and every raw byte is in its
// place.
#include "gateway/pipeline/choice_output.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>

#include "tests/support/random.h"

using namespace tollgate;
namespace v1 = tollgate::v1;

namespace {

constexpr const char* kRules = R"(version: 1
name: house
rules:
  - { id: code, detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }, do: redact }
  - { id: fish, detect: { keywords: [swordfish] }, do: block }
)";

constexpr const char* kMoreRules = R"(version: 1
name: house
rules:
  - { id: code, detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }, do: redact }
  - { id: fish, detect: { keywords: [swordfish] }, do: block }
  - { id: accent, detect: { regex: 'é' }, do: mask }
  - { id: see, detect: { keywords: [plain, END] }, do: flag }
  - { id: later, detect: { regex: 'E[A-Z]{1,3} [a-z~0-9]{1,12}!' }, do: flag }
)";

std::shared_ptr<const policy::PolicySet> Policies(const char* rules) {
  static std::map<std::string, std::shared_ptr<const policy::PolicySet>> all;
  std::shared_ptr<const policy::PolicySet>& policies = all[rules];
  if (policies == nullptr) {
    const std::vector<policy::PolicySource> sources = {{"house.yaml", rules}};
    auto compiled = policy::PolicySet::Compile(sources);
    if (!compiled.ok()) FAIL(base::Message(compiled.status()));
    policies = *std::move(compiled);
  }
  return policies;
}

pipeline::OutputPlan Plan(std::vector<std::string> stops = {}, const char* rules = kRules) {
  const std::shared_ptr<const policy::PolicySet> policies = Policies(rules);
  return {.syntax = {.tools = inference::ToolStyle::kHermes, .names = {"find"}, .thinks = true},
          .open = [its = policies](const policy::Channel& channel) { return its->OpenOutput({}, channel); },
          .stops = std::move(stops)};
}

struct Left {
  std::string text, thought, calls;
  bool blocked = false, stopped = false;
  std::int64_t reasoning = 0;
  std::string rules{};  // That hit, and how often.
  bool operator==(const Left&) const = default;
};

void Take(pipeline::ChoiceOutput& output, Left& left) {
  const std::int64_t frontier = output.Frontier();
  const pipeline::OutputPiece piece = output.Take();
  left.text += piece.text;
  left.thought += piece.thought;
  for (const v1::ToolCall& call : piece.calls) left.calls += call.name() + "(" + call.arguments() + ")";
  output.Released(frontier);
}

// Each code point a token; pieces of random length.
Left Run(const std::string& raw, std::mt19937_64* random, const std::vector<std::string>& stops = {}, const char* rules = kRules) {
  const pipeline::OutputPlan plan = Plan(stops, rules);
  pipeline::ChoiceOutput output(0, plan);
  Left left;
  std::int64_t tokens = 0;
  for (std::size_t at = 0; at < raw.size();) {
    inference::Piece piece;
    piece.text_at = static_cast<std::int64_t>(at);
    std::size_t length = random == nullptr ? raw.size() : 1 + (*random)() % 6;
    for (; length > 0 && at < raw.size(); --length) {
      std::size_t end = at + 1;
      while (end < raw.size() && (static_cast<unsigned char>(raw[end]) & 0xC0) == 0x80) ++end;
      piece.text += raw.substr(at, end - at);
      piece.tokens.push_back({.bytes = raw.substr(at, end - at), .text_end = static_cast<std::int64_t>(end)});
      at = end;
      ++tokens;
    }
    piece.tokens_decoded = piece.tokens_delivered = tokens;
    REQUIRE(output.Push(piece).ok());
    if (random != nullptr && (*random)() % 3 == 0) Take(output, left);
  }
  REQUIRE(output.Finish().ok());
  Take(output, left);
  left.blocked = output.blocked();
  left.stopped = output.stopped();
  left.reasoning = output.reasoning_tokens();
  const v1::Verdict verdict = output.Verdict();
  for (const v1::RuleOutcome& rule : verdict.rules()) left.rules += rule.rule_id() + " " + std::to_string(rule.count()) + ", ";
  if (!left.blocked && !left.stopped) CHECK(output.delivered_tokens() == tokens);
  if (left.stopped) CHECK(output.delivered_tokens() < tokens);
  return left;
}

// What stands before the stop string that is complete first, the longest of those that are so at the same byte.
std::string Before(const std::vector<std::string>& stops, const std::string& text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) longest = std::max(longest, text.substr(0, end).ends_with(stop) ? stop.size() : 0);
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

}  // namespace

TEST_CASE("A reply of text, thought and calls is the same however it is cut, and what rules hide is in none of it") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> words = {"plain ", "ZQ~ABC~12 ", "ZQ~AB", "é", "ZQ~", "\n", " ", "<", "~12 ", "end. "};
  const std::vector<std::string> escaped = {"plain ", "\\u005aQ~ABC~12", "ZQ~A\\u0042~12", "\\n", "\\\"", "\\\\", "é", "\\u00e9"};
  const auto some = [&](const std::vector<std::string>& bits) {
    std::string out;
    for (std::uint64_t n = random() % 6; n > 0; --n) out += bits[random() % bits.size()];
    return out;
  };
  for (int i = 0; i < 400; ++i) {
    std::string raw;
    if (random() % 2 == 0) raw += "<think>" + some(words) + "</think>\n\n";
    raw += some(words);
    for (std::uint64_t n = random() % 3; n > 0; --n) {
      raw += "<tool_call>\n{\"name\": \"find\", \"arguments\": {\"q\": \"" + some(escaped) + "\", \"n\": 1}}\n</tool_call>" + some(words);
    }
    if (random() % 4 == 0) raw += "<tool_call>{\"name\": \"find\", \"arguments\": {\"q\": \"sword\\u0066ish\"}}</tool_call>" + some(words);
    INFO(raw);
    const Left whole = Run(raw, nullptr);
    const Left cut = Run(raw, &random);
    CHECK(cut.text == whole.text);
    CHECK(cut.thought == whole.thought);
    CHECK(cut.calls == whole.calls);
    CHECK(cut.blocked == whole.blocked);
    CHECK(cut.reasoning == whole.reasoning);
    for (const std::string* left : {&cut.text, &cut.thought, &cut.calls}) {
      CHECK(left->find("ZQ~ABC~12") == std::string::npos);
      CHECK(left->find("swordfish") == std::string::npos);
      CHECK(left->find("\\u00") == std::string::npos);
    }
  }
}

TEST_CASE("A stop string is looked for in what leaves: however the reply is cut it ends there, and never within what a rule hides") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> words = {"plain ", "ZQ~ABC~12 ", "ZQ~AB", "é", "~12 ", "EN", "D", "END ", "E", "swordfish ", "[", "code]"};
  const std::vector<std::string> stops = {"END", "~AB", "[RED", "in E"};
  for (int i = 0; i < 600; ++i) {
    std::string raw;
    if (random() % 4 == 0) raw += "<think>END ZQ~ABC~12</think>";
    for (std::uint64_t n = random() % 12; n > 0; --n) raw += words[random() % words.size()];
    std::vector<std::string> some = {stops.begin(), stops.begin() + static_cast<std::ptrdiff_t>(1 + random() % stops.size())};
    INFO(raw);
    Left want = Run(raw, nullptr);
    std::size_t first = std::string::npos;
    for (const std::string& stop : some) {
      // Of those complete at the same byte the longest is met; none of these ends another.
      const std::size_t at = want.text.find(stop);
      if (at != std::string::npos && (first == std::string::npos || at + stop.size() < first)) first = at + stop.size();
    }
    if (first != std::string::npos) {
      for (const std::string& stop : some) {
        if (want.text.substr(0, first).ends_with(stop)) want.text.resize(first - stop.size());
      }
    }
    const Left cut = Run(raw, &random, some);
    CHECK(cut.text == want.text);
    if (!want.blocked) CHECK(cut.thought == want.thought);
    CHECK(cut.stopped == (first != std::string::npos));
  }
}

TEST_CASE("Whether a stop string ended a reply or a block, and what is told of rules, does not depend on how it was cut") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> words = {"plain ", "ZQ~ABC~12 ", "ZQ~AB", "é", "~12! ", "EN", "D", "END ", "E", "swordfish ", "code]"};
  const std::vector<std::string> stops = {"END", "~AB", "[REDA", "in E", "**", "[REDACTED]"};
  int both = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string raw;
    if (random() % 4 == 0) raw += "<think>END ZQ~ABC~12</think>";
    for (std::uint64_t n = random() % 12; n > 0; --n) raw += words[random() % words.size()];
    const std::vector<std::string> some = {stops[random() % stops.size()], stops[random() % stops.size()]};
    INFO(raw << " | " << some[0] << " | " << some[1]);
    const Left whole = Run(raw, nullptr, some, kMoreRules);
    CHECK(whole.text == Before(some, Run(raw, nullptr, {}, kMoreRules).text));
    CHECK_FALSE((whole.blocked && whole.stopped));
    if (whole.stopped && raw.find("swordfish") != std::string::npos) ++both;
    for (int times = 0; times < 2; ++times) CHECK(Run(raw, &random, some, kMoreRules) == whole);
  }
  CHECK(both > 100);
  const Left stopped = Run("one END two swordfish", nullptr, {"END"});
  CHECK(stopped.text == "one ");
  CHECK_FALSE(stopped.blocked);
  CHECK(stopped.rules.empty());
  const Left blocked = Run("one swordfish END", nullptr, {"END"});
  CHECK(blocked.blocked);
  CHECK(blocked.rules == "fish 1, ");
}

// Who is asked finds what is evil, at once.
struct Guard final : pipeline::QuestionInbox {
  void Ask(pipeline::QuestionAsk ask) override {
    asked.push_back(policy::TextOf(ask.messages->front()));
    pipeline::QuestionAnswer& answer = answers.emplace_back();
    answer.answer.id = ask.question.id;
    answer.answer.hit = asked.back().find("evil") != std::string::npos;
  }
  std::vector<pipeline::QuestionAnswer> Take() override { return std::exchange(answers, {}); }

  std::vector<std::string> asked;
  std::vector<pipeline::QuestionAnswer> answers;
};

// As a relay goes about it, in pieces of so many bytes: how the reply ended | what left | the rules that hit | what was asked about.
std::string Judged(const std::string& raw, std::size_t size, const char* rules) {
  pipeline::OutputPlan plan = Plan({"END"}, rules);
  const auto guard = std::make_shared<Guard>();
  const auto policies = Policies(rules);
  plan.asks = {.about = [&](const policy::Channel& channel) { return policies->QuestionsOfOutput({}, channel); },
               .policies = policies,
               .inbox = [&] { return guard; },
               .open = plan.open,
               .streamed = true};
  pipeline::ChoiceOutput output(0, plan);
  for (std::size_t at = 0; at < raw.size() && !output.blocked() && !output.stopped(); at += size) {
    inference::Piece piece;
    piece.text_at = static_cast<std::int64_t>(at);
    piece.text = raw.substr(at, size);
    REQUIRE(output.Push(piece).ok());
    REQUIRE(output.Consult("m", {}, 0).ok());
  }
  REQUIRE(output.Finish().ok());
  for (int i = 0; i < 3; ++i) REQUIRE(output.Consult("m", {}, 0).ok());
  CHECK_FALSE(output.waiting());
  Left left;
  Take(output, left);
  std::string told = (output.blocked() ? "blocked" : output.stopped() ? "stopped" : "whole") + ("|" + left.text) + "|";
  const v1::Verdict verdict = output.Verdict();
  for (const v1::RuleOutcome& rule : verdict.rules()) told += rule.rule_id() + " ";
  for (const std::string& asked : guard->asked) told += "|" + asked;
  return told;
}

TEST_CASE("Others are asked about what leaves before a stop string, and that alone, whatever came in one piece with it") {
  static constexpr const char* kObserved = R"(version: 1
name: house
rules:
  - { id: guard, detect: { external: g, at: end, stream: observe }, do: block }
  - { id: fish, detect: { keywords: [swordfish] }, do: block }
)";
  for (const std::size_t size : {1, 2, 3, 7, 100}) {
    CAPTURE(size);
    CHECK(Judged("an evil word. END swordfish", size, kObserved) == "blocked|an evil word. |guard |an evil word. ");
    CHECK(Judged("an evil word. END swordfish, no", size, kObserved) == "blocked|an evil word. |guard |an evil word. ");
    CHECK(Judged("a kind word. END swordfish, no", size, kObserved) == "stopped|a kind word. ||a kind word. ");
    CHECK(Judged("a kind word. END swordfish", size, kObserved) == "stopped|a kind word. ||a kind word. ");
    CHECK(Judged("a kind word. END evil", size, kObserved) == "stopped|a kind word. ||a kind word. ");
    CHECK(Judged("END evil swordfish", size, kObserved) == "stopped||");
    CHECK(Judged("a kind word. swordfish END", size, kObserved) == "blocked|a kind word. |fish ");
    CHECK(Judged("a kind word.", size, kObserved) == "whole|a kind word.||a kind word.");
  }
}

TEST_CASE("An answer in JSON that is cut off is given under the text's rules where its first key is not that of a call") {
  const auto run = [](const std::string& raw) {
    pipeline::OutputPlan plan = Plan();
    plan.syntax = {.tools = inference::ToolStyle::kLlama, .names = {"find", "id"}};
    pipeline::ChoiceOutput output(0, plan);
    inference::Piece piece;
    piece.text = raw;
    REQUIRE(output.Push(piece).ok());
    REQUIRE(output.Finish().ok());
    Left left;
    Take(output, left);
    const v1::Verdict verdict = output.Verdict();
    for (const std::string& what : verdict.not_scanned()) left.rules += what;
    return left.text + "|" + left.rules;
  };
  const std::string many(5000, 'x');
  CHECK(run("{\"customer\": \"" + many) == "{\"customer\": \"" + many + "|");
  CHECK(run("{\"id\": \"ZQ~ABC~12" + many) == "{\"id\": \"[REDACTED]" + many + "|");
  CHECK(run("{\"name\": \"Ada\", \"code\": \"ZQ~ABC~12 ") == "{\"name\": \"Ada\", \"code\": \"[REDACTED] |");
  CHECK(run("{\"name\": \"find\", \"parameters\": {\"q\": \"ZQ~ABC~12 ") == "|");
  CHECK(run("{\"parameters\": {\"q\": \"" + many) == "|withheld_call");
}

TEST_CASE("When a call is blocked, what other channels held back is on record all the same") {
  const pipeline::OutputPlan plan = Plan();
  for (const std::string before : {"see ZQ", "<think>hm</think>see ZQ~AB"}) {
    pipeline::ChoiceOutput output(0, plan);
    inference::Piece piece;
    piece.text = before + "<tool_call>{\"name\": \"find\", \"arguments\": {\"q\": \"swordfish\"}}</tool_call>";
    piece.tokens_decoded = piece.tokens_delivered = 1;
    REQUIRE(output.Push(piece).ok());
    REQUIRE(output.blocked());
    Left left;
    Take(output, left);
    CHECK(left.text.find("ZQ") == std::string::npos);
    CHECK(left.thought.find("ZQ") == std::string::npos);
    v1::SealedContent content;
    output.FillRaw(content);
    std::string raw;
    for (const v1::RawSpan& span : content.raw()) raw += span.text() + "|";
    INFO(raw);
    CHECK(raw.find(before.substr(before.find("ZQ"))) != std::string::npos);
  }
}

TEST_CASE("What was decoded after a reply had ended is told as not scanned, and is on record") {
  const pipeline::OutputPlan plan = Plan();
  for (const bool more : {false, true}) {
    pipeline::ChoiceOutput output(0, plan);
    inference::Piece piece;
    piece.text = "see swordfish,";
    piece.tokens_decoded = piece.tokens_delivered = 2;
    REQUIRE(output.Push(piece).ok());
    REQUIRE(output.blocked());
    piece.text = "ZQ~AB~12 too";
    piece.text_at = 14;
    piece.tokens_decoded = piece.tokens_delivered = 4;
    if (more) output.Drop(piece);
    Left left;
    Take(output, left);
    CHECK(left.text == "see ");
    const v1::Verdict verdict = output.Verdict();
    CHECK(verdict.action() == "block");
    REQUIRE(verdict.not_scanned_size() == (more ? 1 : 0));
    v1::SealedContent content;
    output.FillRaw(content);
    REQUIRE(content.raw_size() == (more ? 2 : 1));
    CHECK(content.raw(0).rule_id() == "fish");
    CHECK(content.raw(0).text() == "swordfish,");
    if (!more) continue;
    CHECK(verdict.not_scanned(0) == "undelivered_tail");
    CHECK(verdict.rules_size() == 1);  // What nobody looked at is no finding.
    CHECK(content.raw(1).rule_id().empty());
    CHECK(content.raw(1).offset() == 14);
    CHECK(content.raw(1).text() == "ZQ~AB~12 too");
  }
}

TEST_CASE("The tokens of a thought are those up to its end") {
  const Left left = Run("<think>\nab</think>\n\nfour", nullptr);
  CHECK(left.thought == "ab");
  CHECK(left.text == "four");
  CHECK(left.reasoning == 20);  // A code point each, markers and white space included.
}
