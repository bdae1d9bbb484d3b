#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <future>
#include <thread>

#include "audit/key_chain.h"
#include "audit/wrap.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

const RootKey kRoot = RootKey::FromBytes(std::string(32, 'r'));

struct Bed : AuditFixture {
  base::ManualClock clock;
  std::unique_ptr<base::Session> keys_sql = cluster.Connect(keys_url);

  std::unique_ptr<Keys> OpenKeys() {
    PostgresKeysOptions options;
    options.url = keys_url;
    options.clock = &clock;
    auto keys = OpenPostgresKeys(kRoot, options);
    REQUIRE(keys.ok());
    return *std::move(keys);
  }
  absl::StatusOr<std::shared_ptr<const RequestKey>> New(Keys& keys, base::RequestId request = base::RequestId::New()) {
    return MakeKeyAndWait(keys, team, request, Journal::kNoDeadline);
  }
  void Store(const KeyRow& row) {
    REQUIRE(keys_sql
                ->Run("store", "INSERT INTO keys.request (request_id, tenant_day, salt) VALUES ($1::uuid, $2::int4, $3)",
                      {row.request.ToString(), std::int64_t{row.tenant_day}, base::Blob{row.salt}})
                .ok());
  }
};

TEST_CASE_METHOD(Bed, "Two instances agree on a team's key of the day, and each can open what the other sealed") {
  auto a = OpenKeys(), b = OpenKeys();
  const auto from_a = *New(*a), from_b = *New(*b);
  CHECK(from_a->row().tenant_day == from_b->row().tenant_day);
  CHECK(from_a->secret() != from_b->secret());
  CHECK(from_a->EndUserHmac("anna") == from_b->EndUserHmac("anna"));
  Store(from_a->row());
  const auto found = b->Find(team, from_a->request());
  REQUIRE(found.ok());
  CHECK((*found)->secret() == from_a->secret());
  CHECK(absl::IsNotFound(b->Find(base::TeamId::New(), from_a->request()).status()));
  CHECK(absl::IsNotFound(b->Find(team, base::RequestId::New()).status()));
}

TEST_CASE_METHOD(Bed, "The keys' sessions have the time limits that they are given") {
  REQUIRE(keys_sql
              ->RunScript("spy",
                          "CREATE TABLE public.seen (what text); GRANT INSERT ON public.seen TO public; "
                          "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES "
                          "(current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')); RETURN NULL; END $$; "
                          "CREATE TRIGGER see AFTER INSERT ON keys.tenant_day FOR EACH STATEMENT EXECUTE FUNCTION public.see()")
              .ok());
  PostgresKeysOptions options;
  options.url = keys_url;
  options.lock_timeout = std::chrono::milliseconds(1234);
  options.statement_timeout = std::chrono::milliseconds(5678);
  const auto keys = OpenPostgresKeys(kRoot, options);
  REQUIRE(keys.ok());
  REQUIRE(New(**keys).ok());
  CHECK(keys_sql->Run("look", "SELECT string_agg(DISTINCT what, ', ') FROM public.seen")->Text(0, 0) == "1234ms 5678ms");
}

TEST_CASE_METHOD(Bed, "A day's key comes once from the database and then from memory; the next day has its own") {
  auto keys = OpenKeys();
  const auto today = (*New(*keys))->row().tenant_day;
  keys_sql->Run("spy", "TRUNCATE keys.tenant_day").IgnoreError();
  CHECK((*New(*keys))->row().tenant_day == today);
  clock.Advance(std::chrono::hours(24));
  CHECK((*New(*keys))->row().tenant_day != today);
}

