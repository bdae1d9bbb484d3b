// Where URLs lead, with libpq's environment and service file; no server is asked.
#include "base/postgres_address.h"

#include <cstdlib>
#include <map>

#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "tests/support/temp_dir.h"

using namespace tollgate::base;

namespace {

using Variables = std::map<std::string, std::string>;

// Of this process while it lives; whatever else of libpq's is set is out of the way.
struct Environment {
  explicit Environment(const Variables& variables) {
    for (const char* name : kNames) ::unsetenv(name);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const char* name : kNames) ::unsetenv(name);
  }
  static constexpr const char* kNames[] = {"PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSERVICE", "PGSERVICEFILE", "PGUSER", "PGDATABASE"};
};

}  // namespace

TEST_CASE("A unix socket or sslmode=verify-full: no other way to Postgres is taken, whoever says where it leads") {
  const tollgate::test::TempDir folder;
  const std::string services = folder.File("services");
  REQUIRE(WriteFileAtomically(services,
                              "[far]\nhost=secret.example\nsslmode=require\n\n[good]\nhost=secret.example\nsslmode=verify-full\n\n"
                              "[near]\nhost=/run/postgresql\n",
                              0600)
              .ok());
  struct Row {
    const char* url;
    Variables environment;
    bool good;
  };
  const Row rows[] = {
      {"host=/run/postgresql dbname=t", {}, true},
      {"postgresql:///t?host=/run/postgresql", {}, true},
      {"postgresql://u:p@/t?host=%2Frun%2Fpostgresql", {}, true},
      {"postgresql://%2Frun%2Fpostgresql/t", {}, true},
      {"host=@abstract dbname=t", {}, true},
      {"host=/a,/b dbname=t", {}, true},
      {"postgresql:///t", {}, true},  // The socket that libpq was built with.
      {"dbname=t", {}, true},
      {"host=/run/postgresql dbname=t sslmode=disable", {}, true},  // A socket has no TLS.
      {"postgresql://secret.example/t", {}, false},
      {"postgresql://secret.example/t?sslmode=disable", {}, false},
      {"postgresql://secret.example/t?sslmode=prefer", {}, false},
      {"postgresql://secret.example/t?sslmode=require", {}, false},
      {"postgresql://secret.example/t?sslmode=verify-ca", {}, false},
      {"postgresql://secret.example/t?sslmode=verify-full", {}, true},
      {"host=secret.example dbname=t sslmode=verify-full", {}, true},
      {"host=secret.example sslmode=verify-full dbname=t sslmode=require", {}, false},  // The last one counts.
      {"postgresql://127.0.0.1/t", {}, false},
      {"postgresql://[::1]/t", {}, false},
      {"postgresql://localhost/t?sslmode=require", {}, false},
      {"host=/run/postgresql,secret.example dbname=t", {}, false},
      {"host=/run/postgresql,secret.example dbname=t sslmode=verify-full", {}, true},
      {"host=/run/postgresql hostaddr=10.9.8.7 dbname=t", {}, false},
      {"dbname=t", {{"PGHOST", "secret.example"}}, false},
      {"dbname=t", {{"PGHOST", "secret.example"}, {"PGSSLMODE", "verify-full"}}, true},
      {"dbname=t", {{"PGHOST", "/run/postgresql"}}, true},
      {"host=/run/postgresql dbname=t", {{"PGHOSTADDR", "10.9.8.7"}}, false},
      {"postgresql://secret.example/t", {{"PGSSLMODE", "verify-full"}}, true},
      {"postgresql://secret.example/t?sslmode=require", {{"PGSSLMODE", "verify-full"}}, false},
      {"postgresql:///t?service=far", {{"PGSERVICEFILE", services}}, false},
      {"postgresql:///t?service=far&sslmode=verify-full", {{"PGSERVICEFILE", services}}, true},
      {"service=good dbname=t", {{"PGSERVICEFILE", services}}, true},
      {"service=near dbname=t", {{"PGSERVICEFILE", services}}, true},
      {"dbname=t", {{"PGSERVICEFILE", services}, {"PGSERVICE", "far"}}, false},
      {"dbname=t", {{"PGSERVICEFILE", services}, {"PGSERVICE", "far"}, {"PGSSLMODE", "verify-full"}}, false},  // The service goes first.
  };
  for (const Row& row : rows) {
    const Environment environment(row.environment);
    INFO(row.url);
    const absl::Status status = CheckPostgresAddress(row.url);
    INFO(Message(status));
    CHECK(status.ok() == row.good);
    if (status.ok()) continue;
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(Message(status).find("sslmode=verify-full") != std::string::npos);
    CHECK(Message(status).find("unix socket") != std::string::npos);
    for (const char* hidden : {"secret", "10.9.8.7", "127.0.0.1"}) CHECK(Message(status).find(hidden) == std::string::npos);
  }
}

TEST_CASE("The login is the URL's, else the environment's, else the operating system's user") {
  const Environment environment(Variables{{"PGUSER", "from_environment"}});
  CHECK(ResolvePostgres("postgresql://ann:geheim@secret.example/t")->login == "ann");
  CHECK(ResolvePostgres("host=/tmp dbname=t user=ann")->login == "ann");
  CHECK(ResolvePostgres("host=/tmp dbname=t")->login == "from_environment");
  const Environment none(Variables{});
  CHECK_FALSE(ResolvePostgres("host=/tmp dbname=t")->login.empty());
}

TEST_CASE("A URL that libpq cannot read, or whose service nobody knows, is refused and not repeated") {
  const Environment environment(Variables{{"PGSERVICEFILE", "/nonexistent/secret"}});
  for (const char* url : {"host=secret bogus=1", "postgresql://[secret/t", "host='secret", "service=secret"}) {
    INFO(url);
    const absl::Status status = CheckPostgresAddress(url);
    INFO(Message(status));
    CHECK(absl::IsInvalidArgument(status));
    CHECK(Message(status).find("secret") == std::string::npos);
  }
}
