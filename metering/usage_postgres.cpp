// Reports: one statement a grouping, summed by Postgres over the range index on time.
//
// Tested by tests/metering/usage_postgres_test.cpp.
#include "metering/usage_postgres.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace tollgate::metering {
namespace {

struct Grouping {
  std::string_view name;
  ReportBy by;
  std::string_view id;  // SQL.
};

constexpr std::array<Grouping, 7> kGroupings{{{"org", ReportBy::kOrg, "org_id::text"},
                                              {"team", ReportBy::kTeam, "team_id::text"},
                                              {"project", ReportBy::kProject, "project_id::text"},
                                              {"key", ReportBy::kKey, "key_id::text"},
                                              {"model", ReportBy::kModel, "model"},
                                              {"kind", ReportBy::kKind, "CASE WHEN part = 0 THEN 'request' ELSE 'guard' END"},
                                              {"day", ReportBy::kDay, "(date '1970-01-01' + (at_us / 86400000000)::int4)::text"}}};

constexpr int kLinesMax = 10'000;

std::string TextOf(const Grouping& g) {
  return fmt::format(
      "SELECT coalesce({}, ''), currency, count(*), "
      "count(DISTINCT request_id), sum(input_tokens)::int8, sum(cached_input_tokens)::int8, sum(output_tokens)::int8, "
      "sum(delivered_tokens)::int8, sum(amount_nanos)::int8, sum(discarded_tokens)::int8 FROM metering.usage "
      "WHERE at_us >= $1::int8 AND at_us < $2::int8 AND ($3::uuid IS NULL OR org_id = $3::uuid) "
      "AND ($4::uuid IS NULL OR team_id = $4::uuid) AND ($5::uuid IS NULL OR project_id = $5::uuid) "
      "AND ($6::uuid IS NULL OR key_id = $6::uuid) AND ($7::text IS NULL OR model = $7::text) "
      "GROUP BY 1, currency ORDER BY {} LIMIT {}",
      g.id, g.by == ReportBy::kDay ? "1, currency" : "sum(amount_nanos) DESC, 1, currency", kLinesMax + 1);
}

base::Value IdOrNull(const std::optional<base::Uuid>& id) { return id ? base::Value(id->ToString()) : base::Value(); }

}  // namespace

absl::StatusOr<ReportBy> ParseReportBy(std::string_view name) {
  for (const Grouping& g : kGroupings) {
    if (g.name == name) return g.by;
  }
  return base::InvalidArgument(
      fmt::format("a report is by org, team, project, key, model, kind or day, not by \"{}\"", name.substr(0, 40)));
}

absl::StatusOr<std::vector<ReportRow>> UsageReport(base::Session& session, ReportBy by, const ReportFilter& filter) {
  if (filter.from >= filter.to) return base::InvalidArgument("a report's period ends after it begins");
  std::string sql;
  for (const Grouping& g : kGroupings) {
    if (g.by == by) sql = TextOf(g);
  }
  const base::Params params{base::ToMicros(filter.from),
                            base::ToMicros(filter.to),
                            IdOrNull(filter.org),
                            IdOrNull(filter.team),
                            IdOrNull(filter.project),
                            IdOrNull(filter.key),
                            filter.model.empty() ? base::Value() : base::Value(filter.model)};
  TG_ASSIGN(const base::Rows rows, session.Run("usage report", sql, params));
  if (rows.size() > static_cast<std::size_t>(kLinesMax)) {
    return base::InvalidArgument(
        fmt::format("the report has more than {} lines; ask for a shorter period, or for one team, project or model", kLinesMax));
  }
  std::vector<ReportRow> report;
  report.reserve(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    report.push_back({.id = rows.Text(r, 0),
                      .currency = rows.Text(r, 1),
                      .attempts = rows.Int(r, 2),
                      .requests = rows.Int(r, 3),
                      .input_tokens = rows.Int(r, 4),
                      .cached_input_tokens = rows.Int(r, 5),
                      .output_tokens = rows.Int(r, 6),
                      .delivered_tokens = rows.Int(r, 7),
                      .discarded_tokens = rows.Int(r, 9),
                      .amount = {rows.Int(r, 8)}});
  }
  return report;
}

}  // namespace tollgate::metering