TEST_CASE_METHOD(Bed, "A team's next key changes neither its pseudonyms nor its end users' names, and opens what they stand for") {
  auto before = OpenKeys();
  const auto old = *New(*before);
  Store(old->row());
  const std::string sealed = old->Sealer().Seal("[N_1]", "one");
  REQUIRE(keys_sql
              ->Run("rotate", "INSERT INTO keys.tenant (team_id, version, root_id, wrapped) VALUES ($1::uuid, 2, $2, $3)",
                    {team.ToString(), kRoot.id(), base::Blob{Wrap(kRoot.secret(), TenantAad(team, 2), base::RandomBytes(kKeyBytes))}})
              .ok());
  clock.Advance(std::chrono::hours(24));
  auto after = OpenKeys();
  const auto fresh = *New(*after);
  CHECK(keys_sql->Run("which", "SELECT max(tenant_version) FROM keys.tenant_day")->Int(0, 0) == 2);
  CHECK(fresh->pseudonym_key() == old->pseudonym_key());
  CHECK(fresh->EndUserHmac("anna") == old->EndUserHmac("anna"));
  CHECK(fresh->ValueMark("one") == old->ValueMark("one"));
  CHECK(*fresh->OpenValue("[N_1]", sealed) == "one");
  CHECK((*after->Find(team, old->request()))->secret() == old->secret());
  // Where the first key was destroyed, what hung on it is gone.
  REQUIRE(keys_sql->RunScript("destroy", "UPDATE keys.tenant SET wrapped = NULL, destroyed_at = now() WHERE version = 1").ok());
  clock.Advance(std::chrono::hours(24));
  const auto later = *New(*OpenKeys());
  CHECK(later->pseudonym_key() != old->pseudonym_key());
  CHECK_FALSE(later->OpenValue("[N_1]", sealed).ok());
}

TEST_CASE_METHOD(Bed, "Many that ask at once for a new team share one day's key") {
  auto keys = OpenKeys();
  std::vector<std::promise<std::int32_t>> promises(50);
  for (auto& promise : promises) {
    keys->NewRequestKey(team, base::RequestId::New(), Journal::kNoDeadline,
                        [&promise](auto key) { promise.set_value(key.ok() ? (*key)->row().tenant_day : 0); });
  }
  const std::int32_t first = promises[0].get_future().get();
  CHECK(first > 0);
  for (std::size_t i = 1; i < promises.size(); ++i) CHECK(promises[i].get_future().get() == first);
  CHECK(keys_sql->Run("count", "SELECT count(*) FROM keys.tenant_day")->Int(0, 0) == 1);
}

TEST_CASE_METHOD(Bed, "Destroyed keys open nothing more, at each level") {
  const struct {
    const char* statement;
    bool stops_new;
  } rows[] = {{"UPDATE keys.request SET salt = NULL, destroyed_at = now()", false},
              {"UPDATE keys.tenant_day SET wrapped = NULL, destroyed_at = now()", true},
              {"UPDATE keys.tenant SET wrapped = NULL, destroyed_at = now()", true},
              {"DELETE FROM keys.request", false}};
  for (const auto& row : rows) {
    INFO(row.statement);
    team = base::TeamId::New();
    const auto key = *New(*OpenKeys());
    Store(key->row());
    REQUIRE(keys_sql->RunScript("destroy", row.statement).ok());
    auto keys = OpenKeys();
    CHECK(absl::IsNotFound(keys->Find(team, key->request()).status()));
    CHECK(New(*keys).ok() != row.stops_new);
  }
}

TEST_CASE_METHOD(
    Bed, "An instance that runs notices within a minute that a team's keys were destroyed, while it reads them anew beside its requests") {
  for (const char* statement :
       {"UPDATE keys.tenant_day SET wrapped = NULL, destroyed_at = now()", "UPDATE keys.tenant SET wrapped = NULL, destroyed_at = now()"}) {
    INFO(statement);
    team = base::TeamId::New();
    auto keys = OpenKeys(), others = OpenKeys();
    const auto day = (*New(*keys))->row().tenant_day;
    REQUIRE(New(*others).ok());
    clock.Advance(std::chrono::seconds(30));
    REQUIRE(New(*keys).ok());  // Reads it again, and goes on for another minute.
    clock.Advance(std::chrono::seconds(45));
    CHECK((*New(*keys))->row().tenant_day == day);
    REQUIRE(keys_sql->RunScript("destroy", statement).ok());
    clock.Advance(std::chrono::seconds(20));
    while (New(*keys).ok()) std::this_thread::yield();  // It is known, looked at again, and then not known any more.
    CHECK(absl::IsFailedPrecondition(New(*keys).status()));
    CHECK(absl::IsFailedPrecondition(New(*others).status()));  // Nobody asked it for more than a minute.
  }
}

