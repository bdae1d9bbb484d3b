// Strict answers made again through the admin API, from records as a request leaves them.
#include <future>

#include "audit/seal.h"
#include "base/crypto.h"
#include "gateway/pipeline/strict.h"
#include "tests/gateway/admin/served.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;

namespace {

// A request to "exact" that is on record, as the pipeline would have written it.
struct World : test::Served {
  World() {
    const auto snapshot = Must(directory->InForce());
    place = *snapshot->FindKey(in.IdOf("acme/member"));
    const inference::Turn turn{"user", "", "!say one two three four five"};
    sequence.model = "exact";
    sequence.prompt_tokens = Must(pool->Render("exact", std::span(&turn, 1)));
    sequence.sampling.seed = 7;
    sequence.max_tokens = 100;
    model = Must(pool->Find("exact"));
  }

  v1::Record NewRecord(v1::RecordKind kind) const {
    v1::Record record;
    record.set_kind(kind);
    record.set_request_id(request.Bytes());
    record.set_attempt(1);
    record.set_org_id(place.org->id.Bytes());
    record.set_team_id(place.team->id.Bytes());
    record.set_project_id(place.project->id.Bytes());
    record.set_key_id(place.key->id.Bytes());
    return record;
  }
  void Append(v1::Record record, const v1::SealedContent& content) {
    audit::Entry entry;
    entry.content = audit::Seal(*key, {record.kind(), 1, 0}, content);
    if (record.kind() == v1::RECORD_KIND_REQUEST) entry.key = key->row();
    entry.record = std::move(record);
    Must(audit::AppendAndWait(*journal, std::move(entry), audit::Journal::kNoDeadline));
  }

  // What the pool answers.
  std::vector<std::int32_t> Answer() {
    inference::SequenceRequest asked = sequence;
    asked.allowance = 100;
    asked.want_tokens = asked.strict = true;
    const auto stream = Must(pool->Submit(asked));
    std::vector<std::int32_t> tokens;
    for (;;) {
      inference::Piece piece;
      const inference::Taken taken = stream->Take(piece);
      for (const inference::OutputToken& token : piece.tokens) tokens.push_back(token.id);
      if (taken == inference::Taken::kEnd) return tokens;
      std::this_thread::yield();
    }
  }

  template <typename Change>
  void Recorded(Change change, bool ended = true) {
    Put(Answer(), change, ended);
  }
  // Puts a request on record that was answered with these tokens, after `change` of its body, its output and its end.
  template <typename Change>
  void Put(const std::vector<std::int32_t>& tokens, Change change, bool ended = true) {
    request = base::RequestId::New();
    key = Must(audit::MakeKeyAndWait(*root_keys, place.team->id, request, audit::Journal::kNoDeadline));
    v1::Record asked = NewRecord(v1::RECORD_KIND_REQUEST), answered = NewRecord(v1::RECORD_KIND_FINAL);
    v1::RequestBody& body = *asked.mutable_request();
    body.set_model("exact");
    body.set_model_sha256(std::string(base::View(model.sha256)));
    body.mutable_sampling()->set_seed(7);
    body.mutable_sampling()->set_temperature_millionths(1'000'000);
    body.mutable_sampling()->set_top_p_millionths(1'000'000);
    body.mutable_sampling()->set_repeat_penalty_millionths(1'000'000);
    *body.mutable_strict() = pipeline::RunOf(*model.strict, "test");
    v1::SealedContent question, answer;
    *question.mutable_strict_input() = pipeline::InputOf(sequence);
    answer.mutable_strict_output()->mutable_tokens()->Add(tokens.begin(), tokens.end());
    answer.mutable_strict_output()->set_complete(true);
    answered.mutable_end()->set_reason("STOP");
    answered.mutable_end()->mutable_tokens()->set_output(static_cast<std::int64_t>(tokens.size()));
    change(body, *answer.mutable_strict_output(), *answered.mutable_end());
    Append(std::move(asked), question);
    if (ended) Append(std::move(answered), answer);
  }

  v1::ReplayReply Replay(const std::string& as = "auditor") {
    v1::ReplayRequest call;
    call.set_request_id(request.ToString());
    call.set_reason("case 12");
    v1::ReplayReply reply;
    status = Call(as, v1::Audit::NewStub(channel), &v1::Audit::Stub::Replay, call, reply);
    return reply;
  }
  std::vector<v1::ViewBody> Views() {
    v1::ListRecordsRequest list;
    list.add_kinds(v1::RECORD_KIND_VIEW);
    list.set_request_id(request.ToString());
    v1::ListRecordsReply listed;
    REQUIRE(Call("auditor", v1::Audit::NewStub(channel), &v1::Audit::Stub::List, list, listed).ok());
    std::vector<v1::ViewBody> views;
    for (auto it = listed.records().rbegin(); it != listed.records().rend(); ++it) views.push_back(it->record().view());
    return views;
  }

