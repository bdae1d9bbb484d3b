// ChatFormat: how a model's conversation is laid out. Gives pieces that are either text, tokenised as text whatever it says, or the name of
// one control token that the engine puts in by its id: so what a caller writes can never become a control token. Immutable, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/types.h"

namespace tollgate::inference {

struct ChatPart {
  std::string text;
  bool control = false;  // `text` is the name of a control token.
};

class ChatFormat {
 public:
  // The format that a model's own template describes. FAILED_PRECONDITION for a template that is not known, with what it seems to be.
  static absl::StatusOr<ChatFormat> FromTemplate(std::string_view jinja);

  // Joins neighbouring text, so that it is tokenised as one, as the model was trained. INVALID_ARGUMENT: no turns, an unknown role, or text
  // that is not UTF-8.
  absl::StatusOr<std::vector<ChatPart>> Lay(std::span<const Turn> turns) const;

  const std::string& name() const { return name_; }  // "chatml".
  std::vector<std::string> controls() const;         // The control tokens it needs.
  const std::string& default_system() const { return default_system_; }

 private:
  ChatFormat() = default;

  std::string name_;
  std::string default_system_;  // Put first where the caller gives no system turn; empty: none.
};

// Roles and text of turns, checked as every engine's Render does.
absl::Status CheckTurns(std::span<const Turn> turns);

}  // namespace tollgate::inference
