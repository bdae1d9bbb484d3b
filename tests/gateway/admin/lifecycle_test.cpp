// A policy's way from draft to retired, through the admin API and in the snapshot that requests meet.
#include "tests/gateway/admin/served.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;

namespace {

std::string Yaml(const std::string& word, const std::string& more = "") {
  return "version: 1\nname: house\nrules:\n  - id: word\n    detect: {keywords: " + word + "}\n    do: block\n" + more;
}
const std::string kFails = "    tests: [{text: something else}]\n";

struct World : test::Served {
  World() {
    texts["second"] = in.MakeKey("acme", "second", {directory::Role::kApprover}, "bob@acme.example");
    REQUIRE(directory->WaitFor(in.last_version, std::chrono::seconds(5)).ok());
  }
  template <typename Request, typename Reply>
  grpc::Status Ask(const std::string& who, grpc::Status (v1::Policy::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                   const Request& request, Reply& reply) {
    reply.Clear();
    return Call(who, v1::Policy::NewStub(channel), method, request, reply);
  }
  v1::StoredPolicy Put(const std::string& yaml, bool store_only = true, bool draft = false) {
    v1::PutPolicyRequest request;
    request.set_name("house");
    request.set_yaml(yaml);
    request.set_store_only(store_only);
    request.set_draft(draft);
    v1::StoredPolicy stored;
    const grpc::Status status = Ask("author", &v1::Policy::Stub::Put, request, stored);
    INFO(status.error_message());
    REQUIRE(status.ok());
    return stored;
  }
  grpc::Status Activate(const std::string& who, std::int64_t version) {
    v1::ActivatePolicyRequest request;
    request.set_name("house");
    request.set_version(version);
    return Ask(who, &v1::Policy::Stub::Activate, request, stored);
  }
  grpc::Status Try(const std::string& who, std::int64_t version, std::int64_t share = 0, bool by_tenant = false) {
    v1::TryPolicyRequest request;
    request.set_name("house");
    request.set_version(version);
    request.set_canary_per_10000(share);
    request.set_by_tenant(by_tenant);
    return Ask(who, &v1::Policy::Stub::Try, request, stored);
  }
  grpc::Status Rollback(const std::string& who) {
    v1::RollbackPolicyRequest request;
    request.set_name("house");
    return Ask(who, &v1::Policy::Stub::Rollback, request, stored);
  }
  // "3 shadow, 2 enforced, 1 retired"
  std::string States() {
    v1::ListPoliciesRequest request;
    request.set_name("house");
    v1::ListPoliciesReply reply;
    REQUIRE(Ask("author", &v1::Policy::Stub::List, request, reply).ok());
    std::string out;
    for (const auto& policy : reply.policies()) out += (out.empty() ? "" : ", ") + std::to_string(policy.version()) + " " + policy.state();
    return out;
  }
  directory::Judges Judges() {
    const auto snapshot = Must(directory->InForce());
    return snapshot->JudgesOf(*snapshot->FindKey(in.IdOf("acme/member")), base::RequestId(base::Uuid::NewV7()));
  }
  static bool Blocks(const std::shared_ptr<const policy::PolicySet>& set, const std::string& text) {
    const policy::Message message{policy::Role::kUser, "", {text}};
    return Must(set->Inspect({}, {&message, 1})).verdict.action == policy::Action::kBlock;
  }

  v1::StoredPolicy stored;
};

}  // namespace

TEST_CASE("A conversation is tried as a request's: its calls, its results in both readings, each known by the call that it answers") {
  World world;
  v1::CheckPolicyRequest check;
  check.set_yaml(R"(version: 1
name: house
rules:
  - {id: card, where: {parts: tool_calls}, detect: {personal_data: card}, do: redact}
  - {id: hidden, where: {tool: read_mail, parts: tool_results}, detect: {unicode: invisible}, do: flag}
)");
  v1::ChatMessage& calling = *check.add_messages();
  calling.set_role(v1::ROLE_ASSISTANT);
  for (const char* name : {"pay", "read_mail"}) {
    v1::ToolCall& call = *calling.add_tool_calls();
    call.set_id(name);
    call.set_name(name);
    call.set_arguments(R"({"card":"4111111111\u0031\u0031\u0031111"})");
  }
  for (const char* answers : {"pay", "read_mail"}) {
    v1::ChatMessage& result = *check.add_messages();
    result.set_role(v1::ROLE_TOOL);
    result.set_tool_call_id(answers);
    result.add_parts(R"({"note":"pay\u200bpal"})");
  }
  v1::CheckPolicyReply checked;
  const grpc::Status status = world.Ask("author", &v1::Policy::Stub::Check, check, checked);
  INFO(status.error_message());
  REQUIRE(status.ok());
  CHECK(checked.input().action() == "redact");
  REQUIRE(checked.findings_size() == 3);
  for (int i = 0; i < 2; ++i) {
    CHECK(checked.findings(i).rule_id() == "card");
    CHECK(checked.findings(i).message() == 0);
    CHECK(checked.findings(i).field() == "tool_calls");
    CHECK(checked.findings(i).begin() == 9);
  }
  CHECK(checked.findings(2).rule_id() == "hidden");
  CHECK(checked.findings(2).message() == 2);
  CHECK(checked.findings(2).field() == "text");
  CHECK(checked.findings(2).begin() == 12);
  CHECK(checked.findings(2).end() == 18);
  REQUIRE(checked.messages_used_size() == 3);
  REQUIRE(checked.messages_used(0).tool_calls_size() == 2);
  CHECK(checked.messages_used(0).tool_calls(0).name() == "pay");
  CHECK(checked.messages_used(0).tool_calls(0).arguments() == R"({"card":"[CARD]"})");
  CHECK(checked.messages_used(2).parts(0) == R"({"note":"pay\u200bpal"})");
  check.mutable_messages(0)->set_role(static_cast<v1::Role>(77));
  CHECK(world.Ask("author", &v1::Policy::Stub::Check, check, checked).error_code() == StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("A version goes from draft over tested, shadow, canary and enforced to retired") {
  World world;
  CHECK(world.Put(Yaml("eagle"), false).state() == "enforced");
  const v1::StoredPolicy draft = world.Put(Yaml("falcon", kFails), true, true);
  CHECK(draft.state() == "draft");
  CHECK(draft.author() == "ann@acme.example");
  CHECK(draft.version_in_force() == 1);
  for (const grpc::Status& refused : {world.Activate("author", 2), world.Try("author", 2), world.Try("author", 2, 100)}) {
    CHECK(refused.error_code() == StatusCode::INVALID_ARGUMENT);
    CHECK(refused.error_message().find("a test of rule 'word' fails") != std::string::npos);
  }
  CHECK(world.Put(Yaml("falcon")).state() == "tested");
  CHECK(world.States() == "3 tested, 2 draft, 1 enforced");

  REQUIRE(world.Try("author", 3).ok());
  CHECK(world.stored.state() == "shadow");
  CHECK(world.stored.trial() == "shadow");
  CHECK(World::Blocks(world.Judges().acting, "eagle"));
  REQUIRE(world.Judges().shadow != nullptr);
  CHECK(World::Blocks(world.Judges().shadow, "falcon"));

  REQUIRE(world.Try("author", 3, 10000, true).ok());
  CHECK(world.stored.trial() == "canary 100.00 % by tenant");
  CHECK(world.Judges().canary);
  CHECK(World::Blocks(world.Judges().acting, "falcon"));

  REQUIRE(world.Activate("author", 3).ok());
  CHECK(world.stored.version_on_trial() == 0);
  CHECK(world.stored.previous_version() == 1);
  CHECK_FALSE(world.Judges().canary);
  CHECK(world.Judges().shadow == nullptr);
  CHECK(world.States() == "3 enforced, 2 retired, 1 retired");
}

TEST_CASE("Rollback undoes the last step: a trial, then what came into force") {
  World world;
  CHECK(world.Rollback("author").error_code() == StatusCode::NOT_FOUND);
  world.Put(Yaml("eagle"), false);
  world.Put(Yaml("falcon"), false);
  world.Put(Yaml("raven"));
  REQUIRE(world.Try("author", 3, 10000).ok());
  REQUIRE(world.Rollback("author").ok());
  CHECK(World::Blocks(world.Judges().acting, "falcon"));
  REQUIRE(world.Rollback("author").ok());
  CHECK(world.stored.version_in_force() == 1);
  CHECK(World::Blocks(world.Judges().acting, "eagle"));
  REQUIRE(world.Rollback("author").ok());  // Forward again.
  CHECK(world.stored.version_in_force() == 2);
  CHECK(world.Try("author", 2).error_code() == StatusCode::FAILED_PRECONDITION);  // In force already.
  CHECK(world.Try("author", 9).error_code() == StatusCode::NOT_FOUND);
  CHECK(world.Try("author", 3, 10001).error_code() == StatusCode::INVALID_ARGUMENT);
  CHECK(world.Try("auditor", 3).error_code() == StatusCode::PERMISSION_DENIED);
}

TEST_CASE("An org tries one version at a time") {
  World world;
  world.Put(Yaml("eagle"));
  REQUIRE(world.Try("author", 1).ok());
  v1::PutPolicyRequest put;
  put.set_name("other");
  put.set_yaml("version: 1\nname: other\nrules: []\n");
  put.set_store_only(true);
  REQUIRE(world.Ask("author", &v1::Policy::Stub::Put, put, world.stored).ok());
  v1::TryPolicyRequest request;
  request.set_name("other");
  request.set_version(1);
  const grpc::Status refused = world.Ask("author", &v1::Policy::Stub::Try, request, world.stored);
  CHECK(refused.error_code() == StatusCode::FAILED_PRECONDITION);
  CHECK(refused.error_message().find("tollgate policy rollback house") != std::string::npos);
}

TEST_CASE("Where the org wants a second person, nobody lets act what they wrote") {
  World world;
  v1::SetSecondPersonRequest wanted;
  wanted.set_wanted(true);
  v1::SetSecondPersonReply set;
  CHECK(world.Ask("author", &v1::Policy::Stub::SetSecondPerson, wanted, set).error_code() == StatusCode::PERMISSION_DENIED);
  wanted.set_org("acme");
  REQUIRE(world.Ask("owner", &v1::Policy::Stub::SetSecondPerson, wanted, set).ok());
  CHECK(set.wanted());
  world.Put(Yaml("eagle"));
  const grpc::Status refused = world.Activate("author", 1);
  CHECK(refused.error_code() == StatusCode::FAILED_PRECONDITION);
  CHECK(refused.error_message().find("wants a second person: ann@acme.example stored version 1") != std::string::npos);
  CHECK(world.Activate("admin", 1).error_code() == StatusCode::FAILED_PRECONDITION);  // Another key of the same person.
  CHECK(world.Try("author", 1, 500).error_code() == StatusCode::FAILED_PRECONDITION);
  CHECK(world.Try("author", 1).ok());  // A shadow does not act.
  REQUIRE(world.Activate("second", 1).ok());
  CHECK(world.Activate("author", 0).error_code() == StatusCode::FAILED_PRECONDITION);
  CHECK(world.Rollback("author").error_code() == StatusCode::FAILED_PRECONDITION);  // To nothing: the same in other words.
  world.Put(Yaml("falcon"));
  REQUIRE(world.Activate("second", 2).ok());
  REQUIRE(world.Rollback("author").ok());  // To what was let act before.
  CHECK(world.stored.version_in_force() == 1);
  REQUIRE(world.Activate("second", 0).ok());
  REQUIRE(world.Rollback("author").ok());
  CHECK(world.stored.version_in_force() == 1);
  REQUIRE(world.Rollback("second").ok());
  CHECK(world.stored.version_in_force() == 0);
  wanted.set_wanted(false);
  REQUIRE(world.Ask("owner", &v1::Policy::Stub::SetSecondPerson, wanted, set).ok());
  CHECK(world.Activate("author", 1).ok());
}