  directory::Place place;
  inference::SequenceRequest sequence;
  inference::ModelInfo model;
  base::RequestId request = base::RequestId::New();
  std::shared_ptr<const audit::RequestKey> key;
  grpc::Status status;
};

const auto kAsItWas = [](auto&, auto&, auto&) {};

}  // namespace

TEST_CASE("A strict answer is made again and found the same; who read it, and how it went, is on record") {
  World world;
  world.Recorded(kAsItWas);
  const v1::ReplayReply reply = world.Replay();
  INFO(world.status.error_message());
  REQUIRE(world.status.ok());
  CHECK(reply.outcome().verdict() == "same");
  CHECK(reply.message() == "same: all 5 tokens");
  CHECK(reply.model() == "exact");
  CHECK(reply.outcome().equal_tokens() == 5);
  CHECK(reply.outcome().tokens().output() == 5);
  CHECK(reply.outcome().tokens().input() == static_cast<std::int64_t>(world.sequence.prompt_tokens.size()));
  CHECK(reply.recorded().SerializeAsString() == reply.here().SerializeAsString());
  const std::vector<v1::ViewBody> views = world.Views();
  REQUIRE(views.size() == 3);
  for (const v1::ViewBody& view : views) {
    CHECK(view.actor() == world.in.IdOf("acme/auditor"));
    CHECK(view.reason() == "case 12");
  }
  CHECK_FALSE(views[0].has_replay());
  CHECK(views[2].replay().verdict() == "same");
  CHECK(views[2].replay().tokens().output() == 5);
  CHECK(views[2].index() == views[0].index());
}

TEST_CASE("A difference is told at its token, also where the answer is longer or shorter than the record says") {
  World world;
  const auto told = [&](auto change) {
    world.Recorded([&](auto&, auto& output, auto&) { change(output); });
    const v1::ReplayReply reply = world.Replay();
    CHECK(reply.outcome().verdict() == "differs");
    CHECK(world.Views().back().replay().verdict() == "differs");
    return reply.message();
  };
  CHECK(told([](auto& output) { output.set_tokens(2, 5); }) == "differs at token 3 of 5");
  CHECK(told([](auto& output) { output.add_tokens(5); }) == "differs at token 6 of 6");
  CHECK(told([](auto& output) { output.mutable_tokens()->RemoveLast(); }) == "differs at token 5, behind the last one that is on record");
  world.Recorded([](auto&, auto& output, auto& end) {
    output.mutable_tokens()->Truncate(3);
    output.set_complete(false);
    end.mutable_tokens()->set_output(3);
  });
  CHECK(world.Replay().message() == "same: all 3 tokens that were recorded before it was cut off");
}

TEST_CASE("What cannot be made again is told with its reason, and no content is opened for it") {
  World world;
  const auto reason = [&](auto change, bool ended = true) {
    world.Recorded(change, ended);
    const v1::ReplayReply reply = world.Replay();
    INFO(world.status.error_message());
    CHECK(world.status.ok());
    CHECK(reply.outcome().verdict() == "impossible");
    CHECK_FALSE(reply.message().empty());
    CHECK(world.Views().empty());
    return reply.outcome().reason();
  };
  CHECK(reason([](auto& body, auto&, auto&) { body.clear_strict(); }) == "NOT_STRICT");
  CHECK(reason(kAsItWas, false) == "NOT_ENDED");
  CHECK(reason([](auto&, auto&, auto& end) { end.mutable_tokens()->set_output(0); }) == "NO_OUTPUT");
  CHECK(reason([](auto& body, auto&, auto&) { body.set_model("gone"); }) == "MODEL_NOT_LOADED");
  CHECK(reason([](auto& body, auto&, auto&) { body.set_model_sha256(std::string(32, 'x')); }) == "OTHER_WEIGHTS");
  CHECK(reason([](auto& body, auto&, auto&) { body.add_adapters()->set_name("exact:a"); }) == "OTHER_ADAPTERS");
  CHECK(reason([](auto& body, auto&, auto&) { body.mutable_strict()->set_build("older"); }) == "OTHER_BUILD");
  CHECK(reason([](auto& body, auto&, auto&) { body.mutable_strict()->set_processor("another"); }) == "OTHER_PROCESSOR");
  CHECK(reason([](auto& body, auto&, auto&) { body.mutable_strict()->set_threads(9); }) == "OTHER_SETUP");
  world.Recorded(kAsItWas);
  const auto keys = test::PostgresCluster::Shared().Connect(world.keys_url);
  REQUIRE(keys->InTransaction("destroy keys", [](base::Session& s) { return s.Run("destroy", "DELETE FROM keys.request").status(); }).ok());
  CHECK(world.Replay().outcome().reason() == "ERASED");
}

