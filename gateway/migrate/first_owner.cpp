// A journal of its own, opened for these few records and closed: the first key is on record like every later change.
// Tested by tests/gateway/admin/first_owner_test.cpp.
#include "gateway/migrate/first_owner.h"

#include "audit/journal_postgres.h"
#include "gateway/admin/changes.h"

namespace tollgate::migrate {

absl::StatusOr<std::optional<std::string>> MakeFirstOwner(const FirstOwnerOptions& options) {
  audit::JournalOptions journal_options;
  journal_options.postgres_url = options.postgres_url;
  journal_options.keys_url = options.keys_url;
  journal_options.state_dir = options.state_dir;
  journal_options.build = options.build;
  TG_ASSIGN(const std::unique_ptr<audit::PostgresJournal> journal, audit::PostgresJournal::Open(std::move(journal_options)));
  admin::ChangesOptions changes_options;
  changes_options.postgres.url = options.postgres_url;
  changes_options.postgres.role = "tollgate_directory";
  changes_options.mac_key = options.mac_key;
  changes_options.pepper = options.pepper;
  absl::StatusOr<std::optional<admin::CreatedKey>> made;
  {
    admin::Changes changes(std::move(changes_options), *journal, base::SystemClock());
    made = changes.Bootstrap({options.actor, {}, true}, options.owner, options.dev);
  }
  journal->Stop();
  TG_RETURN_IF_ERROR(made.status());
  if (!made->has_value()) return std::optional<std::string>();
  return std::optional<std::string>((*made)->secret);
}

}  // namespace tollgate::migrate
