// Replays and reports of shadows over the admin API, on records that a journal wrote and keys that can be destroyed.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/directory/aliases.h"
#include "gateway/directory/row_postgres.h"
#include "tests/gateway/admin/replay_world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using grpc::StatusCode;
using test::Must;
using World = test::ReplayWorld;

namespace {

v1::ReplayPolicyRequest Ask() { return test::AskReplay(); }

// The one policy's text, as if an older version of Tollgate had let it act.
void Rewrite(World& world, const std::string& yaml) {
  const auto session = test::PostgresCluster::Shared().Connect(world.in.url);
  auto head = Must(directory::ReadHead(*session, false));
  directory::Row row = Must(directory::ReadRows(*session, directory::Table::kPolicy, "true", {})).at(0);
  directory::Toggle(head.set, row.mac);
  row.Set("yaml", yaml);
  row.Set("sha256", base::Blob{std::string(base::View(base::Sha256(yaml)))});
  row.version = ++head.version;
  row.mac = directory::RowMac(world.in.mac_key, row);
  directory::Toggle(head.set, row.mac);
  head.mac = directory::HeadMac(world.in.mac_key, head.version, head.set);
  const auto written = session->InTransaction("rewrite", [&](base::Session& s) -> absl::Status {
    TG_RETURN_IF_ERROR(directory::UpdateRow(s, row));
    return directory::WriteHead(s, head);
  });
  INFO(written);
  REQUIRE(written.ok());
  REQUIRE(world.directory->WaitFor(head.version, std::chrono::seconds(10)).ok());
}

}  // namespace

TEST_CASE("A replay says what a candidate would change, counts what was erased, and is on record") {
  World world;
  world.Record("acme", "about bluebird");
  const audit::Position mail = world.Record("acme", "write to bob@example.com and to eve@example.com");
  world.Record("acme", "nothing in it");
  world.Record("acme", "erased bluebird");
  world.Record("globex", "somebody else's bluebird");
  REQUIRE(test::PostgresCluster::Shared()
              .Connect(world.keys_url)
              ->RunScript("erase", "UPDATE keys.request SET salt = NULL WHERE request_id = '" + world.requests[3] + "'")
              .ok());
  world.texts["both"] = world.in.MakeKey("acme", "both", {directory::Role::kPolicyAuthor, directory::Role::kAuditor});
  REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(10)).ok());
  const v1::PolicyChanges all = world.All("both", Ask(), &v1::Policy::Stub::Replay);
  CHECK(world.pages == 2);
  CHECK(all.judged() == 3);
  CHECK(all.changed() == 2);
  CHECK(all.erased() == 1);
  CHECK(all.unreadable() == 0);
  REQUIRE(all.verdicts_size() == 2);
  CHECK(all.verdicts(0).team() == "search");
  CHECK(all.verdicts(0).was() == "allow");
  CHECK(all.verdicts(0).would() == "block");
  REQUIRE(all.rules_size() == 2);
  CHECK(all.rules(1).rule_id() == "web-mail");
  CHECK(all.rules(1).spans_would() == 2);
  REQUIRE(all.rules(1).examples_size() == 1);
  CHECK(all.rules(1).examples(0).index() == mail.index);

  v1::ListRecordsRequest views;
  views.add_kinds(v1::RECORD_KIND_VIEW);
  v1::ListRecordsReply listed;
  REQUIRE(world.Call("auditor", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::List, views, listed).ok());
  REQUIRE(listed.records_size() == 2);
  const v1::ViewBody& view = listed.records(1).record().view();
  CHECK(view.actor() == world.in.IdOf("acme/both"));
  CHECK_THAT(view.reason(), ContainsSubstring("replay of policies ") && ContainsSubstring("before version 2"));
  CHECK(view.viewed(0).steps_size() == 2);
}

