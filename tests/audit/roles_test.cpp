// The table role × table × verb of the audit and keys schemas: what is not in it is not granted.
#include <catch2/catch_test_macros.hpp>

#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

struct Grant {
  const char* role;
  const char* table;
  const char* verbs;  // S I U D T
};

constexpr const char* kRoles[] = {"tollgate_writer",    "tollgate_reader",    "tollgate_keys",
                                  "tollgate_directory", "tollgate_retention", "tollgate_verifier"};
constexpr std::pair<char, const char*> kVerbs[] = {{'S', "SELECT"}, {'I', "INSERT"}, {'U', "UPDATE"}, {'D', "DELETE"}, {'T', "TRUNCATE"}};

constexpr Grant kAudit[] = {
    {"tollgate_writer", "audit.record", "SI"},        {"tollgate_writer", "audit.log_head", "SIU"},
    {"tollgate_writer", "audit.installation", "S"},   {"tollgate_reader", "audit.record", "S"},
    {"tollgate_reader", "audit.log_head", "S"},       {"tollgate_reader", "audit.installation", "S"},
    {"tollgate_verifier", "audit.record", "S"},       {"tollgate_verifier", "audit.log_head", "S"},
    {"tollgate_verifier", "audit.installation", "S"}, {"tollgate_writer", "audit.loss", "S"},
    {"tollgate_reader", "audit.loss", "S"},           {"tollgate_verifier", "audit.loss", "S"},
};
constexpr Grant kKeys[] = {
    {"tollgate_keys", "keys.root", "SI"},    {"tollgate_keys", "keys.tenant", "SI"},     {"tollgate_keys", "keys.tenant_day", "SI"},
    {"tollgate_keys", "keys.request", "SI"}, {"tollgate_keys", "keys.pseudonym", "SID"}, {"tollgate_keys", "keys.installation", "SI"},
    {"tollgate_keys", "keys.loss", "S"},
};

std::string Granted(std::span<const Grant> grants, std::string_view role, std::string_view table) {
  for (const Grant& grant : grants) {
    if (grant.role == role && grant.table == table) return grant.verbs;
  }
  return "";
}

void CheckGrants(base::Session& session, const std::string& schema, std::span<const Grant> grants) {
  const auto tables = session.Run("tables",
                                  "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                                  "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm')",
                                  {schema});
  REQUIRE(tables.ok());
  REQUIRE(tables->size() >= 3);
  for (std::size_t i = 0; i < tables->size(); ++i) {
    for (const char* role : kRoles) {
      std::string has;
      for (const auto& [letter, verb] : kVerbs) {
        const auto may =
            session.Run("privilege", "SELECT has_table_privilege($1, $2, $3)", {std::string(role), tables->Text(i, 0), std::string(verb)});
        REQUIRE(may.ok());
        if (may->Bool(0, 0)) has += letter;
      }
      INFO(role << " on " << tables->Text(i, 0));
      CHECK(has == Granted(grants, role, tables->Text(i, 0)));
    }
  }
}

TEST_CASE_METHOD(AuditFixture, "Roles hold exactly the grants of the table; partitions hold none") {
  CheckGrants(sql(), "audit", kAudit);
  CheckGrants(*cluster.Connect(keys_url), "keys", kKeys);
}

TEST_CASE_METHOD(AuditFixture, "No role is superuser, may log in, or bypass row security") {
  CHECK(Int("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tollgate\\_%' AND (rolsuper OR rolcanlogin OR rolbypassrls OR rolcreaterole "
            "OR rolcreatedb)") == 0);
}

TEST_CASE_METHOD(AuditFixture, "Records cannot be changed even by their owner, as long as triggers stand") {
  auto journal = Open();
  REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  journal.reset();
  const std::string day = Text("SELECT to_char(day, 'YYYYMMDD') FROM audit.record LIMIT 1");
  for (const std::string& statement :
       {std::string("UPDATE audit.record SET kind = 1"), std::string("DELETE FROM audit.record"), std::string("TRUNCATE audit.record"),
        "UPDATE audit.record_" + day + " SET kind = 1", "DELETE FROM audit.record_" + day, "TRUNCATE audit.record_" + day,
        std::string("DELETE FROM audit.log_head"), std::string("TRUNCATE audit.log_head"),
        std::string("UPDATE audit.log_head SET next_index = next_index - 1"), std::string("UPDATE audit.log_head SET epoch = epoch - 1")}) {
    INFO(statement);
    CHECK(absl::IsPermissionDenied(sql().RunScript("try", statement)));
  }
}

TEST_CASE_METHOD(AuditFixture, "Nothing is added before a log's first record, whenever its partition was made") {
  const std::string insert =
      "INSERT INTO audit.record (leaf_index, wall_us, day, segment, attempt, log_id, kind, leaf_hash, message) "
      "VALUES ($1::int8, 0, (now() AT TIME ZONE 'UTC')::date + $2::int4, 0, 0, 7, 6, '', '')";
  const auto writer = As("tollgate_writer");
  // In the default partition, from whose rows others are made beside a new one; then a day that is foreseen, and one that was not when
  // the check was added.
  REQUIRE(writer->Run("add", insert, {std::int64_t{0}, std::int64_t{-300}}).ok());
  CHECK(Int("SELECT audit.move_strays()") == 1);
  Do("SELECT audit.make_partitions(9)");
  CHECK(Int("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.record'::regclass AND NOT EXISTS (SELECT FROM pg_constraint "
            "WHERE conrelid = inhrelid AND conname = 'record_leaf_index_check')") == 0);
  for (const std::int64_t day : {-301, -300, 0, 9}) {
    INFO(day);
    CHECK(absl::IsFailedPrecondition(writer->Run("add", insert, {std::int64_t{-1}, day}).status()));
    CHECK(writer->Run("add", insert, {std::int64_t{1}, day}).ok());
  }
}

TEST_CASE_METHOD(AuditFixture, "A reader who says nothing sees nothing; each scope sees its own") {
  auto journal = Open();
  REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  auto reader = As("tollgate_reader");
  const auto Sees = [&](const char* setting, const std::string& value) {
    std::int64_t seen = -1;
    REQUIRE(reader
                ->InTransaction(
                    "look",
                    [&](base::Session& session) -> absl::Status {
                      TG_RETURN_IF_ERROR(session.Run("set", "SELECT set_config($1, $2, true)", {std::string(setting), value}).status());
                      TG_ASSIGN(const auto rows, session.Run("count", "SELECT count(*) FROM audit.record"));
                      seen = rows.Int(0, 0);
                      return absl::OkStatus();
                    })
                .ok());
    return seen;
  };
  CHECK(Sees("tollgate.none", "") == 0);
  CHECK(Sees("tollgate.all", "on") == 2);
  CHECK(Sees("tollgate.org", org.ToString()) == 1);
  CHECK(Sees("tollgate.team", team.ToString()) == 1);
  CHECK(Sees("tollgate.team", base::TeamId::New().ToString()) == 0);
  CHECK(Sees("tollgate.all", "") == 0);
}

}  // namespace
}  // namespace tollgate::audit
