// A count is one statement: the row of the window is made or raised, unless it stands at the limit already, and then no row comes back. A grant
// for one request is taken by the update that marks it used, so that two requests cannot both have it.
//
// Tested by tests/gateway/gates/gates_postgres_test.cpp.
#include <atomic>

#include <fmt/format.h>

#include "base/postgres_pool.h"
#include "gateway/gates/gates.h"

namespace tollgate::gates {
namespace {

constexpr std::int64_t kCountsBetweenSweeps = 1000;

constexpr const char* kColumns =
    "id::text, team_id::text, key_id::text, rule, "
    "CASE WHEN state = 'granted' AND granted_at + greatest(minutes, 1440 * (minutes = 0)::int) * interval '1 minute' <= now() THEN 'expired' "
    "ELSE state END, coalesce(granted_by, ''), minutes, (extract(epoch FROM asked_at) * 1e6)::int8, "
    "coalesce((extract(epoch FROM granted_at) * 1e6)::int8, 0)";

base::SessionPool::Options PoolOptions(base::PostgresOptions postgres) {
  base::SessionPool::Options pool;
  postgres.application_name = "tollgate gates";
  pool.postgres = std::move(postgres);
  pool.sessions = 2;
  return pool;
}

absl::StatusOr<Approval> ApprovalOf(const base::Rows& rows, std::size_t i) {
  Approval out;
  TG_ASSIGN(out.id, base::Uuid::Parse(rows.Text(i, 0)));
  TG_ASSIGN(const base::Uuid team, base::Uuid::Parse(rows.Text(i, 1)));
  TG_ASSIGN(const base::Uuid key, base::Uuid::Parse(rows.Text(i, 2)));
  out.team = base::TeamId(team);
  out.key = base::KeyId(key);
  out.rule = rows.Text(i, 3);
  out.state = rows.Text(i, 4);
  out.granted_by = rows.Text(i, 5);
  out.minutes = rows.Int(i, 6);
  out.asked_us = rows.Int(i, 7);
  out.granted_us = rows.Int(i, 8);
  return out;
}

absl::Status NoneWaits(base::Uuid id) {
  return base::NotFound(fmt::format("no approval {} waits; `tollgate policy approvals` lists those that do", id.ToString()));
}

class PostgresGates final : public Gates {
 public:
  explicit PostgresGates(base::PostgresOptions postgres) : sessions_(PoolOptions(std::move(postgres))) {}

  void CountRate(const RateAsk& ask, Done<RateAnswer> done) override {
    Ask<RateAnswer>(std::move(done), [this, ask](base::Session& session) -> absl::StatusOr<RateAnswer> {
      static const std::string kCount =
          "WITH w AS (SELECT to_timestamp(floor(extract(epoch FROM now()) / $4::int8) * $4::int8) AS start), "
          "counted AS (INSERT INTO gate.rate (team_id, rule, who, window_start, used) SELECT $1::uuid, $2, $3, start, 1 FROM w "
          "ON CONFLICT (team_id, rule, who, window_start) DO UPDATE SET used = gate.rate.used + 1 WHERE gate.rate.used < $5::int8 RETURNING 1) "
          "SELECT (SELECT count(*) FROM counted), greatest(ceil(extract(epoch FROM start - now()) * 1000)::int8 + $4::int8 * 1000, 1) FROM w";
      TG_RETURN_IF_ERROR(Sweep(session));
      TG_ASSIGN(const auto rows, session.Run("count requests of a rule", kCount,
                                             {ask.team.ToString(), ask.rule, base::Blob{ask.who}, ask.window_seconds, ask.limit}));
      return RateAnswer{rows.Int(0, 0) == 1, rows.Int(0, 1)};
    });
  }

  void HasAccepted(const TermsAsk& ask, Done<bool> done) override {
    Ask<bool>(std::move(done), [ask](base::Session& session) -> absl::StatusOr<bool> {
      static const std::string kFind = "SELECT 1 FROM gate.acceptance WHERE team_id = $1::uuid AND end_user = $2 AND terms = $3";
      TG_ASSIGN(const auto rows, session.Run("find accepted terms", kFind, {ask.team.ToString(), base::Blob{ask.end_user}, ask.terms}));
      return !rows.empty();
    });
  }

  void Accept(const TermsAsk& ask, base::RequestId said_by, Done<bool> done) override {
    Ask<bool>(std::move(done), [ask, said_by](base::Session& session) -> absl::StatusOr<bool> {
      static const std::string kAccept =
          "INSERT INTO gate.acceptance (team_id, end_user, terms, request_id) VALUES ($1::uuid, $2, $3, $4::uuid) ON CONFLICT DO NOTHING";
      TG_RETURN_IF_ERROR(
          session.Run("accept terms", kAccept, {ask.team.ToString(), base::Blob{ask.end_user}, ask.terms, said_by.ToString()}).status());
      return true;
    });
  }

