// What an org's own admin does must not undo, or open, what was laid down for the whole installation, nor stand for two persons.
#include <future>

#include "tests/gateway/admin/served.h"
#include "tollgate/v1/defaults.grpc.pb.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;

namespace {

struct World : test::Served {
  // A key of `owner` that the holder of `as` makes; called by its owner from then on.
  void MakeKey(const std::string& as, const std::string& owner, const std::string& role) {
    v1::CreateKeyRequest create;
    create.set_org("acme");
    create.set_team("search");
    create.set_project("web");
    create.set_name(owner);
    create.set_owner(owner);
    create.add_roles(role);
    const grpc::Status status = Directory(as, &v1::Directory::Stub::CreateKey, create, created);
    INFO(status.error_message());
    REQUIRE(status.ok());
    texts[owner] = created.secret();
  }
  void Rotate(const std::string& as, const std::string& owner) {
    v1::RotateKeyRequest rotate;
    rotate.set_public_id(texts[owner].substr(8, 8));
    REQUIRE(Directory(as, &v1::Directory::Stub::RotateKey, rotate, created).ok());
    texts[owner] = created.secret();
  }
  std::string MadeBy() const {
    std::string names;
    for (const std::string& name : created.key().made_by()) names += name + " ";
    return names;
  }
  grpc::Status Grant(const std::string& as, const std::string& model, const std::string& team = "") {
    v1::GrantModelRequest grant;
    grant.mutable_scope()->set_org(as == "globex" ? "globex" : "acme");
    grant.mutable_scope()->set_team(team);
    grant.set_model(model);
    return Directory(as, &v1::Directory::Stub::GrantModel, grant, granted);
  }
  void AddRestricted(const std::string& name) {
    v1::AddModelRequest add;
    add.mutable_spec()->set_name(name);
    add.mutable_spec()->set_file(name + ".gguf");
    add.mutable_spec()->set_sha256(std::string(64, 'a'));
    add.set_restricted(true);
    v1::RegisteredModel model;
    REQUIRE(Call("first", v1::Registry::NewStub(channel), &v1::Registry::Stub::AddModel, add, model).ok());
  }
  // Whether a key, and its org where it acts for itself, may use the model.
  std::pair<bool, bool> MayUse(const std::string& key, const std::string& model) {
    const auto snapshot = Must(directory->InForce());
    const auto place = *snapshot->FindKey(in.IdOf(key));
    return {snapshot->MayUse(place, model), snapshot->OrgMayUse(place, model)};
  }
  StatusCode Stop(const std::string& as, const std::string& team, const std::string& reason) {
    v1::StopRequest stop;
    stop.mutable_target()->mutable_scope()->set_org("acme");
    stop.mutable_target()->mutable_scope()->set_team(team);
    stop.set_reason(reason);
    return Call(as, v1::System::NewStub(channel), &v1::System::Stub::Stop, stop, stopped).error_code();
  }
  StatusCode Lift(const std::string& as, const std::string& team) {
    v1::LiftStopRequest lift;
    lift.mutable_target()->mutable_scope()->set_org("acme");
    lift.mutable_target()->mutable_scope()->set_team(team);
    const grpc::Status status = Call(as, v1::System::NewStub(channel), &v1::System::Stub::LiftStop, lift, stopped);
    why = status.error_message();
    return status.error_code();
  }
  grpc::Status Put(const std::string& as, const std::string& word) {
    v1::PutPolicyRequest put;
    put.set_name("house");
    put.set_yaml("version: 1\nname: house\nrules:\n  - id: word\n    detect: {keywords: " + word + "}\n    do: block\n");
    put.set_store_only(true);
    return Call(as, v1::Policy::NewStub(channel), &v1::Policy::Stub::Put, put, stored);
  }
  StatusCode Activate(const std::string& as, std::int64_t version) {
    v1::ActivatePolicyRequest activate;
    activate.set_org("acme");
    activate.set_name("house");
    activate.set_version(version);
    const grpc::Status status = Call(as, v1::Policy::NewStub(channel), &v1::Policy::Stub::Activate, activate, stored);
    why = status.error_message();
    return status.error_code();
  }

  v1::CreateKeyReply created;
  v1::Grant granted;
  v1::EmergencyStop stopped;
  v1::StoredPolicy stored;
  std::string why;
};

constexpr std::pair kNeither{false, false};
constexpr std::pair kBoth{true, true};

}  // namespace

