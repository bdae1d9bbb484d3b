#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <future>

#include <fmt/format.h>

#include "audit/open_requests.h"
#include "audit/verify.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

struct Dead : AuditFixture {
  base::InstanceId instance = base::InstanceId::New();
  Claim claim = *TakeFree(*As("tollgate_writer"), instance, std::chrono::seconds(10));
  std::vector<Entry> entries;

  // What an instance wrote before it died, with a claim that has lapsed.
  void Wrote(std::vector<Entry> written, std::int64_t open_from = 0) {
    base::PostgresOptions postgres = cluster.Options(url);
    postgres.role = "tollgate_writer";
    LogWriter writer(postgres, std::chrono::seconds(10), claim.head);
    REQUIRE(writer.Attach().status.ok());
    std::vector<EncodedRow> rows;
    for (Entry& entry : written) rows.push_back(*Encode(std::move(entry), base::SystemClock()));
    std::vector<const EncodedRow*> batch;
    for (const EncodedRow& row : rows) batch.push_back(&row);
    REQUIRE(writer.Commit(batch, open_from).fate == LogWriter::Fate::kDone);
    Do("UPDATE audit.log_head SET expires_at = now() - interval '1 second'");
  }
  JournalOptions Quick(const std::string& state) {
    JournalOptions options = Options(state);
    options.adopt_poll = std::chrono::milliseconds(20);
    options.adopt_patience = std::chrono::milliseconds(50);
    return options;
  }
  // Another instance takes the log over, and notes the output tokens of each request that it closes.
  auto Adopt() {
    JournalOptions options = Quick("b");
    options.recovery.settle = [this](const OpenRequest& open, v1::EndBody& end) -> absl::StatusOr<std::vector<base::Companion>> {
      return std::vector<base::Companion>{Note(base::RequestId(*base::Uuid::FromBytes(open.request.request_id())), end.tokens().output())};
    };
    auto journal = Open(options);
    Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
    return journal;
  }
  v1::Record AbortOf(base::RequestId request) {
    const auto rows =
        sql().Run("read", fmt::format("SELECT message, {} FROM audit.record WHERE kind = 5 AND request_id = $1::uuid", kColumnNames),
                  {request.ToString()});
    REQUIRE(rows.ok());
    REQUIRE(rows->size() == 1);
    const auto record = RecordOf(ColumnsOf(*rows, 0, 1), rows->Bytes(0, 0));
    REQUIRE(record.ok());
    return *record;
  }
};

TEST_CASE_METHOD(
    Dead, "A dead instance's log is adopted: open requests are closed as of their last segment, leases come home, the log is let go") {
  const auto streamed = base::RequestId::New(), silent = base::RequestId::New(), finished = base::RequestId::New();
  std::vector<Entry> written;
  written.push_back(Make(v1::RECORD_KIND_REQUEST, streamed));
  written.back().record.mutable_request()->mutable_price()->set_version(42);
  written.push_back(Make(v1::RECORD_KIND_REQUEST, finished));
  written.push_back(Segment(streamed, 1, 4));
  written.push_back(Make(v1::RECORD_KIND_REQUEST, silent));
  written.push_back(Segment(streamed, 2, 9));
  written.push_back(Make(v1::RECORD_KIND_FINAL, finished));
  Wrote(std::move(written));

  JournalOptions options = Quick("b");
  std::atomic<int> taken{0}, settled{0};
  options.recovery.settle = [&](const OpenRequest& open, v1::EndBody& end) -> absl::StatusOr<std::vector<base::Companion>> {
    ++settled;
    end.set_amount_nanos(1000 + end.tokens().output());
    return std::vector<base::Companion>{Note(base::RequestId(*base::Uuid::FromBytes(open.request.request_id())), end.tokens().output())};
  };
  options.recovery.taken = [&](base::InstanceId owner, std::int64_t epoch, const std::function<bool()>&) {
    if (owner == instance && epoch > claim.head.epoch) ++taken;
    return absl::OkStatus();
  };
  auto journal = Open(options);
  Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
  CHECK(taken == 1);
  CHECK(settled == 2);

  const v1::Record abort = AbortOf(streamed);
  CHECK(abort.end().reason() == "RECOVERED");
  CHECK(abort.end().recovered());
  CHECK(abort.attempt() == 1);
  CHECK(abort.team_id() == team.Bytes());
  CHECK(abort.end().tokens().input() == 11);
  CHECK(abort.end().tokens().output() == 9);
  CHECK(abort.end().delivered_bytes() == 20);
  CHECK(abort.end().price().version() == 42);
  CHECK(abort.end().amount_nanos() == 1009);
  CHECK(AbortOf(silent).end().tokens().output() == 0);
  CHECK(AbortOf(silent).end().tokens().input() == 0);
  CHECK(Int("SELECT sum(amount) FROM test.note") == 9);
  CHECK(Int("SELECT kind FROM audit.record WHERE log_id = " + std::to_string(claim.head.log_id) + " ORDER BY leaf_index DESC LIMIT 1") ==
        v1::RECORD_KIND_STOP);
  CHECK(VerifyLog(*As("tollgate_verifier"), claim.head.log_id)->good);
  CHECK(journal->stats().adopted_logs == 1);
  CHECK(journal->stats().recovered_requests == 2);
}

