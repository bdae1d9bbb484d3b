// Whatever a reply is made of, however it is cut and wherever it ends: from what goes on record the text comes back that the model wrote.
#include "gateway/pipeline/recorded_reply.h"

#include <catch2/catch_test_macros.hpp>

#include <random>

#include "gateway/pipeline/choice_output.h"
#include "gateway/pipeline/records.h"
#include "policy/json_parts.h"
#include "tests/support/random.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::RecordedChoice;
using pipeline::RecordedReply;

namespace {

constexpr const char* kRules = R"(version: 1
name: house
rules:
  - {id: mail, where: {direction: input}, detect: {personal_data: email}, do: pseudonymise}
  - {id: code, detect: {regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}'}, do: redact}
  - {id: number, detect: {regex: '[0-9]{6}'}, do: mask, keep_last: 2}
  - {id: gone, detect: {keywords: [hush]}, do: replace, replacement: '"}'}
  - {id: fish, detect: {keywords: [swordfish]}, do: block}
)";

struct World {
  World() {
    const std::vector<policy::PolicySource> sources = {{"house.yaml", kRules}};
    auto compiled = policy::PolicySet::Compile(sources);
    if (!compiled.ok()) FAIL(base::Message(compiled.status()));
    policies = *std::move(compiled);
    subject.pseudonym_key = "a tenant's key";
    const std::vector<policy::Message> prompt = {{policy::Role::kUser, "", {"Write to bob@example.com."}}};
    const auto asked = policies->Inspect(subject, prompt);
    REQUIRE(asked.ok());
    subject.pseudonyms = asked->pseudonyms;
    bob = subject.pseudonyms->all()[0].text;
    plan = {.syntax = syntax, .open = [this](const policy::Channel& its) { return policies->OpenOutput(subject, its); }, .stops = {"##"}};
  }

  std::shared_ptr<const policy::PolicySet> policies;
  policy::Subject subject;
  std::string bob;
  inference::OutputSyntax syntax{.tools = inference::ToolStyle::kHermes, .names = {"find"}, .thinks = true};
  pipeline::OutputPlan plan;
};

// What went on record of a reply.
struct Recorded {
  v1::EndBody end;
  std::vector<v1::SealedContent> contents;
  bool blocked = false, stopped = false, broken = false;

  RecordedReply Reply() const {
    std::vector<const v1::SealedContent*> all;
    for (const v1::SealedContent& content : contents) all.push_back(&content);
    return pipeline::RecordedReplyOf(end, all);
  }
};

// Pieces of up to six code points, segments at random; broken off after `pieces`.
Recorded Run(const World& world, const std::string& raw, int index, int pieces, std::mt19937_64& random) {
  pipeline::ChoiceOutput output(index, world.plan);
  Recorded out;
  const auto take = [&] {
    const std::int64_t frontier = output.Frontier();
    pipeline::FillReleased(output.Take(), out.contents.emplace_back());
    output.Released(frontier);
  };
  std::size_t at = 0;
  while (at < raw.size() && !out.broken && !output.blocked() && !output.stopped()) {
    inference::Piece piece;
    piece.text_at = static_cast<std::int64_t>(at);
    for (std::uint64_t length = 1 + random() % 6; length > 0 && at < raw.size(); --length) {
      do piece.text += raw[at++];
      while (at < raw.size() && (static_cast<unsigned char>(raw[at]) & 0xC0) == 0x80);
    }
    REQUIRE(output.Push(piece).ok());
    if (random() % 3 == 0) take();
    out.broken = --pieces == 0 && !output.blocked() && !output.stopped();
  }
  if (!out.broken) {
    REQUIRE(output.Finish().ok());
    take();
  }
  out.blocked = output.blocked();
  out.stopped = output.stopped();
  output.FillRaw(out.contents.emplace_back());
  *out.end.mutable_output_verdict() = output.Verdict();
  const auto finish = out.blocked ? v1::FINISH_REASON_CONTENT_FILTER : out.broken ? v1::FINISH_REASON_UNSPECIFIED : v1::FINISH_REASON_STOP;
  for (int i = 0; i <= index; ++i) out.end.add_choices()->set_finish_reason(i == index ? finish : v1::FINISH_REASON_STOP);
  return out;
}

struct Written {
  std::string text, thought;
  std::vector<std::string> calls;
};

Written WrittenIn(const World& world, const std::string& raw) {
  inference::OutputParser parser(world.syntax);
  std::vector<inference::OutputPart> parts;
  parser.Push(raw, parts);
  parser.Finish(parts);
  Written out;
  for (const inference::OutputPart& part : parts) {
    if (part.kind == inference::OutputPart::kText) out.text += part.text;
    if (part.kind == inference::OutputPart::kThought) out.thought += part.text;
    if (part.kind == inference::OutputPart::kCall) out.calls.push_back(policy::JsonDecoded(part.text));
  }
  return out;
}

}  // namespace

