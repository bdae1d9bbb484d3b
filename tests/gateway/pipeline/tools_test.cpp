// Calls of tools and thoughts on their way out: told apart, filtered each by itself, on record before they leave.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Reply;
using test::ReasonOf;
using test::ReplyOf;

namespace {

v1::ChatRequest AskWithTools(const test::World& world, const std::string& script) {
  v1::ChatRequest request = world.Ask(script);
  for (const char* name : {"find", "now"}) {
    v1::Tool* tool = request.add_tools();
    tool->set_name(name);
    tool->set_description("A tool.");
    tool->set_parameters(R"({"type":"object"})");
  }
  return request;
}

// Everything sealed as released, in order: "text{thought}name(arguments)".
std::string Released(const test::World& world) {
  std::string out;
  for (const audit::Entry& entry : world.journal.entries()) {
    if (!entry.record.has_segment_body() && !entry.record.has_end()) continue;
    const v1::SealedContent content = world.Content(entry);
    out += content.text();
    for (const v1::ReleasedPart& part : content.parts()) {
      if (!part.reasoning().empty()) out += "{" + part.reasoning() + "}";
      out += part.text();
      for (const v1::ToolCall& call : part.tool_calls()) out += call.name() + "(" + call.arguments() + ")";
    }
  }
  return out;
}

std::string ParamOf(const pipeline::Outcome<Reply>& outcome) {
  const auto* failure = std::get_if<Failure>(&outcome);
  const auto detail = failure == nullptr ? std::nullopt : base::DetailOf(failure->status);
  return detail ? detail->param : "";
}

}  // namespace

TEST_CASE("A reply that calls tools says so, and what it calls is on record with it") {
  test::World world;
  const auto outcome = world.Chat(AskWithTools(world, "!say I look.\\n\n!call find {\"q\": \"a\\\\u0062\"}\n!call now {}"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.text == "I look.");
  REQUIRE(reply.calls.size() == 2);
  CHECK(reply.calls[0].name() == "find");
  CHECK(reply.calls[0].arguments() == R"({"q": "ab"})");
  CHECK(reply.calls[0].id().starts_with("call_"));
  CHECK(reply.calls[1].index() == 1);
  CHECK(reply.calls[0].id() != reply.calls[1].id());
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_TOOL_CALLS);
  CHECK(Released(world) == "I look.find({\"q\": \"ab\"})now({})");
  const auto entries = world.journal.entries();
  CHECK(entries[0].record.request().tools() == 2);
  CHECK(world.Content(entries[0]).tools(0).name() == "find");
  CHECK(entries[1].record.end().tool_calls() == 2);
  CHECK(entries[1].record.end().reason() == "TOOL_CALLS");
  CHECK(entries[1].record.end().tokens().delivered() == entries[1].record.end().tokens().output());
  world.CheckBooks();
}

TEST_CASE("On a stream a call is on record before it leaves") {
  test::World world;
  world.options.segment = std::chrono::milliseconds(0);
  test::RecordingWriter writer;
  writer.on_write = [&](int) {
    std::string calls;
    for (const auto& call : writer.calls) calls += call.name() + "(" + call.arguments() + ")";
    CHECK(Released(world).find(calls) != std::string::npos);
  };
  const auto outcome =
      world.Chat(AskWithTools(world, "!pace_ms 2\n!call find {\"q\": \"a b c d\"}\n!call now {}\n!say \\nso it is."), &writer);
  const Reply& reply = ReplyOf(outcome);
  writer.calls.insert(writer.calls.end(), reply.calls.begin(), reply.calls.end());
  REQUIRE(writer.calls.size() == 2);
  CHECK(writer.calls[0].arguments() == R"({"q": "a b c d"})");
  CHECK(writer.text + reply.text == "so it is.");
  world.CheckBooks();
}

TEST_CASE("Arguments are filtered with their escapes decoded, and what is redacted is on record") {
  test::World world(test::CodeAndFish("both"));
  const auto outcome = world.Chat(AskWithTools(world, R"(!call find {"q": "see Z\\u0051~A\|B~12!", "n": 1})"));
  const Reply& reply = ReplyOf(outcome);
  REQUIRE(reply.calls.size() == 1);
  CHECK(reply.calls[0].arguments() == R"({"q": "see [REDACTED]!", "n": 1})");
  CHECK(reply.end.output_policy().action() == "redact");
  const auto end = world.journal.Of(v1::RECORD_KIND_FINAL)[0];
  CHECK(end.record.end().output_verdict().rules(0).spans(0).field() == "tool_calls");
  const v1::SealedContent content = world.Content(end);
  REQUIRE(content.raw_size() == 1);
  CHECK(content.raw(0).text() == "ZQ~AB~12");
  CHECK(content.raw(0).channel() == "tool_calls[0]");
  world.CheckBooks();
}

