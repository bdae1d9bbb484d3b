// A team's key of the day is made or loaded by one job on a session of its own, and held (day_keys.h); all that ask meanwhile wait for that
// job. After that a request key is pure computation, until whoever stores one finds that the database lacks the day's (key_writer.h). Rows
// are made with ON CONFLICT DO NOTHING and then read back, so that instances which race agree on the row that won. What pseudonyms stand
// for is kept in their order, so that two requests with the same values wait for each other and do not lock each other out, and on a
// session of its own, lest a flood of values delay the keys of others' requests.
// Tested by tests/audit/keys_postgres_test.cpp.
#include <algorithm>
#include <map>
#include <unordered_map>

#include <fmt/format.h>

#include "audit/binary_array.h"
#include "audit/day_keys.h"
#include "audit/kept_values.h"
#include "audit/key_chain.h"
#include "audit/keys.h"
#include "audit/keys_binding.h"
#include "audit/wrap.h"
#include "base/mutex.h"
#include "base/postgres_pool.h"

namespace tollgate::audit {
namespace {

base::PostgresOptions SessionOptions(const PostgresKeysOptions& options, const std::string& url, const std::string& role) {
  base::PostgresOptions postgres;
  postgres.url = url;
  postgres.application_name = "tollgate keys";
  postgres.role = role;
  postgres.connect_timeout = options.connect_timeout;
  postgres.statement_timeout = options.statement_timeout;
  postgres.lock_timeout = options.lock_timeout;
  return postgres;
}

base::SessionPool::Options PoolOptions(const PostgresKeysOptions& options, int sessions, std::function<void()> connected) {
  base::SessionPool::Options pool;
  pool.postgres = SessionOptions(options, options.url, options.role);
  pool.sessions = sessions;
  pool.connected = std::move(connected);
  return pool;
}

// Requests' keys of a team; the condition on requests goes where {} stands.
constexpr const char* kFindKeys =
    "SELECT r.request_id, r.salt, r.subject, d.number, d.wrapped, d.tenant_version, d.day - date '1970-01-01' FROM keys.request r "
    "JOIN keys.tenant_day d ON d.number = r.tenant_day WHERE r.request_id = {} AND d.team_id = $2::uuid";

std::shared_ptr<const RequestKey> StoredUnder(const DayKey& day, base::RequestId request, const base::Rows& rows, std::size_t i) {
  return KeyUnder(day, {request, day.stored->number, rows.Bytes(i, 1), rows.IsNull(i, 2) ? "" : rows.Bytes(i, 2), day.stored});
}

struct TenantKey {
  std::int64_t version = 0;
  std::string key;
};

absl::Status Destroyed() {
  return base::FailedPrecondition("the team's keys were destroyed: nothing can be recorded for it any more; use another team");
}

class PostgresKeys final : public Keys {
 public:
  PostgresKeys(const RootKey& root, PostgresKeysOptions options)
      : root_(root),
        source_key_(root.Derive("source-hmac")),
        options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : base::SystemClock()),
        days_(options_.cached_teams_max),
        value_sessions_(PoolOptions(options_, 1, [this] { kept_.Clear(); })),
        sessions_(PoolOptions(options_, 2, [this] { kept_.Clear(); })) {}

  absl::Status Check(base::Session* main) {
    return sessions_.RunAndWait([&](base::Session& session) { return CheckKeys(session, root_, main); });
  }
  void NewRequestKey(base::TeamId team, base::RequestId request, std::chrono::steady_clock::time_point deadline, Done done) override;
  absl::StatusOr<std::shared_ptr<const RequestKey>> Find(base::TeamId team, base::RequestId request) override;
  void KeepValues(base::TeamId team, const std::string& subject, std::vector<SealedValue> values,
                  std::chrono::steady_clock::time_point deadline, Kept done) override;
  bool KnowsKept(base::TeamId team, const std::string& subject, const std::string& pseudonym) override {
    return kept_.Has(team, subject, pseudonym, std::chrono::steady_clock::now());
  }
  absl::StatusOr<std::vector<std::string>> FindValues(base::TeamId team, const std::string& pseudonym) override;
  absl::StatusOr<Erased> EraseValues(base::TeamId team, ValuesOf by, const std::string& which) override;
  absl::StatusOr<std::vector<std::shared_ptr<const RequestKey>>> FindAll(base::TeamId team,
                                                                         std::span<const base::RequestId> requests) override;
  std::string SourceHmac(std::string_view source) const override { return SourceMark(source_key_, source); }

