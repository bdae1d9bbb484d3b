// audit pseudonym: show, erase. A value is printed as content is: indented, so that hostile text cannot pass for the program's own lines.
//
// Tested by tests/gateway/cli/pseudonym_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/context.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/audit.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Audit;

struct PseudonymOptions {
  std::string team, pseudonym, end_user, value, reason;
};

void Show(Context& context, const PseudonymOptions& options) {
  v1::ShowPseudonymRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_team(options.team);
  request.set_pseudonym(options.pseudonym);
  request.set_reason(options.reason);
  const auto reply = Look<Audit>(context, Listener::kAdmin, &Audit::Stub::ShowPseudonym, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(fmt::format("{} stands for\n{}", options.pseudonym, Indented(reply->value(), "  | ")));
  for (const std::string& other : reply->others()) context.Print(fmt::format("or, in another conversation,\n{}", Indented(other, "  | ")));
}

void Erase(Context& context, const PseudonymOptions& options) {
  v1::ErasePseudonymsRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_team(options.team);
  request.set_reason(options.reason);
  if (!options.end_user.empty()) request.set_end_user(options.end_user);
  if (!options.pseudonym.empty()) request.set_pseudonym(options.pseudonym);
  if (!options.value.empty()) request.set_value(options.value);
  if (request.which_case() == v1::ErasePseudonymsRequest::WHICH_NOT_SET)
    return context.Fail(kUsage, "say what is to be forgotten: --end-user, --pseudonym or --value");
  const auto reply = Ask<Audit>(context, Listener::kAdmin, &Audit::Stub::ErasePseudonyms, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(
      fmt::format("{} pseudonym{} of team {} can be told no more\n", reply->erased(), reply->erased() == 1 ? "" : "s", options.team));
  if (reply->acceptances() > 0)
    context.Print(fmt::format("{} terms that were accepted and counts of requests are forgotten too\n", reply->acceptances()));
  if (reply->still_told() > 0)
    context.Print(
        fmt::format("the same values were written by others: {} still tell them; --value forgets those too\n", reply->still_told()));
}

}  // namespace

void AddPseudonymCommands(CLI::App& audit, Context& context) {
  auto* group = audit.add_subcommand("pseudonym", "What stands behind pseudonyms in prompts")->require_subcommand(1);
  Teach(*group, "", {"tollgate audit pseudonym show '[EMAIL_7Q2K9FXM]' --team search --reason \"complaint 77\""});

  auto* show = group->add_subcommand("show", "The value that a pseudonym stands for; a record of that is made first");
  const auto shown = std::make_shared<PseudonymOptions>();
  show->add_option("PSEUDONYM", shown->pseudonym, "As it is written, brackets included")->required();
  show->add_option("--team", shown->team, "The team in whose prompt it stands")->required();
  show->add_option("--reason", shown->reason, "Why it is read")->required();
  show->callback([&context, shown] { Show(context, *shown); });
  Teach(*show, "", {"tollgate audit pseudonym show '[EMAIL_7Q2K9FXM]' --team search --reason \"complaint 77\""});

  auto* erase = group->add_subcommand("erase", "Forget what pseudonyms stand for; a record of that is made first");
  const auto erased = std::make_shared<PseudonymOptions>();
  erase->add_option("--team", erased->team, "Whose pseudonyms")->required();
  auto* user = erase->add_option("--end-user", erased->end_user, "All that this end user wrote");
  auto* one = erase->add_option("--pseudonym", erased->pseudonym, "This one")->excludes(user);
  erase->add_option("--value", erased->value, "All that stand for this value")->excludes(user)->excludes(one);
  erase->add_option("--reason", erased->reason, "Why it is forgotten")->required();
  erase->callback([&context, erased] { Erase(context, *erased); });
  Teach(*erase, "Prompts as they came stay sealed in their records; this makes the pseudonyms in them mean nothing.",
        {"tollgate audit pseudonym erase --team search --end-user anna --reason \"request of 2026-11-26\"",
         "tollgate audit pseudonym erase --team search --value bob@example.com --reason \"request of 2026-11-26\""});
}

}  // namespace tollgate::cli
