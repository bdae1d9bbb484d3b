// Quotas: who may start, and how many tokens may be used, exactly: a budget of N admits at most N in each of its windows, with any
// number of instances (promise P8).
//
//   auto admission = quotas.Admit(scopes);                       // requests per window, concurrency; refused or admitted at once
//   quotas.Reserve(*admission, input_tokens, 64, [](absl::StatusOr<Reservation> r) { … });
//   reservation.MarkRecorded();                                  // once the REQUEST record is durable
//   quotas.Extend(reservation, 64, [](absl::StatusOr<Extension> e) { … });   // while decoding; too little = stop there
//   quotas.Settle(reservation, tokens);                          // once the terminal record is durable
//
// Tokens are drawn from leases that this instance holds; with a healthy lease no call here waits for anything. All scopes are debited or
// none. Windows are the calendar's, UTC, by the database's clock; a reservation stays in the windows it was made in, to its end.
// Running requests count as used. Thread-safe. Quotas outlives every Admission and Reservation. P8 across crashes: leases.h.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "metering/leases.h"

namespace tollgate::v1 {
class TokenCounts;
class RequestBody;
}  // namespace tollgate::v1

namespace tollgate::metering {

// A request that may start. Dropping it gives its concurrency back, and its request count too unless a reservation of it was settled or
// expired. Move-only; one thread at a time.
class Admission {
 public:
  struct Impl;
  Admission() = default;
  explicit Admission(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  Admission(Admission&&) noexcept = default;
  Admission& operator=(Admission&&) noexcept;
  ~Admission();

 private:
  friend class Quotas;
  std::shared_ptr<Impl> impl_;
};

// A quota's window that a reservation was made in.
struct Hold {
  base::Uuid quota;
  base::WallTime window_start;
  std::int32_t lease = 0;  // What is held there is drawn from this one (metering/leases.h).
};

// Tokens held for one attempt of a request: held -> settled | released | expired; nothing leaves the last three. Dropped while held, it
// is released, or after MarkRecorded expires: its tokens stay counted until the log's next owner recounts them. Move-only.
class Reservation {
 public:
  enum class State { kHeld, kSettled, kReleased, kExpired };
  struct Impl;
  Reservation() = default;  // Empty; state kReleased.
  explicit Reservation(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  Reservation(Reservation&&) noexcept = default;
  Reservation& operator=(Reservation&&) noexcept;
  ~Reservation();

  State state() const;
  std::int64_t tokens() const;         // Held: input and output, extensions included.
  std::int64_t output_tokens() const;  // Of these, for output: decode no more without Extend.
  void MarkRecorded();                 // Its REQUEST record is durable.
  std::vector<Hold> holds() const;

 private:
  friend class Quotas;
  friend void FillHolds(const Reservation& reservation, v1::RequestBody* body);
  std::shared_ptr<Impl> impl_;
};

struct Extension {
  std::int64_t granted = 0;  // Less than was wanted, perhaps 0: a limit is reached, the output ends after these.
  std::string limited_by;    // "team search": the scope whose limit that is; else empty.
};
// How things stand for the caller's headers, in the strictest scope (the least remaining). Absent: no such limit.
struct Remaining {
  struct Meter {
    std::int64_t limit = 0;
    std::int64_t remaining = 0;
    std::chrono::milliseconds reset{0};  // Until the window ends.
  };
  std::optional<Meter> requests;
  std::optional<Meter> tokens;
};

struct QuotaOptions {
  std::chrono::milliseconds lease_ttl{5000};   // Without word from the store for this long nothing new is spent.
  std::chrono::milliseconds lease_wait{1000};  // How long Reserve and Extend may wait for a lease.
  std::chrono::milliseconds recheck{250};      // A spent balance is asked again at most this often.
  std::chrono::milliseconds tick{250};         // See StartTicking.
  std::size_t waiting_max = 10'000;            // Calls that wait for leases; UNAVAILABLE beyond.
  std::size_t asks_max = 500;                  // Leases in one exchange.
};

class Quotas {
 public:
  template <typename T>
  using Done = std::function<void(absl::StatusOr<T>)>;  // Called once: before the call returns, or later on the store's thread.
  // No limits until SetRules. Both outlive it.
  Quotas(const base::Clock& clock, Leases& leases, QuotaOptions options = QuotaOptions());
  ~Quotas();  // Answers what waits with CANCELLED. Leases stay debited unless Close ran.

  // From now on these rules; what was used stays used. Reservations keep the windows they have. Those in force again (the same object)
  // cost nothing; new ones take time for each rule, during which requests go on under the old ones.
  void SetRules(std::shared_ptr<const QuotaRules> rules);

  // Errors: RESOURCE_EXHAUSTED with ErrorDetail: RATE_LIMITED (minutes, concurrency, what others hold here; retry_after), QUOTA_SPENT
  // (else; may_retry false), subject = the scope; UNAVAILABLE (QUOTA_UNAVAILABLE): the store has not been reached yet, or not lately.
  absl::StatusOr<Admission> Admit(std::span<const Scope> scopes);

  // Holds input_tokens, and of output_tokens as many as every scope has, at least `least` of them. Errors as Admit.
  // Another attempt reserves again with the same admission: it is one request, and only what is on record first names its windows (holds).
  void Reserve(Admission& admission, std::int64_t input_tokens, std::int64_t output_tokens, Done<Reservation> done, std::int64_t least = 1);

  // `want` more output tokens, or all there are. UNAVAILABLE: no lease came in time; end the output. CANCELLED: closed meanwhile.
  // One at a time for a reservation.
  void Extend(Reservation& reservation, std::int64_t want, Done<Extension> done);

  // Closes it: input and output of `used` are spent, the rest goes back. Release: nothing was used. The second close does nothing.
  void Settle(Reservation& reservation, const v1::TokenCounts& used);
  void Release(Reservation& reservation);

  Remaining RemainingOf(std::span<const Scope> scopes);
  void StartTicking();  // Runs Tick on a thread of its own every options.tick, until destruction.
  void Tick();          // Renews and gives back leases, ends waits. For tests and for owners with a timer of their own.
  bool Ready();         // The store has been reached lately: this instance may spend.
  bool Fenced();        // The store does not know its leases any more: it never spends again, and has to be started anew.
  // For an orderly stop: refuses from now on and gives unspent leases back, in at most `wait`. False: some still count as spent.
  bool Close(std::chrono::milliseconds wait);

  struct Core;

 private:
  std::unique_ptr<Core> core_;
};
// The leases of a reservation and the epoch that they were granted to, into RequestBody: Settlement reads them there.
void FillHolds(const Reservation& reservation, v1::RequestBody* body);

}  // namespace tollgate::metering
