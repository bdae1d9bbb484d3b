// What Quotas keeps: buckets, rules, admissions, reservations, waiting calls. Private to metering; quotas.cpp tells how it works. All of it
// is guarded by Core::mu.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/container/inlined_vector.h"
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
  std::int64_t give = 0;     // To be given back in the next exchange.
  std::int32_t lease = 0;    // Its number.
  std::int64_t debited = 0;  // To all holders, as the store last said …
  base::MonoTime known_at;   // … at this time …
  bool known = false;        // … if it ever did.
  std::int64_t wanted = 0;   // By calls that wait; counted anew for each exchange.
  int pending = 0;           // Admissions that still owe one request.
  int refs = 0;              // Admissions and reservations that point here.
  std::int64_t drawn = 0;    // Requests, and tokens used or extended by, since rate_since.
  base::MonoTime rate_since;
  base::MonoTime asked_at;
  base::MonoTime fragment_after;
  std::int64_t target = 0;       // What to hold: about two seconds of demand.
  BucketQueue* queue = nullptr;  // Where it waits for an exchange, if it does …
  BucketQueue::iterator place;   // … and at which place.
  bool in_flight = false;
  bool giving = false;         // Something is on its way back: what the store said last is too much.
  bool unsure = false;         // An exchange got no answer.
  bool closing = false;        // It asked to close.
  bool lowered = false;        // Its rule was, since the store last answered.
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
  std::uint64_t generation = 0;  // Of the rules below.
  Few<RuleState*> token_rules;
  Few<RuleState*, 4> slots;  // Concurrency taken.
  Few<RequestUnit, 4> requests;
  bool counted = false;  // A reservation was settled or expired: the request units are spent.
  bool dropped = false;  // The handle is gone.
  bool named = false;    // A reservation of it is on record: that record names what the request units are drawn from.
  int open = 0;          // Reservations.
};

struct Reservation::Impl {
  Quotas::Core* core = nullptr;
  std::shared_ptr<Admission::Impl> admission;
  State state = State::kHeld;
  bool recorded = false;
  bool names_units = true;  // Its record is the first of its admission.
  std::int64_t tokens = 0;
  std::int64_t output = 0;
  std::int64_t extended = 0;  // Of `tokens`.
  Few<Bucket*> buckets;
};

struct Need {                                            // Of a Reserve:
  std::int64_t input = 0, output = 0, output_least = 1;  // of the output so many at least, or all of it.
};

// A call that waits for leases: a Reserve (`admission` set) or an Extend.
struct Waiter {
  std::shared_ptr<Admission::Impl> admission;
  Need need{};
  Quotas::Done<Reservation> reserved;
  std::shared_ptr<Reservation::Impl> reservation;
  std::int64_t want = 0;
  Quotas::Done<Extension> extended;
  base::MonoTime deadline;
};

// New rules, made ready while the old ones are in force.
struct RuleSwap {
  struct Edit {
    RuleState* state = nullptr;
    std::shared_ptr<const QuotaRule> rule;
  };
  std::unordered_map<base::Uuid, Edit, base::UuidHash> edited;  // Another amount or name, or new: perhaps one that was removed before.
  std::unordered_map<ScopeKey, Few<RuleState*, 3>, KeyHash> by_scope;
  std::vector<std::unique_ptr<RuleState>> removed;
};

// What to do once the mutex is free.
using After = std::vector<std::function<void()>>;

}  // namespace tollgate::metering
