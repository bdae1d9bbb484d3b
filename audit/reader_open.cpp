// A team's history. As reader_contents.cpp: leaves before keys, and the VIEW between finding the keys and using them.
// Tested by tests/audit/reader_test.cpp.
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/key_chain.h"
#include "audit/reader.h"
#include "audit/reader_contents.h"
#include "audit/reader_rows.h"
#include "audit/record_columns.h"

namespace tollgate::audit {
namespace {

constexpr std::int64_t kRowBytes = 512;  // Of a row beside its content and message.
constexpr std::size_t kMeasured = 64;    // Replies by one statement.

// The sealed contents that belong to a row: its own, and of what stands before it the segments'.
bool HasSealed(const OpenedRow& row) {
  const auto holds = [](const OpenedRow& b) { return b.row.has_content && b.row.record.kind() == v1::RECORD_KIND_SEGMENT; };
  return row.row.has_content || std::any_of(row.before.begin(), row.before.end(), holds);
}

// Of a page: which of its rows.
std::vector<Position> ToOpen(const std::vector<OpenedRow>& rows, const std::vector<std::shared_ptr<const RequestKey>>& keys) {
  std::vector<Position> positions;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (keys[i] == nullptr || !rows[i].state.ok()) continue;
    if (rows[i].row.has_content) positions.push_back(rows[i].row.position);
    for (const OpenedRow& before : rows[i].before) {
      if (before.row.has_content && before.row.record.kind() == v1::RECORD_KIND_SEGMENT) positions.push_back(before.row.position);
    }
  }
  return positions;
}

// One stored row (message, content, leaf hash, log, index, columns); its content as it is stored is given back.
std::string ReadRow(const base::Rows& rows, std::size_t i, OpenedRow& out) {
  out.row.position = {static_cast<std::int32_t>(rows.Int(i, 3)), rows.Int(i, 4)};
  out.row.has_content = !rows.IsNull(i, 1);
  std::string content = ContentOf(rows, i);
  auto record = FittingRecord(rows, i, out.row.position, content, 5);
  if (record.ok()) {
    out.row.record = *std::move(record);
    return content;
  }
  out.state = record.status();
  const RecordColumns columns = ColumnsOf(rows, i, 5);
  out.row.record.set_kind(columns.kind);
  out.row.record.set_wall_us(columns.wall_us);
  return content;
}

base::RequestId RequestOf(const v1::Record& record) {
  const auto id = base::Uuid::FromBytes(record.request_id());
  return id.ok() ? base::RequestId(*id) : base::RequestId();
}

// What else replies are made of that end on a page: of these requests the SEGMENTs, and the REQUEST unless it is there already.
constexpr const char* kOfReplies =
    "FROM audit.record WHERE request_id = ANY($1::uuid[]) AND (kind = 3 OR kind = 1 AND NOT request_id = ANY($2::uuid[])) "
    "AND day >= $3::date";

struct Ends {
  std::map<std::string, std::size_t> ended, opened;  // By request: where on the page it ended, and began.
  std::vector<std::string> order;                    // Those that ended, as they stand on the page.
  std::string since = "1970-01-01";                  // No record of theirs is of a day before.

