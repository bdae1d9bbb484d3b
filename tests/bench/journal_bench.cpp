// journal: what the journal adds to bare Postgres. A closed loop of requests (REQUEST, then FINAL, sealed content of 700 and 1,300 bytes)
// through the journal, against bare multi-row INSERTs of rows of the same bytes into a table with the same columns, partitions and indexes,
// batch for batch as large as the journal's. Prints
//   journal.max.rows_per_s    records a second, journal
//   journal.max.ratio         journal ÷ bare, median of interleaved pairs
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <thread>

#include <fmt/format.h>

#include "audit/journal_postgres.h"
#include "audit/keys.h"
#include "audit/record_columns.h"
#include "base/mutex.h"
#include "tests/bench/bare_insert.h"
#include "tests/support/memory_keys.h"
#include "tests/support/postgres_cluster.h"

namespace {

using namespace tollgate;
using Clock = std::chrono::steady_clock;

constexpr int kPairs = 8;
constexpr std::chrono::milliseconds kRun{1500};
constexpr std::size_t kOutstanding = 2048;
constexpr std::size_t kBatch = 512;

double SecondsSince(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

v1::SealedContent Content(std::size_t bytes) {
  v1::SealedContent content;
  content.set_text(std::string(bytes, 'x'));
  return content;
}

// Everything that a request's two records need, made beforehand: their content and ids, so that what is measured is the journal.
struct Load {
  base::OrgId org = base::OrgId::New();
  base::TeamId team = base::TeamId::New();
  base::ProjectId project = base::ProjectId::New();
  base::KeyId key = base::KeyId::New();
  std::unique_ptr<audit::Keys> keys = std::make_unique<test::MemoryKeys>();
  std::shared_ptr<const audit::RequestKey> request_key =
      *audit::MakeKeyAndWait(*keys, team, base::RequestId::New(), Clock::time_point::max());
  audit::Sealed prompt = audit::Seal(*request_key, {v1::RECORD_KIND_REQUEST, 0, 0}, Content(700));
  audit::Sealed reply = audit::Seal(*request_key, {v1::RECORD_KIND_FINAL, 1, 0}, Content(1300));

  audit::Entry Make(v1::RecordKind kind, base::RequestId request) const {
    audit::Entry entry;
    v1::Record& record = entry.record;
    record.set_kind(kind);
    record.set_request_id(request.Bytes());
    record.set_org_id(org.Bytes());
    record.set_team_id(team.Bytes());
    record.set_project_id(project.Bytes());
    record.set_key_id(key.Bytes());
    entry.content = kind == v1::RECORD_KIND_REQUEST ? prompt : reply;
    if (kind == v1::RECORD_KIND_REQUEST) {
      v1::RequestBody& body = *record.mutable_request();
      body.set_model("model");
      body.set_model_sha256(std::string(32, 'm'));
      body.set_policy_digest(std::string(32, 'p'));
    } else {
      record.set_attempt(1);
      v1::EndBody& body = *record.mutable_end();
      body.set_reason("STOP");
      body.mutable_tokens()->set_input(100);
      body.mutable_tokens()->set_output(200);
      body.set_amount_nanos(123456);
    }
    return entry;
  }
};

double JournalRun(audit::Journal& journal, const Load& load) {
  base::Mutex mu;
  std::condition_variable changed;
  std::vector<base::RequestId> acknowledged;
  std::size_t outstanding = 0;
  std::int64_t rows = 0;
  const auto began = Clock::now();
  const auto Append = [&](v1::RecordKind kind, base::RequestId request) {
    journal.Append(load.Make(kind, request), audit::Journal::kNoDeadline, [&, kind, request](absl::StatusOr<audit::Position> result) {
      TG_CHECK(result.ok(), "an append failed");
      base::Lock lock(mu);
      ++rows;
      --outstanding;
      if (kind == v1::RECORD_KIND_REQUEST) acknowledged.push_back(request);
      if (outstanding < kOutstanding * 3 / 4) changed.notify_one();
    });
  };
  bool more = true;
  while (more) {
    std::vector<base::RequestId> finals;
    std::size_t fresh = 0;
    {
      base::Lock lock(mu);
      more = Clock::now() - began < kRun;
      changed.wait(lock.native(), [&] { return outstanding < kOutstanding * 3 / 4; });
      finals = std::exchange(acknowledged, {});
      fresh = more ? kOutstanding - std::min(kOutstanding, outstanding + finals.size()) : 0;
      outstanding += finals.size() + fresh;
    }
    for (const auto request : finals) Append(v1::RECORD_KIND_FINAL, request);
    for (std::size_t i = 0; i < fresh; ++i) Append(v1::RECORD_KIND_REQUEST, base::RequestId::New());
  }
  std::vector<base::RequestId> finals;
  do {
    base::Lock lock(mu);
    changed.wait_for(lock.native(), std::chrono::milliseconds(1), [&] { return outstanding == 0; });
    finals = std::exchange(acknowledged, {});
    outstanding += finals.size();
    if (finals.empty() && outstanding == 0) break;
    lock.native().unlock();
    for (const auto request : finals) Append(v1::RECORD_KIND_FINAL, request);
    lock.native().lock();
  } while (true);
  return static_cast<double>(rows) / SecondsSince(began);
}

double BareRun(bench::BareInsert& bare, const Load& load, std::int64_t& next_index) {
  const std::int64_t wall_us = base::ToMicros(base::SystemClock().Wall());
  const auto day = wall_us / 86'400'000'000 - 10'957;
  std::int64_t rows = 0;
  const auto began = Clock::now();
  while (Clock::now() - began < kRun) {
    std::vector<bench::BinaryRow> batch(kBatch);
    std::vector<const bench::BinaryRow*> pointers;
    for (std::size_t i = 0; i < kBatch; ++i) {
      const auto kind = i % 2 == 0 ? v1::RECORD_KIND_REQUEST : v1::RECORD_KIND_FINAL;
      const auto request = base::RequestId::New();
      audit::Entry entry = load.Make(kind, request);
      auto columns = *audit::ColumnsOf(entry.record);
      columns.wall_us = wall_us;
      const std::string message = audit::MessageOf(std::move(entry.record));
      batch[i] = {bench::BigEndian(1, 2),
                  bench::BigEndian(next_index, 8),
                  bench::BigEndian(wall_us, 8),
                  bench::BigEndian(day, 4),
                  bench::BigEndian(0, 4),
                  bench::BigEndian(1, 2),
                  bench::BigEndian(kind, 2),
                  request.Bytes(),
                  load.org.Bytes(),
                  load.team.Bytes(),
                  load.project.Bytes(),
                  load.key.Bytes(),
                  std::string(base::View(audit::RecordLeaf(1, next_index, columns, audit::ContentDigest(entry.content->stored), message))),
                  message,
                  entry.content->stored};
      ++next_index;
      pointers.push_back(&batch[i]);
    }
    bare.Insert(pointers);
    rows += static_cast<std::int64_t>(kBatch);
  }
  return static_cast<double>(rows) / SecondsSince(began);
}

}  // namespace

int main() {
  auto& cluster = test::PostgresCluster::Shared();
  const std::string url = cluster.NewDatabase({"migrations/main"});
  const std::string bare_url = cluster.NewDatabase({"migrations/main"});
  test::TempDir dir;
  audit::JournalOptions options;
  options.postgres_url = url;
  options.state_dir = dir.File("state");
  options.adopt = false;
  auto journal = audit::PostgresJournal::Open(options);
  TG_CHECK(journal.ok(), base::Message(journal.status()));
  const Load load;
  bench::BareInsert bare(
      bare_url,
      "audit.record (log_id, leaf_index, wall_us, day, segment, attempt, kind, request_id, org_id, team_id, project_id, key_id, "
      "leaf_hash, message, content)",
      15);
  std::int64_t next_index = 0;
  JournalRun(**journal, load);
  BareRun(bare, load, next_index);
  std::vector<double> ratios, rates;
  for (int i = 0; i < kPairs; ++i) {
    double ours = 0, theirs = 0;
    if (i % 2 == 0) {
      ours = JournalRun(**journal, load);
      theirs = BareRun(bare, load, next_index);
    } else {
      theirs = BareRun(bare, load, next_index);
      ours = JournalRun(**journal, load);
    }
    if (std::getenv("TOLLGATE_BENCH_VERBOSE") != nullptr) std::fprintf(stderr, "pair %d: %.0f %.0f\n", i, ours, theirs);
    ratios.push_back(ours / theirs);
    rates.push_back(ours);
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(rates.begin(), rates.end());
  const double spread = (ratios[ratios.size() * 3 / 4] - ratios[ratios.size() / 4]) / ratios[ratios.size() / 2] * 100;
  const auto stats = (*journal)->stats();
  std::printf("journal.max.rows_per_s %.0f rows/s\n", rates[rates.size() / 2]);
  std::printf("journal.max.rows_per_batch %.0f rows\n",
              static_cast<double>(stats.rows) / static_cast<double>(std::max<std::int64_t>(1, stats.batches)));
  std::printf("journal.max.ratio %.2f x\n", ratios[ratios.size() / 2]);
  std::printf("journal.max.spread %.0f %%%s\n", spread, spread > 15 ? " unstable" : "");
  return 0;
}
