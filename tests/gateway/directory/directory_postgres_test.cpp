#include "gateway/directory/directory_postgres.h"

#include <atomic>
#include <condition_variable>
#include <mutex>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "gateway/directory/row_postgres.h"
#include "tests/gateway/admin/installation.h"
#include "tests/gateway/directory/held_compile.h"
#include "tests/support/reason.h"

using namespace tollgate;
using namespace std::chrono_literals;
using directory::PostgresDirectory;
using test::Installation;
using test::Must;
using test::PostgresCluster;

namespace {

// How an org's key stands for requests: "" = it may run, else the refusal's text.
std::string Stands(const directory::Snapshot& snapshot, const std::string& public_id, const std::string& model = "smollm2") {
  const auto place = snapshot.FindKey(public_id);
  if (!place.has_value()) return "unknown key";
  return base::Message(snapshot.MayRun(*place, model, base::SystemClock().Wall()));
}

// An org, and a store that looks often at what becomes of it, by a clock that stands.
struct Watched {
  Watched() { in.MakeOrg("acme"); }
  std::unique_ptr<PostgresDirectory> Open() {
    auto options = in.DirectoryOptions();
    options.poll_interval = 20ms;
    return Must(PostgresDirectory::Open(options, clock));
  }

  Installation in;
  base::ManualClock clock;
};

}  // namespace

TEST_CASE("An empty directory opens, and what is made then comes into force by itself, on every store") {
  Installation in;
  const auto one = in.OpenDirectory();
  const auto two = in.OpenDirectory();
  CHECK(Must(one->InForce())->version() == 0);
  in.MakeOrg("acme");
  for (const auto* store : {one.get(), two.get()}) {
    REQUIRE(const_cast<PostgresDirectory*>(store)->WaitFor(in.last_version, 5s).ok());
    CHECK(Stands(*Must(store->InForce()), in.IdOf("acme/app")).empty());
  }
  Must(in.changes->RevokeKey(in.cli, in.IdOf("acme/app"), "it leaked"));
  for (const auto* store : {one.get(), two.get()}) {
    REQUIRE(const_cast<PostgresDirectory*>(store)->WaitFor(in.last_version, 5s).ok());
    CHECK(Stands(*Must(store->InForce()), in.IdOf("acme/app")).find("revoked") != std::string::npos);
  }
}

TEST_CASE("A change is announced without anyone asking for it") {
  Installation in;
  in.MakeOrg("acme");
  const auto store = in.OpenDirectory();
  std::mutex mu;
  std::condition_variable changed;
  std::int64_t seen = -1;
  int calls = 0;
  store->OnChange([&](const std::shared_ptr<const directory::Snapshot>& snapshot) {
    std::lock_guard lock(mu);
    seen = snapshot->version();
    ++calls;
    changed.notify_all();
  });
  CHECK(calls == 1);
  CHECK(seen == in.last_version);
  Must(in.changes->Stop(in.cli, {admin::StopTarget::Kind::kEverything, {}, {}}, "fire drill"));
  std::unique_lock lock(mu);
  REQUIRE(changed.wait_for(lock, 10s, [&] { return seen == in.last_version; }));
  CHECK(Stands(*Must(store->InForce()), in.IdOf("acme/app")).find("fire drill") != std::string::npos);
}

TEST_CASE("A row that was changed outside Tollgate refuses the snapshot and names itself") {
  struct Case {
    std::string sql, says;
  };
  const auto row = GENERATE(values<Case>({
      {"UPDATE directory.key SET roles = 'owner'", "directory.key does not verify"},
      {"UPDATE directory.org SET name = 'evil' WHERE name = 'acme'", "directory.org does not verify"},
      {"UPDATE directory.team SET mac = set_byte(mac, 3, get_byte(mac, 3) # 1)", "directory.team does not verify"},
      {"UPDATE directory.project SET admin_index = admin_index + 1", "directory.project does not verify"},
      {"UPDATE directory.head SET version = version + 1", "directory.head does not verify"},
      {"UPDATE directory.head SET set_xor = set_byte(set_xor, 0, get_byte(set_xor, 0) # 1)", "a row is missing"},
      {"ALTER TABLE directory.model_grant DISABLE TRIGGER ALL; DELETE FROM directory.model_grant", "a row is missing"},
      {"UPDATE directory.key SET version = version, revoked_us = NULL, mac = (SELECT mac FROM saved)", "directory.key does not verify"},
  }));
  Installation in;
  in.MakeOrg("acme");
  Must(in.changes->GrantModel(in.cli, {"acme", {}, {}, {}}, "smollm2"));
  in.Sql("CREATE TABLE saved AS SELECT * FROM directory.key");
  Must(in.changes->RevokeKey(in.cli, in.IdOf("acme/app"), "it leaked"));
  CHECK(PostgresDirectory::Open(in.DirectoryOptions(), base::SystemClock()).ok());
  in.Sql(row.sql);
  INFO(row.sql);
  const auto refused = PostgresDirectory::Open(in.DirectoryOptions(), base::SystemClock());
  CHECK(absl::IsDataLoss(refused.status()));
  INFO(refused.status());
  CHECK(base::Message(refused.status()).find(row.says) != std::string::npos);
}

