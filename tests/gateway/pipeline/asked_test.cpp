// What an approval for one request is bound to: each field that says what is asked, and none that says how it is drawn.
#include "gateway/pipeline/asked.h"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <set>
#include <string>

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::DigestOfAsked;

namespace {

v1::ChatRequest Sound() {
  v1::ChatRequest request;
  request.set_model("chat");
  v1::ChatMessage* user = request.add_messages();
  user->set_role(v1::ROLE_USER);
  user->set_name("anna");
  user->add_parts("all ");
  user->add_parts("records");
  v1::ChatMessage* assistant = request.add_messages();
  assistant->set_role(v1::ROLE_ASSISTANT);
  v1::ToolCall* call = assistant->add_tool_calls();
  call->set_id("call_1");
  call->set_name("find");
  call->set_arguments(R"({"q":"a"})");
  v1::ChatMessage* result = request.add_messages();
  result->set_role(v1::ROLE_TOOL);
  result->set_tool_call_id("call_1");
  result->add_parts("found");
  v1::Tool* tool = request.add_tools();
  tool->set_name("find");
  tool->set_description("Finds it.");
  tool->set_parameters(R"({"type":"object"})");
  return request;
}

using Change = std::function<void(v1::ChatRequest&)>;

}  // namespace

TEST_CASE("Whatever changes what is asked changes the digest, each in its own way") {
  const Change rows[] = {
      [](auto& r) { r.set_model("other"); },
      [](auto& r) { r.mutable_messages(0)->set_role(v1::ROLE_SYSTEM); },
      [](auto& r) { r.mutable_messages(0)->set_name("bert"); },
      [](auto& r) { r.mutable_messages(0)->set_parts(1, "Records"); },
      [](auto& r) { r.mutable_messages(0)->set_parts(0, "all records"), r.mutable_messages(0)->mutable_parts()->RemoveLast(); },
      [](auto& r) { r.mutable_messages(0)->clear_name(), r.mutable_messages(0)->set_parts(0, "annaall "); },
      [](auto& r) { r.mutable_messages(1)->mutable_tool_calls(0)->set_id("call_2"); },
      [](auto& r) { r.mutable_messages(1)->mutable_tool_calls(0)->set_name("drop"); },
      [](auto& r) { r.mutable_messages(1)->mutable_tool_calls(0)->set_arguments(R"({"q":"b"})"); },
      [](auto& r) { r.mutable_messages(1)->mutable_tool_calls(0)->set_index(1); },
      [](auto& r) { r.mutable_messages(1)->clear_tool_calls(); },
      [](auto& r) { r.mutable_messages(2)->set_tool_call_id("call_2"); },
      [](auto& r) { r.mutable_messages()->RemoveLast(); },
      [](auto& r) { r.mutable_messages()->SwapElements(0, 1); },
      [](auto& r) { r.mutable_tools(0)->set_name("drop"); },
      [](auto& r) { r.mutable_tools(0)->set_description("Drops it."); },
      [](auto& r) { r.mutable_tools(0)->set_parameters("{}"); },
      [](auto& r) { r.mutable_tools(0)->set_strict(true); },
      [](auto& r) { r.add_tools()->set_strict(true); },
      [](auto& r) { r.mutable_output_form()->set_strict(true); },
      [](auto& r) { r.add_tools()->set_name("drop"); },
      [](auto& r) { r.clear_tools(); },
      [](auto& r) { r.mutable_tool_choice()->set_none(true); },
      [](auto& r) { r.mutable_tool_choice()->set_required(true); },
      [](auto& r) { r.mutable_tool_choice()->set_function("find"); },
      [](auto& r) { r.set_parallel_tool_calls(false); },
      [](auto& r) { r.mutable_output_form()->set_json_object(true); },
      [](auto& r) { r.mutable_output_form()->set_json_schema("{}"); },
      [](auto& r) { r.mutable_output_form()->set_grammar("{}"); },
      [](auto& r) { r.mutable_output_form()->set_grammar("root ::= \"yes\""); },
  };
  std::set<base::Digest> digests = {DigestOfAsked(Sound(), ""), DigestOfAsked(Sound(), "hmac of anna"),
                                    DigestOfAsked(Sound(), "hmac of bert")};
  CHECK(digests.size() == 3);
  for (const Change& change : rows) {
    v1::ChatRequest changed = Sound();
    change(changed);
    INFO(changed.ShortDebugString());
    CHECK(digests.insert(DigestOfAsked(changed, "")).second);
  }
}

TEST_CASE("How tokens are drawn, how many there may be and what stands beside the prompt changes nothing") {
  const Change rows[] = {
      [](auto&) {},
      [](auto& r) { r.mutable_sampling()->set_temperature(0.5), r.mutable_sampling()->set_seed(7); },
      [](auto& r) { r.set_max_tokens(10); },
      [](auto& r) { r.add_stop("end"); },
      [](auto& r) { r.set_choices(2); },
      [](auto& r) { r.set_logprobs(true), r.set_top_logprobs(3); },
      [](auto& r) { r.add_logit_bias()->set_token(7); },
      [](auto& r) { r.set_max_reasoning_tokens(10); },
      [](auto& r) { r.set_client_request_id("again"); },
      [](auto& r) { r.set_justification("Audit of November."); },
      [](auto& r) { r.set_accept_terms("house@1"); },
      [](auto& r) { r.set_replay(v1::REPLAY_STRICT); },
      [](auto& r) { r.set_parallel_tool_calls(true); },
      [](auto& r) { r.mutable_tool_choice(), r.mutable_output_form(); },
  };
  for (const Change& change : rows) {
    v1::ChatRequest changed = Sound();
    change(changed);
    INFO(changed.ShortDebugString());
    CHECK(DigestOfAsked(changed, "x") == DigestOfAsked(Sound(), "x"));
  }
}
