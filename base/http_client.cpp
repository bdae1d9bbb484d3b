// How it works. One curl multi handle; a transfer is an easy handle with its sink, by number. curl_multi_perform calls the sinks' OnBody;
// what is over is gathered first and told to the sinks after, so that OnEnd may begin and cancel transfers.
//
// A kept connection that turns out dead before a byte of the answer came is libcurl's to replace: it sends the request again on a fresh
// one.
//
// What certificates fail on is told in words of our own: libcurl's name subjects, files and hosts. A server that refuses ours says so, in
// TLS 1.3, after the handshake, and may be gone before that is read.
//
// Tested by tests/base/http_client_test.cpp, tests/inference/upstream_tls_test.cpp.
#include "base/http_client.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <mutex>
#include <utility>

#include <curl/curl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

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
  std::array<char, CURL_ERROR_SIZE> words{};  // libcurl's, for what failed.

  int http_status() const {
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    return static_cast<int>(code);
  }
};

constexpr curl_off_t kRetryAfterMax = 24 * 3600;  // No more is anything to wait for.

bool IsUnreachable(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR ||
         code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CLIENTCERT;
}

bool HasAny(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [text](std::string_view part) { return text.find(part) != std::string_view::npos; });
}

// What the server said in TLS of the certificate that it was shown, or not shown. (libcurl takes its alert "certificate expired" for a
// word about the server's own, and has no more to say then: a real one comes as a "certificate problem".)
bool RefusesOurs(CURLcode code, std::string_view words) {
  return code == CURLE_SSL_CLIENTCERT || HasAny(words, {"certificate verification failed"}) ||
         (HasAny(words, {" alert "}) && HasAny(words, {"certificate", "unknown ca", "access denied", "decrypt error"}));
}

// The connection was new and TLS stood, but nothing came back.
bool EndedAfterHandshake(CURLcode code, const Transfer& transfer) {
  if (code != CURLE_RECV_ERROR && code != CURLE_SEND_ERROR && code != CURLE_GOT_NOTHING) return false;
  curl_off_t handshake = 0;
  long connects = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_APPCONNECT_TIME_T, &handshake);
  curl_easy_getinfo(transfer.easy, CURLINFO_NUM_CONNECTS, &connects);
  return handshake > 0 && connects > 0 && transfer.http_status() == 0;
}

// For people, without a name, a path or a word of the server's.
absl::Status FailureOf(CURLcode code, const Transfer& transfer, bool shows_ours) {
  const std::string_view words = transfer.words.data();
  const bool refused = RefusesOurs(code, words);
  std::string why = curl_easy_strerror(code);
  if (refused && shows_ours) {
    why = "the server refuses our certificate; check certificate_file and key_file against the authorities that it trusts";
  } else if (refused) {
    why = "the server asks for a certificate of ours; set certificate_file and key_file";
  } else if (code == CURLE_PEER_FAILED_VERIFICATION) {
    why = HasAny(words, {"does not match", "no alternative"})
              ? "the server's certificate is for another name than the URL's; use one that it bears, or give it a certificate for this one"
          : HasAny(words, {"expired", "not yet valid"})
              ? "the server's certificate is not valid at this time; renew it"
              : "the server's certificate is of no authority that is trusted here; check ca_file against who issued it";
  } else if (code == CURLE_SSL_CERTPROBLEM) {
    why = "our own certificate cannot be used; check certificate_file and key_file";
  } else if (code == CURLE_SSL_CONNECT_ERROR) {
    why =
        "no TLS came about; check that the server speaks it at this port, and, if it asks for a certificate, certificate_file and key_file";
  } else if (EndedAfterHandshake(code, transfer)) {
    why = fmt::format("the server left after TLS without an answer: {}; check certificate_file and key_file",
                      shows_ours ? "it may refuse our certificate" : "it may ask for a certificate of ours");
  }
  absl::Status status = Unavailable(why);
  return refused || IsUnreachable(code) ? WithDetail(status, {.reason = "UNREACHABLE"}) : status;
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

// No passphrase is ever asked for.
int NoPassphrase(char*, int, int, void*) { return -1; }

template <typename Thing, typename Read, typename Free>
std::unique_ptr<Thing, Free> ReadPem(const std::string& file, Read reader, Free freer) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_file(file.c_str(), "r"), &BIO_free);
  std::unique_ptr<Thing, Free> thing(bio ? reader(bio.get(), nullptr, &NoPassphrase, nullptr) : nullptr, freer);
  ERR_clear_error();
  return thing;
}

absl::Status HoldsCertificate(const std::string& file, std::string_view what) {
  TG_RETURN_IF_ERROR(Readable(file, what));
  if (file.empty() || ReadPem<X509>(file, &PEM_read_bio_X509_AUX, &X509_free)) return absl::OkStatus();
  return FailedPrecondition(fmt::format("{} {} holds no certificate in PEM", what, file));
}

// Ours and its key, so that what is wrong with them is told at once, and not by each connection.
absl::Status CheckOurs(const std::string& certificate_file, const std::string& key_file) {
  TG_RETURN_IF_ERROR(HoldsCertificate(certificate_file, "the certificate"));
  TG_RETURN_IF_ERROR(Readable(key_file, "the certificate's key"));
  if (certificate_file.empty() || key_file.empty()) return absl::OkStatus();
  const auto key = ReadPem<EVP_PKEY>(key_file, &PEM_read_bio_PrivateKey, &EVP_PKEY_free);
  if (!key) return FailedPrecondition(fmt::format("the certificate's key {} holds no private key in PEM without a passphrase", key_file));
  const auto certificate = ReadPem<X509>(certificate_file, &PEM_read_bio_X509_AUX, &X509_free);
  const bool together = certificate && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (together) return absl::OkStatus();
  return FailedPrecondition(
      fmt::format("the certificate {} is not of the key {}; name the key that it was made with", certificate_file, key_file));
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
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.words.data());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT,
                     1L);  // Else what ends while its name is looked up waits until that is answered, and all with it.
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
        status = FailureOf(code, *transfer, !options_.certificate_file.empty());
      }
      curl_off_t wait = 0;
      curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &wait);
      if (wait > 0) transfer->sink->OnRetryAfter(std::chrono::seconds(std::min(wait, kRetryAfterMax)));
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
  TG_RETURN_IF_ERROR(HoldsCertificate(options.ca_file, "the file of trusted authorities"));
  TG_RETURN_IF_ERROR(CheckOurs(options.certificate_file, options.key_file));
  CURLM* multi = curl_multi_init();
  if (multi == nullptr) return ResourceExhausted("there is no memory for an HTTP client");
  return std::make_unique<CurlClient>(std::move(options), multi);
}

}  // namespace tollgate::base
