// What goes to a detector, byte for byte, and which answers are none.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/detectors/external_wire.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;

namespace {

pipeline::QuestionAsk Ask() {
  pipeline::QuestionAsk ask;
  ask.question = {"r", "r", "toxicity", {1}};
  ask.messages = std::make_shared<const std::vector<policy::Message>>(
      std::vector<policy::Message>{{policy::Role::kUser, "ann", {"hel", "lo \"you\"\n"}}});
  ask.model = "tiny";
  return ask;
}

}  // namespace

TEST_CASE("A question names detector, rule, direction, model and messages") {
  CHECK(detectors::QuestionText(Ask()) == R"({"version":1,"detector":"toxicity","rule":"r","direction":"input","last":true,"model":"tiny",)"
                                          R"("messages":[{"role":"user","text":"hello \"you\"\n","name":"ann"}]})");
  pipeline::QuestionAsk output = Ask();
  output.output = true;
  output.last = false;
  CHECK_THAT(detectors::QuestionText(output), ContainsSubstring(R"("direction":"output","last":false)"));
}

TEST_CASE("An answer is read with score, category and spans") {
  const auto answer = detectors::ReadAnswer(
      Ask(), R"({"hit":true,"score":0.25,"category":"hate/mild","spans":[{"message":0,"begin":1,"end":4}],"model":"v7"})");
  REQUIRE(answer.ok());
  CHECK(answer->answer.id == "r");
  CHECK(answer->answer.hit);
  CHECK(answer->answer.score_millionths == 250'000);
  CHECK(answer->category == "hate/mild");
  CHECK(answer->answer.spans == std::vector<policy::Span>{{0, "text", 1, 4}});
  CHECK_FALSE(detectors::ReadAnswer(Ask(), R"({"hit":false})")->answer.hit);
}

TEST_CASE("What is not what the format says is no answer") {
  const auto body = GENERATE(values<std::string>({"",
                                                  "null",
                                                  "[]",
                                                  "{",
                                                  "{}",
                                                  R"({"hit":"yes"})",
                                                  R"({"hit":1})",
                                                  R"({"hit":true,"score":1.5})",
                                                  R"({"hit":true,"score":-0.1})",
                                                  R"({"hit":true,"score":"high"})",
                                                  R"({"hit":true,"category":7})",
                                                  R"({"hit":true,"category":"a\nb"})",
                                                  R"({"hit":true,"spans":{}})",
                                                  R"({"hit":true,"spans":[{"message":1,"begin":0,"end":1}]})",
                                                  R"({"hit":true,"spans":[{"begin":0,"end":99}]})",
                                                  R"({"hit":true,"spans":[{"begin":3,"end":1}]})",
                                                  R"({"hit":true,"spans":[7]})",
                                                  R"({"hit":true} trailing)",
                                                  "\xff\xfe",
                                                  std::string(2000, '['),
                                                  R"({"hit":true,"hit2":)"}));
  const auto answer = detectors::ReadAnswer(Ask(), body);
  CHECK_FALSE(answer.ok());
  CHECK_THAT(base::Message(answer.status()), ContainsSubstring("cannot be read"));
}
