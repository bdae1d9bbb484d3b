// How it works. A family's layouts (chat_families.h) are filled turn by turn: the layout is searched for its control tokens and for the
// place of the text, the text is searched for nothing but markers that are text themselves. A template is taken for ChatML only if it is
// one of the forms in which published ChatML models write it, compared with white space and kinds of quotes set aside; the one thing that
// may differ is the system turn they put first where there is none. The other families are told by what their templates say. Anything else
// is refused rather than rendered nearly right.
//
// Tested by tests/inference/chat_format_test.cpp, tests/inference/chat_families_test.cpp.
#include "inference/chat_format.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/chat_families.h"
#include "inference/chat_tools.h"

namespace tollgate::inference {
namespace {

constexpr std::string_view kPlace = "{}";
constexpr std::string_view kBegin = "{bos}";
constexpr std::string_view kEnd = "{eos}";
constexpr std::string_view kThought = "</think>";

// Without white space outside of string literals, with ' for ", an escaped ' for one that stands between ", and an escaped \n for a line
// break inside of literals; `-` trims dropped.
std::string Normalise(std::string_view jinja) {
  std::string out;
  char quote = 0;
  bool code = false;
  for (std::size_t i = 0; i < jinja.size(); ++i) {
    const char c = jinja[i];
    const std::string_view two = jinja.substr(i, 2);
    if (quote != 0) {
      if (c == '\\' && i + 1 < jinja.size()) {
        out.append(jinja.substr(i++, 2));
      } else if (c == quote) {
        quote = 0;
        out.push_back('\'');
      } else if (c == '\n') {
        out.append("\\n");
      } else if (c == '\'') {
        out.append("\\'");
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

// How much of it stands before the quote that ends a literal, or all.
std::size_t LiteralEnd(std::string_view normal) {
  std::size_t end = 0;
  while (end < normal.size() && normal[end] != '\'') end += normal[end] == '\\' ? 2 : 1;
  return std::min(end, normal.size());
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
                                           {"<|start_header_id|>", "a variant of Llama 3"},
                                           {"<start_of_turn>", "a variant of Gemma"},
                                           {"[INST]", "a variant of Llama 2 or Mistral"},
                                           {"<\xEF\xBD\x9CUser\xEF\xBD\x9C>", "a variant of DeepSeek"},
                                           {"<|user|>", "a variant of Phi or Zephyr"},
                                           {"<|START_OF_TURN_TOKEN|>", "a variant of Command R"}}};
  for (const Mark& mark : kMarks) {
    if (jinja.find(mark.text) != std::string_view::npos) return mark.name;
  }
  return "not one we recognise";
}

void AddText(std::vector<ChatPart>& parts, std::string_view text) {
  if (text.empty()) return;
  if (parts.empty() || parts.back().control) parts.emplace_back();
  parts.back().text.append(text);
}

// Calls `text` with what stands between control tokens and `control` with each of those; the place of the turn's text is "{}".
template <typename Text, typename Control>
void Split(const ChatFamily& family, std::string_view layout, const Text& text, const Control& control) {
  const auto at = [&](std::string_view rest) {
    if (rest.starts_with(kBegin)) return kBegin;
    if (rest.starts_with(kEnd)) return kEnd;
    const auto here = [&](std::string_view name) { return !name.empty() && rest.starts_with(name); };
    if (const auto own = std::find_if(family.control.begin(), family.control.end(), here); own != family.control.end()) return *own;
    const auto tools = ToolControls(family.tools);
    const auto its = std::find_if(tools.begin(), tools.end(), here);
    return its == tools.end() ? std::string_view() : *its;
  };
  std::size_t from = 0;
  for (std::size_t i = 0; i < layout.size();) {
    const std::string_view rest = layout.substr(i);
    const std::string_view name = rest.starts_with(kPlace) ? kPlace : at(rest);
    if (name.empty()) {
      ++i;
      continue;
    }
    if (i > from) text(layout.substr(from, i - from));
    name == kPlace ? text(kPlace) : control(name);
    from = i += name.size();
  }
  if (from < layout.size()) text(layout.substr(from));
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kWhite = " \t\n\r\f\v";
  const std::size_t first = text.find_first_not_of(kWhite);
  return first == std::string_view::npos ? std::string_view() : text.substr(first, text.find_last_not_of(kWhite) - first + 1);
}

// With a space in each marker that is spelt.
std::string Harmless(const ChatFamily& family, std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto spelt = [&](std::string_view marker) { return !marker.empty() && text.substr(i).starts_with(marker); };
    const auto marker = std::find_if(family.plain.begin(), family.plain.end(), spelt);
    if (marker == family.plain.end()) {
      out.push_back(text[i++]);
      continue;
    }
    out.append(*marker, 0, marker->size() - 1).append(" ").push_back(marker->back());
    i += marker->size();
  }
  return out;
}

std::string Filled(std::string_view layout, std::string_view text) {
  std::string filled(layout);
  return filled.replace(filled.find(kPlace), kPlace.size(), text);
}

// The system turn that a template of ChatML's kind puts where there is none: between <|im_start|>system and <|im_end|> in one string.
std::string SystemIn(std::string_view normal) {
  constexpr std::string_view kBefore = "'<|im_start|>system\\n";
  for (std::size_t i = normal.find(kBefore); i != std::string_view::npos; i = normal.find(kBefore, i + 1)) {
    const std::string_view rest = normal.substr(i + kBefore.size());
    const std::string_view text = rest.substr(0, rest.find("<|im_end|>\\n'"));
    if (!text.empty() && text.size() < rest.size() && LiteralEnd(text) == text.size()) return Unescape(text);
  }
  return {};
}

// Mistral's: what a template calls its default system message, where that is one string. One that is made with today's date is left out.
std::string DefaultSystemIn(std::string_view normal) {
  constexpr std::string_view kBefore = "{%setdefault_system_message='";
  const std::size_t at = normal.find(kBefore);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = normal.substr(at + kBefore.size());
  const std::size_t end = LiteralEnd(rest);
  return rest.substr(end).starts_with("'%}") ? Unescape(rest.substr(0, end)) : "";
}

// The system turns as one, before all others.
std::vector<Turn> SystemFirst(std::span<const Turn> turns) {
  std::vector<Turn> out(1);
  out.front().role = "system";
  out.front().tools = turns.front().tools;
  bool first = true;
  for (const Turn& turn : turns) {
    if (turn.role != "system") {
      out.push_back(turn);
      continue;
    }
    out.front().text.append(std::exchange(first, false) ? "" : "\n\n").append(turn.text);
  }
  return out;
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

ChatFormat::ChatFormat(const ChatFamily& family)
    : family_(&family), tools_(family.tools), thinks_(family.thought == ChatFamily::Thought::kOpen), opens_thinking_(thinks_) {}

absl::StatusOr<ChatFormat> ChatFormat::FromTemplate(std::string_view jinja) {
  if (jinja.empty()) {
    return base::FailedPrecondition(
        fmt::format("the model file carries no chat template; use a file of an instruction-tuned model, or name its format with "
                    "chat_template: {}",
                    FamilyNames()));
  }
  if (jinja.size() > 65536)
    return base::FailedPrecondition(fmt::format("the model's chat template has {} bytes; at most 65536 are read", jinja.size()));
  const std::string normal = Normalise(jinja);
  const std::optional<std::string> system = ChatMlSystem(normal);
  const bool chatml = system && LiteralEnd(*system) == system->size() && system->find("<|") == std::string::npos;
  const ChatFamily* family = chatml ? FamilyByName("chatml") : FamilyOfTemplate(normal);
  if (family == nullptr) {
    return base::FailedPrecondition(fmt::format(
        "the model's chat template is {}, and is not rendered nearly right: use a model with a template that is known, or, if you "
        "know that one fits, name it with chat_template: {}",
        Guess(jinja), FamilyNames()));
  }
  ChatFormat format(*family);
  format.ReadTemplate(normal);
  return format;
}

absl::StatusOr<ChatFormat> ChatFormat::Choose(std::string_view name, std::string_view jinja) {
  auto own = FromTemplate(jinja);
  if (name.empty() || (own.ok() && own->name() == name)) return own;
  const ChatFamily* family = FamilyByName(name);
  if (family == nullptr) return base::InvalidArgument(fmt::format("chat_template is {}, which is none of {}", name, FamilyNames()));
  ChatFormat format(*family);
  format.begins_ = jinja.find("bos_token") != std::string_view::npos;
  return format;
}

void ChatFormat::ReadTemplate(std::string_view normal) {
  begins_ = normal.find("bos_token") != std::string_view::npos;
  if (family_->thought != ChatFamily::Thought::kAsTemplate) return;
  thinks_ = normal.find("</think>") != std::string_view::npos;
  drops_thinking_ = normal.find("split('</think>')") != std::string_view::npos;
  const std::size_t opening = normal.rfind("add_generation_prompt");
  opens_thinking_ = opening != std::string_view::npos && normal.find("<think>\\n'", opening) != std::string_view::npos;
  if (family_->control[0] == "<|im_start|>") system_ = SystemIn(normal);
  if (family_->name == "mistral-v11-tekken") system_ = DefaultSystemIn(normal);
}

std::string ChatFormat::name() const { return std::string(family_->name); }

std::vector<std::string> ChatFormat::controls() const {
  std::vector<std::string> names;
  const ChatFamily& f = *family_;
  for (const std::string_view layout :
       {f.system, f.first_system, f.later_system, f.user, f.later_user, f.assistant, f.later_assistant, f.tool, f.open}) {
    Split(
        f, layout, [](std::string_view) {},
        [&](std::string_view name) {
          if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
        });
  }
  for (const std::string_view name : f.control) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
  }
  return names;
}

std::string ChatFormat::turn_end() const {
  if (!family_->turn_end.empty()) return std::string(family_->turn_end);
  std::string end;
  Split(
      *family_, family_->assistant, [](std::string_view) {}, [&](std::string_view name) { end = name; });
  return end;
}

std::string ChatFormat::TextOf(const Turn& turn) const {
  std::string_view text = turn.text;
  const bool reply = turn.role == "assistant";
  if (const std::size_t thought = text.rfind(kThought); reply && drops_thinking_ && thought != std::string_view::npos) {
    text = Trimmed(text.substr(thought + kThought.size()));
  }
  // From V3.1 on: what comes before the first of them, and no more.
  if (const std::size_t thought = text.find(kThought);
      reply && family_->thought != ChatFamily::Thought::kAsTemplate && thought != std::string_view::npos) {
    text.remove_prefix(thought + kThought.size());
  }
  if (family_->trim == ChatFamily::Trim::kEverything || (reply && family_->trim == ChatFamily::Trim::kReplies)) text = Trimmed(text);
  return Harmless(*family_, text);
}

void ChatFormat::AddTurn(std::vector<ChatPart>& parts, std::string_view layout, std::string_view text) const {
  Split(
      *family_, layout, [&](std::string_view piece) { AddText(parts, piece == kPlace ? text : piece); },
      [&](std::string_view name) {
        parts.push_back({std::string(name), true});
      });
}

absl::StatusOr<std::vector<ChatPart>> ChatFormat::Lay(std::span<const Turn> turns) const {
  TG_RETURN_IF_ERROR(CheckTurns(turns));
  TG_RETURN_IF_ERROR(CheckTools(turns));
  const ChatFamily& f = *family_;
  if (f.systems_first && std::any_of(turns.begin() + 1, turns.end(), [](const Turn& turn) { return turn.role == "system"; }))
    return Lay(SystemFirst(turns));
  const std::vector<ToolDefinition>& tools = turns.front().tools;
  const auto last_user = static_cast<std::size_t>(
      turns.rend() - std::find_if(turns.rbegin(), turns.rend(), [](const Turn& turn) { return turn.role == "user"; }));
  std::vector<ChatPart> parts;
  std::string before;                                          // System turns that wait for the next user turn.
  bool told = tools.empty() || tools_ == ToolStyle::kMistral;  // Of the tools, where that is in a turn's text.
  const auto user = [&](std::string_view text) {
    if (tools_ == ToolStyle::kLlama && !std::exchange(told, true)) before += ToolsText(tools_, tools);
    AddTurn(parts, parts.empty() || f.later_user.empty() ? f.user : f.later_user, before + std::string(text));
    before.clear();
  };
  const bool tells_in_system = !told && tools_ != ToolStyle::kLlama;
  const auto system = [&](std::string_view text) {
    const bool tells = tells_in_system && !std::exchange(told, true);
    AddSystem(parts, text, tells ? std::span<const ToolDefinition>(tools) : std::span<const ToolDefinition>(), !tools.empty());
  };
  if (turns.front().role != "system" && (!system_.empty() || !f.first_system.empty() || tells_in_system)) {
    system(system_);
  }
  bool results = false;  // The turn before was a tool's.
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const Turn& turn = turns[i];
    const std::string text = TextOf(turn);
    if (turn.role == "system" && f.system_in_user) {
      before += Filled(f.system, text);
      continue;
    }
    if (turn.role == "user") {
      if (tools_ == ToolStyle::kMistral && i + 1 == last_user) AddTools(parts, tools);
      user(text);
    } else if (turn.role == "system") {
      system(text);
    } else {
      if (!before.empty()) user("");
      const bool later = !f.later_assistant.empty() && i > 0 && turns[i - 1].role == "assistant";
      if (turn.role == "tool" && !turn.call_id.empty()) {
        i += AddResults(parts, turns.subspan(i)) - 1;
      } else if (turn.role == "assistant" && (!turn.calls.empty() || results)) {
        AddCalls(parts, turn, results || later);
      } else {
        AddTurn(parts, turn.role == "tool" ? f.tool : later ? f.later_assistant : f.assistant, text);
      }
    }
    results = turn.role == "tool";
  }
  if (!before.empty()) user("");
  if (!results || tools_ != ToolStyle::kDeepSeek) AddTurn(parts, f.open, "");
  if (opens_thinking_ && f.thought == ChatFamily::Thought::kAsTemplate) AddText(parts, "<think>\n");
  return parts;
}

}  // namespace tollgate::inference
