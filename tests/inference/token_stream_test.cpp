// The stream between a replica and its consumer.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>

#include "inference/stream_state.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

StreamNews News(std::string_view text, std::int64_t decoded, std::int64_t delivered) {
  return {.text = text, .decoded = decoded, .standing = decoded, .delivered = delivered};
}

struct Fixture {
  std::shared_ptr<Waker> waker = std::make_shared<Waker>();
  std::shared_ptr<StreamState> state;
  std::unique_ptr<TokenStream> stream;
  int notified = 0;

  explicit Fixture(std::int64_t allowance = 100, bool final = false, std::int64_t bytes = 16)
      : state(std::make_shared<StreamState>(waker, bytes, allowance, final)), stream(std::make_unique<TokenStream>(state)) {}
  void Notify() {
    stream->NotifyOnce([this] { ++notified; });
  }
  Taken Take() { return stream->Take(piece); }
  Piece piece;
};

TEST_CASE("Text is taken as one piece, then there is nothing, then the end for ever") {
  Fixture f;
  CHECK(f.Take() == Taken::kEmpty);
  f.state->Push(News("one ", 1, 1));
  f.state->Push(News("two", 2, 1));
  CHECK(f.Take() == Taken::kPiece);
  CHECK(f.piece.text == "one two");
  CHECK(f.piece.tokens_decoded == 2);
  CHECK(f.piece.tokens_delivered == 1);
  CHECK(f.Take() == Taken::kEmpty);
  f.state->Push(News(" three", 3, 3));
  StreamEnd end;
  end.tokens_decoded = 3;
  f.state->Finish(end);
  CHECK(f.Take() == Taken::kPiece);
  CHECK(f.Take() == Taken::kEnd);
  CHECK(f.Take() == Taken::kEnd);
  CHECK(f.stream->end().tokens_decoded == 3);
}

TEST_CASE("A callback runs once, at once if something is there, and a second one replaces the first") {
  Fixture f;
  f.Notify();
  f.state->Push(News("", 1, 0));  // A token whose text is held.
  CHECK(f.notified == 0);
  f.state->Push(News("x", 2, 2));
  f.state->Push(News("y", 3, 3));
  CHECK(f.notified == 1);
  f.Notify();
  CHECK(f.notified == 2);
  f.Take();
  f.stream->NotifyOnce([] { FAIL("replaced"); });
  f.Notify();
  f.state->Finish({});
  CHECK(f.notified == 3);
}

TEST_CASE("A patient callback waits for half of the buffer, a park or the end") {
  Fixture f(3, false, 16);
  const auto notify = [&f] { f.stream->NotifyOnce([&f] { ++f.notified; }, /*patient=*/true); };
  f.state->Push(News("one", 1, 1));
  notify();
  f.state->Push(News("four", 2, 2));
  CHECK(f.notified == 0);
  f.state->Push(News("8", 3, 3));
  CHECK(f.notified == 1);
  CHECK(f.Take() == Taken::kPiece);
  CHECK(f.piece.text == "onefour8");
  notify();
  f.state->Park(3);
  CHECK(f.notified == 2);
  CHECK(f.Take() == Taken::kParked);
  f.stream->Allow(9, false);
  f.state->Push(News("x", 4, 4));
  notify();
  f.state->Finish({});
  CHECK(f.notified == 3);
}

TEST_CASE("Parking at the allowance is told once, and Allow wakes the replica") {
  Fixture f(2);
  f.state->Push(News("", 2, 0));
  f.Notify();
  CHECK(f.state->Park(2).allowance == 2);
  CHECK(f.notified == 1);
  f.state->Park(2);
  CHECK(f.Take() == Taken::kParked);
  CHECK(f.Take() == Taken::kEmpty);
  CHECK_FALSE(f.waker->Poll());
  f.stream->Allow(1, false);  // Never lowers.
  CHECK_FALSE(f.waker->Poll());
  f.stream->Allow(5, false);
  CHECK(f.waker->Poll());
  CHECK(f.state->Park(2).allowance == 5);
  CHECK(f.Take() == Taken::kEmpty);  // It was not parked.
  f.state->Push(News("", 5, 0));
  f.state->Park(5);
  CHECK(f.Take() == Taken::kParked);
  f.stream->Allow(5, true);
  CHECK(f.waker->Poll());
  CHECK(f.state->Park(5).allowance_final);
}

TEST_CASE("A buffer that is full leaves no room; taking makes room and wakes the replica, but only where that helps") {
  Fixture f(100, false, 4);
  CHECK(f.state->Push(News("abc", 1, 1)).has_room);
  CHECK_FALSE(f.state->Push(News("d", 2, 2)).has_room);
  CHECK_FALSE(f.state->Park(2).has_room);
  CHECK(f.Take() == Taken::kPiece);
  CHECK(f.waker->Poll());
  f.state->Push(News("abcd", 100, 100));
  f.state->Park(100);
  CHECK(f.Take() == Taken::kPiece);
  CHECK_FALSE(f.waker->Poll());
  CHECK(f.Take() == Taken::kParked);
}

