// models: what the key may use (API listener), and the allow-lists that say so (admin listener). The registry: registry_commands.cpp.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/registry_commands.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Directory;

struct ModelOptions {
  std::string model;
  ScopeOptions scope;
};

void List(Context& context) {
  const auto reply = Look<v1::Models>(context, Listener::kApi, &v1::Models::Stub::List, v1::ListModelsRequest());
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"model", "> context tokens", "licence", "sha256"});
  for (const auto& model : reply->models())
    table.Add({model.name(), ShowCount(model.context_tokens()), model.licence(), model.sha256().substr(0, 16)});
  context.Print(table.Text("the key may use no model; an administrator can see why: tollgate models grants"));
}

void PrintGrant(Context& context, const v1::Grant& grant) {
  if (context.globals.json) return context.PrintJson(grant);
  context.Print(fmt::format("{} is {} the allow-list of {} (record {})\n", grant.model(), grant.granted() ? "on" : "off",
                            ShowScope(grant.scope()), grant.record()));
}

void Grant(Context& context, const ModelOptions& options, bool granted) {
  const auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  std::optional<v1::Grant> grant;
  if (granted) {
    v1::GrantModelRequest request;
    *request.mutable_scope() = *scope;
    request.set_model(options.model);
    grant = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::GrantModel, request);
  } else {
    v1::RevokeGrantRequest request;
    *request.mutable_scope() = *scope;
    request.set_model(options.model);
    grant = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::RevokeGrant, request);
  }
  if (!grant) return;
  PrintGrant(context, *grant);
  if (!granted) return;
  if (const auto line = Open(context, Listener::kAdmin)) {
    WarnUnlessServed(context, *line, options.model,
                     fmt::format("{} may use nothing but what is on its list. To remove the list: tollgate models clear{}",
                                 ShowScope(*scope), ShowScopeOptions(*scope)));
  }
}

void Clear(Context& context, const ModelOptions& options) {
  const auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  v1::ClearGrantsRequest request;
  *request.mutable_scope() = *scope;
  const auto reply = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::ClearGrants, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(fmt::format("the allow-list of {} is gone ({} lines)\n", ShowScope(*scope), reply->removed()));
}

void ListGrants(Context& context) {
  v1::ListGrantsRequest request;
  request.set_org(OrgOf(context.globals));
  const auto reply =
      AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListGrants, request, [](const auto& r) { return r.grants_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"scope", "model", "state", "record"});
  for (const auto& grant : reply->grants())
    table.Add({ShowScope(grant.scope()), grant.model(),
               !grant.granted()          ? "taken off"
               : grant.by_installation() ? "allowed, restricted or not"
                                         : "allowed",
               grant.record()});
  context.Print(table.Text("no allow-lists: every key may use every model"));
}
}  // namespace

void AddModelCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("models", "The models: their registry, and who may use which")->require_subcommand(1);
  Teach(*group, "",
        {"tollgate models list", "tollgate models add qwen3 --file qwen3.gguf --sha256 …", "tollgate models load qwen3",
         "tollgate models grant smollm2 --team search"});

  auto* list = group->add_subcommand("list", "The models that the key may use");
  struct Which {
    bool registered = false, retired = false;
  };
  const auto which = std::make_shared<Which>();
  list->add_flag("--registered", which->registered, "Those of the registry instead, with how each stands (admin listener)");
  list->add_flag("--retired", which->retired, "Of the registry, also those that are retired");
  list->callback([&context, which] { which->registered || which->retired ? ListRegistered(context, which->retired) : List(context); });
  Teach(*list, "", {"tollgate models list --json", "tollgate models list --registered"});
  AddRegistryCommands(*group, context);
  AddAliasCommands(*group, context);
  AddDeviceCommands(*group, context);

  for (const bool granted : {true, false}) {
    auto* command = group->add_subcommand(granted ? "grant" : "revoke", granted ? "Put a model on a scope's allow-list"
                                                                                : "Take a model off a scope's allow-list; the list stays");
    const auto options = std::make_shared<ModelOptions>();
    command->add_option("MODEL", options->model, "Name of the model")->required();
    options->scope.AddTo(*command, "whose list it is");
    command->callback([&context, options, granted] { Grant(context, *options, granted); });
    Teach(*command,
          granted ? "A scope with a list may use only what is on it, and only what every scope above allows. A restricted model is opened "
                    "only by an "
                    "owner's grant."
                  : "A scope with a list may use only what is on it, and only what every scope above allows.",
          {fmt::format("tollgate models {} smollm2 --team search", granted ? "grant" : "revoke")});
  }

  auto* clear = group->add_subcommand("clear", "Remove a scope's allow-list: it may use what the scopes above allow");
  const auto clear_options = std::make_shared<ModelOptions>();
  clear_options->scope.AddTo(*clear, "whose list it is");
  clear->callback([&context, clear_options] { Clear(context, *clear_options); });
  Teach(*clear, "", {"tollgate models clear --team search"});

  auto* grants = group->add_subcommand("grants", "The allow-lists of an org");
  grants->callback([&context] { ListGrants(context); });
  Teach(*grants, "", {"tollgate models grants"});
}

}  // namespace tollgate::cli
