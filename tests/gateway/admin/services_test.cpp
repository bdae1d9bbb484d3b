#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/directory/aliases.h"
#include "tests/gateway/admin/served.h"
#include "tests/support/grpc_reason.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;
using World = test::Served;

TEST_CASE("Every admin call wants a credential and a role that fits") {
  World world;
  v1::ListTeamsReply teams;
  CHECK(world.Directory("", &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest(), teams).error_code() == StatusCode::UNAUTHENTICATED);
  CHECK(world.Directory("tg_live_nonsense", &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest(), teams).error_code() ==
        StatusCode::UNAUTHENTICATED);
  const grpc::Status member = world.Directory("member", &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest(), teams);
  CHECK(member.error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(test::ReasonOf(member) == "ROLE_LACKS_PERMISSION");
  CHECK(world.Directory("admin", &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest(), teams).ok());
  CHECK(teams.teams_size() == 1);

  v1::Org org;
  v1::CreateOrgRequest create;
  create.set_name("initech");
  const grpc::Status admin = world.Directory("admin", &v1::Directory::Stub::CreateOrg, create, org);
  CHECK(admin.error_code() == StatusCode::PERMISSION_DENIED);  // Over the whole installation, that is.
  CHECK(test::ReasonOf(admin) == "ROLE_LACKS_PERMISSION");
  CHECK(world.Directory("first", &v1::Directory::Stub::CreateOrg, create, org).ok());
  CHECK(org.name() == "initech");
  CHECK(world.Directory("first", &v1::Directory::Stub::CreateOrg, create, org).error_code() == StatusCode::ALREADY_EXISTS);

  v1::ListPricesReply prices;
  v1::Price price;
  v1::SetPriceRequest set;
  set.set_model("configured");
  set.set_input_per_1000("0.001");
  set.set_output_per_1000("0.002");
  CHECK(world.Directory("admin", &v1::Directory::Stub::SetPrice, set, price).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Directory("operator", &v1::Directory::Stub::SetPrice, set, price).ok());
  CHECK(world.Directory("finance", &v1::Directory::Stub::ListPrices, v1::ListPricesRequest(), prices).ok());
  CHECK(prices.prices_size() == 1);
}

TEST_CASE("A price that changes keeps its currency and what cached input costs, unless they are named") {
  World world;
  v1::Price price;
  std::string why;
  const auto set = [&](const std::string& input, const std::string& cached, const std::string& currency) {
    v1::SetPriceRequest request;
    request.set_model("dear");
    request.set_input_per_1000(input);
    request.set_cached_input_per_1000(cached);
    request.set_output_per_1000("0.4");
    request.set_currency(currency);
    const grpc::Status status = world.Directory("operator", &v1::Directory::Stub::SetPrice, request, price);
    why = status.error_message();
    return status.error_code();
  };
  const auto is = [&](const std::string& cached, const std::string& currency) {
    return price.cached_input_per_1000() == cached && price.currency() == currency;
  };
  REQUIRE(set("0.2", "", "") == StatusCode::OK);
  CHECK(is("0.20", "EUR"));
  REQUIRE(set("0.3", "", "USD") == StatusCode::OK);  // It had none of its own for cached input.
  CHECK(is("0.30", "USD"));
  REQUIRE(set("0.3", "0.03", "") == StatusCode::OK);
  REQUIRE(set("0.25", "", "") == StatusCode::OK);
  CHECK(is("0.03", "USD"));
  for (const auto& [input, currency] : {std::pair("0.02", ""), std::pair("0.25", "EUR")}) {
    CHECK(set(input, "", currency) == StatusCode::INVALID_ARGUMENT);
    CHECK(why.find("cached_input_per_1000: dear has had a price of its own for cached input (0.03 USD)") != std::string::npos);
    CHECK(set(input, "0.01", currency) == StatusCode::OK);
    REQUIRE(set("0.25", "0.03", "USD") == StatusCode::OK);
  }
}

TEST_CASE("What was changed is seen by the next call, and a revoked key is out at once") {
  World world;
  v1::CreateTeamRequest create;
  create.set_name("support");
  v1::Team team;
  REQUIRE(world.Directory("admin", &v1::Directory::Stub::CreateTeam, create, team).ok());
  CHECK(team.org() == "acme");
  CHECK(team.record().find('/') != std::string::npos);
  v1::ListTeamsReply teams;
  REQUIRE(world.Directory("admin", &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest(), teams).ok());
  REQUIRE(teams.teams_size() == 2);
  CHECK(teams.teams(0).name() == "search");
  CHECK(teams.teams(1).name() == "support");

  v1::RevokeKeyRequest revoke;
  revoke.set_public_id(world.in.IdOf("acme/finance"));
  v1::Key key;
  v1::ListPricesReply prices;
  CHECK(world.Directory("finance", &v1::Directory::Stub::ListPrices, v1::ListPricesRequest(), prices).ok());
  REQUIRE(world.Directory("admin", &v1::Directory::Stub::RevokeKey, revoke, key).ok());
  CHECK(key.revoked_us() > 0);
  CHECK(world.Directory("finance", &v1::Directory::Stub::ListPrices, v1::ListPricesRequest(), prices).error_code() ==
        StatusCode::UNAUTHENTICATED);
}

TEST_CASE("Two orgs never see each other") {
  World world;
  v1::ListOrgsReply orgs;
  REQUIRE(world.Directory("globex", &v1::Directory::Stub::ListOrgs, v1::ListOrgsRequest(), orgs).ok());
  REQUIRE(orgs.orgs_size() == 1);
  CHECK(orgs.orgs(0).name() == "globex");
  REQUIRE(world.Directory("first", &v1::Directory::Stub::ListOrgs, v1::ListOrgsRequest(), orgs).ok());
  CHECK(orgs.orgs_size() == 3);

  const std::string acme_key = world.in.IdOf("acme/app");
  v1::ListKeysRequest list;
  list.set_org("acme");
  v1::ListKeysReply keys;
  const grpc::Status there = world.Directory("globex", &v1::Directory::Stub::ListKeys, list, keys);
  list.set_org("nosuchorg");
  const grpc::Status nowhere = world.Directory("globex", &v1::Directory::Stub::ListKeys, list, keys);
  CHECK(there.error_code() == StatusCode::NOT_FOUND);
  CHECK(nowhere.error_code() == StatusCode::NOT_FOUND);

  v1::RevokeKeyRequest revoke;
  revoke.set_public_id(acme_key);
  v1::Key key;
  CHECK(world.Directory("globex", &v1::Directory::Stub::RevokeKey, revoke, key).error_code() == StatusCode::NOT_FOUND);
  v1::RotateKeyRequest rotate;
  rotate.set_public_id(acme_key);
  v1::CreateKeyReply created;
  CHECK(world.Directory("globex", &v1::Directory::Stub::RotateKey, rotate, created).error_code() == StatusCode::NOT_FOUND);
  v1::GrantModelRequest grant;
  grant.mutable_scope()->set_key(acme_key);
  grant.set_model("smollm2");
  v1::Grant granted;
  CHECK(world.Directory("globex", &v1::Directory::Stub::GrantModel, grant, granted).error_code() == StatusCode::NOT_FOUND);
  grant.mutable_scope()->set_org("globex");
  CHECK(world.Directory("globex", &v1::Directory::Stub::GrantModel, grant, granted).error_code() == StatusCode::NOT_FOUND);
  grant.mutable_scope()->set_org("acme");
  CHECK(world.Directory("globex", &v1::Directory::Stub::GrantModel, grant, granted).error_code() == StatusCode::NOT_FOUND);

  v1::StopRequest stop;
  stop.mutable_target()->mutable_scope()->set_org("acme");
  v1::EmergencyStop stopped;
  CHECK(world.Call("globex", v1::System::NewStub(world.channel), &v1::System::Stub::Stop, stop, stopped).error_code() ==
        StatusCode::NOT_FOUND);
  v1::ShowPolicyRequest show;
  show.set_org("acme");
  v1::StoredPolicy policy;
  CHECK(world.Call("globex", v1::Policy::NewStub(world.channel), &v1::Policy::Stub::Show, show, policy).error_code() ==
        StatusCode::NOT_FOUND);
}

TEST_CASE("Nobody makes, rotates or revokes a key that reaches further than their own") {
  World world;
  v1::CreateKeyRequest create;
  create.set_team("search");
  create.set_project("web");
  create.set_name("new");
  create.add_roles("owner");
  v1::CreateKeyReply created;
  CHECK(world.Directory("admin", &v1::Directory::Stub::CreateKey, create, created).error_code() == StatusCode::PERMISSION_DENIED);
  create.clear_roles();
  create.add_roles("policy_author");
  REQUIRE(world.Directory("admin", &v1::Directory::Stub::CreateKey, create, created).ok());
  CHECK(created.secret().starts_with("tg_live_"));
  CHECK(created.key().owner() == "ann@acme.example");
  v1::RotateKeyRequest rotate;
  rotate.set_public_id(world.in.IdOf("acme/owner"));
  CHECK(world.Directory("admin", &v1::Directory::Stub::RotateKey, rotate, created).error_code() == StatusCode::PERMISSION_DENIED);
  v1::RevokeKeyRequest revoke;
  revoke.set_public_id(world.in.IdOf("acme/owner"));
  v1::Key key;
  CHECK(world.Directory("admin", &v1::Directory::Stub::RevokeKey, revoke, key).error_code() == StatusCode::PERMISSION_DENIED);
}

TEST_CASE("Lists come in pages that join up") {
  World world;
  for (int i = 0; i < 7; ++i) Must(world.in.changes->CreateTeam(world.in.cli, "acme", "t" + std::to_string(i)));
  REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(5)).ok());
  std::vector<std::string> names;
  v1::ListTeamsRequest request;
  request.set_page_size(3);
  int pages = 0;
  do {
    v1::ListTeamsReply reply;
    REQUIRE(world.Directory("admin", &v1::Directory::Stub::ListTeams, request, reply).ok());
    for (const auto& team : reply.teams()) names.push_back(team.name());
    request.set_page_token(reply.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  CHECK(pages == 3);
  CHECK(names == std::vector<std::string>{"search", "t0", "t1", "t2", "t3", "t4", "t5", "t6"});
  v1::ListTeamsReply reply;
  request.set_page_token("zz");
  CHECK(world.Directory("admin", &v1::Directory::Stub::ListTeams, request, reply).error_code() == StatusCode::INVALID_ARGUMENT);
  request.set_page_size(-1);
  CHECK(world.Directory("admin", &v1::Directory::Stub::ListTeams, request, reply).error_code() == StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("An emergency stop refuses requests at once, and never the call that lifts it") {
  World world;
  auto stub = [&] { return v1::System::NewStub(world.channel); };
  v1::StopRequest stop;
  stop.mutable_target()->set_everything(true);
  stop.set_reason("a leak");
  v1::EmergencyStop stopped;
  CHECK(world.Call("admin", stub(), &v1::System::Stub::Stop, stop, stopped).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("operator", stub(), &v1::System::Stub::Stop, stop, stopped).ok());
  CHECK(stopped.in_force());
  const auto now = base::SystemClock().Wall();
  CHECK_FALSE(world.identity.Authenticate(Must(world.directory->InForce()), world.texts["member"], now).ok());
  v1::StatusReply status;
  REQUIRE(world.Call("member", stub(), &v1::System::Stub::Status, v1::StatusRequest(), status).ok());
  CHECK(status.build() == "test");
  CHECK(status.org() == "acme");
  REQUIRE(status.stops_size() == 1);
  CHECK(status.stops(0).reason() == "a leak");
  v1::LiftStopRequest lift;
  lift.mutable_target()->set_everything(true);
  REQUIRE(world.Call("operator", stub(), &v1::System::Stub::LiftStop, lift, stopped).ok());
  CHECK(world.identity.Authenticate(Must(world.directory->InForce()), world.texts["member"], now).ok());
}

TEST_CASE("A policy is tried, stored, put in force and shown") {
  World world;
  auto stub = [&] { return v1::Policy::NewStub(world.channel); };
  const std::string yaml = "version: 1\nname: baseline\nrules:\n  - id: mail\n    detect: {personal_data: [email]}\n    do: redact\n";
  v1::CheckPolicyRequest check;
  check.set_yaml(yaml);
  check.add_messages()->add_parts("write to bob@example.com");
  check.set_output("or to eve@example.com");
  v1::CheckPolicyReply checked;
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked).ok());
  CHECK(checked.rules_size() == 1);
  CHECK(checked.input().action() == "redact");
  CHECK(checked.input().redactions() == 1);
  CHECK(checked.messages_used(0).parts(0) == "write to [EMAIL]");
  CHECK(checked.output_used() == "or to [EMAIL]");
  CHECK(checked.findings_size() == 2);
  check.set_yaml("rules: 7");
  CHECK(world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked).error_code() == StatusCode::INVALID_ARGUMENT);

  v1::PutPolicyRequest put;
  put.set_name("baseline");
  put.set_yaml(yaml);
  v1::StoredPolicy stored;
  CHECK(world.Call("auditor", stub(), &v1::Policy::Stub::Put, put, stored).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Put, put, stored).ok());
  CHECK(stored.version() == 1);
  CHECK(stored.version_in_force() == 1);
  v1::ShowPolicyRequest show;
  show.set_name("baseline");
  REQUIRE(world.Call("auditor", stub(), &v1::Policy::Stub::Show, show, stored).ok());
  CHECK(stored.yaml() == yaml);
  // In force: a text goes with it or takes its place; Check without a text runs it.
  check.set_yaml("version: 1\nname: more\nrules:\n  - id: mail\n    detect: {keywords: [falcon]}\n    do: block\n");
  CHECK(world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked).ok());
  check.set_name("more");
  const grpc::Status clash = world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked);
  CHECK(clash.error_code() == StatusCode::INVALID_ARGUMENT);
  CHECK(clash.error_message().find("a second rule with id 'mail'") != std::string::npos);
  check.set_name("baseline");
  CHECK(world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked).ok());
  check.clear_name();
  check.clear_yaml();
  checked.Clear();
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked).ok());
  CHECK(checked.output_used() == "or to [EMAIL]");
  v1::ActivatePolicyRequest off;
  off.set_name("baseline");
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Activate, off, stored).ok());
  v1::ListPoliciesReply listed;
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::List, v1::ListPoliciesRequest(), listed).ok());
  REQUIRE(listed.policies_size() == 1);
  CHECK(listed.policies(0).version_in_force() == 0);
}

