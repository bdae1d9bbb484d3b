// One change's transaction: reads what stands and verifies it, records, writes. For Changes only.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/postgres_pool.h"
#include "gateway/admin/changes.h"
#include "gateway/admin/people.h"
#include "metering/quota_rules.h"

namespace tollgate::admin {

// A scope that was found.
struct FoundScope {
  metering::Scope::Kind kind = metering::Scope::Kind::kOrg;
  directory::Row row;                  // The scope's own.
  base::Uuid org, team, project, key;  // As deep as it goes.
  std::string text;                    // "team acme/search"
};

// What an ADMIN record says beside the row.
struct Note {
  std::string action;             // "key.revoke"
  std::string summary;            // For people; never a secret.
  base::Uuid org, team, project;  // Whom it concerns: who of them may see the record.
};

class Transaction {
 public:
  Transaction(base::Session& session, directory::Head head, const ChangesOptions& options, audit::Journal& journal,
              const base::Clock& clock, const Actor& actor, std::chrono::steady_clock::time_point deadline);

  // Verified rows. `where` as for directory::ReadRows.
  absl::StatusOr<std::vector<directory::Row>> FindAll(directory::Table table, const std::string& where, const base::Params& params);
  absl::StatusOr<std::optional<directory::Row>> Find(directory::Table table, const std::string& where, const base::Params& params);

  // NOT_FOUND names what is missing.
  absl::StatusOr<FoundScope> FindScope(const ScopeNames& names);
  absl::StatusOr<FoundScope> FindKey(const std::string& public_id);

  // Records, signs and writes. `before`: the row as it was found; null = it is new.
  absl::Status Write(directory::Row& row, const directory::Row* before, const Note& note);

  // Whether the actor's key is still good, and its call not given up.
  absl::Status CheckActor();

  const Actor& actor() const { return actor_; }
  absl::StatusOr<Person> Acting();  // The owner of the actor's key, or the command line's user, with whoever stands beside them.

  bool changed() const { return changed_; }
  std::int64_t version() const { return changed_ ? head_.version + 1 : head_.version; }
  std::int64_t now_us() const { return now_us_; }
  base::Session& session() { return session_; }
  absl::Status Finish();  // Writes the head, if anything was changed.

 private:
  absl::StatusOr<directory::Row> One(directory::Table table, const std::string& where, const base::Params& params, std::string_view what,
                                     const std::string& name);

  base::Session& session_;
  directory::Head head_;
  const ChangesOptions& options_;
  audit::Journal& journal_;
  const Actor& actor_;
  const std::chrono::steady_clock::time_point deadline_;
  const std::int64_t now_us_;
  bool changed_ = false;
};

// Runs changes, one at a time.
class Changer {
 public:
  Changer(ChangesOptions options, audit::Journal& journal, const base::Clock& clock);

  // `body` in a transaction under the directory's lock; then on_change. Again, until the deadline, while the lock is not to be had.
  absl::StatusOr<std::int64_t> Run(const Actor& actor, const std::function<absl::Status(Transaction&)>& body);

  // Verified rows as they stand, without the lock: of what never changes. In its turn among the changes; be brief.
  absl::StatusOr<std::vector<directory::Row>> Read(directory::Table table, const std::string& where, const base::Params& params);

  const ChangesOptions& options() const { return options_; }

 private:
  const ChangesOptions options_;
  audit::Journal& journal_;
  const base::Clock& clock_;
  base::SessionPool pool_;
};

}  // namespace tollgate::admin