  base::Params Params(std::span<const std::string> requests) const {
    std::vector<base::Value> all, here;
    for (const std::string& request : requests) {
      const auto id = base::Uuid::FromBytes(request);
      all.emplace_back((id.ok() ? *id : base::Uuid()).ToString());
      if (opened.contains(request)) here.push_back(all.back());
    }
    return {base::ArrayOf(all), base::ArrayOf(here), since};
  }
};

Ends EndsOn(const OpenedPage& page) {
  // Nothing of a request is older than its id, but for clocks.
  constexpr std::chrono::hours kClocksMayDiffer{24};
  Ends out;
  std::optional<base::WallTime> first;
  bool dated = true;
  for (std::size_t i = 0; i < page.rows.size(); ++i) {
    const v1::Record& record = page.rows[i].row.record;
    if (!page.rows[i].state.ok()) continue;
    if (record.kind() == v1::RECORD_KIND_REQUEST) out.opened.emplace(record.request_id(), i);
    if (!EndsRequest(record.kind()) || !out.ended.emplace(record.request_id(), i).second) continue;
    out.order.push_back(record.request_id());
    const auto made = MadeAt(RequestOf(record).value);
    dated = dated && made.has_value();
    if (made) first = std::min(first.value_or(*made), *made);
  }
  if (dated && first) out.since = DayText(DayOf(*first - kClocksMayDiffer));
  return out;
}

// What these of them hold, by request: contents, messages and the rows themselves, for a reply that was streamed is many small ones.
absl::StatusOr<std::map<std::string, std::int64_t>> BytesOf(base::Session& session, const Ends& ends,
                                                            std::span<const std::string> requests) {
  static const std::string kSizes = fmt::format(
      "SELECT request_id::text, sum(coalesce(octet_length(content), 0)::int8 + octet_length(message) + {})::int8 {} "
      "GROUP BY request_id",
      kRowBytes, kOfReplies);
  TG_ASSIGN(const auto sizes, session.Run("measure replies", kSizes, ends.Params(requests)));
  std::map<std::string, std::int64_t> out;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    TG_ASSIGN(const base::Uuid id, base::Uuid::Parse(sizes.Text(i, 0)));
    out[id.Bytes()] = sizes.Int(i, 1);
  }
  return out;
}

// How many of the page's rows have room. Replies are measured as they come: those behind the page's end are measured for another page.
absl::StatusOr<std::size_t> Fitting(base::Session& session, const Ends& ends, const std::vector<std::vector<std::string>>& stored,
                                    std::int64_t bytes_max) {
  std::map<std::string, std::int64_t> bytes_of;
  std::size_t kept = 0, next = 0, measured = 0;
  for (std::int64_t bytes = 0; kept < stored.size() && bytes < bytes_max; ++kept) {
    bytes += static_cast<std::int64_t>(stored[kept][0].size());
    if (next == ends.order.size() || ends.ended.at(ends.order[next]) != kept) continue;
    if (next == measured) {
      const auto step = std::span(ends.order).subspan(next, std::min(kMeasured, ends.order.size() - next));
      TG_ASSIGN(bytes_of, BytesOf(session, ends, step));
      measured += step.size();
    }
    bytes += bytes_of[ends.order[next++]];
  }
  return kept;
}

}  // namespace

// By row of the page: its own content, then those of what stands before it.
struct Reader::Stored {
  std::vector<std::vector<std::string>> rows;
};

absl::StatusOr<OpenedPage> Reader::OpenHistory(const Viewer& viewer, ListFilter filter, const std::string& reason, std::int64_t bytes_max) {
  TG_RETURN_IF_ERROR(NeedReason(reason));
  if (keys_ == nullptr || journal_ == nullptr)
    return base::FailedPrecondition("content cannot be opened here: there are no keys or no journal");
  if (!filter.team.has_value()) return base::InvalidArgument("contents are opened by team: name one");
  if (filter.kinds.empty()) filter.kinds = {v1::RECORD_KIND_REQUEST, v1::RECORD_KIND_DENY, v1::RECORD_KIND_FINAL, v1::RECORD_KIND_ABORT};
  filter.oldest_first = true;
  OpenedPage page;
  Stored stored;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("read a team's history", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      page = {};
      stored = {};
      TG_ASSIGN(const auto rows, SelectPage(session, filter, "message, content, leaf_hash, log_id, leaf_index", bytes_max));
      for (std::size_t i = 0; i < std::min(rows.size(), static_cast<std::size_t>(filter.limit)); ++i)
        stored.rows.push_back({ReadRow(rows, i, page.rows.emplace_back())});
      // A page that is full of bytes is not full of rows: one row more than it shows says that there are more.
      const std::int64_t last_column = 5 + static_cast<std::int64_t>(kColumnCount);
      if (!rows.empty() && rows.Int(0, static_cast<std::size_t>(last_column)) > static_cast<std::int64_t>(page.rows.size()))
        page.next = CursorAfter(page.rows.back().row);
      return AddStories(session, bytes_max, page, stored);
    });
  }));
  TG_RETURN_IF_ERROR(Unseal(viewer, *filter.team, reason, stored, page.rows));
  return page;
}