TEST_CASE("A key's older state, put back whole with its own MAC, is refused") {
  Installation in;
  in.MakeOrg("acme");
  in.Sql("CREATE TABLE saved AS SELECT * FROM directory.key");
  Must(in.changes->RevokeKey(in.cli, in.IdOf("acme/app"), "it leaked"));
  in.Sql(
      "UPDATE directory.key k SET version = s.version, admin_record = s.admin_record, admin_log_id = s.admin_log_id, admin_index = "
      "s.admin_index, "
      "mac = s.mac, revoked_us = s.revoked_us FROM saved s WHERE s.id = k.id");
  const auto refused = PostgresDirectory::Open(in.DirectoryOptions(), base::SystemClock());
  CHECK(absl::IsDataLoss(refused.status()));
  CHECK(base::Message(refused.status()).find("an older one was put back") != std::string::npos);
}

TEST_CASE_METHOD(Watched, "A running store keeps the last good snapshot until it is too old, then refuses, then mends itself") {
  const auto store = Open();
  in.Sql("CREATE TABLE saved AS SELECT * FROM directory.head; UPDATE directory.head SET version = version + 1");
  while (store->health().ok()) std::this_thread::yield();
  CHECK(absl::IsDataLoss(store->health()));
  CHECK(store->InForce().ok());
  clock.Advance(5s + 1us);
  const auto stale = store->InForce();
  CHECK(absl::IsUnavailable(stale.status()));
  CHECK(test::ReasonOf(stale.status()) == "DIRECTORY_STALE");
  CHECK(base::Message(stale.status()).find("does not verify") != std::string::npos);
  in.Sql("UPDATE directory.head SET version = (SELECT version FROM saved)");
  while (!store->health().ok()) std::this_thread::yield();
  CHECK(store->InForce().ok());
  CHECK(store->age() <= 5s);
}

TEST_CASE_METHOD(Watched, "A version that a failover lost is never confirmed by the change that takes its number") {
  const auto store = Open();
  in.Sql("CREATE TABLE saved_head AS SELECT * FROM directory.head; CREATE TABLE saved_stop AS SELECT * FROM directory.stop");
  const admin::StopTarget everything = {admin::StopTarget::Kind::kEverything, {}, {}};
  Must(in.changes->Stop(in.cli, everything, "the one that is lost"));
  const std::int64_t lost = in.last_version;
  REQUIRE(store->WaitFor(lost, 10s).ok());
  // What the standby had when it became the primary, and then another change: it has the lost one's number.
  in.Sql(
      "SET LOCAL session_replication_role = replica; DELETE FROM directory.stop; INSERT INTO directory.stop SELECT * FROM "
      "saved_stop; "
      "UPDATE directory.head h SET version = s.version, set_xor = s.set_xor, mac = s.mac FROM saved_head s");
  while (store->health().ok()) std::this_thread::yield();
  CHECK(base::Message(store->health()).find("it was rolled back") != std::string::npos);
  Must(in.changes->RevokeKey(in.cli, in.IdOf("acme/app"), "it leaked"));
  REQUIRE(in.last_version == lost);
  while (base::Message(store->health()).find("a failover lost the last changes") == std::string::npos) {
    REQUIRE_FALSE(store->health().ok());
    std::this_thread::yield();
  }
  clock.Advance(5s + 1us);
  CHECK(absl::IsUnavailable(store->InForce().status()));
}

