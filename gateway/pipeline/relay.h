// Relay: from the pool's tokens to what the caller gets: quota is extended, output filtered, put on record and released, until it ends.
// The second half of a chat; chat_request.h is the first. Of several replies it takes from each in turn; they share the reservation, the
// records and the end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "audit/record.h"
#include "audit/seal.h"
#include "gateway/async/event.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/choice_output.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/model_guards.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/relay_context.h"
#include "gateway/pipeline/watch.h"
#include "inference/pool.h"
#include "inference/token_stream.h"
#include "metering/quotas.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

class Relay {
 public:
  Relay(const RelayContext& context, Sequences sequences, const OutputPlan& plan, metering::Reservation& reservation);

  // To the end of the output. Never fails: the Ending says how it went. What is not released yet comes with TakeRest.
  async::Awaitable<Ending> Run();

  std::vector<OutputPiece> TakeRest();  // Of each reply what goes out with the end: unary all of it, stream the rest. Once, after Run.
  std::int64_t rest_bytes() const;      // Of what TakeRest gives, or gave.
  tollgate::v1::TokenCounts Tokens() const;
  tollgate::v1::Verdict Verdict() const;                     // Of all replies,
  tollgate::v1::Verdict ShadowVerdict() const;               // and what the shadow says.
  void FillRaw(tollgate::v1::SealedContent& content) const;  // What was not released as it was.
  // How each of several replies ended; nothing of one alone.
  void FillChoices(const Ending& all, tollgate::v1::EndBody& end) const;
  void FillChoices(const Ending& all, tollgate::v1::ChatEnd& end) const;
  void FillGuards(tollgate::v1::EndBody& end) const;  // What was asked of others about the replies.
  void FillRetries(tollgate::v1::EndBody& end) const;
  void FillServerUsage(tollgate::v1::ServerUsage& usage) const;
  std::int64_t released_bytes() const { return released_bytes_; }
  std::int64_t released_at_block() const { return released_at_block_.value_or(0); }  // Of all replies, when the first was blocked.
  std::int64_t pseudonyms_restored() const;
  std::chrono::steady_clock::duration engine_time() const;
  std::int64_t first_token_us() const;

 private:
  struct Choice {
    std::shared_ptr<inference::TokenStream> tokens;
    std::unique_ptr<ChoiceOutput> output;
    int index = 0;
    std::int64_t paid = 0;     // Tokens that the reservation holds for it,
    std::int64_t allowed = 0;  // of which it may decode so many now.
    std::int64_t decoded = 0;
    std::vector<std::int32_t> ids{};                           // Of the output so far, where thoughts are bounded or the answer is strict.
    Written written{};                                         // The same, where it may be taken back,
    std::map<std::string, RetryState, std::less<>> retried{};  // and was.
    std::vector<tollgate::v1::RawSpan> taken_back{};
    // Of sequences before this one, where a thought was closed.
    std::int64_t before_tokens = 0, before_delivered = 0, before_bytes = 0;
    std::optional<inference::StreamEnd> first_end{};
    bool ended = false;           // The token stream gave its end.
    std::optional<Ending> due{};  // Its output is whole: how it ends, unless others who are asked block it yet.
    std::optional<Ending> ending{};
    bool over() const { return due || ending; }
    std::int64_t released_bytes = 0, rest_bytes = 0;  // Of its own; and of these how many were out when it was blocked.
    std::optional<std::int64_t> released_at_block{};
  };

  async::Awaitable<std::optional<Ending>> TakeFrom(Choice& choice, bool& idle);
  std::chrono::steady_clock::time_point BeginJudging();
  async::Awaitable<absl::Status> Push(Choice& choice, inference::Piece& piece);
  bool Retries() const;
  async::Awaitable<absl::StatusOr<bool>> Retry(Choice& choice, std::size_t had);
  async::Awaitable<std::unique_ptr<ChoiceOutput>> TakenBack(const Choice& choice, std::size_t keep);
  async::Awaitable<absl::StatusOr<bool>> WriteAnew(Choice& choice, std::size_t keep, std::int32_t banned);
  async::Awaitable<std::optional<Ending>> TakeEnd(Choice& choice);
  async::Awaitable<absl::StatusOr<std::int64_t>> More();
  async::Awaitable<std::optional<Ending>> Extend(Choice& choice);
  async::Awaitable<std::optional<Ending>> CloseThought(Choice& choice);
  async::Awaitable<absl::StatusOr<std::shared_ptr<inference::TokenStream>>> GoOn(inference::SequenceRequest rest);
  bool HoldsThought(const Choice& choice) const;
  void AllowNext(Choice& choice);
  bool CutDue() const;
  bool Pending() const;
  bool Patient(const Choice& choice) const;
  async::Awaitable<std::optional<Ending>> Release();
  bool IsSilent() const;  // A stream that has not begun, though there are tokens.
  async::Awaitable<std::optional<Ending>> BeginAlone();
  std::optional<Ending> Wrote(absl::Status written);
  async::Awaitable<void> StopDecoding(Choice& choice, bool goes_on = false);
  async::Awaitable<absl::Status> EndAtAllowance(Choice& choice);
  std::optional<Ending> Finish(Choice& choice, Ending due);
  std::optional<Ending> Consult();
  Ending EndOf(const Choice& choice) const;
  Ending Blocked(Choice& choice);
  bool AllOver() const;
  Ending Together() const;
  std::chrono::steady_clock::time_point NextWake() const;
  const inference::StreamEnd* FirstEnd(const Choice& choice) const;
  std::int64_t CachedSoFar() const;

  async::Awaitable<absl::Status> Write(std::vector<OutputPiece> out, const std::vector<std::int64_t>& sizes,
                                       const std::vector<std::int64_t>& frontiers);

  const RelayContext& context_;
  Sequences sequences_;
  const OutputPlan& plan_;
  std::vector<std::unique_ptr<Choice>> choices_;
  metering::Reservation& reservation_;
  bool allowance_final_ = false;
  std::string limited_by_;
  std::uint32_t segment_ = 0;
  std::int64_t released_bytes_ = 0;
  std::int64_t rest_bytes_ = 0;
  tollgate::v1::ServerUsage replaced_;  // Of sequences that others went on for.
  std::optional<std::int64_t> released_at_block_;
  bool begun_ = false;
  std::chrono::steady_clock::time_point begin_by_ = std::chrono::steady_clock::time_point::max();  // Whatever may leave by then.
  std::chrono::steady_clock::time_point next_cut_{};
  Watch watch_;
  std::optional<WriteWatch> write_watch_;  // Of a stream.
  std::optional<Ending> broken_off_;       // Why a write was.
};

}  // namespace tollgate::pipeline
