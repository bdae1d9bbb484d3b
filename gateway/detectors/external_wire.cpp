// Fields that the format does not name are passed over, so that a detector may say more; those that it names must be what it says.
//
// Tested by tests/gateway/detectors/external_wire_test.cpp.
#include "gateway/detectors/external_wire.h"

#include <boost/json.hpp>
#include <cmath>
#include <limits>

namespace tollgate::detectors {

namespace json = boost::json;

namespace {

constexpr std::size_t kSpansMax = 1000;
constexpr std::size_t kCategoryBytesMax = 64;

absl::Status Wrong(const char* what) { return base::InvalidArgument(std::string("its answer cannot be read: ") + what); }

absl::Status ReadSpans(const pipeline::QuestionAsk& ask, const json::value& value, pipeline::QuestionAnswer& out) {
  const json::array* spans = value.if_array();
  if (spans == nullptr || spans->size() > kSpansMax) return Wrong("'spans' is a list of at most 1000");
  for (const json::value& item : *spans) {
    const json::object* span = item.if_object();
    std::int64_t numbers[3] = {0, -1, -1};
    const char* const names[3] = {"message", "begin", "end"};
    for (int i = 0; span != nullptr && i < 3; ++i) {
      const json::value* number = span->if_contains(names[i]);
      if (number != nullptr && number->is_int64()) numbers[i] = number->get_int64();
    }
    const bool of_message = numbers[0] >= 0 && numbers[0] < static_cast<std::int64_t>(ask.messages->size());
    if (span == nullptr || !of_message) return Wrong("a span names no message of the question");
    const auto size = static_cast<std::int64_t>(TextOf((*ask.messages)[static_cast<std::size_t>(numbers[0])]).size());
    if (numbers[1] < 0 || numbers[2] < numbers[1] || numbers[2] > size) return Wrong("a span lies outside of its message");
    out.answer.spans.push_back({static_cast<std::uint32_t>(numbers[0]), "text", numbers[1], numbers[2]});
  }
  return absl::OkStatus();
}

bool IsCategory(std::string_view text) {
  return text.size() <= kCategoryBytesMax &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._:/-") == std::string_view::npos;
}

}  // namespace

std::string QuestionText(const pipeline::QuestionAsk& ask) {
  json::array messages;
  for (const policy::Message& message : *ask.messages) {
    json::object out{{"role", policy::RoleName(message.role)}, {"text", TextOf(message)}};
    if (!message.name.empty()) out["name"] = message.name;
    messages.push_back(std::move(out));
  }
  return json::serialize(json::object{{"version", 1},
                                      {"detector", ask.question.name},
                                      {"rule", ask.question.rule_id},
                                      {"direction", ask.output ? "output" : "input"},
                                      {"last", ask.last},
                                      {"model", ask.model},
                                      {"messages", std::move(messages)}});
}

absl::StatusOr<pipeline::QuestionAnswer> ReadAnswer(const pipeline::QuestionAsk& ask, std::string_view body) {
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = 8;
  const json::value root = json::parse({body.data(), body.size()}, error, {}, options);
  const json::object* top = error ? nullptr : root.if_object();
  if (top == nullptr) return Wrong("it is no JSON object");
  pipeline::QuestionAnswer out;
  out.answer.id = ask.question.id;
  const json::value* hit = top->if_contains("hit");
  if (hit == nullptr || !hit->is_bool()) return Wrong("'hit' must be true or false");
  out.answer.hit = hit->get_bool();
  if (const json::value* score = top->if_contains("score")) {
    const double value = score->is_number() ? score->to_number<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(value >= 0 && value <= 1)) return Wrong("'score' is a number from 0 to 1");
    out.answer.score_millionths = std::llround(value * 1e6);
  }
  if (const json::value* category = top->if_contains("category")) {
    const json::string* text = category->if_string();
    if (text == nullptr || !IsCategory({text->data(), text->size()})) return Wrong("'category' is a short name");
    out.category.assign(text->data(), text->size());
  }
  if (const json::value* spans = top->if_contains("spans")) TG_RETURN_IF_ERROR(ReadSpans(ask, *spans, out));
  return out;
}

}  // namespace tollgate::detectors
