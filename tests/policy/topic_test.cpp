// Topics: what a policy says of them, how texts are cut, and what vectors say.
#include "policy/topic.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "policy/explain.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

TEST_CASE("What a policy says of a topic is refused with place and remedy") {
  struct Row {
    const char *detect, *error;
  };
  const auto row =
      GENERATE(values<Row>({{"{topic: {model: m}, least_score: 5}", "'examples' is missing"},
                            {"{topic: {examples: a}, least_score: 5}", "'model' is missing"},
                            {"{topic: {model: '', examples: a}, least_score: 5}", "'model' is 1 to 128 bytes"},
                            {"{topic: {model: m, examples: a}}", "'least_score' is missing"},
                            {"{topic: {model: m, examples: []}, least_score: 5}", "'examples' is a value or a list with at least one"},
                            {"{topic: {model: m, examples: [a, ' ']}, least_score: 5}", "'examples' is 1 to 64 phrases"},
                            {"{topic: {model: m, examples: a, unlike: ['']}, least_score: 5}", "'unlike' is 1 to 64 phrases"},
                            {"{topic: {model: m, examples: a, exmples: b}, least_score: 5}", "did you mean 'examples'?"},
                            {"{topic: {model: m, examples: a, deadline_ms: 1}, least_score: 5}", "deadline_ms"},
                            {"{topic: {model: m, examples: a, reply_bytes: 1}, least_score: 5}", "reply_bytes"},
                            {"{topic: {model: m, examples: a}, least_score: 5, decode: both}", "'decode' says nothing for topic"},
                            {"{topic: {model: m, examples: a}, external: b}", "has exactly one of"}}));
  CHECK_THAT(CompileError(OneRule(row.detect, "block")), StartsWith("test.yaml:") && ContainsSubstring(row.error));
}

TEST_CASE("A topic flags or blocks, is asked of its model, and is kept under what its phrases are") {
  CHECK_THAT(CompileError(OneRule("{topic: {model: m, examples: a}, least_score: 5}", "redact")),
             ContainsSubstring("an embedding model finds can be flagged"));
  CHECK_THAT(CompileError(OneRule("{topic: {model: m, examples: a}, least_score: 5}", "block", "    unless: {keywords: a}\n")),
             ContainsSubstring("'unless' says nothing for an embedding model"));
  const PolicySource source{
      "t", OneRule("{topic: {model: m, examples: [a, b], unlike: c}, least_score: 70, at: sentence, stream: observe}", "block")};
  const auto policies = MustCompile(source.yaml);
  CHECK(policies->Describe()[0].detect == "topic of 2 examples, by model m");
  const Message prompt[] = {{Role::kUser, "", {"hello"}}};
  const auto inspected = policies->Inspect({}, prompt);
  REQUIRE(inspected.ok());
  REQUIRE(inspected->questions.size() == 1);
  const Question& question = inspected->questions[0];
  CHECK(question.detector() == std::string("topic"));
  CHECK(question.name == "m");
  REQUIRE(question.topic != nullptr);
  CHECK(question.topic->phrases() == 3);
  CHECK(question.topic->Phrase(2) == "c");
  const auto decide = [&](std::int64_t score, std::string failure = "") {
    const Answer answer{"r", true, std::move(failure), score, {}};
    return policies->Decide({}, {&question, 1}, {&answer, 1})->action;
  };
  CHECK(decide(700'000) == Action::kBlock);
  CHECK(decide(699'999) == Action::kAllow);
  CHECK(decide(0, "nobody there") == Action::kBlock);
  CHECK_FALSE(policies->QuestionsOfOutput({})[0].hold);
  const auto told = Explain({&source, 1}, {}, {"hello", false, Role::kUser});
  REQUIRE(told.ok());
  CHECK_THAT(told->rules[0].why, ContainsSubstring("the embedding model m would say"));

  const auto digest = [](const std::string& topic) {
    const auto compiled = MustCompile(OneRule("{topic: {model: m, " + topic + "}, least_score: 70}", "flag"));
    return compiled->QuestionsOfOutput({})[0].topic->digest;
  };
  CHECK(digest("examples: [a, b]") == digest("examples: [a, b], deadline_ms: 50"));
  CHECK(digest("examples: [a, b]") != digest("examples: [ab]"));
  CHECK(digest("examples: [a, b]") != digest("examples: [a], unlike: [b]"));
}

TEST_CASE("A text is cut behind sentences into pieces that say something") {
  const std::string sentence = "This sentence has some fifty bytes and ends here now.";  // 53
  CHECK(TopicPieces("", 9).empty());
  CHECK(TopicPieces(" \n\t ", 9).empty());
  CHECK(TopicPieces(" Hi. ", 9) == std::vector<std::string_view>{"Hi."});
  CHECK(TopicPieces(sentence + " " + sentence + " " + sentence + " " + sentence + " Short.", 9) ==
        std::vector<std::string_view>{sentence + " " + sentence, sentence + " " + sentence + " Short."});
  CHECK(TopicPieces("v1.2 of a.b.c is not the end of a sentence, whatever its marks may say of it", 9).size() == 1);
  std::string japanese;
  for (int i = 0; i < 20; ++i) japanese += "\u3053\u308c\u306f\u6587\u3067\u3059\u3002";
  for (const std::string_view piece : TopicPieces(japanese, 9)) CHECK(piece.ends_with("\u3002"));
}

TEST_CASE("No piece is longer than its bound or cut inside a character, all of them are the text, and long texts have longer ones") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  static const char* const kParts[] = {"word ", "x", "\u65e5\u672c", ". ", "\n", "\U0001F600", "longerword", "! ", "\u3002", "  "};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (std::size_t n = random() % 900; n > 0; --n) text += kParts[random() % (round % 3 == 0 ? 3 : std::size(kParts))];
    const std::size_t most = 1 + random() % 40;
    const std::vector<std::string_view> pieces = TopicPieces(text, most);
    const std::size_t longest = std::max(Topic::kPieceBytesMin, text.size() / most + 1) * (Topic::kPieceBytesMax / Topic::kPieceBytesMin);
    std::string joined;
    for (const std::string_view piece : pieces) {
      CHECK(base::IsValidUtf8(piece));
      CHECK(piece.size() <= longest + longest / 8 + 1);
      joined += piece;
    }
    for (std::string* each : {&joined, &text}) std::erase_if(*each, [](char c) { return c == ' ' || c == '\n'; });
    CHECK(joined == text);
    CHECK(pieces.size() <= 2 * most + 1);
  }
}

TEST_CASE("The nearest pair of piece and example gives the score, unless something unlike is nearer still") {
  Topic topic;
  topic.examples = {"a", "b"};
  topic.unlike = {"c"};
  const std::vector<float> phrases = {1, 0, 0, 1, 0.8F, 0.6F};
  const auto read = [&](std::vector<float> pieces) { return ReadTopic(topic, phrases, pieces, 2); };
  CHECK(read({0, 1}).score_millionths == 1'000'000);
  CHECK(read({0, 1}).example == 1);
  CHECK(read({-1, 0}).score_millionths == 0);
  CHECK(read({0.8F, 0.6F}).score_millionths == 0);  // It is what is unlike.
  const TopicReading third = read({-1, 0, 0.8F, 0.6F, 0.28F, 0.96F});
  CHECK(third.piece == 2);
  CHECK(third.example == 1);
  CHECK(third.score_millionths / 1000 == 960);
  topic.unlike.clear();
  CHECK(ReadTopic(topic, std::span(phrases).first(4), std::vector<float>{0.8F, 0.6F}, 2).score_millionths / 1000 == 800);
}

}  // namespace tollgate::policy
