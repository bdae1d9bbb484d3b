// Pseudonyms on the request's way: the model gets them, the caller gets the values, and the record says both.
#include <catch2/catch_test_macros.hpp>

#include <future>

#include "base/crypto.h"
#include "base/status.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"
#include "tests/support/memory_keys.h"

using namespace tollgate;
using pipeline::Failure;
using pipeline::Reply;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - id: mail
    detect: { personal_data: email }
    do: pseudonymise
  - id: out
    where: { direction: output }
    detect: { keywords: falcon }
    do: redact
)";

}  // namespace

TEST_CASE("A value goes to the model as a pseudonym and comes back to the caller, streamed or not") {
  for (const bool stream : {false, true}) {
    INFO((stream ? "stream" : "unary"));
    test::World world(kPolicy);
    v1::ChatRequest ask = world.Ask("the falcon writes to bob@example.com today");
    ask.set_end_user("anna");
    test::RecordingWriter writer;
    const auto outcome = world.Chat(ask, stream ? &writer : nullptr);
    const auto* reply = std::get_if<Reply>(&outcome);
    REQUIRE(reply != nullptr);
    CHECK(writer.text + reply->text == "the [REDACTED] writes to bob@example.com today");

    const auto entries = world.journal.entries();
    const v1::RequestBody& request = entries.front().record.request();
    CHECK(request.pseudonyms() == 1);
    CHECK(request.input_verdict().rules(0).rule_id() == "mail");
    const v1::SealedContent asked = world.Content(entries.front());
    CHECK(asked.prompt(0).parts(0).find("bob@example.com") != std::string::npos);
    REQUIRE(asked.prompt_used_size() == 1);
    CHECK(asked.prompt_used(0).parts(0).find("bob@") == std::string::npos);  // What the model got.
    CHECK(asked.prompt_used(0).parts(0).find("[EMAIL_") != std::string::npos);

    CHECK(entries.back().record.end().pseudonyms_restored() == 1);
    const v1::SealedContent ended = world.Content(entries.back());
    std::string raw;
    for (const v1::RawSpan& span : ended.raw()) {
      raw += span.text();
      CHECK(span.restored() == (span.rule_id() == "mail"));
    }
    CHECK(raw.find("falcon") != std::string::npos);
    CHECK(raw.find("[EMAIL_") != std::string::npos);
    CHECK(raw.find("bob@") == std::string::npos);
    world.CheckBooks();
  }
}

TEST_CASE("What a pseudonym stands for can be told, until it is forgotten by end user, value or pseudonym") {
  for (const int way : {0, 1, 2}) {
    INFO("way " << way);
    test::World world(kPolicy);
    v1::ChatRequest ask = world.Ask("bob@example.com");
    ask.set_end_user("anna");
    REQUIRE(std::holds_alternative<Reply>(world.Chat(ask)));
    const auto entries = world.journal.entries();
    const std::string pseudonym = world.Content(entries.front()).prompt_used(0).parts(0);
    const auto team = base::TeamId(*base::Uuid::FromBytes(entries.front().record.team_id()));
    audit::Keys& keys = world.keys();
    const auto key = *keys.Find(team, base::RequestId(*base::Uuid::FromBytes(entries.front().record.request_id())));
    const auto sealed = keys.FindValues(team, pseudonym);
    REQUIRE(sealed.ok());
    CHECK(*key->OpenValue(pseudonym, sealed->at(0)) == "bob@example.com");
    CHECK(absl::IsDataLoss(key->OpenValue("[EMAIL_00000000]", sealed->at(0)).status()));
    const base::Digest anna = key->EndUserHmac("anna"), other = key->EndUserHmac("other");
    using ValuesOf = audit::Keys::ValuesOf;
    CHECK((*keys.EraseValues(team, ValuesOf::kSubject, std::string(base::View(other)))).rows == 0);
    CHECK((*keys.EraseValues(base::TeamId::New(), ValuesOf::kPseudonym, pseudonym)).rows == 0);
    const auto erased = way == 0   ? keys.EraseValues(team, ValuesOf::kSubject, std::string(base::View(anna)))
                        : way == 1 ? keys.EraseValues(team, ValuesOf::kMark, key->ValueMark("bob@example.com"))
                                   : keys.EraseValues(team, ValuesOf::kPseudonym, pseudonym);
    CHECK(erased->rows == 1);
    CHECK(absl::IsNotFound(keys.FindValues(team, pseudonym).status()));
  }
}

