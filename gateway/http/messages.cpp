// Clients send back what a reply's message held, so an assistant's message may carry refusal, function_call, audio and annotations as long
// as they say nothing (null, or an empty array of annotations), and what it thought: no model is shown the thoughts of earlier turns.
//
// Tested by tests/gateway/http/chat_request_test.cpp.
#include "gateway/http/messages.h"

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "gateway/http/fields.h"
#include "gateway/http/tool_fields.h"

namespace tollgate::http_front {
namespace {

namespace json = boost::json;
namespace v1 = tollgate::v1;

absl::StatusOr<v1::Role> ReadRole(const std::string& param, const json::value& value) {
  TG_ASSIGN(const std::string role, ReadString(param, value));
  if (role == "system" || role == "developer") return v1::ROLE_SYSTEM;
  if (role == "user") return v1::ROLE_USER;
  if (role == "assistant") return v1::ROLE_ASSISTANT;
  if (role == "tool") return v1::ROLE_TOOL;
  if (role == "function") {
    return Refuse("UNSUPPORTED_VALUE", param, fmt::format("Unsupported value: '{}' is 'function'. Use tools, and the role tool.", param));
  }
  return Refuse("INVALID_VALUE", param, fmt::format("Invalid '{}': must be system, developer, user, assistant or tool.", param));
}

absl::Status ReadPart(const std::string& at, const json::value& value, v1::ChatMessage& message) {
  if (!value.is_object()) return WrongType(at, "an object", value);
  const json::object& part = value.get_object();
  const json::value* type_value = part.if_contains("type");
  if (!type_value) return MissingField(at + ".type");
  TG_ASSIGN(const std::string type, ReadString(at + ".type", *type_value));
  if (type == "image_url" || type == "input_audio" || type == "file" || type == "refusal") {
    return Refuse("UNSUPPORTED_VALUE", at + ".type",
                  fmt::format("Unsupported value: '{}.type' is '{}'. Only text parts are taken: policy cannot scan the others.", at, type));
  }
  if (type != "text") return Refuse("INVALID_VALUE", at + ".type", fmt::format("Invalid '{}.type': must be text.", at));
  for (const auto& field : part) {
    if (field.key() == "type" || field.key() == "text") continue;
    TG_RETURN_IF_ERROR(CheckOther(fmt::format("{}.{}", at, View(field.key())), View(field.key()), field.value()));
  }
  const json::value* text_value = part.if_contains("text");
  if (!text_value) return MissingField(at + ".text");
  TG_ASSIGN(*message.add_parts(), ReadString(at + ".text", *text_value));
  return absl::OkStatus();
}

absl::Status ReadContent(const std::string& at, const json::value& value, v1::ChatMessage& message) {
  if (value.is_string()) {
    TG_ASSIGN(*message.add_parts(), ReadString(at, value));
    return absl::OkStatus();
  }
  if (!value.is_array()) return WrongType(at, "a string or an array of text parts", value);
  const json::array& parts = value.get_array();
  if (parts.empty()) return Refuse("INVALID_VALUE", at, fmt::format("Invalid '{}': the array is empty; send at least one text part.", at));
  for (std::size_t i = 0; i < parts.size(); ++i) TG_RETURN_IF_ERROR(ReadPart(fmt::format("{}[{}]", at, i), parts[i], message));
  return absl::OkStatus();
}

// Fields that an assistant's message may echo: what a client made of it, and what says nothing.
absl::Status CheckEcho(const std::string& at, std::string_view key, const json::value& value) {
  const std::string param = fmt::format("{}.{}", at, key);
  if (key == "parsed") return absl::OkStatus();  // The SDKs' reading of `content`, which stands beside it.
  if (key == "reasoning_content") return value.is_null() ? absl::OkStatus() : ReadString(param, value).status();
  const bool known = key == "refusal" || key == "function_call" || key == "audio" || key == "annotations";
  if (!known) return CheckOther(param, key, value);
  const bool empty = value.is_null() || (key == "annotations" && value.is_array() && value.get_array().empty());
  if (empty) return absl::OkStatus();
  return Unsupported(param, "Tollgate builds neither functions, audio nor refusals: leave it out.");
}

absl::Status ReadMessage(const std::string& at, const json::value& value, v1::ChatMessage& message) {
  if (!value.is_object()) return WrongType(at, "an object", value);
  bool has_role = false;
  bool has_content = false;
  for (const auto& field : value.get_object()) {
    const std::string_view key = View(field.key());
    if (key == "role") {
      TG_ASSIGN(const v1::Role role, ReadRole(at + ".role", field.value()));
      message.set_role(role);
      has_role = true;
    } else if (key == "content") {
      if (field.value().is_null()) continue;
      TG_RETURN_IF_ERROR(ReadContent(at + ".content", field.value(), message));
      has_content = true;
    } else if (key == "name") {
      if (field.value().is_null()) continue;
      TG_ASSIGN(*message.mutable_name(), ReadString(at + ".name", field.value()));
    } else if (key == "tool_calls") {
      if (field.value().is_null()) continue;
      TG_RETURN_IF_ERROR(ReadToolCalls(at + ".tool_calls", field.value(), message));
    } else if (key == "tool_call_id") {
      if (field.value().is_null()) continue;
      TG_ASSIGN(*message.mutable_tool_call_id(), ReadString(at + ".tool_call_id", field.value()));
    } else {
      TG_RETURN_IF_ERROR(CheckEcho(at, key, field.value()));
    }
  }
  if (!has_role) return MissingField(at + ".role");
  if (message.role() == v1::ROLE_TOOL && message.tool_call_id().empty()) return MissingField(at + ".tool_call_id");
  if (!has_content && message.tool_calls_size() == 0) return MissingField(at + ".content");
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadMessages(const json::value& value, v1::ChatRequest& chat) {
  if (!value.is_array()) return WrongType("messages", "an array of messages", value);
  const json::array& messages = value.get_array();
  if (messages.empty()) return Refuse("INVALID_VALUE", "messages", "Invalid 'messages': the array is empty; send at least one message.");
  for (std::size_t i = 0; i < messages.size(); ++i)
    TG_RETURN_IF_ERROR(ReadMessage(fmt::format("messages[{}]", i), messages[i], *chat.add_messages()));
  return absl::OkStatus();
}

}  // namespace tollgate::http_front
