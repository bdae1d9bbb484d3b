// The spending side of Quotas: every function here runs under the mutex, looks at all scopes first and then takes from all or none.
//
// Tested by tests/metering/quotas_test.cpp and tests/metering/quotas_property_test.cpp.
#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "metering/quota_refusals.h"
#include "metering/quotas_core.h"

namespace tollgate::metering {
namespace {

constexpr std::chrono::milliseconds kFragmentEvery{1'000};

// Used or held, as the store last said.
std::int64_t UsedOf(const Bucket& b) { return b.debited - b.available; }
// Of a request it is told as used: it comes back only where the request is not counted.
std::int64_t HeldOf(const Bucket& b) { return b.rule->meter == Meter::kTokens ? b.held : 0; }

}  // namespace

// What the store said last still counts: not long ago, and nothing that is on its way back changes it.
bool Quotas::Core::IsFresh(const Bucket& b, base::MonoTime now) const { return now - b.known_at < options.recheck && !b.giving; }

// The store said that nothing is left, and not long ago.
bool Quotas::Core::Exhausted(const Bucket& b, base::MonoTime now) const {
  return b.known && b.debited >= b.rule->amount && IsFresh(b, now);
}

// So many are neither here nor left, as the store last said, which may be long ago.
bool Quotas::Core::IsBeyond(const Bucket& b, std::int64_t least) {
  return b.known && least > b.available + std::max<std::int64_t>(b.rule->amount - b.debited, 0);
}

// Of two that refuse: what can never be, then what is spent, the longer the later its window ends, then what others only hold.
bool Quotas::Core::RefusesLonger(const Want& a, const Want& b) {
  const auto rank = [](const Want& want) {
    const Bucket& its = *want.bucket;
    const bool held = IsOnlyHeld(*its.rule, UsedOf(its), want.least, HeldOf(its));
    return std::tuple(want.least > its.rule->amount, !held, its.window.end);
  };
  return rank(a) > rank(b);
}

absl::Status Quotas::Core::Refusal(const Bucket& b, base::MonoTime now, std::int64_t need) const {
  return WindowSpent(*b.rule, b.window, DatabaseTime(now), UsedOf(b), need, HeldOf(b));
}

// Why nothing may be spent at all, if so: an OK status means that asking the store will help.
std::optional<absl::Status> Quotas::Core::CannotSpend(base::MonoTime now) const {
  if (fenced) return LeasesLost();
  if (now < spend_until) return std::nullopt;
  return now < down_until ? StoreAway() : absl::OkStatus();
}

void Quotas::Core::Queue(Bucket& b, BucketQueue& on) {
  if (b.queue == nullptr) {
    b.place = on.insert(on.end(), &b);
  } else if (b.queue == &later && &on == &soon) {
    soon.splice(soon.end(), later, b.place);
  } else {
    return;
  }
  b.queue = &on;
}

void Quotas::Core::Unqueue(Bucket& b) {
  b.queue->erase(b.place);
  b.queue = nullptr;
}

void Quotas::Core::Retire(RuleState& state) {
  if (state.current == nullptr) return;
  state.current->retired = true;
  state.current->owner = nullptr;
  state.current = nullptr;
}

void Quotas::Core::GiveAll(Bucket& b) {
  if (b.available <= 0) return;
  b.give += std::exchange(b.available, 0);
  b.giving = true;
  Queue(b, later);
}

// Where a rule was lowered, no more may be spent of what was granted before than the store says is left of the new amount; after a stop,
// nothing.
void Quotas::Core::GiveExcess(Bucket& b) {
  if (stopping || b.lowered || (b.known && b.debited > b.rule->amount)) GiveAll(b);
}

void Quotas::Core::SetRule(Bucket& b, const std::shared_ptr<const QuotaRule>& rule) {
  const bool lowers = b.rule != nullptr && rule->amount < b.rule->amount;
  b.rule = rule;
  if (!lowers) return;
  b.lowered = true;
  Queue(b, later);
  GiveExcess(b);
}

// The bucket of the window that is open now. A clock that stepped back finds the old one again, and a rule that is set again its own.
Bucket* Quotas::Core::Current(RuleState& state, base::WallTime wall, base::MonoTime now) {
  if (state.current != nullptr && state.current->window.Holds(wall)) return state.current;
  Retire(state);
  const WindowSpan window = WindowAt(state.rule->window, wall);
  auto& slot = buckets[BucketKey{state.rule->id, window.start}];
  if (slot == nullptr) {
    slot = std::make_unique<Bucket>();
    slot->rate_since = now;
    slot->index = all.size();
    all.push_back(slot.get());
  }
  SetRule(*slot, state.rule);
  slot->window = window;
  slot->retired = false;
  slot->owner = &state;
  state.current = slot.get();
  return state.current;
}

void Quotas::Core::Draw(Bucket& b, std::int64_t n) {
  b.available -= n;
  b.held += n;
  if (b.available < b.target / 2 && !(b.known && b.debited >= b.rule->amount)) Queue(b, soon);
}

void Quotas::Core::DrawUnit(Bucket& b) {
  Draw(b, 1);
  ++b.drawn;
}

// Finds the rules that bind an admission, anew when they were swapped.
void Quotas::Core::Resolve(Admission::Impl& admission) {
  if (admission.generation == generation) return;
  admission.generation = generation;
  admission.token_rules.clear();
  for (const ScopeKey& key : admission.scopes) {
    const auto found = by_scope.find(key);
    if (found == by_scope.end()) continue;
    for (RuleState* state : found->second) {
      if (state->meter == Meter::kTokens) admission.token_rules.push_back(state);
    }
  }
}

// The rules that bind a request, found before the mutex is taken: with many keys this is where memory is waited for.
Few<RuleState*> Quotas::Core::RulesOf(std::span<const Scope> scopes, Admission::Impl& admission) const {
  Few<RuleState*> found;
  for (const Scope& scope : scopes) {
    const ScopeKey key{scope.kind, scope.id};
    admission.scopes.push_back(key);
    const auto it = by_scope.find(key);
    if (it != by_scope.end()) found.insert(found.end(), it->second.begin(), it->second.end());
  }
  return found;
}

absl::StatusOr<Admission> Quotas::Core::Admit(std::shared_ptr<Admission::Impl> impl, const Few<RuleState*>& found, base::MonoTime now) {
  if (stopping) return Stopping();
  const base::WallTime wall = DatabaseTime(now);
  bool may_spend = true;
  for (RuleState* state : found) {
    if (state->meter == Meter::kConcurrent) {
      if (state->running >= state->rule->amount) return TooManyRunning(*state->rule, state->running);
      impl->slots.push_back(state);
      continue;
    }
    if (!clock_known) return fenced ? LeasesLost() : StoreAway();
    if (state->meter == Meter::kTokens) {
      impl->token_rules.push_back(state);
      continue;
    }
    if (const auto cannot = CannotSpend(now)) {
      if (!cannot->ok()) return *cannot;
      may_spend = false;
    }
    Bucket* bucket = Current(*state, wall, now);
    if (bucket->available < 1 && (bucket->rule->amount == 0 || Exhausted(*bucket, now))) return Refusal(*bucket, now, 1);
    impl->requests.push_back({bucket, false});
  }
  impl->generation = generation;
  for (RuleState* state : impl->slots) ++state->running;
  for (RequestUnit& unit : impl->requests) {
    ++unit.bucket->refs;
    unit.taken = may_spend && unit.bucket->available >= 1;
    if (unit.taken) {
      DrawUnit(*unit.bucket);
    } else {  // Reserve takes it, when a lease has come.
      ++unit.bucket->pending;
      Queue(*unit.bucket, soon);
    }
  }
  return Admission(std::move(impl));
}

// What a Reserve must find: `least` in each token bucket, and one in each bucket that the admission still owes a request to.
Few<Want> Quotas::Core::WantsOf(const Admission::Impl& admission, std::int64_t least, base::MonoTime now) {
  Few<Want> wants;
  if (!admission.token_rules.empty()) {
    const base::WallTime wall = DatabaseTime(now);
    for (RuleState* state : admission.token_rules) wants.push_back({Current(*state, wall, now), least, true});
  }
  for (const RequestUnit& unit : admission.requests) {
    if (!unit.taken) wants.push_back({unit.bucket, 1, false});
  }
  return wants;
}

// Takes what TryReserve found to be there: input, and as much of the output as all have.
Reservation Quotas::Core::Take(const std::shared_ptr<Admission::Impl>& admission, const Few<Want>& wants, std::int64_t input,
                               std::int64_t output) {
  auto impl = std::make_shared<Reservation::Impl>();
  for (const Want& want : wants) {
    if (!want.tokens) continue;
    output = std::min(output, want.bucket->available - input);
    impl->buckets.push_back(want.bucket);
  }
  impl->core = this;
  impl->admission = admission;
  impl->names_units = !admission->named;
  impl->output = output;
  impl->tokens = input + output;
  for (Bucket* b : impl->buckets) {
    ++b->refs;
    Draw(*b, impl->tokens);
  }
  for (RequestUnit& unit : admission->requests) {
    if (unit.taken) continue;
    unit.taken = true;
    --unit.bucket->pending;
    DrawUnit(*unit.bucket);
  }
  ++admission->open;
  return Reservation(std::move(impl));
}

// What is too little here may be enough together with what another instance has too little of.
void Quotas::Core::GiveFragment(Bucket& b, std::int64_t least, base::MonoTime now) {
  if (holders < 2 || b.available <= 0 || !IsBeyond(b, least) || !IsFresh(b, now) || now < b.fragment_after) return;
  b.fragment_after = now + kFragmentEvery;
  GiveAll(b);
}

// Of the output, what all that nothing more can be had of still have; at least that without which nothing is reserved.
std::int64_t Quotas::Core::OutputToHave(const Few<Want>& wants, const Need& need, base::MonoTime now) const {
  std::int64_t output = need.output;
  for (const Want& want : wants) {
    const Bucket& b = *want.bucket;
    if (want.tokens && output > need.output_least && Exhausted(b, now))
      output = std::clamp<std::int64_t>(b.available - need.input, need.output_least, output);
  }
  return output;
}

// Decides a Reserve, or returns false: it has to wait for the store, which is then told what is wanted. Where the quotas have more than
// the leases here, it waits for all of its output; past the deadline, and while the store is away, it takes what the leases have.
bool Quotas::Core::TryReserve(const std::shared_ptr<Admission::Impl>& admission, const Need& need, base::MonoTime now,
                              base::MonoTime deadline, absl::StatusOr<Reservation>* result) {
  const auto decide = [&](absl::StatusOr<Reservation> with) {
    *result = std::move(with);
    return true;
  };
  if (stopping) return decide(Stopping());
  if (admission->dropped) return decide(base::Cancelled("the request ended while it waited for quota"));
  Resolve(*admission);
  if (!admission->token_rules.empty() && !clock_known) return decide(StoreAway());
  // At least one: of nothing, too, the record names a lease.
  const std::int64_t least = std::max<std::int64_t>(need.input + std::min(need.output, need.output_least), 1);
  const Few<Want> wants = WantsOf(*admission, least, now);
  const auto cannot = wants.empty() ? std::nullopt : CannotSpend(now);
  if (cannot && !cannot->ok()) return decide(*cannot);
  const std::int64_t all = std::max(least, need.input + OutputToHave(wants, need, now));
  bool lacks = cannot.has_value(), wait = lacks;
  const Want* strictest = nullptr;  // Of those that refuse, the one that refuses longest.
  for (const Want& want : wants) {
    const Bucket& b = *want.bucket;
    wait = wait || (want.tokens && b.available < all);
    if (b.available >= want.least) continue;
    lacks = wait = true;
    const bool refuses = want.least > b.rule->amount || (IsBeyond(b, want.least) && IsFresh(b, now));
    if (refuses && (strictest == nullptr || RefusesLonger(want, *strictest))) strictest = &want;
  }
  if (strictest != nullptr) {
    const absl::Status refusal = Refusal(*strictest->bucket, now, strictest->least);
    for (const Want& want : wants) GiveFragment(*want.bucket, want.least, now);
    return decide(refusal);
  }
  const bool patient = now < deadline && now >= down_until;
  if (!wait || (!lacks && !patient)) return decide(Take(admission, wants, need.input, need.output));
  if (!patient) return decide(now < down_until ? StoreAway() : StoreSlow());
  for (const Want& want : wants) {
    Bucket& b = *want.bucket;
    if (cannot || b.available < (want.tokens ? all : want.least)) Queue(b, soon);
    // A request is asked for as `pending`. Where too little is left to help, the store is asked how much it is by now, and not for that.
    if (b.queue == &soon && want.tokens && !IsBeyond(b, want.least)) b.wanted += all;
  }
  return false;
}

bool Quotas::Core::TryExtend(Reservation::Impl& reservation, std::int64_t want, base::MonoTime now, absl::StatusOr<Extension>* result) {
  if (reservation.state != Reservation::State::kHeld) {
    *result = base::Cancelled("the reservation was closed");
    return true;
  }
  if (stopping) {
    *result = Stopping();
    return true;
  }
  std::int64_t granted = want;
  const Bucket* limit = nullptr;  // The tightest of those of which nothing more can be had.
  for (const Bucket* b : reservation.buckets) {
    if (b->available >= granted || !Exhausted(*b, now)) continue;
    granted = std::max<std::int64_t>(b->available, 0);
    limit = b;
  }
  const auto cannot = reservation.buckets.empty() ? std::nullopt : CannotSpend(now);
  const auto is_short = [&](const Bucket* b) { return b->available < granted; };
  const bool lacks = std::any_of(reservation.buckets.begin(), reservation.buckets.end(), is_short);
  if (cannot || (lacks && granted > 0)) {
    if (now < down_until || (cannot && !cannot->ok())) {
      *result = cannot && !cannot->ok() ? *cannot : StoreAway();
      return true;
    }
    for (Bucket* b : reservation.buckets) {
      if (cannot || b->available < want) Queue(*b, soon);
      if (b->queue == &soon) b->wanted += want;
    }
    return false;
  }
  for (Bucket* b : reservation.buckets) {
    Draw(*b, granted);
    b->drawn += granted;
  }
  reservation.extended += granted;
  reservation.tokens += granted;
  reservation.output += granted;
  *result = Extension{granted, limit == nullptr ? "" : LabelOf(limit->rule->scope)};
  return true;
}

void Quotas::Core::Finish(Reservation::Impl& reservation, Reservation::State state, std::int64_t used) {
  if (reservation.state != Reservation::State::kHeld) return;
  reservation.state = state;
  if (used > reservation.tokens) {
    base::Error("metering", "{} tokens were used where {} were reserved; the rest is taken from what comes next", used, reservation.tokens);
  }
  for (Bucket* b : reservation.buckets) {
    b->held -= reservation.tokens;
    b->spent += used;
    b->available += reservation.tokens - used;
    b->drawn += std::max<std::int64_t>(used - reservation.extended, 0);  // Not what was held: that may be much, and used by nobody.
    GiveExcess(*b);
    --b->refs;
  }
  reservation.buckets.clear();
  Admission::Impl& admission = *reservation.admission;
  if (state != Reservation::State::kReleased) admission.counted = true;
  --admission.open;
  if (admission.dropped) CloseUnits(admission);
}

void Quotas::Core::DropAdmission(Admission::Impl& admission) {
  admission.dropped = true;
  for (RuleState* state : admission.slots) --state->running;
  admission.slots.clear();
  CloseUnits(admission);
}

// Spends or gives back the request units once nothing can change about it.
void Quotas::Core::CloseUnits(Admission::Impl& admission) {
  if (admission.open > 0) return;
  for (const RequestUnit& unit : admission.requests) {
    Bucket& b = *unit.bucket;
    if (unit.taken) {
      --b.held;
      (admission.counted ? b.spent : b.available) += 1;
      GiveExcess(b);
    } else {
      --b.pending;
    }
    --b.refs;
  }
  admission.requests.clear();
}

}  // namespace tollgate::metering
