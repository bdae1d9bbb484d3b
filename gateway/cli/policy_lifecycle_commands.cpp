// policy put, activate, shadow, canary, rollback, list, show, second-person: a policy's way from draft to retired.
//
// Tested by tests/gateway/cli/policy_lifecycle_test.cpp and tests/gateway/cli/remote_test.cpp.
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/policy_text.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Policy;

struct PolicyLifecycleOptions {
  std::string file, name, by = "request", wanted;
  std::int64_t version = 0;
  double share = 5;
  bool store_only = false, draft = false;
};

void PrintStored(Context& context, const v1::StoredPolicy& policy) {
  if (context.globals.json) return context.PrintJson(policy);
  if (policy.version() == 0)
    return context.Print(fmt::format("policy {} of {} is out of force (record {})\n", policy.name(), policy.org(), policy.record()));
  const std::string force =
      policy.version_in_force() == 0 ? "none is in force" : fmt::format("version {} is in force", policy.version_in_force());
  std::string line = fmt::format("policy {} of {}: version {} stored{}, {}", policy.name(), policy.org(), policy.version(),
                                 policy.state() == "draft" ? " as a draft: its tests fail" : "", force);
  if (policy.version_on_trial() > 0) line += fmt::format(", version {} is on trial ({})", policy.version_on_trial(), policy.trial());
  context.Print(fmt::format("{} (record {})\n", line, policy.record()));
  for (const std::string& warning : policy.warnings()) context.Print(fmt::format("warning: {}\n", warning));
}

template <typename Request>
void AskStored(Context& context, grpc::Status (Policy::Stub::*method)(grpc::ClientContext*, const Request&, v1::StoredPolicy*),
               Request request, const std::function<std::string(const std::string&)>& words = {}) {
  request.set_org(OrgOf(context.globals));
  const auto policy = Ask<Policy>(context, Listener::kAdmin, method, request, words);
  if (policy) PrintStored(context, *policy);
}

void Put(Context& context, const PolicyLifecycleOptions& options) {
  const auto yaml = ReadPolicyText(context, options.file);
  if (!yaml) return;
  v1::PutPolicyRequest request;
  request.set_name(options.name.empty() ? StemOf(options.file) : options.name);
  if (request.name().empty()) return context.Fail(kUsage, "standard input has no name: give --name");
  request.set_yaml(*yaml);
  request.set_store_only(options.store_only);
  request.set_draft(options.draft);
  AskStored(context, &Policy::Stub::Put, request, [&](const std::string& told) { return ToldOfFile(told, request.name(), options.file); });
}

void Activate(Context& context, const PolicyLifecycleOptions& options) {
  v1::ActivatePolicyRequest request;
  request.set_name(options.name);
  request.set_version(options.version);
  AskStored(context, &Policy::Stub::Activate, request);
}

void Try(Context& context, const PolicyLifecycleOptions& options, bool canary) {
  v1::TryPolicyRequest request;
  request.set_name(options.name);
  request.set_version(options.version);
  if (canary) request.set_canary_per_10000(std::llround(options.share * 100));
  request.set_by_tenant(canary && options.by == "tenant");
  AskStored(context, &Policy::Stub::Try, request);
}

void Rollback(Context& context, const PolicyLifecycleOptions& options) {
  v1::RollbackPolicyRequest request;
  request.set_name(options.name);
  AskStored(context, &Policy::Stub::Rollback, request);
}

