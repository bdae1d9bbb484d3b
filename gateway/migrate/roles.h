// Roles: what a database of Tollgate's needs beside its tables, and no dump of it brings along: the rooms' roles, which are the whole
// cluster's, the rights that they have here, and who may connect at all.
#pragma once

#include <string>

#include "base/postgres.h"
#include "base/status.h"
#include "gateway/migrate/logins.h"

namespace tollgate::migrate {

// Before anything is applied: makes the rooms' roles where they are missing, as in a cluster into which a dump was restored. `owner` logs
// in as the schema's owner. PERMISSION_DENIED, with the SQL for a superuser: an empty database, and the roles are there already and not
// this owner's to give, as those of another installation's are since Postgres 16. FAILED_PRECONDITION, likewise: row security would show
// this owner no usage and no ledger.
absl::Status MakeRoles(const base::PostgresOptions& owner, Database database);

// Of a migrated database. FAILED_PRECONDITION: the roles lack their rights, as where a dump was restored before they were made.
absl::Status CheckRights(base::Session& session, Database database);

// Lets `login` connect. And where nothing was there before (`fresh`) nobody but it, the owner and superusers: who connects can hold
// advisory locks, and with another installation's login, which has the same roles, can act here. Where something was there, others may rely
// on it: gives the SQL that would do so, or nothing if it is so.
absl::StatusOr<std::string> CloseToOthers(const base::PostgresOptions& owner, const std::string& login, bool fresh);

}  // namespace tollgate::migrate
