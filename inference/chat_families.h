// ChatFamily: how one family of models lays out a conversation, as a row of a table. Constants; any thread.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "inference/types.h"

namespace tollgate::inference {

// A layout is the text of a turn with {} where the turn's own text goes, {bos} and {eos} where the vocabulary's begin and end tokens go,
// and the family's control tokens by their names. Only layouts are searched for those: what callers write never is.
struct ChatFamily {
  using Names = std::array<std::string_view, 6>;  // Empty ones do not count.
  enum class Trim { kNothing, kEverything, kReplies };
  enum class Thought { kAsTemplate, kClosed, kOpen };

  std::string_view name;
  Names has{};      // A template of the family says each of these,
  Names lacks{};    // and none of these.
  Names control{};  // Tokens that the layouts name.
  // Markers that are plain text to the tokenizer. A turn that spells one gets a space before its last character: it cannot pass for the end
  // of the turn or for another's beginning.
  Names plain{};
  std::string_view system{};
  bool system_in_user = false;      // No turn of its own: `system` stands before the text of the next user turn.
  std::string_view first_system{};  // Layout of a system turn that comes first; then there always is one. Else `system`.
  std::string_view later_system{};  // Layout of one that follows another turn; else `system`.
  std::string_view user{};
  std::string_view later_user{};  // Of a user turn that follows another turn; else `user`.
  std::string_view assistant{};
  std::string_view later_assistant{};  // Of one that follows another of its own; else `assistant`.
  std::string_view tool{};             // Of a tool's turn that answers no call; empty: those are refused.
  std::string_view open{};             // Begins the assistant's turn.
  std::string_view turn_end{};         // What the model ends it with, where that is not what ends `assistant`.
  Trim trim = Trim::kNothing;          // White space at both ends of turns.
  ToolStyle tools = ToolStyle::kNone;
  // Whether the model thinks before it answers: what the template says; not, for `open` ends behind a thought; or within one that it ends.
  Thought thought = Thought::kAsTemplate;
  bool systems_first = false;  // System turns stand together before all others, a blank line between two.
  bool bare_calls = false;     // Of DeepSeek's tools: calls and results without words of their own around them.
};

// In the order in which they are tried.
std::span<const ChatFamily> ChatFamilies();

// The family that a template is of, or null. `normal`: without white space outside of strings, ' for ", \n for a line break in a string.
const ChatFamily* FamilyOfTemplate(std::string_view normal);
const ChatFamily* FamilyByName(std::string_view name);

std::string FamilyNames();  // "chatml, qwen, …"

}  // namespace tollgate::inference
