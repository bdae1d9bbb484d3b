// What one request is asked for is one transaction, which is undone as a whole where the request does not pass: grants are looked up first,
// without a lock, so that a request which lacks one keeps nobody else from the others; those for minutes are never locked, and one for one
// request is taken by the update that marks it used, so that two requests cannot both have it; counts come last, for their rows are what
// others wait for. A count is one statement: the row of the window is made or raised, unless it stands at the limit already, and then no
// row comes back. What a refused request wishes for is written by a transaction of its own, where those for one request of one key and rule
// come one by one, so that no more of them wait than may. Rules are asked in the order of their names, lest requests wait for each other.
//
// Tested by tests/gateway/gates/gates_postgres_test.cpp.
#include <algorithm>
#include <atomic>
#include <map>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/diagnostics.h"
#include "base/mutex.h"
#include "base/postgres_pool.h"
#include "gateway/gates/approval_rows.h"
#include "gateway/gates/full_rates.h"
#include "gateway/gates/gates.h"

namespace tollgate::gates {
namespace {

using std::chrono::steady_clock;

constexpr std::int64_t kCountsBetweenSweeps = 1000;
constexpr std::size_t kListedMax = 500;
constexpr int kAskingOfTeamMax = 200;  // Of one team at once: others find a place in the queue.

base::SessionPool::Options PoolOptions(base::PostgresOptions postgres) {
  base::SessionPool::Options pool;
  postgres.application_name = "tollgate gates";
  pool.postgres = std::move(postgres);
  pool.sessions = 2;
  return pool;
}

absl::Status No(base::Uuid id, std::string_view what) {
  return base::NotFound(fmt::format("no approval {} {}; `tollgate policy approvals` lists those that do", id.ToString(), what));
}

absl::Status Changed(base::Uuid id) {
  base::Error("gates", "what waits as approval {} was not asked for at this installation, or was changed since: nobody can give it",
              id.ToString());
  return base::DataLoss(
      fmt::format("approval {} was not asked for at this installation, or was changed since: turn it down (`tollgate policy "
                  "revoke-approval`), and have the request sent again",
                  id.ToString()));
}

// Rolls a transaction back; the answer says why.
absl::Status DoesNotPass() { return base::Cancelled("the request does not pass"); }

class PostgresGates final : public Gates {
 public:
  PostgresGates(base::PostgresOptions postgres, std::string mac_key)
      : signer_(std::move(mac_key)), sessions_(PoolOptions(std::move(postgres))) {}

  void Pass(const Ask& given, Done<Answer> done) override {
    Ask ask = given;
    std::sort(ask.rates.begin(), ask.rates.end(), [](const Rate& a, const Rate& b) { return a.rule < b.rule; });
    for (const Rate& rate : ask.rates) {
      const auto left = full_.Left(ask.team, rate, steady_clock::now());
      if (!left) continue;
      Answer answer;
      answer.full = {rate.rule, *left};
      return done(std::move(answer));
    }
    const bool counts = !ask.rates.empty();
    Queue<Answer>(ask.team, std::move(done), counts,
                  [this, ask = std::move(ask)](base::Session& session) { return PassOne(session, ask); });
  }

  void GiveBack(base::TeamId team, base::RequestId used_by, const std::vector<base::Uuid>& grants, Done<bool> done) override {
    Queue<bool>(team, std::move(done), false, [used_by, grants](base::Session& session) -> absl::StatusOr<bool> {
      static const std::string kGiveBack =
          "UPDATE gate.approval SET state = 'granted', used_by = NULL WHERE id = ANY($1::uuid[]) AND state = 'used' AND used_by = $2::uuid";
      TG_RETURN_IF_ERROR(session.Run("give grants back", kGiveBack, {IdsOf(grants), used_by.ToString()}).status());
      return true;
    });
  }

  void Accept(base::TeamId team, const std::string& end_user, const std::vector<std::string>& terms, base::RequestId said_by,
              Done<bool> done) override {
    Queue<bool>(team, std::move(done), false, [team, end_user, terms, said_by](base::Session& session) -> absl::StatusOr<bool> {
      static const std::string kAccept =
          "INSERT INTO gate.acceptance (team_id, end_user, terms, request_id) "
          "SELECT $1::uuid, $4, t, $2::uuid FROM unnest($3::text[]) AS t ON CONFLICT DO NOTHING";
      TG_RETURN_IF_ERROR(
          session.Run("accept terms", kAccept, {team.ToString(), said_by.ToString(), TextsOf(terms), base::Blob{end_user}}).status());
      return true;
    });
  }

