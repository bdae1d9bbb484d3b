#include <catch2/catch_test_macros.hpp>

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
    lost.keys.role = "tollgate_keys";
    lost.reason = "the disk is gone";
    return AcceptLostKeys(root, lost);
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
  Serve(**OpenKeys(), true);
  { const auto journal = Open(); }
  InKeys("DELETE FROM keys.request");
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
  const auto ask = [&](std::chrono::milliseconds patience) {
    const auto request = base::RequestId::New();
    Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
    entry.key = (*MakeKeyAndWait(**keys, team, request, Journal::kNoDeadline))->row();
    return Append(*journal, std::move(entry), patience);
  };
  const auto in_time = std::chrono::seconds(30);
  REQUIRE(ask(in_time).ok());
  // As a failover to a standby that was behind: the sessions end, and the row is not there any more.
  InKeys("CREATE TABLE public.kept AS SELECT * FROM keys.request");
  InKeys("DELETE FROM keys.request");
  InKeys("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
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
