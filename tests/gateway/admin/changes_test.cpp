#include "gateway/admin/changes.h"

#include <set>
#include <thread>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "gateway/directory/row_postgres.h"
#include "gateway/directory/shard.h"
#include "gateway/identity/api_key.h"
#include "tests/gateway/admin/installation.h"

using namespace tollgate;
using namespace std::chrono_literals;
using admin::StopTarget;
using directory::Role;
using test::Installation;
using test::Must;
using test::PostgresCluster;

namespace {

using Kind = StopTarget::Kind;

// The snapshot with everything so far in it.
std::shared_ptr<const directory::Snapshot> InForce(Installation& in) { return Must(in.OpenDirectory()->InForce()); }

std::vector<std::string> Actions(const Installation& in) {
  std::vector<std::string> actions;
  for (const auto& entry : in.journal.entries()) actions.push_back(entry.record.admin().action());
  return actions;
}

}  // namespace

TEST_CASE("Every change is on record before it is made: who, what, and the digest of the row") {
  Installation in;
  in.MakeOrg("acme");
  const std::string app = in.IdOf("acme/app");
  Must(in.changes->SetBlocked({app, InForce(in)->FindKey(app)->key->id}, {"acme", "search", {}, {}}, true, "a leak"));
  CHECK(Actions(in) == std::vector<std::string>{"org.create", "team.create", "project.create", "key.create", "team.block"});
  const auto session = PostgresCluster::Shared().Connect(in.url);
  const auto entries = in.journal.entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const v1::Record& record = entries[i].record;
    CHECK(record.kind() == v1::RECORD_KIND_ADMIN);
    CHECK(record.org_id().size() == 16);
    CHECK(record.admin().row_sha256().size() == 32);
    // Every row points at its record; the team's at the later of its two.
    if (record.admin().action() == "team.create") continue;
    const auto found =
        session->Run("look", "SELECT admin_record, admin_log_id, admin_index FROM " + record.admin().table() + " WHERE id = $1::uuid",
                     {base::Uuid::FromBytes(record.admin().row_id())->ToString()});
    REQUIRE(found.ok());
    CHECK(found->Text(0, 0) == base::Uuid::FromBytes(record.request_id())->ToString());
    CHECK(found->Int(0, 1) == 1);
    CHECK(found->Int(0, 2) == static_cast<std::int64_t>(i));
  }
  const v1::AdminBody& block = entries.back().record.admin();
  CHECK(block.actor() == app);
  CHECK(block.summary() == "blocked team acme/search: a leak");
  const auto team = Must(directory::ReadRows(*session, directory::Table::kTeam, "name = 'search'", {}));
  CHECK(block.row_sha256() == base::View(directory::RowDigest(team[0])));
}

TEST_CASE("A change that cannot be recorded is not made") {
  Installation in;
  in.MakeOrg("acme");
  in.journal.SetFault([](const audit::Entry&) { return base::Unavailable("the audit database cannot be reached"); });
  const auto refused = in.changes->CreateTeam(in.cli, "acme", "support");
  CHECK(absl::IsUnavailable(refused.status()));
  CHECK(base::Message(refused.status()).find("so it was not made") != std::string::npos);
  in.journal.SetFault({});
  CHECK(InForce(in)->shards()[0]->teams.size() == 1);
  Must(in.changes->CreateTeam(in.cli, "acme", "support"));
  CHECK(InForce(in)->shards()[0]->teams.size() == 2);
}

TEST_CASE("No secret, and nothing that it could be guessed from, is in a record or in the database") {
  Installation in;
  const std::string text = in.MakeOrg("acme");
  const std::string secret = identity::ParseApiKey(text)->secret;
  for (const auto& entry : in.journal.entries()) CHECK(entry.record.SerializeAsString().find(secret) == std::string::npos);
  const auto session = PostgresCluster::Shared().Connect(in.url);
  CHECK(session->Run("look", "SELECT count(*) FROM directory.key k WHERE k::text LIKE '%' || $1::text || '%'", {secret})->Int(0, 0) == 0);
  const auto hmac = session->Run("look", "SELECT secret_hmac FROM directory.key");
  CHECK(hmac->Bytes(0, 0) == base::View(base::HmacSha256(in.pepper, secret)));
}

