#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include <fmt/format.h>

#include "audit/merkle.h"
#include "audit/record_columns.h"
#include "audit/seal.h"
#include "audit/verify.h"
#include "base/encoding.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

// Adds a record like that at `from`, with the values given in the place of its own.
std::string Copy(int from, const std::string& index, const std::string& day = "day", const std::string& log = "log_id",
                 const std::string& wall_us = "wall_us", const std::string& leaf = "leaf_hash") {
  return fmt::format(
      "INSERT INTO audit.record (leaf_index, wall_us, day, segment, attempt, log_id, kind, request_id, org_id, team_id, project_id, "
      "key_id, leaf_hash, message, content) SELECT {}, {}, {}, segment, attempt, {}, kind, request_id, org_id, team_id, project_id, "
      "key_id, {}, message, content FROM audit.record WHERE leaf_index = {}",
      index, wall_us, day, log, leaf, from);
}

struct Bed : AuditFixture {
  std::int32_t log = 0;
  static constexpr std::int64_t kSize = 12;  // START, ten records, STOP.

  Bed() {
    auto journal = Open();
    log = journal->log_id();
    for (int i = 0; i < 10; ++i) {
      Entry entry = Make(v1::RECORD_KIND_ADMIN, {});
      entry.record.mutable_admin()->set_summary("change " + std::to_string(i));
      if (i % 2 == 0) {
        entry.content = Sealed{"ciphertext " + std::to_string(i), {}};
      }
      REQUIRE(Append(*journal, std::move(entry)).ok());
    }
  }
  VerifyReport Verify(VerifyOptions options = {}) {
    options.rows_per_query = 5;
    const auto report = VerifyLog(*As("tollgate_verifier"), log, options);
    INFO(base::Message(report.status()));
    REQUIRE(report.ok());
    return *report;
  }
};

TEST_CASE_METHOD(Bed, "An untouched log verifies, and its root is the tree's over its stored leaves") {
  std::int64_t steps = 0, last = 0;
  VerifyOptions options;
  options.progress = [&](std::int64_t done, std::int64_t of) {
    CHECK(of == kSize);
    last = done;
    ++steps;
  };
  const auto report = Verify(options);
  CHECK(report.good);
  CHECK(report.size == kSize);
  CHECK(last == kSize);
  CHECK(steps == 3);
  MerkleTree tree;
  const auto rows = sql().Run("leaves", "SELECT leaf_hash FROM audit.record ORDER BY leaf_index");
  for (std::size_t i = 0; i < rows->size(); ++i) {
    base::Digest leaf;
    const std::string bytes = rows->Bytes(i, 0);
    std::copy(bytes.begin(), bytes.end(), leaf.begin());
    tree.Append(leaf);
  }
  CHECK(report.root == tree.Root());
  options = {};
  options.size = 5;
  CHECK(Verify(options).size == 5);
  options.size = kSize + 1;
  CHECK(Verify(options).problem == "the log has no such record yet");
  CHECK(*ListLogs(sql()) == std::vector<std::int32_t>{log});
  CHECK(absl::IsNotFound(VerifyLog(sql(), 99).status()));
}

TEST_CASE_METHOD(Bed, "Pages ask the partitions of their records' days alone; a record of any day that stands between them is found") {
  Do("DO $$ DECLARE d date; BEGIN FOR i IN 61 .. 80 LOOP d := (now() AT TIME ZONE 'UTC')::date - i; "
     "PERFORM audit.make_partition(format('record_%s', to_char(d, 'YYYYMMDD')), format('FOR VALUES FROM (%L) TO (%L)', d, d + 1)); "
     "END LOOP; END $$");
  SECTION("somebody has an old one to itself while pages are read") {
    const std::string old = Text("SELECT 'audit.record_' || to_char((now() AT TIME ZONE 'UTC')::date - 80, 'YYYYMMDD')");
    const auto holder = cluster.Connect(url);
    REQUIRE(holder
                ->InTransaction("hold",
                                [&](base::Session& in) -> absl::Status {
                                  std::int64_t read = 0;
                                  VerifyOptions options;
                                  options.progress = [&](std::int64_t done, std::int64_t) { read = done; };
                                  options.keep_going = [&]() -> absl::Status {
                                    if (read == kSize) return in.Run("let it go", "ROLLBACK TO SAVEPOINT free").status();
                                    if (read > 5) return absl::OkStatus();
                                    TG_RETURN_IF_ERROR(in.Run("remember", "SAVEPOINT free").status());
                                    return in.Run("hold", "LOCK TABLE " + old + " IN ACCESS EXCLUSIVE MODE").status();
                                  };
                                  CHECK(Verify(options).good);
                                  return absl::OkStatus();
                                })
                .ok());
  }
  SECTION("twice, one of them on a day long ago, or on one that nobody foresaw, and in each stretch of the index") {
    const std::string day = GENERATE("day - 70", "day - 500", "day + 500");
    const std::int64_t index = GENERATE(0, 4, 5, 11);
    CAPTURE(day, index);
    Tamper(Copy(static_cast<int>(index), "leaf_index", day));
    VerifyOptions options;
    options.rows_per_look = GENERATE(1, 5, 100);
    const auto report = Verify(options);
    CHECK_FALSE(report.good);
    CHECK(report.bad_index == index);
  }
}

