// How it works. The body is kept as it comes and read when it is over; one that is longer than any sound answer is not read to its end.
// Whatever became of its body, a status is an answer.
//
// Tested by tests/inference/upstream_status_test.cpp, tests/inference/upstream_embed_faults_test.cpp.
#include "inference/engines/upstream_answer.h"

#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::inference {

// Of the statuses that say "not now", those of 4xx are the word of a server that works, and no failure of its: too many requests (429), too
// early (425), too slow (408). Proxies count so too.
UpstreamRefusal RefusalOf(int http_status, std::chrono::seconds wait) {
  const bool not_now = http_status == 408 || http_status == 425 || http_status == 429;
  const bool busy = not_now || http_status >= 500;
  const bool ours = http_status == 400 || http_status == 413 || http_status == 422;  // It did not like this request.
  const std::string again = wait.count() > 0 ? fmt::format("try again in {} s", wait.count()) : "try again";
  const std::string remedy = busy   ? again
                             : ours ? "check upstream.kind, upstream.model and context_tokens against how it was started"
                                    : "check upstream.endpoints, upstream.model and upstream.bearer_file";
  const std::string message = fmt::format("the upstream answered with HTTP {}: {}", http_status, remedy);
  absl::Status status = busy ? base::Unavailable(message) : base::Internal(message);
  if (busy && wait.count() > 0) {
    base::ErrorDetail detail{.reason = "UPSTREAM_UNAVAILABLE"};
    detail.retry_after_ms = std::chrono::milliseconds(wait).count();
    status = base::WithDetail(status, detail);
  }
  return {.status = std::move(status), .may_retry = busy, .endpoint_failed = !ours && !not_now};
}

bool UpstreamAnswer::OnBody(int http_status, std::string_view bytes) {
  // What it says is not for us to repeat; OnEnd looks at the status alone.
  if (http_status != 200) return (refusal_bytes_ += bytes.size()) <= kRefusalBytesMax;
  too_long_ = bytes.size() > bytes_max_ - body_.size();
  if (!too_long_) body_ += bytes;
  return !too_long_;
}

void UpstreamAnswer::OnEnd(int http_status, const absl::Status& status) {
  if (too_long_) {
    Fail(base::Unavailable(fmt::format("the upstream's answer has more than {} bytes", bytes_max_)));
  } else if (http_status > 200) {
    refusal_ = RefusalOf(http_status, wait_);
    over_ = true;
  } else if (!status.ok()) {
    Fail(base::Unavailable(fmt::format("the upstream's answer did not come: {}", base::Message(status))));
  } else {
    over_ = true;
  }
}

void UpstreamAnswer::Fail(const absl::Status& status) {
  over_ = true;
  refusal_ = {.status = status, .may_retry = true, .endpoint_failed = true};
}

}  // namespace tollgate::inference
