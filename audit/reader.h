// Reader: looks into the audit log, within what the viewer may see. Postgres enforces it (row-level security), not only this code.
// All calls block on the database: use threads that may. Thread-safe.
//
// Reading content is itself recorded: a VIEW record is durable before a byte of content is returned.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audit/journal.h"
#include "audit/keys.h"
#include "audit/record.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/postgres_pool.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

// Who looks, and how far they may see. Records that belong to no team (START, some ADMIN) are only in kAll, or by their org in kOrg.
struct Viewer {
  enum class Sees { kTeam, kOrg, kAll };
  std::string actor;  // A key's public id; goes into VIEW records.
  Sees sees = Sees::kTeam;
  base::Uuid id;    // The team or org.
  base::KeyId key;  // The viewer's own; may be none. A VIEW is filed under it and under the tenant whose record was read.
};

// What to list. Absent = any. Times are half open: from <= wall time < to.
struct ListFilter {
  std::optional<base::WallTime> from;
  std::optional<base::WallTime> to;
  std::optional<base::OrgId> org;
  std::optional<base::TeamId> team;
  std::optional<base::ProjectId> project;
  std::optional<base::KeyId> key;
  std::optional<base::RequestId> request;
  std::vector<v1::RecordKind> kinds;
  std::optional<std::int32_t> log_id;
  std::optional<std::int64_t> index_from;  // Inclusive; with log_id.
  std::optional<std::int64_t> index_to;    // Exclusive.
  bool oldest_first = false;               // By wall time, then position. Default: newest first.
  int limit = 50;                          // 1 to 1000 rows a page.
  std::string cursor;                      // Page::next of the page before; empty = the first page.
};

struct Row {
  Position position;
  v1::Record record;
  base::Digest leaf{};  // The leaf hash as stored.
  bool has_content = false;
};

struct Page {
  std::vector<Row> rows;
  std::string next;  // Empty: that was the last page.
};

// A record that opened or ended a request, and what was sealed beside it.
struct OpenedRow {
  Row row;
  v1::SealedContent content;
  // NOT_FOUND: there is no content, or its key was destroyed. DATA_LOSS: what is stored is not what was recorded; row.record then has its
  // kind and time alone. Contents are empty in both.
  absl::Status state;
  // Of one that ended a request: what else its reply is made of, in order. The REQUEST, whose content stays closed, then each SEGMENT.
  std::vector<OpenedRow> before;
};

struct OpenedPage {
  std::vector<OpenedRow> rows;
  std::string next;  // Empty: that was the last page.
};

class Reader {
 public:
  // `sessions` connects with the role tollgate_reader. `keys` and `journal` are for OpenContent and may be null without it.
  Reader(base::SessionPool& sessions, Keys* keys, Journal* journal) : sessions_(sessions), keys_(keys), journal_(journal) {}

  // INVALID_ARGUMENT: a bad cursor, limit or range.
  absl::StatusOr<Page> List(const Viewer& viewer, const ListFilter& filter);

  // Every record of one request, in the order of the log. NOT_FOUND: there is none that the viewer may see.
  absl::StatusOr<std::vector<Row>> Show(const Viewer& viewer, base::RequestId request);

  // The content of one record. `reason` is required and is kept. NOT_FOUND: no such record, it has no content, or its key was
  // destroyed. DATA_LOSS: what is stored is not what was recorded. The journal's errors, if the VIEW cannot be recorded.
  absl::StatusOr<v1::SealedContent> OpenContent(const Viewer& viewer, Position position, const std::string& reason);

  // The same of several records of one request, in their order, by one VIEW that names them; of each what OpenContent would say. Between
  // them `keep_going` is asked; what it refuses with is the answer.
  absl::StatusOr<std::vector<absl::StatusOr<v1::SealedContent>>> OpenContents(const Viewer& viewer, base::RequestId request,
                                                                              std::span<const Position> positions,
                                                                              const std::string& reason,
                                                                              const std::function<absl::Status()>& keep_going = nullptr);

  // A team's prompts and replies, oldest first, for work on many: of `filter`, its order aside, which must name the team. Its kinds are
  // some of REQUEST, DENY, FINAL and ABORT; none = all of these. A page ends at filter.limit rows, or with the row that brings its
  // contents, and all that its replies are made of, to `bytes_max`. One VIEW record says which records are opened. Errors as OpenContent,
  // but for those that OpenedRow::state tells of one record; a FINAL or ABORT may be without content.
  absl::StatusOr<OpenedPage> OpenHistory(const Viewer& viewer, ListFilter filter, const std::string& reason, std::int64_t bytes_max);

 private:
  struct Stored;  // The contents of a page, as they are stored,
  struct Found;   // and of records that are named.
  static absl::Status Find(base::Session& session, base::RequestId request, std::span<const Position> positions, Found& out);
  absl::Status Unseal(const Viewer& viewer, base::TeamId team, const std::string& reason, const Stored& stored,
                      std::vector<OpenedRow>& rows);
  static absl::Status AddStories(base::Session& session, std::int64_t bytes_max, OpenedPage& page, Stored& stored);

  base::SessionPool& sessions_;
  Keys* keys_;
  Journal* journal_;
};

}  // namespace tollgate::audit
