// The way of one request, top to bottom: Run() in request.cpp reads as the list in docs/architecture.md. One object, one coroutine, one
// request.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audit/record.h"
#include "audit/seal.h"
#include "gateway/async/event.h"
#include "gateway/gates/gates.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/defaults.h"
#include "gateway/pipeline/denial.h"
#include "gateway/pipeline/fallback.h"
#include "gateway/pipeline/model_guards.h"
#include "gateway/pipeline/patience.h"
#include "gateway/pipeline/questions.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/shared.h"
#include "gateway/pipeline/time_limit.h"
#include "gateway/pipeline/watch.h"
#include "metering/quotas.h"
#include "policy/policy_set.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

class Request {
 public:
  // Of a caller who was just authenticated as `principal`.
  Request(Shared& shared, const Caller& caller, identity::Principal principal, const tollgate::v1::ChatRequest& call, StreamWriter* writer,
          Cancellation& cancellation, async::Event& event);
  virtual ~Request() = default;

  void GoOnFor(Continued before);  // Before Run: it is the one that another request named.
  async::Awaitable<Outcome<Reply>> Run();
  const Room& room() const { return room_; }  // Of its answer.
  std::optional<Continued> TakeNext();        // After Run: what a fallback goes on with, if one shall.

 protected:
  // What a kind of request has of its own (chat_request.h, embed_request.h), in the order in which it is asked for it.
  virtual std::int64_t Bytes() const = 0;                                  // There are to work on.
  virtual absl::Status CheckCall() = 0;                                    // Its fields; puts the defaults of its place into it.
  virtual absl::Status Fits(const inference::ModelInfo& model) const = 0;  // Whether the model can do it, and the caller may have it done.
  virtual absl::Status ReadInputs() = 0;                                   // Before policy judges, with the model known.
  virtual absl::StatusOr<std::vector<std::int32_t>> TokensOf(const std::string& model, std::span<const policy::Message> prompt) const = 0;
  virtual absl::Status LayOut(std::span<const policy::Message> prompt) = 0;  // The tokens of inspection_.prompt; `prompt`: before policy.
  virtual absl::Status CheckRoom() = 0;                                      // In the model's context.
  virtual std::int64_t AnswerBytes() const = 0;  // What a large answer takes until its client has it, at most about.
  virtual void FillRequest(tollgate::v1::RequestBody& body, tollgate::v1::SealedContent& content) const = 0;  // For its REQUEST record.
  virtual async::Awaitable<Outcome<Reply>> Generate() = 0;                                                    // With End, its last step.
  // What it gave, for its end: nothing, if it ends before Generate or while that begins.
  virtual std::vector<OutputPiece> TakeRest() = 0;  // What goes out with the end. Once, and first of these.
  virtual void FillEnd(const Ending& ending, tollgate::v1::EndBody& end) const = 0;
  virtual bool FillRaw(tollgate::v1::SealedContent& content) const = 0;  // What was not released as it was. False: it gives no text.
  virtual void FillReply(const Ending& ending, tollgate::v1::ChatEnd& end) const = 0;
  virtual std::chrono::steady_clock::duration EngineTime() const = 0;

