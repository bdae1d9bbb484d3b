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

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - id: codename
    where: { direction: both }
    detect: { keywords: [bluebird], ignore_case: true }
    do: block
    because: Project names stay inside.
  - id: mail
    where: { direction: both }
    detect: { personal_data: [email] }
    do: redact
)";

absl::Status Stale() { return base::WithDetail(base::Unavailable("last confirmed long ago"), {.reason = "DIRECTORY_STALE"}); }

}  // namespace

TEST_CASE("A unary request is recorded before it runs, and its reply before it is given") {
  test::World world;
  const auto outcome = world.Chat(world.Ask("!say one two three"));
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.text == "one two three");
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
  CHECK(reply.end.usage().output() == 3);
  CHECK(world.Kinds() == "REQUEST FINAL");
  const auto entries = world.journal.entries();
  CHECK(world.Content(entries[0]).prompt(0).parts(0) == "!say one two three");
  CHECK(world.Content(entries[1]).text() == "one two three");
  CHECK(entries[1].record.end().delivered_bytes() == 13);
  CHECK(reply.end.record().index() == 1);
  world.CheckBooks();
}

TEST_CASE("Nothing is decoded while the REQUEST record is not durable") {
  test::World world;
  test::WatchedPool watched;
  watched.inner = &world.pool();
  world.pool_between = &watched;
  world.journal.Hold();
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto running = world.Start(world.Ask("!say hello"), nullptr, cancellation);
  while (world.journal.waiting() == 0) std::this_thread::yield();
  CHECK(watched.Take().empty());
  world.journal.Release();
  CHECK(ReplyOf(running.get()).text == "hello");
  CHECK(watched.Take().size() == 1);
}

TEST_CASE("A value that its author spells over two turns is hidden in both before the model sees them, or blocked") {
  for (const bool blocks : {false, true}) {
    test::World world(std::string("version: 1\nname: house\nrules:\n  - {id: card, where: {direction: input}, "
                                  "detect: {personal_data: card}, do: ") +
                      (blocks ? "block}\n" : "redact}\n"));
    v1::ChatRequest ask = world.Ask("My card is 4111 1111 ");
    for (const auto& [role, text] : {std::pair{v1::ROLE_ASSISTANT, "Go on."}, std::pair{v1::ROLE_USER, "1111 1111, thanks"}}) {
      v1::ChatMessage* message = ask.add_messages();
      message->set_role(role);
      message->add_parts(text);
    }
    const auto outcome = world.Chat(ask);
    CHECK(world.Kinds() == (blocks ? "DENY" : "REQUEST FINAL"));
    CHECK(std::holds_alternative<Failure>(outcome) == blocks);
    const audit::Entry entry = world.journal.entries()[0];
    const v1::Verdict& verdict = blocks ? entry.record.deny().input_verdict() : entry.record.request().input_verdict();
    REQUIRE(verdict.rules_size() == 1);
    CHECK(verdict.rules(0).count() == 1);
    REQUIRE(verdict.rules(0).spans_size() == 2);
    CHECK((verdict.rules(0).spans(0).message() == 0 && verdict.rules(0).spans(0).begin() == 11));
    CHECK((verdict.rules(0).spans(1).message() == 2 && verdict.rules(0).spans(1).end() == 9));
    if (blocks) continue;
    const v1::SealedContent content = world.Content(entry);
    REQUIRE(content.prompt_used_size() == 3);
    CHECK(content.prompt_used(0).parts(0) == "My card is [CARD]");
    CHECK(content.prompt_used(1).parts(0) == "Go on.");
    CHECK(content.prompt_used(2).parts(0) == ", thanks");
    CHECK(ReplyOf(outcome).text == ", thanks");
  }
}

