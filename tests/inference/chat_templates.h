// Chat templates in the words by which each family's published ones are told, shortened where they call tools.
#pragma once

#include <string>
#include <vector>

#include "tests/inference/deepseek_templates.h"
#include "tests/inference/template_parts.h"

namespace tollgate::inference::test {

inline const std::vector<PublishedTemplate>& PublishedTemplates() {
  const std::string content = "message['content']";
  static const std::vector<PublishedTemplate> rows = {
      {"chatml",
       Loop("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}", "'<|im_start|>assistant\n'"),
       "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nU2"
       "<|im_end|>\n<|im_start|>assistant\n",
       "chatml", true, true},
      {"qwen",
       "{%- if tools %}{{- '<|im_start|>system\\n' }}{{- '<tool_call>' }}{%- else %}{{- "
       "'<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}{%- endif %}" +
           Loop("{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n<tool_response>' }}", "'<|im_start|>assistant\\n'"),
       "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nU2"
       "<|im_end|>\n<|im_start|>assistant\n",
       "chatml", true, true},
      {"phi4", Loop(Branch("user", "'<|im_start|>user<|im_sep|>' + " + content + " + '<|im_end|>'"), "'<|im_start|>assistant<|im_sep|>'"),
       "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>U1<|im_end|><|im_start|>assistant<|im_sep|>A1<|im_end|>"
       "<|im_start|>user<|im_sep|>U2<|im_end|><|im_start|>assistant<|im_sep|>",
       "phi4", true, true},
      {"phi4-mini",
       Loop("{% if 'tools' in message %}{{ '<|tool|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
            "{% endif %}",
            "'<|assistant|>'"),
       "<|system|>S<|end|><|user|>U1<|end|><|assistant|>A1<|end|><|user|>U2<|end|><|assistant|>", "", true, true},
      {"phi3", Loop(Branch("user", "'<|user|>\n' + " + content + " + '<|end|>\n'"), "'<|assistant|>\n'"),
       "<|system|>\nS<|end|>\n<|user|>\nU1<|end|>\n<|assistant|>\nA1<|end|>\n<|user|>\nU2<|end|>\n<|assistant|>\n", "phi3", true, true},
      {"llama3.1",
       "{{- bos_token }}{%- set date_string = \"26 Jul 2024\" %}{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}"
       "{{- \"Cutting Knowledge Date: December 2023\\n\" }}{{- message['content'] | trim + '<|eot_id|>' }}",
       "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nS<|eot_id|>"
       "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
       "<|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
       "", true, true},
      {"llama3",
       Loop("{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' "
            "%}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}",
            "'<|start_header_id|>assistant<|end_header_id|>\n\n'"),
       "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
       "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|>"
       "<|start_header_id|>assistant<|end_header_id|>\n\n",
       "llama3", true, true},
      {"gemma",
       "{{ bos_token }}" +
           Loop("{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}", "'<start_of_turn>model\n'"),
       "<start_of_turn>user\nS\n\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n<start_of_turn>user\nU2<end_of_turn>\n"
       "<start_of_turn>model\n",
       "gemma", true, true},
      {"mistral-v7",
       "{{ bos_token }}{{ '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}" +
           Loop("{{ '[INST] ' + message['content'] + '[/INST]' }}"),
       "[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] U1[/INST] A1</s>[INST] U2[/INST]", "mistral-v7", true, true},
      {"mistral-v7-tekken",
       "{{ bos_token }}{{ '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}" +
           Loop("{{ '[INST]' + message['content'] + '[/INST]' }}"),
       "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U1[/INST]A1</s>[INST]U2[/INST]", "mistral-v7-tekken", true, true},
      {"mistral-v1",
       "{{ bos_token }}" +
           Loop("{% if loop.first %}{{ ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}{% else %}"
                "{{ ' [INST] ' + message['content'] + ' [/INST]' }}{% endif %}"),
       " [INST] S\n\nU1 [/INST] A1</s> [INST] U2 [/INST]", "mistral-v1", true, true},
      {"mistral-v3-tekken", "{{- bos_token }}{{- \"[AVAILABLE_TOOLS]\" }}" + Loop("{{- \"[INST]\" + message[\"content\"] + \"[/INST]\" }}"),
       "[INST]S\n\nU1[/INST]A1</s>[INST]U2[/INST]", "mistral-v3-tekken", true, true},
      {"mistral-v3", "{{- bos_token }}{{- \"[AVAILABLE_TOOLS] \" }}" + Loop("{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}"),
       "[INST] S\n\nU1[/INST] A1</s>[INST] U2[/INST]", "mistral-v3", true, true},
      {"llama2",
       Loop("{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{{ bos_token + '[INST] ' + "
            "content.strip() + ' [/INST]' }}{{ ' ' + content.strip() + ' ' + eos_token }}"),
       "[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST] A1 </s><s>[INST] U2 [/INST]", "llama2-sys-bos", true, false},
      {"mistral-v0", "{{ bos_token }}" + Loop("{{ '[INST] ' + message['content'] + ' [/INST]' }}{{ message['content'] + eos_token}}"),
       "[INST] S\nU1 [/INST]A1</s>[INST] U2 [/INST]", "llama2", true, true},
      {"deepseek3",
       "{{bos_token}}{{ns.system_prompt}}" + Loop("{{'<｜User｜>' + message['content']}}{{'<｜Assistant｜>' + message['content'] + "
                                                  "'<｜end▁of▁sentence｜>'}}",
                                                  "'<｜Assistant｜>'"),
       "S<｜User｜>U1<｜Assistant｜>A1<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜>", "deepseek3", false, true},
      {"deepseek3.1", DeepSeek31Template(false),
       "S<｜User｜>U1<｜Assistant｜></think>A1<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜></think>", "", true, true},
      {"deepseek3.1-thinking", DeepSeek31Template(true),
       "S<｜User｜>U1<｜Assistant｜></think>A1<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜><think>", "", true, true},
      {"deepseek2",
       "{{ bos_token }}" + Loop(Branch("user", "'User: ' + message['content'] + '\n\n'") +
                                    Branch("assistant", "'Assistant: ' + message['content'] + eos_token"),
                                "'Assistant:'"),
       "S\n\nUser: U1\n\nAssistant: A1</s>User: U2\n\nAssistant:", "deepseek2", true, true},
      {"command-r",
       "{{ bos_token }}" + Loop("{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}",
                                "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'"),
       "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>U1<|END_OF_TURN_TOKEN|>"
       "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A1<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>U2<|END_OF_TURN_TOKEN|>"
       "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
       "command-r", true, true},
      {"granite",
       Loop("{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}",
            "'<|start_of_role|>assistant<|end_of_role|>'"),
       "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>U1<|end_of_text|>\n"
       "<|start_of_role|>assistant<|end_of_role|>A1<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>U2<|end_of_text|>\n"
       "<|start_of_role|>assistant<|end_of_role|>",
       "granite", true, true},
      {"zephyr",
       Loop(Branch("user", "'<|user|>\n' + message['content'] + eos_token") +
                Branch("assistant", "'<|assistant|>\n'  + message['content'] + eos_token"),
            "'<|assistant|>'"),
       "<|system|>\nS</s>\n<|user|>\nU1</s>\n<|assistant|>\nA1</s>\n<|user|>\nU2</s>\n<|assistant|>\n", "zephyr", true, true},
      {"vicuna",
       Loop(Branch("user", "'USER: ' + message['content'] + '\n'") +
                Branch("assistant", "'ASSISTANT: ' + message['content'] + eos_token + '\n'"),
            "'ASSISTANT:'"),
       "S\n\nUSER: U1\nASSISTANT: A1</s>\nUSER: U2\nASSISTANT:", "vicuna", true, true},
      {"gpt-oss", HarmonyTemplate(),
       "<|start|>developer<|message|># "
       "Instructions\n\nS<|end|><|start|>user<|message|>U1<|end|><|start|>assistant<|channel|>final<|message|>A1"
       "<|end|><|start|>user<|message|>U2<|end|><|start|>assistant<|channel|>final<|message|>",
       "", true, true},
      {"qwen3-coder", Qwen3CoderTemplate(),
       "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nU2"
       "<|im_end|>\n<|im_start|>assistant\n",
       "chatml", true, true},
      {"mistral-v11-tekken", MistralArgsTemplate("''"), "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U1[/INST]A1</s>[INST]U2[/INST]",
       "mistral-v7-tekken", true, true},
  };
  return rows;
}

}  // namespace tollgate::inference::test
