#include <chrono>
#include <future>
#include <set>
#include <thread>

#include "tests/gateway/admin/served.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;
using World = test::Served;

namespace {

v1::Quota SetLimit(World& world, const std::string& org, v1::QuotaMeter meter, v1::QuotaWindow window) {
  v1::SetQuotaRequest set;
  set.mutable_scope()->set_org(org);
  set.set_meter(meter);
  set.set_window(window);
  set.set_amount(1000);
  v1::Quota quota;
  REQUIRE(world.Directory("first", &v1::Directory::Stub::SetQuota, set, quota).ok());
  return quota;
}

// The limit as a list of its org has it.
v1::Quota Listed(World& world, const std::string& as, const v1::Quota& of) {
  v1::ListQuotasRequest request;
  request.set_org(of.scope().org());
  v1::ListQuotasReply reply;
  const grpc::Status status = world.Directory(as, &v1::Directory::Stub::ListQuotas, request, reply);
  INFO(status.error_message());
  REQUIRE(status.ok());
  for (const v1::Quota& one : reply.quotas()) {
    if (one.id() == of.id()) return one;
  }
  FAIL("the limit is not listed");
  return {};
}

// Returns once a session waits for a lock.
absl::Status AwaitLock(base::Session& look) {
  while (true) {
    TG_ASSIGN(const auto waits, look.Run("look", "SELECT count(*) FROM pg_locks WHERE NOT granted"));
    if (waits.Int(0, 0) > 0) return absl::OkStatus();
    std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("Limits are listed with what is taken of them in the window that is open, and without it where the database does not say") {
  World world;
  const v1::Quota quota = SetLimit(world, "acme", v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_DAY);
  const v1::Quota concurrent = SetLimit(world, "acme", v1::QUOTA_METER_CONCURRENT, v1::QUOTA_WINDOW_UNSPECIFIED);
  const auto listed = [&](const v1::Quota& of) { return Listed(world, "first", of); };
  CHECK(listed(quota).has_taken());
  CHECK(listed(quota).taken() == 0);
  CHECK_FALSE(listed(concurrent).has_taken());
  const auto owner = test::PostgresCluster::Shared().Connect(world.in.url);
  REQUIRE(owner
              ->RunScript("take",
                          "WITH now AS (SELECT (extract(epoch FROM now()) * 1000000)::int8 AS us) INSERT INTO metering.balance "
                          "SELECT '" +
                              quota.id() +
                              "'::uuid, us + of * 1000000 - 600000000, us + of * 1000000 + 600000000, 40 + abs(of) "
                              "FROM now, generate_series(-3600::int8, 3600, 3600) AS of")
              .ok());
  CHECK(listed(quota).taken() == 40);
  CHECK(listed(quota).resets_us() > 0);
  REQUIRE(owner->RunScript("close", "REVOKE SELECT ON metering.balance FROM tollgate_reader").ok());
  CHECK(listed(quota).amount() == 1000);
  CHECK_FALSE(listed(quota).has_taken());
}

TEST_CASE("What is taken of limits is told to keys whose roles read usage, as far as those reach") {
  World world;
  world.texts["both"] = world.in.MakeKey("globex", "both", {directory::Role::kOperator, directory::Role::kAdmin});
  REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(10)).ok());
  const v1::Quota acme = SetLimit(world, "acme", v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_DAY);
  const v1::Quota globex = SetLimit(world, "globex", v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_DAY);
  for (const char* may : {"first", "owner", "admin", "auditor", "finance"}) {
    INFO(may);
    CHECK(Listed(world, may, acme).has_taken());
  }
  for (const char* may_not : {"author", "operator", "both"}) {
    INFO(may_not);
    const v1::Quota told = Listed(world, may_not, acme);
    CHECK(told.amount() == 1000);
    CHECK_FALSE(told.has_taken());
    CHECK(told.resets_us() == 0);
  }
  CHECK(Listed(world, "both", globex).has_taken());  // Sees all orgs, and the usage of its own.
  CHECK(Listed(world, "first", globex).has_taken());
}

TEST_CASE("Limits are listed with what is taken of them while a report runs") {
  World world;
  const v1::Quota quota = SetLimit(world, "acme", v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_DAY);
  const auto other = test::PostgresCluster::Shared().Connect(world.in.url);
  const auto look = test::PostgresCluster::Shared().Connect(world.in.url);
  std::future<grpc::Status> running;
  v1::UsageReportReply report;
  const auto locked = other->InTransaction("hold the usage", [&](base::Session& s) -> absl::Status {
    TG_RETURN_IF_ERROR(s.Run("lock", "LOCK TABLE metering.usage IN ACCESS EXCLUSIVE MODE").status());
    running = std::async(std::launch::async, [&] {
      return world.Call("finance", v1::Usage::NewStub(world.channel), &v1::Usage::Stub::Report, v1::UsageReportRequest(), report);
    });
    TG_RETURN_IF_ERROR(AwaitLock(*look));
    CHECK(Listed(world, "finance", quota).has_taken());
    CHECK(running.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);  // The list did not wait for it.
    return absl::OkStatus();
  });
  INFO(locked);
  REQUIRE(locked.ok());
  running.wait();
}

TEST_CASE("Limits are listed within two seconds or so while Postgres is frozen, without what is taken") {
  World world;
  const v1::Quota quota = SetLimit(world, "acme", v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_DAY);
  REQUIRE(Listed(world, "finance", quota).has_taken());
  const auto began = std::chrono::steady_clock::now();
  test::PostgresCluster::Shared().SigStop();
  v1::ListQuotasReply reply;
  const grpc::Status status = world.Directory("finance", &v1::Directory::Stub::ListQuotas, v1::ListQuotasRequest(), reply);
  const auto took = std::chrono::steady_clock::now() - began;
  test::PostgresCluster::Shared().SigCont();
  INFO(status.error_message());
  REQUIRE(status.ok());
  REQUIRE(reply.quotas_size() == 1);
  CHECK_FALSE(reply.quotas(0).has_taken());
  CHECK(took < std::chrono::seconds(4));
}

TEST_CASE("The audit log is read within one's org, and verifies") {
  World world;
  auto stub = [&] { return v1::Audit::NewStub(world.channel); };
  v1::ListRecordsRequest request;
  request.set_page_size(500);
  v1::ListRecordsReply mine;
  CHECK(world.Call("member", stub(), &v1::Audit::Stub::List, request, mine).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("auditor", stub(), &v1::Audit::Stub::List, request, mine).ok());
  REQUIRE(mine.records_size() > 0);
  for (const auto& record : mine.records()) CHECK(record.org() == "acme");
  v1::ListRecordsReply all;
  REQUIRE(world.Call("first", stub(), &v1::Audit::Stub::List, request, all).ok());
  CHECK(all.records_size() > mine.records_size());
  request.set_org("globex");
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::List, request, mine).error_code() == StatusCode::NOT_FOUND);

  v1::ShowRecordRequest show;
  for (const auto& record : all.records()) {
    if (record.org() == "globex") *show.mutable_position() = record.position();
  }
  REQUIRE(show.has_position());
  v1::ShowRecordReply shown;
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::Show, show, shown).error_code() == StatusCode::NOT_FOUND);
  REQUIRE(world.Call("first", stub(), &v1::Audit::Stub::Show, show, shown).ok());
  CHECK(shown.records(0).leaf_hash().size() == 32);
  show.set_with_content(true);
  CHECK(world.Call("first", stub(), &v1::Audit::Stub::Show, show, shown).error_code() == StatusCode::INVALID_ARGUMENT);  // No reason.

  v1::VerifyLogReply verified;
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::Verify, v1::VerifyLogRequest(), verified).error_code() ==
        StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("operator", stub(), &v1::Audit::Stub::Verify, v1::VerifyLogRequest(), verified).ok());
  CHECK(verified.ok());
  CHECK(verified.logs_size() == 1);
  v1::VerifyLogRequest first;
  first.set_log_id(verified.logs(0).log_id());

  // A record of a log that nobody began.
  REQUIRE(test::PostgresCluster::Shared()
              .Connect(world.in.url)
              ->RunScript("add",
                          "INSERT INTO audit.record (leaf_index, wall_us, day, segment, attempt, log_id, kind, leaf_hash, message) "
                          "SELECT 57, wall_us, day, segment, attempt, 999, kind, leaf_hash, message FROM audit.record WHERE leaf_index = 0")
              .ok());
  REQUIRE(world.Call("operator", stub(), &v1::Audit::Stub::Verify, v1::VerifyLogRequest(), verified).ok());
  CHECK_FALSE(verified.ok());
  REQUIRE(verified.logs_size() == 2);
  CHECK(verified.logs(0).problem().empty());
  CHECK(verified.logs(1).log_id() == 999);
  CHECK(verified.logs(1).problem() == "its log has no head");
  CHECK(verified.logs(1).first_bad_index() == 57);
  v1::VerifyLogRequest one;
  one.set_log_id(999);
  REQUIRE(world.Call("operator", stub(), &v1::Audit::Stub::Verify, one, verified).ok());
  CHECK_FALSE(verified.ok());
  REQUIRE(
      test::PostgresCluster::Shared()
          .Connect(world.in.url)
          ->RunScript("add one that the check would refuse",
                      "ALTER TABLE audit.record DROP CONSTRAINT record_leaf_index_check;"
                      "INSERT INTO audit.record (leaf_index, wall_us, day, segment, attempt, log_id, kind, leaf_hash, message) "
                      "SELECT -1, wall_us, day, segment, attempt, log_id, kind, leaf_hash, message FROM audit.record WHERE leaf_index = 0")
          .ok());
  REQUIRE(world.Call("operator", stub(), &v1::Audit::Stub::Verify, first, verified).ok());
  CHECK_FALSE(verified.ok());
  CHECK(verified.logs(0).problem() == "record -1 lies before the log's first");
  CHECK(verified.logs(0).first_bad_index() == 0);  // -1 would say that none is wrong.
  one.set_log_id(1000);
  CHECK(world.Call("operator", stub(), &v1::Audit::Stub::Verify, one, verified).error_code() == StatusCode::NOT_FOUND);
}