TEST_CASE("A stream's bytes are on record before they are written, and add up to the whole") {
  test::World world;
  world.options.segment = std::chrono::milliseconds(0);
  test::RecordingWriter writer;
  std::string recorded;
  writer.on_write = [&](int) {
    recorded.clear();
    for (const auto& entry : world.journal.Of(v1::RECORD_KIND_SEGMENT)) recorded += world.Content(entry).text();
    CHECK(recorded == writer.text);
  };
  const auto outcome = world.Chat(world.Ask("!tokens 300"), &writer);
  const Reply& reply = ReplyOf(outcome);
  CHECK(writer.begins == 1);
  CHECK(writer.text.size() + reply.text.size() == 300 * 5);
  CHECK(reply.end.usage().output() == 300);
  CHECK(reply.end.usage().delivered() == 300);
  CHECK(world.journal.Of(v1::RECORD_KIND_FINAL).size() == 1);
  world.CheckBooks();
}

TEST_CASE("Policy acts on prompt and output, and the record tells what it did") {
  test::World world(kPolicy);
  SECTION("a blocked prompt is a DENY record and nothing runs") {
    const auto outcome = world.Chat(world.Ask("tell me about BlueBird"));
    const Failure& failure = std::get<Failure>(outcome);
    CHECK(failure.status.code() == absl::StatusCode::kPermissionDenied);
    CHECK(ReasonOf(failure.status) == "POLICY_BLOCKED");
    CHECK(base::DetailOf(failure.status)->rule_ids == std::vector<std::string>{"codename"});
    CHECK(base::Message(failure.status).find("BlueBird") == std::string::npos);
    CHECK(world.Kinds() == "DENY");
    REQUIRE(failure.head);
    CHECK(failure.head->record_index == 0);
  }
  SECTION("a blocked prompt counts against requests per minute, so that a policy cannot be probed without end") {
    world.SetQuota("requests", "minute", 2);
    CHECK(ReasonOf(std::get<Failure>(world.Chat(world.Ask("bluebird"))).status) == "POLICY_BLOCKED");
    CHECK(ReasonOf(std::get<Failure>(world.Chat(world.Ask("bluebird"))).status) == "POLICY_BLOCKED");
    CHECK(ReasonOf(std::get<Failure>(world.Chat(world.Ask("bluebird"))).status) == "RATE_LIMITED");
  }
  SECTION("a redacted prompt is used redacted and kept whole") {
    const auto outcome = world.Chat(world.Ask("write to ada@example.com"));
    CHECK(ReplyOf(outcome).text == "write to [EMAIL]");
    const auto content = world.Content(world.journal.entries()[0]);
    CHECK(content.prompt(0).parts(0) == "write to ada@example.com");
    CHECK(content.prompt_used(0).parts(0) == "write to [EMAIL]");
  }
  SECTION("redacted output keeps its raw text in the sealed part of FINAL") {
    const auto outcome = world.Chat(world.Ask("!say mail ada@ex\\|ample.com now"));
    CHECK(ReplyOf(outcome).text == "mail [EMAIL] now");
    const auto content = world.Content(world.journal.entries()[1]);
    REQUIRE(content.raw_size() == 1);
    CHECK(content.raw(0).rule_id() == "mail");
    CHECK(content.raw(0).text() == "ada@example.com");
  }
  SECTION("blocked output ends with content_filter, and what came before it stays") {
    test::RecordingWriter writer;
    const auto outcome = world.Chat(world.Ask("!say it is blue\\|bird they say"), &writer);
    const Reply& reply = ReplyOf(outcome);
    CHECK(writer.text + reply.text == "it is ");
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK(world.journal.Of(v1::RECORD_KIND_FINAL)[0].record.end().reason() == "CONTENT_FILTER");
  }
  world.CheckBooks();
}

TEST_CASE("A quota ends the output at its exact token") {
  test::World world;
  // The prompt "!tokens 500" is what it is; give it that and 100 more.
  const auto probe = world.Chat(world.Ask("!tokens 500"));
  const std::int64_t input = ReplyOf(probe).end.usage().input();
  world.SetQuota("tokens", "month", input + 100);
  test::RecordingWriter writer;
  const auto outcome = world.Chat(world.Ask("!tokens 500"), &writer);
  const Reply& reply = ReplyOf(outcome);
  CHECK(reply.end.usage().output() == 100);
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_LENGTH);
  CHECK(reply.end.quota_reached() == "team search");
  const absl::Status again = std::get<Failure>(world.Chat(world.Ask("!tokens 500"))).status;
  CHECK(again.code() == absl::StatusCode::kResourceExhausted);
  CHECK(ReasonOf(again) == "QUOTA_SPENT");
  world.CheckBooks();
}

