// The state behind Quotas. Private to metering; quotas.cpp tells how it works.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/mutex.h"
#include "metering/quotas.h"

namespace tollgate::metering {

struct ScopeKey {
  Scope::Kind kind = Scope::Kind::kOrg;
  base::Uuid id;
  bool operator==(const ScopeKey&) const = default;
};

struct BucketKey {
  base::Uuid quota;
  base::WallTime start;
  bool operator==(const BucketKey&) const = default;
};

struct KeyHash {
  std::size_t operator()(const ScopeKey& key) const { return base::UuidHash()(key.id) * 4 + static_cast<std::size_t>(key.kind); }
  std::size_t operator()(const BucketKey& key) const {
    return base::UuidHash()(key.quota) ^ (static_cast<std::size_t>(key.start.time_since_epoch().count()) * 0x9E3779B97F4A7C15ULL);
  }
};

struct Bucket;
struct RuleState;
using BucketQueue = std::list<Bucket*>;

// One rule in one window, on this instance. available + held + spent + give = what the store granted, but for what is on its way back.
struct Bucket {
  std::shared_ptr<const QuotaRule> rule;
  WindowSpan window;
  std::int64_t available = 0;  // Granted and free.
  std::int64_t held = 0;       // By open reservations and admissions.
  std::int64_t spent = 0;
  std::int64_t give = 0;       // To be given back in the next exchange.
  std::int64_t debited = 0;    // To all holders, as the store last said …
  base::MonoTime known_at;     // … at this time …
  bool known = false;          // … if it ever did.
  std::int64_t wanted = 0;     // By calls that wait; counted anew for each exchange.
  int pending = 0;             // Admissions that still owe one request.
  int refs = 0;                // Admissions and reservations that point here.
  std::int64_t drawn = 0;      // Since rate_since.
  base::MonoTime rate_since;
  base::MonoTime asked_at;
  base::MonoTime fragment_after;
  std::int64_t target = 0;     // What to hold: about two seconds of demand.
  BucketQueue* queue = nullptr;  // Where it waits for an exchange, if it does …
  BucketQueue::iterator place;   // … and at which place.
  bool in_flight = false;
  bool unsure = false;         // An exchange got no answer.
  bool closing = false;        // It asked to close.
  bool retired = false;        // Its window is over, or its rule is gone.
  RuleState* owner = nullptr;  // Whose current bucket this is.
  std::size_t index = 0;       // In Core::all.
};

// One rule in force.
struct RuleState {
  std::shared_ptr<const QuotaRule> rule;
  Meter meter = Meter::kTokens;  // The rule's, at hand.
  Bucket* current = nullptr;
  std::int64_t running = 0;  // kConcurrent.
};

template <typename T, std::size_t N = 8>
using Few = absl::InlinedVector<T, N>;

// What a Reserve needs of one bucket.
struct Want {
  Bucket* bucket = nullptr;
  std::int64_t least = 0;
  bool tokens = false;  // Else a request.
};

struct RequestUnit {
  Bucket* bucket = nullptr;
  bool taken = false;
};

// All fields guarded by Core::mu.
struct Admission::Impl {
  Quotas::Core* core = nullptr;
  Few<ScopeKey, 4> scopes;
  std::uint64_t generation = 0;   // Of the rules below.
  Few<RuleState*> token_rules;
  Few<RuleState*, 4> slots;       // Concurrency taken.
  Few<RequestUnit, 4> requests;
  bool counted = false;           // A reservation was settled or expired: the request units are spent.
  bool dropped = false;           // The handle is gone.
  int open = 0;                   // Reservations.
};

struct Reservation::Impl {
  Quotas::Core* core = nullptr;
  std::shared_ptr<Admission::Impl> admission;
  State state = State::kHeld;
  bool recorded = false;
  std::int64_t tokens = 0;
  std::int64_t output = 0;
  Few<Bucket*> buckets;
};

// A call that waits for leases: a Reserve (`admission` set) or an Extend.
struct Waiter {
  std::shared_ptr<Admission::Impl> admission;
  std::int64_t input = 0;
  std::int64_t output = 0;
  Quotas::Done<Reservation> reserved;
  std::shared_ptr<Reservation::Impl> reservation;
  std::int64_t want = 0;
  Quotas::Done<Extension> extended;
  base::MonoTime deadline;
};

// What to do once the mutex is free.
using After = std::vector<std::function<void()>>;

struct Quotas::Core {
  Core(const base::Clock& c, Leases& l, QuotaOptions o) : clock(c), leases(l), options(o) {}

