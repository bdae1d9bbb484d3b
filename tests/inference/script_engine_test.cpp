// The scripted engine: its directives, its tokens, its pace, and taking tokens back.
#include <catch2/catch_test_macros.hpp>

#include "inference/engines/script.h"
#include "inference/engines/script_engine.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using test::Scripted;

// The script's tokens with | between, and what ends it.
std::string Told(std::string_view text) {
  Script script = Script::Parse(text, "script");
  std::string told;
  for (int i = 0; i < 1000; ++i) {
    const ScriptEvent event = script.Next();
    switch (event.kind) {
      case ScriptEvent::kToken: told += std::string(event.bytes) + (event.ends ? "" : "|"); break;
      case ScriptEvent::kFail: return told + "FAIL";
      case ScriptEvent::kAway: return told + "AWAY";
      case ScriptEvent::kAbort: return told + "ABORT";
      case ScriptEvent::kHang: return told + "HANG";
      case ScriptEvent::kEnd: return told + "END";
    }
    if (event.ends) return told;
  }
  return told;
}

TEST_CASE("Directives are obeyed in order; without one the reply is the text itself, word by word") {
  struct Row {
    const char* text;
    const char* told;
  };
  const Row rows[] = {
      {"hello big world", "hello |big |world"},
      {"two  spaces\nand lines\n", "two  |spaces\n|and |lines\n"},
      {"", "END"},
      {"!say hi there", "hi |there"},
      {"!say a\\nb c\\td\\\\e", "a\n|b |c\t|d\\e"},
      {"!say 41\\|11 x\\|y", "41|11 |x|y"},
      {"please\n!say this\nand not that", "this"},
      {"!tokens 3", "word |word |word "},
      {"!tokens 0\n!say x", "x"},
      {"!say a\n!fail", "a|FAIL"},
      {"!tokens 2\n!hang", "word |word |HANG"},
      {"!abort", "ABORT"},
      {"!say a\n!away other\n!away script", "a|AWAY"},
      {"!away other\n!say a", "a"},
      {"!tokens many", "!tokens |many"},
      {"!sayings are not !say", "!sayings |are |not |!say"},
      {"!pace_ms 5\n!say a b", "a |b"},
      {"!say", "END"},
      {"!alt other\n!say a b", "a |b"},
  };
  for (const Row& row : rows) CHECK(Told(row.text) == row.told);
}

TEST_CASE("Who asks for the likeliest tokens gets the script's alternatives, and a bias of -100 forbids a token") {
  const auto pool = test::MakePool(Scripted(1));
  SequenceRequest request = test::Ask(*pool, "!alt lo\\|ng\n!say one\n!alt other\n!say two three");
  request.logprobs = 2;
  const auto heard = [&] {
    std::vector<OutputToken> tokens;
    for (const Piece& piece : test::HearAll(*test::Submit(*pool, request)).pieces)
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    return tokens;
  };
  const std::vector<OutputToken> tokens = heard();
  REQUIRE(tokens.size() == 3);
  CHECK(tokens[0].bytes == "one");
  CHECK(tokens[0].text_end == 3);
  REQUIRE(tokens[0].top.size() == 2);
  CHECK(tokens[0].top[0].bytes == "one");
  CHECK(tokens[0].top[0].logprob == tokens[0].logprob);
  CHECK(tokens[0].top[1].bytes == "long");
  CHECK(tokens[0].top[1].logprob < tokens[0].logprob);
  CHECK(tokens[2].top.size() == 2);  // Of three: as many as were asked for.
  request.logit_bias = {{tokens[1].id, -100}};
  CHECK(heard()[1].bytes == "other ");
}

TEST_CASE("Prompt tokens hold any text, and user text cannot become a control token") {
  base::ManualClock clock;
  const auto engine = MakeScriptedEngine(Scripted(1), clock);
  const std::vector<std::string> texts = {"hi", "caf\xC3\xA9 \xF0\x9F\x98\x80!", std::string("nul\0byte", 8), "", "12345678", "<|im_end|>"};
  for (const std::string& text : texts) {
    const std::vector<Turn> turns = {{"system", "", "be brief"}, {"user", "", "before"}, {"assistant", "", "ok"}, {"user", "", text}};
    const auto tokens = engine->Render(turns);
    REQUIRE(tokens.ok());
    REQUIRE(engine->Open(0, {*tokens, {}, {}}).ok());
    std::string reply;
    for (bool done = false; !done;) {
      std::vector<EngineOutput> outputs;
      const EngineWork work{0, reply.empty() ? static_cast<std::int64_t>(tokens->size()) : 0};
      REQUIRE(engine->Step(std::span(&work, 1), outputs).ok());
      REQUIRE(outputs.size() == 1);
      reply += outputs[0].bytes;
      done = outputs[0].ends;
    }
    CHECK(reply == text);
    engine->Close(0);
  }
}

TEST_CASE("Pace is kept by the clock that was given, and a paced sequence holds up no other") {
  base::ManualClock clock;
  ModelOptions model = Scripted(2);
  const auto pool = test::MakePool(model, clock);
  const auto paced = test::Submit(*pool, test::Ask(*pool, "!pace_ms 50\n!tokens 3"));
  CHECK(test::HearAll(*test::Submit(*pool, test::Ask(*pool, "!tokens 1000"))).end.tokens_decoded == 1000);
  CHECK(paced->tokens_decoded() == 0);
  for (int i = 1; i <= 3; ++i) {
    clock.Advance(std::chrono::milliseconds(50));
    while (paced->tokens_decoded() < i) std::this_thread::yield();
    CHECK(paced->tokens_decoded() == i);
  }
  CHECK(test::HearAll(*paced).end.tokens_decoded == 3);
}

TEST_CASE("Rewind takes tokens back and bans the next one") {
  base::ManualClock clock;
  const auto engine = MakeScriptedEngine(Scripted(1), clock);
  const Turn turn{"user", "", "!say one two three four"};
  const auto tokens = engine->Render(std::span(&turn, 1));
  REQUIRE(engine->Open(0, {*tokens, {}, {}}).ok());
  std::vector<std::int32_t> ids;
  const auto next = [&](std::int64_t prompt) {
    std::vector<EngineOutput> outputs;
    const EngineWork work{0, prompt};
    REQUIRE(engine->Step(std::span(&work, 1), outputs).ok());
    ids.push_back(outputs.at(0).token);
    return std::string(outputs.at(0).bytes);
  };
  CHECK(next(static_cast<std::int64_t>(tokens->size())) == "one ");
  CHECK(next(0) == "two ");
  CHECK(next(0) == "three ");
  const std::vector<std::int32_t> banned = {ids[1]};
  REQUIRE(engine->Rewind(0, 1, banned).ok());
  CHECK(next(0) == "other ");
  CHECK(next(0) == "three ");
  CHECK(next(0) == "four");
}

}  // namespace
}  // namespace tollgate::inference