TEST_CASE("Who may not, is refused by name before anything is kept") {
  struct Row {
    const char* name;
    std::function<void(test::World&, pipeline::Caller&, v1::ChatRequest&)> change;
    absl::StatusCode code;
    const char* reason;
  };
  const Row rows[] = {
      {"no key", [](auto&, auto& caller, auto&) { caller.bearer.clear(); }, absl::StatusCode::kUnauthenticated, "INVALID_API_KEY"},
      {"a key with a wrong letter", [](auto&, auto& caller, auto&) { caller.bearer[20] ^= 1; }, absl::StatusCode::kUnauthenticated,
       "INVALID_API_KEY"},
      {"a revoked key", [](auto& world, auto&, auto&) { world.RevokeKey(); }, absl::StatusCode::kUnauthenticated, "INVALID_API_KEY"},
      {"a blocked team", [](auto& world, auto&, auto&) { world.BlockTeam(); }, absl::StatusCode::kPermissionDenied, "TEAM_BLOCKED"},
      {"a stopped model", [](auto& world, auto&, auto&) { world.StopModel(); }, absl::StatusCode::kPermissionDenied, "EMERGENCY_STOP"},
      {"a model that is not granted", [](auto& world, auto&, auto&) { world.GrantOnly("other"); }, absl::StatusCode::kPermissionDenied,
       "MODEL_NOT_GRANTED"},
      {"a model that is not there", [](auto&, auto&, auto& ask) { ask.set_model("nope"); }, absl::StatusCode::kNotFound, "MODEL_NOT_FOUND"},
      {"a field out of range", [](auto&, auto&, auto& ask) { ask.mutable_sampling()->set_temperature(3); },
       absl::StatusCode::kInvalidArgument, "INVALID_REQUEST"},
      {"an id of the caller's own that is no text", [](auto&, auto& caller, auto&) { caller.client_request_id = "a\xff"; },
       absl::StatusCode::kInvalidArgument, "INVALID_REQUEST"},
      {"a long id of the caller's own", [](auto&, auto& caller, auto&) { caller.client_request_id.assign(129, 'a'); },
       absl::StatusCode::kInvalidArgument, "INVALID_REQUEST"},
      {"a stale directory", [](auto& world, auto&, auto&) { world.directory.Set(Stale()); }, absl::StatusCode::kUnavailable,
       "DIRECTORY_STALE"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      test::World world;
      pipeline::Caller caller = world.NewCaller();
      v1::ChatRequest request = world.Ask("hello");
      row.change(world, caller, request);
      const auto outcome = world.ChatAs(caller, request);
      const Failure& failure = std::get<Failure>(outcome);
      CHECK(failure.status.code() == row.code);
      CHECK(ReasonOf(failure.status) == row.reason);
      CHECK(world.Kinds() == "");
      world.pipe().FlushRefusals();
      CHECK(world.Kinds() == "REFUSED");
    }
  }
}

TEST_CASE("An id of the caller's own that is refused is named as it came") {
  for (const auto& [surface, param] :
       {std::pair{pipeline::Surface::kGrpc, "client_request_id"}, std::pair{pipeline::Surface::kHttp, "x-client-request-id"}}) {
    test::World world;
    pipeline::Caller caller = world.NewCaller();
    caller.surface = surface;
    caller.client_request_id.assign(129, 'a');
    const absl::Status refused = std::get<Failure>(world.ChatAs(caller, world.Ask("hello"))).status;
    CHECK(base::DetailOf(refused)->param == param);
    CHECK(base::Message(refused).starts_with(param));
  }
}