TEST_CASE("Doing again what stands already changes nothing and records nothing") {
  Installation in;
  in.MakeOrg("acme");
  const admin::ScopeNames team{"acme", "search", {}, {}};
  const auto twice = [&](const auto& change) {
    CHECK(Must(change()).changed);
    const std::size_t records = in.journal.size();
    const std::int64_t version = in.last_version;
    CHECK_FALSE(Must(change()).changed);
    CHECK(in.journal.size() == records);
    CHECK(in.last_version == version);
  };
  twice([&] { return in.changes->SetBlocked(in.cli, team, true, "why"); });
  twice([&] { return in.changes->SetBlocked(in.cli, team, false, "why"); });
  twice([&] { return in.changes->GrantModel(in.cli, team, "smollm2"); });
  twice([&] { return in.changes->SetQuota(in.cli, team, "tokens", "month", 1000); });
  twice([&] { return in.changes->SetPrice(in.cli, {"smollm2", {1'000'000}, {1'000'000}, {2'000'000}, "EUR", 0}); });
  twice([&] { return in.changes->PutPolicy(in.cli, "acme", "empty", "version: 1\nname: empty\nrules: []\n"); });
  twice([&] { return in.changes->ActivatePolicy(in.cli, "acme", "empty", 1); });
  twice([&] { return in.changes->Stop(in.cli, {Kind::kModel, "smollm2", {}}, "why"); });
  twice([&] { return in.changes->RevokeKey(in.cli, in.IdOf("acme/app"), "why"); });
}

TEST_CASE("Names that are taken, missing or malformed are refused with a word that helps") {
  Installation in;
  in.MakeOrg("acme");
  const std::size_t records = in.journal.size();
  CHECK(absl::IsAlreadyExists(in.changes->CreateOrg(in.cli, "acme").status()));
  CHECK(absl::IsAlreadyExists(in.changes->CreateTeam(in.cli, "acme", "search").status()));
  CHECK(absl::IsAlreadyExists(in.changes->CreateProject(in.cli, "acme", "search", "web").status()));
  CHECK(absl::IsAlreadyExists(
      in.changes->CreateKey(in.cli, {"acme", "search", "web", {}}, {"app", "bob", {Role::kMember}, {}, false}).status()));
  CHECK(absl::IsNotFound(in.changes->CreateTeam(in.cli, "globex", "search").status()));
  CHECK(absl::IsNotFound(in.changes->CreateTeam(in.cli, "x' OR '1'='1", "search").status()));
  CHECK(absl::IsNotFound(in.changes->RevokeKey(in.cli, "nosuchky", "why").status()));
  CHECK(absl::IsNotFound(in.changes->LiftStop(in.cli, {Kind::kEverything, {}, {}}, "why").status()));
  CHECK(absl::IsNotFound(in.changes->RemoveQuota(in.cli, {"acme", {}, {}, {}}, "tokens", "month").status()));
  CHECK(absl::IsNotFound(in.changes->ActivatePolicy(in.cli, "acme", "nothing", 1).status()));
  CHECK(absl::IsInvalidArgument(in.changes->CreateOrg(in.cli, "Acme Inc").status()));
  CHECK(absl::IsInvalidArgument(
      in.changes->CreateKey(in.cli, {"acme", "search", {}, {}}, {"b", "bob", {Role::kMember}, {}, false}).status()));
  CHECK(absl::IsInvalidArgument(
      in.changes->CreateKey(in.cli, {"acme", "search", "web", {}}, {"b", "", {Role::kMember}, {}, false}).status()));
  CHECK(absl::IsInvalidArgument(
      in.changes->CreateKey(in.cli, {"acme", "search", "web", {}}, {"b", "bob", {Role::kMember}, 1, false}).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetQuota(in.cli, {"acme", {}, {}, {}}, "tokens", "fortnight", 1).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetQuota(in.cli, {"acme", {}, {}, {}}, "tokens", "none", 1).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetQuota(in.cli, {"acme", {}, {}, {}}, "tokens", "month", -1).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetPrice(in.cli, {"smollm2", {0}, {0}, {0}, "EUR", 0}).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetPrice(in.cli, {"smollm2", {1'000'000}, {1'000'000}, {1'000'000}, "euro", 0}).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetPrice(in.cli, {"smollm2", {1'000'000}, {1'000'000}, {1'000'000}, "EUR", 1}).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetBlocked(in.cli, {"acme", {}, {}, {}}, true, "a\nb").status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetBlocked(in.cli, {"acme", {}, {}, {}}, true, "\xff").status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetBlocked(in.cli, {"acme", {}, {}, {}}, true, std::string(501, 'a')).status()));
  CHECK(in.journal.size() == records);
}