TEST_CASE_METHOD(Dead, "What of a prompt came from the cache is settled as such, and never as more than the prompt") {
  const auto cached = base::RequestId::New(), before = base::RequestId::New(), more = base::RequestId::New(),
             silent = base::RequestId::New();
  std::vector<Entry> written;
  for (const auto& request : {cached, before, more, silent}) written.push_back(Make(v1::RECORD_KIND_REQUEST, request));
  written.push_back(Segment(cached, 1, 4));
  written.back().record.mutable_segment_body()->set_cached_input_tokens(9);
  written.push_back(Segment(before, 1, 4));  // As they were made before this was kept.
  written.push_back(Segment(more, 1, 4));
  written.back().record.mutable_segment_body()->set_cached_input_tokens(12);
  Wrote(std::move(written));
  const auto journal = Adopt();
  CHECK(AbortOf(cached).end().tokens().input() == 11);
  CHECK(AbortOf(cached).end().tokens().cached_input() == 9);
  CHECK(AbortOf(before).end().tokens().cached_input() == 0);
  CHECK(AbortOf(more).end().tokens().cached_input() == 11);
  CHECK(AbortOf(silent).end().tokens().cached_input() == 0);
}

TEST_CASE_METHOD(Dead, "While what the dead held comes home, however long it takes, the claim is renewed") {
  std::vector<Entry> written;
  written.push_back(Make(v1::RECORD_KIND_REQUEST, base::RequestId::New()));
  Wrote(std::move(written));
  JournalOptions options = Quick("b");
  options.claim = std::chrono::milliseconds(2000);
  std::atomic<bool> renewed{false};
  options.recovery.taken = [&](base::InstanceId owner, std::int64_t, const std::function<bool()>&) {
    if (owner != instance) return absl::OkStatus();
    const auto session = cluster.Connect(url);
    const auto expiry = [&] {
      const auto rows =
          session->Run("look", "SELECT expires_at::text FROM audit.log_head WHERE log_id = $1::int2", {std::int64_t{claim.head.log_id}});
      return rows.ok() ? rows->Text(0, 0) : std::string();
    };
    const std::string before = expiry();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!renewed && std::chrono::steady_clock::now() < deadline) renewed = expiry() != before;
    return absl::OkStatus();
  };
  const auto journal = Open(options);
  Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
  CHECK(renewed);
}

TEST_CASE_METHOD(Dead, "An open request whose usage the database refuses is closed without, and all others with theirs") {
  const std::string state = GENERATE("23514", "XX000");
  CAPTURE(state);
  std::vector<base::RequestId> requests;
  std::vector<Entry> written;
  for (int i = 0; i < 9; ++i) {
    requests.push_back(base::RequestId::New());
    written.push_back(Make(v1::RECORD_KIND_REQUEST, requests.back()));
    written.push_back(Segment(requests.back(), 1, 4));
    written.back().record.mutable_segment_body()->add_guard_usage()->set_model("judge");
  }
  Wrote(std::move(written));
  Do("CREATE FUNCTION test.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.request_id = '" + requests[5].ToString() +
     "' THEN RAISE EXCEPTION 'no' USING ERRCODE = '" + state + "'; END IF; RETURN NEW; END $$; " +
     "CREATE TRIGGER fail BEFORE INSERT ON test.note FOR EACH ROW EXECUTE FUNCTION test.fail()");
  const auto journal = Adopt();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO(i);
    CHECK(AbortOf(requests[i]).end().reason() == "RECOVERED");
    CHECK(AbortOf(requests[i]).end().tokens().output() == (i == 5 ? 0 : 4));
    CHECK(AbortOf(requests[i]).end().guard_usage_size() == (i == 5 ? 0 : 1));
  }
  CHECK(Int("SELECT sum(amount) FROM test.note") == 32);
  CHECK(Int("SELECT count(*) FROM audit.log_head WHERE open_from = next_index") == 2);
}

