// Opened, written and let go. Tested by tests/gateway/admin/lost_keys_test.cpp and tests/gateway/admin/lost_records_test.cpp.
#include "gateway/migrate/on_record.h"

#include "audit/journal_postgres.h"

namespace tollgate::migrate {
namespace {

constexpr std::size_t kReasonMax = 500;
constexpr std::chrono::seconds kRecordTime{10};

}  // namespace

absl::Status PutOnRecord(const OnRecord& what) {
  audit::JournalOptions options;
  options.postgres_url = what.postgres_url;
  options.state_dir = what.state_dir;
  options.build = what.build;
  options.adopt = false;
  options.accept_lost_records = what.accept_lost_records;
  TG_ASSIGN(const std::unique_ptr<audit::PostgresJournal> journal, audit::PostgresJournal::Open(std::move(options)));
  audit::Entry entry;
  entry.record.set_kind(v1::RECORD_KIND_ADMIN);
  v1::AdminBody& body = *entry.record.mutable_admin();
  body.set_actor(what.actor);
  body.set_action(what.action);
  body.set_summary(what.summary);
  const auto position = audit::AppendAndWait(*journal, std::move(entry), std::chrono::steady_clock::now() + kRecordTime);
  journal->Stop();
  return position.status();
}

absl::Status CheckReason(const std::string& what, const std::string& reason) {
  if (!reason.empty() && reason.size() <= kReasonMax) return absl::OkStatus();
  return base::InvalidArgument(what + ": give the reason, in 500 bytes at most, which is kept on record");
}

}  // namespace tollgate::migrate
