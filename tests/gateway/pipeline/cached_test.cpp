// What a team's own earlier prompt saves: told in usage, and billed at the price book's cached rate; to another team it saves nothing.
#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/pipeline/world.h"
#include "tests/inference/tiny_model.h"

using namespace tollgate;
using pipeline::Reply;
using test::ReplyOf;
namespace v1 = tollgate::v1;

namespace {

constexpr std::int64_t kLeast = 8;          // What agrees on less is not kept.
constexpr std::int64_t kInputNanos = 4000;  // For 1,000 tokens; 1,000 where they are cached, 2,000 of output.

// A world with a model that keeps prefixes, and what a team is told and billed for its answers.
struct Saving {
  Saving() {
    inference::ModelOptions model = inference::test::TinyModel("llama").WriteTo(folder, 2, 512);
    model.name = "tiny";
    REQUIRE(world.pool().Load(model).ok());
    world.Price("tiny", kInputNanos);
  }

  v1::ChatRequest Ask(const std::string& user) const {
    v1::ChatRequest request = world.Ask(user, "tiny");
    v1::ChatMessage asked = request.messages(0);
    v1::ChatMessage* system = request.mutable_messages(0);
    system->set_role(v1::ROLE_SYSTEM);
    system->set_parts(0, std::string(200, 's'));
    *request.add_messages() = asked;
    request.set_max_tokens(4);
    return request;
  }

  // As told to the caller, in the record and in the bill alike.
  v1::TokenCounts Say(const std::string& user, const std::string& key, bool stream) {
    pipeline::Caller caller = world.NewCaller();
    caller.bearer = key;
    test::RecordingWriter writer;
    const auto outcome = world.ChatAs(caller, Ask(user), stream ? &writer : nullptr);
    const v1::TokenCounts usage = ReplyOf(outcome).end.usage();
    const v1::EndBody end = world.journal.Of(v1::RECORD_KIND_FINAL).back().record.end();
    CHECK(end.tokens().input() == usage.input());
    CHECK(end.tokens().cached_input() == usage.cached_input());
    for (const auto& segment : world.journal.Of(v1::RECORD_KIND_SEGMENT)) {  // What a crash would be settled at.
      if (segment.record.request_id() != world.journal.Of(v1::RECORD_KIND_FINAL).back().record.request_id()) continue;
      CHECK(segment.record.segment_body().cached_input_tokens() == usage.cached_input());
      ++segments;
    }
    CHECK((usage.cached_input() == 0 || usage.cached_input() >= kLeast));
    CHECK(usage.output() >= 1);
    CHECK(end.amount_nanos() == 4 * (usage.input() - usage.cached_input()) + usage.cached_input() + 2 * usage.output());
    return usage;
  }

  test::TempDir folder;
  test::World world;
  int segments = 0;
};

}  // namespace

TEST_CASE("The second request with a team's long system prompt tells the tokens that the first saved it, and costs so much less") {
  for (const bool stream : {false, true}) {
    INFO((stream ? "stream" : "whole"));
    Saving saving;
    const std::string other = saving.world.AddTeam("sales");
    CHECK(saving.Say("Hello.", saving.world.key_text, stream).cached_input() == 0);
    const v1::TokenCounts second = saving.Say("And now?", saving.world.key_text, stream);
    CHECK(second.cached_input() >= 192);  // Of a system prompt of more than 200 tokens all whole blocks, and not all of the prompt.
    CHECK(second.cached_input() < second.input());
    CHECK(saving.Say("And now?", other, stream).cached_input() == 0);
    CHECK(saving.Say("Hello.", other, stream).cached_input() == second.cached_input());
    CHECK((saving.segments > 0) == stream);
  }
}