TEST_CASE_METHOD(Dead, "An open request that cannot be settled is closed without usage, and all others with theirs") {
  std::vector<base::RequestId> requests;
  std::vector<Entry> written;
  for (int i = 0; i < 3; ++i) {
    requests.push_back(base::RequestId::New());
    written.push_back(Make(v1::RECORD_KIND_REQUEST, requests.back()));
    written.push_back(Segment(requests.back(), 1, 4));
  }
  Wrote(std::move(written));
  JournalOptions options = Quick("b");
  options.recovery.settle = [&](const OpenRequest& open, v1::EndBody& end) -> absl::StatusOr<std::vector<base::Companion>> {
    const base::RequestId request(*base::Uuid::FromBytes(open.request.request_id()));
    end.set_amount_nanos(7);
    if (request == requests[1]) return base::InvalidArgument("its price is none");
    return std::vector<base::Companion>{Note(request, end.tokens().output())};
  };
  const auto journal = Open(options);
  Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO(i);
    const v1::Record abort = AbortOf(requests[i]);
    CHECK(abort.end().reason() == "RECOVERED");
    CHECK(abort.end().tokens().output() == (i == 1 ? 0 : 4));
    CHECK(abort.end().amount_nanos() == (i == 1 ? 0 : 7));
  }
  CHECK(Int("SELECT sum(amount) FROM test.note") == 8);
  CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 5") == 3);
}

TEST_CASE_METHOD(Dead, "An open request whose bytes cannot be read is closed by its ids, and all others as ever") {
  std::vector<base::RequestId> requests;
  std::vector<Entry> written;
  for (int i = 0; i < 3; ++i) {
    requests.push_back(base::RequestId::New());
    written.push_back(Make(v1::RECORD_KIND_REQUEST, requests.back()));
    if (i == 1) written.back().record.mutable_request()->set_client_request_id("a\xff");  // No text: it is written, and not read again.
    written.push_back(Segment(requests.back(), 1, 4));
  }
  Wrote(std::move(written));
  const auto journal = Adopt();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO(i);
    const v1::Record abort = AbortOf(requests[i]);
    CHECK(abort.end().reason() == "RECOVERED");
    CHECK(abort.team_id() == team.Bytes());
    CHECK(abort.end().tokens().output() == (i == 1 ? 0 : 4));
  }
  CHECK(Int("SELECT sum(amount) FROM test.note") == 8);
}

TEST_CASE_METHOD(Dead, "A takeover that fails half-way is done again; each request still gets one terminal record") {
  std::vector<Entry> written;
  for (int i = 0; i < 600; ++i) written.push_back(Make(v1::RECORD_KIND_REQUEST, base::RequestId::New()));
  Wrote(std::move(written));
  JournalOptions options = Quick("b");
  options.claim = std::chrono::milliseconds(500);
  std::atomic<int> calls{0}, taken{0};
  options.recovery.settle = [&](const OpenRequest&, v1::EndBody&) -> absl::StatusOr<std::vector<base::Companion>> {
    if (++calls == 400) return base::Unavailable("not now");
    return std::vector<base::Companion>();
  };
  options.recovery.taken = [&](base::InstanceId owner, std::int64_t, const std::function<bool()>&) {
    if (owner != instance) return absl::OkStatus();
    return ++taken == 1 ? base::Unavailable("not now") : absl::OkStatus();
  };
  auto journal = Open(options);
  Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
  CHECK(taken == 2);
  CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 5") == 600);
  CHECK(Int("SELECT count(DISTINCT request_id) FROM audit.record WHERE kind = 5") == 600);
}

TEST_CASE_METHOD(AuditFixture, "A restart closes what the process left open, at once") {
  const auto request = base::RequestId::New();
  JournalOptions options = Options();
  {
    auto journal = Open(options);
    REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
    REQUIRE(Append(*journal, Segment(request, 1, 3)).ok());
  }
  CHECK(Text("SELECT released FROM audit.log_head") == "f");
  std::promise<std::pair<base::InstanceId, std::int64_t>> taken;
  options.recovery.taken = [&](base::InstanceId owner, std::int64_t epoch, const std::function<bool()>&) {
    taken.set_value({owner, epoch});
    return absl::OkStatus();
  };
  auto journal = Open(options);
  CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 5") == 1);
  CHECK(journal->stats().recovered_requests == 1);
  CHECK(taken.get_future().get() == std::pair(journal->instance(), journal->epoch()));
  CHECK(absl::IsFailedPrecondition(Append(*journal, v1::RECORD_KIND_FINAL, request).status()));
  CHECK(Int("SELECT open_from FROM audit.log_head") == Int("SELECT next_index FROM audit.log_head"));
}