TEST_CASE_METHOD(Bed, "What pseudonyms stand for is kept sealed, found by any instance, and forgotten by subject, pseudonym or value") {
  using ValuesOf = Keys::ValuesOf;
  auto a = OpenKeys(), b = OpenKeys();
  const auto key = *New(*a);
  const auto keep = [&](const std::string& subject, const std::string& value) {
    const std::string pseudonym = "[N_" + value + "]";
    std::promise<absl::Status> kept;
    a->KeepValues(team, subject, {{pseudonym, key->Sealer().Seal(pseudonym, value), key->ValueMark(value)}}, Journal::kNoDeadline,
                  [&](absl::Status status) { kept.set_value(std::move(status)); });
    REQUIRE(kept.get_future().get().ok());
  };
  for (const char* value : {"one", "two", "three"}) keep("anna", value);
  keep("anna", "one");  // Again: stays one row.
  keep("", "one");
  const auto sealed = b->FindValues(team, "[N_one]");
  REQUIRE(sealed.ok());
  CHECK(*(*New(*b))->OpenValue("[N_one]", sealed->at(0)) == "one");
  CHECK(sealed->size() == 1);
  CHECK(keys_sql->Run("look", "SELECT count(*) FROM keys.pseudonym WHERE position('one'::bytea IN sealed) > 0")->Int(0, 0) == 0);
  CHECK(absl::IsNotFound(b->FindValues(base::TeamId::New(), "[N_one]").status()));
  const auto erase = [&](ValuesOf by, const std::string& which) { return b->EraseValues(team, by, which).value(); };
  CHECK(erase(ValuesOf::kPseudonym, "[N_two]").rows == 1);
  CHECK(erase(ValuesOf::kMark, key->ValueMark("three")).rows == 1);
  const Keys::Erased anna = erase(ValuesOf::kSubject, "anna");
  CHECK(anna.rows == 1);
  CHECK(anna.others == 1);
  CHECK(a->FindValues(team, "[N_one]").ok());  // Somebody else wrote it too.
  CHECK(erase(ValuesOf::kSubject, "").rows == 1);
  CHECK(absl::IsNotFound(a->FindValues(team, "[N_one]").status()));
}

