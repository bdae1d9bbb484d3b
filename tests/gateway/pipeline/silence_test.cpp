// What a stream's client hears while none of its output may leave yet.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <chrono>
#include <functional>
#include <future>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;

namespace {

// Of a client whom silence hurts at once.
class Impatient final : public test::RecordingWriter {
 public:
  async::Awaitable<absl::Status> Begin(const pipeline::ReplyHead& head) override {
    if (on_begin) on_begin(head);
    co_return co_await test::RecordingWriter::Begin(head);
  }
  std::chrono::milliseconds silence_max() const override { return std::chrono::milliseconds(1); }

  std::function<void(const pipeline::ReplyHead& head)> on_begin;
};

}  // namespace

TEST_CASE("A stream of which nothing may leave yet begins once it has a token, with what is on record by then") {
  struct Row {
    const char* held;
    const char* script;
  };
  const Row row = GENERATE(Row{"half a call", "!say <tool_call>\\n{\"name\": \"find\", \"arguments\"\n!hang"},
                           Row{"half a span", "!say ZQ~AB\\|CD\n!hang"});
  CAPTURE(row.held);
  test::World world(test::CodeAndFish("output"));
  v1::ChatRequest request = world.Ask(row.script);
  request.add_tools()->set_name("find");
  request.mutable_tools(0)->set_parameters(R"({"type":"object"})");
  Impatient writer;
  std::promise<void> begun;
  writer.on_begin = [&](const pipeline::ReplyHead& head) {
    CHECK(world.Kinds() == "REQUEST");
    CHECK(head.model == "script");
    begun.set_value();
  };
  const auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto chat = world.Start(request, &writer, cancellation);
  const auto heard = begun.get_future().wait_for(std::chrono::minutes(1));
  cancellation->Cancel();
  CHECK(std::holds_alternative<Failure>(chat.get()));
  CHECK(heard == std::future_status::ready);
  CHECK(writer.begins == 1);
  CHECK(writer.writes == 0);
  CHECK(world.Kinds() == "REQUEST FINAL");
  world.CheckBooks();
}

TEST_CASE("Before its first token a stream says nothing, so that what ends it is still a status") {
  test::World world;
  Impatient writer;
  pipeline::Caller caller = world.NewCaller();
  caller.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  const auto outcome = world.ChatAs(caller, world.Ask("!hang"), &writer);
  CHECK(absl::IsDeadlineExceeded(std::get<Failure>(outcome).status));
  CHECK(writer.begins == 0);
  CHECK(world.Kinds() == "REQUEST FINAL");
}

TEST_CASE("A stream that has begun by itself goes on as any other, and begins once") {
  test::World world(test::CodeAndFish("output"));
  Impatient writer;
  const auto outcome = world.Chat(world.Ask("!pace_ms 2\n!say ZQ~AB\\|CD\\|EF\\|~12 is it"), &writer);
  CHECK(writer.text + test::ReplyOf(outcome).text == "[REDACTED] is it");
  CHECK(writer.begins <= 1);
  world.CheckBooks();
}
