// The same steps as Request::Inspect, without what only a record needs. Tested by tests/gateway/pipeline/count_test.cpp.
#include "gateway/pipeline/count.h"

#include "base/clock.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/defaults.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/request.h"
#include "gateway/pipeline/tool_prompt.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

async::Awaitable<absl::StatusOr<std::int64_t>> CountPrompt(const Collaborators& with, const identity::Principal& principal,
                                                           const base::RequestId& request, const tollgate::v1::CountTokensRequest& asked,
                                                           const std::string& model) {
  const directory::Place& place = principal.place;
  const directory::Judges judges = principal.snapshot->JudgesOf(place, request);
  const policy::Subject subject{place.org->name, place.team->name, place.project->name, place.key->name, model,
                                base::ToMicros(with.clock->Wall()) / 1'000'000};
  v1::ChatRequest chat;
  *chat.mutable_messages() = asked.messages();
  *chat.mutable_tools() = asked.tools();
  PutSystemPrompt(principal.snapshot->DefaultsOf(place), *chat.mutable_messages());
  auto work = [&]() -> absl::StatusOr<std::int64_t> {
    TG_ASSIGN(const policy::Inspection inspection, judges.acting->Inspect(subject, PolicyPrompt(chat)));
    if (inspection.verdict.action == policy::Action::kBlock) return Blocked(inspection.verdict);
    TG_ASSIGN(const std::vector<std::int32_t> tokens, with.pool->Render(model, TurnsOf(chat, inspection.prompt)));
    return static_cast<std::int64_t>(tokens.size());
  };
  const bool large = BytesOf(chat) >= with.options.inspect_here_bytes;
  co_return co_await async::RunOnIf(large, with.cpu, work);
}

}  // namespace tollgate::pipeline
