// Requests whose policies ask others: after the REQUEST record, before anything is routed or released; and what is on record of it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/pipeline/questions.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using pipeline::Failure;
using pipeline::QuestionAnswer;
using pipeline::QuestionAsk;
using pipeline::Reply;
using test::ReasonOf;

namespace {

// Says "hit" of text that holds "evil", "away" fails, and keeps what it was asked.
class FakeAnswerers final : public pipeline::Answerers {
 public:
  void Ask(QuestionAsk ask, std::function<void(QuestionAnswer)> done) override {
    QuestionAnswer answer;
    answer.answer.id = ask.question.id;
    const std::string& text = ask.messages->front().parts[0];
    answer.answer.hit = text.find("evil") != std::string::npos;
    if (answer.answer.hit) {
      answer.category = "evil";
      const auto at = static_cast<std::int64_t>(text.find("evil"));
      answer.answer.spans = {{0, "text", at, at + 4}};
    }
    if (text.find("away") != std::string::npos) answer.answer.failure = "the detector is away";
    if (change) change(answer);
    if (on_ask) on_ask(ask);
    asks.push_back(std::move(ask));
    done(std::move(answer));
  }
  std::vector<QuestionAsk> asks;
  std::function<void(const QuestionAsk&)> on_ask;
  std::function<void(QuestionAnswer&)> change;
};

std::string Policy(const std::string& rule) {
  return "version: 1\nname: house\nrules:\n  - {id: mail, detect: {personal_data: email}, do: redact}\n  - {id: guard, " + rule + "}\n";
}

constexpr const char* kInput = "where: {direction: input}, detect: {external: g}, do: block, because: Not kind.";

struct Bed : test::World {
  explicit Bed(const std::string& rule) : World(Policy(rule)) { answerers = &fake; }
  FakeAnswerers fake;
};

}  // namespace

TEST_CASE("A prompt is asked about behind its record, as it will be used, and a hit ends the request with nothing routed") {
  Bed world(kInput);
  world.fake.on_ask = [&](const QuestionAsk&) { CHECK(world.Kinds() == "REQUEST"); };
  const auto outcome = world.Chat(world.Ask("evil for bob@example.com"));
  REQUIRE(std::holds_alternative<Failure>(outcome));
  const absl::Status status = std::get<Failure>(outcome).status;
  CHECK(absl::IsPermissionDenied(status));
  CHECK_THAT(base::Message(status), ContainsSubstring("guard") && ContainsSubstring("Not kind."));
  CHECK(ReasonOf(status) == "POLICY_BLOCKED");
  REQUIRE(world.fake.asks.size() == 1);
  CHECK(world.fake.asks[0].messages->front().parts[0] == "evil for [EMAIL]");
  CHECK(world.Kinds() == "REQUEST FINAL");
  const v1::EndBody end = world.journal.entries()[1].record.end();
  CHECK(end.reason() == "POLICY_BLOCKED");
  CHECK(end.tokens().output() == 0);
  CHECK(end.input_verdict().action() == "block");
  REQUIRE(end.guards_size() == 1);
  CHECK(end.guards(0).hit());
  CHECK(end.guards(0).category() == "evil");
  CHECK_FALSE(end.guards(0).output());
  REQUIRE(end.guards(0).spans_size() == 1);  // Of the prompt as it was used; the verdict's spans are of the prompt as it came.
  CHECK(end.guards(0).spans(0).begin() == 0);
  CHECK(end.guards(0).spans(0).end() == 4);
  CHECK(end.input_verdict().rules(end.input_verdict().rules_size() - 1).spans_size() == 0);
  CHECK(end.input_verdict().rules(end.input_verdict().rules_size() - 1).count() == 1);
  world.CheckBooks();
}

TEST_CASE("A good prompt goes on; one that nobody can judge is blocked, or goes on as not scanned where the rule says so") {
  Bed world(kInput);
  CHECK(std::get<Reply>(world.Chat(world.Ask("kind words"))).text == "kind words");
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("away"))));
  Bed open("where: {direction: input}, detect: {external: g, on_error: allow}, do: block");
  CHECK(std::get<Reply>(open.Chat(open.Ask("away"))).text == "away");
  const v1::EndBody end = open.journal.entries()[1].record.end();
  CHECK(end.guards(0).failure() == "the detector is away");
  CHECK_FALSE(end.guards(0).hit());
  CHECK(end.input_verdict().not_scanned(0) == "external g (guard)");
  world.CheckBooks();
  open.CheckBooks();
}

