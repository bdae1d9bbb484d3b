// Taking output tokens back, with the scripted engine: what stands, what is counted, what comes instead.
#include <catch2/catch_test_macros.hpp>

#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using test::Ask;
using test::Hear;
using test::Heard;
using test::MakePool;
using test::Scripted;
using test::Submit;

// A consumer that keeps the text and the tokens that stand.
struct Reader {
  std::shared_ptr<TokenStream> stream;
  std::string text;
  std::vector<OutputToken> tokens;
  std::int64_t decoded = 0;
  StreamEnd end;

  // Takes until something other than text comes.
  Taken Read() {
    Heard heard;
    const Taken taken = Hear(*stream, heard);
    for (const Piece& piece : heard.pieces) {
      text.resize(static_cast<std::size_t>(piece.text_at));
      text += piece.text;
      tokens.resize(static_cast<std::size_t>(piece.tokens_delivered) - piece.tokens.size());
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
      decoded = piece.tokens_decoded;
    }
    end = heard.end;
    return taken;
  }
};

Reader Start(Pool& pool, const std::string& script, std::int64_t allowance, std::vector<std::string> stop = {}) {
  SequenceRequest request = Ask(pool, script);
  request.allowance = allowance;
  request.want_tokens = true;
  request.stop = std::move(stop);
  return Reader{Submit(pool, std::move(request)), "", {}, 0, {}};
}

std::string Joined(const std::vector<OutputToken>& tokens) {
  std::string text;
  for (const OutputToken& token : tokens) text += token.bytes;
  return text;
}

TEST_CASE("A sequence goes on from the token it was rewound to, with another one where it is banned") {
  const auto pool = MakePool(Scripted());
  Reader reader = Start(*pool, "!say one two three four five", 3);
  CHECK(reader.Read() == Taken::kParked);
  CHECK(reader.text == "one two three ");
  REQUIRE(reader.tokens.size() == 3);
  CHECK(reader.stream->Rewind(1, {reader.tokens[1].id}));
  reader.stream->Allow(100, false);
  CHECK(reader.Read() == Taken::kEnd);
  CHECK(reader.text == "one other three four five");
  CHECK(Joined(reader.tokens) == reader.text);
  CHECK(reader.end.reason == EndReason::kStop);
  CHECK(reader.end.tokens_decoded == 7);  // Three, and four more after going back to one.
  CHECK(reader.end.tokens_taken_back == 2);
  CHECK(reader.end.tokens_delivered == 5);
}

TEST_CASE("Another sequence goes on behind tokens that stand, and its first token may be forbidden") {
  const auto pool = MakePool(Scripted());
  Reader reader = Start(*pool, "!say one two three four", 100);
  CHECK(reader.Read() == Taken::kEnd);
  CHECK(reader.end.tokens_taken_back == 0);
  SequenceRequest rest = Ask(*pool, "!say one two three four");
  for (int i = 0; i < 2; ++i) rest.prompt_tokens.push_back(reader.tokens[static_cast<std::size_t>(i)].id);
  rest.banned_first = {reader.tokens[2].id};
  rest.allowance = 100;
  rest.want_tokens = true;
  Reader again{Submit(*pool, std::move(rest)), "", {}, 0, {}};
  CHECK(again.Read() == Taken::kEnd);
  CHECK(again.text == "other four");
}

TEST_CASE("What was taken back uses up the allowance, and max_tokens counts what stands") {
  const auto pool = MakePool(Scripted());
  Reader reader = Start(*pool, "!tokens 50", 10);
  CHECK(reader.Read() == Taken::kParked);
  CHECK(reader.stream->Rewind(4, {}));
  CHECK(reader.Read() == Taken::kParked);  // Nothing more was allowed.
  CHECK(reader.stream->tokens_decoded() == 10);
  CHECK(reader.stream->Rewind(2, {}));
  reader.stream->Allow(13, true);
  CHECK(reader.Read() == Taken::kEnd);
  CHECK(reader.end.reason == EndReason::kAllowance);
  CHECK(reader.end.tokens_decoded == 13);
  CHECK(reader.end.tokens_delivered == 5);

  SequenceRequest request = Ask(*pool, "!tokens 50");
  request.max_tokens = 8;
  request.allowance = 6;
  Reader limited{Submit(*pool, std::move(request)), "", {}, 0, {}};
  CHECK(limited.Read() == Taken::kParked);
  CHECK(limited.stream->Rewind(0, {}));
  limited.stream->Allow(1000, false);
  CHECK(limited.Read() == Taken::kEnd);
  CHECK(limited.end.reason == EndReason::kLength);
  CHECK(limited.end.tokens_decoded == 14);
  CHECK(limited.end.tokens_delivered == 8);
}

TEST_CASE("A stop string that straddles the place of the rewind is met as if there had been none") {
  const auto pool = MakePool(Scripted());
  Reader reader = Start(*pool, "!say keep ST\\|OP rest", 2, {"STOP"});
  CHECK(reader.Read() == Taken::kParked);
  CHECK(reader.text == "keep ");
  CHECK(reader.stream->Rewind(2, {}));
  reader.stream->Allow(100, false);
  CHECK(reader.Read() == Taken::kEnd);
  CHECK(reader.text == "keep ");
  CHECK(reader.end.stop_index == 0);
  CHECK(reader.end.tokens_delivered == 1);
  CHECK(Joined(reader.tokens) == "keep ");
}

TEST_CASE("Rewinding a running sequence at any moment leaves exactly the text that its tokens spell") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto pool = MakePool(Scripted(2));
  for (int round = 0; round < 30; ++round) {
    Reader reader = Start(*pool, "!tokens 3000", 1000000);
    for (int i = 0; i < 5; ++i) {
      Piece piece;
      while (reader.stream->tokens_decoded() < 20 * i) std::this_thread::yield();
      if (reader.stream->Take(piece) == Taken::kPiece) {
        reader.text.resize(static_cast<std::size_t>(piece.text_at));
        reader.text += piece.text;
        reader.tokens.resize(static_cast<std::size_t>(piece.tokens_delivered) - piece.tokens.size());
        reader.tokens.insert(reader.tokens.end(), piece.tokens.begin(), piece.tokens.end());
      }
      const auto keep = static_cast<std::int64_t>(random() % (reader.tokens.size() + 1));
      if (!reader.stream->Rewind(keep, {})) break;
    }
    REQUIRE(reader.Read() == Taken::kEnd);
    CHECK(reader.tokens.size() == 3000);
    CHECK(reader.text == Joined(reader.tokens));
    CHECK(reader.text.size() == 3000 * 5);
    CHECK(reader.end.tokens_delivered == 3000);
    CHECK(reader.end.tokens_decoded >= 3000);
  }
}

}  // namespace
}  // namespace tollgate::inference