TEST_CASE("Dropping the stream cancels the sequence and forgets the callback") {
  Fixture f;
  f.stream->NotifyOnce([] { FAIL("forgotten"); });
  f.stream.reset();
  CHECK(f.state->cancelled());
  CHECK(f.state->cancel_reason() == EndReason::kCancelled);
  CHECK(f.waker->Poll());
  f.state->Finish({});
}

TEST_CASE("A consumer may give a deadline as its reason, and nothing else but cancelling") {
  Fixture f;
  f.stream->Cancel(EndReason::kDeadline);
  CHECK(f.state->cancel_reason() == EndReason::kDeadline);
  Fixture g;
  g.stream->Cancel(EndReason::kStop);
  CHECK(g.state->cancel_reason() == EndReason::kCancelled);
}

TEST_CASE("No text and no wake is lost between two threads") {
  constexpr int kTokens = 20000;
  Fixture f(1, false, 8);
  std::thread replica([&f] {
    StreamControl control{1, false, true};
    for (int i = 1; i <= kTokens; ++i) {
      while (i - 1 >= control.allowance || !control.has_room) {
        control = f.state->Park(i - 1);
        if (i - 1 < control.allowance && control.has_room) break;
        TG_CHECK(f.waker->Wait(std::chrono::minutes(3)), "no wake in three minutes");
      }
      control = f.state->Push(News("x", i, i));
    }
    f.state->Finish({});
  });
  std::size_t heard = 0;
  std::int64_t allowed = 1;
  for (;;) {
    test::Heard now;
    const Taken taken = test::Hear(*f.stream, now);
    heard += now.text.size();
    if (taken == Taken::kEnd) break;
    f.stream->Allow(allowed += 7, false);
  }
  replica.join();
  CHECK(heard == kTokens);
}

TEST_CASE("Rewinding drops what was not taken, ignores what comes until it is carried out, and says where the next text belongs") {
  Fixture f(100, false, 1000);
  const std::vector<OutputToken> tokens = {{1, "ab"}, {2, "cd"}, {3, "ef"}};
  f.state->Push({.text = "abcd", .tokens = std::span(tokens).first(2), .decoded = 2, .standing = 2, .delivered = 2});
  f.Take();
  CHECK(f.piece.text_at == 0);
  CHECK(f.piece.tokens.size() == 2);
  f.state->Push({.text = "ef", .tokens = std::span(tokens).last(1), .decoded = 3, .standing = 3, .delivered = 3});
  CHECK_FALSE(f.stream->Rewind(4, {}));
  CHECK(f.stream->Rewind(1, {2}));
  CHECK_FALSE(f.stream->Rewind(2, {}));  // It has one token now.
  CHECK(f.waker->Poll());
  CHECK(f.Take() == Taken::kEmpty);
  CHECK(f.state->Push({.text = "gh", .decoded = 4, .standing = 4, .delivered = 4}).rewind);
  CHECK(f.Take() == Taken::kEmpty);
  const auto order = f.state->TakeRewind();
  REQUIRE(order.has_value());
  CHECK(order->output_tokens == 1);
  CHECK(order->banned == std::vector<std::int32_t>{2});
  f.state->Rewound({.text = "ab", .tokens = std::span(tokens).first(1), .decoded = 4, .standing = 1, .delivered = 1});
  CHECK(f.Take() == Taken::kEmpty);  // That much was taken.
  f.state->Push({.text = "xy", .tokens = std::span(tokens).last(1), .decoded = 5, .standing = 2, .delivered = 2});
  CHECK(f.Take() == Taken::kPiece);
  CHECK(f.piece.text == "xy");
  CHECK(f.piece.text_at == 2);
  CHECK(f.piece.tokens_decoded == 5);
  CHECK(f.piece.tokens_delivered == 2);
  CHECK(f.piece.tokens.size() == 1);
}

TEST_CASE("Rewinding to more than was taken gives the rest of it; an end that was on its way wins") {
  Fixture f(100, false, 1000);
  f.state->Push({.text = "abc", .decoded = 1, .standing = 1, .delivered = 1});
  f.Take();
  f.state->Push({.text = "def", .decoded = 2, .standing = 2, .delivered = 2});
  CHECK(f.stream->Rewind(2, {}));
  f.state->TakeRewind();
  f.state->Rewound({.text = "abcdef", .decoded = 2, .standing = 2, .delivered = 2});
  CHECK(f.Take() == Taken::kPiece);
  CHECK(f.piece.text == "def");
  f.state->Push({.text = "", .decoded = 3, .standing = 3, .delivered = 3, .ends = true});
  CHECK_FALSE(f.stream->Rewind(1, {}));
  f.state->Finish({});
  CHECK(f.Take() == Taken::kEnd);
}

TEST_CASE("A sequence is rewound a limited number of times") {
  Fixture f;
  for (int i = 0; i < TokenStream::kRewindsMax; ++i) {
    CHECK(f.stream->Rewind(0, {}));
    f.state->TakeRewind();
  }
  CHECK_FALSE(f.stream->Rewind(0, {}));
}

}  // namespace
}  // namespace tollgate::inference
