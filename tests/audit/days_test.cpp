#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/keys_binding.h"
#include "audit/open_requests.h"
#include "audit/ownership.h"
#include "audit/reader.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

// Statements are planned for any values with the sixth time they run on a session, unless they say otherwise.
constexpr int kTimes = 7;

struct DaysBed : AuditFixture {
  std::unique_ptr<base::Session> holder = cluster.Connect(url);

  // So many days' partitions, the youngest of `days_ago`.
  void MakeOld(int count, int days_ago) {
    Do(
        fmt::format("DO $$ DECLARE d date; BEGIN FOR i IN {} .. {} LOOP d := (now() AT TIME ZONE 'UTC')::date - i; "
                    "PERFORM audit.make_partition(format('record_%s', to_char(d, 'YYYYMMDD')), "
                    "format('FOR VALUES FROM (%L) TO (%L)', d, d + 1)); END LOOP; END $$",
                    days_ago, days_ago + count - 1));
  }
  // While somebody has the partition of that day to itself, what asks for it fails.
  void WithoutDay(int days_ago, const std::function<void()>& body) {
    const std::string name =
        Text(fmt::format("SELECT 'audit.record_' || to_char((now() AT TIME ZONE 'UTC')::date - {}, 'YYYYMMDD')", days_ago));
    REQUIRE(holder
                ->InTransaction("hold",
                                [&](base::Session& session) -> absl::Status {
                                  TG_RETURN_IF_ERROR(session.Run("hold", "LOCK TABLE " + name + " IN ACCESS EXCLUSIVE MODE").status());
                                  body();
                                  return absl::OkStatus();
                                })
                .ok());
  }
};

TEST_CASE_METHOD(DaysBed, "Open requests are found without asking for partitions of long ago, however often") {
  MakeOld(1, 60);
  const auto request = base::RequestId::New();
  Position position;
  {
    auto journal = Open();
    position = *Append(*journal, v1::RECORD_KIND_REQUEST, request);
    REQUIRE(Append(*journal, Segment(request, 1, 3)).ok());
  }
  const Head head{position.log_id, 0, 0, Int("SELECT next_index FROM audit.log_head")};
  const auto session = As("tollgate_writer");
  const auto keys = cluster.Connect(keys_url);
  WithoutDay(60, [&] {
    for (int i = 0; i < kTimes; ++i) {
      const auto open = FindOpenRequests(*session, head, 0, [] { return absl::OkStatus(); });
      INFO(base::Message(open.status()));
      REQUIRE(open.ok());
      REQUIRE(open->size() == 1);
      CHECK((*open)[0].output_tokens == 3);
      REQUIRE(ReadOpenRequest(*session, position, request.value).ok());
      REQUIRE(CheckNewestKeys(*session, *keys, position.log_id).ok());
    }
  });
}

TEST_CASE_METHOD(DaysBed, "An open request of long ago is found all the same, among records of today") {
  MakeOld(1, 60);
  const auto request = base::RequestId::New();
  Position position;
  {
    auto journal = Open();
    Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
    entry.record.set_wall_us(base::ToMicros(base::SystemClock().Wall() - std::chrono::days(60)));
    position = *Append(*journal, std::move(entry));
  }
  const Head head{position.log_id, 0, 0, Int("SELECT next_index FROM audit.log_head")};
  const auto session = As("tollgate_writer");
  const auto open = FindOpenRequests(*session, head, 0, [] { return absl::OkStatus(); });
  REQUIRE(open.ok());
  CHECK(open->size() == 1);
  CHECK(ReadOpenRequest(*session, position, request.value).ok());
}

TEST_CASE_METHOD(DaysBed, "A request of today is listed and shown without asking for partitions of long ago; one of then is found too") {
  MakeOld(1, 60);
  const auto request = base::RequestId::New(), old = base::RequestId::New();
  {
    auto journal = Open();
    REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
    REQUIRE(Append(*journal, v1::RECORD_KIND_FINAL, request).ok());
    Entry entry = Make(v1::RECORD_KIND_REQUEST, old);
    entry.record.set_wall_us(base::ToMicros(base::SystemClock().Wall() - std::chrono::days(60)));
    REQUIRE(Append(*journal, std::move(entry)).ok());
  }
  base::SessionPool::Options options;
  options.postgres = cluster.Options(url);
  options.postgres.role = "tollgate_reader";
  options.sessions = 1;
  base::SessionPool sessions(options);
  Reader reader(sessions, nullptr, nullptr);
  const Viewer all{"key-7", Viewer::Sees::kAll, {}, base::KeyId::New()};
  ListFilter of_request, page;
  of_request.request = request;
  page.limit = 1;
  WithoutDay(60, [&] {
    for (int i = 0; i < kTimes; ++i) {
      const auto shown = reader.Show(all, request);
      INFO(base::Message(shown.status()));
      REQUIRE(shown.ok());
      CHECK(shown->size() == 2);
      REQUIRE(reader.List(all, of_request).ok());
      const auto first = reader.List(all, page);
      REQUIRE(first.ok());
      REQUIRE_FALSE(first->next.empty());
      ListFilter next = page;
      next.cursor = first->next;
      CHECK(reader.List(all, next).ok());
    }
  });
  CHECK(reader.Show(all, old)->size() == 1);
  of_request.request = old;
  CHECK(reader.List(all, of_request)->rows.size() == 1);
  CHECK(reader.List(all, {})->rows.back().record.request_id() == old.Bytes());
}

TEST_CASE_METHOD(DaysBed, "Beside an empty keys database contents are looked for a few days at a time, and those of long ago are found") {
  MakeOld(70, 60);
  const RootKey root = RootKey::FromBytes(std::string(32, 'r'));
  const auto check = [&](const std::string& names) {
    const auto session = As("tollgate_writer"), keys = cluster.Connect(names);
    return CheckKeys(*keys, root, session.get());
  };
  const auto put = [&](int days_ago) {
    auto journal = Open();
    Entry entry = Make(v1::RECORD_KIND_ADMIN, {});
    entry.record.set_wall_us(base::ToMicros(base::SystemClock().Wall() - std::chrono::days(days_ago)));
    entry.content = Sealed{"sealed", std::string(32, 'c')};
    REQUIRE(Append(*journal, std::move(entry)).ok());
  };
  CHECK(check(cluster.NewDatabase({"migrations/keys"})).ok());
  put(125);
  CHECK(absl::IsFailedPrecondition(check(cluster.NewDatabase({"migrations/keys"}))));
  put(0);
  WithoutDay(125, [&] {
    const absl::Status refused = check(cluster.NewDatabase({"migrations/keys"}));
    INFO(base::Message(refused));
    CHECK(base::Message(refused).find("--lost-keys") != std::string::npos);
  });
}

TEST_CASE_METHOD(DaysBed, "What a server's room for locks must be is told when searches of all days could fill it") {
  const auto session = As("tollgate_writer");
  CHECK(*LocksWanted(*session) == 0);
  const std::int64_t has = Int("SELECT current_setting('max_locks_per_transaction')::int8");
  const std::int64_t room =
      has * Int("SELECT current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8");
  MakeOld(static_cast<int>(room / 32) + 1, 30);
  CHECK(*LocksWanted(*session) > has);
}

}  // namespace
}  // namespace tollgate::audit