TEST_CASE("A replay and a shadow's report name what would have been asked of others") {
  World world;
  v1::ShadowVerdict shadow;
  shadow.set_policy_digest(std::string(32, '\x55'));
  shadow.mutable_verdict()->set_action("allow");
  shadow.mutable_verdict()->add_not_scanned("guard warden (unkind)");
  world.Record("acme", "one", shadow);
  world.Record("acme", "two", shadow);
  world.texts["both"] = world.in.MakeKey("acme", "both", {directory::Role::kPolicyAuthor, directory::Role::kAuditor});
  REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(10)).ok());
  v1::ReplayPolicyRequest ask = Ask();
  ask.set_yaml(
      "version: 1\nname: house\nrules:\n  - {id: tox, detect: {external: toxicity}, do: block}\n"
      "  - {id: told, where: {direction: output}, detect: {keywords: swordfish}, do: block}\n");
  const v1::PolicyChanges replayed = world.All("both", ask, &v1::Policy::Stub::Replay);
  CHECK(replayed.judged() == 2);
  CHECK(replayed.changed() == 0);
  REQUIRE(replayed.not_asked_size() == 1);
  CHECK(replayed.not_asked(0) == "external toxicity (tox)");
  v1::ShadowReportRequest report;
  report.set_policy_digest(std::string(64, '5'));
  const v1::PolicyChanges reported = world.All("both", report, &v1::Policy::Stub::ShadowReport);
  REQUIRE(reported.not_asked_size() == 1);
  CHECK(reported.not_asked(0) == "guard warden (unkind)");
}

TEST_CASE("A replay judges the schema that an output was held to, and no grammar") {
  World world;
  world.Record("acme", "fill it in", {}, nullptr, R"({"const":"\u0062luebird"})");
  world.Record("acme", "fill it in", {}, nullptr, R"(root ::= "bluebird")");
  const v1::PolicyChanges all = world.All("author", Ask(), &v1::Policy::Stub::Replay);
  CHECK(all.judged() == 2);
  CHECK(all.changed() == 1);
}

TEST_CASE("Who may not read content gets counts and no records; who may not put policies in force gets nothing") {
  World world;
  world.Record("acme", "about bluebird");
  const v1::PolicyChanges all = world.All("author", Ask(), &v1::Policy::Stub::Replay);
  CHECK(all.changed() == 1);
  CHECK(all.rules(0).examples().empty());
  v1::PolicyChanges reply;
  CHECK(world.Call("member", world.stub(), &v1::Policy::Stub::Replay, Ask(), reply).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Call("auditor", world.stub(), &v1::Policy::Stub::Replay, Ask(), reply).error_code() == StatusCode::PERMISSION_DENIED);
  v1::ReplayPolicyRequest other = Ask();
  other.set_org("globex");
  CHECK(world.Call("author", world.stub(), &v1::Policy::Stub::Replay, other, reply).error_code() == StatusCode::NOT_FOUND);
}

TEST_CASE("A replay that makes no sense is refused with the remedy") {
  World world;
  v1::PolicyChanges reply;
  const auto Refused = [&](const std::function<void(v1::ReplayPolicyRequest&)>& set) {
    v1::ReplayPolicyRequest request = Ask();
    set(request);
    return world.Call("author", world.stub(), &v1::Policy::Stub::Replay, request, reply).error_message();
  };
  CHECK_THAT(Refused([](auto& r) { r.clear_reason(); }), ContainsSubstring("say why prompts and replies are opened"));
  CHECK_THAT(Refused([](auto& r) { r.set_page_size(1001); }), ContainsSubstring("page_size"));
  CHECK_THAT(Refused([](auto& r) { r.set_examples(101); }), ContainsSubstring("examples"));
  CHECK_THAT(Refused([](auto& r) { r.set_page_token("x"); }), ContainsSubstring("page_token"));
  CHECK_THAT(Refused([](auto& r) { r.set_team("serch"); }), ContainsSubstring("no team 'acme/serch'"));
  CHECK_THAT(Refused([](auto& r) { r.set_yaml("version: 1\nname: a\nrulez: []\n"); }), ContainsSubstring("3:1"));
  CHECK_THAT(Refused([](auto& r) { r.clear_yaml(); }), ContainsSubstring("no such policy or version"));
}