TEST_CASE("A policy that does not compile is refused with its place, and never stored") {
  Installation in;
  in.MakeOrg("acme");
  const auto refused = in.changes->PutPolicy(in.cli, "acme", "baseline", "version: 1\nname: baseline\nrules:\n  - id: a\n    detct: x\n");
  CHECK(absl::IsInvalidArgument(refused.status()));
  INFO(refused.status());
  CHECK(base::Message(refused.status()).starts_with("baseline:"));
  CHECK(PostgresCluster::Shared().Connect(in.url)->Run("look", "SELECT count(*) FROM directory.policy")->Int(0, 0) == 0);
}

TEST_CASE("Policy versions count up, stay as they were, and one at most is in force") {
  Installation in;
  in.MakeOrg("acme");
  const auto yaml = [](const std::string& word) {
    return "version: 1\nname: baseline\nrules:\n  - id: word\n    detect: {keywords: [" + word + "]}\n    do: block\n";
  };
  CHECK(Must(in.changes->PutPolicy(in.cli, "acme", "baseline", yaml("falcon"))).row.Int("policy_version") == 1);
  CHECK(Must(in.changes->PutPolicy(in.cli, "acme", "baseline", yaml("eagle"))).row.Int("policy_version") == 2);
  const auto blocks = [&](const std::string& text) {
    const auto snapshot = InForce(in);
    const auto place = *snapshot->FindKey(in.IdOf("acme/app"));
    const std::vector<policy::Message> prompt = {{policy::Role::kUser, {}, {text}}};
    return Must(snapshot->Policies(place)->Inspect({}, prompt)).verdict.action == policy::Action::kBlock;
  };
  CHECK_FALSE(blocks("the falcon"));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "baseline", 1));
  CHECK(blocks("the falcon"));
  CHECK_FALSE(blocks("the eagle"));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "baseline", 2));
  CHECK_FALSE(blocks("the falcon"));
  CHECK(blocks("the eagle"));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "baseline", 0));
  CHECK_FALSE(blocks("the eagle"));
}

TEST_CASE("A policy comes into force only if it goes with those that are") {
  Installation in;
  in.MakeOrg("acme");
  const auto yaml = [](const std::string& name, const std::string& id, const std::string& more = {}) {
    return "version: 1\nname: " + name + "\nrules:\n  - id: " + id + "\n    detect: {keywords: [" + name + "]}\n    do: block\n" + more;
  };
  const auto compiles = [&] {
    const auto snapshot = InForce(in);
    return snapshot->FindKey(in.IdOf("acme/app"))->shard->policy_problem.empty();
  };
  Must(in.changes->PutPolicy(in.cli, "acme", "falcon", yaml("falcon", "word")));
  Must(in.changes->PutPolicy(in.cli, "acme", "eagle", yaml("eagle", "word")));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "falcon", 1));
  const auto refused = in.changes->ActivatePolicy(in.cli, "acme", "eagle", 1);
  CHECK(absl::IsInvalidArgument(refused.status()));
  INFO(refused.status());
  CHECK(base::Message(refused.status()).find("a second rule with id 'word'") != std::string::npos);
  CHECK(compiles());

  // Its own older version does not count.
  Must(in.changes->PutPolicy(in.cli, "acme", "eagle", yaml("eagle", "other")));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "eagle", 2));
  Must(in.changes->PutPolicy(in.cli, "acme", "eagle", yaml("eagle", "other", "    because: why\n")));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "eagle", 3));
  CHECK(compiles());
  Must(in.changes->ActivatePolicy(in.cli, "acme", "falcon", 0));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "eagle", 1));
  CHECK(compiles());
  CHECK(absl::IsInvalidArgument(in.changes->ActivatePolicy(in.cli, "acme", "falcon", 1).status()));
}

