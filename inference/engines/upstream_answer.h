// UpstreamAnswer: an answer that counts when it is whole: what it says, or why there is none. One thread. And what an HTTP status that is
// no answer means, for this and for answers that come in pieces.
#pragma once

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
};
UpstreamRefusal RefusalOf(int http_status);  // REQUIRES: not 200.

class UpstreamAnswer final : public base::HttpSink {
 public:
  explicit UpstreamAnswer(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  bool OnBody(int http_status, std::string_view bytes) override;
  void OnEnd(int http_status, const absl::Status& status) override;
  void Fail(const absl::Status& status);  // The engine gave it up.

  bool over() const { return over_; }
  // REQUIRES: over. OK: body is whole.
  const absl::Status& status() const { return refusal_.status; }
  bool may_retry() const { return refusal_.may_retry; }
  bool endpoint_failed() const { return refusal_.endpoint_failed; }
  const std::string& body() const { return body_; }

 private:
  const std::size_t bytes_max_;
  std::string body_;
  bool too_long_ = false;
  bool over_ = false;
  UpstreamRefusal refusal_;
};

}  // namespace tollgate::inference
