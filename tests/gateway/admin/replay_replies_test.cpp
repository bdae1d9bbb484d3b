// Replies judged anew, from records as the pipeline writes them.
#include "tests/gateway/admin/replay_world.h"

using namespace tollgate;
using World = test::ReplayWorld;
using test::AskReplay;

TEST_CASE("A replay judges replies as their model wrote them, and counts what of them nobody can know") {
  World world;
  world.Record("acme", "redacted");
  v1::SealedContent redacted = World::Text("write to [EMAIL] now");
  World::Keep(redacted, "mail", 9, "bob@example.com");
  redacted.mutable_raw(0)->set_became_bytes(7);
  const audit::Position mail = world.Final(redacted, World::Ended(v1::FINISH_REASON_STOP, "redact", "mail"));

  world.Record("acme", "streamed");
  world.Segment(1, "the blue");
  world.Segment(2, "bird s");
  const audit::Position bird = world.Final(World::Text("ings"), World::Ended(v1::FINISH_REASON_STOP));

  world.Record("acme", "erased");
  world.Final(World::Text("the bluebird"), World::Ended(v1::FINISH_REASON_STOP));
  REQUIRE(test::PostgresCluster::Shared()
              .Connect(world.keys_url)
              ->RunScript("erase", "UPDATE keys.request SET salt = NULL WHERE request_id = '" + world.requests.back() + "'")
              .ok());

  world.Record("acme", "blocked");
  world.Segment(1, "so far ");
  v1::SealedContent blocked;
  World::Keep(blocked, "fish", 7, "swordfish, ");
  World::Keep(blocked, "", 18, "bluebird");
  const audit::Position cut = world.Final(blocked, World::Ended(v1::FINISH_REASON_CONTENT_FILTER, "block", "fish"));

  world.Record("acme", "quiet");
  world.Final(World::Text("nothing in it"), World::Ended(v1::FINISH_REASON_LENGTH));

  world.Record("acme", "died");
  world.Segment(1, "about blue");
  const audit::Position dead = world.Say(v1::RECORD_KIND_ABORT, 0, {});

  world.texts["both"] = world.in.MakeKey("acme", "both", {directory::Role::kPolicyAuthor, directory::Role::kAuditor});
  REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(10)).ok());
  v1::ReplayPolicyRequest ask = AskReplay();
  ask.set_yaml(
      "version: 1\nname: house\nrules:\n  - {id: codename, where: {direction: output}, detect: {keywords: bluebird}, do: block}\n"
      "  - {id: tox, where: {direction: output}, detect: {external: toxicity}, do: block}\n");
  ask.set_page_size(1000);
  const v1::PolicyChanges all = world.All("both", ask, &v1::Policy::Stub::Replay);
  CHECK(world.pages == 1);
  CHECK(all.judged() == 9);
  CHECK(all.replies() == 4);
  CHECK(all.changed() == 3);
  CHECK(all.erased() == 1);
  REQUIRE(all.not_asked_size() == 1);
  CHECK(all.not_asked(0) == "external toxicity (tox)");
  REQUIRE(all.verdicts_size() == 2);
  CHECK(all.verdicts(0).direction() == "output");
  CHECK(all.verdicts(0).was() == "allow");
  CHECK(all.verdicts(0).would() == "block");
  REQUIRE(all.verdicts(0).examples_size() == 1);
  CHECK(all.verdicts(0).examples(0).index() == bird.index);
  CHECK(all.verdicts(1).was() == "redact");
  CHECK(all.verdicts(1).would() == "allow");
  CHECK(all.verdicts(1).examples(0).index() == mail.index);
  REQUIRE(all.rules_size() == 3);
  CHECK(all.rules(0).rule_id() == "codename");
  CHECK(all.rules(0).count() == 2);  // Also in what the blocked reply went on with.
  CHECK(all.rules(1).rule_id() == "fish");
  CHECK(all.rules(1).would().empty());
  CHECK(all.rules(2).rule_id() == "mail");
  CHECK(all.rules(2).spans_was() == 1);
  CHECK(all.rules(2).spans_would() == 0);
  REQUIRE(all.reply_gaps_size() == 3);
  CHECK(all.reply_gaps(0).why() == "blocked");
  CHECK(all.reply_gaps(0).examples(0).index() == cut.index);
  CHECK(all.reply_gaps(1).why() == "erased");
  CHECK(all.reply_gaps(1).count() == 1);
  CHECK(all.reply_gaps(2).why() == "no_verdict");
  CHECK(all.reply_gaps(2).examples(0).index() == dead.index);

  // What stands in other pages than its end is found all the same.
  ask.set_page_size(1);
  v1::PolicyChanges slowly = world.All("both", ask, &v1::Policy::Stub::Replay);
  CHECK(world.pages > 10);
  CHECK(slowly.SerializeAsString() == all.SerializeAsString());
  CHECK(world.All("author", ask, &v1::Policy::Stub::Replay).reply_gaps(0).examples().empty());

  // A rule that is as it was changes nothing; what the reply would have gone on with is named, not judged.
  ask.set_yaml(
      "version: 1\nname: house\nrules:\n  - {id: mail, where: {direction: output}, detect: {personal_data: email}, do: redact}\n"
      "  - {id: fish, where: {direction: output}, detect: {keywords: swordfish}, do: block}\n");
  const v1::PolicyChanges same = world.All("both", ask, &v1::Policy::Stub::Replay);
  CHECK(same.judged() == 9);
  CHECK(same.changed() == 0);
  CHECK(same.reply_gaps_size() == 3);

  v1::ListRecordsRequest views;
  views.add_kinds(v1::RECORD_KIND_VIEW);
  v1::ListRecordsReply listed;
  REQUIRE(world.Call("auditor", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::List, views, listed).ok());
  // The first page: five prompts, the FINALs of four replies and the SEGMENTs of three.
  CHECK(listed.records(listed.records_size() - 1).record().view().viewed(0).steps_size() == 5 + 4 + 4);
}

