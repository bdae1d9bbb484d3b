#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <limits>

#include "base/error_detail.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/raw_tail.h"
#include "gateway/pipeline/tool_prompt.h"

using namespace tollgate;
namespace v1 = tollgate::v1;

namespace {

v1::ChatRequest Good() {
  v1::ChatRequest request;
  request.set_model("m");
  v1::ChatMessage* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_parts("hi");
  return request;
}

}  // namespace

TEST_CASE("Each field that a caller can get wrong is refused by its name") {
  struct Row {
    const char* param;
    std::function<void(v1::ChatRequest&)> spoil;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Row rows[] = {
      {"model", [](auto& r) { r.clear_model(); }},
      {"model", [](auto& r) { r.set_model(std::string(129, 'm')); }},
      {"messages", [](auto& r) { r.clear_messages(); }},
      {"messages",
       [](auto& r) {
         for (int i = 0; i < 20; ++i) *r.add_messages() = r.messages(0);
       }},
      {"messages", [](auto& r) { r.mutable_messages(0)->add_parts(std::string(200, 'x')); }},
      {"messages[0].role", [](auto& r) { r.mutable_messages(0)->clear_role(); }},
      {"messages[0].role", [](auto& r) { r.mutable_messages(0)->set_role(static_cast<v1::Role>(9)); }},
      {"messages[0].name", [](auto& r) { r.mutable_messages(0)->set_name(std::string(65, 'n')); }},
      {"messages[0].content", [](auto& r) { r.mutable_messages(0)->add_parts("\xff"); }},
      {"max_tokens", [](auto& r) { r.set_max_tokens(-1); }},
      {"temperature", [](auto& r) { r.mutable_sampling()->set_temperature(2.01); }},
      {"temperature", [nan](auto& r) { r.mutable_sampling()->set_temperature(nan); }},
      {"top_p", [](auto& r) { r.mutable_sampling()->set_top_p(0); }},
      {"top_k", [](auto& r) { r.mutable_sampling()->set_top_k(-1); }},
      {"min_p", [](auto& r) { r.mutable_sampling()->set_min_p(1.5); }},
      {"presence_penalty", [](auto& r) { r.mutable_sampling()->set_presence_penalty(-2.5); }},
      {"frequency_penalty", [](auto& r) { r.mutable_sampling()->set_frequency_penalty(2.5); }},
      {"repeat_penalty", [](auto& r) { r.mutable_sampling()->set_repeat_penalty(0); }},
      {"stop", [](auto& r) { r.add_stop(""); }},
      {"stop",
       [](auto& r) {
         for (int i = 0; i < 5; ++i) r.add_stop("x");
       }},
      {"stop", [](auto& r) { r.add_stop(std::string(129, 's')); }},
      {"logit_bias",
       [](auto& r) {
         for (int i = 0; i < 1025; ++i) r.add_logit_bias()->set_token(i);
       }},
      {"logit_bias", [](auto& r) { r.add_logit_bias()->set_bias(100.5F); }},
      {"logit_bias", [nan](auto& r) { r.add_logit_bias()->set_bias(static_cast<float>(nan)); }},
      {"logit_bias", [](auto& r) { r.add_logit_bias(), r.add_logit_bias(); }},
      {"top_logprobs", [](auto& r) { r.set_logprobs(true), r.set_top_logprobs(21); }},
      {"top_logprobs", [](auto& r) { r.set_logprobs(true), r.set_top_logprobs(-1); }},
      {"top_logprobs", [](auto& r) { r.set_top_logprobs(1); }},
      {"end_user", [](auto& r) { r.set_end_user(std::string(257, 'u')); }},
      {"client_request_id", [](auto& r) { r.set_client_request_id(std::string(129, 'c')); }},
  };
  const pipeline::PromptLimits limits{.messages_max = 10, .prompt_bytes_max = 100};
  CHECK(pipeline::Validate(Good(), limits).ok());
  for (const Row& row : rows) {
    v1::ChatRequest request = Good();
    row.spoil(request);
    const absl::Status status = pipeline::Validate(request, limits);
    INFO(row.param << ": " << base::Message(status));
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    REQUIRE(base::DetailOf(status));
    CHECK(base::DetailOf(status)->param == row.param);
  }
}

TEST_CASE("A schema becomes the pool's grammar, and one that cannot be enforced is refused with its place if it is strict") {
  v1::ChatRequest request = Good();
  request.mutable_output_form()->set_json_schema(R"({"type":"object","properties":{"a":{"type":"integer"}}})");
  inference::ModelInfo model;
  model.grammars = true;
  REQUIRE(pipeline::ValidateFor(request, model).ok());
  inference::SequenceRequest sequence;
  auto grammar = pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), model);
  REQUIRE(grammar.ok());
  pipeline::FillOutput(request, *grammar, sequence);
  CHECK(sequence.grammar.starts_with("root ::= "));
  CHECK(sequence.grammar_is_ours);
  CHECK_FALSE(sequence.json);
  CHECK(sequence.logprobs == -1);
  CHECK(grammar->whole);
  request.mutable_output_form()->set_json_schema(R"({"properties":{"a":{"type":"string","pattern":"x"}}})");
  REQUIRE(pipeline::ValidateFor(request, model).ok());
  grammar = pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), model);
  REQUIRE(grammar.ok());
  pipeline::FillOutput(request, *grammar, sequence);
  CHECK(sequence.grammar.find(R"("\"a\":" ws string ws)") != std::string::npos);
  CHECK_FALSE(grammar->whole);
  request.mutable_output_form()->set_strict(true);
  CHECK(pipeline::ValidateFor(request, model).ok());  // It reads no schema.
  const absl::Status refused = pipeline::GrammarAsked(request, model).status();
  REQUIRE(base::DetailOf(refused));
  CHECK(base::DetailOf(refused)->param == "response_format");
  CHECK(base::Message(refused).find("/properties/a: \"pattern\"") != std::string::npos);
}

