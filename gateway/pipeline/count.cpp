// Judged and laid out as a request is, without what only a record needs, and without what rules ask of the caller: who counts is told how
// long the prompt would be, and no terms, rates or approvals stand before that. Tested by tests/gateway/pipeline/count_test.cpp.
#include "gateway/pipeline/count.h"

#include "audit/keys.h"
#include "base/clock.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/defaults.h"
#include "gateway/pipeline/denial.h"
#include "gateway/pipeline/judge.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/shared.h"
#include "gateway/pipeline/tool_prompt.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace {

absl::StatusOr<CountedPrompt> Count(const Collaborators& with, const identity::Principal& principal, const base::RequestId& request,
                                    const tollgate::v1::ChatRequest& chat, const audit::RequestKey& key, inference::ModelInfo model,
                                    Patience& patience) {
  directory::Judges policies = principal.snapshot->JudgesOf(principal.place, request);
  policies.shadow = nullptr;  // Nothing goes on record here.
  const std::int64_t now_s = base::ToMicros(with.clock->Wall()) / 1'000'000;
  const std::vector<policy::Message> prompt = PolicyPrompt(chat);
  const Judging how{with,
                    principal,
                    request,
                    policies,
                    SubjectOf(principal, chat, key, model.name, now_s),
                    [&](const std::string& name) { return with.pool->Render(name, TurnsOf(chat, prompt)); },
                    [&](const inference::ModelInfo& other) { return ValidateFor(chat, other); },
                    1,
                    [&patience] { return patience.Ask(); }};
  TG_ASSIGN(Judged judged, JudgePrompt(how, prompt));
  if (judged.inspection.verdict.action == policy::Action::kBlock) return DenialOf(judged.inspection.verdict, chat)->status;
  if (judged.route) model = std::move(judged.route->model);
  TG_ASSIGN(const std::vector<std::int32_t> tokens, with.pool->Render(model.name, TurnsOf(chat, judged.inspection.prompt)));
  return CountedPrompt{static_cast<std::int64_t>(tokens.size()), model.context_tokens};
}

}  // namespace

async::Awaitable<absl::StatusOr<CountedPrompt>> CountPrompt(Shared& shared, const identity::Principal& principal,
                                                            const base::RequestId& request, const tollgate::v1::CountTokensRequest& asked,
                                                            const inference::ModelInfo& model) {
  const Collaborators& with = shared.with;
  const directory::Place& place = principal.place;
  // Pseudonyms are of the tenant's key: how many tokens they have depends on it.
  absl::StatusOr<std::shared_ptr<const audit::RequestKey>> key = co_await MakeRequestKey(with, place.team->id, request);
  if (!key.ok()) co_return key.status();
  tollgate::v1::ChatRequest chat;
  *chat.mutable_messages() = asked.messages();
  *chat.mutable_tools() = asked.tools();
  chat.set_end_user(asked.end_user());
  PutSystemPrompt(principal.snapshot->DefaultsOf(place), *chat.mutable_messages());
  Cancellation nobodys;  // Who asks waits for all of it.
  const auto deadline = std::chrono::steady_clock::now() + with.options.deadline_default;
  Patience patience(nobodys, shared.shutting_down, deadline, "ask for less");
  auto work = [&] { return Count(with, principal, request, chat, **key, model, patience); };
  const bool large = BytesOf(chat) >= with.options.inspect_here_bytes;
  const auto judges = principal.snapshot->JudgesOf(place, request);
  co_return co_await RunJudgement(large, judges.acting->digest(), shared.slow, patience, with.options.judge_max, with.cpu, work);
}

}  // namespace tollgate::pipeline
