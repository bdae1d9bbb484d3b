// A gRPC client that sends any bytes to any method.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tollgate::testing {

// A channel of its own: gRPC otherwise shares connections between channels of the same target.
inline std::shared_ptr<grpc::Channel> NewChannel(std::uint16_t port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), arguments);
}

struct GenericReply {
  grpc::Status status;
  std::vector<std::string> messages;
};

inline grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string FromBuffer(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (!buffer.Dump(&slices).ok()) return out;
  for (const auto& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

// Sends one message on a stream, reads at most `most` messages, then cancels if there could be more. Works for unary methods too.
class GenericCall : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  GenericCall(std::shared_ptr<grpc::Channel> channel, const std::string& method, const std::string& request, std::size_t most)
      : stub_(channel), request_(ToBuffer(request)), most_(most) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    stub_.PrepareBidiStreamingCall(&context_, method, grpc::StubOptions(), this);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&incoming_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    const std::lock_guard lock(mu_);
    reply_.messages.push_back(FromBuffer(incoming_));
    changed_.notify_all();
    if (reply_.messages.size() >= most_) {
      context_.TryCancel();
    } else {
      StartRead(&incoming_);
    }
  }
  void OnDone(const grpc::Status& status) override {
    const std::lock_guard lock(mu_);
    reply_.status = status;
    done_ = true;
    changed_.notify_all();
  }
  bool AwaitMessages(std::size_t count) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return reply_.messages.size() >= count || done_; }) &&
           reply_.messages.size() >= count;
  }
  GenericReply Await() {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return done_; });
    return reply_;
  }

 private:
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer incoming_;
  const std::size_t most_;
  std::mutex mu_;
  std::condition_variable changed_;
  GenericReply reply_;
  bool done_ = false;
};

inline GenericReply CallGeneric(std::shared_ptr<grpc::Channel> channel, const std::string& method, const std::string& request,
                                std::size_t most = 1000) {
  GenericCall call(std::move(channel), method, request, most);
  return call.Await();
}

}  // namespace tollgate::testing