TEST_CASE("What a model cannot give is refused by the field's name, before anything is on record") {
  v1::ChatRequest request = Good();
  inference::ModelInfo model;
  model.name = "fleet";
  CHECK(pipeline::ValidateFor(request, model).ok());
  request.set_logprobs(true);
  const absl::Status refused = pipeline::ValidateFor(request, model);
  CHECK(refused.code() == absl::StatusCode::kInvalidArgument);
  REQUIRE(base::DetailOf(refused));
  CHECK(base::DetailOf(refused)->param == "logprobs");
  CHECK(base::Message(refused).find("fleet") != std::string::npos);
  model.logprobs = true;
  CHECK(pipeline::ValidateFor(request, model).ok());
}

TEST_CASE("A reply that is kept whole holds a bounded number of log-probabilities") {
  const pipeline::PromptLimits limits{.logprobs_max = 100};
  struct Row {
    bool logprobs, stream;
    int top, max_tokens;
    std::int64_t most;  // -1: refused.
    bool named = true;  // By the caller, where there is a max_tokens.
  };
  const Row rows[] = {{false, false, 0, 0, 1000},        {false, false, 0, 500, 500},     {true, false, 0, 0, 100},
                      {true, false, 4, 0, 20},           {true, false, 4, 20, 20},        {true, false, 4, 21, -1},
                      {true, false, 0, 2000, -1},        {true, true, 4, 500, 500},       {true, true, 4, 0, 1000},
                      {true, true, 4, 5000, 1000},       {true, false, 4, 21, 20, false}, {true, false, 4, 7, 7, false},
                      {false, false, 0, 500, 500, false}};
  for (const Row& row : rows) {
    v1::ChatRequest request = Good();
    request.set_logprobs(row.logprobs);
    request.set_top_logprobs(row.top);
    request.set_max_tokens(row.max_tokens);
    INFO(row.logprobs << row.stream << " " << row.top << " " << row.max_tokens);
    const auto most = pipeline::MaxOutputTokens(request, row.named && row.max_tokens > 0, 1000, row.stream, limits);
    CHECK(most.value_or(-1) == row.most);
    if (!most.ok()) CHECK(base::DetailOf(most.status())->param == "max_tokens");
  }
}

TEST_CASE("Absent sampling fields take the stated defaults") {
  const auto params = pipeline::ToSampling(v1::Sampling(), 42);
  CHECK(params.temperature == 1.0);
  CHECK(params.top_p == 1.0);
  CHECK(params.top_k == 0);
  CHECK(params.repeat_penalty == 1.0);
  CHECK(params.seed == 42);
  v1::Sampling named;
  named.set_seed(7);
  named.set_temperature(0);
  CHECK(pipeline::ToSampling(named, 42).seed == 7);
  CHECK(pipeline::ToSampling(named, 42).temperature == 0.0);
}

TEST_CASE("Messages keep roles, names and parts on the way to policy and back") {
  v1::ChatRequest request = Good();
  request.mutable_messages(0)->set_name("ada");
  request.mutable_messages(0)->add_parts(" there");
  v1::ChatMessage* system = request.add_messages();
  system->set_role(v1::ROLE_SYSTEM);
  system->add_parts("be brief");
  const auto messages = pipeline::ToPolicy(request.messages());
  v1::ChatRequest back;
  pipeline::ToProto(messages, back.mutable_messages());
  REQUIRE(back.messages_size() == 2);
  CHECK(back.messages(0).SerializeAsString() == request.messages(0).SerializeAsString());
  CHECK(back.messages(1).SerializeAsString() == request.messages(1).SerializeAsString());
  const auto turns = pipeline::ToTurns(messages);
  CHECK(turns[0].text == "hi there");
  CHECK(turns[1].role == "system");
}

TEST_CASE("A raw tail counts the tokens that lie wholly in what was released") {
  pipeline::RawTail tail;
  tail.Append("abc", 1);
  tail.Append("defg", 2);
  tail.ReleaseUpTo(3);
  CHECK(tail.delivered_tokens() == 1);
  CHECK(tail.text() == "defg");
  CHECK(tail.offset() == 3);
  tail.ReleaseUpTo(6);
  CHECK(tail.delivered_tokens() == 1);
  tail.ReleaseUpTo(2);  // Never back.
  CHECK(tail.text() == "g");
  tail.ReleaseUpTo(7);
  CHECK(tail.delivered_tokens() == 2);
  tail.Append("xyz", 3);
  tail.ReleaseUpTo(100);
  CHECK(tail.text().empty());
  CHECK(tail.delivered_tokens() == 3);
  CHECK(tail.offset() == 10);
}
