// What those say of one text whom rules ask, outside any request: for explaining a policy. They are asked as a request asks them: the same
// prompts, windows, deadlines and breakers. But no quota is asked, nobody is billed, and the text is on record only
// because who calls has put it there first.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/async/event.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "policy/explain.h"
#include "policy/policy_set.h"

namespace tollgate::pipeline {

struct Shared;

struct TextAsk {
  identity::Principal who;  // On whose behalf: its team waits in the queues, its org is granted the models, and a stop of these holds.
  std::string model;        // That the text is taken to go to.
  bool output = false;
  std::shared_ptr<const policy::PolicySet> policies;  // Whose questions they are.
  std::vector<policy::Question> questions;            // About this text alone.
  policy::Message text;
};

// Something for each question: who cannot be asked, or does not answer in time, is an answer with a failure. It takes no longer than a
// request that names no deadline may. Awaited by `event`'s coroutine; everything outlives it.
async::Awaitable<absl::StatusOr<std::vector<policy::Heard>>> AskAboutText(Shared& shared, const TextAsk& ask,
                                                                          const Cancellation& cancellation, async::Event& event);

}  // namespace tollgate::pipeline
