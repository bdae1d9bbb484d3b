#include <catch2/catch_test_macros.hpp>

#include <functional>

#include "audit/record_columns.h"

namespace tollgate::audit {
namespace {

base::Uuid IdOf(char c) {
  std::array<std::uint8_t, 16> bytes;
  bytes.fill(static_cast<std::uint8_t>(c));
  return base::Uuid(bytes);
}

const base::Digest kContent = [] {
  base::Digest digest;
  digest.fill('c');
  return digest;
}();

RecordColumns Columns() {
  return {.kind = v1::RECORD_KIND_SEGMENT,
          .attempt = 1,
          .segment = 2,
          .wall_us = 258,
          .request = IdOf('r'),
          .org = IdOf('o'),
          .team = IdOf('t'),
          .project = IdOf('p'),
          .key = {}};
}

TEST_CASE("A record's leaf is the one that FORMAT.md spells out") {
  const std::string data = std::string("\0TGL1", 5) + std::string("\0\0\0\3", 4) + std::string("\0\0\0\0\0\0\1\0", 8) +
                           std::string("\0\0\0\3\0\0\0\1\0\0\0\2\0\0\0\0\0\0\1\2", 20) + std::string(16, 'r') + std::string(16, 'o') +
                           std::string(16, 't') + std::string(16, 'p') + std::string(16, '\0') + std::string(32, 'c') +
                           std::string("\0\0\0\5", 4) + "bytes";
  CHECK(RecordLeaf(3, 256, Columns(), kContent, "bytes") == base::Sha256(data));
}

TEST_CASE("A record's leaf binds its log, its index, every column, its content and every byte") {
  const base::Digest leaf = RecordLeaf(3, 256, Columns(), kContent, "bytes");
  CHECK(RecordLeaf(4, 256, Columns(), kContent, "bytes") != leaf);
  CHECK(RecordLeaf(3, 257, Columns(), kContent, "bytes") != leaf);
  CHECK(RecordLeaf(3, 256, Columns(), kContent, "bytez") != leaf);
  CHECK(RecordLeaf(3, 256, Columns(), ContentDigest(std::nullopt), "bytes") != leaf);
  CHECK(ContentDigest(std::nullopt) != ContentDigest(""));
  const std::function<void(RecordColumns&)> changes[] = {
      [](RecordColumns& c) { c.kind = v1::RECORD_KIND_FINAL; },
      [](RecordColumns& c) { c.attempt = 2; },
      [](RecordColumns& c) { c.segment = 3; },
      [](RecordColumns& c) { c.wall_us = 259; },
      [](RecordColumns& c) { c.request = IdOf('x'); },
      [](RecordColumns& c) { c.org = IdOf('x'); },
      [](RecordColumns& c) { c.team = IdOf('x'); },
      [](RecordColumns& c) { c.project = {}; },
      [](RecordColumns& c) { c.key = IdOf('x'); },
  };
  for (const auto& change : changes) {
    RecordColumns columns = Columns();
    change(columns);
    CHECK(RecordLeaf(3, 256, columns, kContent, "bytes") != leaf);
  }
}

TEST_CASE("A record comes apart into columns and message, and together again") {
  v1::Record record;
  record.set_version(1);
  record.set_kind(v1::RECORD_KIND_FINAL);
  record.set_wall_us(1'700'000'000'000'000);
  record.set_request_id(IdOf('r').Bytes());
  record.set_attempt(2);
  record.set_segment(7);
  record.set_org_id(IdOf('o').Bytes());
  record.set_team_id(IdOf('t').Bytes());
  record.set_key_id(IdOf('k').Bytes());
  record.mutable_end()->set_reason("STOP");
  const auto columns = ColumnsOf(record);
  REQUIRE(columns.ok());
  const std::string message = MessageOf(v1::Record(record));
  CHECK(message.find(std::string(16, 'r')) == std::string::npos);
  CHECK(message.find(std::string(16, 't')) == std::string::npos);
  const auto again = RecordOf(*columns, message);
  REQUIRE(again.ok());
  CHECK(again->SerializeAsString() == record.SerializeAsString());
  CHECK(absl::IsDataLoss(RecordOf(*columns, "\xff\xff").status()));
}

}  // namespace
}  // namespace tollgate::audit