  absl::StatusOr<Approvals> ListApprovals(base::OrgId org) override {
    static const std::string kList = fmt::format(
        "SELECT {} FROM gate.approval WHERE org_id = $1::uuid ORDER BY (state = 'pending' AND {}) DESC, asked_at DESC, id LIMIT {}",
        ApprovalColumns(), WishInForce(), kListedMax + 1);
    Approvals out;
    TG_ASSIGN(out.all, Query(kList, {org.ToString()}));
    out.more = out.all.size() > kListedMax;
    if (out.more) out.all.resize(kListedMax);
    return out;
  }

  absl::StatusOr<Approval> Find(base::OrgId org, base::Uuid id) override {
    static const std::string kFind =
        fmt::format("SELECT {} FROM gate.approval WHERE org_id = $1::uuid AND id = $2::uuid", ApprovalColumns());
    TG_ASSIGN(const std::vector<Approval> found, Query(kFind, {org.ToString(), id.ToString()}));
    if (found.empty()) return No(id, "is there");
    return found[0];
  }

  absl::Status Grant(base::OrgId org, base::Uuid id, const std::string& by) override {
    static const std::string kGrant = fmt::format(
        "UPDATE gate.approval SET state = 'granted', granted_at = now(), granted_by = $3 "
        "WHERE org_id = $1::uuid AND id = $2::uuid AND state = 'pending' AND {} RETURNING {}",
        WishInForce(), ApprovalColumns());
    return sessions_.RunAndWait([&](base::Session& session) {
      return session.InTransaction("grant an approval", [&](base::Session& s) -> absl::Status {
        TG_ASSIGN(const auto rows, s.Run("grant", kGrant, {org.ToString(), id.ToString(), by}));
        if (rows.empty()) return No(id, "waits");
        TG_ASSIGN(const ApprovalRow granted, ApprovalRowOf(rows, 0));
        // The approver read the prompt of the request that the row names: it is not for another one.
        if (granted.approval.minutes == 0 && !base::ConstantTimeEqual(granted.mac, signer_.MacOfWish(org, granted))) return Changed(id);
        return Sign(s, id, signer_.MacOfGrant(granted));
      });
    });
  }

  absl::Status Revoke(base::OrgId org, base::Uuid id) override {
    static const std::string kRevoke = fmt::format(
        "UPDATE gate.approval SET state = 'revoked' WHERE org_id = $1::uuid AND id = $2::uuid AND state IN ('pending', 'granted') "
        "RETURNING {}",
        ApprovalColumns());
    TG_ASSIGN(const std::vector<Approval> revoked, Query(kRevoke, {org.ToString(), id.ToString()}));
    return revoked.empty() ? No(id, "waits or is granted") : absl::OkStatus();
  }