TEST_CASE("Without anybody to ask, rules fail closed") {
  Bed world(kInput);
  world.answerers = nullptr;
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("kind words"))));
  CHECK_THAT(world.journal.entries()[1].record.end().guards(0).failure(), ContainsSubstring("detectors in tollgate.yaml"));
}

TEST_CASE("A held reply leaves after its verdict or not at all, streamed or whole") {
  for (const bool streamed : {false, true}) {
    Bed world("where: {direction: output}, detect: {external: g, at: sentence}, do: block");
    test::RecordingWriter good, bad;
    const auto fine = world.Chat(world.Ask("All is well. And so on."), streamed ? &good : nullptr);
    REQUIRE(std::holds_alternative<Reply>(fine));
    CHECK(good.text + std::get<Reply>(fine).text == "All is well. And so on.");
    const std::size_t before = world.journal.entries().size();
    const auto blocked = world.Chat(world.Ask("All is well. An evil word. More."), streamed ? &bad : nullptr);
    REQUIRE(std::holds_alternative<Reply>(blocked));
    const Reply& reply = std::get<Reply>(blocked);
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK(reply.end.output_policy().rule_ids(0) == "guard");
    CHECK((bad.text + reply.text).find("evil") == std::string::npos);
    const auto entries = world.journal.entries();
    const audit::Entry& last = entries.back();
    REQUIRE(entries.size() > before);
    CHECK(last.record.end().guards(0).hit());
    CHECK(last.record.end().guards(0).output());
    CHECK(last.record.end().guards(0).bytes_out() <= last.record.end().delivered_bytes());
    const v1::SealedContent content = world.Content(last);
    std::string inside;
    for (const v1::RawSpan& raw : content.raw()) inside += raw.text();
    CHECK_THAT(inside, ContainsSubstring("evil word."));
    CHECK(content.raw(0).rule_id() == "guard");
    world.CheckBooks();
  }
}

TEST_CASE("An observed reply is out when the verdict comes, and the record says how much") {
  Bed world("where: {direction: output}, detect: {external: g, stream: observe}, do: block");
  test::RecordingWriter writer;
  const auto outcome = world.Chat(world.Ask("an evil word"), &writer);
  REQUIRE(std::holds_alternative<Reply>(outcome));
  const Reply& reply = std::get<Reply>(outcome);
  CHECK(writer.text + reply.text == "an evil word");
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
  const v1::EndBody end = world.journal.entries().back().record.end();
  CHECK(end.guards(0).hit());
  CHECK(end.guards(0).bytes_out() == 12);
  world.CheckBooks();
}

TEST_CASE("What left of an observed reply that ended before anybody was asked about it is on record as not scanned") {
  Bed world(
      "where: {direction: output}, detect: {external: g, stream: observe}, do: block}\n"
      "  - {id: halt, where: {direction: output}, detect: {keywords: halt}, do: block");
  const auto outcome = world.Chat(world.Ask("!say An evil word, and h\\|alt. Never."));
  CHECK(std::get<Reply>(outcome).text == "An evil word, and ");
  CHECK(world.fake.asks.empty());
  const v1::Verdict verdict = world.journal.entries().back().record.end().output_verdict();
  CHECK(std::count(verdict.not_scanned().begin(), verdict.not_scanned().end(), "external g (guard)") == 1);
}

