// Stop strings beside rules about replies: where a reply ends tells nothing of what a rule hides in it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using test::ReplyOf;

namespace {

std::string Policy(const std::string& action, const std::string& where = "direction: output") {
  return "version: 1\nname: house\nrules:\n  - { id: code, where: { " + where +
         " }, detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }, do: " + action + " }\n";
}

}  // namespace

TEST_CASE("A guess at hidden text, sent as a stop string, changes nothing of the reply, be it right or wrong") {
  const std::string action = GENERATE("redact", "block", "hash, salt: 0123456789abcdefgh", "mask");
  const bool streamed = GENERATE(false, true);
  CAPTURE(action, streamed);
  test::World world(Policy(action));
  std::vector<std::string> seen;
  for (const std::string guess : {"nothing like it", "is ZQ~A", "is ZQ~B", "ZQ~AB~1", "~AB~12", "ZQ"}) {
    v1::ChatRequest request = world.Ask("!say it is ZQ\\|~AB~12 he said. ");
    request.add_stop(guess);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, streamed ? &writer : nullptr);
    const pipeline::Reply& reply = ReplyOf(outcome);
    // How far a reply was decoded before its block was seen is a matter of moments.
    const std::int64_t decoded = action == "block" ? 0 : reply.end.usage().output();
    seen.push_back(writer.text + reply.text + "|" + v1::FinishReason_Name(reply.end.finish_reason()) + "|" + std::to_string(decoded));
    CHECK(seen.back() == seen.front());
    CHECK(seen.back().find("ZQ~AB~12") == std::string::npos);
  }
  world.CheckBooks();
}

TEST_CASE("Behind rules about replies a stop string ends the reply as it does without them: its text, its reason, its log-probabilities") {
  const bool streamed = GENERATE(false, true);
  CAPTURE(streamed);
  for (const std::string action : {"", "redact"}) {
    test::World world(action.empty() ? "" : Policy(action));
    v1::ChatRequest request = world.Ask("!alt x\n!say one ZQ and two END three four five");
    request.add_stop("END");
    request.set_logprobs(true);
    request.set_top_logprobs(1);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, streamed ? &writer : nullptr);
    const pipeline::Reply& reply = ReplyOf(outcome);
    CHECK(writer.text + reply.text == "one ZQ and two ");
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
    std::string tokens;
    for (const v1::TokenLogprob& token : writer.logprobs) tokens += token.token();
    for (const v1::TokenLogprob& token : reply.logprobs) tokens += token.token();
    CHECK(std::string("one ZQ and two ").starts_with(tokens));
    CHECK(tokens.size() >= 10);
    const v1::Record end = world.journal.Of(v1::RECORD_KIND_FINAL).at(0).record;
    CHECK(end.end().delivered_bytes() == 15);
    CHECK(end.end().reason() == "STOP");
    world.CheckBooks();
  }
}

TEST_CASE("A guess at what a rule hides in a thought, or in a call alone, changes nothing of the reply either") {
  struct Row {
    const char* where;
    const char* script;
    const char* seen;
  };
  const auto row = GENERATE(values<Row>({
      {"parts: reasoning", "!think it is ZQ\\|~AB~12 he said\n!say Paris it is", "{it is [REDACTED] he said}Paris it is"},
      {"parts: tool_calls", "!call find {\"q\": \"is ZQ\\|~AB~12\"}", "find({\"q\": \"is [REDACTED]\"})"},
      {"tool: find", "!call find {\"q\": \"is ZQ\\|~AB~12\"}", "find({\"q\": \"is [REDACTED]\"})"},
  }));
  const bool streamed = GENERATE(false, true);
  CAPTURE(row.where, streamed);
  test::World world(Policy("redact", row.where));
  std::vector<std::string> seen;
  for (const std::string guess : {"nothing like it", "is ZQ~A", "is ZQ~B", "ZQ~AB~1", "~AB~12", "ZQ", "</tool_call>", "</think>"}) {
    v1::ChatRequest request = world.Ask(row.script);
    if (std::string(row.where) != "parts: reasoning") {
      request.add_tools()->set_name("find");
      request.mutable_tools(0)->set_parameters(R"({"type":"object"})");
    }
    request.add_stop(guess);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, streamed ? &writer : nullptr);
    const pipeline::Reply& reply = ReplyOf(outcome);
    std::string got = writer.thought + reply.thought;
    if (!got.empty()) got = "{" + got + "}";
    got += writer.text + reply.text;
    writer.calls.insert(writer.calls.end(), reply.calls.begin(), reply.calls.end());
    for (const v1::ToolCall& call : writer.calls) got += call.name() + "(" + call.arguments() + ")";
    CHECK(got == row.seen);
    seen.push_back(v1::FinishReason_Name(reply.end.finish_reason()) + "|" + std::to_string(reply.end.usage().output()));
    CHECK(seen.back() == seen.front());
  }
  world.CheckBooks();
}

TEST_CASE("A stop string ends the text of a reply whose thoughts alone rules look at, and not the thoughts") {
  test::World world(Policy("redact", "parts: reasoning"));
  v1::ChatRequest request = world.Ask("!think one END two\n!say three END four");
  request.add_stop("END");
  const auto outcome = world.Chat(request);
  CHECK(ReplyOf(outcome).thought == "one END two");
  CHECK(ReplyOf(outcome).text == "three ");
  CHECK(ReplyOf(outcome).end.finish_reason() == v1::FINISH_REASON_STOP);
  world.CheckBooks();
}