  absl::StatusOr<std::int64_t> Forget(base::TeamId team, const std::string& end_user) override {
    static const std::string kForget =
        "WITH a AS (DELETE FROM gate.acceptance WHERE team_id = $1::uuid AND end_user = $2 RETURNING 1), "
        "r AS (DELETE FROM gate.rate WHERE team_id = $1::uuid AND who = $2 RETURNING 1) "
        "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM r)";
    std::int64_t gone = 0;
    TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
      TG_ASSIGN(const auto rows, session.Run("forget an end user", kForget, {team.ToString(), base::Blob{end_user}}));
      gone = rows.Int(0, 0);
      return absl::OkStatus();
    }));
    full_.Forget(team, end_user);
    return gone;
  }

 private:
  static base::Value TextsOf(const std::vector<std::string>& texts) {
    const std::vector<base::Value> values(texts.begin(), texts.end());
    return base::ArrayOf(values);
  }
  static base::Value IdsOf(const std::vector<base::Uuid>& ids) {
    std::vector<base::Value> values;
    for (const base::Uuid& id : ids) values.push_back(id.ToString());
    return base::ArrayOf(values);
  }

  template <typename T>
  void Queue(base::TeamId team, Done<T> done, bool counts, std::function<absl::StatusOr<T>(base::Session&)> work) {
    if (!MayAsk(team)) return done(TooSlow());
    const absl::Status queued =
        sessions_.Submit([this, team, done, counts, work = std::move(work)](absl::StatusOr<base::Session*> session) {
          Answered(team);
          if (!session.ok()) return done(base::Annotate(session.status(), "what policy asks before a request"));
          done(Told(work(**session)));
          if (counts) Sweep(**session);
        });
    if (queued.ok()) return;
    Answered(team);
    done(TooSlow());
  }

  // What only the database knows is nothing that a caller did: it may try again.
  template <typename T>
  static absl::StatusOr<T> Told(absl::StatusOr<T> result) {
    const absl::StatusCode code = result.status().code();
    if (code != absl::StatusCode::kUnknown && code != absl::StatusCode::kAborted) return result;
    base::Warn("gates", "what policy asks before a request: {}", base::Message(result.status()));
    return TooSlow();
  }

  static absl::Status TooSlow() {
    return base::Unavailable("the database is too slow for what policy asks before a request; try again in a few seconds");
  }

  bool MayAsk(base::TeamId team) {
    base::Lock lock(mu_);
    int& asking = asking_[team];
    if (asking >= kAskingOfTeamMax) return false;
    ++asking;
    return true;
  }
  void Answered(base::TeamId team) {
    base::Lock lock(mu_);
    const auto found = asking_.find(team);
    if (--found->second == 0) asking_.erase(found);
  }

  absl::StatusOr<Answer> PassOne(base::Session& session, const Ask& ask) {
    Answer answer;
    if (!ask.terms.empty()) {
      static const std::string kMissing =
          "SELECT t FROM unnest($2::text[]) AS t WHERE NOT EXISTS "
          "(SELECT 1 FROM gate.acceptance a WHERE a.team_id = $1::uuid AND a.end_user = $3 AND a.terms = t)";
      TG_ASSIGN(const auto rows,
                session.Run("find accepted terms", kMissing, {ask.team.ToString(), TextsOf(ask.terms), base::Blob{ask.end_user}}));
      for (std::size_t i = 0; i < rows.size(); ++i) answer.terms_missing.push_back(rows.Text(i, 0));
      if (!answer.passes()) return answer;
    }
    if (ask.approvals.empty() && ask.rates.empty()) return answer;
    std::vector<Wish> lacking;
    const absl::Status passed =
        session.InTransaction("pass what policy asks", [&](base::Session& s) { return TakeAll(s, ask, lacking, answer); });
    if (passed.ok()) return answer;
    if (!absl::IsCancelled(passed)) return passed;
    answer.grants.clear();
    if (answer.full) return answer;
    TG_RETURN_IF_ERROR(session.InTransaction("ask for approvals", [&](base::Session& s) { return WishFor(s, ask, lacking, answer); }));
    return answer;
  }

  // All or nothing: an error undoes what was taken and counted. `lacking`: those without a grant.
  absl::Status TakeAll(base::Session& session, const Ask& ask, std::vector<Wish>& lacking, Answer& answer) {
    std::vector<Grants> grants;
    for (const Wish& wish : ask.approvals) {
      TG_ASSIGN(Grants found, FindGrants(session, ask, wish));
      if (!found.lasting && found.once.empty()) lacking.push_back(wish);
      grants.push_back(std::move(found));
    }
    if (!lacking.empty()) return DoesNotPass();
    for (std::size_t i = 0; i < grants.size(); ++i) {
      std::optional<base::Uuid> grant = grants[i].lasting;
      if (!grant) {
        TG_ASSIGN(grant, TakeOne(session, ask.request, grants[i].once));
      }
      if (grant)
        answer.grants.push_back(*grant);
      else
        lacking.push_back(ask.approvals[i]);
    }
    if (!lacking.empty()) return DoesNotPass();
    for (const Rate& rate : ask.rates) {
      TG_RETURN_IF_ERROR(Count(session, ask.team, rate, answer));
    }
    return absl::OkStatus();
  }

  // Of one key and rule, in force and signed; those for one request are for this prompt.
  struct Grants {
    std::optional<base::Uuid> lasting;
    std::vector<base::Uuid> once;
  };
  absl::StatusOr<Grants> FindGrants(base::Session& session, const Ask& ask, const Wish& wish) const {
    static const std::string kFind = fmt::format(
        "SELECT {} FROM gate.approval WHERE team_id = $1::uuid AND key_id = $2::uuid AND rule = $3 AND state = 'granted' AND {} "
        "AND (minutes > 0 OR prompt = $4) ORDER BY minutes DESC, granted_at LIMIT 20",
        ApprovalColumns(), kGrantInForce);
    const std::string prompt = signer_.PromptOf(ask, {wish.rule, 0, wish.asked});
    TG_ASSIGN(const auto rows, session.Run("find grants", kFind, {ask.team.ToString(), ask.key.ToString(), wish.rule, base::Blob{prompt}}));
    Grants out;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      TG_ASSIGN(const ApprovalRow row, ApprovalRowOf(rows, i));
      const Approval& grant = row.approval;
      if (!base::ConstantTimeEqual(row.mac, signer_.MacOfGrant(row))) {
        base::Error("gates", "approval {} was not granted by this installation, or was changed since: it lets nobody pass",
                    grant.id.ToString());
      } else if (grant.minutes == 0) {
        out.once.push_back(grant.id);
      } else if (!out.lasting) {
        out.lasting = grant.id;
      }
    }
    return out;
  }

  // nullopt: others were faster.
  static absl::StatusOr<std::optional<base::Uuid>> TakeOne(base::Session& session, base::RequestId by, const std::vector<base::Uuid>& of) {
    static const std::string kTake =
        "UPDATE gate.approval SET state = 'used', used_by = $2::uuid WHERE id = (SELECT id FROM gate.approval WHERE id = ANY($1::uuid[]) "
        "AND state = 'granted' ORDER BY granted_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id::text";
    TG_ASSIGN(const auto rows, session.Run("take a grant", kTake, {IdsOf(of), by.ToString()}));
    if (rows.empty()) return std::optional<base::Uuid>();
    TG_ASSIGN(const base::Uuid id, base::Uuid::Parse(rows.Text(0, 0)));
    return std::optional<base::Uuid>(id);
  }

  absl::Status Count(base::Session& session, base::TeamId team, const Rate& rate, Answer& answer) {
    static const std::string kCount =
        "WITH w AS (SELECT to_timestamp(floor(extract(epoch FROM now()) / $4::int8) * $4::int8) AS start), "
        "counted AS (INSERT INTO gate.rate (team_id, rule, who, window_start, used) SELECT $1::uuid, $2, $3, start, 1 FROM w "
        "ON CONFLICT (team_id, rule, who, window_start) DO UPDATE SET used = gate.rate.used + 1 WHERE gate.rate.used < $5::int8 RETURNING "
        "1) "
        "SELECT (SELECT count(*) FROM counted), greatest(ceil(extract(epoch FROM start - now()) * 1000)::int8 + $4::int8 * 1000, 1) FROM w";
    TG_ASSIGN(const auto rows, session.Run("count requests of a rule", kCount,
                                           {team.ToString(), rate.rule, base::Blob{rate.who}, rate.window_seconds, rate.limit}));
    if (rows.Int(0, 0) == 1) return absl::OkStatus();
    answer.full = {rate.rule, rows.Int(0, 1)};
    full_.Note(team, rate, steady_clock::now() + std::chrono::milliseconds(answer.full->reset_ms));
    return DoesNotPass();
  }

  absl::Status WishFor(base::Session& session, const Ask& ask, std::vector<Wish> wishes, Answer& answer) const {
    std::sort(wishes.begin(), wishes.end(), [](const Wish& a, const Wish& b) { return a.rule < b.rule; });
    for (const Wish& wish : wishes) TG_RETURN_IF_ERROR(WishForOne(session, ask, wish, answer));
    return absl::OkStatus();
  }

  absl::Status WishForOne(base::Session& session, const Ask& ask, const Wish& wish, Answer& answer) const {
    static const std::string kOneByOne = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    static const std::string kWish = fmt::format(
        "WITH others AS (SELECT count(*) AS n FROM gate.approval WHERE team_id = $3::uuid AND key_id = $4::uuid AND rule = $5::text "
        "AND state = 'pending' AND prompt NOT IN ('', $9::bytea) AND {}), "
        "made AS (INSERT INTO gate.approval AS a (id, org_id, team_id, key_id, rule, request_id, minutes, prompt) "
        "SELECT $1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::uuid, $7::int8, $9::bytea FROM others "
        "WHERE n < $8::int8 OR $7::int8 > 0 ON CONFLICT (team_id, key_id, rule, prompt) WHERE state = 'pending' DO UPDATE "
        "SET asked_at = now(), request_id = excluded.request_id, minutes = excluded.minutes WHERE NOT {} RETURNING a.id) "
        "SELECT n >= $8::int8, (SELECT id::text FROM made) FROM others",
        WishInForce(), WishInForce("a."));
    static const std::string kWaits = fmt::format(
        "SELECT id::text FROM gate.approval WHERE team_id = $1::uuid AND key_id = $2::uuid AND rule = $3 AND state = 'pending' "
        "AND prompt = $4 AND {}",
        WishInForce());
    ApprovalRow row = signer_.RowOf(ask, wish);
    const std::string team = ask.team.ToString(), key = ask.key.ToString();
    const base::Blob prompt{row.prompt};
    if (wish.minutes == 0) TG_RETURN_IF_ERROR(session.Run("ask one by one", kOneByOne, {team + key + wish.rule}).status());
    TG_ASSIGN(const auto made, session.Run("ask for approval", kWish,
                                           {row.approval.id.ToString(), ask.org.ToString(), team, key, wish.rule, ask.request.ToString(),
                                            wish.minutes, kWaitingMax, prompt}));
    if (!made.IsNull(0, 1)) {
      TG_ASSIGN(row.approval.id, base::Uuid::Parse(made.Text(0, 1)));  // Of one that had lapsed: its own.
      answer.waiting.push_back({wish.rule, row.approval.id});
      return Sign(session, row.approval.id, signer_.MacOfWish(ask.org, row));
    }
    TG_ASSIGN(const auto waits, session.Run("find what waits", kWaits, {team, key, wish.rule, prompt}));
    if (!waits.empty()) {
      TG_ASSIGN(const base::Uuid id, base::Uuid::Parse(waits.Text(0, 0)));
      answer.waiting.push_back({wish.rule, id});
    } else if (wish.minutes == 0 && made.Bool(0, 0)) {
      answer.crowded.push_back(wish.rule);
    } else {
      return base::Unavailable("the approval was given this moment; send the request again");
    }
    return absl::OkStatus();
  }

  static absl::Status Sign(base::Session& session, base::Uuid id, std::string mac) {
    static const std::string kSign = "UPDATE gate.approval SET mac = $2 WHERE id = $1::uuid";
    return session.Run("sign an approval", kSign, {id.ToString(), base::Blob{std::move(mac)}}).status();
  }

  absl::StatusOr<std::vector<Approval>> Query(const std::string& sql, const base::Params& params) {
    std::vector<Approval> out;
    TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& session) -> absl::Status {
      TG_ASSIGN(const auto rows, session.Run("approvals", sql, params));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        TG_ASSIGN(ApprovalRow row, ApprovalRowOf(rows, i));
        out.push_back(std::move(row.approval));
      }
      return absl::OkStatus();
    }));
    return out;
  }

  // Windows that are long over, some at a time: nobody waits for this long, and a failure is nobody's.
  void Sweep(base::Session& session) {
    static const std::string kSweep =
        "DELETE FROM gate.rate WHERE ctid = ANY(ARRAY(SELECT ctid FROM gate.rate WHERE window_start < now() - interval '2 days' LIMIT "
        "5000))";
    if (counts_.fetch_add(1) % kCountsBetweenSweeps != 0) return;
    const absl::Status swept = session.Run("forget old windows", kSweep, {}).status();
    if (!swept.ok()) base::Warn("gates", "old windows of rates were not forgotten: {}", base::Message(swept));
  }

  const ApprovalSigner signer_;
  std::atomic<std::int64_t> counts_{0};
  FullRates full_;
  base::Mutex mu_;
  std::map<base::TeamId, int> asking_ GUARDED_BY(mu_);  // Questions under way.
  base::SessionPool sessions_;                          // Last: its threads use the above.
};

}  // namespace

std::unique_ptr<Gates> OpenPostgresGates(base::PostgresOptions postgres, std::string mac_key) {
  return std::make_unique<PostgresGates>(std::move(postgres), std::move(mac_key));
}

}  // namespace tollgate::gates
