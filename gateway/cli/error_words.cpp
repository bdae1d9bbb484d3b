// A service's message is made for programs too: it may name a field or a call of the API. Both become what a person types: the option that
// sets the field, the command that helps. Details come as google.rpc.Status in the trailer that grpc++ hands over as error_details(). Its
// reason is a word for programs; one that only repeats gRPC's code tells a person nothing and is left out, as are the fields.
//
// What the gateway answers itself says in its details whether it may be sent again; what has none was made on the way, by the client's own
// library or a proxy, which do not know what the gateway did.
//
// Tested by tests/gateway/cli/error_words_test.cpp.
#include <algorithm>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "gateway/cli/remote.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace tollgate::cli {
namespace {
struct Pair {
  std::string_view from;
  std::string_view to;
};

constexpr Pair kTyped[] = {{"max_tokens", "--max-tokens"},
                           {"temperature", "--temperature"},
                           {"top_p", "--top-p"},
                           {"stop", "--stop"},
                           {"system_prompt", "--system"},
                           {"temperature_cap", "--cap-temperature"},
                           {"input_tokens_cap", "--cap-input-tokens"},
                           {"output_tokens_cap", "--cap-output-tokens"},
                           {"stop_cap", "--cap-stops"},
                           {"reasoning_tokens_cap", "--cap-reasoning-tokens"},
                           {"band", "--band"},
                           {"weight", "--weight"},
                           {"replaces_system", "--replace-system"},
                           {"shares_cache", "--share-cache"},
                           {"min_p", "--min-p"},
                           {"top_k", "--top-k"},
                           {"presence_penalty", "--presence-penalty"},
                           {"frequency_penalty", "--frequency-penalty"},
                           {"repeat_penalty", "--repeat-penalty"},
                           {"end_user", "--end-user"},
                           {"messages", "the prompt"},
                           {"input_per_1000", "--input"},
                           {"cached_input_per_1000", "--cached-input"},
                           {"output_per_1000", "--output"},
                           {"effective_from", "--from"},
                           {"from_us", "--from"},
                           {"expires_in_s", "--expires"},
                           {"overlap", "--overlap"},
                           {"request_id", "the request's id"},
                           {"reason", "--reason"}};

constexpr Pair kRemedies[] = {
    {"INVALID_API_KEY", "give one that is in force with --key or TOLLGATE_KEY"},
    {"MODEL_NOT_FOUND", "see those that you may use: tollgate models list"},
    {"MODEL_NOT_GRANTED", "an administrator can grant it: tollgate models grant MODEL --team TEAM (tollgate models grants lists what is)"}};

constexpr std::string_view kCodes[] = {"INVALID_ARGUMENT", "NOT_FOUND",    "ALREADY_EXISTS",      "PERMISSION_DENIED",
                                       "UNAUTHENTICATED",  "OUT_OF_RANGE", "FAILED_PRECONDITION", "INVALID_REQUEST"};

// "top_p: must be …" and "messages[0].content: is …" by the name of the option.
std::string Typed(const std::string& message) {
  const std::size_t colon = message.find(": ");
  if (colon == std::string::npos) return message;
  const std::string_view field = std::string_view(message).substr(0, std::min(colon, message.find_first_of("[.")));
  for (const auto& [from, to] : kTyped) {
    if (field != from) continue;
    const std::string rest = message.substr(colon + 2);
    return rest.starts_with(to) ? rest : fmt::format("{}: {}", to, rest);
  }
  return message;
}

// What is wrong stays; what to do, behind the semicolon, becomes a command.
std::string WithRemedy(const std::string& message, const std::string& reason) {
  for (const auto& [from, to] : kRemedies) {
    if (reason == from) return fmt::format("{}; {}", message.substr(0, message.find("; ")), to);
  }
  return message;
}

bool Repeats(const std::string& reason) { return std::find(std::begin(kCodes), std::end(kCodes), reason) != std::end(kCodes); }

std::string ReasonWords(const google::rpc::ErrorInfo& info) {
  std::string out = Repeats(info.reason()) ? "" : "\n  reason: " + info.reason();
  const auto rules = info.metadata().find("rules");
  if (rules != info.metadata().end() && !rules->second.empty()) out += "\n  rules: " + rules->second;
  return out;
}

struct Details {
  std::optional<google::rpc::ErrorInfo> info;
  std::optional<google::rpc::RetryInfo> retry;

  bool ours() const { return info && info->domain() == "tollgate"; }
  bool may_retry() const {
    if (!info) return true;
    const auto said = info->metadata().find("retry");
    return said == info->metadata().end() || said->second != "false";
  }
};

Details DetailsOf(const grpc::Status& status) {
  Details out;
  google::rpc::Status rich;
  if (status.error_details().empty() || !rich.ParseFromString(status.error_details())) return out;
  for (const auto& detail : rich.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) out.info = info;
    if (detail.UnpackTo(&retry)) out.retry = retry;
  }
  return out;
}
}  // namespace

int ExitCodeOf(const grpc::Status& status, Effect effect) {
  const int in_doubt = effect == Effect::kReads ? kUnavailable : kInDoubt;
  const Details details = DetailsOf(status);
  switch (status.error_code()) {
    case grpc::StatusCode::OK: return kDone;
    case grpc::StatusCode::ABORTED: return kUnavailable;
    case grpc::StatusCode::UNAVAILABLE:
      if (!details.ours() || details.info->reason() == "AUDIT_IN_DOUBT") return in_doubt;
      return details.may_retry() ? kUnavailable : kRefused;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return details.retry && details.may_retry() ? kUnavailable : kRefused;
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::UNKNOWN: return in_doubt;
    case grpc::StatusCode::DATA_LOSS: return kFoundWrong;
    default: return kRefused;
  }
}

void Tell(Context& context, const grpc::Status& status, Effect effect, const Words& words) {
  const int code = ExitCodeOf(status, effect);
  std::string text = words ? words(Describe(status)) : Describe(status);
  if (code == kInDoubt) text += "\n  it may have been done all the same: look before you send it again";
  context.Fail(code, text);
}

std::string Describe(const grpc::Status& status) {
  std::string text = status.error_message().empty()
                         ? fmt::format("the call failed with gRPC status {}", static_cast<int>(status.error_code()))
                         : Typed(status.error_message());
  std::string more;
  const Details details = DetailsOf(status);
  if (details.info) {
    text = WithRemedy(text, details.info->reason());
    more += ReasonWords(*details.info);
  }
  if (details.retry) {
    const auto& delay = details.retry->retry_delay();
    more += fmt::format("\n  try again in: {:.3g} s", static_cast<double>(delay.seconds()) + delay.nanos() / 1e9);
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) text += " (--timeout sets how long to wait)";
  return text + more;
}

}  // namespace tollgate::cli
