// policy replay and policy shadow-report: the server works page by page, and the pages add up here, so that neither side holds a history.
//
// Tested by tests/gateway/cli/policy_replay_test.cpp.
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/policy_text.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "gateway/explain/tally.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Policy;

struct PolicyReplayOptions {
  std::string file, name, team, from, to, reason, digest;
  std::int64_t version = 0;
  int examples = 3;
  bool alone = false, in_force = false;
};

// From and to, in both calls' fields; false after the fault was told.
template <typename Request>
bool SetTimes(Context& context, const PolicyReplayOptions& options, Request& request) {
  const auto now = context.clock.Wall();
  request.set_to_us(base::ToMicros(now));  // What is recorded meanwhile is left out, or the last page would never come.
  for (const auto& [text, set] : {std::pair(options.from, &Request::set_from_us), std::pair(options.to, &Request::set_to_us)}) {
    if (text.empty()) continue;
    const auto at = context.Take(ParseTime(text, now));
    if (!at) return false;
    (request.*set)(*at);
  }
  if (request.from_us() < request.to_us()) return true;
  context.Fail(kUsage, fmt::format("--from {} is not before --to {}", options.from, options.to.empty() ? "now" : options.to));
  return false;
}

// All pages in one; nullopt after the failure was told.
template <typename Request>
std::optional<v1::PolicyChanges> AskPages(Context& context, const PolicyReplayOptions& options, Request& request,
                                          grpc::Status (Policy::Stub::*method)(grpc::ClientContext*, const Request&, v1::PolicyChanges*)) {
  const auto line = Open(context, Listener::kAdmin);
  if (!line) return std::nullopt;
  explain::Tally tally(options.examples);
  std::set<std::string> digests;
  do {
    v1::PolicyChanges page;
    const grpc::Status status = Call<Policy>(context, *line, method, request, page);
    if (!status.ok()) {
      Tell(context, status, Effect::kReads, [&](const std::string& told) {
        if constexpr (requires { request.yaml(); }) {
          return ToldOfFile(told, request.name().empty() ? "policy" : request.name(), options.file);
        } else {
          return told;
        }
      });
      return std::nullopt;
    }
    tally.Add(page);
    if (!page.policy_digest().empty()) digests.insert(page.policy_digest());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  v1::PolicyChanges all = tally.Changes();
  if (digests.size() == 1) all.set_policy_digest(*digests.begin());
  return all;
}

std::string Examples(const google::protobuf::RepeatedPtrField<v1::RecordPosition>& examples) {
  std::vector<std::string> out;
  for (const v1::RecordPosition& at : examples) out.push_back(ShowPosition(at));
  return fmt::format("{}", fmt::join(out, " "));
}

// "3 replies blocked by a rule then: …", as ReplyGap says it.
std::string GapWords(const v1::ReplyGap& gap) {
  static const std::map<std::string, const char*, std::less<>> kWords = {
      {"blocked", "blocked by a rule then: judged is what was written until there, and the rest was never made"},
      {"broken_off", "broken off then: judged is what was written until there"},
      {"retried", "written anew in part, since a rule said retry: judged is what stands in the end"},
      {"held_call", "with a call that had not left when they ended: that call is not judged"},
      {"not_undone", "with a rule's words in place of something, and no record of how many: judged is what comes before"},
      {"undivided_tail", "with an end that had not left and is not told apart into text and calls: that end is not judged"},
      {"no_verdict", "ended by the death of their instance, without a verdict: not judged"},
      {"documents", "documents of a rerank: not judged"},
      {"erased", "erased, and cannot be replayed"},
      {"unreadable", "that cannot be read, for what is stored is not what was recorded; run tollgate audit verify"},
  };
  const auto words = kWords.find(gap.why());
  const std::string examples = gap.examples().empty() ? "" : fmt::format(" ({})", Examples(gap.examples()));
  return fmt::format("{} {} {}{}\n", ShowCount(gap.count()), gap.count() == 1 ? "reply" : "replies",
                     words == kWords.end() ? gap.why() : words->second, examples);
}

std::string TeamWord(const std::string& team) { return team.empty() ? "-" : team; }

std::string ActionWord(const std::string& action) { return action.empty() ? "no hit" : action; }

// "48 prompts and 40 replies judged anew"
std::string Replayed(const v1::PolicyChanges& all) {
  const std::int64_t prompts = all.judged() - all.replies();
  const std::string replies = fmt::format("{} {}", ShowCount(all.replies()), all.replies() == 1 ? "reply" : "replies");
  return fmt::format("{} prompts{} judged anew", ShowCount(prompts), all.replies() == 0 ? "" : " and " + replies);
}

void PrintChanges(Context& context, const v1::PolicyChanges& all, const std::string& what, const std::string& none) {
  if (context.globals.json) return context.PrintJson(all);
  Table verdicts({"team", "of", "was", "would be", "> how often", "for example"});
  for (const v1::VerdictChange& c : all.verdicts())
    verdicts.Add({TeamWord(c.team()), c.direction(), c.was(), c.would(), ShowCount(c.count()), Examples(c.examples())});
  Table rules({"team", "of", "rule", "was", "would be", "> how often", "> spans were", "> would be", "for example"});
  for (const v1::RuleChange& c : all.rules())
    rules.Add({TeamWord(c.team()), c.direction(), c.rule_id(), ActionWord(c.was()), ActionWord(c.would()), ShowCount(c.count()),
               ShowCount(c.spans_was()), ShowCount(c.spans_would()), Examples(c.examples())});
  if (all.judged() > 0)
    context.Print(verdicts.Text("no verdict would be another") + "\n" + rules.Text("no rule would act otherwise") + "\n");
  context.Print(all.judged() == 0 ? none + "\n"
                                  : fmt::format("{}, {} would change; policies {}\n", what, ShowCount(all.changed()),
                                                all.policy_digest().empty() ? "of several digests" : all.policy_digest().substr(0, 12)));
  for (const std::string& question : all.not_asked()) context.Print(fmt::format("not asked, and so not counted: {}\n", question));
  if (all.erased() > 0) context.Print(fmt::format("{} more prompts were erased and cannot be replayed\n", ShowCount(all.erased())));
  if (all.unreadable() > 0)
    context.Print(fmt::format("{} more prompts cannot be read: what is stored is not what was recorded; run tollgate audit verify\n",
                              ShowCount(all.unreadable())));
  if (all.model_unknown() > 0)
    context.Print(fmt::format("{} denied prompts are not judged anew: which model they were denied for is not on record\n",
                              ShowCount(all.model_unknown())));
  for (const v1::ReplyGap& gap : all.reply_gaps()) context.Print(GapWords(gap));
}

void Replay(Context& context, const PolicyReplayOptions& options) {
  v1::ReplayPolicyRequest request;
  if (options.file.empty() && options.name.empty()) return context.Fail(kUsage, "replay what? give a FILE, or --name of a stored policy");
  if (!options.file.empty()) {
    const auto yaml = ReadPolicyText(context, options.file);
    if (!yaml) return;
    request.set_yaml(*yaml);
    if (!options.alone) request.set_name(!options.name.empty() || options.file == "-" ? options.name : StemOf(options.file));
    if (!options.alone && request.name().empty()) return context.Fail(kUsage, "standard input has no name: give --name, or --alone");
  } else {
    request.set_name(options.name);
    request.set_version(options.version);
  }
  request.set_org(OrgOf(context.globals));
  request.set_team(options.team);
  request.set_reason(options.reason);
  request.set_against_in_force(options.in_force);
  request.set_examples(options.examples);
  if (!SetTimes(context, options, request)) return;
  if (const auto all = AskPages(context, options, request, &Policy::Stub::Replay))
    PrintChanges(context, *all, Replayed(*all), "nothing that can be replayed is on record for that time");
}

void Report(Context& context, const PolicyReplayOptions& options) {
  v1::ShadowReportRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_team(options.team);
  request.set_policy_digest(options.digest);
  request.set_examples(options.examples);
  if (!SetTimes(context, options, request)) return;
  if (const auto all = AskPages(context, options, request, &Policy::Stub::ShadowReport))
    PrintChanges(context, *all, ShowCount(all->judged()) + " prompts and replies judged by the shadow too",
                 "no shadow's verdicts are on record for that time");
}

void AddHistory(CLI::App& command, PolicyReplayOptions& options) {
  command.add_option("--from", options.from, "From this time on: 24h, 2026-11-01, 2026-11-01T08:30:00Z; else from the first record");
  command.add_option("--to", options.to, "Until before this time; else until now");
  command.add_option("--team", options.team, "Only this team's");
  command.add_option("--examples", options.examples, "Records to name with each line")->capture_default_str()->check(CLI::Range(0, 100));
}

}  // namespace

