#include <catch2/catch_test_macros.hpp>

#include <string>
#include <utility>
#include <vector>

#include "tests/metering/usage_fixture.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;

constexpr char kCopyUsage[] =
    "CREATE TEMPORARY TABLE more AS SELECT * FROM metering.usage WHERE leaf_index = 3 AND part = 0; UPDATE more SET {}; "
    "INSERT INTO metering.usage TABLE more; DROP TABLE more";
constexpr char kCopyTransfer[] =
    "CREATE TEMPORARY TABLE more AS SELECT * FROM metering.transfer WHERE part = 0 AND request_id = "
    "(SELECT request_id FROM audit.record WHERE leaf_index = 3); UPDATE more SET {}; INSERT INTO metering.transfer TABLE more; "
    "DROP TABLE more";

// Six requests, of which the one with index 3 is judged by a guard and has an end user.
void ServeSix(Fixture& f) {
  const Who who;
  for (int i = 0; i < 6; ++i) {
    v1::Record request = RequestOf(who);
    if (i == 3) request.set_end_user_hmac(std::string(32, 'u'));
    const base::WallTime at = kDay + std::chrono::minutes(i);
    v1::Record end = FinalOf(request, at, CountsOf(10, 2, 5, 5));
    if (i == 3) *end.mutable_end()->add_guard_usage() = GuardOf("judge", CountsOf(100, 40, 3, 0), 2);
    f.Settle(request, end, at);
  }
}

struct Plant {
  std::string sql;
  std::string says;  // Empty: nothing.
  std::int64_t differences = 1;
};

void CheckPlants(const std::vector<Plant>& plants) {
  for (const Plant& plant : plants) {
    Fixture f;
    ServeSix(f);
    f.Plant(plant.sql);
    const Reconciliation r = f.Reconcile();
    INFO(plant.sql << "\n" << r.first_difference);
    CHECK(r.differences == plant.differences);
    CHECK(r.first_difference.find(plant.says) != std::string::npos);
  }
}

TEST_CASE("A usage row says whose it is, of which model and of when as its record does") {
  const std::string usage = "UPDATE metering.usage SET {} WHERE leaf_index = 3 AND part = 0",
                    guard = "UPDATE metering.usage SET {} WHERE part = 1";
  const auto set = [](const std::string& sql, const char* what) { return fmt::format(fmt::runtime(sql), what); };
  CheckPlants({
      {"SELECT 1", "", 0},
      {set(usage, "org_id = gen_random_uuid()"), "the usage row has another org"},
      {set(usage, "team_id = gen_random_uuid()"), "the usage row has another team"},
      {set(usage, "team_id = NULL"), "the usage row has another team"},
      {set(usage, "project_id = gen_random_uuid(), key_id = gen_random_uuid()"), "the usage row has another project, key"},
      {set(usage, "end_user_hmac = ''"), "the usage row has another end user"},
      {set(usage, "model = 'other'"), "the usage row is of model other, the request of smollm2"},
      {set(usage, "at_us = at_us - 86400000000"), "the usage row is of another time", 2},  // And its transfer has no other side.
      {set(guard, "team_id = gen_random_uuid()"), "a guard's usage row has another team"},
      {set(guard, "key_id = NULL, end_user_hmac = ''"), "a guard's usage row has another key, end user"},
      {set(guard, "at_us = at_us + 1"), "a guard's usage row has another time", 3},
      {"UPDATE audit.record SET team_id = NULL WHERE leaf_index = 3", "the usage row has another team"},
      {"DELETE FROM audit.record WHERE leaf_index = 1000003", "there is no REQUEST record"},
      {"UPDATE audit.record SET message = '\\x00ff' WHERE leaf_index = 1000003", "its REQUEST record cannot be read"},
  });
}

