#include "tests/audit/fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <thread>

namespace tollgate::audit {

const base::CompanionTable kNotes{
    "test.note", {{"request_id", "uuid"}, {"amount", "int8"}, {"day", "date"}, {"raw", "bytea"}}, "log_id", "leaf_index"};

AuditFixture::AuditFixture()
    : url(cluster.NewDatabase({"migrations/main"})), keys_url(cluster.NewDatabase({"migrations/keys"})), sql_(cluster.Connect(url)) {
  REQUIRE(sql()
              .RunScript("companions",
                         "CREATE SCHEMA test; GRANT USAGE ON SCHEMA test TO tollgate_writer; "
                         "CREATE TABLE test.note (request_id uuid, amount int8 CHECK (amount >= 0), day date, raw bytea, log_id int2, "
                         "leaf_index int8); "
                         "GRANT INSERT ON test.note TO tollgate_writer")
              .ok());
}

JournalOptions AuditFixture::Options(const std::string& state) {
  JournalOptions options;
  options.postgres_url = url;
  options.keys_url = keys_url;
  options.state_dir = dir.File(state);
  options.build = "test";
  options.recovery.settle = [](const OpenRequest&, v1::EndBody&) { return std::vector<base::Companion>(); };
  return options;
}

std::unique_ptr<PostgresJournal> AuditFixture::Open(const JournalOptions& options) {
  auto journal = PostgresJournal::Open(options);
  INFO(base::Message(journal.status()));
  REQUIRE(journal.ok());
  return *std::move(journal);
}

Entry AuditFixture::Make(v1::RecordKind kind, base::RequestId request) const {
  Entry entry;
  v1::Record& record = entry.record;
  record.set_kind(kind);
  if (!request.IsNone()) record.set_request_id(request.Bytes());
  record.set_org_id(org.Bytes());
  record.set_team_id(team.Bytes());
  record.set_project_id(project.Bytes());
  record.set_key_id(key.Bytes());
  if (kind == v1::RECORD_KIND_REQUEST) record.mutable_request()->set_input_tokens(11);
  return entry;
}

Entry AuditFixture::Segment(base::RequestId request, std::uint32_t number, std::int64_t output_tokens) const {
  Entry entry = Make(v1::RECORD_KIND_SEGMENT, request);
  entry.record.set_attempt(1);
  entry.record.set_segment(number);
  entry.record.mutable_segment_body()->set_offset(10 * (number - 1));
  entry.record.mutable_segment_body()->set_size(10);
  entry.record.mutable_segment_body()->set_output_tokens(output_tokens);
  return entry;
}

base::Companion AuditFixture::Note(base::RequestId request, std::int64_t amount) {
  return {&kNotes, {request.ToString(), amount, std::string("2026-11-25"), base::Blob{"raw"}}};
}

Result AuditFixture::Append(Journal& journal, Entry entry, std::chrono::milliseconds patience) {
  return AppendAndWait(journal, std::move(entry), std::chrono::steady_clock::now() + patience);
}

std::unique_ptr<base::Session> AuditFixture::As(const std::string& role) {
  base::PostgresOptions options = cluster.Options(url);
  options.role = role;
  auto session = base::Session::Connect(options);
  INFO(base::Message(session.status()));
  REQUIRE(session.ok());
  return *std::move(session);
}

std::int64_t AuditFixture::Int(const std::string& query) {
  const auto rows = sql().Run("test", query);
  INFO(base::Message(rows.status()));
  REQUIRE(rows.ok());
  return rows->Int(0, 0);
}

std::string AuditFixture::Text(const std::string& query) {
  const auto rows = sql().Run("test", query);
  INFO(base::Message(rows.status()));
  REQUIRE(rows.ok());
  return rows->Text(0, 0);
}

void AuditFixture::Do(const std::string& statement) {
  const absl::Status status = sql().RunScript("test", statement);
  INFO(base::Message(status));
  REQUIRE(status.ok());
}

void AuditFixture::Tamper(const std::string& statement) { Do("SET LOCAL session_replication_role = replica; " + statement); }

void AuditFixture::Await(const std::string& query, std::int64_t wanted) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Int(query) != wanted) {
    if (std::chrono::steady_clock::now() > until) FAIL("waited in vain for " << wanted << " from: " << query);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace tollgate::audit
