// Who may do what, and how fast it ends when they may no more.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "gateway/identity/api_key.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;
namespace identity = tollgate::identity;

// The promise is one second: of streams that are ended, the middle one holds it. What is beyond is for a machine that is busy with other
// tests.
constexpr milliseconds kPromised{1000};
constexpr milliseconds kInForceWithin{2000};

struct World {
  World() : admin(gateway, installation.owner_key()), company(MakeCompany(admin)) {
    REQUIRE(Eventually([&] { return Say(company.key).done; }));
  }
  Answer Say(const std::string& key, Surface surface = Surface::kHttpPlain) { return Ask(ports, surface, {.key = key, .prompt = "hello"}); }

  Installation installation;
  Gateway gateway{installation};
  Ports ports = PortsOf(gateway);
  Admin admin;
  Company company;
};

v1::StopTarget TargetOf(const std::string& what) {
  v1::StopTarget target;
  if (what == "everything") target.set_everything(true);
  if (what == "model") target.set_model("scripted");
  if (what == "team") *target.mutable_scope() = ScopeOf("red");
  return target;
}

void SetBlocked(Admin& admin, const v1::ScopeRef& scope, bool blocked) {
  v1::SetBlockedRequest request;
  *request.mutable_scope() = scope;
  request.set_blocked(blocked);
  request.set_reason("a test");
  admin.Call<v1::Directory>(&v1::Directory::Stub::SetBlocked, request);
}

void SetStopped(Admin& admin, const std::string& what, bool stopped) {
  if (stopped) {
    v1::StopRequest request;
    *request.mutable_target() = TargetOf(what);
    request.set_reason("a test");
    admin.Call<v1::System>(&v1::System::Stub::Stop, request);
  } else {
    v1::LiftStopRequest request;
    *request.mutable_target() = TargetOf(what);
    request.set_reason("a test");
    admin.Call<v1::System>(&v1::System::Stub::LiftStop, request);
  }
}

}  // namespace

TEST_CASE("A key that is wrong in any way is refused in the same words on every surface, and nothing is on record of it but a count") {
  World world;
  const std::string good = world.company.key;
  std::string flipped = good;
  flipped[20] = flipped[20] == 'a' ? 'b' : 'a';
  identity::ApiKey other_secret = identity::MintApiKey(identity::Environment::kLive);
  other_secret.public_id = world.company.public_id;
  const std::string keys[] = {"",
                              "tg_live_",
                              "x",
                              flipped,
                              good + "0",
                              good.substr(0, good.size() - 1),
                              identity::FormatApiKey(identity::MintApiKey(identity::Environment::kLive)),
                              identity::FormatApiKey(identity::MintApiKey(identity::Environment::kDev)),
                              identity::FormatApiKey(other_secret),
                              "' OR '1'='1",
                              "tg_live_" + world.company.public_id + "_'; DROP TABLE directory.key; --",
                              std::string(8000, 'A'),
                              "sk-proj-0123456789"};
  std::string words;
  const std::int64_t before = Books(world.installation).Requests();
  for (const std::string& key : keys) {
    for (const Surface surface : kSurfaces) {
      const Answer answer = world.Say(key, surface);
      INFO(Name(surface) << " with a key of " << key.size() << " bytes: " << answer.message);
      CHECK(answer.code == (IsGrpc(surface) ? 16 : 401));
      CHECK(answer.reason == (IsGrpc(surface) ? "INVALID_API_KEY" : "invalid_api_key"));
      if (!IsGrpc(surface)) CHECK(answer.header("x-should-retry") == "false");
      if (words.empty()) words = answer.message;
      CHECK(answer.message == words);
      CHECK(answer.text.empty());
      if (key.size() > 10) CHECK(answer.seen.find(key) == std::string::npos);
    }
  }
  CHECK(Get(world.ports.http, "/v1/models").status == 401);
  CHECK(Get(world.ports.http, "/v1/models/scripted", "tg_live_wrong").status == 401);
  Books books(world.installation);
  CHECK(books.Requests() == before);
  CHECK(Eventually([&] { return books.Count("SELECT count(*) FROM audit.record WHERE kind = 9") > 0; }));
  CHECK(world.Say(good).done);
  CHECK(world.gateway.process().Err().find(good.substr(18, 20)) == std::string::npos);
}

