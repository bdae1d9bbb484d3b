// The part of a fake pipeline that makes vectors and ranks, and what all of it answers with.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "gateway/pipeline/service.h"

namespace tollgate::testing {

namespace v1 = tollgate::v1;

inline pipeline::ReplyHead SampleHead() {
  pipeline::ReplyHead head;
  head.model = "smollm2";
  head.created_s = 1'790'000'000;
  head.limits.requests = {.limit = 60, .remaining = 59, .reset_ms = 1500};
  head.log_id = 3;
  head.record_index = 41;
  return head;
}

inline pipeline::Failure SampleFailure(absl::Status status) {
  pipeline::Failure failure{.status = std::move(status), .head = SampleHead(), .limits = {}};
  failure.limits.tokens = {.limit = 100, .remaining = 0, .reset_ms = 360'000};
  return failure;
}

inline v1::EmbedEnd SampleEmbedEnd() {
  v1::EmbedEnd end;
  end.mutable_usage()->set_input(12);
  end.mutable_record()->set_log_id(3);
  end.mutable_record()->set_index(42);
  return end;
}

class FakeEmbeddings : public pipeline::Service {
 public:
  // A vector (its input's number, 0.5) for each input; an empty model is refused. Longer ones, and answers that hold this room: EmbedAs.
  async::Awaitable<pipeline::Outcome<pipeline::EmbedAnswer>> Embed(const pipeline::Caller& caller, const v1::EmbedRequest& request,
                                                                   std::shared_ptr<pipeline::Cancellation>) override {
    pipeline::EmbedAnswer answer{SampleHead(), {}, 2, SampleEmbedEnd(), 1234};
    {
      const std::lock_guard lock(mu_);
      embed_caller_ = caller;
      embedded_ = request;
      answer.dimensions = dimensions_;
      answer.room = room_;
    }
    if (request.model().empty()) co_return SampleFailure(base::InvalidArgument("no model"));
    for (int i = 0; i < request.inputs_size(); ++i) {
      answer.numbers.push_back(static_cast<float>(i));
      answer.numbers.insert(answer.numbers.end(), static_cast<std::size_t>(answer.dimensions - 1), 0.5F);
    }
    co_return answer;
  }
  void EmbedAs(std::int64_t dimensions, pipeline::Room room) {
    const std::lock_guard lock(mu_);
    dimensions_ = dimensions;
    room_ = std::move(room);
  }
  // The last document is the best, with 0.75, then the first, with 0.25.
  async::Awaitable<pipeline::Outcome<pipeline::RerankAnswer>> Rerank(const pipeline::Caller&, const v1::RerankRequest& request,
                                                                     std::shared_ptr<pipeline::Cancellation>) override {
    {
      const std::lock_guard lock(mu_);
      reranked_ = request;
    }
    if (request.model().empty()) co_return SampleFailure(base::InvalidArgument("no model"));
    pipeline::RerankAnswer answer{SampleHead(), {}, SampleEmbedEnd(), 1234};
    for (const auto& [index, score] : {std::pair{request.documents_size() - 1, 0.75}, std::pair{0, 0.25}}) {
      answer.results.emplace_back().set_index(index);
      answer.results.back().set_relevance_score(score);
      if (request.return_documents()) answer.results.back().set_document(request.documents(index));
    }
    co_return answer;
  }
  v1::EmbedRequest embedded() const {
    const std::lock_guard lock(mu_);
    return embedded_;
  }
  v1::RerankRequest reranked() const {
    const std::lock_guard lock(mu_);
    return reranked_;
  }
  pipeline::Caller embed_caller() const {
    const std::lock_guard lock(mu_);
    return embed_caller_;
  }

 protected:
  mutable std::mutex mu_;

 private:
  std::int64_t dimensions_ = 2;
  pipeline::Room room_;
  pipeline::Caller embed_caller_;
  v1::EmbedRequest embedded_;
  v1::RerankRequest reranked_;
};

}  // namespace tollgate::testing
