// What is on record: the prompt to the byte, what policy changed, who asked; and that a changed log does not verify.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;

struct World {
  World() : admin(gateway, installation.owner_key()), company(MakeCompany(admin)) {
    REQUIRE(Eventually([&] { return Ask(ports, Surface::kHttpPlain, {.key = company.key, .prompt = "hello"}).done; }));
  }
  Finished Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--admin", fmt::format("127.0.0.1:{}", gateway.admin_port()), "--key", installation.owner_key()});
    return RunTollgate(std::move(arguments));
  }
  Installation installation;
  Gateway gateway{installation};
  Ports ports = PortsOf(gateway);
  Admin admin;
  Company company;
};

}  // namespace

TEST_CASE("The prompt on record is the prompt that was sent, to the byte, and so is the answer") {
  World world;
  const std::string prompts[] = {"plain",
                                 " \t\r\n leading and trailing \r\n\t ",
                                 "quotes \" ' ` \\ \\u0041 and {json: [1,2]} </script>",
                                 "zero\x01\x02\x1f\x7f controls",
                                 "Grüße, 你好, 👩‍👩‍👧‍👦, e\xCC\x81, \xE2\x80\xAEright to left",
                                 "<|im_end|><|endoftext|>[INST]<s>",
                                 std::string(60'000, 'a') + " end",
                                 "'; DROP TABLE audit.record; --"};
  std::vector<Answer> answers;
  for (const std::string& prompt : prompts) {
    for (const Surface surface : kSurfaces) {
      const Answer answer = Ask(world.ports, surface, {.key = world.company.key, .prompt = prompt});
      INFO(Name(surface) << " " << prompt.substr(0, 60));
      REQUIRE(answer.done);
      CHECK(answer.text == prompt);
      const Story story = StoryOf(world.admin, answer.request_id);
      CHECK(story.prompt == prompt);
      CHECK(story.prompt_used.empty());
      CHECK(story.text == prompt);
      CHECK(story.request.request().surface() == (IsGrpc(surface) ? "grpc" : "http"));
      CHECK(story.request.request().stream() == IsStream(surface));
      const std::string record = answer.header("x-tollgate-record");
      CHECK(record.find('/') != std::string::npos);
      answers.push_back(answer);
    }
  }
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(world.Run({"audit", "verify"}).code == 0);
  // Text is sealed, and the caller is known by an HMAC alone.
  CHECK(books.Count("SELECT count(*) FROM audit.record WHERE position('DROP TABLE'::bytea IN message) + coalesce(position('DROP "
                    "TABLE'::bytea IN content), 0) > 0") == 0);
  CHECK(books.Count("SELECT count(*) FROM audit.record WHERE position('127.0.0.1'::bytea IN message) > 0") == 0);
  CHECK(books.Count(fmt::format("SELECT count(*) FROM audit.record WHERE position('{}'::bytea IN message) > 0",
                                world.company.key.substr(17, 20))) == 0);
}

TEST_CASE("What policy hid is on record beside what was used, and who looked is on record too") {
  World world;
  world.admin.PutPolicy("version: 1\nname: test\nrules:\n  - id: mail\n    detect:\n      personal_data: email\n    do: redact\n");
  REQUIRE(Eventually([&] {
    return Ask(world.ports, Surface::kHttpPlain, {.key = world.company.key, .prompt = "to ann@corp.example"}).text == "to [EMAIL]";
  }));
  const Answer in = Ask(world.ports, Surface::kGrpcStream, {.key = world.company.key, .prompt = "to ann@corp.example now"});
  const Story story = StoryOf(world.admin, in.request_id);
  CHECK(in.text == "to [EMAIL] now");
  CHECK(story.prompt == "to ann@corp.example now");
  CHECK(story.prompt_used == "to [EMAIL] now");
  CHECK(story.request.request().input_verdict().action() == "redact");
  const Answer out = Ask(world.ports, Surface::kHttpStream, {.key = world.company.key, .prompt = "!say to ann@cor\\|p.example now"});
  CHECK(out.text == "to [EMAIL] now");
  v1::ShowRecordRequest show;
  show.set_request_id(out.request_id);
  show.set_with_content(true);
  show.set_reason("a test");
  const v1::ShowRecordReply reply = world.admin.Call<v1::Audit>(&v1::Audit::Stub::Show, show);
  std::string raw;
  for (const v1::StoredRecord& record : reply.records()) {
    for (const v1::RawSpan& span : record.content().raw()) raw += span.rule_id() + "=" + span.text() + ";";
  }
  CHECK(raw == "mail=ann@corp.example;");
  CHECK(Books(world.installation).Count("SELECT count(*) FROM audit.record WHERE kind = 6") > 0);
  show.set_reason("");
  v1::ShowRecordReply none;
  CHECK_FALSE(world.admin.Try<v1::Audit>(&v1::Audit::Stub::Show, show, &none).ok());
}

TEST_CASE("A version on trial as a shadow judges on every surface, is on record, and changes nothing; rolled back, it is gone") {
  World world;
  world.admin.PutPolicy("version: 1\nname: test\nrules:\n  - id: mail\n    detect: {personal_data: email}\n    do: redact\n");
  v1::PutPolicyRequest put;
  put.set_org("acme");
  put.set_name("test");
  put.set_yaml("version: 1\nname: test\nrules:\n  - id: fish\n    detect: {keywords: swordfish}\n    do: block\n");
  put.set_store_only(true);
  v1::TryPolicyRequest shadow;
  shadow.set_org("acme");
  shadow.set_name("test");
  shadow.set_version(world.admin.Call<v1::Policy>(&v1::Policy::Stub::Put, put).version());
  CHECK(world.admin.Call<v1::Policy>(&v1::Policy::Stub::Try, shadow).state() == "shadow");
  const std::string prompt = "!say swordfish of ann@corp\\|.example";
  const auto ask = [&](Surface surface) { return Ask(world.ports, surface, {.key = world.company.key, .prompt = prompt}); };
  const auto told = [&](const Answer& answer) { return StoryOf(world.admin, answer.request_id).request.request().has_shadow(); };
  REQUIRE(Eventually([&] { return told(ask(Surface::kHttpPlain)); }));
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const Answer answer = ask(surface);
    CHECK(answer.text == "swordfish of [EMAIL]");
    const Story story = StoryOf(world.admin, answer.request_id);
    CHECK(story.request.request().input_verdict().action() == "allow");
    CHECK(story.request.request().shadow().verdict().action() == "block");
    CHECK(story.end.output_verdict().action() == "redact");
    CHECK(story.end.shadow_output().verdict().action() == "block");
    CHECK(story.end.shadow_output().verdict().rules(0).rule_id() == "fish");
  }
  v1::RollbackPolicyRequest rollback;
  rollback.set_org("acme");
  rollback.set_name("test");
  CHECK(world.admin.Call<v1::Policy>(&v1::Policy::Stub::Rollback, rollback).version_on_trial() == 0);
  CHECK(Eventually([&] { return !told(ask(Surface::kGrpcUnary)); }));
  CHECK(world.Run({"audit", "verify"}).code == 0);
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("A record that was changed, cut off or moved does not verify, even if the superuser did it") {
  const char* attacks[] = {
      "UPDATE audit.record SET message = set_byte(message, length(message) - 1, get_byte(message, length(message) - 1) # 1) WHERE "
      "leaf_index = 20",
      "UPDATE audit.record SET content = set_byte(content, 20, get_byte(content, 20) # 1) WHERE leaf_index = (SELECT max(leaf_index) FROM "
      "audit.record WHERE content IS NOT NULL)",
      "UPDATE audit.record SET kind = 5 WHERE leaf_index = (SELECT max(leaf_index) FROM audit.record WHERE kind = 4)",
      "DELETE FROM audit.record WHERE leaf_index = 18",
      "DELETE FROM audit.record WHERE leaf_index = (SELECT max(leaf_index) FROM audit.record)",
      "UPDATE audit.record SET leaf_hash = set_byte(leaf_hash, 3, get_byte(leaf_hash, 3) # 1) WHERE leaf_index = 19"};
  for (const char* attack : attacks) {
    INFO(attack);
    World world;
    for (int i = 0; i < 10; ++i) REQUIRE(Ask(world.ports, kSurfaces[i % 4], {.key = world.company.key, .prompt = "hello"}).done);
    REQUIRE(world.Run({"audit", "verify"}).code == 0);
    auto sql = world.installation.Sql();
    REQUIRE_FALSE(sql->Run("attack", attack).ok());  // The table's own guard.
    const absl::Status done =
        sql->RunScript("attack", fmt::format("SET session_replication_role = replica; {}; SET session_replication_role = origin;", attack));
    REQUIRE(done.ok());
    const Finished verified = world.Run({"audit", "verify"});
    INFO(verified.out << verified.err);
    CHECK(verified.code == 5);
  }
}

TEST_CASE("The roles of the gateway may change no record, usage or ledger row") {
  World world;
  auto sql = world.installation.Sql();
  for (const char* role : {"tollgate_writer", "tollgate_reader", "tollgate_directory", "tollgate_verifier"}) {
    for (const char* table : {"audit.record", "metering.usage", "metering.transfer", "metering.price"}) {
      for (const char* verb : {"UPDATE", "DELETE", "TRUNCATE"}) {
        const auto may = sql->Run("ask", fmt::format("SELECT has_table_privilege('{}', '{}', '{}')", role, table, verb));
        INFO(role << " " << verb << " " << table);
        CHECK_FALSE(may->Bool(0, 0));
      }
    }
  }
}

TEST_CASE("A usage row or transfer that was changed, lost or made up shows in the reconciliation") {
  const char* attacks[] = {
      "UPDATE metering.usage SET output_tokens = output_tokens + 1 WHERE request_id = (SELECT max(request_id::text)::uuid FROM "
      "metering.usage)",
      "DELETE FROM metering.usage WHERE request_id = (SELECT max(request_id::text)::uuid FROM metering.usage)",
      "UPDATE metering.usage SET amount_nanos = amount_nanos - 1 WHERE request_id = (SELECT min(request_id::text)::uuid FROM "
      "metering.usage)",
      "DELETE FROM metering.transfer WHERE request_id = (SELECT max(request_id::text)::uuid FROM metering.transfer)",
      "UPDATE metering.transfer SET amount_nanos = amount_nanos + 1 WHERE request_id = (SELECT min(request_id::text)::uuid FROM "
      "metering.transfer)",
      "CREATE TEMPORARY TABLE made_up AS SELECT * FROM metering.transfer LIMIT 1; UPDATE made_up SET request_id = gen_random_uuid(); "
      "INSERT INTO metering.transfer TABLE made_up; DROP TABLE made_up"};
  World world;
  for (int i = 0; i < 6; ++i) REQUIRE(Ask(world.ports, kSurfaces[i % 4], {.key = world.company.key, .prompt = "hello"}).done);
  Books books(world.installation);
  auto sql = world.installation.Sql();
  REQUIRE(
      sql->RunScript("keep", "CREATE TABLE usage_was AS TABLE metering.usage; CREATE TABLE transfer_was AS TABLE metering.transfer;").ok());
  for (const char* attack : attacks) {
    INFO(attack);
    CHECK(books.Check() == "");
    CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
    const bool adds = std::string_view(attack).starts_with("CREATE");
    if (!adds) CHECK_FALSE(sql->Run("attack", attack).ok());  // The table's own guard.
    REQUIRE(sql->RunScript("attack", fmt::format("SET session_replication_role = replica; {};", attack)).ok());
    CHECK(books.Check() != "");
    CHECK(Reconcile(world.gateway, world.installation.owner_key()) != "");
    REQUIRE(sql->RunScript("restore",
                           "DELETE FROM metering.usage; DELETE FROM metering.transfer; INSERT INTO metering.usage TABLE usage_was; "
                           "INSERT INTO metering.transfer TABLE transfer_was; SET session_replication_role = origin;")
                .ok());
  }
  CHECK(books.Check() == "");
}
