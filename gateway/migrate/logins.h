// Logins: the two that Tollgate has in Postgres. The owner's makes and changes tables, for `tollgate migrate` alone; the other is what
// `tollgate serve` works under: it takes the rooms' roles and nothing else, so that who holds it can add records and never change one.
#pragma once

#include <string>

#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::migrate {

enum class Database { kMain, kKeys };

// OK if `login` (empty: the one that `session` logged in as, whatever role it has taken since) is fit to serve. A migrated database; one
// round trip.
// FAILED_PRECONDITION, with the remedy: by itself or through a role that it may take, it is superuser, makes roles, owns anything here or
// may change what is only ever added to; or it lacks a role that serving takes.
absl::Status CheckLogin(base::Session& session, Database database, const std::string& login = "");

// Gives `login` the roles that serving takes; does nothing if it has them. `owner` logs in as the schema's owner. Safe from several
// processes at once. FAILED_PRECONDITION, PERMISSION_DENIED: there is no such login, or the owner may not give the roles; with the SQL.
absl::Status GrantRoles(const base::PostgresOptions& owner, Database database, const std::string& login);

}  // namespace tollgate::migrate
