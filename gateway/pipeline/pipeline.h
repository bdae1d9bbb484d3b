// The way of one request (docs/architecture.md): start reading at request.h, which is that way from top to bottom.
//
// Pipeline is what the front ends call. Each call is one coroutine; await it on a strand. Nothing here blocks the awaiting thread.
#pragma once

#include <memory>

#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"

namespace tollgate::pipeline {

class Pipeline {
 public:
  explicit Pipeline(Collaborators collaborators);
  ~Pipeline();

  // Answers a chat request. `writer` null: unary, the output is in Reply.text. Else: pieces go to the writer, and what is left comes with the
  // Reply. `cancellation` is shared with the front end, which cancels when its client goes away. After the first Write a failure is a Failure too:
  // the front end ends its stream with the error.
  async::Awaitable<Outcome<Reply>> Chat(const Caller& caller, const tollgate::v1::ChatRequest& request, StreamWriter* writer,
                                        std::shared_ptr<Cancellation> cancellation);

  async::Awaitable<Outcome<tollgate::v1::CountTokensReply>> CountTokens(const Caller& caller, const tollgate::v1::CountTokensRequest& request);

  async::Awaitable<Outcome<tollgate::v1::ListModelsReply>> ListModels(const Caller& caller);

  // No new requests from now on (UNAVAILABLE, with a retry hint). Calls back when none is running. Any thread.
  void CloseGate(std::function<void()> when_empty);

  // Ends every running request with a terminal record (reason SHUTDOWN) at its next step.
  void EndAll();

  std::int64_t running() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::pipeline
