// A detector is a thread that turns an HTTP client, or one that speaks gRPC and behaves like one (grpc_client.h): questions come through
// bounded queues, one a tenant and taken in turn; those whose deadline passes there are answered without being asked. An answer is
// collected to its bound, read, and handed over on that thread.
//
// What says that the server is unwell is counted: for all that it cannot be reached; for each tenant apart that it is late by its own
// deadline, breaks off or answers 429 or 5xx, for that may be a text's doing. What one caller brings about by a short deadline, or by a
// text that the server refuses, is that question's failure alone; it may try whether the server is back, and another does if it does not
// learn it.
//
// Tested by tests/gateway/detectors/external_detectors_test.cpp.
#include "gateway/detectors/external_detectors.h"

#include <deque>
#include <map>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "base/http_client.h"
#include "base/mutex.h"
#include "gateway/detectors/external_wire.h"
#include "gateway/detectors/grpc_client.h"
#include "gateway/pipeline/breaker.h"

namespace tollgate::detectors {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kTurn{100};  // The longest sleep: deadlines of those that wait are looked at as often.
constexpr std::size_t kWaitingBytesMax = 64 << 20;

using Done = std::function<void(pipeline::QuestionAnswer)>;

struct Asked {
  pipeline::QuestionAsk ask;
  Done done;
  steady_clock::time_point began, deadline;
  bool own_deadline = false;  // `deadline` is the detector's, not the caller's.
  std::size_t bytes = 0;
};

std::size_t BytesOf(const pipeline::QuestionAsk& ask) {
  std::size_t bytes = 0;
  for (const policy::Message& message : *ask.messages)
    for (const std::string& part : message.parts) bytes += part.size();
  return bytes;
}

// Whether a tenant that has `own` of the `used` places may take another: who has half of them leaves the last quarter to the others.
bool MayTake(std::size_t own, std::size_t used, std::size_t all) { return used < (own >= all / 2 ? all - all / 4 : all); }

pipeline::QuestionAnswer Failed(const pipeline::QuestionAsk& ask, std::string why) {
  pipeline::QuestionAnswer out;
  out.answer.id = ask.question.id;
  out.answer.failure = std::move(why);
  return out;
}

class Detector {
 public:
  Detector(DetectorOptions options, std::unique_ptr<base::HttpClient> client)
      : options_(std::move(options)),
        client_(std::move(client)),
        reach_(options_.failures_max, options_.rest),
        tenants_(options_.failures_max, options_.rest) {
    stats_.name = options_.name;
    thread_ = std::jthread([this](std::stop_token stop) { Loop(stop); });
  }
  ~Detector() {
    thread_.request_stop();
    client_->Wake();
  }

  void Ask(pipeline::QuestionAsk ask, Done done) {
    const auto now = steady_clock::now();
    const auto deadline = std::min(now + options_.deadline, ask.deadline);
    const std::size_t bytes = BytesOf(ask);
    Asked asked{std::move(ask), std::move(done), now, deadline, deadline == now + options_.deadline, bytes};
    {
      base::Lock lock(mu_);
      ++stats_.asked;
      if (HasRoom(asked)) {
        ++waiting_count_;
        waiting_bytes_ += bytes;
        Queue& queue = waiting_[asked.ask.tenant];
        queue.bytes += bytes;
        queue.asked.push_back(std::move(asked));
        client_->Wake();
        return;
      }
    }
    Finish(asked, Failed(asked.ask, fmt::format("detector '{}' has too many questions waiting", options_.name)));
  }

  DetectorStats stats() const {
    const auto now = steady_clock::now();
    base::Lock lock(mu_);
    DetectorStats out = stats_;
    out.resting = now < unreached_until_ || tenants_.resting(now);
    return out;
  }

 private:
  struct Queue {
    std::deque<Asked> asked;
    std::size_t bytes = 0;
  };
  struct Transfer final : base::HttpSink {
    bool OnBody(int, std::string_view bytes) override {
      body += bytes;
      return body.size() <= kAnswerBytesMax;
    }
    void OnEnd(int code, const absl::Status& end) override {
      http_status = code;
      status = end;
      ended = true;
    }
    Asked asked;
    std::string body;
    int http_status = 0;
    absl::Status status;
    bool ended = false;
  };

  void Loop(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      Begin();
      client_->Run(running_.empty() && !HasWaiting() ? milliseconds(1000) : kTurn);
      Collect();
    }
    for (auto& [id, transfer] : running_) client_->Cancel(id);
    std::map<std::string, Queue> left;
    {
      base::Lock lock(mu_);
      left.swap(waiting_);
      waiting_count_ = waiting_bytes_ = 0;
    }
    for (auto& [tenant, queue] : left)
      for (Asked& asked : queue.asked) Finish(asked, Failed(asked.ask, "the gateway is shutting down"));
    for (auto& [id, transfer] : running_) Finish(transfer->asked, Failed(transfer->asked.ask, "the gateway is shutting down"));
  }

