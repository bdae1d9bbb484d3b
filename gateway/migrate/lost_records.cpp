// The record comes first, in a journal of its own, whose log may have lost records too. An instance whose claim has not lapsed is running,
// and has lost nothing, else it had ended: what it loses later is not accepted in advance. A log that is adopted is no claim of the
// instance that it names; nor is one that another has taken. Instances of the version before go by the rows of logs, later ones by who was
// alive.
// Tested by tests/gateway/admin/lost_records_test.cpp.
#include "gateway/migrate/lost_records.h"

#include <fmt/format.h>

#include "base/postgres.h"
#include "gateway/migrate/on_record.h"

namespace tollgate::migrate {

absl::StatusOr<LostRecords> GoOnWithoutRecords(const LostRecordsOptions& options) {
  static const std::string kAccept =
      "WITH logs AS (SELECT log_id, next_index, instance_id, NOT released AND expires_at > now() AND adopted IS DISTINCT FROM epoch AS "
      "served "
      "FROM audit.log_head), "
      "noted AS (INSERT INTO audit.loss (accepted_at, log_id, next_index, reason, alive) "
      "SELECT now(), log_id, next_index, $1::text, NULL FROM logs WHERE NOT served UNION ALL "
      "SELECT now(), 0, 0, $1::text, coalesce(array_agg(instance_id) FILTER (WHERE served), '{}') FROM logs) "
      "SELECT log_id FROM logs WHERE served ORDER BY log_id";
  TG_RETURN_IF_ERROR(CheckReason("lost records", options.reason));
  TG_RETURN_IF_ERROR(
      PutOnRecord({.postgres_url = options.owner_url,
                   .state_dir = options.state_dir,
                   .build = options.build,
                   .actor = options.actor,
                   .action = "records.lost",
                   .summary = "records that were acknowledged are lost, instances say which as they start: " + options.reason,
                   .accept_lost_records = true}));
  base::PostgresOptions owner;
  owner.url = options.owner_url;
  owner.application_name = "tollgate migrate";
  TG_ASSIGN(const std::unique_ptr<base::Session> session, base::Session::Connect(owner));
  TG_ASSIGN(const base::Rows logs, session->Run("note that records are lost", kAccept, {options.reason}));
  LostRecords out;
  for (std::size_t i = 0; i < logs.size(); ++i) out.served.push_back(static_cast<std::int32_t>(logs.Int(i, 0)));
  return out;
}

std::string Words(const LostRecords& accepted) {
  std::string words =
      "it is on record that records are lost: instances that were not running go on without theirs, and say which as they start";
  if (accepted.served.empty()) return words;
  return words + fmt::format(
                     "; it does not count for those that run, with log {}: one that ended less than ten seconds ago is taken for one of "
                     "them: if it is still refused, run this again",
                     fmt::join(accepted.served, ", "));
}

}  // namespace tollgate::migrate