TEST_CASE("Content is shown to who may read it, with a reason, and that is on record") {
  World world;
  auto stub = [&] { return v1::Audit::NewStub(world.channel); };
  const auto snapshot = Must(world.directory->InForce());
  const auto place = *snapshot->FindKey(world.in.IdOf("acme/app"));
  const base::RequestId request = base::RequestId::New();
  const auto key = Must(audit::MakeKeyAndWait(*world.root_keys, place.team->id, request, audit::Journal::kNoDeadline));
  v1::SealedContent content;
  content.add_prompt()->add_parts("the canary sings");
  audit::Entry entry;
  entry.record.set_kind(v1::RECORD_KIND_DENY);
  entry.record.set_request_id(request.Bytes());
  entry.record.set_attempt(1);
  entry.record.set_org_id(place.org->id.Bytes());
  entry.record.set_team_id(place.team->id.Bytes());
  entry.record.set_project_id(place.project->id.Bytes());
  entry.record.set_key_id(place.key->id.Bytes());
  entry.record.mutable_deny()->set_reason("POLICY_BLOCKED");
  entry.content = audit::Seal(*key, {v1::RECORD_KIND_DENY, 1, 0}, content);
  entry.key = key->row();
  Must(audit::AppendAndWait(*world.journal, std::move(entry), audit::Journal::kNoDeadline));

  v1::ShowRecordRequest show;
  show.set_request_id(request.ToString());
  v1::ShowRecordReply shown;
  REQUIRE(world.Call("admin", stub(), &v1::Audit::Stub::Show, show, shown).ok());
  REQUIRE(shown.records_size() == 1);
  CHECK(shown.records(0).content_stored());
  CHECK_FALSE(shown.records(0).has_content());
  CHECK(shown.records(0).team() == "search");
  CHECK(shown.records(0).project() == "web");
  CHECK(shown.records(0).key() == world.in.IdOf("acme/app"));
  show.set_with_content(true);
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::Show, show, shown).error_code() == StatusCode::INVALID_ARGUMENT);
  show.set_reason("complaint 7");
  CHECK(world.Call("admin", stub(), &v1::Audit::Stub::Show, show, shown).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Call("globex", stub(), &v1::Audit::Stub::Show, show, shown).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("auditor", stub(), &v1::Audit::Stub::Show, show, shown).ok());
  CHECK(shown.records(0).content().prompt(0).parts(0) == "the canary sings");
  v1::ListRecordsRequest views;
  views.add_kinds(v1::RECORD_KIND_VIEW);
  v1::ListRecordsReply listed;
  REQUIRE(world.Call("auditor", stub(), &v1::Audit::Stub::List, views, listed).ok());
  REQUIRE(listed.records_size() == 1);
  CHECK(listed.records(0).record().view().actor() == world.in.IdOf("acme/auditor"));
  CHECK(listed.records(0).record().view().reason() == "complaint 7");
}

