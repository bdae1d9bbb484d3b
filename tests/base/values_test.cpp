// Clock, money, ids and diagnostics.
#include <set>
#include <thread>
#include <vector>

#include <unistd.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/clock.h"
#include "base/diagnostics.h"
#include "base/money.h"
#include "base/uuid.h"
#include "tests/support/random.h"

using namespace tollgate::base;

TEST_CASE("Times are written as RFC 3339, with microseconds only where there are some") {
  struct Row {
    std::int64_t micros;
    const char* text;
  };
  const auto row = GENERATE(values<Row>({{0, "1970-01-01T00:00:00Z"},
                                         {1'796'083'200'000'000, "2026-12-01T00:00:00Z"},
                                         {1'796'083'199'999'999, "2026-11-30T23:59:59.999999Z"},
                                         {951'782'400'000'000, "2000-02-29T00:00:00Z"},
                                         {-1, "1969-12-31T23:59:59.999999Z"},
                                         {1'000, "1970-01-01T00:00:00.001000Z"}}));
  CHECK(FormatRfc3339(FromMicros(row.micros)) == row.text);
  CHECK(ToMicros(FromMicros(row.micros)) == row.micros);
}

TEST_CASE("A manual clock moves both times together, and SetWall moves wall time alone") {
  ManualClock clock;
  const auto wall = clock.Wall();
  const auto mono = clock.Mono();
  clock.Advance(std::chrono::milliseconds(1500));
  CHECK(clock.Wall() - wall == std::chrono::milliseconds(1500));
  CHECK(clock.Mono() - mono == std::chrono::milliseconds(1500));
  clock.SetWall(FromMicros(5));
  CHECK(ToMicros(clock.Wall()) == 5);
  CHECK(clock.Mono() - mono == std::chrono::milliseconds(1500));
}

TEST_CASE("Amounts are read exactly or refused") {
  struct Row {
    const char* text;
    std::int64_t nanos;
    bool ok;
  };
  const auto row = GENERATE(values<Row>({{"0.15", 150'000'000, true},
                                         {"12", 12'000'000'000, true},
                                         {"-3.000000001", -3'000'000'001, true},
                                         {"0", 0, true},
                                         {"-0.0", 0, true},
                                         {"9223372036.854775807", INT64_MAX, true},
                                         {"-9223372036.854775808", INT64_MIN, true},
                                         {"9223372036.854775808", 0, false},
                                         {"99999999999999999999999999999999999999999999", 0, false},
                                         {"0.0000000001", 0, false},
                                         {"", 0, false},
                                         {"-", 0, false},
                                         {".5", 0, false},
                                         {"5.", 0, false},
                                         {"1.2.3", 0, false},
                                         {"1e3", 0, false},
                                         {" 1", 0, false},
                                         {"+1", 0, false},
                                         {"1,5", 0, false},
                                         {"0x1", 0, false}}));
  INFO(row.text);
  const auto money = ParseMoney(row.text);
  CHECK(money.ok() == row.ok);
  if (money.ok()) CHECK(money->nanos == row.nanos);
  if (!money.ok()) CHECK(money.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Amounts are written in the shortest exact form with two decimals or more, and read back the same") {
  struct Row {
    std::int64_t nanos;
    const char* text;
  };
  const auto row = GENERATE(values<Row>({{150'000'000, "0.15"},
                                         {12'000'000'000, "12.00"},
                                         {150, "0.00000015"},
                                         {-1, "-0.000000001"},
                                         {0, "0.00"},
                                         {125'000'000, "0.125"},
                                         {INT64_MIN, "-9223372036.854775808"}}));
  CHECK(FormatMoney(Money{row.nanos}) == row.text);
  CHECK(ParseMoney(row.text)->nanos == row.nanos);
}

TEST_CASE("A price is rounded half up to one nano and refused where it does not fit") {
  struct Row {
    std::int64_t count, price, per, nanos;
  };
  const auto row = GENERATE(values<Row>({{1'000'000, 150'000'000, 1'000'000, 150'000'000},
                                         {1, 1, 2, 1},
                                         {1, 1, 3, 0},
                                         {2, 1, 3, 1},
                                         {-1, 1, 2, 0},
                                         {-3, 1, 2, -1},
                                         {-1, 2, 3, -1},
                                         {0, 99, 7, 0},
                                         {INT64_MAX, 1, 1, INT64_MAX},
                                         {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}}));
  CHECK(PriceOf(row.count, Money{row.price}, row.per)->nanos == row.nanos);
  CHECK(PriceOf(INT64_MAX, Money{2}, 1).status().code() == absl::StatusCode::kOutOfRange);
  CHECK(PriceOf(1, Money{1}, 0).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Add(Money{INT64_MAX}, Money{1}).status().code() == absl::StatusCode::kOutOfRange);
  CHECK(Add(Money{INT64_MAX}, Money{-1})->nanos == INT64_MAX - 1);
}

TEST_CASE("New ids have version 7, carry the time and never repeat, also across threads") {
  std::vector<std::vector<Uuid>> made(4, std::vector<Uuid>(5000));
  std::vector<std::thread> threads;
  const std::int64_t before = ToMicros(SystemClock().Wall()) / 1000;
  for (auto& mine : made)
    threads.emplace_back([&mine] {
      for (auto& id : mine) id = Uuid::NewV7();
    });
  for (auto& thread : threads) thread.join();
  const std::int64_t after = ToMicros(SystemClock().Wall()) / 1000;
  std::set<Uuid> all;
  for (const auto& mine : made) {
    for (const Uuid& id : mine) {
      REQUIRE(all.insert(id).second);
      const std::string text = id.ToString();
      REQUIRE(text[14] == '7');
      REQUIRE(std::string("89ab").find(text[19]) != std::string::npos);
      const std::int64_t ms = std::stoll(text.substr(0, 8) + text.substr(9, 4), nullptr, 16);
      REQUIRE(ms >= before);
      REQUIRE(ms <= after);
    }
  }
}

TEST_CASE("Ids are read in one form only") {
  const Uuid id = Uuid::NewV7();
  CHECK(*Uuid::Parse(id.ToString()) == id);
  CHECK(*Uuid::FromBytes(id.Bytes()) == id);
  CHECK(Uuid().IsNone());
  CHECK(Uuid().ToString() == "00000000-0000-0000-0000-000000000000");
  const auto bad = GENERATE(values<const char*>({"", "0", "00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000",
                                                 "00000000_0000-0000-0000-000000000000", "0000000-00000-0000-0000-000000000000",
                                                 "g0000000-0000-0000-0000-000000000000", "{0000000-0000-0000-0000-00000000000}"}));
  INFO(bad);
  CHECK(Uuid::Parse(bad).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK_FALSE(Uuid::FromBytes("short").ok());
}

TEST_CASE("A diagnostic is one line, whatever its text holds") {
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  const int saved = ::dup(2);
  ::dup2(pipe[1], 2);
  Info("base", "first\nsecond {} \x1b[2J", 7);
  SetDiagnosticsJson(true);
  Warn("base", "say \"{}\"\n", "no");
  Warn("base", "caf\xe9 and café, cut \xe2\x82");
  SetDiagnosticsJson(false);
  Diagnose(Level::kDebug, "base", "not shown");
  ::dup2(saved, 2);
  ::close(saved);
  ::close(pipe[1]);
  std::string out(4096, '\0');
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(pipe[0], out.data(), out.size()))));
  ::close(pipe[0]);
  CHECK(std::count(out.begin(), out.end(), '\n') == 3);
  CHECK(out.find(" info  base: first\\nsecond 7 \\u001b[2J\n") != std::string::npos);
  CHECK(out.find(R"("level":"warn","room":"base","text":"say \"no\"\n"})") != std::string::npos);
  CHECK(out.find(R"("text":"caf� and café, cut ��"})") != std::string::npos);
}