TEST_CASE_METHOD(Bed, "Requests that keep the same values at the same time do not lock each other out") {
  auto a = OpenKeys(), b = OpenKeys();
  const auto key = *New(*a);
  for (int round = 0; round < 5; ++round) {
    std::vector<Keys::SealedValue> values;
    for (int i = 0; i < 2000; ++i) {
      const std::string name = std::to_string(round) + "_" + std::to_string(i);
      values.push_back({"[N_" + name + "]", key->Sealer().Seal("[N_" + name + "]", name), key->ValueMark(name)});
    }
    std::promise<absl::Status> first, second;
    a->KeepValues(team, "anna", values, Journal::kNoDeadline, [&](absl::Status status) { first.set_value(std::move(status)); });
    std::reverse(values.begin(), values.end());
    b->KeepValues(team, "anna", values, Journal::kNoDeadline, [&](absl::Status status) { second.set_value(std::move(status)); });
    CHECK(first.get_future().get().ok());
    CHECK(second.get_future().get().ok());
  }
  CHECK(keys_sql->Run("count", "SELECT count(*) FROM keys.pseudonym")->Int(0, 0) == 10'000);
}

TEST_CASE_METHOD(Bed, "Two values that share a pseudonym are both kept, also where one person sent both") {
  auto keys = OpenKeys();
  const auto key = *New(*keys);
  for (const char* value : {"one", "two", "one"}) {
    std::promise<absl::Status> kept;
    keys->KeepValues(team, "anna", {{"[N]", key->Sealer().Seal("[N]", value), key->ValueMark(value)}}, Journal::kNoDeadline,
                     [&](absl::Status status) { kept.set_value(std::move(status)); });
    REQUIRE(kept.get_future().get().ok());
  }
  const auto sealed = keys->FindValues(team, "[N]");
  REQUIRE(sealed.ok());
  REQUIRE(sealed->size() == 2);
  CHECK(*key->OpenValue("[N]", sealed->at(0)) == "one");
  CHECK(*key->OpenValue("[N]", sealed->at(1)) == "two");
  REQUIRE(keys->EraseValues(team, Keys::ValuesOf::kMark, key->ValueMark("one")).ok());
  CHECK(*key->OpenValue("[N]", keys->FindValues(team, "[N]")->at(0)) == "two");
}

TEST_CASE_METHOD(Bed, "A value that is kept is known for a while, until it is erased; one that comes again another day is seen again") {
  auto keys = OpenKeys();
  const auto key = *New(*keys);
  const auto keep = [&](std::chrono::steady_clock::time_point deadline) {
    std::promise<absl::Status> kept;
    keys->KeepValues(team, "anna", {{"[N_one]", key->Sealer().Seal("[N_one]", "one"), key->ValueMark("one")}}, deadline,
                     [&](absl::Status status) { kept.set_value(std::move(status)); });
    return kept.get_future().get();
  };
  CHECK_FALSE(keys->KnowsKept(team, "anna", "[N_one]"));
  CHECK(absl::IsUnavailable(keep(std::chrono::steady_clock::now() - std::chrono::seconds(1))));
  CHECK_FALSE(keys->KnowsKept(team, "anna", "[N_one]"));
  REQUIRE(keep(Journal::kNoDeadline).ok());
  CHECK(keys->KnowsKept(team, "anna", "[N_one]"));
  CHECK_FALSE(keys->KnowsKept(team, "bert", "[N_one]"));
  CHECK_FALSE(keys->KnowsKept(base::TeamId::New(), "anna", "[N_one]"));
  REQUIRE(keys_sql->RunScript("age", "UPDATE keys.pseudonym SET last_seen = current_date - 3").ok());
  REQUIRE(keep(Journal::kNoDeadline).ok());
  CHECK(keys_sql->Run("look", "SELECT count(*) FROM keys.pseudonym WHERE last_seen >= current_date - 1")->Int(0, 0) == 1);
  REQUIRE(keys->EraseValues(team, Keys::ValuesOf::kMark, key->ValueMark("one")).ok());
  CHECK_FALSE(keys->KnowsKept(team, "anna", "[N_one]"));
}

TEST_CASE_METHOD(Bed, "Values count as kept no longer once the keys database was away: a failover may have lost them") {
  auto keys = OpenKeys();
  const auto key = *New(*keys);
  std::promise<absl::Status> kept;
  keys->KeepValues(team, "anna", {{"[N_one]", key->Sealer().Seal("[N_one]", "one"), key->ValueMark("one")}}, Journal::kNoDeadline,
                   [&](absl::Status status) { kept.set_value(std::move(status)); });
  REQUIRE(kept.get_future().get().ok());
  CHECK(keys->KnowsKept(team, "anna", "[N_one]"));
  REQUIRE(keys_sql
              ->Run("end sessions",
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                    "datname = current_database()")
              .ok());
  // What every request does some seconds later: its team's key of the day is looked at.
  team = base::TeamId::New();
  while (!New(*keys).ok()) std::this_thread::yield();
  CHECK_FALSE(keys->KnowsKept(key->team(), "anna", "[N_one]"));
}

TEST_CASE_METHOD(Bed, "Another root key is refused at the start") {
  (void)OpenKeys();
  PostgresKeysOptions options;
  options.url = keys_url;
  const auto keys = OpenPostgresKeys(RootKey::FromBytes(std::string(32, 'x')), options);
  CHECK(absl::IsFailedPrecondition(keys.status()));
  CHECK(base::Message(keys.status()).find("root_key_file") != std::string::npos);
}

TEST_CASE_METHOD(Bed, "With the keys database gone a new team is refused, a known team goes on") {
  auto keys = OpenKeys();
  REQUIRE(New(*keys).ok());
  cluster.Stop();
  CHECK(New(*keys).ok());
  team = base::TeamId::New();
  const auto refused = New(*keys);
  CHECK(absl::IsUnavailable(refused.status()));
  cluster.Start();
  absl::StatusOr<std::shared_ptr<const RequestKey>> back = New(*keys);
  while (!back.ok()) back = New(*keys);
  CHECK(back.ok());
}

TEST_CASE_METHOD(Bed, "No key lies in the clear in the keys database") {
  auto keys = OpenKeys();
  const auto key = *New(*keys);
  Store(key->row());
  for (const char* table : {"request", "tenant_day", "tenant", "root"}) {
    const auto rows = keys_sql->Run("dump", std::string("SELECT t::text FROM keys.") + table + " t");
    for (std::size_t i = 0; i < rows->size(); ++i) {
      const std::string& text = rows->Text(i, 0);
      CHECK(text.find(base::Blob{key->secret()}.bytes) == std::string::npos);
    }
  }
}

}  // namespace
}  // namespace tollgate::audit