TEST_CASE_METHOD(Watched, "Rows that verify and make no sense never confirm the snapshot before them, and mend") {
  const auto store = Open();
  const auto session = PostgresCluster::Shared().Connect(in.url);
  // Signed with the right key, as a newer version of Tollgate could write it; and a revocation with it.
  const auto put_roles = [&](const std::string& roles) {
    auto head = Must(directory::ReadHead(*session, false));
    auto key = Must(directory::ReadRows(*session, directory::Table::kKey, "true", {})).at(0);
    directory::Toggle(head.set, key.mac);
    key.Set("roles", roles);
    key.Set("revoked_us", std::int64_t{1});
    key.version = ++head.version;
    key.mac = directory::RowMac(in.mac_key, key);
    directory::Toggle(head.set, key.mac);
    head.mac = directory::HeadMac(in.mac_key, head.version, head.set);
    const auto written = session->InTransaction("put a row", [&](base::Session& s) -> absl::Status {
      TG_RETURN_IF_ERROR(directory::UpdateRow(s, key));
      return directory::WriteHead(s, head);
    });
    INFO(written);
    REQUIRE(written.ok());
  };
  put_roles("emperor");
  CHECK(absl::IsDeadlineExceeded(store->WaitFor(in.last_version + 1, 300ms)));  // Many rounds.
  CHECK(absl::IsDataLoss(store->health()));
  CHECK(store->InForce().ok());
  clock.Advance(5s + 1us);
  CHECK(absl::IsDeadlineExceeded(store->WaitFor(in.last_version + 1, 300ms)));
  CHECK(absl::IsUnavailable(store->InForce().status()));
  put_roles("member");
  REQUIRE(store->WaitFor(in.last_version + 2, 10s).ok());
  CHECK(Stands(*Must(store->InForce()), in.IdOf("acme/app")).find("revoked") != std::string::npos);
}

TEST_CASE_METHOD(Watched, "With Postgres away the snapshot serves until it is too old; when Postgres is back so is the store") {
  const auto store = Open();
  PostgresCluster::Shared().Stop();
  while (store->health().ok()) std::this_thread::yield();
  CHECK(store->InForce().ok());
  clock.Advance(6s);
  const auto stale = store->InForce();
  CHECK(absl::IsUnavailable(stale.status()));
  CHECK(test::ReasonOf(stale.status()) == "DIRECTORY_STALE");
  CHECK(base::Message(stale.status()).find("check Postgres") != std::string::npos);
  PostgresCluster::Shared().Start();
  while (!store->health().ok()) std::this_thread::yield();
  CHECK(store->InForce().ok());
}

TEST_CASE_METHOD(
    Watched,
    "No snapshot is confirmed by a server that cannot be written to, for it may be a standby which lags; the primary confirms it again") {
  const auto store = Open();
  const auto admin = PostgresCluster::Shared().Connect(in.url);
  const std::string name = Must(admin->Run("name", "SELECT current_database()")).Text(0, 0);
  Must(admin->Run("set", "ALTER DATABASE " + name + " SET default_transaction_read_only = on"));
  Must(admin->Run("end sessions",
                  "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
                  "current_database()"));
  clock.Advance(6s);
  CHECK(absl::IsDeadlineExceeded(store->WaitFor(in.last_version + 1, 300ms)));  // Many rounds.
  CHECK(absl::IsUnavailable(store->InForce().status()));
  Must(admin->Run("mend", "ALTER DATABASE " + name + " RESET default_transaction_read_only"));
  while (!store->InForce().ok()) std::this_thread::yield();
}

TEST_CASE("A database without the schema says what to run") {
  directory::DirectoryOptions options;
  options.postgres = PostgresCluster::Shared().Options(PostgresCluster::Shared().NewDatabase());
  options.mac_key = std::string(32, 'm');
  const auto refused = PostgresDirectory::Open(options, base::SystemClock());
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(base::Message(refused.status()).find("tollgate migrate") != std::string::npos);
}

TEST_CASE("Another root key opens nothing") {
  Installation in;
  in.MakeOrg("acme");
  auto options = in.DirectoryOptions();
  options.mac_key = std::string(32, 'x');
  CHECK(absl::IsDataLoss(PostgresDirectory::Open(options, base::SystemClock()).status()));
}

namespace {

std::string Yaml(const std::string& word) {
  return "version: 1\nname: house\nrules:\n  - id: " + word + "\n    detect: {keywords: " + word + "}\n    do: block\n";
}

}  // namespace