TEST_CASE("Replaying takes the permission to read content, a reason, and a record within reach") {
  World world;
  world.Recorded(kAsItWas);
  world.Replay("member");
  CHECK(world.status.error_code() == StatusCode::PERMISSION_DENIED);
  world.Replay("admin");
  CHECK(world.status.error_code() == StatusCode::PERMISSION_DENIED);
  world.Replay("globex");
  CHECK(world.status.error_code() != StatusCode::OK);
  CHECK(world.Views().empty());
  v1::ReplayRequest call;
  call.set_request_id(world.request.ToString());
  v1::ReplayReply reply;
  CHECK(world.Call("auditor", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::Replay, call, reply).error_code() ==
        StatusCode::INVALID_ARGUMENT);
  world.request = base::RequestId::New();
  world.Replay();
  CHECK(world.status.error_code() == StatusCode::NOT_FOUND);
}

TEST_CASE("One answer is made again at a time; a call that is given up ends it, and that is on record") {
  World world;
  world.Recorded(kAsItWas);
  const base::RequestId fine = world.request;
  // On record as five tokens, of which one comes and then none.
  const inference::Turn turn{"user", "", "!say one\n!hang"};
  world.sequence.prompt_tokens = Must(world.pool->Render("exact", std::span(&turn, 1)));
  world.Put({0, 1, 2, 3, 4}, kAsItWas);
  const base::RequestId hangs = world.request;

  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + world.texts["auditor"]);
  v1::ReplayRequest call;
  call.set_request_id(hangs.ToString());
  call.set_reason("case 12");
  v1::ReplayReply reply;
  auto running = std::async(std::launch::async, [&] { return v1::Audit::NewStub(world.channel)->Replay(&context, call, &reply); });
  while (world.pool->stats().at(1).running == 0) std::this_thread::yield();
  world.request = fine;
  world.Replay();
  CHECK(world.status.error_code() == StatusCode::RESOURCE_EXHAUSTED);
  context.TryCancel();
  CHECK(running.get().error_code() == StatusCode::CANCELLED);
  while (world.pool->stats().at(1).running > 0) std::this_thread::yield();
  do {
    world.Replay();
  } while (world.status.error_code() == StatusCode::RESOURCE_EXHAUSTED);
  REQUIRE(world.status.ok());
  world.request = hangs;
  CHECK(world.Views().size() == 3);
}

TEST_CASE("An emergency stop of its model, or the end of its caller's key, ends a replay that runs, and that is on record") {
  World world;
  const inference::Turn turn{"user", "", "!hang"};
  world.sequence.prompt_tokens = Must(world.pool->Render("exact", std::span(&turn, 1)));
  const auto ended_by = [&](auto stop) {
    world.Put({0, 1, 2, 3, 4}, kAsItWas);
    auto running = std::async(std::launch::async, [&] { return world.Replay("owner"); });
    while (world.pool->stats().at(1).running == 0) std::this_thread::yield();
    stop();
    const v1::ReplayReply reply = running.get();
    INFO(world.status.error_message() << reply.message());
    CHECK(world.status.ok());
    CHECK(reply.outcome().verdict() == "impossible");
    CHECK(reply.outcome().reason() == "STOPPED");
    CHECK(world.Views().back().replay().reason() == "STOPPED");
    while (world.pool->stats().at(1).running > 0) std::this_thread::yield();
    return reply.message();
  };
  const admin::StopTarget model{admin::StopTarget::Kind::kModel, "exact", {}};
  CHECK(ended_by([&] { Must(world.in.changes->Stop(world.in.cli, model, "a leak")); }).find("emergency stop of model exact") !=
        std::string::npos);
  const auto lifted = Must(world.in.changes->LiftStop(world.in.cli, model, "over"));
  REQUIRE(world.directory->WaitFor(lifted.version, std::chrono::seconds(10)).ok());
  CHECK(ended_by([&] { Must(world.in.changes->RevokeKey(world.in.cli, world.in.IdOf("acme/owner"), "left")); }).find("revoked") !=
        std::string::npos);
}