TEST_CASE("A client that went away while its prompt waited to be judged is not on record") {
  test::World world;
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  cancellation->Cancel();
  CHECK(absl::IsCancelled(std::get<Failure>(world.ChatAs(world.NewCaller(), world.Ask("hello"), nullptr, cancellation)).status));
  CHECK(world.Kinds() == "");
  world.CheckBooks();
}

TEST_CASE("A stream ends with a record when its authority ends, or cannot be confirmed any more") {
  const bool stale = GENERATE(false, true);
  const std::string reason = stale ? "DIRECTORY_STALE" : "KEY_REVOKED";
  test::World world;
  world.options.authority_check = std::chrono::milliseconds(1);
  test::RecordingWriter writer;
  writer.on_write = [&](int write) {
    if (write == 0 && stale) world.directory.Set(Stale());
    if (write == 0 && !stale) world.RevokeKey();
  };
  CHECK(ReasonOf(world.Chat(world.Ask("!pace_ms 2\n!tokens 4000"), &writer)) == reason);
  const auto last = world.journal.Of(stale ? v1::RECORD_KIND_ABORT : v1::RECORD_KIND_FINAL);
  REQUIRE(last.size() == 1);
  CHECK(last[0].record.end().reason() == reason);
  CHECK(last[0].record.end().tokens().output() < 4000);
  world.CheckBooks();
}

TEST_CASE("A stream whose client takes nothing any more ends with a record when its authority ends") {
  test::World world;
  world.options.authority_check = std::chrono::milliseconds(1);
  test::RecordingWriter writer;
  writer.stuck_in_write = 1;
  writer.on_write = [&](int write) {
    if (write == 1) world.RevokeKey();
  };
  CHECK(ReasonOf(world.Chat(world.Ask("!pace_ms 2\n!tokens 4000"), &writer)) == "KEY_REVOKED");
  const auto final = world.journal.Of(v1::RECORD_KIND_FINAL);
  REQUIRE(final.size() == 1);
  CHECK(final[0].record.end().reason() == "KEY_REVOKED");
  CHECK(final[0].record.end().tokens().output() < 4000);
  CHECK(final[0].record.end().delivered_bytes() == static_cast<std::int64_t>(writer.text.size()));
  world.CheckBooks();
}

TEST_CASE("A client that goes away stops the decoding and pays for what was decoded") {
  test::World world;
  SECTION("in the middle of its stream") {
    test::RecordingWriter writer;
    writer.fail_from_write = 1;
    world.options.segment = std::chrono::milliseconds(0);
    const auto outcome = world.Chat(world.Ask("!pace_ms 1\n!tokens 4000"), &writer);
    CHECK(std::get<Failure>(outcome).status.code() == absl::StatusCode::kCancelled);
  }
  SECTION("before the first token") {
    auto cancellation = std::make_shared<pipeline::Cancellation>();
    auto running = world.Start(world.Ask("!hang"), nullptr, cancellation);
    while (world.journal.size() == 0) std::this_thread::yield();
    cancellation->Cancel();
    CHECK(std::get<Failure>(running.get()).status.code() == absl::StatusCode::kCancelled);
  }
  const auto final = world.journal.Of(v1::RECORD_KIND_FINAL);
  REQUIRE(final.size() == 1);
  CHECK(final[0].record.end().reason() == "CLIENT_GONE");
  CHECK(final[0].record.end().tokens().output() < 4000);
  // What was decoded and did not go out is on record, to the byte.
  std::int64_t raw = 0;
  const v1::SealedContent kept = final[0].content.has_value() ? world.Content(final[0]) : v1::SealedContent();
  for (const auto& span : kept.raw()) raw += static_cast<std::int64_t>(span.text().size());
  const std::int64_t delivered = final[0].record.end().delivered_bytes();
  CHECK(delivered + raw == 5 * final[0].record.end().tokens().output());
  CHECK(final[0].record.end().tokens().delivered() == delivered / 5);
  world.CheckBooks();
}