TEST_CASE("While one org's policies are compiled revocations of others come into force and the snapshot is confirmed") {
  directory::test::HeldCompile held;
  Installation in;
  in.MakeOrg("acme");
  in.MakeOrg("globex");
  auto options = in.DirectoryOptions();
  options.compile = held.AsCompile();
  base::ManualClock clock;
  const auto store = Must(PostgresDirectory::Open(options, clock));
  held.Hold("eagle");
  Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("eagle")));
  const std::int64_t bound = Must(in.changes->ActivatePolicy(in.cli, "acme", "house", 1)).version;
  held.AwaitBegun("eagle");
  const std::int64_t revoked = Must(in.changes->RevokeKey(in.cli, in.IdOf("globex/app"), "it leaked")).version;
  REQUIRE(store->WaitFor(revoked, 10s).ok());
  auto snapshot = Must(store->InForce());
  CHECK(Stands(*snapshot, in.IdOf("globex/app")).find("revoked") != std::string::npos);
  clock.Advance(6s);
  while (!store->InForce().ok()) std::this_thread::yield();
  CHECK(absl::IsDeadlineExceeded(store->WaitFor(bound, 0ms)));
  held.LetGo("eagle");
  REQUIRE(store->WaitFor(bound, 10s).ok());
  snapshot = Must(store->InForce());
  CHECK_FALSE(snapshot->compiling());
  CHECK(snapshot->MayBegin(*snapshot->FindKey(in.IdOf("acme/app")), base::SystemClock().Wall()).ok());
}

TEST_CASE("A store opens though an org's policies take longer than it waits: that org alone is refused until they are there") {
  directory::test::HeldCompile held;
  Installation in;
  for (const char* org : {"acme", "globex"}) {
    in.MakeOrg(org);
    Must(in.changes->PutPolicy(in.cli, org, "house", Yaml(org)));
    Must(in.changes->ActivatePolicy(in.cli, org, "house", 1));
  }
  held.Hold("acme");
  auto options = in.DirectoryOptions();
  options.compile = held.AsCompile();
  options.first_load_max = 1500ms;
  const auto store = Must(PostgresDirectory::Open(options, base::SystemClock()));
  const auto may = [&](const std::string& org) {
    const auto snapshot = Must(store->InForce());
    return snapshot->MayBegin(*snapshot->FindKey(in.IdOf(org + "/app")), base::SystemClock().Wall());
  };
  CHECK(test::ReasonOf(may("acme")) == "POLICY_UNUSABLE");
  while (!may("globex").ok()) std::this_thread::yield();
  CHECK(store->AwaitedFirst() == 1);
  held.LetGo("acme");
  while (!may("acme").ok()) std::this_thread::yield();
  while (store->AwaitedFirst() > 0) std::this_thread::yield();
}

TEST_CASE("Whoever asks whether an instance is ready hears of orgs whose first policies are being compiled, for a time, and never later") {
  directory::test::HeldCompile held;
  Installation in;
  in.MakeOrg("acme");
  Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("eagle")));
  Must(in.changes->ActivatePolicy(in.cli, "acme", "house", 1));
  held.Hold("eagle");
  auto options = in.DirectoryOptions();
  options.compile = held.AsCompile();
  options.first_load_max = 1500ms;
  options.poll_interval = 20ms;
  base::ManualClock clock;
  const auto store = Must(PostgresDirectory::Open(options, clock));
  CHECK(store->AwaitedFirst() == 1);
  clock.Advance(121s);
  while (store->AwaitedFirst() > 0) std::this_thread::yield();
  held.LetGo("eagle");

  held.Hold("owl");
  const auto second = Must(PostgresDirectory::Open(options, clock));
  CHECK(second->AwaitedFirst() == 0);
  Must(in.changes->PutPolicy(in.cli, "acme", "lists", Yaml("owl")));
  const std::int64_t bound = Must(in.changes->ActivatePolicy(in.cli, "acme", "lists", 1)).version;
  held.AwaitBegun("owl");
  while (Must(second->InForce())->version() < bound) std::this_thread::yield();
  const auto snapshot = Must(second->InForce());
  CHECK(test::ReasonOf(snapshot->MayBegin(*snapshot->FindKey(in.IdOf("acme/app")), base::SystemClock().Wall())) == "POLICY_UNUSABLE");
  CHECK(second->AwaitedFirst() == 0);
}

TEST_CASE("Where the database does not give its rows in time the start says what to do") {
  Installation in;
  const auto session = PostgresCluster::Shared().Connect(in.url);
  const auto held = session->InTransaction("hold a table", [&](base::Session& s) -> absl::Status {
    TG_RETURN_IF_ERROR(s.Run("lock", "LOCK TABLE directory.team IN ACCESS EXCLUSIVE MODE").status());
    auto options = in.DirectoryOptions();
    options.first_load_max = 50ms;
    const auto refused = PostgresDirectory::Open(options, base::SystemClock());
    CHECK(absl::IsUnavailable(refused.status()));
    CHECK(base::Message(refused.status()).find("postgres.statement_timeout_ms") != std::string::npos);
    return absl::OkStatus();
  });
  CHECK(held.ok());
}
