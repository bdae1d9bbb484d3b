// How it works. One curl multi handle; a transfer is an easy handle with its sink, by number. curl_multi_perform calls the sinks' OnBody;
// what is over is gathered first and told to the sinks after, so that OnEnd may begin and cancel transfers.
//
// A kept connection that turns out dead before a byte of the answer came is libcurl's to replace: it sends the request again on a fresh
// one.
//
// Tested by tests/base/http_client_test.cpp.
#include "base/http_client.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include <curl/curl.h>
#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::base {
namespace {

struct Transfer {
  ~Transfer() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
  }
  CURL* easy = curl_easy_init();
  curl_slist* headers = nullptr;
  std::string body;
  HttpSink* sink = nullptr;
  bool enough = false;

  int http_status() const {
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    return static_cast<int>(code);
  }
};

bool IsUnreachable(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR ||
         code == CURLE_PEER_FAILED_VERIFICATION;
}

std::size_t OnBytes(char* bytes, std::size_t, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->enough = !transfer->sink->OnBody(transfer->http_status(), {bytes, count});
  return transfer->enough ? CURL_WRITEFUNC_ERROR : count;
}

absl::Status Readable(const std::string& file, std::string_view what) {
  if (file.empty() || ::access(file.c_str(), R_OK) == 0) return absl::OkStatus();
  return FailedPrecondition(
      fmt::format("{} {} cannot be read; correct the path, or give the file to the user that runs Tollgate", what, file));
}

class CurlClient final : public HttpClient {
 public:
  CurlClient(HttpClientOptions options, CURLM* multi) : options_(std::move(options)), multi_(multi) {
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.connections_max));
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  }

  ~CurlClient() override {
    for (const auto& [number, transfer] : transfers_) curl_multi_remove_handle(multi_, transfer->easy);
    transfers_.clear();
    curl_multi_cleanup(multi_);
  }

  std::int64_t Start(HttpRequest request, HttpSink& sink) override {
    auto transfer = std::make_unique<Transfer>();
    transfer->sink = &sink;
    transfer->body = std::move(request.body);
    for (const std::string& header : request.headers) transfer->headers = curl_slist_append(transfer->headers, header.c_str());
    if (request.post) transfer->headers = curl_slist_append(transfer->headers, "Expect:");  // No asking first: the body is sent at once.
    Configure(*transfer, request);
    const std::int64_t number = ++last_;
    curl_multi_add_handle(multi_, transfer->easy);
    transfers_.emplace(number, std::move(transfer));
    return number;
  }

  void Cancel(std::int64_t number) override {
    const auto it = transfers_.find(number);
    if (it == transfers_.end()) return;
    curl_multi_remove_handle(multi_, it->second->easy);
    transfers_.erase(it);
  }

  void Run(std::chrono::milliseconds wait) override {
    int running = 0;
    curl_multi_perform(multi_, &running);
    if (TellEnds() || wait.count() <= 0) return;
    curl_multi_poll(multi_, nullptr, 0, static_cast<int>(wait.count()), nullptr);
    curl_multi_perform(multi_, &running);
    TellEnds();
  }

  void Wake() override { curl_multi_wakeup(multi_); }
  int transfers() const override { return static_cast<int>(transfers_.size()); }

 private:
  void Configure(Transfer& transfer, const HttpRequest& request) {
    CURL* easy = transfer.easy;
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "tollgate");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    if (!options_.ca_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
      curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    }
    if (!options_.certificate_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.certificate_file.c_str());
      curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.key_file.c_str());
    }
    if (request.post) {
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer.body.data());
    }
  }

  // True: something was over.
  bool TellEnds() {
    std::vector<std::pair<CURL*, CURLcode>> over;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg == CURLMSG_DONE) over.emplace_back(message->easy_handle, message->data.result);
    }
    for (const auto& [easy, code] : over) {
      const auto it = std::find_if(transfers_.begin(), transfers_.end(), [easy = easy](const auto& t) { return t.second->easy == easy; });
      if (it == transfers_.end()) continue;  // Cancelled by a sink that was told before.
      const std::unique_ptr<Transfer> transfer = std::move(it->second);
      transfers_.erase(it);
      curl_multi_remove_handle(multi_, easy);
      absl::Status status;
      if (transfer->enough) {
        status = Aborted("the answer was not read to its end");
      } else if (code != CURLE_OK) {
        status = Unavailable(curl_easy_strerror(code));
        if (IsUnreachable(code)) status = WithDetail(status, {.reason = "UNREACHABLE"});
      }
      transfer->sink->OnEnd(transfer->http_status(), status);
    }
    return !over.empty();
  }

  const HttpClientOptions options_;
  CURLM* multi_;
  std::map<std::int64_t, std::unique_ptr<Transfer>> transfers_;
  std::int64_t last_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Create(HttpClientOptions options) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  TG_RETURN_IF_ERROR(Readable(options.ca_file, "the file of trusted authorities"));
  TG_RETURN_IF_ERROR(Readable(options.certificate_file, "the certificate"));
  TG_RETURN_IF_ERROR(Readable(options.key_file, "the certificate's key"));
  CURLM* multi = curl_multi_init();
  if (multi == nullptr) return ResourceExhausted("there is no memory for an HTTP client");
  return std::make_unique<CurlClient>(std::move(options), multi);
}

}  // namespace tollgate::base
