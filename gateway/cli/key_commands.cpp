// key: made, listed, rotated, revoked. A key's text is printed once, alone on standard output, so that `KEY=$(tollgate key create …)`
// works; what is said about it goes to standard error.
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

struct KeyOptions {
  std::string place;
  std::string name;
  std::string owner;
  std::vector<std::string> roles;
  std::string expires;
  std::string public_id;
  std::string overlap = "24h";
  std::string reason;
  bool now = false;
  bool all = false;
};

void PrintSecret(Context& context, const v1::CreateKeyReply& reply) {
  if (context.globals.json) return context.PrintJson(reply);
  const v1::Key& key = reply.key();
  context.err() << fmt::format("key {} of {}/{}/{}, roles {}, owner {}, expires {} (record {})\nIts text is shown this once:\n",
                               key.public_id(), key.org(), key.team(), key.project(), fmt::join(key.roles(), ","), key.owner(),
                               key.expires_us() == 0 ? "never" : ShowTime(key.expires_us()), key.record());
  context.Print(reply.secret() + "\n");
}

void Create(Context& context, const KeyOptions& options) {
  const auto place = context.Take(ParsePlace(options.place, true));
  if (!place) return;
  v1::CreateKeyRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_team(place->team);
  request.set_project(place->project);
  request.set_name(options.name);
  request.set_owner(options.owner);
  for (const std::string& role : options.roles) request.add_roles(role);
  if (!options.expires.empty()) {
    const auto seconds = context.Take(ParseDuration(options.expires));
    if (!seconds) return;
    request.set_expires_in_s(*seconds);
  }
  const auto reply = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::CreateKey, request);
  if (reply) PrintSecret(context, *reply);
}

std::string StateOf(const v1::Key& key, std::int64_t now_us) {
  if (key.revoked_us() != 0) return "revoked";
  if (key.expires_us() == 0) return "good";
  return key.expires_us() <= now_us ? "expired" : "until " + ShowTime(key.expires_us());
}

void List(Context& context, const KeyOptions& options) {
  v1::ListKeysRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_include_dead(options.all);
  if (!options.place.empty()) {
    const auto place = context.Take(ParsePlace(options.place, false));
    if (!place) return;
    request.set_team(place->team);
    request.set_project(place->project);
  }
  const auto reply =
      AskAll<Directory>(context, Listener::kAdmin, &Directory::Stub::ListKeys, request, [](const auto& r) { return r.keys_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  const std::int64_t now = base::ToMicros(context.clock.Wall());
  Table table({"key", "project", "name", "owner", "roles", "made", "state"});
  for (const v1::Key& key : reply->keys()) {
    table.Add({key.public_id(), fmt::format("{}/{}/{}", key.org(), key.team(), key.project()), key.name(), key.owner(),
               fmt::format("{}", fmt::join(key.roles(), ",")), ShowTime(key.created_us()), StateOf(key, now) + (key.dev() ? ", dev" : "")});
  }
  context.Print(table.Text("no keys; make one: tollgate key create TEAM/PROJECT --name NAME"));
}

void Rotate(Context& context, const KeyOptions& options) {
  v1::RotateKeyRequest request;
  request.set_public_id(options.public_id);
  if (!options.now) {
    const auto seconds = context.Take(ParseDuration(options.overlap));
    if (!seconds) return;
    request.set_overlap_s(*seconds);
  }
  const auto reply = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::RotateKey, request);
  if (!reply) return;
  if (!context.globals.json)
    context.err() << fmt::format("the old key {} {}\n", options.public_id,
                                 options.now ? "has ended" : "goes on working for " + options.overlap);
  PrintSecret(context, *reply);
}

void Revoke(Context& context, const KeyOptions& options) {
  v1::RevokeKeyRequest request;
  request.set_public_id(options.public_id);
  request.set_reason(options.reason);
  const auto key = Ask<Directory>(context, Listener::kAdmin, &Directory::Stub::RevokeKey, request);
  if (!key) return;
  if (context.globals.json) return context.PrintJson(*key);
  context.Print(fmt::format("key {} is revoked (record {}); refused everywhere within a second, running streams too\n", key->public_id(),
                            key->record()));
}

void AddCreate(CLI::App& group, Context& context) {
  auto* command = group.add_subcommand("create", "Make a key; its text is printed this once");
  const auto options = std::make_shared<KeyOptions>();
  command->add_option("TEAM/PROJECT", options->place, "The project it belongs to")->required();
  command->add_option("--name", options->name, "What it is for")->required();
  command->add_option("--owner", options->owner, "The person it belongs to; else the owner of the key that makes it");
  command->add_option("--role", options->roles, "What it may do; may be given more than once; else member")
      ->check(CLI::IsMember(
          {"owner", "admin", "policy_author", "approver", "auditor", "finance", "operator", "member", "grammar_author", "evidence"}))
      ->allow_extra_args(false);
  command->add_option("--expires", options->expires, "How long it lasts: 90d, 24h; else for ever");
  command->callback([&context, options] { Create(context, *options); });
  Teach(*command, "The text goes to standard output, everything else to standard error.",
        {"tollgate key create search/web --name ci --expires 90d",
         "tollgate key create search/web --name books --role finance --owner ann@acme.example",
         "export TOLLGATE_KEY=$(tollgate key create search/web --name me)"});
}
}  // namespace

void AddKeyCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("key", "API keys")->require_subcommand(1);
  Teach(*group, "",
        {"tollgate key create search/web --name ci", "tollgate key list search", "tollgate key rotate 3kQ9xZ0b",
         "tollgate key revoke 3kQ9xZ0b --reason leaked"});
  AddCreate(*group, context);

  auto* list = group->add_subcommand("list", "Keys, never their text");
  const auto list_options = std::make_shared<KeyOptions>();
  list->add_option("TEAM[/PROJECT]", list_options->place, "Only those of this team or project");
  list->add_flag("--all", list_options->all, "Revoked and expired ones too");
  list->callback([&context, list_options] { List(context, *list_options); });
  Teach(*list, "", {"tollgate key list", "tollgate key list search/web --all --json"});

  auto* rotate = group->add_subcommand("rotate", "Make a successor; the old key works on for a while");
  const auto rotate_options = std::make_shared<KeyOptions>();
  rotate->add_option("KEY", rotate_options->public_id, "Its id: the 8 characters after tg_live_")->required();
  rotate->add_option("--overlap", rotate_options->overlap, "How long the old key goes on working")->capture_default_str();
  rotate->add_flag("--now", rotate_options->now, "End the old key at once")->excludes("--overlap");
  rotate->callback([&context, rotate_options] { Rotate(context, *rotate_options); });
  Teach(*rotate, "", {"tollgate key rotate 3kQ9xZ0b --overlap 7d"});

  auto* revoke = group->add_subcommand("revoke", "End a key at once and for good, running streams too");
  const auto revoke_options = std::make_shared<KeyOptions>();
  revoke->add_option("KEY", revoke_options->public_id, "Its id: the 8 characters after tg_live_")->required();
  revoke->add_option("--reason", revoke_options->reason, "Why, for the record")->required();
  revoke->callback([&context, revoke_options] { Revoke(context, *revoke_options); });
  Teach(*revoke, "", {"tollgate key revoke 3kQ9xZ0b --reason \"found in a public repository\""});
}

}  // namespace tollgate::cli
