// What is stored is compared with its leaf before its key is even asked for, so that nothing that was changed is opened. The VIEW goes on
// record between finding the keys and using them: whatever happens after it, the log says who was about to read.
// Tested by tests/audit/reader_test.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "audit/reader.h"
#include "audit/reader_rows.h"
#include "audit/record_columns.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::seconds kViewTime{5};

// The record in a row (message, content, leaf hash, …, the columns from `first_column`), if it is what its leaf says.
absl::StatusOr<v1::Record> FittingRecord(const base::Rows& rows, std::size_t row, const Position& position, std::string_view content,
                                         std::size_t first_column) {
  const RecordColumns columns = ColumnsOf(rows, row, first_column);
  const std::string message = rows.Bytes(row, 0);
  const base::Digest digest = rows.IsNull(row, 1) ? base::Digest{} : base::Sha256(content);
  if (base::View(RecordLeaf(position.log_id, position.index, columns, digest, message)) != rows.Bytes(row, 2)) {
    return base::DataLoss(
        fmt::format("record {} is not what its leaf says: it was changed; run `tollgate audit verify`", position.ToString()));
  }
  return RecordOf(columns, message);
}

std::string ContentOf(const base::Rows& rows, std::size_t row) { return rows.IsNull(row, 1) ? std::string() : rows.Bytes(row, 1); }

v1::Record ViewRecord(const Viewer& viewer, const v1::Record& of, const std::string& reason) {
  v1::Record view;
  view.set_kind(v1::RECORD_KIND_VIEW);
  view.set_org_id(of.org_id());
  view.set_team_id(of.team_id());
  if (!viewer.key.IsNone()) view.set_key_id(viewer.key.Bytes());
  view.mutable_view()->set_actor(viewer.actor);
  view.mutable_view()->set_reason(reason);
  return view;
}

absl::Status NeedReason(const std::string& reason) {
  if (!reason.empty()) return absl::OkStatus();
  return base::InvalidArgument("reading content needs a reason, which is kept with who read it");
}

absl::Status Append(Journal& journal, v1::Record view) {
  Entry entry;
  entry.record = std::move(view);
  return AppendAndWait(journal, std::move(entry), std::chrono::steady_clock::now() + kViewTime).status();
}

// Which of the rows are about to be opened, as a VIEW says it.
void FillViewed(const std::vector<OpenedRow>& rows, const std::vector<std::shared_ptr<const RequestKey>>& keys, v1::ViewBody& view) {
  std::vector<Position> positions;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (keys[i] != nullptr && rows[i].state.ok()) positions.push_back(rows[i].row.position);
  }
  std::sort(positions.begin(), positions.end());
  v1::ViewedLog* log = nullptr;
  std::int64_t last = 0;
  for (const Position& position : positions) {
    if (log == nullptr || log->log_id() != position.log_id) {
      log = view.add_viewed();
      log->set_log_id(position.log_id);
      last = 0;
    }
    log->add_steps(position.index - last);
    last = position.index;
  }
}

}  // namespace

absl::StatusOr<v1::SealedContent> Reader::OpenContent(const Viewer& viewer, Position position, const std::string& reason) {
  TG_RETURN_IF_ERROR(NeedReason(reason));
  if (keys_ == nullptr || journal_ == nullptr)
    return base::FailedPrecondition("content cannot be opened here: there are no keys or no journal");
  static const std::string kSql = fmt::format(
      "SELECT message, content, leaf_hash, {} FROM audit.record WHERE log_id = $1::int2 AND leaf_index = $2::int8", kColumnNames);
  static const std::string kFirst = fmt::format(
      "SELECT message, content, leaf_hash, log_id, leaf_index, {} FROM audit.record WHERE request_id = $1::uuid AND kind IN (1, 2) "
      "ORDER BY wall_us, kind LIMIT 1",
      kColumnNames);
  v1::Record record, first;
  std::string stored;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("read a record", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      TG_ASSIGN(const auto rows, session.Run("read a record", kSql, {std::int64_t{position.log_id}, position.index}));
      if (rows.empty()) return base::NotFound(fmt::format("there is no record {} that you may see", position.ToString()));
      if (rows.IsNull(0, 1)) return base::NotFound(fmt::format("record {} has no content", position.ToString()));
      stored = rows.Bytes(0, 1);
      TG_ASSIGN(record, FittingRecord(rows, 0, position, stored, 3));
      TG_ASSIGN(const base::Uuid request, base::Uuid::FromBytes(record.request_id()));
      TG_ASSIGN(const auto opening, session.Run("read a request's first record", kFirst, {request.ToString()}));
      if (opening.empty())
        return base::DataLoss(fmt::format("the first record of {}'s request is missing: run `tollgate audit verify`", position.ToString()));
      const Position at{static_cast<std::int32_t>(opening.Int(0, 3)), opening.Int(0, 4)};
      TG_ASSIGN(first, FittingRecord(opening, 0, at, ContentOf(opening, 0), 5));
      return absl::OkStatus();
    });
  }));
  TG_ASSIGN(const auto team, base::Uuid::FromBytes(record.team_id()));
  TG_ASSIGN(const auto request, base::Uuid::FromBytes(record.request_id()));
  TG_ASSIGN(const auto key, keys_->Find(base::TeamId(team), base::RequestId(request)));

  v1::Record view = ViewRecord(viewer, record, reason);
  view.set_request_id(record.request_id());
  view.set_project_id(record.project_id());
  view.mutable_view()->set_log_id(position.log_id);
  view.mutable_view()->set_index(position.index);
  TG_RETURN_IF_ERROR(Append(*journal_, std::move(view)));
  TG_RETURN_IF_ERROR(CheckKey(*key, first));
  return OpenSealed(*key, record, stored);
}