TEST_CASE("A candidate takes its policy's place beside the others in force, and may be compared with what they say now") {
  World world;
  const std::string house = "version: 1\nname: house\nrules:\n  - {id: codename, detect: {keywords: bluebird}, do: flag}\n";
  const std::string other = "version: 1\nname: other\nrules:\n  - {id: heron, detect: {keywords: heron}, do: flag}\n";
  for (const auto& [name, yaml] : {std::pair("house", house), std::pair("other", other)}) {
    v1::PutPolicyRequest put;
    put.set_name(name);
    put.set_yaml(yaml);
    v1::StoredPolicy stored;
    REQUIRE(world.Call("owner", world.stub(), &v1::Policy::Stub::Put, put, stored).ok());
  }
  world.Record("acme", "bluebird and heron");
  v1::ReplayPolicyRequest request = Ask();
  request.set_name("house");
  v1::PolicyChanges all = world.All("author", request, &v1::Policy::Stub::Replay);
  CHECK(all.rules_size() == 2);  // On record nothing was found.
  request.set_against_in_force(true);
  all = world.All("author", request, &v1::Policy::Stub::Replay);
  REQUIRE(all.rules_size() == 1);
  CHECK(all.rules(0).rule_id() == "codename");
  CHECK(all.rules(0).was() == "flag");
  CHECK(all.rules(0).would() == "block");
  request.clear_yaml();  // The stored one: nothing changes.
  all = world.All("author", request, &v1::Policy::Stub::Replay);
  CHECK(all.judged() == 1);
  CHECK(all.changed() == 0);
}

TEST_CASE("What is in force is explained, linted and replayed though a test of its own fails by now, and what is not must pass its tests") {
  World world;
  const std::string head = "version: 1\nname: house\nrules:\n  - {id: codename, detect: {keywords: bluebird}, do: flag";
  const std::string house = head + "}\n", failing = head + ", tests: [{text: heron}]}\n";
  v1::PutPolicyRequest put;
  put.set_name("house");
  put.set_yaml(house);
  v1::StoredPolicy stored;
  REQUIRE(world.Call("owner", world.stub(), &v1::Policy::Stub::Put, put, stored).ok());
  world.Record("acme", "a bluebird");
  Rewrite(world, failing);

  v1::ExplainPolicyRequest explain;
  explain.set_text("a bluebird");
  v1::ExplainPolicyReply explained;
  const grpc::Status told = world.Call("author", world.stub(), &v1::Policy::Stub::Explain, explain, explained);
  INFO(told.error_message());
  CHECK(told.ok());
  CHECK(explained.outcome().action() == "flag");
  v1::LintPolicyRequest lint;
  v1::LintPolicyReply linted;
  CHECK(world.Call("author", world.stub(), &v1::Policy::Stub::Lint, lint, linted).ok());
  lint.set_yaml(failing);
  CHECK_FALSE(world.Call("author", world.stub(), &v1::Policy::Stub::Lint, lint, linted).ok());
  v1::ReplayPolicyRequest request = Ask();
  request.set_name("house");
  request.clear_yaml();
  CHECK(world.All("author", request, &v1::Policy::Stub::Replay).judged() == 1);
  request.set_yaml(failing + "  - {id: other, detect: {keywords: owl}, do: flag}\n");
  v1::PolicyChanges reply;
  CHECK_THAT(world.Call("author", world.stub(), &v1::Policy::Stub::Replay, request, reply).error_message(),
             ContainsSubstring("a test of rule 'codename' fails"));
}

