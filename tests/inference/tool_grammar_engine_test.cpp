// Forced calls on a tiny generated model that would say anything else: each output that ends is calls, and their arguments satisfy the
// schema.
#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

#include "inference/grammar.h"
#include "inference/output_parser.h"
#include "inference/tool_grammar.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;
using test::HearAll;
using test::Heard;
using test::TinyModel;

const std::vector<ForcedTool> kTools = {
    {"find",
     R"({"type":"object","properties":{"q":{"$ref":"#/$defs/word"},"n":{"enum":[1,2]}},"required":["q","n"],"$defs":{"word":{"type":"string","maxLength":4}}})"},
    {"now", R"({"type":"object","additionalProperties":false})"}};

bool IsSound(const OutputPart& call) {
  boost::system::error_code error;
  const json::value arguments = json::parse(call.text, error);
  if (error || !arguments.is_object()) return false;
  const json::object& fields = arguments.get_object();
  if (call.name == "now") return fields.empty();
  return call.name == "find" && fields.size() == 2 && fields.at("q").is_string() && (fields.at("n") == 1 || fields.at("n") == 2);
}

}  // namespace

TEST_CASE("Every forced output that ends is sound calls, in each family's words") {
  tollgate::test::TempDir folder;
  const auto pool = test::MakePool(TinyModel("llama").WriteTo(folder));
  int ended = 0, calls = 0;
  for (const ToolStyle style : {ToolStyle::kHermes, ToolStyle::kLlama, ToolStyle::kMistral, ToolStyle::kDeepSeek}) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      const bool in_thought = seed % 4 == 3, several = seed % 2 == 1;
      const auto grammar = ToolGrammar(style, kTools, several, in_thought);
      REQUIRE(grammar.ok());
      SequenceRequest request = test::Ask(*pool, "say something");
      request.sampling.seed = seed;
      request.max_tokens = 400;
      request.grammar = grammar->gbnf;
      request.grammar_is_ours = true;
      const Heard heard = HearAll(*test::Submit(*pool, std::move(request)));
      INFO(Name(style) << " " << heard.text << " " << heard.end.status.ToString());
      if (heard.end.reason != EndReason::kStop) continue;
      ++ended;
      OutputParser parser({.tools = ForcedStyle(style), .names = {"find", "now"}, .thinks = in_thought, .in_thought = in_thought});
      std::vector<OutputPart> parts;
      parser.Push(heard.text, parts);
      parser.Finish(parts);
      int here = 0;
      for (const OutputPart& part : parts) {
        CHECK(part.kind != OutputPart::kText);
        if (part.kind != OutputPart::kCall) continue;
        ++here;
        CHECK(IsSound(part));
      }
      CHECK(here >= 1);
      if (!several) CHECK(here == 1);
      calls += here;
    }
  }
  CHECK(ended > 8);
  CHECK(calls >= ended);
}

TEST_CASE("Beside a form, every output that ends is sound calls or the form and nothing else, in each family's words") {
  tollgate::test::TempDir folder;
  const auto pool = test::MakePool(TinyModel("llama").WriteTo(folder));
  const std::string schema =
      R"({"type":"object","properties":{"word":{"type":"string","maxLength":3},"r0":{"enum":["]\\\"","a[b"]}},"required":["word","r0"]})";
  int calls = 0, forms = 0;
  for (const ToolStyle style : {ToolStyle::kHermes, ToolStyle::kLlama, ToolStyle::kMistral}) {
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
      const auto call = ToolGrammar(style, kTools, seed % 2 == 1, false);
      const bool any = seed % 6 == 5;  // JSON of no schema.
      const SchemaGrammar form = any ? SchemaGrammar{std::string(JsonGrammar())} : *HoldToSchema(schema, true);
      SequenceRequest request = test::Ask(*pool, "say something");
      request.sampling.seed = seed;
      request.max_tokens = 400;
      request.grammar = CallsOrForm(*call, form).gbnf;
      request.grammar_is_ours = true;
      const Heard heard = HearAll(*test::Submit(*pool, std::move(request)));
      INFO(Name(style) << " " << heard.text << " " << heard.end.status.ToString());
      if (heard.end.reason != EndReason::kStop) continue;
      OutputParser parser({.tools = style, .names = {"find", "now"}});
      std::vector<OutputPart> parts;
      parser.Push(heard.text, parts);
      parser.Finish(parts);
      REQUIRE_FALSE(parts.empty());
      if (parts[0].kind == OutputPart::kText) {
        ++forms;
        CHECK(parts.size() == 1);
        boost::system::error_code error;
        const json::value value = json::parse(parts[0].text, error);
        INFO(parts[0].text);
        REQUIRE((!error && value.is_object()));
        if (any) continue;
        CHECK((value.get_object().size() == 2 && value.at("word").is_string()));
        CHECK((value.at("r0") == "]\\\"" || value.at("r0") == "a[b"));
        continue;
      }
      ++calls;
      for (const OutputPart& part : parts) {
        if (part.kind == OutputPart::kCall) CHECK(IsSound(part));
        CHECK(part.kind != OutputPart::kText);
      }
    }
  }
  CHECK(calls > 4);
  CHECK(forms > 4);
}

}  // namespace tollgate::inference
