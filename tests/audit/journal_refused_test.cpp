// What the database refuses for a reason that may be one record's or everyone's: nobody is held up by it, nothing told is lost, and what
// was used is billed.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <future>
#include <thread>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

struct Bed : AuditFixture {
  Bed() {
    options.claim = std::chrono::milliseconds(1200);  // A heartbeat each 300 ms.
    options.recovery.settle = [](const OpenRequest& open, v1::EndBody& end) -> absl::StatusOr<std::vector<base::Companion>> {
      CHECK(open.request.kind() == v1::RECORD_KIND_REQUEST);
      end.set_amount_nanos(end.tokens().output() * 10);
      return std::vector<base::Companion>{Note(base::RequestId(*base::Uuid::FromBytes(open.request.request_id())), end.tokens().output())};
    };
    journal = Open(options);
  }

  JournalOptions options = Options();
  std::unique_ptr<PostgresJournal> journal;

  base::RequestId Begin() {
    const auto request = base::RequestId::New();
    REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
    return request;
  }
  std::future<Result> End(base::RequestId request, std::int64_t delivered_bytes = 0) {
    Entry final = Make(v1::RECORD_KIND_FINAL, request);
    final.record.mutable_end()->mutable_tokens()->set_input(7);
    final.record.mutable_end()->mutable_tokens()->set_output(5);
    final.record.mutable_end()->mutable_tokens()->set_delivered(delivered_bytes > 0 ? 5 : 0);
    final.record.mutable_end()->set_delivered_bytes(delivered_bytes);
    final.record.mutable_end()->set_amount_nanos(50);
    final.companions.push_back(Note(request, 5));
    auto promise = std::make_shared<std::promise<Result>>();
    journal->Append(std::move(final), Journal::kNoDeadline, [promise](Result result) { promise->set_value(std::move(result)); });
    return promise->get_future();
  }
  // Rows of `table` for which `condition` holds fail with this SQLSTATE, until Mend.
  void Break(const std::string& table, const std::string& condition, const std::string& state) {
    Do(
        fmt::format("CREATE FUNCTION test.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {} THEN RAISE EXCEPTION 'no' "
                    "USING ERRCODE = '{}'; END IF; RETURN NEW; END $$; "
                    "CREATE TRIGGER fail BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION test.fail()",
                    condition, state, table));
  }
  // The journal goes on writing: when the two wait for each other, Postgres may send this one away.
  void Mend() {
    absl::Status mended;
    do {
      mended = sql().RunScript("mend", "DROP FUNCTION test.fail CASCADE");
    } while (absl::IsAborted(mended));
    REQUIRE(mended.ok());
  }
  v1::Record LastOf(base::RequestId request) {
    const auto rows = sql().Run(
        "read", fmt::format("SELECT message, {} FROM audit.record WHERE request_id = $1::uuid ORDER BY leaf_index DESC", kColumnNames),
        {request.ToString()});
    REQUIRE(rows.ok());
    REQUIRE(rows->size() >= 2);
    const auto record = RecordOf(ColumnsOf(*rows, 0, 1), rows->Bytes(0, 0));
    REQUIRE(record.ok());
    return *record;
  }
  std::int64_t Notes(base::RequestId request) {
    return Int(fmt::format("SELECT coalesce(sum(amount), -1)::int8 FROM test.note WHERE request_id = '{}'", request.ToString()));
  }
};

TEST_CASE_METHOD(Bed, "A FINAL that alone makes the database fail holds nobody up, and gives way to an ABORT with the same usage") {
  const std::string state = GENERATE("0A000", "54000", "XX000", "P0001");
  CAPTURE(state);
  const auto bad = Begin();
  Break("audit.record", fmt::format("NEW.kind = 4 AND NEW.request_id = '{}'", bad.ToString()), state);
  auto refused = End(bad);
  const auto good = Begin();
  CHECK(End(good).get().ok());
  const Result result = refused.get();
  CHECK(absl::IsUnavailable(result.status()));
  CHECK(base::DetailOf(result.status())->reason == "AUDIT_UNAVAILABLE");
  const v1::Record abort = LastOf(bad);
  CHECK(abort.kind() == v1::RECORD_KIND_ABORT);
  CHECK(abort.end().reason() == "JOURNAL_REFUSED");
  CHECK_FALSE(abort.end().recovered());
  CHECK(abort.end().tokens().input() == 7);
  CHECK(abort.end().tokens().output() == 5);
  CHECK(abort.end().amount_nanos() == 50);
  CHECK(Notes(bad) == 5);
  CHECK(Notes(good) == 5);
  CHECK(journal->stats().quarantined == 1);
  CHECK(journal->stats().open_requests == 0);
  CHECK(journal->health().state == Health::State::kGood);
  CHECK(absl::IsFailedPrecondition(End(bad).get().status()));
}

TEST_CASE_METHOD(Bed, "In the place of a FINAL that is refused, what had left before it is told alone: not what would have left with it") {
  const bool streamed = GENERATE(false, true);
  const bool bare = GENERATE(false, true);
  CAPTURE(streamed, bare);
  const auto request = Begin();
  if (streamed) REQUIRE(Append(*journal, Segment(request, 2, 3)).ok());
  if (bare) Break("test.note", fmt::format("NEW.request_id = '{}'", request.ToString()), "54000");
  if (!bare) Break("audit.record", fmt::format("NEW.kind = 4 AND NEW.request_id = '{}'", request.ToString()), "54000");
  auto refused = End(request, 30);
  CHECK(End(Begin()).get().ok());
  CHECK(absl::IsUnavailable(refused.get().status()));
  const v1::Record abort = LastOf(request);
  CHECK(abort.kind() == v1::RECORD_KIND_ABORT);
  CHECK(abort.end().delivered_bytes() == (streamed ? 20 : 0));
  CHECK(abort.end().tokens().output() == (bare ? 0 : 5));
  CHECK(abort.end().tokens().delivered() == (streamed && !bare ? 3 : 0));
}

