// quota: limits on an org, team, project or key. All limits on the way from a key to its org hold at once.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/directory.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Directory;

struct QuotaOptions {
  std::string limit;
  std::int64_t amount = 0;
  ScopeOptions scope;
};

void PrintQuota(Context& context, const v1::Quota& quota, const char* what) {
  if (context.globals.json) return context.PrintJson(quota);
  context.Print(fmt::format("{}: {} {} of {} (record {}); in force everywhere within a second\n", what, ShowCount(quota.amount()),
                            ShowLimit(quota.meter(), quota.window()), ShowScope(quota.scope()), quota.record()));
}

void Set(Context& context, const QuotaOptions& options) {
  const auto limit = context.Take(ParseLimit(options.limit));
  if (!limit) return;
  auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  v1::SetQuotaRequest request;
  *request.mutable_scope() = *std::move(scope);
  request.set_meter(limit->meter);
  request.set_window(limit->window);
  request.set_amount(options.amount);
  const auto quota = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::SetQuota, request);
  if (quota) PrintQuota(context, *quota, "set");
}

void Remove(Context& context, const QuotaOptions& options) {
  const auto limit = context.Take(ParseLimit(options.limit));
  if (!limit) return;
  auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  v1::RemoveQuotaRequest request;
  *request.mutable_scope() = *std::move(scope);
  request.set_meter(limit->meter);
  request.set_window(limit->window);
  const auto quota = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::RemoveQuota, request);
  if (quota) PrintQuota(context, *quota, "removed");
}

// True if the limit bears on the scope: it is the scope's own or one above it.
bool Bears(const v1::ScopeRef& limit, const v1::ScopeRef& scope) {
  if (!limit.key().empty()) return limit.key() == scope.key();
  if (!limit.team().empty() && limit.team() != scope.team()) return false;
  return limit.project().empty() || limit.project() == scope.project();
}

// The scope that is asked about, a key's with its team and project. A scope that is not there has no limits to show. nullopt after the
// failure was told.
std::optional<v1::ScopeRef> Find(Context& context, const ScopeOptions& options) {
  auto scope = context.Take(options.Read(OrgOf(context.globals)));
  if (!scope || options.none()) return scope;
  if (!scope->key().empty()) {
    v1::ListKeysRequest request;
    request.set_org(scope->org());
    const auto keys =
        AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListKeys, request, [](const auto& r) { return r.keys_size(); });
    if (!keys) return std::nullopt;
    for (const v1::Key& key : keys->keys()) {
      if (key.public_id() != scope->key()) continue;
      scope->set_team(key.team());
      scope->set_project(key.project());
      return scope;
    }
    return context.Fail(kRefused, fmt::format("there is no key {} in force; see those there are: tollgate key list", scope->key())),
           std::nullopt;
  }
  v1::ListProjectsRequest request;  // Of an unknown team: a refusal, in the server's words.
  request.set_org(scope->org());
  request.set_team(scope->team());
  const auto projects = AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListProjects, request,
                                          [](const auto& r) { return r.projects_size(); });
  if (!projects || scope->project().empty()) return projects ? scope : std::nullopt;
  for (const v1::Project& project : projects->projects()) {
    if (project.name() == scope->project()) return scope;
  }
  return context.Fail(kRefused, fmt::format("there is no project {}/{}; see those there are: tollgate project list", scope->team(),
                                            scope->project())),
         std::nullopt;
}

void List(Context& context, const QuotaOptions* only) {
  std::optional<v1::ScopeRef> scope;
  if (only != nullptr && !(scope = Find(context, only->scope))) return;
  v1::ListQuotasRequest request;
  request.set_org(OrgOf(context.globals));
  auto reply =
      AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListQuotas, request, [](const auto& r) { return r.quotas_size(); });
  if (!reply) return;
  if (scope) {
    auto& quotas = *reply->mutable_quotas();
    quotas.erase(std::remove_if(quotas.begin(), quotas.end(), [&](const v1::Quota& quota) { return !Bears(quota.scope(), *scope); }),
                 quotas.end());
  }
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"scope", "limit", "> amount", "> taken", "resets", "record"});
  for (const v1::Quota& quota : reply->quotas()) {
    table.Add({ShowScope(quota.scope()), ShowLimit(quota.meter(), quota.window()), ShowCount(quota.amount()),
               quota.has_taken() ? ShowCount(quota.taken()) : "-", ShowTime(quota.resets_us()), quota.record()});
  }
  context.Print(table.Text("no limits; set one: tollgate quota set tokens/month 2000000 --team TEAM"));
}
}  // namespace

void AddQuotaCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("quota", "Limits on requests, tokens and concurrency")->require_subcommand(1);
  Teach(*group, "Windows are calendar minutes, hours, days and months in UTC. A stream ends at its very last allowed token.",
        {"tollgate quota set tokens/month 2000000 --team search", "tollgate quota show --project search/web"});

  auto* set = group->add_subcommand("set", "Set a limit, or replace the one of the same kind");
  const auto set_options = std::make_shared<QuotaOptions>();
  set->add_option("LIMIT", set_options->limit, "requests/WINDOW, tokens/WINDOW (minute, hour, day, month) or concurrent")->required();
  set->add_option("AMOUNT", set_options->amount, "At most this many; 0 = none at all")->required()->check(CLI::NonNegativeNumber);
  set_options->scope.AddTo(*set, "that is limited");
  set->callback([&context, set_options] { Set(context, *set_options); });
  Teach(*set,
        "Without --team, --project or --key-id the org is limited. What is used stays used.\nWindows hold over all instances together; "
        "`concurrent` is for each instance by itself.",
        {"tollgate quota set tokens/month 2000000 --team search", "tollgate quota set requests/minute 60 --project search/web",
         "tollgate quota set concurrent 4 --key-id 3kQ9xZ0b"});

  auto* show = group->add_subcommand("show", "The limits that bear on a scope: its own and those above it");
  const auto show_options = std::make_shared<QuotaOptions>();
  show_options->scope.AddTo(*show, "that is asked about");
  show->callback([&context, show_options] { List(context, show_options.get()); });
  Teach(*show,
        "TAKEN is what the open window has used over all instances, and what is leased to them: they give back within seconds what they do "
        "not need.\nOf `concurrent` each instance counts its own. `-`: the key's roles do not give read_usage, or the database did not say "
        "at once.",
        {"tollgate quota show --project search/web"});

  auto* list = group->add_subcommand("list", "Every limit of an org");
  list->callback([&context] { List(context, nullptr); });
  Teach(*list, "", {"tollgate quota list --json"});

  auto* remove = group->add_subcommand("remove", "Remove a limit");
  const auto remove_options = std::make_shared<QuotaOptions>();
  remove->add_option("LIMIT", remove_options->limit, "As it was set: tokens/month")->required();
  remove_options->scope.AddTo(*remove, "that is limited");
  remove->callback([&context, remove_options] { Remove(context, *remove_options); });
  Teach(*remove, "", {"tollgate quota remove tokens/month --team search"});
}

}  // namespace tollgate::cli
