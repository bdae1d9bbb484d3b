// A strict answer made again. What can be told without opening content is told first; then the two records are opened, each behind a VIEW of
// its own, the sequence goes to the pool as it went there the first time, to as many tokens as were decoded then, and what comes is compared
// with what is on record, token by token. How it went is a VIEW too, with what it took: the tokens are on nobody's bill, and on record.
//
// One at a time: a replay holds one of the few threads of admin calls until it is done.
//
// Tested by tests/gateway/admin/answer_replay_test.cpp.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/text.h"
#include "gateway/pipeline/strict.h"
#include "inference/pool.h"

namespace tollgate::admin {

namespace {

using pipeline::Obstacle;

constexpr std::chrono::minutes kReplayTime{10};
constexpr std::chrono::minutes kEndTime{1};  // For the engine to end it after that.
constexpr std::chrono::seconds kRecordTime{5};
constexpr std::chrono::milliseconds kLook{100};  // How late a call that was cancelled is seen.

// A request's two records that matter.
struct Story {
  audit::Row request, end;
};

// What came of a run in the pool.
struct Made {
  std::vector<std::int32_t> tokens;
  inference::StreamEnd end;
};

absl::StatusOr<Obstacle> StoryOf(const Caller& caller, const audit::Viewer& viewer, base::RequestId id, Story& story, v1::ReplayReply& reply) {
  TG_ASSIGN(const std::vector<audit::Row> rows, caller.desk().reader.Show(viewer, id));
  const auto find = [&rows](auto is) { return std::find_if(rows.begin(), rows.end(), [&](const audit::Row& row) { return is(row.record.kind()); }); };
  const auto request = find([](v1::RecordKind kind) { return kind == v1::RECORD_KIND_REQUEST; });
  const auto end = find([](v1::RecordKind kind) { return audit::IsTerminal(kind); });
  if (request == rows.end()) return Obstacle{"NOT_STRICT", "policy refused the prompt: there is no answer"};
  story.request = *request;
  reply.set_model(request->record.request().model());
  if (!request->record.request().has_strict())
    return Obstacle{"NOT_STRICT", "it was not made strict: it depends on what was computed beside it; ask with replay: strict from the start"};
  *reply.mutable_recorded() = request->record.request().strict();
  if (end == rows.end()) return Obstacle{"NOT_ENDED", "it is still being answered; try again when it has ended"};
  story.end = *end;
  if (!end->has_content || end->record.end().tokens().output() == 0)
    return Obstacle{"NO_OUTPUT", fmt::format("it ended with {} and no output on record that could be made again", end->record.end().reason())};
  return Obstacle{};
}

// The model as it is here, without opening any content.
absl::StatusOr<Obstacle> ObstacleHere(const Caller& caller, const v1::Record& request, v1::ReplayReply& reply) {
  const AdminCollaborators& with = caller.desk().with;
  if (with.pool == nullptr || with.keys == nullptr) return base::FailedPrecondition("nothing can be made again here: this instance has no pool");
  TG_ASSIGN(const base::Uuid team, base::Uuid::FromBytes(request.team_id()));
  TG_ASSIGN(const base::Uuid id, base::Uuid::FromBytes(request.request_id()));
  const auto key = with.keys->Find(base::TeamId(team), base::RequestId(id));
  if (absl::IsNotFound(key.status())) return Obstacle{"ERASED", "its key was destroyed: nobody can read this request any more"};
  TG_RETURN_IF_ERROR(key.status());
  const v1::RequestBody& body = request.request();
  const auto model = with.pool->Find(body.model());
  if (!model.ok()) return Obstacle{"MODEL_NOT_LOADED", fmt::format("model {} is not loaded here; load it, with strict", body.model())};
  if (model->strict) *reply.mutable_here() = pipeline::RunOf(*model->strict, with.build);
  const absl::Status may_run = caller.snapshot().MayRun(caller.place(), body.model(), with.clock->Wall());
  if (!may_run.ok()) return Obstacle{"STOPPED", base::Message(may_run)};
  return pipeline::ObstacleTo(body, *model, with.build);
}

// Takes everything that the stream gives, or as far as the call lives.
Made TakeAll(const Caller& caller, inference::TokenStream& stream) {
  struct Signal {
    std::mutex mu;
    std::condition_variable cv;
    bool set = false;
  };
  const auto patience = std::chrono::steady_clock::now() + kReplayTime + kEndTime;
  Made made;
  for (;;) {
    inference::Piece piece;
    const inference::Taken taken = stream.Take(piece);
    for (const inference::OutputToken& token : piece.tokens) made.tokens.push_back(token.id);
    if (taken == inference::Taken::kEnd) break;
    if (taken != inference::Taken::kEmpty) continue;
    const auto signal = std::make_shared<Signal>();
    stream.NotifyOnce([signal] {
      std::lock_guard lock(signal->mu);
      signal->set = true;
      signal->cv.notify_one();
    });
    for (bool set = false; !set;) {
      if (std::chrono::steady_clock::now() > patience) {
        made.end.reason = inference::EndReason::kEngineFailed;
        made.end.status = base::Unavailable("the engine hangs");
        made.end.tokens_decoded = stream.tokens_decoded();
        return made;
      }
      if (!caller.KeepGoing().ok()) stream.Cancel();
      std::unique_lock lock(signal->mu);
      set = signal->cv.wait_for(lock, kLook, [&] { return signal->set; });
    }
  }
  made.end = stream.end();
  return made;
}

bool EndedByItself(const inference::StreamEnd& end) {
  return end.reason == inference::EndReason::kStop || end.reason == inference::EndReason::kLength;
}

void Compare(const v1::StrictOutput& recorded, const Made& made, v1::ReplayReply& reply) {
  v1::ReplayOutcome& outcome = *reply.mutable_outcome();
  const bool whole = EndedByItself(made.end) || made.end.reason == inference::EndReason::kAllowance;
  const auto& then = recorded.tokens();
  const auto equal = std::mismatch(then.begin(), then.end(), made.tokens.begin(), made.tokens.end()).first - then.begin();
  const bool all_there = equal == then.size();
  const bool all_made = equal == static_cast<std::ptrdiff_t>(made.tokens.size());
  const bool same = all_there && (!recorded.complete() || (all_made && EndedByItself(made.end)));
  outcome.set_equal_tokens(equal);
  if (same) {
    outcome.set_verdict("same");
    reply.set_message(fmt::format("same: all {} tokens{}", equal, recorded.complete() ? "" : " that were recorded before it was cut off"));
  } else if (!whole && all_made) {
    outcome.set_verdict("impossible");
    std::string reason(inference::Name(made.end.reason));
    std::transform(reason.begin(), reason.end(), reason.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    outcome.set_reason(std::move(reason));
    reply.set_message(fmt::format("it could not be made again to its end: {}", base::Message(made.end.status)));
  } else {
    outcome.set_verdict("differs");
    reply.set_message(fmt::format("differs at token {}{}", equal + 1,
                                  all_there ? ", behind the last one that is on record" : fmt::format(" of {}", then.size())));
  }
}

// How it went, behind the VIEWs of what was opened for it.
absl::Status PutOnRecord(const Caller& caller, const Story& story, const std::string& reason, v1::ReplayReply& reply) {
  audit::Entry entry;
  const v1::Record& of = story.request.record;
  entry.record.set_kind(v1::RECORD_KIND_VIEW);
  for (const auto& [from, set] : {std::pair(&of.org_id(), &v1::Record::mutable_org_id), std::pair(&of.team_id(), &v1::Record::mutable_team_id),
                                  std::pair(&of.project_id(), &v1::Record::mutable_project_id),
                                  std::pair(&of.request_id(), &v1::Record::mutable_request_id)}) {
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
  TG_ASSIGN(const audit::Position position, audit::AppendAndWait(*caller.desk().with.journal, std::move(entry), deadline));
  reply.mutable_record()->set_log_id(position.log_id);
  reply.mutable_record()->set_index(position.index);
  return absl::OkStatus();
}

absl::Status MakeAgain(const Caller& caller, const audit::Viewer& viewer, const Story& story, const std::string& reason, v1::ReplayReply& reply) {
  const AdminCollaborators& with = caller.desk().with;
  TG_ASSIGN(const v1::SealedContent asked, caller.desk().reader.OpenContent(viewer, story.request.position, reason));
  TG_ASSIGN(const v1::SealedContent answered, caller.desk().reader.OpenContent(viewer, story.end.position, reason));
  if (!asked.has_strict_input() || !answered.has_strict_output()) return base::DataLoss("the request's records do not hold what was made");
  inference::SequenceRequest sequence = pipeline::SequenceOf(story.request.record.request(), asked.strict_input());
  TG_ASSIGN(const base::Uuid team, base::Uuid::FromBytes(story.request.record.team_id()));
  sequence.tenant = base::TeamId(team);
  sequence.key = caller.actor().key;
  sequence.allowance = story.end.record.end().tokens().output();
  sequence.allowance_final = true;
  sequence.deadline = base::SystemClock().Mono() + kReplayTime;
  TG_ASSIGN(const auto stream, with.pool->Submit(std::move(sequence)));
  const Made made = TakeAll(caller, *stream);
  Compare(answered.strict_output(), made, reply);
  v1::TokenCounts& tokens = *reply.mutable_outcome()->mutable_tokens();
  tokens.set_input(made.end.input_tokens_evaluated);
  tokens.set_output(made.end.tokens_decoded);
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
  TG_RETURN_IF_ERROR(CheckReason(request.reason()));
  if (request.reason().empty()) return base::InvalidArgument("reason: say why the answer is made again; it goes on record");
  TG_ASSIGN(const base::RequestId id, RequestOf(request.request_id()));
  const audit::Viewer viewer = caller.ViewerOf(caller.SeesAll() ? nullptr : caller.place().shard);
  Story story;
  TG_ASSIGN(const Obstacle told, StoryOf(caller, viewer, id, story, reply));
  if (!told.reason.empty()) return Impossible(told, reply);
  TG_ASSIGN(const Obstacle here, ObstacleHere(caller, story.request.record, reply));
  if (!here.reason.empty()) return Impossible(here, reply);
  if (caller.desk().replaying.exchange(true)) {
    return base::WithDetail(base::ResourceExhausted("another answer is being made again here; try again when that is done"),
                            {.reason = "REPLAY_RUNNING", .retry_after_ms = 5000});
  }
  struct Over {
    std::atomic<bool>& replaying;
    ~Over() { replaying = false; }
  } over{caller.desk().replaying};
  return MakeAgain(caller, viewer, story, request.reason(), reply);
}

}  // namespace tollgate::admin
