// A pipeline that tests script: what it answers is a function; what it was asked is kept.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error_detail.h"
#include "gateway/pipeline/service.h"
#include "tests/gateway/http/fake_embeddings.h"
#include "tests/support/signal.h"

namespace tollgate::testing {

struct Asked {
  pipeline::Caller caller;
  v1::ChatRequest request;
  pipeline::StreamWriter* writer = nullptr;
  std::shared_ptr<pipeline::Cancellation> cancellation;
};

inline pipeline::OutputPiece TextPiece(std::string text) { return {.text = std::move(text), .logprobs = {}}; }

inline pipeline::Reply SampleReply(std::string text) {
  pipeline::Reply reply;
  reply.head = SampleHead();
  reply.text = std::move(text);
  reply.end.set_finish_reason(v1::FINISH_REASON_STOP);
  reply.end.mutable_usage()->set_input(12);
  reply.end.mutable_usage()->set_output(5);
  reply.end.mutable_record()->set_log_id(3);
  reply.end.mutable_record()->set_index(42);
  reply.overhead_us = 1234;
  return reply;
}

// Suspends until the call is cancelled.
inline async::Awaitable<void> UntilCancelled(std::shared_ptr<pipeline::Cancellation> cancellation) {
  auto start = [&cancellation](auto done) { cancellation->OnCancel([done] { done(true); }); };
  co_await async::Callback<bool>(start);
}

class FakeChat final : public FakeEmbeddings {
 public:
  using Chatting = std::function<async::Awaitable<pipeline::Outcome<pipeline::Reply>>(Asked)>;

  // Unary: the text "Hello". A stream: "Hel" written, "lo" with the end.
  FakeChat() : chatting_(&FakeChat::Hello) {}

  void Answer(Chatting chatting) {
    const std::lock_guard lock(mu_);
    chatting_ = std::move(chatting);
  }
  void Fail(absl::Status status) {
    Answer([status](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> { co_return SampleFailure(status); });
  }
  // Every caller is refused from now on.
  void RefuseAll(absl::Status status) {
    const std::lock_guard lock(mu_);
    refusal_ = std::move(status);
  }
  void FailModels(absl::Status status) {
    const std::lock_guard lock(mu_);
    models_status_ = std::move(status);
  }
  Asked last() const {
    const std::lock_guard lock(mu_);
    return last_;
  }
  int running() const { return running_; }

  // Each bearer is a team; its first letter names the org.
  pipeline::Outcome<pipeline::Tenant> Admit(const pipeline::Caller& caller) override {
    const std::lock_guard lock(mu_);
    if (refusal_.ok()) return pipeline::Tenant{"org " + caller.bearer.substr(0, 1), caller.bearer};
    return pipeline::Failure{.status = refusal_, .head = std::nullopt, .limits = {}};
  }

  async::Awaitable<pipeline::Outcome<pipeline::Reply>> Chat(const pipeline::Caller& caller, const v1::ChatRequest& request,
                                                            pipeline::StreamWriter* writer,
                                                            std::shared_ptr<pipeline::Cancellation> cancellation) override {
    Chatting chatting;
    Asked asked{caller, request, writer, cancellation};
    {
      const std::lock_guard lock(mu_);
      last_ = asked;
      chatting = chatting_;
    }
    ++running_;
    auto outcome = co_await chatting(std::move(asked));
    --running_;
    co_return outcome;
  }

  async::Awaitable<pipeline::Outcome<v1::CountTokensReply>> CountTokens(const pipeline::Caller&,
                                                                        const v1::CountTokensRequest& request) override {
    v1::CountTokensReply reply;
    reply.set_tokens(request.messages_size() * 7);
    reply.set_context_tokens(4096);
    co_return reply;
  }

  async::Awaitable<pipeline::Outcome<v1::ListModelsReply>> ListModels(const pipeline::Caller& caller) override {
    const std::lock_guard lock(mu_);
    last_.caller = caller;
    if (!models_status_.ok()) co_return SampleFailure(models_status_);
    v1::ListModelsReply reply;
    reply.add_models()->set_name("smollm2");
    reply.add_models()->set_name("org/model b");
    co_return reply;
  }

 private:
  static async::Awaitable<pipeline::Outcome<pipeline::Reply>> Hello(Asked asked) {
    if (asked.writer == nullptr) co_return SampleReply("Hello");
    const absl::Status begun = co_await asked.writer->Begin(SampleHead());
    const absl::Status written = co_await asked.writer->Write(TextPiece("Hel"));
    if (!begun.ok() || !written.ok()) co_return pipeline::Failure{.status = written, .head = SampleHead(), .limits = {}};
    co_return SampleReply("lo");
  }

  Chatting chatting_;
  Asked last_;
  absl::Status refusal_;
  absl::Status models_status_;
  std::atomic<int> running_{0};
};

// Writes until the client takes no more; the pipeline breaks that off after 100 ms.
inline FakeChat::Chatting UntilBrokenOff(Signal& ended) {
  return [&ended](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    const auto executor = co_await boost::asio::this_coro::executor;
    boost::asio::steady_timer timer(executor, std::chrono::milliseconds(100));
    timer.async_wait([&asked](boost::system::error_code error) {
      if (!error) asked.writer->Abort();
    });
    absl::Status status = co_await asked.writer->Begin(SampleHead());
    while (status.ok()) status = co_await asked.writer->Write(TextPiece(std::string(64 * 1024, 'x')));
    ended.Set();
    co_return SampleFailure(status);
  };
}

}  // namespace tollgate::testing
