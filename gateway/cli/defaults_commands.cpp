// defaults: what an org, team, project or key puts before its prompts, the values for what requests leave out, caps, and its standing in
// queues. `set` says the whole of it, so that what stands in a script is what is in force.
//
// Tested by tests/gateway/cli/defaults_test.cpp.
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/policy_text.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/defaults.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Defaults;

struct DefaultsOptions {
  ScopeOptions scope;
  std::string system_file;
  v1::ChatDefaults set;
};

// A number that is set only if it was given.
template <typename Number>
void AddNumber(CLI::App& command, const std::shared_ptr<DefaultsOptions>& options, const char* name, const char* help,
               void (*set)(v1::ChatDefaults&, Number)) {
  command.add_option_function<Number>(
      name, [options, set](const Number& value) { set(options->set, value); }, help);
}

void PrintOne(Context& context, const v1::ScopeDefaults& defaults, const char* what) {
  if (context.globals.json) return context.PrintJson(defaults);
  context.Print(fmt::format("{}: defaults of {}, version {}: {} (record {}); in force everywhere within a second\n", what,
                            ShowScope(defaults.scope()), defaults.version(), defaults.summary(), defaults.record()));
}

void Set(Context& context, const DefaultsOptions& options) {
  auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  v1::SetDefaultsRequest request;
  *request.mutable_scope() = *std::move(scope);
  *request.mutable_defaults() = options.set;
  if (!options.system_file.empty()) {
    const auto text = ReadText(context, options.system_file);
    if (!text) return;
    request.mutable_defaults()->set_system_prompt(*text);
  }
  if (const auto made = Ask<Defaults>(context, Listener::kAdmin, &Defaults::Stub::Set, request)) PrintOne(context, *made, "set");
}

void Remove(Context& context, const DefaultsOptions& options) {
  auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  v1::RemoveDefaultsRequest request;
  *request.mutable_scope() = *std::move(scope);
  if (const auto made = Ask<Defaults>(context, Listener::kAdmin, &Defaults::Stub::Remove, request)) PrintOne(context, *made, "removed");
}

std::optional<v1::ListDefaultsReply> AskForAll(Context& context) {
  v1::ListDefaultsRequest request;
  request.set_org(OrgOf(context.globals));
  return AskAll<Defaults>(context, Listener::kAdmin, &Defaults::Stub::List, request, [](const auto& r) { return r.defaults_size(); });
}

void List(Context& context) {
  const auto reply = AskForAll(context);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"scope", "> version", "sets", "record"});
  for (const v1::ScopeDefaults& defaults : reply->defaults())
    table.Add({ShowScope(defaults.scope()), ShowCount(defaults.version()), defaults.summary(), defaults.record()});
  context.Print(table.Text("no defaults; set some: tollgate defaults set --team TEAM --system TEXT"));
}

void Show(Context& context, const DefaultsOptions& options) {
  const auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return;
  const auto reply = AskForAll(context);
  if (!reply) return;
  for (const v1::ScopeDefaults& defaults : reply->defaults()) {
    const v1::ScopeRef& its = defaults.scope();
    if (its.team() != scope->team() || its.project() != scope->project() || its.key() != scope->key()) continue;
    if (context.globals.json) return context.PrintJson(defaults);
    context.Print(fmt::format("{}, version {}, record {}\n{}\n", ShowScope(defaults.scope()), defaults.version(), defaults.record(),
                              defaults.summary()));
    if (!defaults.defaults().system_prompt().empty()) context.Print(fmt::format("\n{}\n", defaults.defaults().system_prompt()));
    return;
  }
  context.Fail(kRefused, "the scope has no defaults of its own; see those there are: tollgate defaults list");
}