TEST_CASE("A transfer moves what its usage costs from its team to the platform, once") {
  const std::string charge =
      "UPDATE metering.transfer SET {} WHERE part = 0 AND request_id = (SELECT request_id FROM audit.record WHERE leaf_index = 3)";
  const std::string guard = "UPDATE metering.transfer SET {} WHERE part = 1";
  const auto set = [](const std::string& sql, const char* what) { return fmt::format(fmt::runtime(sql), what); };
  CheckPlants({
      {set(charge, "org_id = gen_random_uuid()"), "the transfer has another org"},
      {set(charge, "team_id = gen_random_uuid()"), "the transfer has another team"},
      {set(charge, "currency = 'USD'"), "the transfer has another currency"},
      {set(charge, "kind = 'reversal'"), "the transfer has another kind"},
      {set(charge, "debit = 'nobody'"), "the transfer has another account"},
      {set(charge, "credit = 'nobody'"), "the transfer has another account"},
      {set(charge, "at_us = at_us + 1"), "the transfer has another time", 2},
      {set(guard, "team_id = NULL, kind = 'reversal'"), "a guard's transfer has another team, kind"},
      {set(guard, "debit = 'platform', credit = 'team'"), "a guard's transfer has another account"},
      {set(guard, "at_us = at_us + 1"), "a guard's transfer has another time", 2},
      {set(kCopyTransfer, "entry = 1"), "attempt 1, part 0, entry 1: there is a transfer but no usage row that it charges"},
      {set(kCopyTransfer, "entry = 1, kind = 'reversal', debit = 'platform', credit = 'team'"), "entry 1: there is a transfer but"},
      {set(kCopyTransfer, "attempt = 2"), "attempt 2, part 0, entry 0: there is a transfer but no usage row"},
  });
}

TEST_CASE("Usage of another attempt, part or time than its record's is found, and counted") {
  const auto set = [](const char* sql, const char* what) { return fmt::format(fmt::runtime(sql), what); };
  CheckPlants({
      {set(kCopyUsage, "attempt = 2"), "attempt 2, part 0: there is a usage row but no record that ends it"},
      {set(kCopyUsage, "part = 2"), "of guards it says"},
      {set(kCopyUsage, "request_id = gen_random_uuid()"), "attempt 1, part 0: there is a usage row but no record that ends it"},
  });
  Fixture f;
  ServeSix(f);
  const Reconciliation before = f.Reconcile();
  f.Plant(set(kCopyUsage, "attempt = 2") + ";" + set(kCopyTransfer, "attempt = 2"));
  const Reconciliation after = f.Reconcile();
  CHECK(after.differences == 1);
  CHECK(after.usages == before.usages + 1);
  CHECK(after.usage_tokens == before.usage_tokens + 15);
  CHECK(after.transfers == before.transfers + 1);
  CHECK(after.transfer_tokens == before.transfer_tokens + 15);
}

TEST_CASE("Usage that was moved out of a period, or into it, is found in that period") {
  Fixture f;
  ServeSix(f);
  f.Plant("UPDATE metering.usage SET at_us = at_us + 86400000000; UPDATE metering.transfer SET at_us = at_us + 86400000000");
  const Reconciliation out = f.Reconcile(), in = f.Reconcile(kDay + 24h, kDay + 48h);
  CHECK(out.differences == 6);
  CHECK(out.first_difference.find("the usage row is of another time") != std::string::npos);
  CHECK(in.records == 0);
  CHECK(in.differences == 7);
  CHECK(in.first_difference.find("there is a usage row but no record that ends it") != std::string::npos);
}

TEST_CASE("A request is priced by its own model's price, or with adapters by its base's, and a guard by its own") {
  struct Row {
    const char* model;
    int version;
    std::string says;
  };
  for (const Row& row : {Row{"smollm2", 1, ""}, Row{"smollm2:legal", 1, ""}, Row{"smollm2:legal+terse", 1, ""},
                         Row{"smollm2", 3, "price version 3 is of model other, not of smollm2"},
                         Row{"other:legal", 1, "price version 1 is of model smollm2, not of other:legal"},
                         Row{"smollm2", 9, "the price book has no version 9"}}) {
    for (const bool guard : {false, true}) {
      Fixture f;
      v1::Record request = RequestOf({}, guard ? "smollm2" : row.model);
      if (!guard) request.mutable_request()->mutable_price()->set_version(row.version);
      v1::Record end = FinalOf(request, kDay, CountsOf(10, 0, 5, 5));
      if (guard) *end.mutable_end()->add_guard_usage() = GuardOf(row.model, CountsOf(10, 0, 5, 0), row.version);
      f.Settle(request, end, kDay);
      const Reconciliation r = f.Reconcile();
      INFO(row.model << " " << row.version << "\n" << r.first_difference);
      CHECK(r.differences == (row.says.empty() ? 0 : 1));
      CHECK(r.first_difference.find(row.says) != std::string::npos);
    }
  }
}