void SecondPerson(Context& context, const PolicyLifecycleOptions& options) {
  v1::SetSecondPersonRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_wanted(options.wanted == "on");
  const auto reply = Ask<Policy>(context, Listener::kAdmin, &Policy::Stub::SetSecondPerson, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(reply->wanted()
                    ? fmt::format("org {}: nobody puts in force, canaries or takes out of force what they wrote themselves\n", reply->org())
                    : fmt::format("org {}: whoever may put policies in force may do so alone\n", reply->org()));
}

void List(Context& context, const PolicyLifecycleOptions& options) {
  v1::ListPoliciesRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_name(options.name);
  const auto reply =
      AskAll<Policy>(context, Listener::kAdmin, &Policy::Stub::List, request, [](const auto& r) { return r.policies_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"org", "policy", options.name.empty() ? "> newest" : "> version", "state", "> in force", "on trial", "stored (UTC)", "by",
               "sha256", "record"});
  for (const auto& policy : reply->policies()) {
    table.Add({policy.org(), policy.name(), std::to_string(policy.version()), policy.state(),
               policy.version_in_force() == 0 ? "none" : std::to_string(policy.version_in_force()),
               policy.version_on_trial() == 0 ? "-" : fmt::format("{}: {}", policy.version_on_trial(), policy.trial()),
               ShowTime(policy.created_us()), policy.author().empty() ? "-" : policy.author(), policy.sha256().substr(0, 12),
               policy.record()});
  }
  context.Print(
      table.Text(options.name.empty() ? "no policies: everything is allowed; put one: tollgate policy put FILE" : "no such policy"));
}

void Show(Context& context, const PolicyLifecycleOptions& options) {
  v1::ShowPolicyRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_name(options.name);
  request.set_version(options.version);
  const auto policy = Look<Policy>(context, Listener::kAdmin, &Policy::Stub::Show, request);
  if (!policy) return;
  if (context.globals.json) return context.PrintJson(*policy);
  context.Print(policy->yaml() + (policy->yaml().ends_with('\n') ? "" : "\n"));
}

std::shared_ptr<PolicyLifecycleOptions> AddNamed(CLI::App& command, bool version) {
  const auto o = std::make_shared<PolicyLifecycleOptions>();
  command.add_option("NAME", o->name, "Name of the policy")->required();
  if (version) command.add_option("VERSION", o->version, "The stored version")->required()->check(CLI::PositiveNumber);
  return o;
}

void AddTrials(CLI::App& group, Context& context) {
  auto* shadow = group.add_subcommand("shadow", "Try a stored version beside the one in force: it judges, is recorded, and does not act");
  const auto shadow_options = AddNamed(*shadow, true);
  shadow->callback([&context, shadow_options] { Try(context, *shadow_options, false); });
  Teach(
      *shadow,
      "Each request's records then hold both verdicts (tollgate audit show). An org tries one version at a time; rollback ends the trial,\n"
      "activate puts it in force.",
      {"tollgate policy put next.yaml --name acme --store-only", "tollgate policy shadow acme 4"});

  auto* canary = group.add_subcommand("canary", "Let a stored version act on a share of requests, in place of the one in force");
  const auto canary_options = AddNamed(*canary, true);
  canary->add_option("--share", canary_options->share, "Percent that it acts on")->capture_default_str()->check(CLI::Range(0.01, 100.0));
  canary->add_option("--by", canary_options->by, "What the share is of: requests, or tenants, each wholly in or out")
      ->capture_default_str()
      ->check(CLI::IsMember({"request", "tenant"}));
  canary->callback([&context, canary_options] { Try(context, *canary_options, true); });
  Teach(*canary, "A hash decides, so that the same tenant stays in or out. Records say which policies judged, and that they were a canary.",
        {"tollgate policy canary acme 4 --share 5", "tollgate policy canary acme 4 --share 20 --by tenant"});

  auto* rollback = group.add_subcommand("rollback", "Undo the last step: end a trial, or put back in force what was before");
  const auto rollback_options = AddNamed(*rollback, false);
  rollback->callback([&context, rollback_options] { Rollback(context, *rollback_options); });
  Teach(*rollback,
        "In force within a second; running requests keep the policies that they began with. Needs a second person only where "
        "nothing was in force before.",
        {"tollgate policy rollback acme"});

  auto* second = group.add_subcommand("second-person", "Whether whoever wrote a version may put it in force alone");
  const auto second_options = std::make_shared<PolicyLifecycleOptions>();
  second->add_option("WANTED", second_options->wanted, "on: it takes somebody else; off: it does not")
      ->required()
      ->check(CLI::IsMember({"on", "off"}));
  second->callback([&context, second_options] { SecondPerson(context, *second_options); });
  Teach(*second, "People are told apart by the owners of their keys. Takes the role owner.",
        {"tollgate policy second-person on --org acme"});
}

}  // namespace

void AddPolicyLifecycleCommands(CLI::App& group, Context& context) {
  auto* put = group.add_subcommand("put", "Store a new version and put it in force");
  const auto put_options = std::make_shared<PolicyLifecycleOptions>();
  put->add_option("FILE", put_options->file, "YAML file, or - for standard input")->required();
  put->add_option("--name", put_options->name, "Its name; else the file's, without what follows the first dot");
  put->add_flag("--store-only", put_options->store_only, "Leave in force what is in force");
  put->add_flag("--draft", put_options->draft, "The same, even if its own tests fail; they must pass before it acts");
  put->callback([&context, put_options] { Put(context, *put_options); });
  Teach(*put, "", {"tollgate policy put acme.yaml", "tollgate policy put draft.yaml --name acme --store-only"});

  auto* activate = group.add_subcommand("activate", "Put a stored version in force");
  const auto activate_options = std::make_shared<PolicyLifecycleOptions>();
  activate->add_option("NAME", activate_options->name, "Name of the policy")->required();
  activate->add_option("VERSION", activate_options->version, "The version; 0 takes the policy out of force")
      ->required()
      ->check(CLI::NonNegativeNumber);
  activate->callback([&context, activate_options] { Activate(context, *activate_options); });
  Teach(*activate, "", {"tollgate policy activate acme 3", "tollgate policy activate acme 0"});
  AddTrials(group, context);

  auto* list = group.add_subcommand("list", "The policies of an org, or every version of one");
  const auto list_options = std::make_shared<PolicyLifecycleOptions>();
  list->add_option("NAME", list_options->name, "Name of a policy: all its versions, newest first");
  list->callback([&context, list_options] { List(context, *list_options); });
  Teach(*list, "States: draft (its tests failed), tested, shadow, canary, enforced, retired.",
        {"tollgate policy list", "tollgate policy list acme"});

  auto* show = group.add_subcommand("show", "The text of a version");
  const auto show_options = std::make_shared<PolicyLifecycleOptions>();
  show->add_option("NAME", show_options->name, "Name of the policy")->required();
  show->add_option("--policy-version", show_options->version, "The version; else the one in force")->check(CLI::PositiveNumber);
  show->callback([&context, show_options] { Show(context, *show_options); });
  Teach(*show, "", {"tollgate policy show acme > acme.yaml"});
}

}  // namespace tollgate::cli
