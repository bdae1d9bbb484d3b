#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fmt/format.h>

#include "metering/leases_postgres.h"
#include "tests/metering/writer_database.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;
using Cluster = test::PostgresCluster;

// A life that died with a lease of 500 tokens, its number 1.
struct Dead : WriterDatabase {
  std::unique_ptr<base::Session> admin = Cluster::Shared().Connect(url);
  base::InstanceId instance = base::InstanceId::New();
  std::int64_t epoch = 500;

  Dead() {
    const std::string quota = base::Uuid::NewV7().ToString();
    Do(fmt::format("INSERT INTO metering.holder (instance_id, epoch) VALUES ('{}', {})", instance.ToString(), epoch));
    Do(fmt::format("INSERT INTO metering.balance VALUES ('{}', 0, 1, 500)", quota));
    Do(
        fmt::format("INSERT INTO metering.lease (instance_id, epoch, number, quota_id, window_start_us, meter, granted) "
                    "VALUES ('{}', {}, 1, '{}', 0, 1, 500)",
                    instance.ToString(), epoch, quota));
  }
  void Do(const std::string& sql) {
    const absl::Status status = admin->RunScript("test", sql);
    INFO(base::Message(status));
    REQUIRE(status.ok());
  }
};

TEST_CASE_METHOD(Dead, "The recount reads the usage of the life that ended, not of those before it") {
  // Many lives, one after the other, and rows that are drawn from no lease between theirs: 32 rows are the dead one's.
  Do("INSERT INTO metering.usage (request_id, leaf_index, at_us, amount_nanos, epoch, input_tokens, cached_input_tokens, output_tokens, "
     "delivered_tokens, price_version, attempt, log_id, currency, model, end_user_hmac, leases) "
     "SELECT gen_random_uuid(), i, i, 0, CASE i % 5 WHEN 0 THEN 0 ELSE 1 + i / 40 END, 1, 0, 2, 2, 1, 1, 1, 'EUR', 'm', '', '\\x00000001' "
     "FROM generate_series(1, 20000) i");
  Do("SELECT brin_summarize_new_values('metering.usage_epoch')");
  Do("ANALYZE metering.usage");
  const auto session = base::Session::Connect(WriterOptions());
  REQUIRE(session.ok());
  std::vector<ReturnedLease> returned;
  std::int64_t scans = 0;
  REQUIRE((*session)
              ->InTransaction("recount",
                              [&](base::Session& in) -> absl::Status {
                                TG_ASSIGN(returned, ReturnLeases(in, instance, epoch + 1));
                                static const std::string kScans = "SELECT pg_stat_get_xact_numscans('metering.usage_epoch'::regclass)";
                                TG_ASSIGN(const auto rows, in.Run("scans", kScans));
                                scans = rows.Int(0, 0);
                                return absl::OkStatus();
                              })
              .ok());
  REQUIRE(returned.size() == 1);
  CHECK(returned[0].granted == 500);
  CHECK(returned[0].used == 32 * 3);
  CHECK(scans == 1);
}

TEST_CASE_METHOD(Dead, "Usage of a life counts though the database's clock stepped back after its first lease") {
  Do("INSERT INTO metering.usage (request_id, leaf_index, at_us, stored_at, amount_nanos, epoch, input_tokens, cached_input_tokens, "
     "output_tokens, "
     "delivered_tokens, price_version, attempt, log_id, currency, model, end_user_hmac, leases) "
     "VALUES (gen_random_uuid(), 1, 1, now() - interval '2 minutes', 0, 500, 40, 0, 2, 2, 1, 1, 1, 'EUR', 'm', '', '\\x00000001')");
  std::vector<ReturnedLease> returned;
  const auto session = base::Session::Connect(WriterOptions());
  REQUIRE(session.ok());
  REQUIRE((*session)
              ->InTransaction("recount",
                              [&](base::Session& in) -> absl::Status {
                                TG_ASSIGN(returned, ReturnLeases(in, instance, epoch + 1));
                                return absl::OkStatus();
                              })
              .ok());
  REQUIRE(returned.size() == 1);
  CHECK(returned[0].used == 42);
}

TEST_CASE_METHOD(Dead, "A recount that is under way ends when it is to stop, and is done another time") {
  base::PostgresOptions patient = WriterOptions();
  patient.statement_timeout = patient.lock_timeout = 60s;
  const auto watch = Cluster::Shared().Connect(url);
  const bool frozen = GENERATE(false, true);  // Then it does not even hear that it is cancelled.
  bool waits = false;
  const auto stopping = [&] {
    if (waits) return true;
    static const std::string kWaiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    const auto rows = watch->Run("look", kWaiting);
    waits = rows.ok() && rows->Int(0, 0) == 1;
    if (waits && frozen) Cluster::Shared().SigStop();
    return waits;
  };
  absl::Status ended;
  REQUIRE(admin
              ->InTransaction("hold the holder",
                              [&](base::Session& in) -> absl::Status {
                                TG_RETURN_IF_ERROR(in.Run("hold", "SELECT FROM metering.holder FOR UPDATE").status());
                                ended = ReturnLeasesUnless(stopping, patient, instance, epoch + 1);
                                if (frozen) Cluster::Shared().SigCont();
                                return absl::OkStatus();
                              })
              .ok());
  CHECK(waits);
  CHECK(absl::IsUnavailable(ended));
  CHECK((base::Message(ended).find("on their way") != std::string::npos) == frozen);
  CHECK(ReturnLeasesUnless([] { return false; }, patient, instance, epoch + 1).ok());
  const auto closed = admin->Run("look", "SELECT bool_and(closed) FROM metering.lease");
  REQUIRE(closed.ok());
  CHECK(closed->Bool(0, 0));
}

}  // namespace
}  // namespace tollgate::metering
