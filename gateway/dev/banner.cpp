// Every line that can be pasted stands alone at the left margin, so that a triple click takes it whole and nothing else.
//
// Tested by tests/gateway/dev/banner_test.cpp.
#include "gateway/dev/banner.h"

#include <fmt/format.h>

namespace tollgate::dev {
namespace {
std::string Keys(const std::vector<cli::DevKey>& keys) {
  std::string out;
  for (const cli::DevKey& key : keys) out += fmt::format("  {:<9} {}   {} ({})\n", key.name, key.secret, key.place, key.use);
  return out;
}
}  // namespace

std::string Banner(const BannerFacts& facts) {
  const cli::DevEndpoints& at = facts.endpoints;
  const std::string key = cli::SecretOf(facts.keys, "web");
  const std::string openai = fmt::format("OPENAI_BASE_URL=http://127.0.0.1:{}/v1 OPENAI_API_KEY={}", at.http_port, key);
  std::string out = fmt::format("\nTollgate is ready after {:.1f} s: model {}, company acme, everything on this machine alone.\n\n",
                                facts.start_s, at.model);
  out += fmt::format(
      "  OpenAI API  http://127.0.0.1:{}/v1\n  gRPC API    127.0.0.1:{}\n  admin gRPC  127.0.0.1:{}\n  probes      "
      "http://127.0.0.1:{}/metrics\n\n",
      at.http_port, at.grpc_port, at.admin_port, at.probes_port);
  out += fmt::format("Keys (kept in {}/keys.json; good here only):\n\n{}\n", facts.folder, Keys(facts.keys));
  out += "Paste into another terminal.\n\n# the story, step by step\n";
  out += fmt::format("{} demo\n\n", facts.program);
  out += fmt::format("{} chat -v --temperature 0 --max-tokens 60 \"Why is the sky blue?\"\n\n", facts.program);
  out += fmt::format(
      "# HTTP, streamed; without \"stream\": true the answer comes whole\n"
      "curl -N http://127.0.0.1:{}/v1/chat/completions -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' "
      "-d '{{\"model\": \"{}\", \"stream\": true, \"temperature\": 0, \"max_tokens\": 60, \"messages\": [{{\"role\": \"user\", "
      "\"content\": \"Why is the sky blue?\"}}]}}'\n\n",
      at.http_port, key, at.model);
  out += fmt::format(
      "# gRPC (go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest)\n"
      "grpcurl -plaintext -H 'authorization: Bearer {}' -d '{{\"model\": \"{}\", \"sampling\": {{\"temperature\": 0}}, "
      "\"max_tokens\": 60, \"messages\": [{{\"role\": \"ROLE_USER\", \"parts\": [\"Why is the sky blue?\"]}}]}}' "
      "127.0.0.1:{} tollgate.v1.Inference/ChatStream\n\n",
      key, at.model, at.grpc_port);
  out += fmt::format(
      "# OpenAI SDK for Python, in an environment of its own\n"
      "python3 -m venv var/openai && var/openai/bin/pip install openai\n\n"
      "{} var/openai/bin/python -c 'from openai import OpenAI; print(OpenAI().chat.completions.create(model=\"{}\", max_tokens=60, "
      "temperature=0, messages=[{{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}}]).choices[0].message.content)'\n\n",
      openai, at.model);
  out += fmt::format(
      "# OpenAI SDK for Node (npm install openai)\n"
      "{} node --input-type=module -e 'import OpenAI from \"openai\"; const reply = await new OpenAI().chat.completions.create({{model: "
      "\"{}\", max_tokens: 60, temperature: 0, messages: [{{role: \"user\", content: \"Why is the sky blue?\"}}]}}); "
      "console.log(reply.choices[0].message.content)'\n\n",
      openai, at.model);
  out += fmt::format(
      "# what is on record, and what it costs\n{0} audit list --since 1h --kind request --kind deny --kind final\n\n{0} usage report "
      "--by team\n\n",
      facts.program);
  return out + "Ctrl-C ends it; what was made stays for the next start.\n\n";
}

}  // namespace tollgate::dev
