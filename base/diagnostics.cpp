// spdlog's thread-safe logger to standard error, with one pattern for people and one for machines. In JSON form the line is made here,
// because spdlog does not escape what it is given.
// Tested by tests/base/values_test.cpp.
#include "base/diagnostics.h"

#include <atomic>
#include <memory>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/clock.h"
#include "base/encoding.h"

namespace tollgate::base {
namespace {

std::atomic<Level> least{Level::kInfo};
std::atomic<bool> json{false};

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("tollgate", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

std::string_view NameOf(Level level) {
  switch (level) {
    case Level::kDebug: return "debug";
    case Level::kInfo: return "info";
    case Level::kWarn: return "warn";
    case Level::kError: return "error";
  }
  return "error";
}

// Bytes at the begin of `text` that are one character beyond ASCII; 0: they are none.
std::size_t WideLength(std::string_view text) {
  for (std::size_t length = 2; length <= 4 && length <= text.size(); ++length) {
    if (IsValidUtf8(text.substr(0, length))) return length;
  }
  return 0;
}

// One event is one line: control characters, which could forge another line or move a terminal's cursor, are escaped. What is not UTF-8,
// such as a file's name, would be no JSON: U+FFFD stands for each such byte.
std::string Escape(std::string_view text, bool quotes) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (quotes && (c == '"' || c == '\\')) {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else if (byte >= 0x80) {
      const std::size_t length = WideLength(text.substr(at));
      out += length == 0 ? "\xEF\xBF\xBD" : text.substr(at, length);
      at += length == 0 ? 0 : length - 1;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace

void SetDiagnosticsLevel(Level level) { least = level; }
void SetDiagnosticsJson(bool on) { json = on; }

void Diagnose(Level level, std::string_view room, std::string_view text) {
  if (level < least.load()) return;
  const std::string time = FormatRfc3339(std::chrono::floor<std::chrono::seconds>(SystemClock().Wall()));
  std::string line;
  if (json.load()) {
    line =
        fmt::format(R"({{"time":"{}","level":"{}","room":"{}","text":"{}"}})", time, NameOf(level), Escape(room, true), Escape(text, true));
  } else {
    line = fmt::format("{} {:<5} {}: {}", time, NameOf(level), Escape(room, false), Escape(text, false));
  }
  Logger().info(spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace tollgate::base
