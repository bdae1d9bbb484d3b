// The configuration's reader has checked words and ranges; here is what needs the file system.
// Tested by tests/gateway/serve/upstream_test.cpp.
#include "gateway/serve/upstream.h"

#include <cctype>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/secret_file.h"

namespace tollgate::serve {

namespace v1 = tollgate::v1;
using std::chrono::milliseconds;

namespace {

inference::UpstreamKind KindFrom(const std::string& word) {
  if (word == "sglang") return inference::UpstreamKind::kSglang;
  if (word == "tensorrt_llm") return inference::UpstreamKind::kTensorRtLlm;
  if (word == "llama_server") return inference::UpstreamKind::kLlamaServer;
  return inference::UpstreamKind::kVllm;
}

}  // namespace

absl::StatusOr<std::string> ReadBearer(std::string_view setting, const std::string& file) {
  if (file.empty()) return std::string();
  if (const std::string fault = base::SecretFileFault(file); !fault.empty())
    return base::FailedPrecondition(fmt::format("{} names {}, which {}", setting, file, fault));
  auto text = base::ReadFile(file);
  if (!text.ok()) return base::FailedPrecondition(base::Message(text.status()));
  while (!text->empty() && std::isspace(static_cast<unsigned char>(text->back()))) text->pop_back();
  if (text->empty())
    return base::FailedPrecondition(fmt::format("{} names {}, which is empty; write the servers' secret into it", setting, file));
  return *std::move(text);
}

absl::StatusOr<inference::UpstreamOptions> UpstreamFrom(const v1::Config::Model& model, const std::string& salt_key) {
  const v1::Config::Upstream& u = model.upstream();
  inference::UpstreamOptions upstream;
  upstream.kind = KindFrom(u.kind());
  for (const v1::Config::Endpoint& endpoint : u.endpoints()) upstream.endpoints.push_back(endpoint.url());
  upstream.model = u.model().empty() ? model.name() : u.model();
  TG_ASSIGN(upstream.bearer, ReadBearer("upstream.bearer_file", u.bearer_file()));
  upstream.ca_file = u.ca_file();
  upstream.certificate_file = u.certificate_file();
  upstream.key_file = u.key_file();
  upstream.salt_key = salt_key;
  upstream.priority = u.priority();
  upstream.connect_timeout = milliseconds(u.connect_timeout_ms());
  upstream.first_token_timeout = milliseconds(u.first_token_timeout_ms());
  upstream.stall_timeout = milliseconds(u.stall_timeout_ms());
  upstream.health_interval = milliseconds(u.health_interval_ms());
  upstream.retries_max = u.retries_max();
  return upstream;
}

}  // namespace tollgate::serve