  bool HasWaiting() const {
    base::Lock lock(mu_);
    return waiting_count_ > 0;
  }

  bool MayRun(const std::string& tenant) const REQUIRES(mu_) {
    const auto own = running_of_.find(tenant);
    return MayTake(own == running_of_.end() ? 0 : own->second, static_cast<std::size_t>(stats_.running),
                   static_cast<std::size_t>(options_.running_max));
  }

  bool HasRoom(const Asked& asked) const REQUIRES(mu_) {
    const auto own = waiting_.find(asked.ask.tenant);
    const std::size_t count = own == waiting_.end() ? 0 : own->second.asked.size(), bytes = own == waiting_.end() ? 0 : own->second.bytes;
    // Who need not wait passes through the queue too, until the thread has begun it.
    const std::int64_t turns = MayRun(asked.ask.tenant) ? options_.running_max - stats_.running : 0;
    return MayTake(count, waiting_count_, static_cast<std::size_t>(options_.waiting_max + turns)) &&
           asked.bytes <= kWaitingBytesMax - waiting_bytes_ && MayTake(bytes, waiting_bytes_, kWaitingBytesMax);
  }

  // The tenants' in turn. One whose deadline has passed needs no place.
  bool TakeWaiting(Asked& out) {
    base::Lock lock(mu_);
    const auto now = steady_clock::now();
    auto at = waiting_.upper_bound(last_tenant_);
    for (std::size_t i = 0; i < waiting_.size(); ++i, ++at) {
      if (at == waiting_.end()) at = waiting_.begin();
      const bool may = MayRun(at->first);
      Queue& queue = at->second;
      if (!may && now < queue.asked.front().deadline) continue;
      out = std::move(queue.asked.front());
      queue.asked.pop_front();
      queue.bytes -= out.bytes;
      --waiting_count_;
      waiting_bytes_ -= out.bytes;
      last_tenant_ = at->first;
      if (queue.asked.empty()) waiting_.erase(at);
      return true;
    }
    return false;
  }

  void Begin() {
    Asked asked;
    while (TakeWaiting(asked)) {
      const auto now = steady_clock::now();
      if (now >= asked.deadline) {
        Finish(asked, Failed(asked.ask, fmt::format("detector '{}' had no turn free in time", options_.name)));
      } else if (!May(asked.ask.tenant, now)) {
        Finish(asked, Failed(asked.ask, fmt::format("detector '{}' failed {} times in a row and is left alone for a while", options_.name,
                                                    options_.failures_max)));
      } else {
        Start(std::move(asked), now);
      }
    }
  }

  bool May(const std::string& tenant, steady_clock::time_point now) {
    if (!tenants_.May(tenant, now)) return false;
    if (reach_.May(now)) return true;
    tenants_.Abandoned(tenant);
    return false;
  }

  void Start(Asked asked, steady_clock::time_point now) {
    base::HttpRequest request;
    request.url = options_.url;
    request.post = true;
    request.headers = {"content-type: application/json", "accept: application/json"};
    if (!options_.bearer.empty()) request.headers.push_back("authorization: Bearer " + options_.bearer);
    request.body = QuestionText(asked.ask);
    // Rounded up, with a millisecond more: who is given up is late by this clock too.
    request.timeout = std::chrono::ceil<milliseconds>(asked.deadline - now) + milliseconds(1);
    auto transfer = std::make_unique<Transfer>();
    transfer->asked = std::move(asked);
    NoteRunning(transfer->asked.ask.tenant, 1);
    Transfer& sink = *transfer;
    const std::int64_t id = client_->Start(std::move(request), sink);
    running_.emplace(id, std::move(transfer));
  }

  void Collect() {
    for (auto at = running_.begin(); at != running_.end();) {
      if (!at->second->ended) {
        ++at;
        continue;
      }
      const std::unique_ptr<Transfer> transfer = std::move(at->second);
      at = running_.erase(at);
      pipeline::QuestionAnswer answer = AnswerOf(*transfer);
      Tell(*transfer, answer.answer.failure.empty());
      NoteRunning(transfer->asked.ask.tenant, -1);
      Finish(transfer->asked, std::move(answer));
    }
  }

  // Tells the breakers what its end says of the server.
  void Tell(const Transfer& transfer, bool answered) {
    const auto now = steady_clock::now();
    const std::string& tenant = transfer.asked.ask.tenant;
    const bool heard = transfer.status.ok() || transfer.body.size() > kAnswerBytesMax;
    const auto detail = base::DetailOf(transfer.status);
    const bool unreachable = !heard && detail && detail->reason == "UNREACHABLE";
    if (heard) {
      reach_.Succeeded();
    } else if (unreachable) {
      reach_.Failed(now);
    } else {
      reach_.Abandoned();
    }
    if (answered) {
      tenants_.Succeeded(tenant);
    } else if (!unreachable && IsUnwell(transfer, heard, now)) {
      tenants_.Failed(tenant, now);
    } else {
      tenants_.Abandoned(tenant);
    }
  }

