// Parse turns the text into steps: a token and how often it comes, or an incident, each with the pace in force at its line. Next counts
// through them, so that a million tokens take one step's memory.
//
// Tested by tests/inference/script_engine_test.cpp.
#include "inference/engines/script.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace tollgate::inference {
namespace {

constexpr std::int64_t kTimesMax = 10'000'000;

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::optional<std::int64_t> Number(std::string_view text) {
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return std::min(number, kTimesMax);
}

// If `line` is "NAME" or "NAME ARGUMENT", the argument.
std::optional<std::string_view> Argument(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return std::nullopt;
  line.remove_prefix(name.size());
  if (line.empty()) return line;
  if (line.front() != ' ') return std::nullopt;
  return line.substr(1);
}

}  // namespace

void Script::AddWords(std::string_view text, std::chrono::milliseconds pace) {
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && !IsSpace(text[end])) ++end;
    while (end < text.size() && IsSpace(text[end])) ++end;
    steps_.push_back({ScriptEvent::kToken, std::string(text.substr(i, end - i)), 1, pace});
    i = end;
  }
}

void Script::AddSaid(std::string_view text, std::chrono::milliseconds pace) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] != '\\' || (next != 'n' && next != 't' && next != '\\' && next != '|')) {
      plain.push_back(text[i]);
      continue;
    }
    ++i;
    if (next == '|') {
      AddWords(plain, pace);
      plain.clear();
    } else {
      plain.push_back(next == 'n' ? '\n' : next == 't' ? '\t' : '\\');
    }
  }
  AddWords(plain, pace);
}

Script Script::Parse(std::string_view user_text) {
  Script script;
  script.steps_.reserve(user_text.size() / 4);  // A word and a space, at least.
  std::chrono::milliseconds pace{0};
  bool directed = false;
  for (std::size_t start = 0; start <= user_text.size();) {
    const std::size_t end = std::min(user_text.find('\n', start), user_text.size());
    const std::string_view line = user_text.substr(start, end - start);
    start = end + 1;
    if (!line.starts_with('!')) continue;
    if (const auto said = Argument(line, "!say")) {
      script.AddSaid(*said, pace);
    } else if (const auto times = Argument(line, "!tokens"); times && Number(*times)) {
      script.steps_.push_back({ScriptEvent::kToken, "word ", *Number(*times), pace});
    } else if (const auto millis = Argument(line, "!pace_ms"); millis && Number(*millis)) {
      pace = std::chrono::milliseconds(*Number(*millis));
    } else if (line == "!fail") {
      script.steps_.push_back({ScriptEvent::kFail, "", 1, pace});
    } else if (line == "!abort") {
      script.steps_.push_back({ScriptEvent::kAbort, "", 1, pace});
    } else if (line == "!hang") {
      script.steps_.push_back({ScriptEvent::kHang, "", 1, pace});
    } else {
      continue;
    }
    directed = true;
  }
  if (!directed) script.AddWords(user_text, pace);
  std::erase_if(script.steps_, [](const Step& step) { return step.times == 0; });
  return script;
}

ScriptEvent Script::Next() {
  if (at_ >= steps_.size()) return {};
  const Step& step = steps_[at_];
  ScriptEvent event{step.kind, step.text, step.pace, false};
  if (++given_ >= step.times) {
    ++at_;
    given_ = 0;
  }
  event.ends = at_ >= steps_.size();
  return event;
}

}  // namespace tollgate::inference