TEST_CASE("However a reply is asked about, the record says to the byte what was out at the verdict, and nothing leaves after it") {
  const std::string said = "All is well. So it goes on. An evil word here. And more. And more.";
  for (const std::string at : {"sentence", "3 tokens", "end"}) {
    for (const bool hold : {true, false}) {
      for (const bool streamed : {true, false}) {
        INFO(at << (hold ? " held" : " observed") << (streamed ? " stream" : ""));
        Bed world("where: {direction: output}, detect: {external: g, at: " + at + ", stream: " + (hold ? "hold" : "observe") +
                  "}, do: block");
        world.options.segment = std::chrono::milliseconds(0);
        test::RecordingWriter writer;
        const auto outcome = world.Chat(world.Ask("!pace_ms 1\n!say " + said), streamed ? &writer : nullptr);
        REQUIRE(std::holds_alternative<Reply>(outcome));
        const Reply& reply = std::get<Reply>(outcome);
        CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
        const std::string out = writer.text + reply.text;
        CHECK(said.starts_with(out));
        const auto bytes = static_cast<std::int64_t>(out.size());
        const v1::EndBody end = world.journal.entries().back().record.end();
        REQUIRE(end.guards_size() == 1);
        CHECK(end.guards(0).hit());
        CHECK(end.guards(0).bytes_out() == bytes);
        CHECK(end.delivered_bytes() == bytes);
        CHECK(end.delivered_bytes_at_block() == static_cast<std::int64_t>(writer.text.size()));
        const auto& asks = world.fake.asks;
        const std::string approved = asks.size() > 1 ? asks[asks.size() - 2].messages->front().parts[0] : "";
        if (hold) CHECK(approved.starts_with(out));
        if (hold && at == "3 tokens") CHECK(out == approved);  // A sentence may end within a piece, which waits whole.
        if (!hold) CHECK(out.starts_with(asks.back().messages->front().parts[0]));
        if (!streamed || at == "end") CHECK(out == (hold ? "" : said));
        world.CheckBooks();
      }
    }
  }
}

TEST_CASE("Each of several replies waits for its own verdict, and a blocked one does not end the others") {
  for (const bool streamed : {false, true}) {
    Bed world("where: {direction: output}, detect: {external: g}, do: block");
    v1::ChatRequest ask = world.Ask("All is well.");
    ask.set_choices(3);
    int asked = 0;
    world.fake.change = [&](QuestionAnswer& answer) { answer.answer.hit = ++asked == 2; };
    test::RecordingWriter writer;
    const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
    REQUIRE(std::holds_alternative<Reply>(outcome));
    const Reply& reply = std::get<Reply>(outcome);
    REQUIRE(reply.end.choices_size() == 3);
    int blocked = 0;
    for (const v1::ChoiceEnd& end : reply.end.choices()) blocked += end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER ? 1 : 0;
    CHECK(blocked == 1);
    // A stream's text went out while another reply was still asked about, or comes with the end.
    std::string text = writer.text + reply.text;
    for (const auto& more : reply.more) text += more.text;
    for (const auto& [choice, other] : writer.others) text += other;
    CHECK(text == "All is well.All is well.");
    CHECK(world.journal.entries().back().record.end().guards_size() == 3);
    world.CheckBooks();
  }
}

TEST_CASE("Thoughts and calls are asked about as text is, and held until they are answered") {
  for (const bool streamed : {false, true}) {
    for (const char* evil : {"text", "call", "none"}) {
      INFO(streamed << evil);
      Bed world("where: {direction: output}, detect: {external: g}, do: block");
      v1::ChatRequest ask = world.Ask(std::string("!say ") + (evil == std::string("text") ? "evil" : "kind") +
                                      " words\\n\n!call find {\"q\": \"" + (evil == std::string("call") ? "\\\\u0065vil" : "kind") + "\"}");
      ask.add_tools()->set_name("find");
      test::RecordingWriter writer;
      const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
      REQUIRE(std::holds_alternative<Reply>(outcome));
      const Reply& reply = std::get<Reply>(outcome);
      std::string out, inside;
      for (const audit::Entry& entry : world.journal.entries()) {
        if (entry.record.has_request()) continue;
        const v1::SealedContent content = world.Content(entry);
        out += content.text();
        for (const v1::ReleasedPart& part : content.parts())
          for (const v1::ToolCall& call : part.tool_calls()) out += call.arguments();
        for (const v1::RawSpan& raw : content.raw()) inside += raw.text();
      }
      CHECK(out.find("evil") == std::string::npos);
      const v1::EndBody end = world.journal.entries().back().record.end();
      if (evil == std::string("none")) {
        CHECK(reply.end.finish_reason() == v1::FINISH_REASON_TOOL_CALLS);
        CHECK_THAT(out, ContainsSubstring("kind words") && ContainsSubstring("{\"q\": \"kind\"}"));
        REQUIRE(end.guards_size() == 2);
        CHECK(end.guards(1).channel() == "tool_calls[0]");
      } else {
        CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
        CHECK_THAT(inside, ContainsSubstring("evil"));
        CHECK(end.output_verdict().action() == "block");
      }
      world.CheckBooks();
    }
  }
}

