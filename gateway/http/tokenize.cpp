// The fields are vLLM's for a chat. Those that choose how text is laid out may say only what a chat does here, for the count is that of a
// chat; plain text has no count of its own, because nothing is billed for it.
//
// Tested by tests/gateway/http/tokenize_test.cpp.
#include "gateway/http/tokenize.h"

#include <fmt/format.h>
#include <boost/json/monotonic_resource.hpp>

#include "gateway/http/fields.h"
#include "gateway/http/messages.h"
#include "gateway/http/strict_json.h"
#include "gateway/http/tool_fields.h"

namespace tollgate::http_front {
namespace {

namespace json = boost::json;
namespace v1 = tollgate::v1;

struct Fixed {
  std::string_view name;
  bool value;
};
constexpr Fixed kFixed[] = {
    {"add_generation_prompt", true}, {"continue_final_message", false}, {"add_special_tokens", false}, {"return_token_strs", false}};

absl::Status ReadField(std::string_view name, const json::value& value, const NumberTexts& numbers, v1::ChatRequest& chat) {
  if (value.is_null()) return absl::OkStatus();
  if (name == "model") {
    TG_ASSIGN(*chat.mutable_model(), ReadString(name, value));
    return absl::OkStatus();
  }
  if (name == "messages") return ReadMessages(value, chat);
  if (name == "user" || name == "safety_identifier") {
    TG_ASSIGN(const std::string user, ReadString(name, value));
    if (chat.end_user().empty() || name == "safety_identifier") chat.set_end_user(user);
    return absl::OkStatus();
  }
  if (name == "tools") return ReadTools(value, numbers, chat);
  if (name == "prompt") return Unsupported(name, "Send 'messages': what is counted is a chat, as it would be billed.");
  for (const Fixed& fixed : kFixed) {
    if (fixed.name != name) continue;
    TG_ASSIGN(const bool is, ReadBool(name, value));
    if (is == fixed.value) return absl::OkStatus();
    return Refuse("UNSUPPORTED_VALUE", name, fmt::format("Unsupported value: '{}' must be {}.", name, fixed.value));
  }
  return UnknownField(name);
}

}  // namespace

absl::StatusOr<v1::CountTokensRequest> ParseTokenize(std::string_view body) {
  json::monotonic_resource memory;
  NumberTexts numbers;
  TG_ASSIGN(const json::object root, ParseBody(body, &memory, &numbers));
  v1::ChatRequest chat;
  for (const auto& field : root) TG_RETURN_IF_ERROR(ReadField(View(field.key()), field.value(), numbers, chat));
  if (chat.model().empty()) return MissingField("model");
  if (chat.messages().empty()) return MissingField("messages");
  v1::CountTokensRequest request;
  request.set_model(chat.model());
  request.mutable_messages()->Swap(chat.mutable_messages());
  request.mutable_tools()->Swap(chat.mutable_tools());
  request.set_end_user(chat.end_user());
  return request;
}

std::string TokenizeBody(const v1::CountTokensReply& reply) {
  return fmt::format(R"({{"count":{},"max_model_len":{}}})", reply.tokens(), reply.context_tokens());
}

}  // namespace tollgate::http_front
