// Questions go as calls of gRPC's callback interface, so many at once; more wait, and each answer gives the next its turn. Every call has a
// deadline not later than its detector's, so a turn comes in time or the question's own time is up. Answers come on gRPC's threads.
//
// An answer is read by what reads those of HTTP (external_wire.h): one format, two ways to send it.
//
// Tested by tests/gateway/guards/grpc_detector_test.cpp.
#include <condition_variable>
#include <deque>
#include <map>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "base/encoding.h"
#include "base/mutex.h"
#include "gateway/guards/breaker.h"
#include "gateway/guards/detector.h"
#include "gateway/guards/external_wire.h"
#include "tollgate/v1/detector.grpc.pb.h"

namespace tollgate::guards {
namespace {

namespace v1 = tollgate::v1;
namespace json = boost::json;
using std::chrono::steady_clock;

constexpr std::string_view kPlain = "grpc://", kTls = "grpcs://";

struct Call {
  pipeline::GuardAsk ask;
  Detector::Done done;
  steady_clock::time_point began, deadline;
  grpc::ClientContext context;
  v1::JudgeRequest request;
  v1::JudgeReply reply;
};
using CallPtr = std::shared_ptr<Call>;

void Fill(const pipeline::GuardAsk& ask, v1::JudgeRequest& out) {
  out.set_version(1);
  out.set_detector(ask.question.name);
  out.set_rule(ask.question.rule_id);
  out.set_output(ask.output);
  out.set_last(ask.last);
  out.set_model(ask.model);
  for (const policy::Message& message : ask.messages) {
    v1::JudgedMessage& its = *out.add_messages();
    its.set_role(message.role == policy::Role::kSystem      ? v1::ROLE_SYSTEM
                 : message.role == policy::Role::kUser      ? v1::ROLE_USER
                 : message.role == policy::Role::kAssistant ? v1::ROLE_ASSISTANT
                                                            : v1::ROLE_TOOL);
    its.set_name(message.name);
    for (const std::string& part : message.parts) *its.mutable_text() += part;
  }
}

std::string JsonOf(const v1::JudgeReply& reply) {
  json::object out{{"hit", reply.hit()}};
  if (reply.has_score()) out["score"] = reply.score();
  if (!reply.category().empty()) out["category"] = reply.category();
  json::array spans;
  for (const v1::JudgedSpan& span : reply.spans())
    spans.push_back(json::object{{"message", span.message()}, {"begin", span.begin()}, {"end", span.end()}});
  out["spans"] = std::move(spans);
  return json::serialize(out);
}

class GrpcDetector final : public Detector {
 public:
  GrpcDetector(DetectorOptions options, std::shared_ptr<grpc::Channel> channel)
      : options_(std::move(options)), stub_(v1::Detector::NewStub(channel)), breaker_(options_.failures_max, options_.rest) {
    stats_.name = options_.name;
  }
  ~GrpcDetector() override {
    std::deque<CallPtr> left;
    {
      base::Lock lock(mu_);
      stopping_ = true;
      left.swap(waiting_);
      for (const auto& [key, call] : running_) call->context.TryCancel();
    }
    for (const CallPtr& call : left) Finish(*call, Failed(call->ask, "the gateway is shutting down"));
    base::Lock lock(mu_);
    empty_.wait(lock.native(), [this] { return running_.empty(); });
  }

  void Ask(pipeline::GuardAsk ask, Done done) override {
    auto call = std::make_shared<Call>();
    call->began = steady_clock::now();
    call->deadline = std::min(call->began + options_.deadline, ask.deadline);
    call->ask = std::move(ask);
    call->done = std::move(done);
    bool full = false;
    {
      base::Lock lock(mu_);
      ++stats_.asked;
      const bool must_wait = static_cast<int>(running_.size()) >= options_.running_max;
      full = must_wait && static_cast<int>(waiting_.size()) >= options_.waiting_max;
      if (must_wait && !full) {
        waiting_.push_back(std::move(call));
        return;
      }
    }
    if (full) return Finish(*call, Failed(call->ask, fmt::format("detector '{}' has too many questions waiting", options_.name)));
    Begin(call);
  }

  DetectorStats stats() const override {
    base::Lock lock(mu_);
    return stats_;
  }