void AddPolicyReplayCommands(CLI::App& group, Context& context) {
  auto* replay = group.add_subcommand("replay", "Judge recorded prompts and replies anew by a policy: what would change, by team and rule");
  const auto o = std::make_shared<PolicyReplayOptions>();
  replay->add_option("FILE", o->file, "YAML file, or - for standard input; else a stored version of --name");
  replay->add_option("--name", o->name, "The policy whose place it takes; else the file's name, without what follows the first dot");
  replay->add_option("--policy-version", o->version, "The stored version of --name; else the newest")->check(CLI::PositiveNumber);
  replay->add_flag("--alone", o->alone, "Without the org's other policies in force");
  AddHistory(*replay, *o);
  replay->add_flag("--against-in-force", o->in_force, "Compare with what the policies in force say now; else with the verdicts on record");
  replay->add_option("--reason", o->reason, "Why prompts and replies are opened; it goes on record")->required();
  replay->callback([&context, o] { Replay(context, *o); });
  Teach(*replay,
        "Prompts and replies are opened on the server, and VIEW records say which and why before they are; no text comes back, and\n"
        "records are named as examples only if the key may read content. Takes a role that may put policies in force. A reply is judged\n"
        "as its model wrote it, before rules changed it. What is erased, or not known of a reply, is counted; nobody else is asked.",
        {"tollgate policy replay next.yaml --name acme --from 7d --reason \"before version 5\"",
         "tollgate policy replay --name acme --policy-version 5 --team search --against-in-force --reason \"before version 5\" --json"});

  auto* report = group.add_subcommand("shadow-report", "What a shadow said otherwise than the policies that acted, by team and rule");
  const auto r = std::make_shared<PolicyReplayOptions>();
  report->add_option("--digest", r->digest, "Only policies of this digest, or one that begins so; else those on trial now");
  AddHistory(*report, *r);
  report->callback([&context, r] { Report(context, *r); });
  Teach(*report, "From the verdicts that the records of prompts and replies hold; nothing is opened.",
        {"tollgate policy shadow-report --from 24h", "tollgate policy shadow-report --team search --json"});
}

}  // namespace tollgate::cli