TEST_CASE("Usage is reported within one's org; reconciling is for the installation") {
  World world;
  auto stub = [&] { return v1::Usage::NewStub(world.channel); };
  v1::UsageReportReply report;
  REQUIRE(world.Call("finance", stub(), &v1::Usage::Stub::Report, v1::UsageReportRequest(), report).ok());
  CHECK(report.lines_size() == 0);
  CHECK(report.to_us() > report.from_us());
  v1::UsageReportRequest other;
  other.set_org("globex");
  CHECK(world.Call("finance", stub(), &v1::Usage::Stub::Report, other, report).error_code() == StatusCode::NOT_FOUND);
  REQUIRE(world.Call("first", stub(), &v1::Usage::Stub::Report, other, report).ok());
  v1::UsageReportRequest misspelt;
  misspelt.set_team("serch");
  CHECK(world.Call("finance", stub(), &v1::Usage::Stub::Report, misspelt, report).error_message() == "there is no team 'acme/serch'");
  misspelt.set_team("search");
  misspelt.set_project("we\x1b");
  CHECK(world.Call("finance", stub(), &v1::Usage::Stub::Report, misspelt, report).error_code() == StatusCode::INVALID_ARGUMENT);
  v1::ReconcileReply reconciled;
  CHECK(world.Call("finance", stub(), &v1::Usage::Stub::Reconcile, v1::ReconcileRequest(), reconciled).error_code() ==
        StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("operator", stub(), &v1::Usage::Stub::Reconcile, v1::ReconcileRequest(), reconciled).ok());
  CHECK(reconciled.ok());
}

