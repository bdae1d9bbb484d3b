#include <catch2/catch_test_macros.hpp>

#include <map>

#include "tests/metering/usage_fixture.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;

using Names = std::map<std::string, std::string>;

std::string Text(const std::vector<ReportRow>& rows, const Names& names) {
  std::string out;
  for (const ReportRow& r : rows) {
    const auto name = names.find(r.id);
    out += fmt::format("{} {}/{} in {} ({}) out {} ({}) {} {}\n", name == names.end() ? r.id : name->second, r.attempts, r.requests,
                       r.input_tokens, r.cached_input_tokens, r.output_tokens, r.delivered_tokens, base::FormatMoney(r.amount), r.currency);
  }
  return out;
}

TEST_CASE("A usage report sums by what is asked, within its period and filters") {
  Fixture f;
  Who search, support;
  support.org = search.org;
  const Names names{{search.org.ToString(), "acme"},
                    {search.team.ToString(), "search"},
                    {support.team.ToString(), "support"},
                    {support.project.ToString(), "helpdesk"},
                    {support.key.ToString(), "bot"}};
  f.Serve(search, kDay, CountsOf(1'000, 400, 200, 150));
  f.Serve(search, kDay + 1h, CountsOf(1'000, 0, 0, 0));
  f.Serve(support, kDay + 23h, CountsOf(10, 0, 10, 10), "llama");
  f.Serve(support, kDay + 24h, CountsOf(7, 0, 7, 7));
  f.Serve(search, kDay + 25h, CountsOf(0, 0, 0, 0));
  f.Serve(search, kDay + 26h, CountsOf(1, 0, 1, 1));

  const auto report = [&](ReportBy by, ReportFilter filter) {
    const auto rows = UsageReport(*f.session, by, filter);
    REQUIRE(rows.status().ToString() == "OK");
    return Text(*rows, names);
  };
  const ReportFilter day{.from = kDay, .to = kDay + 24h}, both{.from = kDay, .to = kDay + 48h};
  CHECK(report(ReportBy::kTeam, day) ==
        "search 2/2 in 2000 (400) out 200 (150) 0.00039 EUR\n"
        "support 1/1 in 10 (0) out 10 (10) 0.0000075 EUR\n");
  CHECK(report(ReportBy::kTeam, both) ==
        "search 4/4 in 2001 (400) out 201 (151) 0.00039075 EUR\n"
        "support 2/2 in 17 (0) out 17 (17) 0.00001275 EUR\n");
  CHECK(report(ReportBy::kDay, both) ==
        "2026-11-25 3/3 in 2010 (400) out 210 (160) 0.0003975 EUR\n"
        "2026-11-26 3/3 in 8 (0) out 8 (8) 0.000006 EUR\n");
  CHECK(report(ReportBy::kModel, day) ==
        "smollm2 2/2 in 2000 (400) out 200 (150) 0.00039 EUR\n"
        "llama 1/1 in 10 (0) out 10 (10) 0.0000075 EUR\n");
  CHECK(report(ReportBy::kOrg, day) == "acme 3/3 in 2010 (400) out 210 (160) 0.0003975 EUR\n");
  CHECK(report(ReportBy::kProject, {.from = kDay, .to = kDay + 24h, .team = support.team}) ==
        "helpdesk 1/1 in 10 (0) out 10 (10) 0.0000075 EUR\n");
  CHECK(report(ReportBy::kKey, {.from = kDay, .to = kDay + 48h, .key = support.key, .model = "smollm2"}) ==
        "bot 1/1 in 7 (0) out 7 (7) 0.00000525 EUR\n");
  CHECK(report(ReportBy::kKey, {.from = kDay - 48h, .to = kDay}) == "");
  CHECK(UsageReport(*f.session, ReportBy::kKey, {.from = kDay, .to = kDay}).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("A request counts once in each group that it has rows in, and once over all groups") {
  Fixture f;
  const Who who;
  v1::Record request = RequestOf(who);
  v1::Record end = FinalOf(request, kDay + 23h, CountsOf(10, 0, 5, 5));
  for (const auto& [model, version] : {std::pair{"judge", 2}, std::pair{"other", 3}, std::pair{"other", 3}, std::pair{"smollm2", 1}})
    *end.mutable_end()->add_guard_usage() = GuardOf(model, CountsOf(1, 0, 0, 0), version);
  f.Settle(request, end, kDay + 23h);
  request.set_attempt(2);  // Another attempt, on the next day.
  end = FinalOf(request, kDay + 25h, CountsOf(10, 0, 5, 5));
  *end.mutable_end()->add_guard_usage() = GuardOf("other", CountsOf(1, 0, 0, 0), 3);
  f.Settle(request, end, kDay + 25h);
  f.Serve(who, kDay, CountsOf(10, 0, 5, 5));

  struct Row {
    ReportBy by;
    ReportFilter filter;
    std::string requests;  // Group, attempts/requests and those of them that no other group had first, in order of name.
  };
  const base::WallTime next = kDay + 24h, after = kDay + 48h;
  for (const Row& row : {Row{ReportBy::kModel, {.from = kDay, .to = after}, "judge 1/1/0 other 3/1/0 smollm2 4/2/2 "},
                         Row{ReportBy::kModel, {.from = next, .to = after}, "other 1/1/0 smollm2 1/1/1 "},
                         Row{ReportBy::kKind, {.from = kDay, .to = after}, "guard 5/1/0 request 3/2/2 "},
                         Row{ReportBy::kKind, {.from = next, .to = after}, "guard 1/1/0 request 1/1/1 "},
                         Row{ReportBy::kKind, {.from = kDay, .to = after, .model = "other"}, "guard 3/1/1 "},
                         Row{ReportBy::kDay, {.from = kDay, .to = after}, "2026-11-25 6/2/2 2026-11-26 2/1/0 "},
                         Row{ReportBy::kTeam, {.from = kDay, .to = after}, who.team.ToString() + " 8/2/2 "},
                         Row{ReportBy::kTeam, {.from = kDay, .to = after, .model = "other"}, who.team.ToString() + " 3/1/1 "}}) {
    const auto report = UsageReport(*f.session, row.by, row.filter);
    REQUIRE(report.status().ToString() == "OK");
    std::map<std::string, std::string> lines;
    for (const ReportRow& line : *report)
      lines[line.id] = fmt::format("{} {}/{}/{} ", line.id, line.attempts, line.requests, line.first_requests);
    std::string all;
    for (const auto& [id, line] : lines) all += line;
    CHECK(all == row.requests);
  }
  f.Plant("UPDATE metering.usage SET team_id = NULL");
  CHECK((*UsageReport(*f.session, ReportBy::kTeam, {.from = kDay, .to = after}))[0].requests == 2);
}

TEST_CASE("Amounts that add up to more than money can say are refused by name") {
  Fixture f;
  const Who who;
  for (int i = 0; i < 2; ++i) f.Serve(who, kDay, CountsOf(10, 0, 5, 5));
  f.Plant("UPDATE metering.usage SET amount_nanos = 4611686018427387904, currency = 'VND'");
  const auto refused = UsageReport(*f.session, ReportBy::kTeam, {.from = kDay, .to = kDay + 24h});
  CHECK(refused.status().code() == absl::StatusCode::kOutOfRange);
  CHECK(base::Message(refused.status()) == fmt::format("the amounts of team {} in VND add up to more than 9223372036.854775807, which is "
                                                       "the most that can be told; ask for a shorter period, or in smaller groups",
                                                       who.team.ToString()));
  f.Plant("UPDATE metering.usage SET amount_nanos = 4611686018427387903");
  const auto most = UsageReport(*f.session, ReportBy::kTeam, {.from = kDay, .to = kDay + 24h});
  REQUIRE(most.status().ToString() == "OK");
  CHECK((*most)[0].amount.nanos == INT64_MAX - 1);
}

TEST_CASE("Records, usage and ledger that agree reconcile to the token") {
  Fixture f;
  const Who who;
  for (int i = 0; i < 100; ++i) f.Serve(who, kDay + std::chrono::minutes(i), CountsOf(i, i / 3, i % 7, 0));
  f.Serve(who, kDay + 24h, CountsOf(1000, 0, 0, 0));
  const Reconciliation r = f.Reconcile();
  CHECK(r.first_difference == "");
  CHECK(r.differences == 0);
  CHECK(r.records == 100);
  CHECK(r.usages == 100);
  CHECK(r.transfers == 99);  // The first had no tokens.
  CHECK(r.record_tokens == 4950 + 295);
  CHECK(r.usage_tokens == r.record_tokens);
  CHECK(r.transfer_tokens == r.record_tokens);
}

TEST_CASE("More records than a page reconcile") {
  Fixture f;
  const Who who;
  const absl::Status served = f.session->InTransaction("serve", [&](base::Session& session) {
    for (int i = 0; i < 2'100; ++i) Serve(session, who, kDay + std::chrono::seconds(i), CountsOf(1, 0, 1, 1), i);
    return absl::OkStatus();
  });
  REQUIRE(served.ToString() == "OK");
  const Reconciliation r = f.Reconcile();
  CHECK(r.records == 2'100);
  CHECK(r.first_difference == "");
  CHECK(r.transfer_tokens == 4'200);
}

TEST_CASE("A planted difference is found and said") {
  struct Row {
    const char* sql;  // Run by the superuser with the triggers off.
    std::string says;
    std::int64_t differences = 1;
  };
  const Row rows[] = {
      {"UPDATE metering.usage SET output_tokens = output_tokens + 1 WHERE leaf_index = 3",
       "the usage row says input 10 (cached 2), output 6"},
      {"UPDATE metering.usage SET cached_input_tokens = 3 WHERE leaf_index = 3", "the usage row says input 10 (cached 3)"},
      {"UPDATE metering.usage SET amount_nanos = amount_nanos - 1 WHERE leaf_index = 3", "amount 0.000004349"},
      {"UPDATE metering.usage SET price_version = 2 WHERE leaf_index = 3", "the usage row has price version 2 in EUR"},
      {"UPDATE metering.price SET output_nanos = 2000", "by its price it costs", 6},
      {"UPDATE metering.price SET currency = 'USD'", "price version 1 is in USD", 6},
      {"DELETE FROM metering.price", "the price book has no version 1", 6},
      {"UPDATE metering.usage SET leaf_index = 77 WHERE leaf_index = 3", "the usage row belongs to record 1/77", 2},
      {"DELETE FROM metering.usage WHERE leaf_index = 3", "there is no usage row", 2},
      {"UPDATE metering.transfer SET input_tokens = input_tokens + 1 WHERE request_id = (SELECT request_id FROM metering.usage WHERE "
       "leaf_index = 3)",
       "the transfer says input 11"},
      {"UPDATE metering.transfer SET amount_nanos = 1 WHERE request_id = (SELECT request_id FROM metering.usage WHERE leaf_index = 3)",
       "the transfer says input 10 (cached 2), output 5, amount 0.000000001"},
      {"DELETE FROM metering.transfer WHERE request_id = (SELECT request_id FROM metering.usage WHERE leaf_index = 3)",
       "there is no transfer"},
      {"DELETE FROM audit.record WHERE leaf_index = 3", "there is a usage row but no record that ends it"},
      {"DELETE FROM audit.record WHERE leaf_index = 3; DELETE FROM metering.usage WHERE leaf_index = 3",
       "there is a transfer but no usage row"},
      {"UPDATE audit.record SET message = '\\x00ff' WHERE leaf_index = 3", "record 1/3 cannot be read"},
  };
  for (const Row& row : rows) {
    Fixture f;
    const Who who;
    for (int i = 0; i < 6; ++i) f.Serve(who, kDay + std::chrono::minutes(i), CountsOf(10, 2, 5, 5));
    f.Plant(row.sql);
    const Reconciliation r = f.Reconcile();
    INFO(row.sql << "\n" << r.first_difference);
    CHECK(r.differences == row.differences);
    CHECK(r.first_difference.find(row.says) != std::string::npos);
  }
}

TEST_CASE("An amount that does not follow from the price in the book is found") {
  Fixture f;
  const Who who;
  const v1::Record request = RequestOf(who);
  v1::Record end = FinalOf(request, kDay, CountsOf(10, 0, 5, 5));
  auto rows = Settlement(request, kDay, CountsOf(10, 0, 5, 5));
  REQUIRE(rows.ok());
  end.mutable_end()->set_amount_nanos(1);
  for (auto& row : *rows) {
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      if (std::string(row.table->columns[i].name) == "amount_nanos") row.values[i] = std::int64_t{1};
    }
    REQUIRE(InsertCompanion(*f.session, row, 1, 0).ok());
  }
  InsertRequest(*f.session, request, kDay, 0);
  InsertRecord(*f.session, end, 1, 0);
  CHECK(f.Reconcile().first_difference.find("by its price it costs 0.0000045") != std::string::npos);
}

// A request that two guards judged.
void ServeGuarded(Fixture& f, const Who& who, base::WallTime at) {
  const v1::Record request = RequestOf(who);
  v1::Record end = FinalOf(request, at, CountsOf(10, 2, 5, 5));
  *end.mutable_end()->add_guard_usage() = GuardOf("judge", CountsOf(100, 40, 3, 0), 2);
  *end.mutable_end()->add_guard_usage() = GuardOf("other", CountsOf(7, 0, 1, 0), 3);
  f.Settle(request, end, at);
}

TEST_CASE("Guard models' tokens are metered apart, reported by kind and model, and reconcile") {
  Fixture f;
  const Who who;
  ServeGuarded(f, who, kDay);
  f.Serve(who, kDay + 1min, CountsOf(10, 0, 5, 5));
  const Reconciliation r = f.Reconcile();
  CHECK(r.first_difference == "");
  CHECK(r.records == 2);
  CHECK(r.usages == 4);
  CHECK(r.transfers == 4);
  CHECK(r.record_tokens == 15 + 103 + 8 + 15);
  CHECK(r.usage_tokens == r.record_tokens);
  CHECK(r.transfer_tokens == r.record_tokens);
  const auto kinds = UsageReport(*f.session, ReportBy::kKind, {.from = kDay, .to = kDay + 24h});
  REQUIRE(kinds.ok());
  CHECK(Text(*kinds, {}) ==
        "guard 2/1 in 107 (40) out 4 (0) 0.00001545 EUR\n"
        "request 2/2 in 20 (2) out 10 (10) 0.00000885 EUR\n");
}

TEST_CASE("Discarded tokens are told apart in usage, ledger and reports, and reconcile") {
  v1::TokenCounts tokens = CountsOf(10, 2, 9, 5);
  tokens.set_discarded(4);
  Fixture f;
  f.Serve({}, kDay, tokens);
  CHECK(f.Reconcile().first_difference == "");
  const auto report = UsageReport(*f.session, ReportBy::kModel, {.from = kDay, .to = kDay + 24h});
  REQUIRE(report.ok());
  CHECK((*report)[0].discarded_tokens == 4);
  for (const char* table : {"usage", "transfer"}) {
    Fixture planted;
    planted.Serve({}, kDay, tokens);
    planted.Plant(fmt::format("UPDATE metering.{} SET discarded_tokens = 1", table));
    CHECK(planted.Reconcile().first_difference.find("says discarded 1") != std::string::npos);
  }
}

TEST_CASE("A guard's line that its rows do not repeat is found") {
  for (const auto& [sql, says, differences] :
       {std::tuple{"UPDATE metering.usage SET output_tokens = 4 WHERE part = 1", "the usage rows \"1 judge 100/40/4", 1},
        std::tuple{"UPDATE metering.transfer SET amount_nanos = 1 WHERE part = 2", "the transfers \"1 100/40/3", 1},
        std::tuple{"DELETE FROM metering.usage WHERE part = 2", "the usage rows \"1 judge", 2},
        std::tuple{"UPDATE metering.usage SET model = 'smollm2' WHERE part = 1", "the usage rows \"1 smollm2", 1}}) {
    Fixture f;
    ServeGuarded(f, {}, kDay);
    f.Plant(sql);
    const Reconciliation r = f.Reconcile();
    INFO(sql << "\n" << r.first_difference);
    CHECK(r.differences == differences);
    CHECK(r.first_difference.find(says) != std::string::npos);
  }
}

}  // namespace
}  // namespace tollgate::metering
