// What ends a request while the pool works for it, whatever it does: its client's leaving, its deadline, the instance's stop, and authority
// that is gone. And how it ended, in the record's words.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>

#include "base/status.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"
#include "inference/token_stream.h"
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

Ending Broken(std::string reason, absl::Status status);  // ABORT.
Ending Ended(std::string reason, absl::Status status);   // FINAL, with an error for the caller.
Ending EndingOf(const inference::StreamEnd& end);        // As the pool ended it.
Ending Unjudged(absl::Status status);                    // By policy, which could not judge the output, or was not to go on.
// How a request ends whose key, or whose right to the model, is gone, or that an emergency stop is for; nothing: it may go on.
std::optional<Ending> LostAuthority(const Collaborators& with, const identity::Principal& principal, const std::string& model);

// A hung engine must not hold a request for ever: after this long its end is taken as it stands.
inline constexpr std::chrono::seconds kStopPatience{5};

// Asked between steps, by the request's own coroutine. Everything that it is given outlives it.
class Watch {
 public:
  Watch(const Collaborators& with, const identity::Principal& principal, const std::string& model, const Cancellation& cancellation,
        const std::atomic<bool>& shutting_down, std::chrono::steady_clock::time_point deadline,
        std::string_view remedy = "allow more time, or ask for less");

  // `during`: what its deadline would break off, for the caller.
  std::optional<Ending> MustStop(std::string_view during = "its output was made");
  std::optional<Ending> MustStopNow(std::string_view during);  // The same, and authority is asked whenever it was asked last.
  Ending Late(std::string_view during) const;                  // As MustStop ends what its deadline breaks off.
  std::chrono::steady_clock::time_point NextLook() const;      // When it is to be asked again, if nothing happens before.

 private:
  const Collaborators& with_;
  const identity::Principal& principal_;
  const std::string& model_;
  const Cancellation& cancellation_;
  const std::atomic<bool>& shutting_down_;
  const std::chrono::steady_clock::time_point deadline_;
  const std::string_view remedy_;  // TimeLimit::remedy.
  std::chrono::steady_clock::time_point next_authority_check_;
};

// While a client does not take what is written to it, its request may go on no more than any other: asks now and then, and breaks the write
// off. Used where the writer is.
class WriteWatch {
 public:
  // `must_stop` is asked `every` so often. The writer must outlive this.
  WriteWatch(const boost::asio::any_io_executor& executor, StreamWriter& writer, std::chrono::milliseconds every,
             std::function<bool()> must_stop);
  WriteWatch(const WriteWatch&) = delete;
  WriteWatch& operator=(const WriteWatch&) = delete;
  ~WriteWatch();

  void Begins();  // A write,
  void Ends();    // and it is over.

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tollgate::pipeline