TEST_CASE("Authority that is taken away ends running streams at once and refuses new requests until it is given back") {
  World world;
  struct Case {
    const char* name;
    std::function<void(Admin&, bool)> take;  // True: away; false: back.
    const char* reason;
    bool comes_back;
  };
  const std::string id = world.company.public_id;
  const Case cases[] = {
      {"team blocked", [](Admin& a, bool on) { SetBlocked(a, ScopeOf("red"), on); }, "TEAM_BLOCKED", true},
      {"project blocked", [](Admin& a, bool on) { SetBlocked(a, ScopeOf("red", "app"), on); }, "PROJECT_BLOCKED", true},
      {"org blocked", [](Admin& a, bool on) { SetBlocked(a, ScopeOf(""), on); }, "ORG_BLOCKED", true},
      {"everything stopped", [](Admin& a, bool on) { SetStopped(a, "everything", on); }, "EMERGENCY_STOP", true},
      {"model stopped", [](Admin& a, bool on) { SetStopped(a, "model", on); }, "EMERGENCY_STOP", true},
      {"team stopped", [](Admin& a, bool on) { SetStopped(a, "team", on); }, "EMERGENCY_STOP", true},
      {"key revoked",
       [&](Admin& a, bool on) {
         if (on) a.Revoke(id);
       },
       "KEY_REVOKED", false},
  };
  std::vector<std::chrono::steady_clock::duration> took;
  for (const Case& one : cases) {
    INFO(one.name);
    std::vector<std::jthread> streams;
    std::vector<Answer> answers(4);
    std::vector<std::chrono::steady_clock::time_point> ended(4);
    std::atomic<int> running{0};
    for (int i = 0; i < 4; ++i) {
      streams.emplace_back([&, i] {
        bool counted = false;
        answers[i] = Ask(world.ports, kSurfaces[i],
                         {.key = world.company.key, .prompt = "!pace_ms 10\n!tokens 3000", .on_text = [&](const std::string&) {
                            if (!std::exchange(counted, true)) ++running;
                            return true;
                          }});
        ended[i] = std::chrono::steady_clock::now();
      });
    }
    Books books(world.installation);
    REQUIRE(Eventually([&] { return running == 2 && books.Open() == 4; }));
    one.take(world.admin, true);
    const auto taken = std::chrono::steady_clock::now();
    streams.clear();
    for (int i = 0; i < 4; ++i) {
      INFO(Name(kSurfaces[i]) << ": " << answers[i].code << " " << answers[i].reason << " " << answers[i].message);
      CHECK_FALSE(answers[i].done);
      CHECK(ended[i] - taken < kInForceWithin);
      took.push_back(ended[i] - taken);
      CHECK_FALSE(answers[i].message.empty());
    }
    REQUIRE(Eventually([&] { return books.Open() == 0; }));
    const auto reasons = books.Reasons();
    for (std::size_t i = reasons.size() - 4; i < reasons.size(); ++i) CHECK(reasons[i] == one.reason);
    for (const Surface surface : kSurfaces) {
      const Answer answer = world.Say(world.company.key, surface);
      CHECK_FALSE(answer.done);
      CHECK((answer.code == 401 || answer.code == 403 || answer.code == 503 || answer.code == 7 || answer.code == 16 || answer.code == 14));
    }
    one.take(world.admin, false);
    if (one.comes_back) CHECK(Eventually([&] { return world.Say(world.company.key).done; }, kInForceWithin));
    CHECK(CheckAcknowledged(world.admin, books, answers) == "");
  }
  std::nth_element(took.begin(), took.begin() + took.size() / 2, took.end());
  CHECK(took[took.size() / 2] < kPromised);
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("A model that is not on a scope's list is neither shown nor served") {
  World world;
  v1::GrantModelRequest grant;
  *grant.mutable_scope() = ScopeOf("red", "app");
  grant.set_model("another");
  world.admin.Call<v1::Directory>(&v1::Directory::Stub::GrantModel, grant);
  CHECK(Eventually([&] { return world.Say(world.company.key).reason == "model_not_granted"; }, kInForceWithin));
  for (const Surface surface : kSurfaces) {
    const Answer answer = world.Say(world.company.key, surface);
    CHECK(answer.code == (IsGrpc(surface) ? 7 : 403));
    CHECK(answer.message.find("scripted") != std::string::npos);
  }
  CHECK(JsonAt(Get(world.ports.http, "/v1/models", world.company.key).body, "data") == "[]");
  CHECK(Get(world.ports.http, "/v1/models/scripted", world.company.key).status == 404);
  v1::ClearGrantsRequest clear;
  *clear.mutable_scope() = ScopeOf("red", "app");
  world.admin.Call<v1::Directory>(&v1::Directory::Stub::ClearGrants, clear);
  CHECK(Eventually([&] { return world.Say(world.company.key).done; }, kInForceWithin));
  CHECK(JsonAt(Get(world.ports.http, "/v1/models", world.company.key).body, "data.0.id") == "scripted");
  const Answer unknown = Ask(world.ports, Surface::kHttpPlain, {.key = world.company.key, .prompt = "hello", .model = "gpt-4o"});
  CHECK(unknown.code == 404);
  CHECK(unknown.reason == "model_not_found");
}

TEST_CASE("Roles: what each key may call, and that what it may not call is refused by name") {
  World world;
  const std::string auditor = world.admin.MakeKey("red", "app", "auditor", {"auditor"}).secret();
  const std::string finance = world.admin.MakeKey("red", "app", "finance", {"finance"}).secret();
  const std::string author = world.admin.MakeKey("red", "app", "author", {"policy_author"}).secret();
  const std::string org_admin = world.admin.MakeKey("red", "app", "org-admin", {"admin"}).secret();
  REQUIRE(Eventually([&] { return world.Say(org_admin).code != 401; }, kInForceWithin));

  const auto list = [&](const std::string& key) {
    v1::ListRecordsReply reply;
    return Admin(world.gateway, key).Try<v1::Audit>(&v1::Audit::Stub::List, v1::ListRecordsRequest(), &reply).error_code();
  };
  const auto report = [&](const std::string& key) {
    v1::UsageReportReply reply;
    return Admin(world.gateway, key).Try<v1::Usage>(&v1::Usage::Stub::Report, v1::UsageReportRequest(), &reply).error_code();
  };
  const auto put = [&](const std::string& key) {
    v1::PutPolicyRequest request;
    request.set_name("draft");
    request.set_yaml("version: 1\nname: draft\nrules: []\n");
    request.set_store_only(true);
    v1::StoredPolicy reply;
    return Admin(world.gateway, key).Try<v1::Policy>(&v1::Policy::Stub::Put, request, &reply).error_code();
  };
  const auto stop_all = [&](const std::string& key) {
    v1::StopRequest request;
    request.mutable_target()->set_everything(true);
    request.set_reason("a test");
    v1::EmergencyStop reply;
    return Admin(world.gateway, key).Try<v1::System>(&v1::System::Stub::Stop, request, &reply).error_code();
  };
  const auto make_owner = [&](const std::string& key) {
    v1::CreateKeyRequest request;
    request.set_team("red");
    request.set_project("app");
    request.set_name("more-power");
    request.add_roles("owner");
    v1::CreateKeyReply reply;
    return Admin(world.gateway, key).Try<v1::Directory>(&v1::Directory::Stub::CreateKey, request, &reply).error_code();
  };
  constexpr auto ok = grpc::StatusCode::OK, no = grpc::StatusCode::PERMISSION_DENIED, who = grpc::StatusCode::UNAUTHENTICATED;
  CHECK(list(auditor) == ok);
  CHECK(list(finance) == no);
  CHECK(list(world.company.key) == no);
  CHECK(list("") == who);
  CHECK(report(finance) == ok);
  CHECK(report(author) == no);
  CHECK(put(author) == ok);
  CHECK(put(auditor) == no);
  for (const std::string& key : {auditor, finance, author, world.company.key, org_admin}) {
    CHECK(stop_all(key) == no);
    CHECK(make_owner(key) == no);
  }
  for (const std::string& key : {auditor, finance}) {
    const Answer answer = world.Say(key);
    CHECK(answer.code == 403);
    CHECK(answer.reason == "role_not_granted");
  }
  // Administration is not on the API listener.
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + world.installation.owner_key());
  v1::ListOrgsReply orgs;
  CHECK(v1::Directory::NewStub(ChannelTo(world.ports.grpc))->ListOrgs(&context, {}, &orgs).error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(world.Say(world.company.key).done);
}

TEST_CASE("An org sees nothing of another org") {
  World world;
  v1::CreateOrgRequest org;
  org.set_name("rival");
  world.admin.Call<v1::Directory>(&v1::Directory::Stub::CreateOrg, org);
  v1::CreateTeamRequest team;
  team.set_org("rival");
  team.set_name("spies");
  world.admin.Call<v1::Directory>(&v1::Directory::Stub::CreateTeam, team);
  v1::CreateProjectRequest project;
  project.set_org("rival");
  project.set_team("spies");
  project.set_name("app");
  world.admin.Call<v1::Directory>(&v1::Directory::Stub::CreateProject, project);
  v1::CreateKeyRequest request;
  request.set_org("rival");
  request.set_team("spies");
  request.set_project("app");
  request.set_name("all-seeing");
  for (const char* role : {"admin", "auditor", "finance", "policy_author"}) request.add_roles(role);
  const std::string spy = world.admin.Call<v1::Directory>(&v1::Directory::Stub::CreateKey, request).secret();
  const Answer answer = world.Say(world.company.key);
  REQUIRE(answer.done);

  Admin rival(world.gateway, spy);
  v1::ListRecordsReply records;
  REQUIRE(
      Eventually([&] { return rival.Try<v1::Audit>(&v1::Audit::Stub::List, v1::ListRecordsRequest(), &records).ok(); }, kInForceWithin));
  for (const v1::StoredRecord& record : records.records()) CHECK(record.org() == "rival");
  v1::ListRecordsRequest by_name;
  by_name.set_org("acme");
  CHECK_FALSE(rival.Try<v1::Audit>(&v1::Audit::Stub::List, by_name, &records).ok());
  v1::ShowRecordRequest show;
  show.set_request_id(answer.request_id);
  show.set_with_content(true);
  show.set_reason("curious");
  v1::ShowRecordReply shown;
  const grpc::Status seen = rival.Try<v1::Audit>(&v1::Audit::Stub::Show, show, &shown);
  CHECK((!seen.ok() || shown.records().empty()));
  v1::UsageReportRequest report;
  report.set_org("acme");
  v1::UsageReportReply usage;
  CHECK_FALSE(rival.Try<v1::Usage>(&v1::Usage::Stub::Report, report, &usage).ok());
  v1::RevokeKeyRequest revoke;
  revoke.set_public_id(world.company.public_id);
  revoke.set_reason("malice");
  v1::Key key;
  CHECK_FALSE(rival.Try<v1::Directory>(&v1::Directory::Stub::RevokeKey, revoke, &key).ok());
  v1::ListKeysRequest keys;
  keys.set_org("acme");
  v1::ListKeysReply listed;
  CHECK_FALSE(rival.Try<v1::Directory>(&v1::Directory::Stub::ListKeys, keys, &listed).ok());
  CHECK(world.Say(world.company.key).done);
}

TEST_CASE("A rotated key works beside its successor for as long as was said") {
  World world;
  v1::RotateKeyRequest rotate;
  rotate.set_public_id(world.company.public_id);
  rotate.set_overlap_s(3600);
  const std::string second = world.admin.Call<v1::Directory>(&v1::Directory::Stub::RotateKey, rotate).secret();
  CHECK(Eventually([&] { return world.Say(second).done; }, kInForceWithin));
  CHECK(world.Say(world.company.key).done);
  rotate.set_public_id(second.substr(8, 8));
  rotate.set_overlap_s(0);
  const std::string third = world.admin.Call<v1::Directory>(&v1::Directory::Stub::RotateKey, rotate).secret();
  CHECK(Eventually([&] { return world.Say(third).done; }, kInForceWithin));
  CHECK(Eventually([&] { return world.Say(second).code == 401; }, kInForceWithin));
}
