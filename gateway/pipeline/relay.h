// Relay: from the pool's tokens to what the caller gets: quota is extended, output filtered, put on record and released, until it ends.
// The second half of a request; request.h is the first.
#pragma once

#include <chrono>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/record.h"
#include "audit/seal.h"
#include "gateway/async/event.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/guards.h"
#include "gateway/pipeline/logprob_gate.h"
#include "gateway/pipeline/raw_tail.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/semantic_filter.h"
#include "inference/token_stream.h"
#include "metering/quotas.h"
#include "policy/stream_filter.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

// How the output ended, and why.
struct Ending {
  tollgate::v1::RecordKind kind = tollgate::v1::RECORD_KIND_FINAL;
  tollgate::v1::FinishReason finish = tollgate::v1::FINISH_REASON_UNSPECIFIED;
  std::string reason;         // UPPER_SNAKE, for the record.
  absl::Status status;        // OK: the caller gets a reply. Else: this error.
  std::string quota_reached;  // The scope that ended it.
};

// What a relay works on. Everything outlives it.
struct RelayContext {
  const Collaborators& with;
  const Caller& caller;
  const identity::Principal& principal;
  const RecordIdentity& who;
  const std::string& model;
  std::int64_t input_tokens;
  const audit::RequestKey& key;
  Cancellation& cancellation;
  const std::atomic<bool>& shutting_down;
  async::Event& event;                              // Notified on cancellation and shutdown; also used for the token stream.
  std::chrono::steady_clock::time_point deadline;
  const ReplyHead& head;
  StreamWriter* writer;                             // Null: unary.
};

class Relay {
 public:
  Relay(const RelayContext& context, std::shared_ptr<inference::TokenStream> tokens, std::unique_ptr<policy::StreamFilter> filter,
        metering::Reservation& reservation, LogprobGate::OpenFilter logprobs = nullptr);

  // To the end of the output. Never fails: the Ending says how it went. What is not released yet stands in text() afterwards.
  async::Awaitable<Ending> Run();

  const std::string& text() const { return pending_; }         // Filtered, not released: unary all of it, stream the rest.
  void ReleaseRest();                                          // text() and logprobs() go out with the end.
  const Logprobs& logprobs() const { return last_logprobs_; }  // Of text(), after ReleaseRest.
  const policy::StreamFilter& filter() const { return *filter_; }
  std::vector<tollgate::v1::GuardOutcome> guarded() const;     // What was asked of others about the output.
  tollgate::v1::TokenCounts Tokens() const;                    std::int64_t released_bytes() const { return released_bytes_; }
  const RawTail& undelivered() const { return raw_; }          // Raw output that was not released, as text or as what replaced it.
  std::chrono::steady_clock::duration engine_time() const;
  std::int64_t first_token_us() const;

 private:
  async::Awaitable<absl::Status> Push(const inference::Piece& piece);
  async::Awaitable<std::optional<Ending>> Extend();
  std::optional<Ending> MustStop();
  std::optional<Ending> Consult();
  bool CutDue() const;
  async::Awaitable<std::optional<Ending>> Release();
  async::Awaitable<void> StopDecoding();
  async::Awaitable<Ending> EndOfTokens();
  std::chrono::steady_clock::time_point NextWake() const;

  const RelayContext& context_;
  std::shared_ptr<inference::TokenStream> tokens_;
  std::unique_ptr<policy::StreamFilter> filter_;
  SemanticFilter* const semantic_;                       // The filter, if others are asked about the output; else null.
  const std::shared_ptr<GuardInbox> inbox_;              // Null likewise.
  metering::Reservation& reservation_;
  LogprobGate gate_;
  Logprobs last_logprobs_;
  std::string pending_;
  RawTail raw_;
  std::int64_t decoded_ = 0;
  std::int64_t allowed_ = 0;
  bool allowance_final_ = false;
  std::string limited_by_;
  std::uint32_t segment_ = 0;
  std::int64_t released_bytes_ = 0;
  bool begun_ = false;
  bool ended_ = false;                                   // The token stream gave its end.
  std::chrono::steady_clock::time_point next_cut_{};
  std::chrono::steady_clock::time_point next_authority_check_;
};

}  // namespace tollgate::pipeline