 private:
  struct Waiter {
    base::RequestId request;
    std::chrono::steady_clock::time_point deadline;
    Done done;
  };

  void Read(base::TeamId team, std::int64_t day);
  void Loaded(base::TeamId team, const absl::StatusOr<DayKeyPtr>& day, base::MonoTime asked);
  absl::StatusOr<TenantKey> Tenant(base::Session& session, base::TeamId team);
  absl::StatusOr<TenantKey> TenantOfVersion(base::Session& session, base::TeamId team, std::int64_t version);
  absl::StatusOr<std::string> SubjectKeyOf(base::Session& session, base::TeamId team, const TenantKey& current);
  absl::StatusOr<DayKeyPtr> Load(base::Session& session, base::TeamId team, std::int64_t day);
  // The day key in a row of Find's query. NOT_FOUND: it, the tenant's or the request's own was destroyed.
  absl::StatusOr<DayKeyPtr> Unwrapped(base::Session& session, base::TeamId team, const base::Rows& rows, std::size_t row);

  const RootKey root_;
  const std::string source_key_;
  const PostgresKeysOptions options_;
  const base::Clock& clock_;
  base::Mutex mu_;
  DayKeys days_ GUARDED_BY(mu_);
  std::map<base::TeamId, std::vector<Waiter>> waiting_ GUARDED_BY(mu_);  // While a team's key is being read.
  KeptValues kept_;
  base::SessionPool value_sessions_;
  base::SessionPool sessions_;  // These last: their threads use all of the above.
};

void PostgresKeys::NewRequestKey(base::TeamId team, base::RequestId request, std::chrono::steady_clock::time_point deadline, Done done) {
  const std::int64_t day = DayOf(clock_.Wall());
  DayKeys::Found found;
  bool read = false;
  {
    base::Lock lock(mu_);
    found = days_.Find(team, day, clock_.Mono());
    if (found.key == nullptr || found.look_again) {
      const auto [waiters, first] = waiting_.try_emplace(team);
      read = first;
      if (found.key == nullptr) waiters->second.push_back({request, deadline, std::move(done)});
    }
  }
  if (found.key != nullptr) done(NewKeyUnder(*found.key, request));
  if (read) Read(team, day);
}

void PostgresKeys::Read(base::TeamId team, std::int64_t day) {
  const base::MonoTime asked = clock_.Mono();
  const absl::Status queued = sessions_.Submit([this, team, day, asked](absl::StatusOr<base::Session*> session) {
    if (!session.ok()) return Loaded(team, base::Annotate(session.status(), "the keys database"), asked);
    absl::StatusOr<DayKeyPtr> loaded = Load(**session, team, day);
    // Not known whether a new key was kept: whoever asks next finds it, or makes another.
    if (absl::IsUnknown(loaded.status()) || absl::IsAborted(loaded.status()))
      loaded = base::Unavailable(fmt::format("{}; nothing was routed; try again in a few seconds", base::Message(loaded.status())));
    Loaded(team, loaded, asked);
  });
  if (!queued.ok()) Loaded(team, base::Unavailable("the keys database is too slow: nothing was routed; try again in a few seconds"), asked);
}

void PostgresKeys::Loaded(base::TeamId team, const absl::StatusOr<DayKeyPtr>& day, base::MonoTime asked) {
  std::vector<Waiter> waiters;
  {
    base::Lock lock(mu_);
    if (const auto found = waiting_.find(team); found != waiting_.end()) {
      waiters = std::move(found->second);
      waiting_.erase(found);
    }
    if (day.ok()) days_.Put(team, *day, asked);
    if (absl::IsFailedPrecondition(day.status())) days_.Forget(team);
  }
  const auto now = std::chrono::steady_clock::now();
  for (Waiter& waiter : waiters) {
    if (!day.ok()) {
      waiter.done(day.status());
    } else if (now > waiter.deadline) {
      waiter.done(base::Unavailable("the keys database is too slow: nothing was routed; try again"));
    } else {
      waiter.done(NewKeyUnder(**day, waiter.request));
    }
  }
}

absl::StatusOr<TenantKey> PostgresKeys::TenantOfVersion(base::Session& session, base::TeamId team, std::int64_t version) {
  TG_ASSIGN(const auto rows,
            session.Run("read a tenant key", "SELECT wrapped, root_id FROM keys.tenant WHERE team_id = $1::uuid AND version = $2::int4",
                        {team.ToString(), version}));
  if (rows.empty() || rows.IsNull(0, 0)) return Destroyed();
  auto key = Unwrap(root_.secret(), TenantAad(team, static_cast<std::uint32_t>(version)), rows.Bytes(0, 0));
  if (!key.ok())
    return base::Annotate(key.status(), fmt::format("the tenant key of team {} does not open under this root key", team.ToString()));
  return TenantKey{version, *std::move(key)};
}

absl::StatusOr<TenantKey> PostgresKeys::Tenant(base::Session& session, base::TeamId team) {
  static const std::string kLatest = "SELECT max(version) FROM keys.tenant WHERE team_id = $1::uuid";
  TG_ASSIGN(const auto latest, session.Run("find the tenant key", kLatest, {team.ToString()}));
  if (!latest.IsNull(0, 0)) return TenantOfVersion(session, team, latest.Int(0, 0));
  const std::string wrapped = Wrap(root_.secret(), TenantAad(team, 1), base::RandomBytes(kKeyBytes));
  TG_RETURN_IF_ERROR(
      session
          .Run("make a tenant key",
               "INSERT INTO keys.tenant (team_id, version, root_id, wrapped) VALUES ($1::uuid, 1, $2, $3) ON CONFLICT DO NOTHING",
               {team.ToString(), root_.id(), base::Blob{wrapped}})
          .status());
  return TenantOfVersion(session, team, 1);
}

// What pseudonyms and end users' HMACs hang on. It is of the oldest version that there is, or a team's next key would rename all of them.
absl::StatusOr<std::string> PostgresKeys::SubjectKeyOf(base::Session& session, base::TeamId team, const TenantKey& current) {
  if (current.version == 1) return SubjectKey(current.key);
  TG_ASSIGN(const auto oldest,
            session.Run("find the oldest tenant key",
                        "SELECT min(version) FROM keys.tenant WHERE team_id = $1::uuid AND wrapped IS NOT NULL", {team.ToString()}));
  if (oldest.IsNull(0, 0)) return Destroyed();
  TG_ASSIGN(TenantKey first, TenantOfVersion(session, team, oldest.Int(0, 0)));
  std::string out = SubjectKey(first.key);
  base::Wipe(first.key);
  return out;
}

absl::StatusOr<DayKeyPtr> PostgresKeys::Load(base::Session& session, base::TeamId team, std::int64_t day) {
  static const std::string kFind =
      "SELECT number, tenant_version, wrapped FROM keys.tenant_day WHERE team_id = $1::uuid AND day = $2::date";
  const std::string date = DayText(day);
  TG_ASSIGN(auto rows, session.Run("find the day's key", kFind, {team.ToString(), date}));
  if (rows.empty()) {
    TG_ASSIGN(TenantKey tenant, Tenant(session, team));
    const std::string wrapped = Wrap(tenant.key, DayAad(team, day), base::RandomBytes(kKeyBytes));
    base::Wipe(tenant.key);
    TG_RETURN_IF_ERROR(session
                           .Run("make the day's key",
                                "INSERT INTO keys.tenant_day (team_id, day, tenant_version, wrapped) "
                                "VALUES ($1::uuid, $2::date, $3::int4, $4) ON CONFLICT DO NOTHING",
                                {team.ToString(), date, tenant.version, base::Blob{wrapped}})
                           .status());
    TG_ASSIGN(rows, session.Run("find the day's key", kFind, {team.ToString(), date}));
  }
  if (rows.empty() || rows.IsNull(0, 2)) return Destroyed();
  auto stored = std::make_shared<const StoredDay>(static_cast<std::int32_t>(rows.Int(0, 0)), rows.Bytes(0, 2));
  TG_ASSIGN(TenantKey tenant, TenantOfVersion(session, team, rows.Int(0, 1)));
  auto key = Unwrap(tenant.key, DayAad(team, day), stored->wrapped);
  auto subject_key = SubjectKeyOf(session, team, tenant);
  base::Wipe(tenant.key);
  TG_RETURN_IF_ERROR(subject_key.status());
  if (!key.ok()) return base::Annotate(key.status(), "the day's key does not open under its tenant key");
  return std::make_shared<const DayKey>(team, day, std::move(stored), *std::move(key), *std::move(subject_key));
}

absl::StatusOr<DayKeyPtr> PostgresKeys::Unwrapped(base::Session& session, base::TeamId team, const base::Rows& rows, std::size_t row) {
  if (rows.IsNull(row, 1) || rows.IsNull(row, 4)) return base::NotFound("the key was destroyed: nobody can read this content any more");
  auto tenant = TenantOfVersion(session, team, rows.Int(row, 5));
  if (absl::IsFailedPrecondition(tenant.status()))
    return base::NotFound("the team's keys were destroyed: nobody can read this content any more");
  TG_RETURN_IF_ERROR(tenant.status());
  const std::int64_t date = rows.Int(row, 6);
  auto stored = std::make_shared<const StoredDay>(static_cast<std::int32_t>(rows.Int(row, 3)), rows.Bytes(row, 4));
  auto day_key = Unwrap(tenant->key, DayAad(team, date), stored->wrapped);
  auto subject_key = SubjectKeyOf(session, team, *tenant);
  base::Wipe(tenant->key);
  TG_RETURN_IF_ERROR(subject_key.status());
  if (!day_key.ok()) return base::Annotate(day_key.status(), "the day's key does not open under its tenant key");
  return std::make_shared<const DayKey>(team, date, std::move(stored), *std::move(day_key), *std::move(subject_key));
}

absl::StatusOr<std::vector<std::shared_ptr<const RequestKey>>> PostgresKeys::FindAll(base::TeamId team,
                                                                                     std::span<const base::RequestId> requests) {
  static const std::string kFind = fmt::format(kFindKeys, "ANY($1::uuid[])");
  std::vector<base::Value> ids;
  for (const base::RequestId& request : requests) ids.push_back(request.ToString());
  std::map<base::RequestId, std::shared_ptr<const RequestKey>> found;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
    TG_ASSIGN(const auto rows, session.Run("find requests' keys", kFind, {base::ArrayOf(ids), team.ToString()}));
    std::map<std::int64_t, DayKeyPtr> days;  // Null: destroyed.
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto [day, fresh] = days.try_emplace(rows.Int(i, 3));
      if (rows.IsNull(i, 1)) {
        if (fresh) days.erase(day);
        continue;
      }
      if (fresh) {
        auto key = Unwrapped(session, team, rows, i);
        if (!key.ok() && !absl::IsNotFound(key.status())) return key.status();
        if (key.ok()) day->second = *std::move(key);
      }
      if (day->second == nullptr) continue;
      TG_ASSIGN(const base::Uuid request, base::Uuid::Parse(rows.Text(i, 0)));
      found[base::RequestId(request)] = StoredUnder(*day->second, base::RequestId(request), rows, i);
    }
    return absl::OkStatus();
  }));
  std::vector<std::shared_ptr<const RequestKey>> out;
  for (const base::RequestId& request : requests) {
    const auto key = found.find(request);
    out.push_back(key == found.end() ? nullptr : key->second);
  }
  return out;
}

