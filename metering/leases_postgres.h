// Leases kept in Postgres: schema metering (migrations/main/0002_metering.sql), one thread and one session of their own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/postgres.h"
#include "metering/leases.h"

namespace tollgate::metering {

struct PostgresLeasesOptions {
  base::PostgresOptions postgres;                    // Role tollgate_writer.
  Holder holder;                                     // The instance and the epoch under which it owns its log.
  std::chrono::milliseconds exchange_timeout{3000};  // Reconnecting included.
  std::size_t queue_max = 16;                        // Exchanges that wait; UNAVAILABLE beyond.
};

class PostgresLeases final : public Leases {
 public:
  // Returns at once; connects on its thread, and again whenever the connection breaks.
  PostgresLeases(const base::Clock& clock, PostgresLeasesOptions options);
  ~PostgresLeases() override;  // Answers what is queued with UNAVAILABLE, joins.

  Holder holder() const override;
  void Exchange(std::vector<LeaseAsk> asks, Done done) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One lease that came home.
struct ReturnedLease {
  base::Uuid quota;
  std::int64_t granted = 0;
  std::int64_t used = 0;  // By the usage rows of the holder's requests; the rest went back to the balance.
};

// For the new owner of a log, once the open requests of the dead one are closed (so that their usage rows exist): everything that
// `instance` holds under an epoch below `below_epoch` comes home, but for what its requests really used, and its late exchanges fail.
// Doing it twice does no harm. One transaction on `session` (role tollgate_writer); scans the usage rows written since those lives began,
// so give the session a generous statement timeout.
absl::StatusOr<std::vector<ReturnedLease>> ReturnLeases(base::Session& session, base::InstanceId instance, std::int64_t below_epoch);

// The same on a session of its own, which ends within seconds, with UNAVAILABLE, once `stopping` gives true, also where Postgres does not
// answer.
absl::Status ReturnLeasesUnless(const std::function<bool()>& stopping, const base::PostgresOptions& postgres, base::InstanceId instance,
                                std::int64_t below_epoch);

}  // namespace tollgate::metering
