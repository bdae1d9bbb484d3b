// A database, a keys database, journals over them, and entries in few words.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "audit/batch.h"
#include "audit/journal_postgres.h"
#include "audit/keys.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

namespace tollgate::audit {

using Result = absl::StatusOr<Position>;

extern const base::CompanionTable
    kNotes;  // test.note(request_id uuid, amount int8 CHECK (amount >= 0), day date, raw bytea, log_id, leaf_index)

class AuditFixture {
 public:
  AuditFixture();

  JournalOptions Options(const std::string& state = "a");
  std::unique_ptr<PostgresJournal> Open(const JournalOptions& options);
  std::unique_ptr<PostgresJournal> Open(const std::string& state = "a") { return Open(Options(state)); }

  Entry Make(v1::RecordKind kind, base::RequestId request) const;
  Entry Segment(base::RequestId request, std::uint32_t number, std::int64_t output_tokens) const;
  static base::Companion Note(base::RequestId request, std::int64_t amount);
  static Result Append(Journal& journal, Entry entry, std::chrono::milliseconds patience = std::chrono::seconds(30));
  Result Append(Journal& journal, v1::RecordKind kind, base::RequestId request) { return Append(journal, Make(kind, request)); }

  base::Session& sql() { return *sql_; }                       // As superuser.
  void Reconnect() { sql_ = cluster.Connect(url); }            // After the cluster was restarted.
  std::unique_ptr<base::Session> As(const std::string& role);  // A session of that role.
  std::int64_t Int(const std::string& query);
  std::string Text(const std::string& query);
  void Do(const std::string& statement);
  // With triggers and row security out of the way, as a hostile administrator would.
  void Tamper(const std::string& statement);
  // Waits until `query` gives `wanted`; fails the test after 30 s.
  void Await(const std::string& query, std::int64_t wanted);

  test::PostgresCluster& cluster = test::PostgresCluster::Shared();
  std::string url;
  std::string keys_url;
  test::TempDir dir;
  base::OrgId org = base::OrgId::New();
  base::TeamId team = base::TeamId::New();
  base::ProjectId project = base::ProjectId::New();
  base::KeyId key = base::KeyId::New();

 private:
  std::unique_ptr<base::Session> sql_;
};

}  // namespace tollgate::audit
