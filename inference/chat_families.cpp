// How it works. One row a family. A template is told by what it says: the markers of its family, and where versions of a family differ, the
// words in which the published templates differ. Rows that ask for more stand before rows that ask for less. ChatML is told apart in
// chat_format.cpp, by its whole text, because everybody varies it; its row says only how it is laid out.
//
// Layouts follow the templates that the models publish. Where a template puts today's date before a conversation, a fixed one stands here
// or none, so that a prompt is the same tomorrow; where it refuses system turns, they are put before the next user turn.
//
// Tested by tests/inference/chat_families_test.cpp.
#include "inference/chat_families.h"

#include <algorithm>

namespace tollgate::inference {
namespace {

using Thought = ChatFamily::Thought;
using Trim = ChatFamily::Trim;

// DeepSeek's templates from V3.1 on say these.
constexpr std::string_view kDeepSeekUser = "{{'<｜User｜>'+message['content']}}";
constexpr std::string_view kDeepSeekChoice = "{{'<｜Assistant｜>'}}{%ifnotthinking%}{{'</think>'}}{%else%}{{'<think>'}}{%endif%}";
constexpr std::string_view kDeepSeekCall = "tool['function']['name']+'<｜tool▁sep｜>'+tool['function']['arguments']+'<｜tool▁call▁end｜>'";

constexpr ChatFamily kFamilies[] = {
    {.name = "chatml",
     .control = {"<|im_start|>", "<|im_end|>"},
     .system = "<|im_start|>system\n{}<|im_end|>\n",
     .user = "<|im_start|>user\n{}<|im_end|>\n",
     .assistant = "<|im_start|>assistant\n{}<|im_end|>\n",
     .tool = "<|im_start|>tool\n{}<|im_end|>\n",
     .open = "<|im_start|>assistant\n",
     .tools = ToolStyle::kHermes},
    // Qwen 2.5, QwQ, Qwen 3: ChatML with tools, whose system turn and opening chat_format.cpp reads from the template. Templates that say
    // <function= have calls that are no JSON.
    {.name = "qwen",
     .has = {"<|im_start|>", "<|im_end|>", "<tool_call>", "<tool_response>"},
     .lacks = {"<|im_sep|>", "<|vision_start|>", "<function="},
     .control = {"<|im_start|>", "<|im_end|>"},
     .system = "<|im_start|>system\n{}<|im_end|>\n",
     .user = "<|im_start|>user\n{}<|im_end|>\n",
     .assistant = "<|im_start|>assistant\n{}<|im_end|>\n",
     .open = "<|im_start|>assistant\n",
     .tools = ToolStyle::kHermes},
    // Conversations are ChatML's; its tools are listed and called in a markup of its own, which is neither written nor read here.
    {.name = "qwen3-coder",
     .has = {"<function=", "<tool_response>", "{{'<|im_start|>system\\n'+system_message}}",
             "{{'<|im_start|>'+message.role+'\\n'+message.content+'<|im_end|>'+'\\n'}}",
             "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\\n'}}{%endif%}"},
     .lacks = {"<|im_sep|>", "<|vision_start|>", "<think>", "bos_token"},
     .control = {"<|im_start|>", "<|im_end|>"},
     .system = "<|im_start|>system\n{}<|im_end|>\n",
     .user = "<|im_start|>user\n{}<|im_end|>\n",
     .assistant = "<|im_start|>assistant\n{}<|im_end|>\n",
     .open = "<|im_start|>assistant\n"},
    {.name = "phi4",
     .has = {"<|im_start|>", "<|im_sep|>", "<|im_end|>"},
     .lacks = {"You are Phi"},
     .control = {"<|im_start|>", "<|im_sep|>", "<|im_end|>"},
     .system = "<|im_start|>system<|im_sep|>{}<|im_end|>",
     .user = "<|im_start|>user<|im_sep|>{}<|im_end|>",
     .assistant = "<|im_start|>assistant<|im_sep|>{}<|im_end|>",
     .open = "<|im_start|>assistant<|im_sep|>"},
    {.name = "phi4-mini",
     .has = {"'<|'+message['role']+'|>'+message['content']+'<|end|>'"},
     .lacks = {"You are Phi"},
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
     .system = "<|system|>{}<|end|>",
     .user = "<|user|>{}<|end|>",
     .assistant = "<|assistant|>{}<|end|>",
     .open = "<|assistant|>"},
    {.name = "phi3",
     .has = {"<|assistant|>", "<|end|>"},
     .lacks = {"<|tool|>", "'|>'+message['content']", "'<|user|>'+message['content']"},
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
     .system = "<|system|>\n{}<|end|>\n",
     .user = "<|user|>\n{}<|end|>\n",
     .assistant = "<|assistant|>\n{}<|end|>\n",
     .open = "<|assistant|>\n"},
    // From 3.1 on, with the date of which the published template speaks where it is told none.
    {.name = "llama3.1",
     .has = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "Cutting Knowledge Date: December 2023", "26 Jul 2024"},
     .control = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     .system = "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
     .first_system = "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
                     "{}<|eot_id|>",
     .user = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
     .assistant = "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
     .open = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .trim = Trim::kEverything,
     .tools = ToolStyle::kLlama},
    {.name = "llama3",
     .has = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     .lacks = {"Cutting Knowledge Date"},
     .control = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     .system = "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
     .user = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
     .assistant = "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
     .open = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .trim = Trim::kEverything},
    {.name = "gemma",
     .has = {"<start_of_turn>", "<end_of_turn>"},
     .control = {"<start_of_turn>", "<end_of_turn>"},
     .system = "{}\n\n",
     .system_in_user = true,
     .user = "<start_of_turn>user\n{}<end_of_turn>\n",
     .assistant = "<start_of_turn>model\n{}<end_of_turn>\n",
     .open = "<start_of_turn>model\n",
     .trim = Trim::kEverything},
    // Mistral: a space moved in each version of its tokenizer.
    {.name = "mistral-v7",
     .has = {"[INST] ", "[SYSTEM_PROMPT] "},
     .control = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     .system = "[SYSTEM_PROMPT] {}[/SYSTEM_PROMPT]",
     .user = "[INST] {}[/INST]",
     .assistant = " {}{eos}",
     .tools = ToolStyle::kMistral},
    {.name = "mistral-v7-tekken",
     .has = {"[INST]", "[SYSTEM_PROMPT]"},
     .lacks = {"[SYSTEM_PROMPT] ", "[THINK]", "[ARGS]"},
     .control = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     .system = "[SYSTEM_PROMPT]{}[/SYSTEM_PROMPT]",
     .user = "[INST]{}[/INST]",
     .assistant = "{}{eos}",
     .tools = ToolStyle::kMistral},
    // Laid out alike, but for tools: a call's name and arguments stand around [ARGS], which is neither written nor read here.
    {.name = "mistral-v11-tekken",
     .has = {"[INST]", "[SYSTEM_PROMPT]", "[ARGS]"},
     .lacks = {"[SYSTEM_PROMPT] ", "[INST] ", "[THINK]", "[MODEL_SETTINGS]"},
     .control = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     .system = "[SYSTEM_PROMPT]{}[/SYSTEM_PROMPT]",
     .user = "[INST]{}[/INST]",
     .assistant = "{}{eos}"},
    {.name = "mistral-v1",
     .has = {" [INST] "},
     .lacks = {"<<SYS>>", "[AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]"},
     .plain = {"[INST]", "[/INST]"},
     .system = "{}\n\n",
     .system_in_user = true,
     .user = " [INST] {} [/INST]",
     .assistant = " {}{eos}"},
    {.name = "mistral-v3-tekken",
     .has = {"'[INST]'", "[AVAILABLE_TOOLS]"},
     .lacks = {" [INST]", "[SYSTEM_PROMPT]"},
     .control = {"[INST]", "[/INST]"},
     .system = "{}\n\n",
     .system_in_user = true,
     .user = "[INST]{}[/INST]",
     .assistant = "{}{eos}",
     .tools = ToolStyle::kMistral},
    {.name = "mistral-v3",
     .has = {"[INST] ", "[AVAILABLE_TOOLS]"},
     .lacks = {" [INST]", "[SYSTEM_PROMPT]"},
     .control = {"[INST]", "[/INST]"},
     .system = "{}\n\n",
     .system_in_user = true,
     .user = "[INST] {}[/INST]",
     .assistant = " {}{eos}",
     .trim = Trim::kReplies,
     .tools = ToolStyle::kMistral},
    {.name = "llama2",
     .has = {"bos_token+'[INST] '+content.strip()+' [/INST]'", "' '+content.strip()+' '+eos_token", "<<SYS>>", "<</SYS>>"},
     .lacks = {"true==true"},
     .plain = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"},
     .system = "<<SYS>>\n{}\n<</SYS>>\n\n",
     .system_in_user = true,
     .user = "[INST] {} [/INST]",
     .later_user = "{bos}[INST] {} [/INST]",
     .assistant = " {} {eos}",
     .trim = Trim::kEverything},
    // Mistral 7B 0.1 and 0.2, as first published.
    {.name = "mistral-v0",
     .has = {"'[INST] '+message['content']+' [/INST]'", "{{message['content']+eos_token}}"},
     .lacks = {"<<SYS>>", "[AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]"},
     .plain = {"[INST]", "[/INST]"},
     .system = "{}\n",
     .system_in_user = true,
     .user = "[INST] {} [/INST]",
     .assistant = "{}{eos}"},
    // From V3.1 on a template chooses between thinking and not: by what it sets where nobody says. In the former there are no tools.
    {.name = "deepseek3.1-thinking",
     .has = {kDeepSeekUser, kDeepSeekChoice, kDeepSeekCall, "{%setthinking=true%}"},
     .control = {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>"},
     .system = "{}",
     .user = "<｜User｜>{}",
     .assistant = "<｜Assistant｜></think>{}<｜end▁of▁sentence｜>",
     .later_assistant = "{}<｜end▁of▁sentence｜>",
     .open = "<｜Assistant｜><think>",
     .thought = Thought::kOpen,
     .systems_first = true},
    {.name = "deepseek3.1",
     .has = {kDeepSeekUser, kDeepSeekChoice, kDeepSeekCall, "{%setthinking=false%}"},
     .control = {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>"},
     .system = "{}",
     .user = "<｜User｜>{}",
     .assistant = "<｜Assistant｜></think>{}<｜end▁of▁sentence｜>",
     .later_assistant = "{}<｜end▁of▁sentence｜>",
     .open = "<｜Assistant｜></think>",
     .tools = ToolStyle::kDeepSeek,
     .thought = Thought::kClosed,
     .systems_first = true,
     .bare_calls = true},
    // V2.5, V3, R1 (0528 too) and its distillates.
    {.name = "deepseek3",
     .has = {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
     .lacks = {"thinking"},
     .control = {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
     .system = "{}",
     .later_system = "\n\n{}",
     .user = "<｜User｜>{}",
     .assistant = "<｜Assistant｜>{}<｜end▁of▁sentence｜>",
     .open = "<｜Assistant｜>",
     .tools = ToolStyle::kDeepSeek},
    {.name = "deepseek2",
     .has = {"'User: '+message['content']+'\\n\\n'", "'Assistant: '+message['content']+eos_token"},
     .plain = {"User:", "Assistant:"},
     .system = "{}\n\n",
     .user = "User: {}\n\n",
     .assistant = "Assistant: {}{eos}",
     .open = "Assistant:"},
    {.name = "command-r",
     .has = {"<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"},
     .lacks = {"<|START_RESPONSE|>", "true==true"},
     .control = {"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"},
     .system = "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{}<|END_OF_TURN_TOKEN|>",
     .user = "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{}<|END_OF_TURN_TOKEN|>",
     .assistant = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{}<|END_OF_TURN_TOKEN|>",
     .open = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
     .trim = Trim::kEverything},
    {.name = "granite",
     .has = {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
     .control = {"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
     .system = "<|start_of_role|>system<|end_of_role|>{}<|end_of_text|>\n",
     .user = "<|start_of_role|>user<|end_of_role|>{}<|end_of_text|>\n",
     .assistant = "<|start_of_role|>assistant<|end_of_role|>{}<|end_of_text|>\n",
     .open = "<|start_of_role|>assistant<|end_of_role|>"},
    // Harmony, opened in the final channel: an answer without thoughts, which would come in a channel that nothing here tells apart. The
    // model ends an answer with <|return|>, which never stands in a prompt.
    {.name = "gpt-oss",
     .has = {"<|start|>", "<|message|>", "<|channel|>"},
     .control = {"<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"},
     .system = "<|start|>developer<|message|># Instructions\n\n{}<|end|>",
     .user = "<|start|>user<|message|>{}<|end|>",
     .assistant = "<|start|>assistant<|channel|>final<|message|>{}<|end|>",
     .open = "<|start|>assistant<|channel|>final<|message|>",
     .turn_end = "<|return|>"},
    {.name = "zephyr",
     .has = {"'<|user|>\\n'+message['content']+eos_token", "'<|assistant|>\\n'+message['content']+eos_token"},
     .plain = {"<|user|>", "<|assistant|>", "<|system|>"},
     .system = "<|system|>\n{}{eos}\n",
     .user = "<|user|>\n{}{eos}\n",
     .assistant = "<|assistant|>\n{}{eos}\n",
     .open = "<|assistant|>\n"},
    {.name = "vicuna",
     .has = {"'USER: '+message['content']+'\\n'", "'ASSISTANT: '+message['content']+"},
     .lacks = {"SYSTEM: "},
     .plain = {"USER:", "ASSISTANT:"},
     .system = "{}\n\n",
     .user = "USER: {}\n",
     .assistant = "ASSISTANT: {}{eos}\n",
     .open = "ASSISTANT:"},
};

}  // namespace

std::span<const ChatFamily> ChatFamilies() { return kFamilies; }

const ChatFamily* FamilyOfTemplate(std::string_view normal) {
  const auto says = [&](std::string_view words) { return !words.empty() && normal.find(words) != std::string_view::npos; };
  for (const ChatFamily& family : kFamilies) {
    const bool has = !family.has[0].empty() && std::all_of(family.has.begin(), family.has.end(),
                                                           [&](std::string_view words) { return words.empty() || says(words); });
    if (has && std::none_of(family.lacks.begin(), family.lacks.end(), says)) return &family;
  }
  return nullptr;
}

const ChatFamily* FamilyByName(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies), [&](const ChatFamily& f) { return f.name == name; });
  return found == std::end(kFamilies) ? nullptr : found;
}

std::string FamilyNames() {
  std::string names;
  for (const ChatFamily& family : kFamilies) {
    if (!names.empty()) names += ", ";
    names += family.name;
  }
  return names;
}

}  // namespace tollgate::inference
