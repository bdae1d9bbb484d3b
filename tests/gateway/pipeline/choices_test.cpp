// Several replies to one prompt: each under a filter of its own, billed in sum, one REQUEST and one terminal record.
#include <catch2/catch_test_macros.hpp>

#include <chrono>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Reply;
using test::ReplyOf;

namespace {

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
  test::World world(test::CodeAndFish("output"));
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

TEST_CASE("Of each of several replies the record says what was out when it was blocked itself, and what came with the end") {
  for (const bool streamed : {false, true}) {
    for (const char* script : {"!say sword\\|fish it is", "!say it is a sword\\|fish b", "!pace_ms 2\n!tokens 20\n!say a sword\\|fish b"}) {
      INFO(script << streamed);
      test::World world(test::CodeAndFish("output"));
      world.options.segment = std::chrono::milliseconds(0);
      test::RecordingWriter writer;
      const auto outcome = world.Chat(AskFor(world, 3, script), streamed ? &writer : nullptr);
      const Reply& reply = ReplyOf(outcome);
      const v1::EndBody end = world.journal.entries().back().record.end();
      REQUIRE(end.choices_size() == 3);
      std::int64_t delivered = 0, at_block = 0;
      bool last_to_end = false;
      for (int i = 0; i < 3; ++i) {
        const v1::ChoiceOutcome& choice = end.choices(i);
        const std::string& on_stream = i == 0 ? writer.text : writer.others[i];
        const std::string& with_end = i == 0 ? reply.text : reply.more[static_cast<std::size_t>(i) - 1].text;
        const auto out = static_cast<std::int64_t>(on_stream.size());
        CHECK(choice.reason() == "CONTENT_FILTER");
        CHECK(choice.delivered_bytes() == out + static_cast<std::int64_t>(with_end.size()));
        CHECK(choice.delivered_bytes_at_block() <= out);  // Others may let go of more of it while they run on.
        last_to_end = last_to_end || choice.delivered_bytes_at_block() == out;
        delivered += choice.delivered_bytes();
        at_block += choice.delivered_bytes_at_block();
      }
      CHECK(last_to_end);
      CHECK(delivered == end.delivered_bytes());
      CHECK(end.delivered_bytes_at_block() <= delivered);
      if (!streamed) CHECK(at_block == 0);
      world.CheckBooks();
    }
  }
  test::World world(test::CodeAndFish("output"));
  world.Chat(AskFor(world, 2, "!say one two"));
  const v1::EndBody end = world.journal.entries().back().record.end();
  CHECK(end.choices(1).delivered_bytes() == 7);
  CHECK(end.choices(1).delivered_bytes_at_block() == 0);
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

TEST_CASE("Of a model that does not resume what is asked for is held at once, and of what nobody asked for a part at a time") {
  struct Row {
    int choices, max_tokens;
    bool form;
    std::int64_t allowance;
    int cap = 0, by_default = 0;  // Of the team's: nobody asked for these.
  };
  // Of the quota of 3,000 a form without a bound gets as much as is left behind its prompt.
  for (const Row& row : {Row{1, 0, false, 400}, Row{2, 0, false, 200}, Row{1, 700, false, 700}, Row{1, 700, true, 700}, Row{1, 0, true, 0},
                         Row{1, 0, false, 400, 2000}, Row{2, 0, false, 200, 2000}, Row{1, 0, false, 400, 0, 700},
                         Row{1, 700, false, 700, 2000, 900}, Row{1, 0, true, 700, 700}}) {
    test::WatchedPool pool;
    test::World world;
    world.options.unasked_tokens = 400;
    pool.inner = &world.pool();
    pool.resumes = false;
    pool.forms = row.form;
    world.pool_between = &pool;
    world.SetQuota("tokens", "month", 3000);
    v1::ChatDefaults defaults;
    if (row.cap > 0) defaults.set_output_tokens_cap(row.cap);
    if (row.by_default > 0) defaults.set_max_tokens(row.by_default);
    if (row.cap + row.by_default > 0) world.SetDefaults("team", defaults);
    v1::ChatRequest request = AskFor(world, row.choices, row.form ? "!say {}" : "!tokens 600");
    if (row.max_tokens > 0) request.set_max_tokens(row.max_tokens);
    if (row.form) request.mutable_output_form()->set_json_object(true);
    const auto outcome = world.Chat(request);
    const Reply& reply = ReplyOf(outcome);
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
    const auto work = pool.Take();
    REQUIRE(work.size() == 1);
    CHECK(work[0].allowance == (row.allowance > 0 ? row.allowance : 3000 - reply.end.usage().input()));
    world.CheckBooks();
  }
}

TEST_CASE(
    "Where a limit leaves fewer tokens than replies are asked for it refuses by itself: a minute's is over soon, a month's is spent") {
  for (const auto& [window, reason] : {std::pair{"minute", "RATE_LIMITED"}, std::pair{"month", "QUOTA_SPENT"}}) {
    CAPTURE(window);
    test::World world;
    const auto probe = world.Chat(world.Ask("!tokens 5"));
    const std::int64_t input = ReplyOf(probe).end.usage().input();
    world.SetQuota("tokens", window, 2 * input + 5 + 3);
    ReplyOf(world.Chat(world.Ask("!tokens 5")));
    const auto outcome = world.Chat(AskFor(world, 4, "!tokens 5"));
    REQUIRE(test::ReasonOf(outcome) == reason);
    const auto detail = base::DetailOf(std::get<Failure>(outcome).status);
    CHECK(detail->subject == "team search");
    CHECK(detail->retry_after_ms.has_value());
    CHECK(detail->may_retry == (detail->reason == "RATE_LIMITED"));
    CHECK(ReplyOf(world.Chat(AskFor(world, 3, "!tokens 5"))).end.usage().output() == 3);
    world.CheckBooks();
  }
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
