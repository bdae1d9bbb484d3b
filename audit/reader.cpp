// Each call is one transaction: what the viewer may see is set with SET LOCAL, and the policies of audit.record do the rest. Pages go by
// (wall time, log, index), which a cursor names. Without a lower bound the newest partitions are tried first; of a request those from its
// id's time on (days.h).
// Tested by tests/audit/reader_test.cpp.
#include "audit/reader.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/key_chain.h"
#include "audit/reader_rows.h"
#include "audit/record_columns.h"

namespace tollgate::audit {
namespace {

const std::string kColumns = fmt::format("log_id, leaf_index, message, leaf_hash, content IS NOT NULL, {}", kColumnNames);

Row RowOf(const base::Rows& rows, std::size_t i) {
  Row row;
  row.position = {static_cast<std::int32_t>(rows.Int(i, 0)), rows.Int(i, 1)};
  // One that cannot be read hides no others.
  row.record = RecordOrColumns(ColumnsOf(rows, i, 5), rows.Bytes(i, 2), fmt::format("record {}", row.position.ToString()));
  const std::string leaf = rows.Bytes(i, 3);
  if (leaf.size() == row.leaf.size()) std::copy(leaf.begin(), leaf.end(), row.leaf.begin());
  row.has_content = rows.Bool(i, 4);
  return row;
}

// The WHERE of a list, built as it goes; every value is a parameter.
class Where {
 public:
  void Add(std::string_view condition, base::Value value) {
    params_.push_back(std::move(value));
    Text(fmt::format(fmt::runtime(condition), fmt::arg("p", fmt::format("${}", params_.size()))));
  }
  void Text(std::string_view condition) { sql_ += fmt::format("{}{}", sql_.empty() ? " WHERE " : " AND ", condition); }
  std::string Param(base::Value value) {
    params_.push_back(std::move(value));
    return fmt::format("${}", params_.size());
  }
  const std::string& sql() const { return sql_; }
  const base::Params& params() const { return params_; }

