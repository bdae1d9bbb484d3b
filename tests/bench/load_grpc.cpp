// gRPC's callback API: a client is a slot whose answer starts its next request. In an open loop a pacing thread starts whichever slot is
// free when a request is due.
#include "tests/bench/load.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_callback.h>

#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kChannels = 2;

double MillisSince(Clock::time_point then) { return std::chrono::duration<double, std::milli>(Clock::now() - then).count(); }

class Run;

// One client. It lives until the run is over; gRPC's callbacks of one call never overlap.
class Slot : public grpc::ClientReadReactor<v1::ChatChunk> {
 public:
  Slot(Run& run, v1::Inference::Stub& stub) : run_(run), stub_(stub) {}

  void Begin(const v1::ChatRequest& request, Clock::time_point due);
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (seen_++ == 0) out.first_ms.push_back(MillisSince(due_));
    if (chunk_.has_end()) Count(chunk_.end().usage());
    StartRead(&chunk_);
  }
  void OnDone(const grpc::Status& status) override { End(status); }

  Outcome out;

 private:
  void Count(const v1::TokenCounts& usage) {
    out.tokens += usage.output();
    out.prompt_tokens += usage.input();
    out.cached_tokens += usage.cached_input();
  }
  void End(const grpc::Status& status);

  Run& run_;
  v1::Inference::Stub& stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  v1::ChatReply reply_;
  v1::ChatChunk chunk_;
  Clock::time_point due_;
  int seen_ = 0;
};

class Run {
 public:
  Run(const Traffic& traffic, const Plan& plan) : traffic_(traffic), plan_(plan) {
    for (int i = 0; i < kChannels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
      const auto channel =
          grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(traffic.port), grpc::InsecureChannelCredentials(), arguments);
      if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) outcome_.first_error = "no connection";
      stubs_.push_back(v1::Inference::NewStub(channel));
    }
    for (const std::string& prompt : traffic.prompts) {
      v1::ChatRequest& request = requests_.emplace_back();
      request.set_model(traffic.model);
      request.set_max_tokens(static_cast<std::int32_t>(traffic.max_tokens));
      if (traffic.greedy) request.mutable_sampling()->set_temperature(0);
      v1::ChatMessage& message = *request.add_messages();
      message.set_role(v1::ROLE_USER);
      message.add_parts(prompt);
    }
    for (int i = 0; i < plan.clients; ++i)
      slots_.push_back(std::make_unique<Slot>(*this, *stubs_[static_cast<std::size_t>(i % kChannels)]));
  }

  Outcome Go() {
    if (!outcome_.first_error.empty()) {
      outcome_.failed = 1;
      return outcome_;
    }
    const auto began = Clock::now();
    until_ = began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(plan_.seconds));
    plan_.rate_per_s > 0 ? Pace(began) : StartAll();
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return under_way_ == 0; });
    const double seconds = MillisSince(began) / 1000;
    for (const auto& slot : slots_) {
      Outcome& part = slot->out;
      outcome_.ms.insert(outcome_.ms.end(), part.ms.begin(), part.ms.end());
      outcome_.first_ms.insert(outcome_.first_ms.end(), part.first_ms.begin(), part.first_ms.end());
      outcome_.messages += part.messages;
      outcome_.tokens += part.tokens;
      outcome_.prompt_tokens += part.prompt_tokens;
      outcome_.cached_tokens += part.cached_tokens;
      outcome_.failed += part.failed;
      if (outcome_.first_error.empty()) outcome_.first_error = part.first_error;
    }
    detail::Finish(outcome_, seconds);
    return std::move(outcome_);
  }

  const Traffic& traffic() const { return traffic_; }

  // The slot's request is over. In a closed loop it begins the next one.
  void Over(Slot& slot) {
    if (plan_.rate_per_s == 0 && Clock::now() < until_ && More()) {
      slot.Begin(NextRequest(), Clock::now());
      return;
    }
    const std::lock_guard lock(mu_);
    --under_way_;
    free_.push_back(&slot);
    changed_.notify_all();
  }

 private:
  const v1::ChatRequest& NextRequest() { return requests_[static_cast<std::size_t>(turn_.fetch_add(1)) % requests_.size()]; }
  bool More() { return plan_.requests_max == 0 || begun_.fetch_add(1) < plan_.requests_max; }

  void StartAll() {
    for (const auto& slot : slots_) {
      if (!More()) break;
      {
        const std::lock_guard lock(mu_);
        ++under_way_;
      }
      slot->Begin(NextRequest(), Clock::now());
    }
  }

  void Pace(Clock::time_point began) {
    const std::chrono::duration<double> gap(1 / plan_.rate_per_s);
    for (const auto& slot : slots_) free_.push_back(slot.get());
    for (std::int64_t i = 0;; ++i) {
      const auto due = began + std::chrono::duration_cast<Clock::duration>(gap * static_cast<double>(i));
      if (due >= until_) return;
      std::this_thread::sleep_until(due);
      std::unique_lock lock(mu_);
      changed_.wait(lock, [&] { return !free_.empty(); });
      Slot* const slot = free_.front();
      free_.pop_front();
      ++under_way_;
      lock.unlock();
      slot->Begin(NextRequest(), due);
    }
  }

  const Traffic traffic_;
  const Plan plan_;
  std::vector<std::unique_ptr<v1::Inference::Stub>> stubs_;
  std::vector<v1::ChatRequest> requests_;
  std::atomic<std::int64_t> turn_{0}, begun_{0};
  Clock::time_point until_;
  std::mutex mu_;
  std::condition_variable changed_;
  int under_way_ = 0;
  std::deque<Slot*> free_;
  Outcome outcome_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

void Slot::Begin(const v1::ChatRequest& request, Clock::time_point due) {
  due_ = due;
  seen_ = 0;
  context_ = std::make_unique<grpc::ClientContext>();
  context_->AddMetadata("authorization", "Bearer " + run_.traffic().key);
  if (run_.traffic().stream) {
    stub_.async()->ChatStream(context_.get(), &request, this);
    StartRead(&chunk_);
    StartCall();
  } else {
    stub_.async()->Chat(context_.get(), &request, &reply_, [this](const grpc::Status& status) {
      ++seen_;
      Count(reply_.end().usage());
      End(status);
    });
  }
}

void Slot::End(const grpc::Status& status) {
  if (status.ok()) {
    out.ms.push_back(MillisSince(due_));
    out.messages += seen_;
  } else if (out.failed++ == 0) {
    out.first_error = std::to_string(status.error_code()) + " " + status.error_message();
  }
  run_.Over(*this);
}

}  // namespace

namespace detail {
Outcome RunGrpc(const Traffic& traffic, const Plan& plan) { return Run(traffic, plan).Go(); }
}  // namespace detail

}  // namespace tollgate::bench
