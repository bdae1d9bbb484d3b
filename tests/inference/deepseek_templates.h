// DeepSeek's chat templates from V3.1 on, and R1's of May 2025, shortened to what they write.
#pragma once

#include <string>

namespace tollgate::inference::test {

// `thinks`: what it sets where nobody says.
inline std::string DeepSeek31Template(bool thinks) {
  return std::string("{% if not thinking is defined %}{% set thinking = ") + (thinks ? "true" : "false") +
         " %}{% endif %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}"
         "{%- if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}{%- endif %}"
         "{%- if message['role'] == 'assistant' and message['tool_calls'] is defined %}{{'<｜Assistant｜></think>'}}"
         "{{message['content'] + '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['function']['name'] + '<｜tool▁sep｜>' + "
         "tool['function']['arguments'] + '<｜tool▁call▁end｜>'}}{{'<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}"
         "{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] -%}{%- endif %}"
         "{{content + '<｜end▁of▁sentence｜>'}}{%- if message['role'] == 'tool' %}"
         "{{'<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- endif %}{%- endfor -%}"
         "{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}{{'<｜Assistant｜>'}}"
         "{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}{%- endif %}{% endif %}";
}

inline std::string DeepSeekR1May25Template() {
  return "{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{% set content = message['content'] %}"
         "{%- if message['role'] == 'user' %}{{'<｜User｜>' + content + '<｜Assistant｜>'}}{%- endif %}"
         "{%- if message['role'] == 'assistant' %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}"
         "{% endif %}{% endif %}{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + "
         "tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```' + '<｜tool▁call▁end｜>'}}"
         "{{content + '<｜end▁of▁sentence｜>'}}{%- endfor -%}"
         "{% if add_generation_prompt and not ns.is_last_user and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}";
}

}  // namespace tollgate::inference::test