 private:
  std::string sql_;
  base::Params params_;
};

template <typename Id>
void AddId(Where& where, const char* condition, const std::optional<Id>& id) {
  if (id) where.Add(condition, id->ToString());
}

struct Cursor {
  std::int64_t wall_us = 0, log_id = 0, index = 0;
};

absl::StatusOr<Cursor> ParseCursor(const std::string& text) {
  Cursor cursor;
  std::int64_t* const parts[] = {&cursor.wall_us, &cursor.log_id, &cursor.index};
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (std::size_t i = 0; i < 3; ++i) {
    const auto [next, error] = std::from_chars(at, end, *parts[i]);
    const bool last = i == 2;
    if (error != std::errc() || (last ? next != end : next == end || *next != '.'))
      return base::InvalidArgument("the page token is not one that this service gave");
    at = next + 1;
  }
  return cursor;
}

absl::Status AddFilter(const ListFilter& filter, Where& where) {
  if (filter.from) {
    where.Add("wall_us >= {p}::int8 AND wall_us >> 24 >= {p}::int8 >> 24", base::ToMicros(*filter.from));
    where.Add("day >= {p}::date", DayText(DayOf(*filter.from)));
  }
  if (filter.to) {
    where.Add("wall_us < {p}::int8 AND wall_us >> 24 <= {p}::int8 >> 24", base::ToMicros(*filter.to));
    where.Add("day <= {p}::date", DayText(DayOf(*filter.to)));
  }
  AddId(where, "org_id = {p}::uuid", filter.org);
  AddId(where, "team_id = {p}::uuid", filter.team);
  AddId(where, "project_id = {p}::uuid", filter.project);
  AddId(where, "key_id = {p}::uuid", filter.key);
  AddId(where, "request_id = {p}::uuid", filter.request);
  if (!filter.kinds.empty()) {
    std::vector<base::Value> kinds;
    for (const auto kind : filter.kinds) kinds.emplace_back(std::int64_t{kind});
    where.Add("kind = ANY({p}::int2[])", base::ArrayOf(kinds));
  }
  if (filter.log_id) where.Add("log_id = {p}::int2", std::int64_t{*filter.log_id});
  if ((filter.index_from || filter.index_to) && !filter.log_id) return base::InvalidArgument("a range of indices needs the log");
  if (filter.index_from) where.Add("leaf_index >= {p}::int8", *filter.index_from);
  if (filter.index_to) where.Add("leaf_index < {p}::int8", *filter.index_to);
  if (filter.cursor.empty()) return absl::OkStatus();
  TG_ASSIGN(const Cursor cursor, ParseCursor(filter.cursor));
  where.Add(filter.oldest_first ? "day >= {p}::date" : "day <= {p}::date", DayText(DayOf(base::FromMicros(cursor.wall_us))));
  const std::string wall = where.Param(cursor.wall_us), log = where.Param(cursor.log_id), index = where.Param(cursor.index);
  const char* const beyond = filter.oldest_first ? ">" : "<";
  where.Text(fmt::format("(wall_us, log_id, leaf_index) {0} ({1}::int8, {2}::int2, {3}::int8) AND wall_us >> 24 {0}= {1}::int8 >> 24",
                         beyond, wall, log, index));
  return absl::OkStatus();
}

// Newest first and without a lower bound, a few days usually fill the page.
absl::StatusOr<base::Rows> Query(base::Session& session, const ListFilter& filter, const Where& where) {
  const char* const order = filter.oldest_first ? "ASC" : "DESC";
  const std::string tail =
      fmt::format(" ORDER BY wall_us >> 24 {0}, wall_us {0}, log_id {0}, leaf_index {0} LIMIT {1}", order, filter.limit + 1);
  const std::string select = fmt::format("SELECT {} FROM audit.record{}", kColumns, where.sql());
  const std::string since =
      fmt::format("{}{} day >= ${}::date{}", select, where.sql().empty() ? " WHERE" : " AND", where.params().size() + 1, tail);
  if (filter.request) return RunSinceMade(session, "list records", since, where.params(), filter.request->value);
  if (filter.oldest_first || filter.from) return session.Run("list records", select + tail, where.params());
  base::WallTime latest = base::SystemClock().Wall();
  if (filter.to) latest = std::min(latest, *filter.to);
  if (!filter.cursor.empty()) {
    TG_ASSIGN(const Cursor cursor, ParseCursor(filter.cursor));
    latest = std::min(latest, base::FromMicros(cursor.wall_us));
  }
  return RunLatestFirst(session, "list records", since, where.params(), DayOf(latest),
                        [&](const base::Rows& found) { return found.size() > static_cast<std::size_t>(filter.limit); });
}

absl::Status CheckLimit(const ListFilter& filter) {
  if (filter.limit >= 1 && filter.limit <= 1000) return absl::OkStatus();
  return base::InvalidArgument("the page size must be 1 to 1000");
}

}  // namespace

absl::Status See(base::Session& session, const Viewer& viewer) {
  static const std::string kSql =
      "SELECT set_config('tollgate.all', $1, true), set_config('tollgate.org', $2, true), set_config('tollgate.team', $3, true), "
      "set_config('plan_cache_mode', 'force_custom_plan', true)";
  const std::string id = viewer.id.ToString();
  return session
      .Run("set what the viewer sees", kSql,
           {std::string(viewer.sees == Viewer::Sees::kAll ? "on" : ""), viewer.sees == Viewer::Sees::kOrg ? id : std::string(),
            viewer.sees == Viewer::Sees::kTeam ? id : std::string()})
      .status();
}

std::string CursorAfter(const Row& row) { return fmt::format("{}.{}.{}", row.record.wall_us(), row.position.log_id, row.position.index); }

absl::StatusOr<base::Rows> SelectPage(base::Session& session, const ListFilter& filter, const std::string& columns,
                                      std::int64_t bytes_max) {
  TG_RETURN_IF_ERROR(CheckLimit(filter));
  Where where;
  TG_RETURN_IF_ERROR(AddFilter(filter, where));
  const char* const order = filter.oldest_first ? "ASC" : "DESC";
  const std::string by = fmt::format("wall_us >> 24 {0}, wall_us {0}, log_id {0}, leaf_index {0}", order);
  const std::string page = fmt::format("SELECT * FROM audit.record{} ORDER BY {} LIMIT {}", where.sql(), by, filter.limit + 1);
  const std::string sized = fmt::format(
      "SELECT *, sum(coalesce(octet_length(content), 0)) OVER (ORDER BY {} ROWS UNBOUNDED PRECEDING) - coalesce(octet_length(content), 0) "
      "AS bytes_before, "
      "count(*) OVER () AS page_rows FROM ({}) AS page",
      by, page);
  const std::string most = where.Param(bytes_max);
  return session.Run("read prompts",
                     fmt::format("SELECT {}, {}, page_rows FROM ({}) AS sized WHERE bytes_before < {}::int8 ORDER BY {}", columns,
                                 kColumnNames, sized, most, by),
                     where.params());
}

absl::StatusOr<Page> Reader::List(const Viewer& viewer, const ListFilter& filter) {
  TG_RETURN_IF_ERROR(CheckLimit(filter));
  Where where;
  TG_RETURN_IF_ERROR(AddFilter(filter, where));
  Page page;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("list records", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      TG_ASSIGN(const auto rows, Query(session, filter, where));
      const std::size_t shown = std::min(rows.size(), static_cast<std::size_t>(filter.limit));
      page.rows.clear();
      for (std::size_t i = 0; i < shown; ++i) {
        Row row = RowOf(rows, i);
        page.rows.push_back(std::move(row));
      }
      if (rows.size() > shown) page.next = CursorAfter(page.rows.back());
      return absl::OkStatus();
    });
  }));
  return page;
}

absl::StatusOr<std::vector<Row>> Reader::Show(const Viewer& viewer, base::RequestId request) {
  static const std::string kSql =
      fmt::format("SELECT {} FROM audit.record WHERE request_id = $1::uuid AND day >= $2::date ORDER BY log_id, leaf_index", kColumns);
  std::vector<Row> out;
  TG_RETURN_IF_ERROR(sessions_.RunAndWait([&](base::Session& pooled) {
    return pooled.InTransaction("show a request", [&](base::Session& session) -> absl::Status {
      TG_RETURN_IF_ERROR(See(session, viewer));
      TG_ASSIGN(const auto rows, RunSinceMade(session, "show a request", kSql, {request.ToString()}, request.value));
      out.clear();
      for (std::size_t i = 0; i < rows.size(); ++i) {
        Row row = RowOf(rows, i);
        out.push_back(std::move(row));
      }
      return absl::OkStatus();
    });
  }));
  if (out.empty()) return base::NotFound(fmt::format("there is no record of request {} that you may see", request.ToString()));
  // Who viewed it may be in another instance's log; that comes after the story itself.
  std::stable_partition(out.begin(), out.end(), [](const Row& row) { return row.record.kind() != v1::RECORD_KIND_VIEW; });
  return out;
}

}  // namespace tollgate::audit