TEST_CASE("A rule of one tool asks about its calls alone, and calls leave in their order all the same") {
  for (const char* evil : {"first", "second", "none"}) {
    for (const bool streamed : {false, true}) {
      INFO(evil << streamed);
      Bed world("where: {direction: output, tool: find}, detect: {external: g}, do: block");
      const auto word = [&](const char* which) { return std::string(evil == std::string(which) ? "evil" : "kind"); };
      v1::ChatRequest ask =
          world.Ask("!say evil words\\n\n!call find {\"q\": \"" + word("first") + "\"}\n!call open {\"q\": \"" + word("second") + "\"}");
      ask.add_tools()->set_name("find");
      ask.add_tools()->set_name("open");
      test::RecordingWriter writer;
      const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
      REQUIRE(std::holds_alternative<Reply>(outcome));
      std::string calls;
      for (const audit::Entry& entry : world.journal.entries()) {
        if (entry.record.has_request()) continue;
        const v1::SealedContent content = world.Content(entry);
        for (const v1::ReleasedPart& part : content.parts())
          for (const v1::ToolCall& call : part.tool_calls()) calls += call.name() + std::to_string(call.index()) + " ";
      }
      const bool blocked = evil == std::string("first");
      CHECK(calls == (blocked ? "" : "find0 open1 "));
      CHECK((std::get<Reply>(outcome).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER) == blocked);
      REQUIRE(world.fake.asks.size() == 1);
      CHECK(world.fake.asks[0].messages->front().name == "find");
      world.CheckBooks();
    }
  }
}

TEST_CASE("A reply that is not JSON of the rule's schema does not leave, and one that is does") {
  const std::string rule = "where: {direction: output}, detect: {not_json: {type: object, required: [a]}}, do: block";
  const std::string much(1000, 'x');  // Judged off the I/O threads.
  const std::tuple<std::string, const char*, bool> cases[] = {{R"({"a": ")" + much + "\"}", "", false},
                                                              {R"({"b": ")" + much + "\"}", "required", true},
                                                              {R"({"a": 1})", "", false},
                                                              {R"({"b": 1})", "required", true},
                                                              {R"({"a": )", "json", true},
                                                              {"Sure! Here it is.", "json", true}};
  for (const auto& [text, broken, blocked] : cases) {
    for (const bool streamed : {false, true}) {
      INFO(text << streamed);
      Bed world(rule);
      test::RecordingWriter writer;
      const auto outcome = world.Chat(world.Ask("!say " + text), streamed ? &writer : nullptr);
      REQUIRE(std::holds_alternative<Reply>(outcome));
      const Reply& reply = std::get<Reply>(outcome);
      CHECK((reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER) == blocked);
      CHECK(writer.text + reply.text == (blocked ? std::string() : text));
      const v1::EndBody end = world.journal.entries().back().record.end();
      REQUIRE(end.guards_size() == 1);
      CHECK(end.guards(0).detector() == "not_json");
      CHECK(end.guards(0).name() == "schema");
      CHECK(end.guards(0).hit() == blocked);
      CHECK(end.guards(0).category() == broken);
      CHECK(end.guards(0).bytes_out() == 0);  // Held until then.
      CHECK(world.fake.asks.empty());
      world.CheckBooks();
    }
  }
}

