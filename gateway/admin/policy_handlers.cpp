// Check, Explain and Lint compile and run in memory; the text under test goes nowhere else, but to those whom rules in force ask about it,
// where it is explained: then it goes on record first, as a prompt does.
// Tested by tests/gateway/admin/services_test.cpp, tests/e2e/guards_test.cpp.
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "audit/seal.h"
#include "base/error_detail.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/page.h"
#include "gateway/explain/explain.h"
#include "gateway/explain/outcome.h"
#include "gateway/pipeline/judge.h"
#include "gateway/pipeline/patience.h"
#include "gateway/pipeline/pipeline.h"
#include "gateway/pipeline/tool_prompt.h"
#include "policy/json_parts.h"
#include "policy/policy_set.h"

namespace tollgate::admin {

using directory::Shard;

namespace {

// Text that somebody wants to try is at most as long as a request may be.
constexpr std::size_t kTextMax = 4 << 20;

// The models that an alias leads to, in the alias's order, as far as the caller may know of them.
std::vector<std::string> LedTo(const Caller& caller, const directory::Alias& alias) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& model) {
    const std::vector<std::string> parts = caller.snapshot().PartsOf(model);
    const auto hidden = [&caller](const std::string& name) { return caller.IsHidden(name); };
    if (hidden(model) || std::any_of(parts.begin(), parts.end(), hidden)) return;
    if (std::find(out.begin(), out.end(), model) == out.end()) out.push_back(model);
  };
  for (const directory::AliasTarget& target : alias.targets) add(target.model);
  for (const std::string& model : alias.fallbacks) add(model);
  return out;
}

// Whether some of its callers get the model that has its name, and whether all do.
bool LeadsToItsName(const directory::Alias& alias, bool all) {
  std::size_t own = static_cast<std::size_t>(std::count(alias.fallbacks.begin(), alias.fallbacks.end(), alias.name));
  for (const directory::AliasTarget& target : alias.targets) own += target.model == alias.name ? 1 : 0;
  return own > 0 && (!all || own == alias.targets.size() + alias.fallbacks.size());
}

// Whom rules are tried for is a model: an alias leads each request as its id says, and rules go by where.
absl::Status NeedModel(const Caller& caller, const std::string& name) {
  const directory::Alias* alias = caller.snapshot().FindAlias(name);
  if (alias == nullptr || LeadsToItsName(*alias, false)) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("model: {}; name a model", policy::AliasSentence(name, LedTo(caller, *alias))));
}

// Rules name keys by name, callers by public id: a key of the org that has it says where it stands. Any other is taken as a name.
template <typename Request>
absl::StatusOr<policy::Subject> SubjectOf(const Caller& caller, const Shard& shard, const Request& request) {
  TG_RETURN_IF_ERROR(NeedModel(caller, request.model()));
  const std::int64_t now_s = base::ToMicros(caller.context().with.clock->Wall()) / 1'000'000;
  const auto key = shard.by_public_id.find(request.key());
  const bool known = key != shard.by_public_id.end();
  const directory::Place place = known ? shard.places[key->second] : directory::Place{.org = &shard.org};
  policy::Subject subject = pipeline::SubjectOf(place, request.model(), caller.snapshot().PartsOf(request.model()), now_s);
  subject.end_user = request.end_user();
  if (known) return subject;
  subject.team = request.team();
  subject.project = request.project();
  subject.key = request.key();
  return subject;
}

v1::Role RoleOf(policy::Role role) {
  switch (role) {
    case policy::Role::kSystem: return v1::ROLE_SYSTEM;
    case policy::Role::kUser: return v1::ROLE_USER;
    case policy::Role::kAssistant: return v1::ROLE_ASSISTANT;
    case policy::Role::kTool: return v1::ROLE_TOOL;
  }
  return v1::ROLE_UNSPECIFIED;
}

void AddFindings(const policy::Verdict& verdict, const char* direction, v1::CheckPolicyReply& reply) {
  for (const policy::RuleOutcome& rule : verdict.rules) {
    for (const policy::Span& span : rule.spans) {
      v1::RuleFinding& finding = *reply.add_findings();
      finding.set_rule_id(rule.rule_id);
      finding.set_action(policy::ActionName(rule.action));
      finding.set_direction(direction);
      finding.set_message(static_cast<std::int32_t>(span.message));
      finding.set_field(span.field);
      finding.set_begin(span.begin);
      finding.set_end(span.end);
      finding.set_because(rule.because);
    }
  }
}

