// libpq itself is asked, by beginning a connection that ends before its first step: the port 0 is no port, which libpq notices after it has
// read all settings and before it looks for an address. So no rule about URLs, environment and service files is written down here twice.
// Tested by tests/base/postgres_address_test.cpp and tests/base/postgres_tls_test.cpp.
#include "base/postgres_address.h"

#include <memory>
#include <string_view>

#include <libpq-fe.h>

#include "base/postgres_errors.h"

namespace tollgate::base {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Settings = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

std::string ValueOf(const Settings& settings, std::string_view name) {
  for (const PQconninfoOption* option = settings.get(); option != nullptr && option->keyword != nullptr; ++option) {
    if (name == option->keyword) return option->val == nullptr ? "" : option->val;
  }
  return "";
}

// Lists with commas between them; a host that is left out is the socket that libpq was built with, and an address goes before its host.
bool IsLocal(std::string_view hosts, std::string_view addresses) {
  if (addresses.find_first_not_of(',') != std::string_view::npos) return false;
  while (true) {
    const std::string_view host = hosts.substr(0, hosts.find(','));
    if (!host.empty() && host.front() != '/' && host.front() != '@') return false;
    if (host.size() == hosts.size()) return true;
    hosts.remove_prefix(host.size() + 1);
  }
}

}  // namespace

absl::StatusOr<PostgresAddress> ResolvePostgres(const std::string& url) {
  const char* const names[] = {"dbname", "port", nullptr};
  const char* const values[] = {url.c_str(), "0", nullptr};
  const Connection connection(PQconnectStartParams(names, values, 1), &PQfinish);
  const Settings settings(connection == nullptr ? nullptr : PQconninfo(connection.get()), &PQconninfoFree);
  if (settings == nullptr) return ResourceExhausted("there is no memory to read the database URL");
  PostgresAddress address;
  address.sslmode = ValueOf(settings, "sslmode");
  if (address.sslmode.empty()) {  // Which has a default: nothing was read.
    const absl::Status status = ConnectError(PQerrorMessage(connection.get()));
    return absl::IsInvalidArgument(status) ? status : InvalidArgument("libpq cannot read the database URL or what its environment adds");
  }
  address.login = ValueOf(settings, "user");
  address.local = IsLocal(ValueOf(settings, "host"), ValueOf(settings, "hostaddr"));
  return address;
}

absl::Status CheckPostgresAddress(const std::string& url) {
  TG_ASSIGN(const PostgresAddress address, ResolvePostgres(url));
  if (address.local || address.sslmode == "verify-full") return absl::OkStatus();
  return FailedPrecondition(
      "the database URL leads over TCP, where others may read and change what passes, or answer in Postgres's place: add "
      "sslmode=verify-full to it, with sslrootcert=FILE for the authority of Postgres's certificate, or name the folder of Postgres's unix "
      "socket as its host");
}

}  // namespace tollgate::base
