// What is read has a byte for each that is written, but in strings, where an escape of two to twelve bytes is one code point. So it takes
// no more than a list of the escapes to say where anything that is read is written. json_parts.h's TellAsWritten is here too.
//
// Tested by tests/policy/readings_test.cpp.
#include "policy/readings.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "policy/json_parts.h"

namespace tollgate::policy {
namespace {

class WhereWritten {
 public:
  explicit WhereWritten(std::string_view json) {
    std::int64_t read = 0;
    for (std::size_t at = 0; at < json.size(); ++at, ++read) {
      if (json[at] != '"') continue;
      const std::int64_t begin = ++read;
      for (++at; json[at] != '"';) {
        const Escape its = json[at] == '\\' ? EscapeAt(json, at, read) : Escape{static_cast<std::int64_t>(at), read, 1, 1};
        if (json[at] == '\\') escapes_.push_back(its);
        at += static_cast<std::size_t>(its.written_bytes);
        read += its.read_bytes;
      }
      strings_.push_back({begin, read});
    }
  }

  // As it is written. REQUIRES: it is not empty.
  TextEdit Of(TextEdit edit) const {
    const auto inside = std::upper_bound(strings_.begin(), strings_.end(), edit.begin,
                                         [](std::int64_t at, const std::pair<std::int64_t, std::int64_t>& its) { return at < its.first; });
    if (inside != strings_.begin() && edit.begin < std::prev(inside)->second) {
      edit.text = JoinJson(std::vector<std::string>{"", edit.text});
      edit.hidden = JoinJson(std::vector<std::string>{"", edit.hidden});
    }
    std::tie(edit.begin, edit.end) = Of(edit.begin, edit.end);
    return edit;
  }
  std::pair<std::int64_t, std::int64_t> Of(std::int64_t begin, std::int64_t end) const {
    return {Around(begin).first, Around(end - 1).second};
  }

 private:
  struct Escape {
    std::int64_t written = 0, read = 0, written_bytes = 0, read_bytes = 0;
  };

  static Escape EscapeAt(std::string_view json, std::size_t at, std::int64_t read) {
    const auto written = static_cast<std::int64_t>(at);
    if (json[at + 1] != 'u') return {written, read, 2, 1};
    unsigned code = 0;
    for (const char c : json.substr(at + 2, 4)) code = code * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    if (code >= 0xD800 && code < 0xDC00) return {written, read, 12, 4};  // With the other half.
    return {written, read, 6, code < 0x80 ? 1 : code < 0x800 ? 2 : 3};
  }

  // Where the byte that is read at `at` is written, with the whole escape if that is of one.
  std::pair<std::int64_t, std::int64_t> Around(std::int64_t at) const {
    auto next = std::upper_bound(escapes_.begin(), escapes_.end(), at, [](std::int64_t a, const Escape& its) { return a < its.read; });
    if (next == escapes_.begin()) return {at, at + 1};
    const Escape& before = *std::prev(next);
    if (at < before.read + before.read_bytes) return {before.written, before.written + before.written_bytes};
    const std::int64_t written = before.written + before.written_bytes + (at - before.read - before.read_bytes);
    return {written, written + 1};
  }

  std::vector<Escape> escapes_;
  std::vector<std::pair<std::int64_t, std::int64_t>> strings_;  // Begin and end of what is in each, as it is read.
};

}  // namespace

absl::StatusOr<std::vector<ReadTwice>> ReadTwiceIn(std::span<const Message> prompt) {
  std::vector<ReadTwice> out;
  std::size_t written = 0;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i].role != Role::kTool || !prompt[i].aside) continue;
    std::optional<std::vector<std::string>> parts;
    while (written < i && !parts) parts = SecondReading(prompt[written++]);
    if (!parts || *parts != prompt[i].parts)
      return base::Internal(fmt::format("message {} is aside, and is not how a result before it reads", i));
    out.push_back({written - 1, i});
  }
  return out;
}

std::vector<TextEdit> EditsOfBoth(std::string_view json, std::span<const TextEdit> written, std::span<const TextEdit> read) {
  const WhereWritten where(json);
  std::vector<TextEdit> all;
  for (const TextEdit& edit : read) all.push_back(where.Of(edit));
  all.insert(all.end(), written.begin(), written.end());
  std::stable_sort(all.begin(), all.end(),
                   [](const TextEdit& a, const TextEdit& b) { return a.begin != b.begin ? a.begin < b.begin : a.rule < b.rule; });
  std::vector<TextEdit> out;
  for (TextEdit& edit : all) {
    if (out.empty() || edit.begin >= out.back().end) {
      out.push_back(std::move(edit));
      continue;
    }
    TextEdit& into = out.back();
    const bool same = edit.begin == into.begin && edit.end == into.end && edit.rule == into.rule && edit.alone && into.alone;
    if (!same) {
      into.text = into.hidden;
      into.alone = false;
      into.end = std::max(into.end, edit.end);
    }
  }
  return out;
}

std::vector<std::pair<std::int64_t, std::int64_t>> AsWritten(std::string_view json,
                                                             std::span<const std::pair<std::int64_t, std::int64_t>> spans) {
  const WhereWritten where(json);
  std::vector<std::pair<std::int64_t, std::int64_t>> out;
  for (const auto& [begin, end] : spans) out.push_back(begin < end ? where.Of(begin, end) : std::pair(begin, end));
  return out;
}

absl::Status TellAsWritten(std::span<const Message> prompt, Verdict& verdict) {
  TG_ASSIGN(const std::vector<ReadTwice> all, ReadTwiceIn(prompt));
  if (all.empty()) return absl::OkStatus();
  for (const auto& [written, read] : all) {
    const WhereWritten where(TextOf(prompt[written]));
    for (RuleOutcome& rule : verdict.rules) {
      for (Span& span : rule.spans) {
        if (span.message != read || span.begin >= span.end) continue;
        span.message = static_cast<std::uint32_t>(written);
        std::tie(span.begin, span.end) = where.Of(span.begin, span.end);
      }
    }
  }
  for (RuleOutcome& rule : verdict.rules) {
    const bool whole = rule.count == static_cast<std::int64_t>(rule.spans.size());
    const auto place = [](const Span& span) { return std::tuple(span.message, std::string_view(span.field), span.begin, span.end); };
    std::sort(rule.spans.begin(), rule.spans.end(), [&](const Span& a, const Span& b) { return place(a) < place(b); });
    rule.spans.erase(std::unique(rule.spans.begin(), rule.spans.end()), rule.spans.end());
    if (whole) rule.count = static_cast<std::int64_t>(rule.spans.size());
  }
  return absl::OkStatus();
}

}  // namespace tollgate::policy
