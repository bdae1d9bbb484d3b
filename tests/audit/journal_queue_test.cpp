#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <future>
#include <thread>

#include "audit/journal_queue.h"
#include "base/error_detail.h"
#include "tests/support/fake_journal.h"

namespace tollgate::audit {
namespace {

using Result = absl::StatusOr<Position>;
constexpr auto kLong = std::chrono::hours(1);

struct Bed {
  JournalQueue queue;
  std::vector<std::pair<int, Result>> answers;

  explicit Bed(QueueLimits limits = {}) : queue(limits) {}

  PendingPtr Make(v1::RecordKind kind, int number, std::chrono::milliseconds patience = kLong) {
    auto pending = std::make_shared<Pending>();
    pending->row.kind = kind;
    pending->row.message = "m";
    pending->bytes = 100;
    pending->enqueued = std::chrono::steady_clock::now() - std::chrono::seconds(10);
    pending->deadline = std::chrono::steady_clock::now() + patience;
    pending->done = [this, number](Result result) { answers.emplace_back(number, std::move(result)); };
    return pending;
  }
  std::vector<PendingPtr> Take() { return queue.Take(512, 1 << 20, std::chrono::steady_clock::now()); }
};

constexpr std::chrono::milliseconds kTick{0};
constexpr std::chrono::milliseconds kOver{-1};

TEST_CASE("Entries leave in order, capped by rows and bytes") {
  Bed bed;
  for (int i = 0; i < 5; ++i) REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_ADMIN, i)));
  auto first = bed.queue.Take(3, 1 << 20, std::chrono::steady_clock::now());
  CHECK(first.size() == 3);
  CHECK(bed.queue.Take(3, 100, std::chrono::steady_clock::now()).size() == 1);
  CHECK(bed.queue.Take(3, 1, std::chrono::steady_clock::now()).size() == 1);
  bed.queue.Durable(first, 7, 40);
  REQUIRE(bed.answers.size() == 3);
  CHECK(bed.answers[2].second->ToString() == "7/42");
}

TEST_CASE("An overdue entry that was not sent is never written") {
  Bed bed;
  REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REQUEST, 1, kOver)));
  bed.queue.Expire(kTick);
  REQUIRE(bed.answers.size() == 1);
  const absl::Status status = bed.answers[0].second.status();
  CHECK(absl::IsUnavailable(status));
  CHECK(base::Message(status).find("nothing was routed") != std::string::npos);
  CHECK(base::DetailOf(status)->retry_after_ms == 2000);
  CHECK(bed.Take().empty());
  CHECK(bed.queue.empty());
}

TEST_CASE("The watch sleeps while nothing comes, and what is added then still becomes overdue") {
  Bed bed;
  std::atomic<int> looks = 0;
  std::promise<Result> answered;
  std::thread watch([&] {
    while (bed.queue.Expire(kTick)) ++looks;
  });
  while (looks < 20) std::this_thread::yield();
  auto pending = bed.Make(v1::RECORD_KIND_REQUEST, 1, kOver);
  pending->done = [&](Result result) { answered.set_value(std::move(result)); };
  REQUIRE(bed.queue.Add(pending));
  CHECK(absl::IsUnavailable(answered.get_future().get().status()));
  bed.queue.Stop();
  watch.join();
  CHECK(looks < 100);  // Else it went on looking.
}

TEST_CASE("A REQUEST that was sent before it was overdue, and turns out durable, is handed over to be closed") {
  Bed bed;
  REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REQUEST, 1, kOver)));
  auto sent = bed.Take();
  bed.queue.Expire(kTick);
  REQUIRE(bed.answers.size() == 1);
  CHECK(absl::IsUnavailable(bed.answers[0].second.status()));
  CHECK(bed.queue.TakeLate().empty());
  SECTION("it is durable") {
    bed.queue.Durable(sent, 1, 5);
    const auto late = bed.queue.TakeLate();
    REQUIRE(late.size() == 1);
    CHECK(late[0]->position.index == 5);
    CHECK(bed.queue.TakeLate().empty());
  }
  SECTION("it is known not to be") {
    bed.queue.DropAnswered(sent);
    CHECK(sent.empty());
  }
  CHECK(bed.answers.size() == 1);
}

TEST_CASE("A terminal record is written whoever waits; its caller learns that it may be late") {
  Bed bed;
  REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_FINAL, 1, kOver)));
  bed.queue.Expire(kTick);
  REQUIRE(bed.answers.size() == 1);
  CHECK(absl::IsUnavailable(bed.answers[0].second.status()));
  const auto detail = base::DetailOf(bed.answers[0].second.status());
  REQUIRE(detail.has_value());
  CHECK(detail->reason == "AUDIT_IN_DOUBT");
  CHECK_FALSE(detail->may_retry);  // It may be billed.
  auto sent = bed.Take();
  REQUIRE(sent.size() == 1);
  bed.queue.DropAnswered(sent);
  CHECK(sent.size() == 1);
}