absl::StatusOr<OpenedPage> Reader::OpenPrompts(const Viewer& viewer, ListFilter filter, const std::string& reason, std::int64_t bytes_max) {
  TG_RETURN_IF_ERROR(NeedReason(reason));
  if (keys_ == nullptr || journal_ == nullptr)
    return base::FailedPrecondition("content cannot be opened here: there are no keys or no journal");
  if (!filter.team.has_value()) return base::InvalidArgument("contents are opened by team: name one");
  filter.kinds = {v1::RECORD_KIND_REQUEST, v1::RECORD_KIND_DENY};
  filter.oldest_first = true;
  OpenedPage page;
  std::vector<std::string> stored;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("read prompts", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      page = {};
      stored.clear();
      TG_ASSIGN(const auto rows, SelectPage(session, filter, "message, content, leaf_hash, log_id, leaf_index", bytes_max));
      for (std::size_t i = 0; i < std::min(rows.size(), static_cast<std::size_t>(filter.limit)); ++i) {
        OpenedRow& out = page.rows.emplace_back();
        out.row.position = {static_cast<std::int32_t>(rows.Int(i, 3)), rows.Int(i, 4)};
        out.row.has_content = !rows.IsNull(i, 1);
        stored.push_back(ContentOf(rows, i));
        auto record = FittingRecord(rows, i, out.row.position, stored.back(), 5);
        if (!record.ok()) {
          out.state = record.status();
          out.row.record.set_wall_us(ColumnsOf(rows, i, 5).wall_us);
        } else {
          out.row.record = *std::move(record);
        }
      }
      // A page that is full of bytes is not full of rows: one row more than it shows says that there are more.
      const std::int64_t last_column = 5 + static_cast<std::int64_t>(kColumnCount);
      if (!rows.empty() && rows.Int(0, static_cast<std::size_t>(last_column)) > static_cast<std::int64_t>(page.rows.size()))
        page.next = CursorAfter(page.rows.back().row);
      return absl::OkStatus();
    });
  }));
  TG_RETURN_IF_ERROR(Unseal(viewer, *filter.team, reason, stored, page.rows));
  return page;
}

absl::Status Reader::Unseal(const Viewer& viewer, base::TeamId team, const std::string& reason, const std::vector<std::string>& stored,
                            std::vector<OpenedRow>& rows) {
  std::vector<base::RequestId> requests;
  for (OpenedRow& row : rows) {
    const auto id = base::Uuid::FromBytes(row.row.record.request_id());
    requests.push_back(id.ok() ? base::RequestId(*id) : base::RequestId());
    if (row.state.ok() && !row.row.has_content) row.state = base::NotFound("the record has no content");
  }
  TG_ASSIGN(const auto keys, keys_->FindAll(team, requests));
  v1::Record view;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].state.ok()) continue;
    if (keys[i] == nullptr) rows[i].state = base::NotFound("the key was destroyed: nobody can read this content any more");
    if (keys[i] != nullptr && !view.has_view()) view = ViewRecord(viewer, rows[i].row.record, reason);
  }
  if (!view.has_view()) return absl::OkStatus();
  FillViewed(rows, keys, *view.mutable_view());
  TG_RETURN_IF_ERROR(Append(*journal_, std::move(view)));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    OpenedRow& row = rows[i];
    if (!row.state.ok()) continue;
    row.state = CheckKey(*keys[i], row.row.record);
    if (!row.state.ok()) continue;
    auto content = OpenSealed(*keys[i], row.row.record, stored[i]);
    row.state = content.status();
    if (content.ok()) row.content = *std::move(content);
  }
  return absl::OkStatus();
}

}  // namespace tollgate::audit
