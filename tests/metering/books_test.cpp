#include <catch2/catch_test_macros.hpp>

#include <random>

#include "base/error_detail.h"
#include "metering/books.h"
#include "tests/support/random.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {
namespace {

using std::chrono::sys_days;
using namespace std::chrono_literals;

base::WallTime Day(int year, int month, int day) { return sys_days(std::chrono::year(year) / month / day); }

Price PriceOf(std::int64_t version, base::WallTime from, std::int64_t input, std::int64_t cached, std::int64_t output) {
  return {version, "smollm2", from, input, cached, output, "EUR"};
}

v1::TokenCounts Tokens(std::int64_t input, std::int64_t cached, std::int64_t output, std::int64_t delivered) {
  v1::TokenCounts t;
  t.set_input(input);
  t.set_cached_input(cached);
  t.set_output(output);
  t.set_delivered(delivered);
  return t;
}

v1::PinnedPrice Pinned(std::int64_t input, std::int64_t cached, std::int64_t output) {
  v1::PinnedPrice p;
  p.set_version(7);
  p.set_input_nanos_per_1000(input);
  p.set_cached_input_nanos_per_1000(cached);
  p.set_output_nanos_per_1000(output);
  p.set_currency("EUR");
  return p;
}

v1::Record Request() {
  v1::Record r;
  r.set_kind(v1::RECORD_KIND_REQUEST);
  r.set_request_id(base::Uuid::NewV7().Bytes());
  r.set_attempt(1);
  r.set_org_id(base::Uuid::NewV7().Bytes());
  r.set_team_id(base::Uuid::NewV7().Bytes());
  r.set_project_id(base::Uuid::NewV7().Bytes());
  r.set_key_id(base::Uuid::NewV7().Bytes());
  r.mutable_request()->set_model("smollm2");
  *r.mutable_request()->mutable_price() = Pinned(150'000, 75'000, 600'000);
  return r;
}

TEST_CASE("The price in force is the latest effective one, of one date the higher version") {
  const auto book = PriceBook::Make({PriceOf(1, Day(2026, 1, 1), 1000, 1000, 1000), PriceOf(3, Day(2026, 7, 1), 3000, 3000, 3000),
                                     PriceOf(2, Day(2026, 7, 1), 2000, 2000, 2000), PriceOf(4, Day(2026, 5, 1), 4000, 4000, 4000)});
  REQUIRE(book.ok());
  struct Row {
    base::WallTime at;
    std::int64_t version;
  };
  for (const Row& row : {Row{Day(2026, 1, 1), 1}, Row{Day(2026, 5, 1) - 1us, 1}, Row{Day(2026, 5, 1), 4}, Row{Day(2026, 7, 1) - 1us, 4},
                         Row{Day(2026, 7, 1), 3}, Row{Day(2030, 1, 1), 3}}) {
    CHECK((*book)->PriceAt("smollm2", row.at)->version() == row.version);
  }
  for (const auto& missing : {(*book)->PriceAt("smollm2", Day(2025, 12, 31)), (*book)->PriceAt("llama", Day(2026, 8, 1))}) {
    CHECK(missing.status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK(base::DetailOf(missing.status())->reason == "MODEL_UNPRICED");
  }
  CHECK(base::Message((*book)->PriceAt("llama", Day(2026, 8, 1)).status()) ==
        "model llama has no price in force; set one: tollgate prices set llama --input 0.10 --output 0.40");
}

TEST_CASE("A price that no book may hold is refused by its field") {
  struct Row {
    Price price;
    std::string part;
  };
  const auto ok = PriceOf(1, Day(2026, 1, 1), 1000, 1000, 1000);
  auto with = [&](auto change) {
    Price p = ok;
    change(p);
    return p;
  };
  const Row rows[] = {
      {with([](Price& p) { p.version = 0; }), "price version 0 is below 1"},
      {with([](Price& p) { p.model = ""; }), "name of its model"},
      {with([](Price& p) { p.input_nanos_per_1000 = 0; }), "the input price of smollm2 is 0.00"},
      {with([](Price& p) { p.cached_input_nanos_per_1000 = -5; }), "the cached input price of smollm2 is -0.000000005"},
      {with([](Price& p) { p.output_nanos_per_1000 = 999; }), "no token is free"},
      {with([](Price& p) { p.output_nanos_per_1000 = Price::kNanosMax + 1; }), "the output price"},
      {with([](Price& p) { p.currency = "eur"; }), "three capitals"},
      {with([](Price& p) { p.currency = "EURO"; }), "three capitals"},
  };
  CHECK(Validate(ok).ok());
  for (const Row& row : rows) {
    INFO(row.part);
    CHECK(base::Message(Validate(row.price)).find(row.part) != std::string::npos);
    CHECK(!PriceBook::Make({row.price}).ok());
  }
  CHECK(base::Message(PriceBook::Make({ok, ok}).status()) == "two prices have the version 1");
}

TEST_CASE("An amount is the sum of its kinds, each rounded half up to a nano") {
  struct Row {
    v1::PinnedPrice price;
    v1::TokenCounts tokens;
    std::int64_t nanos;  // -1: refused.
  };
  constexpr std::int64_t kHuge = 9'000'000'000'000;
  const Row rows[] = {
      {Pinned(150'000, 75'000, 600'000), Tokens(0, 0, 0, 0), 0},
      {Pinned(150'000, 75'000, 600'000), Tokens(1, 0, 0, 0), 150},
      {Pinned(150'000, 75'000, 600'000), Tokens(10, 4, 3, 2), 6 * 150 + 4 * 75 + 3 * 600},
      {Pinned(1'500, 1'000, 1'000), Tokens(1, 0, 0, 0), 2},          // 1.5 rounds up
      {Pinned(1'499, 1'000, 1'000), Tokens(1, 0, 0, 0), 1},          // 1.499 down
      {Pinned(1'500, 1'500, 1'500), Tokens(2, 1, 1, 0), 2 + 2 + 2},  // each kind for itself
      {Pinned(1'000, 1'000, 1'000), Tokens(1'000'000'000, 0, 1, 1), 1'000'000'001},
      {Pinned(Price::kNanosMax, 1'000, 1'000), Tokens(kHuge, 0, 0, 0), -1},  // does not fit
      {Pinned(1'000, 1'000, 1'000), Tokens(1, 2, 0, 0), -1},
      {Pinned(1'000, 1'000, 1'000), Tokens(1, 0, 1, 2), -1},
      {Pinned(1'000, 1'000, 1'000), Tokens(-1, 0, 0, 0), -1},
  };
  for (const Row& row : rows) {
    INFO(row.tokens.ShortDebugString());
    const auto amount = AmountOf(row.price, row.tokens);
    CHECK((amount.ok() ? amount->nanos : -1) == row.nanos);
  }
}

TEST_CASE("Tokens are never free: any count at any valid price costs at least a nano each") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    const auto rate = [&] { return std::int64_t{1000} + static_cast<std::int64_t>(random() % 5000); };
    const auto input = static_cast<std::int64_t>(random() % 50);
    const auto cached = input == 0 ? 0 : static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(input));
    const auto output = static_cast<std::int64_t>(random() % 50);
    const auto amount = AmountOf(Pinned(rate(), rate(), rate()), Tokens(input, cached, output, 0));
    REQUIRE(amount.ok());
    CHECK(amount->nanos >= input + output);
  }
}

std::int64_t Number(const base::Companion& row, std::string_view column) {
  for (std::size_t i = 0; i < row.table->columns.size(); ++i) {
    if (row.table->columns[i].name == column) return std::get<std::int64_t>(row.values[i]);
  }
  return -1;
}

base::Value At(const base::Companion& row, std::string_view column) {
  for (std::size_t i = 0; i < row.table->columns.size(); ++i) {
    if (row.table->columns[i].name == column) return row.values[i];
  }
  return {};
}

TEST_CASE("A settlement is a usage row and, when there were tokens, one transfer that carries the same tokens") {
  v1::Record request = Request();
  request.mutable_request()->add_leases(0x01020304);
  request.mutable_request()->add_leases(7);
  request.mutable_request()->set_epoch(3);
  const auto rows = Settlement(request, Day(2026, 11, 25), Tokens(10, 4, 3, 2));
  REQUIRE(rows.ok());
  REQUIRE(rows->size() == 2);
  const base::Companion &usage = (*rows)[0], &transfer = (*rows)[1];
  CHECK(usage.table == &UsageTable());
  CHECK(transfer.table == &TransferTable());
  CHECK(usage.values.size() == UsageTable().columns.size());
  CHECK(transfer.values.size() == TransferTable().columns.size());
  CHECK(Number(usage, "input_tokens") == 10);
  CHECK(Number(usage, "cached_input_tokens") == 4);
  CHECK(Number(usage, "output_tokens") == 3);
  CHECK(Number(usage, "delivered_tokens") == 2);
  CHECK(Number(usage, "epoch") == 3);
  CHECK(std::get<base::Blob>(At(usage, "team_id")).bytes == request.team_id());
  CHECK(std::get<base::Blob>(At(usage, "leases")).bytes == std::string("\1\2\3\4\0\0\0\7", 8));
  CHECK(Number(usage, "amount_nanos") == 3000);
  CHECK(Number(transfer, "amount_nanos") == 3000);
  CHECK(Number(transfer, "input_tokens") + Number(transfer, "cached_input_tokens") == 10);
  CHECK(Number(transfer, "output_tokens") == 3);
  CHECK(Number(transfer, "price_version") == 7);
  CHECK(std::get<std::string>(At(transfer, "debit")) == "team");
  CHECK(std::get<base::Blob>(At(transfer, "team_id")).bytes == request.team_id());

  const auto none = Settlement(request, Day(2026, 11, 25), Tokens(0, 0, 0, 0));
  REQUIRE(none.ok());
  CHECK(none->size() == 1);
}

TEST_CASE("The same settlement twice gives the same rows") {
  const v1::Record request = Request();
  const auto a = Settlement(request, Day(2026, 1, 1), Tokens(5, 0, 5, 5));
  const auto b = Settlement(request, Day(2026, 1, 1), Tokens(5, 0, 5, 5));
  REQUIRE((a.ok() && b.ok()));
  CHECK(At((*a)[0], "request_id").index() == At((*b)[0], "request_id").index());
  CHECK(std::get<base::Blob>(At((*a)[0], "request_id")).bytes == std::get<base::Blob>(At((*b)[0], "request_id")).bytes);
  CHECK(Number((*a)[1], "amount_nanos") == Number((*b)[1], "amount_nanos"));
}

TEST_CASE("What cannot be settled is refused, never settled at nothing") {
  v1::Record no_price = Request();
  no_price.mutable_request()->clear_price();
  v1::Record no_request = Request();
  no_request.clear_request();
  CHECK(Settlement(no_price, Day(2026, 1, 1), Tokens(1, 0, 1, 1)).status().code() == absl::StatusCode::kInternal);
  CHECK(Settlement(no_request, Day(2026, 1, 1), Tokens(1, 0, 1, 1)).status().code() == absl::StatusCode::kInternal);
  CHECK(Settlement(Request(), Day(2026, 1, 1), Tokens(1, 2, 1, 1)).status().code() == absl::StatusCode::kInternal);
}

TEST_CASE("What was discarded is part of the output, and no more than it") {
  v1::TokenCounts tokens = Tokens(10, 0, 5, 2);
  tokens.set_discarded(3);
  CHECK(AmountOf(Pinned(150'000, 75'000, 600'000), tokens)->nanos ==
        AmountOf(Pinned(150'000, 75'000, 600'000), Tokens(10, 0, 5, 2))->nanos);
  tokens.set_discarded(6);
  CHECK(AmountOf(Pinned(150'000, 75'000, 600'000), tokens).status().code() == absl::StatusCode::kInternal);
}

TEST_CASE("A guard model's line makes rows of its own, at its own price; a recovery fills in the amounts") {
  const v1::Record request = Request();
  v1::EndBody end;
  *end.mutable_tokens() = Tokens(10, 0, 5, 5);
  v1::GuardUsage& guard = *end.add_guard_usage();
  guard.set_model("judge");
  *guard.mutable_tokens() = Tokens(100, 40, 2, 0);
  *guard.mutable_price() = Pinned(1'000, 1'000, 2'000);
  REQUIRE(FillAmounts(request.request().price(), end).ok());
  CHECK(end.amount_nanos() == 1'500 + 3'000);
  CHECK(end.guard_usage(0).amount_nanos() == 60 + 40 + 4);
  CHECK(AllTokens(end).input() == 110);
  CHECK(AllTokens(end).output() == 7);
  const auto rows = Settlement(request, Day(2026, 11, 26), end);
  REQUIRE(rows.ok());
  REQUIRE(rows->size() == 4);
  const auto value = [&](std::size_t row, const std::string& column) {
    const base::Companion& its = (*rows)[row];
    for (std::size_t i = 0; i < its.values.size(); ++i) {
      if (column == its.table->columns[i].name) return its.values[i];
    }
    return base::Value();
  };
  CHECK(std::get<std::int64_t>(value(0, "part")) == 0);
  CHECK(std::get<std::int64_t>(value(2, "part")) == 1);
  CHECK(std::get<std::string>(value(2, "model")) == "judge");
  CHECK(std::get<std::int64_t>(value(2, "amount_nanos")) == 104);
  CHECK(std::get<std::string>(value(3, "kind")) == "guard");
  CHECK(std::get<std::int64_t>(value(3, "part")) == 1);
  end.mutable_guard_usage(0)->mutable_tokens()->set_cached_input(200);
  CHECK(Settlement(request, Day(2026, 11, 26), end).status().code() == absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace tollgate::metering
