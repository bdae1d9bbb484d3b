// What a candidate would change, from history: teams one after the other, so that the log's index by team carries every page. A
// page's token is the team and, within it, the audit log's own cursor.
//
// Tested by tests/gateway/admin/replay_test.cpp.
#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/replay.h"
#include "gateway/admin/text.h"

namespace tollgate::admin {

using directory::Row;
using directory::Shard;
using directory::Table;
using directory::Team;
using identity::Permission;

namespace {

constexpr std::size_t kTextMax = 3 << 20;  // As long as a stored policy may be.

// The teams whose history is looked at, by id: all, or the one that is named.
absl::StatusOr<std::vector<const Team*>> TeamsOf(const Shard& shard, const std::string& name) {
  if (!name.empty()) {
    TG_ASSIGN(const Team* team, TeamOf(shard, name));
    return std::vector<const Team*>{team};
  }
  std::vector<const Team*> teams;
  for (const Team& team : shard.teams) teams.push_back(&team);
  std::sort(teams.begin(), teams.end(), [](const Team* a, const Team* b) { return a->id < b->id; });
  return teams;
}

// As HistoryPage::parts_of: registered models, retired ones too, and those that tollgate.yaml names. A name that an alias has may have been
// one then.
std::optional<std::vector<std::string>> PartsOfModel(const Caller& caller, std::string_view name) {
  const directory::Snapshot& snapshot = caller.snapshot();
  if (snapshot.FindAlias(name) != nullptr) return std::nullopt;
  std::vector<std::string> parts = snapshot.PartsOf(name);
  const ModelHost* host = caller.context().with.models;
  const bool is_model =
      !parts.empty() || host == nullptr || host->IsConfigured(name) || snapshot.FindModel(name) != nullptr || snapshot.IsRetired(name);
  return is_model ? std::optional(std::move(parts)) : std::nullopt;
}

// Both calls' fields that say what history to look at.
template <typename Request>
absl::StatusOr<HistoryPage> PageOf(const Caller& caller, const Shard& shard, const Request& request) {
  HistoryPage page;
  page.viewer = caller.ViewerOf(&shard);
  page.shard = &shard;
  page.keep_going = [&caller] { return caller.KeepGoing(); };
  page.parts_of = [&caller](std::string_view name) { return PartsOfModel(caller, name); };
  if (request.page_size() < 0 || request.page_size() > 1000) return base::InvalidArgument("page_size: use 1 to 1000, or 0 for 1000");
  if (request.examples() < 0 || request.examples() > 100) return base::InvalidArgument("examples: use 0 to 100");
  page.filter.limit = request.page_size() == 0 ? 1000 : request.page_size();
  if (request.from_us() != 0) page.filter.from = base::FromMicros(request.from_us());
  if (request.to_us() != 0) page.filter.to = base::FromMicros(request.to_us());
  return page;
}

// Works on the page that the token names, and goes on to the next team where a team has nothing more: `work` gives the cursor behind what
// it did.
absl::StatusOr<std::string> WorkOnPage(const std::vector<const Team*>& teams, const std::string& token, HistoryPage page,
                                       const std::function<absl::StatusOr<std::string>(const HistoryPage&)>& work,
                                       const std::function<bool()>& did_something) {
  auto team = teams.begin();
  if (!token.empty()) {
    const std::size_t slash = token.find('/');
    const std::string id = token.substr(0, slash);
    team = std::find_if(teams.begin(), teams.end(), [&](const Team* t) { return t->id.ToString() == id; });
    if (slash == std::string::npos || team == teams.end())
      return base::InvalidArgument("page_token: send back the next_page_token of the page before, unchanged");
    page.filter.cursor = token.substr(slash + 1);
  }
  for (; team != teams.end(); ++team) {
    TG_RETURN_IF_ERROR(page.keep_going());
    page.team = *team;
    TG_ASSIGN(const std::string next, work(page));
    if (!next.empty()) return fmt::format("{}/{}", (*team)->id.ToString(), next);
    page.filter.cursor.clear();
    if (did_something() && team + 1 != teams.end()) return fmt::format("{}/", (*(team + 1))->id.ToString());
  }
  return std::string();
}

struct Replayed {
  std::vector<policy::PolicySource> sources;
  policy::RunTests tests = policy::RunTests::kYes;
};

// Whether the policy's text is in force or on trial: it and the others passed their tests then.
bool IsJudging(const Shard& shard, const std::string& name, const std::string& yaml) {
  const Row* binding = BindingOf(shard, name);
  if (binding == nullptr) return false;
  const auto is_its = [&](const char* column) {
    const std::int64_t version = binding->IsNull(column) ? 0 : binding->Int(column);
    const Row* row = version == 0 ? nullptr : VersionOf(shard, name, version);
    return row != nullptr && row->Text("yaml") == yaml;
  };
  return is_its("policy_version") || is_its("candidate_version");
}

// The candidate among the policies that would judge with it.
absl::StatusOr<Replayed> ReplayedOf(const Shard& shard, const v1::ReplayPolicyRequest& request) {
  std::string yaml = request.yaml();
  if (yaml.empty()) {
    const Row* found = VersionOf(shard, request.name(), request.version());
    if (found == nullptr)
      return base::NotFound("there is no such policy or version to replay; give its text, or see what there is: tollgate policy list");
    yaml = found->Text("yaml");
  }
  if (request.name().empty()) return Replayed{{{"policy", yaml}}};
  Replayed out;
  if (IsJudging(shard, request.name(), yaml)) out.tests = policy::RunTests::kNo;
  std::map<std::string, std::string> texts = TextsInForce(shard);
  texts[request.name()] = yaml;
  for (auto& [name, text] : texts) out.sources.push_back({name, std::move(text)});
  return out;
}

}  // namespace

absl::Status ReplayPolicy(const Caller& caller, const v1::ReplayPolicyRequest& request, v1::PolicyChanges& reply) {
  if (request.yaml().size() > kTextMax) return base::InvalidArgument("yaml: a policy has at most 3 MiB");
  TG_RETURN_IF_ERROR(NeedReason(request.reason(), "prompts and replies are opened"));
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const Replayed replayed, ReplayedOf(*shard, request));
  TG_ASSIGN(const auto policies, caller.context().replayed.Get(replayed.sources, replayed.tests, caller.context().with.clock->Mono(),
                                                               caller.actor().keep_going));
  if (request.against_in_force()) TG_RETURN_IF_ERROR(NeedPolicies(*shard));
  TG_ASSIGN(const auto teams, TeamsOf(*shard, request.team()));
  TG_ASSIGN(const HistoryPage page, PageOf(caller, *shard, request));
  const std::string digest = base::HexEncode(base::View(policies->digest()));
  const Candidate candidate{policies.get(), request.against_in_force() ? shard->policies.get() : nullptr,
                            fmt::format("replay of policies {}: {}", digest.substr(0, 12), request.reason())};
  const bool may_look = caller.ReachOf(Permission::kReadContent) != identity::Reach::kNone;
  explain::Tally tally(may_look ? request.examples() : 0);
  const auto seen = [&tally] {
    const v1::PolicyChanges so_far = tally.Changes();
    return so_far.judged() + so_far.erased() + so_far.unreadable() + so_far.model_unknown() + so_far.reply_gaps_size() > 0;
  };
  const auto work = [&](const HistoryPage& at) { return Replay(caller.context().reader, at, candidate, tally); };
  TG_ASSIGN(const std::string next, WorkOnPage(teams, request.page_token(), page, work, seen));
  reply = tally.Changes();
  reply.set_policy_digest(digest);
  reply.set_next_page_token(next);
  return absl::OkStatus();
}

absl::Status ShadowReport(const Caller& caller, const v1::ShadowReportRequest& request, v1::PolicyChanges& reply) {
  TG_RETURN_IF_ERROR(CheckText("policy_digest", request.policy_digest(), 64));
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const auto teams, TeamsOf(*shard, request.team()));
  TG_ASSIGN(const HistoryPage page, PageOf(caller, *shard, request));
  std::string digest = request.policy_digest();
  if (digest.empty() && shard->trial != nullptr && !shard->trial->canary)
    digest = base::HexEncode(base::View(shard->trial->policies->digest()));
  const bool may_look = caller.ReachOf(Permission::kReadAudit) != identity::Reach::kNone;
  explain::Tally tally(may_look ? request.examples() : 0);
  std::set<std::string> said;
  const auto work = [&](const HistoryPage& at) { return CompareShadows(caller.context().reader, at, digest, tally, said); };
  TG_ASSIGN(const std::string next, WorkOnPage(teams, request.page_token(), page, work, [&said] { return !said.empty(); }));
  reply = tally.Changes();
  if (said.size() == 1) reply.set_policy_digest(*said.begin());
  reply.set_next_page_token(next);
  return absl::OkStatus();
}

}  // namespace tollgate::admin