TEST_CASE("A shadow's report counts where it said otherwise, on prompts and replies") {
  World world;
  v1::ShadowVerdict shadow;
  shadow.set_policy_digest(std::string(32, '\x5a'));
  shadow.mutable_verdict()->set_action("block");
  v1::RuleOutcome& rule = *shadow.mutable_verdict()->add_rules();
  rule.set_rule_id("codename");
  rule.set_action("block");
  rule.set_count(1);
  const audit::Position at = world.Record("acme", "about bluebird", shadow);
  world.Record("acme", "without a shadow");
  audit::Entry end;
  end.record.set_kind(v1::RECORD_KIND_FINAL);
  end.record.set_request_id(Must(base::Uuid::Parse(world.requests[0])).Bytes());
  end.record.set_attempt(1);
  const auto place = *Must(world.directory->InForce())->FindKey(world.in.IdOf("acme/app"));
  end.record.set_org_id(place.org->id.Bytes());
  end.record.set_team_id(place.team->id.Bytes());
  end.record.mutable_end()->mutable_output_verdict()->set_action("allow");
  *end.record.mutable_end()->mutable_shadow_output() = shadow;
  Must(audit::AppendAndWait(*world.journal, std::move(end), audit::Journal::kNoDeadline));
  v1::ShadowReportRequest request;
  request.set_examples(5);
  request.set_page_size(1);
  const v1::PolicyChanges all = world.All("auditor", request, &v1::Policy::Stub::ShadowReport);
  CHECK(all.judged() == 2);
  CHECK(all.changed() == 2);
  REQUIRE(all.verdicts_size() == 2);
  CHECK(all.verdicts(0).direction() == "input");
  CHECK(all.verdicts(0).examples(0).index() == at.index);
  CHECK(all.verdicts(1).direction() == "output");
  CHECK(all.rules(0).rule_id() == "codename");
  CHECK(world.All("author", request, &v1::Policy::Stub::ShadowReport).verdicts(0).examples().empty());
  request.set_policy_digest("5a5b");
  CHECK(world.All("auditor", request, &v1::Policy::Stub::ShadowReport).judged() == 0);
  request.set_policy_digest("5a5a");
  CHECK(world.All("auditor", request, &v1::Policy::Stub::ShadowReport).judged() == 2);
}

TEST_CASE("A denied prompt is judged anew as of the model whose rules refused it; where that is not on record it is counted, not judged") {
  World world;
  const auto lead = Must(world.in.changes->SetAlias(world.in.cli, Must(directory::MakeAlias("chat", "qwen3=1", ""))));
  REQUIRE(world.directory->WaitFor(lead.version, std::chrono::seconds(10)).ok());
  const auto deny = [](const std::string& asked, const std::string& model, const std::string& rule) {
    v1::DenyBody body;
    body.set_model_requested(asked);
    body.set_model(model);
    body.mutable_input_verdict()->set_action("block");
    v1::RuleOutcome& outcome = *body.mutable_input_verdict()->add_rules();
    outcome.set_rule_id(rule);
    outcome.set_action("block");
    outcome.set_count(1);
    return body;
  };
  v1::DenyBody by_alias = deny("chat", "qwen3", "of-model");
  v1::DenyBody by_adapter = deny("chat", "qwen3:legal", "of-model");
  by_adapter.add_adapters()->set_name("qwen3:legal");
  v1::DenyBody by_rule = deny("tiny", "qwen3", "of-model");
  by_rule.set_routed_by("to-qwen");
  for (const v1::DenyBody* body : {&by_alias, &by_adapter, &by_rule}) world.Record("acme", "a bluebird", {}, body);
  // From before.
  const v1::DenyBody old_alias = deny("chat", "", "of-model");
  const v1::DenyBody old_unknown = deny("gone", "", "of-model");
  v1::DenyBody old_next = deny("configured", "", "of-configured");
  old_next.set_continues(std::string(16, 'x'));
  v1::DenyBody old_sent = deny("configured", "", "of-model");
  old_sent.mutable_input_verdict()->add_rules()->set_effect("route qwen3");
  for (const v1::DenyBody* body : std::initializer_list<const v1::DenyBody*>{&old_alias, &old_unknown, &old_next, &old_sent})
    world.Record("acme", "a bluebird", {}, body);
  const v1::DenyBody old_model = deny("configured", "", "of-configured");
  world.Record("acme", "a bluebird", {}, &old_model);

  v1::ReplayPolicyRequest request = Ask();
  request.set_page_size(1);
  const std::string head = "version: 1\nname: house\nrules:\n";
  const std::string configured = "  - {id: of-configured, where: {model: configured}, detect: {keywords: bluebird}, do: block}\n";
  request.set_yaml(head + configured + "  - {id: of-model, where: {model: qwen3}, detect: {keywords: bluebird}, do: block}\n");
  v1::PolicyChanges all = world.All("author", request, &v1::Policy::Stub::Replay);
  CHECK(all.judged() == 4);
  CHECK(all.changed() == 0);
  CHECK(all.model_unknown() == 4);
  CHECK(all.unreadable() == 0);
  request.set_yaml(head + configured);  // Without the rule.
  all = world.All("author", request, &v1::Policy::Stub::Replay);
  CHECK(all.judged() == 4);
  CHECK(all.changed() == 3);
}
