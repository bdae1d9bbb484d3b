// A question's JSON and its message have the same fields, so that protobuf's own mapping carries one into the other. Calls are gRPC's
// callback kind; what ends on its threads waits for Run, on whose thread sinks are called. A call's context holds the channel, and the last
// channel to go waits for gRPC's own threads: so contexts are let go on Run's thread or the client's end alone, never in a callback.
//
// Tested by tests/gateway/detectors/grpc_client_test.cpp.
#include "gateway/detectors/grpc_client.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "base/mutex.h"
#include "tollgate/v1/detector.grpc.pb.h"

namespace tollgate::detectors {
namespace {

namespace v1 = tollgate::v1;
using std::chrono::milliseconds;

constexpr std::string_view kPlain = "grpc://", kTls = "grpcs://", kAuthorization = "authorization: ";
constexpr int kReconnectMillisMax = 1000;

struct Call {
  grpc::ClientContext context;
  v1::JudgeRequest request;
  v1::JudgeReply reply;
  base::HttpSink* sink = nullptr;  // Null: cancelled.
};

// As a gateway between the two would say it.
int HttpStatusOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK: return 200;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return 429;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE: return 400;
    case grpc::StatusCode::UNAUTHENTICATED: return 401;
    case grpc::StatusCode::PERMISSION_DENIED: return 403;
    case grpc::StatusCode::NOT_FOUND: return 404;
    case grpc::StatusCode::UNIMPLEMENTED: return 501;
    default: return 500;
  }
}

class GrpcClient final : public base::HttpClient {
 public:
  explicit GrpcClient(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)), stub_(v1::Detector::NewStub(channel_)) {}
  ~GrpcClient() override {
    for (const auto& [id, call] : calls_) call->context.TryCancel();
    base::Lock lock(mu_);
    changed_.wait(lock.native(), [this]() REQUIRES(mu_) { return out_ == 0; });
  }

  std::int64_t Start(base::HttpRequest request, base::HttpSink& sink) override {
    const std::int64_t id = ++last_id_;
    Call* const call = calls_.emplace(id, std::make_unique<Call>()).first->second.get();
    call->sink = &sink;
    for (const std::string& header : request.headers) {
      if (header.starts_with(kAuthorization)) call->context.AddMetadata("authorization", header.substr(kAuthorization.size()));
    }
    if (request.timeout.count() > 0) call->context.set_deadline(std::chrono::system_clock::now() + request.timeout);
    google::protobuf::util::JsonParseOptions options;
    options.ignore_unknown_fields = true;
    const bool good = google::protobuf::util::JsonStringToMessage(request.body, &call->request, options).ok();
    if (!good) {
      Ended(id, grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, ""));
      return id;
    }
    {
      base::Lock lock(mu_);
      ++out_;
    }
    stub_->async()->Judge(&call->context, &call->request, &call->reply, [this, id](const grpc::Status& status) {
      // A channel in this state has no connection and could not make one; one that broke under a call is idle.
      const bool reached = status.ok() || channel_->GetState(false) != GRPC_CHANNEL_TRANSIENT_FAILURE;
      base::Lock lock(mu_);
      ended_.push_back({id, status, reached});
      --out_;
      changed_.notify_all();
    });
    return id;
  }

  void Cancel(std::int64_t transfer) override {
    const auto call = calls_.find(transfer);
    if (call == calls_.end()) return;
    call->second->sink = nullptr;
    call->second->context.TryCancel();
  }

  void Run(milliseconds wait) override {
    std::vector<End> ended;
    {
      base::Lock lock(mu_);
      changed_.wait_for(lock.native(), wait, [this]() REQUIRES(mu_) { return woken_ || !ended_.empty(); });
      woken_ = false;
      ended.swap(ended_);
    }
    for (const End& end : ended) {
      const std::unique_ptr<Call> call = std::move(calls_.extract(end.id).mapped());
      if (call->sink != nullptr) Deliver(*call, end);
    }
  }

  void Wake() override {
    base::Lock lock(mu_);
    woken_ = true;
    changed_.notify_all();
  }

  int transfers() const override {
    return static_cast<int>(std::count_if(calls_.begin(), calls_.end(), [](const auto& call) { return call.second->sink != nullptr; }));
  }

 private:
  struct End {
    std::int64_t id = 0;
    grpc::Status status;
    bool reached = true;  // There was a connection.
  };

  void Ended(std::int64_t id, grpc::Status status) {
    base::Lock lock(mu_);
    ended_.push_back({id, std::move(status)});
    changed_.notify_all();
  }

  static void Deliver(const Call& call, const End& end) {
    const grpc::StatusCode code = end.status.error_code();
    if (code == grpc::StatusCode::UNAVAILABLE && !end.reached)
      return call.sink->OnEnd(0, base::WithDetail(base::Unavailable("no connection came about"), {.reason = "UNREACHABLE"}));
    if (code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED || code == grpc::StatusCode::CANCELLED)
      return call.sink->OnEnd(0, base::Unavailable("the call did not come to an end"));
    std::string json;
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    if (code == grpc::StatusCode::OK && !google::protobuf::util::MessageToJsonString(call.reply, &json, options).ok())
      return call.sink->OnEnd(500, absl::OkStatus());  // Text that is no UTF-8.
    if (!json.empty() && !call.sink->OnBody(200, json)) return call.sink->OnEnd(200, base::Unavailable("enough"));
    call.sink->OnEnd(HttpStatusOf(code), absl::OkStatus());
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Detector::Stub> stub_;
  std::int64_t last_id_ = 0;
  std::map<std::int64_t, std::unique_ptr<Call>> calls_;  // Whose end was not taken.
  base::Mutex mu_;
  std::condition_variable changed_;
  std::vector<End> ended_ GUARDED_BY(mu_);
  bool woken_ GUARDED_BY(mu_) = false;
  int out_ GUARDED_BY(mu_) = 0;  // Calls whose end gRPC has not told.
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

absl::StatusOr<std::unique_ptr<base::HttpClient>> MakeGrpcClient(const std::string& url, const base::HttpClientOptions& options,
                                                                 std::size_t answer_bytes_max) {
  const bool tls = url.starts_with(kTls);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls) {
    grpc::SslCredentialsOptions ssl;
    TG_RETURN_IF_ERROR(ReadPem(options.ca_file, ssl.pem_root_certs));
    TG_RETURN_IF_ERROR(ReadPem(options.certificate_file, ssl.pem_cert_chain));
    TG_RETURN_IF_ERROR(ReadPem(options.key_file, ssl.pem_private_key));
    credentials = grpc::SslCredentials(ssl);
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(answer_bytes_max));
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMillisMax);
  const std::string target = url.substr(tls ? kTls.size() : kPlain.size());
  return std::unique_ptr<base::HttpClient>(std::make_unique<GrpcClient>(grpc::CreateCustomChannel(target, credentials, arguments)));
}

}  // namespace tollgate::detectors
