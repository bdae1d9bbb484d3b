// One call, as the front ends hand it to the pipeline, and the reply, as the pipeline hands it back. Front ends only translate between
// these and their wire; they decide nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/uuid.h"
#include "gateway/async/await.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

enum class Surface { kGrpc, kHttp };

// What every call carries, whatever it asks for.
struct Caller {
  std::string bearer;  // The credential as it came; empty if none.
  std::string source;  // Peer address without port.
  Surface surface = Surface::kGrpc;
  base::RequestId request_id;                                     // Made by the front end; also `x-request-id`.
  std::optional<std::chrono::steady_clock::time_point> deadline;  // The caller's; the pipeline caps it.
  // How long its client waits anyhow: it may have nearly so much time where that is more than callers have who name none.
  std::optional<std::chrono::steady_clock::time_point> waits_until;
  std::string client_request_id;                   // As it came; checked with the call.
  std::uint32_t retry_count = 0;                   // x-stainless-retry-count.
  std::chrono::steady_clock::time_point received;  // When the front end had it whole.
};

// Set by a front end when its client has gone: decoding stops within one step. Any thread.
class Cancellation {
 public:
  void Cancel();
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  // Calls `wake` once, on Cancel (at once if it was). Replaces an earlier one; an empty function removes it.
  void OnCancel(std::function<void()> wake);

 private:
  std::atomic<bool> cancelled_{false};
  base::Mutex mu_;
  std::function<void()> wake_ GUARDED_BY(mu_);
};

// Limits in force for the caller, for x-ratelimit-* headers; the strictest scope of each.
struct RateLimits {
  struct One {
    std::int64_t limit = 0;
    std::int64_t remaining = 0;
    std::int64_t reset_ms = 0;
  };
  std::optional<One> requests;
  std::optional<One> tokens;
};

// Known before the first byte of a reply.
struct ReplyHead {
  std::string model;
  std::int64_t created_s = 0;
  RateLimits limits;
  std::int32_t log_id = 0;  // Of the REQUEST record.
  std::int64_t record_index = 0;
  std::string told_route;    // x-tollgate-route: by which alias or rule, with which adapters; empty: by its name.
  std::string request_id{};  // x-tollgate-request-id: of the request that went on for the call's own (fallback.h); empty: none did.
};

using Logprobs = std::vector<tollgate::v1::TokenLogprob>;

// What goes out at once of one reply, and is on record.
struct OutputPiece {
  std::string text{};
  Logprobs logprobs{};                          // Of the tokens that end in it; empty where none are wanted.
  std::string thought{};                        // Of models that think before they answer.
  std::vector<tollgate::v1::ToolCall> calls{};  // Whole ones.
  int choice = 0;                               // Which reply of several.
};

// Takes a stream's pieces. One call at a time, from the pipeline's coroutine. A failed write means that the client has gone.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  virtual async::Awaitable<absl::Status> Begin(const ReplyHead& head) = 0;  // Once, before the first Write.
  virtual async::Awaitable<absl::Status> Write(OutputPiece piece) = 0;
  virtual void Abort() = 0;  // Breaks the connection off: a Begin or Write that waits for the client fails. Where these run.
  // How long its client may hear nothing while there are tokens of which none may leave yet: then Begin comes by itself. 0: for ever.
  virtual std::chrono::milliseconds silence_max() const { return {}; }
};

// Memory that an answer holds of what is set aside for all (answer_room.h); front ends keep it until the client has the answer. May be
// null.
using Room = std::shared_ptr<const void>;

struct Reply {
  ReplyHead head;
  std::string text;   // Unary: the whole output. Stream: text that travels with the end (may be empty).
  Logprobs logprobs;  // Of the tokens of `text`.
  tollgate::v1::ChatEnd end;
  std::int64_t overhead_us = 0;  // Time in Tollgate without the engine.
  std::string thought{};         // As `text`.
  std::vector<tollgate::v1::ToolCall> calls{};
  std::vector<OutputPiece> more{};  // Of several replies the others, from the second on.
  Room room{};
};

// A refused or broken call: the status (base::DetailOf has the machine-readable part) and what headers need.
struct Failure {
  absl::Status status;
  std::optional<ReplyHead> head;  // Present when a record of it exists: position and limits.
  RateLimits limits;
};

template <typename T>
using Outcome = std::variant<T, Failure>;

}  // namespace tollgate::pipeline