TEST_CASE_METHOD(Bed, "A FINAL whose usage the database refuses in any form gives way to a bare ABORT, which says that nothing was used") {
  const std::string state = GENERATE("23514", "54000");
  CAPTURE(state);
  const auto bad = Begin();
  Break("test.note", fmt::format("NEW.request_id = '{}'", bad.ToString()), state);
  auto refused = End(bad);
  CHECK(End(Begin()).get().ok());
  CHECK(absl::IsUnavailable(refused.get().status()));
  const v1::Record abort = LastOf(bad);
  CHECK(abort.kind() == v1::RECORD_KIND_ABORT);
  CHECK(abort.end().reason() == "JOURNAL_REFUSED");
  CHECK(abort.end().tokens().output() == 0);
  CHECK(abort.end().amount_nanos() == 0);
  CHECK(Notes(bad) == -1);
  CHECK(journal->stats().open_requests == 0);
}

TEST_CASE_METHOD(Bed, "While the database refuses every end, requests go on, and all ends are stored as they came once it takes them") {
  std::vector<base::RequestId> requests;
  std::vector<std::future<Result>> ends;
  Break("audit.record", "NEW.kind IN (4, 5)", "XX000");
  for (int i = 0; i < 5; ++i) {
    requests.push_back(Begin());
    ends.push_back(End(requests.back()));
  }
  CHECK(journal->stats().open_requests == 5);
  Mend();
  for (std::size_t i = 0; i < ends.size(); ++i) {
    CHECK(ends[i].get().ok());
    CHECK(LastOf(requests[i]).kind() == v1::RECORD_KIND_FINAL);
    CHECK(Notes(requests[i]) == 5);
  }
  CHECK(journal->stats().quarantined == 0);
}

TEST_CASE_METHOD(Bed, "What is not taken in any form stays open for whoever takes the log over, and others go on") {
  const auto bad = Begin();
  Break("audit.record", fmt::format("NEW.kind IN (4, 5) AND NEW.request_id = '{}'", bad.ToString()), "XX000");
  auto refused = End(bad);
  for (int i = 0; i < 3; ++i) CHECK(End(Begin()).get().ok());
  CHECK(journal->stats().open_requests == 1);
  journal->Stop();
  CHECK_FALSE(refused.get().ok());
  Mend();
  journal.reset();
  journal = Open(options);
  CHECK(LastOf(bad).end().reason() == "RECOVERED");
}

TEST_CASE_METHOD(Bed, "One bad row among many of a batch is found by halving") {
  Break("test.note", "NEW.amount = 13", "54000");
  auto other = cluster.Connect(url);
  std::vector<std::promise<Result>> promises(41);
  REQUIRE(other
              ->InTransaction("hold the head",
                              [&](base::Session& session) -> absl::Status {
                                TG_RETURN_IF_ERROR(session.Run("lock", "SELECT 1 FROM audit.log_head FOR UPDATE").status());
                                for (std::size_t i = 0; i < promises.size(); ++i) {
                                  const auto request = base::RequestId::New();
                                  Entry entry = Make(v1::RECORD_KIND_DENY, request);
                                  entry.companions.push_back(Note(request, static_cast<std::int64_t>(i)));
                                  journal->Append(std::move(entry), Journal::kNoDeadline,
                                                  [&promises, i](Result result) { promises[i].set_value(std::move(result)); });
                                }
                                return absl::OkStatus();
                              })
              .ok());
  for (std::size_t i = 0; i < promises.size(); ++i) {
    INFO(i);
    CHECK(promises[i].get_future().get().ok() == (i != 13));
  }
  CHECK(journal->stats().quarantined == 1);
}

TEST_CASE_METHOD(Bed, "While the disk is full new requests are refused with the remedy, ends are kept, and the log stays this instance's") {
  const auto request = Begin();
  const std::string where = GENERATE("audit.record", "test.note");
  CAPTURE(where);
  Break(where, where == "audit.record" ? "NEW.kind <> 11" : "true", "53100");
  auto end = End(request);
  if (where == "audit.record") {
    const Result refused = Append(*journal, Make(v1::RECORD_KIND_REQUEST, base::RequestId::New()), std::chrono::milliseconds(200));
    CHECK(absl::IsUnavailable(refused.status()));
    CHECK(base::Message(refused.status()).find("nothing was routed") != std::string::npos);
    CHECK(base::Message(refused.status()).find("check Postgres") != std::string::npos);
  }
  while (journal->health().state == Health::State::kGood) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(journal->health().reason.find("disk is full; make room") != std::string::npos);
  // Longer than the claim would last: it is renewed between the tries, by the same connection.
  const std::string until = Text("SELECT max(expires_at) + interval '2400 ms' FROM audit.log_head");
  Await(fmt::format("SELECT count(*) FROM audit.log_head WHERE expires_at > '{}'", until), 1);
  CHECK(journal->stats().reconnects == 0);
  Mend();
  CHECK(end.get().ok());
  CHECK(End(Begin()).get().ok());
  CHECK(LastOf(request).kind() == v1::RECORD_KIND_FINAL);
  CHECK(Notes(request) == 5);
  CHECK(journal->stats().quarantined == 0);
  CHECK(journal->health().state == Health::State::kGood);
}

}  // namespace
}  // namespace tollgate::audit