TEST_CASE("Teams and projects of one name are told apart in a report: by their team, and in one of all orgs by their org") {
  World world;
  Must(world.in.changes->CreateTeam(world.in.cli, "acme", "hr"));
  Must(world.in.changes->CreateProject(world.in.cli, "acme", "hr", "web"));
  REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(10)).ok());
  // One usage of each project.
  world.in.Sql(
      "INSERT INTO metering.usage (request_id, leaf_index, at_us, amount_nanos, epoch, input_tokens, cached_input_tokens, output_tokens, "
      "delivered_tokens, price_version, attempt, log_id, org_id, team_id, project_id, currency, model, end_user_hmac, leases) "
      "SELECT gen_random_uuid(), 1, (extract(epoch FROM now()) * 1000000)::int8, 0, 0, 1, 0, 1, 1, 1, 1, 1, o.id, t.id, p.id, 'EUR', 'm', "
      "'', '' FROM directory.project p JOIN directory.team t ON p.team = t.id JOIN directory.org o ON t.org = o.id "
      "WHERE o.name IN ('acme', 'globex')");
  const auto names = [&](const std::string& as, v1::UsageGroup group) {
    v1::UsageReportRequest request;
    request.set_group_by(group);
    v1::UsageReportReply reply;
    const grpc::Status status = world.Call(as, v1::Usage::NewStub(world.channel), &v1::Usage::Stub::Report, request, reply);
    INFO(status.error_message());
    REQUIRE(status.ok());
    std::set<std::string> out;
    for (const v1::UsageLine& line : reply.lines()) out.insert(line.name());
    return out;
  };
  using Names = std::set<std::string>;
  CHECK(names("finance", v1::USAGE_GROUP_PROJECT) == Names{"hr/web", "search/web"});
  CHECK(names("finance", v1::USAGE_GROUP_TEAM) == Names{"hr", "search"});
  CHECK(names("first", v1::USAGE_GROUP_PROJECT) == Names{"acme/hr/web", "acme/search/web", "globex/search/web"});
  CHECK(names("first", v1::USAGE_GROUP_TEAM) == Names{"acme/hr", "acme/search", "globex/search"});
  CHECK(names("first", v1::USAGE_GROUP_ORG) == Names{"acme", "globex"});
}

