#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <future>
#include <thread>

#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

struct BindingBed : AuditFixture {
  const RootKey root = RootKey::FromBytes(std::string(32, 'r'));

  absl::StatusOr<std::unique_ptr<Keys>> OpenKeys() {
    PostgresKeysOptions options;
    options.url = keys_url;
    options.main_url = url;
    return OpenPostgresKeys(root, options);
  }
  void InKeys(const std::string& statement) { REQUIRE(cluster.Connect(keys_url)->RunScript("test", statement).ok()); }
  void LoseKeys() { keys_url = cluster.NewDatabase({"migrations/keys"}); }
  std::int64_t Count(const std::string& table) {
    return cluster.Connect(keys_url)->Run("count", "SELECT count(*) FROM " + table)->Int(0, 0);
  }
  absl::Status Accept() {
    LostKeys lost;
    lost.main = cluster.Options(url);
    lost.main.role = "tollgate_writer";
    lost.keys = cluster.Options(keys_url);
    lost.reason = "the disk is gone";
    return AcceptLostKeys(root, lost);
  }

  // As a failover, which ends the sessions.
  void EndSessions() {
    InKeys("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
  }
  // A prompt of the fixture's team, under a key that is given or made.
  Entry Prompt(audit::Keys& keys, base::RequestId request, const audit::RequestKey* given = nullptr) {
    const auto made = given == nullptr ? *MakeKeyAndWait(keys, team, request, Journal::kNoDeadline) : nullptr;
    Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
    entry.key = (given == nullptr ? *made : *given).row();
    return entry;
  }

  // A request whose prompt is sealed, and if `answered` its reply too.
  void Serve(audit::Keys& keys, bool answered) {
    auto journal = Open();
    const auto request = base::RequestId::New();
    const auto key = *MakeKeyAndWait(keys, team, request, Journal::kNoDeadline);
    v1::SealedContent content;
    content.set_text("hello");
    Entry prompt = Make(v1::RECORD_KIND_REQUEST, request);
    prompt.content = Seal(*key, {v1::RECORD_KIND_REQUEST, 0, 0}, content);
    prompt.key = key->row();
    REQUIRE(Append(*journal, std::move(prompt)).ok());
    if (!answered) return;
    Entry end = Make(v1::RECORD_KIND_FINAL, request);
    end.content = Seal(*key, {v1::RECORD_KIND_FINAL, 0, 0}, content);
    REQUIRE(Append(*journal, std::move(end)).ok());
  }
};

TEST_CASE_METHOD(BindingBed, "A new keys database is its installation's from the first start on, and one from before from the next") {
  {
    PostgresKeysOptions before;
    before.url = keys_url;
    REQUIRE(OpenPostgresKeys(root, before).ok());
  }
  CHECK(Count("keys.installation") == 0);
  REQUIRE(OpenKeys().ok());
  REQUIRE(OpenKeys().ok());
  CHECK(Count("keys.installation") == 1);
  CHECK(cluster.Connect(keys_url)->Run("whose", "SELECT id::text FROM keys.installation")->Text(0, 0) ==
        Text("SELECT id::text FROM audit.installation"));
  Do("UPDATE audit.installation SET id = gen_random_uuid()");
  const auto others = OpenKeys();
  CHECK(absl::IsFailedPrecondition(others.status()));
  CHECK(base::Message(others.status()).find("postgres.keys_url") != std::string::npos);
  CHECK(absl::IsFailedPrecondition(Accept()));
  CHECK(Count("keys.loss") == 0);
}

TEST_CASE_METHOD(BindingBed, "Keys that were made under another root key are refused, in the words of the configuration") {
  REQUIRE(OpenKeys().ok());
  PostgresKeysOptions options;
  options.url = keys_url;
  const auto refused = OpenPostgresKeys(RootKey::FromBytes(std::string(32, 'x')), options);
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(base::Message(refused.status()).find("give the right file as secrets.root_key_file") != std::string::npos);
}

TEST_CASE_METHOD(BindingBed, "An empty keys database is refused beside records with content, until it is accepted that the keys are lost") {
  Serve(**OpenKeys(), true);
  LoseKeys();
  const auto refused = OpenKeys();
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(base::Message(refused.status()).find("--lost-keys") != std::string::npos);
  CHECK(Count("keys.root") == 0);
  REQUIRE(Accept().ok());
  const auto keys = OpenKeys();
  REQUIRE(keys.ok());
  Serve(**keys, true);
}

TEST_CASE_METHOD(BindingBed, "An empty keys database is taken where nothing was sealed yet") {
  { REQUIRE(Append(*Open(), Make(v1::RECORD_KIND_ADMIN, {})).ok()); }
  CHECK(OpenKeys().ok());
}

TEST_CASE_METHOD(BindingBed, "A keys database that was put back to before the newest reply is told at the start, on a new host too") {
  const std::string lost = GENERATE("keys.request", "keys.tenant_day");
  Serve(**OpenKeys(), true);
  { const auto journal = Open(); }
  InKeys("DELETE FROM " + lost);
  for (const char* state : {"a", "fresh"}) {
    INFO(state);
    const auto refused = PostgresJournal::Open(Options(state));
    CHECK(absl::IsDataLoss(refused.status()));
    CHECK(base::Message(refused.status()).find("--lost-keys") != std::string::npos);
  }
  REQUIRE(Accept().ok());
  CHECK(PostgresJournal::Open(Options("a")).ok());
}

TEST_CASE_METHOD(BindingBed, "Keys that are missing among those of a log's end are told at the start, though the newest one is there") {
  {
    const auto keys = OpenKeys();
    for (int i = 0; i < 4; ++i) Serve(**keys, true);
  }
  InKeys("DELETE FROM keys.request WHERE request_id IN (SELECT request_id FROM keys.request ORDER BY request_id OFFSET 1 LIMIT 2)");
  const auto refused = PostgresJournal::Open(Options());
  CHECK(absl::IsDataLoss(refused.status()));
  INFO(base::Message(refused.status()));
  CHECK(base::Message(refused.status()).find("the keys database: it lacks keys of requests on record, 2 of the newest 4") !=
        std::string::npos);
  REQUIRE(Accept().ok());
  CHECK(PostgresJournal::Open(Options()).ok());
}

TEST_CASE_METHOD(
    BindingBed,
    "A keys database that loses its newest keys while the journal runs is given no others until they are back, or accepted as lost") {
  const auto keys = OpenKeys();
  auto journal = Open();
  const auto ask = [&](std::chrono::milliseconds patience) { return Append(*journal, Prompt(**keys, base::RequestId::New()), patience); };
  const auto in_time = std::chrono::seconds(30);
  REQUIRE(ask(in_time).ok());
  // As a failover to a standby that was behind: the sessions end, and the row is not there any more.
  InKeys("CREATE TABLE public.kept AS SELECT * FROM keys.request");
  InKeys("DELETE FROM keys.request");
  EndSessions();
  const Result refused = ask(std::chrono::milliseconds(500));
  CHECK(absl::IsUnavailable(refused.status()));
  const auto until = std::chrono::steady_clock::now() + in_time;
  while (journal->health().state == Health::State::kGood && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  INFO(journal->health().reason);
  CHECK(journal->health().reason.find("the keys database: it lacks keys of requests on record, 1 of the newest 1") != std::string::npos);
  CHECK(journal->health().reason.find("--lost-keys REASON") != std::string::npos);
  CHECK(Count("keys.request") == 0);
  CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  SECTION("they are back") { InKeys("INSERT INTO keys.request SELECT * FROM public.kept"); }
  SECTION("it is accepted that they are lost") { REQUIRE(Accept().ok()); }
  CHECK(ask(in_time).ok());
  const auto good = std::chrono::steady_clock::now() + in_time;  // It is told as stored a moment before.
  while (journal->health().state != Health::State::kGood && std::chrono::steady_clock::now() < good) std::this_thread::yield();
  CHECK(journal->health().state == Health::State::kGood);
}

TEST_CASE_METHOD(
    BindingBed,
    "Nothing is told as stored under a team's key of the day that the keys database has lost; the next request has another key") {
  const auto keys = OpenKeys();
  auto journal = Open();
  REQUIRE(Append(*journal, Prompt(**keys, base::RequestId::New())).ok());
  team = base::TeamId::New();
  const auto request = base::RequestId::New();
  const auto key = *MakeKeyAndWait(**keys, team, request, Journal::kNoDeadline);
  const std::string of_day = " WHERE number = " + std::to_string(key->row().tenant_day);
  bool destroyed = false;
  // The first is what a failover loses: a key that another session made before any request was stored under it.
  SECTION("its row is gone") { InKeys("DELETE FROM keys.tenant_day" + of_day); }
  SECTION("its number was given again") { InKeys("UPDATE keys.tenant_day SET team_id = gen_random_uuid(), wrapped = 'other'" + of_day); }
  SECTION("it was destroyed") {
    destroyed = true;
    InKeys("UPDATE keys.tenant_day SET wrapped = NULL, destroyed_at = now()" + of_day);
  }
  EndSessions();
  const Result refused = Append(*journal, Prompt(**keys, request, key.get()));
  CHECK(absl::IsUnavailable(refused.status()));
  CHECK(base::Message(refused.status()).find("key of the day") != std::string::npos);
  CHECK(Count("keys.request") == 1);
  Await("SELECT count(*) FROM audit.record WHERE kind = 5", 1);  // It is closed.
  const auto again = base::RequestId::New();
  auto fresh = MakeKeyAndWait(**keys, team, again, Journal::kNoDeadline);
  for (int i = 0; i < 1000 && absl::IsUnavailable(fresh.status()); ++i) fresh = MakeKeyAndWait(**keys, team, again, Journal::kNoDeadline);
  INFO(base::Message(fresh.status()));
  if (destroyed) {
    CHECK(absl::IsFailedPrecondition(fresh.status()));
    return;
  }
  REQUIRE(fresh.ok());
  CHECK((*fresh)->row().tenant_day != key->row().tenant_day);
  REQUIRE(Append(*journal, Prompt(**keys, again, fresh->get())).ok());
  const auto found = (*OpenKeys())->Find(team, again);
  REQUIRE(found.ok());
  CHECK((*found)->secret() == (*fresh)->secret());
}

TEST_CASE_METHOD(BindingBed, "Of keys that are stored together those whose key of the day is lost are refused, and no others") {
  const auto keys = OpenKeys();
  auto journal = Open();
  std::vector<base::TeamId> teams = {team, base::TeamId::New()};
  std::vector<std::shared_ptr<const audit::RequestKey>> made;
  for (int i = 0; i < 40; ++i)
    made.push_back(*MakeKeyAndWait(**keys, teams[static_cast<std::size_t>(i % 2)], base::RequestId::New(), Journal::kNoDeadline));
  InKeys("DELETE FROM keys.tenant_day WHERE number = " + std::to_string(made[1]->row().tenant_day));
  std::vector<std::promise<Result>> told(made.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    team = made[i]->team();
    journal->Append(Prompt(**keys, made[i]->request(), made[i].get()), Journal::kNoDeadline,
                    [&told, i](Result result) { told[i].set_value(std::move(result)); });
  }
  for (std::size_t i = 0; i < made.size(); ++i) CHECK(told[i].get_future().get().ok() == (i % 2 == 0));
  CHECK(Count("keys.request") == 20);
}

TEST_CASE_METHOD(BindingBed, "A key whose commit is in doubt is told as stored only when the synchronous standby has it") {
  test::PostgresCluster apart;  // Whose commits wait, while those of records do not.
  keys_url = apart.NewDatabase({"migrations/keys"});
  const auto sql = apart.Connect(keys_url);
  const auto standby = [&](const std::string& name) {
    REQUIRE(sql->Run("set", "ALTER SYSTEM SET synchronous_standby_names = '" + name + "'").ok());
    REQUIRE(sql->Run("reload", "SELECT pg_reload_conf()").ok());
    const auto fresh = [&] { return apart.Connect(keys_url)->Run("look", "SHOW synchronous_standby_names")->Text(0, 0) == name; };
    while (!fresh()) std::this_thread::yield();
  };
  const auto waits = [&] {
    return sql->Run("look", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE '%keys'")
               ->Int(0, 0) == 1;
  };
  JournalOptions options = Options();
  options.queue_age_max = std::chrono::minutes(1);
  const auto keys = OpenKeys();
  auto journal = Open(options);
  Entry entry = Prompt(**keys, base::RequestId::New());
  standby("nobody");
  std::promise<Result> told;
  std::future<Result> result = told.get_future();
  journal->Append(std::move(entry), Journal::kNoDeadline, [&](Result stored) { told.set_value(std::move(stored)); });
  while (!waits()) std::this_thread::yield();
  REQUIRE(sql->Run("break off", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").ok());
  while (sql->Run("count", "SELECT count(*) FROM keys.request")->Int(0, 0) == 0) std::this_thread::yield();  // It is there, here alone.
  const auto ready = [&] { return result.wait_for(std::chrono::seconds(0)) == std::future_status::ready; };
  while (!ready() && !waits()) std::this_thread::yield();
  CHECK_FALSE(ready());
  standby("");
  CHECK(result.get().ok());
}

TEST_CASE_METHOD(BindingBed, "Who serves accepts no lost keys, in advance or later, and nothing that was accepted is changed") {
  LostKeys lost;
  lost.main = cluster.Options(url);
  lost.main.role = "tollgate_writer";
  lost.keys = cluster.Options(keys_url);
  lost.keys.role = "tollgate_keys";
  lost.reason = "x";
  int recorded = 0;
  lost.record = [&] {
    ++recorded;
    return absl::OkStatus();
  };
  const absl::Status refused = AcceptLostKeys(root, lost);
  CHECK(absl::IsPermissionDenied(refused));
  CHECK(base::Message(refused).find("--keys-url") != std::string::npos);
  CHECK(recorded == 0);
  REQUIRE(Accept().ok());
  const auto session = cluster.Connect(keys_url);
  for (const char* sql : {"SET LOCAL ROLE tollgate_keys; INSERT INTO keys.loss VALUES ('2099-01-01', 'x')", "DELETE FROM keys.loss",
                          "UPDATE keys.loss SET accepted_at = '2099-01-01'", "TRUNCATE keys.loss"}) {
    INFO(sql);
    CHECK(absl::IsPermissionDenied(session->RunScript("try", sql)));
  }
  CHECK(Count("keys.loss") == 1);
}

TEST_CASE_METHOD(BindingBed, "An acceptance of lost keys that is dated in the future counts for nothing until then") {
  Serve(**OpenKeys(), true);
  InKeys("INSERT INTO keys.loss VALUES ('2099-01-01', 'x'), ('infinity', 'x')");
  InKeys("DELETE FROM keys.request");
  CHECK(absl::IsDataLoss(PostgresJournal::Open(Options()).status()));
}

TEST_CASE_METHOD(BindingBed, "A key that was erased is not missed, nor one of a prompt that nothing followed") {
  Serve(**OpenKeys(), true);
  InKeys("UPDATE keys.request SET salt = NULL, destroyed_at = now()");
  Serve(**OpenKeys(), false);  // Its instance may have died between its record and its key.
  InKeys("DELETE FROM keys.request WHERE salt IS NOT NULL");
  CHECK(PostgresJournal::Open(Options()).ok());
}

TEST_CASE_METHOD(BindingBed, "Keys that are lost are first put on record, and where that fails nothing is changed") {
  LostKeys lost;
  lost.main = cluster.Options(url);
  lost.keys = cluster.Options(keys_url);
  lost.record = [] { return base::Unavailable("not now"); };
  CHECK(absl::IsUnavailable(AcceptLostKeys(root, lost)));
  CHECK(Count("keys.loss") == 0);
  CHECK(Count("keys.root") == 0);
}

}  // namespace
}  // namespace tollgate::audit
