// The record comes first, in a journal of its own, whose log may have lost records too. A log whose claim has not lapsed is served by an
// instance that has lost nothing, else it had ended: what such a log loses later is not accepted in advance.
// Tested by tests/gateway/admin/lost_records_test.cpp.
#include "gateway/migrate/lost_records.h"

#include "base/postgres.h"
#include "gateway/migrate/on_record.h"

namespace tollgate::migrate {

absl::StatusOr<LostRecords> GoOnWithoutRecords(const LostRecordsOptions& options) {
  static const std::string kAccept =
      "WITH logs AS (SELECT log_id, next_index, NOT released AND expires_at > now() AS served FROM audit.log_head), "
      "noted AS (INSERT INTO audit.loss (accepted_at, log_id, next_index, reason) "
      "SELECT now(), log_id, next_index, $1::text FROM logs WHERE NOT served UNION ALL SELECT now(), 0, 0, $1::text) "
      "SELECT count(*) FILTER (WHERE NOT served), count(*) FILTER (WHERE served) FROM logs";
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
  return LostRecords{logs.Int(0, 0), logs.Int(0, 1)};
}

}  // namespace tollgate::migrate
