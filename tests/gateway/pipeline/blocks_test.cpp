// Replies that a rule on spans changes or ends: what their caller is told, what is decoded, and what the record says was out.
#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <string>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Reply;
using test::ReplyOf;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - { id: watch, detect: { keywords: they }, do: flag, because: Somebody is meant. }
  - { id: mail, detect: { personal_data: email }, do: redact, because: Addresses are hidden. }
  - { id: codename, where: { direction: output }, detect: { keywords: bluebird }, do: block, because: It is not announced yet. }
)";

// "block codename: It is not announced yet.|…"
std::string Told(const v1::PolicyOutcome& outcome) {
  std::string out;
  for (const v1::ActingRule& rule : outcome.rules()) {
    out += (out.empty() ? "" : "|") + rule.action() + " " + rule.id() + ": " + rule.because();
  }
  return out;
}

v1::EndBody EndOf(const test::World& world) { return world.journal.entries().back().record.end(); }

}  // namespace

TEST_CASE("A caller is told which rules ended or changed a reply, and why, and never what was found") {
  for (const bool streamed : {false, true}) {
    for (const int choices : {1, 2}) {
      test::World world(kPolicy);
      test::RecordingWriter writer;
      v1::ChatRequest ask = world.Ask("!say they mail ada@ex\\|ample.com on blue\\|bird they");
      ask.set_choices(choices);
      const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
      const v1::ChatEnd& end = ReplyOf(outcome).end;
      const std::string told = "block codename: It is not announced yet.|redact mail: Addresses are hidden.";
      CHECK(Told(end.output_policy()) == told);
      CHECK(end.output_policy().rule_ids_size() == 3);  // What only watches is named, and says nothing.
      REQUIRE(end.choices_size() == (choices == 1 ? 0 : 2));
      for (const v1::ChoiceEnd& choice : end.choices()) CHECK(Told(choice.output_policy()) == told);
      CHECK(end.DebugString().find("bluebird") == std::string::npos);
      CHECK(end.DebugString().find("ada@") == std::string::npos);
    }
  }
}

TEST_CASE("A caller is told of a prompt that was changed, and of one where nothing acted nothing") {
  test::World world(kPolicy);
  const auto changed = world.Chat(world.Ask("they mail ada@example.com"));
  CHECK(Told(ReplyOf(changed).end.input_policy()) == "redact mail: Addresses are hidden.");
  CHECK(Told(ReplyOf(changed).end.output_policy()).empty());
  const auto plain = world.Chat(world.Ask("they mail"));
  CHECK(Told(ReplyOf(plain).end.input_policy()).empty());
}

TEST_CASE("Of very many rules the one that ended the reply is told first") {
  std::string policy = "version: 1\nname: house\nrules:\n", words;
  for (int i = 0; i < 40; ++i) {
    const std::string word = "word" + std::to_string(i);
    policy += "  - {id: r" + std::to_string(i) + ", where: {direction: output}, detect: {keywords: " + word + "}, do: redact}\n";
    words += word.substr(0, 2) + "\\|" + word.substr(2) + " ";
  }
  policy += "  - {id: last, where: {direction: output}, detect: {keywords: bluebird}, do: block}\n";
  test::World world(policy);
  const auto outcome = world.Chat(world.Ask("!say " + words + "blue\\|bird."));
  const v1::PolicyOutcome& told = ReplyOf(outcome).end.output_policy();
  CHECK(told.rule_ids_size() == 41);
  REQUIRE(told.rules_size() == 32);
  CHECK(told.rules(0).id() == "last");
  CHECK(told.rules(0).because() == "Your organisation's policy (rule last) applies to this text.");
  CHECK(told.rules(1).id() == "r0");
}

TEST_CASE("A rule that ends a reply ends its decoding: no token more is decoded, billed or on record") {
  for (const bool streamed : {false, true}) {
    test::World world(kPolicy);
    test::RecordingWriter writer;
    // The engine would never end it.
    const auto outcome = world.Chat(world.Ask("!say it is blue\\|bird,\n!hang"), streamed ? &writer : nullptr);
    const Reply& reply = ReplyOf(outcome);
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK(writer.text + reply.text == "it is ");
    CHECK(reply.end.usage().output() == 4);
    CHECK(EndOf(world).tokens().output() == 4);
    CHECK(EndOf(world).tokens().delivered() <= 2);  // Tokens are told apart by the piece.
    CHECK(EndOf(world).output_verdict().not_scanned_size() == 0);
    const auto paced = world.Chat(world.Ask("!pace_ms 1\n!say it is blue\\|bird,\n!tokens 3000"), streamed ? &writer : nullptr);
    const std::int64_t decoded = ReplyOf(paced).end.usage().output();
    CHECK(decoded >= 4);
    CHECK(decoded < 3000);
    CHECK(EndOf(world).tokens().output() == decoded);
    world.CheckBooks();
  }
}

TEST_CASE("The record says to the byte what was out when a reply was blocked, and what came with its end") {
  for (const bool streamed : {false, true}) {
    for (const char* script : {"!say blue\\|bird it is", "!say it is blue\\|bird now", "!pace_ms 2\n!tokens 30\n!say blue\\|bird now"}) {
      INFO(script << streamed);
      test::World world(kPolicy);
      world.options.segment = std::chrono::milliseconds(0);
      test::RecordingWriter writer;
      const auto outcome = world.Chat(world.Ask(script), streamed ? &writer : nullptr);
      const Reply& reply = ReplyOf(outcome);
      CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
      std::int64_t segments = 0;
      for (const audit::Entry& entry : world.journal.Of(v1::RECORD_KIND_SEGMENT)) segments += entry.record.segment_body().size();
      const v1::EndBody end = EndOf(world);
      CHECK(end.delivered_bytes_at_block() == static_cast<std::int64_t>(writer.text.size()));
      CHECK(end.delivered_bytes_at_block() == segments);
      CHECK(end.delivered_bytes() == static_cast<std::int64_t>(writer.text.size() + reply.text.size()));
      const v1::Span span = end.output_verdict().rules(0).spans(0);
      CHECK(span.begin() == end.delivered_bytes());  // Nothing was redacted before it: raw text and text are the same.
      CHECK(span.end() == span.begin() + 8);
      world.CheckBooks();
    }
  }
}

TEST_CASE("Code in the arguments of a call is judged as a reader of the JSON sees it, line by line") {
  for (const bool code : {true, false}) {
    test::World world(
        "version: 1\nname: house\nrules:\n  - {id: no-code, where: {direction: output, tool: run}, detect: {code: {lines: 2}}, do: "
        "block}\n");
    const std::string source =
        code ? "\\\\nimport os\\\\ndef f(x):\\\\n    return x + 1\\\\ndef g(x):\\\\n    return f(x)\\\\n" : "list the files of today";
    v1::ChatRequest ask = world.Ask("!call run {\"source\": \"" + source + "\"}");
    ask.add_tools()->set_name("run");
    const auto outcome = world.Chat(ask);
    const Reply& reply = ReplyOf(outcome);
    CHECK(reply.end.finish_reason() == (code ? v1::FINISH_REASON_CONTENT_FILTER : v1::FINISH_REASON_TOOL_CALLS));
    CHECK(reply.calls.size() == (code ? 0 : 1));
    world.CheckBooks();
  }
}