TEST_CASE("An org's admin opens no restricted model, whether the grant or the model came first") {
  World world;
  REQUIRE(world.Grant("globex", "early").ok());  // There is none of that name, and nobody is told.
  CHECK_FALSE(world.granted.by_installation());
  world.AddRestricted("early");
  world.AddRestricted("late");
  REQUIRE(world.Grant("globex", "late").ok());
  CHECK(world.MayUse("globex/app", "early") == kNeither);
  CHECK(world.MayUse("globex/app", "late") == kNeither);
  CHECK(world.MayUse("acme/app", "early") == kNeither);
  CHECK(Must(world.directory->InForce())->ClosedGrants() == std::vector<std::string>{"early (org globex)", "late (org globex)"});

  REQUIRE(world.Grant("first", "early").ok());  // Of acme.
  CHECK(world.granted.by_installation());
  CHECK(world.MayUse("acme/app", "early") == kBoth);
  CHECK(world.MayUse("globex/app", "early") == kNeither);
  v1::ClearGrantsRequest clear;
  clear.mutable_scope()->set_org("globex");
  v1::ClearGrantsReply cleared;
  REQUIRE(world.Directory("globex", &v1::Directory::Stub::ClearGrants, clear, cleared).ok());
  REQUIRE(world.Grant("admin", "early", "search").ok());  // Narrows what the org's line opens.
  CHECK(world.MayUse("acme/app", "early") == kBoth);
  CHECK(Must(world.directory->InForce())->ClosedGrants().empty());
  v1::RevokeGrantRequest revoke;
  revoke.mutable_scope()->set_org("acme");
  revoke.set_model("early");
  REQUIRE(world.Directory("first", &v1::Directory::Stub::RevokeGrant, revoke, world.granted).ok());
  CHECK(Must(world.directory->InForce())->ClosedGrants().empty());  // It would open nothing either: the org's list has it no more.
  clear.mutable_scope()->set_org("acme");
  REQUIRE(world.Directory("first", &v1::Directory::Stub::ClearGrants, clear, cleared).ok());
  CHECK(Must(world.directory->InForce())->ClosedGrants() == std::vector<std::string>{"early (org acme)"});
}

TEST_CASE("An owner's grant opens a restricted model where it was given, its admin narrows that, and opens nothing again") {
  World world;
  world.AddRestricted("secret");
  REQUIRE(world.Grant("admin", "secret", "search").ok());
  CHECK(world.MayUse("acme/app", "secret") == kNeither);
  REQUIRE(world.Grant("first", "secret", "search").ok());  // The same line, which counts from now on.
  CHECK(world.MayUse("acme/app", "secret") == std::pair(true, false));
  REQUIRE(world.Grant("admin", "secret", "search").ok());  // Stands so already.
  CHECK(world.granted.by_installation());
  v1::RevokeGrantRequest revoke;
  *revoke.mutable_scope() = world.granted.scope();
  revoke.set_model("secret");
  REQUIRE(world.Directory("admin", &v1::Directory::Stub::RevokeGrant, revoke, world.granted).ok());
  CHECK(world.MayUse("acme/app", "secret") == kNeither);
  REQUIRE(world.Grant("admin", "secret", "search").ok());
  CHECK(world.MayUse("acme/app", "secret") == kNeither);
}

TEST_CASE("A restricted model whose name a retired one had is open to nobody whom that one was opened to") {
  World world;
  world.AddRestricted("contracts");
  REQUIRE(world.Grant("first", "contracts").ok());
  CHECK(world.MayUse("acme/app", "contracts") == kBoth);
  v1::RetireModelRequest retire;
  retire.set_name("contracts");
  retire.set_reason("another is trained");
  v1::RegisteredModel model;
  REQUIRE(world.Call("first", v1::Registry::NewStub(world.channel), &v1::Registry::Stub::RetireModel, retire, model).ok());
  world.AddRestricted("contracts");
  CHECK(world.MayUse("acme/app", "contracts") == kNeither);
  CHECK(Must(world.directory->InForce())->ClosedGrants() == std::vector<std::string>{"contracts (org acme)"});
  REQUIRE(world.Grant("first", "contracts").ok());
  CHECK(world.granted.by_installation());
  CHECK(world.MayUse("acme/app", "contracts") == kBoth);
}

