#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "audit/merkle.h"
#include "audit/seal.h"
#include "audit/verify.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

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

TEST_CASE_METHOD(Bed, "Every kind of tampering is found at its first index") {
  const struct {
    const char* statement;
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
      {"INSERT INTO audit.record SELECT leaf_index, wall_us, day + 1, segment, attempt, log_id, kind, request_id, org_id, team_id, "
       "project_id, key_id, leaf_hash, message, content "
       "FROM audit.record WHERE leaf_index = 6",
       7, "index appears twice"},
      {"UPDATE audit.log_head SET next_index = 11, open_from = 0", 11, "a record lies beyond the log's head"},
  };
  const std::string all =
      "CREATE TABLE test.keep AS SELECT * FROM audit.record; CREATE TABLE test.keep_head AS SELECT * FROM audit.log_head";
  Do(all);
  for (const auto& row : rows) {
    INFO(row.statement);
    Tamper(row.statement);
    const auto report = Verify();
    CHECK(report.problem == row.problem);
    CHECK(report.bad_index.value_or(-1) == row.index);
    CHECK(report.good == (row.index == -1));
    Tamper(
        "DELETE FROM audit.record; INSERT INTO audit.record SELECT * FROM test.keep; DELETE FROM audit.log_head; INSERT INTO "
        "audit.log_head SELECT * FROM test.keep_head");
    REQUIRE(Verify().good);
  }
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
