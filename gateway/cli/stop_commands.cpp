// stop: the emergency stop, and its lift.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Directory;
using v1::System;

struct StopOptions {
  std::string name;
  std::string reason;
  bool lift = false;
};

std::string ShowTarget(const v1::StopTarget& target) {
  if (target.everything()) return "everything";
  if (target.has_scope()) return ShowScope(target.scope());
  return "model " + target.model();
}

// The names of `rows`, behind `lead`; empty if there is none.
template <typename Rows>
std::string Names(const std::string& lead, const Rows& rows) {
  std::string out;
  for (const auto& row : rows) out += (out.empty() ? "\n  " + lead + ": " : ", ") + row.name();
  return out;
}

// What there is in place of a scope that there is not.
std::string Known(const Context& context, const Line& line, const v1::ScopeRef& scope) {
  v1::ListOrgsReply orgs;
  v1::ListTeamsReply teams;
  v1::ListProjectsReply projects;
  if (scope.team().empty()) {
    Call<Directory>(context, line, &Directory::Stub::ListOrgs, v1::ListOrgsRequest(), orgs);
    return Names("orgs", orgs.orgs());
  }
  v1::ListProjectsRequest in_team;
  in_team.set_org(scope.org());
  in_team.set_team(scope.team());
  if (!scope.project().empty()) Call<Directory>(context, line, &Directory::Stub::ListProjects, in_team, projects);
  if (!projects.projects().empty()) return Names("projects of the team", projects.projects());
  v1::ListTeamsRequest in_org;
  in_org.set_org(scope.org());
  Call<Directory>(context, line, &Directory::Stub::ListTeams, in_org, teams);
  return Names("teams of the org", teams.teams());
}

void Fail(Context& context, const Line& line, const v1::StopTarget& target, const StopOptions& options, const grpc::Status& status) {
  Tell(context, status, Effect::kChanges, [&](std::string text) {
    if (status.error_code() != grpc::StatusCode::NOT_FOUND) return text;
    if (options.lift) text += "; see what is stopped: tollgate stop list";
    if (!target.has_scope()) return text;
    if (!options.lift) text += "; nothing was stopped";
    return text + Known(context, line, target.scope());
  });
}

void Act(Context& context, const v1::StopTarget& target, const StopOptions& options) {
  const auto line = Open(context, Listener::kAdmin);
  if (!line) return;
  v1::EmergencyStop stop;
  grpc::Status status;
  if (options.lift) {
    v1::LiftStopRequest request;
    *request.mutable_target() = target;
    request.set_reason(options.reason);
    status = Call<System>(context, *line, &System::Stub::LiftStop, request, stop);
  } else {
    v1::StopRequest request;
    *request.mutable_target() = target;
    request.set_reason(options.reason);
    status = Call<System>(context, *line, &System::Stub::Stop, request, stop);
  }
  if (!status.ok()) return Fail(context, *line, target, options, status);
  if (context.globals.json) {
    context.PrintJson(stop);
  } else {
    context.Print(fmt::format("{} {} (record {}); in force everywhere within a second\n", ShowTarget(stop.target()),
                              stop.in_force() ? "is stopped" : "may run again", stop.record()));
  }
  for (const std::string& warning : stop.warnings()) context.err() << fmt::format("warning: {}\n", warning);
  if (options.lift || target.model().empty()) return;
  WarnUnlessServed(
      context, *line, target.model(),
      fmt::format("the stop stays for one that may come. If the name is wrong: tollgate stop model {} --lift --reason \"wrong name\"",
                  target.model()));
}

void List(Context& context) {
  const auto reply = Look<System>(context, Listener::kAdmin, &System::Stub::ListStops, v1::ListStopsRequest());
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"stopped", "since (UTC)", "reason", "record"});
  for (const auto& stop : reply->stops()) table.Add({ShowTarget(stop.target()), ShowTime(stop.since_us()), stop.reason(), stop.record()});
  context.Print(table.Text("nothing is stopped"));
}

std::shared_ptr<StopOptions> AddKind(CLI::App& group, const char* kind, const std::string& about, const char* place,
                                     const std::string& sample, std::function<void(const StopOptions&)> run) {
  auto* command = group.add_subcommand(kind, about);
  const auto options = std::make_shared<StopOptions>();
  if (place != nullptr) command->add_option(place, options->name, std::string("Which ") + kind)->required();
  command->add_option("--reason", options->reason, "Why, for the record and for those who are refused")->required();
  command->add_flag("--lift", options->lift, "Let it run again");
  command->callback([options, run = std::move(run)] { run(*options); });
  Teach(*command, "",
        {fmt::format("tollgate stop {} --reason \"unsafe answers, incident 12\"", sample),
         fmt::format("tollgate stop {} --lift --reason \"cleared\"", sample)});
  return options;
}
}  // namespace

void AddStopCommands(CLI::App& app, Context& context) {
  auto* group =
      app.add_subcommand("stop", "Emergency stop: refuse new requests and end running ones within a second")->require_subcommand(1);
  Teach(*group, "The same words with --lift let it run again. What is refused meanwhile is told the reason.",
        {"tollgate stop everything --reason \"incident 12\"", "tollgate stop model smollm2 --lift --reason \"cleared\"",
         "tollgate stop list"});
  AddKind(*group, "everything", "All requests of the whole installation", nullptr, "everything", [&context](const StopOptions& options) {
    v1::StopTarget target;
    target.set_everything(true);
    Act(context, target, options);
  });
  AddKind(*group, "model", "One model, for everyone", "MODEL", "model smollm2", [&context](const StopOptions& options) {
    v1::StopTarget target;
    target.set_model(options.name);
    Act(context, target, options);
  });
  AddKind(*group, "org", "One org", "ORG", "org acme", [&context](const StopOptions& options) {
    v1::StopTarget target;
    target.mutable_scope()->set_org(options.name);
    Act(context, target, options);
  });
  const auto scope = [&context](const StopOptions& options, bool project) {
    const auto place = context.Take(ParsePlace(options.name, project));
    if (!place) return;
    v1::StopTarget target;
    target.mutable_scope()->set_org(OrgOf(context.globals));
    target.mutable_scope()->set_team(place->team);
    target.mutable_scope()->set_project(place->project);
    Act(context, target, options);
  };
  AddKind(*group, "team", "One team", "TEAM", "team search", [scope](const StopOptions& options) { scope(options, false); });
  AddKind(*group, "project", "One project", "TEAM/PROJECT", "project search/web",
          [scope](const StopOptions& options) { scope(options, true); });
  auto* list = group->add_subcommand("list", "The stops in force");
  list->callback([&context] { List(context); });
  Teach(*list, "", {"tollgate stop list"});
}

}  // namespace tollgate::cli
