// Leases: shares of quotas that are debited to one instance, so that a request costs no database call.
//
// The store keeps, for each quota and window, a balance: what all holders together were granted. A holder is (instance, epoch); what it
// was granted comes back only from itself or by adoption of its log (ReturnLeases in leases_postgres.h), never by time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/uuid.h"
#include "metering/quota_rules.h"

namespace tollgate::metering {

// Who holds leases: one life of one log's owner.
struct Holder {
  base::InstanceId instance;
  std::int64_t epoch = 0;
  auto operator<=>(const Holder&) const = default;
};

// What a holder asks for one quota in one window. Units are the meter's: requests or tokens.
struct LeaseAsk {
  base::Uuid quota;
  Meter meter = Meter::kTokens;
  WindowSpan window;
  std::int64_t amount = 0;  // The limit in force.
  std::int64_t need = 0;    // Wanted at once: granted as far as the balance goes.
  std::int64_t want = 0;    // Wanted soon: granted from a fair share of what is left.
  std::int64_t give = 0;    // Given back; taken off before anything is granted.
  bool close = false;       // Nothing more will be asked: forget the lease, keep the balance.
};

struct LeaseState {
  std::int64_t granted = 0;  // To this holder in all, after the exchange. Absolute, so that a repeated exchange does no harm.
  std::int64_t debited = 0;  // To all holders.
  std::int32_t number =
      0;  // The lease's, from 1, within the holder; 0 if there is none. One that was closed does not come again for 2^31 others.
};

struct LeaseReply {
  std::vector<LeaseState> leases;  // One per ask, in their order.
  base::WallTime database_time;    // The database's clock …
  base::MonoTime taken_at;         // … when this instance's monotonic clock said this.
  int holders = 1;                 // Instances that were alive lately, this one included.
};

// Thread-safe. Grant: min(left, max(need, min(want, left / (2 * holders)))), in one transaction for all asks.
class Leases {
 public:
  using Done = std::function<void(absl::StatusOr<LeaseReply>)>;

  virtual ~Leases() = default;

  virtual Holder holder() const = 0;  // Constant.

  // Queues and returns at once; `done` is called once, on the store's thread, within a few seconds. UNAVAILABLE: the database cannot be
  // reached or does not do it, and whether the exchange took place is unknown: ask for the same leases again (give = 0) to learn how they
  // stand. FAILED_PRECONDITION: this holder was closed, its log has another owner; it never gets anything again.
  virtual void Exchange(std::vector<LeaseAsk> asks, Done done) = 0;
};

}  // namespace tollgate::metering
