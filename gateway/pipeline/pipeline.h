// The way of one request (docs/architecture.md): start reading at Request::Run in request.cpp, which is that way from top to bottom.
//
// Pipeline is what the front ends call. Each call is one coroutine; await it on a strand. Nothing here blocks the awaiting thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/service.h"
#include "gateway/pipeline/shadow.h"
#include "gateway/pipeline/text_asks.h"

namespace tollgate::pipeline {

class Pipeline final : public Service {
 public:
  // Starts counting refusals on record, on collaborators.io.
  explicit Pipeline(Collaborators collaborators);
  ~Pipeline() override;  // REQUIRES: no call is running.

  Outcome<Tenant> Admit(const Caller& caller) override;
  async::Awaitable<Outcome<Reply>> Chat(const Caller& caller, const tollgate::v1::ChatRequest& request, StreamWriter* writer,
                                        std::shared_ptr<Cancellation> cancellation) override;
  async::Awaitable<Outcome<tollgate::v1::CountTokensReply>> CountTokens(const Caller& caller,
                                                                        const tollgate::v1::CountTokensRequest& request) override;
  async::Awaitable<Outcome<EmbedAnswer>> Embed(const Caller& caller, const tollgate::v1::EmbedRequest& request,
                                               std::shared_ptr<Cancellation> cancellation) override;
  async::Awaitable<Outcome<RerankAnswer>> Rerank(const Caller& caller, const tollgate::v1::RerankRequest& request,
                                                 std::shared_ptr<Cancellation> cancellation) override;
  async::Awaitable<Outcome<tollgate::v1::ListModelsReply>> ListModels(const Caller& caller) override;

  // What those say of a text whom rules ask. One of those inside, as a request is, but no request: it is not counted. Blocks until all have
  // answered or `keep_going`, asked ten times a second, refuses: no I/O thread may call it. Errors are those of keep_going, and
  // UNAVAILABLE.
  absl::StatusOr<std::vector<policy::Heard>> AskAbout(TextAsk ask, const std::function<absl::Status()>& keep_going);

  // No new requests from now on (UNAVAILABLE, with a retry hint). Calls back when none is running. Any thread.
  void StopAdmission(std::function<void()> when_empty);

  // Ends every running request with a terminal record (reason SHUTDOWN) at its next step.
  void EndAll();

  std::int64_t running() const;
  std::int64_t answer_bytes() const;  // What answers to come, and those that clients have not read yet, take of answer_bytes_max.

  // Puts the refusals counted so far on record. For an orderly stop.
  void FlushRefusals();

  // Since the start, for metrics.
  struct Counts {
    std::int64_t requests = 0;     // Calls of Chat, Embed and Rerank, and callers whom Admit refused.
    std::int64_t answered = 0;     // Ended with a reply.
    std::int64_t failed = 0;       // Ended with an error, refusals included.
    std::int64_t continued = 0;    // With a fallback, after a request was on record; each time.
    std::int64_t overhead_us = 0;  // Sum over the answered.
    ShadowCounts::Counts shadow_input, shadow_output;
  };
  Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::pipeline
