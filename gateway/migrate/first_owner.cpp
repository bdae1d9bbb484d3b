// A journal of its own, opened for these few records and closed: the key is on record like every other change. It looks after nobody
// else's log: it could not bill what stands open there. Where there are keys already, as at every run but the first, none is opened.
// Tested by tests/gateway/admin/first_owner_test.cpp.
#include "gateway/migrate/first_owner.h"

#include "audit/journal_postgres.h"
#include "gateway/admin/changes.h"
#include "gateway/directory/row_postgres.h"

namespace tollgate::migrate {
namespace {

base::PostgresOptions DirectoryAt(const std::string& url) {
  base::PostgresOptions postgres;
  postgres.url = url;
  postgres.role = "tollgate_directory";
  return postgres;
}

}  // namespace

// A look: keys are never deleted, so what it finds stays true. What it does not find is decided under the directory's lock.
absl::StatusOr<bool> HasKeys(const std::string& postgres_url) {
  TG_ASSIGN(const std::unique_ptr<base::Session> session, base::Session::Connect(DirectoryAt(postgres_url)));
  TG_ASSIGN(const base::Rows any, session->Run("look for keys", "SELECT EXISTS (SELECT FROM directory.key)"));
  return any.Bool(0, 0);
}

absl::Status CheckDirectory(const std::string& postgres_url, const std::string& mac_key) {
  TG_ASSIGN(const std::unique_ptr<base::Session> session, base::Session::Connect(DirectoryAt(postgres_url)));
  TG_ASSIGN(const directory::Head head, directory::ReadHead(*session, false));
  return directory::CheckHead(mac_key, head);
}

absl::StatusOr<std::optional<std::string>> MakeFirstOwner(const FirstOwnerOptions& options) {
  admin::ChangesOptions changes_options;
  changes_options.postgres = DirectoryAt(options.postgres_url);
  changes_options.mac_key = options.mac_key;
  changes_options.pepper = options.pepper;
  TG_RETURN_IF_ERROR(CheckDirectory(options.postgres_url, options.mac_key));
  TG_ASSIGN(const bool has_keys, HasKeys(options.postgres_url));
  if (has_keys && !options.another) return std::optional<std::string>();
  audit::JournalOptions journal_options;
  journal_options.postgres_url = options.postgres_url;
  journal_options.keys_url = options.keys_url;
  journal_options.state_dir = options.state_dir;
  journal_options.build = options.build;
  journal_options.adopt = false;
  TG_ASSIGN(const std::unique_ptr<audit::PostgresJournal> journal, audit::PostgresJournal::Open(std::move(journal_options)));
  absl::StatusOr<std::optional<admin::CreatedKey>> made;
  {
    admin::Changes changes(std::move(changes_options), *journal, base::SystemClock());
    const admin::Actor actor{options.actor, {}, true};
    if (has_keys) {
      made = changes.MakeOwner(actor, options.owner, options.dev);
    } else {
      made = changes.Bootstrap(actor, options.owner, options.dev);
    }
  }
  journal->Stop();
  TG_RETURN_IF_ERROR(made.status());
  if (!made->has_value()) return std::optional<std::string>();
  return std::optional<std::string>((*made)->secret);
}

}  // namespace tollgate::migrate
