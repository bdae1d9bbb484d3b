// What a database that was rolled back has lost is noticed: by the instance that was told of it, whatever was written since, and by others
// where that one is gone.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <functional>

#include <unistd.h>

#include <fmt/format.h>

#include "audit/losses.h"
#include "audit/state_dir.h"
#include "base/encoding.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

// What diagnostics say meanwhile.
std::string SaidBy(const std::function<void()>& act) {
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  const int saved = ::dup(2);
  ::dup2(pipe[1], 2);
  act();
  ::dup2(saved, 2);
  ::close(saved);
  ::close(pipe[1]);
  std::string out(65'536, '\0');
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(pipe[0], out.data(), out.size()))));
  ::close(pipe[0]);
  return out;
}

struct Losing : AuditFixture {
  void Write(PostgresJournal& journal, int records) {
    for (int i = 0; i < records; ++i) REQUIRE(Append(journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  }
  // Of log 1, as a failover or a restore does; nobody serves it then.
  void Lose(std::int64_t from, const std::string& more) {
    Tamper(
        fmt::format("DELETE FROM audit.record WHERE log_id = 1 AND leaf_index >= {0}; UPDATE audit.log_head SET next_index = {0}, "
                    "open_from = {0}, {1} WHERE log_id = 1",
                    from, more));
  }
  JournalOptions Quick(const std::string& state) {
    JournalOptions options = Options(state);
    options.adopt_poll = std::chrono::milliseconds(10);
    options.adopt_patience = std::chrono::milliseconds(10);
    return options;
  }
  std::string Refused() {
    const auto refused = PostgresJournal::Open(Options());
    CHECK(absl::IsDataLoss(refused.status()));
    return base::Message(refused.status());
  }
  std::string state_file = dir.File("a") + "/journal.state";
};

TEST_CASE_METHOD(Losing, "Records that were lost are missed where the epochs went back with them, and the log is longer again") {
  const std::int64_t epoch = GENERATE(950, 902);  // Of the life that is lost: the next owner's is lower, or the same.
  Do("SELECT setval('audit.epoch', 900)");
  Write(*Open(), 1);  // START, one, STOP; but STOP gets lost.
  Do(fmt::format("SELECT setval('audit.epoch', {})", epoch - 1));
  Write(*Open(), 3);
  REQUIRE(Int("SELECT next_index * 10000 + epoch FROM audit.log_head") == 80'000 + epoch);
  Lose(2, "epoch = 901, released = true");
  Do("ALTER SEQUENCE audit.epoch RESTART WITH 902");
  const auto other = Open("b");
  REQUIRE(other->log_id() == 1);
  REQUIRE(other->epoch() == 902);
  const std::string shorter = Refused();
  Write(*other, 8);
  const std::string longer = Refused();
  for (const std::string& message : {shorter, longer}) {
    INFO(message);
    CHECK(message.find("it holds at most 3 records of log 1, and had acknowledged 8") != std::string::npos);
  }
}

TEST_CASE_METHOD(Losing, "However much others have written since, it is known where a loss begins") {
  Write(*Open(), 3);  // START, three, STOP.
  Lose(4, "expires_at = now() - interval '1 minute', released = false");
  std::int64_t epoch = 0;
  {
    const auto state = StateDir::Open(dir.File("a"));
    epoch = (*state)->epoch();
    REQUIRE((*state)->SetLog(1, 60'000, epoch, 0, base::Sha256("another record")).ok());
  }
  const auto adopter = Open(Quick("b"));
  Await("SELECT count(*) FROM audit.log_head WHERE released AND log_id = 1", 1);
  Do("INSERT INTO audit.record (log_id, leaf_index, wall_us, day, attempt, segment, kind, leaf_hash, message, team_id) "
     "SELECT 1, i, 0, (now() AT TIME ZONE 'UTC')::date, 0, 0, 7, '', '', gen_random_uuid() FROM generate_series(6, 60000) i; "
     "UPDATE audit.log_head SET next_index = 60001, open_from = 60001 WHERE log_id = 1");
  const std::string message = Refused();
  INFO(message);
  CHECK(message.find("it holds 4 records of log 1, and had acknowledged 60000") != std::string::npos);
}

TEST_CASE_METHOD(Losing, "A state of a version from before is read, says what it cannot prove, and misses what its epoch gives away") {
  Do("SELECT setval('audit.epoch', 900)");
  Write(*Open(), 3);
  std::string text = *base::ReadFile(state_file);
  text = text.substr(0, 121) + "\n";  // Up to the accepted loss.
  REQUIRE(base::WriteFileAtomically(state_file, text, 0600).ok());
  SECTION("nothing is lost") {
    CHECK(SaidBy([&] { CHECK(Open()->log_id() == 1); }).find("that the database has as many records is seen, not that") !=
          std::string::npos);
    CHECK(*StateDir::Open(dir.File("a")).value()->leaf() == *LeafAt(sql(), 1, 6, 30'000).value());
    CHECK(SaidBy([&] { CHECK(Open()->log_id() == 1); }).find("as many records is seen") == std::string::npos);
  }
  SECTION("another log has its number, from before its epoch, and is as long") {
    Tamper("UPDATE audit.log_head SET epoch = 17, next_index = 9, open_from = 9");
    const std::string message = Refused();
    INFO(message);
    CHECK(message.find("it holds at most 4 records of log 1, and had acknowledged 5") != std::string::npos);
  }
}

TEST_CASE_METHOD(Losing, "What another log has lost whose instance is gone is put on record by whoever saw it there, once") {
  auto gone = Open("gone");
  Write(*gone, 6);
  REQUIRE(gone->log_id() == 1);
  const auto witness = Open(Quick("b"));
  gone.reset();  // START, six, STOP.
  // Two looks that began after that, of which the second had seen all.
  const auto await_look = [this](const std::string& since) {
    const std::string asked = fmt::format(
        " FROM pg_stat_activity WHERE query LIKE '%log_head WHERE (NOT released AND%' AND query_start > '{}' AND query NOT LIKE "
        "'%pg_stat%'",
        since);
    Await("SELECT least(count(*), 1)" + asked, 1);
    return Text("SELECT now()::text");
  };
  await_look(await_look(Text("SELECT now()::text")));
  Lose(5, "released = true");
  const std::string told = "position('log 1: records 5 to 7, which were on record here, are lost'::bytea IN message) > 0";
  Await("SELECT count(*) FROM audit.record WHERE log_id = 2 AND kind = 7 AND " + told, 1);
  await_look(await_look(Text("SELECT now()::text")));
  CHECK(Int("SELECT count(*) FROM audit.record WHERE " + told) == 1);
}

}  // namespace
}  // namespace tollgate::audit
