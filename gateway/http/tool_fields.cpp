// Every field is read or refused by name.
//
// Tested by tests/gateway/http/chat_request_test.cpp.
#include "gateway/http/tool_fields.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <string_view>

#include <fmt/format.h>

#include "gateway/http/fields.h"

namespace tollgate::http_front {
namespace {

namespace json = boost::json;
namespace v1 = tollgate::v1;

absl::Status CheckFunctionType(const std::string& param, const json::value& value) {
  TG_ASSIGN(const std::string type, ReadString(param, value));
  if (type == "function") return absl::OkStatus();
  return Refuse("UNSUPPORTED_VALUE", param, fmt::format("Unsupported value: '{}' must be function.", param));
}

absl::Status ReadFunction(const std::string& at, const json::value& value, const NumberTexts& numbers, v1::Tool& tool) {
  if (!value.is_object()) return WrongType(at, "an object", value);
  bool named = false;
  for (const auto& field : value.get_object()) {
    const std::string param = fmt::format("{}.{}", at, View(field.key()));
    const bool known = field.key() == "description" || field.key() == "parameters" || field.key() == "strict";
    if (field.key() == "name") {
      TG_ASSIGN(*tool.mutable_name(), ReadString(param, field.value()));
      named = true;
    } else if (!known) {
      TG_RETURN_IF_ERROR(CheckOther(param, View(field.key()), field.value()));
    } else if (field.value().is_null()) {
      continue;
    } else if (field.key() == "description") {
      TG_ASSIGN(*tool.mutable_description(), ReadString(param, field.value()));
    } else if (field.key() == "parameters") {
      if (!field.value().is_object()) return WrongType(param, "an object", field.value());
      tool.set_parameters(JsonAsSpelt(field.value(), numbers));
    } else {
      TG_ASSIGN(const bool strict, ReadBool(param, field.value()));
      tool.set_strict(strict);
    }
  }
  return named ? absl::OkStatus() : MissingField(at + ".name");
}

// {"type": "function", "function": X}, with other fields by `more`, which says whether it knows one.
template <typename Function, typename More>
absl::Status ReadWrapped(const std::string& at, const json::value& value, const Function& function, const More& more) {
  if (!value.is_object()) return WrongType(at, "an object", value);
  const json::object& fields = value.get_object();
  const json::value* type = fields.if_contains("type");
  if (type == nullptr) return MissingField(at + ".type");
  TG_RETURN_IF_ERROR(CheckFunctionType(at + ".type", *type));
  const json::value* wrapped = fields.if_contains("function");
  if (wrapped == nullptr) return MissingField(at + ".function");
  for (const auto& field : fields) {
    if (field.key() == "type" || field.key() == "function") continue;
    TG_RETURN_IF_ERROR(more(fmt::format("{}.{}", at, View(field.key())), View(field.key()), field.value()));
  }
  return function(at + ".function", *wrapped);
}

bool HoldsFraction(const json::value& value) {
  if (value.is_array()) return std::any_of(value.get_array().begin(), value.get_array().end(), HoldsFraction);
  if (!value.is_object()) return value.is_double();
  return std::any_of(value.get_object().begin(), value.get_object().end(), [](const auto& field) { return HoldsFraction(field.value()); });
}

absl::Status ReadCalled(const std::string& at, const json::value& value, v1::ToolCall& call) {
  if (!value.is_object()) return WrongType(at, "an object", value);
  for (const auto& field : value.get_object()) {
    const std::string param = fmt::format("{}.{}", at, View(field.key()));
    if (field.key() == "name") {
      TG_ASSIGN(*call.mutable_name(), ReadString(param, field.value()));
    } else if (field.key() == "arguments" && field.value().is_object()) {
      // Some clients send the JSON itself where its text belongs. What policy reads must be what they sent.
      if (HoldsFraction(field.value())) {
        return Refuse("INVALID_TYPE", param,
                      fmt::format("Invalid '{}': send it as a string: of a fraction the digits would not be kept.", param));
      }
      call.set_arguments(json::serialize(field.value()));
    } else if (field.key() == "arguments") {
      TG_ASSIGN(*call.mutable_arguments(), ReadString(param, field.value()));
    } else if (field.key() != "parsed_arguments") {  // The SDKs' reading of `arguments`.
      return UnknownField(param);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTools(const json::value& value, const NumberTexts& numbers, v1::ChatRequest& chat) {
  if (!value.is_array()) return WrongType("tools", "an array of tools", value);
  for (std::size_t i = 0; i < value.get_array().size(); ++i) {
    v1::Tool& tool = *chat.add_tools();
    const auto function = [&](const std::string& at, const json::value& its) { return ReadFunction(at, its, numbers, tool); };
    TG_RETURN_IF_ERROR(ReadWrapped(fmt::format("tools[{}]", i), value.get_array()[i], function, CheckOther));
  }
  return absl::OkStatus();
}

absl::Status ReadToolChoice(const json::value& value, v1::ChatRequest& chat) {
  if (value.is_object()) {
    v1::Tool named;
    const auto function = [&](const std::string& at, const json::value& its) { return ReadFunction(at, its, {}, named); };
    TG_RETURN_IF_ERROR(ReadWrapped("tool_choice", value, function, CheckOther));
    chat.mutable_tool_choice()->set_function(named.name());
    return absl::OkStatus();
  }
  TG_ASSIGN(const std::string choice, ReadString("tool_choice", value));
  if (choice == "none") {
    chat.mutable_tool_choice()->set_none(true);
  } else if (choice == "required") {
    chat.mutable_tool_choice()->set_required(true);
  } else if (choice != "auto") {
    return Refuse("INVALID_VALUE", "tool_choice", "Invalid 'tool_choice': must be none, auto, required or a function.");
  }
  return absl::OkStatus();
}

absl::Status ReadToolCalls(const std::string& param, const json::value& value, v1::ChatMessage& message) {
  if (!value.is_array()) return WrongType(param, "an array of calls", value);
  for (std::size_t i = 0; i < value.get_array().size(); ++i) {
    v1::ToolCall& call = *message.add_tool_calls();
    call.set_index(static_cast<std::int32_t>(i));
    const auto function = [&](const std::string& at, const json::value& its) { return ReadCalled(at, its, call); };
    const auto more = [&](const std::string& at, std::string_view key, const json::value& its) -> absl::Status {
      if (key == "index" && its.is_int64()) return absl::OkStatus();  // Some clients send back what a stream held.
      if (key != "id") return UnknownField(at);
      TG_ASSIGN(*call.mutable_id(), ReadString(at, its));
      return absl::OkStatus();
    };
    TG_RETURN_IF_ERROR(ReadWrapped(fmt::format("{}[{}]", param, i), value.get_array()[i], function, more));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::http_front
