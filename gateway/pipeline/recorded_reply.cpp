// A raw span says where it begins in what was written, and how many bytes stand for it in what left: so both are walked together, and what
// lies between two spans is the same in both. Behind what left stands what did not: from a block's first byte on, or the undelivered tail.
//
// Tested by tests/gateway/pipeline/recorded_reply_test.cpp.
#include "gateway/pipeline/recorded_reply.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "policy/json_parts.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {

using Spans = std::vector<const v1::RawSpan*>;

constexpr std::string_view kCall = "tool_calls[";

// What the records have of one reply.
struct Parts {
  std::string text, thought;
  std::vector<const v1::ToolCall*> calls;
  std::map<std::string, Spans> raw;   // What rules did, by channel.
  std::map<std::string, Spans> kept;  // What no rule did: tails, calls that were left out.
};

std::map<int, Parts> PartsOf(std::span<const v1::SealedContent* const> contents) {
  std::map<int, Parts> out;
  out[0];
  for (const v1::SealedContent* content : contents) {
    out[0].text += content->text();
    for (const v1::ReleasedPart& part : content->parts()) {
      Parts& its = out[part.choice()];
      its.text += part.text();
      its.thought += part.reasoning();
      for (const v1::ToolCall& call : part.tool_calls()) its.calls.push_back(&call);
    }
    for (const v1::RawSpan& span : content->raw()) {
      Parts& its = out[span.choice()];
      (span.rule_id().empty() ? its.kept : its.raw)[span.channel()].push_back(&span);
    }
  }
  return out;
}

std::int64_t EndOf(const v1::RawSpan& span) { return span.offset() + static_cast<std::int64_t>(span.text().size()); }

std::int64_t SizeOf(std::string_view text) { return static_cast<std::int64_t>(text.size()); }

const Spans& Of(const std::map<std::string, Spans>& spans, const std::string& channel) {
  static const Spans kNone;
  const auto found = spans.find(channel);
  return found == spans.end() ? kNone : found->second;
}

// What was written, up to where `left` and the spans say it. `known` false: up to a span of which it is not said what stands for it.
std::string Undone(std::string_view left, const Spans& spans, bool& known) {
  std::string out;
  for (const v1::RawSpan* span : spans) {
    if (span->offset() < SizeOf(out)) out.resize(static_cast<std::size_t>(std::max<std::int64_t>(span->offset(), 0)));
    const std::int64_t between = span->offset() - SizeOf(out);
    if (between > SizeOf(left)) break;  // Decided, and not out.
    out += left.substr(0, static_cast<std::size_t>(between));
    left.remove_prefix(static_cast<std::size_t>(between));
    out += span->text();
    known = span->has_became_bytes() || left.empty();
    if (!known) return out;
    left.remove_prefix(static_cast<std::size_t>(std::clamp<std::int64_t>(span->became_bytes(), 0, SizeOf(left))));
  }
  return out.append(left);
}

// Arguments, decoded. What stands for something outside of a string is a string of its own there.
std::optional<std::string> UndoneArguments(const std::string& arguments, const Spans& spans) {
  const auto parts = policy::CutJson(arguments);
  if (!parts) return std::nullopt;
  std::string left, strings, out;  // Of each byte whether it is in a string.
  for (std::size_t i = 0; i < parts->size(); ++i) {
    left += (*parts)[i];
    strings.append((*parts)[i].size(), static_cast<char>(i % 2));
  }
  std::size_t at = 0;
  const auto quote = [&](std::size_t i) { return i < left.size() && left[i] == '"' && strings[i] == 0; };
  for (const v1::RawSpan* span : spans) {
    const std::int64_t between = span->offset() - SizeOf(out);
    if (between < 0 || !span->has_became_bytes() || span->became_bytes() < 0) return std::nullopt;
    const auto became = static_cast<std::size_t>(span->became_bytes()), same = static_cast<std::size_t>(between);
    if (same > left.size() - at) return std::nullopt;
    out.append(left, at, same).append(span->text());
    at += same;
    at += became + (quote(at) && quote(at + became + 1) ? 2 : 0);
    if (at > left.size()) return std::nullopt;
  }
  return out.append(left, at);
}

class Rebuilding {
 public:
  Rebuilding(const v1::EndBody& end, RecordedReply& out) : end_(end), out_(out) {
    const auto& unseen = end.output_verdict().not_scanned();
    behind_ = std::find(unseen.begin(), unseen.end(), "undelivered_tail") != unseen.end();
  }