TEST_CASE("Without a durable record nothing is routed and nothing is released") {
  test::World world;
  test::WatchedPool watched;
  watched.inner = &world.pool();
  world.pool_between = &watched;
  SECTION("a REQUEST that cannot be written is refused") {
    world.journal.SetFault([](const audit::Entry&) { return base::Unavailable("the audit database cannot be reached"); });
    const auto outcome = world.Chat(world.Ask("hello"));
    CHECK(std::get<Failure>(outcome).status.code() == absl::StatusCode::kUnavailable);
    CHECK(world.Kinds() == "");
    CHECK(watched.Take().empty());
  }
  SECTION("a SEGMENT that cannot be written is not released, and the request ends as broken") {
    world.journal.SetFault([](const audit::Entry& entry) {
      return entry.record.kind() == v1::RECORD_KIND_SEGMENT ? base::Unavailable("the audit database cannot be reached") : absl::OkStatus();
    });
    test::RecordingWriter writer;
    const auto outcome = world.Chat(world.Ask("!pace_ms 1\n!tokens 50"), &writer);
    CHECK(std::get<Failure>(outcome).status.code() == absl::StatusCode::kUnavailable);
    CHECK(writer.text.empty());
    CHECK(world.Kinds() == "REQUEST ABORT");
    CHECK(world.journal.entries()[1].record.end().reason() == "JOURNAL_FAILED");
  }
  world.CheckBooks();
}

TEST_CASE("A terminal record that the database refuses spends what was used of the quota, and no more") {
  test::World world;
  const auto probe = world.Chat(world.Ask("!tokens 50"));
  const std::int64_t used = ReplyOf(probe).end.usage().input() + 50;
  world.SetQuota("tokens", "month", 2 * used);
  world.journal.SetFault([](const audit::Entry& entry) {
    return entry.record.kind() == v1::RECORD_KIND_FINAL ? base::Unavailable("the audit database refuses this record") : absl::OkStatus();
  });
  CHECK(std::get<Failure>(world.Chat(world.Ask("!tokens 50"))).status.code() == absl::StatusCode::kUnavailable);
  world.journal.SetFault({});
  CHECK(ReplyOf(world.Chat(world.Ask("!tokens 50"))).end.usage().output() == 50);
  CHECK(ReasonOf(std::get<Failure>(world.Chat(world.Ask("!tokens 50"))).status) == "QUOTA_SPENT");
}

TEST_CASE("An engine that fails ends the request as broken, and the books agree") {
  test::World world;
  const auto outcome = world.Chat(world.Ask("!say one two\n!fail"));
  CHECK_FALSE(std::get<Failure>(outcome).status.ok());
  CHECK(world.Kinds() == "REQUEST ABORT");
  CHECK(world.journal.entries()[1].record.end().reason() == "ENGINE_FAILED");
  world.CheckBooks();
}

TEST_CASE("A deadline ends the request with a record") {
  test::World world;
  pipeline::Caller caller = world.NewCaller();
  caller.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  const auto outcome = world.ChatAs(caller, world.Ask("!hang"));
  const absl::Status& status = std::get<Failure>(outcome).status;
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_FALSE(base::DetailOf(status).value_or(base::ErrorDetail{}).may_retry);  // It would be billed again.
  CHECK(world.Kinds() == "REQUEST FINAL");
  CHECK(world.journal.entries()[1].record.end().reason() == "DEADLINE");
  world.CheckBooks();
}

TEST_CASE("A prompt that does not fit the context is refused with the numbers") {
  test::World world;
  std::string long_text;
  for (int i = 0; i < 5000; ++i) long_text += "word ";
  const absl::Status status = std::get<Failure>(world.Chat(world.Ask(long_text))).status;
  CHECK(ReasonOf(status) == "CONTEXT_LENGTH_EXCEEDED");
  CHECK(base::Message(status).find("4096") != std::string::npos);
}

TEST_CASE("A long prompt takes the same way on the CPU pool") {
  test::World world(kPolicy);
  world.options.seal_here_bytes = world.options.inspect_here_bytes = 8;
  const auto outcome = world.Chat(world.Ask("write to ada@example.com and more"));
  CHECK(ReplyOf(outcome).text == "write to [EMAIL] and more");
}
