#include "audit/clock_check.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string_view>
#include <thread>

#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

bool Says(const std::string& text, std::initializer_list<std::string_view> parts) {
  return std::all_of(parts.begin(), parts.end(), [&](std::string_view part) { return text.find(part) != std::string::npos; });
}

TEST_CASE("A clock is wrong when it is minutes from Postgres's, either way, and right again once it is set") {
  base::ManualClock clock;
  const base::WallTime right = clock.Wall();
  ClockCheck check(clock);
  CHECK(check.Wrong().empty());
  clock.SetWall(right + hours(240));
  CHECK(check.Wrong().empty());  // Nobody was asked yet.
  check.Saw(base::ToMicros(right));
  CHECK(Says(check.Wrong(), {base::FormatRfc3339(right), base::FormatRfc3339(right + hours(240)), "NTP"}));
  for (const minutes off : {minutes(-5), minutes(0), minutes(5)}) {
    clock.SetWall(right + off);
    CHECK(check.Wrong().empty());
  }
  for (const minutes off : {minutes(-6), minutes(6)}) {
    clock.SetWall(right + off);
    CHECK_FALSE(check.Wrong().empty());
  }
  clock.SetWall(right);
  clock.Advance(hours(24));
  CHECK(check.Wrong().empty());
  check.Saw(base::ToMicros(right));  // It ran fast, or Postgres's stands.
  CHECK_FALSE(check.Wrong().empty());
}

TEST_CASE_METHOD(AuditFixture, "With a clock ten days ahead no journal opens, and nothing is written") {
  base::ManualClock clock(base::SystemClock().Wall() + hours(240));
  JournalOptions options = Options();
  options.clock = &clock;
  const auto journal = PostgresJournal::Open(options);
  CHECK(absl::IsFailedPrecondition(journal.status()));
  CHECK(Says(base::Message(journal.status()), {"this host's clock says", "Postgres's says", "NTP"}));
  CHECK(Int("SELECT count(*) FROM audit.record") == 0);
  CHECK(Int("SELECT count(*) FROM audit.log_head") == 0);
}

TEST_CASE_METHOD(AuditFixture, "A clock that is set wrong refuses all but the ends of open requests, until it is right again") {
  const base::WallTime right = base::SystemClock().Wall();
  base::ManualClock clock(right);
  JournalOptions options = Options();
  options.clock = &clock;
  const auto journal = Open(options);
  const auto request = base::RequestId::New();
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());

  clock.SetWall(right + hours(240));
  const std::int64_t before = Int("SELECT count(*) FROM audit.record");
  for (Entry entry : {Make(v1::RECORD_KIND_REQUEST, base::RequestId::New()), Make(v1::RECORD_KIND_ADMIN, {}), Segment(request, 1, 4)}) {
    const auto refused = Append(*journal, std::move(entry));
    CHECK(absl::IsUnavailable(refused.status()));
    CHECK(Says(base::Message(refused.status()), {"this host's clock says", "Postgres's says"}));
  }
  CHECK(journal->stats().refused == 3);
  CHECK(journal->health().state == Health::State::kRefusing);
  CHECK(Says(journal->health().reason, {"this host's clock says", "Postgres's says", "NTP"}));
  CHECK(Int("SELECT count(*) FROM audit.record") == before);

  SECTION("it is set right") {
    clock.SetWall(right);
    CHECK(journal->health().state == Health::State::kGood);
    CHECK(Append(*journal, v1::RECORD_KIND_FINAL, request).ok());
    CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
    journal->Stop();
    CHECK(Text("SELECT released FROM audit.log_head") == "t");
  }
  SECTION("the request ends, the instance stops, and writes nothing more") {
    CHECK(Append(*journal, v1::RECORD_KIND_FINAL, request).ok());
    journal->Stop();
    CHECK(Int("SELECT count(*) FROM audit.record") == before + 1);
    CHECK(Text("SELECT released FROM audit.log_head") == "f");
  }
}

TEST_CASE_METHOD(AuditFixture,
                 "A clock that goes wrong by itself is seen with the next renewal of the claim, and so is one that is right again") {
  base::ManualClock clock(base::SystemClock().Wall());
  JournalOptions options = Options();
  options.clock = &clock;
  options.claim = std::chrono::milliseconds(400);
  const auto journal = Open(options);
  const auto await = [&](Health::State state) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (journal->health().state != state && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return journal->health().state == state;
  };
  clock.Advance(hours(240));  // Its monotonic time tells no difference.
  CHECK(await(Health::State::kRefusing));
  clock.Advance(-hours(240));
  CHECK(await(Health::State::kGood));
  CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
}

}  // namespace
}  // namespace tollgate::audit
