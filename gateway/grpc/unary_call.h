// What the front end's calls share: trailers, and the bridge of a call with one answer. A reactor holds itself alive until OnDone; its
// coroutine holds it too. The coroutine calls Finish exactly once, at its end, on its own strand. Internal to the room.
#pragma once

#include <fmt/format.h>
#include <grpcpp/server_context.h>

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/grpc/bytes.h"
#include "gateway/grpc/calls.h"
#include "gateway/grpc/grpc_status.h"
#include "gateway/grpc/write_limit.h"

namespace tollgate::grpc_front {

// The trailers of a call. Before Finish.
class Trailers {
 public:
  explicit Trailers(::grpc::CallbackServerContext* rpc) : rpc_(rpc) {}
  void Id(const pipeline::Caller& caller) { Add("x-request-id", caller.request_id.ToString()); }
  void Record(std::int32_t log, std::int64_t index) { Add("x-tollgate-record", fmt::format("{}/{}", log, index)); }
  void Limits(const pipeline::RateLimits& limits) {
    if (limits.requests) One("requests", *limits.requests);
    if (limits.tokens) One("tokens", *limits.tokens);
  }
  void Route(const pipeline::ReplyHead& head) {
    if (!head.told_route.empty()) Add("x-tollgate-route", head.told_route);
    if (!head.request_id.empty()) Add("x-tollgate-request-id", head.request_id);
  }
  // Of a Reply, and of answers that are like one.
  template <typename Reply>
  void Of(const Reply& reply) {
    Route(reply.head);
    Record(reply.end.record().log_id(), reply.end.record().index());
    Limits(reply.head.limits);
    Add("x-tollgate-overhead-ms", fmt::format("{}.{:03}", reply.overhead_us / 1000, reply.overhead_us % 1000));
  }
  void Of(const pipeline::Failure& failure) {
    if (failure.head) Record(failure.head->log_id, failure.head->record_index);
    if (failure.head) Route(*failure.head);
    Limits(failure.limits);
    // gRPC clients that retry by themselves read this: milliseconds to wait, or -1: do not.
    const auto detail = base::DetailOf(failure.status);
    if (detail && !detail->may_retry) {
      Add("grpc-retry-pushback-ms", "-1");
    } else if (detail && detail->retry_after_ms) {
      Add("grpc-retry-pushback-ms", std::to_string(*detail->retry_after_ms));
    }
  }

 private:
  void Add(const std::string& name, const std::string& value) { rpc_->AddTrailingMetadata(name, value); }
  void One(std::string_view what, const pipeline::RateLimits::One& one) {
    Add(fmt::format("x-ratelimit-limit-{}", what), std::to_string(one.limit));
    Add(fmt::format("x-ratelimit-remaining-{}", what), std::to_string(one.remaining));
    Add(fmt::format("x-ratelimit-reset-{}", what), fmt::format("{}ms", one.reset_ms));
  }

  ::grpc::CallbackServerContext* rpc_;
};

template <typename Request>
void TakeClientId(const Request& request, pipeline::Caller& caller) {
  if (!request.client_request_id().empty()) caller.client_request_id = request.client_request_id();
}

inline constexpr std::size_t kParseHereBytesMax = 64 * 1024;  // Larger messages are parsed off the I/O threads.

// Parses a call's message; or why not. The key comes first: a stranger has nothing read, and learns nothing of its form.
template <typename Message>
async::Awaitable<std::optional<pipeline::Failure>> ReadMessage(CallContext& shared, const pipeline::Caller& caller,
                                                               const ::grpc::ByteBuffer& bytes, Message& message) {
  pipeline::Outcome<pipeline::Tenant> tenant = shared.service.Admit(caller);
  if (pipeline::Failure* refusal = std::get_if<pipeline::Failure>(&tenant)) co_return std::move(*refusal);
  const bool large = bytes.Length() > kParseHereBytesMax;
  auto parse = [&bytes, &message] { return ParseBytes(bytes, message); };
  absl::Status parsed = co_await async::RunOnIf(large, shared.cpu, parse);
  if (parsed.ok()) co_return std::nullopt;
  co_return pipeline::Failure{.status = std::move(parsed), .head = std::nullopt, .limits = {}};
}

// Runs `self->Run()` on a strand of its own; counts it in and out.
template <typename Call>
void Spawn(CallContext& shared, std::shared_ptr<Call> self) {
  shared.inside.Enter();
  auto* raw = self.get();
  boost::asio::co_spawn(shared.new_strand(), raw->Run(), [&shared, self = std::move(self)](std::exception_ptr error) mutable {
    TG_CHECK(error == nullptr, "a call's coroutine threw");
    self.reset();
    shared.inside.Leave();
  });
}

class UnaryCall : public ::grpc::ServerUnaryReactor, public std::enable_shared_from_this<UnaryCall> {
 public:
  UnaryCall(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request, ::grpc::ByteBuffer* reply)
      : shared_(shared), rpc_(rpc), request_(request), reply_(reply), caller_(CallerOf(*rpc, shared.proxies)) {}

  ::grpc::ServerUnaryReactor* Begin() {
    self_ = shared_from_this();
    Spawn(shared_, self_);
    return this;
  }

  async::Awaitable<void> Run() {
    const ::grpc::Status status = co_await Answer();
    Trailers(rpc_).Id(caller_);
    limit_.Begin(reply_->Length());
    Finish(status);
  }

  void OnCancel() override { cancellation_->Cancel(); }
  void OnDone() override {
    limit_.Done();
    self_.reset();
  }

 protected:
  // Fills reply_ and the trailers but for the id.
  virtual async::Awaitable<::grpc::Status> Answer() = 0;

  ::grpc::Status Fail(const pipeline::Failure& failure) {
    Trailers(rpc_).Of(failure);
    return ToGrpcStatus(failure.status);
  }

  CallContext& shared_;
  ::grpc::CallbackServerContext* const rpc_;
  const ::grpc::ByteBuffer* const request_;
  ::grpc::ByteBuffer* const reply_;
  pipeline::Caller caller_;
  const std::shared_ptr<pipeline::Cancellation> cancellation_ = std::make_shared<pipeline::Cancellation>();
  pipeline::Room room_;  // Of the answer, until gRPC has sent it.

 private:
  WriteLimit limit_{rpc_, shared_.timers, shared_.write_timeout};
  const Inside::Stay open_{shared_.open};
  std::shared_ptr<UnaryCall> self_;  // Until OnDone.
};

}  // namespace tollgate::grpc_front
