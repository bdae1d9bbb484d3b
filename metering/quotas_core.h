// The machinery behind Quotas. Private to metering; quotas.cpp tells how it works.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "metering/quotas.h"
#include "metering/quotas_state.h"

namespace tollgate::metering {

struct Quotas::Core {
  Core(const base::Clock& c, Leases& l, QuotaOptions o) : clock(c), leases(l), options(o) {}

  // quotas_spend.cpp.
  base::WallTime DatabaseTime(base::MonoTime now) const REQUIRES(mu) {
    return db_time + std::chrono::floor<std::chrono::microseconds>(now - db_at);
  }
  bool IsFresh(const Bucket& b, base::MonoTime now) const REQUIRES(mu);
  bool Exhausted(const Bucket& b, base::MonoTime now) const REQUIRES(mu);
  static bool IsBeyond(const Bucket& b, std::int64_t least);
  static bool RefusesLonger(const Want& a, const Want& b);
  absl::Status Refusal(const Bucket& b, base::MonoTime now, std::int64_t need) const REQUIRES(mu);
  std::optional<absl::Status> CannotSpend(base::MonoTime now) const REQUIRES(mu);
  Bucket* Current(RuleState& state, base::WallTime wall, base::MonoTime now) REQUIRES(mu);
  void Retire(RuleState& state) REQUIRES(mu);
  void GiveAll(Bucket& b) REQUIRES(mu);
  void GiveExcess(Bucket& b) REQUIRES(mu);
  void SetRule(Bucket& b, const std::shared_ptr<const QuotaRule>& rule) REQUIRES(mu);
  void Queue(Bucket& b, BucketQueue& on) REQUIRES(mu);
  void Unqueue(Bucket& b);
  bool Idle() const REQUIRES(mu) { return soon.empty() && later.empty(); }
  void Draw(Bucket& b, std::int64_t n) REQUIRES(mu);
  void DrawUnit(Bucket& b) REQUIRES(mu);
  void Resolve(Admission::Impl& admission) REQUIRES(mu);
  Few<RuleState*> RulesOf(std::span<const Scope> scopes, Admission::Impl& admission) const;  // REQUIRES rules_mu, not mu.
  absl::StatusOr<Admission> Admit(std::shared_ptr<Admission::Impl> impl, const Few<RuleState*>& rules, base::MonoTime now) REQUIRES(mu);
  Few<Want> WantsOf(const Admission::Impl& admission, std::int64_t least, base::MonoTime now) REQUIRES(mu);
  Reservation Take(const std::shared_ptr<Admission::Impl>& admission, const Few<Want>& wants, std::int64_t input, std::int64_t output)
      REQUIRES(mu);
  void GiveFragment(Bucket& b, std::int64_t least, base::MonoTime now) REQUIRES(mu);
  std::int64_t OutputToHave(const Few<Want>& wants, const Need& need, base::MonoTime now) const REQUIRES(mu);
  bool TryReserve(const std::shared_ptr<Admission::Impl>& admission, const Need& need, base::MonoTime now, base::MonoTime deadline,
                  absl::StatusOr<Reservation>* result) REQUIRES(mu);
  bool TryExtend(Reservation::Impl& reservation, std::int64_t want, base::MonoTime now, absl::StatusOr<Extension>* result) REQUIRES(mu);
  void Finish(Reservation::Impl& reservation, Reservation::State state, std::int64_t used) REQUIRES(mu);
  void DropAdmission(Admission::Impl& admission) REQUIRES(mu);
  void CloseUnits(Admission::Impl& admission) REQUIRES(mu);

  // quotas_lease.cpp.
  void Wait(Waiter waiter, base::MonoTime now, After& after) REQUIRES(mu);
  bool TryAgain(Waiter& waiter, base::MonoTime now, After& after) REQUIRES(mu);
  void RunWaiters(base::MonoTime now, After& after) REQUIRES(mu);
  void EndLateReserves(base::MonoTime now, After& after) REQUIRES(mu);
  void FailWaiters(const std::function<bool(const Waiter&)>& which, const absl::Status& status, After& after) REQUIRES(mu);
  void StartExchange(base::MonoTime now, bool renew, After& after) REQUIRES(mu);
  LeaseAsk AskFor(Bucket& b, base::MonoTime now) REQUIRES(mu);
  void Apply(Bucket& b, const LeaseState& state, base::MonoTime now) REQUIRES(mu);
  void OnReply(base::MonoTime sent, absl::StatusOr<LeaseReply> reply);
  void Sweep(base::MonoTime now) REQUIRES(mu);
  void SweepOne(Bucket& b, base::MonoTime now) REQUIRES(mu);
  void Erase(Bucket& b) REQUIRES(mu);
  std::unique_ptr<RuleState> StateOf(const QuotaRule& rule) REQUIRES(swap_order);
  RuleSwap PrepareSwap(const QuotaRules& next) REQUIRES(swap_order);
  void Swap(RuleSwap& swap) REQUIRES(swap_order);
  void EditBuckets(const RuleSwap& swap) REQUIRES(swap_order);
  void Tick();

  const base::Clock& clock;
  Leases& leases;
  const QuotaOptions options;

  base::Mutex swap_order;  // Of all here the first that is taken; held from one set of rules to the next, and by no request.
  std::shared_ptr<const QuotaRules> in_force GUARDED_BY(swap_order);
  std::unordered_map<base::Uuid, std::unique_ptr<RuleState>, base::UuidHash> rules GUARDED_BY(swap_order);

  base::Mutex swap_gate;              // While `swapping`, admissions queue here, or they might keep the swap waiting for ever: readers
  std::atomic<bool> swapping{false};  // of a shared mutex overtake its writers.
  std::shared_mutex rules_mu;         // Taken before mu. The next changes under both, and is read under either.
  std::unordered_map<ScopeKey, Few<RuleState*, 3>, KeyHash> by_scope;

  base::Mutex mu;
  std::vector<std::unique_ptr<RuleState>> graveyard GUARDED_BY(mu);  // Removed rules that requests still run under.
  std::uint64_t generation GUARDED_BY(mu) = 0;
  std::unordered_map<BucketKey, std::unique_ptr<Bucket>, KeyHash> buckets GUARDED_BY(mu);
  std::vector<Bucket*> all GUARDED_BY(mu);  // The same, for the sweep.
  std::size_t sweep_at GUARDED_BY(mu) = 0;
  BucketQueue soon GUARDED_BY(mu);            // Want an exchange because there is demand …
  BucketQueue later GUARDED_BY(mu);           // … or to give something back.
  std::deque<Waiter> waiting GUARDED_BY(mu);  // In order of arrival.
  std::vector<Bucket*> flight GUARDED_BY(mu);
  bool in_flight GUARDED_BY(mu) = false;
  bool clock_known GUARDED_BY(mu) = false;
  base::WallTime db_time GUARDED_BY(mu);
  base::MonoTime db_at GUARDED_BY(mu);
  base::MonoTime spend_until GUARDED_BY(mu);
  base::MonoTime down_until GUARDED_BY(mu);  // The store just failed: don't ask before this.
  base::MonoTime sent_at GUARDED_BY(mu);     // Of the last exchange that succeeded.
  base::MonoTime next_sweep GUARDED_BY(mu);
  int holders GUARDED_BY(mu) = 1;
  bool fenced GUARDED_BY(mu) = false;
  bool stopping GUARDED_BY(mu) = false;
  std::condition_variable changed;  // in_flight.
  std::condition_variable stop;     // ticking.
  bool ticking GUARDED_BY(mu) = false;
  std::thread ticker;
};

}  // namespace tollgate::metering
