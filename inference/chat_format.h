// ChatFormat: how a model's conversation is laid out. Gives pieces that are either text, tokenised as text whatever it says, or the name of
// one control token that the engine puts in by its id: so what a caller writes can never become a control token. Where the markers of a
// family are themselves text, a caller's text that spells one is changed by a space, so that nobody can end their turn and begin another's.
// Immutable, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/types.h"

namespace tollgate::inference {

struct ChatFamily;

struct ChatPart {
  std::string text;
  bool control = false;  // `text` is the name of a control token, or "{bos}" or "{eos}": the vocabulary's begin or end token.
};

class ChatFormat {
 public:
  // The format that a model's own template describes. FAILED_PRECONDITION for a template that is not known, with what it seems to be.
  static absl::StatusOr<ChatFormat> FromTemplate(std::string_view jinja);

  // The format of this name, whatever the template is; FromTemplate where the name is empty. What a template of the same family says beside
  // (a default system turn, thinking) holds. INVALID_ARGUMENT: no such name; the message lists them.
  static absl::StatusOr<ChatFormat> Choose(std::string_view name, std::string_view jinja);

  // Joins neighbouring text, so that it is tokenised as one, as the model was trained. INVALID_ARGUMENT: no turns, an unknown role, tools,
  // calls or a tool's turn where the format has no place for one, or text that is not UTF-8.
  absl::StatusOr<std::vector<ChatPart>> Lay(std::span<const Turn> turns) const;

  std::string name() const;                        // "chatml", "llama3", …
  std::vector<std::string> controls() const;       // Every control part that Lay may give; and what no caller may write.
  std::vector<std::string> tool_controls() const;  // Those that it gives beside where there are tools,
  std::vector<std::string> tool_marks() const;     // and those of them that the model writes itself.
  ToolStyle tools() const { return tools_; }
  void DropTools() { tools_ = ToolStyle::kNone; }                // For a vocabulary without those tokens.
  void Describe(ModelInfo& info) const;                          // Tools and thinking.
  std::string turn_end() const;                                  // The one that ends the assistant's turn.
  bool begins() const { return begins_; }                        // The template puts the begin token first, whatever the vocabulary says.
  const std::string& default_system() const { return system_; }  // Put first where the caller gives no system turn; empty: none.

 private:
  explicit ChatFormat(const ChatFamily& family);

  void ReadTemplate(std::string_view normal);
  void AddTurn(std::vector<ChatPart>& parts, std::string_view layout, std::string_view text) const;
  std::string TextOf(const Turn& turn) const;
  absl::Status CheckTools(std::span<const Turn> turns) const;
  // `told`: what it tells of. `tools`: there are some, whoever tells of them.
  void AddSystem(std::vector<ChatPart>& parts, std::string_view text, std::span<const ToolDefinition> told, bool tools) const;
  void AddTools(std::vector<ChatPart>& parts, std::span<const ToolDefinition> tools) const;  // In a place of their own.
  void AddCalls(std::vector<ChatPart>& parts, const Turn& turn, bool follows_results) const;
  std::size_t AddResults(std::vector<ChatPart>& parts, std::span<const Turn> turns) const;  // As many as stand first; how many.

  const ChatFamily* family_;
  ToolStyle tools_ = ToolStyle::kNone;
  bool thinks_ = false;
  std::string system_;
  bool begins_ = false;
  bool opens_thinking_ = false;  // The assistant's turn is opened within <think>.
  bool drops_thinking_ = false;  // Replies of earlier turns go without it.
};

// Roles and text of turns, checked as every engine's Render does.
absl::Status CheckTurns(std::span<const Turn> turns);

}  // namespace tollgate::inference