TEST_CASE("A rotated key overlaps with its successor, which takes over what was set for it") {
  Installation in;
  in.MakeOrg("acme");
  const std::string old_id = in.IdOf("acme/app");
  Must(in.changes->GrantModel(in.cli, {"acme", {}, {}, old_id}, "smollm2"));
  Must(in.changes->SetQuota(in.cli, {"acme", {}, {}, old_id}, "requests", "minute", 10));
  const auto next = Must(in.changes->RotateKey(in.cli, old_id, 3600s));
  const std::string new_id = next.row.Text("public_id");
  CHECK(new_id != old_id);
  auto snapshot = InForce(in);
  const auto now = base::SystemClock().Wall();
  for (const std::string& id : {old_id, new_id}) {
    const auto place = *snapshot->FindKey(id);
    CHECK(snapshot->MayRun(place, "smollm2", now).ok());
    CHECK(snapshot->MayUse(place, "smollm2"));
    CHECK_FALSE(snapshot->MayUse(place, "qwen"));
  }
  CHECK(snapshot->Quotas()->all().size() == 2);
  CHECK_FALSE(snapshot->MayRun(*snapshot->FindKey(old_id), "smollm2", now + 3601s).ok());
  CHECK(snapshot->MayRun(*snapshot->FindKey(new_id), "smollm2", now + 3601s).ok());
  CHECK(snapshot->FindKey(new_id)->key->owner == "ann@acme.example");
  // Without overlap the old one ends at once; a dead key is not rotated.
  const auto third = Must(in.changes->RotateKey(in.cli, new_id, 0s));
  snapshot = InForce(in);
  CHECK_FALSE(snapshot->MayRun(*snapshot->FindKey(new_id), "smollm2", now).ok());
  CHECK(absl::IsFailedPrecondition(in.changes->RotateKey(in.cli, new_id, 0s).status()));
  CHECK(absl::IsInvalidArgument(in.changes->RotateKey(in.cli, third.row.Text("public_id"), 31 * 24h).status()));
}

TEST_CASE("Allow-lists, limits, prices and stops come and go") {
  Installation in;
  in.MakeOrg("acme");
  const admin::ScopeNames web{"acme", "search", "web", {}};
  Must(in.changes->GrantModel(in.cli, web, "smollm2"));
  Must(in.changes->RevokeGrant(in.cli, web, "smollm2"));
  CHECK_FALSE(Must(in.changes->RevokeGrant(in.cli, web, "smollm2")).changed);
  CHECK(absl::IsNotFound(in.changes->RevokeGrant(in.cli, web, "qwen").status()));
  const auto may_use = [&] {
    const auto snapshot = InForce(in);
    return snapshot->MayUse(*snapshot->FindKey(in.IdOf("acme/app")), "smollm2");
  };
  CHECK_FALSE(may_use());
  CHECK(Must(in.changes->ClearGrants(in.cli, web)).first == 0);
  CHECK(may_use());
  Must(in.changes->GrantModel(in.cli, web, "smollm2"));
  CHECK(Must(in.changes->ClearGrants(in.cli, web)).first == 1);

  const auto first = Must(in.changes->SetQuota(in.cli, web, "tokens", "minute", 100));
  const auto second = Must(in.changes->SetQuota(in.cli, web, "tokens", "minute", 200));
  CHECK(first.row.id == second.row.id);  // What was used stays used.
  REQUIRE(InForce(in)->Quotas()->all().size() == 1);
  CHECK(InForce(in)->Quotas()->all()[0].amount == 200);
  Must(in.changes->RemoveQuota(in.cli, web, "tokens", "minute"));
  CHECK(InForce(in)->Quotas()->all().empty());
  const auto said = [&] { return in.journal.entries().back().record.admin().summary(); };
  CHECK(said() == "removed the limit on tokens per minute of project acme/search/web");
  Must(in.changes->SetQuota(in.cli, web, "concurrent", "none", 4));
  CHECK(said() == "set concurrent of project acme/search/web to 4, for the installation");
  Must(in.changes->RemoveQuota(in.cli, web, "concurrent", "none"));
  CHECK(said() == "removed the limit on concurrent of project acme/search/web");

  const std::int64_t tomorrow_us = base::ToMicros(base::SystemClock().Wall() + 24h);
  CHECK(Must(in.changes->SetPrice(in.cli, {"smollm2", {1'000'000}, {1'000'000}, {2'000'000}, "EUR", 0})).row.Int("price_version") == 1);
  CHECK(
      Must(in.changes->SetPrice(in.cli, {"smollm2", {3'000'000}, {3'000'000}, {4'000'000}, "EUR", tomorrow_us})).row.Int("price_version") ==
      2);
  const auto snapshot = InForce(in);
  CHECK(snapshot->PriceOf("smollm2", base::SystemClock().Wall())->output_nanos_per_1000() == 2'000'000);
  CHECK(snapshot->PriceOf("smollm2", base::FromMicros(tomorrow_us))->output_nanos_per_1000() == 4'000'000);
  CHECK(said().ends_with("EUR for 1,000 tokens"));
  Must(in.changes->SetPrice(in.cli, {"smollm2", {3'000'000}, {3'000'000}, {4'000'000}, "USD", tomorrow_us}));
  CHECK(said().ends_with("USD for 1,000 tokens; before in EUR"));

  for (const StopTarget& target :
       {StopTarget{Kind::kEverything, {}, {}}, StopTarget{Kind::kModel, "smollm2", {}}, StopTarget{Kind::kScope, {}, web}}) {
    const auto runs = [&] {
      const auto now = InForce(in);
      return now->MayRun(*now->FindKey(in.IdOf("acme/app")), "smollm2", base::SystemClock().Wall()).ok();
    };
    CHECK(runs());
    Must(in.changes->Stop(in.cli, target, "drill"));
    CHECK_FALSE(runs());
    Must(in.changes->LiftStop(in.cli, target, "over"));
    CHECK(runs());
    Must(in.changes->Stop(in.cli, target, "again"));
    CHECK_FALSE(runs());
    Must(in.changes->LiftStop(in.cli, target, "over"));
  }
}