TEST_CASE("What pseudonyms stand for is kept of requests that are on record alone") {
  test::World world(kPolicy);
  REQUIRE(std::holds_alternative<Reply>(world.Chat(world.Ask("eve@example.com"))));
  const v1::Record first = world.journal.entries().front().record;
  const auto team = base::TeamId(*base::Uuid::FromBytes(first.team_id()));
  const auto key = *world.keys().Find(team, base::RequestId(*base::Uuid::FromBytes(first.request_id())));
  const auto kept = [&](const std::string& value) {
    return world.keys().EraseValues(team, audit::Keys::ValuesOf::kMark, key->ValueMark(value))->rows;
  };
  CHECK(kept("eve@example.com") == 1);

  world.journal.SetFault([](const audit::Entry&) { return base::Unavailable("the audit database cannot be reached"); });
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("bob@example.com"))));
  CHECK(kept("bob@example.com") == 0);
  world.journal.SetFault(nullptr);

  auto& keys = dynamic_cast<test::MemoryKeys&>(world.keys());
  keys.SetKeeps(base::Unavailable("the keys database cannot be reached"));
  const auto outcome = world.Chat(world.Ask("bob@example.com"));
  const auto* failure = std::get_if<Failure>(&outcome);
  REQUIRE(failure != nullptr);
  CHECK(absl::IsUnavailable(failure->status));
  const v1::Record last = world.journal.entries().back().record;
  CHECK(last.kind() == v1::RECORD_KIND_ABORT);
  CHECK(last.end().reason() == "KEYS_UNAVAILABLE");
  CHECK(last.end().tokens().input() == 0);  // Nothing was routed.
  world.CheckBooks();

  keys.SetKeeps(absl::OkStatus());
  REQUIRE(std::holds_alternative<Reply>(world.Chat(world.Ask("bob@example.com"))));
  CHECK(kept("bob@example.com") == 1);
}

TEST_CASE("In thoughts and in the arguments of calls values come back as they do in text") {
  for (const bool stream : {false, true}) {
    INFO((stream ? "stream" : "unary"));
    test::World world(kPolicy);
    v1::ChatRequest ask =
        world.Ask("!think of bob@example.com\n!say To bob@example.com.\\n\n!call find {\"who\": \"to bob@example.com\", \"n\": 1}");
    ask.add_tools()->set_name("find");
    test::RecordingWriter writer;
    const auto outcome = world.Chat(ask, stream ? &writer : nullptr);
    const auto* reply = std::get_if<Reply>(&outcome);
    REQUIRE(reply != nullptr);
    CHECK(writer.text + reply->text == "To bob@example.com.");
    CHECK(writer.thought + reply->thought == "of bob@example.com");
    const auto entries = world.journal.entries();
    CHECK(entries.front().record.request().pseudonyms() == 1);
    CHECK(entries.back().record.end().pseudonyms_restored() == 3);
    std::string arguments;
    for (const audit::Entry& entry : entries) {
      if (entry.record.has_request()) continue;
      const v1::SealedContent content = world.Content(entry);
      for (const v1::ReleasedPart& part : content.parts())
        for (const v1::ToolCall& call : part.tool_calls()) arguments += call.arguments();
    }
    CHECK(arguments == "{\"who\": \"to bob@example.com\", \"n\": 1}");
    CHECK(world.Content(entries.front()).prompt_used(0).parts(0).find("bob@") == std::string::npos);
    world.CheckBooks();
  }
}

TEST_CASE("In the arguments of calls a value is escaped once, whatever form stands beside them, and in a thought it is not") {
  for (const std::string form : {"", "beside", "forced"}) {
    CAPTURE(form);
    test::World world(R"(version: 1
name: house
rules:
  - { id: user, detect: { regex: 'CORP\\[a-z]"[a-z]' }, do: pseudonymise, label: USER }
)");
    test::WatchedPool pool;
    pool.inner = &world.pool();
    pool.forms = true;
    world.pool_between = &pool;
    const std::string thought = form == "beside" ? "" : "!think of CORP\\a\"b.\n";
    v1::ChatRequest ask = world.Ask(thought + "!call find {\"user\": \"CORP\\a\"b\"}");
    ask.add_tools()->set_name("find");
    ask.mutable_output_form()->set_json_object(!form.empty());
    if (form.empty()) ask.clear_output_form();
    if (form == "forced") ask.mutable_tool_choice()->set_required(true);
    const auto outcome = world.Chat(ask);
    const Reply& reply = test::ReplyOf(outcome);
    REQUIRE(reply.calls.size() == 1);
    CHECK(reply.calls[0].arguments() == R"({"user": "CORP\\a\"b"})");
    CHECK(reply.thought == (thought.empty() ? "" : "of CORP\\a\"b."));
    world.CheckBooks();
  }
}

TEST_CASE("Each of several replies gets the values back") {
  test::World world(kPolicy);
  v1::ChatRequest ask = world.Ask("to bob@example.com");
  ask.set_choices(3);
  const auto outcome = world.Chat(ask);
  const auto* reply = std::get_if<Reply>(&outcome);
  REQUIRE(reply != nullptr);
  CHECK(reply->text == "to bob@example.com");
  REQUIRE(reply->more.size() == 2);
  for (const auto& other : reply->more) CHECK(other.text == "to bob@example.com");
  CHECK(world.journal.entries().back().record.end().pseudonyms_restored() == 3);
  world.CheckBooks();
}
