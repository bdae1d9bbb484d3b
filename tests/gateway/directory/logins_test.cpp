// What a login may do decides whether `serve` takes it.
#include "gateway/migrate/logins.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "gateway/migrate/migrator.h"
#include "gateway/migrate/roles.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate;
using migrate::Database;
using test::PostgresCluster;

namespace {

// Two databases that an owner without superuser's rights has migrated, a login that was given its roles, and one that was not.
struct Fixture {
  Fixture() {
    Do("CREATE ROLE logins_owner LOGIN CREATEROLE; CREATE ROLE logins_serve LOGIN; CREATE ROLE logins_bare LOGIN; "
       "CREATE ROLE logins_between NOLOGIN NOINHERIT");
    for (const std::string& database : {url, keys_url}) {
      const std::string name = cluster.Connect(database)->Run("ask", "SELECT current_database()")->Text(0, 0);
      Do(fmt::format("ALTER DATABASE {} OWNER TO logins_owner", name));
    }
    REQUIRE(migrate::Migrate(As(url, "logins_owner"), migrate::MainMigrations()).ok());
    REQUIRE(migrate::Migrate(As(keys_url, "logins_owner"), migrate::KeysMigrations()).ok());
    for (int i = 0; i < 2; ++i) {  // The second time there is nothing to do.
      REQUIRE(Says(migrate::GrantRoles(As(url, "logins_owner"), Database::kMain, "logins_serve")) == "");
      REQUIRE(Says(migrate::GrantRoles(As(keys_url, "logins_owner"), Database::kKeys, "logins_serve")) == "");
    }
  }
  ~Fixture() {
    for (const std::string& database : {url, keys_url}) {
      auto session = cluster.Connect(database);
      CHECK(session
                ->RunScript("clear",
                            "REASSIGN OWNED BY logins_owner, logins_serve, logins_bare, logins_between TO postgres; "
                            "DROP OWNED BY logins_owner, logins_serve, logins_bare, logins_between")
                .ok());
    }
    Do("DROP ROLE logins_owner, logins_serve, logins_bare, logins_between");
  }
  void Do(const std::string& sql) {
    const absl::Status status = cluster.Connect(url)->RunScript("prepare", sql);
    INFO(base::Message(status));
    REQUIRE(status.ok());
  }
  base::PostgresOptions As(const std::string& database, const std::string& login) const {
    return cluster.Options(cluster.UrlAs(database, login));
  }
  static std::string Says(const absl::Status& status) { return base::Message(status); }
  // As `serve` asks, and as `migrate` asks about somebody else: both must say the same.
  std::string Check(Database database, const std::string& login) const {
    const std::string& where = database == Database::kMain ? url : keys_url;
    const std::string own = Says(migrate::CheckLogin(*cluster.Connect(cluster.UrlAs(where, login)), database));
    CHECK(own == Says(migrate::CheckLogin(*cluster.Connect(cluster.UrlAs(where, "logins_owner")), database, login)));
    return own;
  }

  PostgresCluster& cluster = PostgresCluster::Shared();
  std::string url = cluster.NewDatabase();
  std::string keys_url = cluster.NewDatabase();
};

}  // namespace

TEST_CASE_METHOD(Fixture, "A login with the rooms' roles and nothing else is fit to serve; the owner's and a superuser's are not") {
  CHECK(Check(Database::kMain, "logins_serve") == "");
  CHECK(Check(Database::kKeys, "logins_serve") == "");
  const std::string owner = Check(Database::kMain, "logins_owner");
  CHECK(owner.starts_with("the login logins_owner owns the database: whoever holds it could change what is on record"));
  CHECK(owner.find("CREATE ROLE tollgate_serve LOGIN PASSWORD") != std::string::npos);
  CHECK(owner.find("tollgate migrate --database-url FILE --keys-url FILE") != std::string::npos);
  CHECK(Check(Database::kKeys, "postgres").starts_with("the login postgres is superuser: "));
  // Whatever role the session has taken.
  auto session = cluster.Connect(cluster.UrlAs(url, "postgres"));
  REQUIRE(session->Run("take", "SET ROLE tollgate_writer").ok());
  CHECK(Says(migrate::CheckLogin(*session, Database::kMain)).starts_with("the login postgres is superuser: "));
}

