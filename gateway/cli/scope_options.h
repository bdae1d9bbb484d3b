// The options that name a scope, for every command that works on one: --team, --project TEAM/PROJECT, --key-id; none of them = the org.
// Room-internal.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "gateway/cli/context.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/directory.pb.h"

namespace tollgate::cli {

struct ScopeOptions {
  std::string team;
  std::string project;
  std::string key;

  void AddTo(CLI::App& command, const std::string& what) {
    auto* by_team = command.add_option("--team", team, "The team " + what);
    auto* by_project = command.add_option("--project", project, "The project " + what + ", as TEAM/PROJECT")->excludes(by_team);
    command.add_option("--key-id", key, "The key " + what + ", by its id")->excludes(by_team)->excludes(by_project);
  }

  bool none() const { return team.empty() && project.empty() && key.empty(); }

  absl::StatusOr<v1::ScopeRef> Read(const std::string& org) const {
    v1::ScopeRef scope;
    scope.set_org(org);
    scope.set_team(team);
    scope.set_key(key);
    if (!project.empty()) {
      TG_ASSIGN(const TeamAndProject place, ParsePlace(project, true));
      scope.set_team(place.team);
      scope.set_project(place.project);
    }
    return scope;
  }

  // Names them in a request that is for the caller's own org unless it says more; false: the command line's fault was told. A team or a
  // project is somebody's: in the org that every other command would mean.
  template <typename Request>
  bool Fill(Context& context, Request& request) const {
    const bool narrowed = !team.empty() || !project.empty();
    const auto scope = context.Take(Read(narrowed ? OrgOf(context.globals) : context.globals.org));
    if (!scope) return false;
    request.set_org(scope->org());
    request.set_team(scope->team());
    request.set_project(scope->project());
    request.set_key(scope->key());
    return true;
  }
};

}  // namespace tollgate::cli