TEST_CASE("A replay judges each of several replies, their thoughts and their calls") {
  World world;
  world.Record("acme", "several");
  v1::SealedContent content = World::Text("one");
  v1::ReleasedPart& first = *content.add_parts();
  first.set_reasoning("bluebird?");
  v1::ReleasedPart& second = *content.add_parts();
  second.set_choice(1);
  second.set_text("two bluebirds, one bluebird");
  v1::ToolCall& call = *second.add_tool_calls();
  call.set_name("find");
  call.set_arguments(R"({"q":"[EMAIL] of blue\u0062ird","n":1})");
  World::Keep(content, "mail", 6, "bob@example.com");
  content.mutable_raw(0)->set_choice(1);
  content.mutable_raw(0)->set_channel("tool_calls[0]");
  content.mutable_raw(0)->set_became_bytes(7);
  v1::EndBody end = World::Ended(v1::FINISH_REASON_STOP, "redact", "mail");
  end.add_choices()->set_finish_reason(v1::FINISH_REASON_STOP);
  end.add_choices()->set_finish_reason(v1::FINISH_REASON_TOOL_CALLS);
  world.Final(content, end);
  v1::ReplayPolicyRequest ask = AskReplay();
  ask.set_yaml(
      "version: 1\nname: house\nrules:\n  - {id: codename, where: {direction: output}, detect: {keywords: bluebird}, do: flag}\n"
      "  - {id: find, where: {direction: output, parts: [tool_calls]}, detect: {personal_data: email}, do: redact}\n");
  const v1::PolicyChanges all = world.All("author", ask, &v1::Policy::Stub::Replay);
  CHECK(all.replies() == 1);
  CHECK(all.reply_gaps().empty());
  REQUIRE(all.rules_size() == 3);
  CHECK(all.rules(0).rule_id() == "codename");
  CHECK(all.rules(0).spans_would() == 3);
  CHECK(all.rules(1).rule_id() == "find");
  CHECK(all.rules(1).spans_would() == 1);
  CHECK(all.rules(2).rule_id() == "mail");
}
