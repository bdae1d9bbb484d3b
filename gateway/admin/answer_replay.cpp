// A strict answer made again. What can be told without opening content is told first; then the two records are opened, each behind a VIEW
// of its own, and pipeline::MakeAgain does the work. How it went is a VIEW too, with what it took: the tokens are on nobody's bill, and on
// record.
//
// One at a time: a replay holds one of the few threads of admin calls until it is done.
//
// Tested by tests/gateway/admin/answer_replay_test.cpp.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/text.h"
#include "gateway/pipeline/answer_again.h"

namespace tollgate::admin {

namespace {

using pipeline::Obstacle;

constexpr std::chrono::seconds kRecordTime{5};

// A request's two records that matter.
struct Story {
  audit::Row request, end;
};

absl::StatusOr<Obstacle> StoryOf(const Caller& caller, const audit::Viewer& viewer, base::RequestId id, Story& story,
                                 v1::ReplayReply& reply) {
  TG_ASSIGN(const std::vector<audit::Row> rows, caller.context().reader.Show(viewer, id));
  const auto find = [&rows](auto is) {
    return std::find_if(rows.begin(), rows.end(), [&](const audit::Row& row) { return is(row.record.kind()); });
  };
  const auto request = find([](v1::RecordKind kind) { return kind == v1::RECORD_KIND_REQUEST; });
  const auto end = find([](v1::RecordKind kind) { return audit::IsTerminal(kind); });
  if (request == rows.end()) return Obstacle{"NOT_STRICT", "policy refused the prompt: there is no answer"};
  story.request = *request;
  reply.set_model(request->record.request().model());
  if (!request->record.request().has_strict())
    return Obstacle{"NOT_STRICT",
                    "it was not made strict: it depends on what was computed beside it; ask with replay: strict from the start"};
  *reply.mutable_recorded() = request->record.request().strict();
  if (end == rows.end()) return Obstacle{"NOT_ENDED", "it is still being answered; try again when it has ended"};
  story.end = *end;
  if (!end->has_content || end->record.end().tokens().output() == 0)
    return Obstacle{"NO_OUTPUT",
                    fmt::format("it ended with {} and no output on record that could be made again", end->record.end().reason())};
  return Obstacle{};
}

// The model as it is here, without opening any content.
absl::StatusOr<Obstacle> ObstacleHere(const Caller& caller, const v1::Record& request, v1::ReplayReply& reply) {
  const AdminCollaborators& with = caller.context().with;
  if (with.pool == nullptr || with.keys == nullptr)
    return base::FailedPrecondition("nothing can be made again here: this instance has no pool");
  TG_ASSIGN(const base::Uuid team, base::Uuid::FromBytes(request.team_id()));
  TG_ASSIGN(const base::Uuid id, base::Uuid::FromBytes(request.request_id()));
  const auto key = with.keys->Find(base::TeamId(team), base::RequestId(id));
  if (absl::IsNotFound(key.status())) return Obstacle{"ERASED", "its key was destroyed: nobody can read this request any more"};
  TG_RETURN_IF_ERROR(key.status());
  const absl::Status may_run = caller.snapshot().MayRun(caller.place(), request.request().model(), with.clock->Wall());
  if (!may_run.ok()) return Obstacle{"STOPPED", base::Message(may_run)};
  return pipeline::ObstacleIn(*with.pool, request.request(), with.build, reply);
}

// How it went, behind the VIEWs of what was opened for it.
absl::Status PutOnRecord(const Caller& caller, const Story& story, const std::string& reason, v1::ReplayReply& reply) {
  audit::Entry entry;
  const v1::Record& of = story.request.record;
  entry.record.set_kind(v1::RECORD_KIND_VIEW);
  for (const auto& [from, set] :
       {std::pair(&of.org_id(), &v1::Record::mutable_org_id), std::pair(&of.team_id(), &v1::Record::mutable_team_id),
        std::pair(&of.project_id(), &v1::Record::mutable_project_id), std::pair(&of.request_id(), &v1::Record::mutable_request_id)}) {
    *(entry.record.*set)() = *from;
  }
  entry.record.set_key_id(caller.actor().key.Bytes());
  v1::ViewBody& view = *entry.record.mutable_view();
  view.set_actor(caller.actor().name);
  view.set_reason(reason);
  view.set_log_id(story.request.position.log_id);
  view.set_index(story.request.position.index);
  *view.mutable_replay() = reply.outcome();
  const auto deadline = std::chrono::steady_clock::now() + kRecordTime;
  TG_ASSIGN(const audit::Position position, audit::AppendAndWait(*caller.context().with.journal, std::move(entry), deadline));
  reply.mutable_record()->set_log_id(position.log_id);
  reply.mutable_record()->set_index(position.index);
  return absl::OkStatus();
}

// What ends a request ends a replay too: a stop of its model, or whatever takes its caller's authority away.
absl::Status MayRunNow(const Caller& caller, const std::string& model) {
  const AdminCollaborators& with = caller.context().with;
  TG_ASSIGN(const auto now, with.directory->InForce());
  const auto place = now->FindKey(caller.place().key->id);
  if (!place) return base::PermissionDenied("the key that asked for this is gone");
  return now->MayRun(*place, model, with.clock->Wall());
}

absl::Status MakeAgain(const Caller& caller, const audit::Viewer& viewer, const Story& story, const std::string& reason,
                       v1::ReplayReply& reply) {
  const AdminCollaborators& with = caller.context().with;
  TG_ASSIGN(const v1::SealedContent asked, caller.context().reader.OpenContent(viewer, story.request.position, reason));
  TG_ASSIGN(const v1::SealedContent answered, caller.context().reader.OpenContent(viewer, story.end.position, reason));
  if (!asked.has_strict_input() || !answered.has_strict_output()) return base::DataLoss("the request's records do not hold what was made");
  TG_ASSIGN(const base::Uuid team, base::Uuid::FromBytes(story.request.record.team_id()));
  const pipeline::Recorded recorded{story.request.record.request(), asked.strict_input(), story.end.record.end(),
                                    answered.strict_output(),       base::TeamId(team),   caller.actor().key};
  absl::Status stopped;
  const auto keep_going = [&]() -> absl::Status {
    TG_RETURN_IF_ERROR(caller.KeepGoing());
    if (stopped.ok()) stopped = MayRunNow(caller, recorded.request.model());
    return stopped;
  };
  TG_RETURN_IF_ERROR(pipeline::MakeAgain(*with.pool, recorded, keep_going, reply));
  if (!stopped.ok() && reply.outcome().verdict() == "impossible") {
    reply.mutable_outcome()->set_reason("STOPPED");
    reply.set_message(fmt::format("it could not be made again to its end: {}", base::Message(stopped)));
  }
  return PutOnRecord(caller, story, reason, reply);
}

absl::Status Impossible(const Obstacle& obstacle, v1::ReplayReply& reply) {
  reply.mutable_outcome()->set_verdict("impossible");
  reply.mutable_outcome()->set_reason(obstacle.reason);
  reply.set_message(obstacle.message);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReplayAnswer(const Caller& caller, const v1::ReplayRequest& request, v1::ReplayReply& reply) {
  TG_RETURN_IF_ERROR(NeedReason(request.reason(), "the answer is made again"));
  TG_ASSIGN(const base::RequestId id, RequestOf(request.request_id()));
  TG_ASSIGN(const directory::Shard* scope, caller.ScopeOf({}));
  const audit::Viewer viewer = caller.ViewerOf(scope);
  Story story;
  TG_ASSIGN(const Obstacle told, StoryOf(caller, viewer, id, story, reply));
  if (!told.reason.empty()) return Impossible(told, reply);
  TG_ASSIGN(const Obstacle here, ObstacleHere(caller, story.request.record, reply));
  if (!here.reason.empty()) return Impossible(here, reply);
  if (caller.context().replaying.exchange(true)) {
    return base::WithDetail(base::ResourceExhausted("another answer is being made again here; try again when that is done"),
                            {.reason = "REPLAY_RUNNING", .retry_after_ms = 5000});
  }
  struct Over {
    std::atomic<bool>& replaying;
    ~Over() { replaying = false; }
  } over{caller.context().replaying};
  return MakeAgain(caller, viewer, story, request.reason(), reply);
}

}  // namespace tollgate::admin
