// Reports run with the reader's role, which sees only the rows of the org that the transaction names; reconciling needs them all and runs
// with the verifier's. Tested by tests/gateway/admin/services_reading_test.cpp.
#include <unordered_map>

#include <fmt/format.h>

#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/text.h"
#include "metering/usage_postgres.h"

namespace tollgate::admin {

using directory::Shard;

namespace {

struct Period {
  base::WallTime from, to;
};

absl::StatusOr<Period> PeriodOf(const Caller& caller, std::int64_t from_us, std::int64_t to_us) {
  const base::WallTime now = caller.context().with.clock->Wall();
  Period period;
  period.from = from_us == 0 ? metering::WindowAt(metering::Window::kMonth, now).start : base::FromMicros(from_us);
  period.to = to_us == 0 ? now : base::FromMicros(to_us);
  if (period.from > period.to) return base::InvalidArgument("from_us: is after to_us");
  return period;
}

metering::ReportBy GroupOf(v1::UsageGroup group) {
  switch (group) {
    case v1::USAGE_GROUP_ORG: return metering::ReportBy::kOrg;
    case v1::USAGE_GROUP_PROJECT: return metering::ReportBy::kProject;
    case v1::USAGE_GROUP_KEY: return metering::ReportBy::kKey;
    case v1::USAGE_GROUP_MODEL: return metering::ReportBy::kModel;
    case v1::USAGE_GROUP_DAY: return metering::ReportBy::kDay;
    case v1::USAGE_GROUP_KIND: return metering::ReportBy::kKind;
    default: return metering::ReportBy::kTeam;
  }
}

// Usage rows hold ids; the names of what a report is by are the directory's, as far out as it takes to tell two apart: a team's is its own
// within an org, a project's within a team.
using Names = std::unordered_map<std::string, std::string>;

Names NamesFor(const Caller& caller, v1::UsageGroup group, bool of_all_orgs) {
  Names names;
  for (const auto& shard : caller.snapshot().shards()) {
    Names teams;
    for (const directory::Team& team : shard->teams) teams[team.id.ToString()] = (of_all_orgs ? shard->org.name + "/" : "") + team.name;
    switch (group) {
      case v1::USAGE_GROUP_ORG: names[shard->org.id.ToString()] = shard->org.name; break;
      case v1::USAGE_GROUP_PROJECT:
        for (const directory::Project& project : shard->projects)
          names[project.id.ToString()] = teams[project.team.ToString()] + "/" + project.name;
        break;
      case v1::USAGE_GROUP_KEY:
        for (const directory::Key& key : shard->keys) names[key.id.ToString()] = key.public_id;
        break;
      case v1::USAGE_GROUP_MODEL:
      case v1::USAGE_GROUP_KIND:
      case v1::USAGE_GROUP_DAY: break;  // They are their own names.
      default: names.merge(teams);
    }
  }
  return names;
}

v1::UsageLine Describe(const Names& names, const metering::ReportRow& row) {
  v1::UsageLine out;
  out.set_id(row.id);
  const auto name = names.find(row.id);
  out.set_name(name != names.end() ? name->second : row.id);
  out.set_requests(row.requests);
  out.set_first_requests(row.first_requests);
  out.set_attempts(row.attempts);
  out.mutable_tokens()->set_input(row.input_tokens);
  out.mutable_tokens()->set_cached_input(row.cached_input_tokens);
  out.mutable_tokens()->set_output(row.output_tokens);
  out.mutable_tokens()->set_delivered(row.delivered_tokens);
  out.mutable_tokens()->set_discarded(row.discarded_tokens);
  out.set_amount(base::FormatMoney(row.amount));
  out.set_amount_nanos(row.amount.nanos);
  out.set_currency(row.currency);
  return out;
}

}  // namespace

absl::Status ReportUsage(const Caller& caller, const v1::UsageReportRequest& request, v1::UsageReportReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ScopeOf(request.org()));
  TG_ASSIGN(const Narrowed narrowed, caller.Narrow(shard, request.team(), request.project(), request.key()));
  TG_ASSIGN(const Period period, PeriodOf(caller, request.from_us(), request.to_us()));
  metering::ReportFilter filter;
  filter.from = period.from;
  filter.to = period.to;
  filter.model = request.model();
  if (shard != nullptr) filter.org = shard->org.id.value;
  if (narrowed.team) filter.team = narrowed.team->value;
  if (narrowed.project) filter.project = narrowed.project->value;
  if (narrowed.key) filter.key = narrowed.key->value;
  std::vector<metering::ReportRow> rows;
  const auto report = [&](base::Session& session) -> absl::Status {
    const std::string name = shard == nullptr ? "tollgate.all" : "tollgate.org";
    const std::string value = shard == nullptr ? "on" : shard->org.id.ToString();
    TG_RETURN_IF_ERROR(session.Run("say who looks", "SELECT set_config($1::text, $2::text, true)", {name, value}).status());
    TG_ASSIGN(rows, metering::UsageReport(session, GroupOf(request.group_by()), filter));
    return absl::OkStatus();
  };
  TG_RETURN_IF_ERROR(
      caller.RunLong(caller.context().usage, [&](base::Session& session) { return session.InTransaction("report usage", report); }));
  const Names names = NamesFor(caller, request.group_by(), shard == nullptr);
  for (const metering::ReportRow& row : rows) *reply.add_lines() = Describe(names, row);
  reply.set_from_us(base::ToMicros(period.from));
  reply.set_to_us(base::ToMicros(period.to));
  return absl::OkStatus();
}

absl::Status ReconcileUsage(const Caller& caller, const v1::ReconcileRequest& request, v1::ReconcileReply& reply) {
  TG_RETURN_IF_ERROR(caller.Need(identity::Permission::kReconcile, true));
  TG_ASSIGN(const Period period, PeriodOf(caller, request.from_us(), request.to_us()));
  metering::Reconciliation found;
  TG_RETURN_IF_ERROR(caller.RunLong(caller.context().verify, [&](base::Session& session) -> absl::Status {
    TG_ASSIGN(found, metering::Reconcile(session, period.from, period.to, [&caller] { return caller.KeepGoing(); }));
    return absl::OkStatus();
  }));
  reply.set_ok(found.differences == 0);
  reply.set_records(found.records);
  reply.set_usages(found.usages);
  reply.set_transfers(found.transfers);
  reply.set_record_tokens(found.record_tokens);
  reply.set_usage_tokens(found.usage_tokens);
  reply.set_transfer_tokens(found.transfer_tokens);
  reply.set_differences(found.differences);
  reply.set_first_difference(found.first_difference);
  return absl::OkStatus();
}

}  // namespace tollgate::admin
