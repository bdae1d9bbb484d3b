#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>

#include "audit/batch.h"
#include "base/encoding.h"

namespace tollgate::audit {
namespace {

const base::CompanionTable kNotes{"test.note",
                                  {{"request_id", "uuid"}, {"amount", "int8"}, {"text", "text"}, {"raw", "bytea"}, {"share", "numeric"}},
                                  "log_id",
                                  "leaf_index"};
const base::CompanionTable kPlain{"test.plain", {{"n", "int8"}}};

Entry RequestEntry() {
  Entry entry;
  entry.record.set_kind(v1::RECORD_KIND_REQUEST);
  entry.record.set_request_id(base::RequestId::New().Bytes());
  return entry;
}

TEST_CASE("An entry is stamped, checked and serialised once") {
  base::ManualClock clock;
  Entry entry = RequestEntry();
  const base::TeamId team = base::TeamId::New();
  entry.record.set_team_id(team.Bytes());
  const auto row = Encode(std::move(entry), clock);
  REQUIRE(row.ok());
  const auto record = RecordOf(*row, row->message);
  REQUIRE(record.ok());
  CHECK(record->version() == 1);
  CHECK(record->wall_us() == base::ToMicros(clock.Wall()));
  CHECK(record->team_id() == team.Bytes());
  CHECK(row->org.IsNone());
  CHECK_FALSE(row->content.has_value());
}

TEST_CASE("A key commitment comes only from sealed content") {
  Entry entry = RequestEntry();
  entry.record.set_key_commitment("x");
  const auto row = Encode(std::move(entry), base::SystemClock());
  v1::Record record;
  REQUIRE(record.ParseFromString(row->message));
  CHECK(record.key_commitment().empty());
}

TEST_CASE("Entries that could never be stored are refused") {
  const struct {
    const char* what;
    std::function<void(Entry&)> change;
  } rows[] = {
      {"no kind", [](Entry& e) { e.record.clear_kind(); }},
      {"no request", [](Entry& e) { e.record.clear_request_id(); }},
      {"a short id", [](Entry& e) { e.record.set_team_id("short"); }},
      {"a huge attempt", [](Entry& e) { e.record.set_attempt(0xffffffffu); }},
      {"a companion without a table",
       [](Entry& e) {
         e.companions.push_back({nullptr, {}});
       }},
      {"a companion with too few values",
       [](Entry& e) {
         e.companions.push_back({&kPlain, {}});
       }},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    Entry entry = RequestEntry();
    row.change(entry);
    CHECK(absl::IsInvalidArgument(Encode(std::move(entry), base::SystemClock()).status()));
  }
}

TEST_CASE("The statement's text depends only on the set of companion tables") {
  BatchStatements statements;
  EncodedRow bare = *Encode(RequestEntry(), base::SystemClock());
  Entry with = RequestEntry();
  with.companions.push_back({&kNotes,
                             {base::RequestId::New().ToString(), std::int64_t{5}, std::string("a \"b\" \\ c"),
                              base::Blob{std::string("\0\xff", 2)}, std::string("0.5")}});
  with.companions.push_back({&kPlain, {std::monostate()}});
  with.companions.push_back({&kPlain, {std::int64_t{7}}});
  EncodedRow full = *Encode(std::move(with), base::SystemClock());
  const Head head{3, 2, 9, 100};
  const EncodedRow* const one[] = {&bare};
  const EncodedRow* const two[] = {&bare, &full};
  const EncodedRow* const three[] = {&full, &full, &bare};

  const auto a = statements.Build(head, 100, std::chrono::seconds(10), one);
  const auto b = statements.Build(head, 100, std::chrono::seconds(10), two);
  const auto c = statements.Build(head, 100, std::chrono::seconds(10), three);
  CHECK(a.sql != b.sql);
  CHECK(b.sql == c.sql);
  CHECK(a.params.size() == 7 + 14);
  CHECK(b.params.size() == 7 + 14 + 6 + 2);
  CHECK(std::get<std::int64_t>(b.params[4]) == 2);
  CHECK(std::get<std::int64_t>(b.params[6]) == 100);
  CHECK(std::get<std::string>(b.params[7]) == "{\"0.5\"}");  // Text arrays come first.
  const auto Bytes = [&b](std::size_t i) { return std::get<base::Blob>(b.params[i]).bytes; };
  const std::string header("\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\2\0\0\0\1", 20);  // One dimension, no NULL, int8, two of them, from 1.
  CHECK(Bytes(8) == header + std::string("\0\0\0\x8\0\0\0\0\0\0\0\x64\0\0\0\x8\0\0\0\0\0\0\0\x65", 24));
  CHECK(Bytes(8 + 11).ends_with(base::View(RecordLeaf(3, 101, full, {}, full.message))));
  CHECK(Bytes(8 + 13).substr(0, 16) == std::string("\0\0\0\1\0\0\0\1\0\0\0\x11\0\0\0\2", 16));  // Contents: two NULLs.
  CHECK(b.sql->find("INSERT INTO test.note (request_id, amount, text, raw, share, log_id, leaf_index)") != std::string::npos);
}

TEST_CASE("Companion values that do not fit their columns are refused at the door") {
  const base::CompanionTable small{"test.small", {{"n", "int2"}}}, raw{"test.raw", {{"b", "bytea"}}}, id{"test.id", {{"u", "uuid"}}};
  const struct {
    const base::CompanionTable* table;
    base::Value value;
    bool fits;
  } rows[] = {
      {&small, std::int64_t{32767}, true},   {&small, std::int64_t{32768}, false},
      {&small, std::int64_t{-32769}, false}, {&small, std::string("1"), false},
      {&raw, base::Blob{"x"}, true},         {&raw, std::string("x"), false},
      {&id, std::string("x"), false},        {&id, base::RequestId::New().ToString(), true},
      {&id, std::monostate(), true},         {&kPlain, std::int64_t{INT64_MIN}, true},
  };
  for (const auto& row : rows) {
    INFO(row.table->name);
    Entry entry = RequestEntry();
    entry.companions.push_back({row.table, {row.value}});
    CHECK(Encode(std::move(entry), base::SystemClock()).ok() == row.fits);
  }
}

}  // namespace
}  // namespace tollgate::audit