TEST_CASE("A reply of code, or in another language, does not leave, and what is observed is out by then") {
  const std::string german = "Bitte senden Sie mir die Rechnung, denn ich habe sie nicht erhalten und wir brauchen sie heute.";
  const std::string english = "Please send me the invoice, because I have not received it and we need it today.";
  const std::tuple<const char*, const char*, std::string, bool> cases[] = {{"language: {is_not: en}", "language", german, true},
                                                                           {"language: {is_not: en}", "language", english, false},
                                                                           {"code: {lines: 0}", "code", "int main() {", true},
                                                                           {"code: {lines: 0}", "code", english, false}};
  for (const auto& [detect, detector, text, hit] : cases) {
    for (const bool hold : {true, false}) {
      INFO(detect << " " << text << (hold ? ", held" : ", observed"));
      Bed world(std::string("where: {direction: output}, detect: {") + detect + (hold ? "" : ", stream: observe") + "}, do: block");
      world.options.segment = std::chrono::milliseconds(0);
      test::RecordingWriter writer;
      const auto outcome = world.Chat(world.Ask("!say " + text), &writer);
      REQUIRE(std::holds_alternative<Reply>(outcome));
      const Reply& reply = std::get<Reply>(outcome);
      CHECK((reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER) == hit);
      const std::string out = writer.text + reply.text;
      CHECK(text.starts_with(out));
      if (!hit) CHECK(out == text);
      if (hit && hold) CHECK(out.empty());
      const v1::EndBody end = world.journal.entries().back().record.end();
      REQUIRE(end.guards_size() == 1);
      CHECK(end.guards(0).detector() == detector);
      CHECK(end.guards(0).hit() == hit);
      CHECK(end.guards(0).bytes_out() <= (hold ? 0 : static_cast<std::int64_t>(out.size())));
      CHECK(end.delivered_bytes() == static_cast<std::int64_t>(out.size()));
      CHECK(world.fake.asks.empty());
      world.CheckBooks();
    }
  }
}

TEST_CASE("What can be no JSON any more is not decoded to its end, and observed replies are out by then") {
  std::string words = "Sure: ";
  for (int i = 0; i < 3000; ++i) words += "word ";
  for (const bool hold : {true, false}) {
    Bed world(std::string("where: {direction: output}, detect: {not_json: any") + (hold ? "" : ", stream: observe") + "}, do: block");
    test::RecordingWriter writer;
    const auto outcome = world.Chat(world.Ask("!pace_ms 1\n!say Sure: \n!tokens 3000"), &writer);
    REQUIRE(std::holds_alternative<Reply>(outcome));
    const Reply& reply = std::get<Reply>(outcome);
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK(reply.end.usage().output() < 3000);
    const std::string out = writer.text + reply.text;
    CHECK(out.empty() == hold);
    CHECK(words.starts_with(out));
    const v1::EndBody end = world.journal.entries().back().record.end();
    CHECK(end.guards(0).hit());
    CHECK(end.tokens().output() == reply.end.usage().output());
    CHECK(end.delivered_bytes() == static_cast<std::int64_t>(out.size()));
    world.CheckBooks();
  }
}

TEST_CASE("A rule for an end user acts on the requests that name them") {
  Bed world("where: {direction: input, end_user: [ann]}, detect: {keywords: falcon}, do: block");
  v1::ChatRequest ask = world.Ask("!say falcon\n");
  CHECK(std::holds_alternative<Reply>(world.Chat(ask, nullptr)));
  ask.set_end_user("ann");
  CHECK(std::holds_alternative<Failure>(world.Chat(ask, nullptr)));
}

TEST_CASE("Of a value that a pseudonym stood for detectors outside see the pseudonym, in prompt and reply") {
  Bed world(
      "where: {direction: both}, detect: {external: g}, do: block}\n  - {id: name, where: {direction: input}, "
      "detect: {keywords: Roberta}, do: pseudonymise, label: NAME");
  v1::ChatRequest ask = world.Ask("!say for Roberta\\n\n!call find {\"q\": \"Roberta\"}");
  ask.add_tools()->set_name("find");
  const auto outcome = world.Chat(ask);
  REQUIRE(std::holds_alternative<Reply>(outcome));
  CHECK(std::get<Reply>(outcome).text == "for Roberta");
  REQUIRE(std::get<Reply>(outcome).calls.size() == 1);
  CHECK(std::get<Reply>(outcome).calls[0].arguments() == R"({"q": "Roberta"})");
  CHECK(world.fake.asks.size() == 3);
  for (const QuestionAsk& asked : world.fake.asks) {
    std::string text;
    for (const policy::Message& message : *asked.messages)
      for (const std::string& part : message.parts) text += part;
    CHECK(text.find("Roberta") == std::string::npos);
    CHECK((text.find("[NAME_") != std::string::npos || text == "find"));
  }
}
