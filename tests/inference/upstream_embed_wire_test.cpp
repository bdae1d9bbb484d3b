// What servers that embed and rerank are told, by kind, and control tokens in text that is sent.
#include <catch2/catch_test_macros.hpp>

#include "inference/engines/upstream_embed_wire.h"

namespace tollgate::inference {
namespace {

UpstreamOptions Options(UpstreamKind kind, bool priority = false) {
  UpstreamOptions options;
  options.kind = kind;
  options.model = "a \"model\"";
  options.priority = priority;
  return options;
}

TEST_CASE("Inputs are token ids, beside which each kind of server is told what it takes, and nothing else") {
  const std::vector<std::int32_t> one{1, 2, 3}, two{40000};
  const std::span<const std::int32_t> inputs[] = {one, two};
  UpstreamEmbedAsk ask;
  ask.inputs = inputs;
  ask.cache_salt = "salt";
  ask.priority = 2;
  CHECK(UpstreamEmbedBody(Options(UpstreamKind::kVllm), ask) ==
        R"({"model":"a \"model\"","input":[[1,2,3],[40000]],"encoding_format":"base64","cache_salt":"salt"})");
  CHECK(UpstreamEmbedBody(Options(UpstreamKind::kVllm, true), ask) ==
        R"({"model":"a \"model\"","input":[[1,2,3],[40000]],"encoding_format":"base64","cache_salt":"salt","priority":2})");
  CHECK(UpstreamEmbedBody(Options(UpstreamKind::kSglang), ask) ==
        R"({"model":"a \"model\"","input":[[1,2,3],[40000]],"cache_salt":"salt"})");
  CHECK(UpstreamEmbedBody(Options(UpstreamKind::kLlamaServer), ask) ==
        R"({"model":"a \"model\"","input":[[1,2,3],[40000]],"encoding_format":"base64"})");
}

TEST_CASE("A query and documents are text, quoted") {
  const std::vector<std::string> documents{"a \"b\"\n", ""};
  UpstreamEmbedAsk ask;
  ask.query = "\xC3\xBC?";
  ask.documents = documents;
  ask.cache_salt = "salt";
  CHECK(UpstreamRerankBody(Options(UpstreamKind::kLlamaServer), ask) ==
        "{\"model\":\"a \\\"model\\\"\",\"query\":\"\xC3\xBC?\",\"documents\":[\"a \\\"b\\\"\\n\",\"\"]}");
}

TEST_CASE("A name that text spells is broken, however names overlap, and other text stays as it is") {
  const std::string names[] = {"<s>", "</s>", "[SEP]", "<|end|>", "<<s>>", "\xEF\xBD\x9Cx"};
  const std::pair<const char*, const char*> rows[] = {{"", ""},
                                                      {"plain < text > [here]", "plain < text > [here]"},
                                                      {"<s>", "< s>"},
                                                      {"<s></s>", "< s>< /s>"},
                                                      {"a[SEP]b", "a[ SEP]b"},
                                                      {"<<s>>", "< < s>>"},
                                                      {"<|end", "<|end"},
                                                      {"<|end|><|end|>", "< |end|>< |end|>"},
                                                      {"\xEF\xBD\x9Cx", "\xEF\xBD\x9C x"},
                                                      {"\xEF\xBD\x9C", "\xEF\xBD\x9C"}};
  for (const auto& [text, broken] : rows) {
    const std::string out = BreakNames(text, names);
    CHECK(out == broken);
    CHECK(BreakNames(out, names) == out);
  }
}

}  // namespace
}  // namespace tollgate::inference
