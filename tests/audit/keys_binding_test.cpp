#include <catch2/catch_test_macros.hpp>

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
