#include "gateway/http/tokenize.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"

using namespace tollgate;
using http_front::ParseTokenize;

TEST_CASE("What vLLM's clients send for a chat is read; what would count something else is refused by name") {
  const auto request =
      ParseTokenize(R"({"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]}],)"
                    R"("add_generation_prompt":true,"add_special_tokens":false,"return_token_strs":null})");
  REQUIRE(request.ok());
  CHECK(request->model() == "m");
  CHECK(request->messages_size() == 2);
  CHECK(request->messages(1).parts(0) == "b");

  const auto with_tools = ParseTokenize(
      R"({"model":"m","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"find","parameters":{}}}]})");
  REQUIRE(with_tools.ok());
  CHECK(with_tools->tools(0).name() == "find");

  const auto of = ParseTokenize(R"({"model":"m","messages":[{"role":"user","content":"a"}],"safety_identifier":"ann","user":"bob"})");
  REQUIRE(of.ok());
  CHECK(of->end_user() == "ann");

  struct Row {
    const char* body;
    const char* reason;
    const char* param;
  };
  for (const Row& row : std::initializer_list<Row>{
           {R"({"model":"m","prompt":"x"})", "UNSUPPORTED_PARAMETER", "prompt"},
           {R"({"model":"m"})", "MISSING_REQUIRED_PARAMETER", "messages"},
           {R"({"messages":[{"role":"user","content":"x"}]})", "MISSING_REQUIRED_PARAMETER", "model"},
           {R"({"model":"m","messages":[{"role":"user","content":"x"}],"add_generation_prompt":false})", "UNSUPPORTED_VALUE",
            "add_generation_prompt"},
           {R"({"model":"m","messages":[{"role":"user","content":"x"}],"return_token_strs":true})", "UNSUPPORTED_VALUE",
            "return_token_strs"},
           {R"({"model":"m","messages":[{"role":"user","content":"x"}],"chat_template":"x"})", "UNKNOWN_PARAMETER", "chat_template"},
           {R"({"model":"m","messages":[]})", "INVALID_VALUE", "messages"},
           {R"([])", "INVALID_TYPE", ""}}) {
    INFO(row.body);
    const auto refused = ParseTokenize(row.body);
    REQUIRE(absl::IsInvalidArgument(refused.status()));
    CHECK(base::DetailOf(refused.status())->reason == row.reason);
    CHECK(base::DetailOf(refused.status())->param == row.param);
  }
}

TEST_CASE("The answer is vLLM's, without the tokens") {
  v1::CountTokensReply reply;
  reply.set_tokens(12);
  reply.set_context_tokens(4096);
  CHECK(http_front::TokenizeBody(reply) == R"({"count":12,"max_model_len":4096})");
}