  void Add(int index, const Parts& parts) {
    RecordedChoice& choice = out_.choices.emplace_back();
    choice.index = index;
    choice.end = EndOfChoice(index);
    bool known = true;
    AddText({policy::Part::kReasoning}, "reasoning", Undone(parts.thought, Of(parts.raw, "reasoning"), known), choice);
    bool text_known = true;
    std::string text = Undone(parts.text, Of(parts.raw, ""), text_known);
    if (text_known) AddTail(parts, choice.end, text);
    AddText({policy::Part::kText}, "text", std::move(text), choice);
    if (!known || !text_known) out_.gaps.insert("not_undone");
    AddCalls(parts, choice);
    const bool wrote = !choice.texts.empty() || !parts.kept.empty();
    if (choice.end == RecordedChoice::End::kBlocked) out_.gaps.insert("blocked");
    if (choice.end == RecordedChoice::End::kBrokenOff && wrote) out_.gaps.insert("broken_off");
    if (choice.end != RecordedChoice::End::kWhole && !Of(parts.kept, "raw").empty()) out_.gaps.insert("undivided_tail");
    if (!Of(parts.raw, "retried").empty()) out_.gaps.insert("retried");
  }

 private:
  RecordedChoice::End EndOfChoice(int index) const {
    const bool told = index < end_.choices_size();
    switch (told ? end_.choices(index).finish_reason() : end_.finish_reason()) {
      case v1::FINISH_REASON_STOP:
      case v1::FINISH_REASON_LENGTH:
      case v1::FINISH_REASON_TOOL_CALLS: return RecordedChoice::End::kWhole;
      case v1::FINISH_REASON_CONTENT_FILTER: return RecordedChoice::End::kBlocked;
      default: return RecordedChoice::End::kBrokenOff;
    }
  }

  static void AddText(policy::Channel channel, std::string_view field, std::string text, RecordedChoice& choice, bool decoded = false) {
    if (!text.empty()) choice.texts.push_back({std::move(channel), field, std::move(text), decoded});
  }

  // What was not delivered of a reply that is text alone. What was decoded when a reply was over already is no part of it.
  void AddTail(const Parts& parts, RecordedChoice::End end, std::string& text) const {
    for (const v1::RawSpan* tail : Of(parts.kept, "")) {
      if (tail->offset() < 0 || tail->offset() > SizeOf(text) || EndOf(*tail) <= SizeOf(text)) continue;
      std::int64_t to = EndOf(*tail);
      if (behind_ && end == RecordedChoice::End::kWhole) {
        to = SizeOf(text);
        for (const v1::RawSpan* span : Of(parts.raw, "")) to = std::max(to, std::min(EndOf(*span), EndOf(*tail)));
      }
      text.resize(static_cast<std::size_t>(tail->offset()));
      text.append(tail->text(), 0, static_cast<std::size_t>(to - tail->offset()));
    }
  }

  void AddCalls(const Parts& parts, RecordedChoice& choice) {
    int next = 0;
    for (const v1::ToolCall* call : parts.calls) {
      const Spans& spans = Of(parts.raw, fmt::format("{}{}]", kCall, next++));
      const policy::Channel channel{policy::Part::kToolCall, call->name()};
      auto decoded = spans.empty() ? std::nullopt : UndoneArguments(call->arguments(), spans);
      if (!spans.empty() && !decoded) out_.gaps.insert("not_undone");
      if (decoded) AddText(channel, "tool_calls", *std::move(decoded), choice, /*decoded=*/true);
      if (spans.empty()) AddText(channel, "tool_calls", call->arguments(), choice);
    }
    // A call that a rule blocked is kept whole: its name, then its arguments, an object. One that was left out since only one was wanted
    // is judged by nobody. Of one that had not left, as one that waits for others, no arguments as written are kept.
    for (const auto& [name, spans] : parts.raw) {
      if (!name.starts_with(kCall) || IndexOf(name) < next) continue;
      const Spans& kept = Of(parts.kept, name);
      const std::size_t arguments = kept.empty() ? std::string::npos : kept.front()->text().find('{');
      if (arguments == std::string::npos) {
        out_.gaps.insert("held_call");
        continue;
      }
      const std::string& whole = kept.front()->text();
      AddText({policy::Part::kToolCall, whole.substr(0, arguments)}, "tool_calls", whole.substr(arguments), choice);
    }
  }

  static int IndexOf(const std::string& channel) { return std::atoi(channel.c_str() + kCall.size()); }

  const v1::EndBody& end_;
  RecordedReply& out_;
  bool behind_ = false;
};

}  // namespace

RecordedReply RecordedReplyOf(const v1::EndBody& end, std::span<const v1::SealedContent* const> contents) {
  RecordedReply out;
  std::map<int, Parts> all = PartsOf(contents);
  for (int index = 0; index < end.choices_size(); ++index) all.try_emplace(index);  // Of some nothing may have been written.
  Rebuilding rebuilding(end, out);
  for (const auto& [index, parts] : all) rebuilding.Add(index, parts);
  return out;
}

}  // namespace tollgate::pipeline