void AddSet(CLI::App& group, Context& context) {
  auto* set = group.add_subcommand("set", "Set all defaults of an org, team, project or key, in place of what it had");
  const auto o = std::make_shared<DefaultsOptions>();
  o->scope.AddTo(*set, "whose defaults are set");
  auto* text = set->add_option_function<std::string>(
      "--system", [o](const std::string& value) { o->set.set_system_prompt(value); }, "Text that stands before every prompt");
  set->add_option("--system-file", o->system_file, "The same, from a file; - = standard input")->excludes(text);
  set->add_flag_callback(
      "--replace-system", [o] { o->set.set_replaces_system(true); }, "Drop the callers' own system messages; else they follow");
  AddNumber<double>(*set, o, "--temperature", "Where a request names none: 0 to 2",
                    [](v1::ChatDefaults& d, double v) { d.mutable_sampling()->set_temperature(v); });
  AddNumber<double>(*set, o, "--top-p", "The same: more than 0, to 1",
                    [](v1::ChatDefaults& d, double v) { d.mutable_sampling()->set_top_p(v); });
  AddNumber<int>(*set, o, "--top-k", "The same: 0 = all tokens", [](v1::ChatDefaults& d, int v) { d.mutable_sampling()->set_top_k(v); });
  AddNumber<double>(*set, o, "--min-p", "The same: 0 to 1", [](v1::ChatDefaults& d, double v) { d.mutable_sampling()->set_min_p(v); });
  AddNumber<double>(*set, o, "--presence-penalty", "The same: -2 to 2",
                    [](v1::ChatDefaults& d, double v) { d.mutable_sampling()->set_presence_penalty(v); });
  AddNumber<double>(*set, o, "--frequency-penalty", "The same: -2 to 2",
                    [](v1::ChatDefaults& d, double v) { d.mutable_sampling()->set_frequency_penalty(v); });
  AddNumber<double>(*set, o, "--repeat-penalty", "The same: more than 0, to 2; 1 = none",
                    [](v1::ChatDefaults& d, double v) { d.mutable_sampling()->set_repeat_penalty(v); });
  AddNumber<int>(*set, o, "--max-tokens", "The same: tokens of output", [](v1::ChatDefaults& d, int v) { d.set_max_tokens(v); });
  AddNumber<int>(*set, o, "--band", "Where a model is busy: 0 is let in first, 3 last, 1 is the ordinary one",
                 [](v1::ChatDefaults& d, int v) { d.set_band(v); });
  AddNumber<double>(*set, o, "--weight", "Its share there: 0.01 to 100; 2 gets twice the tokens of 1, the ordinary one",
                    [](v1::ChatDefaults& d, double v) { d.set_weight(v); });
  AddNumber<double>(*set, o, "--cap-temperature", "No request may go beyond this temperature",
                    [](v1::ChatDefaults& d, double v) { d.set_temperature_cap(v); });
  AddNumber<int>(*set, o, "--cap-input-tokens", "… nor these tokens of prompt",
                 [](v1::ChatDefaults& d, int v) { d.set_input_tokens_cap(v); });
  AddNumber<int>(*set, o, "--cap-output-tokens", "… nor these of output, of all its replies together",
                 [](v1::ChatDefaults& d, int v) { d.set_output_tokens_cap(v); });
  AddNumber<int>(*set, o, "--cap-reasoning-tokens", "… nor think for more tokens than these, in each reply",
                 [](v1::ChatDefaults& d, int v) { d.set_reasoning_tokens_cap(v); });
  AddNumber<int>(*set, o, "--cap-stops", "… nor so many stop strings", [](v1::ChatDefaults& d, int v) { d.set_stop_cap(v); });
  set->add_flag_callback(
      "--share-cache", [o] { o->set.set_shares_cache(true); },
      "Publish an org's prompt: models keep what they compute of it for all teams");
  set->add_flag_callback(
      "--clamp", [o] { o->set.set_clamp(true); }, "Lower to the cap what is beyond it; else such requests are refused");
  set->callback([&context, o] { Set(context, *o); });
  Teach(*set,
        "Without --team, --project or --key-id the org's are set. What is not given is not set. A band below 1 and a weight above 1 are "
        "an owner's to give: they go before the requests of other orgs.",
        {"tollgate defaults set --team search --system \"Answer in English.\" --temperature 0.2 --max-tokens 512",
         "tollgate defaults set --cap-output-tokens 4096 --cap-temperature 1.2 --clamp",
         "tollgate defaults set --project search/web --system-file web.txt --replace-system",
         "tollgate defaults set --key-id 3kQ9xZ0b --band 3 --weight 0.5"});
}
}  // namespace

void AddDefaultsCommands(CLI::App& app, Context& context) {
  auto* group =
      app.add_subcommand("defaults", "System prompts, sampling defaults, caps and standing in queues of a scope")->require_subcommand(1);
  Teach(*group, "System prompts of org, team, project and key stand one after the other; the deepest default holds; every cap holds.",
        {"tollgate defaults set --team search --system \"Answer in English.\" --temperature 0.2", "tollgate defaults list"});
  AddSet(*group, context);

  auto* show = group->add_subcommand("show", "The defaults of one scope, with the system prompt");
  const auto show_options = std::make_shared<DefaultsOptions>();
  show_options->scope.AddTo(*show, "that is asked about");
  show->callback([&context, show_options] { Show(context, *show_options); });
  Teach(*show, "", {"tollgate defaults show --team search"});

  auto* list = group->add_subcommand("list", "The defaults of an org, its teams, projects and keys");
  list->callback([&context] { List(context); });
  Teach(*list, "", {"tollgate defaults list --json"});

  auto* remove = group->add_subcommand("remove", "Remove the defaults of a scope");
  const auto remove_options = std::make_shared<DefaultsOptions>();
  remove_options->scope.AddTo(*remove, "whose defaults end");
  remove->callback([&context, remove_options] { Remove(context, *remove_options); });
  Teach(*remove, "", {"tollgate defaults remove --team search"});
}

}  // namespace tollgate::cli