// A judgement holds one of the few threads of admin calls, and is given as long as a request's.
policy::KeepGoing JudgingFor(const Caller& caller) {
  return [&caller, until = std::chrono::steady_clock::now() + pipeline::kJudgeMax]() -> absl::Status {
    TG_RETURN_IF_ERROR(caller.KeepGoing());
    return std::chrono::steady_clock::now() < until ? absl::OkStatus() : pipeline::TooSlow(pipeline::kJudgeMax);
  };
}

// Spans of what stands behind the conversation are told of the message that it is of: those of its calls in the field "tool_calls", a
// result's second reading's where they are written.
absl::Status PlaceInMessages(const v1::ChatRequest& request, std::span<const policy::Message> prompt, policy::Verdict& verdict) {
  TG_RETURN_IF_ERROR(policy::TellAsWritten(prompt, verdict));
  std::vector<std::uint32_t> caller_of;
  for (int i = 0; i < request.messages_size(); ++i)
    caller_of.insert(caller_of.end(), static_cast<std::size_t>(request.messages(i).tool_calls_size()), static_cast<std::uint32_t>(i));
  for (policy::RuleOutcome& rule : verdict.rules) {
    for (policy::Span& span : rule.spans) {
      const std::int64_t call = std::int64_t{span.message} - request.messages_size();
      if (call < 0 || call >= std::ssize(caller_of)) continue;
      span.message = caller_of[static_cast<std::size_t>(call)];
      span.field = "tool_calls";
    }
  }
  return absl::OkStatus();
}

