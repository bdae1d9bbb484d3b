// What is stored is compared with its leaf before its key is even asked for, so that nothing that was changed is opened. The VIEW goes on
// record between finding the keys and using them: whatever happens after it, the log says who was about to read.
// Tested by tests/audit/reader_test.cpp.
#include "audit/reader_contents.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/key_chain.h"
#include "audit/reader_rows.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::seconds kViewTime{5};

}  // namespace

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

absl::Status AppendView(Journal& journal, v1::Record view) {
  Entry entry;
  entry.record = std::move(view);
  return AppendAndWait(journal, std::move(entry), std::chrono::steady_clock::now() + kViewTime).status();
}

void NameViewed(std::vector<Position> positions, v1::ViewBody& view) {
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

absl::StatusOr<v1::SealedContent> Reader::OpenContent(const Viewer& viewer, Position position, const std::string& reason) {
  TG_RETURN_IF_ERROR(NeedReason(reason));
  constexpr const char* kSql =
      "SELECT CASE WHEN content IS NOT NULL THEN request_id::text END FROM audit.record WHERE log_id = $1::int2 AND leaf_index = $2::int8 "
      "AND day >= $3::date ORDER BY day LIMIT 1";
  std::string request;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("find a record", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      TG_ASSIGN(const auto rows, RunLatestFirst(session, "find a record", kSql, {std::int64_t{position.log_id}, position.index},
                                                DayOf(base::SystemClock().Wall()), [](const base::Rows& found) { return !found.empty(); }));
      if (rows.empty()) return base::NotFound(fmt::format("there is no record {} that you may see", position.ToString()));
      if (rows.IsNull(0, 0)) return base::NotFound(fmt::format("record {} has no content", position.ToString()));
      request = rows.Text(0, 0);
      return absl::OkStatus();
    });
  }));
  TG_ASSIGN(const base::Uuid id, base::Uuid::Parse(request));
  TG_ASSIGN(auto opened, OpenContents(viewer, base::RequestId(id), {&position, 1}, reason));
  return std::move(opened.front());
}

// What OpenContents found: of each position its record, where it fits its leaf, and what is sealed beside it; and the request's first.
struct Reader::Found {
  std::map<Position, std::pair<absl::StatusOr<v1::Record>, std::string>> records;
  absl::StatusOr<v1::Record> first;
};

absl::Status Reader::Find(base::Session& session, base::RequestId request, std::span<const Position> positions, Found& out) {
  static const std::string kSelect =
      fmt::format("SELECT message, content, leaf_hash, log_id, leaf_index, {} FROM audit.record ", kColumnNames);
  static const std::string kSql = kSelect +
                                  "WHERE request_id = $1::uuid AND (log_id, leaf_index) IN (SELECT * FROM unnest($2::int2[], $3::int8[])) "
                                  "AND content IS NOT NULL AND day >= $4::date";
  static const std::string kFirst =
      kSelect + "WHERE request_id = $1::uuid AND kind IN (1, 2, 7) AND day >= $2::date ORDER BY wall_us, kind LIMIT 1";
  const auto at = [](const base::Rows& rows, std::size_t i) { return Position{static_cast<std::int32_t>(rows.Int(i, 3)), rows.Int(i, 4)}; };
  std::vector<base::Value> logs, indexes;
  for (const Position& position : positions) {
    logs.emplace_back(std::int64_t{position.log_id});
    indexes.emplace_back(position.index);
  }
  TG_ASSIGN(const auto rows,
            RunSinceMade(session, "read records", kSql, {request.ToString(), base::ArrayOf(logs), base::ArrayOf(indexes)}, request.value));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::string content = ContentOf(rows, i);
    auto record = FittingRecord(rows, i, at(rows, i), content, 5);
    out.records.insert_or_assign(at(rows, i), std::pair(std::move(record), std::move(content)));
  }
  TG_ASSIGN(const auto opening, RunSinceMade(session, "read a request's first record", kFirst, {request.ToString()}, request.value));
  out.first =
      opening.empty()
          ? base::DataLoss(fmt::format("the first record of request {} is missing: run `tollgate audit verify`", request.ToString()))
          : FittingRecord(opening, 0, at(opening, 0), ContentOf(opening, 0), 5);
  return absl::OkStatus();
}

namespace {

// Who opens these records of the request that `of` is one of.
v1::Record ViewOf(const Viewer& viewer, const v1::Record& of, const std::vector<Position>& positions, const std::string& reason) {
  v1::Record view = ViewRecord(viewer, of, reason);
  view.set_request_id(of.request_id());
  view.set_project_id(of.project_id());
  if (positions.size() == 1) {
    view.mutable_view()->set_log_id(positions[0].log_id);
    view.mutable_view()->set_index(positions[0].index);
  } else {
    NameViewed(positions, *view.mutable_view());
  }
  return view;
}

}  // namespace

absl::StatusOr<std::vector<absl::StatusOr<v1::SealedContent>>> Reader::OpenContents(const Viewer& viewer, base::RequestId request,
                                                                                    std::span<const Position> positions,
                                                                                    const std::string& reason,
                                                                                    const std::function<absl::Status()>& keep_going) {
  TG_RETURN_IF_ERROR(NeedReason(reason));
  if (keys_ == nullptr || journal_ == nullptr)
    return base::FailedPrecondition("content cannot be opened here: there are no keys or no journal");
  Found found;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("read records", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      found = Found();
      return Find(session, request, positions, found);
    });
  }));
  std::vector<absl::StatusOr<v1::SealedContent>> out;
  std::vector<Position> fitting;
  for (const Position& position : positions) {
    const auto its = found.records.find(position);
    absl::Status state = its == found.records.end()
                             ? base::NotFound(fmt::format("there is no record {} with content that you may see", position.ToString()))
                             : its->second.first.status();
    if (state.ok()) state = found.first.status();
    if (state.ok()) fitting.push_back(position);
    out.emplace_back(state.ok() ? absl::UnknownError("not opened yet") : std::move(state));
  }
  if (fitting.empty()) return out;
  const v1::Record& of = *found.records.at(fitting.front()).first;
  TG_ASSIGN(const auto team, base::Uuid::FromBytes(of.team_id()));
  const auto key = keys_->Find(base::TeamId(team), request);
  if (!key.ok() && !absl::IsNotFound(key.status())) return key.status();
  absl::Status state = key.status();
  if (state.ok()) {
    if (keep_going) TG_RETURN_IF_ERROR(keep_going());
    TG_RETURN_IF_ERROR(AppendView(*journal_, ViewOf(viewer, of, fitting, reason)));
    state = CheckKey(**key, *found.first);
  }
  for (std::size_t i = 0; i < positions.size(); ++i) {
    if (keep_going) TG_RETURN_IF_ERROR(keep_going());
    const auto its = found.records.find(positions[i]);
    if (its == found.records.end() || !its->second.first.ok() || !found.first.ok()) continue;
    if (state.ok()) {
      out[i] = OpenSealed(**key, *its->second.first, its->second.second);
    } else {
      out[i] = state;
    }
  }
  return out;
}

}  // namespace tollgate::audit
