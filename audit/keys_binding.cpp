// The installation's id stands in both databases. A keys database that was put back to an older state still has it, so keys are asked for
// that must be there: a request whose SEGMENT or FINAL is on record went on because its REQUEST and its key were both stored. (A REQUEST
// alone may be durable without: its instance died between the two commits.) Some are asked for, not the newest alone: after a failover that
// lost keys, service went on, and the newest ones are there. A key is there with its own row and its day's; what erases it empties one of
// them and leaves both.
// Tested by tests/audit/keys_binding_test.cpp.
#include "audit/keys_binding.h"

#include <vector>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/wrap.h"

namespace tollgate::audit {
namespace {

constexpr std::int64_t kEnd = 20'000;  // Records at a log's end that are looked at.

constexpr std::int64_t kLogsMax = 8;
constexpr std::int64_t kContents = 1000;  // Of each log.

const std::string kNewest =
    "SELECT request_id::text, wall_us FROM audit.record WHERE log_id = $1::int2 AND leaf_index >= $2::int8 AND day >= $3::date "
    "AND kind IN (3, 4) AND content IS NOT NULL ORDER BY leaf_index DESC LIMIT $4::int8";
// An instance's clock may be five minutes ahead of Postgres's (clock_check.h).
const std::string kMissing =
    "SELECT count(*), (array_agg(stored.id ORDER BY stored.us DESC))[1]::text FROM unnest($1::uuid[], $2::int8[]) stored (id, us) "
    "WHERE NOT EXISTS (SELECT FROM keys.request r JOIN keys.tenant_day d ON d.number = r.tenant_day WHERE r.request_id = stored.id) "
    "AND NOT EXISTS (SELECT FROM keys.loss WHERE accepted_at <= now() + interval '5 minutes' "
    "AND accepted_at + interval '5 minutes' >= to_timestamp(stored.us / 1000000.0))";

constexpr const char* kLost =
    "restore it from its newest backup; or, if those keys are lost, so that what was recorded under them can never be read again and "
    "persons get other pseudonyms, go on without by `tollgate migrate --lost-keys REASON`, which is on record";

// Whether any record has content, the latest days first. So many days' partitions are asked at a time, for each takes its locks
// (audit/days.h); the one for days that have none is asked each time.
constexpr std::size_t kDaysAtOnce = 64;

absl::StatusOr<bool> HoldsContents(base::Session& main) {
  static const std::string kDays =
      "SELECT right(c.relname, 8)::date::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
      "WHERE i.inhparent = 'audit.record'::regclass AND c.relname ~ '^record_[0-9]{8}$' ORDER BY 1 DESC";
  static const std::string kAny =
      "SELECT EXISTS (SELECT FROM audit.record WHERE content IS NOT NULL AND day >= $1::date AND day <= $2::date)";
  TG_ASSIGN(const base::Rows days, main.Run("list the days of records", kDays));
  std::string last = "infinity";
  for (std::size_t i = 0; i == 0 || i < days.size(); i += kDaysAtOnce) {
    const bool all = i + kDaysAtOnce >= days.size();
    const std::string first = all ? "-infinity" : days.Text(i + kDaysAtOnce - 1, 0);
    bool found = false;
    TG_RETURN_IF_ERROR(main.InTransaction("look for contents", [&](base::Session& in) -> absl::Status {
      TG_RETURN_IF_ERROR(PlanForValues(in));
      TG_ASSIGN(const base::Rows any, in.Run("look for contents", kAny, {first, last}));
      found = any.Bool(0, 0);
      return absl::OkStatus();
    }));
    if (found) return true;
    last = first;
  }
  return false;
}

absl::Status CheckRoot(base::Session& keys, const RootKey& root, base::Session* main) {
  TG_ASSIGN(const auto known, keys.Run("read root keys", "SELECT id, check_value FROM keys.root"));
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known.Text(i, 0) == root.id() && Unwrap(root.secret(), "TGKR", known.Bytes(i, 1)).ok()) return absl::OkStatus();
  }
  if (!known.empty()) {
    return base::FailedPrecondition(fmt::format(
        "the root key {} is not the one that this keys database was made under ({}): give the right file as secrets.root_key_file",
        root.id(), known.Text(0, 0)));
  }
  if (main != nullptr) {
    TG_ASSIGN(const bool sealed, HoldsContents(*main));
    if (sealed) {
      return base::FailedPrecondition(fmt::format(
          "it is empty, but records hold contents that were sealed under keys: give the right postgres.keys_url, or {}", kLost));
    }
  }
  return absl::OkStatus();
}

absl::Status NoteRoot(base::Session& keys, const RootKey& root) {
  const std::string check = Wrap(root.secret(), "TGKR", std::string(kKeyBytes, '\0'));
  return keys
      .Run("note the root key",
           "INSERT INTO keys.root (id, check_value) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM keys.root) ON CONFLICT DO NOTHING",
           {root.id(), base::Blob{check}})
      .status();
}

absl::StatusOr<std::string> InstallationOf(base::Session& main) {
  TG_ASSIGN(const auto rows, main.Run("read the installation", "SELECT id::text FROM audit.installation"));
  if (rows.empty()) return base::FailedPrecondition("the main database names no installation: run `tollgate migrate`");
  return rows.Text(0, 0);
}