// The conversation is laid before policy as a request's is, and comes out as one's would.
absl::Status RunOnMessages(const policy::PolicySet& set, const policy::Subject& subject, const v1::CheckPolicyRequest& request,
                           const policy::KeepGoing& keep_going, v1::CheckPolicyReply& reply) {
  if (request.messages().empty()) return absl::OkStatus();
  TG_RETURN_IF_ERROR(explain::CheckRoles(request.messages()));
  v1::ChatRequest asked;
  *asked.mutable_messages() = request.messages();
  const std::vector<policy::Message> prompt = pipeline::PolicyPrompt(asked);
  TG_ASSIGN(policy::Inspection inspection, set.Inspect(subject, prompt, keep_going));
  *reply.mutable_input() = explain::ToOutcome(inspection.verdict);
  TG_RETURN_IF_ERROR(PlaceInMessages(asked, prompt, inspection.verdict));
  AddFindings(inspection.verdict, "input", reply);
  v1::SealedContent used;
  pipeline::FillUsed(asked, inspection.prompt, used);
  *reply.mutable_messages_used() = std::move(*used.mutable_prompt_used());
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPolicy(const Caller& caller, const v1::CheckPolicyRequest& request, v1::CheckPolicyReply& reply) {
  if (request.ByteSizeLong() > kTextMax) return base::InvalidArgument("at most 4 MiB of policy and text can be checked at once");
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  std::shared_ptr<const policy::PolicySet> set = shard->policies;
  if (!request.yaml().empty()) {
    const policy::PolicySource source{request.name().empty() ? "policy" : request.name(), request.yaml()};
    const auto keep_going = [&caller] { return caller.KeepGoing(); };
    TG_ASSIGN(set, policy::PolicySet::Compile({&source, 1}, policy::RunTests::kYes, keep_going));
    if (!request.name().empty()) {
      auto texts = TextsInForce(*shard);
      texts[request.name()] = request.yaml();
      TG_RETURN_IF_ERROR(CompileTogether(texts, keep_going));
    }
  } else {
    TG_RETURN_IF_ERROR(NeedPolicies(*shard));
  }
  for (const policy::RuleDescription& rule : set->Describe()) {
    v1::PolicyRule& out = *reply.add_rules();
    out.set_id(rule.id);
    out.set_action(policy::ActionName(rule.action));
    out.set_summary(fmt::format("{}; {}{}{}", rule.detect, rule.where, rule.because.empty() ? "" : "; ", rule.because));
  }
  TG_ASSIGN(const policy::Subject subject, SubjectOf(caller, *shard, request));
  const policy::KeepGoing judging = JudgingFor(caller);
  TG_RETURN_IF_ERROR(RunOnMessages(*set, subject, request, judging, reply));
  if (request.output().empty()) return absl::OkStatus();
  TG_ASSIGN(const policy::Filtered filtered, set->FilterWhole(subject, request.output(), {}, judging));
  *reply.mutable_output() = explain::ToOutcome(filtered.verdict);
  AddFindings(filtered.verdict, "output", reply);
  reply.set_output_used(filtered.text);
  return absl::OkStatus();
}

namespace {

// The text that came along, under the name that its errors call it by, or what is in force.
std::vector<policy::PolicySource> SourcesOf(const std::string& yaml, const Shard& shard) {
  if (!yaml.empty()) return {{"policy", yaml}};
  std::vector<policy::PolicySource> out;
  for (const auto& [name, text] : TextsInForce(shard)) out.push_back({name, text});
  return out;
}

// What `where` can name.
policy::KnownNames NamesOf(const Shard& shard) {
  policy::KnownNames out;
  out.orgs = {shard.org.name};
  for (const directory::Team& team : shard.teams) out.teams.push_back(team.name);
  for (const directory::Project& project : shard.projects) out.projects.push_back(project.name);
  for (const directory::Key& key : shard.keys) out.keys.push_back(key.name);
  return out;
}

// … models and aliases among it. A model that the caller may not know of is none; an alias that leads to the model of its own name alone is
// that model.
void AddModels(const Caller& caller, policy::KnownNames& out) {
  const directory::Installation& installation = caller.snapshot().installation();
  for (const auto& [name, alias] : installation.aliases) {
    if (!LeadsToItsName(alias, true)) out.aliases[name] = LedTo(caller, alias);
  }
  if (caller.context().with.models == nullptr) return;
  out.models = caller.context().with.models->Configured();
  for (const auto& [name, model] : installation.models) {
    if (!caller.IsHidden(name)) out.models.push_back(name);
  }
}

// … and whom rules can ask.
void AddAsked(const Caller& caller, policy::KnownNames& out) {
  const AdminCollaborators& with = caller.context().with;
  out.detectors = with.detectors;
  if (with.models == nullptr) return;
  out.is_model = [&caller, &with](std::string_view name) {
    if (caller.snapshot().FindAlias(name) != nullptr || with.models->IsConfigured(name)) return true;
    return caller.snapshot().FindModel(name) != nullptr && !caller.IsHidden(name);
  };
}

constexpr std::chrono::seconds kRecordTime{5};

// Whom the text is taken to come from: erasure and retention of what that team said reach it here too. Else the caller's.
base::TeamId TenantOfText(const Caller& caller, const Shard& shard, const v1::ExplainPolicyRequest& request) {
  if (const auto key = shard.by_public_id.find(request.key()); key != shard.by_public_id.end()) return shard.places[key->second].team->id;
  if (const auto team = TeamOf(shard, request.team()); team.ok()) return (*team)->id;
  return caller.place().team->id;
}

// Nothing is computed about a text, and it goes to nobody, before it is on record: that others were asked, by whom, for which rules.
absl::Status PutOnRecord(const Caller& caller, const Shard& shard, const v1::ExplainPolicyRequest& request,
                         std::span<const policy::Question> questions, const policy::Message& text) {
  const AdminCollaborators& with = caller.context().with;
  const base::TeamId team = TenantOfText(caller, shard, request);
  const auto deadline = std::chrono::steady_clock::now() + kRecordTime;
  const base::RequestId id = base::RequestId::New();
  TG_ASSIGN(const auto key, audit::MakeKeyAndWait(*with.keys, team, id, deadline));
  v1::SealedContent content;
  v1::ChatMessage& message = *content.add_prompt();
  message.set_role(RoleOf(text.role));
  message.set_name(text.name);
  message.mutable_parts()->Assign(text.parts.begin(), text.parts.end());
  std::set<std::string> rules;
  for (const policy::Question& question : questions) rules.insert(question.rule_id);
  audit::Entry entry = caller.NewEntry(v1::RECORD_KIND_ADMIN, shard.org.id, team);
  entry.record.set_request_id(id.Bytes());
  if (!request.end_user().empty()) entry.record.set_end_user_hmac(std::string(base::View(key->EndUserHmac(request.end_user()))));
  v1::AdminBody& body = *entry.record.mutable_admin();
  body.set_actor(caller.actor().name);
  body.set_action("policy.explain");
  body.set_summary(fmt::format("had a text explained, about which the rules {} ask others", fmt::join(rules, ", ")));
  entry.content = audit::Seal(*key, {v1::RECORD_KIND_ADMIN, 0, 0}, content);
  entry.key = key->row();
  return base::Annotate(audit::AppendAndWait(*with.journal, std::move(entry), deadline).status(), "nobody was asked about the text");
}

// Asks on the caller's own behalf, so that neither the queues nor the breakers of those whom the text is taken to come from know of it,
// with the models that are granted to the org. Rules that came along with the request ask nobody: they could have any model say anything,
// on nobody's bill. One at a time: it holds one of the few threads of admin calls, and nobody pays for it.
policy::AskOthers AskerFor(const Caller& caller, const Shard& shard, const v1::ExplainPolicyRequest& request) {
  if (caller.context().with.pipeline == nullptr || !request.yaml().empty()) return nullptr;
  return [&, &context = caller.context()](std::span<const policy::Question> questions,
                                          const policy::Message& text) -> absl::StatusOr<std::vector<policy::Heard>> {
    if (context.asking.exchange(true)) {
      return base::WithDetail(base::ResourceExhausted("others are being asked about another text here; try again when that is done"),
                              {.reason = "EXPLAIN_RUNNING", .retry_after_ms = 1000});
    }
    struct Over {
      std::atomic<bool>& asking;
      ~Over() { asking = false; }
    } over{context.asking};
    pipeline::TextAsk ask{caller.who(), request.model(), request.output(), shard.policies, {questions.begin(), questions.end()}, text};
    ask.who.place.org = &shard.org;
    ask.who.place.shard = &shard;
    const bool asks =
        std::any_of(questions.begin(), questions.end(), [](const policy::Question& question) { return question.shape == nullptr; });
    const bool stopped = !caller.snapshot().MayRun(ask.who.place, "", context.with.clock->Wall()).ok();  // Then nobody is asked.
    if (asks && !stopped) TG_RETURN_IF_ERROR(PutOnRecord(caller, shard, request, questions, text));
    return context.with.pipeline->AskAbout(std::move(ask), [&] { return caller.KeepGoing(); });
  };
}

}  // namespace

void WarnOfAsked(const Caller& caller, const std::string& name, const std::string& yaml, v1::StoredPolicy& reply) {
  policy::KnownNames known;
  AddModels(caller, known);
  AddAsked(caller, known);
  const policy::PolicySource source{name, yaml};
  const auto remarks = policy::LintAsked({&source, 1}, known);
  if (!remarks.ok()) return;  // A draft need not compile.
  for (const policy::LintRemark& remark : *remarks) {
    reply.add_warnings(fmt::format("{}:{}:{}: rule {}: {}", remark.policy, remark.line, remark.column, remark.rule_id, remark.message));
  }
}

void WarnOfScopes(const Caller& caller, const directory::Alias& alias, v1::ModelAlias& reply) {
  if (LeadsToItsName(alias, true)) return;
  for (const auto& shard : caller.snapshot().shards()) {
    std::set<std::string> rules;
    const auto look = [&](const policy::PolicySet& set) {
      for (const policy::RuleDescription& rule : set.Describe()) {
        if (std::find(rule.models.begin(), rule.models.end(), alias.name) != rule.models.end()) rules.insert(rule.id);
      }
    };
    look(*shard->policies);
    if (shard->trial != nullptr) look(*shard->trial->policies);
    if (rules.empty()) continue;
    reply.add_warnings(fmt::format("org {}: these rules are for a model of this name: {}; {}", shard->org.name, fmt::join(rules, ", "),
                                   policy::AliasSentence(alias.name, LedTo(caller, alias))));
  }
}

absl::Status ExplainPolicy(const Caller& caller, const v1::ExplainPolicyRequest& request, v1::ExplainPolicyReply& reply) {
  if (request.ByteSizeLong() > kTextMax) return base::InvalidArgument("at most 4 MiB of policy and text can be explained at once");
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  if (request.yaml().empty() && shard->compiling) TG_RETURN_IF_ERROR(NeedPolicies(*shard));
  TG_ASSIGN(const policy::Subject subject, SubjectOf(caller, *shard, request));
  TG_ASSIGN(reply, explain::Explain(SourcesOf(request.yaml(), *shard), subject, request, AskerFor(caller, *shard, request),
                                    [&caller] { return caller.KeepGoing(); }));
  return absl::OkStatus();
}

absl::Status LintPolicy(const Caller& caller, const v1::LintPolicyRequest& request, v1::LintPolicyReply& reply) {
  if (request.ByteSizeLong() > kTextMax) return base::InvalidArgument("at most 4 MiB of policy can be looked at at once");
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  policy::LintOptions options;
  options.known = NamesOf(*shard);
  AddModels(caller, options.known);
  AddAsked(caller, options.known);
  options.keep_going = [&caller] { return caller.KeepGoing(); };
  if (request.yaml().empty()) options.tests = policy::RunTests::kNo;
  TG_ASSIGN(reply, explain::Lint(SourcesOf(request.yaml(), *shard), options));
  return absl::OkStatus();
}

}  // namespace tollgate::admin