TEST_CASE_METHOD(AuditFixture, "Living instances leave each other alone, also after Postgres stood still for longer than their claims") {
  JournalOptions options = Options("a");
  options.claim = std::chrono::milliseconds(1000);
  options.adopt_poll = std::chrono::milliseconds(100);
  options.adopt_patience = std::chrono::milliseconds(2000);
  auto a = Open(options);
  options.state_dir = dir.File("b");
  auto b = Open(options);
  cluster.SigStop();
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
  while (std::chrono::steady_clock::now() < until)
    CHECK_FALSE(Append(*a, Make(v1::RECORD_KIND_VIEW, base::RequestId::New()), std::chrono::milliseconds(100)).ok());
  cluster.SigCont();
  CHECK(Append(*a, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  CHECK(Append(*b, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  Await("SELECT count(*) FROM audit.log_head WHERE expires_at > now()", 2);
  CHECK(Append(*a, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  CHECK(Append(*b, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  CHECK(a->stats().adopted_logs + b->stats().adopted_logs == 0);
}

TEST_CASE_METHOD(Dead, "A takeover that cannot get on ends when the journal stops") {
  std::vector<Entry> written;
  written.push_back(Make(v1::RECORD_KIND_REQUEST, base::RequestId::New()));
  Wrote(std::move(written));
  JournalOptions options = Quick("b");
  options.stop_timeout = std::chrono::milliseconds(500);
  std::promise<absl::Status> reached;
  const auto owner = cluster.Connect(url);
  options.recovery.settle = [&](const OpenRequest&, v1::EndBody&) -> absl::StatusOr<std::vector<base::Companion>> {
    reached.set_value(owner->RunScript("revoke", "REVOKE INSERT ON audit.record FROM tollgate_writer"));
    return std::vector<base::Companion>();
  };
  auto journal = Open(options);
  REQUIRE(reached.get_future().get().ok());
  const auto began = std::chrono::steady_clock::now();
  journal->Stop();
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(30));  // Not the minute that a takeover may take.
  CHECK(journal->stats().adopted_logs == 0);
}

TEST_CASE_METHOD(AuditFixture,
                 "An instance whose log went to another starts above every epoch it had, and what it and the old owner held returns") {
  JournalOptions options = Options("a");
  auto a = Open(options);
  const auto instance = a->instance();
  a.reset();
  auto b = Open("b");  // Takes a's released log.
  std::int64_t before = b->epoch();
  const auto other = b->instance();
  Await("SELECT count(*) FROM audit.log_head WHERE owes IS NOT NULL", 0);
  b.reset();
  using Told = std::vector<std::pair<base::InstanceId, std::int64_t>>;
  Told taken;
  std::promise<Told> told;
  std::size_t expected = 1;
  options.recovery.taken = [&](base::InstanceId owner, std::int64_t at, const std::function<bool()>&) {
    taken.emplace_back(owner, at);
    if (taken.size() == expected) told.set_value(taken);
    return absl::OkStatus();
  };
  SECTION("it takes a released one") {
    expected = 2;
    a = Open(options);
    CHECK(told.get_future().get() == Told{{other, a->epoch()}, {instance, a->epoch()}});
  }
  SECTION("it makes a new one") {
    b = Open("b");
    before = b->epoch();
    a = Open(options);
    CHECK(a->log_id() != b->log_id());
    CHECK(told.get_future().get() == Told{{instance, a->epoch()}});
  }
  CHECK(a->epoch() > before);
}

TEST_CASE_METHOD(Dead, "Only the log's young end is read: a request before open_from is not looked for") {
  const auto old_request = base::RequestId::New(), young = base::RequestId::New();
  std::vector<Entry> written;
  written.push_back(Make(v1::RECORD_KIND_REQUEST, old_request));
  written.push_back(Make(v1::RECORD_KIND_REQUEST, young));
  Wrote(std::move(written), 1);
  auto session = As("tollgate_writer");
  const auto open = FindOpenRequests(*session, {claim.head.log_id, 1, 1, 2}, 1, [] { return absl::OkStatus(); });
  REQUIRE(open.ok());
  REQUIRE(open->size() == 1);
  CHECK((*open)[0].request.request_id() == young.Bytes());
}

}  // namespace
}  // namespace tollgate::audit
