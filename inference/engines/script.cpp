// Parse turns the text into steps: a token and how often it comes, or an incident, each with the pace in force at its line. Next counts
// through them, so that a million tokens take one step's memory.
//
// Tested by tests/inference/script_engine_test.cpp.
#include "inference/engines/script.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

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

// `text` with its escapes resolved, cut at each \|.
std::vector<std::string> Unescaped(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] != '\\' || (next != 'n' && next != 't' && next != '\\' && next != '|')) {
      parts.back().push_back(text[i]);
      continue;
    }
    ++i;
    if (next == '|') {
      parts.emplace_back();
    } else {
      parts.back().push_back(next == 'n' ? '\n' : next == 't' ? '\t' : '\\');
    }
  }
  return parts;
}

}  // namespace

void Script::Add(ScriptEvent::Kind kind, std::string_view text, std::int64_t times) {
  if (times > 0) steps_.push_back({kind, std::string(text), times, manners_.size() - 1});
}

void Script::AddWords(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && !IsSpace(text[end])) ++end;
    while (end < text.size() && IsSpace(text[end])) ++end;
    Add(ScriptEvent::kToken, text.substr(i, end - i));
    i = end;
  }
}

void Script::AddSaid(std::string_view text) {
  for (const std::string& part : Unescaped(text)) AddWords(part);
}

Script Script::Parse(std::string_view user_text, std::string_view model) {
  Script script;
  script.steps_.reserve(user_text.size() / 4);  // A word and a space, at least.
  bool directed = false;
  for (std::size_t start = 0; start <= user_text.size();) {
    const std::size_t end = std::min(user_text.find('\n', start), user_text.size());
    const std::string_view line = user_text.substr(start, end - start);
    start = end + 1;
    if (!line.starts_with('!')) continue;
    if (const auto said = Argument(line, "!say")) {
      script.AddSaid(*said);
    } else if (const auto thought = Argument(line, "!think")) {
      script.AddSaid("<think>" + std::string(*thought) + "</think>");
    } else if (const auto call = Argument(line, "!call")) {
      const std::size_t space = std::min(call->find(' '), call->size());
      const std::string_view arguments = space < call->size() ? call->substr(space + 1) : "{}";
      script.AddSaid(fmt::format("<tool_call>\n{{\"name\": \"{}\", \"arguments\": {}}}\n</tool_call>", call->substr(0, space), arguments));
    } else if (const auto times = Argument(line, "!tokens"); times && Number(*times)) {
      script.Add(ScriptEvent::kToken, "word ", *Number(*times));
    } else if (const auto millis = Argument(line, "!pace_ms"); millis && Number(*millis)) {
      script.manners_.push_back(script.manners_.back());
      script.manners_.back().pace = std::chrono::milliseconds(*Number(*millis));
    } else if (const auto alternative = Argument(line, "!alt")) {
      script.manners_.push_back(script.manners_.back());
      std::string& text = script.manners_.back().alternatives.emplace_back();
      for (const std::string& part : Unescaped(*alternative)) text += part;
    } else if (line == "!fail") {
      script.Add(ScriptEvent::kFail);
    } else if (const auto away = Argument(line, "!away")) {
      if (*away == model) script.Add(ScriptEvent::kAway);
    } else if (line == "!abort") {
      script.Add(ScriptEvent::kAbort);
    } else if (line == "!hang") {
      script.Add(ScriptEvent::kHang);
    } else {
      continue;
    }
    directed = true;
  }
  if (!directed) script.AddWords(user_text);
  return script;
}

ScriptEvent Script::Next() {
  if (at_ >= steps_.size()) return {};
  const Step& step = steps_[at_];
  const Manner& manner = manners_[step.manner];
  ScriptEvent event{step.kind, step.text, manner.pace, false, manner.alternatives};
  if (++given_ >= step.times) {
    ++at_;
    given_ = 0;
  }
  event.ends = at_ >= steps_.size();
  return event;
}

void Script::SkipThought() {
  const auto closes = [](const Step& step) { return step.text.find("</think>") != std::string::npos; };
  const auto found = std::find_if(steps_.begin(), steps_.end(), closes);
  if (found == steps_.end()) return;
  steps_.erase(steps_.begin(), found + 1);
}

}  // namespace tollgate::inference
