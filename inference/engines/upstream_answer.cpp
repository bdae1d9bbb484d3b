// How it works. The body is kept as it comes and read when it is over; one that is longer than any sound answer is not read to its end.
// Whatever became of its body, a status is an answer.
//
// Tested by tests/inference/upstream_status_test.cpp, tests/inference/upstream_embed_faults_test.cpp.
#include "inference/engines/upstream_answer.h"

#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::inference {
namespace {

// Of the statuses that say "not now", those of 4xx are the word of a server that works, and no failure of its: too many requests (429), too
// early (425), too slow (408). Proxies count so too.
UpstreamRefusal Refusal(int code, std::string_view told, std::chrono::seconds wait) {
  const bool not_now = code == 408 || code == 425 || code == 429;
  const bool busy = not_now || code >= 500;
  const bool ours = code == 400 || code == 413 || code == 422;  // It did not like this request.
  const std::string again = wait.count() > 0 ? fmt::format("try again in {} s", wait.count()) : "try again";
  const std::string remedy = busy   ? again
                             : ours ? "check upstream.kind, upstream.model and context_tokens against how it was started"
                                    : "check upstream.endpoints, upstream.model and upstream.bearer_file";
  const std::string message = fmt::format("the upstream {} {}: {}", told, code, remedy);
  absl::Status status = busy ? base::Unavailable(message) : base::Internal(message);
  if (busy && wait.count() > 0) {
    base::ErrorDetail detail{.reason = "UPSTREAM_UNAVAILABLE"};
    detail.retry_after_ms = std::chrono::milliseconds(wait).count();
    status = base::WithDetail(status, detail);
  }
  return {.status = std::move(status), .may_retry = busy, .endpoint_failed = !ours && !not_now, .dislikes = ours};
}

}  // namespace

UpstreamRefusal RefusalOf(int http_status, std::chrono::seconds wait) { return Refusal(http_status, "answered with HTTP", wait); }

// Who gives a request up may do so at the request's own fault, of which older servers say no more; and it works.
UpstreamRefusal RefusalWithin(int code) {
  if (code == kGivenUp) return {.status = base::Unavailable("the upstream gave the request up: try again"), .may_retry = true};
  return Refusal(code, "broke its answer off with error", std::chrono::seconds(0));
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

void UpstreamAnswer::GiveUp(const absl::Status& status, bool others_got_on) {
  Fail(status);
  silent_ = true;
  refusal_.endpoint_failed = !others_got_on;
}

void UpstreamAnswer::Fail(const absl::Status& status) {
  over_ = true;
  refusal_ = {.status = status, .may_retry = true, .endpoint_failed = true};
}

}  // namespace tollgate::inference