TEST_CASE("What pipeline and recovery leave behind lawfully is no difference") {
  Fixture f;
  const Who who;
  const auto settle = [&](v1::Record request, const v1::TokenCounts& tokens, base::WallTime at) {
    v1::Record end = FinalOf(request, at, tokens);
    f.Settle(request, end, at);
  };
  v1::Record second = RequestOf(who);  // A second attempt.
  second.set_attempt(2);
  settle(second, CountsOf(10, 2, 5, 5), kDay + 1h);
  v1::Record unnumbered = RequestOf(who);
  unnumbered.set_attempt(0);
  settle(unnumbered, CountsOf(10, 2, 5, 5), kDay + 2h);
  settle(RequestOf(who), CountsOf(7, 0, 0, 0), kDay + 3h);  // Embeddings have no output.
  settle(RequestOf(who), CountsOf(0, 0, 0, 0), kDay + 4h);  // Nothing was routed.

  v1::Record left = RequestOf(who);  // An instance that was gone for days, and a guard that was never asked.
  left.set_wall_us(base::ToMicros(kDay - 9 * 24h));
  v1::Record late = FinalOf(left, kDay + 5h, CountsOf(10, 0, 3, 3));
  late.set_kind(v1::RECORD_KIND_ABORT);
  *late.mutable_end()->add_guard_usage() = GuardOf("judge", CountsOf(0, 0, 0, 0), 2);
  f.Settle(left, late, kDay + 5h);

  v1::Record bare = FinalOf(RequestOf(who), kDay + 6h, CountsOf(0, 0, 0, 0));  // Its usage was refused by the database.
  bare.set_kind(v1::RECORD_KIND_ABORT);
  bare.mutable_end()->clear_price();
  InsertRecord(*f.session, bare, 1, f.index++);

  v1::Record ahead = RequestOf(who);  // Closed by a host whose clock is behind: its usage is of the REQUEST's time, here of the next day.
  ahead.set_wall_us(base::ToMicros(kDay + 24h));
  v1::Record behind = FinalOf(ahead, kDay + 24h - 2s, CountsOf(10, 0, 3, 3));
  behind.set_kind(v1::RECORD_KIND_ABORT);
  f.Settle(ahead, behind, kDay + 24h);

  const Reconciliation day = f.Reconcile(), next = f.Reconcile(kDay + 24h, kDay + 48h), both = f.Reconcile(kDay, kDay + 48h);
  CHECK(day.first_difference == "");
  CHECK(day.records == 7);
  CHECK(day.usages == 6);
  CHECK(next.first_difference == "");
  CHECK(next.records == 0);
  CHECK(next.usages == 1);
  CHECK(both.first_difference == "");
  CHECK(both.records == 7);
  CHECK(both.record_tokens == both.usage_tokens);
  CHECK(both.record_tokens == both.transfer_tokens);
}