TEST_CASE_METHOD(Bed, "Every kind of tampering is found at its first index") {
  const struct {
    std::string statement;
    std::int64_t index;
    const char* problem;
  } rows[] = {
      {"UPDATE audit.record SET message = message || '\\x00' WHERE leaf_index = 4", 4, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET leaf_hash = sha256('x') WHERE leaf_index = 7", 7, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET content = 'other' WHERE leaf_index = 5", 5, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET content = NULL WHERE leaf_index = 5", 5, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET content = 'x' WHERE leaf_index = 6", 6, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET kind = 6 WHERE leaf_index = 3", 3, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET team_id = NULL WHERE leaf_index = 3", 3, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET team_id = gen_random_uuid() WHERE leaf_index = 3", 3, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET wall_us = wall_us + 1 WHERE leaf_index = 3", 3, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET day = day + 1 WHERE leaf_index = 3", 3, "day differs from the record's time"},
      {"UPDATE audit.record SET request_id = gen_random_uuid() WHERE leaf_index = 3", 3, "leaf hash differs from the stored row"},
      {"UPDATE audit.record SET request_id = '00000000-0000-0000-0000-000000000000' WHERE leaf_index = 3", 3,
       "an id was filled with zeros"},
      {"DELETE FROM audit.record WHERE leaf_index = 8", 8, "record is missing"},
      {"DELETE FROM audit.record WHERE leaf_index = 11", 11, "record is missing"},
      {"DELETE FROM audit.record WHERE leaf_index = 0", 0, "record is missing"},
      {"DELETE FROM audit.record WHERE leaf_index = 11; UPDATE audit.log_head SET next_index = 11, open_from = 11", -1, ""},
      {"UPDATE audit.record SET leaf_index = 99 WHERE leaf_index = 4; UPDATE audit.record SET leaf_index = 4 WHERE leaf_index = 9; "
       "UPDATE audit.record SET leaf_index = 9 WHERE leaf_index = 99",
       4, "leaf hash differs from the stored row"},
      {Copy(6, "leaf_index", "day + 1"), 6, "index appears twice"},
      {Copy(4, "leaf_index", "day + 1"), 4, "index appears twice"},  // The last of a page of five.
      {Copy(4, "-1"), -1, "record -1 lies before the log's first"},
      {Copy(4, "-9223372036854775808", "'-infinity'"), INT64_MIN, "record -9223372036854775808 lies before the log's first"},
      {"DELETE FROM audit.log_head", 0, "its log has no head"},
      {"DELETE FROM audit.log_head; DELETE FROM audit.record WHERE leaf_index < 3", 3, "its log has no head"},
      {"UPDATE audit.log_head SET next_index = 11, open_from = 0", 11, "a record lies beyond the log's head"},
  };
  const std::string all =
      "CREATE TABLE test.keep AS SELECT * FROM audit.record; CREATE TABLE test.keep_head AS SELECT * FROM audit.log_head";
  Do(all);
  Do("ALTER TABLE audit.record DROP CONSTRAINT record_leaf_index_check");  // As rows from before it.
  for (const auto& row : rows) {
    INFO(row.statement);
    Tamper(row.statement);
    const auto report = Verify();
    CHECK(report.problem == row.problem);
    CHECK(report.bad_index.value_or(-1) == row.index);
    CHECK(report.good == report.problem.empty());
    Tamper(
        "DELETE FROM audit.record; INSERT INTO audit.record SELECT * FROM test.keep; DELETE FROM audit.log_head; INSERT INTO "
        "audit.log_head SELECT * FROM test.keep_head");
    REQUIRE(Verify().good);
  }
}

TEST_CASE_METHOD(Bed, "A record that was forged beside a true one is found, wherever a page ends") {
  // Of the day before and with a leaf that fits, so that by itself it is a record like any other.
  const auto rows = sql().Run("read", fmt::format("SELECT message, {} FROM audit.record WHERE leaf_index = 4", kColumnNames));
  REQUIRE(rows.ok());
  RecordColumns columns = ColumnsOf(*rows, 0, 1);
  constexpr std::int64_t kDay = 86'400'000'000;
  columns.wall_us -= kDay;
  const base::Digest leaf = RecordLeaf(log, 4, columns, {}, rows->Bytes(0, 0));
  Do(Copy(4, "leaf_index", "day - 1", "log_id", fmt::format("wall_us - {}", kDay),
          fmt::format("'\\x{}'", base::HexEncode(base::View(leaf)))));
  const auto verifier = As("tollgate_verifier");
  for (std::int64_t rows_per_query = 1; rows_per_query <= kSize + 2; ++rows_per_query) {
    INFO(rows_per_query);
    VerifyOptions options;
    options.rows_per_query = rows_per_query;
    const auto report = VerifyLog(*verifier, log, options);
    REQUIRE(report.ok());
    CHECK(report->problem == "index appears twice");
    CHECK(report->bad_index == 4);
  }
  Tamper("DELETE FROM audit.record WHERE leaf_index = 4 AND day < (SELECT max(day) FROM audit.record WHERE leaf_index = 4)");
  REQUIRE(Verify().good);
  Do(Copy(11, "leaf_index", "day + 1"));  // The last of the log, which ends a page of four.
  VerifyOptions four;
  four.rows_per_query = 4;
  const auto report = VerifyLog(*verifier, log, four);
  REQUIRE(report.ok());
  CHECK(report->problem == "index appears twice");
  CHECK(report->bad_index == 11);
}

TEST_CASE_METHOD(Bed, "Pages end by bytes, of messages and contents, and hold one record at least") {
  std::int64_t size = kSize;
  {
    auto journal = Open();
    for (int i = 0; i < 8; ++i) {
      Entry entry = Make(v1::RECORD_KIND_ADMIN, {});
      (i % 2 == 0 ? *entry.record.mutable_admin()->mutable_summary() : entry.content.emplace().stored) = std::string(100'000, 'x');
      REQUIRE(Append(*journal, std::move(entry)).ok());
    }
    size += 1 + 8 + 1;
  }
  const auto verifier = As("tollgate_verifier");
  const auto pages = [&](std::int64_t bytes) {
    std::vector<std::int64_t> rows;
    std::int64_t last = 0;
    VerifyOptions options;
    options.bytes_per_query = bytes;
    options.progress = [&](std::int64_t done, std::int64_t) {
      rows.push_back(done - last);
      last = done;
    };
    const auto report = VerifyLog(*verifier, log, options);
    REQUIRE(report.ok());
    CHECK(report->good);
    CHECK(report->size == size);
    return rows;
  };
  CHECK(pages(8 << 20).size() == 1);
  // All that is small and three long ones, then three more, then two and STOP.
  CHECK(pages(250'000) == std::vector<std::int64_t>{kSize + 1 + 3, 3, 3});
  CHECK(pages(1) == std::vector<std::int64_t>(static_cast<std::size_t>(size), 1));
}

TEST_CASE_METHOD(Bed, "Records whose log has no head are found wherever they lie, and those of heads made since are none") {
  const auto verifier = As("tollgate_verifier");
  VerifyOptions options;
  options.rows_per_look = 3;
  CHECK(FindHeadless(*verifier, options)->empty());
  // Whoever may add records can add these.
  Do(Copy(4, "57", "day", "999") + ";" + Copy(4, "9223372036854775807", "day", "999") + ";" + Copy(4, "4", "day", "-3"));
  std::vector<std::pair<std::int32_t, std::int64_t>> found;
  const auto reports = FindHeadless(*verifier, options);
  REQUIRE(reports.ok());
  for (const VerifyReport& report : *reports) {
    CHECK_FALSE(report.good);
    CHECK(report.problem == "its log has no head");
    found.emplace_back(report.log_id, report.bad_index.value());
  }
  CHECK(found == std::vector<std::pair<std::int32_t, std::int64_t>>{{-3, 4}, {999, 57}});
  CHECK(VerifyLog(*verifier, 999, options)->bad_index == 57);
  CHECK(absl::IsNotFound(VerifyLog(*verifier, 998, options).status()));
  CHECK(*ListLogs(*verifier) == std::vector<std::int32_t>{log});
  CHECK(Verify().good);
  options.keep_going = [] { return base::Unavailable("enough"); };
  CHECK(absl::IsUnavailable(FindHeadless(*verifier, options).status()));
}

TEST_CASE_METHOD(Bed, "A tail that was cut with the head moved back verifies by itself, and its root tells") {
  const auto before = Verify();
  Tamper("DELETE FROM audit.record WHERE leaf_index >= 9; UPDATE audit.log_head SET next_index = 9, open_from = 9");
  const auto after = Verify();
  CHECK(after.good);
  CHECK(after.root != before.root);
}

}  // namespace
}  // namespace tollgate::audit
