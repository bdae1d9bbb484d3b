// policy check, test and packs; explain and lint are in policy_explain_commands.cpp, replay in policy_replay_commands.cpp, the others in
// policy_lifecycle_commands.cpp. A file named "-" is standard input.
//
// Tested by tests/gateway/cli/remote_test.cpp and tests/gateway/cli/packs_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "base/nearest_word.h"
#include "gateway/cli/policy_text.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/cli/words.h"
#include "policy/packs.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Policy;

struct PolicyOptions {
  std::string file;
  std::string name;
  std::string input;
  std::string output;
  ScopeOptions scope;
  std::string model;
};

std::optional<v1::CheckPolicyReply> AskCheck(Context& context, const PolicyOptions& options) {
  v1::CheckPolicyRequest request;
  const auto scope = context.Take(options.scope.Read(OrgOf(context.globals)));
  if (!scope) return std::nullopt;
  request.set_org(scope->org());
  if (!options.file.empty()) {
    const auto yaml = ReadPolicyText(context, options.file);
    if (!yaml) return std::nullopt;
    request.set_yaml(*yaml);
    request.set_name(options.name);
  }
  if (!options.input.empty()) {
    v1::ChatMessage& message = *request.add_messages();
    message.set_role(v1::ROLE_USER);
    message.add_parts(options.input);
  }
  request.set_output(options.output);
  request.set_team(scope->team());
  request.set_project(scope->project());
  request.set_key(scope->key());
  request.set_model(options.model);
  const auto words = [&](const std::string& told) {
    return ToldOfFile(told, options.name.empty() ? "policy" : options.name, options.file);
  };
  if (options.file.empty()) return Look<Policy>(context, Listener::kAdmin, &Policy::Stub::Check, request);
  return Look<Policy>(context, Listener::kAdmin, &Policy::Stub::Check, request, words);
}

void Check(Context& context, PolicyOptions options) {
  if (options.name.empty() && options.file != "-") options.name = StemOf(options.file);
  const auto reply = AskCheck(context, options);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"rule", "does", "what"});
  for (const auto& rule : reply->rules()) table.Add({rule.id(), rule.action(), rule.summary()});
  context.Print(table.Text("no rules: everything is allowed"));
  context.Print(fmt::format("good: {} rule{}\n", reply->rules_size(), reply->rules_size() == 1 ? "" : "s"));
}

std::string Outcome(const v1::PolicyOutcome& outcome, std::string_view direction, const std::string& used) {
  std::string text = fmt::format("{}: {}\n", direction, PolicyWords(outcome));
  if (outcome.action() != "block") text += Indented(used, "  becomes: ");  // Each line of it: none is the program's own.
  return text;
}

void Test(Context& context, const PolicyOptions& options) {
  if (options.input.empty() && options.output.empty()) return context.Fail(kUsage, "nothing to try: give --input TEXT or --output TEXT");
  const auto reply = AskCheck(context, options);
  if (!reply) return;
  const bool blocked = reply->input().action() == "block" || reply->output().action() == "block";
  if (blocked) context.exit_code = kRefused;
  if (context.globals.json) return context.PrintJson(*reply);
  std::string used;
  for (const auto& message : reply->messages_used()) {
    for (const std::string& part : message.parts()) used += part;
  }
  if (reply->has_input()) context.Print(Outcome(reply->input(), "input", used));
  if (reply->has_output()) context.Print(Outcome(reply->output(), "output", reply->output_used()));
  Table table({"direction", "rule", "does", "> message", "field", "> from", "> to", "because"});
  for (const auto& found : reply->findings()) {
    table.Add({found.direction(), found.rule_id(), found.action(), std::to_string(found.message()), found.field(),
               std::to_string(found.begin()), std::to_string(found.end()), found.because()});
  }
  context.Print(table.Text("no rule matched"));
}

void AddTrying(CLI::App& group, Context& context) {
  auto* check = group.add_subcommand("check", "Compile a policy and list its rules; stores nothing");
  const auto check_options = std::make_shared<PolicyOptions>();
  check->add_option("FILE", check_options->file, "YAML file, or - for standard input")->required();
  check->add_option("--name", check_options->name, "Its name; else the file's, without what follows the first dot");
  check->callback([&context, check_options] { Check(context, *check_options); });
  Teach(*check, "All that is wrong is told, each with file, line and column. It must go together with the org's other policies in force.",
        {"tollgate policy check acme.yaml"});

  auto* test = group.add_subcommand("test", "Run a text through a policy; stores and records nothing");
  const auto o = std::make_shared<PolicyOptions>();
  test->add_option("FILE", o->file, "YAML file, or - for standard input; else the policies in force");
  test->add_option("--input", o->input, "A prompt");
  test->add_option("--output", o->output, "A reply");
  o->scope.AddTo(*test, "that the text is taken to come from");
  test->add_option("--model", o->model, "The model that it is taken to go to");
  test->callback([&context, o] { Test(context, *o); });
  Teach(*test, "Exit code 1 if the text is blocked.",
        {"tollgate policy test --input \"my card is 4111 1111 1111 1111\"",
         "tollgate policy test acme.yaml --output \"write to ann@acme.example\" --team support"});
}

void PrintPack(Context& context, const std::string& name) {
  if (const policy::Pack* pack = policy::FindPack(name); pack != nullptr) return context.Print(std::string(pack->yaml));
  std::vector<std::string_view> known;
  for (const policy::Pack& pack : policy::Packs()) known.push_back(pack.name);
  const std::string_view near = base::NearestWord(name, known);
  context.Fail(kUsage, near.empty() ? fmt::format("there is no pack '{}'; there are {}", name, fmt::join(known, ", "))
                                    : fmt::format("there is no pack '{}'; did you mean '{}'?", name, near));
}

void ListPacks(Context& context) {
  Table table({"pack", "what it does"});
  boost::json::array list;
  for (const policy::Pack& pack : policy::Packs()) {
    table.Add({std::string(pack.name), std::string(pack.description)});
    list.push_back({{"name", boost::json::string(pack.name)}, {"description", boost::json::string(pack.description)}});
  }
  context.Print(context.globals.json ? boost::json::serialize(list) + "\n" : table.Text(""));
}

void AddPacks(CLI::App& group, Context& context) {
  auto* packs = group.add_subcommand("packs", "List the policies to start from, or print one; needs no server");
  const auto name = std::make_shared<std::string>();
  packs->add_option("NAME", *name, "The pack to print, as YAML that `policy put` takes");
  packs->callback([&context, name] { name->empty() ? ListPacks(context) : PrintPack(context, *name); });
  Teach(*packs, "Each carries its own tests. docs/packs.md tells what each does, and what it does not.",
        {"tollgate policy packs", "tollgate policy packs pii-eu | tollgate policy put - --name pii-eu",
         "tollgate policy packs secrets > secrets.yaml"});
}
}  // namespace

void AddPolicyCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("policy", "Policies: what may be asked and answered")->require_subcommand(1);
  Teach(*group, "The language: docs/policy.md.",
        {"tollgate policy packs", "tollgate policy check acme.yaml", "tollgate policy put acme.yaml", "tollgate policy list"});
  AddTrying(*group, context);
  AddPacks(*group, context);
  AddPolicyExplainCommands(*group, context);
  AddPolicyLifecycleCommands(*group, context);
  AddApprovalCommands(*group, context);
  AddPolicyBundleCommands(*group, context);
  AddPolicyReplayCommands(*group, context);
}

}  // namespace tollgate::cli
