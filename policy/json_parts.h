// JSON as policy reads it: with the escapes of its strings decoded, so that no value hides behind a \u. So the arguments of a tool's call
// are judged, everywhere: of a prompt, of a reply, in tests of rules and in explain. Pure; thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/stream_filter.h"
#include "policy/verdict.h"

namespace tollgate::policy {

// Cut where strings begin and end: what stands between strings (their quotes included), and what is in them, in turn; the first is the
// former. Joined, it is what a reader of the JSON sees. Nothing for what is no JSON, or nested deeper than 64.
std::optional<std::vector<std::string>> CutJson(std::string_view json);

// What a reader of the JSON sees; what is no JSON as it is.
std::string JsonDecoded(std::string_view json);

// The other way: JSON whose strings escape only what JSON demands.
std::string JoinJson(std::span<const std::string> parts);

// The parts of JSON, or of what is none the whole, behind what `parts` has.
void AddJson(std::string_view json, std::vector<std::string>& parts);
// What became of `original`, which AddJson put behind `before` other parts: JSON again, where its parts are still as many.
std::string JsonOf(std::span<const std::string> parts, std::size_t before, std::string_view original);

// Of a tool's result that is JSON with escapes: its parts, once more. A prompt has them as a message of its own, aside, of the role and the
// channel of the result, behind the conversation, in the order of the results: they are judged as well as what is written, and what
// Inspect takes out of either is in neither. Nothing for any other message.
std::optional<std::vector<std::string>> SecondReading(const Message& message);

// Whether texts of it that are JSON are judged with their escapes decoded: a call's arguments, and of a prompt what defines a tool.
bool IsDecoded(Part part, bool output);

// One text as a request lays it before Inspect: of a call or a definition its JSON cut, and beside the conversation; what a tool says as
// its result, with its second reading behind it.
std::vector<Message> PromptOf(Role role, Channel channel, std::string_view text);
// What became of the text, in Inspection::prompt's place for it.
std::string TextUsed(const Message& used, std::string_view text);

// For people: spans of second readings are told where they are written, of the result itself, and what was found in both once. Counts
// follow, where a verdict has all of a rule's spans. INTERNAL: what is aside and a tool's is no second reading of what is before it.
absl::Status TellAsWritten(std::span<const Message> prompt, Verdict& verdict);

// JSON through a filter: what may leave, its strings written as JoinJson does. A replacement of what was no string is one; where an edit
// reached beyond a string, it is no JSON any more. REQUIRES: `filter` is new. Afterwards it was pushed all of `json`, decoded, and is
// finished; if it is blocked, nothing should leave. Text that is no JSON goes through as it is. Errors as StreamFilter::Push.
absl::StatusOr<std::string> FilterJson(std::string_view json, StreamFilter& filter);

}  // namespace tollgate::policy