  // Of one that failed and reached the server: whether that is to blame.
  static bool IsUnwell(const Transfer& transfer, bool heard, steady_clock::time_point now) {
    if (heard) return transfer.status.ok() && (transfer.http_status == 429 || transfer.http_status >= 500);
    return transfer.asked.own_deadline || now < transfer.asked.deadline;
  }

  pipeline::QuestionAnswer AnswerOf(const Transfer& transfer) const {
    const pipeline::QuestionAsk& ask = transfer.asked.ask;
    const auto failed = [&](std::string_view why) { return Failed(ask, fmt::format("detector '{}': {}", options_.name, why)); };
    if (transfer.body.size() > kAnswerBytesMax) return failed("its answer is longer than 64 KiB");
    if (!transfer.status.ok()) {
      const bool late = steady_clock::now() >= transfer.asked.deadline;
      return failed(late ? "it did not answer in time" : "it cannot be reached, or broke off");
    }
    if (transfer.http_status != 200) return failed(fmt::format("it answered with status {}", transfer.http_status));
    auto answer = ReadAnswer(ask, transfer.body);
    return answer.ok() ? *std::move(answer) : failed(base::Message(answer.status()));
  }

  void NoteRunning(const std::string& tenant, int more) {
    base::Lock lock(mu_);
    stats_.running += more;
    std::size_t& own = running_of_[tenant];
    own += static_cast<std::size_t>(more);
    if (own == 0) running_of_.erase(tenant);
    unreached_until_ = reach_.rests_until();
  }

  void Finish(const Asked& asked, pipeline::QuestionAnswer answer) {
    {
      base::Lock lock(mu_);
      stats_.failures += answer.answer.failure.empty() ? 0 : 1;
      stats_.hits += answer.answer.hit ? 1 : 0;
      stats_.micros += std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - asked.began).count();
    }
    asked.done(std::move(answer));
  }

  const DetectorOptions options_;
  const std::unique_ptr<base::HttpClient> client_;  // Its thread's, but for Wake.
  pipeline::Breaker reach_;                         // Whether it can be reached. The thread's, as is all up to the lock.
  pipeline::Breakers tenants_;                      // What it does with each tenant's questions; any thread's.
  std::map<std::int64_t, std::unique_ptr<Transfer>> running_;
  std::string last_tenant_;  // Whose question was begun last.
  mutable base::Mutex mu_;
  std::map<std::string, Queue> waiting_ GUARDED_BY(mu_);  // By tenant; none is empty.
  std::size_t waiting_count_ GUARDED_BY(mu_) = 0, waiting_bytes_ GUARDED_BY(mu_) = 0;
  std::map<std::string, std::size_t> running_of_ GUARDED_BY(mu_);  // By tenant; none is 0.
  DetectorStats stats_ GUARDED_BY(mu_);
  steady_clock::time_point unreached_until_ GUARDED_BY(mu_);  // What reach_ says, for others than the thread.
  std::jthread thread_;                                       // Last: it uses all of the above.
};

}  // namespace

struct ExternalDetectors::Impl {
  std::map<std::string, std::unique_ptr<Detector>, std::less<>> detectors;
};

ExternalDetectors::ExternalDetectors(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExternalDetectors::~ExternalDetectors() = default;

absl::StatusOr<std::unique_ptr<ExternalDetectors>> ExternalDetectors::Create(std::vector<DetectorOptions> detectors) {
  auto impl = std::make_unique<Impl>();
  for (DetectorOptions& options : detectors) {
    base::HttpClientOptions http;
    http.ca_file = options.ca_file;
    http.certificate_file = options.certificate_file;
    http.key_file = options.key_file;
    http.connect_timeout = options.deadline;
    http.connections_max = options.running_max;
    auto client = IsGrpcUrl(options.url) ? MakeGrpcClient(options.url, http, kAnswerBytesMax) : base::HttpClient::Create(std::move(http));
    if (!client.ok()) return base::Annotate(client.status(), fmt::format("detector '{}'", options.name));
    const std::string name = options.name;
    if (impl->detectors.contains(name)) return base::InvalidArgument(fmt::format("detectors: two are called '{}'; name each once", name));
    impl->detectors.emplace(name, std::make_unique<Detector>(std::move(options), *std::move(client)));
  }
  return std::unique_ptr<ExternalDetectors>(new ExternalDetectors(std::move(impl)));
}

void ExternalDetectors::Ask(pipeline::QuestionAsk ask, std::function<void(pipeline::QuestionAnswer)> done) {
  const auto found = impl_->detectors.find(ask.question.name);
  if (found != impl_->detectors.end()) return found->second->Ask(std::move(ask), std::move(done));
  done(Failed(ask, fmt::format("no detector '{}' is configured; name it under detectors in tollgate.yaml", ask.question.name)));
}

std::vector<DetectorStats> ExternalDetectors::stats() const {
  std::vector<DetectorStats> out;
  for (const auto& [name, detector] : impl_->detectors) out.push_back(detector->stats());
  return out;
}

}  // namespace tollgate::detectors
