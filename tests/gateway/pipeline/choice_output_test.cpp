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

pipeline::OutputPlan Plan(std::vector<std::string> stops = {}, const char* rules = kRules) {
  static std::map<std::string, std::shared_ptr<const policy::PolicySet>> all;
  std::shared_ptr<const policy::PolicySet>& policies = all[rules];
  if (policies == nullptr) {
    const std::vector<policy::PolicySource> sources = {{"house.yaml", rules}};
    auto compiled = policy::PolicySet::Compile(sources);
    if (!compiled.ok()) FAIL(base::Message(compiled.status()));
    policies = *std::move(compiled);
  }
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

TEST_CASE("When a call is blocked, what other channels held back is on record all the same") {
  const pipeline::OutputPlan plan = Plan();
  for (const std::string before : {"see ZQ", "<think>I see ZQ</think>", "<think>hm</think>see ZQ~AB"}) {
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
