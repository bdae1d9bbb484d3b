// Stop strings beside rules about replies: where a reply ends tells nothing of what a rule hides in it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using test::ReplyOf;

namespace {

std::string Policy(const std::string& action) {
  return "version: 1\nname: house\nrules:\n  - { id: code, where: { direction: output }, detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }, "
         "do: " +
         action + " }\n";
}

}  // namespace

TEST_CASE("A guess at hidden text, sent as a stop string, changes nothing of the reply, be it right or wrong") {
  const std::string action = GENERATE("redact", "block", "hash, salt: 0123456789abcdefgh", "mask");
  const bool streamed = GENERATE(false, true);
  CAPTURE(action, streamed);
  test::World world(Policy(action));
  std::vector<std::string> seen;
  for (const std::string guess : {"nothing like it", "is ZQ~A", "is ZQ~B", "ZQ~AB~1", "~AB~12", "ZQ"}) {
    v1::ChatRequest request = world.Ask("!say it is ZQ\\|~AB~12 he said. ");
    request.add_stop(guess);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, streamed ? &writer : nullptr);
    const pipeline::Reply& reply = ReplyOf(outcome);
    // How far a reply was decoded before its block was seen is a matter of moments.
    const std::int64_t decoded = action == "block" ? 0 : reply.end.usage().output();
    seen.push_back(writer.text + reply.text + "|" + v1::FinishReason_Name(reply.end.finish_reason()) + "|" + std::to_string(decoded));
    CHECK(seen.back() == seen.front());
    CHECK(seen.back().find("ZQ~AB~12") == std::string::npos);
  }
  world.CheckBooks();
}

TEST_CASE("Behind rules about replies a stop string ends the reply as it does without them: its text, its reason, its log-probabilities") {
  const bool streamed = GENERATE(false, true);
  CAPTURE(streamed);
  for (const std::string action : {"", "redact"}) {
    test::World world(action.empty() ? "" : Policy(action));
    v1::ChatRequest request = world.Ask("!alt x\n!say one ZQ and two END three four five");
    request.add_stop("END");
    request.set_logprobs(true);
    request.set_top_logprobs(1);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, streamed ? &writer : nullptr);
    const pipeline::Reply& reply = ReplyOf(outcome);
    CHECK(writer.text + reply.text == "one ZQ and two ");
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
    std::string tokens;
    for (const v1::TokenLogprob& token : writer.logprobs) tokens += token.token();
    for (const v1::TokenLogprob& token : reply.logprobs) tokens += token.token();
    CHECK(std::string("one ZQ and two ").starts_with(tokens));
    CHECK(tokens.size() >= 10);
    const v1::Record end = world.journal.Of(v1::RECORD_KIND_FINAL).at(0).record;
    CHECK(end.end().delivered_bytes() == 15);
    CHECK(end.end().reason() == "STOP");
    world.CheckBooks();
  }
}
