// A request and the policies that it began with: what is put in force meanwhile is for the requests after it.
#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using test::ReplyOf;

namespace {

std::string Policy(const std::string& rule) {
  return "version: 1\nname: house\nrules:\n  - {id: " + rule + ", where: {direction: output}, detect: {keywords: globex}, " +
         (rule == "old" ? "do: replace, replacement: '[OLD]'}\n" : "do: block}\n");
}

}  // namespace

TEST_CASE("A running request keeps the policies that it began with, whatever is put in force meanwhile") {
  test::World world(Policy("old"));
  world.options.segment = std::chrono::milliseconds(0);
  test::RecordingWriter writer;
  bool changed = false;
  writer.on_write = [&](int) {
    if (!std::exchange(changed, true)) world.SetPolicy(Policy("new"));
  };
  std::string said = "!pace_ms 1\n!say globex", old = "[OLD]";
  for (int i = 0; i < 40; ++i) said += " and globex", old += " and [OLD]";
  const auto outcome = world.Chat(world.Ask(said), &writer);
  const pipeline::Reply& reply = ReplyOf(outcome);
  CHECK(changed);
  CHECK(writer.text + reply.text == old);
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);

  const auto next = world.Chat(world.Ask("!say ask globex"));
  CHECK(ReplyOf(next).text == "ask ");
  CHECK(ReplyOf(next).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);

  const auto requests = world.journal.Of(v1::RECORD_KIND_REQUEST), finals = world.journal.Of(v1::RECORD_KIND_FINAL);
  REQUIRE(requests.size() == 2);
  REQUIRE(finals.size() == 2);
  const std::pair<const char*, std::int64_t> hits[] = {{"old", 41}, {"new", 1}};
  for (std::size_t i = 0; i < 2; ++i) {
    INFO(hits[i].first);
    const auto compiled = policy::PolicySet::Compile(std::array{policy::PolicySource{"house", Policy(hits[i].first)}});
    REQUIRE(compiled.ok());
    CHECK(requests[i].record.request().policy_digest() == base::View((*compiled)->digest()));
    const v1::Verdict& verdict = finals[i].record.end().output_verdict();
    REQUIRE(verdict.rules_size() == 1);
    CHECK(verdict.rules(0).rule_id() == hits[i].first);
    CHECK(verdict.rules(0).count() == hits[i].second);
  }
  world.CheckBooks();
}
