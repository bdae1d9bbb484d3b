// A server that does not know ranges sends the whole again, which takes the part's place once it is longer; one that has nothing beyond
// what is there (416) leaves the judgement to the digest. Redirects are followed, to HTTP(S) alone, but for a signed request: its signature
// is good for one address.
//
// Tested by tests/gateway/fetch/fetch_test.cpp.
#include "gateway/fetch/transfer.h"

#include <curl/curl.h>

#include <memory>
#include <string_view>

#include <fmt/format.h>

namespace tollgate::fetch {
namespace {

constexpr long kConnectSeconds = 20;
constexpr long kStalledSeconds = 60;  // At less than kStalledBytes a second.
constexpr long kStalledBytes = 1024;

struct Incoming {
  const FetchOptions& options;
  Part& part;
  CURL* curl = nullptr;
  bool looked = false;
  absl::Status failed = absl::OkStatus();  // Why no more was taken.
};

// The region that S3 names for a bucket, if it does.
std::string Region(CURL* curl) {
  curl_header* header = nullptr;
  if (curl_easy_header(curl, "x-amz-bucket-region", 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return "";
  const std::string region = header->value;
  const bool plain = region.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
  return plain && region.size() <= 40 ? region : "";
}

absl::Status Answered(long code, const Incoming& in) {
  const std::string& source = in.options.source;
  const std::string what = fmt::format("{}: the server answered {}", Shown(source), code);
  if (source.starts_with("s3://") && code >= 300 && code <= 400) {
    const std::string region = Region(in.curl);
    if (!region.empty() && region != in.options.s3_region)
      return base::InvalidArgument(fmt::format("{}; the bucket is in {}: set AWS_REGION to that", what, region));
    if (code < 400) return base::InvalidArgument(what + "; set AWS_REGION to the bucket's region, or AWS_ENDPOINT_URL to its address");
  }
  if (code == 404 || code == 410) return base::NotFound(what + "; is the address right?");
  if (code == 401 || code == 403) return base::PermissionDenied(what + "; give credentials that may read it (S3: AWS_ACCESS_KEY_ID …)");
  return base::Unavailable(what + "; what came is kept, try again");
}

// What the answer's head says, before its body is taken. Of a failed transfer's body nothing is kept.
absl::Status Begin(Incoming& in) {
  long code = 0;
  curl_easy_getinfo(in.curl, CURLINFO_RESPONSE_CODE, &code);
  if (code != 200 && code != 206) return Answered(code, in);
  if (code == 200 && in.part.bytes() > 0) TG_RETURN_IF_ERROR(in.part.StartAgain());
  curl_off_t more = -1;  // Stays so where the server does not say.
  curl_easy_getinfo(in.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &more);
  return more > 0 ? in.part.Expect(more) : absl::OkStatus();
}

std::size_t Take(const char* data, std::size_t, std::size_t size, void* to) {
  Incoming& in = *static_cast<Incoming*>(to);
  if (!in.looked) in.failed = Begin(in);
  in.looked = true;
  if (in.failed.ok()) in.failed = in.part.Put({data, size});
  if (!in.failed.ok()) return 0;
  if (in.options.progress) in.options.progress(in.part.bytes());
  return size;
}

struct S3Place {
  std::string url, sigv4, user;
};

absl::StatusOr<S3Place> S3Of(const FetchOptions& o) {
  const std::string rest = o.source.substr(5);
  const std::size_t slash = rest.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == rest.size())
    return base::InvalidArgument(fmt::format("{}: write s3://BUCKET/KEY", Shown(o.source)));
  const std::string bucket = rest.substr(0, slash);
  S3Place place;
  place.url = o.s3_endpoint.empty() ? fmt::format("https://{}.s3.{}.amazonaws.com{}", bucket, o.s3_region, rest.substr(slash))
                                    : fmt::format("{}/{}", o.s3_endpoint, rest);
  if (!o.s3_key_id.empty()) {
    place.sigv4 = fmt::format("aws:amz:{}:s3", o.s3_region);
    place.user = fmt::format("{}:{}", o.s3_key_id, o.s3_secret);
  }
  return place;
}

}  // namespace

bool IsUrl(const std::string& source) {
  return source.starts_with("http://") || source.starts_with("https://") || source.starts_with("s3://");
}

std::string Shown(const std::string& source) {
  const std::size_t scheme = source.find("://");
  if (scheme == std::string::npos) return source;
  const std::size_t host = scheme + 3;
  const std::string bare = source.substr(0, source.find_first_of("?#"));
  const std::size_t at = bare.substr(0, bare.find('/', host)).rfind('@');
  return at == std::string::npos ? bare : bare.substr(0, host) + bare.substr(at + 1);
}

absl::Status Transfer(const FetchOptions& o, Part& part) {
  S3Place place{o.source, {}, {}};
  if (o.source.starts_with("s3://")) {
    TG_ASSIGN(place, S3Of(o));
  }
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (curl == nullptr) return base::Internal("libcurl cannot start");
  CURL* const c = curl.get();
  Incoming incoming{.options = o, .part = part, .curl = c};
  curl_slist* list = nullptr;
  if (!place.sigv4.empty()) list = curl_slist_append(list, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
  if (!o.s3_session_token.empty() && !place.sigv4.empty()) {
    list = curl_slist_append(list, fmt::format("x-amz-security-token: {}", o.s3_session_token).c_str());
  }
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, curl_slist_free_all);
  const std::string range = fmt::format("{}-", part.bytes());
  curl_easy_setopt(c, CURLOPT_URL, place.url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, place.sigv4.empty() ? 1L : 0L);
  curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, kStalledBytes);
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "tollgate");
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &Take);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &incoming);
  if (part.bytes() > 0) curl_easy_setopt(c, CURLOPT_RANGE, range.c_str());
  if (!place.sigv4.empty()) curl_easy_setopt(c, CURLOPT_AWS_SIGV4, place.sigv4.c_str());
  if (!place.sigv4.empty()) curl_easy_setopt(c, CURLOPT_USERPWD, place.user.c_str());
  if (headers != nullptr) curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.get());
  const CURLcode done = curl_easy_perform(c);
  long code = 0;
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
  if (code == 416) return absl::OkStatus();  // Nothing beyond what is there.
  if (code > 200 && code != 206) return Answered(code, incoming);
  if (done == CURLE_OK && !incoming.looked) incoming.failed = Begin(incoming);  // A body of nothing.
  TG_RETURN_IF_ERROR(incoming.failed);
  if (done == CURLE_OK) return absl::OkStatus();
  return base::Unavailable(fmt::format("{}: {}; {} bytes are kept, try again", Shown(o.source), curl_easy_strerror(done), part.kept()));
}

}  // namespace tollgate::fetch