  void FindApproval(const ApprovalAsk& ask, Done<ApprovalAnswer> done) override {
    Ask<ApprovalAnswer>(std::move(done), [ask](base::Session& session) -> absl::StatusOr<ApprovalAnswer> {
      ApprovalAnswer answer;
      TG_RETURN_IF_ERROR(session.InTransaction("find an approval", [&](base::Session& s) { return Find(s, ask, answer); }));
      return answer;
    });
  }

  absl::StatusOr<std::vector<Approval>> ListApprovals(base::OrgId org) override {
    static const std::string kList =
        fmt::format("SELECT {} FROM gate.approval WHERE org_id = $1::uuid ORDER BY asked_at DESC, id LIMIT 500", kColumns);
    return Query(kList, {org.ToString()});
  }

  absl::StatusOr<Approval> FindPending(base::OrgId org, base::Uuid id) override {
    static const std::string kFind =
        fmt::format("SELECT {} FROM gate.approval WHERE org_id = $1::uuid AND id = $2::uuid AND state = 'pending'", kColumns);
    TG_ASSIGN(const std::vector<Approval> found, Query(kFind, {org.ToString(), id.ToString()}));
    if (found.empty()) return NoneWaits(id);
    return found[0];
  }

  absl::Status Grant(base::OrgId org, base::Uuid id, const std::string& by) override {
    static const std::string kGrant =
        fmt::format("UPDATE gate.approval SET state = 'granted', granted_at = now(), granted_by = $3 "
                    "WHERE org_id = $1::uuid AND id = $2::uuid AND state = 'pending' RETURNING {}",
                    kColumns);
    TG_ASSIGN(const std::vector<Approval> granted, Query(kGrant, {org.ToString(), id.ToString(), by}));
    return granted.empty() ? NoneWaits(id) : absl::OkStatus();
  }

 private:
  template <typename T>
  void Ask(Done<T> done, std::function<absl::StatusOr<T>(base::Session&)> work) {
    const absl::Status queued = sessions_.Submit([done, work = std::move(work)](absl::StatusOr<base::Session*> session) {
      if (!session.ok()) return done(base::Annotate(session.status(), "what policy asks before a request"));
      done(work(**session));
    });
    if (!queued.ok()) done(base::Unavailable("the database is too slow for what policy asks before a request; try again in a few seconds"));
  }

  static absl::Status Find(base::Session& session, const ApprovalAsk& ask, ApprovalAnswer& answer) {
    static const std::string kTake =
        "UPDATE gate.approval SET state = CASE WHEN minutes = 0 THEN 'used' ELSE state END WHERE id = (SELECT id FROM gate.approval "
        "WHERE team_id = $1::uuid AND key_id = $2::uuid AND rule = $3 AND state = 'granted' "
        "AND granted_at + greatest(minutes, 1440 * (minutes = 0)::int) * interval '1 minute' > now() "
        "ORDER BY minutes DESC, granted_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id::text";
    static const std::string kWish =
        "INSERT INTO gate.approval (id, org_id, team_id, key_id, rule, request_id, minutes) "
        "VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5, $6::uuid, $7::int8) ON CONFLICT DO NOTHING";
    static const std::string kWaits =
        "SELECT id::text FROM gate.approval WHERE team_id = $1::uuid AND key_id = $2::uuid AND rule = $3 AND state = 'pending'";
    const base::Params of = {ask.team.ToString(), ask.key.ToString(), ask.rule};
    TG_ASSIGN(auto rows, session.Run("take a grant", kTake, of));
    answer.granted = !rows.empty();
    if (!answer.granted) {
      TG_RETURN_IF_ERROR(session
                             .Run("ask for approval", kWish,
                                  {base::Uuid::NewV7().ToString(), ask.org.ToString(), ask.team.ToString(), ask.key.ToString(), ask.rule,
                                   ask.request.ToString(), ask.minutes})
                             .status());
      TG_ASSIGN(rows, session.Run("find what waits", kWaits, of));
      if (rows.empty()) return base::Unavailable("the approval was given this moment; send the request again");
    }
    TG_ASSIGN(answer.id, base::Uuid::Parse(rows.Text(0, 0)));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Approval>> Query(const std::string& sql, const base::Params& params) {
    std::vector<Approval> out;
    TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
      TG_ASSIGN(const auto rows, session.Run("approvals", sql, params));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        TG_ASSIGN(Approval approval, ApprovalOf(rows, i));
        out.push_back(std::move(approval));
      }
      return absl::OkStatus();
    }));
    return out;
  }

  // Windows that are long over.
  absl::Status Sweep(base::Session& session) {
    if (counts_.fetch_add(1) % kCountsBetweenSweeps != 0) return absl::OkStatus();
    return session.Run("forget old windows", "DELETE FROM gate.rate WHERE window_start < now() - interval '2 days'", {}).status();
  }

  std::atomic<std::int64_t> counts_{0};
  base::SessionPool sessions_;  // Last: its threads use the above.
};

}  // namespace

std::unique_ptr<Gates> OpenPostgresGates(base::PostgresOptions postgres) { return std::make_unique<PostgresGates>(std::move(postgres)); }

}  // namespace tollgate::gates
