// models alias, aliases, rollback, unalias: names that lead to models (admin listener).
//
// Tested by tests/gateway/cli/registry_test.cpp.
#include <algorithm>
#include <charconv>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/registry_commands.h"
#include "gateway/cli/remote.h"
#include "tollgate/v1/registry.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Registry;

struct AliasOptions {
  std::string name;
  std::string reason;
  std::vector<std::string> targets;
  std::vector<std::string> fallbacks;
};

template <typename Targets>
std::string Show(const Targets& targets) {
  if (targets.size() == 1) return targets.begin()->model();
  std::string text;
  for (const auto& target : targets) text += fmt::format("{}{}={}", text.empty() ? "" : " ", target.model(), target.weight());
  return text;
}

// "qwen3" or "qwen3=90".
absl::StatusOr<v1::AliasTarget> ParseTarget(const std::string& word) {
  v1::AliasTarget target;
  const std::size_t equals = word.rfind('=');
  target.set_model(word.substr(0, equals));
  std::int64_t weight = 1;
  if (equals != std::string::npos) {
    const char* end = word.data() + word.size();
    const auto read = std::from_chars(word.data() + equals + 1, end, weight);
    if (read.ec != std::errc() || read.ptr != end || weight < 1)
      return base::InvalidArgument(fmt::format("\"{}\": write MODEL=WEIGHT, the weight a whole number from 1", word));
  }
  target.set_weight(weight);
  return target;
}

void Print(Context& context, const v1::ModelAlias& alias) {
  if (context.globals.json) return context.PrintJson(alias);
  std::string text = fmt::format("{} leads to {}", alias.name(), Show(alias.targets()));
  if (alias.fallbacks_size() > 0) text += fmt::format(", else to {}", fmt::join(alias.fallbacks(), ", "));
  context.Print(fmt::format("{} (record {}); in force everywhere within a second\n", text, alias.record()));
  for (const std::string& warning : alias.warnings()) context.err() << fmt::format("warning: {}\n", warning);
}

void Set(Context& context, const AliasOptions& options) {
  v1::SetAliasRequest request;
  request.set_name(options.name);
  for (const std::string& word : options.targets) {
    const auto target = context.Take(ParseTarget(word));
    if (!target) return;
    *request.add_targets() = *target;
  }
  for (const std::string& model : options.fallbacks) request.add_fallbacks(model);
  const auto alias = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::SetAlias, request);
  if (!alias) return;
  Print(context, *alias);
  const auto line = Open(context, Listener::kAdmin);
  if (!line) return;
  for (const auto& target : alias->targets()) {
    const std::string then = fmt::format("what {} leads there falls back, or is refused, until it is", alias->name());
    WarnUnlessServed(context, *line, target.model(), then);
  }
}

void Rollback(Context& context, const AliasOptions& options) {
  v1::RollbackAliasRequest request;
  request.set_name(options.name);
  request.set_reason(options.reason);
  if (const auto alias = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::RollbackAlias, request)) Print(context, *alias);
}

void Remove(Context& context, const AliasOptions& options) {
  v1::RemoveAliasRequest request;
  request.set_name(options.name);
  request.set_reason(options.reason);
  const auto alias = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::RemoveAlias, request);
  if (!alias) return;
  if (context.globals.json) return context.PrintJson(*alias);
  context.Print(fmt::format("alias {} is removed (record {})\n", alias->name(), alias->record()));
}

void List(Context& context) {
  const auto reply = AskAll<Registry>(context, Listener::kAdmin, &Registry::Stub::ListAliases, v1::ListAliasesRequest(),
                                      [](const auto& r) { return r.aliases_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"alias", "leads to", "else to", "before", "record"});
  for (const v1::ModelAlias& alias : reply->aliases()) {
    table.Add({alias.name(), Show(alias.targets()), fmt::format("{}", fmt::join(alias.fallbacks(), " ")), Show(alias.previous_targets()),
               alias.record()});
  }
  context.Print(table.Text("no aliases; tollgate models alias --help"));
}
}  // namespace

void AddAliasCommands(CLI::App& group, Context& context) {
  auto* set = group.add_subcommand("alias", "Lead callers of a name to models, some to each by weight");
  const auto options = std::make_shared<AliasOptions>();
  set->add_option("NAME", options->name, "The name that clients call")->required();
  set->add_option("MODEL", options->targets, "A model, or MODEL=WEIGHT; its share is its weight over the sum")->required();
  set->add_option("--fallback", options->fallbacks,
                  "A model for when the chosen one is not loaded, is full, or fails before its first token; several in order")
      ->allow_extra_args(false);
  set->callback([&context, options] { Set(context, *options); });
  Teach(
      *set,
      "Which model a request is led to follows from its id alone. Allow-lists, policy and price are those of the model that is used; a\n"
      "model that a key may not use gets none of its requests. Replies name both in x-tollgate-route, records and usage hold both.",
      {"tollgate models alias chat qwen3 --fallback smollm2", "tollgate models alias chat qwen3=95 qwen4=5 --fallback smollm2   # a canary",
       "tollgate models rollback chat --reason \"worse answers\"           # and back, at once"});

  auto* list = group.add_subcommand("aliases", "The aliases, where they lead, and where they led before");
  list->callback([&context] { List(context); });
  Teach(*list, "", {"tollgate models aliases"});

  for (const bool rollback : {true, false}) {
    auto* command = group.add_subcommand(rollback ? "rollback" : "unalias",
                                         rollback ? "Lead an alias back to where it led before its last change" : "Remove an alias");
    const auto about = std::make_shared<AliasOptions>();
    command->add_option("NAME", about->name, "Name of the alias")->required();
    command->add_option("--reason", about->reason, "Why, for the record")->required();
    command->callback([&context, about, rollback] { rollback ? Rollback(context, *about) : Remove(context, *about); });
    Teach(*command, rollback ? "A second time undoes the first." : "Its name means a model again, if there is one of that name.",
          {fmt::format("tollgate models {} chat --reason \"worse answers\"", rollback ? "rollback" : "unalias")});
  }
}

}  // namespace tollgate::cli