  // quotas_spend.cpp. All REQUIRE mu.
  base::WallTime DatabaseTime(base::MonoTime now) const { return db_time + std::chrono::floor<std::chrono::microseconds>(now - db_at); }
  bool Exhausted(const Bucket& b, base::MonoTime now) const;
  absl::Status Refusal(const Bucket& b, base::MonoTime now, std::int64_t need) const;
  std::optional<absl::Status> CannotSpend(base::MonoTime now) const;
  Bucket* Current(RuleState& state, base::WallTime wall, base::MonoTime now);
  void Retire(RuleState& state);
  void Queue(Bucket& b, BucketQueue& on);
  void Unqueue(Bucket& b);
  bool Idle() const { return soon.empty() && later.empty(); }
  void Draw(Bucket& b, std::int64_t n);
  void Resolve(Admission::Impl& admission);
  Few<RuleState*> RulesOf(std::span<const Scope> scopes, Admission::Impl& admission) const;  // REQUIRES rules_mu, not mu.
  absl::StatusOr<Admission> Admit(std::shared_ptr<Admission::Impl> impl, const Few<RuleState*>& rules, base::MonoTime now);
  Few<Want> WantsOf(const Admission::Impl& admission, std::int64_t least, base::MonoTime now);
  Reservation Take(const std::shared_ptr<Admission::Impl>& admission, const Few<Want>& wants, std::int64_t input, std::int64_t output);
  void GiveFragment(Bucket& b, std::int64_t least, base::MonoTime now);
  bool TryReserve(const std::shared_ptr<Admission::Impl>& admission, std::int64_t input, std::int64_t output, base::MonoTime now,
                  absl::StatusOr<Reservation>* result);
  bool TryExtend(Reservation::Impl& reservation, std::int64_t want, base::MonoTime now, absl::StatusOr<Extension>* result);
  void Finish(Reservation::Impl& reservation, Reservation::State state, std::int64_t used);
  void DropAdmission(Admission::Impl& admission);
  void CloseUnits(Admission::Impl& admission);

  // quotas_lease.cpp. All but OnReply and Tick REQUIRE mu.
  void Wait(Waiter waiter, base::MonoTime now, After& after);
  void RunWaiters(base::MonoTime now, After& after);
  void FailWaiters(const std::function<bool(const Waiter&)>& which, const absl::Status& status, After& after);
  void StartExchange(base::MonoTime now, bool renew, After& after);
  LeaseAsk AskFor(Bucket& b, base::MonoTime now);
  void Apply(Bucket& b, const LeaseState& state, base::MonoTime now);
  void OnReply(base::MonoTime sent, absl::StatusOr<LeaseReply> reply);
  void Sweep(base::MonoTime now);
  void SweepOne(Bucket& b, base::MonoTime now);
  void Erase(Bucket& b);
  void SwapRules(const QuotaRules& rules, base::MonoTime now);
  void Tick();

  const base::Clock& clock;
  Leases& leases;
  const QuotaOptions options;

  std::shared_mutex rules_mu;  // Taken before mu. The next two change under both, and are read under either.
  std::unordered_map<base::Uuid, std::unique_ptr<RuleState>, base::UuidHash> rules;
  std::unordered_map<ScopeKey, Few<RuleState*, 3>, KeyHash> by_scope;

  base::Mutex mu;
  std::vector<std::unique_ptr<RuleState>> graveyard GUARDED_BY(mu);  // Removed rules that requests still run under.
  std::uint64_t generation GUARDED_BY(mu) = 0;
  std::unordered_map<BucketKey, std::unique_ptr<Bucket>, KeyHash> buckets GUARDED_BY(mu);
  std::vector<Bucket*> all GUARDED_BY(mu);  // The same, for the sweep.
  std::size_t sweep_at GUARDED_BY(mu) = 0;
  BucketQueue soon GUARDED_BY(mu);   // Want an exchange because there is demand …
  BucketQueue later GUARDED_BY(mu);  // … or to give something back.
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