  absl::Status Admit();
  absl::Status TakeRoom();  // For its answer, by model_.
  absl::Status FindModel();
  std::optional<Route> NextFallback(const Fallbacks& left, std::string& why) const;
  bool MayGoOn() const;
  void FindNext(tollgate::v1::EndBody& end, Ending& ending);
  Failure HandOver(Failure failure);
  Failure PassOn(const absl::Status& refusal);
  bool IsLarge() const;
  int SequencesAsked() const;  // Of the pool.
  Watch NewWatch() const;
  policy::KeepGoing KeepGoing();                                // For what policy judges.
  std::optional<Ending> MustStop() const;                       // Before anything is routed: gone, late, or no longer allowed.
  async::Awaitable<absl::Status> Inspect();                     // Then denial_, or the tokens of the prompt as it will be used.
  absl::Status Judge(std::span<const policy::Message> prompt);  // The verdict, and the model that answers.
  async::Awaitable<absl::Status> Reserve();                     // Input, and the first step of the output.
  async::Awaitable<absl::Status> PassGates();                   // What policy asks of shared state.
  absl::StatusOr<gates::Ask> WhatPolicyAsks();
  async::Awaitable<void> AcceptTerms();
  async::Awaitable<void> GiveGrantsBack();  // Nothing was routed under them.
  async::Awaitable<absl::Status> MakeKey();
  async::Awaitable<absl::Status> KeepPseudonyms();
  async::Awaitable<absl::Status> Record();              // P1.
  async::Awaitable<std::optional<Ending>> AskOthers();  // How the request ends, if their answers block it.
  async::Awaitable<Outcome<Reply>> Deny();
  async::Awaitable<Outcome<Reply>> End(Ending ending);
  absl::Status DecideAnswered(std::vector<QuestionAnswer> answers);
  template <typename Body>
  void FillJudged(Body* body);  // Of a REQUEST or a DENY: what was asked, and what policy says to it.
  tollgate::v1::SealedContent AskedContent() const;
  tollgate::v1::EndBody EndBodyOf(const Ending& ending) const;
  Outcome<Reply> Refuse(absl::Status status);
  Failure FailureOf(absl::Status status, std::optional<audit::Position> position) const;
  policy::Subject SubjectOf() const;
  std::int64_t MicrosSinceReceipt() const;
  std::int64_t OverheadUs() const;
  std::optional<absl::Status> LostWhile(std::chrono::steady_clock::time_point since, const Ending& ending) const;

  Shared& shared_;
  const Collaborators& with_;
  const Caller& caller_;
  tollgate::v1::ChatRequest call_;  // As it came; once admitted, with the defaults of its place.
  StreamWriter* const writer_;
  Cancellation& cancellation_;
  async::Event& event_;

  const std::int64_t began_s_;                      // Since 1970: what rules with hours go by, on prompt and reply alike.
  const TimeLimit limit_;                           // Its own;
  std::chrono::steady_clock::time_point deadline_;  // the first's, of one that goes on for another.
  Patience patience_;                               // That policy asks while it judges.
  const identity::Principal principal_;
  std::vector<metering::Scope> scopes_;
  DefaultsApplied defaults_;
  RecordIdentity who_;
  directory::Judges policies_;  // Pinned: a policy that changes meanwhile does not change this request.
  inference::ModelInfo model_;
  std::string told_route_;            // By which alias, and how, and with which adapters.
  Fallbacks fallbacks_;               // Behind model_.
  std::optional<Continued> before_;   // It goes on for another request.
  std::optional<Continued> next_;     // It failed, and this goes on for it.
  std::vector<gates::Rate> counted_;  // Of rules: it is in these.
  tollgate::v1::PinnedPrice price_;
  metering::Admission admission_;
  policy::Inspection inspection_;
  std::optional<Denial> denial_;                           // Policy says no to the prompt.
  std::vector<std::string> accepted_;                      // Terms that the end user accepts with this request.
  std::vector<base::Uuid> approvals_;                      // Under which it goes on; of a denial, those that wait.
  std::string routed_by_;                                  // The rule that chose model_; empty: none did.
  std::vector<tollgate::v1::GuardOutcome> guarded_;        // What was asked about the prompt, and answered.
  std::vector<tollgate::v1::GuardAnswerText> guard_said_;  // By guard models.
  tollgate::v1::ShadowVerdict shadow_;                     // Of the prompt; without a digest if nothing is tried beside.
  std::int64_t counted_tokens_ = 0;                        // Of the prompt as it came; 0: no rule asks.
  std::vector<std::int32_t> prompt_tokens_;
  std::int64_t max_tokens_ = 0;
  metering::Reservation reservation_;
  std::int64_t output_held_ = 0;       // By it at first: for the output, and not for guards.
  std::optional<ModelGuards> guards_;  // From the REQUEST record on.
  std::shared_ptr<const audit::RequestKey> key_;
  tollgate::v1::Record request_record_;
  ReplyHead head_;
  std::int64_t room_bytes_ = 0;
  Room room_;
};

}  // namespace tollgate::pipeline