 private:
  // Its turn has come.
  void Begin(const CallPtr& call) {
    const auto now = steady_clock::now();
    std::string why;
    {
      base::Lock lock(mu_);
      if (stopping_) {
        why = "the gateway is shutting down";
      } else if (now >= call->deadline) {
        why = fmt::format("detector '{}' had no turn free in time", options_.name);
      } else if (!breaker_.May(now)) {
        why = fmt::format("detector '{}' failed {} times in a row and is left alone for a while", options_.name, options_.failures_max);
      } else {
        running_.emplace(call.get(), call);
        stats_.running = static_cast<std::int64_t>(running_.size());
      }
    }
    if (!why.empty()) return Finish(*call, Failed(call->ask, why));
    call->context.set_deadline(std::chrono::system_clock::now() + (call->deadline - now));
    if (!options_.bearer.empty()) call->context.AddMetadata("authorization", "Bearer " + options_.bearer);
    Fill(call->ask, call->request);
    stub_->async()->Judge(&call->context, &call->request, &call->reply, [this, call](const grpc::Status& status) { Ended(call, status); });
  }

  void Ended(const CallPtr& call, const grpc::Status& status) {
    pipeline::GuardAnswer answer = AnswerOf(*call, status);
    const bool good = answer.answer.failure.empty();
    CallPtr next;
    {
      base::Lock lock(mu_);
      if (good) breaker_.Succeeded();
      if (!good) breaker_.Failed(steady_clock::now());
      stats_.open = breaker_.open();
    }
    Finish(*call, std::move(answer));
    while ((next = TakeWaiting()) != nullptr) Begin(next);
    base::Lock lock(mu_);
    running_.erase(call.get());
    stats_.running = static_cast<std::int64_t>(running_.size());
    if (running_.empty()) empty_.notify_all();
  }

  // What has its turn now that a call is over, which is still counted.
  CallPtr TakeWaiting() {
    base::Lock lock(mu_);
    if (waiting_.empty() || static_cast<int>(running_.size()) > options_.running_max) return nullptr;
    CallPtr next = std::move(waiting_.front());
    waiting_.pop_front();
    return next;
  }

  pipeline::GuardAnswer AnswerOf(const Call& call, const grpc::Status& status) const {
    const auto failed = [&](std::string_view why) { return Failed(call.ask, fmt::format("detector '{}': {}", options_.name, why)); };
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) return failed("it did not answer in time");
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) return failed("it cannot be reached, or broke off");
    if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) return failed("its answer is longer than 64 KiB, or it has no room");
    if (!status.ok()) return failed(fmt::format("it answered with status {}", static_cast<int>(status.error_code())));
    auto answer = ReadAnswer(call.ask, JsonOf(call.reply));
    return answer.ok() ? *std::move(answer) : failed(base::Message(answer.status()));
  }

  void Finish(const Call& call, pipeline::GuardAnswer answer) {
    {
      base::Lock lock(mu_);
      stats_.failures += answer.answer.failure.empty() ? 0 : 1;
      stats_.hits += answer.answer.hit ? 1 : 0;
      stats_.micros += std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - call.began).count();
    }
    call.done(std::move(answer));
  }

  const DetectorOptions options_;
  const std::unique_ptr<v1::Detector::Stub> stub_;
  mutable base::Mutex mu_;
  std::condition_variable empty_;
  bool stopping_ GUARDED_BY(mu_) = false;
  Breaker breaker_ GUARDED_BY(mu_);
  std::map<Call*, CallPtr> running_ GUARDED_BY(mu_);
  std::deque<CallPtr> waiting_ GUARDED_BY(mu_);
  DetectorStats stats_ GUARDED_BY(mu_);
};

absl::Status ReadPem(const std::string& path, std::string& out) {
  if (path.empty()) return absl::OkStatus();
  auto text = base::ReadFile(path);
  if (!text.ok()) return base::FailedPrecondition(fmt::format("{} cannot be read: {}", path, base::Message(text.status())));
  out = *std::move(text);
  return absl::OkStatus();
}

}  // namespace

bool IsGrpcUrl(const std::string& url) { return url.starts_with(kPlain) || url.starts_with(kTls); }

absl::StatusOr<std::unique_ptr<Detector>> MakeGrpcDetector(DetectorOptions options) {
  const bool tls = options.url.starts_with(kTls);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls) {
    grpc::SslCredentialsOptions ssl;
    TG_RETURN_IF_ERROR(ReadPem(options.ca_file, ssl.pem_root_certs));
    TG_RETURN_IF_ERROR(ReadPem(options.certificate_file, ssl.pem_cert_chain));
    TG_RETURN_IF_ERROR(ReadPem(options.key_file, ssl.pem_private_key));
    credentials = grpc::SslCredentials(ssl);
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kAnswerBytesMax));
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(std::min<std::int64_t>(options.rest.count(), 60'000)));
  const std::string target = options.url.substr(tls ? kTls.size() : kPlain.size());
  auto channel = grpc::CreateCustomChannel(target, credentials, arguments);
  return std::unique_ptr<Detector>(std::make_unique<GrpcDetector>(std::move(options), std::move(channel)));
}

}  // namespace tollgate::guards
