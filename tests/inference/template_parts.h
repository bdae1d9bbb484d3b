// What chat_templates.h is made of: a row of it, pieces of templates, and those whose calls are written in no JSON list or object.
#pragma once

#include <string>

namespace tollgate::inference::test {

struct PublishedTemplate {
  const char* family;
  std::string jinja;
  // System S, user U1, assistant A1, user U2, laid out: <s> and </s> for the vocabulary's own begin and end.
  std::string golden;
  const char* libllama;  // The name under which libllama lays it out too; empty: it does not.
  bool same_system;      // libllama lays system turns out as the template does,
  bool same_reply;       // and earlier replies.
};

// `role`'s turn by a template that writes BEFORE, the text and AFTER.
inline std::string Branch(const std::string& role, const std::string& write) {
  return "{% if message['role'] == '" + role + "' %}{{ " + write + " }}{% endif %}";
}
inline std::string Loop(const std::string& body, const std::string& open = "") {
  return "{% for message in messages %}" + body + "{% endfor %}" +
         (open.empty() ? "" : "{% if add_generation_prompt %}{{ " + open + " }}{% endif %}");
}

// Qwen3-Coder: tools in a markup, calls as <function=NAME>.
inline std::string Qwen3CoderTemplate() {
  return R"({%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
{%- endif %}
{%- if system_message is defined %}
    {{- "<|im_start|>system\n" + system_message }}
{%- else %}
    {%- if tools | length > 0 %}
        {{- "<|im_start|>system\nYou are Qwen, a helpful AI assistant that can interact with a computer to solve tasks." }}
    {%- endif %}
{%- endif %}
{%- if tools | length > 0 %}
    {{- "<tools>\n<function>\n<name>" ~ tool.name ~ "</name></tools>" }}
    {{- '\n\nreply in the following format:\n\n<tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter></tool_call>' }}
{%- endif %}
{%- if system_message is defined %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for message in loop_messages %}
    {%- if message.role == "assistant" and message.tool_calls is defined %}
        {{- '<|im_start|>' + message.role }}
        {{- '\n<tool_call>\n<function=' + tool_call.name + '>\n' }}
        {{- '</function>\n</tool_call><|im_end|>\n' }}
    {%- elif message.role == "user" or message.role == "system" or message.role == "assistant" %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\n<tool_response>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
)";
}

// Mistral's from tokenizer v11 on: a call is a name and its arguments behind [ARGS]; Small 3.2 has the call's id between them. `system`: an
// expression, what is said where nobody gives a system turn.
inline std::string MistralArgsTemplate(const std::string& system, bool call_ids = false) {
  return "{#- What is said first, if there's none. #}\n{%- set default_system_message = " + system + R"( %}
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {{- '[SYSTEM_PROMPT]' + messages[0]['content'] + '[/SYSTEM_PROMPT]' }}
{%- elif default_system_message != '' %}
    {{- '[SYSTEM_PROMPT]' + default_system_message + '[/SYSTEM_PROMPT]' }}
{%- endif %}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}
        {{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
        {{- '[INST]' + message['content'] + '[/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- message['content'] }}
        {{- '[TOOL_CALLS]' + tool['function']['name'] )" +
         (call_ids ? "+ '[CALL_ID]' + tool['id'] " : "") + R"(+ '[ARGS]' + arguments }}
        {{- eos_token }}
    {%- elif message['role'] == 'tool' %}
        {{- '[TOOL_RESULTS]' + message['content'] + '[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}
)";
}

// gpt-oss: <|return|> ends what the model was trained to say, and no reply that it is shown.
inline std::string HarmonyTemplate() {
  return Loop(Branch("user", "'<|start|>user<|message|>' + message['content'] + '<|end|>'") + R"(
    {%- if loop.last and not add_generation_prompt %}
        {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
    {%- else %}
        {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}
    {%- endif %})",
              "'<|start|>assistant'");
}

}  // namespace tollgate::inference::test
