// How it works. ChatML is <|im_start|>ROLE\nTEXT<|im_end|>\n for each turn, then <|im_start|>assistant\n. A template is taken for ChatML
// only if it is one of the forms in which published ChatML models write it, compared with white space and kinds of quotes set aside; the
// one thing that may differ is the system turn they put first where there is none. Anything else is refused rather than rendered nearly
// right.
//
// Tested by tests/inference/chat_format_test.cpp.
#include "inference/chat_format.h"

#include <array>
#include <optional>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::inference {
namespace {

constexpr std::string_view kStart = "<|im_start|>";
constexpr std::string_view kEnd = "<|im_end|>";

// Without white space outside of string literals, with ' for " and an escaped \n for a line break inside them; `-` trims dropped.
std::string Normalise(std::string_view jinja) {
  std::string out;
  char quote = 0;
  bool code = false;
  for (std::size_t i = 0; i < jinja.size(); ++i) {
    const char c = jinja[i];
    const std::string_view two = jinja.substr(i, 2);
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
        out.push_back('\'');
      } else if (c == '\n') {
        out.append("\\n");
      } else {
        out.push_back(c);
      }
      continue;
    }
    if (code && (c == '\'' || c == '"')) {
      quote = c;
      out.push_back('\'');
      continue;
    }
    if (two == "{%" || two == "{{") code = true;
    if (two == "%}" || two == "}}") code = false;
    const bool trim = c == '-' && ((i >= 2 && (jinja.substr(i - 2, 2) == "{%" || jinja.substr(i - 2, 2) == "{{")) ||
                                   jinja.substr(i + 1, 2) == "%}" || jinja.substr(i + 1, 2) == "}}");
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || trim) continue;
    out.push_back(c);
  }
  return out;
}

// If `text` is `before` + X + `after`, X.
std::optional<std::string> Between(std::string_view text, std::string_view before, std::string_view after) {
  if (text.size() < before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after)) return std::nullopt;
  return std::string(text.substr(before.size(), text.size() - before.size() - after.size()));
}

// The forms, normalised.
constexpr std::string_view kTail =
    "{{'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>'+'\\n'}}{%endfor%}{%ifadd_generation_prompt%}{{'<|im_start|>"
    "assistant\\n'}}{%endif%}";
constexpr std::string_view kSystemIfNotFirst =
    "{%formessageinmessages%}{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system\\n";

std::optional<std::string> ChatMlSystem(const std::string& normal) {
  if (normal == fmt::format("{{%formessageinmessages%}}{}", kTail)) return "";
  if (normal ==
      fmt::format("{{%ifnotadd_generation_promptisdefined%}}{{%setadd_generation_prompt=false%}}{{%endif%}}{{%formessageinmessages%}}{}",
                  kTail))
    return "";
  return Between(normal, kSystemIfNotFirst, fmt::format("<|im_end|>\\n'}}}}{{%endif%}}{}", kTail));
}

// Undoes \n, \t, \\ and \' of a Jinja string.
std::string Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out.push_back(text[i]);
      continue;
    }
    const char c = text[++i];
    out.push_back(c == 'n' ? '\n' : c == 't' ? '\t' : c);
  }
  return out;
}

// What a template that is not known looks like, for the refusal.
std::string_view Guess(std::string_view jinja) {
  struct Mark {
    std::string_view text;
    std::string_view name;
  };
  constexpr std::array<Mark, 7> kMarks = {{{"<|im_start|>", "a variant of ChatML"},
                                           {"<|start_header_id|>", "Llama 3"},
                                           {"<start_of_turn>", "Gemma"},
                                           {"[INST]", "Llama 2 or Mistral"},
                                           {"<\xEF\xBD\x9CUser\xEF\xBD\x9C>", "DeepSeek"},
                                           {"<|user|>", "Phi or Zephyr"},
                                           {"<|START_OF_TURN_TOKEN|>", "Command R"}}};
  for (const Mark& mark : kMarks) {
    if (jinja.find(mark.text) != std::string_view::npos) return mark.name;
  }
  return "not one we recognise";
}

void AddText(std::vector<ChatPart>& parts, std::string_view text) {
  if (parts.empty() || parts.back().control) parts.emplace_back();
  parts.back().text.append(text);
}

void AddTurn(std::vector<ChatPart>& parts, std::string_view role, std::string_view text) {
  parts.push_back({std::string(kStart), true});
  AddText(parts, role);
  AddText(parts, "\n");
  AddText(parts, text);
  parts.push_back({std::string(kEnd), true});
  AddText(parts, "\n");
}

}  // namespace

absl::Status CheckTurns(std::span<const Turn> turns) {
  if (turns.empty()) return base::InvalidArgument("the conversation has no messages");
  for (const Turn& turn : turns) {
    if (turn.role != "system" && turn.role != "user" && turn.role != "assistant" && turn.role != "tool") {
      return base::InvalidArgument("a message's role must be system, user, assistant or tool");
    }
    if (!base::IsValidUtf8(turn.text) || !base::IsValidUtf8(turn.name)) return base::InvalidArgument("a message's text is not UTF-8");
  }
  return absl::OkStatus();
}

absl::StatusOr<ChatFormat> ChatFormat::FromTemplate(std::string_view jinja) {
  if (jinja.empty()) return base::FailedPrecondition("the model file carries no chat template; use a file of an instruction-tuned model");
  if (jinja.size() > 65536)
    return base::FailedPrecondition(fmt::format("the model's chat template has {} bytes; at most 65536 are read", jinja.size()));
  const std::optional<std::string> system = ChatMlSystem(Normalise(jinja));
  if (!system || system->find("'") != std::string::npos || system->find("<|") != std::string::npos) {
    return base::FailedPrecondition(
        fmt::format("the model's chat template is {}; only plain ChatML is rendered by this version: use a model whose template is ChatML",
                    Guess(jinja)));
  }
  ChatFormat format;
  format.name_ = "chatml";
  format.default_system_ = Unescape(*system);
  return format;
}

std::vector<std::string> ChatFormat::controls() const { return {std::string(kStart), std::string(kEnd)}; }

absl::StatusOr<std::vector<ChatPart>> ChatFormat::Lay(std::span<const Turn> turns) const {
  TG_RETURN_IF_ERROR(CheckTurns(turns));
  std::vector<ChatPart> parts;
  if (!default_system_.empty() && turns.front().role != "system") AddTurn(parts, "system", default_system_);
  for (const Turn& turn : turns) AddTurn(parts, turn.role, turn.text);
  parts.push_back({std::string(kStart), true});
  AddText(parts, "assistant\n");
  return parts;
}

}  // namespace tollgate::inference
