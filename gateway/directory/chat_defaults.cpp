// Every number is one line of a table: its name and its bounds; columns, checks and words follow from that and from the message's fields.
// Bounds are those of requests (gateway/pipeline/prompt.cpp) and of the pool's queue (SequenceRequest), so that a default can never be a
// value that a request could not have.
//
// Tested by tests/gateway/directory/chat_defaults_test.cpp.
#include "gateway/directory/chat_defaults.h"

#include <cmath>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "base/encoding.h"

namespace tollgate::directory {
namespace {

using Settings = v1::ChatDefaults;

constexpr std::size_t kSystemPromptBytesMax = 32 << 10;
constexpr double kTokensMax = 2'147'483'647;

struct Number {
  const char* name;  // Of the field, and of the column: with "_millionths" for a fraction.
  double least, most;
  bool least_excluded;
  const char* words;  // For people, with the value in place of {}.
};

constexpr Number kNumbers[] = {
    {"temperature", 0, 2, false, "temperature {}"},
    {"top_p", 0, 1, true, "top_p {}"},
    {"top_k", 0, 1'000'000, false, "top_k {}"},
    {"min_p", 0, 1, false, "min_p {}"},
    {"presence_penalty", -2, 2, false, "presence_penalty {}"},
    {"frequency_penalty", -2, 2, false, "frequency_penalty {}"},
    {"repeat_penalty", 0.01, 2, false, "repeat_penalty {}"},
    {"max_tokens", 1, kTokensMax, false, "max_tokens {}"},
    {"band", 0, kBandLast, false, "band {}"},
    {"weight", 0.01, 100, false, "weight {}"},
    {"temperature_cap", 0, 2, false, "at most temperature {}"},
    {"input_tokens_cap", 1, kTokensMax, false, "at most {} prompt tokens"},
    {"output_tokens_cap", 1, kTokensMax, false, "at most {} output tokens"},
    {"reasoning_tokens_cap", 1, kTokensMax, false, "at most {} tokens of thought"},
    {"stop_cap", 0, 4, false, "at most {} stop strings"},
};

// The field of a number: of the settings themselves or of their sampling.
struct Field {
  const google::protobuf::FieldDescriptor* descriptor;
  bool of_sampling;
  bool fraction() const { return descriptor->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE; }
};

Field FieldOf(const Number& number) {
  if (const auto* own = Settings::descriptor()->FindFieldByName(number.name)) return {own, false};
  return {v1::Sampling::descriptor()->FindFieldByName(number.name), true};
}

std::optional<double> Get(const Field& field, const Settings& settings) {
  const google::protobuf::Message& in = field.of_sampling ? static_cast<const google::protobuf::Message&>(settings.sampling()) : settings;
  const auto* reflection = in.GetReflection();
  if (!reflection->HasField(in, field.descriptor)) return std::nullopt;
  return field.fraction() ? reflection->GetDouble(in, field.descriptor) : reflection->GetInt32(in, field.descriptor);
}

void Set(const Field& field, Settings& settings, double value) {
  google::protobuf::Message& in = field.of_sampling ? static_cast<google::protobuf::Message&>(*settings.mutable_sampling()) : settings;
  if (field.fraction()) {
    in.GetReflection()->SetDouble(&in, field.descriptor, value);
  } else {
    in.GetReflection()->SetInt32(&in, field.descriptor, static_cast<std::int32_t>(value));
  }
}

std::string ColumnOf(const Number& number, const Field& field) {
  return field.fraction() ? fmt::format("{}_millionths", number.name) : number.name;
}

std::int64_t Stored(const Field& field, double value) { return std::llround(field.fraction() ? value * 1e6 : value); }
double Read(const Field& field, std::int64_t stored) { return static_cast<double>(stored) / (field.fraction() ? 1e6 : 1); }

absl::Status Bad(std::string_view field, std::string_view what) { return base::InvalidArgument(fmt::format("{}: {}", field, what)); }

std::string Flag(bool on) { return on ? "t" : "f"; }

}  // namespace

absl::StatusOr<Settings> Checked(const Settings& settings) {
  Settings out = settings;
  if (settings.sampling().has_seed()) return Bad("seed", "cannot be a default: one seed for everybody makes all their answers alike");
  if (const std::size_t bytes = settings.system_prompt().size(); bytes > kSystemPromptBytesMax)
    return Bad("system_prompt", fmt::format("is {} bytes long; at most {} are allowed", bytes, kSystemPromptBytesMax));
  if (!base::IsValidUtf8(settings.system_prompt()) || settings.system_prompt().find('\0') != std::string::npos)
    return Bad("system_prompt", "must be UTF-8 text");
  if (settings.replaces_system() && settings.system_prompt().empty())
    return Bad("replaces_system", "needs a system prompt to put in the callers' place");
  if (settings.shares_cache() && settings.system_prompt().empty()) return Bad("shares_cache", "needs a system prompt to share");
  bool any = !settings.system_prompt().empty();
  for (const Number& number : kNumbers) {
    const Field field = FieldOf(number);
    const std::optional<double> value = Get(field, settings);
    if (!value) continue;
    any = true;
    const bool low = number.least_excluded ? !(*value > number.least) : !(*value >= number.least);
    if (std::isnan(*value) || low || !(*value <= number.most)) {
      return Bad(number.name, fmt::format("is {}; use {} to {}{}", *value, number.least, number.most,
                                          number.least_excluded ? fmt::format(", not {} itself", number.least) : ""));
    }
    const double rounded = Read(field, Stored(field, *value));
    if (number.least_excluded && !(rounded > number.least)) return Bad(number.name, fmt::format("is {}; use at least 0.000001", *value));
    Set(field, out, rounded);
  }
  if (!any)
    return Bad("defaults", "set at least one of a system prompt, a value, a cap, a band and a weight; to take defaults away, remove them");
  return out;
}

Settings SettingsOf(const Row& row) {
  Settings out;
  if (!row.IsNull("system_prompt")) out.set_system_prompt(row.Text("system_prompt"));
  out.set_replaces_system(row.Bool("replaces_system"));
  out.set_clamp(row.Bool("clamp"));
  out.set_shares_cache(row.Bool("shares_cache"));
  for (const Number& number : kNumbers) {
    const Field field = FieldOf(number);
    const std::string column = ColumnOf(number, field);
    if (!row.IsNull(column)) Set(field, out, Read(field, row.Int(column)));
  }
  return out;
}

void ToRow(const Settings& settings, Row& row) {
  row.Set("system_prompt", settings.system_prompt().empty() ? base::Value() : base::Value(settings.system_prompt()));
  row.Set("replaces_system", Flag(settings.replaces_system()));
  row.Set("clamp", Flag(settings.clamp()));
  row.Set("shares_cache", Flag(settings.shares_cache()));
  for (const Number& number : kNumbers) {
    const Field field = FieldOf(number);
    const std::optional<double> value = Get(field, settings);
    row.Set(ColumnOf(number, field), value ? base::Value(Stored(field, *value)) : base::Value());
  }
}

std::string Words(const Settings& settings) {
  std::vector<std::string> words;
  if (!settings.system_prompt().empty()) {
    words.push_back(fmt::format("system prompt of {} bytes{}{}", settings.system_prompt().size(),
                                settings.replaces_system() ? " in place of the callers'" : "",
                                settings.shares_cache() ? ", cached for all teams" : ""));
  }
  bool caps = false;
  for (const Number& number : kNumbers) {
    const std::optional<double> value = Get(FieldOf(number), settings);
    if (!value) continue;
    words.push_back(fmt::format(fmt::runtime(number.words), *value));
    caps = caps || std::string_view(number.name).ends_with("_cap");
  }
  if (caps) words.push_back(settings.clamp() ? "what is beyond is lowered" : "what is beyond is refused");
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace tollgate::directory