absl::StatusOr<std::shared_ptr<const RequestKey>> PostgresKeys::Find(base::TeamId team, base::RequestId request) {
  static const std::string kFind = fmt::format(kFindKeys, "$1::uuid");
  std::shared_ptr<const RequestKey> found;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
    TG_ASSIGN(const auto rows, session.Run("find a request's key", kFind, {request.ToString(), team.ToString()}));
    if (rows.empty()) return base::NotFound("there is no key for this request: its content was never sealed, or its key is lost");
    TG_ASSIGN(const DayKeyPtr day, Unwrapped(session, team, rows, 0));
    found = StoredUnder(*day, request, rows, 0);
    return absl::OkStatus();
  }));
  return found;
}

void PostgresKeys::KeepValues(base::TeamId team, const std::string& subject, std::vector<SealedValue> values,
                              std::chrono::steady_clock::time_point deadline, Kept done) {
  static const std::string kKeep =
      "INSERT INTO keys.pseudonym AS k (team_id, pseudonym, subject, sealed, mark) "
      "SELECT $1::uuid, p, $2, s, m FROM unnest($3::text[], $4::bytea[], $5::bytea[]) AS v (p, s, m) "
      "ON CONFLICT (team_id, pseudonym, subject, mark) DO UPDATE SET last_seen = current_date WHERE k.last_seen < current_date";
  std::sort(values.begin(), values.end(), [](const SealedValue& a, const SealedValue& b) { return a.pseudonym < b.pseudonym; });
  BinaryArray pseudonyms("text", 64 * values.size()), sealed("bytea", 128 * values.size()), marks("bytea", 36 * values.size());
  std::vector<std::string> names;
  for (SealedValue& value : values) {
    pseudonyms.Bytes(value.pseudonym);
    sealed.Bytes(value.sealed);
    marks.Bytes(value.mark);
    names.push_back(std::move(value.pseudonym));
  }
  base::Params params = {team.ToString(), base::Blob{subject}, pseudonyms.Take(), sealed.Take(), marks.Take()};
  const auto keep = [this, team, subject, deadline, params = std::move(params),
                     names = std::move(names)](absl::StatusOr<base::Session*> session) -> absl::Status {
    TG_RETURN_IF_ERROR(session.status());
    if (std::chrono::steady_clock::now() > deadline) return base::Unavailable("it is too slow: nothing was routed; try again");
    TG_RETURN_IF_ERROR((*session)->Run("keep what pseudonyms stand for", kKeep, params).status());
    for (const std::string& name : names) kept_.Note(team, subject, name, std::chrono::steady_clock::now());
    return absl::OkStatus();
  };
  const absl::Status queued = value_sessions_.Submit(
      [keep, done](absl::StatusOr<base::Session*> session) { done(base::Annotate(keep(std::move(session)), "the keys database")); });
  if (!queued.ok()) done(base::Unavailable("the keys database is too slow: nothing was routed; try again in a few seconds"));
}