TEST_CASE("The tables' sums are those of the records, of what the logs had when the work began") {
  struct Row {
    const char* meanwhile;  // Done between the records and the tables.
    std::string says;
  };
  for (const Row& row : {Row{"DELETE FROM metering.usage WHERE leaf_index = 2; DELETE FROM metering.transfer WHERE request_id = "
                             "(SELECT request_id FROM audit.record WHERE leaf_index = 2)",
                             "the records have 7 usage rows of 193 tokens in this period, and their table has 6 of 178"},
                         Row{"DELETE FROM metering.transfer WHERE part = 1",
                             "the usage rows have 7 transfers of 193 tokens in this period, and the ledger has 6 of 90"},
                         Row{"", ""}}) {
    Fixture f;
    ServeSix(f);
    bool first = true;
    const Reconciliation r = f.Reconcile(kDay, kDay + 24h, [&]() -> absl::Status {
      if (!std::exchange(first, false)) return absl::OkStatus();
      if (*row.meanwhile != '\0') f.Plant(row.meanwhile);
      f.index = Fixture::kLogSize;
      f.Serve({}, kDay + 1h, CountsOf(1'000, 0, 0, 0));
      return absl::OkStatus();
    });
    INFO(row.meanwhile);
    CHECK(r.first_difference == row.says);
    CHECK(r.records == 6);
    CHECK(r.record_tokens == 193);
  }
}

TEST_CASE("Records are found wherever they stand in their log") {
  Fixture f;
  ServeSix(f);
  f.index = 500'000;
  ServeSix(f);
  const Reconciliation r = f.Reconcile();
  CHECK(r.first_difference == "");
  CHECK(r.records == 12);
  f.Plant("DELETE FROM metering.transfer WHERE request_id = (SELECT request_id FROM audit.record WHERE leaf_index = 500005)");
  CHECK(f.Reconcile().first_difference.find("there is no transfer") != std::string::npos);
}

TEST_CASE("Reconciliation asks between its slices of time whether to go on") {
  Fixture f;
  ServeSix(f);
  int asked = 0;
  f.Reconcile(kDay, kDay + 24h, [&] { return ++asked, absl::OkStatus(); });
  CHECK(asked > 20);
  for (int stop = 1; stop <= asked; ++stop) {
    int now = 0;
    const auto ended =
        metering::Reconcile(*f.Verifier(), kDay, kDay + 24h, [&] { return ++now == stop ? base::Cancelled("enough") : absl::OkStatus(); });
    CHECK(base::Message(ended.status()) == "enough");
    CHECK(now == stop);
  }
}

// Whoever reads a usage row waits for it, as of a disk that is slow. A function of this language is dear: what else is asked of a row comes
// first.
void SlowUsage(Fixture& f) {
  f.Must(
      "CREATE FUNCTION slowly() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.025); RETURN true; END $$; "
      "DROP POLICY verifier_sees ON metering.usage; "
      "CREATE POLICY verifier_sees ON metering.usage FOR SELECT TO tollgate_verifier USING (slowly())");
}

TEST_CASE("What meets the statement's time limit is reconciled in smaller steps") {
  Fixture f;
  for (int i = 0; i < 16; ++i) f.Serve({}, kDay + std::chrono::seconds(i), CountsOf(10, 0, 5, 5));
  SlowUsage(f);
  const auto verifier = f.Verifier(300ms);
  const auto r = metering::Reconcile(*verifier, kDay, kDay + 24h);
  REQUIRE(r.status().ToString() == "OK");
  CHECK(r->first_difference == "");
  CHECK(r->records == 16);
  CHECK(r->usage_tokens == 240);
  CHECK(r->transfer_tokens == 240);
}

TEST_CASE("Where the time limit is too short for anything, the remedy is named") {
  Fixture f;
  for (int i = 0; i < 4; ++i) f.Serve({}, kDay, CountsOf(10, 0, 5, 5));
  SlowUsage(f);
  const auto verifier = f.Verifier(20ms);
  const auto reconciled = metering::Reconcile(*verifier, kDay, kDay + 24h);
  CHECK(reconciled.status().code() == absl::StatusCode::kUnavailable);
  CHECK(base::Message(reconciled.status()).find("; reconcile a shorter period") != std::string::npos);
  const auto reported = UsageReport(*verifier, ReportBy::kTeam, {.from = kDay, .to = kDay + 24h});
  CHECK(reported.status().code() == absl::StatusCode::kUnavailable);
  CHECK(base::Message(reported.status()).ends_with("; ask for a shorter period"));
}

}  // namespace
}  // namespace tollgate::metering