TEST_CASE_METHOD(Fixture, "One right or one role too many is found, by name") {
  struct Row {
    std::vector<std::string> sql;
    Database database;
    const char* says;
  };
  constexpr Database kMain = Database::kMain, kKeys = Database::kKeys;
  const Row rows[] = {
      {{"ALTER ROLE logins_serve SUPERUSER"}, kMain, "logins_serve is superuser"},
      {{"ALTER ROLE logins_serve CREATEROLE"}, kKeys, "logins_serve may make roles"},
      {{"GRANT logins_owner TO logins_serve"}, kMain, "logins_serve may act as logins_owner, which owns the database"},
      {{"GRANT logins_owner TO logins_between", "GRANT logins_between TO logins_serve"}, kKeys, "may act as logins_owner, which owns the"},
      {{"ALTER ROLE logins_between CREATEROLE", "GRANT logins_between TO logins_serve"}, kMain, "logins_between, which may make roles"},
      {{"GRANT pg_write_all_data TO logins_serve"}, kMain, "may act as pg_write_all_data, which reaches beyond"},
      {{"ALTER ROLE logins_serve BYPASSRLS"}, kMain, "logins_serve sees past row security"},
      {{"ALTER ROLE logins_between REPLICATION", "GRANT logins_between TO logins_serve"},
       kKeys,
       "logins_between, which may copy the whole"},
      {{"GRANT pg_read_server_files TO logins_serve"}, kKeys, "may act as pg_read_server_files, which reaches beyond"},
      {{"GRANT pg_execute_server_program TO logins_between", "GRANT logins_between TO logins_serve"}, kKeys, "pg_execute_server_program"},
      {{"ALTER SCHEMA metering OWNER TO logins_serve"}, kMain, "logins_serve owns the schema metering"},
      {{"ALTER TABLE directory.key OWNER TO logins_serve"}, kMain, "logins_serve owns directory.key"},
      {{"ALTER TABLE audit.record_default OWNER TO logins_between", "GRANT logins_between TO logins_serve"},
       kMain,
       "logins_serve may act as logins_between, which owns audit.record_default"},
      {{"ALTER FUNCTION audit.refuse_change() OWNER TO logins_serve"}, kMain, "owns the function audit.refuse_change"},
      {{"GRANT UPDATE (kind) ON audit.record TO logins_serve"}, kMain, "logins_serve may change or remove rows of audit.record:"},
      {{"GRANT TRUNCATE ON audit.record_default TO logins_serve"}, kMain, "may change or remove rows of audit.record_default:"},
      {{"GRANT TRIGGER ON metering.usage TO logins_serve"}, kMain, "may change or remove rows of metering.usage:"},
      {{"GRANT DELETE ON metering.transfer TO PUBLIC"}, kMain, "may change or remove rows of metering.transfer:"},
      {{"REVOKE tollgate_directory, tollgate_reader FROM logins_serve"},
       kMain,
       "may not take the roles that serving takes: run `tollgate migrate --database-url FILE --keys-url FILE` with the owner's URLs in "
       "these files; or, as a superuser of Postgres: GRANT tollgate_reader, tollgate_directory TO logins_serve"},
      {{"REVOKE tollgate_keys FROM logins_serve"}, kKeys, "GRANT tollgate_keys TO logins_serve"},
  };
  for (const Row& row : rows) {
    INFO(row.sql.front());
    std::string says = "nothing was asked";
    const auto session = cluster.Connect(row.database == kMain ? url : keys_url);
    const absl::Status undone = session->InTransaction("try", [&](base::Session& in) -> absl::Status {
      for (const std::string& sql : row.sql) TG_RETURN_IF_ERROR(in.Run("prepare", sql).status());
      says = Says(migrate::CheckLogin(in, row.database, "logins_serve"));
      return base::Cancelled("undone");
    });
    INFO(Says(undone) << ": " << says);
    CHECK(says.starts_with("the login logins_serve"));
    CHECK(says.find(row.says) != std::string::npos);
  }
}

TEST_CASE_METHOD(Fixture, "What somebody put into the schema public is not run by who migrates, nor by who looks at rights") {
  // Nearer to the arguments' types than Postgres's own: on the path they would be called in its place.
  Do("GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC; SET ROLE logins_bare; CREATE TABLE public.ran (what text); "
     "GRANT INSERT, SELECT ON public.ran TO PUBLIC; "
     "CREATE FUNCTION public.concat_ws(text, text, text) RETURNS text LANGUAGE plpgsql AS "
     "$$ BEGIN INSERT INTO public.ran VALUES ('concat_ws'); RETURN ''; END $$; "
     "CREATE FUNCTION public.format(text, name, text) RETURNS text LANGUAGE plpgsql AS "
     "$$ BEGIN INSERT INTO public.ran VALUES ('format'); RETURN ''; END $$; "
     "CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE plpgsql AS "
     "$$ BEGIN INSERT INTO public.ran VALUES ('format'); RETURN ''; END $$; "
     "CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS "
     "$$ BEGIN INSERT INTO public.ran VALUES ('format'); RETURN ''; END $$");
  const auto as_shipped = [&](const std::string& login) {
    base::PostgresOptions options = As(url, login);
    options.search_path = base::PostgresOptions().search_path;
    return options;
  };
  REQUIRE(migrate::Migrate(as_shipped("logins_owner"), migrate::MainMigrations()).ok());
  CHECK(Says(migrate::GrantRoles(as_shipped("logins_owner"), Database::kMain, "logins_bare")) == "");
  const auto owner = base::Session::Connect(as_shipped("logins_owner"));
  REQUIRE(owner.ok());
  CHECK(Says(migrate::CheckLogin(**owner, Database::kMain)).starts_with("the login logins_owner owns the database"));
  CHECK((*owner)->Run("count", "SELECT count(*) FROM public.ran")->Int(0, 0) == 0);
}