// Adds what the replies that end on the page are made of; where that has too many bytes, the page ends sooner. A REQUEST that stands on the
// page itself is not read again.
absl::Status Reader::AddStories(base::Session& session, std::int64_t bytes_max, OpenedPage& page, Stored& stored) {
  Ends ends = EndsOn(page);
  if (ends.ended.empty()) return absl::OkStatus();
  for (const auto& [request, row] : ends.ended) {
    const auto known = ends.opened.find(request);
    if (known == ends.opened.end()) continue;
    page.rows[row].before.emplace_back().row = page.rows[known->second].row;
    stored.rows[row].emplace_back();
  }
  TG_ASSIGN(const std::size_t kept, Fitting(session, ends, stored.rows, bytes_max));
  if (kept < page.rows.size()) {
    page.rows.resize(kept);
    stored.rows.resize(kept);
    page.next = CursorAfter(page.rows.back().row);
    std::erase_if(ends.ended, [&](const auto& end) { return end.second >= kept; });
    ends.order.resize(ends.ended.size());
    if (ends.ended.empty()) return absl::OkStatus();
  }
  static const std::string kParts =
      fmt::format("SELECT message, content, leaf_hash, log_id, leaf_index, {} {} ORDER BY request_id, kind, segment, wall_us", kColumnNames,
                  kOfReplies);
  TG_ASSIGN(const auto rows, session.Run("read replies", kParts, ends.Params(ends.order)));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto at = ends.ended.find(ColumnsOf(rows, i, 5).request.Bytes());
    if (at == ends.ended.end()) continue;
    OpenedRow& whole = page.rows[at->second];
    OpenedRow& part = whole.before.emplace_back();
    stored.rows[at->second].push_back(ReadRow(rows, i, part));
    whole.state.Update(part.state);
  }
  for (const auto& [request, row] : ends.ended) {
    OpenedRow& whole = page.rows[row];
    if (whole.before.empty() || whole.before.front().row.record.kind() != v1::RECORD_KIND_REQUEST)
      whole.state.Update(base::DataLoss(
          fmt::format("the first record of {}'s request is missing: run `tollgate audit verify`", whole.row.position.ToString())));
  }
  return absl::OkStatus();
}

absl::Status Reader::Unseal(const Viewer& viewer, base::TeamId team, const std::string& reason, const Stored& stored,
                            std::vector<OpenedRow>& rows) {
  std::vector<base::RequestId> requests;
  for (OpenedRow& row : rows) {
    requests.push_back(RequestOf(row.row.record));
    if (row.state.ok() && !row.row.has_content && !EndsRequest(row.row.record.kind()))
      row.state = base::NotFound("the record has no content");
  }
  TG_ASSIGN(const auto keys, keys_->FindAll(team, requests));
  v1::Record view;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].state.ok() || !HasSealed(rows[i])) continue;
    if (keys[i] == nullptr) rows[i].state = base::NotFound("the key was destroyed: nobody can read this content any more");
    if (keys[i] != nullptr && !view.has_view()) view = ViewRecord(viewer, rows[i].row.record, reason);
  }
  if (!view.has_view()) return absl::OkStatus();
  NameViewed(ToOpen(rows, keys), *view.mutable_view());
  TG_RETURN_IF_ERROR(AppendView(*journal_, std::move(view)));
  const auto open = [](const RequestKey& key, const std::string& sealed, OpenedRow& row) -> absl::Status {
    if (!row.row.has_content) return absl::OkStatus();
    TG_ASSIGN(row.content, OpenSealed(key, row.row.record, sealed));
    return absl::OkStatus();
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    OpenedRow& row = rows[i];
    if (!row.state.ok() || !HasSealed(row)) continue;
    row.state = CheckKey(*keys[i], row.before.empty() ? row.row.record : row.before.front().row.record);
    for (std::size_t b = 1; b < row.before.size() && row.state.ok(); ++b) row.state = open(*keys[i], stored.rows[i][1 + b], row.before[b]);
    if (row.state.ok()) row.state = open(*keys[i], stored.rows[i][0], row);
    if (row.state.ok()) continue;
    row.content.Clear();
    for (OpenedRow& before : row.before) before.content.Clear();
  }
  return absl::OkStatus();
}

}  // namespace tollgate::audit