TEST_CASE("An org's admin lifts their own stops, and none that was set for the installation") {
  World world;
  for (const std::string team : {"", "search"}) {
    INFO("team " << team);
    REQUIRE(world.Stop("admin", team, "a test") == StatusCode::OK);
    CHECK_FALSE(world.stopped.by_installation());
    REQUIRE(world.Lift("admin", team) == StatusCode::OK);
    REQUIRE(world.Stop("operator", team, "a leak") == StatusCode::OK);
    CHECK(world.stopped.by_installation());
    CHECK(world.Lift("admin", team) == StatusCode::PERMISSION_DENIED);
    CHECK(world.why.find("role operator or owner") != std::string::npos);
    REQUIRE(world.Stop("admin", team, "me too") == StatusCode::OK);  // Changes nothing.
    CHECK(world.stopped.reason() == "a leak");
    CHECK(world.Lift("admin", team) == StatusCode::PERMISSION_DENIED);
    REQUIRE(world.Lift("operator", team) == StatusCode::OK);
    CHECK(world.Lift("admin", team) == StatusCode::NOT_FOUND);

    REQUIRE(world.Stop("admin", team, "a test") == StatusCode::OK);
    const std::int64_t since = world.stopped.since_us();
    REQUIRE(world.Stop("operator", team, "taken over") == StatusCode::OK);
    CHECK(world.stopped.reason() == "taken over");
    CHECK(world.stopped.since_us() == since);
    CHECK(world.Lift("admin", team) == StatusCode::PERMISSION_DENIED);
    REQUIRE(world.Lift("first", team) == StatusCode::OK);
    REQUIRE(world.Stop("admin", team, "again") == StatusCode::OK);  // Their own once more.
    REQUIRE(world.Lift("admin", team) == StatusCode::OK);
  }
}

TEST_CASE("A limit that an owner set is a ceiling for the org's admin, who sets others beside and below it") {
  World world;
  v1::Quota quota;
  const auto set = [&](const std::string& as, std::int64_t amount, const std::string& team = "",
                       v1::QuotaWindow window = v1::QUOTA_WINDOW_MONTH) {
    v1::SetQuotaRequest request;
    request.mutable_scope()->set_org("acme");
    request.mutable_scope()->set_team(team);
    request.set_meter(v1::QUOTA_METER_TOKENS);
    request.set_window(window);
    request.set_amount(amount);
    const grpc::Status status = world.Directory(as, &v1::Directory::Stub::SetQuota, request, quota);
    world.why = status.error_message();
    return status.error_code();
  };
  const auto remove = [&](const std::string& as) {
    v1::RemoveQuotaRequest request;
    request.mutable_scope()->set_org("acme");
    request.set_meter(v1::QUOTA_METER_TOKENS);
    request.set_window(v1::QUOTA_WINDOW_MONTH);
    return world.Directory(as, &v1::Directory::Stub::RemoveQuota, request, quota).error_code();
  };
  REQUIRE(set("admin", 100) == StatusCode::OK);
  CHECK_FALSE(quota.by_installation());
  REQUIRE(set("admin", 200) == StatusCode::OK);
  REQUIRE(set("first", 200) == StatusCode::OK);  // The same, which is a ceiling from now on.
  CHECK(quota.by_installation());
  for (const std::int64_t amount : {100, 300}) {
    CHECK(set("admin", amount) == StatusCode::PERMISSION_DENIED);
    CHECK(world.why.find("the limit on tokens per month of org acme was set for the installation") != std::string::npos);
  }
  CHECK(set("admin", 200) == StatusCode::OK);  // Stands so already.
  CHECK(quota.by_installation());
  CHECK(remove("admin") == StatusCode::PERMISSION_DENIED);
  CHECK(set("admin", 50, "search") == StatusCode::OK);
  CHECK(set("admin", 70, "search") == StatusCode::OK);
  CHECK(set("admin", 10, "", v1::QUOTA_WINDOW_DAY) == StatusCode::OK);
  CHECK(set("first", 300) == StatusCode::OK);
  CHECK(remove("first") == StatusCode::OK);
  CHECK(set("admin", 400) == StatusCode::OK);  // Their own once more.
  CHECK(remove("admin") == StatusCode::OK);
}

TEST_CASE("Caps that an owner set are ceilings for the org's admin, who lowers them and sets the rest") {
  World world;
  v1::ScopeDefaults stored;
  const auto set = [&](const std::string& as, std::int32_t output_cap, double temperature = 0) {
    v1::SetDefaultsRequest request;
    request.mutable_scope()->set_org("acme");
    if (output_cap > 0) request.mutable_defaults()->set_output_tokens_cap(output_cap);
    request.mutable_defaults()->mutable_sampling()->set_temperature(temperature);
    const grpc::Status status = world.Call(as, v1::Defaults::NewStub(world.channel), &v1::Defaults::Stub::Set, request, stored);
    world.why = status.error_message();
    return status.error_code();
  };
  const auto remove = [&](const std::string& as) {
    v1::RemoveDefaultsRequest request;
    request.mutable_scope()->set_org("acme");
    return world.Call(as, v1::Defaults::NewStub(world.channel), &v1::Defaults::Stub::Remove, request, stored).error_code();
  };
  REQUIRE(set("admin", 1000) == StatusCode::OK);
  REQUIRE(set("admin", 2000) == StatusCode::OK);
  CHECK_FALSE(stored.by_installation());
  REQUIRE(set("first", 500) == StatusCode::OK);
  CHECK(stored.by_installation());
  CHECK(set("admin", 501) == StatusCode::PERMISSION_DENIED);
  CHECK(world.why.find("the caps of org acme were set for the installation") != std::string::npos);
  CHECK(set("admin", 0) == StatusCode::PERMISSION_DENIED);
  CHECK(remove("admin") == StatusCode::PERMISSION_DENIED);
  REQUIRE(set("admin", 400, 0.5) == StatusCode::OK);
  CHECK(stored.by_installation());
  CHECK(set("admin", 500) == StatusCode::PERMISSION_DENIED);
  REQUIRE(set("first", 0, 0.5) == StatusCode::OK);  // No cap any more.
  REQUIRE(set("admin", 0, 0.7) == StatusCode::OK);
  CHECK_FALSE(stored.by_installation());
  REQUIRE(remove("admin") == StatusCode::OK);
}

