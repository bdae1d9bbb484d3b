// Reports: one statement a grouping, summed by Postgres over the range index on time. A request counts in a group with its first row there,
// and in the sum over groups with its first row of all, which for most is its own and needs no look at others: nothing is sorted, and
// memory is that of the groups.
//
// Tested by tests/metering/usage_postgres_test.cpp.
#include "metering/usage_postgres.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>

namespace tollgate::metering {
namespace {

struct Grouping {
  std::string_view name;
  ReportBy by;
  std::string_view id;  // SQL, of the row {0}.
};

constexpr std::array<Grouping, 7> kGroupings{{{"org", ReportBy::kOrg, "{0}.org_id::text"},
                                              {"team", ReportBy::kTeam, "{0}.team_id::text"},
                                              {"project", ReportBy::kProject, "{0}.project_id::text"},
                                              {"key", ReportBy::kKey, "{0}.key_id::text"},
                                              {"model", ReportBy::kModel, "{0}.model"},
                                              {"kind", ReportBy::kKind, "CASE WHEN {0}.part = 0 THEN 'request' ELSE 'guard' END"},
                                              {"day", ReportBy::kDay, "(date '1970-01-01' + ({0}.at_us / 86400000000)::int4)::text"}}};

constexpr int kLinesMax = 10'000;

std::string FilterOf(std::string_view row) {
  return fmt::format(
      "{0}.at_us >= $1::int8 AND {0}.at_us < $2::int8 AND ($3::uuid IS NULL OR {0}.org_id = $3::uuid) "
      "AND ($4::uuid IS NULL OR {0}.team_id = $4::uuid) AND ($5::uuid IS NULL OR {0}.project_id = $5::uuid) "
      "AND ($6::uuid IS NULL OR {0}.key_id = $6::uuid) AND ($7::text IS NULL OR {0}.model = $7::text)",
      row);
}

// The amount is NULL where it is more than an int8.
std::string TextOf(const Grouping& g) {
  const std::string group = fmt::format(fmt::runtime(g.id), "u"), other = fmt::format(fmt::runtime(g.id), "o");
  const auto first = [](const std::string& among) {
    return fmt::format(
        "count(*) FILTER (WHERE (u.attempt = 1 AND u.part = 0) OR NOT EXISTS (SELECT FROM metering.usage o WHERE "
        "o.request_id = u.request_id AND (o.attempt, o.part) < (u.attempt, u.part) AND o.currency = u.currency AND {}))",
        among);
  };
  return fmt::format(
      "SELECT coalesce({0}, ''), u.currency, count(*), {1}, "
      "sum(u.input_tokens)::int8, sum(u.cached_input_tokens)::int8, sum(u.output_tokens)::int8, sum(u.delivered_tokens)::int8, "
      "CASE WHEN sum(u.amount_nanos) <= 9223372036854775807 THEN sum(u.amount_nanos)::int8 END, sum(u.discarded_tokens)::int8, "
      "{2} FROM metering.usage u WHERE {3} GROUP BY 1, u.currency ORDER BY {4} LIMIT {5}",
      group, first(fmt::format("{} IS NOT DISTINCT FROM {} AND {}", other, group, FilterOf("o"))), first(FilterOf("o")), FilterOf("u"),
      g.by == ReportBy::kDay ? "1, u.currency" : "sum(u.amount_nanos) DESC, 1, u.currency", kLinesMax + 1);
}

// Of what took too long, it says what to do.
absl::Status WithRemedy(const absl::Status& status) {
  if (base::SqlStateOf(status) != "57014") return status;
  return base::MakeStatus(status.code(), base::Message(status) + "; ask for a shorter period");
}

base::Value IdOrNull(const std::optional<base::Uuid>& id) { return id ? base::Value(id->ToString()) : base::Value(); }

}  // namespace

absl::StatusOr<std::vector<ReportRow>> UsageReport(base::Session& session, ReportBy by, const ReportFilter& filter) {
  if (filter.from >= filter.to) return base::InvalidArgument("a report's period ends after it begins");
  const Grouping& grouping = *std::find_if(kGroupings.begin(), kGroupings.end(), [by](const Grouping& g) { return g.by == by; });
  const base::Params params{base::ToMicros(filter.from),
                            base::ToMicros(filter.to),
                            IdOrNull(filter.org),
                            IdOrNull(filter.team),
                            IdOrNull(filter.project),
                            IdOrNull(filter.key),
                            filter.model.empty() ? base::Value() : base::Value(filter.model)};
  const absl::StatusOr<base::Rows> answer = session.Run("usage report", TextOf(grouping), params);
  if (!answer.ok()) return WithRemedy(answer.status());
  const base::Rows& rows = *answer;
  if (rows.size() > static_cast<std::size_t>(kLinesMax)) {
    return base::InvalidArgument(
        fmt::format("the report has more than {} lines; ask for a shorter period, or for one team, project or model", kLinesMax));
  }
  std::vector<ReportRow> report;
  report.reserve(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows.IsNull(r, 8)) {
      return base::MakeStatus(
          absl::StatusCode::kOutOfRange,
          fmt::format("the amounts of {} {} in {} add up to more than {}, which is the most that can be told; ask for a "
                      "shorter period, or in smaller groups",
                      grouping.name, rows.Text(r, 0), rows.Text(r, 1), base::FormatMoney({INT64_MAX})));
    }
    report.push_back({.id = rows.Text(r, 0),
                      .currency = rows.Text(r, 1),
                      .attempts = rows.Int(r, 2),
                      .requests = rows.Int(r, 3),
                      .first_requests = rows.Int(r, 10),
                      .input_tokens = rows.Int(r, 4),
                      .cached_input_tokens = rows.Int(r, 5),
                      .output_tokens = rows.Int(r, 6),
                      .delivered_tokens = rows.Int(r, 7),
                      .discarded_tokens = rows.Int(r, 9),
                      .amount = {rows.Int(r, 8)}});
  }
  return report;
}

absl::StatusOr<std::vector<QuotaUse>> QuotaUses(base::Session& session, const std::vector<base::Uuid>& quotas) {
  static const std::string kUses =
      "SELECT quota_id::text, debited, window_end_us FROM metering.balance, "
      "(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS us) AS now "
      "WHERE quota_id = ANY ($1::uuid[]) AND window_start_us <= now.us AND window_end_us > now.us";
  std::vector<base::Value> ids;
  for (const base::Uuid& quota : quotas) ids.emplace_back(quota.ToString());
  TG_ASSIGN(const base::Rows rows, session.Run("use of limits", kUses, {base::ArrayOf(ids)}));
  std::vector<QuotaUse> uses;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    TG_ASSIGN(const base::Uuid quota, base::Uuid::Parse(rows.Text(r, 0)));
    uses.push_back({quota, rows.Int(r, 1), base::FromMicros(rows.Int(r, 2))});
  }
  return uses;
}

}  // namespace tollgate::metering
