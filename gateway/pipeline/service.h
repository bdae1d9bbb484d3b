// What a front end calls: the pipeline, or a fake of it in tests. Each call is one coroutine; await it on a strand. It never blocks the
// awaiting thread, and it decides everything: front ends only translate.
#pragma once

#include <memory>
#include <string>

#include "gateway/pipeline/call.h"
#include "gateway/pipeline/embed_call.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

// Whose a caller is, in bytes that mean nothing else; no two of them are the same.
struct Tenant {
  std::string org;
  std::string team;
};

class Service {
 public:
  virtual ~Service() = default;

  // Whose the caller is. Or why it may not ask at all: no key that is in force, or one that may
  // not use models. For a front end that must decide before it reads the request; the calls below ask again. Looks at the caller's bearer
  // and source. Quick; a refusal is counted.
  virtual Outcome<Tenant> Admit(const Caller& caller) = 0;

  // Answers a chat request. `caller` and `request` outlive the call. `writer` null: unary, the output is in Reply.text. Else: pieces go to
  // the writer, and what is left comes with the Reply. `cancellation` is shared with the front end, which cancels when its client goes
  // away. After the first Write a failure is a Failure too: the front end ends its stream with the error.
  virtual async::Awaitable<Outcome<Reply>> Chat(const Caller& caller, const tollgate::v1::ChatRequest& request, StreamWriter* writer,
                                                std::shared_ptr<Cancellation> cancellation) = 0;

  virtual async::Awaitable<Outcome<tollgate::v1::CountTokensReply>> CountTokens(const Caller& caller,
                                                                                const tollgate::v1::CountTokensRequest& request) = 0;

  // Vectors of texts, and how well documents answer a query. As Chat: on record, metered, under policy.
  virtual async::Awaitable<Outcome<EmbedAnswer>> Embed(const Caller& caller, const tollgate::v1::EmbedRequest& request,
                                                       std::shared_ptr<Cancellation> cancellation) = 0;
  virtual async::Awaitable<Outcome<RerankAnswer>> Rerank(const Caller& caller, const tollgate::v1::RerankRequest& request,
                                                         std::shared_ptr<Cancellation> cancellation) = 0;

  virtual async::Awaitable<Outcome<tollgate::v1::ListModelsReply>> ListModels(const Caller& caller) = 0;
};

}  // namespace tollgate::pipeline
