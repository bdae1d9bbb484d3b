// Several replies to one prompt: each under a filter of its own, billed in sum, one REQUEST and one terminal record.
#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Reply;
using test::ReplyOf;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - id: code
    where: { direction: output }
    detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }
    do: redact
  - id: fish
    where: { direction: output }
    detect: { keywords: [swordfish] }
    do: block
)";

v1::ChatRequest AskFor(const test::World& world, int choices, const std::string& script) {
  v1::ChatRequest request = world.Ask(script);
  request.set_choices(choices);
  return request;
}

}  // namespace

TEST_CASE("Several replies come under one request, and are billed in sum") {
  test::World world;
  const auto outcome = world.Chat(AskFor(world, 3, "!say one two three"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.text == "one two three");
  REQUIRE(reply.more.size() == 2);
  CHECK(reply.more[0].text == "one two three");
  CHECK(reply.more[1].choice == 2);
  CHECK(reply.end.usage().output() == 9);
  REQUIRE(reply.end.choices_size() == 3);
  CHECK(reply.end.choices(2).finish_reason() == v1::FINISH_REASON_STOP);
  CHECK(reply.end.choices(2).output_tokens() == 3);
  CHECK(world.Kinds() == "REQUEST FINAL");
  const auto entries = world.journal.entries();
  CHECK(entries[0].record.request().choices() == 3);
  CHECK(entries[1].record.end().choices_size() == 3);
  CHECK(entries[1].record.end().tokens().input() == entries[0].record.request().input_tokens());
  const v1::SealedContent content = world.Content(entries[1]);
  CHECK(content.text() == "one two three");
  REQUIRE(content.parts_size() == 2);
  CHECK(content.parts(1).choice() == 2);
  CHECK(content.parts(1).text() == "one two three");
  world.CheckBooks();
}

TEST_CASE("On a stream each reply's pieces carry its number") {
  test::World world;
  world.options.segment = std::chrono::milliseconds(0);
  test::RecordingWriter writer;
  const auto outcome = world.Chat(AskFor(world, 2, "!pace_ms 2\n!say one two three four"), &writer);
  const Reply& reply = ReplyOf(outcome);
  CHECK(writer.text + reply.text == "one two three four");
  REQUIRE(reply.more.size() == 1);
  CHECK(writer.others[1] + reply.more[0].text == "one two three four");
  CHECK(world.journal.Of(v1::RECORD_KIND_REQUEST).size() == 1);
  CHECK(world.journal.Of(v1::RECORD_KIND_FINAL).size() == 1);
  world.CheckBooks();
}

TEST_CASE("Each reply has a filter of its own") {
  test::World world(kPolicy);
  const auto redacted = world.Chat(AskFor(world, 2, "!say see ZQ~\\|AB~12 now"));
  CHECK(ReplyOf(redacted).text == "see [REDACTED] now");
  CHECK(ReplyOf(redacted).more[0].text == "see [REDACTED] now");
  const auto end = world.journal.Of(v1::RECORD_KIND_FINAL)[0];
  REQUIRE(end.record.end().output_verdict().rules_size() == 1);
  CHECK(end.record.end().output_verdict().rules(0).count() == 2);
  CHECK(end.record.end().output_verdict().rules(0).spans(1).message() == 1);
  CHECK(world.Content(end).raw(1).choice() == 1);
  const auto blocked = world.Chat(AskFor(world, 2, "!say a sword\\|fish b"));
  CHECK(ReplyOf(blocked).text == "a ");
  CHECK(ReplyOf(blocked).more[0].text == "a ");
  CHECK(ReplyOf(blocked).end.choices(1).finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
  world.CheckBooks();
}

TEST_CASE("The quota is exact over all replies together") {
  test::World world;
  world.options.extension_tokens = 4;
  world.SetQuota("tokens", "month", 400);
  const auto outcome = world.Chat(AskFor(world, 3, "!tokens 1000"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_LENGTH);
  CHECK_FALSE(reply.end.quota_reached().empty());
  CHECK(reply.end.usage().input() + reply.end.usage().output() == 400);
  world.CheckBooks();
}

TEST_CASE("A reply that fails breaks the request off, with one terminal record") {
  test::World world;
  const auto outcome = world.Chat(AskFor(world, 2, "!say one\n!fail"));
  CHECK(std::holds_alternative<Failure>(outcome));
  CHECK(world.Kinds() == "REQUEST ABORT");
  world.CheckBooks();
}

TEST_CASE("More replies than the installation allows are refused by name") {
  test::World world;
  const auto outcome = world.Chat(AskFor(world, 9, "hello"));
  CHECK(base::DetailOf(std::get<Failure>(outcome).status)->param == "n");
  CHECK(world.Kinds().empty());
}