TEST_CASE("The second person of a policy is nobody whose key the first one made or rotated") {
  World world;
  v1::SetSecondPersonRequest wanted;
  wanted.set_wanted(true);
  wanted.set_org("acme");
  v1::SetSecondPersonReply set;
  REQUIRE(world.Call("owner", v1::Policy::NewStub(world.channel), &v1::Policy::Stub::SetSecondPerson, wanted, set).ok());
  REQUIRE(world.Put("admin", "eagle").ok());  // All keys that were there belong to ann.
  world.MakeKey("admin", "bob", "approver");
  CHECK(world.MadeBy() == "ann@acme.example ");
  CHECK(world.Activate("bob", 1) == StatusCode::FAILED_PRECONDITION);
  CHECK(world.why.find("ann@acme.example may know the secrets of both keys") != std::string::npos);
  world.MakeKey("first", "carol", "approver");
  CHECK(world.MadeBy().empty());
  CHECK(world.Activate("carol", 1) == StatusCode::OK);
  world.Rotate("admin", "carol");
  CHECK(world.MadeBy() == "ann@acme.example ");
  CHECK(world.Activate("carol", 0) == StatusCode::FAILED_PRECONDITION);
  world.Rotate("first", "carol");
  CHECK(world.MadeBy().empty());
  CHECK(world.Activate("carol", 0) == StatusCode::OK);

  // The other way round: what ann's admin key stored in another's name, ann does not let act.
  world.MakeKey("admin", "dave", "policy_author");
  REQUIRE(world.Put("dave", "falcon").ok());
  CHECK(world.Activate("admin", 2) == StatusCode::FAILED_PRECONDITION);
  CHECK(world.Activate("bob", 2) == StatusCode::FAILED_PRECONDITION);  // Ann made both.
  CHECK(world.Activate("carol", 2) == StatusCode::OK);
}

TEST_CASE("A key that one admin made for another keeps who made it through whatever that one makes") {
  World world;
  world.MakeKey("admin", "eve", "admin");
  world.MakeKey("eve", "fay", "approver");
  CHECK(world.MadeBy() == "ann@acme.example eve ");
  world.Rotate("eve", "eve");  // With the very key that ann may know.
  CHECK(world.MadeBy() == "ann@acme.example ");
}

TEST_CASE("Nobody approves what a key asked for that they made, nor with a key that the asker made") {
  World world;
  world.MakeKey("admin", "dave", "member");
  const std::string asks = world.created.key().public_id();
  const auto snapshot = Must(world.directory->InForce());
  const auto place = *snapshot->FindKey(asks);
  const gates::Ask ask{
      .org = place.org->id, .team = place.team->id, .key = place.key->id, .request = base::RequestId::New(), .approvals = {{"dump", 30}}};
  std::promise<absl::StatusOr<gates::Answer>> asked;
  world.gates->Pass(ask, [&](auto answer) { asked.set_value(std::move(answer)); });
  v1::ApproveRequest approve;
  approve.set_org("acme");
  approve.set_id(Must(asked.get_future().get()).waiting.at(0).id.ToString());
  approve.set_reason("incident 12");
  v1::PolicyApproval approved;
  const auto call = [&](const std::string& as) {
    const grpc::Status status = world.Call(as, v1::Policy::NewStub(world.channel), &v1::Policy::Stub::Approve, approve, approved);
    world.why = status.error_message();
    return status.error_code();
  };
  CHECK(call("admin") == StatusCode::FAILED_PRECONDITION);
  CHECK(world.why.find("ann@acme.example may know the secrets of both keys") != std::string::npos);
  world.MakeKey("admin", "bob", "approver");
  CHECK(call("bob") == StatusCode::FAILED_PRECONDITION);
  world.MakeKey("first", "carol", "approver");
  CHECK(call("carol") == StatusCode::OK);
}