TEST_CASE_METHOD(Fixture, "Roles are given to a login that there is, by who may give them; the words hold the SQL") {
  const auto owner = As(url, "logins_owner");
  CHECK(Check(Database::kMain, "logins_bare").find("GRANT tollgate_writer, tollgate_reader, tollgate_directory, tollgate_verifier TO") !=
        std::string::npos);
  const absl::Status none = migrate::GrantRoles(owner, Database::kMain, "Nobody's");
  CHECK(absl::IsFailedPrecondition(none));
  CHECK(Says(none).find("CREATE ROLE \"Nobody's\" LOGIN PASSWORD") != std::string::npos);
  Do("ALTER ROLE logins_owner NOCREATEROLE");
  const absl::Status refused = migrate::GrantRoles(owner, Database::kMain, "logins_bare");
  CHECK(absl::IsPermissionDenied(refused));
  CHECK(Says(refused).starts_with("as a superuser of Postgres run GRANT tollgate_writer TO logins_bare, and this again: "));
}

TEST_CASE_METHOD(Fixture, "Nobody but the login that serves and the owner connects to a database that is new; of another it is told") {
  const auto owner = As(url, "logins_owner");
  const auto connects = [&](const std::string& login) { return base::Session::Connect(As(url, login)).ok(); };
  const auto told = migrate::CloseToOthers(owner, "logins_serve", false);
  REQUIRE(told.ok());
  CHECK(told->starts_with("GRANT CONNECT ON DATABASE test_"));
  CHECK(told->ends_with(" FROM PUBLIC"));
  CHECK(connects("logins_bare"));
  for (int i = 0; i < 2; ++i) {  // The second time there is nothing to do.
    const auto closed = migrate::CloseToOthers(owner, "logins_serve", i == 0);
    INFO(Says(closed.status()));
    REQUIRE(closed.ok());
    CHECK(*closed == "");
  }
  CHECK(connects("logins_serve"));
  CHECK(connects("logins_owner"));
  CHECK_FALSE(connects("logins_bare"));
  // A second login, as for a change of its password.
  REQUIRE(migrate::CloseToOthers(owner, "logins_bare", false).ok());
  CHECK(connects("logins_bare"));
}

TEST_CASE_METHOD(Fixture, "A second owner in a cluster, to whom the roles are not given, is told what to run before anything is applied") {
  const std::string second = cluster.NewDatabase();
  const std::string name = cluster.Connect(second)->Run("ask", "SELECT current_database()")->Text(0, 0);
  Do("ALTER DATABASE " + name + " OWNER TO logins_bare");  // Up to Postgres 15 who makes roles may give all of them; this one does not.
  const absl::Status refused = migrate::MakeRoles(As(second, "logins_bare"), Database::kMain);
  CHECK(absl::IsPermissionDenied(refused));
  const std::string says = Says(refused);
  INFO(says);
  const auto begin = says.find("GRANT "), end = says.find(" WITH ADMIN OPTION");
  REQUIRE(begin != std::string::npos);
  REQUIRE(end != std::string::npos);
  Do(says.substr(begin, end - begin) + " WITH ADMIN OPTION");
  CHECK(migrate::MakeRoles(As(second, "logins_bare"), Database::kMain).ok());
  CHECK(Says(migrate::Migrate(As(second, "logins_bare"), migrate::MainMigrations()).status()) == "");
  CHECK(migrate::CheckRights(*cluster.Connect(second), Database::kMain).ok());
  // Of a database that is migrated nothing is asked of whoever cannot give roles.
  Do("REVOKE ADMIN OPTION FOR tollgate_writer FROM logins_bare");
  CHECK(migrate::MakeRoles(As(second, "logins_bare"), Database::kMain).ok());
  REQUIRE(cluster.Connect(second)->RunScript("clear", "REASSIGN OWNED BY logins_bare TO postgres").ok());
}
