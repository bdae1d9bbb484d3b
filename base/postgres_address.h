// Where a database URL leads and how well its way is guarded, told before anything is sent there: as libpq reads the URL, with its
// environment (PGHOST, PGSSLMODE …) and its service file. Asks no network. Messages name no host.
#pragma once

#include <string>

#include "base/status.h"

namespace tollgate::base {

struct PostgresAddress {
  std::string login;    // Who logs in; without one in the URL, what libpq takes for it: the operating system's user.
  std::string sslmode;  // "prefer", "verify-full" …
  bool local = false;   // Every host is a unix socket. A loopback address is none.
};

// INVALID_ARGUMENT: libpq cannot read the URL, or does not find the service that it names.
absl::StatusOr<PostgresAddress> ResolvePostgres(const std::string& url);

// OK: unix sockets, or sslmode=verify-full. FAILED_PRECONDITION, with the remedy: on its way to Postgres anybody could read and change what
// passes, or answer in its place.
absl::Status CheckPostgresAddress(const std::string& url);

}  // namespace tollgate::base
