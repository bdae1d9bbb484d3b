// The record comes first, in a journal of its own that needs no keys, for one with keys is refused for those that are lost.
// Tested by tests/gateway/admin/lost_keys_test.cpp.
#include "gateway/migrate/lost_keys.h"

#include "audit/journal_postgres.h"

namespace tollgate::migrate {
namespace {

constexpr std::size_t kReasonMax = 500;
constexpr std::chrono::seconds kRecordTime{10};

absl::Status Record(const LostKeysOptions& options) {
  audit::JournalOptions journal_options;
  journal_options.postgres_url = options.postgres_url;
  journal_options.state_dir = options.state_dir;
  journal_options.build = options.build;
  journal_options.adopt = false;
  TG_ASSIGN(const std::unique_ptr<audit::PostgresJournal> journal, audit::PostgresJournal::Open(std::move(journal_options)));
  audit::Entry entry;
  entry.record.set_kind(v1::RECORD_KIND_ADMIN);
  v1::AdminBody& body = *entry.record.mutable_admin();
  body.set_actor(options.actor);
  body.set_action("keys.lost");
  body.set_summary("content keys are lost, contents from before cannot be read any more: " + options.reason);
  const auto position = audit::AppendAndWait(*journal, std::move(entry), std::chrono::steady_clock::now() + kRecordTime);
  journal->Stop();
  return position.status();
}

}  // namespace

absl::Status GoOnWithoutKeys(const audit::RootKey& root, const LostKeysOptions& options) {
  if (options.reason.empty() || options.reason.size() > kReasonMax)
    return base::InvalidArgument("lost keys: give the reason, in 500 bytes at most, which is kept on record");
  audit::LostKeys lost;
  lost.main.url = options.postgres_url;
  lost.main.role = "tollgate_writer";
  lost.keys.url = options.keys_url;
  lost.keys.role = "tollgate_keys";
  lost.reason = options.reason;
  lost.record = [&options] { return Record(options); };
  return base::Annotate(audit::AcceptLostKeys(root, lost), "the keys database");
}

}  // namespace tollgate::migrate