TEST_CASE("Verifying and reconciling end when the services stop, also while they run") {
  World world;
  const auto other = test::PostgresCluster::Shared().Connect(world.in.url);
  const auto look = test::PostgresCluster::Shared().Connect(world.in.url);
  std::future<grpc::Status> running;
  v1::VerifyLogReply verified;
  const auto locked = other->InTransaction("hold the log", [&](base::Session& s) -> absl::Status {
    TG_RETURN_IF_ERROR(s.Run("lock", "LOCK TABLE audit.record IN ACCESS EXCLUSIVE MODE").status());
    running = std::async(std::launch::async, [&] {
      return world.Call("operator", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::Verify, v1::VerifyLogRequest(), verified);
    });
    TG_RETURN_IF_ERROR(AwaitLock(*look));
    world.services->Stop();
    return absl::OkStatus();
  });
  INFO(locked);
  REQUIRE(locked.ok());
  const grpc::Status ended = running.get();
  CHECK(ended.error_code() == StatusCode::UNAVAILABLE);
  CHECK(ended.error_message().find("shutting down") != std::string::npos);
  v1::ReconcileReply reconciled;
  CHECK(world.Call("operator", v1::Usage::NewStub(world.channel), &v1::Usage::Stub::Reconcile, v1::ReconcileRequest(), reconciled)
            .error_code() == StatusCode::UNAVAILABLE);
}

TEST_CASE("What a pseudonym stands for is told to who may read content, and forgotten for who may manage teams; both are on record") {
  World world;
  auto stub = [&] { return v1::Audit::NewStub(world.channel); };
  const auto snapshot = Must(world.directory->InForce());
  const base::TeamId team = snapshot->FindKey(world.in.IdOf("acme/app"))->team->id;
  const auto key = Must(audit::MakeKeyAndWait(*world.root_keys, team, base::RequestId::New(), audit::Journal::kNoDeadline));
  const base::Digest anna = key->EndUserHmac("anna");
  std::promise<absl::Status> kept;
  world.root_keys->KeepValues(
      team, std::string(base::View(anna)),
      {{"[EMAIL_7Q2K9FXM]", key->Sealer().Seal("[EMAIL_7Q2K9FXM]", "bob@example.com"), key->ValueMark("bob@example.com")}},
      audit::Journal::kNoDeadline, [&](absl::Status status) { kept.set_value(std::move(status)); });
  REQUIRE(kept.get_future().get().ok());
  std::promise<absl::StatusOr<bool>> accepted;
  world.gates->Accept(team, std::string(base::View(anna)), {"rules@1"}, base::RequestId::New(),
                      [&](auto done) { accepted.set_value(std::move(done)); });
  REQUIRE(accepted.get_future().get().ok());

  v1::ShowPseudonymRequest show;
  show.set_team("search");
  show.set_pseudonym("[EMAIL_7Q2K9FXM]");
  v1::ShowPseudonymReply shown;
  CHECK(world.Call("member", stub(), &v1::Audit::Stub::ShowPseudonym, show, shown).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::ShowPseudonym, show, shown).error_code() ==
        StatusCode::INVALID_ARGUMENT);  // No reason.
  show.set_reason("complaint 77");
  REQUIRE(world.Call("auditor", stub(), &v1::Audit::Stub::ShowPseudonym, show, shown).ok());
  CHECK(shown.value() == "bob@example.com");
  CHECK(world.Call("globex", stub(), &v1::Audit::Stub::ShowPseudonym, show, shown).error_code() != StatusCode::OK);

  v1::ErasePseudonymsRequest erase;
  erase.set_team("search");
  erase.set_reason("a person's wish");
  v1::ErasePseudonymsReply erased;
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::ErasePseudonyms, erase, erased).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Call("owner", stub(), &v1::Audit::Stub::ErasePseudonyms, erase, erased).error_code() ==
        StatusCode::INVALID_ARGUMENT);  // Of what?
  erase.set_end_user("anna");
  REQUIRE(world.Call("owner", stub(), &v1::Audit::Stub::ErasePseudonyms, erase, erased).ok());
  CHECK(erased.erased() == 1);
  CHECK(erased.acceptances() == 1);
  CHECK(erased.still_told() == 0);
  CHECK(world.Call("auditor", stub(), &v1::Audit::Stub::ShowPseudonym, show, shown).error_code() == StatusCode::NOT_FOUND);

  v1::ListRecordsRequest list;
  list.add_kinds(v1::RECORD_KIND_VIEW);
  list.add_kinds(v1::RECORD_KIND_ERASE);
  v1::ListRecordsReply listed;
  REQUIRE(world.Call("auditor", stub(), &v1::Audit::Stub::List, list, listed).ok());
  REQUIRE(listed.records_size() == 2);
  CHECK(listed.records(0).record().erase().pseudonyms_of() == "end_user");
  CHECK(listed.records(1).record().view().pseudonym() == "[EMAIL_7Q2K9FXM]");
  CHECK(listed.records(1).record().view().reason() == "complaint 77");
}
