// org, team and project: made, listed, blocked. Three words for the same four things, so one set of functions serves them.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/directory.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Directory;

struct TenantOptions {
  std::string name;  // ORG, TEAM or TEAM/PROJECT
  std::string team;  // project list --team
  std::string reason;
};

std::string State(bool blocked) { return blocked ? "blocked" : "open"; }

void CreateOrg(Context& context, const TenantOptions& options) {
  v1::CreateOrgRequest request;
  request.set_name(options.name);
  const auto org = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::CreateOrg, request);
  if (!org) return;
  if (context.globals.json) return context.PrintJson(*org);
  context.Print(fmt::format("org {} made (record {})\n", org->name(), org->record()));
}

void CreateTeam(Context& context, const TenantOptions& options) {
  v1::CreateTeamRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_name(options.name);
  const auto team = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::CreateTeam, request);
  if (!team) return;
  if (context.globals.json) return context.PrintJson(*team);
  context.Print(fmt::format("team {}/{} made (record {})\n", team->org(), team->name(), team->record()));
}

void CreateProject(Context& context, const TenantOptions& options) {
  const auto place = context.Take(ParsePlace(options.name, true));
  if (!place) return;
  v1::CreateProjectRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_team(place->team);
  request.set_name(place->project);
  const auto project = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::CreateProject, request);
  if (!project) return;
  if (context.globals.json) return context.PrintJson(*project);
  context.Print(fmt::format("project {}/{}/{} made (record {})\n", project->org(), project->team(), project->name(), project->record()));
}

void ListOrgs(Context& context) {
  const auto reply = AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListOrgs, v1::ListOrgsRequest(),
                                       [](const auto& r) { return r.orgs_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"org", "state", "record"});
  for (const auto& org : reply->orgs()) table.Add({org.name(), State(org.blocked()), org.record()});
  context.Print(table.Text("no orgs"));
}

void ListTeams(Context& context) {
  v1::ListTeamsRequest request;
  request.set_org(OrgOf(context.globals));
  const auto reply =
      AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListTeams, request, [](const auto& r) { return r.teams_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"org", "team", "state", "record"});
  for (const auto& team : reply->teams()) table.Add({team.org(), team.name(), State(team.blocked()), team.record()});
  context.Print(table.Text("no teams; make one: tollgate team create NAME"));
}

void ListProjects(Context& context, const TenantOptions& options) {
  v1::ListProjectsRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_team(options.team);
  const auto reply = AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListProjects, request,
                                       [](const auto& r) { return r.projects_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"org", "team", "project", "state", "record"});
  for (const auto& project : reply->projects())
    table.Add({project.org(), project.team(), project.name(), State(project.blocked()), project.record()});
  context.Print(table.Text("no projects; make one: tollgate project create TEAM/NAME"));
}

enum class Kind { kOrg, kTeam, kProject };
constexpr const char* kNames[] = {"org", "team", "project"};

void SetBlocked(Context& context, Kind kind, const TenantOptions& options, bool blocked) {
  v1::SetBlockedRequest request;
  request.mutable_scope()->set_org(kind == Kind::kOrg ? options.name : OrgOf(context.globals));
  if (kind != Kind::kOrg) {
    const auto place = context.Take(ParsePlace(options.name, kind == Kind::kProject));
    if (!place) return;
    if (kind == Kind::kTeam && !place->project.empty())
      return context.Fail(kUsage, "a team's name has no '/'; for a project use `tollgate project block`");
    request.mutable_scope()->set_team(place->team);
    request.mutable_scope()->set_project(place->project);
  }
  request.set_blocked(blocked);
  request.set_reason(options.reason);
  const auto reply = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::SetBlocked, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(fmt::format("{} {} {} (record {}); in force everywhere within a second\n", kNames[static_cast<int>(kind)], options.name,
                            blocked ? "is blocked" : "is open again", reply->record()));
}

void AddBlock(CLI::App& group, Context& context, Kind kind, const char* place, const char* sample) {
  const std::string what = kNames[static_cast<int>(kind)];
  for (const bool blocked : {true, false}) {
    const std::string verb = blocked ? "block" : "unblock";
    auto* command = group.add_subcommand(
        verb, blocked ? "Refuse requests of the " + what + " and end running ones within a second" : "Lift the block of the " + what);
    const auto options = std::make_shared<TenantOptions>();
    command->add_option(place, options->name, "Which " + what)->required();
    command->add_option("--reason", options->reason, "Why, for the record")->required();
    command->callback([&context, options, kind, blocked] { SetBlocked(context, kind, *options, blocked); });
    Teach(*command, "",
          {fmt::format("tollgate {} {} {} --reason \"{}\"", what, verb, sample,
                       blocked ? "leaked key, ticket 4711" : "cleared, ticket 4711")});
  }
}

void AddOrg(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("org", "Companies: what is billed and administered as one")->require_subcommand(1);
  Teach(*group, "", {"tollgate org create acme", "tollgate org list"});
  auto* create = group->add_subcommand("create", "Make an org (needs a key that reaches the whole installation)");
  const auto options = std::make_shared<TenantOptions>();
  create->add_option("ORG", options->name, "Name: a-z, 0-9 and -")->required();
  create->callback([&context, options] { CreateOrg(context, *options); });
  Teach(*create, "", {"tollgate org create acme"});
  auto* list = group->add_subcommand("list", "The orgs that the key may see");
  list->callback([&context] { ListOrgs(context); });
  Teach(*list, "", {"tollgate org list --json"});
  AddBlock(*group, context, Kind::kOrg, "ORG", "acme");
}

void AddTeam(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("team", "Teams: the tenants, each isolated, encrypted and limited by itself")->require_subcommand(1);
  Teach(*group, "", {"tollgate team create search", "tollgate team list"});
  auto* create = group->add_subcommand("create", "Make a team");
  const auto options = std::make_shared<TenantOptions>();
  create->add_option("TEAM", options->name, "Name: a-z, 0-9 and -")->required();
  create->callback([&context, options] { CreateTeam(context, *options); });
  Teach(*create, "", {"tollgate team create search", "tollgate team create search --org acme"});
  auto* list = group->add_subcommand("list", "The teams of an org");
  list->callback([&context] { ListTeams(context); });
  Teach(*list, "", {"tollgate team list"});
  AddBlock(*group, context, Kind::kTeam, "TEAM", "search");
}

void AddProject(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("project", "Projects: the applications of a team")->require_subcommand(1);
  Teach(*group, "", {"tollgate project create search/web", "tollgate project list"});
  auto* create = group->add_subcommand("create", "Make a project in a team");
  const auto options = std::make_shared<TenantOptions>();
  create->add_option("TEAM/PROJECT", options->name, "Its team, and its name: a-z, 0-9 and -")->required();
  create->callback([&context, options] { CreateProject(context, *options); });
  Teach(*create, "", {"tollgate project create search/web"});
  auto* list = group->add_subcommand("list", "The projects of an org");
  const auto list_options = std::make_shared<TenantOptions>();
  list->add_option("--team", list_options->team, "Only those of this team");
  list->callback([&context, list_options] { ListProjects(context, *list_options); });
  Teach(*list, "", {"tollgate project list --team search"});
  AddBlock(*group, context, Kind::kProject, "TEAM/PROJECT", "search/web");
}
}  // namespace

void AddTenantCommands(CLI::App& app, Context& context) {
  AddOrg(app, context);
  AddTeam(app, context);
  AddProject(app, context);
}

}  // namespace tollgate::cli
