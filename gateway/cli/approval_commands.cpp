// policy approvals, policy approve, policy revoke-approval: a second person's yes to what a rule stops.
//
// Tested by tests/gateway/cli/approval_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/context.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/table.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Policy;

struct ApprovalOptions {
  std::string id, reason;
};

std::string ForHowLong(const v1::PolicyApproval& approval) {
  return approval.minutes() == 0 ? "one request" : fmt::format("{} minutes", approval.minutes());
}

void ListApprovals(Context& context) {
  v1::ListApprovalsRequest request;
  request.set_org(OrgOf(context.globals));
  const auto reply = Look<Policy>(context, Listener::kAdmin, &Policy::Stub::ListApprovals, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"id", "rule", "team", "key", "for", "asked (UTC)", "state", "by", "request"});
  for (const v1::PolicyApproval& a : reply->approvals()) {
    table.Add({a.id(), a.rule_id(), a.team(), a.key(), ForHowLong(a), ShowTime(a.asked_us()), a.state(),
               a.granted_by().empty() ? "-" : a.granted_by(), a.request_id()});
  }
  context.Print(table.Text("nothing waits for approval"));
  if (reply->more()) context.Print("there are others; those that wait come first, then the newest\n");
}

void Approve(Context& context, const ApprovalOptions& options) {
  v1::ApproveRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_id(options.id);
  request.set_reason(options.reason);
  const auto reply = Ask<Policy>(context, Listener::kAdmin, &Policy::Stub::Approve, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(fmt::format("key {} may pass rule {} for {}\n", reply->key(), reply->rule_id(), ForHowLong(*reply)));
}

void Revoke(Context& context, const ApprovalOptions& options) {
  v1::RevokeApprovalRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_id(options.id);
  request.set_reason(options.reason);
  const auto reply = Ask<Policy>(context, Listener::kAdmin, &Policy::Stub::RevokeApproval, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  if (reply->granted_by().empty())
    return context.Print(fmt::format("turned down: key {} may not pass rule {}\n", reply->key(), reply->rule_id()));
  context.Print(fmt::format("key {} may pass rule {} no more\n", reply->key(), reply->rule_id()));
}

}  // namespace

void AddApprovalCommands(CLI::App& policy, Context& context) {
  auto* list = policy.add_subcommand("approvals", "What waits for a second person, and what was approved");
  list->callback([&context] { ListApprovals(context); });
  Teach(*list, "What is approved for one request is the prompt of the request that is listed: read it before you approve it.",
        {"tollgate policy approvals",
         "tollgate audit show 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e --content --reason \"approval of incident 12\""});

  auto* approve = policy.add_subcommand("approve", "Let a key do once, or for some minutes, what a rule stops; on record");
  const auto options = std::make_shared<ApprovalOptions>();
  approve->add_option("ID", options->id, "As the refusal told it")->required();
  approve->add_option("--reason", options->reason, "Why, for the record")->required();
  approve->callback([&context, options] { Approve(context, *options); });
  Teach(*approve, "The rule says for how long; once is for the very prompt that asked. Nobody approves what they asked for themselves.",
        {"tollgate policy approve 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e --reason \"incident 12\""});

  auto* revoke =
      policy.add_subcommand("revoke-approval", "Take back what was approved and is not used up, or turn down what waits; on record");
  const auto revoked = std::make_shared<ApprovalOptions>();
  revoke->add_option("ID", revoked->id, "As `tollgate policy approvals` lists it")->required();
  revoke->add_option("--reason", revoked->reason, "Why, for the record")->required();
  revoke->callback([&context, revoked] { Revoke(context, *revoked); });
  Teach(*revoke, "Requests that run already go on.",
        {"tollgate policy revoke-approval 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e --reason \"incident 12 is over\""});
}

}  // namespace tollgate::cli