absl::StatusOr<std::vector<std::string>> PostgresKeys::FindValues(base::TeamId team, const std::string& pseudonym) {
  static const std::string kFind =
      "SELECT sealed FROM (SELECT DISTINCT ON (mark) sealed, created_at FROM keys.pseudonym WHERE team_id = $1::uuid AND pseudonym = $2 "
      "ORDER BY mark, created_at) v ORDER BY created_at LIMIT 20";
  std::vector<std::string> sealed;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
    TG_ASSIGN(const auto rows, session.Run("find a pseudonym's value", kFind, {team.ToString(), pseudonym}));
    if (rows.empty()) return NoValue();
    for (std::size_t i = 0; i < rows.size(); ++i) sealed.push_back(rows.Bytes(i, 0));
    return absl::OkStatus();
  }));
  return sealed;
}

absl::StatusOr<Keys::Erased> PostgresKeys::EraseValues(base::TeamId team, ValuesOf by, const std::string& which) {
  const char* column = by == ValuesOf::kSubject ? "subject" : by == ValuesOf::kPseudonym ? "pseudonym" : "mark";
  const std::string sql = fmt::format(
      "WITH gone AS (DELETE FROM keys.pseudonym WHERE team_id = $1::uuid AND {0} = $2 RETURNING mark) SELECT (SELECT count(*) FROM gone), "
      "(SELECT count(*) FROM keys.pseudonym k WHERE k.team_id = $1::uuid AND k.{0} <> $2 AND k.mark IN (SELECT mark FROM gone))",
      column);
  const base::Value value = by == ValuesOf::kPseudonym ? base::Value(which) : base::Value(base::Blob{which});
  Erased out;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
    TG_ASSIGN(const auto rows, session.Run("erase what pseudonyms stand for", sql, {team.ToString(), value}));
    out = {rows.Int(0, 0), rows.Int(0, 1)};
    return absl::OkStatus();
  }));
  kept_.Forget(team);
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Keys>> OpenPostgresKeys(const RootKey& root, PostgresKeysOptions options) {
  std::unique_ptr<base::Session> main;
  if (!options.main_url.empty()) {
    TG_ASSIGN(main, base::Session::Connect(SessionOptions(options, options.main_url, options.main_role)));
  }
  auto keys = std::make_unique<PostgresKeys>(root, std::move(options));
  TG_RETURN_IF_ERROR(base::Annotate(keys->Check(main.get()), "the keys database"));
  return keys;
}

}  // namespace tollgate::audit