TEST_CASE("Many changes at once, from two processes, lose nothing") {
  Installation in;
  in.MakeOrg("acme");
  test::FakeJournal other_journal;
  const auto other = in.MakeChanges(other_journal);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      admin::Changes& changes = t % 2 == 0 ? *in.changes : *other;
      for (int i = 0; i < 10; ++i) CHECK(changes.CreateTeam(in.cli, "acme", "t" + std::to_string(t) + "-" + std::to_string(i)).ok());
    });
  }
  for (auto& thread : threads) thread.join();
  const auto snapshot = InForce(in);
  CHECK(snapshot->shards()[0]->teams.size() == 41);
  CHECK(snapshot->version() == 44);
}

TEST_CASE("A change on top of a row that was changed outside Tollgate is refused") {
  Installation in;
  in.MakeOrg("acme");
  in.Sql("UPDATE directory.team SET blocked = true");
  CHECK(absl::IsDataLoss(in.changes->SetBlocked(in.cli, {"acme", "search", {}, {}}, false, "why").status()));
  in.Sql("UPDATE directory.head SET version = version + 1");
  CHECK(absl::IsDataLoss(in.changes->CreateOrg(in.cli, "globex").status()));
}

TEST_CASE("The first owner's key is made once") {
  Installation in;
  const auto first = Must(in.changes->Bootstrap(in.cli, "root@example", false));
  REQUIRE(first.has_value());
  CHECK(first->row.Text("roles") == "owner");
  CHECK(first->secret.starts_with("tg_live_"));
  const auto snapshot = InForce(in);
  const identity::Identity identity(in.pepper, false);
  const auto who = Must(identity.Authenticate(snapshot, first->secret, base::SystemClock().Wall()));
  CHECK(who.place.org->name == "tollgate");
  CHECK_FALSE(Must(in.changes->Bootstrap(in.cli, "root@example", false)).has_value());
}

TEST_CASE("The directory's role may not delete, nor change a policy's text or a price") {
  Installation in;
  in.MakeOrg("acme");
  auto session = Must(base::Session::Connect(in.As("tollgate_directory")));
  for (const char* sql : {"DELETE FROM directory.key", "TRUNCATE directory.key", "UPDATE directory.policy SET yaml = ''",
                          "UPDATE metering.price SET model = 'x'", "DELETE FROM metering.price", "SELECT count(*) FROM audit.record",
                          "INSERT INTO audit.record DEFAULT VALUES"}) {
    INFO(sql);
    CHECK(absl::IsPermissionDenied(session->Run("try", sql).status()));
  }
  auto reader = Must(base::Session::Connect(in.As("tollgate_reader")));
  CHECK(absl::IsPermissionDenied(reader->Run("try", "SELECT count(*) FROM directory.key").status()));
  CHECK_FALSE(PostgresCluster::Shared().Connect(in.url)->Run("try", "DELETE FROM directory.key").ok());  // Even the owner, by a trigger.
}

TEST_CASE("Whether a project has a key of that name is asked of an index") {
  Installation in;
  const auto session = PostgresCluster::Shared().Connect(in.url);
  REQUIRE(session->RunScript("plan", "SET enable_seqscan = off").ok());
  const auto plan = Must(session->Run("plan", "EXPLAIN SELECT 1 FROM directory.key WHERE project = gen_random_uuid() AND name = 'app'"));
  std::string text;
  for (std::size_t i = 0; i < plan.size(); ++i) text += plan.Text(i, 0) + "\n";
  INFO(text);
  CHECK(text.find("key_project_name") != std::string::npos);
}
