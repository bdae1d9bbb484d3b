// The same steps as Request::Inspect, without what only a record needs, and without what rules ask of the caller: who counts is told how
// long the prompt would be, and no terms, rates or approvals stand before that.
// Tested by tests/gateway/pipeline/count_test.cpp.
#include "gateway/pipeline/count.h"

#include "audit/keys.h"
#include "base/clock.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/defaults.h"
#include "gateway/pipeline/denial.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/request.h"
#include "gateway/pipeline/route.h"
#include "gateway/pipeline/tool_prompt.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace {

struct Count {
  const Collaborators& with;
  const identity::Principal& principal;
  const base::RequestId& request;
  tollgate::v1::ChatRequest chat;
  policy::Subject subject;
  std::shared_ptr<const policy::PolicySet> policies;

  void Name(const inference::ModelInfo& model) {
    subject.model = model.name;
    subject.model_parts = principal.snapshot->PartsOf(model.name);
  }

  absl::StatusOr<policy::Inspection> Judge(const std::vector<policy::Message>& prompt) {
    if (policies->needs_prompt_tokens()) {
      TG_ASSIGN(const auto tokens, with.pool->Render(subject.model, TurnsOf(chat, prompt)));
      subject.prompt_tokens = static_cast<std::int64_t>(tokens.size());
    }
    return policies->Inspect(subject, prompt);
  }

  absl::StatusOr<CountedPrompt> Run(inference::ModelInfo model) {
    const std::vector<policy::Message> prompt = PolicyPrompt(chat);
    Name(model);
    TG_ASSIGN(policy::Inspection inspection, Judge(prompt));
    const policy::RuleOutcome* rule = FirstEffect(inspection.verdict, policy::Effect::Kind::kRoute);
    if (rule != nullptr && inspection.verdict.action != policy::Action::kBlock) {
      TG_ASSIGN(Route route, RouteByRule(with, principal, *rule, [this](const auto& m) { return ValidateFor(chat, m); }, request));
      model = std::move(route.model);
      Name(model);
      TG_ASSIGN(inspection, Judge(prompt));
    }
    if (inspection.verdict.action == policy::Action::kBlock) return DenialOf(inspection.verdict, chat)->status;
    TG_ASSIGN(const std::vector<std::int32_t> tokens, with.pool->Render(model.name, TurnsOf(chat, inspection.prompt)));
    return CountedPrompt{static_cast<std::int64_t>(tokens.size()), model.context_tokens};
  }
};

}  // namespace

async::Awaitable<absl::StatusOr<CountedPrompt>> CountPrompt(const Collaborators& with, const identity::Principal& principal,
                                                            const base::RequestId& request, const tollgate::v1::CountTokensRequest& asked,
                                                            const inference::ModelInfo& model) {
  const directory::Place& place = principal.place;
  Count count{with, principal, request, {}, {}, principal.snapshot->JudgesOf(place, request).acting};
  count.subject = {place.org->name, place.team->name, place.project->name, place.key->name, model.name,
                   base::ToMicros(with.clock->Wall()) / 1'000'000};
  // Pseudonyms are of the tenant's key: how many tokens they have depends on it.
  const auto patience = std::chrono::steady_clock::now() + with.options.append_timeout;
  auto make = [&](auto done) { with.keys->NewRequestKey(place.team->id, request, patience, std::move(done)); };
  using Key = absl::StatusOr<std::shared_ptr<const audit::RequestKey>>;
  Key key = co_await async::Callback<Key>(make);
  if (!key.ok()) co_return key.status();
  count.subject.pseudonym_key = (*key)->PseudonymKey();
  *count.chat.mutable_messages() = asked.messages();
  *count.chat.mutable_tools() = asked.tools();
  PutSystemPrompt(principal.snapshot->DefaultsOf(place), *count.chat.mutable_messages());
  auto work = [&]() -> absl::StatusOr<CountedPrompt> { return count.Run(model); };
  const bool large = BytesOf(count.chat) >= with.options.inspect_here_bytes;
  co_return co_await async::RunOnIf(large, with.cpu, work);
}

}  // namespace tollgate::pipeline
