// How it works. The body is kept as it comes and read when it is over; one that is longer than any sound answer is not read to its end.
//
// Tested by tests/inference/upstream_embed_faults_test.cpp, tests/inference/upstream_faults_test.cpp.
#include "inference/engines/upstream_answer.h"

#include <fmt/format.h>

namespace tollgate::inference {

UpstreamRefusal RefusalOf(int http_status) {
  const bool busy = http_status == 408 || http_status == 425 || http_status == 429 || http_status >= 500;
  const bool ours = http_status == 400 || http_status == 413 || http_status == 422;  // It did not like this request.
  const char* remedy = busy   ? "try again"
                       : ours ? "check upstream.kind, upstream.model and context_tokens against how it was started"
                              : "check upstream.endpoints, upstream.model and upstream.bearer_file";
  const std::string message = fmt::format("the upstream answered with HTTP {}: {}", http_status, remedy);
  return {.status = busy ? base::Unavailable(message) : base::Internal(message),
          .may_retry = busy,
          .endpoint_failed = !ours && http_status != 429};
}

bool UpstreamAnswer::OnBody(int http_status, std::string_view bytes) {
  if (http_status != 200) return true;  // What it says is not for us to repeat; OnEnd looks at the status alone.
  too_long_ = bytes.size() > bytes_max_ - body_.size();
  if (!too_long_) body_ += bytes;
  return !too_long_;
}

void UpstreamAnswer::OnEnd(int http_status, const absl::Status& status) {
  if (too_long_) {
    Fail(base::Unavailable(fmt::format("the upstream's answer has more than {} bytes", bytes_max_)));
  } else if (!status.ok()) {
    Fail(base::Unavailable(fmt::format("the upstream's answer did not come: {}", base::Message(status))));
  } else if (http_status != 200) {
    refusal_ = RefusalOf(http_status);
    over_ = true;
  } else {
    over_ = true;
  }
}

void UpstreamAnswer::Fail(const absl::Status& status) {
  over_ = true;
  refusal_ = {.status = status, .may_retry = true, .endpoint_failed = true};
}

}  // namespace tollgate::inference