TEST_CASE("An entry with a key is answered when both are stored, in either order") {
  const bool key_first = GENERATE_COPY(true, false);
  Bed bed;
  auto pending = bed.Make(v1::RECORD_KIND_REQUEST, 1);
  pending->key = KeyRow{};
  REQUIRE(bed.queue.Add(pending));
  auto sent = bed.Take();
  if (key_first) bed.queue.KeysStored(sent, absl::OkStatus());
  CHECK(bed.answers.empty());
  bed.queue.Durable(sent, 1, 0);
  if (!key_first) {
    CHECK(bed.answers.empty());
    bed.queue.KeysStored(sent, absl::OkStatus());
  }
  REQUIRE(bed.answers.size() == 1);
  CHECK(bed.answers[0].second.ok());
}

TEST_CASE("A durable REQUEST whose key is refused or overdue is handed over to be closed") {
  const bool refused = GENERATE(true, false);
  Bed bed;
  auto pending = bed.Make(v1::RECORD_KIND_REQUEST, 1, refused ? std::chrono::milliseconds(kLong) : kOver);
  pending->key = KeyRow{};
  REQUIRE(bed.queue.Add(pending));
  auto sent = bed.Take();
  bed.queue.Durable(sent, 1, 0);
  if (refused) {
    bed.queue.KeysStored(sent, base::Internal("no"));
  } else {
    bed.queue.Expire(kTick);
  }
  REQUIRE(bed.answers.size() == 1);
  CHECK_FALSE(bed.answers[0].second.ok());
  CHECK(bed.queue.TakeLate().size() == 1);
}

TEST_CASE("The queue is bounded; counted refusals get half, terminal records always fit") {
  Bed bed({10, 1 << 20});
  for (int i = 0; i < 5; ++i) REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REQUEST, i)));
  CHECK_FALSE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REFUSED, 50)));
  for (int i = 5; i < 10; ++i) REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REQUEST, i)));
  CHECK_FALSE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REQUEST, 51)));
  CHECK(bed.queue.Add(bed.Make(v1::RECORD_KIND_FINAL, 52)));
  const PendingPtr nobodys = bed.Make(v1::RECORD_KIND_REQUEST, 53);
  nobodys->done = nullptr;
  CHECK_FALSE(bed.queue.Add(nobodys));  // Nobody is told, but for who adds it.
  REQUIRE(bed.answers.size() == 2);
  CHECK(base::Message(bed.answers[1].second.status()).find("queue is full") != std::string::npos);
}

TEST_CASE("At the end everything is answered, and nothing is taken in any more") {
  Bed bed;
  REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_REQUEST, 1)));
  REQUIRE(bed.queue.Add(bed.Make(v1::RECORD_KIND_ADMIN, 2)));
  (void)bed.queue.Take(1, 1 << 20, std::chrono::steady_clock::now());
  bed.queue.FailAll(base::Unavailable("over"));
  CHECK(bed.answers.size() == 2);
  CHECK(bed.queue.empty());
  CHECK_FALSE(bed.queue.Add(bed.Make(v1::RECORD_KIND_FINAL, 3)));
  CHECK(bed.answers.size() == 3);
}

TEST_CASE("AppendAndWait gives what the journal answers; the fake journal holds the real one's rules") {
  test::FakeJournal journal;
  const auto Append = [&](v1::RecordKind kind, const std::string& request) {
    Entry entry;
    entry.record.set_kind(kind);
    entry.record.set_request_id(request);
    return AppendAndWait(journal, std::move(entry), Journal::kNoDeadline);
  };
  const std::string request = base::RequestId::New().Bytes();
  CHECK(absl::IsFailedPrecondition(Append(v1::RECORD_KIND_FINAL, request).status()));
  CHECK(Append(v1::RECORD_KIND_REQUEST, request)->index == 0);
  CHECK(absl::IsAlreadyExists(Append(v1::RECORD_KIND_REQUEST, request).status()));
  CHECK(Append(v1::RECORD_KIND_SEGMENT, request).ok());
  CHECK(Append(v1::RECORD_KIND_FINAL, request)->index == 2);
  CHECK(absl::IsFailedPrecondition(Append(v1::RECORD_KIND_ABORT, request).status()));
  CHECK(absl::IsFailedPrecondition(Append(v1::RECORD_KIND_SEGMENT, request).status()));
}

}  // namespace
}  // namespace tollgate::audit