TEST_CASE("What a model wrote comes back from its records, however it was cut and wherever it ended") {
  const World world;
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> words = {"plain ", "ZQ~ABC~12 ", "ZQ~AB", "é", "hush", "123456", "12", "\n", " ", world.bob, "end. "};
  const std::vector<std::string> escaped = {"plain ", "\\u005aQ~ABC~12", "hush", "123456", "\\n", "\\\"", "\\\\", "é", world.bob};
  const auto some = [&](const std::vector<std::string>& bits) {
    std::string out;
    for (std::uint64_t n = random() % 6; n > 0; --n) out += bits[random() % bits.size()];
    return out;
  };
  int whole = 0, blocked = 0, broken = 0;
  for (int i = 0; i < 1500; ++i) {
    const bool plain = random() % 2 == 0;
    std::string raw;
    if (!plain && random() % 2 == 0) raw += "<think>" + some(words) + "</think>\n\n";
    raw += "Well, " + some(words) + some(words);
    for (std::uint64_t n = plain ? 0 : random() % 3; n > 0; --n) {
      raw += "<tool_call>\n{\"name\": \"find\", \"arguments\": {\"q\": \"" + some(escaped) +
             "\", \"n\": " + (random() % 2 == 0 ? "123456" : "7") + ", \"r\": \"\"}}\n</tool_call>" + some(words);
    }
    if (random() % 4 == 0) raw += "swordfish" + some(words);
    if (!plain && random() % 6 == 0) raw += "<tool_call>{\"name\": \"find\", \"arguments\": {\"q\": \"sword\\u0066ish\"}}</tool_call>";
    if (random() % 6 == 0) raw += "##" + some(words);
    const int index = static_cast<int>(random() % 2);
    const Recorded recorded = Run(world, raw, index, random() % 4 == 0 ? 1 + static_cast<int>(random() % 8) : 0, random);
    INFO(raw);
    const Written written = WrittenIn(world, raw);
    const RecordedReply reply = recorded.Reply();
    REQUIRE(reply.choices.size() == static_cast<std::size_t>(index) + 1);
    const RecordedChoice& choice = reply.choices.back();
    CHECK(choice.index == index);
    CHECK(reply.gaps.contains("blocked") == recorded.blocked);
    CHECK_FALSE(reply.gaps.contains("not_undone"));
    const bool at_end = !recorded.blocked && !recorded.broken && !recorded.stopped;
    if (at_end) CHECK(reply.gaps.empty());
    std::string text, thought;
    std::size_t calls = 0;
    for (const pipeline::RecordedText& its : choice.texts) {
      if (its.field == "text") text = its.text;
      if (its.field == "reasoning") thought = its.text;
      if (its.field != "tool_calls") continue;
      CHECK(its.channel.tool == "find");
      REQUIRE(calls < written.calls.size());
      CHECK((its.decoded ? its.text : policy::JsonDecoded(its.text)) == written.calls[calls]);
      ++calls;
    }
    CHECK((written.text.starts_with(text) || raw.starts_with(text)));  // What is not told apart yet may become a call.
    CHECK(written.thought.starts_with(thought));
    whole += at_end ? 1 : 0;
    blocked += recorded.blocked ? 1 : 0;
    broken += recorded.broken ? 1 : 0;
    if (at_end) {
      CHECK(text == written.text);
      CHECK(thought == written.thought);
      CHECK(calls == written.calls.size());
    }
    // A text alone is known to the last byte that was decoded, whatever ended it.
    if (plain && recorded.blocked) CHECK(text.find("swordfish") != std::string::npos);
  }
  CHECK(whole > 100);
  CHECK(blocked > 100);
  CHECK(broken > 100);
}

TEST_CASE("A text alone that broke off is known up to its last byte") {
  const World world;
  const pipeline::OutputPlan plan = {.open = world.plan.open};
  pipeline::ChoiceOutput output(0, plan);
  inference::Piece piece;
  piece.text = "see ZQ~ABC~12, then hus";
  REQUIRE(output.Push(piece).ok());
  Recorded recorded;
  const std::int64_t frontier = output.Frontier();
  pipeline::FillReleased(output.Take(), recorded.contents.emplace_back());
  output.Released(frontier);
  output.FillRaw(recorded.contents.emplace_back());
  const RecordedReply reply = recorded.Reply();
  REQUIRE(reply.choices.size() == 1);
  CHECK(reply.choices[0].end == RecordedChoice::End::kBrokenOff);
  REQUIRE(reply.choices[0].texts.size() == 1);
  CHECK(reply.choices[0].texts[0].text == piece.text);
  CHECK(reply.gaps == std::set<std::string>{"broken_off"});
}

TEST_CASE("Without the length of what stands in its place nothing behind a rule's words is guessed") {
  v1::SealedContent content;
  content.set_text("to [EMAIL] and on");
  v1::RawSpan& span = *content.add_raw();
  span.set_rule_id("mail");
  span.set_offset(3);
  span.set_text("ann@example.com");
  v1::EndBody end;
  end.set_finish_reason(v1::FINISH_REASON_STOP);
  const v1::SealedContent* const contents[] = {&content};
  RecordedReply reply = pipeline::RecordedReplyOf(end, contents);
  CHECK(reply.choices[0].texts[0].text == "to ann@example.com");
  CHECK(reply.gaps == std::set<std::string>{"not_undone"});
  span.set_became_bytes(7);
  reply = pipeline::RecordedReplyOf(end, contents);
  CHECK(reply.choices[0].texts[0].text == "to ann@example.com and on");
  CHECK(reply.gaps.empty());
}

TEST_CASE("A call that had not left, and what a retry took back, are named and not judged") {
  v1::SealedContent content;
  v1::RawSpan& held = *content.add_raw();
  held.set_rule_id("guard");
  held.set_channel("tool_calls[0]");
  held.set_text(R"({"to":"[EMAIL]"})");
  v1::RawSpan& retried = *content.add_raw();
  retried.set_rule_id("number");
  retried.set_channel("retried");
  retried.set_text("123456");
  v1::EndBody end;
  end.set_finish_reason(v1::FINISH_REASON_CONTENT_FILTER);
  const v1::SealedContent* const contents[] = {&content};
  const RecordedReply reply = pipeline::RecordedReplyOf(end, contents);
  CHECK(reply.choices[0].texts.empty());
  CHECK(reply.gaps == std::set<std::string>{"blocked", "held_call", "retried"});
}
