// usage: the report (the bill) and the proof that it is right.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/money.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/usage.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Usage;

struct UsageOptions {
  std::string by = "team";
  std::string from;
  std::string to;
  ScopeOptions scope;
  std::string model;
};

const std::map<std::string, v1::UsageGroup>& Groups() {
  static const std::map<std::string, v1::UsageGroup> groups = {
      {"org", v1::USAGE_GROUP_ORG},     {"team", v1::USAGE_GROUP_TEAM}, {"project", v1::USAGE_GROUP_PROJECT}, {"key", v1::USAGE_GROUP_KEY},
      {"model", v1::USAGE_GROUP_MODEL}, {"day", v1::USAGE_GROUP_DAY},   {"kind", v1::USAGE_GROUP_KIND}};
  return groups;
}

// False after the command line's fault was told.
template <typename Request>
bool ReadPeriod(Context& context, const UsageOptions& options, Request& request) {
  for (const auto& [text, set] : {std::pair(options.from, &Request::set_from_us), std::pair(options.to, &Request::set_to_us)}) {
    if (text.empty()) continue;
    const auto at = context.Take(ParseTime(text, context.clock.Wall()));
    if (!at) return false;
    (request.*set)(*at);
  }
  const std::int64_t end = options.to.empty() ? base::ToMicros(context.clock.Wall()) : request.to_us();
  if (options.from.empty() || request.from_us() < end) return true;
  context.Fail(kUsage, fmt::format("--from {} is not before {}", options.from, options.to.empty() ? "now" : "--to " + options.to));
  return false;
}

// The sums of a report, by currency. A request that used several lines stands in each, and counts once here.
void AddTotals(const v1::UsageReportReply& reply, Table& table) {
  struct Sum {
    std::int64_t requests = 0, input = 0, output = 0;
    std::optional<base::Money> amount = base::Money{};  // None: more than can be told.
  };
  std::map<std::string, Sum> sums;
  for (const auto& line : reply.lines()) {
    Sum& sum = sums[line.currency()];
    sum.requests += line.first_requests();
    sum.input += line.tokens().input();
    sum.output += line.tokens().output();
    const auto more = base::Add(sum.amount.value_or(base::Money{}), {line.amount_nanos()});
    if (!more.ok()) sum.amount.reset();
    if (sum.amount) sum.amount = *more;
  }
  for (const auto& [currency, sum] : sums) {
    std::vector<std::string> cells{"(total)"};  // No name has brackets.
    for (const std::int64_t count : {sum.requests, sum.input, sum.output}) cells.push_back(ShowCount(count));
    cells.push_back(sum.amount ? base::FormatMoney(*sum.amount) : "too much");
    cells.push_back(currency);
    table.Add(std::move(cells));
  }
}

void Report(Context& context, const UsageOptions& options) {
  v1::UsageReportRequest request;
  request.set_group_by(Groups().at(options.by));
  if (!ReadPeriod(context, options, request)) return;
  if (!options.scope.Fill(context, request)) return;
  request.set_model(options.model);
  const auto reply = Look<Usage>(context, Listener::kAdmin, &Usage::Stub::Report, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({options.by, "> requests", "> input tokens", "> output tokens", "> amount", "currency"});
  for (const auto& line : reply->lines()) {
    std::vector<std::string> cells{line.name().empty() ? line.id() : line.name()};
    for (const std::int64_t count : {line.requests(), line.tokens().input(), line.tokens().output()}) cells.push_back(ShowCount(count));
    cells.push_back(line.amount());
    cells.push_back(line.currency());
    table.Add(std::move(cells));
  }
  if (reply->lines_size() > 1) AddTotals(*reply, table);
  context.Print(fmt::format("usage from {} to {} UTC\n", ShowTime(reply->from_us()), ShowTime(reply->to_us())));
  context.Print(table.Text("nothing was used in this time"));
}

void Reconcile(Context& context, const UsageOptions& options) {
  v1::ReconcileRequest request;
  if (!ReadPeriod(context, options, request)) return;
  const auto reply = Look<Usage>(context, Listener::kAdmin, &Usage::Stub::Reconcile, request);
  if (!reply) return;
  if (!reply->ok()) context.exit_code = kFoundWrong;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"source", "> rows", "> tokens"});
  table.Add({"terminal records", ShowCount(reply->records()), ShowCount(reply->record_tokens())});
  table.Add({"usage", ShowCount(reply->usages()), ShowCount(reply->usage_tokens())});
  table.Add({"ledger", ShowCount(reply->transfers()), ShowCount(reply->transfer_tokens())});
  context.Print(table.Text(""));
  context.Print(reply->ok()
                    ? "records, usage and ledger agree, to the token and the nano-unit\n"
                    : fmt::format("{} requests differ; the first: {}\n", ShowCount(reply->differences()), reply->first_difference()));
}

void AddPeriod(CLI::App& command, UsageOptions& options) {
  command.add_option("--from,--since", options.from, "From this time on: 2026-11-01, 24h; else the start of the month (UTC)");
  command.add_option("--to,--until", options.to, "Until before this time; else now");
}
}  // namespace

void AddUsageCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("usage", "Usage and bills")->require_subcommand(1);
  Teach(*group, "", {"tollgate usage report --by team", "tollgate usage reconcile"});

  auto* report = group->add_subcommand("report", "Tokens and money, in groups");
  const auto report_options = std::make_shared<UsageOptions>();
  report->add_option("--by", report_options->by, "One line for each org, team, project, key, model, kind (request or guard) or day")
      ->capture_default_str()
      ->check(CLI::IsMember({"org", "team", "project", "key", "model", "kind", "day"}));
  AddPeriod(*report, *report_options);
  report_options->scope.AddTo(*report, "whose usage is asked for");
  report->add_option("--model", report_options->model, "Only this model");
  report->callback([&context, report_options] { Report(context, *report_options); });
  Teach(
      *report, "A request that used several lines, as a model and its guards' models, stands in each of them, and once in the total.",
      {"tollgate usage report --by team", "tollgate usage report --by day --project search/web --from 2026-11-01 --to 2026-12-01 --json"});

  auto* reconcile = group->add_subcommand("reconcile", "Prove that records, usage and ledger agree, to the token");
  const auto reconcile_options = std::make_shared<UsageOptions>();
  AddPeriod(*reconcile, *reconcile_options);
  reconcile->callback([&context, reconcile_options] { Reconcile(context, *reconcile_options); });
  Teach(*reconcile, "Exit code 5, and the first difference, if they do not.",
        {"tollgate usage reconcile", "tollgate usage reconcile --from 2026-11-01"});
}

}  // namespace tollgate::cli
