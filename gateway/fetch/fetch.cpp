// One way for all sources: where is it, how much of it is there already, bring the rest, look at it, put it in its place. A copy and a
// transfer differ only in who brings the rest. A server that does not know ranges sends the whole again, and the part starts anew; one that
// has nothing beyond what is there (416) leaves the judgement to the digest. Redirects are followed, to HTTP(S) alone.
//
// Tested by tests/gateway/fetch/fetch_test.cpp.
#include "gateway/fetch/fetch.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/gguf.h"
#include "inference/mapped_file.h"

namespace tollgate::fetch {
namespace {

namespace fs = std::filesystem;

constexpr long kConnectSeconds = 20;
constexpr long kStalledSeconds = 60;  // At less than kStalledBytes a second.
constexpr long kStalledBytes = 1024;
constexpr std::size_t kCopyBytes = 1 << 20;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

bool IsUrl(const std::string& source) {
  return source.starts_with("http://") || source.starts_with("https://") || source.starts_with("s3://");
}

// The source as it may be shown: a URL's user and query can be credentials, as they are in presigned ones.
std::string Shown(const std::string& source) {
  const std::size_t scheme = source.find("://");
  if (scheme == std::string::npos) return source;
  const std::size_t host = scheme + 3;
  const std::string bare = source.substr(0, source.find_first_of("?#"));
  const std::size_t at = bare.substr(0, bare.find('/', host)).rfind('@');
  return at == std::string::npos ? bare : bare.substr(0, host) + bare.substr(at + 1);
}

// The path's last part, without what a URL asks.
std::string LastPart(const std::string& source) {
  const std::string path = IsUrl(source) ? source.substr(0, source.find_first_of("?#")) : source;
  return path.substr(path.find_last_of('/') + 1);
}

absl::Status CheckName(const std::string& name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("._-+").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (!name.empty() && name.size() <= 200 && plain && name.front() != '.') return absl::OkStatus();
  return base::InvalidArgument("the file's name: use 1 to 200 letters, digits and . _ - +, not starting with a dot; name it with --as");
}

absl::Status DiskError(const std::string& path) {
  return base::Unavailable(fmt::format("{}: {}; what came is kept", path, std::generic_category().message(errno)));
}

// What a transfer writes to.
struct Part {
  File file;
  std::int64_t offset = 0;  // Where the transfer began.
  std::int64_t bytes = 0;   // In the file.
  CURL* curl = nullptr;
  bool looked = false;
  const FetchOptions& options;
};

// Of a failed transfer's body nothing is kept. A 200 to a request for a range: the whole comes again.
std::size_t Take(const char* data, std::size_t, std::size_t size, void* to) {
  Part& part = *static_cast<Part*>(to);
  if (!part.looked) {
    part.looked = true;
    long code = 0;
    curl_easy_getinfo(part.curl, CURLINFO_RESPONSE_CODE, &code);
    if (code == 200 && part.offset > 0) {
      if (::ftruncate(::fileno(part.file.get()), 0) != 0) return 0;  // Open for appending: what comes goes to the new end.
      part.offset = part.bytes = 0;
    } else if (code != 200 && code != 206) {
      return 0;
    }
  }
  if (std::fwrite(data, 1, size, part.file.get()) != size) return 0;
  part.bytes += static_cast<std::int64_t>(size);
  if (part.options.progress) part.options.progress(part.bytes);
  return size;
}

absl::Status Answered(long code, const std::string& source) {
  const std::string what = fmt::format("{}: the server answered {}", Shown(source), code);
  if (code == 404 || code == 410) return base::NotFound(what + "; is the address right?");
  if (code == 401 || code == 403) return base::PermissionDenied(what + "; give credentials that may read it (S3: AWS_ACCESS_KEY_ID …)");
  return base::Unavailable(what + "; what came is kept, try again");
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

absl::Status Transfer(Part& part) {
  const FetchOptions& o = part.options;
  S3Place place{o.source, {}, {}};
  if (o.source.starts_with("s3://")) {
    TG_ASSIGN(place, S3Of(o));
  }
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (curl == nullptr) return base::Internal("libcurl cannot start");
  part.curl = curl.get();
  curl_slist* list = nullptr;
  if (!place.sigv4.empty()) list = curl_slist_append(list, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
  if (!o.s3_session_token.empty() && !place.sigv4.empty()) {
    list = curl_slist_append(list, fmt::format("x-amz-security-token: {}", o.s3_session_token).c_str());
  }
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, curl_slist_free_all);
  const std::string range = fmt::format("{}-", part.offset);
  curl_easy_setopt(part.curl, CURLOPT_URL, place.url.c_str());
  curl_easy_setopt(part.curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(part.curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(part.curl, CURLOPT_FOLLOWLOCATION, place.sigv4.empty() ? 1L : 0L);
  curl_easy_setopt(part.curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(part.curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(part.curl, CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  curl_easy_setopt(part.curl, CURLOPT_LOW_SPEED_LIMIT, kStalledBytes);
  curl_easy_setopt(part.curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(part.curl, CURLOPT_USERAGENT, "tollgate");
  curl_easy_setopt(part.curl, CURLOPT_WRITEFUNCTION, &Take);
  curl_easy_setopt(part.curl, CURLOPT_WRITEDATA, &part);
  if (part.offset > 0) curl_easy_setopt(part.curl, CURLOPT_RANGE, range.c_str());
  if (!place.sigv4.empty()) curl_easy_setopt(part.curl, CURLOPT_AWS_SIGV4, place.sigv4.c_str());
  if (!place.sigv4.empty()) curl_easy_setopt(part.curl, CURLOPT_USERPWD, place.user.c_str());
  if (headers != nullptr) curl_easy_setopt(part.curl, CURLOPT_HTTPHEADER, headers.get());
  const CURLcode done = curl_easy_perform(part.curl);
  long code = 0;
  curl_easy_getinfo(part.curl, CURLINFO_RESPONSE_CODE, &code);
  if (code == 416) return absl::OkStatus();  // Nothing beyond what is there.
  if (code >= 300) return Answered(code, o.source);
  if (done == CURLE_OK) return absl::OkStatus();
  return base::Unavailable(fmt::format("{}: {}; {} bytes are kept, try again", Shown(o.source), curl_easy_strerror(done), part.bytes));
}

absl::Status Copy(Part& part) {
  const File from(std::fopen(part.options.source.c_str(), "rb"), std::fclose);
  if (from == nullptr || fs::is_directory(part.options.source)) {
    return base::NotFound(fmt::format("{}: there is no such file", Shown(part.options.source)));
  }
  if (std::fseek(from.get(), static_cast<long>(part.offset), SEEK_SET) != 0) return DiskError(part.options.source);
  std::vector<char> buffer(kCopyBytes);
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), from.get())) {
    if (std::fwrite(buffer.data(), 1, size, part.file.get()) != size) return DiskError(part.options.folder);
    part.bytes += static_cast<std::int64_t>(size);
    if (part.options.progress) part.options.progress(part.bytes);
  }
  return std::ferror(from.get()) == 0 ? absl::OkStatus() : DiskError(part.options.source);
}

absl::StatusOr<base::Digest> DigestOf(const std::string& path) {
  TG_ASSIGN(const auto file, inference::MappedFile::Open(path));
  return base::Sha256(file.bytes());
}

// What came is the file that was meant, and one that can be loaded.
absl::Status Look(const std::string& path, const base::Digest& sha256) {
  TG_ASSIGN(const auto file, inference::MappedFile::Open(path));
  if (const base::Digest has = base::Sha256(file.bytes()); has != sha256) {
    return base::DataLoss(fmt::format("what came is another file: its sha256 is {}, expected {}; it was removed",
                                      base::HexEncode(base::View(has)), base::HexEncode(base::View(sha256))));
  }
  auto header = inference::ReadGgufForm(file.bytes());
  if (header.ok()) {
    const auto type = header->strings.find("general.type");
    const bool adapter = type != header->strings.end() && type->second == "adapter";  // Held against its model when it is loaded.
    if (!adapter) header = inference::ReadGguf(file.bytes());
  }
  return header.ok() ? absl::OkStatus() : base::Annotate(header.status(), "the file is what was meant, and was removed");
}

}  // namespace

absl::StatusOr<Fetched> Fetch(const FetchOptions& options) {
  const std::string name = options.name.empty() ? LastPart(options.source) : options.name;
  TG_RETURN_IF_ERROR(CheckName(name));
  if (!fs::is_directory(options.folder)) return base::NotFound(fmt::format("there is no folder {}; make it first", options.folder));
  Fetched fetched;
  fetched.path = options.folder + "/" + name;
  std::error_code error;
  if (fs::exists(fetched.path)) {
    TG_ASSIGN(const base::Digest has, DigestOf(fetched.path));
    if (has != options.sha256) return base::AlreadyExists(fmt::format("another file stands at {}; name this one with --as", fetched.path));
    fetched.bytes = static_cast<std::int64_t>(fs::file_size(fetched.path, error));
    fetched.was_there = true;
    return fetched;
  }
  const std::string path = fetched.path + ".part";
  Part part{.file = {std::fopen(path.c_str(), "ab"), std::fclose}, .options = options};
  if (part.file == nullptr) return DiskError(path);
  part.offset = part.bytes = fetched.resumed_from = static_cast<std::int64_t>(fs::file_size(path, error));
  const absl::Status brought = IsUrl(options.source) ? Transfer(part) : Copy(part);
  fetched.resumed_from = part.offset;
  const bool written = std::fflush(part.file.get()) == 0 && ::fsync(::fileno(part.file.get())) == 0;
  part.file.reset();
  if (!brought.ok() && part.bytes == 0) fs::remove(path, error);
  TG_RETURN_IF_ERROR(brought);
  if (!written) return DiskError(path);
  if (const absl::Status good = Look(path, options.sha256); !good.ok()) {
    fs::remove(path, error);
    return good;
  }
  fs::rename(path, fetched.path, error);
  if (error) return base::Unavailable(fmt::format("{}: {}", fetched.path, error.message()));
  fetched.bytes = part.bytes;
  return fetched;
}

}  // namespace tollgate::fetch
