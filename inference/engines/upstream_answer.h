// UpstreamAnswer: an answer that counts when it is whole: what it says, or why there is none. One thread. And what an HTTP status that is
// no answer means, for this and for answers that come in pieces.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/http_client.h"
#include "base/status.h"

namespace tollgate::inference {

struct UpstreamRefusal {
  absl::Status status;           // For people, without a word of the server's.
  bool may_retry = false;        // Another endpoint may do better.
  bool endpoint_failed = false;  // It says something of the endpoint, rather than of the request.
  bool dislikes = false;         // It takes no such request.
};
// REQUIRES: not 200. `wait`: how long the server asks to be left alone; 0 = it does not say.
UpstreamRefusal RefusalOf(int http_status, std::chrono::seconds wait);
// The same of an error within an answer that had begun with 200, by the HTTP status that it names; kGivenUp: the server gave the request
// up, and does not say why.
constexpr int kGivenUp = 0;
UpstreamRefusal RefusalWithin(int code);
// A server is left alone no longer, whatever it asks for.
constexpr std::chrono::seconds kRestMax{30};
// Of such an answer's body so much is read, unseen, so that its connection may be used again.
constexpr std::size_t kRefusalBytesMax = 1 << 16;

class UpstreamAnswer final : public base::HttpSink {
 public:
  explicit UpstreamAnswer(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  bool OnBody(int http_status, std::string_view bytes) override;
  void OnRetryAfter(std::chrono::seconds wait) override { wait_ = std::min(wait, kRestMax); }
  void OnEnd(int http_status, const absl::Status& status) override;
  void GiveUp(const absl::Status& status, bool others_got_on);  // As UpstreamRequest's.

  bool over() const { return over_; }
  // REQUIRES: over. OK: body is whole.
  const absl::Status& status() const { return refusal_.status; }
  bool may_retry() const { return refusal_.may_retry; }
  bool endpoint_failed() const { return refusal_.endpoint_failed; }
  bool silent() const { return silent_; }              // The engine gave it up.
  std::chrono::seconds wait() const { return wait_; }  // The server asks to be left alone for so long.
  const std::string& body() const { return body_; }

 private:
  void Fail(const absl::Status& status);

  const std::size_t bytes_max_;
  std::string body_;
  std::size_t refusal_bytes_ = 0;
  std::chrono::seconds wait_{0};
  bool too_long_ = false;
  bool over_ = false;
  bool silent_ = false;
  UpstreamRefusal refusal_;
};

}  // namespace tollgate::inference