TEST_CASE("A call whose arguments are blocked does not leave, and ends the reply") {
  test::World world(test::CodeAndFish("both"));
  const auto outcome = world.Chat(AskWithTools(world, R"(!say before
!call now {}
!call find {"q": "sword\\u0066i\|sh"}
!say after)"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.text == "before");
  REQUIRE(reply.calls.size() == 1);
  CHECK(reply.calls[0].name() == "now");
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
  CHECK(Released(world).find("swordfish") == std::string::npos);
  world.CheckBooks();
}

TEST_CASE("What is no sound call is text, under the text's rules") {
  test::World world(test::CodeAndFish("both"));
  CHECK(ReplyOf(world.Chat(AskWithTools(world, "!call other {}"))).text ==
        "<tool_call>\n{\"name\": \"other\", \"arguments\": {}}\n</tool_call>");
  const auto redacted = world.Chat(AskWithTools(world, R"(!call other {"q": "ZQ~AB~12"})"));
  CHECK(ReplyOf(redacted).text.find("[REDACTED]") != std::string::npos);
  CHECK(ReplyOf(world.Chat(world.Ask("!call find {}"))).text.find("<tool_call>") == 0);
  v1::ChatRequest none = AskWithTools(world, "!call find {}");
  none.mutable_tool_choice()->set_none(true);
  CHECK(ReplyOf(world.Chat(none)).text.find("<tool_call>") == 0);
}

TEST_CASE("What the rules of calls hide is hidden in a call that the reply's end cuts off, and only that") {
  const std::string where = GENERATE(as<std::string>(), "parts: tool_calls", "tool: find");
  const std::string action = GENERATE(as<std::string>(), "redact", "block");
  CAPTURE(where, action);
  test::World world("version: 1\nname: house\nrules:\n  - { id: code, where: { " + where +
                    " }, detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }, do: " + action + " }\n");
  const std::string script = "!say I look. \n!call find {\"q\": \"it is ZQ~AB~12 or so, one two three\"}";
  bool reached = false;
  for (int tokens = 1; tokens < 24; ++tokens) {
    v1::ChatRequest request = AskWithTools(world, script);
    request.set_max_tokens(tokens);
    const auto outcome = world.Chat(request);
    const Reply& reply = ReplyOf(outcome);
    CAPTURE(tokens, reply.text);
    CHECK(reply.text.find("ZQ~AB~12") == std::string::npos);
    CHECK(Released(world).find("ZQ~AB~12") == std::string::npos);
    if (reply.end.finish_reason() == v1::FINISH_REASON_TOOL_CALLS) break;
    const auto end = world.journal.Of(v1::RECORD_KIND_FINAL).back();
    if (end.record.end().output_verdict().rules().empty()) continue;
    reached = true;
    CHECK(reply.text == "I look.");
    CHECK(reply.end.finish_reason() == (action == "block" ? v1::FINISH_REASON_CONTENT_FILTER : v1::FINISH_REASON_LENGTH));
    REQUIRE(end.record.end().output_verdict().rules_size() == 1);
    CHECK(end.record.end().output_verdict().rules(0).spans(0).field() == "tool_calls");
    const v1::SealedContent content = world.Content(end);
    const auto kept = [](const v1::RawSpan& its) { return its.text().starts_with("find{"); };
    CHECK(std::any_of(content.raw().begin(), content.raw().end(), kept));
  }
  CHECK(reached);
  v1::ChatRequest request = AskWithTools(world, "!call now {\"q\": \"it is ZQ~AB~12 or so, one two three\"}");
  request.set_max_tokens(10);
  if (where == "tool: find") CHECK(ReplyOf(world.Chat(request)).text.find("ZQ~AB~12") != std::string::npos);
  world.CheckBooks();
}

TEST_CASE("Without parallel calls the first one is all that is given") {
  test::World world;
  v1::ChatRequest request = AskWithTools(world, "!call find {}\n!call now {}");
  request.set_parallel_tool_calls(false);
  const auto outcome = world.Chat(request);
  REQUIRE(ReplyOf(outcome).calls.size() == 1);
  CHECK(ReplyOf(outcome).calls[0].name() == "find");
  CHECK(world.journal.Of(v1::RECORD_KIND_REQUEST)[0].record.request().one_tool_call());
}

TEST_CASE("Descriptions, arguments and results are judged on their way in, and the model gets what policy left") {
  test::World world(test::CodeAndFish("both"));
  v1::ChatRequest request = AskWithTools(world, "hello");
  SECTION("a description") { request.mutable_tools(0)->set_description("swordfish"); }
  SECTION("a schema, escaped") { request.mutable_tools(0)->set_parameters(R"({"description":"sword\u0066ish"})"); }
  SECTION("arguments, escaped") {
    v1::ChatMessage* called = request.add_messages();
    called->set_role(v1::ROLE_ASSISTANT);
    called->add_tool_calls()->set_id("call_1");
    called->mutable_tool_calls(0)->set_name("find");
    called->mutable_tool_calls(0)->set_arguments(R"({"q":"sword\u0066ish"})");
  }
  SECTION("a result") {
    v1::ChatMessage* result = request.add_messages();
    result->set_role(v1::ROLE_TOOL);
    result->set_tool_call_id("call_1");
    result->add_parts("swordfish");
  }
  const auto outcome = world.Chat(request);
  REQUIRE(std::holds_alternative<Failure>(outcome));
  CHECK(ReasonOf(outcome) == "POLICY_BLOCKED");
  CHECK(world.Kinds() == "DENY");
}

TEST_CASE("A redacted description is on record as it came and as it was used") {
  test::World world(test::CodeAndFish("both"));
  v1::ChatRequest request = AskWithTools(world, "hello");
  request.mutable_tools(0)->set_description("about ZQ~AB~12");
  ReplyOf(world.Chat(request));
  const v1::SealedContent content = world.Content(world.journal.entries()[0]);
  CHECK(content.tools(0).description() == "about ZQ~AB~12");
  CHECK(content.tools_used(0).description() == "about [REDACTED]");
}

TEST_CASE("A thought is told apart, filtered by itself, counted, and on record") {
  test::World world(test::CodeAndFish("both"));
  world.options.segment = std::chrono::milliseconds(0);
  test::RecordingWriter writer;
  const auto outcome = world.Chat(world.Ask("!pace_ms 1\n!think it was ZQ~\\|AB~12 I think\n!say four is the answer"), &writer);
  const Reply& reply = ReplyOf(outcome);
  CHECK(writer.thought + reply.thought == "it was [REDACTED] I think");
  CHECK(writer.text + reply.text == "four is the answer");
  CHECK(reply.end.usage().reasoning() == 6);
  CHECK(reply.end.usage().output() == 10);
  const auto end = world.journal.Of(v1::RECORD_KIND_FINAL)[0];
  CHECK(end.record.end().output_verdict().rules(0).spans(0).field() == "reasoning");
  CHECK(Released(world).find("ZQ~") == std::string::npos);
  world.CheckBooks();
}

TEST_CASE("A blocked thought ends the reply") {
  test::World world(test::CodeAndFish("both"));
  const auto outcome = world.Chat(world.Ask("!think of sword\\|fish now\n!say four"));
  CHECK(ReplyOf(outcome).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
  CHECK(ReplyOf(outcome).thought == "of ");
  CHECK(ReplyOf(outcome).text.empty());
  world.CheckBooks();
}

TEST_CASE("A thought is closed at the token that bounds it, and the answer goes on") {
  for (const int bound : {1, 2, 3, 5, 100}) {
    test::World world;
    v1::ChatRequest request = world.Ask("!think a b c d\n!say four is it");
    request.set_max_reasoning_tokens(bound);
    const auto outcome = world.Chat(request);
    const Reply& reply = ReplyOf(outcome);
    INFO(bound << ": " << reply.thought << " | " << reply.text);
    CHECK(reply.thought == std::string("a b c d").substr(0, static_cast<std::size_t>(std::min(7, 2 * bound - 1))));
    CHECK(reply.text == "four is it");
    CHECK(reply.end.usage().reasoning() == std::min(bound, 4));
    CHECK(reply.end.usage().output() == std::min(bound, 4) + 3);
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
    CHECK(world.journal.entries()[0].record.request().max_reasoning_tokens() == bound);
    world.CheckBooks();
  }
}

TEST_CASE("A closed thought goes on though its team has more than its part of the queue, for others came while it thought") {
  test::WatchedPool watched;
  test::World world;
  watched.inner = &world.pool();
  world.pool_between = &watched;
  world.LoadModel("small", 4, 8);
  std::vector<std::shared_ptr<inference::TokenStream>> waiting;
  std::promise<void> filled;
  const auto hangs = [&](const base::TeamId& tenant) {
    const inference::Turn turn{"user", "", "!hang"};
    inference::SequenceRequest request;
    request.model = "small";
    request.prompt_tokens = *world.pool().Render("small", {&turn, 1});
    request.allowance = 100;
    request.tenant = tenant;
    auto stream = world.pool().Submit(std::move(request));
    if (stream.ok()) waiting.push_back(*stream);
    return stream.ok();
  };
  test::RecordingWriter writer;
  writer.on_write = [&](int write) {
    if (write != 0) return;
    const base::TeamId team = watched.Take().at(0).tenant;
    while (hangs(team)) continue;
    if (hangs(base::TeamId::New())) filled.set_value();
  };
  v1::ChatRequest request = world.Ask("!think a b c d\n!say four is it", "small");
  request.set_max_reasoning_tokens(3);
  auto chat = world.Start(request, &writer, nullptr);
  REQUIRE(filled.get_future().wait_for(std::chrono::minutes(3)) == std::future_status::ready);
  std::vector<test::WatchedWork> rest;
  while (rest.empty() && chat.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    rest = watched.Take();
    std::this_thread::yield();
  }
  CHECK(waiting.size() == 9);  // Of its team eight beside the thought: nine of twelve places.
  for (const auto& stream : waiting) stream->Cancel();
  const auto outcome = chat.get();
  CHECK(writer.thought + ReplyOf(outcome).thought == "a b c");
  CHECK(writer.text + ReplyOf(outcome).text == "four is it");
  world.CheckBooks();
}

TEST_CASE("A call that is forced is refused by name where the model cannot be held to it") {
  test::World world;
  v1::ChatRequest request = AskWithTools(world, "!call find {}");
  request.mutable_tool_choice()->set_required(true);
  CHECK(ParamOf(world.Chat(request)) == "tool_choice");
  CHECK(world.Kinds().empty());
}

TEST_CASE("What a rule hides of a tool is not in the grammar of a forced call,") {
  test::World world(R"(version: 1
name: house
rules:
  - { id: names, detect: { keywords: [Ada Lovelace] }, do: pseudonymise }
)");
  test::WatchedPool pool;
  pool.inner = &world.pool();
  pool.forms = true;
  world.pool_between = &pool;
  v1::ChatRequest request = AskWithTools(world, "!call find {}");
  request.mutable_tools(0)->set_parameters(R"({"type":"object","properties":{"client":{"enum":["Ada Lovelace","Grace Hopper"]}}})");
  request.mutable_tool_choice()->set_required(true);
  CHECK(ReplyOf(world.Chat(request)).calls.size() == 1);
  const auto work = pool.Take();
  REQUIRE(work.size() == 1);
  CHECK(work[0].grammar.find("Grace Hopper") != std::string::npos);
  CHECK(work[0].grammar.find("Ada") == std::string::npos);
  CHECK(world.Content(world.journal.entries()[0]).tools_used(0).parameters().find("Ada") == std::string::npos);
  world.CheckBooks();
}

TEST_CASE("A tool whose name policy changes is refused by name") {
  test::World world(R"(version: 1
name: house
rules:
  - { id: names, detect: { keywords: [find] }, do: redact }
)");
  const auto outcome = world.Chat(AskWithTools(world, "hello"));
  CHECK(ParamOf(outcome) == "tools[0].function.name");
  CHECK(base::DetailOf(std::get<Failure>(outcome).status)->reason == "POLICY_NOT_APPLICABLE");
  CHECK(world.Kinds().empty());
  world.CheckBooks();
}

TEST_CASE("A result of a tool that another one's result stands before is under the rules of every tool, where nobody knows its own") {
  test::World world(R"(version: 1
name: house
rules:
  - { id: mail, where: { tool: read_mail, parts: tool_results }, detect: { keywords: [swordfish] }, do: redact }
)");
  v1::ChatRequest request = AskWithTools(world, "hello");
  v1::ChatMessage* called = request.add_messages();
  called->set_role(v1::ROLE_ASSISTANT);
  called->add_tool_calls()->set_id("call_1");
  called->mutable_tool_calls(0)->set_name("find");
  called->mutable_tool_calls(0)->set_arguments("{}");
  for (const char* id : {"call_1", "call_0"}) {
    v1::ChatMessage* result = request.add_messages();
    result->set_role(v1::ROLE_TOOL);
    result->set_tool_call_id(id);
    result->add_parts(std::string(id) + " swordfish");
  }
  ReplyOf(world.Chat(request));
  const v1::SealedContent content = world.Content(world.journal.entries()[0]);
  CHECK(content.prompt_used(2).parts(0) == "call_1 swordfish");
  CHECK(content.prompt_used(3).parts(0) == "call_0 [REDACTED]");
}

TEST_CASE("A grammar needs a role that may send one") {
  test::World world;
  v1::ChatRequest request = world.Ask("hello");
  request.mutable_output_form()->set_grammar("root ::= \"a\"");
  const auto outcome = world.Chat(request);
  CHECK(ParamOf(outcome) == "grammar");
  CHECK(test::ReasonOf(outcome) == "ROLE_NOT_GRANTED");
  world.SetRoles("member,grammar_author");
  const auto allowed = world.Chat(request);
  CHECK(ParamOf(allowed) == "grammar");  // The model has no grammars.
  CHECK(test::ReasonOf(allowed) != "ROLE_NOT_GRANTED");
  CHECK(world.Kinds().empty());
}