absl::Status CheckInstallation(base::Session& keys, const std::string& id) {
  TG_ASSIGN(const auto rows, keys.Run("read whose keys these are", "SELECT id::text FROM keys.installation"));
  if (rows.empty() || rows.Text(0, 0) == id) return absl::OkStatus();
  return base::FailedPrecondition(fmt::format(
      "its keys are those of installation {}, and the records are of {}: give the postgres.keys_url that belongs to postgres.url",
      rows.Text(0, 0), id));
}

absl::Status NoteInstallation(base::Session& keys, const std::string& id) {
  TG_RETURN_IF_ERROR(
      keys.Run("note whose keys these are", "INSERT INTO keys.installation (id) VALUES ($1::uuid) ON CONFLICT DO NOTHING", {id}).status());
  return CheckInstallation(keys, id);  // Another may have been quicker.
}

}  // namespace

absl::Status CheckKeys(base::Session& keys, const RootKey& root, base::Session* main) {
  std::string id;
  if (main != nullptr) {
    TG_ASSIGN(id, InstallationOf(*main));
    TG_RETURN_IF_ERROR(CheckInstallation(keys, id));
  }
  TG_RETURN_IF_ERROR(CheckRoot(keys, root, main));
  TG_RETURN_IF_ERROR(NoteRoot(keys, root));
  if (main == nullptr) return absl::OkStatus();
  return NoteInstallation(keys, id);
}

absl::Status CheckNewestKeys(base::Session& main, base::Session& keys, std::int32_t own) {
  static const std::string kLogs =
      "SELECT log_id, next_index, ((expires_at AT TIME ZONE 'UTC')::date - 7)::text FROM audit.log_head "
      "ORDER BY log_id <> $1::int2, expires_at DESC LIMIT $2::int8";
  TG_ASSIGN(const auto logs, main.Run("look where logs end", kLogs, {std::int64_t{own}, kLogsMax}));
  for (std::size_t i = 0; i < logs.size(); ++i) {
    base::Rows newest;
    TG_RETURN_IF_ERROR(main.InTransaction("find the newest content", [&](base::Session& in) -> absl::Status {
      TG_RETURN_IF_ERROR(PlanForValues(in));
      TG_ASSIGN(newest, in.Run("find the newest contents", kNewest, {logs.Int(i, 0), logs.Int(i, 1) - kEnd, logs.Text(i, 2), kContents}));
      return absl::OkStatus();
    }));
    std::vector<StoredKey> stored;
    for (std::size_t k = 0; k < newest.size(); ++k) {  // A stream has many, one after the other.
      if (stored.empty() || stored.back().request != newest.Text(k, 0)) stored.push_back({newest.Text(k, 0), newest.Int(k, 1)});
    }
    TG_RETURN_IF_ERROR(base::Annotate(CheckStoredKeys(keys, stored), "the keys database"));
  }
  return absl::OkStatus();
}

absl::Status CheckStoredKeys(base::Session& keys, std::span<const StoredKey> stored) {
  if (stored.empty()) return absl::OkStatus();
  std::vector<base::Value> ids, times;
  for (const StoredKey& key : stored) {
    ids.emplace_back(key.request);
    times.emplace_back(std::to_string(key.wall_us));
  }
  TG_ASSIGN(const auto missing, keys.Run("look for keys that were stored", kMissing, {base::ArrayOf(ids), base::ArrayOf(times)}));
  if (missing.Int(0, 0) == 0) return absl::OkStatus();
  return base::DataLoss(fmt::format(
      "it lacks keys of requests on record, {} of the newest {}, the last one that of request {}, and had acknowledged them: it was "
      "rolled back, as by a failover to a standby that was behind, or is another one; {}",
      missing.Int(0, 0), stored.size(), missing.Text(0, 1), kLost));
}

absl::Status AcceptLostKeys(const RootKey& root, const LostKeys& lost) {
  TG_ASSIGN(const auto main, base::Session::Connect(lost.main));
  TG_ASSIGN(const auto keys, base::Session::Connect(lost.keys));
  TG_ASSIGN(const base::Rows may, keys->Run("look for the right to accept", "SELECT has_table_privilege('keys.loss', 'INSERT')"));
  if (!may.Bool(0, 0))
    return base::PermissionDenied("only the owner of its tables accepts that keys are lost: give --database-url and --keys-url");
  TG_ASSIGN(const std::string id, InstallationOf(*main));
  TG_RETURN_IF_ERROR(CheckInstallation(*keys, id));
  TG_RETURN_IF_ERROR(CheckRoot(*keys, root, nullptr));
  if (lost.record) TG_RETURN_IF_ERROR(lost.record());
  TG_RETURN_IF_ERROR(keys->Run("note that keys are lost", "INSERT INTO keys.loss (reason) VALUES ($1)", {lost.reason}).status());
  TG_RETURN_IF_ERROR(NoteRoot(*keys, root));
  return NoteInstallation(*keys, id);
}

}  // namespace tollgate::audit