TEST_CASE("A text is explained and a policy linted, as given or as in force") {
  World world;
  auto stub = [&] { return v1::Policy::NewStub(world.channel); };
  v1::PutPolicyRequest put;
  put.set_name("baseline");
  put.set_yaml(
      "version: 1\nname: baseline\nrules:\n  - id: mail\n    where: {team: serch}\n    detect: {personal_data: email}\n    do: redact\n");
  v1::StoredPolicy stored;
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Put, put, stored).ok());
  v1::ExplainPolicyRequest explain;
  explain.set_text("write to bob@example.com");
  explain.set_team("serch");
  v1::ExplainPolicyReply explained;
  CHECK(world.Call("member", stub(), &v1::Policy::Stub::Explain, explain, explained).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained).ok());
  CHECK(explained.text_used() == "write to [EMAIL]");
  REQUIRE(explained.rules_size() == 1);
  CHECK(explained.rules(0).policy() == "baseline");
  CHECK(explained.policy_digest().size() == 64);
  explain.set_yaml("version: 1\nname: other\nrules:\n  - id: other\n    detect: {keywords: write}\n    do: block\n");
  explained.Clear();
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained).ok());
  CHECK(explained.outcome().action() == "block");
  // A key's id stands for its name and place.
  explain.set_yaml(
      "version: 1\nname: other\nrules:\n  - id: other\n    where: {team: search, key: member}\n    detect: {keywords: write}\n    do: "
      "flag\n");
  explain.set_key(world.in.IdOf("acme/member"));
  explained.Clear();
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained).ok());
  CHECK(explained.outcome().action() == "flag");
  explain.set_org("globex");
  CHECK(world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained).error_code() == StatusCode::NOT_FOUND);

  v1::LintPolicyReply linted;
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Lint, v1::LintPolicyRequest(), linted).ok());
  REQUIRE(linted.remarks_size() > 0);
  CHECK(linted.costs_size() == 1);
  const auto dead = std::find_if(linted.remarks().begin(), linted.remarks().end(), [](const auto& r) { return r.check() == "dead"; });
  REQUIRE(dead != linted.remarks().end());
  CHECK(dead->message() == "there is no team 'serch'; did you mean 'search'?");
  v1::LintPolicyRequest lint;
  lint.set_yaml("rules: 7");
  CHECK(world.Call("author", stub(), &v1::Policy::Stub::Lint, lint, linted).error_code() == StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("A policy that names an alias for a model is told so, and a text is explained and checked for models alone") {
  World world;
  auto stub = [&] { return v1::Policy::NewStub(world.channel); };
  const auto lead = [&](const std::string& name, const std::string& targets) {
    const auto made = Must(world.in.changes->SetAlias(world.in.cli, Must(directory::MakeAlias(name, targets, ""))));
    REQUIRE(world.directory->WaitFor(made.version, std::chrono::seconds(10)).ok());
  };
  lead("chat", "configured=1");
  const std::string sentence = "`chat` is an alias; rules go by the model that it leads to: configured";
  v1::PutPolicyRequest put;
  put.set_name("house");
  put.set_yaml(
      "version: 1\nname: house\nrules:\n"
      "  - {id: of-alias, where: {model: chat}, detect: {keywords: bluebird}, do: block}\n"
      "  - {id: of-nothing, where: {model: configurd}, detect: {keywords: heron}, do: block}\n"
      "  - {id: of-model, where: {model: configured}, detect: {keywords: falcon}, do: block}\n");
  v1::StoredPolicy stored;
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Put, put, stored).ok());
  REQUIRE(stored.warnings_size() == 2);
  CHECK_THAT(stored.warnings(0), Catch::Matchers::EndsWith("rule of-alias: " + sentence));
  v1::LintPolicyReply linted;
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Lint, v1::LintPolicyRequest(), linted).ok());
  std::string dead;
  for (const auto& remark : linted.remarks()) dead += remark.check() == "dead" ? remark.rule_id() + ": " + remark.message() + "\n" : "";
  CHECK(dead == "of-alias: " + sentence + "\nof-nothing: there is no model 'configurd'; did you mean 'configured'?\n");

  v1::ExplainPolicyRequest explain;
  explain.set_text("a bluebird");
  explain.set_model("chat");
  v1::ExplainPolicyReply explained;
  grpc::Status status = world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained);
  CHECK(status.error_code() == StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message() == "model: " + sentence + "; name a model");
  v1::CheckPolicyRequest check;
  check.add_messages()->add_parts("a bluebird");
  check.set_model("chat");
  v1::CheckPolicyReply checked;
  status = world.Call("author", stub(), &v1::Policy::Stub::Check, check, checked);
  CHECK(status.error_message() == "model: " + sentence + "; name a model");
  explain.set_model("configured");
  explain.set_text("a falcon");
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained).ok());
  CHECK(explained.outcome().action() == "block");
  lead("configured", "configured=9 other=1");  // Which leads to the model too.
  CHECK(world.Call("author", stub(), &v1::Policy::Stub::Explain, explain, explained).ok());
}

TEST_CASE("A field that this version does not know refuses the call, and nothing is changed") {
  World world;
  v1::CreateTeamRequest create;
  create.set_name("newer");
  REQUIRE(create.MergeFromString("\xf8\x3f\x01"));  // Field 1023.
  v1::Team team;
  CHECK(world.Directory("member", &v1::Directory::Stub::CreateTeam, create, team).error_code() == StatusCode::PERMISSION_DENIED);
  const grpc::Status refused = world.Directory("admin", &v1::Directory::Stub::CreateTeam, create, team);
  CHECK(refused.error_code() == StatusCode::INVALID_ARGUMENT);
  CHECK(test::ReasonOf(refused) == "UNKNOWN_PARAMETER");
  v1::ListTeamsReply teams;
  REQUIRE(world.Directory("admin", &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest(), teams).ok());
  CHECK(teams.teams_size() == 1);
}
